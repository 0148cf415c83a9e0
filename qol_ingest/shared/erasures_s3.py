"""The ledger of who withdrew or was erased, on AWS: the lines of `erasures`, as one object of the lake's bucket.

Belongs here: reading it before each push, and appending by a conditional write. The key of its hashes is an object
beside it. Nobody can be made to wait here: a push that read the ledger before an entry came may be stored for as long
as its Lambda runs, which whoever erases has to wait for.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from qol_ingest.shared import aws
from qol_ingest.shared.deadline import TooSlowError, within
from qol_ingest.shared.erasures import KEY, LEDGER, AnyLedger, Entry, LedgerError, entries_of, refused_of
from qol_ingest.shared.keys import ERASURES

PREFIX = f"{ERASURES}/"
"""Of the ledger, its key, and signed reports."""
LOOK_S = 6.0
"""How long a look before a push may take: Garmin waits."""
TRIES = 20
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
"""What S3 says of a conditional write when somebody else was faster."""


@dataclass(frozen=True)
class S3Ledger(AnyLedger):
    """The ledger in a bucket."""

    bucket: str
    kms_key: str = ""
    """Under which it is written: those who ask who left need no key to raw data. By default the bucket's own."""
    client: Any = field(default=None, repr=False)
    _cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @contextmanager
    def receiving(self) -> Iterator[frozenset[str]]:
        """See `Refusals`. What is added meanwhile is not waited for."""
        client = self._client  # making it takes a while, once

        def look() -> tuple[Entry, ...]:
            entries = self._entries()
            if entries:
                self._key()
            return entries

        try:
            entries = within(time.monotonic() + LOOK_S, f"the ledger of erasures in {client.meta.endpoint_url}", look)
        except TooSlowError as error:
            raise LedgerError(str(error), advice="Do the same again") from None
        yield refused_of(entries, "users")

    def _entries(self) -> tuple[Entry, ...]:
        """Ask for the tag alone: a listing says without doubt that there is no ledger, which a GET does not."""
        tag = self._tag(LEDGER)
        if not tag:
            return ()
        if self._cache.get("seen", ("",))[0] != tag:
            content, tag = self._get(LEDGER)
            self._cache["seen"] = tag, entries_of(content)
        entries: tuple[Entry, ...] = self._cache["seen"][1]
        return entries

    def _key(self) -> bytes:
        if "key" not in self._cache:
            self._cache["key"] = self._get(KEY)[0].strip()
        key: bytes = self._cache["key"]
        return key

    @contextmanager
    def _appending(self) -> Iterator[None]:
        if not self._tag(LEDGER) and not self._tag(KEY):
            self._put(KEY, secrets.token_hex(32).encode(), IfNoneMatch="*")
        yield

    def _write(self, line: str) -> None:
        for number in range(TRIES):
            content, tag = self._get(LEDGER) if self._tag(LEDGER) else (b"", "")
            new = content + b"\n" * (content[-1:] not in (b"", b"\n")) + line.encode() + b"\n"
            if self._put(LEDGER, new, **({"IfMatch": tag} if tag else {"IfNoneMatch": "*"})):
                return
            if line.encode() in (self._get(LEDGER)[0] if self._tag(LEDGER) else b"").split(b"\n"):
                return  # of a PUT without an answer, the repetition is refused
            time.sleep(0.05 * number)
        raise LedgerError("the ledger of erasures is being changed by too many at once; do the same again")

    # -- S3

    def _tag(self, name: str) -> str:
        """Return what changes when an object does, "" if there is none."""
        with self._clear_errors(name):
            found = self._client.list_objects_v2(Bucket=self.bucket, Prefix=PREFIX + name)
        tags = [str(one["ETag"]) for one in found.get("Contents", ()) if one["Key"] == PREFIX + name]
        return tags[0] if tags else ""

    def _get(self, name: str) -> tuple[bytes, str]:
        with self._clear_errors(name):
            answer = self._client.get_object(Bucket=self.bucket, Key=PREFIX + name)
            return bytes(answer["Body"].read()), str(answer["ETag"])

    def _put(self, name: str, content: bytes, **condition: str) -> bool:
        """Write an object; False if somebody else was faster."""
        key = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        with self._clear_errors(name):
            try:
                self._client.put_object(Bucket=self.bucket, Key=PREFIX + name, Body=content, **key, **condition)
            except aws.faults() as error:
                if aws.why(error) not in TAKEN:
                    raise
                return False
        return True

    def put_report(self, name: str, content: bytes) -> str:
        """Store a signed report beside the ledger, and return its URI."""
        self._put(name, content)
        return f"s3://{self.bucket}/{PREFIX}{name}"

    @contextmanager
    def _clear_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except aws.faults() as error:
            raise LedgerError(
                f"s3://{self.bucket}/{PREFIX}{name} cannot be read or written: {aws.why(error)}",
                advice="See who may do so on the page Privacy, and do the same again",
            ) from None

    @cached_property
    def _client(self) -> Any:
        return aws.client("s3") if self.client is None else self.client
