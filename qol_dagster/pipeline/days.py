"""Rows of dates from their raw files: of everybody, or, where files came late, of those whom these tell of.

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
_Told = Mapping[tuple[str, str], Mapping[str, int]]
"""By date and user: how many lines are `usable`, and how many `unmapped`."""


@dataclass(frozen=True)
class Computed:
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

    def whole(self, files: Files) -> dict[date, Computed]:
        """Everybody's rows of these dates."""
        if not any(files.values()):
            nothing = arrow_schema(DAILY).empty_table()
            return {day: Computed(nothing, dict.fromkeys(COUNTS, 0)) for day in files}
        with self.clock("read raw"):
            self._tell_who()
            self.engine.load_records(self._located(files))
        rows, counts = self._rows(list(files)), self._counts(list(files))
        return {day: Computed(rows[day], counts[day]) for day in files}

    def late(self, files: Sequence[RawObject], notes: Mapping[str, Any]) -> Sequence[RawObject]:
        """The files that came since the notes of a date were written, if adding them is worth while and possible."""
        return _late_files(files, notes.get("files", "")) if isinstance(self.engine, SelectiveEngine) else ()

    def renewed(self, files: Files, late: Files, old: Mapping[date, Counts]) -> dict[date, Computed]:
        """The rows of these dates as they were, but those of whom the late ones among their files tell.

        `old`: the counts of the files that are not late. Raises LakeError or EngineError.
        """
        if not isinstance(self.engine, SelectiveEngine):
            raise TypeError(f"{self.engine.name} adds no late files")
        days = list(files)
        with self.clock("read late"):
            self._tell_who()
            self.engine.load_records(self._located(late))
            self._keep(LINE_STAGES)
            counts, told = self._counts(days), self._told()
        if not told:
            rows, everything, accounts = dict.fromkeys(days, arrow_schema(DAILY).empty_table()), told, {}
        else:
            users = {user for _, user in told}
            accounts = self.identities.accounts_with(users)
            with self.clock("read raw"):
                self.engine.load_records_of(sorted(users | accounts.keys()), self._located(files))
            rows, everything = self._rows(days), self._told()
        found = {}
        for day in days:
            all_rows = _replaced(read_rows(self.lake, "daily", [day], DAILY), rows[day], set(accounts.values()))
            records, strangers = sum(all_rows["n_records"].to_pylist()), _new_strangers(day, told, everything)
            found[day] = Computed(all_rows, _together(old[day], counts[day], records, strangers))
        return found

    def notes(self, files: Sequence[RawObject], found: Computed) -> dict[str, Any]:
        """What is to be noted with a date's rows, so that `late` can be told later, and the counts are not lost."""
        noted = {"rows": found.rows.num_rows, "counts": dict(found.counts)}
        return {**noted, "files": _marks(files)} if isinstance(self.engine, SelectiveEngine) else noted

    @cached_property
    def _sql(self) -> Mapping[str, str]:
        return self.engine.queries(self.thresholds)

    def _located(self, files: Files) -> dict[date, list[RawFile]]:
        return {day: [RawFile(self.lake.uri(one.key), one.size) for one in found] for day, found in files.items()}

    def _tell_who(self) -> None:
        self.engine.load_table("participants", _participants(self.identities))

    def _keep(self, stages: Sequence[str]) -> None:
        for name in stages:
            register = self.engine.define if name in DEFINED else self.engine.keep
            register(name, self._sql[name])

    def _rows(self, days: Sequence[date]) -> dict[date, pa.Table]:
        with self.clock("select records"):
            self._keep(DAILY_STAGES)
        with self.clock("compute daily"):
            return by_date(self.engine.run(self._sql["daily_rows"]), DAILY, days)

    def _counts(self, days: Sequence[date]) -> dict[date, Counts]:
        with self.clock("count"):
            counted = {row["date"]: row for row in self.engine.run(self._sql["day_counts"]).to_pylist()}
        return {day: {name: int(counted.get(str(day), {}).get(name) or 0) for name in COUNTS} for day in days}

    def _told(self) -> _Told:
        rows = self.engine.run(self._sql["day_users"]).to_pylist()
        return {(row["date"], row["user_id"]): row for row in rows}


def _participants(identities: Identities) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema({"user_id": pa.string(), "participant_id": pa.string(), "revoked": pa.bool_()})
    people = [(user, participant, False) for user, participant in sorted(identities.active.items())]
    people += [(user, "", True) for user in sorted(identities.revoked - identities.active.keys())]
    columns = [[one[n] for one in people] for n in range(len(schema))]
    return pa.table([pa.array(column, type_) for column, type_ in zip(columns, schema.types, strict=True)], schema)


def _replaced(old: pa.Table, new: pa.Table, participants: Collection[str]) -> pa.Table:
    """The old rows with the new ones in the place of all that these participants had, in participants' order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    touched = pc.is_in(old["participant_id"], pa.array(sorted(participants), pa.string()))
    return pa.concat_tables([old.filter(pc.invert(touched)), new]).sort_by("participant_id")


def _together(old: Counts, new: Counts, records: int, strangers: int) -> Counts:
    """The counts of all lines, of which so many records count, and so many unmapped users came with the late ones."""
    found = {name: old[name] + new[name] for name in COUNTS}
    usable = found["records"] + found["superseded"]
    users = old["unmapped_users"] + strangers
    return {**found, "records": records, "superseded": usable - records, "unmapped_users": users}


def _new_strangers(day: date, late: _Told, everything: _Told) -> int:
    """How many unmapped users this date has from late files alone."""
    there = {key: told["unmapped"] for key, told in late.items() if key[0] == day.isoformat() and told["unmapped"]}
    return sum(everything[key]["unmapped"] == number for key, number in there.items())


def _late_files(files: Sequence[RawObject], seen: str) -> tuple[RawObject, ...]:
    """The files that are not among the marks `seen`.

    None if one of those went or was written again, or if what came is more than half of it all.
    """
    known = {seen[start : start + MARK] for start in range(0, len(seen), MARK)}
    new = tuple(item for item in files if _mark(item) not in known)
    changed = len(files) - len(new) != len(known)
    return () if changed or 2 * _size(new) > _size(files) else new


def _marks(files: Sequence[RawObject]) -> str:
    """A mark for each file, which changes when it is written again."""
    return "".join(map(_mark, files)) if len(files) <= MOST_FILES else ""


def _mark(item: RawObject) -> str:
    told = f"{item.key}\0{item.size}\0{item.etag}".encode()
    return b64encode(hashlib.sha256(told).digest())[:MARK].decode()


def _size(files: Iterable[RawObject]) -> int:
    return sum(item.size for item in files)
