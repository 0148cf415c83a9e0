"""`db_qol` on AWS: Athena over the Glue Data Catalog.

Belongs here: running a statement in a workgroup, giving up on one, and the types of what it gave. Which tables there
are is `metrics/ddl.py`'s; what a query may cost is the workgroup's to say, and what a person may read IAM's.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qol_dagster.resources.catalogue import SCHEMA, CatalogueError, QueryResult, Span, one_line

if TYPE_CHECKING:
    import pyarrow as pa

LIMIT_S = 300.0
POLL_S = 0.25
READ_S = 30.0
"""How long one page of a result may take."""
QUERIES = ("SELECT", "WITH", "VALUES", "TABLE")


@dataclass(frozen=True)
class AthenaCatalogue:
    """The tables as a workgroup sees them. A statement that takes longer than `limit_s` is cancelled."""

    workgroup: str
    limit_s: float = LIMIT_S

    def query(self, sql: str, *, span: Span | None = None) -> QueryResult:  # noqa: ARG002  # Athena prunes by the statement
        """See `Catalogue`."""
        from pyathena import connect
        from pyathena.error import Error

        from qol_ingest.shared import aws

        statement = reading_statement(sql)
        logging.getLogger("pyathena").setLevel(logging.CRITICAL)  # what it logs is in the errors it raises
        with (
            connect(
                session=aws.session(),
                config=aws.patience(READ_S),
                work_group=self.workgroup,
                schema_name=SCHEMA,
                poll_interval=POLL_S,
                on_poll=_watch(time.monotonic() + self.limit_s),
            ) as connection,
            connection.cursor() as cursor,
        ):
            try:
                cursor.execute(statement)
                return QueryResult(_table(cursor.description or (), cursor.fetchall()))
            except TimeoutError as error:
                with contextlib.suppress(Error):
                    cursor.cancel()
                raise CatalogueError(
                    f"Athena took longer than {self.limit_s:g} s and was stopped; ask for less, or for fewer weeks"
                ) from error
            except Error as error:
                raise CatalogueError(f"Athena: {one_line(error)}") from error


def reading_statement(sql: str) -> str:
    """Return the statement without the semicolon at its end. Raises CatalogueError unless it is one, and a query.

    In Athena's SQL, only a query begins with one of these words.
    """
    from sqlglot import TokenType, tokenize
    from sqlglot.errors import SqlglotError

    try:
        tokens = tokenize(sql, read="trino")
    except SqlglotError as error:
        raise CatalogueError("the statement cannot be read: a quote or comment in it has no end") from error
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    if any(one.token_type == TokenType.SEMICOLON for one in tokens):
        raise CatalogueError("give one statement; a semicolon stands within it")
    if next((one.text.upper() for one in tokens if one.text != "("), "") not in QUERIES:
        raise CatalogueError(f"tables of {SCHEMA} are read-only; give a SELECT")
    return sql[: tokens[-1].end + 1]


def _watch(until: float) -> Callable[[Any], None]:
    def poll(_execution: Any) -> None:
        if time.monotonic() > until:
            raise TimeoutError

    return poll


def _table(described: Sequence[Sequence[Any]], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Return the rows as Arrow has them; `described` has the name and Athena's type of each column."""
    import pyarrow as pa

    columns = [_column([row[at] for row in rows], str(column[1])) for at, column in enumerate(described)]
    return pa.Table.from_arrays(columns, names=[str(column[0]) for column in described])


def _column(values: Sequence[Any], type_: str) -> pa.Array:
    import pyarrow as pa

    types = {
        **dict.fromkeys(("tinyint", "smallint", "integer", "bigint"), pa.int64()),
        **dict.fromkeys(("float", "real", "double"), pa.float64()),
        # The tables' times are UTC, and Athena shows them without saying so.
        **dict.fromkeys(("timestamp", "timestamp with time zone"), pa.timestamp("us", tz="UTC")),
        **dict.fromkeys(("varchar", "char", "string"), pa.string()),
        "boolean": pa.bool_(),
        "date": pa.date32(),
    }
    try:
        return pa.array(values, types.get(type_))  # of arrays and the like, Arrow finds the type in the values
    except pa.ArrowException:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
