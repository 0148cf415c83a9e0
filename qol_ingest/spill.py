"""Where an object waits while the store cannot take it: a queue, in chunks, until it is drained.

Belongs here: cutting, putting together, and storing later. An object keeps its key and content, so that when it was
received, and what it supersedes, stay as they were.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import logging
import math
import secrets
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from qol_ingest.queues import LARGEST_MESSAGE_BYTES, Message, Queue, QueueError
from qol_ingest.stores import Store, StoreError

log = logging.getLogger(__name__)

CHUNK_CHARS = LARGEST_MESSAGE_BYTES - 4096
"""Of the packed content; the rest of a message is its envelope."""
RETRY_S = 60.0
"""How long what could not be stored or put together yet is left in the queue."""


@dataclass(frozen=True)
class Drained:
    """Objects that were stored, and messages that stay: their object is not whole yet, or the store still fails."""

    stored: int
    waiting: int


def spill(queue: Queue, key: str, content: bytes, *, until: float = math.inf) -> None:
    """Put an object into the queue; no message is begun after `until` (time.monotonic).

    Raises QueueError; what was sent by then is never put together, and ends as a dead letter.
    """
    packed = base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()
    chunks = [packed[at : at + CHUNK_CHARS] for at in range(0, len(packed), CHUNK_CHARS)]
    envelope = {
        "spill": secrets.token_hex(16),
        "at": time.time(),
        "key": key,
        "sha256": hashlib.sha256(content).hexdigest(),
        "chunks": len(chunks),
    }
    for number, chunk in enumerate(chunks):
        if time.monotonic() > until:
            raise QueueError("the spill queue is too slow")
        queue.send(json.dumps({**envelope, "number": number, "data": chunk}))


def drain(queue: Queue, store: Store, *, limit: int = 10_000) -> Drained:
    """Store what waits in the queue, first spilled first. Killed at any moment, it may simply be done again.

    A message goes only after its object was stored. Raises QueueError.
    """
    parts: dict[str, dict[int, tuple[Message, dict[str, Any]]]] = defaultdict(dict)
    taken = 0
    while taken < limit and (found := queue.receive(10)):
        taken += len(found)
        for message in found:
            part = _part(message)
            if part is None:
                log.error("a message of the spill queue cannot be understood; it will be a dead letter")
                continue
            parts[part["spill"]][part["number"]] = (message, part)
    stored = waiting = 0
    for group in sorted(parts.values(), key=lambda group: min(part["at"] for _, part in group.values())):
        if _store(group, store):
            stored += 1
            for message, _ in group.values():
                queue.done(message)
        else:
            waiting += len(group)
            for message, _ in group.values():
                queue.retry(message, RETRY_S)
    if stored or waiting:
        log.info("spill drained: %d objects stored, %d messages wait", stored, waiting)
    return Drained(stored, waiting)


def _part(message: Message) -> dict[str, Any] | None:
    wanted = {"spill": str, "at": float, "key": str, "sha256": str, "chunks": int, "number": int, "data": str}
    try:
        part = json.loads(message.body)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(part, dict) and all(isinstance(part.get(name), type_) for name, type_ in wanted.items())
    return part if whole else None


def _store(group: dict[int, tuple[Message, dict[str, Any]]], store: Store) -> bool:
    first = next(iter(group.values()))[1]
    if len(group) < first["chunks"]:
        return False
    packed = "".join(group[number][1]["data"] for number in sorted(group))
    try:
        content = gzip.decompress(base64.b64decode(packed, validate=True))
    except (ValueError, OSError, EOFError, zlib.error):
        content = b""
    if hashlib.sha256(content).hexdigest() != first["sha256"]:
        log.error("a spilled object is damaged; its messages will be dead letters")
        return False
    try:
        store.put_new(first["key"], content)
    except StoreError as error:
        log.warning("a spilled object waits on: %s", error)
        return False
    return True
