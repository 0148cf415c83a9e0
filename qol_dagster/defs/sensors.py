"""Arrivals: which raw days changed, and which closed weeks to compute for it.

Belongs here: the decision, as a pure function, and the sensor around it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from qol_dagster.pipeline.staleness import stale_weeks
from qol_dagster.resources.platform import Resources
from qol_dagster.weeks import contributing_weeks, dates_of, is_closed, monday_of, mondays, today

WEEKS_A_TICK = 8
"""A backlog is drained over several ticks."""


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
    stale: Callable[[Sequence[date]], Sequence[date]],
) -> Arrivals:
    """Return what a tick does. `listing` has the fingerprint of each raw day looked at, `seen` those of the ticks
    before.

    A day is reported when it is over. A week that is over is asked for when a day that has a part in it changed and
    `stale` finds it computed from other files; the running week's turn comes with the schedule.
    """
    changed = [day for day, mark in sorted(listing.items()) if day < on and seen.get(day.isoformat()) != mark]
    soon = set(mondays(changed)[:WEEKS_A_TICK])
    taken = tuple(day for day in changed if monday_of(day) in soon)
    weeks = tuple(week for week in stale(taken) if is_closed(week, on))
    return Arrivals(taken, weeks, {**seen, **{day.isoformat(): listing[day] for day in taken}})


def arrivals_sensor(parts: Resources, job: Any, start: date) -> dg.SensorDefinition:
    """`raw_arrivals_sensor` over a lake."""

    @dg.sensor(
        name="raw_arrivals_sensor",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports new raw files as materialisations of garmin_raw_daily and asks for runs of closed "
        "weeks whose raw files changed.",
    )
    def raw_arrivals_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        lake, on = parts.lake(), today()
        seen = json.loads(context.cursor) if context.cursor else {}
        # The cursor is kept after this returned: what it holds now is all that is sure to have been dealt with.
        listing = parts.arrivals().poll(start, on, {date.fromisoformat(day): mark for day, mark in seen.items()})
        found = decide(listing, seen, on, lambda days: stale_weeks(lake, days, start))
        if not found.days:
            return dg.SkipReason("no raw file came or changed")
        return dg.SensorResult(
            asset_events=[_arrival(parts, day) for day in found.days],
            run_requests=[_request(week, listing) for week in found.weeks],
            cursor=json.dumps(found.seen, sort_keys=True),
        )

    return raw_arrivals_sensor


def _arrival(parts: Resources, day: date) -> dg.AssetMaterialization:
    objects = parts.lake().raw_objects(day)
    return dg.AssetMaterialization(
        "garmin_raw_daily",
        partition=day.isoformat(),
        metadata={"files": len(objects), "bytes": sum(item.size for item in objects)},
    )


def _request(week: date, listing: Mapping[date, str]) -> dg.RunRequest:
    # The inputs are in the key: other files, another run; the same files are asked for once.
    days = [day for one in contributing_weeks([week]) for day in dates_of(one)]
    inputs = hashlib.sha256("".join(listing.get(day, "-") for day in days).encode()).hexdigest()[:16]
    return dg.RunRequest(run_key=f"{week}:{inputs}", partition_key=week.isoformat())
