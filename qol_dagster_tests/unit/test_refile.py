"""Records that lie under another date than their own are moved to it as they are."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.refile import RefileReport, refile
from qol_dagster_tests.support.lakes import write_raw

TUESDAY = date(2026, 11, 17)
LATE = 1_794_925_800  # 2026-11-17T23:30 in Japan
SLEEP = {"startTimeInSeconds": LATE, "startTimeOffsetInSeconds": 32_400, "durationInSeconds": 27_000}


def line(kind: str, record: dict[str, Any], received: str | None = "2026-11-20T00:00:00.000Z") -> bytes:
    ours = {"_summary_type": kind, "userId": "u-1"} | ({"_received_at": received} if received else {})
    return json.dumps(ours | record).encode()


def stored(home: Path) -> dict[str, list[bytes]]:
    """The lines of each date; a date without any is left out."""
    found = {path.parent.name: path.read_bytes().splitlines() for path in home.glob("raw/daily/date=*/*.jsonl")}
    return {day.removeprefix("date="): lines for day, lines in found.items() if lines}


@pytest.mark.parametrize(
    ("raw", "own"),
    [
        (line("sleeps", SLEEP), "2026-11-18"),
        (line("hrv", SLEEP), "2026-11-18"),
        (line("dailies", SLEEP), "2026-11-17"),
        (line("sleeps", SLEEP | {"durationInSeconds": 1799}), "2026-11-17"),
        (line("sleeps", {"startTimeInSeconds": 1000 * LATE}), "2026-11-20"),
        (line("dailies", {}, "2026-11-16T14:59:59.999Z"), "2026-11-16"),
        (line("dailies", {}, "2026-11-16T15:00:00"), "2026-11-17"),
        (line("dailies", {}, None), "2026-11-17"),
        (b'{"calendarDate":"2026-11-18","steps":' + b"9" * 5000 + b"}", "2026-11-18"),
        (rb'{"calendarDate":"2026-11-18","activityName":"Run \ud83d"}', "2026-11-18"),
        (b'\xef\xbb\xbf{"calendarDate":"2026-11-18"}', "2026-11-18"),
        (b'{"calendarDate":"2026-11-18"', "2026-11-17"),
        (b"[" * 100_000, "2026-11-17"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:40].decode("ascii", "replace"),
)
def test_a_record_is_moved_to_the_date_that_the_receiver_would_file_it_under(
    tmp_path: Path, raw: bytes, own: str
) -> None:
    write_raw(tmp_path, TUESDAY, [raw])
    moved = own != TUESDAY.isoformat()
    assert refile(Lake.local(tmp_path), dry_run=True) == RefileReport(1, moved)
    assert stored(tmp_path) == {"2026-11-17": [raw]}
    assert refile(Lake.local(tmp_path)) == RefileReport(1, moved)
    assert stored(tmp_path) == {own: [raw]}
    assert refile(Lake.local(tmp_path)).misfiled == 0
