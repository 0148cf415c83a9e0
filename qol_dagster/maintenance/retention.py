"""Retention: what of a home is older than `settings/retention.py` has it kept, and removing that.

Belongs here: files and backups. Not here: Dagster's runs, which `defs/retention.py` removes; how long anything is kept.

What stays whatever is set: rows of freezes, the ledger of erasures, and raw dates from `QOL_START_DATE` on, since days
are computed from them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.errors import QolError
from qol_dagster.lake.freeze import freezes
from qol_dagster.lake.lake import Lake
from qol_dagster.maintenance.backup import Backup, expired_backups, list_backups, orphaned_files, remove_backups
from qol_dagster.maintenance.stores import FolderStore
from qol_dagster.metrics.tables import all_tables
from qol_dagster.settings.retention import KINDS, KindName, kept_days
from qol_ingest.shared.calendar import JST, receipt_date
from qol_ingest.shared.errors import reason

if TYPE_CHECKING:
    from qol_dagster.settings import Settings

_DATED = re.compile(r"/(?:date|week)=(\d{4}-\d\d-\d\d)(?:/|$)")


class RetentionError(QolError):
    """What is older than it is kept could not be removed."""


@dataclass(frozen=True)
class Expired:
    """A file that goes: its date is that of its folder, or that on which it was written in Japan."""

    path: Path
    bytes: int
    date: date


@dataclass(frozen=True)
class KindPlan:
    """What goes of a kind, and for how long it is kept: days, of backups how many, None for ever."""

    kind: KindName
    kept: int | None
    files: tuple[Expired, ...] = ()
    backups: tuple[Backup, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes that will be free."""
        return sum(one.bytes for one in self.files)

    @property
    def dates(self) -> tuple[date, date] | None:
        """Return the oldest and the newest date of what goes."""
        dates = [one.date for one in self.files]
        return (min(dates), max(dates)) if dates else None


def plan_retention(settings: Settings, today: date) -> list[KindPlan]:
    """Return what goes of each kind of files as of a date in Japan. Raises LakeError and BackupError."""
    kept = kept_days(settings.retention)
    plans = [
        KindPlan(kind, days, tuple(_expired(settings, kind, days, today)) if days else ())
        for kind, days in kept.items()
        if KINDS[kind].folders
    ]
    return [*plans, _plan_backups(settings, kept["backups"], today)]


def run_retention(settings: Settings, today: date) -> list[KindPlan]:
    """Remove what is older than it is kept, and return what that was. A run that writes tables is waited for.

    Raises RetentionError, LakeError and BackupError.
    """
    with Lake.local(settings.lake_dir).lock():  # a freeze made meanwhile would need what was planned to go
        plans = plan_retention(settings, today)
        for one in (file for plan in plans if plan.kind != "backups" for file in plan.files):
            _remove(one.path, settings.home)
    if settings.backup_dir and plans[-1].files:
        remove_backups(FolderStore(settings.backup_dir), plans[-1].backups)
    return plans


def _expired(settings: Settings, kind: KindName, days: int, today: date) -> Iterator[Expired]:
    frozen = _frozen(settings) if kind == "history" else frozenset()
    for folder in KINDS[kind].folders:
        for path in sorted((settings.home / folder).rglob("*")):
            if path.name.startswith(".") or not path.is_file():
                continue
            with contextlib.suppress(FileNotFoundError):  # what was tried in vain may be tried again
                found = _aged(path, is_dated=kind != "history")
                if (today - found.date).days > days and not _stays(settings, kind, found, frozen):
                    yield found


def _stays(settings: Settings, kind: KindName, file: Expired, frozen: frozenset[Path]) -> bool:
    """Whether a file stays though it is old."""
    if kind == "raw":
        return file.date >= settings.start_date
    return kind == "history" and (file.path in frozen or file.path.suffix != ".parquet")  # the log is kept


def _frozen(settings: Settings) -> frozenset[Path]:
    """Return the objects of all freezes."""
    lake = Lake.local(settings.lake_dir)
    states = [state for one in freezes(lake) for table in all_tables() for state in one.states(table).values()]
    return frozenset(settings.lake_dir / key for state in states for key in state.keys)


def _aged(path: Path, *, is_dated: bool) -> Expired:
    stat = path.stat()
    dated = _DATED.search(path.as_posix()) if is_dated else None
    day = date.fromisoformat(dated[1]) if dated else receipt_date(datetime.fromtimestamp(stat.st_mtime, UTC))
    return Expired(path, stat.st_size, day)


def _plan_backups(settings: Settings, newest: int | None, today: date) -> KindPlan:
    if settings.backup_dir is None or newest is None:
        return KindPlan("backups", newest)
    store = FolderStore(settings.backup_dir)
    backups = list_backups(store)
    going = expired_backups(backups, newest, today)
    made = {one.name: one.created_at.astimezone(JST).date() for one in going}
    manifests = [(settings.backup_dir / f"backup-{name}.json", day) for name, day in made.items()]
    files = [Expired(path, path.stat().st_size, day) for path, day in manifests]
    files += [_aged(settings.backup_dir / name, is_dated=False) for name in orphaned_files(store, going)]
    return KindPlan("backups", newest, tuple(files), tuple(going))


def _remove(path: Path, home: Path) -> None:
    """Remove a file, and the folder of its date if that is empty then."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        name = path.parent.relative_to(home)
        raise RetentionError(f"a file of {name} could not be removed: {reason(error)}") from error
    if _DATED.search(path.parent.as_posix()):
        with contextlib.suppress(OSError):  # it has others
            path.parent.rmdir()
