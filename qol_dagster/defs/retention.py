"""`retention_job` and its schedule, and which of Dagster's runs go.

Belongs here: removing runs by Dagster's own means, and Dagster around retention. Which files go is
`maintenance/retention.py`'s, and how long anything is kept `settings/retention.py`'s.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunRecord, RunsFilter

from qol_dagster.defs.assets.common import megabytes
from qol_dagster.errors import QolError
from qol_dagster.maintenance.retention import KindPlan, run_retention
from qol_dagster.resources.platform import Resources
from qol_dagster.settings import Settings
from qol_dagster.settings.retention import kept_days
from qol_dagster.weeks import TIMEZONE, today

CRON = "30 4 * * *"
"""An hour after the backup, which has what goes once more."""
FINISHED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
AT_ONCE = 100
"""Runs or events that Dagster is asked for at a time."""


def expired_runs(instance: dg.DagsterInstance, settings: Settings, now: datetime) -> list[RunRecord]:
    """Return the runs that ended longer ago than runs are kept, the oldest first.

    Those stay by which Dagster knows that a partition, or an asset without partitions, was made: without its latest run
    it would be shown as never made.
    """
    days = kept_days(settings.retention)["dagster_runs"]
    if days is None:
        return []
    ended = RunsFilter(statuses=FINISHED, updated_before=now - timedelta(days=days))
    found = instance.get_run_records(filters=ended, ascending=True)
    latest = _latest_runs(instance) if found else set()
    return [one for one in found if one.dagster_run.run_id not in latest]


def remove_runs(instance: dg.DagsterInstance, runs: Iterable[RunRecord], history: Path) -> None:
    """Remove runs and their events. `history` is where SQLite has a file for each run, which goes too."""
    for one in runs:
        run_id = one.dagster_run.run_id
        instance.delete_run(run_id)
        for file in history.glob(f"runs/{run_id}.db*"):
            file.unlink(missing_ok=True)


def retention_job() -> dg.JobDefinition:
    """Return the job that removes what is older than it is kept."""

    @dg.op(description="Removes files, backups and Dagster's runs that are older than QOL_RETENTION has them kept.")
    def remove_expired(context: dg.OpExecutionContext, parts: dg.ResourceParam[Resources]) -> None:
        settings = parts.settings
        try:
            plans = run_retention(settings, today()) if settings.target == "local" else []  # S3 has rules of its own
        except QolError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        runs = expired_runs(context.instance, settings, datetime.now(UTC))
        remove_runs(context.instance, runs, settings.dagster_home / "history")
        context.add_output_metadata({**_metadata(plans), "dagster_runs": len(runs)})

    @dg.job(name="retention_job", executor_def=dg.in_process_executor)
    def retention() -> None:
        """Removes what is older than it is kept; `qol retention plan` shows what that would be."""
        remove_expired()

    return retention


def retention_schedule() -> dg.ScheduleDefinition:
    """Return the schedule: each day at 04:30 in Japan."""
    return dg.ScheduleDefinition(
        name="retention_schedule",
        job_name="retention_job",
        cron_schedule=CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Each day at 04:30 Japan time: what is older than it is kept goes.",
    )


def _latest_runs(instance: dg.DagsterInstance) -> set[str]:
    """Return the ids of the runs that made the latest materialization of any asset or partition."""
    keys = instance.get_asset_keys()
    latest = [record.asset_entry.last_run_id for record in instance.get_asset_records(keys)]
    for key in keys:
        by_partition = instance.get_latest_storage_id_by_partition(key, DagsterEventType.ASSET_MATERIALIZATION)
        latest += _runs_of(instance, key, list(by_partition.values()))
    return {one for one in latest if one}


def _runs_of(instance: dg.DagsterInstance, key: dg.AssetKey, ids: Sequence[int]) -> list[str]:
    runs = []
    for first in range(0, len(ids), AT_ONCE):
        wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=ids[first : first + AT_ONCE])
        runs += [one.run_id for one in instance.fetch_materializations(wanted, limit=AT_ONCE).records]
    return runs


def _metadata(plans: Sequence[KindPlan]) -> dict[str, Any]:
    counts = {f"removed/{plan.kind}": len(plan.files) for plan in plans}
    return {**counts, "removed_mb": megabytes(sum(plan.bytes for plan in plans))}
