"""Under which date a record is filed: one rule for the receiver, for `qol raw refile` and for the weekly job.

Belongs here: the date of a parsed record, and when a sleep ended, which decides its date. Of the summary types only
those are known here that are dated by something else than their start.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from qol_ingest.shared.calendar import DAY_S, EPOCH, receipt_date
from qol_ingest.shared.limits import FIRST_SECOND, LARGEST_NUMBER, LAST_SECOND

MEASURED_TYPES = ("bodyComps", "bloodPressures")
SLEEPS, HRV = "sleeps", "hrv"
STAGES_TOLERANCE_S = 120
"""How far the sum of the stages may be from a sleep's duration, and still be the same time."""
LAST_STAGE_WITHIN_S = 12 * 3600
"""How far the last stage's end may be from where the durations say that the sleep ended."""
_STARTED = ("startTimeInSeconds", "measurementTimeInSeconds")
_MEASURED = ("measurementTimeInSeconds", "startTimeInSeconds")
_OFFSETS = (
    "startTimeOffsetInSeconds",
    "measurementTimeOffsetInSeconds",
    "offsetStartTimeInSeconds",
    "offsetInSeconds",
)
_STAGES = ("deepSleepDurationInSeconds", "lightSleepDurationInSeconds", "remSleepInSeconds")
_UNMEASURABLE = ("unmeasurableSleepInSeconds", "unmeasurableSleepDurationInSeconds")
_PLAIN_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLAIN_NUMBER = re.compile(r"[ \t-\r]*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t-\r]*")


def record_date(record: Mapping[str, Any], received_at: datetime) -> date:
    """Return the date a raw line's record is filed under: its own, else that of its receipt in Japan."""
    return own_date(record, record.get("_summary_type")) or receipt_date(received_at)


def own_date(record: Mapping[str, Any], summary_type: object) -> date | None:
    """Return the date that a record of this type states or implies; None if it does neither.

    It states its `calendarDate`. Else a sleep implies the local date of its end, an hrv record that of its start plus
    duration, and any other that of its start. Body compositions and blood pressures start with their measurement.
    """
    return _stated_date(record) or _implied_date(record, summary_type)


def _stated_date(record: Mapping[str, Any]) -> date | None:
    stated = record.get("calendarDate")
    if not isinstance(stated, str) or not _PLAIN_DATE.fullmatch(stated):
        return None
    try:
        return date.fromisoformat(stated)
    except ValueError:
        return None


def _implied_date(record: Mapping[str, Any], summary_type: object) -> date | None:
    start_s = _first_number(record, _MEASURED if summary_type in MEASURED_TYPES else _STARTED)
    offset_s = _first_number(record, _OFFSETS)
    summary = record.get("summary")
    if isinstance(summary, dict):  # activityDetails keep their times one level down
        start_s = _first_number(summary, _STARTED[:1]) if start_s is None else start_s
        offset_s = _first_number(summary, _OFFSETS[:1]) if offset_s is None else offset_s
    if start_s is None:
        return None
    started = _local_date(start_s, offset_s)
    began_s = _number(record.get(_STARTED[0])) if summary_type in (SLEEPS, HRV) else None
    if started is None or began_s is None:  # a night of which nobody says when it began has no end either
        return started
    return _local_date(_end_s(record, summary_type, began_s), offset_s)


def _local_date(at_s: float, offset_s: float | None) -> date | None:
    """Return the date that the device showed at a time; None outside of the years that are data."""
    local_s = math.floor(at_s + (offset_s or 0.0))
    if not FIRST_SECOND <= local_s <= LAST_SECOND:
        return None
    return EPOCH + timedelta(days=local_s // DAY_S)


def _end_s(record: Mapping[str, Any], summary_type: object, start_s: float) -> float:
    if summary_type == SLEEPS:
        return sleep_end_s(record, start_s)
    return start_s + (_seconds(record, "durationInSeconds") or 0.0)


# -- sleeps


def sleep_end_s(sleep: Mapping[str, Any], start_s: float) -> float:
    """Return when a sleep that began at `start_s` ended, in UTC seconds as the start.

    It ended with its last stage, if that is after the start and within `LAST_STAGE_WITHIN_S` of start + tst + awake +
    unmeasurable, unknown ones counting 0; else there.
    """
    asleep_s, awake_s = sleep_tst_s(sleep) or 0.0, sleep_awake_s(sleep) or 0.0
    expected_s = start_s + asleep_s + awake_s + (_seconds(sleep, *_UNMEASURABLE) or 0.0)
    levels = _levels(sleep).values()
    ends_s = [end_s for level in levels for _, end_s in _limits(level) if end_s is not None and end_s > start_s]
    last_s = max(ends_s, default=expected_s)
    return last_s if abs(last_s - expected_s) <= LAST_STAGE_WITHIN_S else expected_s


def sleep_tst_s(sleep: Mapping[str, Any]) -> float | None:
    """Return the total sleep time; None without a duration and without stages, and then it is no sleep.

    Whether Garmin's duration includes awake and unmeasurable time differs, so the sum of the stages counts where some
    reading of the duration agrees with it.
    """
    duration_s = _seconds(sleep, "durationInSeconds")
    stages = [stage_s for name in _STAGES if (stage_s := _seconds(sleep, name)) is not None]
    if not stages:
        return duration_s
    stages_s = sum(stages)
    if duration_s is None:
        return stages_s
    agrees = any(abs(stages_s - reading_s) <= STAGES_TOLERANCE_S for reading_s in _readings_s(sleep, duration_s))
    return stages_s if agrees else duration_s


def _readings_s(sleep: Mapping[str, Any], duration_s: float) -> list[float]:
    """Return what of a duration may be the time asleep: all of it, or it without unmeasurable or awake time or both."""
    unmeasurable_s, awake_s = _seconds(sleep, *_UNMEASURABLE) or 0.0, sleep_awake_s(sleep)
    with_awake = [duration_s, duration_s - unmeasurable_s]
    return with_awake if awake_s is None else [*with_awake, *(reading_s - awake_s for reading_s in with_awake)]


def sleep_awake_s(sleep: Mapping[str, Any]) -> float | None:
    """Return the time awake: its field, else the sum of the stage map's awake intervals; None if neither is there."""
    stated_s = _seconds(sleep, "awakeDurationInSeconds")
    awake = _levels(sleep).get("awake")
    if stated_s is not None or not isinstance(awake, list):
        return stated_s
    known = [(start_s, end_s) for start_s, end_s in _limits(awake) if start_s is not None and end_s is not None]
    return sum((end_s - start_s for start_s, end_s in known if end_s > start_s), 0.0)


def _levels(sleep: Mapping[str, Any]) -> Mapping[str, Any]:
    levels = sleep.get("sleepLevelsMap")
    return levels if isinstance(levels, dict) else {}


def _limits(level: object) -> Iterator[tuple[float | None, float | None]]:
    """Yield start and end of the intervals of one sleep level, None where there is none."""
    for interval in level if isinstance(level, list) else ():
        if isinstance(interval, dict):
            yield _number(interval.get("startTimeInSeconds")), _number(interval.get("endTimeInSeconds"))


# -- numbers


def _seconds(record: Mapping[str, Any], *names: str) -> float | None:
    """Return a duration under the first of its names that holds one; a negative one is no data."""
    for name in names:
        number = _number(record.get(name))
        if number is not None and number >= 0:
            return number
    return None


def _first_number(record: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        number = _number(record.get(name))
        if number is not None:
            return number
    return None


def _number(value: object) -> float | None:
    """Return a JSON number, or text that is one; anything else, NaN, or beyond 1e15 is None."""
    if isinstance(value, str):
        value = float(value) if _PLAIN_NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) <= LARGEST_NUMBER else None
