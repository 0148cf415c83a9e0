"""`user_id_map` in one SQLite file: the map of `id_map` on one machine, safe for several processes.

Belongs here: the tables, and how each change becomes one transaction. What may be changed, and how, is `id_map`'s.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from qol_ingest.shared import id_map, sqlite
from qol_ingest.shared.erasures import AnyLedger
from qol_ingest.shared.id_map import (
    LEFT,
    LEFT_AT_GARMIN,
    NOTHING_TO_WITHDRAW,
    SEEN_STEP,
    TOO_MANY_PENDING,
    Change,
    Enrolment,
    IdMapError,
    Imported,
    LeftError,
    Row,
    Status,
    allowed_of,
    check_participant,
    check_stays,
    check_swapped,
    check_user,
    free_ids,
    is_user,
    list_,
    past_text,
    permissions_line,
    readmit,
    text_of,
    unless_ahead,
    without_withdrawn,
)

COLUMNS = {
    "garmin_user_id": "TEXT PRIMARY KEY",
    "participant_id": "TEXT NOT NULL",
    "status": "TEXT NOT NULL",
    "created_at": "TEXT NOT NULL",
    "updated_at": "TEXT NOT NULL",
    # Later than the first release: an older file gets them when it is next written.
    "enrolled_at": "TEXT NOT NULL DEFAULT ''",
    "status_before": "TEXT NOT NULL DEFAULT ''",
    "status_at": "TEXT NOT NULL DEFAULT ''",
    "permissions": "TEXT",
    "permissions_at": "TEXT NOT NULL DEFAULT ''",
    "seen_at": "TEXT NOT NULL DEFAULT ''",
    "withdrawn_from": "TEXT NOT NULL DEFAULT ''",
}
_HISTORY = """
    CREATE TABLE IF NOT EXISTS user_id_map_history (
        garmin_user_id TEXT NOT NULL, at TEXT NOT NULL, what TEXT NOT NULL, noted_at TEXT NOT NULL
    )
"""
GIVEN = "SELECT participant_id FROM user_id_map UNION SELECT participant_id FROM given_ids"
_IS_GIVEN = """
    SELECT 1 FROM user_id_map WHERE participant_id = ?1 UNION ALL SELECT 1 FROM given_ids WHERE participant_id = ?1
"""
_PARTICIPANT_INDEX = """
    CREATE INDEX IF NOT EXISTS user_id_map_by_participant ON user_id_map (participant_id)
"""
_HISTORY_INDEX = """
    CREATE INDEX IF NOT EXISTS user_id_map_history_by_user ON user_id_map_history (garmin_user_id)
"""


@dataclass(frozen=True)
class SqliteIdMap:
    """The map in a SQLite file; a missing file is an empty map."""

    path: Path
    ledger: AnyLedger | None = None
    """Who withdrew or was erased, and is enrolled again only by a new decision."""

    def add(
        self,
        garmin_user_id: str,
        participant_id: str | None = None,
        *,
        at: datetime | None = None,
        after_leaving: bool = False,
    ) -> str:
        """See `IdMap`."""
        with self._write() as database:
            return _add(
                database,
                garmin_user_id,
                participant_id,
                self._free_ids(database),
                at=past_text(at),
                left=() if after_leaving else LEFT_AT_GARMIN,
                ledger=self.ledger,
            )

    def enrol(self, users: Iterable[str], *, at: datetime | None = None) -> int:
        """See `IdMap`."""
        as_of = past_text(at)
        with self._write() as database:
            free = self._free_ids(database)
            return sum(bool(_add(database, user, None, free, at=as_of, ledger=self.ledger)) for user in users)

    def import_rows(self, rows: Iterable[Row], *, after_leaving: bool = False) -> Imported:
        """See `IdMap`."""
        done, left = 0, []
        with self._write() as database:
            for number, (user, participant, *enrolled_at) in enumerate(rows, start=1):
                try:
                    check_participant(participant.strip(), user)
                    _add(
                        database,
                        user,
                        participant,
                        self._free_ids(database),
                        *map(past_text, enrolled_at),
                        left=() if after_leaving else LEFT,
                        ledger=self.ledger,
                    )
                except LeftError as error:
                    left.append(f"entry {number}: {error}")
                except IdMapError as error:
                    raise IdMapError(f"entry {number}: {error}; nobody was enrolled") from error
                else:
                    done += 1
        return Imported(done, tuple(left))

    def list(self) -> list_[Enrolment]:
        """See `IdMap`."""
        return self._read("SELECT * FROM user_id_map ORDER BY participant_id, garmin_user_id")

    def get(self, garmin_user_id: str) -> Enrolment | None:
        """See `IdMap`."""
        if not is_user(garmin_user_id):
            return None
        found = self._read("SELECT * FROM user_id_map WHERE garmin_user_id = ?", garmin_user_id)
        return found[0] if found else None

    def revoke(self, participant_id: str) -> int:
        """See `IdMap`."""
        now = _now()
        with self._write() as database:
            users = _users_of(database, participant_id)
            for user in users:
                _set_status(database, user, "revoked", now)
        if not users:
            raise IdMapError(f"there is no participant {participant_id}; `qol participants list` shows who there is")
        return len(users)

    def withdraw(self, participant_id: str, since: date) -> int:
        """See `IdMap`."""
        with self._write() as database:
            users = _users_of(database, participant_id)
            if not users:
                raise IdMapError(
                    f"there is no participant {participant_id}; `qol participants list` shows who there is"
                )
            for user in users:
                row = _row(database, user)
                if row is None or row["status"] in ("revoked", "erasing"):
                    raise IdMapError(NOTHING_TO_WITHDRAW.format(participant_id))
                if row["status"] == "withdrawn":
                    continue
                _set_status(database, user, "withdrawn", _now())
                database.execute(
                    "UPDATE user_id_map SET withdrawn_from = ? WHERE garmin_user_id = ?", (since.isoformat(), user)
                )
        return len(users)

    def begin_erasure(self, users: Iterable[str]) -> None:
        """See `IdMap`."""
        with self._write() as database:
            for user in users:
                _set_status(database, user, "erasing", _now())

    def end_erasure(self, users: Iterable[str], participants: Iterable[str]) -> None:
        """See `IdMap`. No byte of them stays in the file."""
        if not self.path.exists():
            return
        with self._write() as database:
            for user in users:
                for table in ("user_id_map", "user_id_map_history"):
                    database.execute(f"DELETE FROM {table} WHERE garmin_user_id = ?", (user,))
            for participant in participants:
                database.execute("DELETE FROM given_ids WHERE participant_id = ?", (participant,))
        sqlite.vacuum(self.path, self._failure)

    def seen(self, users: Iterable[str], at: datetime) -> int:
        """See `IdMap`."""
        new, users = 0, {*users}
        noted = [(text_of(at), user, text_of(at - SEEN_STEP)) for user in users if is_user(user)]
        with self._write() as database:
            database.executemany("UPDATE user_id_map SET seen_at = ? WHERE garmin_user_id = ? AND seen_at <= ?", noted)
            (waiting,) = database.execute("SELECT count(*) FROM user_id_map WHERE participant_id = ''").fetchone()
            unknown = [user for user in sorted(users) if is_user(user) and _row(database, user) is None]
            for user in unknown[: max(0, id_map.MOST_PENDING - waiting)]:
                _insert(database, user, text_of(at))
                database.execute("UPDATE user_id_map SET seen_at = ? WHERE garmin_user_id = ?", (text_of(at), user))
                _note(database, user, text_of(at), "pending")
                new += 1
        if new < len(unknown):
            raise IdMapError(TOO_MANY_PENDING)
        return new

    def forget(self, garmin_user_id: str) -> bool:
        """See `IdMap`."""
        with self._write() as database:
            row = _row(database, garmin_user_id)
            if row is None:
                return False
            database.execute("INSERT OR IGNORE INTO given_ids VALUES (?)", (row["participant_id"],))
            for table in ("user_id_map", "user_id_map_history"):
                database.execute(f"DELETE FROM {table} WHERE garmin_user_id = ?", (garmin_user_id,))
            return True

    def deregister(self, garmin_user_id: str, at: datetime) -> bool:
        """See `IdMap`."""
        with self._write() as database:
            row = _row(database, garmin_user_id)
            if row is None or text_of(at) < unless_ahead(row["status_at"]):
                return False
            if row["status"] == "deregistered":  # again: what was found out before this does not take it back
                database.execute(
                    "UPDATE user_id_map SET status_at = ? WHERE garmin_user_id = ?", (text_of(at), garmin_user_id)
                )
                return False
            _set_status(database, garmin_user_id, "deregistered", text_of(at))
            return True

    def reinstate(self, garmin_user_id: str, at: datetime) -> bool:
        """See `IdMap`."""
        with self._write() as database:
            row = _row(database, garmin_user_id)
            if row is None or row["status"] != "deregistered" or text_of(at) < unless_ahead(row["status_at"]):
                return False
            _set_status(database, garmin_user_id, row["status_before"] or "pending", text_of(at))
            return True

    def narrow_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """See `IdMap`."""
        with self._write() as database:
            row = _row(database, garmin_user_id)
            if row is None or text_of(at) <= unless_ahead(row["permissions_at"]):
                return False
            allowed = without_withdrawn(_permissions(row), permissions)
            return _set_permissions(database, row, allowed, text_of(at), row["permissions_at"])

    def confirm_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """See `IdMap`."""
        with self._write() as database:
            row = _row(database, garmin_user_id)
            if row is None or text_of(at) <= unless_ahead(row["permissions_at"]):
                return False
            return _set_permissions(database, row, allowed_of(permissions), text_of(at), text_of(at))

    def history(self, participant_id: str) -> Sequence[Change]:
        """See `IdMap`."""
        if not participant_id or not self.path.exists():
            return []
        with self._write() as database:
            rows = database.execute(
                "SELECT at, what FROM user_id_map_history JOIN user_id_map USING (garmin_user_id) "
                "WHERE participant_id = ? ORDER BY noted_at, user_id_map_history.rowid",
                (participant_id,),
            ).fetchall()
        return [Change(row["at"], row["what"]) for row in rows]

    def _read(self, sql: str, *values: str) -> list_[Enrolment]:
        if not self.path.exists():
            return []
        with sqlite.connection(self.path, self._failure) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'user_id_map'").fetchone():
                return []  # the first change was called off
            return [_enrolment(row) for row in database.execute(sql, values)]

    def _free_ids(self, database: sqlite3.Connection) -> Iterator[str]:
        """Yield the next ids that nobody has or had, an erased participant neither."""
        ledger = self.ledger
        return (one for one in _free_ids(database) if ledger is None or ledger.state_of_participant(one) is None)

    def _write(self) -> AbstractContextManager[sqlite3.Connection]:
        return sqlite.transaction(self.path, make_tables, self._failure)

    def _failure(self, error: Exception) -> IdMapError:
        return IdMapError(f"the id map {self.path} cannot be opened, read or written: {error}")


def make_tables(database: sqlite3.Connection) -> None:
    """Make the tables of a map, and bring those of an older release up to date."""
    declared = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
    database.execute(f"CREATE TABLE IF NOT EXISTS user_id_map ({declared})")
    database.execute(_HISTORY)
    database.execute(_HISTORY_INDEX)
    database.execute(_PARTICIPANT_INDEX)
    # Of users who were forgotten: tables hold rows of the id, so nobody else is given it.
    database.execute("CREATE TABLE IF NOT EXISTS given_ids (participant_id TEXT PRIMARY KEY)")
    there = {row["name"] for row in database.execute("PRAGMA table_info(user_id_map)")}
    for name in COLUMNS.keys() - there:
        database.execute(f"ALTER TABLE user_id_map ADD COLUMN {name} {COLUMNS[name]}")
    if "enrolled_at" not in there:
        database.execute("UPDATE user_id_map SET enrolled_at = created_at, status_at = updated_at")
    if "permissions_order" in there and "permissions_at" not in there:  # it began with the time
        database.execute("UPDATE user_id_map SET permissions_at = substr(permissions_order, 1, 29)")


def _enrolment(row: sqlite3.Row) -> Enrolment:
    kept = dict(row)
    permissions = _permissions(kept)
    return Enrolment(
        kept["garmin_user_id"],
        kept["participant_id"],
        kept["status"],
        kept["updated_at"],
        kept.get("enrolled_at", kept["created_at"]),
        None if permissions is None else tuple(permissions),
        kept.get("permissions_at", ""),
        kept["created_at"],
        kept.get("seen_at", ""),
        kept.get("status_before", ""),
        kept.get("withdrawn_from", ""),
        kept.get("status_at", kept["updated_at"]),
    )


def _permissions(row: Mapping[str, Any] | sqlite3.Row) -> list[str] | None:
    text = row["permissions"] if "permissions" in row.keys() else None  # noqa: SIM118 - a row of an older file
    return None if text is None else list(json.loads(text))


def _set_permissions(
    database: sqlite3.Connection, row: sqlite3.Row, allowed: list[str], at: str, confirmed_at: str
) -> bool:
    user, is_new = row["garmin_user_id"], allowed != _permissions(row)
    database.execute(
        "UPDATE user_id_map SET permissions = ?, permissions_at = ?, updated_at = ? WHERE garmin_user_id = ?",
        (json.dumps(allowed), confirmed_at, _now(), user),
    )
    if is_new:
        _note(database, user, at, permissions_line(allowed))
    return is_new


def _row(database: sqlite3.Connection, user: str) -> sqlite3.Row | None:
    if not is_user(user):
        return None
    found: sqlite3.Row | None = database.execute(
        "SELECT * FROM user_id_map WHERE garmin_user_id = ?", (user,)
    ).fetchone()
    return found


def _users_of(database: sqlite3.Connection, participant: str) -> list[str]:
    rows = database.execute("SELECT garmin_user_id FROM user_id_map WHERE participant_id = ?", (participant,))
    return [row[0] for row in rows] if participant else []


def _add(
    database: sqlite3.Connection,
    user: str,
    participant: str | None,
    free: Iterator[str],
    enrolled_at: str = "",
    *,
    at: str = "",
    left: Collection[Status] = (),
    ledger: AnyLedger | None = None,
) -> str:
    """Enrol a user as of `at` ("": now) and return the participant id; `enrolled_at` replaces the date alone.

    Raises LeftError for a user with a status in `left`.
    """
    user = check_user(user)
    row = _row(database, user)
    known = row["participant_id"] if row else ""
    wanted = participant.strip() if participant else (known or next(free))
    check_participant(wanted, user)
    check_swapped(
        user_is_participant=bool(database.execute(_IS_GIVEN, (user,)).fetchone()),
        participant_is_user=_row(database, wanted) is not None,
        user=user,
    )
    if known and known != wanted:
        raise IdMapError(f"this Garmin user is enrolled as {known} already; revoke {known} or leave it as it is")
    if row is not None:
        check_stays(row["status"], row["status_at"], left, known or (participant or "").strip())
    if ledger is not None:
        readmit(ledger, user, wanted)
    now = at or _now()
    if row is None:
        _insert(database, user, now)
    if row is None or row["status"] != "active":
        database.execute(
            "UPDATE user_id_map SET participant_id = ?, "
            "enrolled_at = CASE enrolled_at WHEN '' THEN ? ELSE enrolled_at END WHERE garmin_user_id = ?",
            (wanted, now, user),
        )
        _set_status(database, user, "active", now)
    if at:
        database.execute(
            "UPDATE user_id_map SET enrolled_at = min(enrolled_at, ?1), status_at = min(status_at, ?1) "
            "WHERE garmin_user_id = ?2",
            (at, user),
        )
    if enrolled_at:
        database.execute("UPDATE user_id_map SET enrolled_at = ? WHERE garmin_user_id = ?", (enrolled_at, user))
    return wanted


def _insert(database: sqlite3.Connection, user: str, at: str) -> None:
    database.execute(
        "INSERT INTO user_id_map (garmin_user_id, participant_id, status, created_at, updated_at) "
        "VALUES (?, '', 'pending', ?, ?)",
        (user, at, at),
    )


def _set_status(database: sqlite3.Connection, user: str, status: str, at: str) -> None:
    changed = database.execute(
        "UPDATE user_id_map SET status_before = status, status = ?, status_at = ?, updated_at = ? "
        "WHERE garmin_user_id = ? AND status <> ?",
        (status, at, _now(), user, status),
    ).rowcount
    if changed:
        _note(database, user, at, status)


def _note(database: sqlite3.Connection, user: str, at: str, what: str) -> None:
    database.execute("INSERT INTO user_id_map_history VALUES (?, ?, ?, ?)", (user, at, what, _now()))
    database.execute(
        "DELETE FROM user_id_map_history WHERE garmin_user_id = ?1 AND rowid NOT IN "
        "(SELECT rowid FROM user_id_map_history WHERE garmin_user_id = ?1 ORDER BY rowid DESC LIMIT ?2)",
        (user, id_map.MOST_LINES),
    )


def _free_ids(database: sqlite3.Connection) -> Iterator[str]:
    rows = database.execute(f"SELECT participant_id FROM ({GIVEN}) WHERE participant_id GLOB 'P[0-9]*'")
    return free_ids(row[0] for row in rows)


def _now() -> str:
    return text_of(datetime.now(UTC))
