"""What Dagster has stored of runs and ticks, for whoever waits for them.

Belongs here: reading Dagster's storage as its pages do, beside the daemon that writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus

SENSORS = ("raw_arrivals_sensor", "run_failure_sensor", "unread_sensor", "watch_sensor")


@dataclass(frozen=True)
class Run:
    """A run: its week, empty for several, and whether Dagster starts it again: None unless it has failed."""

    run_id: str
    status: str
    week: str
    starts_again: bool | None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, for good or to be started again."""
        return self.status in ("SUCCESS", "FAILURE", "CANCELED")

    @property
    def has_failed(self) -> bool:
        """Whether it has failed for good; one that Dagster gave up before it began may succeed all the same."""
        return self.starts_again is False or (self.status == "FAILURE" and not self.starts_again)


@dataclass(frozen=True)
class History:
    """The storage below a DAGSTER_HOME that is there."""

    home: Path

    def runs(self) -> list[Run]:
        """Return all runs."""
        with self._instance() as instance:
            return [
                Run(
                    run.run_id,
                    run.status.value,
                    run.tags.get("dagster/partition", run.tags.get("dagster/asset_partition_range_start", "")),
                    {"true": True, "false": False}.get(run.tags.get("dagster/will_retry", "")),
                )
                for run in instance.get_runs()
            ]

    def run_ids(self) -> set[str]:
        """Return the ids of all runs."""
        return {run.run_id for run in self.runs()}

    def is_running(self) -> bool:
        """Return whether a run has begun and is not over."""
        return any(run.status == "STARTED" for run in self.runs())

    def has_looked(self) -> bool:
        """Return whether a daemon was ever here."""
        with self._instance() as instance:
            return bool(instance.all_instigator_state())

    def looked_since(self, at: float) -> bool:
        """Return whether every sensor has finished a tick since a time."""
        over = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
        with self._instance() as instance:
            states = [one for one in instance.all_instigator_state() if one.instigator_name in SENSORS]
            return len(states) == len(SENSORS) and all(
                any(
                    tick.timestamp >= at
                    for tick in instance.get_ticks(one.instigator_origin_id, one.selector_id, limit=1, statuses=over)
                )
                for one in states
            )

    @contextmanager
    def _instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance
