"""Whether a peer's tables hold the same as ours. A peer that does not is not timed.

Belongs here: the comparison of two sets of Parquet files, column by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.columns import DAILY, KEYS, WEEKLY
from qol_dagster.errors import QolError

RELATIVE = 1e-9


class DifferenceError(QolError):
    """A peer's table differs from ours; the message says where."""


def check(ours: Path, theirs: Path) -> int:
    """Compare both tables of two folders; gives the number of values compared. Raises DifferenceError."""
    return sum(
        _check_table(table, columns, _read(ours / f"{table}.parquet"), _read(theirs / f"{table}.parquet"))
        for table, columns in (("daily", DAILY), ("weekly", WEEKLY))
    )


def _read(path: Path) -> pa.Table:
    """Return the rows of a file, or of all files of a folder (as Spark writes them), by key."""
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    rows = pa.concat_tables([pq.ParquetFile(file).read() for file in files], promote_options="permissive")
    return rows.sort_by([(key, "ascending") for key in KEYS])


def _check_table(table: str, columns: Sequence[str], ours: pa.Table, theirs: pa.Table) -> int:
    for key in KEYS:
        if ours[key].cast(pa.string()).to_pylist() != theirs[key].cast(pa.string()).to_pylist():
            raise DifferenceError(f"{table}: other rows, {ours.num_rows} and {theirs.num_rows}")
    for column in columns:
        if column not in theirs.column_names:
            raise DifferenceError(f"{table}: no column {column}")
        place = _difference(ours[column], theirs[column])
        if place is not None:
            row, one, other = place
            at = {key: ours[key][row].as_py() for key in KEYS}
            raise DifferenceError(f"{table}.{column} at {at}: ours {one!r}, theirs {other!r}")
    return ours.num_rows * len(columns)


def _difference(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> tuple[int, object, object] | None:
    """Return the first row that differs, with both values."""
    if _exact(ours.type):
        pairs = zip(ours.to_pylist(), theirs.to_pylist(), strict=True)
        return next(((row, one, other) for row, (one, other) in enumerate(pairs) if one != other), None)
    if pa.types.is_list(ours.type):
        for row, (one, other) in enumerate(zip(ours.to_pylist(), theirs.to_pylist(), strict=True)):
            if (one is None) != (other is None) or (one and _unlike(_floats(one), _floats(other or ())).any()):
                return row, one, other
        return None
    found = np.flatnonzero(_unlike(_numbers(ours), _numbers(theirs)))
    return (int(found[0]), ours[found[0]].as_py(), theirs[found[0]].as_py()) if len(found) else None


def _exact(type_: pa.DataType) -> bool:
    bits = pa.types.is_list(type_) and pa.types.is_integer(type_.value_type)
    return bits or pa.types.is_string(type_) or pa.types.is_boolean(type_)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_timestamp(column.type):  # of any unit, in UTC whether they say so or not
        column = column.cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
    return pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([float("nan") if value is None else value for value in values], float)


def _unlike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return where two arrays differ by more than the tolerance; no value (NaN) is like no value."""
    missing = np.isnan(one) & np.isnan(other)
    with np.errstate(invalid="ignore"):
        close = np.abs(one - other) <= RELATIVE * np.maximum(np.abs(one), np.abs(other)) + RELATIVE
    return ~(missing | close)
