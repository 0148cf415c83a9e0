"""The backups of a home, when a person is erased: each that holds the person is made anew without them.

Belongs here: the one place where an erasure reaches into backups. A backup is restored beside its place, the ledger is
replayed there, and what is left becomes the backup, under its name and of its time.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from qol_dagster.erasure.names import Person
from qol_dagster.erasure.search import search
from qol_dagster.maintenance.backup import list_backups, remove_backups, rewrite_backup
from qol_dagster.maintenance.contents import LEDGER, BackupError, Home
from qol_dagster.maintenance.restore import restore_backup
from qol_dagster.maintenance.stores import FolderStore, sha256_of
from qol_dagster.settings import Settings
from qol_ingest.shared.erasures import Ledger

WORK = ".erasing"
"""Folder beside the backups in which one at a time is unpacked. Not a `.tmp`: whoever writes a backup removes those."""


def erase_from_backups(
    settings: Settings,
    person: Person,
    replay: Callable[[Settings], bool],
    log: Callable[[str], object],
) -> dict[str, str]:
    """Take the person out of all backups in QOL_BACKUP_DIR; return what could not be, and why.

    `replay` erases in a home, which is not this one, whoever its ledger names, and returns whether nothing is left.
    Killed at any moment, each backup is the old one or the new one, and the next call does the rest.
    """
    folder = settings.backup_dir
    if folder is None:
        return {}
    if not folder.is_dir():
        return {"QOL_BACKUP_DIR": "cannot be looked into: mount or make it, and give the same command again"}
    left: dict[str, str] = {}
    store = FolderStore(folder)
    begun = datetime.fromisoformat(max(one.at for one in Ledger(settings.home).entries() if one.state == "begun"))
    work = folder / WORK
    shutil.rmtree(work, ignore_errors=True)
    try:
        for backup in list_backups(store):
            try:
                log(f"looking through the backup {backup.name}")
                restored_ns = time.time_ns()
                restore_backup(store, backup, work / "home", ledger=settings.home / LEDGER, replay=lambda _home: None)
                home = replace(settings, home=work / "home", backup_dir=None)
                if search(home.home, person).found:
                    if not replay(home):
                        left[f"backup {backup.name}"] = (
                            "a record of somebody else names the person: remove this backup once there is a newer one"
                        )
                    _set_times(home.home, restored_ns, at=begun)
                    rewrite_backup(store, backup, Home(home.home))
            except BackupError as error:
                left[f"backup {backup.name}"] = str(error)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        remove_backups(store, ())  # archives that no manifest names any more, or not yet, when somebody was killed
    except BackupError as error:
        left["QOL_BACKUP_DIR"] = str(error)
    return left


def _set_times(home: Path, since_ns: int, at: datetime) -> None:
    """Give each file that was written since then the second `at`, and a fraction of it that follows from its bytes.

    An archive is known by names, sizes and times. So a month that comes out the same in two backups is one archive, and
    one that does not is another.
    """
    for path in home.rglob("*"):
        if path.is_file() and path.stat().st_mtime_ns >= since_ns:
            moment_ns = int(at.timestamp()) * 10**9 + int(sha256_of(path)[:15], 16) % 10**9
            os.utime(path, ns=(moment_ns, moment_ns))
