"""How long runs took, as Dagster's history has it.

Belongs here: that question alone. What a run writes down is `defs/assets`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import dagster as dg

from qol_dagster.defs.instance import dagster_instance
from qol_dagster.metrics.tables import TableId

if TYPE_CHECKING:
    from qol_dagster.metrics.profiles import Profile
    from qol_dagster.settings import Settings

EVENTS = 100
"""How many of the last partitions written are looked at."""


@dataclass(frozen=True)
class RunTimes:
    """Seconds of a run that computes no day, and what each day adds."""

    run_s: float
    day_s: float

    def of(self, runs: int, days: int) -> float:
        """Return how long so many runs take that compute so many days, in seconds."""
        return runs * self.run_s + days * self.day_s


def measured_times(settings: Settings, profile: Profile) -> RunTimes | None:
    """Return how long the last runs of a profile took; None if none of them computed a day.

    Where no run was without a day, its time is taken to be that of a day.
    """
    if not (settings.dagster_home / "history" / "runs.db").exists():
        return None
    with dagster_instance(settings) as instance:
        events = instance.fetch_materializations(dg.AssetKey(TableId("daily", profile).name), limit=EVENTS).records
        days = {event.run_id: _days(event) for event in events}
        records = [instance.get_run_record_by_id(run_id) for run_id in days]
    took = [
        (days[record.dagster_run.run_id], record.end_time - record.start_time)
        for record in records
        if record and record.dagster_run.is_success and record.start_time and record.end_time
    ]
    of_days = [seconds / number for number, seconds in took if number]
    if not of_days:
        return None
    return RunTimes(median([seconds for number, seconds in took if not number] or of_days), median(of_days))


def _days(event: dg.EventLogRecord) -> int:
    made = event.asset_materialization
    found = made.metadata.get("run/days_recomputed") if made else None
    return int(str(found.value)) if found else 0
