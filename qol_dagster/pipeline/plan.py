"""What a run has to do: which dates are computed again, and which of their raw files are parsed.

Belongs here: decisions, from what was listed and what is stored with the partitions. Nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from qol_dagster.engines import DAYS_AT_A_TIME
from qol_dagster.lake.records import NOTHING, StoredRecords, mark

if TYPE_CHECKING:
    from qol_dagster.lake.lake import RawObject

RECORDS_IN_MEMORY = 16
"""So much more than in their file do records take while rows are computed from them."""


@dataclass(frozen=True)
class RecordsPlan:
    """Where a date's records come from: what is stored, and the raw files `new` to that.

    `keep` are the names, without ending, of the raw files whose stored records stay; None: all.
    """

    files: tuple[RawObject, ...]
    stored: StoredRecords
    new: tuple[RawObject, ...]
    keep: tuple[str, ...] | None

    @property
    def is_current(self) -> bool:
        """Whether the stored records are just those of the raw files."""
        return not self.new and self.keep is None

    @property
    def bytes_to_parse(self) -> int:
        """Raw bytes."""
        return sum(item.size for item in self.new)


def plan_records(files: Sequence[RawObject], stored: StoredRecords) -> RecordsPlan:
    """Return how the records of these raw files are made: of files that went or changed, no stored record stays."""
    marks = {item: mark(item) for item in files}
    new = tuple(item for item in files if marks[item] not in stored.marks)
    kept = [item for item in files if marks[item] in stored.marks]
    if not kept:
        return RecordsPlan(tuple(files), NOTHING, new, None)
    names = None if len(kept) == len(stored.marks) else tuple(item.name for item in kept)
    return RecordsPlan(tuple(files), stored, new, names)


def stale_days(
    wanted: Mapping[date, Mapping[str, str]], notes: Mapping[date, Mapping[str, Any]], forced: Collection[date]
) -> list[date]:
    """Return the dates whose rows were made from other files, by other code or for others than is wanted, and these."""
    return [
        day
        for day, want in wanted.items()
        if day in forced or any(notes[day].get(name) != value for name, value in want.items())
    ]


def batches(plans: Mapping[date, RecordsPlan], largest: int) -> Iterator[dict[date, RecordsPlan]]:
    """Yield the dates in order, in groups that take at most so many bytes of memory (or one date).

    A group's dates are not further apart than records can be numbered: a device whose clock was reset is in 1970.
    """
    batch: dict[date, RecordsPlan] = {}
    size = 0
    for day in sorted(plans):
        plan = plans[day]
        day_bytes = plan.bytes_to_parse + RECORDS_IN_MEMORY * plan.stored.size
        if batch and (size + day_bytes > largest or (day - next(iter(batch))).days >= DAYS_AT_A_TIME):
            yield batch
            batch, size = {}, 0
        batch[day] = plan
        size += day_bytes
    if batch:
        yield batch
