"""`weekly_metrics`: daily rows -> one row per participant and week; `weekly_metrics_table`: the same, queryable."""

from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from qol_dagster.defs.alerts import notify_failed_step
from qol_dagster.defs.assets.common import Computation, preview, revisions_metadata, seconds, week_metadata, weeks_of
from qol_dagster.defs.checks import check_rows
from qol_dagster.defs.table_metadata import table_metadata, written_metadata
from qol_dagster.lake.lake import Lake, map_concurrently
from qol_dagster.lake.tables import read_rows
from qol_dagster.metrics.dictionary import WEEKLY
from qol_dagster.metrics.profiles import Profile
from qol_dagster.metrics.tables import TableId
from qol_dagster.pipeline.reports import WeekReport
from qol_dagster.resources.catalogue import Catalogue, count_rows
from qol_dagster.weeks import dates_of

PREVIEW = (
    "date",
    "participant_id",
    "n_valid_days",
    "is_valid_week",
    "steps_mean",
    "resting_hr_mean",
    "sleep_tst_h_mean",
)


def weekly_spec(profile: Profile) -> dg.AssetSpec:
    """Return what Dagster shows of the table."""
    daily, table = TableId("daily", profile), TableId("weekly", profile)
    return dg.AssetSpec(
        table.name,
        description="The metrics of a participant's ISO week with their denominators, as Parquet under "
        f"`{table.folder}/date=MONDAY/`. Each run replaces its weeks whole. {profile.why}",
        deps=[daily.name],
        metadata=table_metadata(WEEKLY, table.qualified_name),
    )


def weekly_result(run: Computation, reports: Sequence[WeekReport]) -> dg.MaterializeResult:
    """Return the metadata of the run's weeks."""
    daily, table, lake = TableId("daily", run.profile), TableId("weekly", run.profile), run.lake
    run.add_week_metadata(table.name, {one.week: week_metadata(one) for one in reports})
    rows = read_rows(lake, "weekly", run.weeks, WEEKLY)
    set_aside = sum(one.set_aside for one in reports)
    return dg.MaterializeResult(
        asset_key=table.name,
        metadata={
            **written_metadata(WEEKLY, daily.name, f"{lake.root}/{table.folder}"),
            "dagster/row_count": rows.num_rows,
            "participants": len(rows["participant_id"].unique()),
            **revisions_metadata(reports),
            "participant_days": sum(rows["n_days"].to_pylist()),
            "valid_weeks": sum(rows["is_valid_week"].to_pylist()),
            **run.made_with(),
            "preview": preview(rows, PREVIEW),
            **(seconds(reports[0].seconds) if reports else {}),
        },
        check_results=check_rows(
            table.name, rows, WEEKLY, _daily_rows(lake, run.weeks), run.garmin_ids, set_aside=set_aside
        ),
    )


def _daily_rows(lake: Lake, weeks: list[date]) -> int:
    notes = map_concurrently(
        partial(lake.partition_metadata, "daily"), (day for week in weeks for day in dates_of(week))
    )
    return sum(int(found.get("rows", 0)) for found in notes.values() if found)


def weekly_table_asset(profile: Profile, options: dict[str, Any]) -> dg.AssetsDefinition:
    """Return the asset that holds the catalogue to what was written."""
    table = TableId("weekly", profile)

    @dg.asset(
        name=table.catalogue_asset,
        description=f"`{table.qualified_name}`, the table people query. Verifies through the catalogue that each "
        "week is visible with as many rows as were written.",
        deps=[table.name],
        hooks={notify_failed_step},
        metadata=table_metadata(WEEKLY, table.qualified_name),
        **options,
    )
    def weekly_metrics_table(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], catalogue: dg.ResourceParam[Catalogue]
    ) -> dg.MaterializeResult:
        lake = lake.with_tables(profile.folder)
        visible = count_rows(catalogue, table.name, context.partition_keys)
        for week in weeks_of(context):
            written = read_rows(lake, "weekly", [week], WEEKLY).num_rows
            if visible[week.isoformat()] != written:
                raise dg.Failure(
                    f"{table.qualified_name} shows {visible[week.isoformat()]} rows for {week}, but {written} were "
                    f"written to {lake.partition_uri('weekly', week)}; look for other files in that folder"
                )
            context.add_asset_metadata(
                {"dagster/partition_row_count": written},
                asset_key=table.catalogue_asset,
                partition_key=week.isoformat(),
            )
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(visible.values()),
                "dagster/table_name": table.qualified_name,
                "dagster/uri": f"{lake.root}/{table.folder}",
                "query": f"SELECT * FROM {table.qualified_name} ORDER BY date DESC LIMIT 10;",
            }
        )

    return weekly_metrics_table
