"""The order of Dagster's queue: the weekly run has a lane of its own, all other runs take turns in another.

Belongs here: the lane and the priority of a run, given when it is queued, whoever asks for it. How many runs of a lane
may be in progress at once is `dagster.yaml`'s, which names the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator  # Dagster exports no public name

from qol_dagster.defs.schedules import PEOPLE_SCHEDULE, WEEKLY_SCHEDULE

if TYPE_CHECKING:
    from dagster import DagsterRun
    from dagster._core.run_coordinator.base import SubmitRunContext

LANE = "qol/lane"
PRIORITY = "dagster/priority"
Lane = Literal["weekly", "other"]
BY_SENSOR, BY_BACKFILL = -5, -10
"""Priorities; a run that a person or a schedule asks for has 0."""


def lane_of(tags: Mapping[str, str]) -> Lane:
    """Return the lane of a run with these tags.

    What the schedule asked for is in the weekly lane, and its automatic retry; a run that somebody starts again is not.
    """
    is_again = "dagster/parent_run_id" in tags and "dagster/retry_number" not in tags
    return "weekly" if tags.get("dagster/schedule_name") == WEEKLY_SCHEDULE and not is_again else "other"


def priority_of(tags: Mapping[str, str]) -> int:
    """Return the priority of a run with these tags in its lane: people and schedules, then sensors, then backfills.

    Old weeks brought up to date by schedule are as backfills.
    """
    if "dagster/backfill" in tags or tags.get("dagster/schedule_name", "").startswith(PEOPLE_SCHEDULE):
        return BY_BACKFILL
    return BY_SENSOR if "dagster/sensor_name" in tags else 0


class WeeklyRunFirst(QueuedRunCoordinator):
    """Dagster's queue, in which each run is given its lane, and its priority unless it came with one."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Queue a run."""
        run = context.dagster_run
        priority = run.tags.get(PRIORITY, str(priority_of(run.tags)))
        self._instance.add_run_tags(run.run_id, {PRIORITY: priority, LANE: lane_of(run.tags)})
        return super().submit_run(context)
