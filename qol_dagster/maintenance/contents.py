"""What a backup holds: the files of a home, in parts that change together.

Belongs here: which files belong in a backup and which never do, and listing them. Nothing is read or written.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qol_dagster.lake.odd_names import is_key_name, spelled

STATE = "state"
"""The part of what has no date: who is enrolled, queues, freezes, Dagster's history."""
FORMAT = 1
"""Of archives and manifests; another one is written anew."""
LEDGER, LEDGER_KEY = "erasures.jsonl", "erasures.key"
"""Who withdrew or was erased, and the key without which it names nobody: part of every backup."""
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


@dataclass(frozen=True, order=True, slots=True)
class HomeFile:
    """A file of a home: its path in it, size in bytes, and when it was written, in ns since 1970."""

    name: str
    size: int
    modified_ns: int

    @property
    def is_database(self) -> bool:
        """Whether it is SQLite's, and copied by SQLite."""
        return bool(_DATABASE.search(self.name))


@dataclass
class Contents:
    """The files of a home by part, in order, and what is in no part though nothing says that it may be left out."""

    parts: dict[str, list[HomeFile]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def list_contents(home: Path) -> Contents:
    """Return what a backup of a home holds now; `state` is the first part, then come the months. Raises OSError."""
    found = Contents({STATE: []})
    for name in _names(home):
        if name in COPIED:
            for file in _files(home, name, found.unknown):
                found.parts.setdefault(part_of(file.name), []).append(file)
        elif name not in LEFT_OUT and not _is_passed_over(name):
            found.unknown.append(spelled(name))
    months = sorted(found.parts.keys() - {STATE})
    found.parts = {part: sorted(found.parts[part]) for part in (STATE, *months)}
    return found


def part_of(name: str) -> str:
    """Return the part that a file belongs to: the month of its date (YYYY-MM), or the state."""
    dated = _MONTH.search(name) if name.startswith("lake/") else None
    return dated[1] if dated else STATE


def fingerprint(files: Iterable[HomeFile]) -> str:
    """Change when a file of a part comes, goes or is written."""
    digest = hashlib.sha256(f"{FORMAT}\n".encode())
    for one in files:
        digest.update(f"{one.name}\0{one.size}\0{one.modified_ns}\n".encode())
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
