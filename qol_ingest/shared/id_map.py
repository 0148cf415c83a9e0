"""`user_id_map`: who is enrolled. The only place where a Garmin user id and a participant id stand side by side.

Belongs here: enrolling, revoking, what Garmin announces of its users, and the history of all of it. Local form: one
SQLite file, safe for several processes.

A user whom nobody has enrolled is `pending`: known to push, and nothing else. Only staff or the user's own consent
make a pending user a participant; no data is ever linked to a guess.
"""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from qol_ingest.shared import sqlite
from qol_ingest.shared.erasures import AnyLedger
from qol_ingest.shared.errors import QolInputError
from qol_ingest.shared.permissions import kind_is_permitted, withheld_of

list_ = list  # the maps have a method of that name
Status = Literal["pending", "active", "revoked", "deregistered", "withdrawn", "erasing"]
"""`withdrawn`: what is there is used on, and nothing is added. `erasing`: as if there were no such user."""

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
_PARTICIPANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_AUTOMATIC = re.compile(r"P([0-9]+)")
_PERMISSION = re.compile(r"[A-Za-z_]{1,40}")
CHANCE_LENGTH = 6
"""Shorter ids (Garmin's have 32 characters) may be part of other text by chance."""
LONGEST_USER = 256
MOST_PENDING = 1000
"""Users who were never enrolled: whoever has the webhook's URL can make them up."""
TOO_MANY_PENDING = (
    f"{MOST_PENDING} Garmin users are pending and no more are noted; look at `qol participants pending`, forget those "
    "who are nobody, and change the webhook's secret if somebody makes them up"
)
NOTHING_TO_WITHDRAW = "{} is revoked or being erased: nothing is computed already"
SEEN_STEP = timedelta(hours=1)
"""How much later a push has to be than the last one that was noted of its user: devices push many times an hour."""
MOST_LINES = 1000
"""Of a user's history; announcements of that user make it grow, and they may be forged."""

Row = tuple[str, str] | tuple[str, str, datetime | None]
"""An enrolment to import: Garmin user id, participant id, and when it was made, if that is known."""


class IdMapError(QolInputError):
    """An enrolment cannot be made or changed; the message says why and what to do."""


@dataclass(frozen=True)
class Enrolment:
    """One row of the map. Times are ISO 8601, UTC.

    `permissions` is None as long as Garmin has said nothing of them; `permissions_at` is when Garmin was last asked,
    or "". `seen_at` is when the user last pushed, as far as `IdMap.seen` was told, or "". Of who withdrew,
    `withdrawn_from` is the first date of which nothing is computed (ISO 8601). `status_at` is since when the status is
    known to hold.
    """

    garmin_user_id: str = field(repr=False)
    participant_id: str
    status: Status
    updated_at: str
    enrolled_at: str = ""
    permissions: tuple[str, ...] | None = None
    permissions_at: str = ""
    created_at: str = ""
    seen_at: str = ""
    status_before: str = ""
    withdrawn_from: str = ""
    status_at: str = ""

    @property
    def may_be_used(self) -> bool:
        """Whether any of the user's data may be worked with now."""
        return self.status in ("active", "withdrawn") and len(self.withheld) < 2

    @property
    def withheld(self) -> frozenset[str]:
        """Which of the permissions for health data and activities the user does not give."""
        return withheld_of(self.permissions)

    def permits(self, kind: str) -> bool:
        """Return whether the user's data of a type, by Garmin's name, may be asked for now."""
        return self.status == "active" and kind_is_permitted(self.permissions, kind)


@dataclass(frozen=True)
class Change:
    """One line of a user's history, without Garmin's id."""

    at: str
    what: str


class IdMap(Protocol):
    """The map. Every change is one transaction or conditional write. Raises IdMapError."""

    def add(self, garmin_user_id: str, participant_id: str | None = None, *, at: datetime | None = None) -> str:
        """Enrol a user, or take one back in, and give the participant id (the next free one by default).

        `at` is as of when, by default now; of an active user, the earlier time stays. Doing it twice changes nothing.
        Several Garmin accounts may belong to one participant.
        """

    def enrol(self, users: Iterable[str], *, at: datetime | None = None) -> int:
        """Enrol many users as of `at` under the next free participant ids, all or none; return their number."""

    def import_rows(self, rows: Iterable[Row]) -> int:
        """Enrol many, all or none; return their number."""

    def forget(self, garmin_user_id: str) -> bool:
        """Remove a user and the history; False if there is none. Who pushes again is pending again."""

    def revoke(self, participant_id: str) -> int:
        """Stop using the data of a participant from the next run on; return the number of accounts concerned."""

    def withdraw(self, participant_id: str, since: date) -> int:
        """Add nothing of a participant any more, and compute nothing of `since` and later; return the accounts."""

    def begin_erasure(self, users: Iterable[str]) -> None:
        """Have the map answer as if there were no such users, until they are erased."""

    def end_erasure(self, users: Iterable[str], participants: Iterable[str]) -> None:
        """Remove users with all that is noted of them, and these participant ids."""

    def list(self) -> list_[Enrolment]:
        """Return all users by participant id, pending ones first."""

    def get(self, garmin_user_id: str) -> Enrolment | None:
        """One user."""

    def seen(self, users: Iterable[str], at: datetime) -> int:
        """Note users that pushed, `SEEN_STEP` after the last time at least: unknown ones become pending.

        Returns how many those are.

        Raises IdMapError if there are MOST_PENDING already, after noting those that still fit.
        """

    def deregister(self, garmin_user_id: str, at: datetime) -> bool:
        """Return the user has left at Garmin. False if nothing changes: unknown, or enrolled again since then."""

    def reinstate(self, garmin_user_id: str, at: datetime) -> bool:
        """Take a deregistration back that was none, as was found out at `at`. False if nothing changes."""

    def narrow_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """Withdraw every permission of a known user that is not among those announced for `at`; none is ever added.

        Announcements may come in any order. False if nothing changes, or Garmin was asked after `at`.
        """

    def confirm_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """Replace a known user's permissions by what Garmin answered when it was asked at `at`.

        False if nothing changes, or Garmin was asked later.
        """

    def history(self, participant_id: str) -> Sequence[Change]:
        """Return what became of a participant's accounts, first to last."""


@dataclass(frozen=True)
class SqliteIdMap:
    """The map in a SQLite file; a missing file is an empty map."""

    path: Path
    ledger: AnyLedger | None = None
    """Who withdrew or was erased, and is enrolled again only by a new decision."""

    def add(self, garmin_user_id: str, participant_id: str | None = None, *, at: datetime | None = None) -> str:
        """See `IdMap`."""
        with self._write() as database:
            return _add(
                database, garmin_user_id, participant_id, self._free_ids(database), at=past_text(at), ledger=self.ledger
            )

    def enrol(self, users: Iterable[str], *, at: datetime | None = None) -> int:
        """See `IdMap`."""
        as_of = past_text(at)
        with self._write() as database:
            free = self._free_ids(database)
            return sum(bool(_add(database, user, None, free, at=as_of, ledger=self.ledger)) for user in users)

    def import_rows(self, rows: Iterable[Row]) -> int:
        """See `IdMap`."""
        done = 0
        with self._write() as database:
            for user, participant, *enrolled_at in rows:
                try:
                    check_participant(participant.strip(), user)
                    _add(
                        database,
                        user,
                        participant,
                        self._free_ids(database),
                        *map(past_text, enrolled_at),
                        ledger=self.ledger,
                    )
                except IdMapError as error:
                    raise IdMapError(f"entry {done + 1}: {error}; nobody was enrolled") from error
                done += 1
        return done

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
            for user in unknown[: max(0, MOST_PENDING - waiting)]:
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
            if row is None or text_of(at) < row["status_at"]:
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
            if row is None or row["status"] != "deregistered" or text_of(at) < row["status_at"]:
                return False
            _set_status(database, garmin_user_id, row["status_before"] or "pending", text_of(at))
            return True

    def narrow_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """See `IdMap`."""
        with self._write() as database:
            row = _row(database, garmin_user_id)
            if row is None or text_of(at) <= row["permissions_at"]:
                return False
            allowed = without_withdrawn(_permissions(row), permissions)
            return _set_permissions(database, row, allowed, text_of(at), row["permissions_at"])

    def confirm_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """See `IdMap`."""
        with self._write() as database:
            row = _row(database, garmin_user_id)
            if row is None or text_of(at) <= row["permissions_at"]:
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


def is_user(value: object) -> bool:
    """Return whether a value can be a Garmin user id: some text that every database takes as it is."""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_USER:
        return False
    return value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value)


def check_user(user: str) -> str:
    """Return a Garmin user id as staff typed it, without spaces around it. Raises IdMapError if it cannot be one."""
    user = user.strip()
    if not user:
        raise IdMapError("a Garmin user id is needed, and this one is empty")
    if not is_user(user):
        raise IdMapError(f"this cannot be a Garmin user id: it is longer than {LONGEST_USER} characters, or no text")
    return user


def check_participant(participant: str, user: str) -> None:
    """Raise IdMapError if a participant id cannot be one, or gives the Garmin user id away."""
    if not _PARTICIPANT.fullmatch(participant):
        raise IdMapError(
            f"{participant!r} cannot be a participant id: letters, digits, - and _, at most 64, are allowed"
        )
    if tells_user(participant, user):
        raise IdMapError("a participant id must not hold the Garmin user id; choose another")


def check_swapped(*, user_is_participant: bool, participant_is_user: bool, user: str) -> None:
    """Raise IdMapError if what was given as one kind of id is known as the other."""
    if user_is_participant or _AUTOMATIC.fullmatch(user):
        raise IdMapError("this is a participant id and no Garmin user id; give Garmin's userId first")
    if participant_is_user:
        raise IdMapError("the participant id given is a Garmin user id; choose another")


def past_text(moment: datetime | None) -> str:
    """Return a time as the map keeps it, "" for none. Raises IdMapError for one in the future."""
    if moment is not None and moment > datetime.now(UTC):
        raise IdMapError(f"the date of enrolment {moment.date()} is in the future")
    return "" if moment is None else text_of(moment)


def masked(garmin_user_id: str) -> str:
    """Return enough of a Garmin user id for staff to recognise it, and too little to be it."""
    return f"{garmin_user_id[:4]}...{garmin_user_id[-4:]}" if len(garmin_user_id) >= 16 else "..."


def tells_user(text: str, garmin_user_id: str) -> bool:
    """Return whether a text reveals a Garmin user id: it is the id, or holds one that is too long for chance."""
    text, user = text.lower(), garmin_user_id.lower()
    return text == user or (len(user) >= CHANCE_LENGTH and user in text)


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
    ledger: AnyLedger | None = None,
) -> str:
    """Enrol a user as of `at` ("": now) and return the participant id; `enrolled_at` replaces the date alone."""
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


def readmit(ledger: AnyLedger, user: str, participant: str) -> None:
    """Note in the ledger that who withdrew is back. Raises IdMapError for who was erased, unless staff decided so.

    The ledger comes first: enrolled and still refused, a person's records would be lost.
    """
    of_user, of_participant = ledger.state_of_user(user), ledger.state_of_participant(participant)
    is_new_decision = "readmitted" in (of_user, of_participant)
    if "begun" in (of_user, of_participant):
        raise IdMapError("an erasure of this person is under way; give `qol participants erase` again to end it")
    if "finished" in (of_user, of_participant) and not is_new_decision:
        raise IdMapError(
            "this person, or who had this participant id, was erased. With a new consent, enrol with "
            "`qol participants add ... --after-erasure`, or invite with `qol participants invite ... --after-erasure`"
        )
    if of_user in ("withdrawn", "finished") or of_participant in ("withdrawn", "finished"):
        ledger.append("readmitted", [user], [participant])


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
        (user, MOST_LINES),
    )


def _free_ids(database: sqlite3.Connection) -> Iterator[str]:
    rows = database.execute(f"SELECT participant_id FROM ({GIVEN}) WHERE participant_id GLOB 'P[0-9]*'")
    return free_ids(row[0] for row in rows)


def free_ids(taken: Iterable[str]) -> Iterator[str]:
    """P0001 and so on, from behind the last one that is taken."""
    found = map(_AUTOMATIC.fullmatch, taken)
    for number in itertools.count(max((int(one[1]) for one in found if one), default=0) + 1):
        yield f"P{number:04d}"


def allowed_of(permissions: Iterable[str]) -> list[str]:
    """Garmin's names for what is allowed, each once, in order. Text that is no such name is left out."""
    return sorted({one for one in permissions if _PERMISSION.fullmatch(one)})


def permissions_line(allowed: Sequence[str]) -> str:
    """Return what the history says of a change."""
    return f"permissions: {', '.join(allowed) or 'nothing'}"


def without_withdrawn(known: Iterable[str] | None, announced: Iterable[str]) -> list[str]:
    """Return what of the known permissions (None: nothing is known) an announced change leaves."""
    allowed = allowed_of(announced)
    return allowed if known is None else sorted(set(known).intersection(allowed))


def text_of(moment: datetime) -> str:
    """Return a time as the map keeps it: ISO 8601, UTC, in milliseconds, so that it sorts."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _now() -> str:
    return text_of(datetime.now(UTC))
