"""The embedded engine: reads raw JSONL straight into typed records and runs the metrics' expressions.

Belongs here: how DuckDB reads each kind of field. Every line is parsed by DuckDB's JSON reader, each declared field
is taken out of it, nothing is inferred, and what does not fit its kind is null.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from qol_dagster.engines import DUCKDB_SETTINGS, EngineError, EngineName, RawFile
from qol_dagster.engines.lines import copy_lines
from qol_dagster.engines.odd_lines import write_plain
from qol_dagster.engines.queries import queries
from qol_dagster.engines.sql import ISO_TIME, OUR_TIME, as_flag, as_text, first_of, iso_ms, number_within
from qol_dagster.metrics.fields import FIELDS, NESTED, SCALARS, Field, Kind
from qol_ingest.shared.limits import LARGEST_NUMBER

if TYPE_CHECKING:
    from qol_dagster.metrics.thresholds import Thresholds

MB = 1024 * 1024
LONGEST_LINE_MB = 128
"""Longer lines cannot be records: Garmin's largest body is 100 MB."""
COMMON_LINE_MB = 16
WHOLE_BYTES = 64 * MB
"""So few are not worth being taken in parts."""
_OTHER_SPELLINGS = {name for field in FIELDS for name in field.garmin[1:] if name.lower() == field.garmin[0].lower()}
"""They differ from the documented name by case only, which two fields of a struct cannot."""
LONGEST_CHECKED = 4 * MB
"""Characters of a line up to which its keys are looked at; a whole day of samples has a fortieth of them."""
NESTED_HINTS = ("timeOffset", "sleepLevelsMap")
"""One of them is in each name under which something nested comes, and an underscore in none."""


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
        """Two thirds of the memory: read lines take about as much as their text."""
        return 2 * self.memory_mb * MB // 3

    @property
    def reading(self) -> str:
        """What is taken from a line at once, and what when it is asked for."""
        return f"{_records_sql(0)}; {_columns()}"

    def queries(self, thresholds: Thresholds) -> Mapping[str, str]:
        """Return the metrics in DuckDB's SQL."""
        return queries("duckdb", thresholds, self.work.parent)

    def load_records(self, days: Mapping[date, Sequence[RawFile]]) -> None:
        """Register `records`: all lines of these days' files, typed."""
        self._load(_files(days))

    def load_records_of(self, users: Sequence[str], days: Mapping[date, Sequence[RawFile]]) -> None:
        """The same of these users' lines alone."""
        self.connection.register("wanted_users", pa.table({"user_id": pa.array(users, pa.string())}))
        # Who a line is of that is no JSON at first sight, only a second look shows.
        files, texts = _files(days), _in_every_line_of(users)
        picked = _copies(files, self.work, "lines", lambda file, target: copy_lines(file, texts, target))
        with picked if texts else nullcontext(files) as fewer:
            self._load(fewer, f"WHERE json IS NULL OR {_USER} IN (SELECT user_id FROM wanted_users)")

    def _load(self, files: Sequence[_File], chosen: str = "") -> None:
        self._execute("DROP VIEW IF EXISTS records")
        self._execute("DROP TABLE IF EXISTS raw_records")
        self.connection.register("raw_files", _files_table(files))
        longest_mb, threads = _reading(max(file.size for file in files), self.memory_mb)
        self._set(threads=threads, preserve_insertion_order=False)
        read = _records_sql(longest_mb * MB, chosen)
        self._execute(f"CREATE TEMP TABLE raw_records AS {read}", {"paths": [file.path for file in files]})
        self._read_odd_again(files, read)
        parts = (os.cpu_count() or 1) if sum(file.size for file in files) > WHOLE_BYTES else 1
        self._execute(f"CREATE TEMP VIEW records AS {self._in_parts(parts)}")

    def _read_odd_again(self, files: Sequence[_File], read: str) -> None:
        """Replace the rows of files in which a line is odd by those of the same lines in their plain spelling."""
        rows = self.connection.execute("SELECT DISTINCT date, file FROM raw_records WHERE odd").fetchall()
        odd = [file for file in files if (file.date, file.name) in {*rows}]
        if not odd:
            return
        with _copies(odd, self.work, "plain", write_plain) as plain:
            self.connection.register("raw_files", _files_table(plain))
            self._execute("DELETE FROM raw_records WHERE (date, file) IN (SELECT date, file FROM raw_files)")
            self._set(threads=1, preserve_insertion_order=True)
            self._execute(f"INSERT INTO raw_records {read}", {"paths": [file.path for file in plain]})

    def _in_parts(self, parts: int) -> str:
        """Return all records, in parts of which each is worked on by a thread of its own.

        DuckDB gives a thread 122,880 rows at a time, which for records of thousands of samples each is nearly all of a
        batch. `rec` is the row's id: a numbering window would put all reading on one thread. What is nested stays text
        until it is asked for: then it is read of the chosen records alone, and is never in memory as a whole.
        """
        (rows,) = self.connection.execute("SELECT coalesce(max(rowid) + 1, 0) FROM raw_records").fetchone()
        bounds = [rows * number // parts for number in range(parts)] + [rows]
        within = (f"WHERE rowid >= {start} AND rowid < {end}" for start, end in pairwise(bounds))
        lines = " UNION ALL ".join(f"SELECT rowid AS rec, * FROM raw_records {part}" for part in within)
        return f"SELECT rec, date, file, {_columns()} FROM ({lines})"

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
    return [
        _File(file.uri, file.size, day.isoformat(), Path(file.uri).stem)
        for day, files in days.items()
        for file in files
    ]


def _files_table(files: Sequence[_File]) -> pa.Table:
    return pa.table(
        {
            "filename": [file.path for file in files],
            "date": [file.date for file in files],
            "file": [file.name for file in files],
        },
        schema=pa.schema({"filename": pa.string(), "date": pa.string(), "file": pa.string()}),
    )


def _reading(largest_file: int, memory_mb: int) -> tuple[int, int]:
    """Return the longest line to be ready for (MB), and with how many threads.

    DuckDB reads into two buffers of that length for each thread, whatever the files' sizes, and holds a long line
    several times; a quarter of the memory for the buffers leaves enough for that.
    """
    possible = min(LONGEST_LINE_MB, memory_mb // 8)
    longest_mb = min(possible, max(COMMON_LINE_MB, largest_file // MB + 1))
    return longest_mb, max(1, min(os.cpu_count() or 1, memory_mb // 4 // (2 * longest_mb)))


_USER = """json_transform(json, '{"userId": "VARCHAR"}').userId"""
"""Of a line the user alone, which is read as `_records_sql` reads it."""
FEW_USERS = 4
"""So few are looked for in the text, before any of it is parsed."""
PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def _in_every_line_of(users: Sequence[str]) -> list[bytes]:
    """Return texts of which one stands in every line of these users; none if that is unknown, or they are many.

    A name stands in a line as it is but for what a backslash spells; a number, and an object, may be spelled otherwise.
    """
    plain = all(PLAIN.fullmatch(user) and not _is_number(user) for user in users)
    return [b"\\", *(user.encode() for user in users)] if plain and len(users) <= FEW_USERS else []


@contextmanager
def _copies(files: Sequence[_File], work: Path, kind: str, copy: Callable[[Path, Path], bool]) -> Iterator[list[_File]]:
    """Yield copies of files for a while, under their old names, as far as `copy` made one."""
    places = {file: work / f"{kind}-{number}.jsonl" for number, file in enumerate(files)}
    try:
        try:
            copied = [file for file, place in places.items() if copy(Path(file.path), place)]
        except OSError as error:
            raise EngineError(f"lines could not be taken out of raw/: {error.strerror} ({error.filename})") from error
        yield [dataclasses.replace(file, path=str(places[file]), size=places[file].stat().st_size) for file in copied]
    finally:
        for place in places.values():
            place.unlink(missing_ok=True)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _records_sql(longest_line: int, chosen: str = "") -> str:
    """Records of `$paths` in one pass over the bytes; what is nested is still in the line's text, which is kept."""
    # In two steps, as DuckDB works out what stands in a CASE as often as it stands there.
    found = [f"{_found(name, field.kind)} AS {label}" for field in SCALARS for label, name in _labelled(field)]
    columns = [f"{_value(field)} AS {field.name}" for field in SCALARS]
    return f"""
        SELECT raw_files.date AS date, raw_files.file AS file, {", ".join(columns)}, {_kept_text()} AS text,
               CASE WHEN json IS NULL THEN true
                    WHEN NOT {_OURS} AND length(json) <= {LONGEST_CHECKED} THEN {_differently_read()}
                    ELSE false END AS odd
        FROM (
            SELECT filename, json, {", ".join(found)}
            FROM (
                SELECT filename, json, json_transform(json, '{json.dumps(_structure())}') AS line
                FROM read_json_objects($paths, format = 'newline_delimited', ignore_errors = true, filename = true,
                                       hive_partitioning = false, maximum_object_size = {longest_line})
                {chosen}
            )
        ) AS lines
        JOIN raw_files ON raw_files.filename = lines.filename
    """


_OURS = "coalesce(ingest_id_0 = raw_files.file AND length(raw_files.file) = 64, false)"
"""Whether the receiver wrote the line: it takes no line that parsers read differently."""


def _differently_read() -> str:
    """Whether DuckDB reads what is no JSON, or the first of two values of a key, of which the last one counts."""
    twice = "list_unique(json_keys(json)) <> len(json_keys(json))"
    trailing = "regexp_matches(json, ',[ \\t\\r\\n]*[]}]')"
    samples = " OR ".join(_offset_twice(field.garmin[0]) for field in FIELDS if field.kind == "samples")
    return f"CASE WHEN {twice} OR {trailing} THEN true ELSE {samples} END"


def _offset_twice(name: str) -> str:
    """Whether an offset comes twice in a sample map. That none does is seen at once where they rise."""
    keys = f"json_keys(json, '$.{name}')"
    highest = f"list_reduce(TRY_CAST({keys} AS DOUBLE[]), lambda a, b: CASE WHEN a < b THEN b END, -{LARGEST_NUMBER})"
    return (
        f"CASE WHEN NOT contains(json, '{name}') THEN false WHEN {highest} IS NOT NULL THEN false "
        f"ELSE coalesce(list_unique({keys}) <> len({keys}), false) END"
    )


def _kept_text() -> str:
    """Return the line, if anything nested may be in it, without underscores, which DuckDB alone allows in a number."""
    unescaped = r"CASE WHEN contains(json, '\') THEN json(json) ELSE json END"
    hinted = " OR ".join(f"contains(json, '{hint}')" for hint in ("\\", *NESTED_HINTS))  # a backslash may spell them
    return f"CASE WHEN {hinted} THEN replace({unescaped}, '_', '?') END"


def _columns() -> str:
    return ", ".join(_nested(field) if field.kind in NESTED else field.name for field in FIELDS)


def _structure() -> dict[str, Any]:
    """Return what is taken out of a line at once: scalars as text, whatever they are."""
    structure: dict[str, Any] = {}
    for field in SCALARS:
        for name in field.garmin:
            above, _, below = name.partition(".")
            if below:
                structure.setdefault(above, {})[below] = "VARCHAR"
            elif name not in _OTHER_SPELLINGS:
                structure[name] = "VARCHAR"
    return structure


def _labelled(field: Field) -> list[tuple[str, str]]:
    """Return each name a scalar goes by, with a column's name for it."""
    return [(f"{field.name}_{number}", name) for number, name in enumerate(field.garmin)]


def _found(name: str, kind: Kind) -> str:
    text = f"line.{name}"
    if name in _OTHER_SPELLINGS:
        text = f"CASE WHEN contains(json, '{name}') THEN json_extract_string(json, '$.{name}') END"
    # DuckDB alone takes 1_000 for a number. NaN and infinities are beyond the largest.
    return f"TRY_CAST(replace({text}, '_', '?') AS DOUBLE)" if kind == "number" else text


def _value(field: Field) -> str:
    return first_of([_READERS[field.kind](label, field) for label, _ in _labelled(field)])


def _time(text: str, _field: Field) -> str:
    """As the receiver writes it at once; in other spellings part by part."""
    ours = f"epoch_ms(TRY_CAST(replace({text}, 'Z', '') AS TIMESTAMP))"
    other = iso_ms(text, date_ms="epoch_ms(TRY_CAST({} AS TIMESTAMP))")
    return f"CASE WHEN {text} LIKE '{OUR_TIME}' THEN {ours} WHEN regexp_matches({text}, '{ISO_TIME}') THEN {other} END"


_READERS = {"number": number_within, "text": as_text, "flag": as_flag, "time": _time}


def _nested(field: Field) -> str:
    return f"{_LISTS[field.kind](f'$.{field.garmin[0]}')} AS {field.name}"


def _samples(path: str) -> str:
    # An object's keys and values come in the same order.
    offsets = f"TRY_CAST(json_keys(text, '{path}') AS DOUBLE[])"
    values = f"TRY_CAST(json_extract_string(text, '{path}.*') AS DOUBLE[])"
    return f"{{'t': {offsets}, 'v': {values}}}"


def _intervals(path: str) -> str:
    ends = f"TRY_CAST(json_extract_string(text, '{path}.*[*].endTimeInSeconds') AS DOUBLE[])"
    return f"list_filter({ends}, lambda x: abs(x) <= {LARGEST_NUMBER})"


def _spans(path: str) -> str:
    start, end = (f"TRY_CAST(json_extract_string(x, '$.{side}TimeInSeconds') AS DOUBLE)" for side in ("start", "end"))
    spans = f"TRY_CAST(json_extract(text, '{path}') AS JSON[])"
    spans = f"list_transform({spans}, lambda x: {{'s': {start}, 'e': {end}}})"
    return f"list_filter({spans}, lambda x: abs(x.s) <= {LARGEST_NUMBER} AND abs(x.e) <= {LARGEST_NUMBER})"


_LISTS = {"samples": _samples, "intervals": _intervals, "spans": _spans}
