"""Which weeks were computed from other raw files than there are now, or for other people.

Belongs here: the comparison of fingerprints. Nothing is computed or written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from qol_dagster.lake.fingerprints import NO_RAW, raw_fingerprint, week_fingerprint
from qol_dagster.lake.objects import map_concurrently
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


def weeks_of_other_people(lake: Lake, people: str, since: date = date.min) -> list[date]:
    """Return stored weeks of which a date was computed for others than are known now, the newest first.

    `people` is the fingerprint of the id map (`Identities`). So weeks are found that were computed before somebody was
    enrolled, left, or permitted something else. Days before `since` are not computed anew.
    """
    weekly = _people_of(lake, "weekly", lake.table_dates("weekly"))
    suspects = [week for week, found in weekly.items() if found != people]
    days = {day for one in contributing_weeks(suspects) for day in dates_of(one) if day >= since}
    old = {day for day, found in _people_of(lake, "daily", sorted(days)).items() if found != people}
    return [
        week
        for week in reversed(suspects)
        if any(day in old for one in contributing_weeks([week]) for day in dates_of(one))
    ]


def _people_of(lake: Lake, table: Any, dates: Sequence[date]) -> Mapping[date, str]:
    """Return for which people partitions were computed, as far as there are such and they say so."""
    noted = map_concurrently(partial(lake.partition_metadata, table), dates)
    inputs = {day: (found or {}).get("inputs") for day, found in noted.items()}
    return {day: str(found["people"]) for day, found in inputs.items() if isinstance(found, dict) and "people" in found}
