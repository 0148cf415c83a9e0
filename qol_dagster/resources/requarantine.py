"""Reading quarantine again, after a fix: what can be read now becomes raw lines, what cannot stays.

Belongs here: the order in which nothing is lost. What was read is written first and taken out of quarantine after,
under keys that follow from its content: killed in between, the next time writes the same again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import TYPE_CHECKING

from qol_ingest.records import GZIP, WITHOUT_HASTE, BodyError, Parsed, parse_body, unpack
from qol_ingest.shared.calendar import JST, receipt_date
from qol_ingest.shared.keys import QUARANTINE
from qol_ingest.shared.queues import DirectoryQueue
from qol_ingest.shared.stores import NotifyingStore
from qol_ingest.webhook import RefusingStore, objects

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.resources.platform import Platform
    from qol_ingest.shared.stores import Store

Progress = Callable[[int, int], None]
REJECTS = ".rejects.jsonl"
_KEY = re.compile(rf"{QUARANTINE}/date=([0-9-]{{10}})/([0-9A-Za-z-]+)(\.body|\.rejects\.jsonl)")
_TEXT = r'"(?:[^"\\]|\\.)*"'
_REJECT = re.compile(rf'\{{"reason":({_TEXT}),"_summary_type":({_TEXT}),"value":(.*)\}}')


@dataclass(frozen=True)
class RequarantineReport:
    """Files of quarantine that were looked at, those of which nothing is left there, and the records that were read."""

    files: int
    read: int
    records: int


@dataclass(frozen=True)
class _Found:
    """What a file of quarantine holds by now: objects to store, records in them, and what stays of the file."""

    objects: tuple[tuple[str, bytes], ...]
    records: int
    left: bytes


def requarantine(
    lake: Lake, store: Store, *, dry_run: bool = False, on_progress: Progress | None = None
) -> RequarantineReport:
    """Read all of quarantine again; with `dry_run` only count. `store` writes raw files, and announces what it has to.

    Raises LakeError, StoreError.
    """
    read = records = 0
    with lake.lock():
        keys = [key for key in lake.keys(QUARANTINE) if _KEY.fullmatch(key)]
        for number, key in enumerate(keys, start=1):
            content = lake.read_object(key)
            found = _read(key, content, _received_at(lake, key))
            read += not found.left
            records += found.records
            if not dry_run and (found.left != content or not content):
                for raw_key, raw_content in found.objects:
                    store.put_new(raw_key, raw_content)
                if found.left:
                    lake.replace_object(key, found.left)
                else:
                    lake.remove_objects([key])
            if on_progress:
                on_progress(number, len(keys))
    return RequarantineReport(len(keys), read, records)


def store_of(platform: Platform) -> Store:
    """Return where what is read is written, but for that of who withdrew or was erased.

    On one machine it also announces what the puller has to do, as S3 does.
    """
    store: Store = platform.raw_store()
    if platform.settings.target == "local":
        store = NotifyingStore(store, DirectoryQueue(platform.settings.arrivals_dir))
    return RefusingStore(store, platform.ledger())


def _received_at(lake: Lake, key: str) -> datetime:
    """Return when a file of quarantine was received: when it was written, unless that is another date than its own.

    Then it was copied or changed since, and it counts as received first of all that day.
    """
    found = _KEY.fullmatch(key)
    written, day = lake.modified_at(key), date.fromisoformat(found[1] if found else "")
    return written if receipt_date(written) == day else datetime.combine(day, time(), JST)


def _read(key: str, content: bytes, received_at: datetime) -> _Found:
    found = _KEY.fullmatch(key)
    name, ending = (found[2], found[3]) if found else ("", "")
    return _read_rejects(name, content, received_at) if ending == REJECTS else _read_body(content, received_at)


def _read_body(content: bytes, received_at: datetime) -> _Found:
    """A body is stored under the keys that the receiver would have given it; what is rejected of it is a file again."""
    try:
        body = unpack(content, WITHOUT_HASTE) if content.startswith(GZIP) else content
    except BodyError:
        return _Found((), 0, content)
    parsed = parse_body(body, received_at, WITHOUT_HASTE)
    if parsed.whole_body_reason:
        return _Found((), 0, content)
    return _Found(tuple(objects(parsed, body, received_at)), parsed.stored, b"")


def _read_rejects(name: str, content: bytes, received_at: datetime) -> _Found:
    """The rest of the body is stored under `name` already, so what can be read now gets a name of its own."""
    members: list[str] = []
    left: list[bytes] = []
    for line in content.split(b"\n"):
        member = _member(line)
        if member is not None and not _parse([member], name, received_at).rejected:
            members.append(member)
        elif line:
            left.append(line + b"\n")
    parsed = _parse(members, name, received_at)
    added = hashlib.sha256("\0".join(members).encode()).hexdigest()[:16]
    found = objects(replace(parsed, ingest_id=f"{name}-{added}"), b"", received_at)
    return _Found(tuple(found), parsed.stored, b"".join(left))


def _parse(members: list[str], name: str, received_at: datetime) -> Parsed:
    body = f"{{{','.join(members)}}}".encode()
    return parse_body(body, received_at, WITHOUT_HASTE, ingest_id=name)


def _member(line: bytes) -> str | None:
    """Return a rejected part as a member of a body, spelled as it was; None for what the receiver did not write."""
    try:
        found = _REJECT.fullmatch(line.decode())
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    why, kind, value = found.groups()
    return f"{kind}:{value}" if "not a list" in why else f"{kind}:[{value}]"
