"""`user_id_map`: who is enrolled. The only place where a Garmin user id and a participant id stand side by side.

Belongs here: enrolling, revoking, and the map as the weekly job needs it. Local form: one SQLite file, safe for
several processes.
"""

from __future__ import annotations

import csv
import itertools
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from qol_dagster.etl import Identities

Status = Literal["active", "revoked", "pending"]

CHANCE_LENGTH = 6
"""Shorter ids (Garmin's have 32 characters) may be part of other text by chance."""

_TABLE = """
    CREATE TABLE IF NOT EXISTS user_id_map (
        garmin_user_id TEXT PRIMARY KEY,
        participant_id TEXT NOT NULL,
        status TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    )
"""
_PARTICIPANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class IdMapError(ValueError):
    """An enrolment cannot be made or changed; the message says why and what to do."""


@dataclass(frozen=True)
class Enrolment:
    """One row of the map."""

    garmin_user_id: str
    participant_id: str
    status: Status
    updated_at: str


@dataclass(frozen=True)
class IdMap:
    """The map in a SQLite file; a missing file is an empty map."""

    path: Path

    def add(self, garmin_user_id: str, participant_id: str | None = None) -> str:
        """Enrol a user, or take a revoked one back in, and give the participant id (the next free one by default).

        Doing it twice changes nothing. Several Garmin accounts may belong to one participant.
        """
        with self._write() as database:
            return _add(database, garmin_user_id, participant_id, _free_ids(database))

    def enrol(self, users: Iterable[str]) -> int:
        """Enrol many users under the next free participant ids, all or none; gives their number."""
        with self._write() as database:
            free = _free_ids(database)
            return sum(bool(_add(database, user, None, free)) for user in users)

    def import_rows(self, rows: Iterable[tuple[str, str]]) -> int:
        """Enrol many (garmin_user_id, participant_id), all or none; gives their number."""
        done = 0
        with self._write() as database:
            for user, participant in rows:
                try:
                    _check_participant(participant.strip(), user)
                    _add(database, user, participant, _free_ids(database))
                except IdMapError as error:
                    raise IdMapError(f"entry {done + 1}: {error}; nobody was enrolled") from error
                done += 1
        return done

    def list(self) -> list[Enrolment]:
        """All enrolments by participant id."""
        if not self.path.exists():
            return []
        with closing(self._connect()) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'user_id_map'").fetchone():
                return []  # the first change was called off
            rows = database.execute(
                "SELECT garmin_user_id, participant_id, status, updated_at FROM user_id_map "
                "ORDER BY participant_id, garmin_user_id"
            ).fetchall()
        return [Enrolment(*row) for row in rows]

    def revoke(self, participant_id: str) -> int:
        """Stop using the data of a participant from the next run on; gives the number of accounts concerned."""
        with self._write() as database:
            changed = database.execute(
                "UPDATE user_id_map SET status = 'revoked', updated_at = ? WHERE participant_id = ?",
                (_now(), participant_id),
            ).rowcount
        if not changed:
            raise IdMapError(f"there is no participant {participant_id}; `qol participants list` shows who there is")
        return changed

    def identities(self) -> Identities:
        """The map as the weekly job needs it."""
        everyone = self.list()
        return Identities(
            {one.garmin_user_id: one.participant_id for one in everyone if one.status == "active"},
            frozenset(one.garmin_user_id for one in everyone if one.status == "revoked"),
        )

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._connect()) as database:
            self.path.chmod(0o600)
            database.execute("BEGIN IMMEDIATE")
            try:
                database.execute(_TABLE)
                yield database
            except BaseException:
                database.rollback()
                raise
            database.commit()

    def _connect(self) -> sqlite3.Connection:
        try:
            database = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            database.execute("PRAGMA schema_version")
        except sqlite3.Error as error:
            raise IdMapError(f"the id map {self.path} cannot be opened: {error}") from error
        return database


def read_csv(file: Path) -> list[tuple[str, str]]:
    """(garmin_user_id, participant_id) of a CSV file with these two columns. Raises IdMapError naming the line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, skipinitialspace=True)
            missing = [name for name in ("garmin_user_id", "participant_id") if name not in (reader.fieldnames or ())]
            if missing:
                raise IdMapError(f"{file} has no column {' and no column '.join(missing)} in its first line")
            found = [(line["garmin_user_id"] or "", line["participant_id"] or "") for line in reader]
    except UnicodeDecodeError as error:
        raise IdMapError(f"{file} is not UTF-8 text; save it as CSV UTF-8") from error
    for number, (user, participant) in enumerate(found, start=1):
        if not user.strip() or not participant.strip():
            raise IdMapError(f"{file}: entry {number} lacks a garmin_user_id or a participant_id")
    return found


def tells_user(text: str, garmin_user_id: str) -> bool:
    """Whether a text gives a Garmin user id away: it is the id, or holds one long enough not to be there by chance."""
    text, user = text.lower(), garmin_user_id.lower()
    return text == user or (len(user) >= CHANCE_LENGTH and user in text)


def _check_participant(participant: str, user: str) -> None:
    if not _PARTICIPANT.fullmatch(participant):
        raise IdMapError(
            f"{participant!r} cannot be a participant id: letters, digits, - and _, at most 64, are allowed"
        )
    if tells_user(participant, user):
        raise IdMapError("a participant id must not hold the Garmin user id; choose another")


def _add(database: sqlite3.Connection, user: str, participant: str | None, free: Iterator[str]) -> str:
    user = user.strip()
    if not user:
        raise IdMapError("a Garmin user id is needed, and this one is empty")
    known = database.execute("SELECT participant_id FROM user_id_map WHERE garmin_user_id = ?", (user,)).fetchone()
    wanted = participant.strip() if participant else (known[0] if known else next(free))
    _check_participant(wanted, user)
    if known and known[0] != wanted:
        raise IdMapError(f"this Garmin user is enrolled as {known[0]} already; revoke {known[0]} or leave it as it is")
    now = _now()
    database.execute(
        "INSERT INTO user_id_map VALUES (?, ?, 'active', ?, ?) ON CONFLICT (garmin_user_id) DO UPDATE "
        "SET status = 'active', updated_at = excluded.updated_at WHERE status <> 'active'",
        (user, wanted, now, now),
    )
    return wanted


def _free_ids(database: sqlite3.Connection) -> Iterator[str]:
    """P0001 and so on, from behind the last one that is taken."""
    (last,) = database.execute(
        "SELECT max(CAST(substr(participant_id, 2) AS INTEGER)) FROM user_id_map WHERE participant_id GLOB 'P[0-9]*'"
    ).fetchone()
    for number in itertools.count((last or 0) + 1):
        yield f"P{number:04d}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
