"""Backups: a manifest that names the archives of a home at one moment, in a folder with all that were made before.

Belongs here: creating, listing and verifying them, and which go after how long. An archive that has not changed is not
written again: manifests share it. A manifest is written last, so that a process killed at any moment leaves the
backups that there were; what it left besides is removed by the next.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.lease import locked
from qol_dagster.maintenance.archives import (
    Archive,
    BackupError,
    ChangedMeanwhileError,
    damaged_members,
    sha256_of,
    write_archive,
)
from qol_dagster.maintenance.contents import FORMAT, STATE, HomeFile, fingerprint, list_contents
from qol_dagster.metrics.dictionary import METRICS_VERSION
from qol_ingest.shared import files
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
    """A manifest: what a backup consists of, when it was made and by what, and when all of it was last verified."""

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


def require_backup_folder(folder: Path | None, home: Path) -> Path:
    """Return the folder of backups. Raises BackupError without one, or if it would be lost with the home."""
    if folder is None:
        raise BackupError(
            "there is no folder for backups", advice="Set QOL_BACKUP_DIR to one on another disk than QOL_HOME"
        )
    if folder.resolve().is_relative_to(home.resolve()):
        raise BackupError(f"{folder} is in QOL_HOME and would be lost with it", advice="Choose one on another disk")
    return folder


def create_backup(home: Path, folder: Path, on_progress: Progress | None = None) -> Created:
    """Back a home up into a folder, which is made if it is missing.

    A run that writes tables is waited for, and waits itself; whoever receives data does not. What is written is read
    back, and what is not written again is compared with its hash, so that a new backup is a verified one. Raises
    BackupError.
    """
    with _writing(folder), Lake.local(_lake_of(home)).lock():
        earlier = {one.file: one for backup in _readable(folder) for one in backup.archives}
        contents = list_contents(home)
        archives, written = [], []
        for done, part in enumerate(contents.parts):  # the state first: what leaves a queue is in the lake by then
            archive, is_new = _archive(home, part, contents.parts[part], folder, earlier)
            archives.append(archive)
            written += [archive] if is_new else []
            if on_progress:
                on_progress(done + 1, len(contents.parts))
        backup = _write_manifest(folder, archives)
        _note_verified(folder, backup)
    return Created(backup, tuple(written), tuple(contents.unknown))


def rewrite_backup(folder: Path, backup: Backup, home: Path) -> Backup:
    """Have a backup consist of what a home holds, under its name and of its time. Whole or not at all.

    The archives it consisted of go, unless another backup names them. Raises BackupError.
    """
    with _writing(folder):
        _lake_of(home)
        earlier = {one.file: one for other in _readable(folder) for one in other.archives}
        parts = list_contents(home).parts
        archives = tuple(_archive(home, part, parts[part], folder, earlier)[0] for part in parts)
        rewritten = replace(backup, archives=archives)
        files.replace(folder / f"{PREFIX}{backup.name}.json", _manifest(rewritten))
        _note_verified(folder, rewritten)
        for path in orphaned_files(folder, ()):
            path.unlink(missing_ok=True)
    return rewritten


def list_backups(folder: Path) -> list[Backup]:
    """Return the backups of a folder, the oldest first; none of a folder that is missing. Raises BackupError."""
    if not folder.is_dir():
        return []
    return sorted(map(read_backup, folder.glob(f"{PREFIX}*.json")), key=lambda one: one.created_at)


def find_backup(folder: Path, name: str = "") -> Backup:
    """Return a backup by its name, or the newest. Raises BackupError."""
    backups = list_backups(folder)
    named = [one for one in backups if one.name == name.removeprefix(PREFIX)] if name else backups
    if not named:
        what = f"no backup {name}" if name else "no backup"
        raise BackupError(f"there is {what} in {folder}", advice="`qol backup list` shows which there are")
    return named[-1]


def read_backup(manifest: Path) -> Backup:
    """Return the backup of a manifest. Raises BackupError if it is damaged."""
    try:
        noted = json.loads(manifest.read_bytes())
        if noted["format"] != FORMAT:
            raise BackupError(f"{manifest} was written by a newer release; use that to read it")
        archives = tuple(Archive(**{**one, "file": Path(one["file"]).name}) for one in noted["archives"])
        created = datetime.fromisoformat(noted["created_at"])
        return Backup(noted["name"], created, noted["made_by"], archives, _verified_at(manifest.parent, noted["name"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(
            f"{manifest} is damaged: it is no manifest of a backup",
            advice="Move it away; the archives stay, and other backups name them",
        ) from error


def verify_backup(folder: Path, backup: Backup, on_progress: Progress | None = None) -> list[str]:
    """Read every byte of a backup, and return what is wrong: a line for each, with archive and member.

    A backup without fault is noted as verified, if the folder can be written.
    """
    problems: list[str] = []
    for done, one in enumerate(backup.archives):
        problems += [f"{one.file}: {problem}" for problem in _damage(folder, one)]
        if on_progress:
            on_progress(done + 1, len(backup.archives))
    with suppress(OSError):  # a disk to restore from may be read-only
        if problems:
            (folder / f"{PREFIX}{backup.name}{VERIFIED}").unlink(missing_ok=True)
        else:
            _note_verified(folder, backup)
    return problems


def newest_verified(folder: Path) -> Backup | None:
    """Return the newest backup that was verified; damaged manifests are passed over."""
    return max((one for one in _readable(folder) if one.verified_at), key=lambda one: one.created_at, default=None)


def expired_backups(backups: Sequence[Backup], newest: int, today: date) -> list[Backup]:
    """Return which backups go: all but the `newest`, the last of each of the last months, and the newest verified."""
    first = date(today.year - MONTHS_KEPT // 12, today.month, 1)
    by_month = {f"{one.created_at:%Y-%m}": one for one in backups if one.created_at.date() >= first}
    verified = [one for one in backups if one.verified_at][-1:]
    kept = {one.name for one in (*backups[-newest:], *by_month.values(), *verified)}
    return [one for one in backups if one.name not in kept]


def orphaned_files(folder: Path, going: Collection[Backup]) -> list[Path]:
    """Return the archives and marks in a folder that no backup names but those that go."""
    names = {one.name for one in going}
    kept = [one for one in list_backups(folder) if one.name not in names]
    named = {archive.file for one in kept for archive in one.archives}
    named |= {f"{PREFIX}{one.name}{VERIFIED}" for one in kept}
    found = sorted([*folder.glob("*.zip"), *folder.glob(f"{PREFIX}*{VERIFIED}")]) if folder.is_dir() else []
    return [one for one in found if one.name not in named]


def remove_backups(folder: Path, going: Sequence[Backup]) -> None:
    """Remove backups, and the archives that no other names. Raises BackupError."""
    with _writing(folder):
        for one in going:  # first the manifest: what is left of a killed removal is named by none
            (folder / f"{PREFIX}{one.name}.json").unlink(missing_ok=True)
        for path in orphaned_files(folder, ()):
            path.unlink(missing_ok=True)


def _lake_of(home: Path) -> Path:
    """Return the lake of a home that can be backed up. Raises BackupError without one."""
    if not (home / "lake").is_dir():
        raise BackupError(f"{home} holds no lake: there is nothing to back up")
    return home / "lake"


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make the folder, for its owner alone, and wait for whoever else writes there; clear what a killed one left."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            for leftover in folder.glob(".*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
                leftover.unlink(missing_ok=True)
            yield
    except OSError as error:
        raise BackupError(f"the backup to {folder} failed: {reason(error)}; those before it are whole") from error


def _readable(folder: Path) -> Iterator[Backup]:
    """Yield the backups whose manifests are whole: a damaged one must not keep others from being made."""
    for manifest in sorted(folder.glob(f"{PREFIX}*.json")):
        with suppress(BackupError):
            yield read_backup(manifest)


def _archive(
    home: Path, part: str, listed: list[HomeFile], folder: Path, earlier: Mapping[str, Archive]
) -> tuple[Archive, bool]:
    """Return the archive of a part, and whether it was written now. Raises BackupError."""
    for _ in range(LISTINGS):
        mark = fingerprint(listed)
        if (known := earlier.get(f"{part}.{mark[:16]}.zip")) and not _damage(folder, known):
            return known, False
        try:
            return write_archive(home, part, listed, mark, folder), True
        except ChangedMeanwhileError:
            listed = list_contents(home).parts.get(part, [])
    raise BackupError(f"the files of {part} are replaced again and again", advice="Create the backup again later")


def _write_manifest(folder: Path, archives: Sequence[Archive]) -> Backup:
    while True:
        now = datetime.now(UTC).replace(microsecond=0)
        made_by = {"software": f"qol-dagster {version('qol-dagster')}", "metrics_version": METRICS_VERSION}
        backup = Backup(f"{now:{TIME}}", now, made_by, tuple(archives))
        try:
            if files.write_new(folder / f"{PREFIX}{backup.name}.json", _manifest(backup)):
                return backup
        except OSError as error:
            raise BackupError(
                f"{folder} could not be written: {reason(error)}; the backups before it are whole",
                advice="Free some space, or mend the permissions, and create the backup again",
            ) from error
        time.sleep(0.1)  # there is one of this very second


def _manifest(backup: Backup) -> bytes:
    noted = {
        "format": FORMAT,
        "name": backup.name,
        "created_at": backup.created_at.isoformat(),
        "made_by": dict(backup.made_by),
        "archives": [asdict(one) for one in backup.archives],
    }
    return json.dumps(noted, indent=1).encode()


def _damage(folder: Path, archive: Archive) -> list[str]:
    path = folder / archive.file
    try:
        if not path.exists():
            return ["is missing"]
        if sha256_of(path) == archive.sha256:
            return []
    except OSError as error:
        return [f"cannot be read: {reason(error)}"]
    return damaged_members(path) or ["is damaged, though its members are whole"]


def _note_verified(folder: Path, backup: Backup) -> None:
    mark = folder / f"{PREFIX}{backup.name}{VERIFIED}"
    files.replace(mark, datetime.now(UTC).isoformat(timespec="seconds").encode())


def _verified_at(folder: Path, name: str) -> datetime | None:
    try:
        return datetime.fromisoformat((folder / f"{PREFIX}{name}{VERIFIED}").read_text())
    except (OSError, ValueError):
        return None
