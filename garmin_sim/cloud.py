"""The simulated Garmin cloud as a server: the other side of OAuth, REST, backfill, pings and pushes.

Belongs here: the paths and what they answer, and what a test or a person can make happen. Tokens are `consent.py`,
permissions `accounts.py`, callback URLs `callbacks.py`, sending `outbox.py`, HTTP `web.py`, what goes wrong
`faults.py`.

    with GarminCloud(sim, client_id="app", client_secret="hidden") as cloud:
        cloud.webhook_url = webhook.url  # may come later: the receiver may have to know cloud.base_url first
        cloud.push_all()

Participants take part from the beginning, so `push_all` and `ping` send everyone's data; but nobody's tokens exist
before a consent, by the page or by `tokens`. The cloud has the whole simulated time, whatever `clock` says, which only
decides what has expired.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from garmin_sim.accounts import ACTIVITY_TYPES, BACKFILLS, HISTORY, TYPES, Account, allowed_part, as_body
from garmin_sim.callbacks import REST, Callbacks, segment
from garmin_sim.consent import Consent, TokenPair
from garmin_sim.faults import Faults
from garmin_sim.history import History, bodies
from garmin_sim.outbox import Outbox
from garmin_sim.people import persona_of
from garmin_sim.pusher import PushReport, checked_url
from garmin_sim.simulation import Delivery
from garmin_sim.web import LOST, Answer, Request, WebServer, as_json, refusal

if TYPE_CHECKING:
    from garmin_sim.simulation import Simulation

log = logging.getLogger(__name__)

DAY_S = 86_400
LONGEST_DAYS, LONGEST_ACTIVITY_DAYS = 90, 30
AUTHORIZE_PATH = "/oauth2Confirm"
TOKEN_PATH = "/di-oauth2-service/oauth/token"  # noqa: S105 - an address
_SECONDS = re.compile(r"-?[0-9]{1,11}")
_USER_PATHS = {"user/id": "GET", "user/permissions": "GET", "user/registration": "DELETE"}
_SEGMENTS = frozenset(map(segment, TYPES))


class GarminCloud:
    """A Garmin cloud on one machine; `with` runs it, or `start` and `stop`. It listens from the beginning.

    webhook_url    where pushes and pings go; may be set later, and must be before anything is sent
    redirect_uris  the addresses that the application has registered; with none of them any is good
    port           0 takes a free one
    clock          seconds since 1970; decides which codes, tokens and callback URLs are still good
    auto_consent   the participant that consents to every request at once, without a page

    Participants are named by their position in the simulation. Raises OSError if the port is taken, ValueError for a
    participant that does not exist or an URL that is not HTTP.
    """

    def __init__(
        self,
        sim: Simulation,
        *,
        webhook_url: str = "",
        client_id: str = "sim-client",
        client_secret: str = "sim-secret",  # noqa: S107 - it protects nothing
        redirect_uris: Collection[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
        faults: Faults | None = None,
        auto_consent: int | None = None,
    ) -> None:
        if webhook_url:
            checked_url(webhook_url)
        self.webhook_url = webhook_url
        self._sim, self._clock, self._faults = sim, clock, faults or Faults()
        self._users = sim.user_ids()
        self._accounts = [Account() for _ in self._users]
        if auto_consent is not None:
            self._account(auto_consent)
        self._history = History(sim)
        self._consent = Consent(
            client_id,
            client_secret,
            self.labels,
            redirect_uris=redirect_uris,
            auto=auto_consent,
            clock=clock,
            access_life_s=self._faults.token_lifetime_s,
            granted=lambda participant: self._accounts[participant].come_back(),
        )
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, int]] = Counter()
        self._number = 0
        self._stopping = threading.Event()
        self._outbox = Outbox(lambda: self.webhook_url, client_id)
        self._server = WebServer(host, port, self._handle)
        self.base_url = self._server.base_url
        self._callbacks = Callbacks(self._history, self._users, self.base_url, clock)

    # -- running

    def start(self) -> None:
        """Begin to answer."""
        self._outbox.start()
        self._server.start()

    def stop(self) -> None:
        """End requests, deliveries, connections and threads. Stopping twice is fine, starting again is not."""
        self._stopping.set()
        self._outbox.stop()
        self._server.stop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    # -- what there is to know

    @property
    def requests(self) -> Counter[tuple[str, int]]:
        """How many answers there were, by kind of path and status, as ("backfill/dailies", 202).

        The kinds are "oauth2Confirm", "oauth/token", "user/id", "user/permissions", "user/registration",
        "backfill/<path>", "callback/<path>", "callback/other" and "unknown". Status 0 counts what was lost on the way
        or cut off.
        """
        with self._lock:
            return Counter(self._counts)

    def labels(self) -> list[str]:
        """Return the participants as people see them, in order: number and habit."""
        seed = self._sim.seed
        return [f"{i}: {persona_of(seed, i, self._sim.personas).replace('_', ' ')}" for i in range(len(self._users))]

    def user_id(self, participant: int) -> str:
        """Return the Garmin user id of a participant."""
        self._account(participant)
        return self._users[participant]

    # -- what participants do

    def tokens(self, participant: int) -> TokenPair:
        """Consent as a participant, without page and code."""
        self._account(participant)
        return self._consent.issue(participant)

    def deregister(self, participant: int) -> None:
        """A participant withdraws: tokens die, then the webhook is notified. Raises PushError."""
        self._withdraw(participant)
        self._outbox.send([self._deregistration(participant)])

    def forge_deregistration(self, participant: int) -> None:
        """Notify the webhook that a participant withdrew, who did not. Raises PushError."""
        self._account(participant)
        self._outbox.send([self._deregistration(participant)])

    def change_permissions(
        self, participant: int, permissions: Collection[str], *, changed_at: float | None = None
    ) -> None:
        """A participant allows these and nothing else (see `accounts.PERMISSIONS`), and the webhook is notified.

        With `changed_at` (seconds since 1970) the change was made then, and may be announced after a later one, which
        stays in force. Raises PushError.
        """
        at = self._clock() if changed_at is None else changed_at
        self._account(participant).change(permissions, at)
        user = self._users[participant]
        change = {
            "userId": user,
            "summaryId": f"x{user[:7]}-{int(at):x}-permissions",
            "permissions": list(permissions),
            "changeTimeInSeconds": int(at),
        }
        self._outbox.send([self._news("userPermissionsChange", participant, change)])

    def allow_history(self, participant: int, *, allowed: bool) -> None:
        """Whether a participant allows to ask for old data; the webhook is not notified."""
        self._account(participant).allow_history(allowed)

    # -- what is sent

    def push_all(self, *, connections: int = 4, patience_s: float = 30.0) -> PushReport:
        """Send the whole simulation, as `push` does, but for what a participant does not allow. Raises PushError."""
        first = dict(zip(self._users, self._accounts, strict=True))
        accounts = {one.user_id: first[one.first_user_id] for one in self._sim.enrolments()}
        allowed = (allowed_part(delivery, accounts) for delivery in self._sim.deliveries())
        return self._outbox.send(filter(None, allowed), connections, patience_s)

    def redeliver(self, *, shuffle: int | None = None, connections: int = 4, patience_s: float = 30.0) -> PushReport:
        """Send the whole simulation byte for byte, as a queue would that was stuck since it was made.

        So it holds the data of those, too, who have withdrawn since. A seed in `shuffle` sends it in another order, and
        holds all of it in memory. Raises PushError.
        """
        deliveries: Iterable[Delivery] = self._sim.deliveries()
        if shuffle is not None:
            deliveries = list(deliveries)
            random.Random(shuffle).shuffle(deliveries)  # noqa: S311 - not a secret
        return self._outbox.send(deliveries, connections, patience_s)

    def ping(
        self, types: Collection[str] | None = None, *, connections: int = 4, patience_s: float = 30.0
    ) -> PushReport:
        """Send a ping for all that every sync brought, or only for some types. Raises PushError, ValueError."""
        if unknown := sorted(set(types or ()) - set(TYPES)):
            raise ValueError(f"unknown types {', '.join(unknown)}; choose from {', '.join(TYPES)}")
        pings = self._callbacks.pings(types, lambda who, kind: self._accounts[who].allows(kind))
        return self._outbox.send(pings, connections, patience_s)

    def settle(self, timeout_s: float = 30.0) -> None:
        """Wait until the webhook has taken all that is sent in the background. Raises TimeoutError."""
        if not self._outbox.wait(timeout_s):
            raise TimeoutError(f"the webhook has not taken everything within {timeout_s:g} s")

    def _deregistration(self, participant: int) -> Delivery:
        return self._news("deregistrations", participant, {"userId": self._users[participant]})

    def _news(self, kind: str, participant: int, item: dict[str, object]) -> Delivery:
        at = datetime.fromtimestamp(self._clock(), UTC)
        return Delivery(at, as_body({kind: [item]}), frozenset({self._users[participant]}))

    def _old_data(self, participant: int, kind: str, begin_s: int, end_s: int) -> Iterator[Delivery]:
        at, users = datetime.fromtimestamp(self._clock(), UTC), frozenset({self._users[participant]})
        for body in bodies(kind, self._history.final(participant, kind, begin_s, end_s)):
            if self._accounts[participant].allows(kind):  # it may have been withdrawn meanwhile
                yield Delivery(at, body, users)

    def _account(self, participant: int) -> Account:
        if not 0 <= participant < len(self._accounts):
            raise ValueError(f"there is no participant {participant}; give 0 to {len(self._accounts) - 1}")
        return self._accounts[participant]

    def _withdraw(self, participant: int) -> None:
        self._account(participant).withdrawn = True
        self._consent.revoke(participant)

    # -- what is answered

    def _handle(self, request: Request) -> Answer:
        kind = _kind(request.path)
        with self._lock:
            self._number += kind != "oauth2Confirm"
            number = self._number
        answer = self._consent_page(request) if kind == "oauth2Confirm" else self._with_faults(kind, request, number)
        status = LOST if answer.cut else answer.status
        with self._lock:
            self._counts[kind, status] += 1
        log.info("%s %s: %s", request.method, kind, status)
        return answer

    def _with_faults(self, kind: str, request: Request, number: int) -> Answer:
        self._stopping.wait(self._faults.slow_s)
        if status := self._faults.refusal(number):
            return refusal(status, "try again later", {"retry-after": "1"} if status == 429 else {})
        if kind == "oauth/token":
            # Spoilt no further: with a lost answer the only refresh token would be lost.
            return self._consent.token(request) if request.method == "POST" else _wrong_method("POST")
        answer, dropped = self._rest(kind, request), self._faults.drops(number)
        if answer.status == 200 and kind.startswith("callback/") and (dropped or self._faults.cuts(number)):
            self._callbacks.lost(request)
            answer = replace(answer, cut=True)
        return Answer(LOST) if dropped else answer

    def _consent_page(self, request: Request) -> Answer:
        return self._consent.page(request) if request.method == "GET" else _wrong_method("GET")

    def _rest(self, kind: str, request: Request) -> Answer:
        if kind == "unknown":
            return refusal(404, "there is nothing at this path")
        if request.method != (method := _USER_PATHS.get(kind, "GET")):
            return _wrong_method(method)
        participant = self._consent.holder(request)
        if participant is None:
            return refusal(401, "the access token is unknown or has expired", {"www-authenticate": "Bearer"})
        group, _, what = kind.partition("/")
        if group == "callback":
            return self._callbacks.download(request, participant)
        return self._backfill(what, request, participant) if group == "backfill" else self._user(what, participant)

    def _user(self, what: str, participant: int) -> Answer:
        if what == "id":
            return as_json({"userId": self._users[participant]})
        if what == "permissions":
            return as_json(self._accounts[participant].permissions)
        self._withdraw(participant)
        self._outbox.put(iter([self._deregistration(participant)]))
        return Answer(204)

    def _backfill(self, path: str, request: Request, participant: int) -> Answer:
        """In which order Garmin checks is not known; here what can never work comes first."""
        kind, account = BACKFILLS[path], self._accounts[participant]
        given = [request.query.get(f"summary{end}TimeInSeconds", "") for end in ("Start", "End")]
        if not all(map(_SECONDS.fullmatch, given)):
            return refusal(400, "summaryStartTimeInSeconds and summaryEndTimeInSeconds must be whole seconds")
        begin_s, end_s = map(int, given)
        longest = LONGEST_ACTIVITY_DAYS if kind in ACTIVITY_TYPES else LONGEST_DAYS
        if not 0 < end_s - begin_s <= longest * DAY_S:
            return refusal(400, f"the end must come after the start, by {longest} days at most")
        if not account.allows(kind):
            return refusal(412, "the user does not allow this type")
        if HISTORY not in account.permissions:
            return refusal(403, "the user does not allow historical data")
        with self._lock:
            if not account.ask(kind, begin_s, end_s):
                return refusal(409, "this range was asked for before")
        self._outbox.put(self._old_data(participant, kind, begin_s, end_s))
        return Answer(202)


def _kind(path: str) -> str:
    """Return the kind of a path, as `requests` counts it.

    No kind holds anything that only a client may have thought of.
    """
    if path in (AUTHORIZE_PATH, TOKEN_PATH):
        return path.removeprefix("/di-oauth2-service").removeprefix("/")
    rest = path.removeprefix(REST)
    if rest in _USER_PATHS or (rest.startswith("backfill/") and rest.removeprefix("backfill/") in BACKFILLS):
        return rest
    if path == rest or not rest.isalpha():
        return "unknown"
    return f"callback/{rest}" if rest in _SEGMENTS else "callback/other"


def _wrong_method(right: str) -> Answer:
    return refusal(405, f"use {right}", {"allow": right})
