"""The ledger of who withdrew or was erased: whose records are not stored any more. It names nobody.

Belongs here: what an entry is, and `erasures.jsonl` and its key on one machine. A line is appended and never changed;
it holds keyed hashes of ids, a state and a time. The form on AWS is in `erasures_s3`. What an erasure removes belongs
elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from qol_ingest.shared import files
from qol_ingest.shared.errors import QolError, reason

LEDGER, KEY, LOCK = "erasures.jsonl", "erasures.key", ".erasures.lock"
State = Literal["withdrawn", "begun", "finished", "readmitted"]
"""`withdrawn`: nothing more is stored. `begun`, `finished`: of an erasure. `readmitted`: staff took the person back."""
STATES: tuple[State, ...] = get_args(State)
_REFUSED = ("withdrawn", "begun", "finished")
_UUID = re.compile(r"[0-9a-f]{32}")
_USER = re.compile(rb'"userId"\s*:\s*"([^"\\]*)"')


def plain_user(user: str) -> str:
    """Return a Garmin user id as summaries spell it, without capitals and hyphens, if it has that shape."""
    plain = user.replace("-", "").lower()
    return plain if _UUID.fullmatch(plain) else user


class LedgerError(QolError):
    """The ledger cannot be read or written; the message says why and what to do."""


class Refusals(Protocol):
    """Who pushes and is not to be stored."""

    def receiving(self) -> contextlib.AbstractContextManager[frozenset[str]]:
        """Yield the hashes of refused users; none is added before the block ends. Raises LedgerError."""

    def hash_of(self, user: str) -> str:
        """Return the keyed hash of a Garmin user id."""


@dataclass(frozen=True)
class Entry:
    """One line: when, what, of whom (hashes of Garmin user ids and of participant ids), and of which erasure."""

    at: str
    state: State
    users: tuple[str, ...] = ()
    participants: tuple[str, ...] = ()
    erasure: str = ""


class AnyLedger(ABC):
    """The ledger, wherever it is. No entries are an empty ledger. Raises LedgerError."""

    @abstractmethod
    def receiving(self) -> contextlib.AbstractContextManager[frozenset[str]]:
        """See `Refusals`."""

    def hash_of(self, user: str) -> str:
        """See `Refusals`. Ids of Garmin's shape are the same in capitals and with hyphens."""
        return self._hash("user", plain_user(user))

    def hash_of_participant(self, participant_id: str) -> str:
        """Return the keyed hash of a participant id."""
        return self._hash("participant", participant_id)

    def state_of_user(self, user: str) -> State | None:
        """Return the last state of a Garmin user."""
        return self._state("users", self.hash_of(user)) if self._entries() else None

    def state_of_participant(self, participant_id: str) -> State | None:
        """Return the last state of a participant."""
        return self._state("participants", self.hash_of_participant(participant_id)) if self._entries() else None

    def entries(self) -> list[Entry]:
        """Return all entries, first to last. A line that was cut off by a power failure counts for nothing."""
        return list(self._entries())

    def unfinished(self) -> int:
        """Return how many erasures were begun and have not come to their end."""
        entries = self._entries()
        ended = {one.erasure for one in entries if one.state == "finished"}
        return len({one.erasure for one in entries if one.state == "begun"} - ended)

    def append(self, state: State, users: Iterable[str] = (), participants: Iterable[str] = ()) -> Entry:
        """Append an entry of these ids, safe in its place."""
        with self._appending():
            entry = Entry(
                datetime.now(UTC).isoformat(timespec="milliseconds"),
                state,
                tuple(sorted(map(self.hash_of, users))),
                tuple(sorted(map(self.hash_of_participant, participants))),
                secrets.token_hex(8),
            )
            self._write(json.dumps(vars(entry)))
        return entry

    def finish(self, begun: Entry) -> None:
        """Append that an erasure has come to its end, of all ids it began with: some may be known no more."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._appending():
            self._write(json.dumps(vars(replace(begun, at=at, state="finished"))))

    def sign(self, text: str) -> str:
        """Return the HMAC-SHA-256 of a text under the ledger's key."""
        return self._hash("report", text)

    def _hash(self, kind: str, text: str) -> str:
        content = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key(), content, hashlib.sha256).hexdigest()

    def _state(self, kind: str, wanted: str) -> State | None:
        return next((one.state for one in reversed(self._entries()) if wanted in getattr(one, kind)), None)

    @abstractmethod
    def _entries(self) -> tuple[Entry, ...]: ...

    @abstractmethod
    def _key(self) -> bytes: ...

    @abstractmethod
    def _appending(self) -> contextlib.AbstractContextManager[None]:
        """Make the key if there is none, and let others append before or after this block."""

    @abstractmethod
    def _write(self, line: str) -> None: ...


@dataclass(frozen=True)
class Ledger(AnyLedger):
    """The ledger in a folder, for threads and processes at a time. No file is an empty ledger."""

    home: Path
    _cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def path(self) -> Path:
        """Return the file of the entries."""
        return self.home / LEDGER

    @property
    def key_path(self) -> Path:
        """Return the file of the key: a backup without it makes the ledger worthless."""
        return self.home / KEY

    @contextmanager
    def receiving(self) -> Iterator[frozenset[str]]:
        """See `Refusals`: whoever begins an erasure waits until this block ends."""
        with self._locked(fcntl.LOCK_SH):
            yield self._refused("users")

    @contextmanager
    def _appending(self) -> Iterator[None]:
        """Wait until all pushes that are under way are stored."""
        with self._locked(fcntl.LOCK_EX):
            self._make_key()
            yield

    def _write(self, line: str) -> None:
        try:
            with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, files.PRIVATE), "rb+") as file:
                size = file.seek(0, os.SEEK_END)
                is_cut = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
                file.write(b"\n" * is_cut + line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            files.sync_folder(self.home)
        except OSError as error:
            raise self._failure(self.path, error) from error

    def _make_key(self) -> None:
        if self.path.exists():
            return
        try:
            files.write_new(self.key_path, secrets.token_hex(32).encode())
        except OSError as error:
            raise self._failure(self.key_path, error) from error

    def _key(self) -> bytes:
        if "key" not in self._cache:
            try:
                self._cache["key"] = self.key_path.read_bytes().strip()
            except OSError as error:
                raise LedgerError(
                    f"{self.key_path}, the key of the ledger of erasures, cannot be read: {reason(error)}",
                    advice="Put it back from the backup: without it nobody knows who was erased",
                ) from error
        key: bytes = self._cache["key"]
        return key

    def _entries(self) -> tuple[Entry, ...]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._failure(self.path, error) from error
        version = found.st_ino, found.st_size, found.st_mtime_ns
        if self._cache.get("version") != version:
            try:
                content = self.path.read_bytes()
            except OSError as error:
                raise self._failure(self.path, error) from error
            self._cache["entries"] = entries_of(content)
            self._cache["refused"] = {
                kind: refused_of(self._cache["entries"], kind) for kind in ("users", "participants")
            }
            self._cache["version"] = version
        entries: tuple[Entry, ...] = self._cache["entries"]
        return entries

    def _refused(self, kind: str) -> frozenset[str]:
        if not self._entries():
            return frozenset()
        self._key()
        refused: Mapping[str, frozenset[str]] = self._cache["refused"]
        return refused[kind]

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        try:
            handle = os.open(self.home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, files.PRIVATE)
        except OSError as error:
            raise self._failure(self.home / LOCK, error) from error
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)

    def _failure(self, path: Path, error: OSError) -> LedgerError:
        return LedgerError(
            f"{path} could not be read or written: {files.in_the_way(path) or reason(error)}",
            advice="Free some space or mend the permissions, and do the same again",
        )


def users_named(content: bytes) -> set[str]:
    """Return the user ids that a text names, whether it is JSON or not."""
    return {user.decode("utf-8", "replace") for user in _USER.findall(content)}


def entries_of(content: bytes) -> tuple[Entry, ...]:
    """Return the entries of a ledger's lines; one that was cut off counts for nothing."""
    return tuple(filter(None, map(_entry, content.split(b"\n"))))


def refused_of(entries: Iterable[Entry], kind: str) -> frozenset[str]:
    """Return the hashes of `users` or `participants` who are refused after these entries."""
    last = {one: entry.state for entry in entries for one in getattr(entry, kind)}
    return frozenset(one for one, state in last.items() if state in _REFUSED)


def _entry(line: bytes) -> Entry | None:
    try:
        found = json.loads(line)
        known = found["state"] in STATES
        users, participants = (tuple(map(str, found[name])) for name in ("users", "participants"))
        return Entry(str(found["at"]), found["state"], users, participants, str(found["erasure"])) if known else None
    except (ValueError, KeyError, TypeError):
        return None
