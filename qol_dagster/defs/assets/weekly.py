"""`weekly_metrics`: daily rows -> one row per participant and week; `weekly_metrics_table`: the same, queryable."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

import dagster as dg

from qol_dagster.defs.alerts import notify_failed_step
from qol_dagster.defs.assets.common import (
    Computation,
    preview,
    readable_failures,
    rows_of_week,
    run_seconds,
    week_metadata,
    weeks_of,
)
from qol_dagster.defs.checks import check_rows
from qol_dagster.defs.table_metadata import table_metadata, written_metadata
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import map_concurrently
from qol_dagster.lake.tables import read_rows
from qol_dagster.metrics.dictionary import WEEKLY
from qol_dagster.metrics.profiles import DEFAULT, Profile
from qol_dagster.metrics.tables import TableId
from qol_dagster.pipeline.reports import WeekReport
from qol_dagster.resources.catalogue import Catalogue, count_rows
from qol_dagster.weeks import TIMEZONE, WEEKLY_DEADLINE_CRON, dates_of

PREVIEW = (
    "date",
    "participant_id",
    "n_valid_days",
    "is_valid_week",
    "steps_mean",
    "resting_hr_mean",
    "sleep_tst_h_mean",
)

IN_TIME = dg.FreshnessPolicy.cron(WEEKLY_DEADLINE_CRON, timedelta(hours=3), TIMEZONE)
"""Dagster shows the table as stale if no run of the day of the weekly run has written it by noon."""


def weekly_spec(profile: Profile) -> dg.AssetSpec:
    """Return what Dagster shows of the table."""
    daily, table = TableId("daily", profile), TableId("weekly", profile)
    return dg.AssetSpec(
        table.name,
        description="The metrics of a participant's ISO week with their denominators, as Parquet under "
        f"`{table.folder}/date=MONDAY/`. Each run replaces its weeks whole. {profile.why}",
        deps=[daily.name],
        metadata=table_metadata(WEEKLY, table.qualified_name),
        freshness_policy=IN_TIME if profile is DEFAULT else None,
    )


def weekly_result(run: Computation, reports: Sequence[WeekReport]) -> dg.MaterializeResult:
    """Return the metadata of the run's weeks."""
    daily, table, lake = TableId("daily", run.profile), TableId("weekly", run.profile), run.lake
    own = run.log_following(table.name, reports)
    rows = read_rows(lake, "weekly", [one.week for one in reports], WEEKLY)
    of_week = {one.week: rows_of_week(rows, one.week) for one in own}
    set_aside = sum(one.set_aside for one in reports)
    run.add_week_metadata(
        table.name,
        {one.week: _week_metadata(one, of_week[one.week]) for one in own},
        {
            **written_metadata(WEEKLY, daily.name, f"{lake.root}/{table.folder}"),
            **(run_seconds(reports[0].seconds) if reports else {}),
        },
    )
    n_valid = sum(sum(one["is_valid_week"].to_pylist()) for one in of_week.values())
    run.log_table(table.name, sum(one.rows for one in own), f"valid weeks {n_valid:,}")
    return dg.MaterializeResult(
        asset_key=table.name,
        check_results=check_rows(
            table.name,
            rows,
            WEEKLY,
            _daily_rows(lake, [one.week for one in reports]),
            run.garmin_ids,
            set_aside=set_aside,
        ),
    )


def _week_metadata(report: WeekReport, rows: Any) -> dict[str, Any]:
    return {
        **week_metadata(report),
        "participants": len(rows["participant_id"].unique()),
        "participant_days": sum(rows["n_days"].to_pylist()),
        "valid_weeks": sum(rows["is_valid_week"].to_pylist()),
        "values_set_aside": report.set_aside,
        "preview": preview(rows, PREVIEW),
    }


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
        lake, weeks = lake.with_tables(profile.folder), weeks_of(context)
        with readable_failures(context):
            visible = count_rows(catalogue, table.name, context.partition_keys)
            for week in weeks:
                _verify_rows(context, lake, table, week, visible[week.isoformat()])
        shown = f"week {weeks[0]}" if len(weeks) == 1 else f"weeks {weeks[0]} to {weeks[-1]}"
        context.log.info("%s, %s: %s rows visible", table.qualified_name, shown, f"{sum(visible.values()):,}")
        return dg.MaterializeResult(
            metadata={
                "dagster/table_name": table.qualified_name,
                "dagster/uri": f"{lake.root}/{table.folder}",
                "query": f"SELECT * FROM {table.qualified_name} ORDER BY date DESC LIMIT 10;",
            }
        )

    return weekly_metrics_table


def _verify_rows(context: dg.AssetExecutionContext, lake: Lake, table: TableId, week: date, visible: int) -> None:
    """Compare the rows that the catalogue shows with those that were written. Raises Failure if they differ."""
    written = read_rows(lake, "weekly", [week], WEEKLY).num_rows
    if visible != written:
        raise dg.Failure(
            f"{table.qualified_name} shows {visible} rows for {week}, but {written} were written to "
            f"{lake.partition_uri('weekly', week)}; look for other files in that folder"
        )
    context.add_asset_metadata(
        {"dagster/partition_row_count": written}, asset_key=table.catalogue_asset, partition_key=week.isoformat()
    )
