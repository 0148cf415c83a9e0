"""What Dagster shows of the tables: column schemas and column lineage, generated from the dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from qol_dagster.metrics.describe import limits
from qol_dagster.metrics.dictionary import Metric


def table_metadata(metrics: Sequence[Metric], table_name: str) -> dict[str, Any]:
    """Return what is known of a table before there are rows: its columns and its name."""
    return {"dagster/column_schema": column_schema(metrics), "dagster/table_name": table_name}


def written_metadata(metrics: Sequence[Metric], upstream: str, uri: str) -> dict[str, Any]:
    """Return the metadata of rows that were written: their column lineage, which Dagster takes from a run, and their
    place."""
    return {"dagster/column_lineage": column_lineage(metrics, upstream), "dagster/uri": uri}


def column_schema(metrics: Sequence[Metric]) -> dg.TableSchema:
    """Return every column with its type, unit, definition, and the range that it never leaves."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=metric.name,
                type=metric.type,
                description=metric.definition,
                constraints=dg.TableColumnConstraints(nullable=metric.nullable, other=_range(metric)),
                tags={"unit": _tag(metric.unit)} if _tag(metric.unit) else None,
            )
            for metric in metrics
        ]
    )


def column_lineage(metrics: Sequence[Metric], upstream: str) -> dg.TableColumnLineage:
    """Return which columns of the asset before it each column comes from."""
    key = dg.AssetKey(upstream)
    return dg.TableColumnLineage(
        deps_by_column={
            metric.name: [dg.TableColumnDep(asset_key=key, column_name=name) for name in metric.inputs]
            for metric in metrics
            if metric.inputs
        }
    )


def _range(metric: Metric) -> list[str]:
    text = limits(metric.minimum, metric.maximum)
    return [text] if text else []


def _tag(unit: str) -> str:
    spelled = unit.replace("%", "percent").replace("/", "_per_")
    return "".join(letter if letter.isalnum() or letter in "_.-" else "_" for letter in spelled).strip("_")
