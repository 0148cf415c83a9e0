"""The tables of AWS in the form that a home has: the id map and the enrolments as SQLite files, and back.

Belongs here: copying all of a table as it is. No rule is applied on the way: what was noted of a person stays as it was
noted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_ingest.consent.state import DynamoState, StateRow, make_table
from qol_ingest.shared import sqlite
from qol_ingest.shared.errors import QolError, reason
from qol_ingest.shared.id_map_dynamo import CLAIM, COUNT, KEY, PENDING, DynamoIdMap, Item
from qol_ingest.shared.id_map_sqlite import COLUMNS, GIVEN, make_tables

if TYPE_CHECKING:
    from qol_dagster.settings import Settings


def tables_of(settings: Settings, client: Any = None) -> tuple[DynamoIdMap, DynamoState]:
    """Return the id map and the enrolments. `client`: of DynamoDB, if it is not that of this process."""
    return DynamoIdMap(settings.id_map_table, client), DynamoState(settings.enrolment_table, client)


def id_map_file(id_map: DynamoIdMap) -> bytes:
    """Return a map in DynamoDB as the bytes of a file of SQLite, the same for the same items."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        make_tables(database)
        for item in sorted(id_map.items(), key=itemgetter(KEY)):
            if item[KEY] == PENDING:
                continue
            if item[KEY].startswith(CLAIM):
                database.execute("INSERT INTO given_ids VALUES (?)", (item[KEY].removeprefix(CLAIM),))
            else:
                _insert_user(database, item)
        database.commit()
        return database.serialize()


def restore_id_map(file: Path, id_map: DynamoIdMap) -> None:
    """Write all that a file of SQLite has of who is who into an empty table; again, it changes nothing."""
    if file.exists():
        for item in _items(file):
            id_map.put_item(item)


def enrolment_file(state: DynamoState) -> bytes:
    """Return the table of enrolments as the bytes of a file of SQLite, the same for the same items."""
    with closing(sqlite3.connect(":memory:")) as database:
        make_table(database)
        insert = "INSERT INTO state (kind, name, content, version, keep_until) VALUES (?, ?, ?, ?, ?)"
        database.executemany(insert, sorted(state.rows()))
        database.commit()
        return database.serialize()


def restore_enrolment(file: Path, state: DynamoState) -> None:
    """Write all that a file of SQLite has of enrolments into an empty table; again, it changes nothing."""
    if file.exists():
        with sqlite.connection(file, _failure) as database:
            rows: Iterable[StateRow] = database.execute("SELECT kind, name, content, version, keep_until FROM state")
            for row in rows:
                state.put_row(row)


def _insert_user(database: sqlite3.Connection, item: Item) -> None:
    permissions = None if item["permissions"] is None else json.dumps(list(item["permissions"]))
    values = [permissions if name == "permissions" else item[name] for name in COLUMNS]
    places = ", ".join("?" * len(COLUMNS))
    database.execute(f"INSERT INTO user_id_map ({', '.join(COLUMNS)}) VALUES ({places})", values)
    for line in item["history"]:
        noted = (item[KEY], line["at"], line["what"], line["noted_at"])
        database.execute("INSERT INTO user_id_map_history VALUES (?, ?, ?, ?)", noted)


def _items(file: Path) -> Iterator[Item]:
    with sqlite.transaction(file, make_tables, _failure) as database:
        pending = 0
        for row in database.execute(f"SELECT {', '.join(COLUMNS)} FROM user_id_map"):
            user: dict[str, Any] = dict(row)
            lines = database.execute(
                "SELECT at, what, noted_at FROM user_id_map_history WHERE garmin_user_id = ? ORDER BY rowid",
                (user[KEY],),
            )
            permissions = None if user["permissions"] is None else json.loads(user["permissions"])
            pending += not user["participant_id"]
            yield {**user, "permissions": permissions, "history": [dict(line) for line in lines], "version": 1}
        for (participant,) in database.execute(GIVEN):
            if participant:
                yield {KEY: CLAIM + participant}
        yield {KEY: PENDING, COUNT: pending, "version": 1}


def _failure(error: Exception) -> QolError:
    return QolError(f"a table that was backed up cannot be read: {reason(error)}")
