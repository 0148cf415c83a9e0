"""Peer (c): the tables in pandas. Lines are parsed one by one by orjson, sample maps become NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from benchmarks.peers.garmin_fields import TYPES
from benchmarks.peers.program import Work, run_peer

MEASURED = ["bodyComps", "bloodPressures"]
GROWING = ["dailies", "epochs", "stressDetails", "pulseox", "allDayRespiration", "hrv"]
FINALITY = {"AUTO_MANUAL": 4, "ENHANCED_FINAL": 3, "ENHANCED_TENTATIVE": 1, "AUTO_TENTATIVE": 0}
STAGES = {"deep": "deepSleepDurationInSeconds", "light": "lightSleepDurationInSeconds", "rem": "remSleepInSeconds"}
AMOUNTS = {
    "duration": ["durationInSeconds"],
    "steps": ["steps"],
    "distance_m": ["distanceInMeters"],
    "floors": ["floorsClimbed"],
    "active_kcal": ["activeKilocalories"],
    "active_s": ["activeTimeInSeconds"],
    "moderate_s": ["moderateIntensityDurationInSeconds"],
    "vigorous_s": ["vigorousIntensityDurationInSeconds"],
    "average_stress": ["averageStressLevel", "averageStresslevel"],
    "rest_s": ["restStressDurationInSeconds"],
    "low_s": ["lowStressDurationInSeconds"],
    "medium_s": ["mediumStressDurationInSeconds"],
    "high_s": ["highStressDurationInSeconds"],
    "body_battery_charged": ["bodyBatteryChargedValue"],
    "body_battery_drained": ["bodyBatteryDrainedValue"],
    "awake_s": ["awakeDurationInSeconds"],
    "unmeasurable_s": ["unmeasurableSleepInSeconds", "unmeasurableSleepDurationInSeconds"],
    **{f"{stage}_s": [field] for stage, field in STAGES.items()},
}
POSITIVE = {
    "resting_hr_bpm": "restingHeartRateInBeatsPerMinute",
    "hr_min_bpm": "minHeartRateInBeatsPerMinute",
    "hr_max_bpm": "maxHeartRateInBeatsPerMinute",
    "hrv_rmssd_ms": "lastNightAvg",
    "vo2max": "vo2Max",
    "fitness_age": "fitnessAge",
}
KEPT = [
    "activityType",
    "validation",
    "sleepLevelsMap",
    "timeOffsetHeartRateSamples",
    "timeOffsetStressLevelValues",
    "timeOffsetBodyBatteryValues",
    "timeOffsetSleepSpo2",
    "timeOffsetSleepRespiration",
    "timeOffsetSpo2Values",
    "timeOffsetEpochToBreaths",
]
OFFSETS = [
    "startTimeOffsetInSeconds",
    "measurementTimeOffsetInSeconds",
    "offsetStartTimeInSeconds",
    "offsetInSeconds",
]
ROW = ["participant_id", "date"]
WEEK = ["participant_id", "week"]
SLICE = ["user", "date", "key_s", "key_id"]
KEY = [*SLICE, "type", "onDemand"]
NEWEST = ["received", "body", "row"]
Record = dict[str, Any]


# -- which records count


def number(value: object) -> float | None:
    """Return a number, or text that is one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if abs(found) <= 1e15 else None


def amount(record: Record, *names: str) -> float | None:
    """Return the first of the fields that is 0 and more."""
    return next((found for name in names if (found := number(record.get(name))) is not None and found >= 0), None)


def yes(value: object) -> bool:
    """Return whether a flag is set."""
    return value in (True, 1) or str(value).lower() in ("true", "1")


def fields(record: Record) -> Record:
    """Return what is needed of a line, under our names."""
    summary = record.get("summary")
    nested = summary if isinstance(summary, dict) else {}
    starts = [record.get("startTimeInSeconds"), record.get("measurementTimeInSeconds")]
    if record.get("_summary_type") in MEASURED:
        starts.reverse()
    starts = [number(start) for start in (*starts, nested.get("startTimeInSeconds"))]
    offsets = [number(offset) for offset in (*map(record.get, OFFSETS), nested.get("startTimeOffsetInSeconds"))]
    found = {name: record.get(name) for name in KEPT}
    found |= {name: amount(record, *names) for name, names in AMOUNTS.items()}
    found |= {name: amount(record, field) or None for name, field in POSITIVE.items()}
    kind = record.get("_summary_type")
    return found | {
        "type": TYPES.get(kind, kind),
        "start": next((start for start in starts if start is not None), None),
        "offset": next((offset for offset in offsets if offset is not None), None),
        "change": number(record.get("changeTimeInSeconds")),
        "summaryId": record.get("summaryId") or None,
        "onDemand": yes(record.get("onDemand")),
        "isParent": yes(record.get("isParent")),
        "received": record.get("_received_at"),
    }


def lines(work: Work) -> Iterator[Record]:
    """Yield each line of enrolled people."""
    people = pd.read_csv(work.people, dtype=str).set_index("user_id")["participant_id"].to_dict()
    for path in sorted(glob(work.raw)):
        date = path.split("date=")[1][:10]
        for line in Path(path).read_bytes().splitlines():
            record = orjson.loads(line)
            user = record.get("userId")
            if user in people and record.get("_summary_type") != "qolTest":
                whose = {"participant_id": people[user], "date": date, "user": user}
                yield whose | {"body": record.get("_ingest_id") or path} | fields(record)


def read(work: Work) -> pd.DataFrame:
    """Return all lines of enrolled people; `row` is their order."""
    frame = pd.DataFrame.from_records(list(lines(work)))
    names = ["start", "offset", "change", *AMOUNTS, *POSITIVE]
    frame[names] = frame[names].astype(float)
    frame["received"] = pd.to_datetime(frame["received"], utc=True, format="ISO8601").astype("datetime64[ms, UTC]")
    frame["midnight"] = pd.to_datetime(frame["date"]).astype("datetime64[s]").astype("int64")
    frame["row"] = np.arange(len(frame))
    return frame


def current(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the records that no other version supersedes."""
    kind, at = frame["type"], frame["start"].fillna(frame["change"])
    dated, identified = kind == "userMetrics", (kind == "activities") & frame["summaryId"].notna()
    keyed = frame.assign(
        key_s=at.where(~dated & ~identified),
        key_id=frame["summaryId"].where(identified | (~dated & at.isna())),
        onDemand=frame["onDemand"] & (kind == "pulseox"),
    )
    epochs = kind == "epochs"
    now = pd.concat([newest(keyed[~epochs]), latest_delivery(keyed[epochs])])
    local = np.floor(now["start"] + now["offset"].fillna(0))
    return now.assign(start=now["start"].where(local.between(-2_208_988_800, 253_402_300_799)))


def newest(frame: pd.DataFrame) -> pd.DataFrame:
    """One record of a key: the most final night, the longest of what grows, and of these the latest."""
    night = frame["type"] == "sleeps"
    longest = frame.groupby(KEY, dropna=False)["duration"].transform("max")
    ranked = frame.assign(
        final=finality(frame).where(night, 0),
        length=frame["duration"].fillna(longest).where(frame["type"].isin(GROWING), 0),
        slept=frame["duration"].where(night),
    )
    order = ["final", "length", "received", "slept", "body", "row"]
    return first(ranked, KEY, order).drop(columns=["final", "length", "slept"])


def latest_delivery(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return the epochs of one delivery a start, the longest and of these the latest, one for each kind of activity."""
    longest = epochs.groupby(SLICE, dropna=False)["duration"].transform("max")
    ranked = epochs.assign(length=epochs["duration"].fillna(longest))
    ranked = ranked.sort_values(["length", *NEWEST], ascending=False)
    chosen = ranked.drop_duplicates(SLICE)[[*SLICE, "body"]]
    return ranked.merge(chosen, on=[*SLICE, "body"]).drop_duplicates([*SLICE, "activityType"]).drop(columns="length")


def validation(sleeps: pd.DataFrame) -> pd.Series:
    """Return the word that says how final a sleep is."""
    return sleeps["validation"].fillna("").astype(str).str.strip().str.upper()


def finality(sleeps: pd.DataFrame) -> pd.Series:
    """Return how final a sleep is."""
    return validation(sleeps).map(FINALITY).fillna(2)


def first(records: pd.DataFrame, by: Sequence[str], order: Sequence[str]) -> pd.DataFrame:
    """Return the record of each group that has the greatest values, missing ones last."""
    return records.sort_values(list(order), ascending=False, na_position="last").drop_duplicates(list(by))


def of_one_account(now: pd.DataFrame) -> pd.DataFrame:
    """Return the records without those of a participant's other accounts: the most worn one counts on a date."""
    group = [*ROW, "user"]
    accounts = now.groupby(group)["received"].max().reset_index()
    several = accounts[accounts.duplicated(ROW, keep=False)]
    contested = now.merge(several[group], on=group)
    dailies = first(contested[contested["type"] == "dailies"], group, ["duration", *NEWEST])
    worn = several.merge(beats(dailies, group), on=group, how="left")
    worn = worn.merge(strain(contested[contested["type"] == "stressDetails"], group), on=group, how="left")
    worn["wear"] = worn["heart_min"].fillna(3.0 * worn["on_wrist"]).fillna(-1)
    less = worn.sort_values(["wear", "received", "user"], ascending=False)
    less = pd.MultiIndex.from_frame(less[less.duplicated(ROW)][group])
    return now[~pd.MultiIndex.from_frame(now[group]).isin(less)]


# -- daily


def samples(records: pd.DataFrame, field: str, length: str = "duration") -> pd.DataFrame:
    """Return the samples of a map within their records, one a row: participant_id, date, t, v (and the row's number)."""
    maps = [found if isinstance(found, dict) else {} for found in records[field]]
    sizes = [len(found) for found in maps]
    total = sum(sizes)
    t = np.fromiter((number(key) for found in maps for key in found), float, total)
    v = np.fromiter((number(value) for found in maps for value in found.values()), float, total)
    row = np.repeat(np.arange(len(maps)), sizes)
    keys = {name: records[name].to_numpy()[row] for name in (*ROW, "user")}
    within = (t >= 0) & (t <= records[length].fillna(math.inf).to_numpy()[row]) & ~np.isnan(v)
    return pd.DataFrame({**keys, "row": row, "t": t, "v": v})[within]


def beats(dailies: pd.DataFrame, group: Sequence[str] = ROW) -> pd.DataFrame:
    """Wear and mean of the heart rate, from the minutes that have one."""
    found = samples(dailies, "timeOffsetHeartRateSamples")
    found = found[found["v"] > 0]
    lead = np.floor((dailies["start"] + dailies["offset"] - dailies["midnight"]).fillna(0).to_numpy() / 60)
    minute = np.maximum((found["t"].to_numpy() - 1) // 60, 0) + lead[found["row"]]
    minutes = pd.DataFrame({"row": found["row"].to_numpy(), "minute": minute}).drop_duplicates()
    clock = minutes.assign(hour=minutes["minute"] // 60 % 24, minute=minutes["minute"] % 60).drop_duplicates()
    hours = clock.groupby(["row", "hour"]).size()
    out = dailies[list(group)].reset_index(drop=True)
    out["heart_min"] = minutes.groupby("row").size().astype(float)
    out["valid_minutes_hours"] = (hours >= 30).groupby("row").sum()
    out["hr_mean_bpm"] = found.groupby("row")["v"].mean()
    return out


def strain(details: pd.DataFrame, group: Sequence[str] = ROW) -> pd.DataFrame:
    """Stress, and how many of its samples were taken on the wrist."""
    found = samples(details, "timeOffsetStressLevelValues")
    found = found.assign(on_wrist=found["v"] != -1, level=found["v"].where(found["v"] >= 0))
    return found.groupby(list(group)).agg(on_wrist=("on_wrist", "sum"), level=("level", "mean")).reset_index()


def oxygen(found: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Mean and share below 90."""
    found = found[found["v"] > 0].assign(low=lambda f: 100.0 * (f["v"] < 90))
    return found.groupby(ROW).agg(**{f"{prefix}_mean": ("v", "mean"), f"{prefix}_low": ("low", "mean")}).reset_index()


def mean(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """Mean of the values above 0."""
    return found[found["v"] > 0].groupby(ROW)["v"].mean().rename(name).reset_index()


def spans(levels: object, *stages: str) -> list[tuple[float, float]] | None:
    """Return the intervals of some stages, None where there is none of these stages."""
    there = (
        [levels[stage] for stage in stages if isinstance(levels.get(stage), list)] if isinstance(levels, dict) else []
    )
    limits = [
        (number(span.get("startTimeInSeconds")), number(span.get("endTimeInSeconds"))) for s in there for span in s
    ]
    return [(start, end) for start, end in limits if start is not None and end is not None] if there else None


def total_sleep(sleep: pd.Series) -> float:
    """Return the sum of the stages where a reading of the duration agrees with it, else the duration."""
    stages = sleep[[f"{stage}_s" for stage in STAGES]].astype(float).sum(min_count=1)
    duration, unmeasurable, awake = sleep["duration"], sleep["unmeasurable_s"], sleep["awake_s"]
    readings = (duration, duration - unmeasurable, duration - awake, duration - unmeasurable - awake)
    agrees = any(abs(stages - reading) <= 120 for reading in readings)
    return stages if agrees or math.isnan(duration) else duration


def sleep_end(sleep: pd.Series) -> float:
    """Return when a sleep ended: with its last stage, if that is near to what its parts add up to."""
    awake = 0 if math.isnan(sleep["awake_s"]) else sleep["awake_s"]
    parts = sleep["start"] + sleep["tst"] + awake + sleep["unmeasurable_s"]
    levels = sleep["sleepLevelsMap"]
    last = (
        max((end for _, end in spans(levels, *levels) or ()), default=math.nan)
        if isinstance(levels, dict)
        else math.nan
    )
    return last if last > sleep["start"] and abs(last - parts) <= 12 * 3600 else parts


def main_sleeps(sleeps: pd.DataFrame) -> pd.DataFrame:
    """Return the night of each date: of sleeps that overlap the most final, of the others the longest."""
    s = sleeps[~validation(sleeps).isin(["OFF_WRIST", "MANUAL"])].copy()
    awake = [spans(levels, "awake") for levels in s["sleepLevelsMap"]]
    in_map = [math.nan if found is None else sum(max(end - start, 0) for start, end in found) for found in awake]
    s["awake_s"] = s["awake_s"].fillna(pd.Series(in_map, index=s.index))
    s["unmeasurable_s"] = s["unmeasurable_s"].fillna(0)
    s["tst"] = s.apply(total_sleep, axis=1)
    s = s[s["tst"] > 0]
    s["end"] = s.apply(sleep_end, axis=1)
    s["length"], s["final"] = s["end"] - s["start"], finality(s)
    s = s.sort_values(["final", "received", "tst", "body", "row"], ascending=False)
    chosen: dict[tuple[str, str], list[Any]] = {}
    for sleep in s.itertuples():
        before = chosen.setdefault((sleep.participant_id, sleep.date), [])
        if not any(sleep.start < other.end and other.start < sleep.end for other in before):
            before.append(sleep)
    return first(s.loc[[sleep.Index for found in chosen.values() for sleep in found]], ROW, ["tst", *NEWEST])


def share(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Percent, at most 100."""
    return (100 * part / whole).clip(upper=100)


def nights(s: pd.DataFrame) -> pd.DataFrame:
    """Return what the main sleeps say."""
    in_bed = s["tst"] + s["awake_s"].fillna(0) + s["unmeasurable_s"]
    to_local = s["offset"] - s["midnight"]
    out = s[ROW].assign(
        sleep_tst_min=s["tst"] / 60,
        sleep_tib_min=in_bed / 60,
        sleep_waso_min=s["awake_s"] / 60,
        sleep_efficiency_pct=share(s["tst"], in_bed.where(s["awake_s"].notna())),
        **{f"sleep_{stage}_pct": share(s[f"{stage}_s"], s["tst"]) for stage in STAGES},
        sleep_start_min=(s["start"] + to_local) / 60,
        sleep_end_min=(s["end"] + to_local) / 60,
        midsleep_min=((s["start"] + s["end"]) / 2 + to_local) / 60,
    )
    limits = zip(out["sleep_start_min"], out["sleep_end_min"], s["sleepLevelsMap"], to_local, strict=True)
    out["asleep_by_hour"] = [minutes_asleep(*found) for found in limits]
    spo2 = oxygen(samples(s, "timeOffsetSleepSpo2", "length"), "night")
    breaths = mean(samples(s, "timeOffsetSleepRespiration", "length"), "resp_sleep_brpm")
    return out.merge(spo2, on=ROW, how="left").merge(breaths, on=ROW, how="left")


def minutes_asleep(start: float, end: float, levels: object, to_local: float) -> list[int] | None:
    """Return the minutes asleep as bits of the 24 hours of the clock: in a stage of sleep, if the night has any, else
    in no awake span.
    """
    if math.isnan(start) or math.isnan(end):
        return None
    begin = math.ceil(start)
    length = min(math.ceil(end) - begin, 1440)
    asleep = np.zeros(1440, bool)

    def fill(found: list[tuple[float, float]], value: bool) -> None:
        for one, other in found:
            first, past = (min(max(math.ceil((at + to_local) / 60) - begin, 0), length) for at in (one, other))
            asleep[first:past] = value

    staged = [(one, other) for one, other in spans(levels, *STAGES) or () if other > one]
    if staged:
        fill(staged, value=True)
    else:
        asleep[: max(length, 0)] = True
        fill(spans(levels, "awake") or [], value=False)
    by_hour = np.roll(asleep, begin % 1440).reshape(24, 60) @ (1 << np.arange(60))
    return by_hour.tolist()


def latest(records: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the value of the record received last."""
    return first(records, ROW, NEWEST)[[*ROW, name]]


def by_hour(epochs: pd.DataFrame) -> pd.DataFrame:
    """Steps of each local hour."""
    hour = (epochs["start"] + epochs["offset"]) // 3600 % 24
    sums = epochs.assign(hour=hour.fillna(24)).groupby([*ROW, "hour"])["steps"].sum(min_count=1)
    wide = sums.unstack("hour").reindex(columns=range(24))
    listed = [[None if x != x else x for x in row] for row in wide.to_numpy().tolist()]  # noqa: PLR0124  # NaN
    return wide.index.to_frame(index=False).assign(steps_by_hour=listed)


def counts(now: pd.DataFrame) -> pd.DataFrame:
    """Records of each kind, and exercise."""
    kind, session = now["type"], (now["type"] == "activities") & ~now["isParent"]
    marked = now[[*ROW, "received"]].assign(
        n_dailies=kind == "dailies",
        n_sleeps=kind == "sleeps",
        n_stress=kind == "stressDetails",
        n_hrv=kind == "hrv",
        sessions=session,
        session_s=now["duration"].where(session),
    )
    g = marked.groupby(ROW)
    out = g[["n_dailies", "n_sleeps", "n_stress", "n_hrv", "sessions"]].sum()
    out["n_records"], out["last_received_at"] = g.size(), g["received"].max()
    none = out["sessions"] == 0
    unknown = none & (out["n_dailies"] == 0)
    out["exercise_sessions"] = out["sessions"].where(~unknown)
    out["exercise_min"] = (g["session_s"].sum(min_count=1) / 60).mask(none, 0.0).mask(unknown)
    return out.drop(columns="sessions").reset_index()


def of_day(dailies: pd.DataFrame) -> pd.DataFrame:
    """Return what is taken as received."""
    d = dailies
    received_s = (d["received"] - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    taken = ["steps", "distance_m", "floors", "active_kcal", "average_stress"]
    out = d[
        [*ROW, *taken, "body_battery_charged", "body_battery_drained", "resting_hr_bpm", "hr_min_bpm", "hr_max_bpm"]
    ]
    return out.assign(
        **{f"{name}_min": d[f"{name}_s"] / 60 for name in ("active", "moderate", "vigorous")},
        **{
            f"stress_{level}_min": d[f"{level}_s"].where(d[f"{level}_s"] <= d["duration"].fillna(math.inf)) / 60
            for level in ("rest", "low", "medium", "high")
        },
        sync_lag_h=(received_s - (d["start"] + d["duration"])) / 3600,
    )


def daily(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a participant and date."""
    now = of_one_account(current(frame))

    def of(type_: str) -> pd.DataFrame:
        return now[now["type"] == type_]

    dailies = first(of("dailies"), ROW, ["duration", *NEWEST])
    metrics = frame[frame["type"] == "userMetrics"].merge(now[["user", "date"]].drop_duplicates(), on=["user", "date"])
    battery = samples(of("stressDetails"), "timeOffsetBodyBatteryValues")
    battery = battery[battery["v"] >= 0].groupby(ROW)["v"].agg(body_battery_max="max", body_battery_min="min")
    all_day = of("pulseox")
    table = counts(now)
    for piece in (
        of_day(dailies),
        beats(dailies),
        strain(of("stressDetails")),
        battery.reset_index(),
        nights(main_sleeps(of("sleeps"))),
        oxygen(samples(all_day[~all_day["onDemand"]], "timeOffsetSpo2Values"), "day"),
        mean(samples(of("allDayRespiration"), "timeOffsetEpochToBreaths"), "resp_day_brpm"),
        latest(of("hrv"), "hrv_rmssd_ms"),
        *(latest(metrics[metrics[name].notna()], name) for name in ("vo2max", "fitness_age")),
        by_hour(of("epochs")),
    ):
        table = table.merge(piece, on=ROW, how="left")
    wear = table["heart_min"].fillna(3.0 * table["on_wrist"])
    source = np.where(table["heart_min"].notna(), "heart_rate", np.where(table["on_wrist"].notna(), "stress", None))
    return table.assign(
        wear_min=wear,
        wear_source=source,
        is_valid_day=(wear >= 600).astype("boolean").mask(wear.isna()),
        stress_mean=table["average_stress"].fillna(table["level"]),
        spo2_mean_pct=table["night_mean"].fillna(table["day_mean"]),
        spo2_lt90_pct=table["night_low"].fillna(table["day_low"]),
    )


# -- weekly


VALID = {
    "steps": "steps_mean",
    "distance_m": "distance_m_mean",
    "floors": "floors_mean",
    "active_kcal": "active_kcal_mean",
    "active_min": "active_min_mean",
    "resting_hr_bpm": "resting_hr_mean",
    "hr_mean_bpm": "hr_mean",
    "stress_mean": "stress_mean",
    "body_battery_max": "body_battery_max_mean",
    "body_battery_min": "body_battery_min_mean",
    "body_battery_charged": "body_battery_charged_mean",
    "body_battery_drained": "body_battery_drained_mean",
    "resp_day_brpm": "resp_day_mean",
}
COUNTED = {
    "steps": "n_steps_days",
    "resting_hr_bpm": "n_resting_hr_days",
    "hr_mean_bpm": "n_hr_days",
    "stress_mean": "n_stress_days",
    "resp_day_brpm": "n_resp_day_days",
}
NIGHTS = {
    "spo2_mean_pct": "spo2_mean",
    "spo2_lt90_pct": "spo2_lt90_pct_mean",
    "resp_sleep_brpm": "resp_sleep_mean",
    "sleep_efficiency_pct": "sleep_efficiency_mean",
    "sleep_waso_min": "sleep_waso_min_mean",
    "sleep_deep_pct": "sleep_deep_pct_mean",
    "sleep_light_pct": "sleep_light_pct_mean",
    "sleep_rem_pct": "sleep_rem_pct_mean",
}


def weekly(days: pd.DataFrame) -> pd.DataFrame:
    """One row a participant and week."""
    date = pd.to_datetime(days["date"])
    d = days.assign(n=date.dt.day_of_week, valid=days["is_valid_day"].fillna(value=False).astype(bool))
    d["week"] = (date - pd.to_timedelta(d["n"], unit="D")).dt.strftime("%Y-%m-%d")
    d["weekend"] = d["valid"] & (d["n"] >= 5)
    d["ln_hrv"] = np.log(d["hrv_rmssd_ms"])
    d["long"] = (d["sleep_tst_min"] >= 420).where(d["sleep_tst_min"].notna()).astype(float)
    for name in ("dailies", "sleeps", "stress", "hrv"):
        d[f"has_{name}"] = d[f"n_{name}"] > 0
    g, v = d.groupby(WEEK), d[d["valid"]].groupby(WEEK)
    out = over_all_days(g)
    out[list(VALID.values())] = v[list(VALID)].mean().set_axis(list(VALID.values()), axis=1).reindex(out.index)
    counted = v[list(COUNTED)].count().set_axis(list(COUNTED.values()), axis=1)
    out[list(COUNTED.values())] = counted.reindex(out.index).fillna(0)
    steps = v["steps"].agg(["median", "std"])
    out["steps_median"], out["steps_sd"], out["steps_sum"] = steps["median"], steps["std"], v["steps"].sum(min_count=1)
    both = d[d["valid"] & d["steps"].notna() & d["wear_min"].notna()].groupby(WEEK)[["steps", "wear_min"]].sum()
    out["steps_per_wear_h"] = both["steps"] / (both["wear_min"] / 60).replace(0, np.nan)
    out["resting_hr_slope"] = slopes(d[d["valid"] & d["resting_hr_bpm"].notna()])
    levels = v[[f"stress_{level}_min" for level in ("rest", "low", "medium", "high")]].sum(min_count=1)
    total = levels.sum(axis=1).replace(0, np.nan)
    out["stress_rest_pct"] = 100 * levels["stress_rest_min"] / total
    out["stress_high_pct"] = 100 * levels["stress_high_min"] / total
    out = out.join(clock(d)).join(rhythm(d))
    out["n_midsleep_nights"] = out["n_midsleep_nights"].fillna(0)
    return activity(out).reset_index().rename(columns={"week": "date"})


def over_all_days(g: pd.api.typing.DataFrameGroupBy) -> pd.DataFrame:
    """Return what counts every day, valid or not."""
    out = pd.DataFrame(
        {"n_days": g.size(), "n_valid_days": g["valid"].sum(), "n_valid_weekend_days": g["weekend"].sum()}
    )
    out["is_valid_week"] = (out["n_valid_days"] >= 4) & (out["n_valid_weekend_days"] >= 1)
    out["yield_hours"] = g["valid_minutes_hours"].sum(min_count=1) / 168
    for name in ("dailies", "sleeps", "stress", "hrv"):
        out[f"completeness_{name}"] = g[f"has_{name}"].sum() / 7
    out["wear_min_mean"], out["n_wear_days"] = g["wear_min"].mean(), g["wear_min"].count()
    out["sync_lag_h_median"] = g["sync_lag_h"].median()
    for name in ("moderate_min", "vigorous_min", "exercise_sessions", "exercise_min"):
        out[f"{name}_sum"] = g[name].sum(min_count=1)
    hrv, sleep = g["hrv_rmssd_ms"], g["sleep_tst_min"]
    out["hrv_rmssd_mean"], out["hrv_ln_rmssd_mean"] = hrv.mean(), g["ln_hrv"].mean()
    out["hrv_cv_pct"], out["n_hrv_nights"] = 100 * hrv.std() / hrv.mean(), hrv.count()
    out["sleep_tst_h_mean"], out["sleep_tst_h_sd"], out["n_nights"] = sleep.mean() / 60, sleep.std() / 60, sleep.count()
    out["sleep_tib_h_mean"] = g["sleep_tib_min"].mean() / 60
    for old, new in NIGHTS.items():
        out[new] = g[old].mean()
    out["n_spo2_days"], out["n_resp_sleep_days"] = g["spo2_mean_pct"].count(), g["resp_sleep_brpm"].count()
    out["nights_ge7h_pct"] = 100 * g["long"].mean()
    out["vo2max_last"], out["fitness_age_last"] = g["vo2max"].last(), g["fitness_age"].last()
    out["n_records"], out["last_received_at"] = g["n_records"].sum(), g["last_received_at"].max()
    return out


def slopes(days: pd.DataFrame) -> pd.Series:
    """Least squares of the resting heart rate over the day of the week, from three days on."""
    x, y = days["n"], days["resting_hr_bpm"]
    means = days.groupby(WEEK)[["n", "resting_hr_bpm"]].transform("mean")
    dx, dy = x - means["n"], y - means["resting_hr_bpm"]
    sums = days[WEEK].assign(xy=dx * dy, xx=dx * dx, one=1).groupby(WEEK).sum()
    return (sums["xy"] / sums["xx"]).where(sums["one"] >= 3)


def clock(days: pd.DataFrame) -> pd.DataFrame:
    """Circular statistics of the midsleep. Where angles cancel each other out, they have no mean."""
    d = days[days["midsleep_min"].notna()].copy()
    angle = (d["midsleep_min"] % 1440) * (2 * np.pi / 1440)
    d["sin"], d["cos"], d["angle"] = np.sin(angle), np.cos(angle), angle

    def middle(rows: pd.DataFrame) -> pd.Series:
        means = rows.groupby(WEEK)[["sin", "cos"]].mean()
        return np.arctan2(means["sin"], means["cos"]).where(np.hypot(means["sin"], means["cos"]) > 1e-9)

    whole = middle(d)
    d = d.join(whole.rename("middle"), on=WEEK)
    d["q"] = 2 * np.sin((d["angle"] - d["middle"]) / 2) ** 2
    n, q = d.groupby(WEEK).size(), d.groupby(WEEK)["q"].mean()
    out = pd.DataFrame({"n_midsleep_nights": n, "midsleep_mean_min": wrapped(whole)})
    out["midsleep_sd_min"] = np.sqrt(-2 * np.log1p(-q.where((n >= 2) & (q < 1)))) * (720 / np.pi)
    out["social_jetlag_min"] = wrapped(middle(d[d["n"] >= 5]) - middle(d[d["n"] < 5]))
    return out


def wrapped(angle: pd.Series) -> pd.Series:
    """Minutes in (-720, 720]."""
    minutes = angle * (720 / np.pi)
    return minutes - 1440 * np.ceil((minutes - 720) / 1440)


def hours(lists: pd.Series) -> np.ndarray:
    """Lists of 24 as rows; what is missing is NaN."""
    return np.array([found if isinstance(found, list) else [np.nan] * 24 for found in lists], float)


def rhythm(days: pd.DataFrame) -> pd.DataFrame:
    """Regularity of sleep and rhythm of steps, over the week and, as `..._28d`, over it and the three before."""
    d = days.sort_values(ROW)
    monday, who = pd.to_datetime(d["week"]), d["participant_id"].to_numpy()
    number = (monday + pd.to_timedelta(d["n"], unit="D")).to_numpy()
    x, has_night = hours(d["steps_by_hour"]), d["asleep_by_hour"].map(lambda found: isinstance(found, list)).to_numpy()
    asleep = np.array([found if isinstance(found, list) else [0] * 24 for found in d["asleep_by_hour"]])
    before = np.arange(len(d)) - 1
    follows = (who == who[before]) & (number - number[before] == np.timedelta64(1, "D"))
    jumps = np.diff(x, axis=1, prepend=np.where(follows, x[before, 23], np.nan)[:, None]) ** 2
    pair = follows & has_night & has_night[before]
    agreeing = np.where(pair, 1440.0 - np.bitwise_count(asleep ^ asleep[before]).sum(axis=1), 0)
    sums = pd.DataFrame(
        np.hstack([np.nan_to_num(x), ~np.isnan(x)]), columns=[f"{k}{h}" for k in "sn" for h in range(24)]
    )
    sums["squares"] = np.nansum(x * x, axis=1)
    sums["jumps"], sums["n_jumps"] = np.nansum(jumps[:, 1:], axis=1), (~np.isnan(jumps[:, 1:])).sum(axis=1)
    eve = pd.DataFrame({"jumps": np.nan_to_num(jumps[:, 0]), "n_jumps": ~np.isnan(jumps[:, 0]) * 1})
    eve["agreeing"], eve["n_pairs"] = agreeing, pair * 1
    first, found = (d["n"] == 0).to_numpy(), []
    for length, later in ((7, 0), (28, 0), (28, 1), (28, 2), (28, 3)):
        near = eve.mul(~first | (7 * later < length - 7), axis=0)
        week = (monday + pd.Timedelta(days=7 * later)).dt.strftime("%Y-%m-%d").to_numpy()
        found.append(sums.add(near, fill_value=0).assign(participant_id=who, week=week, length=length))
    total = measures(pd.concat(found).groupby([*WEEK, "length"]).sum())
    return total.xs(7, level="length").join(total.xs(28, level="length"), suffixes=("", "_28d"))


def measures(sums: pd.DataFrame) -> pd.DataFrame:
    """Return the four measures and their denominators."""
    s, n_hour = (sums[[f"{kind}{hour}" for hour in range(24)]].to_numpy() for kind in "sn")
    total, n, pairs = s.sum(axis=1), n_hour.sum(axis=1), sums["n_pairs"]
    short = sums.index.get_level_values("length") == 7
    enough = n >= np.where(short, 120, 336)
    with np.errstate(invalid="ignore", divide="ignore"):
        profile = s / n_hour  # without a number where an hour of the clock was never seen, and then all below is
        spread = n * sums["squares"] - total**2
        spread = spread.where(spread > 1e-13 * n * sums["squares"])
        between = (n_hour * (profile - (total / n)[:, None]) ** 2).sum(axis=1)
        most, least = windows(profile, 10).max(axis=1), windows(profile, 5).min(axis=1)
        amplitude = (most - least) / (most + least)
    index = -100 + 200 * sums["agreeing"] / (1440 * pairs)
    out = pd.DataFrame(index=sums.index)
    out["sleep_regularity_index"] = index.where(pairs >= np.where(short, 4, 14))
    out["n_sleep_pairs"] = pairs.astype(int)
    out["interdaily_stability"] = (n * between / spread).where(enough)
    out["intradaily_variability"] = (n * n * sums["jumps"] / (sums["n_jumps"] * spread)).where(enough)
    out["relative_amplitude"] = np.where(enough, amplitude, np.nan)
    out["n_step_hours"] = n.astype(int)
    return out


def windows(profile: np.ndarray, length: int) -> np.ndarray:
    """Means over so many hours from each hour of the clock on."""
    around = np.hstack([profile, profile[:, : length - 1]])
    return np.lib.stride_tricks.sliding_window_view(around, length, axis=1).mean(axis=2)


def activity(week: pd.DataFrame) -> pd.DataFrame:
    """Equivalent minutes, and where they lie in WHO's range."""
    moderate, vigorous = week["moderate_min_sum"], week["vigorous_min_sum"]
    m = (moderate.fillna(0) + 2 * vigorous.fillna(0)).where(moderate.notna() | vigorous.notna())
    found = [m > 300, m >= 150, m.notna() & (week["n_valid_days"] < 7), m.notna()]
    who = np.select(found, ["exceeds", "meets", "unknown", "below"], default="")
    return week.assign(mvpa_equiv_min=m, who_activity=pd.Series(who, index=week.index).replace("", None))


def compute(work: Work) -> None:
    """Both tables of all weeks in the lake."""
    days = daily(read(work)).sort_values(["date", "participant_id"])
    days.to_parquet(work.out / "daily.parquet", index=False)
    weekly(days).to_parquet(work.out / "weekly.parquet", index=False)


if __name__ == "__main__":
    run_peer(compute)
