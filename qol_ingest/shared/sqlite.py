"""One SQLite file for several processes: who may read it, how long to wait for others, whole transactions.

Belongs here: opening a file and ending a transaction. Tables and the words of an error belong to the file's owner.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

PATIENCE_S = 30.0
"""How long to wait for another process that is writing."""

Failure = Callable[[Exception], Exception]
"""Makes the owner's error of a sqlite3.Error or an OSError."""


@contextmanager
def transaction(
    path: Path, prepare: Callable[[sqlite3.Connection], None], failure: Failure
) -> Iterator[sqlite3.Connection]:
    """Open a transaction that nobody else writes in; commit it at the end, roll it back on any error.

    `prepare` makes the tables as the first thing in it. The file is for its owner alone, as is its folder if missing.
    Raises `failure` of what SQLite raises, in the block too, and of an OSError before it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
    except OSError as error:
        raise failure(error) from error
    with connection(path, failure) as database:
        database.execute("PRAGMA secure_delete = ON")
        database.execute("BEGIN IMMEDIATE")
        prepare(database)
        yield database
        database.execute("COMMIT")  # not reached after an error: closing the connection rolls back


@contextmanager
def connection(path: Path, failure: Failure) -> Iterator[sqlite3.Connection]:
    """Open a file that exists, for reading without a transaction. Raises `failure` of what SQLite raises."""
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)) as database:
            database.row_factory = sqlite3.Row
            yield database
    except sqlite3.Error as error:
        raise failure(error) from error


def vacuum(path: Path, failure: Failure) -> None:
    """Write a file anew without what was deleted, so that no byte of it stays. Raises `failure`.

    Waits for others who write; readers that do not end in time make it fail.
    """
    with connection(path, failure) as database:
        database.execute("PRAGMA secure_delete = ON")
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
