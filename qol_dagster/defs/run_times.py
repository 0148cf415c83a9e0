"""How long runs took, as Dagster's history has it.

Belongs here: that question alone. What a run writes down is `defs/assets`'.
"""

from __future__ import annotations

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
WEEK = 7


def seconds_per_day(settings: Settings, profile: Profile) -> float | None:
    """Return how long the last runs of a profile took, in seconds for each day that they computed; None if none did.

    Runs of a week or more come first: of a run of one day, most is beginning and end.
    """
    if not (settings.dagster_home / "history" / "runs.db").exists():
        return None
    with dagster_instance(settings) as instance:
        events = instance.fetch_materializations(dg.AssetKey(TableId("daily", profile).name), limit=EVENTS).records
        days = {event.run_id: _days(event) for event in events}
        records = {run_id: instance.get_run_record_by_id(run_id) for run_id, number in days.items() if number}
    took = [
        (days[run_id], record.end_time - record.start_time)
        for run_id, record in records.items()
        if record and record.start_time and record.end_time
    ]
    rates = [seconds / number for number, seconds in took if number >= WEEK] or [s / number for number, s in took]
    return median(rates) if rates else None


def _days(event: dg.EventLogRecord) -> int:
    made = event.asset_materialization
    found = made.metadata.get("run/days_recomputed") if made else None
    return int(str(found.value)) if found else 0
