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

from qol_dagster.engines import DUCKDB_SETTINGS, EngineError, EngineName, RawFile, RecordsUpdate
from qol_dagster.engines.duckdb_lines import typed_lines
from qol_dagster.engines.duckdb_odd import odd_files
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
"""Dates whose records are written at once: each holds a group of rows for each thread in memory."""
ROW_BITS = 40
"""Of the number of a record, for its row in its file."""


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
    appends: bool = True
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
        """Write the records of these dates below `folder`, as one file each, as they are read."""
        files = _files({day: update.parse for day, update in days.items()})
        read = self._get_ready(files)
        with ThreadPoolExecutor(WRITERS) as pool:
            found = pool.map(partial(self._write_day, folder, read), days, days.values())
            odd = dict(zip(map(str, days), found, strict=True))
        if again := [file for file in files if file.name in odd[file.date]]:
            self._write_odd_again(folder, again)

    def _get_ready(self, files: Sequence[_File]) -> str:
        """Make the settings with which these files are read, and return the query; their paths are its `$paths`."""
        largest = max((file.size for file in files), default=0)
        longest_mb, threads = _reading(largest, self.memory_mb)
        # A file of this size may be read by several threads, whose rows would come in any order.
        self._set(threads=threads, preserve_insertion_order=largest > COMMON_LINE_MB * MB)
        return typed_lines(longest_mb * MB)

    def _write_day(self, folder: str, read: str, day: date, update: RecordsUpdate) -> set[str]:
        """Write the records of a date as one file, and return the raw files in which a line is odd."""
        target = Path(folder, f"date={day}", "part-0.parquet")
        target.parent.mkdir(parents=True)
        rows = []
        with self.connection.cursor() as own, _clear_errors():
            if update.parse:
                rows.append(_just_read(read))
            if update.stored:
                kept = "true"
                if update.keep is not None:
                    own.register("kept_files", pa.table({"file": pa.array(update.keep, pa.string())}))
                    kept = "file IN (SELECT file FROM kept_files)"
                rows.append(f"{_stored(update.stored)} WHERE {kept}")
            paths = {"paths": [_literal(file.uri) for file in update.parse]} if update.parse else {}
            own.execute(f"COPY ({' UNION ALL '.join(rows)}) TO '{_quoted(target)}' ({_FORMAT})", paths)
            return odd_files(target) if update.parse else set()

    def _write_odd_again(self, folder: str, files: Sequence[_File]) -> None:
        """Replace the records of these files by those of the same lines in their plain spelling."""
        with _plain_copies(files, self.work) as copies:
            read = self._get_ready(copies)
            self._set(preserve_insertion_order=True)
            for day in sorted({file.date for file in copies}):
                first = Path(folder, f"date={day}", "part-0.parquet")
                of_day = [file for file in copies if file.date == day]
                self.connection.register("odd_files", pa.table({"file": [file.name for file in of_day]}))
                kept = f"{_stored([str(first)])} WHERE file NOT IN (SELECT file FROM odd_files)"
                self._execute(
                    f"COPY ({kept} UNION ALL {_just_read(read)}) "
                    f"TO '{_quoted(first.with_name('part-1.parquet'))}' ({_FORMAT})",
                    {"paths": [_literal(file.path) for file in of_day]},
                )
                first.unlink()

    def load_records(self, parts: Mapping[date, Sequence[str]]) -> None:
        """Register `records`: those stored in these files."""
        files = _parquet([part for day in sorted(parts) for part in parts[day]])
        number = f"file_row_number + (CAST(file_index AS BIGINT) << {ROW_BITS})"  # without the cast, of 128 bits
        self._execute(
            f"CREATE OR REPLACE TEMP VIEW records AS SELECT {number} AS rec, date, file, {_LINE} AS line, "
            f"coalesce(ingest_id, file) AS body, {_FIELDS} FROM {files}"
        )

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


def _just_read(read: str) -> str:
    """Return the query of rows as they are written. They are in the order of their lines and need no number."""
    return f"SELECT CAST(NULL AS BIGINT) AS line, file, odd, {_FIELDS} FROM ({read})"


def _stored(files: Sequence[str]) -> str:
    """Return the same of rows that were written, with the number that they need once they are copied."""
    return f"SELECT {_LINE} AS line, file, odd, {_FIELDS} FROM {_parquet(files)}"


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
_LINE = "coalesce(line, file_row_number)"
_FORMAT = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"
"""Row groups are what threads take one at a time."""
