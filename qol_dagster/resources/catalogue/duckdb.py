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
from qol_dagster.metrics.profiles import DEFAULT, PROFILES
from qol_dagster.metrics.tables import all_tables
from qol_dagster.metrics.types import COLUMN_TYPES
from qol_dagster.resources.catalogue import SCHEMA, CatalogueError, QueryResult, one_line
from qol_dagster.surveys.dictionary import SURVEY_TABLES

if TYPE_CHECKING:
    import duckdb

    from qol_dagster.metrics.dictionary import Metric

TABLES: dict[str, tuple[str, tuple[Metric, ...]]] = {
    **{table.name: (table.folder, table.columns) for table in all_tables()},
    **{name: (f"{DEFAULT.folder}/{name}", columns) for name, columns in SURVEY_TABLES.items()},
}
"""Each table with its folder in the lake and its columns."""
LISTS_OF_TABLES = ("information_schema", "duckdb_", "pg_", "sqlite_")
"""In which DuckDB itself says what tables and columns there are."""


@dataclass(frozen=True)
class LocalCatalogue:
    """The tables of a lake in a folder."""

    lake_dir: Path

    def query(self, sql: str) -> QueryResult:
        """See `Catalogue`."""
        return query(self.lake_dir, sql)


def query(lake_dir: Path, sql: str) -> QueryResult:
    """Run one reading statement on `db_qol.*`. Raises CatalogueError."""
    import duckdb

    try:
        with duckdb.connect(":memory:", config=DUCKDB_SETTINGS) as database:
            _make_views(database, lake_dir.absolute(), _may_read(sql))
            _sandbox(database, [lake_dir.absolute() / profile.folder for profile in PROFILES.values()])
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

    named = [Path(one) for one in re.findall(r"(/[^'\"]+?\.parquet)", reason)]
    if not named and "arquet" not in reason:
        return None
    every = (file for table in tables for file in sorted((lake_dir / TABLES[table][0]).glob("date=*/[!._]*.parquet")))
    for file in (*named, *every):
        try:
            pq.ParquetFile(file).read(use_threads=False)
        except (OSError, pa.ArrowException):
            return file
    return None


def _repair(file: Path) -> str:
    """Return what to do about a damaged file."""
    week = file.parent.name.removeprefix("date=")
    profile = next((one for one in PROFILES.values() if one.folder == file.parents[2].name), DEFAULT)
    option = "" if profile is DEFAULT else f" --profile {profile.name}"
    return f"Write it anew from the raw files: qol materialize --week {week}{option}"


def _may_read(sql: str) -> list[str]:
    """Return the tables that a statement names, or all, if it names none or asks which there are."""
    text = sql.lower()
    named = [table for table in TABLES if table in text]
    return named if named and not any(word in text for word in LISTS_OF_TABLES) else list(TABLES)


def _make_views(database: duckdb.DuckDBPyConnection, lake_dir: Path, tables: Sequence[str]) -> None:
    """For each view, DuckDB looks into all files of its table."""
    database.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in tables:
        folder, metrics = TABLES[table]
        declared = ", ".join(f'"{one.name}" {COLUMN_TYPES[one.type].duckdb}' for one in metrics)
        database.execute(f"CREATE TABLE {SCHEMA}.no_{table} ({declared})")
        # A column that older files lack is null, and a table without files is empty.
        rows = f"SELECT * FROM {SCHEMA}.no_{table}"
        if any((lake_dir / folder).glob("date=*/[!._]*.parquet")):
            files = str(lake_dir / folder / "date=*" / "[!._]*.parquet").replace("'", "''")
            rows += (
                f" UNION ALL BY NAME SELECT * FROM read_parquet('{files}', union_by_name = true, "
                "hive_partitioning = true, hive_types = {'date': VARCHAR})"
            )
        columns = ", ".join(f'"{one.name}"' for one in metrics)
        database.execute(f"CREATE VIEW {SCHEMA}.{table} AS SELECT {columns} FROM ({rows})")


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
