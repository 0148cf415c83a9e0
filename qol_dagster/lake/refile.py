"""Moving raw records that are stored under another date than their own, such as those of a dump filed by receipt date.

Belongs here: the move, in an order that loses nothing: what is moved is written first and taken away after, so a
process killed in between leaves a record twice, which counts once.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from qol_ingest.shared.record_dates import record_date

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake, RawObject

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RefileReport:
    """Records looked at, and those that lay under another date than their own."""

    lines: int
    misfiled: int


def refile(lake: Lake, *, dry_run: bool = False, on_progress: Progress | None = None) -> RefileReport:
    """Move every misfiled record of the lake, unless `dry_run`. Lines that cannot be read stay where they are."""
    lines = misfiled = 0
    with lake.lock():
        days = lake.raw_days()
        for number, day in enumerate(days, start=1):
            for item in lake.raw_objects(day):
                content = lake.read_raw(item).splitlines(keepends=True)
                strays = _strays(content, day)
                lines += sum(bool(line.strip()) for line in content)
                misfiled += len(strays)
                if strays and not dry_run:
                    _move(lake, item, content, strays)
            if on_progress:
                on_progress(number, len(days))
    return RefileReport(lines, misfiled)


def _strays(content: list[bytes], day: date) -> dict[int, date]:
    """Return the lines that belong to another date, and which."""
    owners = ((number, _own_date(line, day)) for number, line in enumerate(content))
    return {number: own for number, own in owners if own != day}


def _own_date(line: bytes, day: date) -> date:
    try:
        record: Any = json.loads(line, parse_int=float)  # Python limits the digits of an integer
    except (ValueError, RecursionError):
        return day
    return record_date(record, _received(record, day)) if isinstance(record, dict) else day


def _received(record: dict[str, Any], day: date) -> datetime:
    """Return the receipt; for a line without one, that the folder says."""
    try:
        received = datetime.fromisoformat(record["_received_at"])
    except (KeyError, TypeError, ValueError):
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    return received if received.tzinfo else received.replace(tzinfo=UTC)


def _move(lake: Lake, item: RawObject, content: list[bytes], strays: dict[int, date]) -> None:
    moved: dict[date, list[bytes]] = defaultdict(list)
    for number, own in strays.items():
        moved[own].append(content[number].rstrip(b"\r\n") + b"\n")
    for own, lines in moved.items():
        text = b"".join(lines)
        lake.write_raw(own, f"refiled-{hashlib.sha256(text).hexdigest()}", text)
    lake.replace_raw(item, b"".join(line for number, line in enumerate(content) if number not in strays))
