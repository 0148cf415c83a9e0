"""`daily_metrics`: raw lines -> one row per participant and date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from qol_dagster.defs.assets.common import (
    Computation,
    megabytes,
    preview,
    revisions_metadata,
    rows_of_week,
    run_seconds,
)
from qol_dagster.defs.assets.external import (
    ID_MAP_ASSET,
    RAW_ASSET,
    RECORDS_ASSET,
    raw_observations,
    records_materializations,
)
from qol_dagster.defs.checks import check_rows
from qol_dagster.defs.table_metadata import table_metadata, written_metadata
from qol_dagster.lake.tables import read_rows
from qol_dagster.metrics.dictionary import DAILY
from qol_dagster.metrics.profiles import Profile
from qol_dagster.metrics.tables import TableId
from qol_dagster.pipeline.reports import DailyReport, DayReport
from qol_dagster.resources.unread import count_quarantined, files_not_read, name_folders
from qol_dagster.weeks import dates_of

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.lake.lake import Lake

PREVIEW = ("date", "participant_id", "wear_min", "is_valid_day", "steps", "resting_hr_bpm", "sleep_tst_min")


def daily_spec(profile: Profile) -> dg.AssetSpec:
    """Return what Dagster shows of the table."""
    table = TableId("daily", profile)
    return dg.AssetSpec(
        table.name,
        description="Steps, heart rate, stress, sleep and wear time per participant and local date, as Parquet "
        f"under `{table.folder}/date=D/`. Days whose raw files did not change are reused. {profile.why}",
        deps=[RECORDS_ASSET, ID_MAP_ASSET],
        metadata=table_metadata(DAILY, table.qualified_name),
    )


def daily_result(run: Computation, report: DailyReport) -> dg.MaterializeResult:
    """Return what became of the days of each of the run's weeks and of their lines, and the checks of their rows."""
    table, lake = TableId("daily", run.profile), run.lake
    days = [day for week in run.weeks for day in dates_of(week)]
    rows, own = read_rows(lake, "daily", days, DAILY), report.of(run.weeks)
    for event in (*raw_observations(own), *records_materializations(report, run.made_by)):
        run.context.log_event(event)
    facts = _run_facts(report)
    run.add_week_metadata(
        table.name,
        {week: _week_metadata(lake, report, week, rows) for week in run.weeks},
        {
            **count_quarantined(lake),
            **written_metadata(DAILY, RAW_ASSET, f"{lake.root}/{table.folder}"),
            **{f"run/{name}": value for name, value in facts.items()},
            **run_seconds(report.seconds),
        },
    )
    run.log_table(table.name, rows.num_rows, *(f"{name.replace('_', ' ')} {value:,}" for name, value in facts.items()))
    return dg.MaterializeResult(
        asset_key=table.name,
        check_results=check_rows(
            table.name,
            rows,
            DAILY,
            _total(own, "records"),
            run.garmin_ids,
            set_aside=_total(own, "values_set_aside"),
        ),
    )


def _run_facts(report: DailyReport) -> dict[str, Any]:
    """Return what the whole run did, also for the weeks before its own, which their rows look back on."""
    reused = sum(day.reused for day in report.days)
    return {
        "days_recomputed": len(report.days) - reused,
        "days_reused": reused,
        "parsed_mb": megabytes(sum(day.bytes_read for day in report.days)),
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


def _week_metadata(lake: Lake, report: DailyReport, week: date, rows: pa.Table) -> dict[str, Any]:
    days, rows = report.of([week]), rows_of_week(rows, week)
    not_read = list(files_not_read(lake, dates_of(week)))
    reused = sum(day.reused for day in days)
    return {
        "dagster/partition_row_count": rows.num_rows,
        "participants": len(rows["participant_id"].unique()),
        "days_recomputed": len(days) - reused,
        "days_reused": reused,
        **revisions_metadata(days),
        "raw_files": sum(day.files for day in days),
        "raw_mb": megabytes(sum(day.raw_bytes for day in days)),
        "parsed_mb": megabytes(sum(day.bytes_read for day in days)),
        "files_not_read": len(not_read),
        **({"files_not_read_in": name_folders(not_read)} if not_read else {}),
        "unmapped_users": max((day.counts["unmapped_users"] for day in days), default=0),
        **{name: _total(days, name) for name in _TOTALS},
        "preview": preview(rows, PREVIEW),
    }


def _total(days: Sequence[DayReport], name: str) -> int:
    return sum(day.counts.get(name, 0) for day in days)
