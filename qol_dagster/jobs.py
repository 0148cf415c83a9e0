"""`weekly_metrics_job`: all computed assets of one or more weeks in one run."""

from __future__ import annotations

from typing import Any

import dagster as dg

MAX_RUNTIME_S = 3600


def weekly_job() -> Any:
    """The job, in the process of its run: its steps share one lake and wait for each other anyway."""
    return dg.define_asset_job(
        "weekly_metrics_job",
        selection=dg.AssetSelection.assets("daily_metrics", "weekly_metrics", "weekly_metrics_table"),
        description="Raw lines -> daily metrics -> weekly metrics -> db_qol.weekly_metrics.",
        executor_def=dg.in_process_executor,
        run_tags={
            "dagster/max_runtime": str(MAX_RUNTIME_S),
            # The assets retry themselves; only a run that was lost is started again.
            "dagster/max_retries": "1",
            "dagster/retry_on_asset_or_op_failure": "false",
        },
    )
