"""What differs between two states of a table: participants, dates, columns, by how much, and why.

Belongs here: reading two states and comparing them. Which states are meant is `past.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from qol_dagster.lake.history import State, revisions_of, verify_objects
from qol_dagster.lake.revisions import ROW_KEY, compared_columns, differing_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.lake.lake import Lake
    from qol_dagster.lake.past import Moment
    from qol_dagster.metrics.tables import TableId


@dataclass(frozen=True)
class ValueChange:
    """A value of two states, or a row that only one has: `change` is changed, added or removed.

    `difference` is after minus before, of numbers. `causes` are those of the revisions in between.
    """

    table: str
    date: str
    participant_id: str
    change: str
    column: str
    before: Any
    after: Any
    difference: float | None
    causes: str

    def as_row(self) -> tuple[Any, ...]:
        """Return the values in the order of the fields."""
        return astuple(self)


def differences(one: Moment, other: Moment, table: TableId) -> Iterator[ValueChange]:
    """Yield what differs between two states of a table, by date, participant and column. Raises HistoryError.

    Dates of which one of the states says nothing are left out.
    """
    before, after = one.states(table), other.states(table)
    lake = one.lake.with_tables(table.profile.folder)
    days = [day for day in sorted(before.keys() | after.keys()) if one.covers(day) and other.covers(day)]
    days = [day for day in days if _keys(before, day) != _keys(after, day)]
    verify_objects(lake, [key for states in (before, after) for day in days for key in _keys(states, day)])
    causes = _causes(lake, table, before, after) if days else {}
    for day in days:
        old, new = (_rows(lake, _keys(states, day)) for states in (before, after))
        for change in _changes(old, new):
            yield ValueChange(table.name, str(day), *change, causes.get(day, ""))


def _changes(old: pa.Table, new: pa.Table) -> Iterator[tuple[str, str, str, Any, Any, float | None]]:
    """Yield participant, change, column, value before and after, and their difference."""
    old_at, new_at = ({key: at for at, key in enumerate(rows[ROW_KEY].to_pylist())} for rows in (old, new))
    common = sorted(old_at.keys() & new_at.keys())
    before, after = (_taken(rows, [at[key] for key in common]) for rows, at in ((old, old_at), (new, new_at)))
    found: list[tuple[str, str, str, Any, Any, float | None]] = [
        *((key, "removed", "", None, None, None) for key in old_at.keys() - new_at.keys()),
        *((key, "added", "", None, None, None) for key in new_at.keys() - old_at.keys()),
    ]
    for name in compared_columns(old, new):
        for at in differing_rows(before, after, name):
            one, other = (rows[name][at].as_py() if name in rows.column_names else None for rows in (before, after))
            found.append((common[at], "changed", name, one, other, _difference(one, other)))
    yield from sorted(found, key=lambda change: change[0])


def _difference(before: Any, after: Any) -> float | None:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (before, after))
    return after - before if numbers else None


def _causes(lake: Lake, table: TableId, before: Mapping[date, State], after: Mapping[date, State]) -> dict[date, str]:
    """Return the causes of the revisions between two states, by date, each once in their order."""
    found: dict[date, list[str]] = {}
    for one in revisions_of(lake, table.table):
        numbers = (states[one.date].revision.number if one.date in states else 0 for states in (before, after))
        first, last = sorted(numbers)
        if first < one.number <= last:
            found.setdefault(one.date, []).extend(one.cause.split("+"))
    return {day: "+".join(dict.fromkeys(causes)) for day, causes in found.items()}


def _keys(states: Mapping[date, State], day: date) -> tuple[str, ...]:
    return states[day].keys if day in states else ()


def _rows(lake: Lake, keys: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [pq.ParquetFile(pa.BufferReader(lake.read_object(key))).read(use_threads=False) for key in keys]
    nothing = pa.table({ROW_KEY: pa.array([], pa.string())})
    return pa.concat_tables(parts, promote_options="default") if parts else nothing


def _taken(rows: pa.Table, at: list[int]) -> pa.Table:
    import pyarrow as pa

    return rows.take(pa.array(at, pa.int64()))
