"""SQLite files without a person: rows changed or removed, and no byte of what was there before.

Belongs here: Dagster's databases, of which any text may name a participant, and the open invitations.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from qol_dagster.erasure import ErasureError
from qol_dagster.erasure.names import Person, scrub
from qol_ingest.shared import sqlite

MAGIC = b"SQLite format 3\0"


def is_database(path: Path) -> bool:
    """Return whether a file is SQLite's."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def naming_values(path: Path, person: Person) -> Iterator[tuple[str, str, int, str]]:
    """Yield table, column, rowid and text of each value that names the person. Raises ErasureError."""
    with _opened(path) as database:
        for table, column in _columns(database):
            for rowid, value in database.execute(f'SELECT rowid, "{column}" FROM "{table}"'):
                text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
                if isinstance(text, str) and person.is_named_in_text(text):
                    yield table, column, rowid, text


def scrub_database(path: Path, person: Person) -> int:
    """Take the person out of all texts of a file, and return how many changed. Raises ErasureError."""
    found = list(naming_values(path, person))
    if found:
        with _opened(path) as database:
            database.execute("PRAGMA secure_delete = ON")
            database.execute("BEGIN IMMEDIATE")
            for table, column, rowid, text in found:
                new: str | bytes = scrub(text, person)
                database.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (new, rowid))
            database.execute("COMMIT")
    if found or is_in_bytes(path, person):
        sqlite.vacuum(path, lambda error: _failure(path, error))
    return len(found)


def remove_invitations(path: Path, person: Person, *, dry_run: bool = False) -> int:
    """Remove what names a participant from invitations, sign-ins, links and forms under way. Raises ErasureError."""
    with _opened(path) as database:
        database.execute("PRAGMA secure_delete = ON")
        rows = database.execute("SELECT rowid, kind, name, content FROM state").fetchall()
        gone = [rowid for rowid, kind, name, content in rows if is_invitation_of(kind, name, content, person)]
        if dry_run:
            return len(gone)
        database.executemany("DELETE FROM state WHERE rowid = ?", [(one,) for one in gone])
    if gone or is_in_bytes(path, person):
        sqlite.vacuum(path, lambda error: _failure(path, error))
    return len(gone)


def is_invitation_of(kind: str, name: str, content: str, person: Person) -> bool:
    """Return whether an invitation, a sign-in, a link or a form under way is the person's."""
    return _owner(kind, name) in person.participants or _names(content, person)


def is_in_bytes(path: Path, person: Person) -> bool:
    """Return whether the bytes of a database, or of its journals, name the person: also those of deleted rows."""
    beside = [path.with_name(path.name + ending) for ending in ("", "-wal", "-journal")]
    return any(person.is_named_in(one.read_bytes()) for one in beside if one.is_file())


def _owner(kind: str, name: str) -> str:
    """Return whose an entry is: a form's name is the participant and the wave."""
    return name.rpartition(".")[0] if kind == "survey" else name


def _names(content: str, person: Person) -> bool:
    try:
        values = json.loads(content).values()
    except (ValueError, AttributeError):
        return person.is_named_in_text(content)
    return any(one in person.participants or person.is_user(one) for one in values)


def _columns(database: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (table, row[1])
        for table in tables
        if not table.startswith("sqlite_")
        for row in database.execute(f'PRAGMA table_info("{table}")')
    ]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file; errors of SQLite are ours."""
    try:
        with closing(sqlite3.connect(path, timeout=sqlite.PATIENCE_S, isolation_level=None)) as database:
            yield database
    except sqlite3.Error as error:
        raise _failure(path, error) from error


def _failure(path: Path, error: Exception) -> ErasureError:
    return ErasureError(
        f"{path} cannot be cleared of the person: {error}",
        advice="Stop what uses it (`qol dev`), or free some space, and give the same command again",
    )
