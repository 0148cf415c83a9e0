"""The engines that read raw lines and run the metrics' expressions. Nothing heavy is imported before one is opened."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

    from qol_dagster.resources.storage import Lake, RawObject

EngineName = Literal["duckdb", "spark"]
ENGINES: tuple[EngineName, ...] = ("duckdb", "spark")


LEFTOVER_S = 86_400
"""A working folder older than this belongs to nobody: a run takes an hour at most."""


class EngineError(RuntimeError):
    """An engine cannot start or failed on its input; the message says what to do."""


class Engine(Protocol):
    """What `etl.py` asks of an engine. Tables are registered by name, then expressions are run over them."""

    @property
    def name(self) -> EngineName:
        """Which engine it is."""

    def load_records(self, lake: Lake, days: Mapping[date, Sequence[RawObject]]) -> None:
        """Register `records`: all lines of these days, typed as `metrics.fields` says."""

    def load_table(self, name: str, rows: pa.Table) -> None:
        """Register `rows` under `name`."""

    def keep(self, name: str, expression: ir.Table) -> None:
        """Work an expression out once and register its rows under `name`."""

    def run(self, expression: ir.Table, *, in_order: bool = False) -> pa.Table:
        """Rows of an expression over the registered tables, ordered as the expression says.

        With `in_order`, DuckDB adds up in the order of the rows, so that the same rows give the same bits; it costs the
        other threads. Spark has no such order: there the last digit of a mean may differ between runs.
        """


def compiled(expression: ir.Table, dialect: Literal["duckdb", "pyspark"]) -> str:
    """The SQL of an expression. It depends on nothing but the expression, so a process makes it once."""
    return _compiled(expression.op(), dialect)


@lru_cache(maxsize=64)
def _compiled(operation: Any, dialect: str) -> str:
    import ibis  # noqa: PLC0415

    if dialect == "pyspark":
        _ = ibis.pyspark  # its compiler reads options that exist once the backend is known
    return str(ibis.to_sql(operation.to_expr(), dialect=dialect))


@contextmanager
def work_folder(temp_dir: Path, name: EngineName) -> Iterator[Path]:
    """A folder of an engine's own in `temp_dir`, removed at the end. What killed runs left there long ago goes too."""
    temp_dir.mkdir(parents=True, exist_ok=True)
    for left in temp_dir.iterdir():
        if left.stat().st_mtime < time.time() - LEFTOVER_S:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=temp_dir)).absolute()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_engine(name: EngineName, *, memory_mb: int, temp_dir: Path) -> Iterator[Engine]:
    """Start an engine, and stop it at the end. `memory_mb` bounds it; what does not fit goes to `temp_dir`."""
    with work_folder(temp_dir, name) as work:
        if name == "spark":
            from qol_dagster.engines.spark import spark_engine  # noqa: PLC0415

            with spark_engine(memory_mb=memory_mb, work=work) as engine:
                yield engine
        else:
            from qol_dagster.engines.duckdb import duckdb_engine  # noqa: PLC0415

            with duckdb_engine(memory_mb=memory_mb, work=work) as engine:
                yield engine
