"""What is stored and no run reads: quarantine, dead letters, files that are no raw files, lines that cannot be used.

Belongs here: counting it, for `qol doctor`, the weekly run and the alert, and what to do about each. Reading
quarantine again belongs in `requarantine`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.lake import odd_names
from qol_dagster.lake.objects import LakeError, map_concurrently
from qol_ingest.shared.keys import LIFECYCLE, QUARANTINE, RAW

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.settings import Settings

DAYS = 56
"""How many of the last dates are looked at: what it costs must not grow with the years behind it."""
ADVICE: Mapping[str, str] = {
    "quarantined_bodies": "Garmin sent what could not be read; after a fix, `qol raw requarantine` reads it again",
    "quarantined_parts": "Parts of bodies could not be used, each with its reason; `qol raw requarantine` reads them",
    "dead_letters": "Pings or events were tried in vain; within a day `qol garmin pull --redrive` tries them again; "
    "for what it cannot get ask for a backfill (`qol garmin backfill`), then delete them",
    "files_not_read": "Below raw/daily/ only date=YYYY-MM-DD/NAME.jsonl is read, and in raw/ no name that is not UTF-8 "
    "or has a control character, such as a line break: rename or unpack the files; `qol doctor` names them",
    "unknown_type_records": "Records have a type that Garmin does not document; they are kept raw and feed no metric",
    "unreadable": "Raw lines are no JSON objects with a userId: correct the files",
    "misfiled": "Records are stored under another date than their own: `qol raw refile`",
}
"""What each count is of, and what to do about it."""
ADVICE_JA: Mapping[str, str] = {
    "quarantined_bodies": "読めない本文が Garmin から届きました。修正の後、`qol raw requarantine` で読み直せます",
    "quarantined_parts": "本文の一部が使えませんでした（理由付き）。`qol raw requarantine` で読み直せます",
    "dead_letters": "Ping または通知を処理できませんでした。1 日以内なら `qol garmin pull --redrive` で再試行できます。"
    "取得できないものは `qol garmin backfill` で取得し直してから削除してください",
    "files_not_read": "raw/daily/ で読まれるのは date=YYYY-MM-DD/名前.jsonl だけです。名前を変えるか展開してください",
    "unknown_type_records": "Garmin の文書にない種類のレコードです。生データとして残り、どの指標にも使われません",
    "unreadable": "userId を持つ JSON オブジェクトでない行があります。ファイルを直してください",
    "misfiled": "別の日付の下に保存されたレコードがあります。`qol raw refile` を実行してください",
}
"""The same in Japanese."""
NAMED = 5
"""So many files are named, and of more only the number."""
_ID = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9a-f])", re.I)
"""The shape of Garmin's user ids."""
_OUR_FOLDER = re.compile(r"raw|daily|lifecycle|quarantine|date=[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LINES = ("unknown_type_records", "unreadable", "misfiled")


def count_unread(lake: Lake, settings: Settings) -> dict[str, int]:
    """Return the counts that `ADVICE` names: quarantine as a whole, raw files and lines of the last `DAYS` dates.

    Dead letters are those of this machine; on AWS they are in queues, which have alarms. Lines are not counted for whom
    tables cannot be read. Raises LakeError.
    """
    return {
        **count_quarantined(lake),
        "dead_letters": sum(map(_count_files, (settings.home / "dead_letters", settings.arrivals_dir / "dead"))),
        "files_not_read": len(recent_files_not_read(lake)),
        **_count_lines(lake, lake.last_raw_days(DAYS)),
    }


def count_quarantined(lake: Lake) -> dict[str, int]:
    """Return how many bodies are in quarantine, and how many files of parts of bodies."""
    keys = [key for key in lake.keys(QUARANTINE) if not _is_hidden(key)]
    bodies = sum(key.endswith(".body") for key in keys)
    return {"quarantined_bodies": bodies, "quarantined_parts": len(keys) - bodies}


def recent_files_not_read(lake: Lake) -> list[str]:
    """Return those of `files_not_read` of the last `DAYS` dates."""
    return list(files_not_read(lake, lake.last_raw_days(DAYS)))


def files_not_read(lake: Lake, days: Iterable[date]) -> Iterator[str]:
    """Yield the keys below raw/daily/ that no run reads: in the folders of these dates, and beside all of them.

    Names that begin with `.` or `_` are passed over: whoever writes a file begins it under one. What has a name that no
    key can have is among them, spelled with escapes, also below raw/lifecycle/ and raw/quarantine/.
    """
    known = {f"date={day.isoformat()}" for day in lake.raw_days()}
    folders, files, odd = lake.listing(RAW)
    strange = [folder for folder in folders if folder.rpartition("/")[2] not in known]
    for zone in (LIFECYCLE, QUARANTINE) if lake.folder else ():  # on S3 only the receiver writes there
        inner, _, found = lake.listing(zone)
        odd += found
        for folder in inner:
            odd += lake.listing(folder)[2]
    for day in days:
        inner, in_day, found = lake.listing(f"{RAW}/date={day.isoformat()}")
        odd += found
        strange += inner
        files += [key for key in in_day if not key.endswith(".jsonl")]
    files += odd
    for folder in strange:
        files += lake.keys(folder)
    yield from (key for key in files if not _is_hidden(key))


def name_files(keys: Iterable[str]) -> str:
    """Return the first keys on one line, without what is like a Garmin user id, and how many more there are."""
    shown = [_ID.sub("***", odd_names.spelled(key)) for key in sorted(keys)]
    more = [f"{len(shown) - NAMED} more"] if len(shown) > NAMED else []
    return ", ".join(shown[:NAMED] + more)


def name_folders(keys: Iterable[str]) -> str:
    """Return how many keys are in which folders, of which only our own are named: other names are other people's."""
    found = Counter("/".join(takewhile(_OUR_FOLDER.fullmatch, key.split("/")[:-1])) for key in keys)
    return ", ".join(f"{folder}/: {number}" for folder, number in sorted(found.items()))


def _count_lines(lake: Lake, days: Iterable[date]) -> dict[str, int]:
    try:
        notes = map_concurrently(partial(_notes, lake), days).values()
    except LakeError:  # staff on AWS see the names of files and open none
        return {}
    counts = [found.get("counts") or {} for found in notes if found]
    return {name: sum(int(one.get(name) or 0) for one in counts) for name in _LINES}


def _notes(lake: Lake, day: date) -> Mapping[str, Any] | None:
    try:
        return lake.partition_metadata("daily", day)
    except LakeError:
        if lake.folder is None:
            raise
        return None  # something is in the partition's place: the next run of its week fails, and names it


def _count_files(folder: Path) -> int:
    return sum(1 for one in folder.iterdir() if one.is_file()) if folder.is_dir() else 0


def _is_hidden(key: str) -> bool:
    return key.rpartition("/")[2].startswith((".", "_"))
