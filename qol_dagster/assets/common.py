"""What the assets share: the run's config, its weeks, and how rows are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from qol_dagster.etl import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.metrics.dictionary import Metric
    from qol_dagster.resources.storage import Lake, TableName

PREVIEW_ROWS = 5


class EtlConfig(dg.Config):
    """How a run computes: `engine` duckdb, spark or default (that of the settings); `force` reuses nothing."""

    engine: Literal["default", "duckdb", "spark"] = "default"
    force: bool = False


def weeks_of(context: dg.AssetExecutionContext) -> list[date]:
    """The Mondays a run is about."""
    return [date.fromisoformat(key) for key in context.partition_keys]


def rows_of(lake: Lake, table: TableName, days: Iterable[date], metrics: Sequence[Metric]) -> pa.Table:
    """The rows of these partitions as they lie in the lake."""
    import pyarrow as pa  # noqa: PLC0415

    found = (lake.read_table(table, day) for day in days)
    tables = [rows.select([metric.name for metric in metrics]) for rows in found if rows is not None]
    return pa.concat_tables([arrow_schema(metrics).empty_table(), *tables], promote_options="permissive")


def preview(rows: pa.Table, columns: Sequence[str]) -> dg.MetadataValue:
    """The first rows as a Markdown table. Participants are pseudonymous already."""
    head = rows.select(list(columns)).slice(0, PREVIEW_ROWS).to_pylist()
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_shown(row[name]) for name in columns) + " |" for row in head]
    return dg.MetadataValue.md("\n".join(lines))


def seconds(stages: Mapping[str, float]) -> dict[str, Any]:
    """Seconds by stage as metadata."""
    return {f"seconds/{stage.replace(' ', '_')}": round(value, 3) for stage, value in stages.items()}


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
