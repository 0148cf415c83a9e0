"""Raw files that need a second look, found in the records that were read from them.

Belongs here: finding them. A line is odd if `duckdb_lines.py` says so, or if in a map of samples an offset comes twice,
so that parsers may differ about its value. Nearly every map is in ascending order, which Arrow sees in a small part of
the time that DuckDB takes to count what is different.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qol_dagster.metrics.fields import FIELDS

ROWS_AT_A_TIME = 2048
_SAMPLES = [field.name for field in FIELDS if field.kind == "samples"]


def odd_files(connection: Any, rows: str) -> set[str]:
    """Return the names of files with an odd line. `rows` is the SQL of records, those just read without a `line`."""
    offsets = [f"{name}.t" for name in _SAMPLES]
    maps = " OR ".join(f"len({one}) > 1" for one in offsets)
    columns = ", ".join(f"{one} AS t{number}" for number, one in enumerate(offsets))
    asked = f"SELECT file, odd, {columns} FROM {rows} WHERE line IS NULL AND (odd OR {maps})"
    odd: set[str] = set()
    for batch in connection.sql(asked).to_arrow_reader(ROWS_AT_A_TIME):
        odd.update(batch["file"].filter(batch["odd"]).to_pylist())
        for number in range(len(offsets)):
            odd.update(batch["file"][row].as_py() for row in _with_an_offset_twice(batch[f"t{number}"]))
    return odd


def _with_an_offset_twice(lists: pa.ListArray) -> Iterator[int]:
    starts = pc.subtract(lists.offsets, lists.offsets[0]).to_pylist()
    steps = pc.pairwise_diff(lists.flatten())
    descents = pc.indices_nonzero(pc.fill_null(pc.less_equal(steps, 0), True)).to_pylist()
    for row in sorted({bisect_right(starts, place) - 1 for place in {*descents} - {*starts}}):
        offsets = lists[row].as_py()
        if len({*offsets}) < len(offsets):
            yield row
