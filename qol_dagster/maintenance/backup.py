"""Backups: a manifest that names the archives of a home at one moment, in a store with all that were made before.

Belongs here: creating, listing and verifying them, and which go after how long. An archive that has not changed is not
written again: manifests share it. A manifest is written last, so that a process killed at any moment leaves the
backups that there were; what it left besides is removed by the next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

from qol_dagster.maintenance.archives import (
    Archive,
    ChangedMeanwhileError,
    archive_name,
    damaged_members,
    write_archive,
)
from qol_dagster.maintenance.contents import FORMAT, STATE, BackupError, HomeFile, Source
from qol_dagster.maintenance.stores import BackupStore
from qol_dagster.metrics.dictionary import METRICS_VERSION
from qol_ingest.shared.errors import reason

Progress = Callable[[int, int], None]

PREFIX = "backup-"
VERIFIED = ".verified"
"""What follows a backup's name in the name of the file that says when it was last verified."""
TIME = "%Y-%m-%dT%H-%M-%SZ"
LISTINGS = 5
"""So often is a month listed again whose tables are replaced while it is written."""
MONTHS_KEPT = 12
"""The newest backup of each of the last months stays, whatever its age in days."""


@dataclass(frozen=True)
class Backup:
    """A manifest: what a backup consists of, since when it was made and by what, and when all was last verified."""

    name: str
    created_at: datetime
    made_by: Mapping[str, str]
    archives: tuple[Archive, ...]
    verified_at: datetime | None = None

    @property
    def bytes(self) -> int:
        """Bytes of all its archives."""
        return sum(one.bytes for one in self.archives)

    @property
    def months(self) -> list[str]:
        """Return the months that it has archives of, in order."""
        return [one.part for one in self.archives if one.part != STATE]


@dataclass(frozen=True)
class Created:
    """A backup that was made: which of its archives are new, and names in the home that it knows nothing of."""

    backup: Backup
    written: tuple[Archive, ...]
    unknown: tuple[str, ...]

    @property
    def unchanged(self) -> int:
        """How many archives were there already."""
        return len(self.backup.archives) - len(self.written)


def create_backup(source: Source, store: BackupStore, on_progress: Progress | None = None) -> Created:
    """Back up, into a store that is made if it is missing.

    A run that writes tables and an erasure are waited for, and wait themselves; whoever receives data does not. What is
    written is read back, and what is not written again is compared with its hash, so that a new backup is a verified
    one. Raises BackupError.
    """
    with source.without_erasures(), _writing(store) as work:
        earlier = list(_readable(store))
        damage = cache(partial(_damage, store))
        for one in earlier[-1].archives if earlier else ():  # before runs have to wait
            damage(one)
        known = {one.file: one for backup in earlier for one in backup.archives}
        with source.held():
            began = datetime.now(UTC).replace(microsecond=0)  # whatever is done from now on may not be in it
            contents = source.contents()
            archives, written = [], []
            for done, part in enumerate(contents.parts):  # the state first: what leaves a queue is in the lake by then
                archive, is_new = _archive(source, part, contents.parts[part], _Target(store, work, known, damage))
                archives.append(archive)
                written += [archive] if is_new else []
                if on_progress:
                    on_progress(done + 1, len(contents.parts))
            backup = _write_manifest(store, archives, began)
            _note_verified(store, backup)
    return Created(backup, tuple(written), tuple(contents.unknown))


def rewrite_backup(store: BackupStore, backup: Backup, source: Source) -> Backup:
    """Have a backup consist of what a source holds, under its name and of its time. Whole or not at all.

    The archives it consisted of go, unless another backup names them. Raises BackupError.
    """
    with _writing(store) as work, source.held():
        known = {one.file: one for other in _readable(store) for one in other.archives}
        parts = source.contents().parts
        target = _Target(store, work, known, partial(_damage, store))
        archives = tuple(_archive(source, part, parts[part], target)[0] for part in parts)
        rewritten = replace(backup, archives=archives)
        store.replace(f"{PREFIX}{backup.name}.json", _manifest(rewritten))
        _note_verified(store, rewritten)
        for name in orphaned_files(store, ()):
            store.remove(name)
    return rewritten


def list_backups(store: BackupStore) -> list[Backup]:
    """Return the backups of a store, the oldest first; none of one that is not there yet. Raises BackupError."""
    return sorted((read_backup(store, name) for name in _manifests(store)), key=lambda one: one.created_at)


def find_backup(store: BackupStore, name: str = "") -> Backup:
    """Return a backup by its name, or the newest. Raises BackupError."""
    backups = list_backups(store)
    named = [one for one in backups if one.name == name.removeprefix(PREFIX)] if name else backups
    if not named:
        what = f"no backup {name}" if name else "no backup"
        raise BackupError(f"there is {what} in {store.place}", advice="`qol backup list` shows which there are")
    return named[-1]


def read_backup(store: BackupStore, manifest: str) -> Backup:
    """Return the backup of a manifest. Raises BackupError if it is damaged."""
    where = f"{store.place}/{manifest}"
    try:
        noted = json.loads(store.read(manifest))
        if noted["format"] != FORMAT:
            raise BackupError(f"{where} was written by a newer release; use that to read it")
        archives = tuple(Archive(**{**one, "file": Path(one["file"]).name}) for one in noted["archives"])
        created = datetime.fromisoformat(noted["created_at"])
        return Backup(noted["name"], created, noted["made_by"], archives, _verified_at(store, noted["name"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(
            f"{where} is damaged: it is no manifest of a backup",
            advice="Move it away; the archives stay, and other backups name them",
        ) from error


def verify_backup(store: BackupStore, backup: Backup, on_progress: Progress | None = None) -> list[str]:
    """Read every byte of a backup, and return what is wrong: a line for each, with archive and member.

    A backup without fault is noted as verified, if the store can be written.
    """
    problems: list[str] = []
    for done, one in enumerate(backup.archives):
        problems += [f"{one.file}: {problem}" for problem in _damage(store, one)]
        if on_progress:
            on_progress(done + 1, len(backup.archives))
    with suppress(OSError):  # a disk to restore from may be read-only
        if problems:
            store.remove(f"{PREFIX}{backup.name}{VERIFIED}")
        else:
            _note_verified(store, backup)
    return problems


def newest_verified(store: BackupStore) -> Backup | None:
    """Return the newest backup that was verified; damaged manifests are passed over."""
    return max((one for one in _readable(store) if one.verified_at), key=lambda one: one.created_at, default=None)


def expired_backups(backups: Sequence[Backup], newest: int, today: date) -> list[Backup]:
    """Return which backups go: all but the `newest`, the last of each of the last months, and the newest verified."""
    first = date(today.year - MONTHS_KEPT // 12, today.month, 1)
    by_month = {f"{one.created_at:%Y-%m}": one for one in backups if one.created_at.date() >= first}
    verified = [one for one in backups if one.verified_at][-1:]
    kept = {one.name for one in (*backups[-newest:], *by_month.values(), *verified)}
    return [one for one in backups if one.name not in kept]


def orphaned_files(store: BackupStore, going: Collection[Backup]) -> list[str]:
    """Return the names of archives and marks in a store that no backup names but those that go."""
    names = {one.name for one in going}
    kept = [one for one in list_backups(store) if one.name not in names]
    named = {archive.file for one in kept for archive in one.archives}
    named |= {f"{PREFIX}{one.name}{VERIFIED}" for one in kept}
    return [one for one in store.names() if one.endswith((".zip", VERIFIED)) and one not in named]


def remove_backups(store: BackupStore, going: Sequence[Backup]) -> None:
    """Remove backups, and the archives that no other names, also those a killed process left. Raises BackupError."""
    with _writing(store):
        for one in going:  # first the manifest: what is left of a killed removal is named by none
            store.remove(f"{PREFIX}{one.name}.json")
        for name in orphaned_files(store, ()):
            store.remove(name)


@dataclass(frozen=True)
class _Target:
    """Where archives are written, which there are by name, and what is damaged in one."""

    store: BackupStore
    work: Path
    known: Mapping[str, Archive]
    damage: Callable[[Archive], list[str]]


@contextmanager
def _writing(store: BackupStore) -> Iterator[Path]:
    try:
        with store.writing() as work:
            yield work
    except OSError as error:
        raise BackupError(f"the backup to {store.place} failed: {reason(error)}; those before it are whole") from error


def _manifests(store: BackupStore) -> list[str]:
    try:
        return [one for one in store.names() if one.startswith(PREFIX) and one.endswith(".json")]
    except OSError as error:
        raise BackupError(f"{store.place} cannot be read: {reason(error)}") from error


def _readable(store: BackupStore) -> Iterator[Backup]:
    """Yield the backups whose manifests are whole: a damaged one must not keep others from being made."""
    for manifest in _manifests(store):
        with suppress(BackupError):
            yield read_backup(store, manifest)


def _archive(source: Source, part: str, listed: list[HomeFile], target: _Target) -> tuple[Archive, bool]:
    """Write the archive of a part unless it is there, and return it and whether it was written. Raises BackupError."""
    for _ in range(LISTINGS):
        if (known := target.known.get(archive_name(part, listed))) and not target.damage(known):
            return known, False
        try:
            return write_archive(source, part, listed, target.store, target.work), True
        except ChangedMeanwhileError:
            listed = source.contents().parts.get(part, [])
    raise BackupError(f"the files of {part} are replaced again and again", advice="Create the backup again later")


def _write_manifest(store: BackupStore, archives: Sequence[Archive], began: datetime) -> Backup:
    made_by = {"software": f"qol-dagster {version('qol-dagster')}", "metrics_version": METRICS_VERSION}
    while True:
        backup = Backup(f"{began:{TIME}}", began, made_by, tuple(archives))
        try:
            if store.create(f"{PREFIX}{backup.name}.json", _manifest(backup)):
                return backup
        except OSError as error:
            raise BackupError(
                f"{store.place} could not be written: {reason(error)}; the backups before it are whole",
                advice="Free some space, or mend the permissions, and create the backup again",
            ) from error
        began += timedelta(seconds=1)  # there is one of this very second


def _manifest(backup: Backup) -> bytes:
    noted = {
        "format": FORMAT,
        "name": backup.name,
        "created_at": backup.created_at.isoformat(),
        "made_by": dict(backup.made_by),
        "archives": [asdict(one) for one in backup.archives],
    }
    return json.dumps(noted, indent=1).encode()


def _damage(store: BackupStore, archive: Archive) -> list[str]:
    try:
        if store.sha256(archive.file) == archive.sha256:
            return []
        with store.opened(archive.file) as file:
            return damaged_members(file) or ["is damaged, though its members are whole"]
    except FileNotFoundError:
        return ["is missing"]
    except OSError as error:
        return [f"cannot be read: {reason(error)}"]


def _note_verified(store: BackupStore, backup: Backup) -> None:
    mark = f"{PREFIX}{backup.name}{VERIFIED}"
    store.replace(mark, datetime.now(UTC).isoformat(timespec="seconds").encode())


def _verified_at(store: BackupStore, name: str) -> datetime | None:
    try:
        return datetime.fromisoformat(store.read(f"{PREFIX}{name}{VERIFIED}").decode())
    except (OSError, ValueError):
        return None
