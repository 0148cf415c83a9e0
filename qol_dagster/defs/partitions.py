"""The partitions: days and ISO weeks in Japanese time, from one start date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

TIMEZONE = "Asia/Tokyo"


@dataclass(frozen=True)
class Partitions:
    """Daily and weekly partitions that start on the same Monday; a week's key is its Monday."""

    daily: dg.DailyPartitionsDefinition
    weekly: dg.WeeklyPartitionsDefinition


def partitions_from(start: date) -> Partitions:
    """Partitions from a Monday on. The last week is the last complete one."""
    return Partitions(
        dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone=TIMEZONE),
        dg.WeeklyPartitionsDefinition(start_date=start.isoformat(), timezone=TIMEZONE, day_offset=1),
    )


def today() -> date:
    """Return the date in Japan."""
    return datetime.now(ZoneInfo(TIMEZONE)).date()


def is_closed(week: date, on: date) -> bool:
    """Return whether the week that begins on this Monday is whole in the past."""
    return week + timedelta(days=7) <= on
