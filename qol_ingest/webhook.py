"""The receiver of Garmin's pushes: an API Gateway event in, files in the raw zone, an answer out.

Belongs here: who may push, how a body is unpacked, which keys it is stored under, and what is answered. Reading the
records belongs in `records`, writing in `stores`. Processing never happens here.

    POST /garmin/<secret>   200 once everything is safe, 503 if it could not be stored, 403 for anyone else
    GET /health             200

Answers. 200 says that a body is kept: as raw lines, or in quarantine if it can never be read, since Garmin would
send it again for days. Only 503 makes Garmin send again.

Redelivery. Keys are made of the body's hash and are never overwritten, so the same body again changes nothing; the
first receipt counts, and a late redelivery of an old push cannot overtake a newer one. One case is left: records
without any date lie under the date of receipt, so the same body received again on another date (Japan) is a second
file. The file of the receipt date is therefore written last: as long as Garmin is asked to send again, it is not
there. It takes a lost answer over midnight, for a record without any date, to have one twice; quarantined bodies and
pings may be there twice in that case too, which does no harm.

Nothing that tells people apart is logged: no path, header, id, key or part of a body.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hmac
import io
import json
import logging
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from qol_ingest.records import Parsed, parse_body, receipt_date
from qol_ingest.stores import DirectoryStore, S3Store, Store, StoreError

log = logging.getLogger(__name__)

PUSH_PATH = "/garmin/"
HEALTH_PATH = "/health"
LARGEST_BODY_BYTES = 100 * 1024 * 1024
"""Garmin's largest documented body."""
RETRY_AFTER_S = 60

Event = Mapping[str, Any]
Answer = dict[str, Any]


class ReceiverError(ValueError):
    """The receiver is not set up; the message says what is missing."""


@dataclass(frozen=True)
class Receiver:
    """Takes the pushes that carry `secret` in their path and, if `client_id` is set, the header `garmin-client-id`.

    Raises ReceiverError without a secret: nothing is ever taken from just anyone.
    """

    store: Store
    secret: str = field(repr=False)
    client_id: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.secret:
            raise ReceiverError("no secret is set; set QOL_WEBHOOK_SECRET")

    def handle(self, event: Event, now: datetime | None = None) -> Answer:
        """Answer one request (API Gateway HTTP API, payload 2.0) received at `now`, by default the present time."""
        http = event.get("requestContext", {}).get("http", {})
        method, path = http.get("method", ""), event.get("rawPath") or http.get("path", "")
        if path == HEALTH_PATH:
            return _answer(200, {"status": "ok"}) if method == "GET" else _not_allowed("GET")
        if not path.startswith(PUSH_PATH):
            return _answer(404, {"error": "not found"})
        if method != "POST":
            return _not_allowed("POST")
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        if not self._is_garmin(path.removeprefix(PUSH_PATH), headers.get("garmin-client-id", "")):
            log.warning("push refused: wrong secret or client id")
            return _answer(403, {"error": "forbidden"})
        return self._take(_body(event, headers.get("content-encoding", "")), now or datetime.now(UTC))

    def _is_garmin(self, secret: str, client_id: str) -> bool:
        right_secret = _same(secret, self.secret)
        right_client = _same(client_id, self.client_id) or not self.client_id
        return right_secret and right_client

    def _take(self, body: bytes, now: datetime) -> Answer:
        begun = time.monotonic()
        parsed = parse_body(body, now)
        try:
            new = sum([self.store.put_new(key, content) for key, content in _objects(parsed, body, now)])
        except StoreError as error:
            log.error("push not stored, %d bytes: %s", len(body), error)  # noqa: TRY400 - a trace may quote data
            headers = {"retry-after": str(RETRY_AFTER_S)}
            return _answer(503, {"error": "not stored, please send again"}, headers)
        log.log(
            logging.WARNING if parsed.rejected else logging.INFO,
            "push taken: %d bytes, %d records, %d rejected, %d new files, %.0f ms%s",
            len(body),
            parsed.stored,
            parsed.rejected,
            new,
            1000 * (time.monotonic() - begun),
            f", {parsed.whole_body_reason}" if parsed.whole_body_reason else "",
        )
        return _answer(200, {"stored": parsed.stored, "rejected": parsed.rejected})


def handler(event: Event, _context: object) -> Answer:
    """The Lambda's entry point. Set up from QOL_* variables; 503 to everything as long as one is missing."""
    try:
        receiver = _receiver_of_environment()
    except ReceiverError as error:
        log.error("receiver not set up: %s", error)  # noqa: TRY400 - the message says it all
        return _answer(503, {"error": "receiver not set up"}, {"retry-after": str(RETRY_AFTER_S)})
    return receiver.handle(event)


@cache
def _receiver_of_environment() -> Receiver:
    """QOL_BUCKET, or QOL_RAW_DIR: the directory that holds raw/. QOL_WEBHOOK_SECRET, QOL_GARMIN_CLIENT_ID."""
    logging.getLogger("qol_ingest").setLevel(logging.INFO)  # Lambda's root logger starts at WARNING
    bucket, folder = os.environ.get("QOL_BUCKET", ""), os.environ.get("QOL_RAW_DIR", "")
    if bool(bucket) == bool(folder):
        raise ReceiverError("set either QOL_BUCKET or QOL_RAW_DIR")
    store: Store = S3Store(bucket) if bucket else DirectoryStore(Path(folder))
    return Receiver(store, os.environ.get("QOL_WEBHOOK_SECRET", ""), os.environ.get("QOL_GARMIN_CLIENT_ID", ""))


def _same(given: str, expected: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def _objects(parsed: Parsed, body: bytes, now: datetime) -> Iterator[tuple[str, bytes]]:
    """Keys and contents, in the order in which they are stored; see Redelivery above."""
    today, name = receipt_date(now).isoformat(), parsed.ingest_id
    if parsed.whole_body_reason:
        yield f"raw/quarantine/date={today}/{name}.body", body
    if parsed.rejects:
        yield f"raw/quarantine/date={today}/{name}.rejects.jsonl", _jsonl(parsed.rejects)
    if parsed.lifecycle:
        yield f"raw/lifecycle/date={today}/{name}.jsonl", _jsonl(parsed.lifecycle)
    if parsed.pings:
        yield f"raw/pings/date={today}/{name}.jsonl", _jsonl(parsed.pings)
    for day in sorted(parsed.daily, key=lambda day: (day == today, day)):
        yield f"raw/daily/date={day}/{name}.jsonl", _jsonl(parsed.daily[day])


def _jsonl(lines: tuple[str, ...]) -> bytes:
    return "\n".join([*lines, ""]).encode()


def _body(event: Event, encoding: str) -> bytes:
    """The body's bytes, unpacked; what cannot be unpacked stays as it came, and will be quarantined."""
    body = _sent_bytes(event)
    return _gunzipped(body) if encoding.strip().lower() in ("gzip", "x-gzip") else body


def _sent_bytes(event: Event) -> bytes:
    sent = (event.get("body") or "").encode("utf-8", "surrogatepass")
    if not event.get("isBase64Encoded"):
        return sent
    try:
        return base64.b64decode(sent, validate=True)
    except binascii.Error:
        return sent


def _gunzipped(packed: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            body = file.read(LARGEST_BODY_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        return packed
    return body if len(body) <= LARGEST_BODY_BYTES else packed


def _not_allowed(allowed: str) -> Answer:
    return _answer(405, {"error": "method not allowed"}, {"allow": allowed})


def _answer(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", **(headers or {})},
        "body": json.dumps(content),
    }
