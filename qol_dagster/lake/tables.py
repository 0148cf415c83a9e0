"""Arrow tables in the shape that the dictionary gives them, and partitions read as such."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from qol_dagster.lake.objects import map_concurrently
from qol_dagster.lake.partition import partition_metadata_of
from qol_dagster.metrics.types import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.lake.lake import Lake
    from qol_dagster.metrics.dictionary import Metric
    from qol_dagster.metrics.types import TableName


@dataclass(frozen=True)
class Partition:
    """A partition's rows, and what its writer noted."""

    rows: pa.Table
    notes: Mapping[str, Any]


def arrow_schema(metrics: Sequence[Metric]) -> pa.Schema:
    """Return the Parquet schema of a table, every column with its comment."""
    import pyarrow as pa

    return pa.schema(
        [pa.field(metric.name, arrow_type(metric.type), metadata={"comment": metric.comment}) for metric in metrics]
    )


def by_date(rows: pa.Table, metrics: Sequence[Metric], days: Sequence[date]) -> dict[date, pa.Table]:
    """Return the rows of each date, in the dictionary's schema. `rows` are in the order of their dates."""
    rows = _conform(rows, arrow_schema(metrics))
    dates = rows["date"].to_pylist()
    bounds = {day: (bisect_left(dates, str(day)), bisect_right(dates, str(day))) for day in days}
    return {day: rows.slice(first, past - first) for day, (first, past) in bounds.items()}


def set_aside(rows: pa.Table, metrics: Sequence[Metric]) -> tuple[pa.Table, dict[str, int]]:
    """Return the rows with null in the place of values that cannot be, and how many there were by column.

    What can be is the range of the dictionary's entry; only columns that may be null are looked at.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = {}
    for metric in metrics:
        if not metric.nullable or (metric.minimum is None and metric.maximum is None):
            continue
        values = rows[metric.name]
        beyond = pc.or_kleene(
            pc.less(values, metric.minimum) if metric.minimum is not None else pa.scalar(False),
            pc.greater(values, metric.maximum) if metric.maximum is not None else pa.scalar(False),
        )
        if number := pc.sum(beyond).as_py():
            found[metric.name] = number
            kept = pc.if_else(beyond, pa.scalar(None, values.type), values)
            rows = rows.set_column(rows.column_names.index(metric.name), rows.schema.field(metric.name), kept)
    return rows, found


def with_time(rows: pa.Table, computed_at: datetime) -> pa.Table:
    """Return the rows with the run's time, which no expression knows."""
    import pyarrow as pa

    times = pa.array([computed_at] * rows.num_rows, pa.timestamp("ms", tz="UTC"))
    return rows.set_column(rows.column_names.index("computed_at"), "computed_at", times)


def read_rows(lake: Lake, table: TableName, days: Iterable[date], metrics: Sequence[Metric]) -> pa.Table:
    """Return these columns of the partitions that are there."""
    return concat_rows([part.rows for part in read_partitions(lake, table, days, metrics).values()], metrics)


def read_partitions(
    lake: Lake, table: TableName, days: Iterable[date], metrics: Sequence[Metric]
) -> dict[date, Partition]:
    """Return these columns of the partitions that are there, by date in the order of `days`."""
    schema = arrow_schema(metrics)

    def read(day: date) -> Partition | None:
        rows = lake.read_table(table, day, schema.names)
        return None if rows is None else Partition(_conform(rows, schema), partition_metadata_of(rows.schema) or {})

    return {day: found for day, found in map_concurrently(read, days).items() if found is not None}


def concat_rows(rows: Iterable[pa.Table], metrics: Sequence[Metric]) -> pa.Table:
    """Return one table of rows that have these columns."""
    import pyarrow as pa

    return pa.concat_tables([arrow_schema(metrics).empty_table(), *rows])


def _conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the rows with exactly the schema's columns; a column that older rows lack is null."""
    import pyarrow as pa

    columns = [
        _as_type(rows[column.name], column.type)
        if column.name in rows.column_names
        else pa.nulls(rows.num_rows, column.type)
        for column in schema
    ]
    return pa.table(columns, schema=schema)


def _as_type(column: Any, type_: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_int64(column.type) and pa.types.is_timestamp(type_):
        return column.cast(pa.timestamp("ms")).cast(type_)
    return column.cast(type_)


def times_as_int(rows: pa.Table) -> pa.Table:
    """Return the rows as the expressions take them: a time is int64, milliseconds since 1970 UTC."""
    import pyarrow as pa

    fields = [pa.field(f.name, pa.int64()) if pa.types.is_timestamp(f.type) else f for f in rows.schema]
    return rows.cast(pa.schema(fields))
