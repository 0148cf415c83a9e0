"""Queues between the receiver and what processes its objects: a folder on one machine, SQS on AWS.

Belongs here: sending, receiving, giving back. A message that was handed out too often is a dead letter; what its
content means belongs elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from qol_ingest.shared import aws, files
from qol_ingest.shared.errors import QolError, reason

LARGEST_MESSAGE_BYTES = 256 * 1024
"""What every sender keeps to: SQS takes no more everywhere."""
LONGEST_DELAY_S = 12 * 3600
"""No message is hidden for longer. One that is due later was hidden while the clock was ahead, and is due now."""
DEAD = "dead"
_GONE = ("ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue")
"""What SQS says of a message that was taken off, or is somebody else's by now."""
_DUE = "{:020d}-{}-{}"  # when it may be handed out (µs since 1970), its name, how often it was


class QueueError(QolError):
    """A message could not be sent or received; the message says why, and holds nothing of the content."""


@dataclass(frozen=True)
class Message:
    """A message that was handed out, for the `receives`-th time. `handle` is what the queue knows it by."""

    body: str
    handle: str = field(repr=False)
    receives: int


class Queue(Protocol):
    """Messages that are handed out to one taker at a time, at least once each. Everything raises QueueError."""

    def send(self, body: str, delay_s: float = 0) -> None:
        """Add a message, to be handed out after `delay_s` seconds. It is safe when this returns."""

    def receive(self, limit: int = 10, wait_s: float = 0) -> list[Message]:
        """Up to `limit` messages; waits up to `wait_s` seconds for the first. Others do not see them for a while."""

    def done(self, message: Message) -> None:
        """Forget a message that was processed. Nothing happens if it is somebody else's by now."""

    def retry(self, message: Message, after_s: float) -> None:
        """Have a message handed out again after so many seconds. Nothing happens if it is somebody else's by now."""


@dataclass(frozen=True)
class DirectoryQueue:
    """A file for each message, for threads and processes of one machine.

    When a message is due stands in its file's name; it is taken by renaming the file. One that was handed out
    `max_receives` times goes to the folder `dead` instead of being handed out again.
    """

    root: Path
    visibility_s: float = 60
    max_receives: int = 5
    clock: Callable[[], float] = time.time

    def send(self, body: str, delay_s: float = 0) -> None:
        """See `Queue`."""
        name = _DUE.format(self._us(delay_s), secrets.token_hex(8), 0)
        with _clear_errors(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(self.root / name, body.encode())

    def receive(self, limit: int = 10, wait_s: float = 0) -> list[Message]:
        """See `Queue`."""
        until = time.monotonic() + wait_s
        while True:
            with _clear_errors(self.root):
                found = list(self._receive_due(limit))
            if found or time.monotonic() >= until:
                return found
            time.sleep(min(0.05, max(0.0, until - time.monotonic())))

    def done(self, message: Message) -> None:
        """See `Queue`."""
        with _clear_errors(self.root):
            (self.root / message.handle).unlink(missing_ok=True)

    def retry(self, message: Message, after_s: float) -> None:
        """See `Queue`."""
        _, name, _ = message.handle.split("-")
        with _clear_errors(self.root), contextlib.suppress(FileNotFoundError):
            path = self.root / message.handle
            path.rename(self.root / _DUE.format(self._us(after_s), name, message.receives))

    def redrive(self) -> int:
        """Have all dead letters handed out anew, as if they had just been sent; return how many. Raises QueueError."""
        dead = self.root / DEAD
        with _clear_errors(self.root):
            letters = sorted(dead.iterdir()) if dead.is_dir() else []
            for letter in letters:
                letter.rename(self.root / _DUE.format(self._us(0), letter.name, 0))
        return len(letters)

    def _receive_due(self, limit: int) -> Iterator[Message]:
        now, latest, given = self._us(0), self._us(LONGEST_DELAY_S), 0
        for handle in sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else ():
            parts = handle.split("-")
            if len(parts) != 3 or not parts[0].isdecimal():
                continue
            if given == limit:
                return
            if now < int(parts[0]) <= latest:
                continue
            receives = int(parts[2]) + 1
            with contextlib.suppress(FileNotFoundError):  # somebody else was faster
                if receives > self.max_receives:
                    self._bury(handle, parts[1])
                    continue
                taken = _DUE.format(self._us(self.visibility_s), parts[1], receives)
                (self.root / handle).rename(self.root / taken)
                given += 1
                yield Message((self.root / taken).read_text(encoding="utf-8"), taken, receives)

    def _bury(self, handle: str, name: str) -> None:
        (self.root / DEAD).mkdir(mode=0o700, exist_ok=True)
        (self.root / handle).rename(self.root / DEAD / name)

    def _us(self, later_s: float) -> int:
        return int(1_000_000 * (self.clock() + min(LONGEST_DELAY_S, later_s)))


@dataclass(frozen=True)
class SqsQueue:
    """A queue of SQS. Its redrive policy says when a message is a dead letter."""

    url: str
    client: Any = field(default=None, repr=False)

    def send(self, body: str, delay_s: float = 0) -> None:
        """See `Queue`. SQS delays for 15 minutes at most."""
        self._ask("send_message", MessageBody=body, DelaySeconds=min(900, max(0, round(delay_s))))

    def receive(self, limit: int = 10, wait_s: float = 0) -> list[Message]:
        """See `Queue`. SQS hands out 10 at most."""
        answer = self._ask(
            "receive_message",
            MaxNumberOfMessages=max(1, min(10, limit)),
            WaitTimeSeconds=max(0, min(3, round(wait_s))),  # less than the read timeout
            AttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Message(one["Body"], one["ReceiptHandle"], int(one["Attributes"]["ApproximateReceiveCount"]))
            for one in answer.get("Messages", [])
        ]

    def done(self, message: Message) -> None:
        """See `Queue`."""
        self._ask("delete_message", ReceiptHandle=message.handle, unless=_GONE)

    def retry(self, message: Message, after_s: float) -> None:
        """See `Queue`. SQS hides a message for 12 hours at most."""
        seconds = max(0, min(LONGEST_DELAY_S, round(after_s)))
        self._ask("change_message_visibility", ReceiptHandle=message.handle, VisibilityTimeout=seconds, unless=_GONE)

    def _ask(self, call: str, *, unless: tuple[str, ...] = (), **arguments: Any) -> Any:
        try:
            return getattr(self._client, call)(QueueUrl=self.url, **arguments)
        except aws.faults() as error:
            if unless and aws.why(error).endswith(unless):
                return None
            raise QueueError(f"SQS did not do {call}: {aws.why(error)}") from None

    @cached_property
    def _client(self) -> Any:
        return aws.client("sqs") if self.client is None else self.client


def announcement(key: str) -> str:
    """Return the message in which S3 announces a new object to a queue; the local store sends the same."""
    from urllib.parse import quote_plus

    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "local"}, "object": {"key": quote_plus(key)}}}
    return json.dumps({"Records": [record]})


def announced(body: str) -> list[str]:
    """Return the keys that such a message announces; none if it is something else (S3's test message, say)."""
    from urllib.parse import unquote_plus

    try:
        records = json.loads(body)["Records"]
        return [unquote_plus(one["s3"]["object"]["key"]) for one in records if "Created" in one["eventName"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


@contextlib.contextmanager
def _clear_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise QueueError(f"the queue {root} could not be read or written: {reason(error)}") from error
