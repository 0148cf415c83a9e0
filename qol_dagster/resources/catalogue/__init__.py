"""`db_qol`, the tables people query.

Belongs here: the port and what its two forms share. Their SQL engines are in `duckdb.py` and `athena.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from qol_dagster.errors import QolError
from qol_dagster.metrics.tables import DATABASE as SCHEMA

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SCHEMA", "Catalogue", "CatalogueError", "QueryResult", "Span", "count_rows", "one_line"]


Span = tuple[str, str]
"""The first and the last `date` of some partitions."""


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

    def query(self, sql: str, *, span: Span | None = None) -> QueryResult:
        """Run one reading statement; a semicolon may end it. Raises CatalogueError.

        With a span, the statement itself asks for no other partitions, and none need be looked into.
        """


def count_rows(catalogue: Catalogue, table: str, partitions: Sequence[str]) -> dict[str, int]:
    """Return rows that `db_qol.<table>` shows for each of these partitions."""
    wanted = ", ".join(f"'{partition}'" for partition in partitions)
    counts = f"SELECT date, count(*) FROM {SCHEMA}.{table} WHERE date IN ({wanted}) GROUP BY date"
    if not partitions:
        return {}
    return dict.fromkeys(partitions, 0) | dict(catalogue.query(counts, span=(min(partitions), max(partitions))).rows)


def one_line(error: Exception) -> str:
    """Return an engine's reason, without the lines that point at a place in the statement."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not set(line) <= {"^", " "})
