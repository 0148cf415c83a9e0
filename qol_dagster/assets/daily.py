"""`daily_metrics`: raw lines -> one row per participant and date."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg

from qol_dagster.alerts import tell_of_failed_step
from qol_dagster.assets.common import EtlConfig, preview, rows_of, seconds, weeks_of
from qol_dagster.checks import check_rows, check_specs
from qol_dagster.etl import DailyReport, DayReport, days_of, materialize_daily
from qol_dagster.lineage import table_metadata
from qol_dagster.metrics.dictionary import DAILY
from qol_dagster.profiles import Profile
from qol_dagster.resources.platform import Platform

PREVIEW = ("date", "participant_id", "wear_min", "is_valid_day", "steps", "resting_hr_bpm", "sleep_tst_min")


def daily_metrics_asset(profile: Profile, options: dict[str, Any]) -> dg.AssetsDefinition:
    """The asset; `options` are what all computed assets share."""
    name = f"daily_metrics{profile.suffix}"

    @dg.asset(
        name=name,
        description="Steps, heart rate, stress, sleep and wear time per participant and local date, as Parquet "
        f"under `{profile.folder}/daily/date=D/`. Days whose raw files did not change are reused. {profile.why}",
        deps=[
            dg.AssetDep("garmin_raw_daily", partition_mapping=dg.TimeWindowPartitionMapping()),
            "user_id_map",
        ],
        kinds={"duckdb", "parquet"},
        check_specs=check_specs(name),
        hooks={tell_of_failed_step},
        metadata=table_metadata(DAILY, "garmin_raw_daily", f"db_qol.{name}"),
        **options,
    )
    def daily_metrics(
        context: dg.AssetExecutionContext, config: EtlConfig, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        lake, people, weeks = platform.lake(profile), platform.id_map(), weeks_of(context)
        if changed := people.replay(lake.lifecycle_lines()):
            context.log.info("deregistrations and changes of permissions that were not applied before: %d", changed)
        engine_name = None if config.engine == "default" else config.engine
        with platform.engine(engine_name) as engine:
            report = materialize_daily(
                engine,
                lake,
                weeks,
                people.identities(),
                since=platform.settings.start_date,
                thresholds=profile.thresholds,
                force=config.force,
                log=context.log.info,
            )
            used = engine.name
        rows = rows_of(lake, "daily", [day for week in weeks for day in days_of(week)], DAILY)
        ids = [one.garmin_user_id for one in people.list()]
        for week in weeks:
            context.add_asset_metadata(_week_metadata(report, week), asset_key=name, partition_key=week.isoformat())
        return dg.MaterializeResult(
            metadata={
                **_metadata(report, report.of(weeks), rows),
                **table_metadata(DAILY, "garmin_raw_daily", f"db_qol.{name}", f"{lake.root}/{profile.folder}/daily"),
                "engine": used,
                "thresholds": profile.thresholds.as_dict(),
                "preview": preview(rows, PREVIEW),
            },
            check_results=check_rows(name, rows, DAILY, _total(report.of(weeks), "records"), ids),
        )

    return daily_metrics


def _metadata(report: DailyReport, days: Sequence[DayReport], rows: Any) -> dict[str, Any]:
    """`days` are those of the run's own weeks; the report also has the days before, which their rows look back on."""
    reused = sum(day.reused for day in report.days)
    return {
        "dagster/row_count": rows.num_rows,
        "participants": len(rows["participant_id"].unique()),
        "days_reused": reused,
        "days_recomputed": len(report.days) - reused,
        "bytes_read": sum(day.bytes_read for day in report.days),
        "raw_files": sum(day.files for day in days),
        "unmapped_users": max((day.counts["unmapped_users"] for day in days), default=0),
        **{name: _total(days, name) for name in _TOTALS},
        **seconds(report.seconds),
    }


_TOTALS = (
    "lines",
    "unreadable",
    "misfiled",
    "superseded",
    "unmapped_records",
    "revoked_records",
    "unknown_type_records",
)


def _week_metadata(report: DailyReport, week: date) -> dict[str, Any]:
    days = report.of([week])
    return {
        "dagster/partition_row_count": sum(day.rows for day in days),
        "partition_days_recomputed": sum(not day.reused for day in days),
        "partition_bytes_read": sum(day.bytes_read for day in days),
    }


def _total(days: Sequence[DayReport], name: str) -> int:
    return sum(day.counts[name] for day in days)
