"""The assets, as Dagster shows them: raw days, records, daily and weekly metrics, the table, the status, the id map.

Belongs here: keys, dependencies, partitions, policies. What is computed is `etl.py`'s.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from qol_dagster.defs.assets.common import RETRIES
from qol_dagster.defs.assets.computed import computed_assets
from qol_dagster.defs.assets.external import external_specs
from qol_dagster.defs.assets.report import report_asset
from qol_dagster.defs.assets.surveys import survey_assets
from qol_dagster.defs.assets.weekly import weekly_table_asset
from qol_dagster.defs.partitions import WEEKS_A_RUN, Partitions
from qol_dagster.metrics.profiles import DEFAULT, PROFILES
from qol_dagster.resources.platform import Kind


def all_assets(partitions: Partitions, owners: Sequence[str], kinds: Mapping[Kind, str]) -> list[Any]:
    """Return every asset of the code location."""
    options = {
        "partitions_def": partitions.weekly,
        "backfill_policy": dg.BackfillPolicy.multi_run(WEEKS_A_RUN),
        "retry_policy": dg.RetryPolicy(max_retries=RETRIES, delay=2),
    }
    computed = []
    with warnings.catch_warnings():
        # Few runs for a whole backfill are what we want; the tests show that it still works after an upgrade.
        warnings.filterwarnings("ignore", r"Parameter `backfill_policy`", category=dg.BetaWarning)
        for profile in PROFILES.values():
            shown = {"owners": list(owners), "group_name": "metrics" if profile is DEFAULT else profile.name}
            computed += [
                computed_assets(profile, {**shown, "kinds": {kinds["engine"], "parquet"}}, options),
                weekly_table_asset(profile, {**shown, **options, "kinds": {kinds["catalogue"], "table"}}),
            ]
        report = report_asset({"owners": list(owners), "group_name": "people", **options})
    return [*external_specs(partitions, owners, kinds["id_map"]), *computed, report, survey_assets(owners)]
