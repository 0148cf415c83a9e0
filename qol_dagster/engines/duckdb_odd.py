"""Raw files that need a second look, found in the records that were read from them.

Belongs here: finding them. A line is odd if `duckdb_lines.py` says so, or if in a map of samples an offset comes twice,
so that parsers may differ about its value. Nearly every map is in ascending order, which Arrow sees in a small part of
the time that DuckDB takes to count what is different.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qol_dagster.metrics.fields import FIELDS

ROWS_AT_A_TIME = 2048
_SAMPLES = [field.name for field in FIELDS if field.kind == "samples"]
_COLUMNS = ["file", "odd", "line", *(f"{name}.t" for name in _SAMPLES)]


def odd_files(records: Path) -> set[str]:
    """Return the names of raw files with an odd line, by the records in a file that were just read: without a `line`.

    Arrow reads them in half of the time that DuckDB takes to hand them to it.
    """
    odd: set[str] = set()
    with pq.ParquetFile(records) as stored:
        for batch in stored.iter_batches(ROWS_AT_A_TIME, columns=_COLUMNS, use_threads=False):
            new = batch if batch["line"].null_count == len(batch) else batch.filter(pc.is_null(batch["line"]))
            if not len(new):
                continue
            odd.update(new["file"].filter(new["odd"]).to_pylist())
            for name in _SAMPLES:
                odd.update(new["file"][row].as_py() for row in _with_an_offset_twice(new[name].field("t")))
    return odd


def _with_an_offset_twice(lists: pa.ListArray) -> Iterator[int]:
    starts = lists.offsets.to_pylist()
    offsets = lists.values.slice(starts[0], starts[-1] - starts[0])
    falls = pc.less_equal(offsets.slice(1), offsets.slice(0, max(0, len(offsets) - 1)))
    descents = {starts[0] + 1 + place for place in pc.indices_nonzero(pc.fill_null(falls, True)).to_pylist()}
    for row in sorted({bisect_right(starts, place) - 1 for place in descents - {*starts}}):
        found = lists[row].as_py()
        if len({*found}) < len(found):
            yield row
