"""The rows of an export, through the catalogue: what DuckDB and Athena both answer.

Belongs here: which rows and columns are asked for, and the one Arrow table that every format writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qol_dagster.exports import ExportError
from qol_dagster.exports.blanks import reasons_of
from qol_dagster.exports.columns import Column, Kind, columns_of
from qol_dagster.exports.tables import ExportTable, advice_for, has_participants, key_of
from qol_dagster.metrics.dictionary import Metric
from qol_dagster.metrics.dictionary.values import REASONS
from qol_dagster.metrics.tables import TableId
from qol_dagster.weeks import monday_of

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.resources.catalogue import Catalogue

KEY = ("participant_id", "date")


@dataclass(frozen=True)
class Weeks:
    """The weeks that the rows' dates are in, from a Monday to a Monday; None: from the first, to the last there is."""

    first: date | None = None
    last: date | None = None

    @property
    def condition(self) -> str:
        """What SQL asks of `date`, whether a table has one a week, one a day, or one a form."""
        bounds = [f"date >= '{self.first}'"] if self.first else []
        bounds += [f"date <= '{self.last + timedelta(days=6)}'"] if self.last else []
        return " AND ".join(bounds)

    def __str__(self) -> str:
        """Return them as a message names them."""
        if self.first == self.last:
            return f"the week of {self.first}" if self.first else "all weeks"
        return f"the weeks {self.first or 'from the first'} to {self.last or 'the last'}"


@dataclass(frozen=True)
class Dataset:
    """What an export is made from.

    `rows` has a column for each of `columns`, ordered by the table's key: words and text as string, dates as date32,
    times as timestamp (ms, UTC), numbers as int64 or float64. `absent` are weeks of participants without any row:
    participant_id, date (Monday), reason. `unexplained` are weeks of which no status is known. Both are empty of
    questionnaires, which are of no week.
    """

    table: ExportTable
    weeks: Weeks
    columns: tuple[Column, ...]
    rows: pa.Table
    absent: pa.Table
    unexplained: tuple[date, ...] = ()

    @cached_property
    def dates(self) -> tuple[date, date]:
        """The first and the last date of the rows."""
        found = self.rows["date"].to_pylist()
        return min(found), max(found)

    @property
    def versions(self) -> list[str]:
        """Versions of the definitions that the rows were computed by; none where the table does not say."""
        return (
            sorted(self.rows["metrics_version"].drop_null().unique().to_pylist())
            if "metrics_version" in self.names
            else []
        )

    @property
    def n_participants(self) -> int:
        """How many participants have a row; 0 of a table without any."""
        return len(self.rows["participant_id"].unique()) if has_participants(self.table) else 0

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [one.name for one in self.columns]


def read_dataset(catalogue: Catalogue, table: ExportTable, weeks: Weeks) -> Dataset:
    """Return the rows of a table with the reasons for what is missing. Raises ExportError when there are none, or when
    weeks are asked of a table that is made of all forms at once.
    """
    if weeks.condition and not has_participants(table):
        raise ExportError(f"{table.qualified_name} is made of all forms at once", advice="Leave out --week and --until")
    found = catalogue.query(_select(table, weeks)).table
    if not found.num_rows:
        raise ExportError(
            f"{table.qualified_name} has no rows{f' in {weeks}' if weeks.condition else ''}",
            advice=advice_for(table),
        )
    columns = columns_of(table.columns)
    rows = _with_reasons(_conform(found, columns), table, columns, _never_measured(catalogue, table))
    absent, unexplained = _absent(catalogue, table, weeks, rows)
    return Dataset(table, weeks, columns, rows, absent, unexplained)


def _select(table: ExportTable, weeks: Weeks) -> str:
    chosen = ", ".join(part for metric in table.columns for part in _selected(metric))
    where = f" WHERE {weeks.condition}" if weeks.condition else ""
    return f"SELECT {chosen} FROM {table.qualified_name}{where} ORDER BY {', '.join(key_of(table))}"


def _selected(metric: Metric) -> list[str]:
    """Return what is asked for; the elements of a list one by one, as lists come differently from each catalogue."""
    if not metric.type.startswith("list<"):
        return [metric.name]
    elements = [one for one in columns_of((metric,)) if one.hour is not None]
    return [f"{metric.name}[{number}] AS {one.name}" for number, one in enumerate(elements, start=1)]


def _conform(found: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Return the columns but those of reasons, in the types of their kinds."""
    import pyarrow as pa

    valued = [one for one in columns if not one.is_reason]
    arrays = [_as_kind(found[one.name].combine_chunks(), one) for one in valued]
    return pa.Table.from_arrays(arrays, names=[one.name for one in valued])


def _as_kind(array: pa.Array, column: Column) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    if column.hour is not None and column.metric.type == "list<int64>":
        bits = array.cast(pa.int64()).fill_null(0).to_numpy()
        return pa.array(np.bitwise_count(bits), pa.int64(), mask=array.is_null().to_numpy(zero_copy_only=False))
    types: dict[Kind, Any] = {
        "text": pa.string(),
        "date": pa.date32(),
        "time": pa.timestamp("ms", tz="UTC"),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "category": pa.string(),
    }
    return array.cast(types[column.kind])


def _with_reasons(
    rows: pa.Table, table: ExportTable, columns: Sequence[Column], never: Mapping[str, Sequence[str]]
) -> pa.Table:
    import pyarrow as pa

    source = _for_rules(rows, table)
    arrays = [
        reasons_of(source, one.metric, _missing(rows, one.metric), never.get(one.metric.name, ()))
        if one.is_reason
        else rows[one.name]
        for one in columns
    ]
    return pa.Table.from_arrays(arrays, names=[one.name for one in columns])


def _for_rules(rows: pa.Table, table: ExportTable) -> pa.Table:
    """Return the columns of the table that are columns of the export too."""
    return rows.select([one.name for one in table.columns if one.name in rows.column_names])


def _missing(rows: pa.Table, metric: Metric) -> pa.Array:
    """Return whether the metric is missing; of a list, whether every hour is."""
    import pyarrow.compute as pc

    first, *more = [one.name for one in columns_of((metric,)) if not one.is_reason]
    missing = rows[first].combine_chunks().is_null()
    for name in more:
        missing = pc.and_(missing, rows[name].combine_chunks().is_null())
    return missing


def _never_measured(catalogue: Catalogue, table: ExportTable) -> dict[str, list[str]]:
    """Return by metric the participants of whom the table has no value of it on any date."""
    sensors = [one.name for one in table.columns if one.blanks and one.blanks.sensor]
    if not sensors:
        return {}
    counts = ", ".join(f"count({name}) AS {name}" for name in sensors)
    found = catalogue.query(
        f"SELECT participant_id, {counts} FROM {table.qualified_name} GROUP BY participant_id"
    ).table
    people = found["participant_id"].to_pylist()
    return {
        name: [person for person, number in zip(people, found[name].to_pylist(), strict=True) if not number]
        for name in sensors
    }


def _absent(
    catalogue: Catalogue, table: ExportTable, weeks: Weeks, rows: pa.Table
) -> tuple[pa.Table, tuple[date, ...]]:
    """Return the weeks of participants without any row, as `participant_status` explains them; and weeks it does not.

    A week that was worn by its status, but has no row, was computed before the rows: that explains nothing.
    """
    if not isinstance(table, TableId):
        return _absent_table(()), ()
    status = TableId("status", table.profile)
    asked = _seen(rows)
    known: list[tuple[str, date, str]] = []
    if table.table != "status":
        where = f" WHERE {weeks.condition}" if weeks.condition else ""
        sql = f"SELECT participant_id, date, status FROM {status.qualified_name}{where} ORDER BY participant_id, date"
        known = [(one, date.fromisoformat(day), word) for one, day, word in catalogue.query(sql).rows]
    words = {one.word for one in REASONS} - {"too_short"}
    absent = [
        (one, monday, word if word in words else "unknown") for one, monday, word in known if (one, monday) not in asked
    ]
    told = {monday for _, monday, _ in known}
    silent = () if table.table == "status" else tuple(sorted({monday for _, monday in asked} - told))
    return _absent_table(absent), silent


def _seen(rows: pa.Table) -> set[tuple[str, date]]:
    pairs = rows.select(list(KEY)).group_by(list(KEY)).aggregate([])
    return {(one, monday_of(day)) for one, day in zip(*(pairs[name].to_pylist() for name in KEY), strict=True)}


def _absent_table(absent: Iterable[tuple[str, date, str]]) -> pa.Table:
    import pyarrow as pa

    columns = list(zip(*absent, strict=True)) or [(), (), ()]
    types = (pa.string(), pa.date32(), pa.string())
    arrays = [pa.array(column, type_) for column, type_ in zip(columns, types, strict=True)]
    return pa.Table.from_arrays(arrays, names=[*KEY, "reason"])
