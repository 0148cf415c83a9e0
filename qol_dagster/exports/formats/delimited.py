"""CSV: UTF-8, one header line, dates and times as ISO 8601, numbers with every digit, nothing where there is nothing.

Belongs here: how values are spelled in text. A number is the shortest decimal that reads back as the same double.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.csv_text import BYTE_ORDER_MARK, csv_text
from qol_dagster.exports.formats import Options

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.exports.rows import Dataset


def write(dataset: Dataset, folder: Path, options: Options) -> None:
    """Write `<table>.csv`."""
    write_csv(dataset.rows, folder / f"{dataset.table.name}.csv", excel=options.excel)


def write_csv(rows: pa.Table, path: Path, *, excel: bool = False) -> None:
    """Write an Arrow table; with `excel`, a byte-order mark first, without which Excel misreads Japanese."""
    import pyarrow.csv as pc

    with path.open("wb") as file:
        file.write(BYTE_ORDER_MARK.encode() if excel else b"")
        pc.write_csv(as_text(rows), file)


def csv_bytes(rows: pa.Table) -> bytes:
    """Return an Arrow table as CSV."""
    import pyarrow.csv as pc

    text = io.BytesIO()
    pc.write_csv(as_text(rows), text)
    return text.getvalue()


def as_text(rows: pa.Table) -> pa.Table:
    """Return the rows with times as ISO 8601 in UTC, to the millisecond; Arrow's own CSV has a space in them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for at, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            plain = rows[field.name].cast(pa.timestamp("ms"))
            rows = rows.set_column(at, field.name, pc.strftime(plain, format="%Y-%m-%dT%H:%M:%SZ"))
    return rows


def write_rows(rows: Sequence[Mapping[str, object]], path: Path, *, excel: bool = False) -> None:
    """Write rows that have the same keys, at least one; a whole number is written without its fraction."""
    text = csv_text(list(rows[0]), ([_short(value) for value in row.values()] for row in rows))
    path.write_bytes(f"{BYTE_ORDER_MARK if excel else ''}{text}".encode())


def _short(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
