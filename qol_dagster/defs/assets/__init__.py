"""The assets, as Dagster shows them: raw days, records, daily and weekly metrics, the table, the status, the id map.

Belongs here: keys, dependencies, partitions, policies. What is computed is `etl.py`'s.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from qol_dagster.defs.assets.computed import computed_assets
from qol_dagster.defs.assets.daily import RECORDS_ASSET
from qol_dagster.defs.assets.surveys import survey_assets
from qol_dagster.defs.assets.weekly import weekly_table_asset
from qol_dagster.defs.partitions import Partitions
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.resources.platform import Kind

GROUP = "weekly_metrics"


def all_assets(partitions: Partitions, owners: Sequence[str], kinds: Mapping[Kind, str]) -> list[Any]:
    """Return every asset of the code location."""
    options = {
        "partitions_def": partitions.weekly,
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "retry_policy": dg.RetryPolicy(max_retries=1, delay=2),
    }
    computed = []
    with warnings.catch_warnings():
        # One run for a whole backfill is what we want; the tests show that it still works after an upgrade.
        warnings.filterwarnings("ignore", r"Parameter `backfill_policy`", category=dg.BetaWarning)
        for profile in PROFILES.values():
            shown = {"owners": list(owners), "group_name": f"{GROUP}{profile.suffix}"}
            computed += [
                computed_assets(profile, {**shown, "kinds": {kinds["engine"], "parquet"}}, options),
                weekly_table_asset(profile, {**shown, **options, "kinds": {kinds["catalogue"], "table"}}),
            ]
    return [*_external(partitions, owners, kinds["id_map"]), *computed, survey_assets(owners)]


def _external(partitions: Partitions, owners: Sequence[str], id_map: str) -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            "garmin_raw_daily",
            description="Garmin's summaries exactly as received, one JSON object a line, under "
            "`raw/daily/date=D/`. Written by the webhook; arrivals are reported by raw_arrivals_sensor.",
            group_name=GROUP,
            kinds={"json", "garmin"},
            owners=list(owners),
            partitions_def=partitions.daily,
        ),
        dg.AssetSpec(
            RECORDS_ASSET,
            description="Raw lines as they were parsed, once: one typed row a line, under `records/date=D/`. Holds "
            "Garmin's ids, as raw does. A run parses the raw files that are new to it, and computes from here.",
            deps=[dg.AssetDep("garmin_raw_daily", partition_mapping=dg.TimeWindowPartitionMapping())],
            group_name=GROUP,
            kinds={"parquet", "garmin"},
            owners=list(owners),
            partitions_def=partitions.weekly,
        ),
        dg.AssetSpec(
            "user_id_map",
            description="Who is enrolled: Garmin user id -> participant id. The one place where both stand.",
            group_name=GROUP,
            kinds={id_map},
            owners=list(owners),
        ),
    ]
