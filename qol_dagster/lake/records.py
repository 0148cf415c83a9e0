"""The records zone: what raw lines were parsed to, `records/date=D/*.parquet`, and from which raw files.

Belongs here: which stored records are good, and how others take their place. Parsing is the engines', and which records
count is `metrics/records.py`'s. Records hold Garmin's ids: the zone is as confidential as raw.

A date's manifest names its Parquet files and the raw files they were made from. It is written last and at once, so
that a process killed at any moment leaves the old records or the new ones; a file that no manifest names is nobody's.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import shutil
from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from qol_dagster.errors import QolError
from qol_ingest.shared.keys import RECORDS

if TYPE_CHECKING:
    from pathlib import Path

    from qol_dagster.lake.lake import Lake, RawObject

MANIFEST = "manifest.json"
STAGING = f"{RECORDS}/_staging"
"""Where engines write to; what killed runs left there is removed by the next."""
MARK = 16
"""Letters of a raw file's mark, 6 bits each."""


class DamagedRecordsError(QolError):
    """Stored records are no Parquet; the message says how they are made anew."""


@dataclass(frozen=True)
class StoredRecords:
    """A date's records: their Parquet files (sizes in bytes by key), and the marks of the raw files in them."""

    parts: Mapping[str, int]
    marks: frozenset[str]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(self.parts.values())


NOTHING = StoredRecords({}, frozenset())


def mark(item: RawObject) -> str:
    """Return a mark of a raw file, which changes when it is written again."""
    version = f"{item.key}\0{item.size}\0{item.etag}".encode()
    return b64encode(hashlib.sha256(version).digest())[:MARK].decode()


def stored_records(lake: Lake, day: date, reading: str | None = None) -> StoredRecords:
    """Return the records of a date that were read by `reading` (a fingerprint), if they are whole; else nothing.

    Without `reading`, by whatever code they were read: for who shows them, and computes nothing that is stored.
    """
    found = lake.objects(f"{_folder(day)}/")
    manifest = f"{_folder(day)}/{MANIFEST}"
    if manifest not in found:
        return NOTHING
    try:
        noted = json.loads(lake.read_object(manifest))
        parts = {f"{_folder(day)}/{name}": int(size) for name, size in noted["parts"].items()}
        marks = str(noted["files"])
        good = reading in (None, noted["reading"]) and all(found.get(key) == size for key, size in parts.items())
    except (ValueError, TypeError, KeyError, AttributeError):
        return NOTHING
    return StoredRecords(parts, _split(marks)) if good else NOTHING


def copy_records(lake: Lake, day: date, stored: StoredRecords, users: Collection[str], folder: Path) -> str:
    """Copy the records of these users into one file below a folder, as an engine in this process reads them.

    Returns its path. Raises DamagedRecordsError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [("user_id", "in", sorted(users))]
    try:
        parts = [pq.read_table(io.BytesIO(lake.read_object(key)), filters=wanted) for key in stored.parts]
        rows = pa.concat_tables(parts, promote_options="permissive")
    except (OSError, pa.ArrowException) as error:
        raise DamagedRecordsError(f"the records of {day} are damaged", advice=remake_records(day)) from error
    of_day = folder / f"date={day}"
    of_day.mkdir()
    pq.write_table(rows, of_day / "part-0.parquet")
    return str(of_day / "part-0.parquet")


def remake_records(day: date) -> str:
    """Return how records are made anew: a run without `--force` that has nothing to compute reads none."""
    return f"Make them from the raw files: qol materialize --week {day} --force"


def new_staging() -> str:
    """Return the key of a folder for an engine to write to."""
    return f"{STAGING}/{secrets.token_hex(8)}"


def clear_staging(lake: Lake) -> None:
    """Remove what engines left, above all when they were killed. Whoever calls this holds the lake's lock."""
    if lake.folder:
        staging = lake.folder / STAGING
        if staging.is_file():
            staging.unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
    lake.remove_objects(lake.objects(f"{STAGING}/"))


def store_records(
    lake: Lake,
    staging: str,
    reading: str,
    files: Mapping[date, Sequence[RawObject]],
    beside: Mapping[date, Mapping[str, int]],
) -> dict[date, StoredRecords]:
    """Put what an engine wrote below `staging` in the place of the records of these dates, made from these files.

    The files `beside` it stay (sizes by key).
    """
    staged = {key: size for key, size in lake.objects(f"{staging}/").items() if _is_part(key)}
    found = {}
    for day, made_from in files.items():
        of_day = {key: size for key, size in staged.items() if key.startswith(f"{staging}/date={day}/")}
        parts = {**beside.get(day, {}), **_move(lake, of_day, day)}
        found[day] = StoredRecords(parts, frozenset(map(mark, made_from)))
        _note(lake, day, found[day], reading)
    clear_staging(lake)
    return found


def _move(lake: Lake, staged: Mapping[str, int], day: date) -> dict[str, int]:
    """Move Parquet files, given as sizes by key, to the date's folder, and return them as such."""
    token, moved = secrets.token_hex(8), {}
    for number, (key, size) in enumerate(staged.items()):
        target = f"{_folder(day)}/{token}-{number}.parquet"
        lake.move_object(key, target)
        moved[target] = size
    return moved


def _note(lake: Lake, day: date, records: StoredRecords, reading: str) -> None:
    """Make these the date's records, and remove what is none of them."""
    parts = {key.rpartition("/")[2]: size for key, size in records.parts.items()}
    noted = {"reading": reading, "parts": parts, "files": "".join(sorted(records.marks))}
    manifest = f"{_folder(day)}/{MANIFEST}"
    lake.replace_object(manifest, json.dumps(noted).encode())
    lake.remove_objects(lake.objects(f"{_folder(day)}/").keys() - records.parts.keys() - {manifest})


def erase_records(lake: Lake, day: date, users: Collection[str], replaced: Mapping[str, str | None]) -> int:
    """Take users out of the records of a date, and return how many records went.

    `replaced`: by the mark of a raw file as it was, its mark now, None for one that went. Records that are not whole
    are forgotten: the next run makes them again.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    manifest = f"{_folder(day)}/{MANIFEST}"
    stored = stored_records(lake, day)
    if stored == NOTHING:
        forget_records(lake, [day])
        return 0
    parts, lost = dict(stored.parts), 0
    for number, key in enumerate(stored.parts):
        rows = pq.ParquetFile(pa.BufferReader(lake.read_object(key))).read(use_threads=False)
        gone = pc.fill_null(pc.is_in(rows["user_id"], pa.array(sorted(users), pa.string())), False)
        if not pc.any(gone).as_py():
            continue
        kept, buffer = rows.filter(pc.invert(gone)), io.BytesIO()
        pq.write_table(kept, buffer, compression="zstd")
        lost += rows.num_rows - kept.num_rows
        content = buffer.getvalue()
        new = f"{_folder(day)}/{hashlib.sha256(content).hexdigest()[:16]}-{number}.parquet"
        lake.replace_object(new, content)
        parts[new] = len(content)
        del parts[key]
    marks = {replaced.get(one, one) for one in stored.marks}
    now = StoredRecords(parts, frozenset(one for one in marks if one is not None))
    if now != stored:
        _note(lake, day, now, json.loads(lake.read_object(manifest))["reading"])
    lake.remove_objects(lake.objects(f"{_folder(day)}/").keys() - now.parts.keys() - {manifest})  # of killed processes
    return lost


def forget_records(lake: Lake, days: Iterable[date]) -> None:
    """Remove the records of these dates. They can be made again."""
    for day in days:
        found = lake.objects(f"{_folder(day)}/")
        lake.remove_objects(sorted(found, key=lambda key: not key.endswith(MANIFEST)))


def _folder(day: date) -> str:
    return f"{RECORDS}/date={day.isoformat()}"


def _is_part(key: str) -> bool:
    name = key.rpartition("/")[2]
    return name.endswith(".parquet") and name[0] not in "._"


def _split(marks: str) -> frozenset[str]:
    return frozenset(marks[start : start + MARK] for start in range(0, len(marks), MARK))
