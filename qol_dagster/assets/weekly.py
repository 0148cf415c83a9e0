"""`weekly_metrics`: daily rows -> one row per participant and week; `weekly_metrics_table`: the same, queryable."""

from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from qol_dagster.alerts import tell_of_failed_step
from qol_dagster.assets.common import Computation, preview, rows_of, seconds, week_metadata, weeks_of
from qol_dagster.checks import check_rows
from qol_dagster.etl import WeekReport, days_of
from qol_dagster.lineage import table_metadata, written_metadata
from qol_dagster.metrics.dictionary import WEEKLY
from qol_dagster.profiles import Profile
from qol_dagster.resources.platform import Platform
from qol_dagster.resources.storage import Lake, at_once

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
    """What Dagster shows of the table."""
    daily, name = f"daily_metrics{profile.suffix}", f"weekly_metrics{profile.suffix}"
    return dg.AssetSpec(
        name,
        description="The metrics of a participant's ISO week with their denominators, as Parquet under "
        f"`{profile.folder}/weekly/date=MONDAY/`. Each run replaces its weeks whole. {profile.why}",
        deps=[daily],
        metadata=table_metadata(WEEKLY, f"db_qol.{name}"),
    )


def weekly_result(run: Computation, reports: Sequence[WeekReport]) -> dg.MaterializeResult:
    """What is told of the run's weeks."""
    daily, name = f"daily_metrics{run.profile.suffix}", f"weekly_metrics{run.profile.suffix}"
    profile, lake = run.profile, run.lake
    run.tell_of_weeks(name, {one.week: week_metadata(one) for one in reports})
    rows = rows_of(lake, "weekly", run.weeks, WEEKLY)
    return dg.MaterializeResult(
        asset_key=name,
        metadata={
            **written_metadata(WEEKLY, daily, f"{lake.root}/{profile.folder}/weekly"),
            "dagster/row_count": rows.num_rows,
            "participants": len(rows["participant_id"].unique()),
            "participant_days": sum(rows["n_days"].to_pylist()),
            "valid_weeks": sum(rows["is_valid_week"].to_pylist()),
            **run.made_with(),
            "preview": preview(rows, PREVIEW),
            **(seconds(reports[0].seconds) if reports else {}),
        },
        check_results=check_rows(name, rows, WEEKLY, _daily_rows(lake, run.weeks), run.garmin_ids),
    )


def _daily_rows(lake: Lake, weeks: list[date]) -> int:
    notes = at_once(partial(lake.partition_metadata, "daily"), (day for week in weeks for day in days_of(week)))
    return sum(int(found.get("rows", 0)) for found in notes.values() if found)


def weekly_table_asset(profile: Profile, options: dict[str, Any]) -> dg.AssetsDefinition:
    """The asset that holds the catalogue to what was written."""
    weekly = f"weekly_metrics{profile.suffix}"
    name, table = f"{weekly}_table", f"db_qol.{weekly}"

    @dg.asset(
        name=name,
        description=f"`{table}`, the table people query. Verifies through the catalogue that each "
        "week is visible with as many rows as were written.",
        deps=[weekly],
        hooks={tell_of_failed_step},
        metadata=table_metadata(WEEKLY, table),
        **options,
    )
    def weekly_metrics_table(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        lake = platform.lake(profile)
        visible = platform.count_rows(weekly, context.partition_keys)
        for week in weeks_of(context):
            written = rows_of(lake, "weekly", [week], WEEKLY).num_rows
            if visible[week.isoformat()] != written:
                raise dg.Failure(
                    f"{table} shows {visible[week.isoformat()]} rows for {week}, but {written} were written to "
                    f"{lake.partition_uri('weekly', week)}; look for other files in that folder"
                )
            context.add_asset_metadata(
                {"dagster/partition_row_count": written},
                asset_key=name,
                partition_key=week.isoformat(),
            )
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(visible.values()),
                "dagster/table_name": table,
                "dagster/uri": f"{lake.root}/{profile.folder}/weekly",
                "query": f"SELECT * FROM {table} ORDER BY date DESC LIMIT 10;",
            }
        )

    return weekly_metrics_table
