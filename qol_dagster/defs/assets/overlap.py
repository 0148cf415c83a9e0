"""Writing a table while Dagster stores the result of the one before.

Belongs here: one thread, and the order it keeps. It saves what Dagster needs to store a result, 0.1 to 0.2 s a table of
about 2.5 s that a small run takes (docs/performance.md); it costs that a table is written outside of the step's own
thread. The first is written in the step's thread, because it may take long and only there can it be interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True)
class Table:
    """How a table is written, which knows no Dagster, and how its report becomes a result for Dagster."""

    write: Callable[[], Any]
    describe: Callable[[Any], dg.MaterializeResult]


def write_in_order(tables: Sequence[Table]) -> Iterator[dg.MaterializeResult]:
    """Yield the result of each table, up to the first that fails a check: then Dagster fails the step and names it.

    Each table is computed from those before, so none is written after one that failed.
    """
    with ThreadPoolExecutor(1) as beside:
        report = tables[0].write() if tables else None
        for table, following in zip_longest(tables, tables[1:]):
            result = table.describe(report)
            go_on = following and all(check.passed for check in result.check_results or ())
            coming = beside.submit(following.write) if go_on else None
            yield result
            if not coming:
                return
            report = coming.result()
