"""`daily_metrics`: raw lines -> one row per participant and date."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg

from qol_dagster.defs.assets.common import Computation, preview, revisions_metadata, seconds
from qol_dagster.defs.checks import check_rows
from qol_dagster.defs.table_metadata import table_metadata, written_metadata
from qol_dagster.lake.tables import read_rows
from qol_dagster.metrics.dictionary import DAILY
from qol_dagster.metrics.profiles import Profile
from qol_dagster.metrics.tables import TableId
from qol_dagster.pipeline.reports import DailyReport, DayReport
from qol_dagster.resources.unread import count_quarantined, files_not_read
from qol_dagster.weeks import dates_of, monday_of

PREVIEW = ("date", "participant_id", "wear_min", "is_valid_day", "steps", "resting_hr_bpm", "sleep_tst_min")


RECORDS_ASSET = "garmin_records"
"""What is parsed of the raw files, and kept."""


def daily_spec(profile: Profile) -> dg.AssetSpec:
    """Return what Dagster shows of the table."""
    table = TableId("daily", profile)
    return dg.AssetSpec(
        table.name,
        description="Steps, heart rate, stress, sleep and wear time per participant and local date, as Parquet "
        f"under `{table.folder}/date=D/`. Days whose raw files did not change are reused. {profile.why}",
        deps=[
            RECORDS_ASSET,
            "user_id_map",
        ],
        metadata=table_metadata(DAILY, table.qualified_name),
    )


def daily_result(run: Computation, report: DailyReport) -> dg.MaterializeResult:
    """Return the metadata of the days of the run's weeks, and of what became of their lines."""
    table, lake = TableId("daily", run.profile), run.lake
    days = [day for week in run.weeks for day in dates_of(week)]
    rows = read_rows(lake, "daily", days, DAILY)
    run.add_week_metadata(table.name, {week: _week_metadata(report, week) for week in run.weeks})
    _report_records(run, report)
    return dg.MaterializeResult(
        asset_key=table.name,
        metadata={
            **_metadata(report, report.of(run.weeks), rows),
            **revisions_metadata(report.days),
            **count_quarantined(lake),
            "files_not_read": len(list(files_not_read(lake, days))),
            **written_metadata(DAILY, "garmin_raw_daily", f"{lake.root}/{table.folder}"),
            **run.made_with(),
            "preview": preview(rows, PREVIEW),
        },
        check_results=check_rows(
            table.name,
            rows,
            DAILY,
            _total(report.of(run.weeks), "records"),
            run.garmin_ids,
            set_aside=_total(report.of(run.weeks), "values_set_aside"),
        ),
    )


def _report_records(run: Computation, report: DailyReport) -> None:
    """Report the weeks of which raw files were parsed, also those before the run's own."""
    for week in sorted({monday_of(day.date) for day in report.days if day.bytes_read}):
        days = report.of([week])
        metadata = {
            "dagster/partition_row_count": sum(day.counts["lines"] for day in days),
            "raw_files": sum(day.files for day in days),
            "bytes_parsed": sum(day.bytes_read for day in days),
            "days_parsed": sum(day.bytes_read > 0 for day in days),
            **run.made_by,
        }
        run.context.log_event(dg.AssetMaterialization(RECORDS_ASSET, partition=week.isoformat(), metadata=metadata))


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
    "other_account",
    "unmapped_records",
    "revoked_records",
    "unknown_type_records",
    "values_set_aside",
)


def _week_metadata(report: DailyReport, week: date) -> dict[str, Any]:
    days = report.of([week])
    return {
        "dagster/partition_row_count": sum(day.rows for day in days),
        "partition_days_recomputed": sum(not day.reused for day in days),
        "partition_bytes_read": sum(day.bytes_read for day in days),
    }


def _total(days: Sequence[DayReport], name: str) -> int:
    return sum(day.counts.get(name, 0) for day in days)
