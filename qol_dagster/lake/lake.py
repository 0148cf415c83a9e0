"""The lake: where raw lines are read from and Parquet partitions are written to.

Belongs here: the dates of raw files and of tables, locking, and the atomic replacement of one partition. What is inside
a record or a row belongs to `metrics/`, what a partition's file holds to `partition.py`, and how a single object is
read and written to `objects.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.lake import revisions
from qol_dagster.lake.lease import Lease, locked
from qol_dagster.lake.objects import LakeError, Objects, s3_store, under
from qol_dagster.lake.partition import StoredPartition, as_parquet, partition_metadata_of, revision_of
from qol_dagster.lake.revisions import Cause, Revision, RowsDifference
from qol_dagster.lake.shared_object import SharedObject, reason
from qol_dagster.weeks import today
from qol_ingest.shared import files
from qol_ingest.shared.keys import LIFECYCLE, LOCKS, PROCESSED, RAW

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.metrics.types import TableName

PART = "part-0.parquet"
"""The one file of a partition, unless others were there before."""
WRITER = f"{LOCKS}/writer"
"""The lease of who writes to a lake on S3."""
RIVALS = 50
"""How often a partition is compared anew, since somebody else replaced it meanwhile."""


@dataclass(frozen=True, order=True)
class RawObject:
    """One raw file: its key in the lake, its size in bytes, and a tag that changes whenever it is written."""

    key: str
    size: int
    etag: str

    @property
    def name(self) -> str:
        """Its name without folder and ending."""
        return self.key.rpartition("/")[2].removesuffix(".jsonl")


@dataclass(frozen=True)
class Lake(Objects):
    """Raw files and processed partitions under one root. Make one with `Lake.local` or `Lake.s3`.

    `processed` is the folder of the tables, so that several sets of them can be side by side over one raw zone.
    """

    processed: str = PROCESSED
    run_id: str = ""
    """Which run writes, for the log of revisions."""

    @classmethod
    def local(cls, root: Path, processed: str = PROCESSED) -> Lake:
        """Return the lake in the folder `root`, which is made if it is missing."""
        from obstore.store import LocalStore

        try:
            return cls(str(root), LocalStore(root.absolute(), mkdir=True), processed=processed)
        except Exception as error:
            raise LakeError(f"the lake folder {root} cannot be opened: {reason(error)}. Check QOL_HOME.") from error

    @classmethod
    def s3(cls, bucket: str, tables_key: str = "", session: Any = None) -> Lake:
        """Return the lake in a bucket.

        Nothing is asked of S3 yet. `tables_key`: of KMS, for what is below `processed`. `session`: of boto3, if it is
        not that of this process.
        """
        root = f"s3://{bucket}"
        try:
            tables = s3_store(bucket, under(tables_key), session) if tables_key else None
            return cls(root, s3_store(bucket, session=session), table_store=tables)
        except Exception as error:
            raise LakeError(f"{root} cannot be opened: {reason(error)}. Check AWS_REGION and credentials.") from error

    def with_tables(self, processed: str) -> Lake:
        """Return the same raw zone with another set of tables."""
        return replace(self, processed=processed)

    def of_run(self, run_id: str) -> Lake:
        """Return the same lake, as a run writes to it."""
        return replace(self, run_id=run_id)

    # -- raw

    def raw_days(self) -> list[date]:
        """Return the dates that have a raw folder, in order. Folders with other names are passed over."""
        names = (path.rsplit("/", 1)[-1] for path in self._list(RAW).folders)
        return sorted(day for name in names if (day := _partition_date(name)))

    def last_raw_days(self, number: int) -> list[date]:
        """Return the last dates that have a raw folder, in order: so many, and as many of those yet to come.

        A device whose clock is wrong sends dates of years to come, and the last ones must not be of it alone. East of
        Japan it may be tomorrow.
        """
        days, tomorrow = self.raw_days(), today() + timedelta(days=1)
        return [day for day in days if day <= tomorrow][-number:] + [day for day in days if day > tomorrow][-number:]

    def raw_objects(self, day: date) -> tuple[RawObject, ...]:
        """Return the raw files of one date, in key order: `*.jsonl` whose name starts with neither `.` nor `_`."""
        return self._raw_objects(self._list(f"{RAW}/date={day.isoformat()}").objects)

    def _raw_objects(self, listed: Iterable[Any]) -> tuple[RawObject, ...]:
        found = (RawObject(item["path"], item["size"], self._tag(item)) for item in listed)
        return tuple(sorted(item for item in found if _is_raw(item.key)))

    def raw_day_changed_ns(self, day: date) -> int:
        """Return when a name in a date's folder last came, went or was replaced (ns since 1970; 0 without one).

        Local lakes only.
        """
        path = self.local_path(f"{RAW}/date={day.isoformat()}")
        try:
            return Path(path).stat().st_mtime_ns
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise LakeError(f"{path} cannot be read: {reason(error)}") from error

    def _tag(self, item: Any) -> str:
        """Return what changes when an object is written, and stays when a folder is copied with its times.

        Of a file, obstore's tag begins with the inode, which every copy has anew.
        """
        written: str = item["last_modified"].isoformat()
        return written if self.folder else item["e_tag"] or written

    def read_raw(self, item: RawObject) -> bytes:
        """Return a raw file's bytes."""
        return self.read_object(item.key)

    def lifecycle_objects(self) -> tuple[RawObject, ...]:
        """Return the files of `raw/lifecycle/`, in the order of the dates of receipt."""
        return self._raw_objects(self.deep_listing(LIFECYCLE).objects)

    def lifecycle_lines(self, objects: Iterable[RawObject]) -> Iterator[str]:
        """Yield all lines of these files of `raw/lifecycle/`."""
        for _, content in self.read_objects(item.key for item in objects):
            # Not splitlines: text in JSON may hold other separators.
            yield from filter(None, content.decode("utf-8", "replace").split("\n"))

    def write_raw(self, day: date, name: str, content: bytes, *, zone: str = RAW) -> None:
        """Add a raw file to a date. Raw files are never changed: one of that name is left as it is."""
        from obstore.exceptions import AlreadyExistsError

        key = f"{zone}/date={day.isoformat()}/{name}.jsonl"
        try:
            if self.folder:  # as in `replace_object`
                files.make_folder((self.folder / key).parent)
                files.write_new(self.folder / key, content)
            else:
                self._put(key, content, mode="create")
        except AlreadyExistsError:
            return
        except Exception as error:
            raise LakeError(f"{self.root}/{key} could not be written: {self._why(key, error)}") from error

    def replace_raw(self, item: RawObject, content: bytes) -> None:
        """Give a raw file other content, whole or not at all; without content it goes."""
        if content:
            self.replace_object(item.key, content)
        else:
            self.remove_objects([item.key])

    def keep_object(self, table: TableName, day: date, content: bytes) -> str:
        """Put a copy of a partition's object into the history, where it stays, and return its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        self._put_history(revisions.object_key(self._history(table), day, sha256), content)
        return sha256

    # -- processed

    def table_dates(self, table: TableName) -> list[date]:
        """Return the dates of the partitions of a table that hold a file, in order."""
        prefix = f"{self.processed}/{table}/"
        parts = (key.removeprefix(prefix).split("/") for key in self.objects(prefix) if key.endswith(".parquet"))
        return sorted({day for folder, *names in parts if len(names) == 1 and (day := _partition_date(folder))})

    def partition_key(self, table: TableName, day: date) -> str:
        """Prefix of one partition, `processed/<table>/date=YYYY-MM-DD`."""
        return f"{self.processed}/{table}/date={day.isoformat()}"

    def partition_uri(self, table: TableName, day: date) -> str:
        """Return the place of a partition, for people."""
        return f"{self.root}/{self.partition_key(table, day)}"

    def partition_metadata(self, table: TableName, day: date) -> dict[str, Any] | None:
        """Return what the writer noted about a partition, or None when it is missing, unreadable or not ours."""
        schema = self._partition_schema(table, day)
        return None if schema is None else partition_metadata_of(schema)

    def current_revision(self, table: TableName, day: date) -> Revision | None:
        """Return the revision that a partition is of; None if it is missing, unreadable or older than revisions."""
        schema = self._partition_schema(table, day)
        return None if schema is None else revision_of(schema)

    def checked_metadata(self, table: TableName, day: date) -> dict[str, Any] | None:
        """Log the partition's revision if a killed run did not come to it, and return `partition_metadata`."""
        schema = self._partition_schema(table, day)
        if schema is not None and (revision := revision_of(schema)):
            self._log(table, revision)
        return None if schema is None else partition_metadata_of(schema)

    def read_table(self, table: TableName, day: date, columns: Sequence[str] | None = None) -> pa.Table | None:
        """Return the rows of one partition, with `date` (text) put back as the last column, or None without one.

        With `columns`, only those of them that its file has are read. `partition_metadata_of` reads its schema.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = self._partition_files(table, day)
        if not files:
            return None
        # pq.read_table would import pandas
        parts = [
            pq.ParquetFile(pa.BufferReader(self.read_object(key))).read(columns, use_threads=False) for key in files
        ]
        rows = parts[0] if len(parts) == 1 else pa.concat_tables(parts, promote_options="default")
        return rows.append_column("date", pa.array([day.isoformat()] * rows.num_rows, pa.string()))

    def write_table(self, table: TableName, day: date, rows: pa.Table, notes: Mapping[str, Any]) -> str:
        """Replace one partition by `rows` as `revise` does, and give its key."""
        self.revise(table, day, rows, notes)
        return next(iter(self._partition_files(table, day)))

    def revise(
        self,
        table: TableName,
        day: date,
        rows: pa.Table,
        notes: Mapping[str, Any],
        *,
        cause: Cause | None = None,
        otherwise: Cause = "forced",
    ) -> Revision | None:
        """Replace one partition by `rows`, whole or not at all, and return its new revision, None for the same rows.

        As everywhere where partitions are folders, `date` is in the folder's name and not in the file.
        The partition's one object keeps its name, so a single atomic rename (one PUT on S3) is the whole change:
        a reader, or a process killed at any moment, sees the old rows or the new ones and never both or neither.

        Other rows leave the old object in the history, before they take its place, and a record in the log of
        revisions after that. The record is in the object too, so that a log that was not written can be completed.
        For the same rows, whatever their order and `computed_at`, only other notes are written. The cause is found by
        comparing the notes, unless it is given; `otherwise` is it when they are the same.
        """
        rows = rows.drop_columns(["date"]) if "date" in rows.column_names else rows
        with locked(self.folder / ".tables.lock") if self.folder else nullcontext():
            for _ in range(RIVALS):
                old = self._stored(table, day)
                previous = self._last_revision(table, day, old)
                change = _change(old, rows)
                if change is None:
                    if old is None or old.notes == notes:
                        if old and old.revision:
                            self._log(table, old.revision)
                        return None
                    revision = previous
                else:
                    why = cause or revisions.cause_of(old.notes if old else None, notes, otherwise)
                    revision = self._next_revision(table, day, old, previous, notes=notes, change=change)
                    revision = replace(revision, cause=why, rows=rows.num_rows)
                if revision and self._replace(table, old, previous, revision, rows=rows, notes=notes):
                    return revision if change is not None else None
        raise LakeError(f"{self.partition_uri(table, day)} is written by others again and again; run the week again")

    def _next_revision(
        self,
        table: TableName,
        day: date,
        old: StoredPartition | None,
        previous: Revision | None,
        *,
        notes: Mapping[str, Any],
        change: RowsDifference,
    ) -> Revision:
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as it is logged
        numbers = map(revisions.logged_number, self._logged(table, day))
        is_known = old is not None and old.rows is not None
        return Revision(
            day,
            max([*numbers, previous.number if previous else 0]) + 1,
            max(now, previous.valid_from + timedelta(milliseconds=1)) if previous else now,  # the clock may be set back
            "first",
            0,
            change.added,
            change.removed,
            change.changed,
            change.columns,
            previous.number if previous and is_known else 0,
            hashlib.sha256(old.content).hexdigest() if old and is_known else "",
            self.run_id,
            **revisions.made_by(notes),
        )

    def _last_revision(self, table: TableName, day: date, old: StoredPartition | None) -> Revision | None:
        """Return the revision that is stored; of rows that a release without revisions stored, their first."""
        if old and old.revision:
            return old.revision
        logged = self._logged(table, day)
        if old is None or old.rows is None:
            return Revision.from_json(self.read_object(logged[-1])) if logged else None
        number = max(map(revisions.logged_number, logged), default=0) + 1
        first = Revision(day, number, old.modified, "first", old.rows.num_rows, old.rows.num_rows)
        notes = old.notes or {}
        return replace(
            first, metrics_version=str(notes.get("metrics_version", "")), engine=str(notes.get("engine", ""))
        )

    def _replace(
        self,
        table: TableName,
        old: StoredPartition | None,
        previous: Revision | None,
        revision: Revision,
        *,
        rows: pa.Table,
        notes: Mapping[str, Any],
    ) -> bool:
        """Write a revision; False if somebody else wrote one meanwhile. First what it replaces, last its record."""
        day, is_same = revision.date, revision == previous
        key = old.keys[0] if old else f"{self.partition_key(table, day)}/part-0.parquet"
        if is_same and old and old.rows is not None:
            rows = revisions.with_old_times(old.rows, rows)
        content = as_parquet(rows, notes, revision)
        try:
            if old and revision.replaced and not is_same:
                self._put_history(revisions.object_key(self._history(table), day, revision.replaced), old.content)
            if previous and previous.number == revision.previous:
                self._log(table, previous)
            if not self._put_unless_changed(key, content, old):
                return False
        except Exception as error:
            raise LakeError(
                f"{self.partition_uri(table, day)} could not be written ({reason(error)}); the old partition is "
                "untouched. Free some space or mend the permissions and run the week again."
            ) from error
        for leftover in old.keys[1:] if old else ():
            self.store.delete(leftover)
        self._log(table, revision)
        return True

    def _put_unless_changed(self, key: str, content: bytes, old: StoredPartition | None) -> bool:
        """Put an object in the place of what was read; False if that is there no longer."""
        if self.folder:  # whoever else writes waits for the lock
            self._put(key, content)
            return True
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = {"e_tag": old.tag} if old else "create"
        try:
            self._put(key, content, mode=mode, store=self.table_store)
        except (AlreadyExistsError, PreconditionError):
            return self.read_object(key) == content  # of a PUT without an answer, the repetition is refused
        return True

    def _put_history(self, key: str, content: bytes) -> None:
        if self.folder:
            self.replace_object(key, content)
        else:
            self._put(key, content, store=self.table_store)

    def _log(self, table: TableName, revision: Revision) -> None:
        """Log a revision, unless it is. A number is given once: of two writers the second gets an error."""
        from obstore.exceptions import AlreadyExistsError, NotFoundError

        key, content = revisions.log_key(self._history(table), revision.date, revision.number), revision.as_json()
        try:
            self.store.head(key)
        except (NotFoundError, FileNotFoundError):
            try:
                self._put(key, content, mode="create", store=self.table_store)
            except AlreadyExistsError:
                if self.read_object(key) != content:
                    raise LakeError(f"{self.root}/{key} was written by another at the same time; run again") from None
            except Exception as error:
                raise LakeError(
                    f"{self.root}/{key}, the record of a change, could not be written ({reason(error)}); the rows are, "
                    "and the next run writes it"
                ) from error
        except Exception as error:
            raise LakeError(f"{self.root}/{key} cannot be read: {reason(error)}") from error

    def _logged(self, table: TableName, day: date) -> list[str]:
        """Return the keys of a date's revisions, in order."""
        found = [item["path"] for item in self._list(revisions.log_prefix(self._history(table), day)).objects]
        return sorted(filter(revisions.logged_number, found), key=revisions.logged_number)

    def _history(self, table: TableName) -> str:
        return revisions.history_folder(self.processed, table)

    def _stored(self, table: TableName, day: date) -> StoredPartition | None:
        """Return what a partition holds, or None without an object."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        keys = tuple(self._partition_files(table, day))
        if not keys:
            return None
        found = [self._get(key) for key in keys]
        content, meta = found[0]
        modified = meta["last_modified"].astimezone(UTC)
        try:
            parts = [pq.ParquetFile(pa.BufferReader(one)).read(use_threads=False) for one, _ in found]
            rows = parts[0] if len(parts) == 1 else pa.concat_tables(parts, promote_options="default")
        except (OSError, pa.ArrowException):
            return StoredPartition(keys, None, content, meta["e_tag"], modified, None, None)
        notes, revision = partition_metadata_of(parts[0].schema), revision_of(parts[0].schema)
        if len(parts) > 1:  # so it was seen, though nobody wrote it so
            content = as_parquet(rows, notes or {}, revision)
        return StoredPartition(keys, rows, content, meta["e_tag"], modified, notes, revision)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the lake for writing: a second writer waits here. The lock dies with its process, on S3 a while after.

        Raises SharedObjectError on S3.
        """
        return locked(self.folder / ".lock") if self.folder else Lease(SharedObject(self.store, WRITER)).held()

    def with_people(self, *, changed: bool = False) -> AbstractContextManager[None]:
        """Hold what was read of who is who; with `changed`, wait until nobody holds what was read before.

        On S3 nobody is held up.
        """
        return locked(self.folder / ".people.lock", shared=not changed) if self.folder else nullcontext()

    def _partition_files(self, table: TableName, day: date) -> dict[str, int]:
        """Sizes by key, in key order. Raises LakeError if something else is in their place: it would pass for none."""
        key = self.partition_key(table, day)
        if self.folder and (found := files.in_the_way(self.folder / key / PART)):
            raise LakeError(f"{self.root}/{key} cannot be read or written: {found}. Then run the week again")
        listed = self._list(key).objects
        return dict(sorted((item["path"], item["size"]) for item in listed if item["path"].endswith(".parquet")))

    def _partition_schema(self, table: TableName, day: date) -> pa.Schema | None:
        """Return the schema of a partition's one object; None when it is missing or unreadable."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = self._partition_files(table, day)
        if len(files) != 1 or 0 in files.values():  # of nothing, S3 gives no end
            return None
        footer = self._footer(*files)
        try:
            return pq.read_schema(pa.BufferReader(footer))
        except (OSError, pa.ArrowException):
            return None


def _change(old: StoredPartition | None, rows: pa.Table) -> RowsDifference | None:
    """Return how rows differ from those stored; None if they are the same and lie in one object."""
    if old is None or old.rows is None:
        return RowsDifference(added=rows.num_rows)
    found = revisions.compare_rows(old.rows, rows)
    return found if found or len(old.keys) > 1 else None


def _is_raw(key: str) -> bool:
    name = key.rsplit("/", 1)[-1]
    return name.endswith(".jsonl") and name[0] not in "._"


def _partition_date(name: str) -> date | None:
    label, _, value = name.partition("=")
    try:
        return date.fromisoformat(value) if label == "date" and len(value) == len("2026-11-16") else None
    except ValueError:
        return None
