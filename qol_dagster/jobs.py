"""`weekly_metrics_job`, and one for each other profile: all computed assets of one or more weeks in one run."""

from __future__ import annotations

from typing import Any

import dagster as dg

from qol_dagster.profiles import DEFAULT, Profile

MAX_RUNTIME_S = 3600


def weekly_job(profile: Profile = DEFAULT) -> Any:
    """The job, in the process of its run: its steps share one lake and wait for each other anyway."""
    daily, weekly = f"daily_metrics{profile.suffix}", f"weekly_metrics{profile.suffix}"
    return dg.define_asset_job(
        profile.job,
        selection=dg.AssetSelection.assets(daily, weekly, f"{weekly}_table"),
        description=f"Raw lines -> daily metrics -> weekly metrics -> db_qol.{weekly}. {profile.why}",
        executor_def=dg.in_process_executor,
        run_tags={
            "dagster/max_runtime": str(MAX_RUNTIME_S),
            # The assets retry themselves; only a run that was lost is started again.
            "dagster/max_retries": "1",
            "dagster/retry_on_asset_or_op_failure": "false",
        },
    )
