"""What partitions have noted of raw files, after those got other tags or other content that changes no row.

Belongs here: putting the fingerprint of afterwards in the place of that of before. A partition that was out of date has
neither, and stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from qol_dagster.lake.fingerprints import NO_RAW, raw_fingerprint, week_fingerprint
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.weeks import contributing_weeks, dates_of

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake, RawObject
    from qol_dagster.metrics.types import TableName

OF_WEEKS: tuple[TableName, ...] = ("weekly", "status")


@dataclass(frozen=True)
class Change:
    """Something before and after."""

    before: str
    after: str

    def of(self, text: str) -> str:
        """Return what a text is afterwards: that of before changes, any other stays."""
        return self.after if text == self.before else text


SAME = Change(NO_RAW, NO_RAW)


def week_change(table: TableName, week: date, noted: Mapping[date, Change]) -> Change:
    """Return the fingerprint of a week's raw files, of what its days have noted of theirs."""
    days = [day for one in contributing_weeks([week]) for day in dates_of(one)]
    if table == "status":
        days = [day for day in days if day in noted]
    changes = [noted.get(day, SAME) for day in days]
    return Change(week_fingerprint(one.before for one in changes), week_fingerprint(one.after for one in changes))


def with_raw(notes: Mapping[str, Any], raw: Change) -> dict[str, Any]:
    """Return the notes of a partition with another fingerprint of its raw files, wherever it is noted."""
    new = dict(notes)
    if "raw" in notes:
        new["raw"] = raw.of(str(notes["raw"]))
    if isinstance(inputs := notes.get("inputs"), Mapping):
        new["inputs"] = {**inputs, "raw": raw.of(str(inputs.get("raw")))}
    return new


def renote_raw(
    lake: Lake, before: Mapping[date, Sequence[RawObject]], now: Callable[[date], Sequence[RawObject]]
) -> None:
    """Have what was up to date stay so, though the same raw files have other tags now. No row is computed or changed.

    `before`: the raw files of each date as the partitions may have noted them. Raises LakeError.
    """
    raw = {day: Change(raw_fingerprint(files), raw_fingerprint(now(day))) for day, files in before.items()}
    for tables in (lake.with_tables(profile.folder) for profile in PROFILES.values()):
        noted: dict[date, Change] = {}
        for day in tables.table_dates("daily"):
            was = str((tables.partition_metadata("daily", day) or {}).get("raw", NO_RAW))
            noted[day] = Change(was, raw.get(day, SAME).of(was))
            _renote(tables, "daily", day, noted[day])
        for table in OF_WEEKS:
            for week in tables.table_dates(table):
                _renote(tables, table, week, week_change(table, week, noted))


def _renote(lake: Lake, table: TableName, day: date, raw: Change) -> None:
    notes = lake.partition_metadata(table, day)
    rows = lake.read_table(table, day) if notes and with_raw(notes, raw) != notes else None
    if notes and rows is not None:
        lake.revise(table, day, rows, with_raw(notes, raw))
