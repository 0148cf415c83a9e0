"""Lines and bodies without a person's records, byte for byte as they were otherwise.

Belongs here: whose a line is. A record is the person's if its own `userId` is; one of somebody else that names the
person is left, and reported. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qol_dagster.erasure.names import Person
from qol_ingest.shared.erasures import users_named

GZIP = b"\x1f\x8b\x08"


@dataclass(frozen=True)
class Cut:
    """What is left of a file, how many records went, and how many of others name the person."""

    content: bytes
    records: int = 0
    named: int = 0


def cut_lines(content: bytes, person: Person, owners: Callable[[bytes], set[str]] | None = None) -> Cut:
    """Return a file of lines without the person's. `owners` returns whose a line is, by default by its `userId`."""
    if not person.is_named_in_text(content):
        return Cut(content)
    whose = owners or users_of_line
    kept, gone, named = [], 0, 0
    for line in content.split(b"\n"):
        is_named = person.is_named_in_text(line)
        found = whose(line) if is_named else set()
        if found and all(person.is_user(one) or one in person.participants for one in found):
            gone += 1
            continue
        named += is_named
        kept.append(line)
    left = b"\n".join(kept)
    return Cut(left if left.strip(b"\r\n\xef\xbb\xbf") else b"", gone, named)


def cut_body(content: bytes, person: Person) -> Cut:
    """Return a body of quarantine without the person's records; one that cannot be read goes whole if it names them.

    `named` counts other users that such a body named.
    """
    body = _unpacked(content)
    if not person.user_is_named_in(body):
        return Cut(content)
    try:
        found = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, list) for one in found.values()):
        return Cut(b"", 1, sum(not person.is_user(user) for user in users_named(body)))
    kept = {kind: [one for one in records if not _is_of(one, person)] for kind, records in found.items()}
    gone = sum(map(len, found.values())) - sum(map(len, kept.values()))
    kept = {kind: records for kind, records in kept.items() if records}
    left = json.dumps(kept, ensure_ascii=False).encode("utf-8", "surrogatepass") if kept else b""
    if person.user_is_named_in(left):
        return Cut(content, 0, 1)
    return Cut(gzip.compress(left) if left and content.startswith(GZIP) else left, gone)


def users_of_line(line: bytes) -> set[str]:
    """Return whose a raw line or a part in quarantine is; of what is no JSON, everybody it names as a user."""
    last: list[tuple[str, Any]] = []

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal last
        last = pairs
        return dict(pairs)

    try:
        json.loads(line.decode("utf-8-sig"), object_pairs_hook=hook, parse_int=float)
    except (ValueError, RecursionError):
        return users_named(line)
    members = dict(last)
    if "reason" in members and "value" in members:
        value = members["value"]
        if isinstance(value, str):
            return users_named(value.encode("utf-8", "surrogatepass"))
        last = list(value.items()) if isinstance(value, dict) else []
    return {value for key, value in last if key == "userId" and isinstance(value, str)}


def participant_of_line(line: bytes) -> set[str]:
    """Return whose a line of answers is."""
    try:
        found = json.loads(line)
        participant = found["participant_id"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return set()
    return {participant} if isinstance(participant, str) else set()


def _is_of(record: object, person: Person) -> bool:
    return isinstance(record, dict) and person.is_user(record.get("userId"))


def _unpacked(content: bytes) -> bytes:
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content
