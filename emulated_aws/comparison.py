"""What the local engine makes of the same raw files, and whether that is what Athena shows.

Belongs here: copying the raw files, computing them with DuckDB, and holding two tables against each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.errors import QolError
from qol_dagster.lake.lake import Lake

if TYPE_CHECKING:
    from qol_dagster.resources.catalogue import QueryResult
    from qol_dagster.resources.platform import Platform

WHOLE_TABLE = "SELECT * FROM db_qol.weekly_metrics"
KEY = ("date", "participant_id")
WHEN = "computed_at"
"""What no two computations have in common."""

Row = dict[str, Any]


class ComparisonError(QolError):
    """Two tables differ that should not; the message says where, and names no value."""


def local_answer(platform: Platform, folder: Path, weeks: Sequence[date]) -> QueryResult:
    """`db_qol.weekly_metrics` as the local engine computes it from the raw files in the bucket, in `folder`/lake."""
    from qol_dagster.engines import open_engine
    from qol_dagster.pipeline.etl import run_etl
    from qol_dagster.resources.catalogue.duckdb import LocalCatalogue

    lake = Lake.local(folder / "lake")
    _copy_raw(platform.lake(), lake)
    with open_engine("duckdb", memory_mb=platform.settings.memory_mb, temp_dir=folder / "tmp") as engine:
        run_etl(engine, lake, weeks, platform.id_map().identities(), since=platform.settings.start_date)
    return LocalCatalogue(folder / "lake").query(WHOLE_TABLE)


def compare(shown: QueryResult, table: QueryResult, local: QueryResult) -> None:
    """Raises ComparisonError unless `table` has the local rows, and what is `shown` is a part, the last weeks first."""
    wanted = {_key(row): row for row in _objects(local)}
    rows = _objects(table)
    if sorted(map(_key, rows)) != sorted(wanted):
        raise ComparisonError(f"Athena has {len(rows)} rows, and the local engine {len(wanted)}, or those of others")
    for row in [*rows, *_objects(shown)]:
        other = wanted[_key(row)]
        wrong = [name for name in sorted(other.keys() | row.keys()) if not _same(row, other, name)]
        if wrong:
            raise ComparisonError(f"Athena and the local engine differ for {_key(row)} in {', '.join(wrong)}")
    dates = [row["date"] for row in _objects(shown)]
    if not dates or dates != sorted((row["date"] for row in rows), reverse=True)[: len(dates)]:
        raise ComparisonError("the standard query does not show the last weeks first")


def _same(row: Row, other: Row, name: str) -> bool:
    """Return whether both have a column with equal values; numbers are equal up to rounding."""
    if name not in row or name not in other:
        return False
    one, two = row[name], other[name]
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-9)
    return name == WHEN or bool(one == two)


def _copy_raw(source: Lake, target: Lake) -> None:
    for day in source.raw_days():
        for item in source.raw_objects(day):
            target.write_raw(day, Path(item.key).stem, source.read_raw(item))


def _objects(found: QueryResult) -> list[Row]:
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)
