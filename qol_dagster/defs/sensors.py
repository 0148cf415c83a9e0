"""Arrivals: which raw days changed, and which closed weeks to compute for it.

Belongs here: the decision, as a pure function, and the sensor around it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from qol_dagster.defs.assets.common import megabytes
from qol_dagster.defs.assets.external import RAW_ASSET
from qol_dagster.pipeline.staleness import stale_weeks
from qol_dagster.resources.arrivals import ReportedDays
from qol_dagster.resources.platform import Resources
from qol_dagster.settings import Target
from qol_dagster.weeks import contributing_weeks, dates_of, last_due_week, monday_of, mondays, today

WEEKS_A_TICK = 8
"""A backlog is drained over several ticks."""
EVERY_S: Mapping[Target, int] = {"local": 60, "aws": 900}
"""Between two ticks: on AWS a week is a run of Glue, and one is enough for all that came in a quarter of an hour."""


@dataclass(frozen=True)
class Arrivals:
    """Days whose files changed since the last tick, the weeks to compute for it, and what to remember."""

    days: tuple[date, ...]
    weeks: tuple[date, ...]
    seen: Mapping[str, str]


def decide(
    listing: Mapping[date, str],
    seen: Mapping[str, str],
    on: date,
    due: date,
    stale: Callable[[Sequence[date]], Sequence[date]],
) -> Arrivals:
    """Return what a tick does. `listing` has the fingerprint of each raw day looked at, `seen` those of the ticks
    before.

    A day is reported when it is over. A week up to `due` is asked for when a day that has a part in it changed and
    `stale` finds it computed from other files. For a later one it is too early: devices have until the weekly run to
    synchronise, and its turn comes with the schedule.
    """
    changed = [day for day, mark in sorted(listing.items()) if day < on and seen.get(day.isoformat()) != mark]
    soon = set(mondays(changed)[:WEEKS_A_TICK])
    taken = tuple(day for day in changed if monday_of(day) in soon)
    weeks = tuple(week for week in stale(taken) if week <= due)
    return Arrivals(taken, weeks, {**seen, **{day.isoformat(): listing[day] for day in taken}})


def arrivals_sensor(parts: Resources, job: Any, since: date, first: date) -> dg.SensorDefinition:
    """`raw_arrivals_sensor` over a lake. Days before `since` are never computed; partitions begin at `first`.

    Days between the two came after the code location was loaded. They wait for its next load, which begins with them.
    """

    @dg.sensor(
        name="raw_arrivals_sensor",
        job=job,
        minimum_interval_seconds=EVERY_S[parts.settings.target],
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports new raw files as materialisations of garmin_raw_daily and asks for runs of weeks whose "
        "raw files changed after their weekly run was due.",
    )
    def raw_arrivals_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        lake, on = parts.lake(), today()
        reported = ReportedDays(lake)
        seen = _seen(reported, context.cursor)
        # The cursor is kept after this returned: what it names now is all that is sure to have been dealt with.
        polled = parts.arrivals().poll(since, on, {date.fromisoformat(day): mark for day, mark in seen.items()})
        listing = {day: mark for day, mark in polled.items() if day >= first}
        waiting = _waiting([day for day in polled if day < first], first)
        due = last_due_week(datetime.now(UTC))
        found = decide(listing, seen, on, due, lambda days: stale_weeks(lake, days, since))
        if not found.days:
            return dg.SkipReason(
                f"no raw file of a day that is over came or changed; raw days: {len(listing)}{waiting}"
            )
        changed = f"{len(found.days)} raw days came or changed, {found.days[0]} to {found.days[-1]}"
        queued = _queued(context.instance, job.name)
        asked = [week for week in found.weeks if week.isoformat() not in queued]
        weeks = ", ".join(map(str, asked)) or "none: not due yet, in the queue, or computed from these files already"
        context.log.info("%s; weeks to compute: %s%s", changed, weeks, waiting)
        return dg.SensorResult(
            asset_events=[_arrival(parts, day) for day in found.days],
            run_requests=[_request(week, listing) for week in asked],
            skip_reason=None if asked else f"{changed}; weeks to compute: {weeks}{waiting}",
            cursor=reported.replace(seen, found.seen),
        )

    return raw_arrivals_sensor


def _queued(instance: dg.DagsterInstance, job: str) -> set[str]:
    """Return the partitions of the runs that wait: what they read, they list when they start."""
    waiting = instance.get_runs(dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.QUEUED]))
    return {run.tags.get("dagster/partition", "") for run in waiting}


def _seen(reported: ReportedDays, cursor: str | None) -> dict[str, str]:
    """Return the days of the ticks before, with their fingerprints. Cursors of 0.1.0 had them themselves."""
    if cursor and cursor.startswith("{"):
        return dict(json.loads(cursor))
    return reported.read(cursor) if cursor else {}


def _waiting(days: Sequence[date], first: date) -> str:
    if not days:
        return ""
    return (
        f". Raw days before the first partition, {first}: {len(days)}, from {min(days)} on; they are computed once the "
        "code location is reloaded (Deployment > Code locations > Reload)"
    )


def _arrival(parts: Resources, day: date) -> dg.AssetMaterialization:
    objects = parts.lake().raw_objects(day)
    return dg.AssetMaterialization(
        RAW_ASSET,
        partition=day.isoformat(),
        metadata={"files": len(objects), "size_mb": megabytes(sum(item.size for item in objects))},
    )


def _request(week: date, listing: Mapping[date, str]) -> dg.RunRequest:
    # The inputs are in the key: other files, another run; the same files are asked for once.
    days = [day for one in contributing_weeks([week]) for day in dates_of(one)]
    inputs = hashlib.sha256("".join(listing.get(day, "-") for day in days).encode()).hexdigest()[:16]
    return dg.RunRequest(run_key=f"{week}:{inputs}", partition_key=week.isoformat())
