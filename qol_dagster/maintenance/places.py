"""Which source and which store the settings name, and making a backup of the one in the other.

Belongs here: the choice between one machine and AWS, and which backups go when there is no other job that removes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.lease import Lease
from qol_dagster.lake.objects import s3_store
from qol_dagster.lake.shared_object import SharedObject
from qol_dagster.maintenance.backup import (
    Backup,
    Created,
    Progress,
    create_backup,
    expired_backups,
    list_backups,
    remove_backups,
)
from qol_dagster.maintenance.contents import BackupError, Home, Source
from qol_dagster.maintenance.stores import BackupStore, BucketStore, FolderStore
from qol_dagster.settings.retention import KINDS
from qol_ingest.shared import aws, keys
from qol_ingest.shared.erasures import Entry
from qol_ingest.shared.erasures_s3 import S3Ledger

if TYPE_CHECKING:
    from qol_dagster.settings import Settings

LOCK = f"{keys.LOCKS}/backup"
"""Of the lake's bucket: under Object Lock each renewal of a lease would stay for months."""
CHECKED = {"checksum_algorithm": "SHA256"}
"""S3 compares what comes with it, and takes nothing under Object Lock without."""


def is_set_up(settings: Settings) -> bool:
    """Return whether there is a place for backups."""
    return bool(settings.backup_dir or settings.backup_bucket)


def open_source(settings: Settings) -> Source:
    """Return what is backed up."""
    if settings.target == "local":
        return Home(settings.home)
    from qol_dagster.maintenance.deployment import Deployment

    return Deployment(settings, aws.session(settings.backup_role))


def open_store(settings: Settings, folder: Path | None = None) -> BackupStore:
    """Return where backups are: the folder that is given, or else that or the bucket of the settings.

    Raises BackupError without one, or if it would be lost with the home.
    """
    if folder is None and settings.target == "aws":
        return _bucket(settings)
    if (folder := folder or settings.backup_dir) is None:
        raise BackupError(
            "there is no folder for backups", advice="Set QOL_BACKUP_DIR to one on another disk than QOL_HOME"
        )
    if settings.target == "local" and folder.resolve().is_relative_to(settings.home.resolve()):
        raise BackupError(f"{folder} is in QOL_HOME and would be lost with it", advice="Choose one on another disk")
    return FolderStore(folder)


def back_up(settings: Settings, store: BackupStore, on_progress: Progress | None = None) -> Created:
    """Make a backup. On AWS those go then that are older than they are kept, and those from before an erasure.

    On one machine `retention_job` removes the former, and an erasure itself has the latter made anew. Raises
    BackupError.
    """
    created = create_backup(open_source(settings), store, on_progress)
    if isinstance(store, BucketStore):
        ledger = S3Ledger(settings.bucket, client=aws.session(settings.backup_role).client("s3", config=aws.patience()))
        backups = [one for one in list_backups(store) if one.name != created.backup.name]
        remove_backups(store, outdated_backups(backups, ledger.entries(), datetime.now(UTC).date()))
    return created


def outdated_backups(backups: Sequence[Backup], entries: Sequence[Entry], today: date) -> list[Backup]:
    """Return which backups of a bucket go when there is one more: old ones, and those from before an erasure ended."""
    ended = max((datetime.fromisoformat(one.at) for one in entries if one.state == "finished"), default=None)
    old = {one.name for one in expired_backups(backups, (KINDS["backups"].days or 1) - 1, today)}
    return [one for one in backups if one.name in old or (ended and one.created_at < ended)]


def _bucket(settings: Settings) -> BucketStore:
    if not settings.backup_bucket:
        raise BackupError("there is no bucket for backups", advice="Set QOL_BACKUP_BUCKET")
    session = aws.session(settings.backup_role)
    lease = Lease(SharedObject(Lake.s3(settings.bucket, session=session).store, LOCK))
    store = s3_store(settings.backup_bucket, CHECKED, session)
    return BucketStore(store, settings.backup_bucket, settings.temp_dir / "backup", lease.held)
