"""Which weeks were computed from other raw files than there are now.

Belongs here: the comparison of fingerprints. Nothing is computed or written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

from qol_dagster.lake.fingerprints import NO_RAW, raw_fingerprint, week_fingerprint
from qol_dagster.weeks import affected_weeks, contributing_weeks, dates_of

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake


def stale_weeks(lake: Lake, days: Sequence[date], since: date = date.min) -> list[date]:
    """Return the Mondays of the weeks touched by these dates that were not made from the raw files that are there now.

    Weeks without any raw file or row have nothing to repair. Days before `since` are not computed anew.
    """

    @cache
    def fingerprint(day: date) -> str:
        if day < since:
            return str((lake.partition_metadata("daily", day) or {}).get("raw", NO_RAW))
        return raw_fingerprint(lake.raw_objects(day))

    def is_stale(week: date) -> bool:
        notes = lake.partition_metadata("weekly", week)
        if notes is None and not any(lake.raw_objects(day) for day in dates_of(week)):
            return False
        now = week_fingerprint(fingerprint(day) for one in contributing_weeks([week]) for day in dates_of(one))
        return (notes or {}).get("raw") != now

    return [week for week in affected_weeks(days) if is_stale(week)]
