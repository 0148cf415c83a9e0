"""The receiver of Garmin's pushes: an API Gateway event in, files in the raw zone, an answer out.

Belongs here: who may push, how a body is unpacked, which keys it is stored under, and what is answered. Reading the
records belongs in `records`, writing in `stores`. Processing never happens here.

    POST /garmin/<secret>   200 once everything is safe, 503 if it could not be stored, 403 for anyone else
    GET, HEAD /health       200

Answers. 200 says that a body is kept: as raw lines, or in quarantine if it can never be read, since Garmin would
send it again for days; in the store, or in the spill queue while the store fails. Only 503 makes Garmin send again.
Of a body that holds nothing, such as an empty one, nothing is kept.
A body beyond `WHILE_GARMIN_WAITS` goes into quarantine as well, unread and as it was sent, so packed if it was packed.

Time. Garmin waits 30 s. Nothing is begun at the store, the queue or the id map once its share of the time is used
(`Limits`), and no call is waited for beyond it, so an answer is there in time with all of them hanging.

Redelivery. Keys are made of the body's hash and are never overwritten, so the same body again changes nothing; the
first receipt counts, and a late redelivery of an old push cannot overtake a newer one. A value that is set back to what
it was in a body of the same bytes cannot be told from that (docs/adr/0015). One case is left: records
without any date are stored under the date of receipt, so the same body received again on another date (Japan) is a
second file. The file of the receipt date is therefore written last: as long as Garmin is asked to send again, it is not
there. It takes a lost answer over midnight, for a record without any date, to have one twice; quarantined bodies and
pings may be there twice in that case too, which does no harm.

Users. Whoever is in a body for the first time is noted as pending in the id map, after everything is safe; what fails
there fails alone, and no record is linked to anybody here.

Withdrawn and erased users. `Refusals` names them by keyed hashes. Their records are taken out of a body before it is
stored, answered with 200 and counted; a body that cannot be read goes if it names nobody else. While nobody can say who
they are, everything is spilled: the drain asks again.

Nothing that identifies a person is logged: no path, header, id, key or part of a body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_ingest.records import GZIP, BodyError, Parsed, parse_body, unpack
from qol_ingest.shared import aws, keys
from qol_ingest.shared.calendar import receipt_date
from qol_ingest.shared.deadline import TooSlowError, within
from qol_ingest.shared.erasures import LedgerError, users_named
from qol_ingest.shared.errors import QolInputError
from qol_ingest.shared.queues import Queue, QueueError, SqsQueue
from qol_ingest.shared.stores import DirectoryStore, S3Store, Store, StoreError
from qol_ingest.spill import drain, spill

if TYPE_CHECKING:
    from qol_ingest.shared.erasures import Refusals
    from qol_ingest.shared.id_map import IdMap

log = logging.getLogger(__name__)

PUSH_PATH = "/garmin/"
HEALTH_PATH = "/health"
LARGEST_BODY_BYTES = 100 * 1024 * 1024
"""Garmin's largest documented body, of activityDetails. It is stored whole, though one of 10 MB is the largest read."""
NOTED_FOR_S = 3600
"""Seconds in which the id map is not told again that a user pushed."""
RETRY_AFTER_S = 60
CLOCK_TOLERANCE_S = 60
"""Requests that are answered at the same time may be some seconds apart."""
SECRET_S = 6.0
"""How long a new Lambda waits for the secret of AWS before it takes anything."""
DRAIN_S = 120.0
"""How long a drain begins something; the spill queue has to hide messages for longer, and the Lambda to run."""

Event = Mapping[str, Any]
Answer = dict[str, Any]


class ReceiverError(QolInputError):
    """The receiver is not set up; the message says what is missing."""


@dataclass(frozen=True)
class Limits:
    """Seconds after the beginning of a request: until when something is begun at a place, and then waited for.

    `parse_s` counts from when a body's turn has come. The store bounds its own calls. `store_alone_s` is for a receiver
    without a queue to spill to.
    """

    parse_s: float = 4.0
    store_s: float = 6.0
    store_alone_s: float = 12.0
    id_map_s: tuple[float, float] = (12.0, 16.0)
    spill_s: tuple[float, float] = (16.0, 20.0)


@dataclass(frozen=True)
class Receiver:
    """Takes the pushes that carry `secret` in their path and, if `client_id` is set, the header `garmin-client-id`.

    Raises ReceiverError without a secret: nothing is ever taken from just anyone.
    """

    store: Store
    secret: str = field(repr=False)
    client_id: str = field(default="", repr=False)
    spill: Queue | None = None
    id_map: IdMap | None = None
    limits: Limits = Limits()
    refusals: Refusals | None = None
    _noted: dict[str, float] = field(default_factory=dict, repr=False)
    _latest: dict[str, datetime] = field(default_factory=dict, repr=False, compare=False)
    _parsing: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """One body is parsed at a time: several would take the memory of several, and no less time."""

    def __post_init__(self) -> None:
        if not self.secret:
            raise ReceiverError("no secret is set; set QOL_WEBHOOK_SECRET")

    def handle(self, event: Event, now: datetime | None = None) -> Answer:
        """Answer one request (API Gateway HTTP API or function URL, payload 2.0) received at `now`, by default now."""
        begun = time.monotonic()
        early = self.answer_without_body(event)
        if early is not None:
            return early
        received_at = now or datetime.now(UTC)
        self._watch_clock(received_at)
        return self._take(_sent_bytes(event), received_at, begun)

    def answer_without_body(self, event: Event) -> Answer | None:
        """Return the answer of a request whose body does not matter; None if it is a push of Garmin's."""
        http = event.get("requestContext", {}).get("http", {})
        method, path = http.get("method", ""), event.get("rawPath") or http.get("path", "")
        if path.removesuffix("/") == HEALTH_PATH:
            return _answer(200, {"status": "ok"}) if method in ("GET", "HEAD") else _not_allowed("GET, HEAD")
        if not path.startswith(PUSH_PATH):
            return _answer(404, {"error": "not found"})
        if method != "POST":
            return _not_allowed("POST")
        if not self._is_garmin(path.removeprefix(PUSH_PATH), _headers(event).get("garmin-client-id", "")):
            log.warning("push refused: wrong secret or client id")
            return _answer(403, {"error": "forbidden"})
        return None

    def _is_garmin(self, secret: str, client_id: str) -> bool:
        right_secret = _same(secret, self.secret) | _same(secret.removesuffix("/"), self.secret)
        right_client = _same(client_id, self.client_id) or not self.client_id
        return right_secret and right_client

    def _watch_clock(self, now: datetime) -> None:
        """Warn, once, when the clock was set back: a version received since may lose against an older one."""
        before = self._latest.get("receipt", now)
        self._latest["receipt"] = now
        if back_s := max(0, int((before - now).total_seconds()) - CLOCK_TOLERANCE_S):
            log.warning("the clock of this machine was set back by %d s or more: check it (NTP)", back_s)

    def _take(self, body: bytes, now: datetime, begun: float) -> Answer:
        parsed = self._parse(body, now)
        try:
            parsed, refused, new, spilled = self._keep_allowed(parsed, body, now, begun)
        except (StoreError, QueueError, TooSlowError, LedgerError) as error:
            log.error("push not stored, %d bytes: %s", len(body), error)  # noqa: TRY400 - a trace may quote data
            headers = {"retry-after": str(RETRY_AFTER_S)}
            return _answer(503, {"error": "not stored, please send again"}, headers)
        self._note_users(parsed.users, now, begun)
        log.log(
            logging.WARNING if parsed.rejected or spilled else logging.INFO,
            "push taken: %d bytes, %d records, %d rejected, %d new files, %d spilled, %.0f ms%s",
            len(body),
            parsed.stored,
            parsed.rejected,
            new,
            spilled,
            1000 * (time.monotonic() - begun),
            (f", {parsed.whole_body_reason}" if parsed.whole_body_reason else "")
            + (f", {refused} of people who withdrew or were erased not stored" if refused else ""),
        )
        return _answer(200, {"stored": parsed.stored, "rejected": parsed.rejected})

    def _keep_allowed(self, parsed: Parsed, body: bytes, now: datetime, begun: float) -> tuple[Parsed, int, int, int]:
        """Store what is not of refused users. Return that, and how many records were, and how many objects are new
        and spilled.
        """
        refused = 0
        try:
            with self._receiving() as hashes:
                if self.refusals and hashes:
                    parsed, body, refused = without_refused(parsed, body, self.refusals, hashes)
                return parsed, refused, *self._keep(objects(parsed, body, now), begun)
        except LedgerError as error:
            if self.spill is None:
                raise
            log.warning("the ledger of erasures cannot be read, spilling: %s", error)
        spilled = 0
        for key, content in objects(parsed, body, now):
            self._spill(key, content, begun)
            spilled += 1
        return replace(parsed, users=frozenset()), 0, 0, spilled

    def _receiving(self) -> AbstractContextManager[frozenset[str]]:
        return self.refusals.receiving() if self.refusals else nullcontext(frozenset())

    def _parse(self, body: bytes, now: datetime) -> Parsed:
        """Read a body. Whether it is packed its first bytes say: a header may be lost on the way, or be left over."""
        with self._parsing:
            until = time.monotonic() + self.limits.parse_s
            try:
                return parse_body(unpack(body) if body.startswith(GZIP) else body, now, until=until)
            except BodyError as error:
                return Parsed(hashlib.sha256(body).hexdigest(), whole_body_reason=str(error))

    def _keep(self, found: Iterable[tuple[str, bytes]], begun: float) -> tuple[int, int]:
        """Store all objects, and spill from the first on that the store does not take: how many were new, and spilled.

        Raises StoreError, QueueError or TooSlowError when an object could be kept in neither.
        """
        new = spilled = 0
        until = begun + (self.limits.store_alone_s if self.spill is None else self.limits.store_s)
        for key, content in found:
            if not spilled and time.monotonic() < until:
                try:
                    new += self.store.put_new(key, content)
                    continue
                except StoreError as error:
                    if self.spill is None:
                        raise
                    log.warning("the store fails, spilling: %s", error)
            self._spill(key, content, begun)
            spilled += 1
        return new, spilled

    def _spill(self, key: str, content: bytes, begun: float) -> None:
        if self.spill is None:
            raise TooSlowError("the store is too slow")
        begin_s, end_s = self.limits.spill_s
        send = partial(spill, self.spill, key, content, until=begun + begin_s)
        within(begun + end_s, "the spill queue", send)

    def _note_users(self, users: frozenset[str], now: datetime, begun: float) -> None:
        begin_s, end_s = self.limits.id_map_s
        long_ago = time.monotonic() - NOTED_FOR_S
        due = [user for user in sorted(users) if self._noted.get(user, -math.inf) <= long_ago]
        if self.id_map is None or not due or time.monotonic() > begun + begin_s:
            return
        try:
            within(begun + end_s, "the id map", partial(self.id_map.seen, due, now))
        except Exception as error:
            log.error("users could not be noted: %s", type(error).__name__)  # noqa: TRY400 - it may quote an id
        else:
            self._noted.update(dict.fromkeys(due, time.monotonic()))


def handler(event: Event, _context: object) -> Answer:
    """Answer a request, as the Lambda's entry point. Set up from QOL_* variables; 503 as long as one is missing."""
    try:
        receiver = _receiver_of_environment()
    except ReceiverError as error:
        log.error("receiver not set up: %s", error)  # noqa: TRY400 - the message says it all
        return _answer(503, {"error": "receiver not set up"}, {"retry-after": str(RETRY_AFTER_S)})
    return receiver.handle(event)


def drain_handler(_event: object, _context: object) -> dict[str, int]:
    """Store what was spilled, as the entry point of a scheduled Lambda, and return how much, and how much waits.

    Raises what makes Lambda try again.
    """
    logging.getLogger("qol_ingest").setLevel(logging.INFO)
    queue = SqsQueue(os.environ["QOL_SPILL_QUEUE_URL"])
    store, refusals = _store_of_environment(), _refusals_of_environment()
    found = drain(queue, RefusingStore(store, refusals) if refusals else store, until=time.monotonic() + DRAIN_S)
    return {"stored": found.stored, "waiting": found.waiting}


@cache
def _receiver_of_environment() -> Receiver:
    """QOL_BUCKET, or QOL_RAW_DIR: the directory that holds raw/. QOL_WEBHOOK_SECRET, QOL_GARMIN_CLIENT_ID."""
    logging.getLogger("qol_ingest").setLevel(logging.INFO)  # Lambda's root logger starts at WARNING
    spill_url = os.environ.get("QOL_SPILL_QUEUE_URL", "")
    return Receiver(
        _store_of_environment(),
        os.environ.get("QOL_WEBHOOK_SECRET") or _secret_of_aws(os.environ.get("QOL_WEBHOOK_SECRET_ARN", "")),
        os.environ.get("QOL_GARMIN_CLIENT_ID", ""),
        SqsQueue(spill_url) if spill_url else None,
        _id_map_of_environment(),
        refusals=_refusals_of_environment(),
    )


def _store_of_environment() -> Store:
    bucket, folder = os.environ.get("QOL_BUCKET", ""), os.environ.get("QOL_RAW_DIR", "")
    if bool(bucket) == bool(folder):
        raise ReceiverError("set either QOL_BUCKET or QOL_RAW_DIR")
    return S3Store(bucket) if bucket else DirectoryStore(Path(folder))


def _refusals_of_environment() -> Refusals | None:
    """Return the ledger in QOL_BUCKET. With QOL_RAW_DIR, whoever runs the receiver knows where it is."""
    bucket = os.environ.get("QOL_BUCKET", "")
    if not bucket:
        return None
    from qol_ingest.shared.erasures_s3 import S3Ledger

    return S3Ledger(bucket)


def _id_map_of_environment() -> IdMap | None:
    table = os.environ.get("QOL_ID_MAP_TABLE", "")
    if not table:
        return None
    from qol_ingest.shared.id_map_dynamo import DynamoIdMap

    return DynamoIdMap(table)


def _secret_of_aws(arn: str) -> str:
    """Return the webhook's secret out of Secrets Manager. Raises ReceiverError while it cannot be had."""
    if not arn:
        return ""

    def fetch() -> str:
        return str(aws.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]).strip()

    try:
        return within(time.monotonic() + SECRET_S, "Secrets Manager", fetch)
    except Exception as error:
        raise ReceiverError(f"the webhook's secret cannot be read: {aws.why(error)}") from None


def _same(given: str, expected: str) -> bool:
    """Return whether two texts are equal, in a time that does not show where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def objects(parsed: Parsed, body: bytes, now: datetime) -> Iterator[tuple[str, bytes]]:
    """Yield keys and contents of a parsed body, in the order in which they are stored; see Redelivery above.

    `body` is as it was sent.
    """
    today, name = receipt_date(now).isoformat(), parsed.ingest_id
    if parsed.whole_body_reason:
        yield f"{keys.QUARANTINE}/date={today}/{name}.body", body
    if parsed.rejects:
        yield f"{keys.QUARANTINE}/date={today}/{name}.rejects.jsonl", _jsonl(parsed.rejects)
    if parsed.lifecycle:
        # Who leaves, comes back and leaves again is announced in the same bytes: here each receipt counts.
        yield f"{keys.LIFECYCLE}/date={today}/{name}-{now.astimezone(UTC):%H%M%S}.jsonl", _jsonl(parsed.lifecycle)
    if parsed.pings:
        yield f"{keys.PINGS}/date={today}/{name}.jsonl", _jsonl(parsed.pings)
    for day in sorted(parsed.daily, key=lambda day: (day == today, day)):
        yield f"{keys.RAW}/date={day}/{name}.jsonl", _jsonl(parsed.daily[day])


def without_refused(
    parsed: Parsed, body: bytes, refusals: Refusals, hashes: frozenset[str]
) -> tuple[Parsed, bytes, int]:
    """Return a body without what is of refused users, and how many records that was; an unread body counts as one."""
    if parsed.whole_body_reason:
        is_theirs = _names_only_refused(body, refusals, hashes)
        return (Parsed(parsed.ingest_id), b"", 1) if is_theirs else (parsed, body, 0)

    def is_kept(line: str) -> bool:
        return not any(refusals.hash_of(user) in hashes for user in users_of(line))

    daily = {day: tuple(filter(is_kept, lines)) for day, lines in parsed.daily.items()}
    kept = replace(
        parsed,
        daily={day: lines for day, lines in daily.items() if lines},
        lifecycle=tuple(filter(is_kept, parsed.lifecycle)),
        pings=tuple(filter(is_kept, parsed.pings)),
        rejects=tuple(filter(is_kept, parsed.rejects)),
        users=frozenset(user for user in parsed.users if refusals.hash_of(user) not in hashes),
    )
    return kept, body, parsed.stored + len(parsed.rejects) - kept.stored - len(kept.rejects)


def _names_only_refused(body: bytes, refusals: Refusals, hashes: frozenset[str]) -> bool:
    """Return whether a body that cannot be read names somebody, and none but refused users."""
    named = users_named(_unpacked(body))
    return bool(named) and all(refusals.hash_of(user) in hashes for user in named)


@dataclass(frozen=True)
class RefusingStore:
    """A store of raw lines that leaves out those of refused users; for what is read again later than it was sent."""

    store: Store
    refusals: Refusals

    def put_new(self, key: str, content: bytes) -> bool:
        """See `Store`. False if nothing is left. Raises StoreError also if nobody can say who is refused."""
        try:
            return self._put_allowed(key, content)
        except LedgerError as error:
            raise StoreError(str(error)) from None

    def _put_allowed(self, key: str, content: bytes) -> bool:
        with self.refusals.receiving() as hashes:
            if hashes and key.endswith(".body"):
                content = b"" if _names_only_refused(content, self.refusals, hashes) else content
            elif hashes:
                lines = content.decode("utf-8", "surrogateescape").split("\n")
                kept = [
                    one for one in lines if not any(self.refusals.hash_of(user) in hashes for user in users_of(one))
                ]
                content = "\n".join(kept).encode("utf-8", "surrogateescape")
            return bool(content.strip()) and self.store.put_new(key, content)

    def get(self, key: str) -> bytes | None:
        """See `Store`."""
        return self.store.get(key)


def users_of(line: str) -> set[str]:
    """Return whose a raw line or a rejected part is: its own `userId`, or that of the value it is about."""
    try:
        found = json.loads(line, parse_int=float)
        value = found.get("value", found) if "reason" in found else found
        user = value.get("userId") if isinstance(value, dict) else None
    except (ValueError, AttributeError, RecursionError):
        value = user = None
    if isinstance(value, str):  # a part that is no JSON
        return users_named(value.encode("utf-8", "surrogatepass"))
    return {user} if isinstance(user, str) else set()


def _unpacked(body: bytes) -> bytes:
    try:
        return unpack(body) if body.startswith(GZIP) else body
    except BodyError:
        return b""


def _jsonl(lines: tuple[str, ...]) -> bytes:
    return "\n".join([*lines, ""]).encode()


def _headers(event: Event) -> dict[str, str]:
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def _sent_bytes(event: Event) -> bytes:
    body = event.get("body") or ""
    if isinstance(body, bytes):  # of the local server, which spares a large body its base64
        return body
    sent = body.encode("utf-8", "surrogatepass")
    if not event.get("isBase64Encoded"):
        return sent
    try:
        return base64.b64decode(sent, validate=True)
    except binascii.Error:
        return sent


def _not_allowed(allowed: str) -> Answer:
    return _answer(405, {"error": "method not allowed"}, {"allow": allowed})


def _answer(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", **(headers or {})},
        "body": json.dumps(content),
    }
