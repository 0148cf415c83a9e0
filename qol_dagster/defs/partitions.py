"""The partitions: days and ISO weeks in Japanese time, from one Monday on.

Belongs here: where they begin. They are fixed while a code location is loaded, and begin anew with its next load.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from qol_dagster.errors import QolError
from qol_dagster.weeks import TIMEZONE, monday_of

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake

log = logging.getLogger(__name__)

WEEKS_A_RUN = 13
"""Of a backfill: a quarter of a year. A run holds the lake, and the weekly run waits for the one under way."""


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


def first_week(open_lake: Callable[[], Lake], start: date) -> date:
    """Return the Monday of the first raw date or stored week, or `start` if that is later, or there is no data yet.

    Two listings of names. A lake out of reach is no reason not to load: then it is `start`, as if there were no data.
    """
    try:
        lake = open_lake()
        dates = [*lake.raw_days()[:1], *lake.table_dates("weekly")[:1]]
    except QolError as error:
        log.warning("partitions begin at %s, since the lake cannot be listed: %s", start, error)
        return start
    return max(monday_of(min(dates)), start) if dates else start
