"""Where the receiver puts what it takes: a directory or an S3 bucket, both of which never overwrite.

Belongs here: writing one object whole or not at all, and only if its key is new; reading it; announcing it. What is
written, and under which key, belongs elsewhere.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from qol_ingest.shared import aws, files
from qol_ingest.shared.deadline import TooSlowError, within
from qol_ingest.shared.errors import QolError, reason
from qol_ingest.shared.keys import LIFECYCLE, PINGS
from qol_ingest.shared.queues import Queue, QueueError, announcement

WRITE_S, SLOWEST_BYTES_PER_S = 4.0, 2_000_000
"""How long a write to S3 may take: so many seconds, and as long as the content needs at this rate."""
_KEY = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9_=.-]*(?:/[A-Za-z0-9_=-][A-Za-z0-9_=.-]*)*")


class StoreError(QolError):
    """Content could not be stored; the message says in one line why, and holds nothing of the content."""


class Store(Protocol):
    """Keys with content that is written once."""

    def put_new(self, key: str, content: bytes) -> bool:
        """Write `content` under `key`: True if it was written, False if the key was there already.

        Whole or not at all, and safe on disk when it returns. Raises StoreError.
        """

    def get(self, key: str) -> bytes | None:
        """Return what is stored under `key`, or None. Raises StoreError if that is unknown."""


@dataclass(frozen=True)
class DirectoryStore:
    """Files under `root`, which is made when needed. They are for their owner alone, whoever may open the folder."""

    root: Path

    def put_new(self, key: str, content: bytes) -> bool:
        """See `Store`."""
        path = self.root / _checked(key)
        try:
            files.make_folder(path.parent)
            return files.write_new(path, content)
        except OSError as error:
            why = files.in_the_way(path) or reason(error)
            raise StoreError(f"{self.root} could not be written: {why}") from error

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        try:
            return (self.root / _checked(key)).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{self.root} could not be read: {reason(error)}") from error


@dataclass(frozen=True)
class S3Store:
    """Objects of a bucket, below `prefix`. A write is given up after `limit_s` seconds, and more for large content."""

    bucket: str
    prefix: str = ""
    client: Any = field(default=None, repr=False)
    limit_s: float = WRITE_S

    def put_new(self, key: str, content: bytes) -> bool:
        """See `Store`. Two writers of one key at a time: one of them may get a StoreError and should try again."""
        name = f"{self.prefix}{_checked(key)}"
        try:
            put = self._client.put_object  # a client takes a second of a slow machine to make, and none of S3's time
            until = time.monotonic() + self.limit_s + len(content) / SLOWEST_BYTES_PER_S
            write = partial(put, Bucket=self.bucket, Key=name, Body=content, IfNoneMatch="*")
            within(until, f"s3://{self.bucket}", write)
        except TooSlowError as error:
            raise StoreError(str(error)) from None
        except aws.faults() as error:
            if aws.why(error) in ("PreconditionFailed", "412"):
                return False
            raise StoreError(f"s3://{self.bucket} could not be written: {aws.why(error)}") from None
        return True

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        name = f"{self.prefix}{_checked(key)}"
        try:
            return bytes(self._client.get_object(Bucket=self.bucket, Key=name)["Body"].read())
        except aws.faults() as error:
            if aws.why(error) in ("NoSuchKey", "404"):
                return None
            raise StoreError(f"s3://{self.bucket} could not be read: {aws.why(error)}") from None

    @cached_property
    def _client(self) -> Any:
        return aws.client("s3") if self.client is None else self.client


@dataclass(frozen=True)
class NotifyingStore:
    """A store that announces new objects to a queue, as S3 does on AWS: locally, the puller hears of its work by this.

    An object that is there already is announced again: the writer may have been killed before it could say so.
    """

    store: Store
    queue: Queue
    prefixes: tuple[str, ...] = (f"{PINGS}/", f"{LIFECYCLE}/")

    def put_new(self, key: str, content: bytes) -> bool:
        """See `Store`."""
        new = self.store.put_new(key, content)
        if key.startswith(self.prefixes):
            try:
                self.queue.send(announcement(key))
            except QueueError as error:
                raise StoreError(str(error)) from error
        return new

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        return self.store.get(key)


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise StoreError("a key is made of plain names with slashes between them; none may begin with a dot")
    return key
