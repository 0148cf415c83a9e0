"""Rows of a participant taken out of a table, its history and its freezes, with everybody else's left as they are.

Belongs here: the partitions of tables. Objects of the history are named after their content, and the record of the
revision that replaced one names it, in the log and in the object itself. So a rewritten object has another name, and
the records after it follow. New objects are written first and old ones are removed last: killed at any moment, every
name leads to an object, and the next call goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from qol_dagster.lake.lease import locked
from qol_dagster.lake.partition import as_parquet, partition_metadata_of, revision_of
from qol_dagster.lake.revisions import (
    ROW_KEY,
    Revision,
    RowsDifference,
    compare_rows,
    history_folder,
    log_key,
    log_prefix,
    logged_number,
    made_by,
    object_key,
)
from qol_dagster.lake.shared_object import SharedObject
from qol_ingest.shared import files

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.lake.lake import Lake
    from qol_dagster.metrics.types import TableName

Renote = Callable[[Mapping[str, Any], int], Mapping[str, Any]]
"""Makes the notes of a partition without the participant of those with, and of the number of rows that are left."""


@dataclass(frozen=True)
class NewObject:
    """What an object of the history became: its SHA-256, bytes and rows."""

    sha256: str
    size: int
    rows: int


@dataclass(frozen=True)
class PartitionErasure:
    """What is to change in one partition of a table, once its new objects are in the history.

    `renamed`: by the SHA-256 of an old object, what it became. `current`: key and content of the partition's object,
    if that changes, and `replaced` the SHA-256 of what is there; `leftovers` are its other objects. `log`: the records
    that change, by number.
    """

    table: TableName
    day: date
    renamed: Mapping[str, NewObject]
    obsolete: tuple[str, ...]
    current: tuple[str, bytes] | None
    replaced: str
    leftovers: tuple[str, ...]
    log: Mapping[int, Revision]
    rows: int
    old_rows: int


@dataclass(frozen=True)
class _Object:
    """A stored object: its rows before and without the participant, what its writer noted, and its revision."""

    sha256: str
    before: pa.Table
    after: pa.Table
    notes: Mapping[str, Any]
    revision: Revision | None

    @property
    def lost(self) -> int:
        """Return how many rows were the participant's."""
        return int(self.before.num_rows - self.after.num_rows)


@dataclass
class _Chain:
    """The revisions of a partition as they will be, in the order of their numbers, and when the erasure began."""

    began: datetime
    log: dict[int, Revision] = field(default_factory=dict)
    rows: dict[int, pa.Table] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    renamed: dict[str, NewObject] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def put(self, rows: pa.Table, notes: Mapping[str, Any], revision: Revision | None) -> NewObject:
        """Return a new object of the history."""
        content = as_parquet(rows, notes, revision)
        sha256 = hashlib.sha256(content).hexdigest()
        self.contents[sha256] = content
        return NewObject(sha256, len(content), rows.num_rows)

    def follow(self, record: Revision, mine: Iterable[_Object]) -> Revision:
        """Return a record that names the objects as they are called now, and counts the rows that are left."""
        mine, new = list(mine), self.renamed.get(record.replaced)
        record = replace(record, replaced=new.sha256) if new else record
        if not mine:
            return record
        after = self.rows[record.number] = mine[-1].after
        if any(one.lost for one in mine):
            self.touched.add(record.number)
            record = replace(record, rows=after.num_rows)
        if not self.touched.intersection((record.number, record.previous)):
            return record
        change = self._change(record.previous, after)
        if change is None:
            return record
        return replace(
            record, added=change.added, removed=change.removed, changed=change.changed, columns=change.columns
        )

    def _change(self, previous: int, after: pa.Table) -> RowsDifference | None:
        if previous == 0:
            return RowsDifference(added=after.num_rows)
        return compare_rows(self.rows[previous], after) if previous in self.rows else None


def plan_erasure(
    lake: Lake,
    table: TableName,
    day: date,
    gone: frozenset[str],
    renote: Renote,
    *,
    began: datetime,
    dry_run: bool = False,
) -> PartitionErasure | None:
    """Return what is to change in a partition for these participants to be out of it; None if nothing is.

    New objects are in the history when this returns, unless `dry_run`, and nothing else was changed. `began`: when the
    erasure did. The same partition becomes the same bytes, in whichever home or backup.
    """
    folder = history_folder(lake.processed, table)
    keys = _parquet_keys(lake, f"{lake.partition_key(table, day)}/")
    logged = _logged(lake, folder, day)
    stored = [_read(lake.read_object(key), gone) for key in _parquet_keys(lake, f"{folder}/date={day}/")]
    objects = [one for one in stored if one is not None]
    current = _current(lake, keys, gone)
    records, number = _records(lake, keys, logged, current, day)
    chain = _Chain(began)
    numbers = {0, *records, *(one.revision.number for one in objects if one.revision)}
    for at in sorted(numbers):
        mine = [one for one in objects if (one.revision.number if one.revision else 0) == at]
        record = records.get(at) or next((one.revision for one in mine if one.revision), None)
        if record is not None:
            seen = [*mine, current] if current and at == number else mine
            record = chain.log[at] = chain.follow(record, seen)
        for one in mine:
            if one.lost or (one.revision is not None and one.revision != record):
                new = chain.put(one.after, one.notes, record if one.revision else None)
                if new.sha256 != one.sha256:
                    chain.renamed[one.sha256] = new
    content = _new_current(lake, chain, current, number, renote) if current else None
    for sha256, found in ({} if dry_run else chain.contents).items():
        lake.replace_object(object_key(folder, day, sha256), found, as_tables=True)
    changed = {at: one for at, one in chain.log.items() if one != logged.get(at)}
    if not chain.renamed and content is None and not changed:
        return None
    kept = set(chain.contents)
    return PartitionErasure(
        table,
        day,
        chain.renamed,
        tuple(object_key(folder, day, sha256) for sha256 in chain.renamed if sha256 not in kept),
        (keys[0], content) if content is not None else None,
        current.sha256 if current else "",
        tuple(keys[1:]) if content is not None else (),
        changed,
        current.lost if current else 0,
        sum(one.lost for one in objects),
    )


def apply_erasure(lake: Lake, planned: PartitionErasure) -> int:
    """Carry out what was planned, and return the bytes written. Freezes have to name the new objects by now.

    On S3 nothing is done to a partition that another process has replaced meanwhile: plan it anew.
    """
    folder, written = history_folder(lake.processed, planned.table), 0
    with locked(lake.folder / ".tables.lock") if lake.folder else nullcontext():
        if planned.current:
            key, content = planned.current
            if lake.folder:
                rewrite(lake, key, content)
            elif not _replace_on_s3(lake, key, content, planned.replaced):
                return 0
            written += len(content)
            lake.remove_objects(planned.leftovers)
        for number, record in sorted(planned.log.items(), reverse=True):
            rewrite(lake, log_key(folder, planned.day, number), record.as_json(), as_tables=True)
    lake.remove_objects(planned.obsolete)
    return written + sum(one.size for one in planned.renamed.values())


def erased_dates(lake: Lake, table: TableName) -> list[date]:
    """Return the dates of which a table has a partition or a history, in order."""
    prefix = f"{history_folder(lake.processed, table)}/date="
    texts = {key.removeprefix(prefix).partition("/")[0] for key in lake.keys(prefix.rpartition("/")[0] + "/")}
    past = {date.fromisoformat(text) for text in texts if len(text) == len("2026-11-16") and text[4] == "-"}
    return sorted(past.union(lake.table_dates(table)))


def rewrite(lake: Lake, key: str, content: bytes, *, as_tables: bool = False) -> None:
    """Replace an object, whole or not at all; in a folder, with who may read it and its time left as they were.

    `as_tables`: on S3 under the key of tables.
    """
    import os

    if lake.folder is None:
        lake.replace_object(key, content, as_tables=as_tables)
        return
    path = lake.folder / key
    try:
        old = path.stat()
    except FileNotFoundError:
        lake.replace_object(key, content)
        return
    files.replace(path, content)
    path.chmod(old.st_mode & 0o777)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))


def _replace_on_s3(lake: Lake, key: str, content: bytes, replaced: str) -> bool:
    """Replace what has this SHA-256; False if it is there no longer."""
    place = SharedObject(lake.table_store or lake.store, key)
    found = place.read()
    if found.content == content:
        return True
    is_same = hashlib.sha256(found.content).hexdigest() == replaced
    return is_same and place.write(content, found) is not None


def _new_current(lake: Lake, chain: _Chain, current: _Object, number: int, renote: Renote) -> bytes | None:
    """Return the new content of a partition, with a revision of its own if rows go; None if nothing changes."""
    notes, record = renote(current.notes, current.after.num_rows), chain.log[number]
    if not current.lost:
        revision = record if current.revision else None
        if revision is None:  # of a release without revisions: nothing is to be logged of it
            del chain.log[number]
        same = revision == current.revision and dict(notes) == dict(current.notes)
        return None if same else as_parquet(current.after, notes, revision)
    new = chain.put(current.after, current.notes, record if current.revision else None)
    chain.renamed.setdefault(current.sha256, new)
    erasure = Revision(
        record.date,
        max(chain.log) + 1,
        max(chain.began, record.valid_from + timedelta(milliseconds=1)),
        "erasure",
        current.after.num_rows,
        removed=current.lost,
        previous=number,
        replaced=new.sha256,
        run_id=lake.run_id,
        **made_by(current.notes),
    )
    chain.log[erasure.number] = erasure
    return as_parquet(current.after, notes, erasure)


def _records(
    lake: Lake, keys: list[str], logged: Mapping[int, Revision], current: _Object | None, day: date
) -> tuple[dict[int, Revision], int]:
    """Return all records, and the number of that of the partition; rows older than revisions are a first one."""
    records = dict(logged)
    if current is None:
        return records, 0
    if current.revision is not None:
        records.setdefault(current.revision.number, current.revision)
        return records, current.revision.number
    number, rows = max(records, default=0) + 1, current.before.num_rows
    records[number] = Revision(day, number, lake.modified_at(keys[0]), "first", rows, rows)
    return records, number


def _logged(lake: Lake, folder: str, day: date) -> dict[int, Revision]:
    keys = [key for key in lake.keys(log_prefix(folder, day)) if logged_number(key)]
    return {logged_number(key): Revision.from_json(lake.read_object(key)) for key in keys}


def _current(lake: Lake, keys: list[str], gone: frozenset[str]) -> _Object | None:
    import pyarrow as pa

    parts = [one for key in keys if (one := _read(lake.read_object(key), gone)) is not None]
    if len(parts) <= 1:
        return parts[0] if parts else None
    before, after = (
        pa.concat_tables(tables, promote_options="default")
        for tables in ([one.before for one in parts], [one.after for one in parts])
    )
    return replace(parts[0], before=before, after=after)


def _read(content: bytes, gone: frozenset[str]) -> _Object | None:
    """Return an object; None if it is no Parquet."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        rows = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (OSError, pa.ArrowException):
        return None
    after = rows
    if ROW_KEY in rows.column_names:
        found = pc.is_in(rows[ROW_KEY].cast(pa.string()), pa.array(sorted(gone), pa.string()))
        after = rows.filter(pc.invert(found)) if pc.any(found).as_py() else rows
    sha256 = hashlib.sha256(content).hexdigest()
    return _Object(sha256, rows, after, partition_metadata_of(rows.schema) or {}, revision_of(rows.schema))


def _parquet_keys(lake: Lake, prefix: str) -> list[str]:
    return [key for key in lake.keys(prefix) if key.endswith(".parquet")]
