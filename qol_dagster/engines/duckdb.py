"""The embedded engine: raw JSONL to stored records, and the metrics' expressions over these.

Belongs here: DuckDB's connection, memory and threads, and which files it reads. How a line is read is
`duckdb_lines.py`'s.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from qol_dagster.engines import DUCKDB_SETTINGS, REC_BITS, EngineError, EngineName, RawFile, RecordsUpdate
from qol_dagster.engines.duckdb_lines import typed_lines
from qol_dagster.engines.duckdb_offsets import files_with_an_offset_twice
from qol_dagster.engines.odd_lines import write_plain
from qol_dagster.engines.queries import queries
from qol_dagster.metrics.fields import FIELDS

if TYPE_CHECKING:
    from qol_dagster.metrics.thresholds import Thresholds

MB = 1024 * 1024
LONGEST_LINE_MB = 128
"""Longer lines cannot be records: Garmin's largest body is 100 MB."""
COMMON_LINE_MB = 16
WRITERS = 2
"""Dates whose records are written at once: each holds a group of rows in memory."""


@contextmanager
def duckdb_engine(*, memory_mb: int, work: Path) -> Iterator[DuckDBEngine]:
    """Yield an engine in this process; beyond `memory_mb` it works on disk, in the folder `work`."""
    connection = duckdb.connect(
        config={
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(work),
            # All it needs is built in; it must never reach for the network.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            **DUCKDB_SETTINGS,
        }
    )
    try:
        connection.execute("SET enable_progress_bar = false")
        yield DuckDBEngine(connection, memory_mb, work)
    finally:
        connection.close()


@dataclass(frozen=True)
class DuckDBEngine:
    """DuckDB behind the `Engine` port."""

    connection: Any
    memory_mb: int
    work: Path
    name: EngineName = "duckdb"
    _now: dict[str, int | None] = dataclasses.field(default_factory=dict)

    @property
    def batch_bytes(self) -> int:
        """A third of the memory: samples take about twice as much as their text."""
        return self.memory_mb * MB // 3

    @property
    def reading(self) -> str:
        """The SQL by which lines are read."""
        return typed_lines(0)

    def queries(self, thresholds: Thresholds) -> Mapping[str, str]:
        """Return the metrics in DuckDB's SQL."""
        return queries("duckdb", thresholds, self.work.parent)

    def write_records(self, days: Mapping[date, RecordsUpdate], folder: str) -> None:
        """Write the records of these dates below `folder`, as one file each."""
        files = _files({day: update.parse for day, update in days.items()})
        if files:
            self._parse(files)
        self._set(threads=None, preserve_insertion_order=False)
        with ThreadPoolExecutor(WRITERS) as pool:
            for _ in pool.map(partial(self._write_day, folder), days, days.values()):
                pass
        self._execute("DROP TABLE IF EXISTS parsed")

    def _write_day(self, folder: str, day: date, update: RecordsUpdate) -> None:
        """Write the records of a date as one file. For one date DuckDB uses one thread, so dates are side by side."""
        target = Path(folder, f"date={day}", "part-0.parquet")
        target.parent.mkdir(parents=True)
        rows = []
        with self.connection.cursor() as own, _clear_errors():
            if update.parse:
                rows.append(f"SELECT rowid AS line, file, {_FIELDS} FROM parsed WHERE date = '{day}'")
            if update.stored:
                kept = "true"
                if update.keep is not None:
                    own.register("kept_files", pa.table({"file": pa.array(update.keep, pa.string())}))
                    kept = "file IN (SELECT file FROM kept_files)"
                rows.append(f"SELECT line, file, {_FIELDS} FROM {_parquet(update.stored)} WHERE {kept}")
            own.execute(f"COPY ({' UNION ALL '.join(rows)}) TO '{_quoted(target)}' ({_FORMAT})")

    def load_records(self, parts: Mapping[date, Sequence[str]]) -> None:
        """Register `records`: those stored in these files."""
        first = min(parts)
        rec = f"file_row_number + (CAST(CAST(date AS DATE) - DATE '{first}' AS BIGINT) << {REC_BITS})"
        files = _parquet([part for day in sorted(parts) for part in parts[day]])
        self._execute(
            f"CREATE OR REPLACE TEMP VIEW records AS SELECT {rec} AS rec, date, file, line, "
            f"coalesce(ingest_id, file) AS body, {_FIELDS} FROM {files}"
        )

    def _parse(self, files: Sequence[_File]) -> None:
        """Keep all lines of these files, typed, in the table `parsed`."""
        longest_mb, threads = _reading(max(file.size for file in files), self.memory_mb)
        # A file of this size may be read by several threads, whose rows would come in any order.
        in_order = any(file.size > COMMON_LINE_MB * MB for file in files)
        self._set(threads=threads, preserve_insertion_order=in_order)
        read = typed_lines(longest_mb * MB)
        self._execute(f"CREATE OR REPLACE TABLE parsed AS {read}", {"paths": [_literal(file.path) for file in files]})
        self._parse_odd_again(files, read)

    def _parse_odd_again(self, files: Sequence[_File], read: str) -> None:
        """Replace the rows of files in which a line is odd by those of the same lines in their plain spelling."""
        rows = {*self.connection.execute("SELECT DISTINCT date, file FROM parsed WHERE odd").fetchall()}
        for name in _SAMPLES:
            rows.update(files_with_an_offset_twice(self.connection, name))
        odd = [file for file in files if (file.date, file.name) in rows]
        if not odd:
            return
        with _plain_copies(odd, self.work) as plain:
            self.connection.register(
                "odd_files", pa.table({"date": [f.date for f in odd], "file": [f.name for f in odd]})
            )
            self._execute("DELETE FROM parsed WHERE (date, file) IN (SELECT date, file FROM odd_files)")
            self._set(threads=1, preserve_insertion_order=True)
            self._execute(f"INSERT INTO parsed {read}", {"paths": [_literal(file.path) for file in plain]})

    def load_table(self, name: str, rows: pa.Table) -> None:
        """Register `rows` under `name`."""
        self.connection.register(name, rows)

    def define(self, name: str, sql: str) -> None:
        """Register a query under `name`."""
        self._execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {sql}")

    def keep(self, name: str, sql: str, *, in_order: bool = False) -> None:
        """Work a query out once and register its rows under `name`."""
        self._make(name, sql, one_thread=in_order, ordered=in_order)

    def run(self, sql: str, *, in_order: bool = False) -> pa.Table:
        """Return rows of a query over the registered tables."""
        # A relation of the query itself would be bound twice, which for 40 KB of SQL is half of its time.
        self._make("answer", sql, one_thread=in_order, ordered=True)
        with _clear_errors():
            rows = self.connection.table("answer").to_arrow_table()
        self._execute("DROP TABLE answer")
        return rows

    def _make(self, table: str, sql: str, *, one_thread: bool, ordered: bool) -> None:
        # In no order, rows are put into a table by several threads side by side.
        self._set(threads=1 if one_thread else None, preserve_insertion_order=ordered)
        self._execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {sql}")

    def _set(self, **options: int | None) -> None:
        """Settings, as far as they are others now: even the same again costs DuckDB half a millisecond."""
        for name, value in options.items():
            if self._now.get(name) != value:
                self._execute(f"RESET {name}" if value is None else f"SET {name} = {value}")
                self._now[name] = value

    def _execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        with _clear_errors():
            self.connection.execute(sql, parameters)


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        advice = ""
        if "maximum_object_size" in str(error):
            advice = ". A line of that file is too long for a record: take the file out of raw/, or raise QOL_MEMORY_MB"
        elif isinstance(error, duckdb.OutOfMemoryException):
            advice = ". Raise QOL_MEMORY_MB"
        raise EngineError(f"DuckDB stopped: {_first_line(error)}{advice}") from error


def _first_line(error: Exception) -> str:
    # What follows the first line may quote the data.
    return f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"


@dataclass(frozen=True)
class _File:
    """A file to read, whose lines are stored under a date. `size` is in bytes."""

    path: str
    size: int
    date: str
    name: str


def _files(days: Mapping[date, Sequence[RawFile]]) -> list[_File]:
    return [_File(file.uri, file.size, day.isoformat(), file.name) for day, files in days.items() for file in files]


def _reading(largest_file: int, memory_mb: int) -> tuple[int, int]:
    """Return the longest line to be ready for (MB), and with how many threads.

    DuckDB reads into two buffers of that length for each thread, whatever the files' sizes, and holds a long line
    several times; a quarter of the memory for the buffers leaves enough for that.
    """
    possible = min(LONGEST_LINE_MB, memory_mb // 8)
    longest_mb = min(possible, max(COMMON_LINE_MB, largest_file // MB + 1))
    return longest_mb, max(1, min(os.cpu_count() or 1, memory_mb // 4 // (2 * longest_mb)))


@contextmanager
def _plain_copies(files: Sequence[_File], work: Path) -> Iterator[list[_File]]:
    """Yield copies of files whose lines every parser reads alike, for a while, under their old names."""
    folder = work / "plain"
    places = {file: folder / f"date={file.date}" / f"{file.name}.jsonl" for file in files}
    try:
        try:
            for file, place in places.items():
                place.parent.mkdir(parents=True, exist_ok=True)
                write_plain(Path(file.path), place)
        except OSError as error:
            raise EngineError(f"odd lines could not be copied: {error.strerror} ({error.filename})") from error
        yield [dataclasses.replace(file, path=str(place), size=place.stat().st_size) for file, place in places.items()]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parquet(files: Sequence[str]) -> str:
    paths = ", ".join(f"'{_quoted(_literal(file))}'" for file in files)
    return (
        f"read_parquet([{paths}], file_row_number = true, hive_partitioning = true, hive_types = {{'date': VARCHAR}})"
    )


def _quoted(path: str | Path) -> str:
    return str(path).replace("'", "''")


def _literal(path: str) -> str:
    """Return a pattern that stands for this path alone."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


_FIELDS = ", ".join(field.name for field in FIELDS)
_SAMPLES = [field.name for field in FIELDS if field.kind == "samples"]
_FORMAT = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"
"""Row groups are what threads take one at a time."""
