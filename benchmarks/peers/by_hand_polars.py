"""Peer (b): the tables in Polars, by hand.

All but the samples is read from a declared schema, as text: a field may be of another type. Sample maps are taken out of
the lines of the records that count, hardly half of what comes, and their pairs are parsed as CSV, in less than half the
time that Polars' JSON takes for them. It trusts the folder that a line lies in, and keeps no account of lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from glob import glob

import numpy as np
import polars as pl

from benchmarks.peers.garmin_fields import TYPES
from benchmarks.peers.program import Work, run_peer

STARTS = ("startTimeInSeconds", "measurementTimeInSeconds")
OFFSETS = (
    "startTimeOffsetInSeconds",
    "measurementTimeOffsetInSeconds",
    "offsetStartTimeInSeconds",
    "offsetInSeconds",
)
NESTED = ("startTimeInSeconds", "startTimeOffsetInSeconds")
TAKEN = {
    "distance_m": "distanceInMeters",
    "floors": "floorsClimbed",
    "active_kcal": "activeKilocalories",
    "body_battery_charged": "bodyBatteryChargedValue",
    "body_battery_drained": "bodyBatteryDrainedValue",
}
MINUTES = {
    "active_min": "activeTimeInSeconds",
    "moderate_min": "moderateIntensityDurationInSeconds",
    "vigorous_min": "vigorousIntensityDurationInSeconds",
}
LEVELS = ("rest", "low", "medium", "high")
STRESS = {f"stress_{level}_min": f"{level}StressDurationInSeconds" for level in LEVELS}
RATES = {
    "resting_hr_bpm": "restingHeartRateInBeatsPerMinute",
    "hr_min_bpm": "minHeartRateInBeatsPerMinute",
    "hr_max_bpm": "maxHeartRateInBeatsPerMinute",
}
AVERAGE_STRESS = ("averageStressLevel", "averageStresslevel")
STAGES = {"deep": "deepSleepDurationInSeconds", "light": "lightSleepDurationInSeconds", "rem": "remSleepInSeconds"}
UNMEASURABLE = ("unmeasurableSleepInSeconds", "unmeasurableSleepDurationInSeconds")
SPANS = pl.List(pl.Struct({"startTimeInSeconds": pl.Float64, "endTimeInSeconds": pl.Float64}))
LEVELS_MAP = pl.Struct(dict.fromkeys((*STAGES, "awake"), SPANS))
READ = (
    *("userId", "_summary_type", "_received_at", "_ingest_id", "summaryId", "activityType"),
    *("validation", "onDemand", "isParent", "steps", "durationInSeconds", "changeTimeInSeconds"),
    *(*STARTS, *OFFSETS, *TAKEN.values(), *MINUTES.values(), *STRESS.values(), *RATES.values(), *AVERAGE_STRESS),
    *("awakeDurationInSeconds", *UNMEASURABLE, *STAGES.values(), "sleepLevelsMap"),
    *("lastNightAvg", "vo2Max", "fitnessAge"),
)
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(READ, pl.String),
    "summary": pl.Struct(dict.fromkeys(NESTED, pl.String)),
}
SAMPLED = ("dailies", "stressDetails", "sleeps", "pulseox", "allDayRespiration")
MEASURED = ("bodyComps", "bloodPressures")
GROWING = ("dailies", "stressDetails", "pulseox", "allDayRespiration", "hrv")
FINALITY = {"AUTO_MANUAL": 4, "ENHANCED_FINAL": 3, "ENHANCED_TENTATIVE": 1, "AUTO_TENTATIVE": 0}
ROW = ["participant_id", "date"]
WEEK = ["participant_id", "week"]
SLICE = ["account", "date", "key_s", "key_id"]
KEY = [*SLICE, "type", "on_demand"]
NEWEST = ("received", "body", "row")
EPOCHS = ("participant_id", "type", *SLICE, "activityType", "start", "offset", "duration", "steps", *NEWEST)
HOURS = {"steps_by_hour": pl.Float64, "asleep_by_hour": pl.Int64}
POWERS = pl.lit(pl.Series([1 << bit for bit in range(61)], dtype=pl.Int64))
HALF_DAY_S = 12 * 3600
AT_ONCE = 300
c = pl.col


# -- which records count


def read(work: Work) -> pl.DataFrame:
    """Return all lines of enrolled people without their samples; `row` is a line's place among all."""
    people = pl.scan_csv(work.people, schema={"user_id": pl.String, "participant_id": pl.String})
    lines = pl.scan_ndjson(sorted(glob(work.raw)), schema=SCHEMA, include_file_paths="path", row_index_name="row")
    nested = {
        name: number(c("summary").struct.field(field)) for name, field in zip(("at", "lead"), NESTED, strict=True)
    }
    kind = c("_summary_type").replace(TYPES)
    starts = [number(c(name)) for name in STARTS]
    return (
        lines.join(people.with_row_index("account"), left_on="userId", right_on="user_id")
        .with_columns(
            date=c("path").str.extract(r"date=(\d{4}-\d{2}-\d{2})/[^/]*$").str.to_date("%Y-%m-%d"),
            type=kind,
            received=c("_received_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms", time_zone="UTC"),
            body=pl.coalesce("_ingest_id", "path"),
            start=pl.when(kind.is_in(MEASURED))
            .then(pl.coalesce(*reversed(starts), nested["at"]))
            .otherwise(pl.coalesce(*starts, nested["at"])),
            offset=pl.coalesce(*(number(c(name)) for name in OFFSETS), nested["lead"]),
            duration=amount("durationInSeconds"),
            change=number(c("changeTimeInSeconds")),
            on_demand=(kind == "pulseox") & flag("onDemand"),
            summaryId=pl.when(c("summaryId") != "").then("summaryId"),
        )
        .filter(c("type") != "qolTest")
        .drop("userId", "path", "summary", "_summary_type", "_received_at", "_ingest_id", "onDemand", *STARTS, *OFFSETS)
        .collect()
    )


def number(text: pl.Expr) -> pl.Expr:
    """Return what is a number."""
    found = text.cast(pl.Float64, strict=False)
    return pl.when(found.abs() <= 1e15).then(found)


def amount(*names: str, above: float | None = None) -> pl.Expr:
    """Return the first of the fields that is a number of 0 and more, or of more than `above`."""
    numbers = [number(c(name)) for name in names]
    return pl.coalesce(pl.when(one >= 0 if above is None else one > above).then(one) for one in numbers)


def flag(name: str) -> pl.Expr:
    """Return whether a field says yes."""
    return c(name).fill_null("").str.to_lowercase().is_in(["true", "1"])


def current(lines: pl.DataFrame) -> pl.DataFrame:
    """Return the records that no other version supersedes, each with a real start and the midnight of its date."""
    timed = pl.coalesce("start", "change")
    identified = (c("type") == "activities") & c("summaryId").is_not_null()
    dated = c("type") == "userMetrics"
    keyed = lines.with_columns(
        key_s=pl.when(~identified & ~dated).then(timed),
        key_id=pl.when(identified | (~dated & timed.is_null())).then("summaryId"),
    )
    epochs = c("type") == "epochs"
    local, midnight = c("start") + c("offset").fill_null(0), c("date").dt.epoch("s")
    parts = (newest(keyed.filter(~epochs)), latest_delivery(keyed.select(EPOCHS).filter(epochs)))
    return pl.concat(parts, how="diagonal").with_columns(
        start=pl.when(local.floor().is_between(-2_208_988_800, 253_402_300_799)).then("start"),
        midnight=midnight.cast(pl.Float64),
    )


def newest(lines: pl.DataFrame) -> pl.DataFrame:
    """One record of a key: the most final night, the longest of what grows, and of these the latest."""
    night, grows = c("type") == "sleeps", c("type").is_in(GROWING)
    order = (
        pl.when(night).then(finality()),
        pl.when(grows).then(c("duration").fill_null(c("duration").max().over(KEY))),
        c("received"),
        pl.when(night).then("duration"),
        *(c("body"), c("row")),
    )
    return lines.sort(order, descending=True, nulls_last=True).unique(KEY, keep="first")


def latest_delivery(epochs: pl.DataFrame) -> pl.DataFrame:
    """Return the epochs of one delivery a start, the longest and of these the latest, one for each kind of activity."""
    length = c("duration").fill_null(c("duration").max().over(SLICE))
    ordered = epochs.sort(length, *NEWEST, nulls_last=False)
    return ordered.filter(c("body") == c("body").last().over(SLICE)).unique([*SLICE, "activityType"], keep="last")


def finality() -> pl.Expr:
    """Return how final a sleep is."""
    return validation().replace_strict(FINALITY, default=2, return_dtype=pl.Int8)


def validation() -> pl.Expr:
    """Return the word that says so."""
    return c("validation").fill_null("").str.strip_chars().str.to_uppercase()


def first(records: pl.DataFrame, by: Sequence[str], *order: str) -> pl.DataFrame:
    """Return the record of each group that has the greatest values, missing ones last."""
    return records.sort(order, descending=True, nulls_last=True).unique(by, keep="first", maintain_order=True)


def of_one_account(now: pl.DataFrame, work: Work) -> pl.DataFrame:
    """Return the records without those of a participant's other accounts: the one with the most wear counts on a date.

    Nearly all have one account.
    """
    accounts = now.group_by(*ROW, "account").agg(c("received").max())
    several = accounts.filter(pl.struct(ROW).is_duplicated())
    if several.is_empty():
        return now
    group = [*ROW, "account"]
    contested = with_samples(work, now.join(several, on=group, how="semi"))
    dailies = first(of(contested, "dailies"), group, "duration", *NEWEST)
    worn = several.join(beats(dailies, group), on=group, how="left").join(
        strain(of(contested, "stressDetails"), group), on=group, how="left"
    )
    worn = worn.with_columns(wear=wear().fill_null(-1))
    # The user id decides last; nobody's accounts were worn as long and came in the same millisecond.
    less = worn.join(first(worn, ROW, "wear", "received"), on=group, how="anti")
    return now.join(less, on=group, how="anti")


def of(records: pl.DataFrame, type_: str) -> pl.DataFrame:
    """Return the records of a type."""
    return records.filter(c("type") == type_)


# -- samples


def with_samples(work: Work, records: pl.DataFrame) -> pl.DataFrame:
    """Add `line`, the text of the records that have samples."""
    sampled = records.filter(c("type").is_in(SAMPLED)).select("row")
    lines = pl.scan_lines(sorted(glob(work.raw)), row_index_name="row")
    found = lines.join(sampled.lazy(), on="row", how="semi").collect(engine="streaming")
    return records.join(found, on="row", how="left")


def samples(records: pl.DataFrame, field: str, *names: str, length: str = "duration") -> pl.DataFrame:
    """Return the samples of a map within their records, one a row: what is named, t, v."""
    after = c("line").str.splitn(f'"{field}"', 2).struct.field("field_1")
    inside = after.str.splitn("}", 2).struct.field("field_0")
    maps = records.select(*names, length=length, map=inside).filter(c("map").str.contains(r'^\s*:\s*\{\s*"'))
    maps = maps.with_columns(c("map").str.strip_chars_start(": {"))
    pairs = pl.read_csv(
        b",".join(maps["map"].cast(pl.Binary)),
        has_header=False,
        separator=":",
        eol_char=",",
        schema={"t": pl.Int64, "v": pl.Float64},
        ignore_errors=True,
        raise_if_empty=False,
    )
    counts = maps["map"].str.count_matches('":', literal=True)
    of_each = maps.drop("map")[np.repeat(np.arange(maps.height), counts)]
    found = pl.concat([of_each, pairs], how="horizontal").lazy()
    within = (c("t") >= 0) & (c("t") <= c("length").fill_null(math.inf)) & (c("v").abs() <= 1e15)
    return found.filter(within).drop("length").collect()


# -- daily


def beats(dailies: pl.DataFrame, group: Sequence[str] = ROW) -> pl.DataFrame:
    """Wear and mean of the heart rate. The minutes of an hour of the clock are the bits of an integer.

    A few hundred days at a time stay in the processor's cache.
    """
    lead = ((c("start") + c("offset") - c("midnight")).fill_null(0) / 60).floor().cast(pl.Int64)
    d = dailies.with_columns(lead=lead)
    hours = pl.concat(hours_with_beats(part) for part in d.iter_slices(AT_ONCE))
    by_row = (
        hours.group_by("row", c("hour") % 24)
        .agg(seen=ones(c("bits").bitwise_or()), worn=ones(c("bits")).sum(), total=c("total").sum(), n=c("n").sum())
        .group_by("row")
        .agg(
            heart_min=c("worn").sum().cast(pl.Float64),
            valid_minutes_hours=(c("seen") >= 30).sum(),
            hr_mean_bpm=c("total").sum() / c("n").sum(),
        )
    )
    return d.select(*group, "row").join(by_row, on="row").drop("row")


def hours_with_beats(dailies: pl.DataFrame) -> pl.DataFrame:
    """Return the minutes of each hour that have a heart rate, as bits, and the sum and number of its samples."""
    minute = ((c("t") - 1) // 60).clip(lower_bound=0) + c("lead")
    return (
        samples(dailies, "timeOffsetHeartRateSamples", "row", "lead")
        .lazy()
        .filter(c("v") > 0)
        .select("row", "v", hour=minute // 60, bit=POWERS.gather(minute % 60))
        .group_by("row", "hour")
        .agg(bits=c("bit").bitwise_or(), total=c("v").sum(), n=pl.len())
        .collect()
    )


def ones(bits: pl.Expr) -> pl.Expr:
    """Return how many bits are set."""
    return bits.bitwise_count_ones().cast(pl.Int64)


def strain(details: pl.DataFrame, group: Sequence[str] = ROW) -> pl.DataFrame:
    """Stress, and how many of its samples were taken on the wrist."""
    found = samples(details, "timeOffsetStressLevelValues", *group)
    level = c("v").filter(c("v") >= 0).mean()
    return found.group_by(group).agg(stress_samples=pl.len(), on_wrist=(c("v") != -1).sum(), level=level)


def wear() -> pl.Expr:
    """Return the minutes with a heart rate; without any 3 for each stress sample taken on the wrist."""
    return pl.coalesce("heart_min", 3.0 * c("on_wrist"))


def mean(found: pl.DataFrame, name: str) -> pl.DataFrame:
    """Mean of what is above 0."""
    return found.filter(c("v") > 0).group_by(ROW).agg(c("v").mean().alias(name))


def oxygen(found: pl.DataFrame, prefix: str) -> pl.DataFrame:
    """Mean and share below 90."""
    low = 100 * (c("v") < 90).mean()
    return found.filter(c("v") > 0).group_by(ROW).agg(c("v").mean().alias(f"{prefix}_mean"), low.alias(f"{prefix}_low"))


def main_sleeps(sleeps: pl.DataFrame) -> pl.DataFrame:
    """Return the night of each date: of sleeps that overlap the most final, of the others the longest."""
    stages = {f"{stage}_s": amount(field) for stage, field in STAGES.items()}
    s = sleeps.filter(~validation().is_in(["OFF_WRIST", "MANUAL"])).with_columns(
        **stages,
        levels=c("sleepLevelsMap").str.json_decode(LEVELS_MAP),
        unmeasurable=amount(*UNMEASURABLE).fill_null(0),
        finality=finality(),
    )
    length = pl.element().struct.field("endTimeInSeconds") - pl.element().struct.field("startTimeInSeconds")
    spans = c("levels").struct.field("awake")
    in_map = pl.when(spans.is_not_null()).then(spans.list.eval(length.clip(lower_bound=0)).list.sum().fill_null(0))
    ends = pl.concat_list(c("levels").struct.field(level).fill_null([]) for level in (*STAGES, "awake"))
    ends = ends.list.eval(pl.element().struct.field("endTimeInSeconds")).list.max()
    s = s.with_columns(awake=pl.coalesce(amount("awakeDurationInSeconds"), in_map), last=ends)
    s = s.with_columns(asleep=total_sleep()).filter(c("asleep") > 0)
    parts = c("start") + c("asleep") + c("awake").fill_null(0) + c("unmeasurable")
    near = (c("last") > c("start")) & ((c("last") - parts).abs() <= HALF_DAY_S)
    s = s.with_columns(end=pl.when(near).then("last").otherwise(parts)).with_columns(length=c("end") - c("start"))
    chosen = []
    while not s.is_empty():
        chosen.append(first(s, ROW, "finality", "received", "asleep", "body", "row"))
        taken = chosen[-1].select(*ROW, begun="start", ended="end", taken="row")
        overlaps = (c("start") < c("ended")) & (c("begun") < c("end"))
        s = (
            s.join(taken, on=ROW)
            .filter(c("row") != c("taken"), ~overlaps.fill_null(value=False))
            .drop(taken.columns[2:])
        )
    return first(pl.concat(chosen), ROW, "asleep", *NEWEST)


def total_sleep() -> pl.Expr:
    """Return the sum of the stages where a reading of the duration agrees with it, else the duration."""
    parts = [f"{stage}_s" for stage in STAGES]
    stages = pl.when(pl.any_horizontal(c(part).is_not_null() for part in parts)).then(pl.sum_horizontal(parts))
    readings = (0, c("unmeasurable"), c("awake"), c("unmeasurable") + c("awake"))
    agrees = pl.any_horizontal((stages - (c("duration") - part)).abs() <= 120 for part in readings)
    return pl.when(agrees).then(stages).otherwise(pl.coalesce("duration", stages))


def nights(s: pl.DataFrame) -> pl.DataFrame:
    """Return what the main sleeps say."""
    asleep, to_local = c("asleep"), c("offset") - c("midnight")
    in_bed = asleep + c("awake").fill_null(0) + c("unmeasurable")
    found = s.select(
        *ROW,
        to_local=to_local,
        levels="levels",
        sleep_tst_min=asleep / 60,
        sleep_tib_min=in_bed / 60,
        sleep_waso_min=c("awake") / 60,
        sleep_efficiency_pct=share(asleep, pl.when(c("awake").is_not_null()).then(in_bed)),
        **{f"sleep_{stage}_pct": share(c(f"{stage}_s"), asleep) for stage in STAGES},
        sleep_start_min=(c("start") + to_local) / 60,
        sleep_end_min=(c("end") + to_local) / 60,
        midsleep_min=((c("start") + c("end")) / 2 + to_local) / 60,
    )
    spo2 = oxygen(samples(s, "timeOffsetSleepSpo2", *ROW, length="length"), "night")
    breaths = mean(samples(s, "timeOffsetSleepRespiration", *ROW, length="length"), "resp_sleep_brpm")
    table = found.drop("to_local", "levels")
    for piece in (minutes_asleep(found), spo2, breaths):
        table = table.join(piece, on=ROW, how="left")
    return table


def share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Percent, at most 100."""
    return (100 * part / whole).clip(upper_bound=100)


def minutes_asleep(night: pl.DataFrame) -> pl.DataFrame:
    """Return the minutes asleep as bits of the 24 hours of the clock: in a stage of sleep, if the night has any, else
    in no awake span.
    """
    begin, end = c("sleep_start_min").ceil(), c("sleep_end_min").ceil()
    timed = night.select(*ROW, "to_local", "levels", begin=begin, end=pl.min_horizontal(end, begin + 1440))
    timed = timed.drop_nulls(["begin", "end"])
    each = pl.concat(
        timed.select(*ROW, "to_local", "begin", "end", level=pl.lit(level), span=c("levels").struct.field(level))
        for level in (*STAGES, "awake")
    )
    each = each.explode("span", empty_as_null=False).unnest("span")
    each = each.filter(c("endTimeInSeconds") > c("startTimeInSeconds"))
    limits = [((c(f"{name}TimeInSeconds") + c("to_local")) / 60).ceil() for name in ("start", "end")]
    spans = each.select(
        *(*ROW, "level"), begin=pl.max_horizontal("begin", limits[0]), end=pl.min_horizontal("end", limits[1])
    )
    staged = each.filter(c("level") != "awake").select(ROW).unique().with_columns(staged=True)
    whole = timed.select(*ROW, pl.lit("whole").alias("level"), "begin", "end")
    hours = (
        pl.concat([whole, spans])
        .filter(c("begin") < c("end"))
        .cast({"begin": pl.Int64, "end": pl.Int64})
        .with_columns(nth=pl.int_ranges(c("begin") // 60, (c("end") + 59) // 60))
        .explode("nth")
    )
    low = pl.max_horizontal(c("begin") - 60 * c("nth"), 0)
    high = pl.min_horizontal(c("end") - 60 * c("nth"), 60)
    bits = POWERS.gather(high) - POWERS.gather(low)

    def within(levels: Sequence[str]) -> pl.Expr:
        return pl.when(c("level").is_in(levels)).then("bits").otherwise(0).bitwise_or()

    found = (
        hours.select(*ROW, "level", bits=bits, hour=c("nth") % 24)
        .group_by(*ROW, "hour")
        .agg(whole=within(["whole"]), awake=within(["awake"]), asleep=within(list(STAGES)))
        .join(staged, on=ROW, how="left")
    )
    asleep = pl.when("staged").then("asleep").otherwise(c("whole") & ~c("awake"))
    return by_hour(found.select(*ROW, "hour", asleep_by_hour=asleep), otherwise=0)


def steps(epochs: pl.DataFrame) -> pl.DataFrame:
    """Steps of each local hour."""
    hour = ((c("start") + c("offset")) / 3600).floor().cast(pl.Int64) % 24
    taken = epochs.select(*ROW, hour=hour, steps=amount("steps"))
    return by_hour(taken.group_by(*ROW, "hour").agg(steps_by_hour=summed("steps")))


def by_hour(found: pl.DataFrame, otherwise: int | None = None) -> pl.DataFrame:
    """Return the last column of rows that have one hour each, as a list of 24."""
    name = found.columns[-1]
    wide = found.group_by(ROW).agg(c(name).filter(c("hour") == h).max().alias(f"h{h}") for h in range(24))
    return wide.select(*ROW, pl.concat_list(c(f"h{h}").fill_null(pl.lit(otherwise)) for h in range(24)).alias(name))


def summed(column: str, rows: pl.Expr | None = None) -> pl.Expr:
    """Return the sum, null where there is no value."""
    values = c(column) if rows is None else c(column).filter(rows)
    return pl.when(values.count() > 0).then(values.sum())


def latest(records: pl.DataFrame, name: str, field: str) -> pl.DataFrame:
    """Return the value of the record received last."""
    return first(records, ROW, *NEWEST).select(*ROW, amount(field, above=0).alias(name))


def known(records: pl.DataFrame, field: str) -> pl.DataFrame:
    """Return the records that say something of it."""
    return records.filter(amount(field, above=0).is_not_null())


def counts(now: pl.DataFrame) -> pl.DataFrame:
    """Records of each kind, and exercise."""
    session = (c("type") == "activities") & ~flag("isParent")
    n = {"n_dailies": "dailies", "n_sleeps": "sleeps", "n_stress": "stressDetails", "n_hrv": "hrv"}
    found = now.group_by(ROW).agg(
        n_records=pl.len(),
        last_received_at=c("received").max(),
        **{name: (c("type") == type_).sum() for name, type_ in n.items()},
        sessions=session.sum(),
        session_s=summed("duration", session),
    )
    none = c("sessions") == 0
    unknown = none & (c("n_dailies") == 0)
    return found.with_columns(
        exercise_sessions=pl.when(~unknown).then("sessions"),
        exercise_min=pl.when(~none).then(c("session_s") / 60).when(~unknown).then(0.0),
    ).drop("sessions", "session_s")


def of_day(dailies: pl.DataFrame) -> pl.DataFrame:
    """Return what is taken as received."""
    lag = c("received").dt.epoch("ms") / 1000 - (c("start") + c("duration"))
    within = {name: amount(field) for name, field in STRESS.items()}
    return dailies.select(
        *ROW,
        steps=amount("steps"),
        average=amount(*AVERAGE_STRESS),
        sync_lag_h=lag / 3600,
        **{name: amount(field) for name, field in TAKEN.items()},
        **{name: amount(field) / 60 for name, field in MINUTES.items()},
        **{name: pl.when(s <= c("duration").fill_null(math.inf)).then(s / 60) for name, s in within.items()},
        **{name: amount(field, above=0) for name, field in RATES.items()},
    )


def daily(lines: pl.DataFrame, work: Work) -> pl.DataFrame:
    """One row a participant and date."""
    now = of_one_account(current(lines), work)
    metrics = of(lines, "userMetrics").join(now.select("account", "date").unique(), on=["account", "date"], how="semi")
    dailies = first(of(now, "dailies"), ROW, "duration", *NEWEST)
    pooled = now.filter(c("type").is_in(["stressDetails", "pulseox", "allDayRespiration"]), ~c("on_demand"))
    read = with_samples(work, pl.concat([dailies, pooled, main_sleeps(of(now, "sleeps"))], how="diagonal"))
    battery = samples(of(read, "stressDetails"), "timeOffsetBodyBatteryValues", *ROW).filter(c("v") >= 0).group_by(ROW)
    table = counts(now)
    for piece in (
        of_day(dailies),
        beats(of(read, "dailies")),
        strain(of(read, "stressDetails")),
        battery.agg(body_battery_max=c("v").max(), body_battery_min=c("v").min()),
        nights(of(read, "sleeps")),
        oxygen(samples(of(read, "pulseox"), "timeOffsetSpo2Values", *ROW), "day"),
        mean(samples(of(read, "allDayRespiration"), "timeOffsetEpochToBreaths", *ROW), "resp_day_brpm"),
        latest(of(now, "hrv"), "hrv_rmssd_ms", "lastNightAvg"),
        *(latest(known(metrics, f), name, f) for name, f in {"vo2max": "vo2Max", "fitness_age": "fitnessAge"}.items()),
        steps(of(now, "epochs")),
    ):
        table = table.join(piece, on=ROW, how="left")
    source = pl.when(c("heart_min").is_not_null()).then(pl.lit("heart_rate"))
    return table.with_columns(
        wear_min=wear(),
        wear_source=source.when(c("stress_samples") > 0).then(pl.lit("stress")),
        is_valid_day=wear() >= 600,
        stress_mean=pl.coalesce("average", "level"),
        spo2_mean_pct=pl.coalesce("night_mean", "day_mean"),
        spo2_lt90_pct=pl.coalesce("night_low", "day_low"),
    ).drop("average", "level", "heart_min", "on_wrist", "stress_samples", "^(night|day)_(mean|low)$")


# -- weekly


def weekly(days: pl.DataFrame) -> pl.DataFrame:
    """One row a participant and week."""
    d = days.lazy().with_columns(
        week=c("date").dt.truncate("1w"),
        n=(c("date").dt.weekday() - 1).cast(pl.Float64),
        valid=c("is_valid_day").fill_null(value=False),
        angle=(c("midsleep_min") % 1440) * (2 * math.pi / 1440),
    )
    week = d.group_by(WEEK).agg(**measures()).join(clock(d), on=WEEK, how="left").join(rhythm(d), on=WEEK, how="left")
    stressed = pl.sum_horizontal(f"sum_{level}" for level in LEVELS)
    has_minutes = c("moderate_min_sum").is_not_null() | c("vigorous_min_sum").is_not_null()
    mvpa = c("moderate_min_sum").fill_null(0) + 2 * c("vigorous_min_sum").fill_null(0)
    level_pct = {name: 100 * c(f"sum_{name}") / pl.when(stressed != 0).then(stressed) for name in ("rest", "high")}
    week = week.with_columns(
        date=c("week").dt.strftime("%Y-%m-%d"),
        is_valid_week=(c("n_valid_days") >= 4) & (c("n_valid_weekend_days") >= 1),
        stress_rest_pct=level_pct["rest"],
        stress_high_pct=level_pct["high"],
        mvpa_equiv_min=pl.when(has_minutes).then(mvpa),
        n_midsleep_nights=c("n_midsleep_nights").fill_null(0),
    )
    m = c("mvpa_equiv_min")
    who = (
        pl.when(m > 300)
        .then(pl.lit("exceeds"))
        .when(m >= 150)
        .then(pl.lit("meets"))
        .when(m.is_not_null() & (c("n_valid_days") < 7))
        .then(pl.lit("unknown"))
        .when(m.is_not_null())
        .then(pl.lit("below"))
    )
    return week.with_columns(who_activity=who).drop("week", "^sum_.*$").collect()


OVER_VALID_DAYS = {
    "steps_mean": "steps",
    "distance_m_mean": "distance_m",
    "floors_mean": "floors",
    "active_kcal_mean": "active_kcal",
    "active_min_mean": "active_min",
    "resting_hr_mean": "resting_hr_bpm",
    "hr_mean": "hr_mean_bpm",
    "stress_mean": "stress_mean",
    "body_battery_max_mean": "body_battery_max",
    "body_battery_min_mean": "body_battery_min",
    "body_battery_charged_mean": "body_battery_charged",
    "body_battery_drained_mean": "body_battery_drained",
    "resp_day_mean": "resp_day_brpm",
}
VALID_DAYS = {
    "n_steps_days": "steps",
    "n_resting_hr_days": "resting_hr_bpm",
    "n_hr_days": "hr_mean_bpm",
    "n_stress_days": "stress_mean",
    "n_resp_day_days": "resp_day_brpm",
}
OVER_ALL_DAYS = {
    "wear_min_mean": "wear_min",
    "hrv_rmssd_mean": "hrv_rmssd_ms",
    "spo2_mean": "spo2_mean_pct",
    "spo2_lt90_pct_mean": "spo2_lt90_pct",
    "resp_sleep_mean": "resp_sleep_brpm",
    "sleep_efficiency_mean": "sleep_efficiency_pct",
    "sleep_waso_min_mean": "sleep_waso_min",
    **{f"sleep_{stage}_pct_mean": f"sleep_{stage}_pct" for stage in STAGES},
}
ALL_DAYS = {
    "n_wear_days": "wear_min",
    "n_hrv_nights": "hrv_rmssd_ms",
    "n_spo2_days": "spo2_mean_pct",
    "n_resp_sleep_days": "resp_sleep_brpm",
    "n_nights": "sleep_tst_min",
}


def measures() -> Mapping[str, pl.Expr]:
    """Return what a week's days are made into, but for the clock times."""
    valid = c("valid")
    has_rest = valid & c("resting_hr_bpm").is_not_null()
    x, y = c("n").filter(has_rest), c("resting_hr_bpm").filter(has_rest)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    worn_h = c("wear_min").filter(valid & c("steps").is_not_null()).sum() / 60
    return {
        **{name: c(column).filter(valid).mean() for name, column in OVER_VALID_DAYS.items()},
        **{name: c(column).filter(valid).count() for name, column in VALID_DAYS.items()},
        **{name: c(column).mean() for name, column in OVER_ALL_DAYS.items()},
        **{name: c(column).count() for name, column in ALL_DAYS.items()},
        "n_days": pl.len(),
        "n_valid_days": valid.sum(),
        "n_valid_weekend_days": (valid & (c("n") >= 5)).sum(),
        "yield_hours": summed("valid_minutes_hours") / 168,
        **{f"completeness_{name}": (c(f"n_{name}") > 0).sum() / 7 for name in ("dailies", "sleeps", "stress", "hrv")},
        "sync_lag_h_median": c("sync_lag_h").median(),
        "steps_median": c("steps").filter(valid).median(),
        "steps_sd": c("steps").filter(valid).std(),
        "steps_sum": summed("steps", valid),
        "steps_per_wear_h": summed("steps", valid & c("wear_min").is_not_null()) / pl.when(worn_h != 0).then(worn_h),
        "moderate_min_sum": summed("moderate_min"),
        "vigorous_min_sum": summed("vigorous_min"),
        "resting_hr_slope": pl.when(y.count() >= 3).then(slope),
        "hrv_ln_rmssd_mean": c("hrv_rmssd_ms").log().mean(),
        "hrv_cv_pct": 100 * c("hrv_rmssd_ms").std() / c("hrv_rmssd_ms").mean(),
        **{f"sum_{level}": summed(f"stress_{level}_min", valid) for level in LEVELS},
        "sleep_tst_h_mean": c("sleep_tst_min").mean() / 60,
        "sleep_tst_h_sd": c("sleep_tst_min").std() / 60,
        "sleep_tib_h_mean": c("sleep_tib_min").mean() / 60,
        "nights_ge7h_pct": 100 * (c("sleep_tst_min") >= 420).mean(),
        **{f"{name}_last": c(name).sort_by("n").drop_nulls().last() for name in ("vo2max", "fitness_age")},
        "exercise_sessions_sum": summed("exercise_sessions"),
        "exercise_min_sum": summed("exercise_min"),
        "n_records": c("n_records").sum(),
        "last_received_at": c("last_received_at").max(),
    }


def clock(days: pl.LazyFrame) -> pl.LazyFrame:
    """Circular statistics of the midsleep. Where angles cancel each other out, they have no mean."""
    d = days.select(*WEEK, "n", "angle").drop_nulls("angle")

    def middle(rows: pl.Expr) -> pl.Expr:
        angle = c("angle").filter(rows)
        north, east = angle.sin().mean(), angle.cos().mean()
        return pl.when((north**2 + east**2).sqrt() > 1e-9).then(pl.arctan2(north, east))

    found = d.group_by(WEEK).agg(
        n_midsleep_nights=pl.len(),
        middle=middle(pl.lit(value=True)),
        jet=middle(c("n") >= 5) - middle(c("n") < 5),
    )
    spread = d.join(found, on=WEEK).group_by(WEEK).agg(q=(2 * ((c("angle") - c("middle")) / 2).sin() ** 2).mean())
    enough = (c("n_midsleep_nights") >= 2) & (c("q") < 1)
    return found.join(spread, on=WEEK).select(
        *WEEK,
        "n_midsleep_nights",
        midsleep_mean_min=wrapped(c("middle")),
        midsleep_sd_min=pl.when(enough).then((-2 * (-c("q")).log1p()).sqrt() * (720 / math.pi)),
        social_jetlag_min=wrapped(c("jet")),
    )


def wrapped(angle: pl.Expr) -> pl.Expr:
    """Minutes in (-720, 720]."""
    minutes = angle * (720 / math.pi)
    return minutes - 1440 * ((minutes - 720) / 1440).ceil()


def rhythm(days: pl.LazyFrame) -> pl.LazyFrame:
    """Regularity of sleep and rhythm of steps, over the week and, as `..._28d`, over it and the three before."""
    mean = c("total").sum() / c("n").sum()
    of_hour = c("total") / c("n")
    product = c("n").sum() * c("squares").sum()
    spread = product - c("total").sum() ** 2
    sums = (
        hourly(days)
        .group_by(*WEEK, "length")
        .agg(
            c("n", "alike").sum(),
            n_pairs=c("n_alike").sum() // 24,
            spread=pl.when(spread > 1e-13 * product).then(spread),
            jump=c("jumps").sum() / c("n_jumps").sum(),
            between=(c("n") * (of_hour - mean) ** 2).sum(),
            whole=c("n").min() > 0,
            profile=of_hour.sort_by("hour"),
        )
    )
    twice = pl.concat_list("profile", "profile").list
    most = pl.max_horizontal(twice.slice(h, 10).list.sum() for h in range(24)) / 10
    least = pl.min_horizontal(twice.slice(h, 5).list.sum() for h in range(24)) / 5
    short = c("length") == 7
    enough = c("n") >= pl.when(short).then(120).otherwise(336)
    pairs = c("n_pairs") >= pl.when(short).then(4).otherwise(14)
    found = sums.with_columns(most=most, least=least).select(
        *WEEK,
        "length",
        sleep_regularity_index=pl.when(pairs).then(-100 + 200 * c("alike") / (1440 * c("n_pairs"))),
        n_sleep_pairs="n_pairs",
        interdaily_stability=pl.when(enough & c("whole")).then(c("n") * c("between") / c("spread")),
        intradaily_variability=pl.when(enough).then(c("n") ** 2 * c("jump") / c("spread")),
        relative_amplitude=pl.when(enough & c("whole") & (c("most") + c("least") > 0)).then(
            (c("most") - c("least")) / (c("most") + c("least"))
        ),
        n_step_hours="n",
    )
    week, longer = (found.filter(c("length") == length).drop("length") for length in (7, 28))
    return week.join(longer, on=WEEK, suffix="_28d")


def hourly(days: pl.LazyFrame) -> pl.LazyFrame:
    """Return what the hours of the clock have in the 7 or 28 days (`length`) that end with a week."""
    nothing = {name: pl.lit([None] * 24, pl.List(type_)) for name, type_ in HOURS.items()}
    d = days.select(*WEEK, "date", "n", **{name: c(name).fill_null(empty) for name, empty in nothing.items()})
    eve = d.select(
        "participant_id",
        c("date").dt.offset_by("1d"),
        eve_asleep="asleep_by_hour",
        last_x=c("steps_by_hour").list.last(),
    )
    spans = pl.LazyFrame({"length": [7, 28, 28, 28, 28], "later": [0, 0, 1, 2, 3]})
    near = (c("n") > 0) | (7 * c("later") < c("length") - 7)
    return (
        d.join(eve, on=ROW, how="left")
        .join(spans, how="cross")
        .with_columns(
            week=c("week") + pl.duration(weeks="later"),
            last_x=pl.when(near).then("last_x"),
            eve_asleep=pl.when(near).then("eve_asleep").fill_null(nothing["asleep_by_hour"]),
        )
        .join(days.select(WEEK), on=WEEK, how="semi")
        .select(
            *WEEK,
            "length",
            "eve_asleep",
            hour=pl.lit(list(range(24)), pl.List(pl.Int64)),
            asleep="asleep_by_hour",
            x="steps_by_hour",
            before=pl.concat_list("last_x", c("steps_by_hour").list.head(23)),
        )
        .explode("hour", "asleep", "eve_asleep", "x", "before")
        .select(
            *WEEK,
            "length",
            "hour",
            "x",
            jump=(c("x") - c("before")) ** 2,
            alike=60 - ones(c("asleep") ^ c("eve_asleep")),
        )
        .group_by(*WEEK, "length", "hour")
        .agg(
            c("alike").sum(),
            total=c("x").sum(),
            n=c("x").count(),
            squares=(c("x") ** 2).sum(),
            jumps=c("jump").sum(),
            n_jumps=c("jump").count(),
            n_alike=c("alike").count(),
        )
    )


def compute(work: Work) -> None:
    """Both tables of all weeks in the lake."""
    days = daily(read(work), work)
    days.with_columns(c("date").dt.strftime("%Y-%m-%d")).write_parquet(work.out / "daily.parquet")
    weekly(days).write_parquet(work.out / "weekly.parquet")


if __name__ == "__main__":
    run_peer(compute)
