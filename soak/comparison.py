"""What came of a soak beside what would have without any fault: raw records, and the rows of the tables.

Belongs here: the home without faults, and counting differences. The raw zone of that home is written by the simulation
itself, as a receiver would have stored it; its tables are computed in one run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import TABLES
from qol_dagster.weeks import monday_of, weekly_run_of

if TYPE_CHECKING:
    import pyarrow as pa

RELATIVE = 1e-9
NOT_COMPARED = ("computed_at",)
OF_RECEIPT = ("last_received_at", "sync_lag_h", "sync_lag_h_median", "sync_lag_h_mean")
"""Columns of when something was received: a clock set back moves that, and hours that pass while runs are lost."""
MOVED = timedelta(hours=4)
_OF_DELIVERY = re.compile(rb'"_received_at":"[^"]*","_ingest_id":"[^"]*",')
"""When a record came, and with which body: a ping's is another than that of the push in its place."""


@dataclass(frozen=True)
class Records:
    """Raw records: delivered, of those not stored, and stored more than once or by nobody's delivery."""

    delivered: int
    lost: int
    twice: int


@dataclass(frozen=True)
class Rows:
    """Rows of a table by participant and date: how many there should be, which differ, keys that are there twice."""

    expected: int
    different: tuple[str, ...]
    twice: int


def compare_records(reference: Path, lake: Path, erased: Collection[str]) -> Records:
    """Compare the raw zones, byte for byte but for what names the delivery, without the records of erased users."""
    delivered = lost = twice = 0
    names = [user.encode() for user in erased]
    for day in sorted({folder.name for one in (reference, lake) for folder in (one / "raw/daily").glob("date=*")}):
        expected, stored = (Counter(_records(one / "raw/daily" / day)) for one in (reference, lake))
        expected = Counter({line: n for line, n in expected.items() if not any(name in line for name in names)})
        delivered += expected.total()
        lost += (expected - stored).total()
        twice += (stored - expected).total()
    return Records(delivered, lost, twice)


def _records(folder: Path) -> Iterator[bytes]:
    for file in folder.glob("[!._]*.jsonl"):
        yield from map(_without_delivery, file.read_bytes().splitlines())


def _without_delivery(line: bytes) -> bytes:
    return _OF_DELIVERY.sub(b"", line, count=1)


def take_out(reference: Path, withheld: Collection[bytes]) -> int:
    """Take records out of a raw zone, each given without what names its delivery; return how many lines that were."""
    taken = 0
    for file in sorted(reference.glob("raw/daily/date=*/*.jsonl")) if withheld else ():
        lines = file.read_bytes().splitlines(keepends=True)
        rest = [line for line in lines if _without_delivery(line.rstrip(b"\n")) not in withheld]
        taken += len(lines) - len(rest)
        if not rest:
            file.unlink()
        elif len(rest) < len(lines):
            file.write_bytes(b"".join(rest))
    return taken


def count_late_files(lake: Path) -> int:
    """Return how many raw files came after the weekly run of their date's week."""
    late = 0
    for folder in (lake / "raw/daily").glob("date=*"):
        due = weekly_run_of(monday_of(date.fromisoformat(folder.name.removeprefix("date="))))
        for file in folder.glob("[!._]*.jsonl"):
            with file.open("rb") as lines:
                received = json.loads(lines.readline() or b"{}").get("_received_at", "")
            late += bool(received) and datetime.fromisoformat(received) > due
    return late


def compare_rows(reference: Path, lake: Path, table: Literal["daily", "weekly"]) -> Rows:
    """Compare all rows of a table, column by column."""
    expected, found = (Lake.local(folder) for folder in (reference, lake))
    dates = sorted({*expected.table_dates(table), *found.table_dates(table)})
    count, twice = 0, 0
    different: list[str] = []
    for day in dates:
        ours, theirs = _rows(found, table, day), _rows(expected, table, day)
        count += len({key for key, _ in theirs})
        twice += len(ours) - len({key for key, _ in ours})
        one, other = dict(ours), dict(theirs)
        different += [
            f"{table} {day} {key}: {', '.join(columns[:5])}"
            for key in sorted({*one, *other})
            if (columns := _different_columns(table, one.get(key), other.get(key)))
        ]
    return Rows(count, tuple(different), twice)


def _rows(lake: Lake, table: Literal["daily", "weekly"], day: date) -> list[tuple[str, dict[str, Any]]]:
    rows: pa.Table | None = lake.read_table(table, day)
    return [(row["participant_id"], row) for row in rows.to_pylist()] if rows else []


def _different_columns(table: Literal["daily", "weekly"], one: Any, other: Any) -> list[str]:
    if one is None or other is None:
        return ["not in the soak" if one is None else "only in the soak"]
    names = [metric.name for metric in TABLES[table] if metric.name not in NOT_COMPARED]
    return [name for name in names if not (_near if name in OF_RECEIPT else _alike)(one[name], other[name])]


def _near(one: object, other: object) -> bool:
    """Return whether two times, or numbers of hours, differ by no more than a push may be late."""
    if isinstance(one, datetime) and isinstance(other, datetime):
        return abs(one - other) <= MOVED
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= MOVED / timedelta(hours=1)
    return one == other


def _alike(one: object, other: object) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= RELATIVE * max(abs(one), abs(other))
    return one == other
