"""Peer (b): the tables in Polars, from a declared schema. Sample maps are read as text and split at once, file by file,
which is three times as fast as Polars' own map type. Any other field is read as text first: it may be of another type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from glob import glob

import polars as pl

from benchmarks.peers.program import Work, run_peer

NUMBERS = [
    "startTimeInSeconds",
    "startTimeOffsetInSeconds",
    "durationInSeconds",
    "measurementTimeInSeconds",
    "steps",
    "distanceInMeters",
    "floorsClimbed",
    "activeKilocalories",
    "activeTimeInSeconds",
    "moderateIntensityDurationInSeconds",
    "vigorousIntensityDurationInSeconds",
    "restingHeartRateInBeatsPerMinute",
    "minHeartRateInBeatsPerMinute",
    "maxHeartRateInBeatsPerMinute",
    "averageStressLevel",
    "restStressDurationInSeconds",
    "lowStressDurationInSeconds",
    "mediumStressDurationInSeconds",
    "highStressDurationInSeconds",
    "bodyBatteryChargedValue",
    "bodyBatteryDrainedValue",
    "awakeDurationInSeconds",
    "unmeasurableSleepInSeconds",
    "deepSleepDurationInSeconds",
    "lightSleepDurationInSeconds",
    "remSleepInSeconds",
    "lastNightAvg",
    "vo2Max",
    "fitnessAge",
]
TEXTS = ["userId", "_summary_type", "_received_at", "_ingest_id", "summaryId", "activityType", "validation"]
SAMPLES = {
    "timeOffsetHeartRateSamples": pl.Int32,
    "timeOffsetStressLevelValues": pl.Int32,
    "timeOffsetBodyBatteryValues": pl.Int32,
    "timeOffsetSleepSpo2": pl.Int32,
    "timeOffsetSleepRespiration": pl.Float64,
    "timeOffsetSpo2Values": pl.Int32,
    "timeOffsetEpochToBreaths": pl.Float64,
}
LEVELS = ("deep", "light", "rem", "awake")
SPANS = pl.List(pl.Struct({"startTimeInSeconds": pl.Float64, "endTimeInSeconds": pl.Float64}))
LEVELS_MAP = pl.Struct(dict.fromkeys(LEVELS, SPANS))
SCHEMA = {
    **dict.fromkeys([*NUMBERS, "averageStresslevel", *TEXTS, *SAMPLES, "sleepLevelsMap"], pl.String),
    **dict.fromkeys(("onDemand", "isParent"), pl.Boolean),
    "summary": pl.Struct({"startTimeInSeconds": pl.Float64}),
}
ROW = ["participant_id", "date"]
WEEK = ["participant_id", "week"]
HOURS = {"steps_by_hour": pl.Float64, "asleep_by_hour": pl.Int64}
POWERS = pl.lit(pl.Series([1 << bit for bit in range(61)], dtype=pl.Int64))
c = pl.col


def read(work: Work) -> pl.DataFrame:
    """Return all lines of enrolled people."""
    people = pl.read_csv(work.people, schema={"user_id": pl.String, "participant_id": pl.String})
    lines = pl.scan_ndjson(sorted(glob(work.raw)), schema=SCHEMA, include_file_paths="path")
    lines = lines.with_columns(pl.coalesce("averageStressLevel", "averageStresslevel").alias("averageStressLevel"))
    return (
        lines.join(people.lazy(), left_on="userId", right_on="user_id")
        .with_columns(c(NUMBERS).cast(pl.Float64, strict=False))
        .with_columns(
            date=c("path").str.extract(r"date=(\d{4}-\d{2}-\d{2})/[^/]*$").str.to_date("%Y-%m-%d"),
            type=c("_summary_type").replace("manuallyUpdatedActivities", "activities"),
            start=pl.coalesce(
                "startTimeInSeconds", "measurementTimeInSeconds", c("summary").struct.field("startTimeInSeconds")
            ),
            **{name: numbers(name, type_) for name, type_ in SAMPLES.items()},
        )
        .drop(
            "path", "summary", "averageStresslevel", "_summary_type", "startTimeInSeconds", "measurementTimeInSeconds"
        )
        .collect()
    )


def numbers(name: str, type_: type[pl.DataType]) -> pl.Expr:
    """Return all numbers of a sample map in a list: time, value, time, value ..."""
    pairs = pl.when(c(name) != "{}").then(c(name)).str.strip_chars('{}"')
    return pairs.str.replace_all('": ', ', "', literal=True).str.split(', "').cast(pl.List(type_))


def current(lines: pl.DataFrame) -> pl.DataFrame:
    """Return the lines that no later one supersedes.

    Hardly a line has another version, and only those that do are sorted.
    """
    kind, order = c("type"), ("_received_at", "durationInSeconds", "_ingest_id", "summaryId")
    keys = lines.select(
        *("userId", "date", "type", *order),
        key_s=pl.when(~kind.is_in(["activities", "userMetrics"])).then("start"),
        key=pl.when(kind == "epochs").then("activityType").when(kind == "activities").then("summaryId"),
        on_demand=(kind == "pulseox") & c("onDemand").fill_null(value=False),
    ).with_row_index("row")
    same = ["userId", "date", "type", "key_s", "key", "on_demand"]
    several = keys.filter(pl.struct(same).hash().is_duplicated()).sort(*order, descending=True, nulls_last=True)
    superseded = several.filter(~pl.struct(same).is_first_distinct())["row"]
    now = pl.ones(lines.height, dtype=pl.Boolean, eager=True).scatter(superseded, False)
    return lines.filter(now).with_columns(midnight=c("date").dt.epoch("s").cast(pl.Float64))


def longest(records: pl.LazyFrame) -> pl.LazyFrame:
    """One record a participant and date."""
    order = ("durationInSeconds", "_received_at", "_ingest_id")
    found = records.sort(*order, descending=True, nulls_last=True).unique(ROW, keep="first")
    return found.collect().lazy()  # it is asked for several times


def samples(records: pl.LazyFrame, field: str, *names: str) -> pl.LazyFrame:
    """Return the samples of a map, one a row: participant_id, date or what else is named, t, v."""
    numbers = c(field).list
    return (
        records.filter(c(field).is_not_null())
        .select(*(names or ROW), t=numbers.gather_every(2), v=numbers.gather_every(2, 1))
        .explode("t", "v")
    )


def of(records: pl.DataFrame, type_: str) -> pl.LazyFrame:
    """Return the records of a type."""
    return records.lazy().filter(c("type") == type_)


def beats(dailies: pl.LazyFrame) -> pl.LazyFrame:
    """Wear and mean of the heart rate. The 15-s slots of a quarter of an hour are the bits of an integer, four a minute."""
    lead = (c("start") + c("startTimeOffsetInSeconds") - c("midnight")).cast(pl.Int32)
    d = dailies.select(*ROW, "timeOffsetHeartRateSamples", lead=lead).with_row_index("row")
    found = samples(d, "timeOffsetHeartRateSamples", "row", "lead").filter(c("v") > 0)
    at, bits = c("t") + c("lead"), c("slots")
    minutes = (bits | bits // 2 | bits // 4 | bits // 8) & 0x111111111111111
    by_row = (
        found.select("row", "v", quarter=at // 900, bit=POWERS.gather(at // 15 % 60))
        .group_by("row", "quarter")
        .agg(slots=c("bit").bitwise_or(), total=c("v").sum(), n=pl.len())
        .group_by("row", hour=c("quarter") // 4)
        .agg(c("total", "n").sum(), slots=ones(bits).sum(), minutes=ones(minutes).sum())
        .group_by("row")
        .agg(
            c("slots").sum(),
            hr_mean_bpm=c("total").sum() / c("n").sum(),
            valid_minutes_hours=(c("minutes") >= 40).sum(),
        )
    )
    return d.select(*ROW, "row").join(by_row, on="row").drop("row")


def ones(bits: pl.Expr) -> pl.Expr:
    """Return how many bits are set."""
    return bits.bitwise_count_ones().cast(pl.Int64)


def oxygen(found: pl.LazyFrame, prefix: str) -> pl.LazyFrame:
    """Mean and share below 90."""
    low = 100 * (c("v") < 90).mean()
    return found.filter(c("v") > 0).group_by(ROW).agg(c("v").mean().alias(f"{prefix}_mean"), low.alias(f"{prefix}_low"))


def nights(sleeps: pl.LazyFrame) -> pl.LazyFrame:
    """Return the main sleep of each date."""
    seen = sleeps.filter(
        c("durationInSeconds") > 0,
        ~c("validation").fill_null("").str.to_uppercase().is_in(["OFF_WRIST", "MANUAL"]),
    )
    in_bed = (
        c("durationInSeconds") + c("awakeDurationInSeconds").fill_null(0) + c("unmeasurableSleepInSeconds").fill_null(0)
    )
    s = longest(seen).with_columns(in_bed=in_bed, to_local=c("startTimeOffsetInSeconds") - c("midnight"))
    levels = s.select(*ROW, "start", "to_local", levels=c("sleepLevelsMap").str.json_decode(LEVELS_MAP))
    spans = pl.concat(
        levels.select(*ROW, "start", "to_local", level=pl.lit(level), span=c("levels").struct.field(level))
        for level in LEVELS
    )
    spans = spans.explode("span").unnest("span")
    begin, end = c("startTimeInSeconds"), c("endTimeInSeconds")
    last = spans.filter(end > c("start"), end <= c("start") + 172800).group_by(ROW).agg(end.max().alias("end"))
    s = s.join(last, on=ROW, how="left").with_columns(finish=c("end").fill_null(c("start") + c("in_bed")))
    awake = spans.filter(c("level") == "awake").select(*ROW, "to_local", begin=begin, end=end, awake=True)
    whole = s.select(*ROW, "to_local", begin="start", end="finish", awake=False)
    breaths = samples(s, "timeOffsetSleepRespiration").filter(c("v") > 0)
    asleep = c("durationInSeconds")
    return (
        s.select(
            *ROW,
            sleep_tst_min=asleep / 60,
            sleep_tib_min=c("in_bed") / 60,
            sleep_waso_min=c("awakeDurationInSeconds") / 60,
            sleep_efficiency_pct=100 * asleep / c("in_bed"),
            sleep_deep_pct=100 * c("deepSleepDurationInSeconds") / asleep,
            sleep_light_pct=100 * c("lightSleepDurationInSeconds") / asleep,
            sleep_rem_pct=100 * c("remSleepInSeconds") / asleep,
            sleep_start_min=(c("start") + c("to_local")) / 60,
            sleep_end_min=(c("finish") + c("to_local")) / 60,
        )
        .with_columns(midsleep_min=(c("sleep_start_min") + c("sleep_end_min")) / 2)
        .join(oxygen(samples(s, "timeOffsetSleepSpo2"), "night"), on=ROW, how="left")
        .join(breaths.group_by(ROW).agg(resp_sleep_brpm=c("v").mean()), on=ROW, how="left")
        .join(minutes_asleep(pl.concat([whole, awake])), on=ROW, how="left")
    )


def minutes_asleep(spans: pl.LazyFrame) -> pl.LazyFrame:
    """Return the minutes in the night and in no awake span, as bits of the 24 hours of the clock."""
    minute = {name: ((c(name) + c("to_local")) / 60).ceil().cast(pl.Int64) + 1440 for name in ("begin", "end")}
    timed = spans.select(*ROW, "awake", **minute).drop_nulls("begin")
    hours = timed.with_columns(nth=pl.int_ranges(c("begin") // 60, (c("end") + 59) // 60)).explode("nth")
    low = pl.max_horizontal(c("begin") - 60 * c("nth"), 0)
    high = pl.min_horizontal(c("end") - 60 * c("nth"), 60)
    bits = POWERS.gather(high) - POWERS.gather(low)
    found = (
        hours.select(*ROW, "awake", bits=bits, hour=c("nth") % 24)
        .group_by(*ROW, "hour")
        .agg(
            inside=pl.when(~c("awake")).then("bits").otherwise(0).bitwise_or(),
            awake=pl.when("awake").then("bits").otherwise(0).bitwise_or(),
        )
    )
    return by_hour(found.select(*ROW, "hour", asleep_by_hour=c("inside") & ~c("awake")), otherwise=0)


def latest(records: pl.LazyFrame, **columns: str) -> pl.LazyFrame:
    """Return the values of the record received last."""
    newest = records.sort("_received_at", descending=True).unique(ROW, keep="first")
    return newest.select(*ROW, **{name: pl.when(c(field) > 0).then(field) for name, field in columns.items()})


def steps(epochs: pl.LazyFrame) -> pl.LazyFrame:
    """Steps of each local hour."""
    hour = (c("start") + c("startTimeOffsetInSeconds")).cast(pl.Int64) // 3600 % 24
    return by_hour(epochs.group_by(*ROW, hour=hour).agg(steps_by_hour=c("steps").sum()))


def by_hour(found: pl.LazyFrame, otherwise: int | None = None) -> pl.LazyFrame:
    """Return the last column of rows that have one hour each, as a list of 24."""
    *_, name = found.collect_schema()
    wide = found.group_by(ROW).agg(c(name).filter(c("hour") == h).max().alias(f"h{h}") for h in range(24))
    return wide.select(*ROW, pl.concat_list(c(f"h{h}").fill_null(pl.lit(otherwise)) for h in range(24)).alias(name))


def daily(now: pl.DataFrame) -> pl.DataFrame:
    """One row a participant and date."""
    dailies, stress_details = longest(of(now, "dailies")), of(now, "stressDetails")
    session = (c("type") == "activities") & ~c("isParent").fill_null(value=False)
    counts = (
        now.lazy()
        .group_by(ROW)
        .agg(
            n_records=pl.len(),
            last_received_at=c("_received_at").max(),
            n_dailies=(c("type") == "dailies").sum(),
            n_sleeps=(c("type") == "sleeps").sum(),
            n_stress=(c("type") == "stressDetails").sum(),
            n_hrv=(c("type") == "hrv").sum(),
            sessions=session.sum(),
            session_s=c("durationInSeconds").filter(session).sum(),
        )
    )
    stress = (
        samples(stress_details, "timeOffsetStressLevelValues")
        .group_by(ROW)
        .agg(
            stress_samples=pl.len(),
            worn=(c("v") != -1).sum(),
            level=c("v").filter(c("v") >= 0).mean(),
        )
    )
    battery = samples(stress_details, "timeOffsetBodyBatteryValues").filter(c("v") >= 0).group_by(ROW)
    all_day = of(now, "pulseox").filter(~c("onDemand").fill_null(value=False))
    breaths = samples(of(now, "allDayRespiration"), "timeOffsetEpochToBreaths").filter(c("v") > 0)
    table = counts
    for piece in (
        dailies.drop("type", "midnight", *SAMPLES, "sleepLevelsMap"),
        beats(dailies),
        stress,
        battery.agg(body_battery_max=c("v").max(), body_battery_min=c("v").min()),
        nights(of(now, "sleeps")),
        oxygen(samples(all_day, "timeOffsetSpo2Values"), "day"),
        breaths.group_by(ROW).agg(resp_day_brpm=c("v").mean()),
        latest(of(now, "hrv"), hrv_rmssd_ms="lastNightAvg"),
        latest(of(now, "userMetrics"), vo2max="vo2Max", fitness_age="fitnessAge"),
        steps(of(now, "epochs")),
    ):
        table = table.join(piece, on=ROW, how="left")
    return finish(table).collect()


def positive(name: str) -> pl.Expr:
    """Return a value above 0."""
    return pl.when(c(name) > 0).then(name)


def time(text: pl.Expr) -> pl.Expr:
    """Return a time of receipt."""
    return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms", time_zone="UTC")


def finish(day: pl.LazyFrame) -> pl.LazyFrame:
    """Return the columns under their names."""
    received = time(c("_received_at")).dt.epoch("ms") / 1000
    known = (c("sessions") > 0) | (c("n_dailies") > 0)
    wear = (c("slots") / 4).fill_null(3.0 * c("worn"))
    names = {
        "distance_m": "distanceInMeters",
        "floors": "floorsClimbed",
        "active_kcal": "activeKilocalories",
        "body_battery_charged": "bodyBatteryChargedValue",
        "body_battery_drained": "bodyBatteryDrainedValue",
    }
    seconds = {
        "active_min": "activeTimeInSeconds",
        "moderate_min": "moderateIntensityDurationInSeconds",
        "vigorous_min": "vigorousIntensityDurationInSeconds",
        **{f"stress_{level}_min": f"{level}StressDurationInSeconds" for level in ("rest", "low", "medium", "high")},
    }
    return day.select(
        *ROW,
        *("hr_mean_bpm", "valid_minutes_hours", "steps", "body_battery_max", "body_battery_min", "hrv_rmssd_ms"),
        *("vo2max", "fitness_age", "resp_sleep_brpm", "resp_day_brpm", "steps_by_hour", "sleep_tst_min"),
        *("sleep_tib_min", "sleep_waso_min", "sleep_efficiency_pct", "sleep_deep_pct", "sleep_light_pct"),
        *("sleep_rem_pct", "sleep_start_min", "sleep_end_min", "midsleep_min"),
        *("asleep_by_hour", "n_records", "n_dailies", "n_sleeps", "n_stress", "n_hrv"),
        last_received_at=time(c("last_received_at")),
        **{name: c(field) for name, field in names.items()},
        **{name: c(field) / 60 for name, field in seconds.items()},
        wear_min=wear,
        wear_source=pl.when(c("slots").is_not_null())
        .then(pl.lit("heart_rate"))
        .when(c("stress_samples") > 0)
        .then(pl.lit("stress")),
        is_valid_day=wear >= 600,
        resting_hr_bpm=positive("restingHeartRateInBeatsPerMinute"),
        hr_min_bpm=positive("minHeartRateInBeatsPerMinute"),
        hr_max_bpm=positive("maxHeartRateInBeatsPerMinute"),
        stress_mean=pl.coalesce(pl.when(c("averageStressLevel") >= 0).then("averageStressLevel"), "level"),
        spo2_mean_pct=pl.coalesce("night_mean", "day_mean"),
        spo2_lt90_pct=pl.coalesce("night_low", "day_low"),
        exercise_sessions=pl.when(known).then("sessions"),
        exercise_min=pl.when(known).then(c("session_s") / 60),
        sync_lag_h=(received - (c("start") + c("durationInSeconds"))) / 3600,
    )


def weekly(days: pl.DataFrame) -> pl.DataFrame:
    """One row a participant and week."""
    d = days.lazy().with_columns(
        week=c("date").dt.truncate("1w"),
        n=(c("date").dt.weekday() - 1).cast(pl.Float64),
        valid=c("is_valid_day").fill_null(value=False),
        angle=c("midsleep_min") * (2 * math.pi / 1440),
    )
    week = d.group_by(WEEK).agg(*measures()).join(clock(d), on=WEEK, how="left").join(rhythm(d), on=WEEK, how="left")
    stressed = pl.sum_horizontal(f"sum_{level}" for level in ("rest", "low", "medium", "high"))
    has_minutes = c("moderate_min_sum").is_not_null() | c("vigorous_min_sum").is_not_null()
    mvpa = c("moderate_min_sum").fill_null(0) + 2 * c("vigorous_min_sum").fill_null(0)
    share = {name: 100 * c(f"sum_{name}") / pl.when(stressed != 0).then(stressed) for name in ("rest", "high")}
    week = week.with_columns(
        date=c("week").dt.strftime("%Y-%m-%d"),
        is_valid_week=(c("n_valid_days") >= 4) & (c("n_valid_weekend_days") >= 1),
        stress_rest_pct=share["rest"],
        stress_high_pct=share["high"],
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


def summed(column: str, rows: pl.Expr | None = None) -> pl.Expr:
    """Return the sum, null where there is no value."""
    values = c(column) if rows is None else c(column).filter(rows)
    return pl.when(values.count() > 0).then(values.sum())


def means(names: Sequence[str]) -> dict[str, pl.Expr]:
    """Means over the valid days: `new=old` pairs."""
    pairs = [name.split("=") for name in names]
    return {new: c(old).filter(c("valid")).mean() for new, old in pairs}


def counts(names: Sequence[str]) -> dict[str, pl.Expr]:
    """Return values on valid days: `new=old` pairs."""
    pairs = [name.split("=") for name in names]
    return {new: c(old).filter(c("valid")).count() for new, old in pairs}


def measures() -> list[pl.Expr]:
    """Return what a week's days are made into, but for the clock times."""
    valid = c("valid")
    has_rest = valid & c("resting_hr_bpm").is_not_null()
    x, y = c("n").filter(has_rest), c("resting_hr_bpm").filter(has_rest)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    worn_h = c("wear_min").filter(valid & c("steps").is_not_null()).sum() / 60
    named = {
        "n_days": pl.len(),
        "n_valid_days": valid.sum(),
        "n_valid_weekend_days": (valid & (c("n") >= 5)).sum(),
        "yield_hours": summed("valid_minutes_hours") / 168,
        **{f"completeness_{name}": (c(f"n_{name}") > 0).sum() / 7 for name in ("dailies", "sleeps", "stress", "hrv")},
        "wear_min_mean": c("wear_min").mean(),
        "n_wear_days": c("wear_min").count(),
        "sync_lag_h_median": c("sync_lag_h").median(),
        **means(
            [
                "steps_mean=steps",
                "distance_m_mean=distance_m",
                "floors_mean=floors",
                "active_kcal_mean=active_kcal",
                "active_min_mean=active_min",
                "resting_hr_mean=resting_hr_bpm",
                "hr_mean=hr_mean_bpm",
                "stress_mean=stress_mean",
                "body_battery_max_mean=body_battery_max",
                "body_battery_min_mean=body_battery_min",
                "body_battery_charged_mean=body_battery_charged",
                "body_battery_drained_mean=body_battery_drained",
                "spo2_mean=spo2_mean_pct",
                "spo2_lt90_pct_mean=spo2_lt90_pct",
                "resp_sleep_mean=resp_sleep_brpm",
                "resp_day_mean=resp_day_brpm",
            ]
        ),
        **counts(
            [
                "n_steps_days=steps",
                "n_resting_hr_days=resting_hr_bpm",
                "n_hr_days=hr_mean_bpm",
                "n_stress_days=stress_mean",
                "n_spo2_days=spo2_mean_pct",
                "n_resp_sleep_days=resp_sleep_brpm",
                "n_resp_day_days=resp_day_brpm",
            ]
        ),
        "steps_median": c("steps").filter(valid).median(),
        "steps_sd": c("steps").filter(valid).std(),
        "steps_sum": summed("steps", valid),
        "steps_per_wear_h": summed("steps", valid & c("wear_min").is_not_null()) / pl.when(worn_h != 0).then(worn_h),
        "moderate_min_sum": summed("moderate_min"),
        "vigorous_min_sum": summed("vigorous_min"),
        "resting_hr_slope": pl.when(y.count() >= 3).then(slope),
        "hrv_rmssd_mean": c("hrv_rmssd_ms").mean(),
        "hrv_ln_rmssd_mean": c("hrv_rmssd_ms").log().mean(),
        "hrv_cv_pct": 100 * c("hrv_rmssd_ms").std() / c("hrv_rmssd_ms").mean(),
        "n_hrv_nights": c("hrv_rmssd_ms").count(),
        **{f"sum_{level}": summed(f"stress_{level}_min", valid) for level in ("rest", "low", "medium", "high")},
        "sleep_tst_h_mean": c("sleep_tst_min").mean() / 60,
        "sleep_tst_h_sd": c("sleep_tst_min").std() / 60,
        "sleep_tib_h_mean": c("sleep_tib_min").mean() / 60,
        "sleep_efficiency_mean": c("sleep_efficiency_pct").mean(),
        "sleep_waso_min_mean": c("sleep_waso_min").mean(),
        **{f"sleep_{stage}_pct_mean": c(f"sleep_{stage}_pct").mean() for stage in ("deep", "light", "rem")},
        "n_nights": c("sleep_tst_min").count(),
        "nights_ge7h_pct": 100 * (c("sleep_tst_min") >= 420).mean(),
        **{f"{name}_last": c(name).sort_by("n").drop_nulls().last() for name in ("vo2max", "fitness_age")},
        "exercise_sessions_sum": summed("exercise_sessions"),
        "exercise_min_sum": summed("exercise_min"),
        "n_records": c("n_records").sum(),
        "last_received_at": c("last_received_at").max(),
    }
    return [expression.alias(name) for name, expression in named.items()]


def clock(days: pl.LazyFrame) -> pl.LazyFrame:
    """Circular statistics of the midsleep."""
    d = days.select(*WEEK, "n", "angle").drop_nulls("angle")

    def middle(rows: pl.Expr) -> pl.Expr:
        angle = c("angle").filter(rows)
        return pl.arctan2(angle.sin().mean(), angle.cos().mean())

    found = d.group_by(WEEK).agg(
        n_midsleep_nights=pl.len(),
        middle=middle(pl.lit(value=True)),
        jet=(middle(c("n") >= 5) - middle(c("n") < 5)) * (720 / math.pi),
    )
    spread = d.join(found, on=WEEK).group_by(WEEK).agg(q=(2 * ((c("angle") - c("middle")) / 2).sin() ** 2).mean())
    minutes, jet = c("middle") * (720 / math.pi), c("jet")
    return found.join(spread, on=WEEK).select(
        *WEEK,
        "n_midsleep_nights",
        midsleep_mean_min=pl.when(minutes <= -720).then(minutes + 1440).otherwise(minutes),
        midsleep_sd_min=pl.when(c("n_midsleep_nights") >= 2).then((-2 * (1 - c("q")).log()).sqrt() * (720 / math.pi)),
        social_jetlag_min=pl.when(jet <= -720).then(jet + 1440).when(jet > 720).then(jet - 1440).otherwise(jet),
    )


def rhythm(days: pl.LazyFrame) -> pl.LazyFrame:
    """Regularity of sleep and rhythm of steps, over the week and, as `..._28d`, over it and the three before."""
    profile = hourly(days)
    mean = c("total").sum() / c("n").sum()
    of_hour = c("total") / c("n")
    sums = profile.group_by(*WEEK, "length").agg(
        c("n", "alike").sum(),
        n_pairs=c("n_alike").sum() // 24,
        spread=c("n").sum() * c("squares").sum() - c("total").sum() ** 2,
        jump=c("jumps").sum() / c("n_jumps").sum(),
        between=((of_hour - mean) ** 2).sum() / 24,
        whole=c("n").min() > 0,
        profile=of_hour.sort_by("hour"),
    )
    twice = pl.concat_list("profile", "profile").list
    most = pl.max_horizontal(twice.slice(h, 10).list.sum() for h in range(24)) / 10
    least = pl.min_horizontal(twice.slice(h, 5).list.sum() for h in range(24)) / 5
    enough, n2 = c("n") >= 72, c("n") ** 2 / pl.when(c("spread") > 0).then("spread")
    found = sums.with_columns(most=most, least=least).select(
        *WEEK,
        "length",
        sleep_regularity_index=pl.when(c("n_pairs") >= 3).then(-100 + 200 * c("alike") / (1440 * c("n_pairs"))),
        n_sleep_pairs="n_pairs",
        interdaily_stability=pl.when(enough & c("whole")).then(n2 * c("between")),
        intradaily_variability=pl.when(enough).then(n2 * c("jump")),
        relative_amplitude=pl.when(enough & c("whole") & (c("most") > 0)).then(
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
    days = daily(current(read(work)))
    days.with_columns(c("date").dt.strftime("%Y-%m-%d")).write_parquet(work.out / "daily.parquet")
    weekly(days).write_parquet(work.out / "weekly.parquet")


if __name__ == "__main__":
    run_peer(compute)
