"""Rows of dates from their raw files: of everybody, or, where files came late, of those whom these are about.

A participant's rows come from that participant's records alone, and what a line is counted as depends on no other line
but in two counts. So a late file touches its own users' rows and no others. Which dates are done is not known here.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qol_dagster.engines import Engine, RawFile, SelectiveEngine
from qol_dagster.engines.queries import DAILY_STAGES, DEFINED, LINE_STAGES
from qol_dagster.lake.tables import arrow_schema, by_date, read_rows
from qol_dagster.metrics.dictionary import DAILY

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.identities import Identities
    from qol_dagster.lake.lake import Lake, RawObject
    from qol_dagster.metrics.thresholds import Thresholds
    from qol_dagster.pipeline.clock import Clock

COUNTS = (
    "lines",
    "unreadable",
    "misfiled",
    "superseded",
    "other_account",
    "unmapped_records",
    "unmapped_users",
    "revoked_records",
    "unknown_type_records",
    "records",
)
MARK = 16
"""Letters of a file's mark, 6 bits each."""
MOST_FILES = 20_000
"""A date of more files keeps no marks, and is always computed whole."""

Files = Mapping[date, Sequence["RawObject"]]
Counts = Mapping[str, int]
"""The keys of `COUNTS`."""
_UserCounts = Mapping[tuple[str, str], Mapping[str, int]]
"""By date and user: how many lines are `usable`, and how many `unmapped`."""


@dataclass(frozen=True)
class ComputedDay:
    """A date's rows, with the dictionary's columns, and what its raw lines held."""

    rows: pa.Table
    counts: Counts


@dataclass(frozen=True)
class DayComputer:
    """How rows are made: with what, from where, for whom."""

    engine: Engine
    lake: Lake
    identities: Identities
    thresholds: Thresholds
    clock: Clock

    def whole(self, files: Files) -> dict[date, ComputedDay]:
        """Everybody's rows of these dates."""
        if not any(files.values()):
            nothing = arrow_schema(DAILY).empty_table()
            return {day: ComputedDay(nothing, dict.fromkeys(COUNTS, 0)) for day in files}
        with self.clock("read raw"):
            self._load_participants()
            self.engine.load_records(self._located(files))
        rows, counts = self._rows(list(files)), self._counts(list(files))
        return {day: ComputedDay(rows[day], counts[day]) for day in files}

    def late(self, files: Sequence[RawObject], partition_metadata: Mapping[str, Any]) -> Sequence[RawObject]:
        """Return the files that came since a date was computed, if adding them is possible and worth while."""
        if not isinstance(self.engine, SelectiveEngine):
            return ()
        return _late_files(files, partition_metadata.get("files", ""))

    def recompute_affected(self, files: Files, late: Files, old: Mapping[date, Counts]) -> dict[date, ComputedDay]:
        """Return the rows of these dates as they were, but those of the users in the late ones among their files.

        `old`: the counts of the files that are not late. Raises LakeError or EngineError.
        """
        if not isinstance(self.engine, SelectiveEngine):
            raise TypeError(f"{self.engine.name} adds no late files")
        days = list(files)
        with self.clock("read late"):
            self._load_participants()
            self.engine.load_records(self._located(late))
            self._materialize(LINE_STAGES)
            counts, by_user = self._counts(days), self._count_users()
        if not by_user:
            rows, everything, accounts = dict.fromkeys(days, arrow_schema(DAILY).empty_table()), by_user, {}
        else:
            users = {user for _, user in by_user}
            accounts = self.identities.accounts_with(users)
            if len(set(accounts.values())) < len(accounts):  # which account counts depends on all of them
                return self.whole(files)
            with self.clock("read raw"):
                self.engine.load_records_of(sorted(users | accounts.keys()), self._located(files))
            rows, everything = self._rows(days), self._count_users()
        found = {}
        for day in days:
            all_rows = _replace_rows(read_rows(self.lake, "daily", [day], DAILY), rows[day], set(accounts.values()))
            records = sum(all_rows["n_records"].to_pylist())
            unmapped_users = _new_unmapped_users(day, by_user, everything)
            found[day] = ComputedDay(all_rows, _add_counts(old[day], counts[day], records, unmapped_users))
        return found

    def partition_metadata(self, files: Sequence[RawObject], found: ComputedDay) -> dict[str, Any]:
        """Return what is stored with a date's rows: the counts, and the files by which `late` knows later ones."""
        metadata = {"rows": found.rows.num_rows, "counts": dict(found.counts)}
        return {**metadata, "files": _file_marks(files)} if isinstance(self.engine, SelectiveEngine) else metadata

    @cached_property
    def _sql(self) -> Mapping[str, str]:
        return self.engine.queries(self.thresholds)

    def _located(self, files: Files) -> dict[date, list[RawFile]]:
        return {day: [RawFile(self.lake.uri(one.key), one.size) for one in found] for day, found in files.items()}

    def _load_participants(self) -> None:
        self.engine.load_table("participants", _participants(self.identities))

    def _materialize(self, stages: Sequence[str]) -> None:
        for name in stages:
            register = self.engine.define if name in DEFINED else self.engine.keep
            register(name, self._sql[name])

    def _rows(self, days: Sequence[date]) -> dict[date, pa.Table]:
        with self.clock("select records"):
            self._materialize(DAILY_STAGES)
        with self.clock("compute daily"):
            return by_date(self.engine.run(self._sql["daily_rows"]), DAILY, days)

    def _counts(self, days: Sequence[date]) -> dict[date, Counts]:
        with self.clock("count"):
            counted = {row["date"]: row for row in self.engine.run(self._sql["day_counts"]).to_pylist()}
        return {day: {name: int(counted.get(str(day), {}).get(name) or 0) for name in COUNTS} for day in days}

    def _count_users(self) -> _UserCounts:
        rows = self.engine.run(self._sql["day_users"]).to_pylist()
        return {(row["date"], row["user_id"]): row for row in rows}


def _participants(identities: Identities) -> pa.Table:
    import pyarrow as pa

    names = {"user_id": pa.string(), "participant_id": pa.string(), "revoked": pa.bool_(), "withheld": pa.string()}
    schema, withheld = pa.schema(names), identities.withheld
    people = [
        (user, participant, False, withheld.get(user, "")) for user, participant in sorted(identities.active.items())
    ]
    people += [(user, "", True, "") for user in sorted(identities.revoked - identities.active.keys())]
    columns = [[one[n] for one in people] for n in range(len(schema))]
    return pa.table([pa.array(column, type_) for column, type_ in zip(columns, schema.types, strict=True)], schema)


def _replace_rows(old: pa.Table, new: pa.Table, participants: Collection[str]) -> pa.Table:
    """Return the old rows with the new ones in the place of all that these participants had, in participants' order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    touched = pc.is_in(old["participant_id"], pa.array(sorted(participants), pa.string()))
    return pa.concat_tables([old.filter(pc.invert(touched)), new]).sort_by("participant_id")


def _add_counts(old: Counts, new: Counts, records: int, unmapped_users: int) -> Counts:
    """Return the counts of all lines: so many records count, and the late ones brought so many unmapped users."""
    found = {name: old[name] + new[name] for name in COUNTS}
    usable = found["records"] + found["superseded"]
    users = old["unmapped_users"] + unmapped_users
    return {**found, "records": records, "superseded": usable - records, "unmapped_users": users}


def _new_unmapped_users(day: date, late: _UserCounts, everything: _UserCounts) -> int:
    """Return how many unmapped users this date has from late files alone."""
    there = {
        key: counts["unmapped"] for key, counts in late.items() if key[0] == day.isoformat() and counts["unmapped"]
    }
    return sum(everything[key]["unmapped"] == number for key, number in there.items())


def _late_files(files: Sequence[RawObject], seen: str) -> tuple[RawObject, ...]:
    """Return the files that are not among the marks `seen`.

    None if one of those went or was written again, or if what came is more than half of it all.
    """
    known = {seen[start : start + MARK] for start in range(0, len(seen), MARK)}
    new = tuple(item for item in files if _mark(item) not in known)
    changed = len(files) - len(new) != len(known)
    return () if changed or 2 * _size(new) > _size(files) else new


def _file_marks(files: Sequence[RawObject]) -> str:
    """Return a mark for each file, which changes when it is written again."""
    return "".join(map(_mark, files)) if len(files) <= MOST_FILES else ""


def _mark(item: RawObject) -> str:
    version = f"{item.key}\0{item.size}\0{item.etag}".encode()
    return b64encode(hashlib.sha256(version).digest())[:MARK].decode()


def _size(files: Iterable[RawObject]) -> int:
    return sum(item.size for item in files)
