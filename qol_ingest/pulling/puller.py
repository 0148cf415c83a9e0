"""What happens after the receiver: pings are fetched, what Garmin announces of its users goes into the id map.

Belongs here: which announced object needs what, fetching with patience, and when to give up. Asking Garmin belongs in
`garmin/api.py`, what an event changes in `lifecycle`, how a body becomes raw lines in `records` and `webhook`.

A message of the queue announces objects. Whatever of it could not be done stays in the queue and is handed out again,
later each time, until the queue makes it a dead letter. Nothing is done twice: a ping that is settled has a marker,
`raw/pulled/date=<receipt>/<hash>.json`, which is written last.

Names. A download is named by a hash of its content and its user: Garmin may leave the user out of it, and then two
users' downloads can be the same bytes.

Time. What a ping points at counts as received when the ping was. So a download that had to be tried for hours does
not supersede what came meanwhile, and one that is done again after a crash ends in the very same objects.

Who is not there. Nothing is fetched for a user who was revoked, has left, or does not permit the type; that gets a
marker, and no dead letter. While it is not certain that a user has left, the ping waits.

Never again. What Garmin will not give any more (the URL is used up, the user has withdrawn, it is not Garmin's) gets a
marker too, and a dead letter that names type, date and participant: an operator can ask for a backfill.

Nothing that identifies a person is logged, or put into a key or a dead letter: no Garmin id, no URL, no token.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, Literal, cast

from qol_ingest.garmin.api import DOWNLOAD_S, Endpoints, GarminApi, GarminApiError
from qol_ingest.garmin.tokens import ConsentNeededError, TokenStore, TokenStoreError
from qol_ingest.garmin.tokens_aws import SecretsManagerTokenStore, read_secret
from qol_ingest.garmin.tokens_file import FileTokenStore
from qol_ingest.pulling.messages import Worked, settle
from qol_ingest.pulling.pings import Ping, as_push, name_of_download, with_user
from qol_ingest.pulling.renewal import renew_tokens
from qol_ingest.records import WITHOUT_HASTE, Parsed, parse_body
from qol_ingest.shared import keys, lifecycle
from qol_ingest.shared.calendar import receipt_date
from qol_ingest.shared.erasures import Ledger, LedgerError, Refusals
from qol_ingest.shared.errors import QolInputError
from qol_ingest.shared.id_map import IdMap, IdMapError
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.lifecycle import LifecycleEvent
from qol_ingest.shared.queues import Message, Queue, QueueError, SqsQueue, announced
from qol_ingest.shared.stores import DirectoryStore, S3Store, Store, StoreError
from qol_ingest.webhook import objects

log = logging.getLogger(__name__)

FILES = "activityFiles"
FILE_TYPES = ("fit", "tcx", "gpx")
LARGEST_DOWNLOAD_BYTES = 100 * 1024 * 1024
"""Garmin's largest documented body."""
IN_MEMORY_BYTES = 4 * 1024 * 1024
"""A download beyond this is written to a temporary file."""

WORK_S = 150.0
"""How long one message is worked on before the rest of it is deferred."""
CLAIM_S = WORK_S + DOWNLOAD_S + 30
"""How long a queue has to hide a message that is being worked on: the last download may begin late."""
TRIES = 4
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 20.0
"""Between two tries of one download; Garmin's Retry-After is kept to if it is not longer."""
FIRST_DELAY_S, DELAY_GROWTH, LONGEST_DELAY_S = 60.0, 4.0, 3 * 3600.0
"""Until a message is handed out again. 8 receives cover an outage of 5 to 10 hours; URLs live for a day."""

VERIFY_S = 86_400.0
"""How long Garmin is asked, less and less often, whether an announcement is true: it may not know it itself yet."""

_NEVER = frozenset({"lost", "refused", "consent", "gone"})
_SECOND_LOOK = frozenset({"consent", "gone", "withdrawn"})

Outcome = Literal["stored", "quarantined", "lost", "refused", "consent", "gone", "withdrawn"]


class PullerSetupError(QolInputError):
    """The puller is not set up; the message says what is missing."""


@dataclass(frozen=True)
class _Pulled:
    outcome: Outcome
    records: int = 0
    file: str = ""
    why: str = ""


class _PutOffError(Exception):
    """It is too early; `wait_s` is what Garmin asked for, `stop` says that it asked so of everything."""

    def __init__(self, why: str, wait_s: float = 0.0, *, stop: bool = False) -> None:
        super().__init__(why)
        self.wait_s, self.stop = wait_s, stop


class _TooLargeError(Exception):
    """A download beyond the limit."""


@dataclass
class _Attempt:
    """One message being worked on, until a time of the puller's clock."""

    receives: int
    until: float
    outcomes: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    wait_s: float = 0.0
    stopped: bool = False
    unverified: int = 0

    def put_off(self, wait_s: float = 0.0) -> None:
        self.waiting += 1
        self.wait_s = max(self.wait_s, wait_s)

    def verify_later(self, wait_s: float) -> None:
        self.put_off(wait_s)
        self.unverified += 1


@contextmanager
def _putting_off(attempt: _Attempt) -> Iterator[None]:
    """Yield what goes wrong within puts one thing off; a store or queue that fails would fail at the others too."""
    try:
        yield
    except (StoreError, QueueError) as error:
        log.warning("deferred: %s", error)
        attempt.put_off()
        attempt.stopped = True
    except (TokenStoreError, IdMapError, LedgerError) as error:
        log.warning("deferred: %s", error)
        attempt.put_off()
    except Exception as error:
        log.error("deferred: %s", type(error).__name__)  # noqa: TRY400 - it may quote an id
        attempt.put_off()


@dataclass
class _Question:
    """What Garmin says of a user; `has_left` is None when it says no such thing, or was not asked."""

    api: GarminApi
    has_left: bool | None = None
    is_open: bool = False  # it may still turn out otherwise

    def is_registered(self, user: str) -> bool | None:
        answer = self.api.is_registered(user)
        self.has_left = None if answer is None else not answer
        self.is_open = answer is not False
        return answer

    def permissions(self, user: str) -> tuple[str, ...] | None:
        try:
            return self.api.permissions(user)
        except (GarminApiError, ConsentNeededError):
            return None


@dataclass(frozen=True)
class Puller:
    """Processes messages. Any number of pullers may do so at a time; `dead_letters` takes what is lost.

    `clock` counts seconds from any moment, `wall_clock` since 1970, `chance` gives 0 to 1.
    """

    store: Store
    api: GarminApi
    id_map: IdMap
    dead_letters: Queue | None = None
    refusals: Refusals | None = None
    work_s: float = WORK_S
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    wall_clock: Callable[[], float] = time.time

    def work(self, message: Message, until: float | None = None) -> Worked:
        """Do what a message asks for; begin nothing after `until`, by the clock. Never raises."""
        attempt = _Attempt(message.receives, self.clock() + self.work_s if until is None else until)
        keys = _keys(message.body)
        if not keys:
            log.warning("a message announces no object; it is dropped")
        for key in keys:
            self._object(key, attempt)
        delay_s = self._delay(attempt) if attempt.waiting else 0.0
        worked = Worked(dict(attempt.outcomes), attempt.waiting, delay_s, attempt.unverified)
        counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(worked.outcomes.items()))
        level = logging.WARNING if worked.waiting else logging.INFO
        log.log(level, "message processed: %s; %d deferred", counts or "nothing new", worked.waiting)
        return worked

    def _object(self, key: str, attempt: _Attempt) -> None:
        with _putting_off(attempt):
            if key.startswith(f"{keys.PINGS}/"):
                self._pings(key, attempt)
            elif key.startswith(f"{keys.LIFECYCLE}/"):
                self._lifecycle(key, attempt)
            else:
                log.warning("an object was announced that is nothing to us; it is passed over")

    def _lines(self, key: str) -> list[str]:
        content = self.store.get(key)
        if content is None:
            log.warning("an object was announced and is not there; it is passed over")
        # Not splitlines: text in JSON may hold other separators.
        return [line for line in (content or b"").decode().split("\n") if line]

    def _delay(self, attempt: _Attempt) -> float:
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * DELAY_GROWTH ** max(0, attempt.receives - 1))
        return max(delay_s * (0.5 + 0.5 * self.chance()), min(attempt.wait_s, LONGEST_DELAY_S))

    # -- what Garmin announces of its users

    def _lifecycle(self, key: str, attempt: _Attempt) -> None:
        for event in lifecycle.events(self._lines(key)):
            with _putting_off(attempt):
                self._event(event, attempt)

    def _event(self, event: LifecycleEvent, attempt: _Attempt) -> None:
        question = _Question(self.api)
        outcome = lifecycle.apply(self.id_map, event, question)
        if question.has_left:
            self.api.store.delete(event.user)  # of no use any more, and not ours to keep
        is_open = (question.is_open or outcome == "unconfirmed") and self.api.access.known(event.user)
        age_s = self.wall_clock() - event.received_at.timestamp()
        if is_open and age_s < VERIFY_S:
            attempt.verify_later(max(FIRST_DELAY_S, age_s))
        elif is_open and question.has_left is None:
            self._give_up(event)
        elif outcome == "unconfirmed":
            who = self.api.name_of(event.user)
            log.error("%s may permit more, but is not connected, so Garmin cannot confirm it; send an invitation", who)
        if outcome != "nothing new" and not (is_open and outcome == "unconfirmed"):
            attempt.outcomes[outcome] += 1

    def _give_up(self, event: LifecycleEvent) -> None:
        what = "deregistration" if event.permissions is None else "permissions"
        who, date = self.api.name_of(event.user), receipt_date(event.received_at).isoformat()
        log.error(
            "%s of %s, %s: Garmin did not say within a day whether it is true; ask the participant", what, who, date
        )
        if self.dead_letters is not None:
            letter = {"outcome": "unverified", "type": what, "date": date, "participant": who}
            self.dead_letters.send(json.dumps({**letter, "why": "Garmin did not say whether it is true"}))

    # -- pings

    def _pings(self, key: str, attempt: _Attempt) -> None:
        for line in self._lines(key):
            ping = Ping.read(line)
            if ping is None:
                log.error("a ping cannot be understood; it is stored in raw/pings and is not fetched")
            elif attempt.stopped or self.clock() >= attempt.until:
                attempt.put_off()
            else:
                with _putting_off(attempt):
                    self._ping(ping, attempt)

    def _ping(self, ping: Ping, attempt: _Attempt) -> None:
        if self.store.get(ping.marker) is not None:
            return
        try:
            pulled = self._pull(ping, attempt)
        except _PutOffError as error:
            log.warning("%s is deferred: %s", ping.label, error)
            attempt.put_off(error.wait_s)
            attempt.stopped = error.stop
            return
        if pulled.outcome in _SECOND_LOOK and attempt.receives < 2:
            # A consent may be about to be kept, and another puller may have a file that it has not stored yet.
            attempt.put_off()
            return
        if pulled.outcome in _NEVER:
            self._tell(ping, pulled)
        content = {"outcome": pulled.outcome, "records": pulled.records, "at": datetime.now(UTC).isoformat()}
        if pulled.file:
            content["file"] = pulled.file
        if self.store.put_new(ping.marker, json.dumps(content).encode()):
            attempt.outcomes[pulled.outcome] += 1

    def _tell(self, ping: Ping, pulled: _Pulled) -> None:
        """Before the marker, so that a crash in between reports twice rather than never."""
        who = self.api.name_of(ping.user)
        log.error("%s of %s, %s, will not come: %s; ask for a backfill", ping.label, who, ping.date, pulled.why)
        if self.dead_letters is not None and self.store.get(ping.marker) is None:
            letter = {"outcome": pulled.outcome, "type": ping.label, "date": ping.date, "participant": who}
            self.dead_letters.send(json.dumps({**letter, "why": pulled.why}))

    def _pull(self, ping: Ping, attempt: _Attempt) -> _Pulled:
        """Fetch and store what a ping points at. Raises _PutOffError."""
        if not self.api.endpoints.is_callback(ping.url):
            return _Pulled("refused", why="the URL is not Garmin's")
        if not self._is_permitted(ping):
            return _Pulled("withdrawn")
        tries = 0
        while True:
            try:
                with SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
                    self._download(ping, file)
                    return self._keep(ping, file)
            except ConsentNeededError as error:
                return _Pulled("consent", why=str(error))
            except _TooLargeError:
                return _Pulled("lost", why="it is larger than Garmin's largest")
            except GarminApiError as error:
                if _is_final(error):
                    return _Pulled("gone" if error.status == 410 else "lost", why=str(error))
                tries += 1
                self._pause(error, tries, attempt)

    def _is_permitted(self, ping: Ping) -> bool:
        """Return whether a ping may be fetched, which Garmin decides for whoever is not enrolled.

        Raises _PutOffError while a deregistration may turn out to be forged.
        """
        known = self.id_map.get(ping.user)
        if known is None or known.status == "pending":
            return True
        if known.status == "deregistered" and self.api.access.known(ping.user):
            raise _PutOffError("the user may have left")
        return known.permits(ping.kind)

    def _pause(self, error: GarminApiError, tries: int, attempt: _Attempt) -> None:
        """Wait for the next try. Raises _PutOffError if that would take too long or be in vain."""
        asked_s = error.retry_after_s or 0.0
        pause_s = asked_s + self.chance() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**tries)
        too_long = asked_s > LONGEST_PAUSE_S or self.clock() + pause_s >= attempt.until
        if too_long or tries >= TRIES or not error.may_pass:
            raise _PutOffError(str(error), asked_s, stop=error.status == 429)
        self.sleep(pause_s)

    def _download(self, ping: Ping, file: SpooledTemporaryFile[bytes]) -> None:
        size = 0
        with closing(cast("Generator[bytes, None, None]", self.api.fetch(ping.url, ping.user))) as pieces:
            for piece in pieces:
                size += len(piece)
                if size > LARGEST_DOWNLOAD_BYTES:
                    raise _TooLargeError
                file.write(piece)

    def _keep(self, ping: Ping, file: SpooledTemporaryFile[bytes]) -> _Pulled:
        with self.refusals.receiving() if self.refusals else nullcontext(frozenset()) as hashes:
            if self.refusals and hashes and self.refusals.hash_of(ping.user) in hashes:
                return _Pulled("withdrawn")
            return self._store(ping, file)

    def _store(self, ping: Ping, file: SpooledTemporaryFile[bytes]) -> _Pulled:
        if ping.kind == FILES:
            return self._keep_file(ping, _whole(file))
        body = as_push(_whole(file), ping.kind)
        parsed = parse_body(body, ping.received_at, WITHOUT_HASTE, ingest_id=name_of_download(body, ping.user))
        del body
        if parsed.whole_body_reason:
            content = _whole(file)
            parsed = Parsed(name_of_download(content, ping.user), whole_body_reason=parsed.whole_body_reason)
            log.error("%s of %s, %s, cannot be read; it is in quarantine", ping.label, self._who(ping), ping.date)
        else:
            content, parsed = b"", with_user(parsed, ping.user)
        if parsed.rejects:
            log.warning("%d records of a download cannot be used; they are in quarantine", len(parsed.rejects))
        for key, part in objects(parsed, content, ping.received_at):
            self.store.put_new(key, part)
        return _Pulled("quarantined" if parsed.whole_body_reason else "stored", parsed.stored)

    def _keep_file(self, ping: Ping, content: bytes) -> _Pulled:
        ending = ping.file_type if ping.file_type in FILE_TYPES else "bin"
        key = f"{keys.FILES}/date={ping.date}/{name_of_download(content, ping.user)}.{ending}"
        self.store.put_new(key, content)
        return _Pulled("stored", 1, key)

    def _who(self, ping: Ping) -> str:
        return self.api.name_of(ping.user)


def participant_names(id_map: IdMap) -> Callable[[str], str]:
    """Return what messages call a Garmin user: the participant id. For `GarminApi.name_of`."""

    def name_of(user: str) -> str:
        try:
            known = id_map.get(user)
        except IdMapError:
            known = None
        return (known and known.participant_id) or "a user who is not enrolled"

    return name_of


# -- the Lambda


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Fetch what the messages of a queue announce, and return which failed, as the Lambda's entry point.

    The queue needs partial batch responses (`ReportBatchItemFailures`), and hands messages out best one by one. Called
    with {"renew": "tokens"}, it renews those that end soon.

    Set up from QOL_* variables, see below. Raises PullerSetupError if one is missing: all messages stay in the queue.
    """
    puller, queue = _puller_of_environment()
    left_s = context.get_remaining_time_in_millis() / 1000 if context is not None else CLAIM_S
    until = puller.clock() + left_s - (CLAIM_S - WORK_S)
    if event.get("renew"):
        return {"renew": renew_tokens(puller.api, puller.id_map, lambda: puller.clock() >= until, sleep=puller.sleep)}
    failed = [one["messageId"] for one in event.get("Records", ()) if not _done(puller, queue, one, until)]
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}


def _done(puller: Puller, queue: Queue | None, record: Mapping[str, Any], until: float) -> bool:
    receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
    message = Message(record["body"], record["receiptHandle"], receives)
    worked = puller.work(message, until)
    if not worked.waiting:
        return True  # Lambda takes it off the queue
    if queue is None:
        return False
    try:
        return settle(queue, message, worked)
    except QueueError as error:
        log.warning("a message comes back sooner than it should: %s", error)
        return False


@cache
def _puller_of_environment() -> tuple[Puller, Queue | None]:
    """On AWS: QOL_BUCKET, QOL_ID_MAP_TABLE, QOL_TOKEN_PREFIX and QOL_TOKEN_KMS_KEY. Else QOL_RAW_DIR and QOL_HOME.

    QOL_GARMIN_CLIENT_ID, QOL_GARMIN_CLIENT_SECRET or QOL_GARMIN_CLIENT_SECRET_ARN. QOL_PULL_QUEUE_URL, the queue that
    calls, for growing delays; QOL_DEAD_LETTER_URL for what is lost. QOL_GARMIN_URL: a simulated cloud.
    """
    logging.getLogger("qol_ingest").setLevel(logging.INFO)  # Lambda's root logger starts at WARNING
    given = os.environ.get
    if not given("QOL_GARMIN_CLIENT_ID"):
        raise PullerSetupError("set QOL_GARMIN_CLIENT_ID")
    store, id_map, tokens = _kept_where()
    endpoints = Endpoints.at(given("QOL_GARMIN_URL", "")) if given("QOL_GARMIN_URL") else Endpoints()
    client_id, secret = given("QOL_GARMIN_CLIENT_ID", ""), _client_secret()
    api = GarminApi(endpoints, client_id, secret, tokens, participant_names(id_map))
    queue, letters = (SqsQueue(url) if url else None for url in map(_url, ("PULL_QUEUE", "DEAD_LETTER")))
    return Puller(store, api, id_map, letters, _refusals_of_environment()), queue


def _refusals_of_environment() -> Refusals:
    if os.environ.get("QOL_HOME"):
        return Ledger(Path(os.environ["QOL_HOME"]))
    from qol_ingest.shared.erasures_s3 import S3Ledger

    return S3Ledger(os.environ["QOL_BUCKET"])


def _url(name: str) -> str:
    return os.environ.get(f"QOL_{name}_URL", "")


def _kept_where() -> tuple[Store, IdMap, TokenStore]:
    given = os.environ.get
    on_aws = given("QOL_BUCKET", ""), given("QOL_ID_MAP_TABLE", "")
    here = given("QOL_RAW_DIR", ""), given("QOL_HOME", "")
    if all(on_aws) and not any(here):
        from qol_ingest.shared.id_map_dynamo import DynamoIdMap

        tokens = SecretsManagerTokenStore(given("QOL_TOKEN_PREFIX") or "qol/garmin/", given("QOL_TOKEN_KMS_KEY", ""))
        return S3Store(on_aws[0]), DynamoIdMap(on_aws[1]), tokens
    if all(here) and not any(on_aws):
        home = Path(here[1])
        tokens_here = FileTokenStore(home / "tokens.sqlite", home / "tokens.key")
        return DirectoryStore(Path(here[0])), SqliteIdMap(home / "user_id_map.sqlite", Ledger(home)), tokens_here
    raise PullerSetupError("set either QOL_BUCKET and QOL_ID_MAP_TABLE, or QOL_RAW_DIR and QOL_HOME")


def _client_secret() -> str:
    secret, arn = os.environ.get("QOL_GARMIN_CLIENT_SECRET", ""), os.environ.get("QOL_GARMIN_CLIENT_SECRET_ARN", "")
    if bool(secret) == bool(arn):
        raise PullerSetupError("set either QOL_GARMIN_CLIENT_SECRET or QOL_GARMIN_CLIENT_SECRET_ARN")
    return secret or read_secret(arn)


# -- reading what came


def _keys(body: str) -> list[str]:
    try:
        return announced(body)
    except AttributeError:  # a key that is no text
        return []


def _is_final(error: GarminApiError) -> bool:
    """Return whether Garmin refuses this download for good.

    A refusal of the token endpoint is none: with a wrong client secret all pings would be given up.
    """
    return not error.may_pass and error.status != 401 and str(error).endswith(" to a callback")


def _whole(file: SpooledTemporaryFile[bytes]) -> bytes:
    file.seek(0)
    return file.read()
