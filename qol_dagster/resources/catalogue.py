"""`db_qol`, the tables people query, over the lake's Parquet.

Belongs here: the port, and its form for a lake in a folder: the views and the safe running of a statement. Nothing is
registered anywhere: the views are made in memory for each query, so there is no file to lock and a table always shows
the lake as it lies. A statement can read the lake's processed data and nothing else on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from qol_dagster.engines import DUCKDB_SETTINGS
from qol_dagster.errors import QolError
from qol_dagster.metrics import dictionary
from qol_dagster.metrics.ddl import LAYOUTS
from qol_dagster.profiles import PROFILES

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from qol_dagster.metrics.dictionary import Metric

SCHEMA = "db_qol"
TABLES: dict[str, tuple[str, tuple[Metric, ...]]] = {
    f"{LAYOUTS[name].name}{profile.suffix}": (f"{profile.folder}/{name}", metrics)
    for profile in PROFILES.values()
    for name, metrics in dictionary.TABLES.items()
}
"""Each table with its folder in the lake and its columns."""
LISTS_OF_TABLES = ("information_schema", "duckdb_", "pg_", "sqlite_")
"""In which DuckDB itself says what tables and columns there are."""

_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "list<float64>": "DOUBLE[]",
    "list<int64>": "BIGINT[]",
}


class CatalogueError(QolError):
    """A statement cannot be run; the message is the engine's reason in one line."""


@dataclass(frozen=True)
class QueryResult:
    """What a statement gave: one row per record, values in column order."""

    table: pa.Table

    @property
    def columns(self) -> list[str]:
        """Names of the columns; two may be the same."""
        return list(self.table.column_names)

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The rows as Python values."""
        return list(zip(*(column.to_pylist() for column in self.table.columns), strict=True))


class Catalogue(Protocol):
    """What answers questions on `db_qol.*`."""

    def query(self, sql: str) -> QueryResult:
        """Run one reading statement; a semicolon may end it. Raises CatalogueError."""


@dataclass(frozen=True)
class LocalCatalogue:
    """The tables of a lake in a folder."""

    lake_dir: Path

    def query(self, sql: str) -> QueryResult:
        """See `Catalogue`."""
        return query(self.lake_dir, sql)


def query(lake_dir: Path, sql: str) -> QueryResult:
    """Run one reading statement on `db_qol.*`. Raises CatalogueError."""
    import duckdb  # noqa: PLC0415

    try:
        with duckdb.connect(":memory:", config=DUCKDB_SETTINGS) as database:
            _make_views(database, lake_dir.absolute(), _may_read(sql))
            _shut_in(database, [lake_dir.absolute() / profile.folder for profile in PROFILES.values()])
            return QueryResult(database.sql(_reading_statement(database, sql)).to_arrow_table())
    except duckdb.Error as error:
        raise CatalogueError(one_line(error)) from error


def count_rows(catalogue: Catalogue, table: str, partitions: Sequence[str]) -> dict[str, int]:
    """Rows that `db_qol.<table>` shows for each of these partitions."""
    wanted = ", ".join(f"'{partition}'" for partition in partitions)
    counts = f"SELECT date, count(*) FROM {SCHEMA}.{table} WHERE date IN ({wanted}) GROUP BY date"
    return dict.fromkeys(partitions, 0) | dict(catalogue.query(counts).rows if wanted else ())


def _may_read(sql: str) -> list[str]:
    """The tables that a statement names, or all, if it names none or asks which there are."""
    text = sql.lower()
    named = [table for table in TABLES if table in text]
    return named if named and not any(word in text for word in LISTS_OF_TABLES) else list(TABLES)


def _make_views(database: duckdb.DuckDBPyConnection, lake_dir: Path, tables: Sequence[str]) -> None:
    """For each view, DuckDB looks into all files of its table."""
    database.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in tables:
        folder, metrics = TABLES[table]
        declared = ", ".join(f'"{one.name}" {_TYPES[one.type]}' for one in metrics)
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


def _shut_in(database: duckdb.DuckDBPyConnection, folders: Sequence[Path]) -> None:
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


def one_line(error: Exception) -> str:
    """An engine's reason, without the lines that point at a place in the statement."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not set(line) <= {"^", " "})
