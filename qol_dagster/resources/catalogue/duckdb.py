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
        with duckdb.connect(":memory:", config=DUCKDB_SETTINGS) as database:
            named = _may_read(sql)
            _make_views(database, lake_dir.absolute(), _with_a_past(named) if moment else named, moment, span)
            for name in named:
                if name in REVISIONS_OF:
                    _make_log(database, lake_dir, name, REVISIONS_OF[name])
            folders = [f"{kind}{profile.suffix}" for kind in ("processed", "history") for profile in PROFILES.values()]
            _sandbox(database, [lake_dir.absolute() / folder for folder in folders])
            return QueryResult(database.sql(_reading_statement(database, sql)).to_arrow_table())
    except duckdb.Error as error:
        if damaged := _damaged_file(lake_dir, _may_read(sql), str(error)):
            raise CatalogueError(
                f"{damaged} is cut or damaged, and no query of its table can be answered", advice=_repair(damaged)
            ) from error
        raise CatalogueError(one_line(error)) from error


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


def _may_read(sql: str) -> list[str]:
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


def _make_views(
    database: duckdb.DuckDBPyConnection,
    lake_dir: Path,
    tables: Sequence[str],
    moment: Moment | None,
    span: Span | None,
) -> None:
    """For each view, DuckDB looks into all files of its table, or all in the span."""
    database.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in (name for name in tables if name in TABLES):
        folder, metrics = TABLES[table]
        declared = ", ".join(f'"{one.name}" {COLUMN_TYPES[one.type].duckdb}' for one in metrics)
        database.execute(f"CREATE TABLE {SCHEMA}.no_{table} ({declared})")
        # A column that older files lack is null, and a table without files is empty.
        rows = f"SELECT * FROM {SCHEMA}.no_{table}"
        if files := _past_files(moment, table) if moment else _current_files(lake_dir / folder, span):
            listed = ", ".join("'{}'".format(file.replace("'", "''")) for file in files)
            rows += (
                f" UNION ALL BY NAME SELECT * FROM read_parquet([{listed}], union_by_name = true, "
                "hive_partitioning = true, hive_types = {'date': VARCHAR})"
            )
        columns = ", ".join(f'"{one.name}"' for one in metrics)
        database.execute(f"CREATE VIEW {SCHEMA}.{table} AS SELECT {columns} FROM ({rows})")


def _current_files(folder: Path, span: Span | None) -> list[str]:
    """Return patterns for the files of a table that match any."""
    partitions = ["date=*"]
    if span:
        first, last = (f"date={one}" for one in span)
        partitions = sorted(one.name for one in folder.glob("date=*") if first <= one.name <= last)
    return [str(folder / one / FILES) for one in partitions if any(folder.glob(f"{one}/{FILES}"))]


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
