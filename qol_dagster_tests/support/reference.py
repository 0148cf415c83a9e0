"""The metrics worked out a second time, in plain Python, straight from their definitions.

The product's engines are compared with this module, so it shares nothing with them: no data frame, no SQL,
no field list and no helper of the package. It reads beside the definitions; clear comes before fast.

Not here: the columns that a run writes about itself (computed_at, metrics_version).
"""

import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

Row = dict[str, Any]

VALID_DAY_MIN = 600
VALID_HOUR_MINUTES = 30
VALID_WEEK_DAYS = 4
VALID_WEEK_WEEKEND_DAYS = 1
SLOPE_DAYS = 3
WEEK_PAIRS, WEEK_STEP_HOURS = 4, 120
MONTH_PAIRS, MONTH_STEP_HOURS = 14, 336
LONG_NIGHT_MIN = 420
LARGEST_NUMBER = 1e15
STAGES_AGREE_S = 120
LEVELS_MAY_END_S = 12 * 3600

JST = timezone(timedelta(hours=9))
EPOCH = date(1970, 1, 1)
NEVER = datetime.min.replace(tzinfo=UTC)

ALIASES = {
    "pulseOx": "pulseox",
    "respiration": "allDayRespiration",
    "moveiq": "moveIQActivities",
    "menstrualCycleTracking": "mct",
}
ACTIVITY_TYPES = ("activities", "manuallyUpdatedActivities")
ACTIVITY_EXPORT = {*ACTIVITY_TYPES, "activityDetails", "activityFiles", "moveIQActivities"}
"""The types for which Garmin asks the permission of this name; all others need HEALTH_EXPORT."""
MEASURED_TYPES = ("bodyComps", "bloodPressures")
LONGEST_COUNTS = ("dailies", "stressDetails", "pulseox", "allDayRespiration", "hrv")
FINALITY = {"AUTO_MANUAL": 4, "ENHANCED_FINAL": 3, "AUTO_FINAL": 2, "ENHANCED_TENTATIVE": 1, "AUTO_TENTATIVE": 0}
STAGE_FIELDS = {
    "deep": "deepSleepDurationInSeconds",
    "light": "lightSleepDurationInSeconds",
    "rem": "remSleepInSeconds",
}
STRESS_LEVELS = ("rest", "low", "medium", "high")

PLAIN_NUMBER = re.compile(r"[ \t-\r]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t-\r]*")
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
    """JSON true, the number 1, or the texts "true" (in any case) and "1"."""
    if isinstance(value, str):
        return value.lower() in ("true", "1")
    return isinstance(value, int | float) and value == 1  # True is 1 too


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


def local_date(at: float, offset: float) -> date | None:
    """The date on the device's clock; a time outside of the years 1900 to 9999 has none."""
    try:
        day = EPOCH + timedelta(days=math.floor((at + offset) / 86400))
    except OverflowError:
        return None
    return day if day.year >= 1900 else None


# --- one record ---


@dataclass(frozen=True)
class Record:
    """One raw line, with what every type has in common already read."""

    user: str
    type: str | None
    body: dict[str, Any]
    received: datetime | None
    ingest_id: str
    line: int = 0

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
        """UTC seconds; a time outside of the years 1900 to 9999 is none."""
        at = self.times("startTimeInSeconds")
        return None if at is None or local_date(at, self.offset or 0) is None else at

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
    def order(self) -> tuple[datetime, str, int]:
        """Received last; then the greater ingest id; of one body the one further down."""
        return (self.received or NEVER, self.ingest_id, self.line)

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records versions of one another, within a user and a date."""
        summary_id = text(self.body.get("summaryId")) or None
        if self.type in ACTIVITY_TYPES and summary_id is not None:
            return ("activity", summary_id)
        if self.type == "userMetrics":
            return (self.type,)
        if self.type in MEASURED_TYPES:
            main: object = self.times("measurementTimeInSeconds")
        elif self.type == "userPermissionsChange":
            main = self.times("changeTimeInSeconds")
        else:
            main = self.times("startTimeInSeconds")
        at = ("summary id", summary_id) if main is None else ("time", main)
        if self.type == "pulseox":
            return (self.type, at, flag(self.body.get("onDemand")))
        return ("activity" if self.type in ACTIVITY_TYPES else self.type, at)

    def own_date(self, directory: date) -> date:
        """The local calendar date this record belongs to."""
        stated = plain_date(self.body.get("calendarDate"))
        if stated is not None:
            return stated
        names = ("startTimeInSeconds", "measurementTimeInSeconds")
        at = self.times(*(reversed(names) if self.type in MEASURED_TYPES else names))
        found = None if at is None else local_date(at, self.offset or 0)
        if found is not None and self.start is not None and self.type in ("sleeps", "hrv"):  # the date of waking
            end = Sleep(self).end if self.type == "sleeps" else self.start + (self.duration or 0)
            found = None if end is None else local_date(end, self.offset or 0)
        if found is not None:
            return found
        return directory if self.received is None else self.received.astimezone(JST).date()

    @property
    def length(self) -> float | None:
        """Seconds in which it can have samples: the duration; of a sleep, from its start to its end."""
        if self.type != "sleeps":
            return self.duration
        end = Sleep(self).end
        return None if end is None or self.start is None else end - self.start

    def samples(self, field: str) -> list[tuple[float, float]]:
        """(offset in seconds, value) of a sample map, where both read as numbers and the offset is in the record."""
        found = self.body.get(field)
        if not isinstance(found, dict):
            return []
        last_s = math.inf if self.length is None else self.length
        pairs = [(number(offset), number(value)) for offset, value in found.items()]
        return [(at, value) for at, value in pairs if at is not None and value is not None and 0 <= at <= last_s]


@dataclass(frozen=True)
class Sleep:
    """What the parts of a sleep say of it, in seconds."""

    record: Record

    @property
    def finality(self) -> int:
        """How final it is: the greater overrides the less; what is not a word we know is like AUTO_FINAL."""
        return FINALITY.get(self.validation, FINALITY["AUTO_FINAL"])

    @property
    def validation(self) -> str:
        """In capitals."""
        found = self.record.body.get("validation")
        return found.strip(" ").upper() if isinstance(found, str) else ""

    @property
    def stages(self) -> dict[str, float]:
        """The stages that have a length."""
        read = {stage: not_negative(self.record.body.get(field)) for stage, field in STAGE_FIELDS.items()}
        return {stage: length for stage, length in read.items() if length is not None}

    @property
    def awake(self) -> float | None:
        """The field, else the awake intervals together, else unknown."""
        stated = not_negative(self.record.body.get("awakeDurationInSeconds"))
        if stated is not None or not isinstance(self.levels.get("awake"), list):
            return stated
        return math.fsum(end - start for start, end in self.intervals("awake"))

    @property
    def unmeasured(self) -> float | None:
        """Seconds that the device could not tell; the field has two names."""
        stated = not_negative(self.record.body.get("unmeasurableSleepInSeconds"))
        return not_negative(self.record.body.get("unmeasurableSleepDurationInSeconds")) if stated is None else stated

    @property
    def tst(self) -> float | None:
        """Time asleep. What the duration includes differs, so the stages decide where they agree with it somehow."""
        duration = self.record.duration
        if not self.stages:
            return duration
        staged = math.fsum(self.stages.values())
        if duration is None:
            return staged
        awake, unmeasured = self.awake, self.unmeasured or 0
        readings = [duration, duration - unmeasured]
        if awake is not None:
            readings += [duration - awake, duration - awake - unmeasured]
        return staged if any(abs(staged - reading) <= STAGES_AGREE_S for reading in readings) else duration

    @property
    def in_bed(self) -> float:
        """Asleep, awake and unmeasured together; what is unknown counts 0 here."""
        return (self.tst or 0) + (self.awake or 0) + (self.unmeasured or 0)

    @property
    def end(self) -> float | None:
        """UTC seconds: the last end of the levels where that can be true, else the start and all of its parts."""
        start = self.record.start
        if start is None:
            return None
        lists = [found for found in self.levels.values() if isinstance(found, list)]
        ends = [number(one.get("endTimeInSeconds")) for found in lists for one in found if isinstance(one, dict)]
        latest = max((end for end in ends if end is not None and end > start), default=None)
        by_parts = start + self.in_bed
        return latest if latest is not None and abs(latest - by_parts) <= LEVELS_MAY_END_S else by_parts

    @property
    def levels(self) -> dict[str, Any]:
        """sleepLevelsMap; empty if it is none."""
        found = self.record.body.get("sleepLevelsMap")
        return found if isinstance(found, dict) else {}

    def intervals(self, *names: str) -> list[tuple[float, float]]:
        """The readable intervals of these levels that take time, in UTC seconds."""
        lists = [found for found in map(self.levels.get, names) if isinstance(found, list)]
        given = [one for found in lists for one in found if isinstance(one, dict)]
        read = [(number(one.get("startTimeInSeconds")), number(one.get("endTimeInSeconds"))) for one in given]
        return [(start, end) for start, end in read if start is not None and end is not None and end > start]

    def overlaps(self, other: "Sleep") -> bool:
        """Whether there is a time in both; a sleep without a start overlaps none."""
        start, end, other_start, other_end = self.record.start, self.end, other.record.start, other.end
        if start is None or end is None or other_start is None or other_end is None:
            return False
        return start < other_end and other_start < end


def read_records(directory: Path) -> Iterator[Record]:
    """Every line that is a JSON object with a userId; hidden and temporary files are not read."""
    for path in sorted(directory.glob("*.jsonl")):
        if path.name.startswith((".", "_")) or not path.is_file():
            continue
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        for number_of_line, line in enumerate(lines):
            try:
                body = json.loads(line.decode("utf-8"))
            except ValueError:  # not UTF-8, or not JSON
                continue
            user = text(body.get("userId")) if isinstance(body, dict) else None
            if user is None:
                continue
            kind, ingest_id = text(body.get("_summary_type")), text(body.get("_ingest_id"))
            yield Record(
                user=user,
                type=ALIASES.get(kind, kind) if kind else kind,
                body=body,
                received=instant(body.get("_received_at")),
                ingest_id=path.stem if ingest_id is None else ingest_id,
                line=number_of_line,
            )


def records_of(directory: Path, day: date, users: Iterable[str]) -> list[Record]:
    """All records of these users that belong to `day`, in every version."""
    known = set(users)
    return [record for record in read_records(directory) if record.user in known and record.own_date(day) == day]


def current_records(records: Iterable[Record]) -> list[Record]:
    """The records of one user and date that count, each in one version."""
    versions: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        versions.setdefault(record.key, []).append(record)
    return [
        record
        for found in versions.values()
        for record in (slice_of_epochs(found) if found[0].type == "epochs" else [version_that_counts(found)])
    ]


def version_that_counts(versions: list[Record]) -> Record:
    """Which version counts depends on the type."""
    kind = versions[0].type
    if kind in LONGEST_COUNTS:
        return longest(versions)
    if kind == "sleeps":

        def final(r: Record) -> tuple[object, ...]:
            length = -1 if r.duration is None else r.duration
            return (Sleep(r).finality, r.received or NEVER, length, r.ingest_id, r.line)

        return max(versions, key=final)
    return max(versions, key=lambda r: r.order)


def longest(versions: list[Record]) -> Record:
    """The longest, then the latest; a missing duration counts as the longest of the versions."""
    length = lengths(versions)
    return max(versions, key=lambda r: (length(r), r.order))


def lengths(versions: list[Record]) -> Callable[[Record], float]:
    """How long each version is; one without a duration is as long as the longest."""
    at_most = max((r.duration for r in versions if r.duration is not None), default=0.0)
    return lambda r: at_most if r.duration is None else r.duration


def slice_of_epochs(epochs: list[Record]) -> list[Record]:
    """Of the epochs of one start those of one delivery, one of each activity type."""
    length = lengths(epochs)
    deliveries: dict[str, list[Record]] = {}
    for epoch in epochs:
        deliveries.setdefault(epoch.ingest_id, []).append(epoch)

    def rank(ingest_id: str) -> tuple[float, datetime, str]:
        delivered = deliveries[ingest_id]
        return (max(map(length, delivered)), max(r.received or NEVER for r in delivered), ingest_id)

    by_activity: dict[str | None, list[Record]] = {}
    for epoch in deliveries[max(deliveries, key=rank)]:
        by_activity.setdefault(text(epoch.body.get("activityType")), []).append(epoch)

    def within(found: list[Record]) -> Record:
        length = lengths(found)
        return max(found, key=lambda r: (length(r), r.line))

    return [within(found) for found in by_activity.values()]


# --- daily ---


def reference_daily(
    lake_dir: Path, participants: dict[str, str], dates: list[date], withheld: dict[str, str] | None = None
) -> list[Row]:
    """One dict per (participant_id, date) with at least one current record, with every daily column.

    `participants` maps a Garmin userId to a participant_id; several ids may be one participant's. `withheld` maps a
    userId to the one permission that is not given.
    Beside the daily columns: n_dailies, n_sleeps, n_stress, n_hrv, the current records of these types.
    """
    rows = []
    given = withheld or {}
    unseen = {participants[user] for user, permission in given.items() if permission == "ACTIVITY_EXPORT"}
    for day in dates:
        of_participant: dict[str, dict[str, list[Record]]] = {}
        for record in records_of(lake_dir / "raw" / "daily" / f"date={day}", day, participants):
            needed = "ACTIVITY_EXPORT" if record.type in ACTIVITY_EXPORT else "HEALTH_EXPORT"
            if given.get(record.user) != needed:
                of_participant.setdefault(participants[record.user], {}).setdefault(record.user, []).append(record)
        for who in sorted(of_participant):
            row = account_that_counts(who, day, of_participant[who])
            if who in unseen and row["exercise_sessions"] == 0:  # nobody knows of none, only of those that came
                row |= {"exercise_sessions": None, "exercise_min": None}
            rows.append(row)
    return rows


def account_that_counts(participant_id: str, day: date, records: dict[str, list[Record]]) -> Row:
    """The row of the account with the most wear, then that received last, then that of the greater user id."""

    def rank(of_account: tuple[str, Row]) -> tuple[float, datetime, str]:
        user, row = of_account
        return (-1 if row["wear_min"] is None else row["wear_min"], row["last_received_at"] or NEVER, user)

    rows = {user: daily_row(participant_id, day, found) for user, found in records.items()}
    return max(rows.items(), key=rank)[1]


def daily_row(participant_id: str, day: date, versions: list[Record]) -> Row:
    """Every daily column of one participant on one date, from one account's records of that date."""
    records = current_records(versions)

    def of_type(*types: str) -> list[Record]:
        return [record for record in records if record.type in types]

    dailies, sleeps, stress, hrv = (of_type(t) for t in ("dailies", "sleeps", "stressDetails", "hrv"))
    daily = max(dailies, key=lambda r: (-1 if r.duration is None else r.duration, r.order), default=None)
    night = main_sleep(sleeps)
    sleep = night.record if night else None
    fitness = [record for record in versions if record.type == "userMetrics"]
    receipts = [record.received for record in records if record.received is not None]
    return {
        "participant_id": participant_id,
        "date": day,
        **wear(daily, stress, day),
        **movement(daily),
        **heart(daily),
        **stress_and_body_battery(daily, stress),
        **sleep_columns(night, day),
        "hrv_rmssd_ms": positive(latest_value(hrv, "lastNightAvg")),
        **oxygen(sleep, of_type("pulseox")),
        "resp_sleep_brpm": mean(above_zero([sleep] if sleep else [], "timeOffsetSleepRespiration")),
        "resp_day_brpm": mean(above_zero(of_type("allDayRespiration"), "timeOffsetEpochToBreaths")),
        "vo2max": latest_positive(fitness, "vo2Max"),
        "fitness_age": latest_positive(fitness, "fitnessAge"),
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


def latest_positive(records: list[Record], field: str) -> float | None:
    """The field's last value that is one, in any version."""
    in_order = [positive(record.body.get(field)) for record in sorted(records, key=lambda r: r.order)]
    return next((value for value in reversed(in_order) if value is not None), None)


def above_zero(records: Iterable[Record], field: str) -> list[float]:
    """The pooled samples that are data where 0 is not."""
    return [value for record in records for _, value in record.samples(field) if value > 0]


def not_below_zero(records: Iterable[Record], field: str) -> list[float]:
    """The pooled samples that are data where 0 is too."""
    return [value for record in records for _, value in record.samples(field) if value >= 0]


def wear(daily: Record | None, stress: list[Record], day: date) -> Row:
    """Worn minutes: from heart rate, else from stress, else unknown."""
    beats = [(o, v) for o, v in daily.samples("timeOffsetHeartRateSamples") if v > 0] if daily else []
    levels = [value for record in stress for _, value in record.samples("timeOffsetStressLevelValues")]
    wear_min: float | None = None
    source = None
    if beats:
        wear_min, source = len({minute_of(offset) for offset, _ in beats}), "heart_rate"
    elif levels:
        wear_min, source = 3 * sum(level != -1 for level in levels), "stress"
    return {
        "wear_min": wear_min,
        "wear_source": source,
        "valid_minutes_hours": valid_hours(daily, day, [at for at, _ in beats]) if daily and beats else None,
        "is_valid_day": None if wear_min is None else wear_min >= VALID_DAY_MIN,
    }


def minute_of(offset: float) -> int:
    """The minute of the record that a heart rate tells of: it stands for the time before its offset."""
    return max(0, math.floor((offset - 1) / 60))


def valid_hours(daily: Record, day: date, offsets: list[float]) -> int:
    """Hours of the local clock in which enough different minutes have a heart rate; a clock has 24."""
    known = daily.start is not None and daily.offset is not None
    lead_s = daily.start + daily.offset - 86400 * (day - EPOCH).days if known else 0
    worn_minutes = {(math.floor(lead_s / 60) + minute_of(offset)) % 1440 for offset in offsets}
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
        length = not_negative(body.get(f"{name}StressDurationInSeconds"))
        too_long = length is not None and daily is not None and daily.duration is not None and length > daily.duration
        row[f"stress_{name}_min"] = None if too_long else minutes(length)
    return row | {
        "body_battery_max": max(battery, default=None),
        "body_battery_min": min(battery, default=None),
        "body_battery_charged": not_negative(body.get("bodyBatteryChargedValue")),
        "body_battery_drained": not_negative(body.get("bodyBatteryDrainedValue")),
    }


def main_sleep(sleeps: list[Record]) -> Sleep | None:
    """The longest of the sleeps that the device saw and that nothing more final overlaps."""

    def final(s: Sleep) -> tuple[object, ...]:
        return (s.finality, s.record.received or NEVER, s.tst, s.record.ingest_id, s.record.line)

    seen = [s for s in map(Sleep, sleeps) if s.validation not in ("OFF_WRIST", "MANUAL") and s.tst]
    left: list[Sleep] = []
    for sleep in sorted(seen, key=final, reverse=True):
        if not any(sleep.overlaps(other) for other in left):
            left.append(sleep)
    return max(left, key=lambda s: (s.tst, s.record.order), default=None)


def sleep_columns(sleep: Sleep | None, day: date) -> Row:
    """Length, stages and clock times of the main sleep."""
    columns = ["tst_min", "tib_min", "waso_min", "efficiency_pct", "start_min", "end_min"]
    row: Row = dict.fromkeys([*(f"sleep_{name}" for name in columns), "midsleep_min", "asleep_by_hour"])
    row |= dict.fromkeys(f"sleep_{stage}_pct" for stage in STAGE_FIELDS)
    if sleep is None or sleep.tst is None:
        return row
    row |= {
        "sleep_tst_min": minutes(sleep.tst),
        "sleep_tib_min": minutes(sleep.in_bed),
        "sleep_waso_min": minutes(sleep.awake),
        "sleep_efficiency_pct": None if sleep.awake is None else share(sleep.tst, sleep.in_bed),
        **{f"sleep_{stage}_pct": share(length, sleep.tst) for stage, length in sleep.stages.items()},
    }
    start, end, offset = sleep.record.start, sleep.end, sleep.record.offset
    if start is None or end is None or offset is None:
        return row
    to_local = offset - 86400 * (day - EPOCH).days
    start_min, end_min = (start + to_local) / 60, (end + to_local) / 60
    return row | {
        "sleep_start_min": start_min,
        "sleep_end_min": end_min,
        "midsleep_min": (start_min + end_min) / 2,
        "asleep_by_hour": asleep_by_hour(sleep, start_min, end_min, to_local),
    }


def share(part: float, whole: float) -> float:
    """Percent, of which there are never more than a hundred."""
    return min(100 * part / whole, 100.0)


def asleep_by_hour(sleep: Sleep, start_min: float, end_min: float, to_local: float) -> list[int] | None:
    """Minute by minute: asleep or not, by the minute's beginning; bit m of hour h is minute h:m.

    Asleep is in a stage where the levels have any, else from start to end but for the awake intervals.
    """

    def local(*names: str) -> list[tuple[float, float]]:
        return [((start + to_local) / 60, (end + to_local) / 60) for start, end in sleep.intervals(*names)]

    stages, awake = local(*STAGE_FIELDS), local("awake")
    first = math.ceil(start_min)
    minutes_in = [m for m in range(first, first + 1440) if m < end_min]
    if not minutes_in:
        return None

    def asleep(m: int) -> bool:
        if stages:
            return any(start <= m < end for start, end in stages)
        return not any(start <= m < end for start, end in awake)

    slept = {m % 1440 for m in minutes_in if asleep(m)}
    return [sum(1 << m for m in range(60) if 60 * hour + m in slept) for hour in range(24)]


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
        start, offset = epoch.start, epoch.offset
        if steps is None or start is None or offset is None or local_date(start, offset) is None:
            continue
        by_hour[math.floor((start + offset) / 3600) % 24].append(steps)
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
        | regularity_and_rhythm(of(who, 7), WEEK_PAIRS, WEEK_STEP_HOURS)
        | {
            f"{name}_28d": value
            for name, value in regularity_and_rhythm(of(who, 28), MONTH_PAIRS, MONTH_STEP_HOURS).items()
        }
        for who in people
    ]


def regularity_and_rhythm(days: list[Row], pairs_needed: int, hours_needed: int) -> Row:
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
        "sleep_regularity_index": -100 + 200 * agreeing / (1440 * pairs) if pairs >= pairs_needed else None,
        "n_sleep_pairs": pairs,
        **rhythm(days, hours_needed),
    }


def rhythm(days: list[Row], hours_needed: int) -> Row:
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
    if n < hours_needed:
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
        between = sum(len(found) * (one - centre) ** 2 for found, one in zip(of_hour, profile, strict=True))
        row["interdaily_stability"] = float(between / spread)
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
        **weekly_breath(days, valid),
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
    sums = {level: total(values(valid, f"stress_{level}_min")) for level in STRESS_LEVELS}
    known = math.fsum(minutes for minutes in sums.values() if minutes is not None)
    row: Row = {
        "stress_mean": mean(values(valid, "stress_mean")),
        "n_stress_days": len(values(valid, "stress_mean")),
    }
    for level in ("high", "rest"):  # one that no day tells of is unknown, not 0
        row[f"stress_{level}_pct"] = None if sums[level] is None or not known else 100 * (sums[level] / known)
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


def weekly_breath(days: list[Row], valid: list[Row]) -> Row:
    """Blood oxygen and breathing asleep over all days, as nights count on any; breathing by day over valid ones."""
    return {
        "spo2_mean": mean(values(days, "spo2_mean_pct")),
        "n_spo2_days": len(values(days, "spo2_mean_pct")),
        "spo2_lt90_pct_mean": mean(values(days, "spo2_lt90_pct")),
        "resp_sleep_mean": mean(values(days, "resp_sleep_brpm")),
        "n_resp_sleep_days": len(values(days, "resp_sleep_brpm")),
        "resp_day_mean": mean(values(valid, "resp_day_brpm")),
        "n_resp_day_days": len(values(valid, "resp_day_brpm")),
    }
