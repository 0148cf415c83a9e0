"""A deployment on AWS in the form of a home: read for a backup, and put back from one.

Belongs here: which objects and tables have which place in a home. So a backup is the same thing wherever it was made,
and either form is restored from it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.lease import Lease
from qol_dagster.lake.objects import READ_AHEAD, LakeError, map_concurrently, s3_store, under
from qol_dagster.lake.raw_notes import renote_raw
from qol_dagster.lake.shared_object import SharedObject, reason
from qol_dagster.maintenance.backup import Backup, Progress
from qol_dagster.maintenance.contents import LEDGER, LEDGER_KEY, Contents, HomeFile, list_contents
from qol_dagster.maintenance.restore import NotEmptyError, Replay, restore_backup
from qol_dagster.maintenance.stores import BackupStore
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.resources.platform.aws import AwsPlatform
from qol_dagster.resources.table_files import (
    enrolment_file,
    id_map_file,
    restore_enrolment,
    restore_id_map,
    tables_of,
)
from qol_ingest.shared import aws, keys

if TYPE_CHECKING:
    from qol_dagster.settings import Settings

RAW = keys.RAW.partition("/")[0]
TABLES = tuple(one.folder for one in PROFILES.values())
HISTORY = tuple(f"{keys.HISTORY}{one.suffix}" for one in PROFILES.values())
IN_LAKE = (RAW, *HISTORY, keys.FREEZES, keys.REPORTS, *TABLES)
"""The folders of the bucket that are those of a home's lake, in the order in which they are restored."""
LEFT_OUT: Mapping[str, str] = {
    keys.RECORDS: "made again from raw data",
    keys.QUERY_RESULTS: "results of queries",
    keys.PIPES: "messages of runs",
    keys.WORK: "working files",
    keys.COMPUTE_LOGS: "what steps printed",
    keys.LOCKS: "who is at work",
    keys.ARRIVALS: "which days are to be computed: S3 announces each raw object that is restored",
    keys.ALERTS: "which alerts were sent",
}
"""The folders of the bucket that no backup holds, and why."""
ID_MAP, ENROLMENT = "user_id_map.sqlite", "enrolment.sqlite"
ERASING = f"{keys.LOCKS}/erasing"
"""The lease of whoever erases."""
RESTORING = f"{keys.LOCKS}/restoring"
"""Names the backup that is being restored: whoever was killed goes on with that."""
AT_ONCE_BYTES = 64 << 20


@dataclass
class Deployment:
    """What the settings name on AWS. See `Source`. `session`: of boto3, if it is not that of this process."""

    settings: Settings
    session: Any = None
    _tables: dict[str, bytes] = field(default_factory=dict, repr=False)

    def without_erasures(self) -> AbstractContextManager[None]:
        """See `Source`."""
        return Lease(SharedObject(self._lake.store, ERASING)).held()

    def held(self) -> AbstractContextManager[None]:
        """See `Source`."""
        return self._lake.lock()

    def contents(self) -> Contents:
        """See `Source`."""
        folders, files_there, odd = self._lake.listing("")
        unknown, files = [*files_there, *odd], list(self._read_tables())
        for folder in folders:
            if folder in (*IN_LAKE, keys.SURVEY_TEXTS, keys.ERASURES):
                found = self._lake.deep_listing(folder)
                unknown += found.odd
                files += [_home_file(name_of(one["path"]), one) for one in found.objects]
            elif folder not in LEFT_OUT:
                unknown.append(folder)
        return Contents.of(files, unknown)

    def read(self, files: Iterable[HomeFile], work: Path) -> Iterator[tuple[HomeFile, HomeFile | None, IO[bytes]]]:  # noqa: ARG002 - nothing is copied first
        """See `Source`. Some objects are asked for at a time."""
        for some in _batches(files):
            found = map_concurrently(self._fetch, some)
            for file in some:
                now, content = found.pop(file)
                yield file, now, BytesIO(content)

    def _fetch(self, file: HomeFile) -> tuple[HomeFile | None, bytes]:
        if file.name in self._tables:
            return file, self._tables[file.name]
        try:
            found = self._lake.store.get(key_of(file.name))
            return _home_file(file.name, found.meta), bytes(found.bytes())
        except FileNotFoundError:
            return None, b""
        except Exception as error:
            raise LakeError(f"{self._lake.root}/{key_of(file.name)} cannot be read: {reason(error)}") from error

    def _read_tables(self) -> Iterator[HomeFile]:
        id_map, state = tables_of(self.settings, self._database)
        self._tables = {ID_MAP: id_map_file(id_map), ENROLMENT: enrolment_file(state)}
        for name, content in self._tables.items():
            yield HomeFile(name, len(content), 0, hashlib.sha256(content).hexdigest())

    @cached_property
    def _database(self) -> Any:
        return (self.session or aws.session()).client("dynamodb", config=aws.patience())

    @cached_property
    def _lake(self) -> Lake:
        return Lake.s3(self.settings.bucket, session=self.session)


def name_of(key: str) -> str:
    """Return the place in a home of what has a key in the bucket."""
    folder, _, name = key.partition("/")
    if folder in IN_LAKE:
        return f"lake/{key}"
    return name if folder == keys.ERASURES and name in (LEDGER, LEDGER_KEY) else key


def key_of(name: str) -> str:
    """Return the key in the bucket of what has a place in a home."""
    return f"{keys.ERASURES}/{name}" if name in (LEDGER, LEDGER_KEY) else name.removeprefix("lake/")


def newest_ledger(settings: Settings, folder: Path, session: Any = None) -> Path | None:
    """Write the ledger and its key into a folder: the bucket's own, or else the copy that S3 made; None without one.

    Raises LakeError.
    """
    for bucket in filter(None, (settings.bucket, settings.backup_bucket)):
        lake = Lake.s3(bucket, session=session)
        for key in lake.keys(keys.ERASURES):
            if (name := name_of(key)) in (LEDGER, LEDGER_KEY):
                (folder / name).write_bytes(lake.read_object(key))
        if (folder / LEDGER).exists():
            return folder / LEDGER
    return None


def restore_deployment(
    store: BackupStore,
    backup: Backup,
    settings: Settings,
    *,
    replay: Replay,
    ledger: Path | None = None,
    on_progress: Progress | None = None,
) -> tuple[int, list[str]]:
    """Put a backup into an empty bucket and empty tables; return how many files that is, and what has no place there.

    It is restored on this machine, where erasures are replayed, and then put there: first who left, last the tables.
    Killed at any moment, the same goes on. See `restore_backup`. Raises NotEmptyError and BackupError.
    """
    lake = AwsPlatform(settings).lake()
    work = settings.temp_dir / "restoring"
    with lake.lock(), _restoring(lake, settings, backup):
        shutil.rmtree(work, ignore_errors=True)
        try:
            restore_backup(store, backup, work / "home", replay=replay, ledger=ledger, on_progress=on_progress)
            return _upload(work / "home", lake, settings)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _restoring(lake: Lake, settings: Settings, backup: Backup) -> Iterator[None]:
    """Raise NotEmptyError if the deployment holds anything but what a restore of the same backup left."""
    mark = SharedObject(lake.store, RESTORING)
    begun = mark.read()
    if begun.content != backup.name.encode():
        id_map, state = tables_of(settings)
        full = [f"s3://{settings.bucket}/{one}" for one in lake.listing("")[0] if one not in LEFT_OUT]
        full += [settings.id_map_table] if any(True for _ in id_map.items()) else []
        full += [settings.enrolment_table] if any(True for _ in state.rows()) else []
        if begun.content or full:
            what = f"a restore of {begun.content.decode()} was begun" if begun.content else f"{full[0]} is not empty"
            raise NotEmptyError(what, advice="Restore to a deployment that is new, or to a home: give --home")
        lake.replace_object(RESTORING, backup.name.encode())
    yield
    mark.remove()


def _upload(home: Path, lake: Lake, settings: Settings) -> tuple[int, list[str]]:
    """Put a home into a deployment; return how many files that was, and the names of those that have no place there."""
    names = [file.name for part in list_contents(home).parts.values() for file in part]
    people = s3_store(settings.bucket, under(settings.ledger_key)) if settings.ledger_key else lake.store

    def put(name: str) -> None:
        content, key = (home / name).read_bytes(), key_of(name)
        if key.startswith(f"{keys.ERASURES}/"):
            people.put(key, content, use_multipart=False)
        else:
            lake.replace_object(key, content, as_tables=not key.startswith(f"{RAW}/"))

    def put_below(folder: str) -> None:
        map_concurrently(put, [name for name in names if key_of(name).startswith(f"{folder}/")])

    put_below(keys.ERASURES)
    id_map, state = tables_of(settings)
    restore_id_map(home / ID_MAP, id_map)
    restore_enrolment(home / ENROLMENT, state)
    put_below(RAW)
    of_home = Lake.local(home / "lake")
    renote_raw(of_home, {day: of_home.raw_objects(day) for day in of_home.raw_days()}, lake.raw_objects)
    for folder in (keys.SURVEY_TEXTS, *IN_LAKE[1:]):
        put_below(folder)
    placed = (*(f"{one}/" for one in (keys.ERASURES, keys.SURVEY_TEXTS, *IN_LAKE, *LEFT_OUT)), ID_MAP, ENROLMENT)
    left = [name for name in names if not key_of(name).startswith(placed)]
    return len(names) - len(left), left


def _home_file(name: str, found: Mapping[str, Any]) -> HomeFile:
    """Return an object of S3 as a file of a home. Not every answer has parts of a second."""
    return HomeFile(name, found["size"], int(found["last_modified"].timestamp()) * 10**9, found["e_tag"] or "")


def _batches(files: Iterable[HomeFile]) -> Iterator[list[HomeFile]]:
    """Yield files that are held in memory together: a few, and not many bytes unless one alone has them."""
    batch: list[HomeFile] = []
    for file in files:
        if batch and (len(batch) == READ_AHEAD or sum(one.size for one in batch) + file.size > AT_ONCE_BYTES):
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch
