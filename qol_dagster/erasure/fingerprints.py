"""The notes of partitions after an erasure: what was up to date stays so, and nobody's day is computed anew for it.

Belongs here: fingerprints of raw files, code and people, before and after. A partition that was out of date stays out
of date, and so does one that another engine than DuckDB wrote: the next run computes it, as it would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from qol_dagster.identities import Identities
from qol_dagster.lake.fingerprints import NO_RAW
from qol_dagster.lake.raw_notes import Change, week_change, with_raw
from qol_dagster.pipeline.etl import code_fingerprint
from qol_dagster.pipeline.inputs import count_accounts, people_fingerprint

if TYPE_CHECKING:
    from qol_dagster.engines import Engine
    from qol_dagster.metrics.thresholds import Thresholds
    from qol_dagster.metrics.types import TableName


@dataclass(frozen=True)
class Fingerprints:
    """What the notes of one profile's partitions are made of. `raw`: of the files of each date."""

    code: Change
    people: Change
    people_of_status: Change
    accounts: Mapping[str, int]
    raw: dict[date, Change] = field(default_factory=dict)
    noted: dict[date, Change] = field(default_factory=dict)
    """What the daily partitions have noted of their raw files."""

    @classmethod
    def of(cls, engine: Engine, thresholds: Thresholds, before: Identities, after: Identities) -> Fingerprints:
        """Return those of an engine's code and of who is who."""
        return cls(
            Change(*(code_fingerprint(engine, thresholds, one) for one in (before, after))),
            Change(before.fingerprint(), after.fingerprint()),
            Change(people_fingerprint(before), people_fingerprint(after)),
            count_accounts(after),
        )

    def renote(self, table: TableName, day: date, notes: Mapping[str, Any], rows: int) -> Mapping[str, Any]:
        """Return the notes of a partition afterwards."""
        new = dict(notes)
        if "rows" in new:
            new["rows"] = rows
        if table == "daily":
            self._renote_day(day, notes, new)
        else:
            new = with_raw(new, week_change(table, day, self.noted))
        if isinstance(inputs := notes.get("inputs"), Mapping):
            people = self.people_of_status if table == "status" else self.people
            named = " ".join(people.of(one) for one in str(inputs.get("people", "")).split(" "))
            new["inputs"] = {**new["inputs"], "people": named}
            if named != inputs.get("people") and "people" in new:
                new["people"] = dict(self.accounts)
        return new

    def _renote_day(self, day: date, notes: Mapping[str, Any], new: dict[str, Any]) -> None:
        raw, noted = self.raw.get(day, Change(NO_RAW, NO_RAW)), str(notes.get("raw", NO_RAW))
        is_current = noted in (raw.before, raw.after) and notes.get("code") in (self.code.before, self.code.after)
        if is_current:
            new |= {"raw": raw.after, "code": self.code.after}
            if isinstance(notes.get("inputs"), Mapping):
                new["inputs"] = {**notes["inputs"], "raw": raw.after}
        self.noted[day] = Change(noted, str(new.get("raw", NO_RAW)))
