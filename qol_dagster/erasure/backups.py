"""The backups of a home, when a person is erased: each that holds the person is made anew without them.

Belongs here: the one place where an erasure reaches into backups. A backup is restored beside its place, the ledger is
replayed there, and what is left becomes the backup, under its name and of its time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

from qol_dagster.erasure.names import Person
from qol_dagster.erasure.search import search
from qol_dagster.maintenance.backup import list_backups, rewrite_backup
from qol_dagster.maintenance.contents import LEDGER, BackupError, Home
from qol_dagster.maintenance.restore import restore_backup
from qol_dagster.maintenance.stores import FolderStore
from qol_dagster.settings import Settings

WORK = ".erasing"
"""Folder beside the backups in which one at a time is unpacked. Not a `.tmp`: whoever writes a backup removes those."""


def erase_from_backups(
    settings: Settings, person: Person, replay: Callable[[Settings], object], log: Callable[[str], object]
) -> dict[str, str]:
    """Take the person out of all backups in QOL_BACKUP_DIR; return what could not be, and why.

    `replay` erases in a home, which is not this one, whoever its ledger names. Killed at any moment, each backup is the
    old one or the new one, and the next call does the rest.
    """
    folder = settings.backup_dir
    if folder is None:
        return {}
    if not folder.is_dir():
        return {"QOL_BACKUP_DIR": "cannot be looked into: mount or make it, and give the same command again"}
    left: dict[str, str] = {}
    store = FolderStore(folder)
    work = folder / WORK
    shutil.rmtree(work, ignore_errors=True)
    try:
        for backup in list_backups(store):
            try:
                log(f"looking through the backup {backup.name}")
                restore_backup(store, backup, work / "home", ledger=settings.home / LEDGER, replay=lambda _home: None)
                home = replace(settings, home=work / "home", backup_dir=None)
                if search(home.home, person).found:
                    replay(home)
                    rewrite_backup(store, backup, Home(home.home))
            except BackupError as error:
                left[f"backup {backup.name}"] = str(error)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except BackupError as error:
        left["QOL_BACKUP_DIR"] = str(error)
    return left
