"""Small lakes for tests: raw lines written by hand, and rows compared the way the contract says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

MONDAY = date(2026, 11, 16)
JST_S = 9 * 3600


def local_s(day: date, minute: float = 0) -> int:
    """UTC seconds of a Japanese local time, given in minutes from midnight of `day`."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    return int(midnight + minute * 60 - JST_S)


def record(type_: str, user: str, day: date, /, **fields: Any) -> dict[str, Any]:
    """A raw line of `day` as a dict, received the day after at noon; fields override anything."""
    defaults = {
        "_summary_type": type_,
        "_received_at": f"{day.isoformat()}T23:00:00.000Z",
        "_ingest_id": "0" * 64,
        "userId": user,
        "summaryId": f"{user}-{type_}-{day}",
        "calendarDate": day.isoformat(),
        "startTimeInSeconds": local_s(day),
        "startTimeOffsetInSeconds": JST_S,
        "durationInSeconds": 86_400,
    }
    return {key: value for key, value in {**defaults, **fields}.items() if value is not ...}


def worn(hours: float, bpm: int = 60, first_hour: int = 8) -> dict[str, int]:
    """Heart-rate samples of every 15 s over so many hours."""
    return {str(first_hour * 3600 + 15 * slot): bpm for slot in range(int(hours * 240))}


def write_raw(lake: Path, day: date, lines: Iterable[Mapping[str, Any] | bytes], name: str = "a") -> Path:
    """Write lines under `raw/daily/date=D/`: dicts as JSON, bytes as they are."""
    folder = lake / "raw" / "daily" / f"date={day.isoformat()}"
    folder.mkdir(parents=True, exist_ok=True)
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path = folder / f"{name}.jsonl"
    path.write_bytes(b"\n".join(encoded) + b"\n")
    return path


UNCOMPARED = {"computed_at", "metrics_version"}


def differences(
    got: Iterable[Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]], rel_tol: float = 1e-9
) -> list[str]:
    """What differs between two sets of rows by (participant_id, date), in words; empty when they agree."""
    mine, theirs = _by_key(got), _by_key(wanted)
    found = [f"{key}: only on one side" for key in sorted(mine.keys() ^ theirs.keys())]
    for key in sorted(mine.keys() & theirs.keys()):
        columns = (mine[key].keys() | theirs[key].keys()) - UNCOMPARED
        for column in sorted(columns):
            one, other = mine[key].get(column, "no such column"), theirs[key].get(column, "no such column")
            if not _same(one, other, rel_tol):
                found.append(f"{key} {column}: {one!r} is not {other!r}")
    return found


def _by_key(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(row["participant_id"], str(row["date"])): row for row in rows}


def _same(one: Any, other: Any, rel_tol: float) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b, rel_tol) for a, b in zip(one, other, strict=True))
    if isinstance(one, datetime) and isinstance(other, datetime):
        return one.timestamp() == other.timestamp()
    if isinstance(one, date) or isinstance(other, date):
        return str(one) == str(other)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return math.isclose(one, other, rel_tol=rel_tol, abs_tol=1e-9) if numbers else one == other
