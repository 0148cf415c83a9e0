"""The calendar of the programme: days and ISO weeks in Japan, and when the weekly run comes.

Belongs here: facts about dates that the receiver and the weekly job share. `record_dates.py` says how a record is
dated.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

TIMEZONE = "Asia/Tokyo"
JST_S = 9 * 3600
JST_MS = 1000 * JST_S
JST = timezone(timedelta(seconds=JST_S))
"""Japan has no daylight saving time."""
DAY_S = 86_400
EPOCH = date(1970, 1, 1)

WEEKLY_RUN_WEEKDAY = 2
"""Wednesday, so that devices have two days to synchronise; Monday is 0."""
WEEKLY_RUN_TIME = time(9, 5)
"""In Japan."""


def receipt_date(received_at: datetime) -> date:
    """Return `proc_date`: the date in Japan at the time of receipt."""
    try:
        return aware(received_at).astimezone(JST).date()
    except OverflowError:
        return received_at.date()


def aware(moment: datetime) -> datetime:
    """Return the moment with its zone; one without a zone is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def monday_of(day: date) -> date:
    """Return the Monday of a date's ISO week."""
    return day - timedelta(days=day.weekday())


def last_complete_week(at: datetime) -> date:
    """Return the Monday of the last ISO week that was over at this time in Japan."""
    return monday_of(receipt_date(at)) - timedelta(weeks=1)


def end_of(week: date) -> datetime:
    """Return when the week that begins on this Monday was over in Japan."""
    return datetime.combine(week + timedelta(weeks=1), time(), JST)


def weekly_run_of(week: date) -> datetime:
    """Return when the weekly run computes the week that begins on this Monday."""
    return datetime.combine(week + timedelta(weeks=1, days=WEEKLY_RUN_WEEKDAY), WEEKLY_RUN_TIME, JST)
