"""`db_qol` on a laptop: views over the Parquet of a lake in a folder.

Belongs here: the views and the safe running of a statement. Nothing is registered anywhere:
the views are made in memory for each query, so there is no file to lock and a table always shows what is stored.
A statement can read the lake's processed data and nothing else on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.engines import DUCKDB_SETTINGS
from qol_dagster.lake.history import keys_of, revisions_of, verify_objects
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.past import Moment
from qol_dagster.lake.tables import arrow_schema
from qol_dagster.metrics.dictionary import REVISIONS
from qol_dagster.metrics.dictionary.revisions import UNTIL
from qol_dagster.metrics.profiles import DEFAULT, PROFILES
from qol_dagster.metrics.tables import TableId, all_tables
from qol_dagster.metrics.types import COLUMN_TYPES
from qol_dagster.resources.catalogue import SCHEMA, CatalogueError, QueryResult, Span, one_line
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.tables import survey_folder
from qol_ingest.shared.keys import HISTORY, PROCESSED

if TYPE_CHECKING:
    import duckdb

    from qol_dagster.metrics.dictionary import Metric

TABLES: dict[str, tuple[str, tuple[Metric, ...]]] = {
    **{table.name: (table.folder, table.columns) for table in all_tables()},
    **{name: (survey_folder(name), columns) for name, columns in SURVEY_TABLES.items()},
}
"""Each table with its folder in the lake and its columns."""
TABLE_IDS = {table.name: table for table in all_tables()}
REVISIONS_OF = {table.revisions: table for table in all_tables()}
"""Each log of revisions with its table."""
UNTIL_SQL = "lead(valid_from) OVER (PARTITION BY date ORDER BY revision)"
FILES = "[!._]*.parquet"
"""Of a partition; what begins otherwise is being written, or of another program."""
NOT_ALIKE = ("schema mismatch", "failed to cast column")
"""What DuckDB says where a file has other columns than the first one."""
LISTS_OF_TABLES = ("information_schema", "duckdb_", "pg_", "sqlite_")
"""In which DuckDB itself says what tables and columns there are."""


@dataclass(frozen=True)
class LocalCatalogue:
    """The tables of a lake in a folder, as they were at a moment if one is given."""

    lake_dir: Path
    moment: Moment | None = None

    def query(self, sql: str, *, span: Span | None = None) -> QueryResult:
        """See `Catalogue`."""
        return query(self.lake_dir, sql, self.moment, span)


def query(lake_dir: Path, sql: str, moment: Moment | None = None, span: Span | None = None) -> QueryResult:
    """Run one reading statement on `db_qol.*`. Raises CatalogueError, and HistoryError for a past that is damaged."""
    import duckdb

    try:
        try:
            return _answer(lake_dir, sql, moment, span, alike=True)
        except duckdb.Error as error:
            if not any(words in str(error) for words in NOT_ALIKE):
                raise
            return _answer(lake_dir, sql, moment, span, alike=False)
    except duckdb.Error as error:
        if damaged := _damaged_file(lake_dir, tables_read_by(sql), str(error)):
            raise CatalogueError(
                f"{damaged} is cut or damaged, and no query that looks into it can be answered", advice=_repair(damaged)
            ) from error
        raise CatalogueError(one_line(error)) from error


def _answer(lake_dir: Path, sql: str, moment: Moment | None, span: Span | None, *, alike: bool) -> QueryResult:
    """Run a statement over views that take all files of a table to have the same columns, or over any others."""
    import duckdb

    with duckdb.connect(":memory:", config=DUCKDB_SETTINGS) as database:
        database.execute(f"CREATE SCHEMA {SCHEMA}")
        named = tables_read_by(sql)
        for table in (name for name in (_with_a_past(named) if moment else named) if name in TABLES):
            folder = lake_dir.absolute() / TABLES[table][0]
            files = _past_files(moment, table) if moment else _current_files(folder, span)
            _make_view(database, table, files, alike=alike)
        for name in named:
            if name in REVISIONS_OF:
                _make_log(database, lake_dir, name, REVISIONS_OF[name])
        folders = [f"{kind}{profile.suffix}" for kind in (PROCESSED, HISTORY) for profile in PROFILES.values()]
        _sandbox(database, [lake_dir.absolute() / folder for folder in folders])
        return QueryResult(database.sql(_reading_statement(database, sql)).to_arrow_table())


def _damaged_file(lake_dir: Path, tables: Sequence[str], reason: str) -> Path | None:
    """Return a file of these tables that is no whole Parquet file: the one that DuckDB names, or the first there is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if "arquet" not in reason:
        return None
    named = [one for one in map(Path, re.findall(r"(/[^'\"]+?\.parquet)", reason)) if _is_of(one, lake_dir)]
    folders = [lake_dir / TABLES[table][0] for table in tables if table in TABLES]
    every = (file for folder in folders for file in sorted(folder.glob(f"date=*/{FILES}")))
    for file in (*named, *every):
        try:
            pq.ParquetFile(file).read(use_threads=False)
        except (OSError, pa.ArrowException):
            return file
    return None


def _is_of(file: Path, lake_dir: Path) -> bool:
    """Return whether this is a partition's file: a statement may name others, which no run writes anew."""
    return file.is_relative_to(lake_dir.absolute()) and file.parent.name.startswith("date=") and file.is_file()


def _repair(file: Path) -> str:
    """Return what to do about a damaged file."""
    week = file.parent.name.removeprefix("date=")
    profile = next((one for one in PROFILES.values() if one.folder == file.parents[2].name), DEFAULT)
    option = "" if profile is DEFAULT else f" --profile {profile.name}"
    return f"Write it anew from the raw files: qol materialize --week {week}{option}"


def tables_read_by(sql: str) -> list[str]:
    """Return the tables that a statement names, or all, if it names none or asks which there are."""
    text = sql.lower()
    everything = [*TABLES, *REVISIONS_OF]
    named = [table for table in everything if re.search(rf"\b{table}\b", text)]
    return named if named and not any(word in text for word in LISTS_OF_TABLES) else everything


def _with_a_past(named: Sequence[str]) -> list[str]:
    """Return the tables that have revisions; of those that have none, only the present can be asked."""
    if len(named) < len(TABLES) and (without := [name for name in named if name not in {*TABLE_IDS, *REVISIONS_OF}]):
        raise CatalogueError(f"{', '.join(without)} has no revisions: leave --as-of out")
    return [name for name in named if name in TABLE_IDS]


def _make_view(database: duckdb.DuckDBPyConnection, table: str, files: Sequence[str], *, alike: bool) -> None:
    """Make a table's view over its files; a column that older files lack is null, and a table without files is empty.

    Where the first and the last have all columns, the others are taken to be like them until DuckDB finds one that is
    not. Else it looks into every file before it answers, however few dates a statement asks for.
    """
    metrics = TABLES[table][1]
    declared = ", ".join(f'"{one.name}" {COLUMN_TYPES[one.type].duckdb}' for one in metrics)
    database.execute(f"CREATE TABLE {SCHEMA}.no_{table} ({declared})")
    rows = f"SELECT * FROM {SCHEMA}.no_{table}"
    if files:
        by_name = not (alike and all(_has_columns(file, metrics) for file in {files[0], files[-1]}))
        listed = ", ".join("'{}'".format(file.replace("'", "''")) for file in files)
        rows += (
            f" UNION ALL BY NAME SELECT * FROM read_parquet([{listed}], union_by_name = {by_name}, "
            "hive_partitioning = true, hive_types = {'date': VARCHAR})"
        )
    columns = ", ".join(f'"{one.name}"' for one in metrics)
    database.execute(f"CREATE VIEW {SCHEMA}.{table} AS SELECT {columns} FROM ({rows})")


def _has_columns(file: str, metrics: Sequence[Metric]) -> bool:
    """Return whether a file has all of a table's columns in their types; its date is that of its folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException):
        return False  # DuckDB says what is wrong with it
    wanted = arrow_schema([one for one in metrics if one.name != "date"])
    return all(one.name in schema.names and schema.field(one.name).type == one.type for one in wanted)


def _current_files(folder: Path, span: Span | None) -> list[str]:
    """Return the files of a table, by date."""
    first, last = (f"date={one}" for one in span or ("", "~"))
    return [str(file) for file in sorted(folder.glob(f"date=*/{FILES}")) if first <= file.parent.name <= last]


def _past_files(moment: Moment, table: str) -> list[str]:
    """Return the files of a table's rows at a moment, each compared with its hash. Raises HistoryError."""
    keys = keys_of(moment.states(TABLE_IDS[table]))
    verify_objects(moment.lake, keys)
    return [moment.lake.local_path(key) for key in keys]


def _make_log(database: duckdb.DuckDBPyConnection, lake_dir: Path, name: str, table: TableId) -> None:
    """Put a table's revisions into one of DuckDB's: always all of them, whatever moment is asked for."""
    import pyarrow as pa

    columns = [one for one in REVISIONS if one.name != UNTIL]
    revisions = revisions_of(Lake.local(lake_dir, table.profile.folder), table.table) if lake_dir.is_dir() else []
    rows = pa.Table.from_pylist([one.as_row() for one in revisions], schema=arrow_schema(columns))
    database.register(f"log_of_{name}", rows)
    shown = ", ".join(f"{UNTIL_SQL} AS {UNTIL}" if one.name == UNTIL else f'"{one.name}"' for one in REVISIONS)
    database.execute(f"CREATE TABLE {SCHEMA}.{name} AS SELECT {shown} FROM log_of_{name} ORDER BY date, revision")
    database.unregister(f"log_of_{name}")


def _sandbox(database: duckdb.DuckDBPyConnection, folders: Sequence[Path]) -> None:
    """From here on, statements reach these folders and cannot change that."""
    allowed = ", ".join(f"'{str(folder).replace(chr(39), chr(39) * 2)}/'" for folder in folders)
    database.execute(f"SET allowed_directories = [{allowed}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def _reading_statement(database: duckdb.DuckDBPyConnection, sql: str) -> str:
    statements = database.extract_statements(sql)
    if len(statements) != 1:
        raise CatalogueError(f"give one statement; there are {len(statements)}")
    # EXPLAIN is none of them: EXPLAIN ANALYZE runs what it explains. MULTI is PIVOT.
    if statements[0].type.name not in ("SELECT", "MULTI"):
        raise CatalogueError(f"tables of {SCHEMA} are read-only; give a SELECT")
    return sql
