"""Maps of samples in which an offset comes twice, so that parsers may differ about its value.

Belongs here: finding them among those that were read. Nearly every map is in ascending order, which Arrow sees in a
small part of the time that DuckDB takes to count what is different.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ROWS_AT_A_TIME = 2048


def files_with_an_offset_twice(connection: Any, samples: str) -> Iterator[tuple[str, str]]:
    """Yield dates and files of the table `parsed` with such a map in a line."""
    asked = f"SELECT date, file, {samples}.t AS t FROM parsed WHERE len({samples}.t) > 1"
    for batch in connection.sql(asked).to_arrow_reader(ROWS_AT_A_TIME):
        for row in _with_an_offset_twice(batch["t"]):
            yield batch["date"][row].as_py(), batch["file"][row].as_py()


def _with_an_offset_twice(lists: pa.ListArray) -> Iterator[int]:
    starts = pc.subtract(lists.offsets, lists.offsets[0]).to_pylist()
    steps = pc.pairwise_diff(lists.flatten())
    descents = pc.indices_nonzero(pc.fill_null(pc.less_equal(steps, 0), True)).to_pylist()
    for row in sorted({bisect_right(starts, place) - 1 for place in {*descents} - {*starts}}):
        offsets = lists[row].as_py()
        if len({*offsets}) < len(offsets):
            yield row
