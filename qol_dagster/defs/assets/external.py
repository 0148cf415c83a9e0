"""The assets that the webhook and study staff fill: raw days, the records parsed of them, the id map.

Belongs here: what Dagster shows of them, and what a run that read them reports: counts and times, never an id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import dagster as dg

from qol_dagster.defs.assets.common import megabytes
from qol_dagster.defs.partitions import Partitions
from qol_dagster.pipeline.reports import DailyReport, DayReport
from qol_dagster.resources.id_map import Enrolment
from qol_dagster.weeks import monday_of
from qol_ingest.shared.id_map import Status

RAW_ASSET, RECORDS_ASSET, ID_MAP_ASSET = "garmin_raw_daily", "garmin_records", "user_id_map"
STATES = get_args(Status)


def external_specs(partitions: Partitions, owners: Sequence[str], id_map: str) -> list[dg.AssetSpec]:
    """Return the specs; `id_map` is the kind of store that has the map."""
    return [
        dg.AssetSpec(
            RAW_ASSET,
            description="Garmin's summaries exactly as received, one JSON object a line, under "
            "`raw/daily/date=D/`. Written by the webhook; arrivals are reported by raw_arrivals_sensor, and runs "
            "report how many lines, users and types they read.",
            group_name="ingest",
            kinds={"json", "garmin"},
            owners=list(owners),
            partitions_def=partitions.daily,
        ),
        dg.AssetSpec(
            RECORDS_ASSET,
            description="Raw lines as they were parsed, once: one typed row a line, under `records/date=D/`. Holds "
            "Garmin's ids, as raw does. A run parses the raw files that are new to it, and computes from here.",
            deps=[dg.AssetDep(RAW_ASSET, partition_mapping=dg.TimeWindowPartitionMapping())],
            group_name="ingest",
            kinds={"parquet", "garmin"},
            owners=list(owners),
            partitions_def=partitions.weekly,
        ),
        dg.AssetSpec(
            ID_MAP_ASSET,
            description="Who is enrolled: Garmin user id -> participant id. The one place where both are stored. "
            "Runs report how many accounts are in each state.",
            group_name="ingest",
            kinds={id_map},
            owners=list(owners),
        ),
    ]


def id_map_observation(everyone: Sequence[Enrolment]) -> dg.AssetObservation:
    """Return how many participants are active, and how many accounts of Garmin are in each state."""
    states = Counter(one.status for one in everyone)
    participants = len({one.participant_id for one in everyone if one.status == "active"})
    accounts = {f"accounts/{name}": states[name] for name in STATES}
    return dg.AssetObservation(ID_MAP_ASSET, metadata={"participants": participants, **accounts})


def raw_observations(days: Sequence[DayReport]) -> Iterator[dg.AssetObservation]:
    """Yield what a run found in the raw lines of each date that it computed."""
    for day in days:
        if day.files and not day.reused:
            yield dg.AssetObservation(RAW_ASSET, partition=day.date.isoformat(), metadata=_raw_metadata(day))


def _raw_metadata(day: DayReport) -> dict[str, Any]:
    counts = day.counts
    metadata: dict[str, Any] = {
        "lines": counts["lines"],
        "users": counts["users"],
        "users_not_enrolled": counts["unmapped_users"],
        "types": counts["types"],
        "files": day.files,
        "size_mb": megabytes(day.raw_bytes),
    }
    if latest_ms := counts["last_received_ms"]:
        metadata["last_received_at"] = dg.MetadataValue.timestamp(datetime.fromtimestamp(latest_ms / 1000, UTC))
    return metadata


def records_materializations(report: DailyReport, made_by: Mapping[str, Any]) -> Iterator[dg.AssetMaterialization]:
    """Yield the weeks of which raw files were parsed, also those before the run's own."""
    for week in sorted({monday_of(day.date) for day in report.days if day.bytes_read}):
        days = report.of([week])
        metadata = {
            "dagster/partition_row_count": sum(day.counts["lines"] for day in days),
            "raw_files": sum(day.files for day in days),
            "parsed_mb": megabytes(sum(day.bytes_read for day in days)),
            "days_parsed": sum(day.bytes_read > 0 for day in days),
            **made_by,
        }
        yield dg.AssetMaterialization(RECORDS_ASSET, partition=week.isoformat(), metadata=metadata)
