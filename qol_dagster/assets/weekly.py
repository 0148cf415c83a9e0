"""`weekly_metrics`: daily rows -> one row per participant and week; `weekly_metrics_table`: the same, queryable."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from qol_dagster.alerts import tell_of_failed_step
from qol_dagster.assets.common import EtlConfig, preview, rows_of, seconds, weeks_of
from qol_dagster.checks import check_rows, check_specs
from qol_dagster.etl import materialize_weekly
from qol_dagster.lineage import table_metadata
from qol_dagster.metrics.dictionary import METRICS_VERSION, WEEKLY
from qol_dagster.profiles import Profile
from qol_dagster.resources.platform import Platform

PREVIEW = (
    "date",
    "participant_id",
    "n_valid_days",
    "is_valid_week",
    "steps_mean",
    "resting_hr_mean",
    "sleep_tst_h_mean",
)


def weekly_metrics_asset(profile: Profile, options: dict[str, Any]) -> dg.AssetsDefinition:
    """The asset; `options` are what all computed assets share."""
    daily, name = f"daily_metrics{profile.suffix}", f"weekly_metrics{profile.suffix}"
    table = f"db_qol.{name}"

    @dg.asset(
        name=name,
        description="The metrics of a participant's ISO week with their denominators, as Parquet under "
        f"`{profile.folder}/weekly/date=MONDAY/`. Each run replaces its weeks whole. {profile.why}",
        deps=[daily],
        kinds={"duckdb", "parquet"},
        check_specs=check_specs(name),
        hooks={tell_of_failed_step},
        metadata=table_metadata(WEEKLY, daily, table),
        **options,
    )
    def weekly_metrics(
        context: dg.AssetExecutionContext, config: EtlConfig, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        lake, weeks = platform.lake(profile), weeks_of(context)
        with platform.engine(None if config.engine == "default" else config.engine) as engine:
            reports = materialize_weekly(
                engine, lake, weeks, computed_at=datetime.now(UTC), thresholds=profile.thresholds
            )
            used = engine.name
        for report in reports:
            context.add_asset_metadata(
                {"dagster/partition_row_count": report.rows, "partition_uri": report.uri},
                asset_key=name,
                partition_key=report.week.isoformat(),
            )
        rows = rows_of(lake, "weekly", weeks, WEEKLY)
        days = sum(rows["n_days"].to_pylist())
        ids = [one.garmin_user_id for one in platform.id_map().list()]
        return dg.MaterializeResult(
            metadata={
                **table_metadata(WEEKLY, daily, table, f"{lake.root}/{profile.folder}/weekly"),
                "dagster/row_count": rows.num_rows,
                "participants": len(rows["participant_id"].unique()),
                "participant_days": days,
                "valid_weeks": sum(rows["is_valid_week"].to_pylist()),
                "engine": used,
                "metrics_version": METRICS_VERSION,
                "thresholds": profile.thresholds.as_dict(),
                "preview": preview(rows, PREVIEW),
                **(seconds(reports[0].seconds) if reports else {}),
            },
            check_results=check_rows(name, rows, WEEKLY, _daily_rows(lake, weeks), ids),
        )

    return weekly_metrics


def _daily_rows(lake: Any, weeks: Any) -> int:
    from qol_dagster.etl import days_of  # noqa: PLC0415

    notes = (lake.partition_metadata("daily", day) for week in weeks for day in days_of(week))
    return sum(int(found.get("rows", 0)) for found in notes if found)


def weekly_table_asset(profile: Profile, options: dict[str, Any]) -> dg.AssetsDefinition:
    """The asset that holds the catalogue to what was written."""
    weekly = f"weekly_metrics{profile.suffix}"
    name, table = f"{weekly}_table", f"db_qol.{weekly}"

    @dg.asset(
        name=name,
        description=f"`{table}`, the table people query. Verifies through the catalogue that each "
        "week is visible with as many rows as were written.",
        deps=[weekly],
        kinds={"duckdb", "table"},
        hooks={tell_of_failed_step},
        metadata={
            "dagster/column_schema": table_metadata(WEEKLY, weekly)["dagster/column_schema"],
            "dagster/table_name": table,
        },
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
