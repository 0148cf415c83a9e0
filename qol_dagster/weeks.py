"""ISO weeks in Japan: which dates and weeks belong together, and when a week is over.

Belongs here: pure functions of dates. A week is named by its Monday. Not here: Dagster's partitions of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from qol_dagster.metrics.thresholds import TRAILING_WEEKS
from qol_ingest.shared.calendar import (
    EPOCH,
    JST,
    TIMEZONE,
    WEEKLY_RUN_TIME,
    WEEKLY_RUN_WEEKDAY,
    monday_of,
    receipt_date,
    weekly_run_of,
)

__all__ = [
    "TIMEZONE",
    "WEEKLY_DEADLINE",
    "WEEKLY_DEADLINE_CRON",
    "WEEKLY_RUN_CRON",
    "WEEKLY_RUN_TIME",
    "affected_weeks",
    "aws_cron",
    "contributing_weeks",
    "dates_of",
    "is_closed",
    "last_due_week",
    "monday_of",
    "mondays",
    "receipt_date",
    "today",
    "weekly_run_of",
    "weeks_left_out",
]

WEEKLY_DEADLINE = time(12)
"""When, on the day of the weekly run, its week must be there."""
WEEKLY_DEADLINE_CRON = f"{WEEKLY_DEADLINE.minute} {WEEKLY_DEADLINE.hour} * * {WEEKLY_RUN_WEEKDAY + 1}"
WEEKLY_RUN_CRON = f"{WEEKLY_RUN_TIME.minute} {WEEKLY_RUN_TIME.hour} * * {WEEKLY_RUN_WEEKDAY + 1}"
"""When the weekly run starts, in `TIMEZONE`; cron counts weekdays from Sunday, which is 0."""


def aws_cron(at: time) -> str:
    """Return the schedule of EventBridge (UTC) for this time of day in Japan, on the day of the weekly run."""
    moment = datetime.combine(weekly_run_of(monday_of(EPOCH)), at, JST).astimezone(UTC)
    weekday = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")[moment.weekday()]
    return f"cron({moment.minute} {moment.hour} ? * {weekday} *)"


def mondays(days: Sequence[date]) -> list[date]:
    """Return the Mondays of the ISO weeks of these dates, each once, in order."""
    return sorted({monday_of(day) for day in days})


def dates_of(week: date) -> list[date]:
    """Return the seven dates of a week."""
    return [week + timedelta(days=number) for number in range(7)]


def contributing_weeks(weeks: Sequence[date]) -> list[date]:
    """Return the Mondays of all weeks that the rows of these weeks are computed from: `..._28d` columns look back."""
    return mondays([week - timedelta(weeks=back) for week in weeks for back in range(TRAILING_WEEKS)])


def affected_weeks(days: Sequence[date]) -> list[date]:
    """Return the Mondays of all weeks whose rows are computed from these dates, among others."""
    return mondays([day + timedelta(weeks=later) for day in days for later in range(TRAILING_WEEKS)])


def weeks_left_out(raw_days: Sequence[date], stored: Sequence[date]) -> list[date]:
    """Return the weeks that have raw files and are not stored, between weeks that are; both sequences in order."""
    known = set(stored)
    return [week for week in mondays(raw_days) if known and stored[0] < week < stored[-1] and week not in known]


def last_due_week(now: datetime) -> date:
    """Return the Monday of the last week whose weekly run was due by a time."""
    week = monday_of(receipt_date(now)) - timedelta(weeks=1)
    return week if weekly_run_of(week) <= now else week - timedelta(weeks=1)


def today() -> date:
    """Return the date in Japan."""
    return receipt_date(datetime.now(UTC))


def is_closed(week: date, on: date) -> bool:
    """Return whether the week that begins on this Monday is over on a date."""
    return week <= on - timedelta(days=7)  # the week after may be beyond all dates
