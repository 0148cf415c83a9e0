"""`weekly_metrics_job`, and one for each other profile: all computed assets of one or more weeks in one run.

And `garmin_backfill_job`, which asks Garmin for old data.
"""

from datetime import date
from typing import Any

import dagster as dg

from qol_dagster.defs.assets.report import REPORT_ASSET
from qol_dagster.metrics.profiles import DEFAULT, Profile
from qol_dagster.metrics.tables import TableId
from qol_dagster.resources.garmin_cloud import Garmin


def weekly_job(profile: Profile = DEFAULT) -> Any:
    """Return the job, in the process of its run: its steps share one lake and wait for each other anyway."""
    daily, weekly, status = (TableId(table, profile) for table in ("daily", "weekly", "status"))
    report = [REPORT_ASSET] if profile is DEFAULT else []
    return dg.define_asset_job(
        profile.job,
        selection=dg.AssetSelection.assets(daily.name, weekly.name, weekly.catalogue_asset, status.name, *report),
        description=f"Raw lines -> daily and weekly metrics, {weekly.qualified_name} and {status.qualified_name}"
        f"{', and the weekly report' if report else ''}. "
        f"{profile.why}",
        executor_def=dg.in_process_executor,
        # How long a run may take is said by each deployment's dagster.yaml, which a tag would overrule.
        run_tags={
            # The assets retry themselves; only a run that was lost is started again.
            "dagster/max_retries": "1",
            "dagster/retry_on_asset_or_op_failure": "false",
        },
    )


class BackfillConfig(dg.Config):
    """What is asked of Garmin: dates as YYYY-MM-DD, both inclusive; no types for all."""

    participant: str
    since: str
    until: str
    types: list[str] = []  # noqa: RUF012 - pydantic copies it


def garmin_backfill_job() -> dg.JobDefinition:
    """Old data of a participant, asked of Garmin; it comes by the webhook, and the arrivals sensor does the rest."""

    @dg.op(description="Asks Garmin for old data, remembering what it accepted, so that a run may simply be repeated.")
    def ask_garmin(context: dg.OpExecutionContext, config: BackfillConfig, garmin: dg.ResourceParam[Garmin]) -> None:
        report = garmin.backfill(
            config.participant,
            date.fromisoformat(config.since),
            date.fromisoformat(config.until),
            config.types,
            on_progress=lambda step: context.log.info(
                "%d of %d: %s %s to %s, %s",
                step.done,
                step.total,
                step.piece.type,
                step.piece.since,
                step.piece.until,
                step.what,
            ),
        )
        for one in report.refused:
            context.log.warning("%s up to %s: %s", one.type, one.until, one.reason)
        found = {"accepted": report.asked, "accepted_before": report.already, "waiting": report.waiting}
        context.add_output_metadata({**found, "refused": [f"{one.type}: {one.reason}" for one in report.refused]})
        if not report.complete:
            raise dg.Failure(
                f"{report.waiting} requests wait: {report.why_waiting}; run the same again later", allow_retries=False
            )

    @dg.job(name="garmin_backfill_job", executor_def=dg.in_process_executor)
    def backfill() -> None:
        """Old data of a participant, asked of Garmin; it comes by the webhook."""
        ask_garmin()

    return backfill
