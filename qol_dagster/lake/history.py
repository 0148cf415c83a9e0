"""The tables as they were: which object of a partition was current at a time, and the log of revisions.

Belongs here: reading the history. It is written when a partition is replaced, by `Lake.revise`; the record of a
revision is `revisions.py`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING

from qol_dagster.lake.objects import LakeError, map_concurrently
from qol_dagster.lake.revisions import Revision, history_folder, log_prefix, logged_number, object_key
from qol_ingest.shared.keys import HISTORY

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.metrics.types import TableName


class HistoryError(LakeError):
    """A past state cannot be read; the message names the object."""


@dataclass(frozen=True)
class State:
    """What a partition held at a time: the objects of its rows, and the revision that they are of."""

    keys: tuple[str, ...]
    revision: Revision


def revisions_of(lake: Lake, table: TableName) -> list[Revision]:
    """Return every revision of a table, by date and number.

    A record that a killed run did not come to log is taken from the partition, where it is too. A partition that a
    release without revisions wrote has a first one, of the time at which it was written.
    """
    logged = _read_all(lake, [key for key in lake.objects(log_prefix(_folder(lake, table))) if logged_number(key)])
    found = {(one.date, one.number): one for one in logged}
    known = {day for day, _ in found}
    for day, one in map_concurrently(partial(lake.current_revision, table), lake.table_dates(table)).items():
        if one is not None:
            found.setdefault((day, one.number), one)
        elif day not in known:
            found[day, 1] = _first(lake, table, day)
    return [found[key] for key in sorted(found)]


def states_at(lake: Lake, table: TableName, at: datetime) -> dict[date, State]:
    """Return what each partition of a table held at a time, in the order of dates; those that were not there are left
    out.

    Raises HistoryError for rows that are nowhere.
    """
    by_date: dict[date, list[Revision]] = {}
    for one in revisions_of(lake, table):
        by_date.setdefault(one.date, []).append(one)
    found = {}
    for day, those in by_date.items():
        if valid := [one for one in those if one.valid_from <= at]:
            found[day] = State(_objects(lake, table, valid[-1], those), valid[-1])
    return found


def states_now(lake: Lake, table: TableName) -> dict[date, State]:
    """Return what each partition of a table holds, in the order of dates."""
    return {
        day: State(_partition_objects(lake, table, day), one or _first(lake, table, day))
        for day, one in map_concurrently(partial(lake.current_revision, table), lake.table_dates(table)).items()
    }


def verify_objects(lake: Lake, keys: Iterable[str]) -> None:
    """Compare objects of the history with the hash that each is named after. Raises HistoryError for the first."""
    for key, problem in map_concurrently(partial(damage, lake), dict.fromkeys(keys)).items():
        if problem:
            raise HistoryError(
                f"{lake.root}/{key} {problem}: rows of the past are lost with it. Put it back from a backup"
            )


def damage(lake: Lake, key: str) -> str:
    """Return what is wrong with an object of the history: nothing, "is missing" or "is damaged"."""
    if not key.startswith(HISTORY):
        return ""
    try:
        content = lake.read_object(key)
    except LakeError:
        return "is missing"
    name = key.rpartition("/")[2].removesuffix(".parquet")
    return "" if hashlib.sha256(content).hexdigest() == name else "is damaged"


def _objects(lake: Lake, table: TableName, wanted: Revision, revisions: Sequence[Revision]) -> tuple[str, ...]:
    """Return the objects with the rows of a revision: that which its successor replaced, or the partition's own."""
    for later in revisions:
        if later.previous == wanted.number and later.replaced:
            return (object_key(_folder(lake, table), wanted.date, later.replaced),)
    current = lake.current_revision(table, wanted.date)
    is_current = current == wanted or (current is None and wanted == revisions[-1])
    if is_current and (keys := _partition_objects(lake, table, wanted.date)):
        return keys
    raise HistoryError(
        f"the rows of {table} {wanted.date}, revision {wanted.number} of {wanted.valid_from:%Y-%m-%d %H:%M} UTC, are "
        f"nowhere: {lake.partition_uri(table, wanted.date)} was removed or damaged before the next run. Put it back "
        "from a backup, or ask for another time"
    )


def _partition_objects(lake: Lake, table: TableName, day: date) -> tuple[str, ...]:
    return tuple(key for key in lake.keys(f"{lake.partition_key(table, day)}/") if key.endswith(".parquet"))


def _first(lake: Lake, table: TableName, day: date) -> Revision:
    """Return the first revision of a partition that has no record of one."""
    rows = lake.read_table(table, day, [])
    written = max(map(lake.modified_at, _partition_objects(lake, table, day)))
    number = 0 if rows is None else rows.num_rows
    return Revision(day, 1, written, "first", number, number)


def _read_all(lake: Lake, keys: Sequence[str]) -> list[Revision]:
    def read(key: str) -> Revision:
        try:
            return Revision.from_json(lake.read_object(key))
        except ValueError as error:
            raise HistoryError(f"{lake.root}/{key} is damaged: it is no record of a revision") from error

    return list(map_concurrently(read, keys).values())


def _folder(lake: Lake, table: TableName) -> str:
    return history_folder(lake.processed, table)


def keys_of(states: Mapping[date, State]) -> list[str]:
    """Return the objects of some states, in order."""
    return [key for state in states.values() for key in state.keys]
