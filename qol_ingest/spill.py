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
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from qol_ingest.shared.queues import LARGEST_MESSAGE_BYTES, Message, Queue, QueueError
from qol_ingest.shared.stores import Store, StoreError

log = logging.getLogger(__name__)

CHUNK_CHARS = LARGEST_MESSAGE_BYTES - 4096
"""Of the compressed content; the rest of a message is its envelope."""
MOST_CHARS = 160 * 1024 * 1024
"""What is held in memory at a time: more than Garmin's largest body is when it cannot be compressed."""
RETRY_S, RETRY_GROWTH, LONGEST_RETRY_S = 60.0, 4.0, 3 * 3600.0
"""How long what cannot be stored or put together yet is left in the queue, more from time to time. With 8 receives
that covers half a day of a store that fails."""

Outcome = Literal["stored", "there already", "waiting", "damaged"]


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


def drain(queue: Queue, store: Store, *, until: float = math.inf) -> Drained:
    """Store what waits in the queue, first spilled first. Killed at any moment, it may simply be done again.

    A message goes only after its object was stored; nothing is begun after `until` (time.monotonic), and the queue
    has to hide messages for longer than that. Raises QueueError.
    """
    stored = waiting = 0
    while objects := _received(queue, until):
        for one in sorted(objects, key=lambda one: one.at):
            outcome: Outcome = _store(one, store) if time.monotonic() < until else "waiting"
            stored += outcome == "stored"
            waiting += len(one.messages) if outcome == "waiting" else 0
            _settle(one, outcome, queue)
    if stored or waiting:
        log.info("spill drained: %d objects stored, %d messages wait", stored, waiting)
    return Drained(stored, waiting)


@dataclass
class _Object:
    """What was received of one spilled object."""

    key: str
    sha256: str
    chunks: int
    at: float
    data: dict[int, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return self.data.keys() == set(range(self.chunks))

    def content(self) -> bytes | None:
        """None if it is damaged."""
        packed = "".join(self.data[number] for number in range(self.chunks))
        try:
            content = gzip.decompress(base64.b64decode(packed, validate=True))
        except (ValueError, OSError, EOFError, zlib.error):
            return None
        return content if hashlib.sha256(content).hexdigest() == self.sha256 else None


def _received(queue: Queue, until: float) -> list[_Object]:
    """Return what the queue hands out, as far as it fits into memory."""
    found: dict[str, _Object] = {}
    held = 0
    while held < MOST_CHARS and time.monotonic() < until and (messages := queue.receive(10)):
        for message in messages:
            part = _part(message)
            if part is None:
                log.error("a message of the spill queue cannot be understood; it will be a dead letter")
                continue
            whole = _Object(part["key"], part["sha256"], part["chunks"], part["at"])
            one = found.setdefault(part["spill"], whole)
            one.data[part["number"]] = part["data"]
            one.messages.append(replace(message, body=""))
            held += len(message.body)
    return list(found.values())


def _part(message: Message) -> dict[str, Any] | None:
    wanted = {"spill": str, "at": float, "key": str, "sha256": str, "chunks": int, "number": int, "data": str}
    try:
        part = json.loads(message.body)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(part, dict) and all(isinstance(part.get(name), type_) for name, type_ in wanted.items())
    return part if is_ours else None


def _store(one: _Object, store: Store) -> Outcome:
    try:
        if not one.is_whole:
            # A drain was killed while it took the messages off, or Garmin sent the body again. A key is written once.
            return "waiting" if store.get(one.key) is None else "there already"
        content = one.content()
        if content is None:
            log.error("a spilled object is damaged; its messages will be dead letters")
            return "damaged"
        store.put_new(one.key, content)
    except StoreError as error:
        log.warning("a spilled object waits on: %s", error)
        return "waiting"
    return "stored"


def _settle(one: _Object, outcome: Outcome, queue: Queue) -> None:
    one.data.clear()
    for message in one.messages:
        if outcome in ("stored", "there already"):
            queue.done(message)
        elif outcome == "waiting":
            queue.retry(message, min(LONGEST_RETRY_S, RETRY_S * RETRY_GROWTH ** (message.receives - 1)))
