"""Restoring a home from a backup: all of it is verified and unpacked beside its place, and then put there at once.

Belongs here: unpacking, and replaying erasures before anything can be read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.raw_notes import renote_raw
from qol_dagster.maintenance.archives import DamagedBackupError, Member, unpack_archive
from qol_dagster.maintenance.backup import Backup, Progress, verify_backup
from qol_dagster.maintenance.contents import LEDGER, LEDGER_KEY, BackupError
from qol_dagster.maintenance.stores import BackupStore
from qol_ingest.shared import files
from qol_ingest.shared.errors import reason

Replay = Callable[[Path], object]


class NotEmptyError(BackupError):
    """A home that is to be restored to holds something."""


def restore_backup(
    store: BackupStore,
    backup: Backup,
    home: Path,
    *,
    replay: Replay,
    ledger: Path | None = None,
    on_progress: Progress | None = None,
) -> int:
    """Put a backup into an empty home, and return how many files it has.

    `ledger`: the erasures of a newer home, with their key beside them, which are replayed too. `replay` erases in a
    home whoever its ledger names. A process killed at any moment leaves the home empty or whole. Raises NotEmptyError,
    DamagedBackupError and BackupError.
    """
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise NotEmptyError(f"{home} is not empty", advice="Restore to a folder that is, or that is not there yet")
    if problems := verify_backup(store, backup):
        raise DamagedBackupError(
            f"{store.place}/{problems[0]}; nothing was restored", advice="`qol backup list` shows the other backups"
        )
    staging = home.absolute().with_name(f".{home.absolute().name}.restoring")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700, parents=True)
        members = _unpack(store, backup, staging, on_progress)
        _renote(staging, {one.name: one.tag for one in members if one.tag})
        merge_ledgers(staging, ledger)
        replay(staging)
        os.sync()
        if home.exists():
            home.rmdir()
        staging.rename(home.absolute())
        files.sync_folder(home.absolute().parent)
    except OSError as error:
        raise BackupError(
            f"{home} could not be written: {reason(error)}; nothing was restored",
            advice="Restore to a folder that is not there yet, on a disk with space for it: no mount point",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return len(members)


def merge_ledgers(home: Path, newer: Path | None) -> None:
    """Add to a home's ledger the entries of a newer one that it has not, in their order, and its key.

    Raises BackupError, also if the two have different keys: then none could be read with the other's.
    """
    if newer is None:
        return
    try:
        key = (newer.parent / LEDGER_KEY).read_bytes()
        known = _entries(home / LEDGER)
        entries = [*known, *(one for one in newer.read_bytes().splitlines() if one not in set(known))]
    except OSError as error:
        raise BackupError(
            f"{error.filename} cannot be read: {reason(error)}; nothing was restored",
            advice=f"A ledger has its key beside it: copy {LEDGER_KEY} too",
        ) from error
    if known and (home / LEDGER_KEY).read_bytes() != key:
        raise BackupError(
            f"{newer} has another key than the backup's own ledger: it is of another installation",
            advice="Give the ledger of the home that this backup was made of",
        )
    files.replace(home / LEDGER_KEY, key)
    files.replace(home / LEDGER, b"".join(one + b"\n" for one in entries if one.strip()))


def _entries(ledger: Path) -> Sequence[bytes]:
    return [one for one in ledger.read_bytes().splitlines() if one.strip()] if ledger.exists() else []


def _renote(home: Path, tags: Mapping[str, str]) -> None:
    """Have days that were computed of objects of S3 be up to date as computed of files."""
    if tags:
        lake = Lake.local(home / "lake")
        before = {
            day: [replace(one, etag=tags.get(f"lake/{one.key}", one.etag)) for one in lake.raw_objects(day)]
            for day in lake.raw_days()
        }
        renote_raw(lake, before, lake.raw_objects)


def _unpack(store: BackupStore, backup: Backup, home: Path, on_progress: Progress | None) -> list[Member]:
    members: list[Member] = []
    for done, one in enumerate(backup.archives):
        members += unpack_archive(store, one.file, home)
        if on_progress:
            on_progress(done + 1, len(backup.archives))
    return members
