"""What a release computes again: the weeks that other code, thresholds or enrolments have made than there are now.

Belongs here: the comparison with what is stored. Nothing is computed or written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from qol_dagster.engines.fingerprint import records_fingerprint
from qol_dagster.lake.fingerprints import raw_fingerprint
from qol_dagster.lake.objects import map_concurrently
from qol_dagster.lake.records import stored_records
from qol_dagster.metrics.dictionary import METRICS_VERSION
from qol_dagster.pipeline.etl import code_fingerprint
from qol_dagster.pipeline.inputs import week_code, weekly_sql
from qol_dagster.pipeline.plan import plan_records, stale_days
from qol_dagster.weeks import contributing_weeks, dates_of

if TYPE_CHECKING:
    from qol_dagster.engines import Engine
    from qol_dagster.identities import Identities
    from qol_dagster.lake.lake import Lake
    from qol_dagster.metrics.thresholds import Thresholds


@dataclass(frozen=True)
class OldWeek:
    """A week that is not as this release makes it: how many of its days, and which of its other tables.

    `metrics_version` is the one that wrote it, empty if that is unknown. `bytes_to_parse`: raw bytes of those days
    whose records were read otherwise, or are not stored.
    """

    week: date
    days: int
    weekly: bool
    status: bool
    metrics_version: str
    bytes_to_parse: int


def old_weeks(
    engine: Engine, lake: Lake, identities: Identities, *, since: date, thresholds: Thresholds
) -> list[OldWeek]:
    """Return the weeks in the weekly table, from `since` on, that a run would make otherwise, the newest first.

    A week is among them, too, if a date of the three weeks before is stale: `..._28d` columns look back.
    Raises LakeError.
    """
    weeks = [week for week in lake.table_dates("weekly") if week >= since]
    own = {day for week in weeks for day in dates_of(week)}
    days = [day for week in contributing_weeks(weeks) for day in dates_of(week) if day >= since]
    raw = {day: found for day, found in map_concurrently(lake.raw_objects, days).items() if found or day in own}
    code = code_fingerprint(engine, thresholds, identities)
    wanted = {day: {"raw": raw_fingerprint(found), "code": code} for day, found in raw.items()}
    stale = set(stale_days(wanted, _notes(lake, "daily", list(raw)), ()))
    reading = records_fingerprint(engine.name, engine.reading)
    stored = map_concurrently(partial(stored_records, lake, reading=reading), sorted(stale))
    to_parse = {day: plan_records(raw[day], found).bytes_to_parse for day, found in stored.items()}
    sql = engine.queries(thresholds)
    weekly, status = _notes(lake, "weekly", weeks), _notes(lake, "status", weeks)
    codes = {"weekly": week_code([code], weekly_sql(sql)), "status": week_code([code], [sql["status_rows"]])}

    def compare(week: date) -> OldWeek | None:
        of_week = [day for day in dates_of(week) if day in stale]
        looks_back = any(day in stale for one in contributing_weeks([week]) for day in dates_of(one))
        old = OldWeek(
            week,
            len(of_week),
            looks_back or _is_old(weekly[week], codes["weekly"]),
            looks_back or _is_old(status[week], codes["status"]),
            str(weekly[week].get("metrics_version", "")),
            sum(to_parse[day] for day in of_week),
        )
        return old if old.weekly or old.status else None

    return [old for week in reversed(weeks) if (old := compare(week))]


def _is_old(notes: Mapping[str, Any], code: str) -> bool:
    return notes.get("code") != code or notes.get("metrics_version") != METRICS_VERSION


def _notes(lake: Lake, table: Any, dates: Sequence[date]) -> dict[date, dict[str, Any]]:
    return {day: found or {} for day, found in map_concurrently(partial(lake.partition_metadata, table), dates).items()}
