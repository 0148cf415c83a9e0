"""Under which date a record is filed: one rule for the receiver, for `qol raw refile` and for the weekly job.

Belongs here: the date of a parsed record. Which summary types there are is not known here, but for those that are dated
by their measurement.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from qol_ingest.shared.calendar import DAY_S, EPOCH, receipt_date
from qol_ingest.shared.limits import FIRST_SECOND, LARGEST_NUMBER, LAST_SECOND

MEASURED_TYPES = ("bodyComps", "bloodPressures")
_STARTED = ("startTimeInSeconds", "measurementTimeInSeconds")
_MEASURED = ("measurementTimeInSeconds", "startTimeInSeconds")
_OFFSETS = (
    "startTimeOffsetInSeconds",
    "measurementTimeOffsetInSeconds",
    "offsetStartTimeInSeconds",
    "offsetInSeconds",
)
_PLAIN_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLAIN_NUMBER = re.compile(r" *[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *")


def record_date(record: Mapping[str, Any], received_at: datetime) -> date:
    """Return the date a record is filed under: `calendarDate`, else the local date of its start, else `receipt_date`.

    Reads `_summary_type` too: body compositions and blood pressures are dated by their measurement first.
    """
    return own_date(record, record.get("_summary_type")) or receipt_date(received_at)


def own_date(record: Mapping[str, Any], summary_type: object) -> date | None:
    """Return the date that a record itself states or implies; None if it does neither."""
    return _stated_date(record) or _start_date(record, summary_type)


def _stated_date(record: Mapping[str, Any]) -> date | None:
    stated = record.get("calendarDate")
    if not isinstance(stated, str) or not _PLAIN_DATE.fullmatch(stated):
        return None
    try:
        return date.fromisoformat(stated)
    except ValueError:
        return None


def _start_date(record: Mapping[str, Any], summary_type: object) -> date | None:
    start_s = _first_number(record, _MEASURED if summary_type in MEASURED_TYPES else _STARTED)
    offset_s = _first_number(record, _OFFSETS)
    summary = record.get("summary")
    if isinstance(summary, dict):  # activityDetails keep their times one level down
        start_s = _first_number(summary, _STARTED[:1]) if start_s is None else start_s
        offset_s = _first_number(summary, _OFFSETS[:1]) if offset_s is None else offset_s
    if start_s is None:
        return None
    local_s = math.floor(start_s + (offset_s or 0.0))
    if not FIRST_SECOND <= local_s <= LAST_SECOND:
        return None
    return EPOCH + timedelta(days=local_s // DAY_S)


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
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST_NUMBER else None
