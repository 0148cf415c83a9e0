"""What a backup holds: the files of a home, in parts that change together.

Belongs here: which files belong in a backup and which never do, listing those of a home, and reading them. A deployment
on AWS is backed up in the form of a home, by `deployment.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import IO, Protocol

from qol_dagster.errors import QolError
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.lease import locked
from qol_dagster.lake.odd_names import is_key_name, spelled
from qol_ingest.shared.sqlite import PATIENCE_S

STATE = "state"
"""The part of what has no date: who is enrolled, queues, freezes, Dagster's history."""
FORMAT = 1
"""Of archives and manifests; another one is written anew."""
LEDGER, LEDGER_KEY = "erasures.jsonl", "erasures.key"
"""Who withdrew or was erased, and the key without which it names nobody: part of every backup."""
ERASING = ".erasing.lock"
"""Held by whoever erases."""
COPIED = (
    *("lake", "arrivals", "dead_letters", "alerts", "reports", "dagster", "survey"),
    *("user_id_map.sqlite", "enrolment.sqlite", "erasures", LEDGER, LEDGER_KEY),
)
"""The files and folders of a home that a backup holds."""
LEFT_OUT: Mapping[str, str] = {
    "tokens.key": "the key of the tokens",
    "tokens.sqlite": "tokens for Garmin's cloud: whoever has them can ask for the participants' data",
    "webhook_secret": "the last part of the webhook's URL",
    "tmp": "working files",
    "dagster/storage": "what steps printed",
    "lake/tmp": "working files",
    "lake/records/_staging": "working files",
}
"""What a backup never holds, and why."""
_MONTH = re.compile(r"/(?:date|week)=(\d{4}-\d\d)-\d\d/")
_DATABASE = re.compile(r"\.(?:sqlite|db)$")
_BESIDE_A_DATABASE = re.compile(r"\.(?:sqlite|db)-(?:wal|shm|journal)$")


class BackupError(QolError):
    """A backup could not be written, read or put back; the message says which."""


@dataclass(frozen=True, order=True, slots=True)
class HomeFile:
    """A file of a home: its path in it, size in bytes, and when it was written, in ns since 1970.

    `tag` changes whenever it is written; of a file on this machine, its time does.
    """

    name: str
    size: int
    modified_ns: int
    tag: str = ""

    @property
    def is_database(self) -> bool:
        """Whether it is SQLite's, and copied by SQLite."""
        return bool(_DATABASE.search(self.name))


@dataclass
class Contents:
    """The files of a home by part, in order, and what is in no part though nothing says that it may be left out."""

    parts: dict[str, list[HomeFile]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, files: Iterable[HomeFile], unknown: list[str]) -> Contents:
        """Return files by part; `state` is the first, then come the months."""
        parts: dict[str, list[HomeFile]] = {STATE: []}
        for one in files:
            parts.setdefault(part_of(one.name), []).append(one)
        months = sorted(parts.keys() - {STATE})
        return cls({part: sorted(parts[part]) for part in (STATE, *months)}, unknown)


class Source(Protocol):
    """What is backed up."""

    def without_erasures(self) -> AbstractContextManager[None]:
        """Hold off erasures, which would not see a backup that is being made. Nothing else is held before."""

    def held(self) -> AbstractContextManager[None]:
        """Hold off runs that write tables. Raises BackupError if there is nothing to back up."""

    def contents(self) -> Contents:
        """Return what a backup holds now: `state` is the first part, then come the months. Raises OSError."""

    def read(self, files: Iterable[HomeFile], work: Path) -> Iterator[tuple[HomeFile, HomeFile | None, IO[bytes]]]:
        """Yield files as they were listed, as they are now, and their content; None of one that is gone.

        `work` is a folder for what has to be copied first. Raises OSError and BackupError.
        """


@dataclass(frozen=True)
class Home:
    """A home on this machine. See `Source`."""

    folder: Path

    def without_erasures(self) -> AbstractContextManager[None]:
        """See `Source`."""
        return locked(self.folder / ERASING, shared=True) if self.folder.is_dir() else nullcontext()

    def held(self) -> AbstractContextManager[None]:
        """See `Source`."""
        if not (self.folder / "lake").is_dir():
            raise BackupError(f"{self.folder} holds no lake: there is nothing to back up")
        return Lake.local(self.folder / "lake").lock()

    def contents(self) -> Contents:
        """See `Source`."""
        return list_contents(self.folder)

    def read(self, files: Iterable[HomeFile], work: Path) -> Iterator[tuple[HomeFile, HomeFile | None, IO[bytes]]]:
        """See `Source`. SQLite copies its files as they are after the last transaction."""
        for file in files:
            if file.is_database:
                copy = _copy_database(self.folder / file.name, work / "copy.sqlite")
                with copy.open("rb") as content:
                    yield file, replace(file, size=copy.stat().st_size), content
                copy.unlink()
                continue
            try:
                with (self.folder / file.name).open("rb") as content:
                    now = os.fstat(content.fileno())
                    yield file, HomeFile(file.name, now.st_size, now.st_mtime_ns), content
            except FileNotFoundError:
                yield file, None, BytesIO()


def list_contents(home: Path) -> Contents:
    """Return what a backup of a home holds now. Raises OSError."""
    files: list[HomeFile] = []
    unknown: list[str] = []
    for name in _names(home):
        if name in COPIED:
            files += _files(home, name, unknown)
        elif name not in LEFT_OUT and not _is_passed_over(name):
            unknown.append(spelled(name))
    return Contents.of(files, unknown)


def part_of(name: str) -> str:
    """Return the part that a file belongs to: the month of its date (YYYY-MM), or the state."""
    dated = _MONTH.search(name) if name.startswith("lake/") else None
    return dated[1] if dated else STATE


def fingerprint(files: Iterable[HomeFile]) -> str:
    """Change when a file of a part comes, goes or is written."""
    digest = hashlib.sha256(f"{FORMAT}\n".encode())
    for one in files:
        tag = f"\0{one.tag}" if one.tag else ""
        digest.update(f"{one.name}\0{one.size}\0{one.modified_ns}{tag}\n".encode())
    return digest.hexdigest()


def _files(home: Path, name: str, unknown: list[str]) -> Iterator[HomeFile]:
    path = home / name
    if name in LEFT_OUT:
        return
    if not path.is_dir():
        if (file := home_file(home, name)) and not _BESIDE_A_DATABASE.search(name):
            yield file
        return
    for one in _names(path):
        if not is_key_name(one):
            unknown.append(spelled(f"{name}/{one}"))
        elif not _is_passed_over(one):
            yield from _files(home, f"{name}/{one}", unknown)


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, in order; none if it was removed meanwhile."""
    try:
        with os.scandir(folder) as entries:
            return sorted(one.name for one in entries)
    except FileNotFoundError:
        return []


def home_file(home: Path, name: str) -> HomeFile | None:
    """Return a file as it is now; None if it is gone. A database changes with the log that SQLite keeps beside it."""
    try:
        stats = [(home / name).stat()]
    except FileNotFoundError:
        return None
    if _DATABASE.search(name):
        log = home / f"{name}-wal"
        stats += [log.stat()] if log.exists() and log.stat().st_size else []
    return HomeFile(name, sum(one.st_size for one in stats), max(one.st_mtime_ns for one in stats))


def _is_passed_over(name: str) -> bool:
    """Whether a name is that of a lock, or of what is being written."""
    return name.startswith(".")


def _copy_database(path: Path, copy: Path) -> Path:
    """Copy a SQLite file as it was at one moment, while others write to it. Raises BackupError."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE_S)) as database:
            database.execute("VACUUM INTO ?", (str(copy),))
    except sqlite3.Error as error:
        raise BackupError(
            f"{path} could not be copied: {error}",
            advice="If space is left where the backup is written, the file is damaged: move it away, or put it back "
            "from an older backup",
        ) from error
    return copy
