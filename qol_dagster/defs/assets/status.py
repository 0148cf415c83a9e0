"""`participant_status`: a row for everyone enrolled and each week, also when nothing came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from qol_dagster.defs.assets.common import (
    Computation,
    preview,
    rows_of_week,
    run_seconds,
    week_metadata,
)
from qol_dagster.defs.checks import check_rows
from qol_dagster.defs.table_metadata import table_metadata, written_metadata
from qol_dagster.lake.tables import read_rows
from qol_dagster.metrics.dictionary import STATUS
from qol_dagster.metrics.profiles import Profile
from qol_dagster.metrics.tables import TableId
from qol_dagster.pipeline.reports import WeekReport

if TYPE_CHECKING:
    import pyarrow as pa

PREVIEW = (
    "date",
    "participant_id",
    "status",
    "n_valid_days",
    "last_worn_date",
    "last_night_date",
    "days_since_last_sync",
)


def status_spec(profile: Profile) -> dg.AssetSpec:
    """Return what Dagster shows of the table."""
    daily, weekly, table = (TableId(table, profile) for table in ("daily", "weekly", "status"))
    return dg.AssetSpec(
        table.name,
        description="Who wore the device and who fell silent: a row for every enrolled participant and ISO week, also "
        f"when nothing came, as Parquet under `{table.folder}/date=MONDAY/`. {profile.why}",
        deps=[daily.name, weekly.name, "user_id_map"],
        metadata=table_metadata(STATUS, table.qualified_name),
    )


def status_result(run: Computation, reports: Sequence[WeekReport]) -> dg.MaterializeResult:
    """Return the metadata of the status table, with the states of each week counted."""
    daily, table, lake = TableId("daily", run.profile), TableId("status", run.profile), run.lake
    own = run.log_following(table.name, reports)
    rows = read_rows(lake, "status", [one.week for one in reports], STATUS)
    participants = len(run.identities.enrolled)
    run.add_week_metadata(
        table.name,
        {one.week: _week_metadata(one, rows_of_week(rows, one.week)) for one in own},
        {
            **written_metadata(STATUS, daily.name, f"{lake.root}/{table.folder}"),
            **(run_seconds(reports[0].seconds) if reports else {}),
        },
    )
    run.log_table(table.name, sum(one.rows for one in own), f"participants {participants:,}")
    return dg.MaterializeResult(
        asset_key=table.name,
        check_results=check_rows(table.name, rows, STATUS, participants, run.garmin_ids),
    )


def _without_a_night(rows: pa.Table) -> int:
    """Return how many participants wore the device in the last 28 days, and had no night in them."""
    dates = zip(rows["last_worn_date"].to_pylist(), rows["last_night_date"].to_pylist(), strict=True)
    return sum(bool(worn and not night) for worn, night in dates)


def _week_metadata(report: WeekReport, rows: pa.Table) -> dict[str, Any]:
    states = Counter(rows["status"].to_pylist())
    return {
        **week_metadata(report),
        "participants": len(rows["participant_id"].unique()),
        **{f"status/{status}": number for status, number in sorted(states.items())},
        "worn_without_a_night": _without_a_night(rows),
        "preview": preview(rows, PREVIEW),
    }
