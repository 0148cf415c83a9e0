"""The engines that read raw lines and run the metrics' expressions: DuckDB and Spark behind one port.

Belongs here: reading lines as `metrics.fields` says, and running SQL. Not here: where files are stored, and which are
read. Nothing heavy is imported before an engine is opened.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from qol_dagster.errors import QolError
from qol_ingest.shared.files import in_the_way

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.metrics.thresholds import Thresholds

EngineName = Literal["duckdb", "spark"]
ENGINES: tuple[EngineName, ...] = ("duckdb", "spark")


LEFTOVER_S = 86_400
"""A working folder older than this belongs to nobody: a run takes an hour at most."""


DUCKDB_SETTINGS: dict[str, Any] = {"enable_caching_operators": "false"}
"""For every connection. DuckDB 2.0.0 fails now and then when it gathers the small chunks of a join."""


class EngineError(QolError):
    """An engine cannot start or failed on its input; the message says what to do."""


@dataclass(frozen=True)
class RawFile:
    """A file of raw lines: its absolute path or URI, and its size in bytes."""

    uri: str
    size: int

    @property
    def name(self) -> str:
        """Its name without folder and ending."""
        return self.uri.rpartition("/")[2].removesuffix(".jsonl")


REC_BITS = 49
"""Bits of a record's number within its date; those above are the date's."""
DAYS_AT_A_TIME = 2 ** (63 - REC_BITS)
"""From the first to the last date whose records are loaded together; further apart, the numbers would not fit."""


@dataclass(frozen=True)
class RecordsUpdate:
    """What a date's records are made from: raw files to parse, and stored records of other files.

    `stored` are the URIs of the date's Parquet files, of which the records of the raw files `keep` (names without
    ending) stay; without it, all.
    """

    parse: Sequence[RawFile]
    stored: Sequence[str] = ()
    keep: Sequence[str] | None = None


class Engine(Protocol):
    """What the weekly job asks of an engine. Tables are registered by name, then queries are run over them."""

    @property
    def name(self) -> EngineName:
        """Which engine it is."""

    @property
    def batch_bytes(self) -> int:
        """Raw bytes to parse at once: enough to be fast, little enough for its memory."""

    @property
    def appends(self) -> bool:
        """Whether the records of a date may come from several calls of `write_records`."""

    @property
    def reading(self) -> str:
        """The SQL by which it reads lines, the same in every process."""

    def queries(self, thresholds: Thresholds) -> Mapping[str, str]:
        """Return the metrics in the engine's SQL; see `engines.queries`."""

    def write_records(self, days: Mapping[date, RecordsUpdate], folder: str) -> None:
        """Write the records of these dates, one row a raw line, to Parquet files below `folder`/date=YYYY-MM-DD.

        `folder` is the URI of one that does not exist. Columns are the fields of `metrics.fields`, samples as two
        lists, and `file` and `line`: the raw file's name without its ending, and a number that rises with its lines,
        null where its rows are in their order.
        """

    def load_records(self, parts: Mapping[date, Sequence[str]]) -> None:
        """Register `records` from the URIs of such files of each date, with the columns of `fields.records_schema`."""

    def load_table(self, name: str, rows: pa.Table) -> None:
        """Register `rows` under `name`."""

    def define(self, name: str, sql: str) -> None:
        """Register a query under `name`, to be worked out as far as whatever reads from it needs it."""

    def keep(self, name: str, sql: str, *, in_order: bool = False) -> None:
        """Work a query out once and register its rows under `name`; `in_order` as in `run`."""

    def run(self, sql: str, *, in_order: bool = False) -> pa.Table:
        """Return rows of a query over the registered tables, ordered as it says.

        With `in_order`, DuckDB adds up in the order of the rows, so that the same rows give the same bits; it costs the
        other threads. Spark has no such order: there the last digit of a mean may differ between runs.
        """


@contextmanager
def work_folder(temp_dir: Path, name: EngineName) -> Iterator[Path]:
    """Yield a folder of an engine's own in `temp_dir`, removed at the end.

    What killed runs left there long ago goes too. Raises EngineError.
    """
    try:
        temp_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = in_the_way(temp_dir / "-") or f"{temp_dir} cannot be made: {error.strerror}"
        raise EngineError(f"there is no place to work in: {why}") from error
    for left in temp_dir.iterdir():
        if left.is_dir() and left.stat().st_mtime < time.time() - LEFTOVER_S:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=temp_dir)).absolute()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_engine(name: EngineName, *, memory_mb: int, temp_dir: Path, shared: str = "") -> Iterator[Engine]:
    """Start an engine, and stop it at the end. `memory_mb` bounds it; what does not fit goes to `temp_dir`.

    With `shared`, a URI that all machines of a cluster see, Spark is the cluster's own and keeps its tables below it.
    """
    with work_folder(temp_dir, name) as work:
        if name == "spark":
            from qol_dagster.engines.spark import spark_engine

            with spark_engine(memory_mb=memory_mb, work=work, shared=shared) as engine:
                yield engine
        else:
            from qol_dagster.engines.duckdb import duckdb_engine

            with duckdb_engine(memory_mb=memory_mb, work=work) as engine:
                yield engine
