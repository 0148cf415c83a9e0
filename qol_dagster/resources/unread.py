"""What is stored and no run reads: quarantine, dead letters, files that are no raw files, lines that cannot be used.

Belongs here: counting it, for `qol doctor`, the weekly run and the alert, and what to do about each. Reading
quarantine again belongs in `requarantine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.lake.lake import RAW, LakeError, map_concurrently

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.settings import Settings

QUARANTINE = "raw/quarantine"
DAYS = 56
"""How many of the last dates are looked at: what it costs must not grow with the years behind it."""
ADVICE: Mapping[str, str] = {
    "quarantined_bodies": "Garmin sent what could not be read; after a fix, `qol raw requarantine` reads it again",
    "quarantined_parts": "Parts of bodies could not be used, each with its reason; `qol raw requarantine` reads them",
    "dead_letters": "Pings or events were tried in vain; ask for a backfill (`qol garmin backfill`), then delete them",
    "files_not_read": "Below raw/daily/ only date=YYYY-MM-DD/NAME.jsonl is read: rename or unpack the files",
    "unknown_type_records": "Records have a type that Garmin does not document; they are kept raw and feed no metric",
    "unreadable": "Raw lines are no JSON objects with a userId: correct the files",
    "misfiled": "Records are stored under another date than their own: `qol raw refile`",
}
"""What each count is of, and what to do about it."""
_LINES = ("unknown_type_records", "unreadable", "misfiled")


def count_unread(lake: Lake, settings: Settings) -> dict[str, int]:
    """Return the counts that `ADVICE` names: quarantine as a whole, raw files and lines of the last `DAYS` dates.

    Dead letters are those of this machine; on AWS they are in queues, which have alarms. Lines are not counted for whom
    tables cannot be read. Raises LakeError.
    """
    days = lake.raw_days()[-DAYS:]
    return {
        **count_quarantined(lake),
        "dead_letters": sum(map(_count_files, (settings.home / "dead_letters", settings.arrivals_dir / "dead"))),
        "files_not_read": sum(1 for _ in files_not_read(lake, days)),
        **_count_lines(lake, days),
    }


def count_quarantined(lake: Lake) -> dict[str, int]:
    """Return how many bodies are in quarantine, and how many files of parts of bodies."""
    keys = [key for key in lake.keys(QUARANTINE) if not _is_hidden(key)]
    bodies = sum(key.endswith(".body") for key in keys)
    return {"quarantined_bodies": bodies, "quarantined_parts": len(keys) - bodies}


def files_not_read(lake: Lake, days: Iterable[date]) -> Iterator[str]:
    """Yield the keys below raw/daily/ that no run reads: in the folders of these dates, and beside all of them.

    Names that begin with `.` or `_` are passed over: whoever writes a file begins it under one.
    """
    known = {f"date={day.isoformat()}" for day in lake.raw_days()}
    folders, files = lake.listing(RAW)
    strange = [folder for folder in folders if folder.rpartition("/")[2] not in known]
    for day in days:
        inner, in_day = lake.listing(f"{RAW}/date={day.isoformat()}")
        strange += inner
        files += [key for key in in_day if not key.endswith(".jsonl")]
    for folder in strange:
        files += lake.keys(folder)
    yield from (key for key in files if not _is_hidden(key))


def _count_lines(lake: Lake, days: Iterable[date]) -> dict[str, int]:
    try:
        notes = map_concurrently(partial(lake.partition_metadata, "daily"), days).values()
    except LakeError:  # staff on AWS see the names of files and open none
        return {}
    counts = [found.get("counts") or {} for found in notes if found]
    return {name: sum(int(one.get(name) or 0) for one in counts) for name in _LINES}


def _count_files(folder: Path) -> int:
    return sum(1 for one in folder.iterdir() if one.is_file()) if folder.is_dir() else 0


def _is_hidden(key: str) -> bool:
    return key.rpartition("/")[2].startswith((".", "_"))
