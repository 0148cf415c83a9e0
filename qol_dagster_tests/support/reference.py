"""The metrics worked out a second time, in plain Python, straight from their definitions.

The product's engines are compared with this module, so it shares nothing with them: no data frame, no SQL,
no field list and no helper of the package. It reads beside the definitions; clear comes before fast.

Not here: the columns that a run writes about itself (computed_at, metrics_version).
"""

import json
import math
import re
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

Row = dict[str, Any]

VALID_DAY_MIN = 600
VALID_HOUR_MINUTES = 40
VALID_WEEK_DAYS = 4
VALID_WEEK_WEEKEND_DAYS = 1
SLOPE_DAYS = 3
LONG_NIGHT_MIN = 420
LARGEST_NUMBER = 1e15
LONGEST_SLEEP_S = 48 * 3600

JST = timezone(timedelta(hours=9))
EPOCH = date(1970, 1, 1)
NEVER = datetime.min.replace(tzinfo=UTC)

ALIASES = {"pulseOx": "pulseox", "respiration": "allDayRespiration", "moveiq": "moveIQActivities"}
ACTIVITY_TYPES = ("activities", "manuallyUpdatedActivities")
STRESS_LEVELS = ("rest", "low", "medium", "high")

PLAIN_NUMBER = re.compile(r" *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)? *")
PLAIN_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
PLAIN_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)


# --- reading one value, whatever came ---


def number(value: object) -> float | None:
    """A JSON number, or text that is a plain decimal number; anything else, or beyond 1e15, is None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = float(value) if PLAIN_NUMBER.fullmatch(value) else None
    if not isinstance(value, int | float):
        return None
    return value if abs(value) <= LARGEST_NUMBER else None  # NaN compares false


def not_negative(value: object) -> float | None:
    """A count, duration, distance, energy or score: below 0 is no data."""
    read = number(value)
    return None if read is None or read < 0 else read


def positive(value: object) -> float | None:
    """A heart rate, an hrv, a vo2max, a fitness age: 0 and below is no data."""
    read = number(value)
    return None if read is None or read <= 0 else read


def flag(value: object) -> bool:
    """JSON true, or the text "true" in any case."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def text(value: object) -> str | None:
    """Text as it is; a whole number as its digits; anything else is None."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def plain_date(value: object) -> date | None:
    """A real date written strictly YYYY-MM-DD."""
    if not isinstance(value, str) or not PLAIN_DATE.fullmatch(value):
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        return None


def instant(value: object) -> datetime | None:
    """An ISO 8601 time as UTC; one without a zone is UTC."""
    if not isinstance(value, str) or not PLAIN_TIME.fullmatch(value):
        return None
    try:
        read = datetime.fromisoformat(value)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def minutes(seconds: float | None) -> float | None:
    """Seconds as minutes."""
    return None if seconds is None else seconds / 60


# --- one record ---


@dataclass(frozen=True)
class Record:
    """One raw line, with what every type has in common already read."""

    user: str
    type: str | None
    body: dict[str, Any]
    received: datetime | None
    ingest_id: str

    def times(self, *names: str) -> float | None:
        """The first readable number of these names; activityDetails keep their times inside `summary`."""
        places = [self.body]
        if self.type == "activityDetails" and isinstance(self.body.get("summary"), dict):
            places.append(self.body["summary"])
        for place in places:
            for name in names:
                read = number(place.get(name))
                if read is not None:
                    return read
        return None

    @property
    def start(self) -> float | None:
        """UTC seconds."""
        return self.times("startTimeInSeconds")

    @property
    def offset(self) -> float | None:
        """Seconds from UTC to what the device showed."""
        return self.times(
            "startTimeOffsetInSeconds",
            "measurementTimeOffsetInSeconds",
            "offsetStartTimeInSeconds",
            "offsetInSeconds",
        )

    @property
    def duration(self) -> float | None:
        """Seconds."""
        return not_negative(self.times("durationInSeconds"))

    @property
    def order(self) -> tuple[datetime, float, str]:
        """What decides between two versions: received last, then the longer, then the greater ingest id."""
        return (self.received or NEVER, self._length, self.ingest_id)

    @property
    def longest_first(self) -> tuple[float, datetime, str]:
        """What decides between different records of one date of which only one can count."""
        return (self._length, self.received or NEVER, self.ingest_id)

    @property
    def _length(self) -> float:
        return -1 if self.duration is None else self.duration

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records versions of one another, within a user."""
        summary_id = text(self.body.get("summaryId"))
        if self.type in ACTIVITY_TYPES:
            return ("activity", summary_id)
        if self.type == "userMetrics":
            main: object = plain_date(self.body.get("calendarDate"))
        elif self.type in ("bodyComps", "bloodPressures"):
            main = self.times("measurementTimeInSeconds")
        elif self.type == "userPermissionsChange":
            main = self.times("changeTimeInSeconds")
        else:
            main = self.start
        at = ("summary id", summary_id) if main is None else ("time", main)
        if self.type == "epochs":
            return (self.type, at, text(self.body.get("activityType")))
        if self.type == "pulseox":
            return (self.type, at, flag(self.body.get("onDemand")))
        return (self.type, at)

    def own_date(self, directory: date) -> date:
        """The local calendar date this record belongs to."""
        stated = plain_date(self.body.get("calendarDate"))
        if stated is not None:
            return stated
        at = self.times("startTimeInSeconds", "measurementTimeInSeconds")
        if at is not None:
            try:
                return EPOCH + timedelta(days=math.floor((at + (self.offset or 0)) / 86400))
            except OverflowError:
                pass
        return directory if self.received is None else self.received.astimezone(JST).date()

    def samples(self, field: str) -> list[tuple[float, float]]:
        """(offset in seconds, value) of a sample map, where both read as numbers; all else has none."""
        found = self.body.get(field)
        if not isinstance(found, dict):
            return []
        pairs = [(number(offset), number(value)) for offset, value in found.items()]
        return [(offset, value) for offset, value in pairs if offset is not None and value is not None]


def read_records(directory: Path) -> Iterator[Record]:
    """Every line that is a JSON object with a userId; hidden and temporary files are not read."""
    for path in sorted(directory.glob("*.jsonl")):
        if path.name.startswith((".", "_")) or not path.is_file():
            continue
        for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            try:
                body = json.loads(line.decode("utf-8"))
            except ValueError:  # not UTF-8, or not JSON
                continue
            user = text(body.get("userId")) if isinstance(body, dict) else None
            if user is None:
                continue
            kind = text(body.get("_summary_type"))
            yield Record(
                user=user,
                type=ALIASES.get(kind, kind) if kind else kind,
                body=body,
                received=instant(body.get("_received_at")),
                ingest_id=text(body.get("_ingest_id")) or "",
            )


def current_records(directory: Path, day: date, users: Iterable[str]) -> list[Record]:
    """The records of these users that belong to `day`, each in its latest version."""
    known = set(users)
    latest: dict[tuple[object, ...], Record] = {}
    for record in read_records(directory):
        if record.user not in known or record.own_date(day) != day:
            continue
        key = (record.user, *record.key)
        if key not in latest or record.order > latest[key].order:
            latest[key] = record
    return list(latest.values())


# --- daily ---


def reference_daily(lake_dir: Path, participants: dict[str, str], dates: list[date]) -> list[Row]:
    """One dict per (participant_id, date) with at least one current record, with every daily column.

    `participants` maps a Garmin userId to a participant_id; several ids may be one participant's.
    Beside the daily columns: n_dailies, n_sleeps, n_stress, n_hrv, the current records of these types.
    """
    rows = []
    for day in dates:
        of_participant: dict[str, list[Record]] = {}
        for record in current_records(lake_dir / "raw" / "daily" / f"date={day}", day, participants):
            of_participant.setdefault(participants[record.user], []).append(record)
        rows += [daily_row(who, day, of_participant[who]) for who in sorted(of_participant)]
    return rows


def daily_row(participant_id: str, day: date, records: list[Record]) -> Row:
    """Every daily column of one participant on one date, from that date's current records."""

    def of_type(*types: str) -> list[Record]:
        return [record for record in records if record.type in types]

    dailies, sleeps, stress, hrv = (of_type(t) for t in ("dailies", "sleeps", "stressDetails", "hrv"))
    daily = max(dailies, key=lambda r: r.longest_first, default=None)
    sleep = main_sleep(sleeps)
    receipts = [record.received for record in records if record.received is not None]
    return {
        "participant_id": participant_id,
        "date": day,
        **wear(daily, stress),
        **movement(daily),
        **heart(daily),
        **stress_and_body_battery(daily, stress),
        **sleep_columns(sleep, day),
        "hrv_rmssd_ms": positive(latest_value(hrv, "lastNightAvg")),
        **oxygen(sleep, of_type("pulseox")),
        "resp_sleep_brpm": mean(above_zero([sleep] if sleep else [], "timeOffsetSleepRespiration")),
        "resp_day_brpm": mean(above_zero(of_type("allDayRespiration"), "timeOffsetEpochToBreaths")),
        "vo2max": positive(latest_value(of_type("userMetrics"), "vo2Max")),
        "fitness_age": positive(latest_value(of_type("userMetrics"), "fitnessAge")),
        **exercise(of_type(*ACTIVITY_TYPES), has_daily=bool(dailies)),
        "steps_by_hour": steps_by_hour(of_type("epochs")),
        "n_records": len(records),
        "last_received_at": max(receipts, default=None),
        "sync_lag_h": sync_lag_h(daily),
        "n_dailies": len(dailies),
        "n_sleeps": len(sleeps),
        "n_stress": len(stress),
        "n_hrv": len(hrv),
    }


def latest_value(records: list[Record], field: str) -> object:
    """The field in the record received last, whatever it holds there."""
    latest = max(records, key=lambda r: r.order, default=None)
    return latest.body.get(field) if latest else None


def above_zero(records: Iterable[Record], field: str) -> list[float]:
    """The pooled samples that are data where 0 is not."""
    return [value for record in records for _, value in record.samples(field) if value > 0]


def not_below_zero(records: Iterable[Record], field: str) -> list[float]:
    """The pooled samples that are data where 0 is too."""
    return [value for record in records for _, value in record.samples(field) if value >= 0]


def wear(daily: Record | None, stress: list[Record]) -> Row:
    """Worn minutes: from heart rate, else from stress, else unknown."""
    beats = [(o, v) for o, v in daily.samples("timeOffsetHeartRateSamples") if v > 0] if daily else []
    levels = [value for record in stress for _, value in record.samples("timeOffsetStressLevelValues")]
    wear_min: float | None = None
    source = None
    if beats:
        wear_min, source = len({math.floor(offset / 15) for offset, _ in beats}) / 4, "heart_rate"
    elif levels:
        wear_min, source = 3 * sum(level != -1 for level in levels), "stress"
    return {
        "wear_min": wear_min,
        "wear_source": source,
        "valid_minutes_hours": valid_hours(daily, [offset for offset, _ in beats]) if daily and beats else None,
        "is_valid_day": None if wear_min is None else wear_min >= VALID_DAY_MIN,
    }


def valid_hours(daily: Record, offsets: list[float]) -> int:
    """Local clock hours in which enough different minutes have a heart rate."""
    begin = 0 if daily.start is None or daily.offset is None else daily.start + daily.offset
    worn_minutes = {math.floor((begin + offset) / 60) for offset in offsets}
    hours = [minute // 60 for minute in worn_minutes]
    return sum(hours.count(hour) >= VALID_HOUR_MINUTES for hour in set(hours))


def movement(daily: Record | None) -> Row:
    """Steps to intensity minutes, as received."""
    body = daily.body if daily else {}
    return {
        "steps": not_negative(body.get("steps")),
        "distance_m": not_negative(body.get("distanceInMeters")),
        "floors": not_negative(body.get("floorsClimbed")),
        "active_kcal": not_negative(body.get("activeKilocalories")),
        "active_min": minutes(not_negative(body.get("activeTimeInSeconds"))),
        "moderate_min": minutes(not_negative(body.get("moderateIntensityDurationInSeconds"))),
        "vigorous_min": minutes(not_negative(body.get("vigorousIntensityDurationInSeconds"))),
    }


def heart(daily: Record | None) -> Row:
    """Heart rates: the mean from the samples (the received one is the last week's), the rest as received."""
    body = daily.body if daily else {}
    return {
        "resting_hr_bpm": positive(body.get("restingHeartRateInBeatsPerMinute")),
        "hr_mean_bpm": mean(above_zero([daily] if daily else [], "timeOffsetHeartRateSamples")),
        "hr_min_bpm": positive(body.get("minHeartRateInBeatsPerMinute")),
        "hr_max_bpm": positive(body.get("maxHeartRateInBeatsPerMinute")),
    }


def stress_and_body_battery(daily: Record | None, stress: list[Record]) -> Row:
    """Stress level and shares of the day, and Body Battery."""
    body = daily.body if daily else {}
    level = not_negative(body.get("averageStressLevel"))
    if level is None:
        level = not_negative(body.get("averageStresslevel"))
    if level is None:
        level = mean(not_below_zero(stress, "timeOffsetStressLevelValues"))
    battery = not_below_zero(stress, "timeOffsetBodyBatteryValues")
    row: Row = {"stress_mean": level}
    for name in STRESS_LEVELS:
        row[f"stress_{name}_min"] = minutes(not_negative(body.get(f"{name}StressDurationInSeconds")))
    return row | {
        "body_battery_max": max(battery, default=None),
        "body_battery_min": min(battery, default=None),
        "body_battery_charged": not_negative(body.get("bodyBatteryChargedValue")),
        "body_battery_drained": not_negative(body.get("bodyBatteryDrainedValue")),
    }


def main_sleep(sleeps: list[Record]) -> Record | None:
    """The longest sleep that the device saw."""

    def seen(sleep: Record) -> bool:
        validation = sleep.body.get("validation")
        return not (isinstance(validation, str) and validation.upper() in ("OFF_WRIST", "MANUAL"))

    real = [sleep for sleep in sleeps if seen(sleep) and sleep.duration]
    return max(real, key=lambda r: r.longest_first, default=None)


def sleep_columns(sleep: Record | None, day: date) -> Row:
    """Length, stages and clock times of the main sleep."""
    body = sleep.body if sleep else {}
    asleep = sleep.duration if sleep else None
    awake = not_negative(body.get("awakeDurationInSeconds"))
    unmeasured = not_negative(body.get("unmeasurableSleepInSeconds"))
    if unmeasured is None:
        unmeasured = not_negative(body.get("unmeasurableSleepDurationInSeconds"))
    in_bed = None if asleep is None else asleep + (awake or 0) + (unmeasured or 0)

    row: Row = {
        "sleep_tst_min": minutes(asleep),
        "sleep_tib_min": minutes(in_bed),
        "sleep_waso_min": minutes(awake),
        "sleep_efficiency_pct": None if asleep is None or in_bed is None else 100 * asleep / in_bed,
    }
    stage_fields = {
        "deep": "deepSleepDurationInSeconds",
        "light": "lightSleepDurationInSeconds",
        "rem": "remSleepInSeconds",
    }
    for stage, field in stage_fields.items():
        length = not_negative(body.get(field))
        row[f"sleep_{stage}_pct"] = None if length is None or asleep is None else 100 * length / asleep

    start_min = end_min = midsleep_min = None
    if sleep and in_bed is not None and sleep.start is not None and sleep.offset is not None:
        midnight = 86400 * (day - EPOCH).days
        end = max(level_ends(sleep), default=sleep.start + in_bed)
        start_min = (sleep.start + sleep.offset - midnight) / 60
        end_min = (end + sleep.offset - midnight) / 60
        midsleep_min = (start_min + end_min) / 2
    return row | {
        "sleep_start_min": start_min,
        "sleep_end_min": end_min,
        "midsleep_min": midsleep_min,
        "asleep_by_hour": None if sleep is None else asleep_by_hour(sleep, start_min, end_min, day),
    }


def asleep_by_hour(sleep: Record, start_min: float | None, end_min: float | None, day: date) -> list[int] | None:
    """Minute by minute: asleep from start to end but for the awake intervals; bit m of hour h is minute h:m."""
    if start_min is None or end_min is None or sleep.offset is None:
        return None
    to_min = sleep.offset - 86400 * (day - EPOCH).days
    awake = [((start + to_min) / 60, (end + to_min) / 60) for start, end in awake_intervals(sleep)]
    first = math.ceil(start_min)
    minutes_in = [m for m in range(first, first + 1440) if m < end_min]
    if not minutes_in:
        return None
    asleep = {m % 1440 for m in minutes_in if not any(start <= m < end for start, end in awake)}
    return [sum(1 << m for m in range(60) if 60 * hour + m in asleep) for hour in range(24)]


def awake_intervals(sleep: Record) -> Iterator[tuple[float, float]]:
    """The readable intervals (UTC seconds) in which the sleeper was awake."""
    levels = sleep.body.get("sleepLevelsMap")
    intervals = levels.get("awake") if isinstance(levels, dict) else None
    for interval in intervals if isinstance(intervals, list) else []:
        if isinstance(interval, dict):
            start, end = number(interval.get("startTimeInSeconds")), number(interval.get("endTimeInSeconds"))
            if start is not None and end is not None:
                yield start, end


def level_ends(sleep: Record) -> Iterator[float]:
    """The ends of the sleep's levels (UTC seconds) that can be true."""
    levels = sleep.body.get("sleepLevelsMap")
    if not isinstance(levels, dict) or sleep.start is None:
        return
    for intervals in levels.values():
        for interval in intervals if isinstance(intervals, list) else []:
            end = number(interval.get("endTimeInSeconds")) if isinstance(interval, dict) else None
            if end is not None and sleep.start < end <= sleep.start + LONGEST_SLEEP_S:
                yield end


def oxygen(sleep: Record | None, pulse_ox: list[Record]) -> Row:
    """Blood oxygen asleep, else through the day, never what the wearer measured by hand."""
    values = above_zero([sleep] if sleep else [], "timeOffsetSleepSpo2")
    if not values:
        values = above_zero((r for r in pulse_ox if not flag(r.body.get("onDemand"))), "timeOffsetSpo2Values")
    return {
        "spo2_mean_pct": mean(values),
        "spo2_lt90_pct": 100 * sum(v < 90 for v in values) / len(values) if values else None,
    }


def exercise(activities: list[Record], *, has_daily: bool) -> Row:
    """Sessions and their minutes; a multisport parent repeats its children, so it is left out."""
    sessions = [activity for activity in activities if not flag(activity.body.get("isParent"))]
    if not sessions:
        zero = 0 if has_daily else None
        return {"exercise_sessions": zero, "exercise_min": zero}
    durations = [s.duration for s in sessions if s.duration is not None]
    return {
        "exercise_sessions": len(sessions),
        "exercise_min": math.fsum(durations) / 60 if durations else None,
    }


def steps_by_hour(epochs: list[Record]) -> list[float | None] | None:
    """Steps in each of the 24 local hours; an hour nothing is known of is null."""
    if not epochs:
        return None
    by_hour: list[list[float]] = [[] for _ in range(24)]
    for epoch in epochs:
        steps = not_negative(epoch.body.get("steps"))
        if steps is not None and epoch.start is not None:
            by_hour[math.floor((epoch.start + (epoch.offset or 0)) / 3600) % 24].append(steps)
    return [total(hour) for hour in by_hour]


def sync_lag_h(daily: Record | None) -> float | None:
    """Hours from the end of the daily to its receipt."""
    if daily is None or daily.start is None or daily.duration is None or daily.received is None:
        return None
    return (daily.received.timestamp() - (daily.start + daily.duration)) / 3600


# --- statistics over values that are there ---


def total(values: list[float]) -> float | None:
    """Sum; of nothing: None."""
    return math.fsum(values) if values else None


def mean(values: list[float]) -> float | None:
    """Mean; of nothing: None."""
    return statistics.fmean(values) if values else None


def median(values: list[float]) -> float | None:
    """Median; of nothing: None."""
    return statistics.median(values) if values else None


def sd(values: list[float]) -> float | None:
    """Sample standard deviation; of fewer than two: None."""
    return statistics.stdev(values) if len(values) >= 2 else None


def slope(points: list[tuple[int, float]]) -> float | None:
    """Least-squares slope, worked in fractions so that rounding plays no part."""
    if len(points) < SLOPE_DAYS:
        return None
    xs = [Fraction(x) for x, _ in points]
    ys = [Fraction(y) for _, y in points]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return float(over / sum((x - x_mean) ** 2 for x in xs))


def wrapped(value: float) -> float:
    """Minutes on the 24-h clock, in (-720, 720]."""
    return value - 1440 * math.ceil((value - 720) / 1440)


def radians(minute: float) -> float:
    """The angle of a clock minute."""
    return 2 * math.pi * (minute % 1440) / 1440


def circular_mean(values: list[float]) -> float | None:
    """Mean direction of clock minutes; None without values, or when they cancel out."""
    east = math.fsum(math.cos(radians(v)) for v in values)
    north = math.fsum(math.sin(radians(v)) for v in values)
    if not values or math.hypot(east, north) < 1e-9 * len(values):
        return None
    return wrapped(math.atan2(north, east) * 1440 / (2 * math.pi))


def circular_sd(values: list[float]) -> float | None:
    """sqrt(-2 ln R) as minutes; 1 - R comes from half-angle sines, exact also when the nights are alike."""
    middle = circular_mean(values)
    if len(values) < 2 or middle is None:
        return None
    apart = math.fsum(math.sin((radians(v) - radians(middle)) / 2) ** 2 for v in values)
    one_minus_r = min(max(2 * apart / len(values), 0.0), 1.0)
    if one_minus_r == 1:
        return None
    return math.sqrt(-2 * math.log1p(-one_minus_r)) * 1440 / (2 * math.pi)


# --- weekly ---


def reference_weekly(daily_rows: list[Row], monday: date) -> list[Row]:
    """One dict per participant with a daily row in the week that begins on `monday`."""
    in_week = [row for row in daily_rows if monday <= row["date"] < monday + timedelta(days=7)]
    people = sorted({row["participant_id"] for row in in_week})

    def of(who: str, days: int) -> list[Row]:
        """The participant's rows of so many days up to the week's Sunday."""
        first, last_day = monday + timedelta(days=7 - days), monday + timedelta(days=6)
        found = [r for r in daily_rows if r["participant_id"] == who and first <= r["date"] <= last_day]
        return sorted(found, key=lambda r: r["date"])

    return [
        weekly_row(who, monday, of(who, 7))
        | regularity_and_rhythm(of(who, 7))
        | {f"{name}_28d": value for name, value in regularity_and_rhythm(of(who, 28)).items()}
        for who in people
    ]


def regularity_and_rhythm(days: list[Row]) -> Row:
    """Sleep regularity and the rhythm of hourly steps over these days."""
    by_date = {day["date"]: day for day in days}
    agreeing = pairs = 0
    for day in days:
        after = by_date.get(day["date"] + timedelta(days=1))
        if after and day["asleep_by_hour"] is not None and after["asleep_by_hour"] is not None:
            pairs += 1
            for one, other in zip(day["asleep_by_hour"], after["asleep_by_hour"], strict=True):
                agreeing += sum((one >> m & 1) == (other >> m & 1) for m in range(60))
    return {
        "sleep_regularity_index": -100 + 200 * agreeing / (1440 * pairs) if pairs >= 3 else None,
        "n_sleep_pairs": pairs,
        **rhythm(days),
    }


def rhythm(days: list[Row]) -> Row:
    """IS, IV and RA in exact fractions, straight from the formulas."""
    x = {
        ((day["date"] - EPOCH).days * 24 + hour): Fraction(steps)
        for day in days
        for hour, steps in enumerate(day["steps_by_hour"] or [])
        if steps is not None
    }
    n = len(x)
    row: Row = {
        "interdaily_stability": None,
        "intradaily_variability": None,
        "relative_amplitude": None,
        "n_step_hours": n,
    }
    if n < 72:
        return row
    centre = sum(x.values()) / n
    spread = sum((value - centre) ** 2 for value in x.values())
    jumps = [(x[i] - x[i - 1]) ** 2 for i in x if i - 1 in x]
    if spread and jumps:
        row["intradaily_variability"] = float(n * sum(jumps) / (len(jumps) * spread))
    of_hour = [[value for i, value in x.items() if i % 24 == hour] for hour in range(24)]
    if not all(of_hour):
        return row
    profile = [sum(found) / len(found) for found in of_hour]
    if spread:
        between = sum((one - centre) ** 2 for one in profile)
        row["interdaily_stability"] = float(n * between / (24 * spread))
    twice = profile + profile
    most = max(sum(twice[h : h + 10]) / 10 for h in range(24))
    least = min(sum(twice[h : h + 5]) / 5 for h in range(24))
    row["relative_amplitude"] = float((most - least) / (most + least)) if most + least else None
    return row


def weekly_row(participant_id: str, monday: date, days: list[Row]) -> Row:
    """Every weekly column of one participant, from the daily rows of the week in date order."""
    valid = [day for day in days if day["is_valid_day"]]
    weekend = [day for day in valid if day["date"].weekday() >= 5]
    receipts = values(days, "last_received_at")
    return {
        "participant_id": participant_id,
        "date": monday,
        "n_days": len(days),
        "n_valid_days": len(valid),
        "n_valid_weekend_days": len(weekend),
        "is_valid_week": len(valid) >= VALID_WEEK_DAYS and len(weekend) >= VALID_WEEK_WEEKEND_DAYS,
        **completeness(days),
        **weekly_movement(days, valid),
        **weekly_heart(days, valid, monday),
        **weekly_stress(valid),
        **weekly_sleep(days),
        **weekly_breath(valid),
        "vo2max_last": last(days, "vo2max"),
        "fitness_age_last": last(days, "fitness_age"),
        "exercise_sessions_sum": total(values(days, "exercise_sessions")),
        "exercise_min_sum": total(values(days, "exercise_min")),
        "n_records": sum(day["n_records"] for day in days),
        "last_received_at": max(receipts, default=None),
    }


def values(days: list[Row], column: str) -> list[Any]:
    """The column's values that are not null."""
    return [day[column] for day in days if day[column] is not None]


def last(days: list[Row], column: str) -> float | None:
    """The last value of the week that is not null."""
    found = values(days, column)
    return found[-1] if found else None


def completeness(days: list[Row]) -> Row:
    """How much of the week there is."""
    hours = total(values(days, "valid_minutes_hours"))
    row: Row = {"yield_hours": None if hours is None else hours / 168}
    for kind in ("dailies", "sleeps", "stress", "hrv"):
        row[f"completeness_{kind}"] = sum(day[f"n_{kind}"] > 0 for day in days) / 7
    return row | {
        "wear_min_mean": mean(values(days, "wear_min")),
        "n_wear_days": len(values(days, "wear_min")),
        "sync_lag_h_median": median(values(days, "sync_lag_h")),
    }


def weekly_movement(days: list[Row], valid: list[Row]) -> Row:
    """Steps and energy over valid days; intensity minutes over all days."""
    steps = values(valid, "steps")
    both = [day for day in valid if day["steps"] is not None]
    wear_h = math.fsum(day["wear_min"] for day in both) / 60
    moderate, vigorous = total(values(days, "moderate_min")), total(values(days, "vigorous_min"))
    mvpa = None if moderate is None and vigorous is None else (moderate or 0) + 2 * (vigorous or 0)
    return {
        "steps_mean": mean(steps),
        "steps_median": median(steps),
        "steps_sd": sd(steps),
        "steps_sum": total(steps),
        "n_steps_days": len(steps),
        "steps_per_wear_h": math.fsum(steps) / wear_h if both else None,
        "distance_m_mean": mean(values(valid, "distance_m")),
        "floors_mean": mean(values(valid, "floors")),
        "active_kcal_mean": mean(values(valid, "active_kcal")),
        "active_min_mean": mean(values(valid, "active_min")),
        "moderate_min_sum": moderate,
        "vigorous_min_sum": vigorous,
        "mvpa_equiv_min": mvpa,
        "who_activity": who_activity(mvpa, len(valid)),
    }


def who_activity(mvpa: float | None, n_valid: int) -> str | None:
    """The WHO 2020 band; too little seen is only `below` when the whole week was worn."""
    if mvpa is None:
        return None
    if mvpa > 300:
        return "exceeds"
    if mvpa >= 150:
        return "meets"
    return "below" if n_valid == 7 else "unknown"


def weekly_heart(days: list[Row], valid: list[Row], monday: date) -> Row:
    """Heart rate over valid days, heart-rate variability over all nights."""
    resting = [
        ((day["date"] - monday).days, day["resting_hr_bpm"]) for day in valid if day["resting_hr_bpm"] is not None
    ]
    beats = values(valid, "hr_mean_bpm")
    rmssd = values(days, "hrv_rmssd_ms")
    spread, centre = sd(rmssd), mean(rmssd)
    return {
        "resting_hr_mean": mean([bpm for _, bpm in resting]),
        "resting_hr_slope": slope(resting),
        "n_resting_hr_days": len(resting),
        "hr_mean": mean(beats),
        "n_hr_days": len(beats),
        "hrv_rmssd_mean": centre,
        "hrv_ln_rmssd_mean": mean([math.log(ms) for ms in rmssd if ms > 0]),
        "hrv_cv_pct": None if spread is None or centre is None else 100 * spread / centre,
        "n_hrv_nights": len(rmssd),
    }


def weekly_stress(valid: list[Row]) -> Row:
    """Stress and Body Battery over valid days."""
    sums = {level: math.fsum(values(valid, f"stress_{level}_min")) for level in STRESS_LEVELS}
    known = math.fsum(sums.values())
    row: Row = {
        "stress_mean": mean(values(valid, "stress_mean")),
        "n_stress_days": len(values(valid, "stress_mean")),
        "stress_high_pct": 100 * sums["high"] / known if known else None,
        "stress_rest_pct": 100 * sums["rest"] / known if known else None,
    }
    for part in ("max", "min", "charged", "drained"):
        row[f"body_battery_{part}_mean"] = mean(values(valid, f"body_battery_{part}"))
    return row


def weekly_sleep(days: list[Row]) -> Row:
    """Sleep over every night with a main sleep, worn by day or not."""
    nights = [day for day in days if day["sleep_tst_min"] is not None]
    tst_h = [night["sleep_tst_min"] / 60 for night in nights]
    long_nights = sum(night["sleep_tst_min"] >= LONG_NIGHT_MIN for night in nights)
    midsleep = values(nights, "midsleep_min")
    free = circular_mean(values([n for n in nights if n["date"].weekday() >= 5], "midsleep_min"))
    work = circular_mean(values([n for n in nights if n["date"].weekday() < 5], "midsleep_min"))
    return {
        "n_nights": len(nights),
        "sleep_tst_h_mean": mean(tst_h),
        "sleep_tst_h_sd": sd(tst_h),
        "sleep_tib_h_mean": mean([night["sleep_tib_min"] / 60 for night in nights]),
        "sleep_efficiency_mean": mean(values(nights, "sleep_efficiency_pct")),
        "sleep_waso_min_mean": mean(values(nights, "sleep_waso_min")),
        "sleep_deep_pct_mean": mean(values(nights, "sleep_deep_pct")),
        "sleep_light_pct_mean": mean(values(nights, "sleep_light_pct")),
        "sleep_rem_pct_mean": mean(values(nights, "sleep_rem_pct")),
        "midsleep_mean_min": circular_mean(midsleep),
        "midsleep_sd_min": circular_sd(midsleep),
        "n_midsleep_nights": len(midsleep),
        "social_jetlag_min": None if free is None or work is None else wrapped(free - work),
        "nights_ge7h_pct": 100 * long_nights / len(nights) if nights else None,
    }


def weekly_breath(valid: list[Row]) -> Row:
    """Blood oxygen and breathing over valid days."""
    return {
        "spo2_mean": mean(values(valid, "spo2_mean_pct")),
        "n_spo2_days": len(values(valid, "spo2_mean_pct")),
        "spo2_lt90_pct_mean": mean(values(valid, "spo2_lt90_pct")),
        "resp_sleep_mean": mean(values(valid, "resp_sleep_brpm")),
        "n_resp_sleep_days": len(values(valid, "resp_sleep_brpm")),
        "resp_day_mean": mean(values(valid, "resp_day_brpm")),
        "n_resp_day_days": len(values(valid, "resp_day_brpm")),
    }
