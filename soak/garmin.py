"""The stand-in of Garmin's cloud in a soak: what a ping announces waits there to be fetched.

Belongs here: making pings of pushes, what callback URLs answer, and when they fail. Tokens and HTTP are `garmin_sim`'s.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from garmin_sim.accounts import PERMISSIONS
from garmin_sim.consent import Consent
from garmin_sim.faults import ACCESS_LIFE_S
from garmin_sim.web import LOST, Answer, Request, WebServer, as_json, refusal
from qol_ingest.garmin.tokens import Tokens

if TYPE_CHECKING:
    from garmin_sim.simulation import Delivery
    from qol_ingest.garmin.tokens import TokenStore

CLIENT_ID, CLIENT_SECRET = "soak", "client-secret-of-the-soak"
PINGED = 12
"""One body in so many is announced by a ping in place of being pushed."""
REST, TOKEN_PATH = "/wellness-api/rest/", "/di-oauth2-service/oauth/token"
URL_LIFE_S = 3 * 86_400.0
"""Longer than Garmin's day: the daemon runs on Wednesdays only, and who redrives has read its alert."""
QUIET_S, PAUSE_S = 3.0, 0.02
_FAILURES = (
    refusal(503, "try again later"),
    Answer(200, cut=True),
    Answer(LOST),
    refusal(500, "try again later"),
    refusal(429, "try again later", {"retry-after": "1"}),
)


@dataclass
class _Callback:
    """What one URL stands for."""

    user: int
    path: str
    content: bytes
    ends_at: float
    is_broken: bool
    key: int
    was_asked: bool = False


@dataclass
class Cloud:
    """A stand-in of Garmin's cloud for these Garmin users, from `start` to `stop`; `clock` decides what has expired."""

    clock: Callable[[], float]
    users: Sequence[str]
    is_broken: bool = False
    announced: int = 0
    failed: int = 0
    _connected: set[str] = field(default_factory=set)
    _given: dict[str, _Callback] = field(default_factory=dict)
    _announced: set[int] = field(default_factory=set)
    _waiting: dict[bytes, tuple[_Callback, ...]] = field(default_factory=dict)
    _pinged: dict[int, int] = field(default_factory=dict)
    _owed: dict[int, _Callback | None] = field(default_factory=dict)
    _gone: set[int] = field(default_factory=set)
    _failing: list[Answer] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asked_at: float = 0.0

    def __post_init__(self) -> None:
        self._number = {user: number for number, user in enumerate(self.users)}
        self._consent = Consent(
            *(CLIENT_ID, CLIENT_SECRET, lambda: self.users),
            redirect_uris=(),
            auto=None,
            clock=self.clock,
            access_life_s=ACCESS_LIFE_S,
            granted=lambda _user: None,
        )
        self._server = WebServer("127.0.0.1", 0, self._answer)
        self.url = self._server.base_url
        self.start, self.stop = self._server.start, self._server.stop

    # -- what participants do

    def connect(self, users: Collection[str], store: TokenStore) -> None:
        """Have users consent who have not yet."""
        for user in users:
            if user not in self._connected:
                self._connected.add(user)
                pair = self._consent.issue(self._number[user])
                store.put(user, Tokens(pair.access_token, pair.refresh_token, pair.expires_at, pair.refresh_expires_at))

    def withdraw(self, users: Collection[str]) -> None:
        """End all that users have granted."""
        for user in users:
            self._gone.add(self._number[user])
            self._consent.revoke(self._number[user])

    def withheld(self) -> set[bytes]:
        """Return the records that were announced and never given before their users withdrew, as raw lines."""
        return {
            b'{"_summary_type":"%s",%s' % (one.path.removeprefix(REST).encode(), _as_json(record)[1:])
            for one in self._owed.values()
            if one and one.user in self._gone
            for record in json.loads(one.content)
        }

    # -- pings

    def is_pinged(self, delivery: Delivery) -> bool:
        """Return whether a body is announced in place of being pushed; the same body always is, or never."""
        fingerprint = zlib.crc32(delivery.body)
        return fingerprint % PINGED == 0 or fingerprint in self._announced

    def ping_of(self, delivery: Delivery, broken: Collection[str] = ()) -> Delivery | None:
        """Return the ping that announces what a push holds: a URL for each type and user.

        URLs of the `broken` users fail until `mend`. None if another body had the very same records of a user: as two
        downloads they would be one file.
        """
        body: dict[str, list[dict[str, Any]]] = json.loads(delivery.body)
        fingerprint, now = zlib.crc32(delivery.body), self.clock()
        made: dict[str, _Callback] = {}
        ping: dict[str, list[dict[str, str]]] = {}
        for kind, items in body.items():
            for user, own in groupby(sorted(items, key=_user_of), key=_user_of):
                content = _as_json(list(own))
                key = hash((kind, user, content))
                if self._pinged.setdefault(key, fingerprint) != fingerprint:
                    return None
                token, path = secrets.token_urlsafe(12), f"{REST}{kind}"
                made[token] = _Callback(self._number[user], path, content, now + URL_LIFE_S, user in broken, key)
                ping.setdefault(kind, []).append({"userId": user, "callbackURL": f"{self.url}{path}?token={token}"})
        with self._lock:
            self._given = {token: one for token, one in self._given.items() if now < one.ends_at} | made
            for one in made.values():
                self._owed.setdefault(one.key, one)
            self.announced += len(made)
            self.is_broken |= any(one.is_broken for one in made.values())
        content = _as_json(ping)
        self._announced.add(fingerprint)
        self._waiting[content] = tuple(made.values())
        return replace(delivery, body=content)

    def wait(self, body: bytes) -> None:
        """Wait until each URL of a ping was asked for, unless none is for some seconds: who asks may be dead."""
        made, self._asked_at = self._waiting.pop(body, ()), time.monotonic()
        while not all(one.was_asked for one in made) and time.monotonic() - self._asked_at < QUIET_S:
            time.sleep(PAUSE_S)

    def fail(self) -> None:
        """Have the next answers fail, more than a download is tried in a row."""
        with self._lock:
            self._failing += _FAILURES

    def mend(self) -> None:
        """Have URLs that are broken work again."""
        with self._lock:
            self.is_broken = False
            for one in self._given.values():
                one.is_broken = False

    # -- what is answered

    def _answer(self, request: Request) -> Answer:
        if request.path == TOKEN_PATH:
            return self._consent.token(request)
        user = self._consent.holder(request)
        if user is None:
            return refusal(401, "the access token is unknown or has expired", {"www-authenticate": "Bearer"})
        match request.path.removeprefix(REST):
            case "user/id":
                return as_json({"userId": self.users[user]})
            case "user/permissions":
                return as_json(PERMISSIONS)
            case "user/registration":
                self._consent.revoke(user)
                return Answer(204)
        return self._download(request, user)

    def _download(self, request: Request, user: int) -> Answer:
        token = request.query.get("token", "")
        with self._lock:
            callback, self._asked_at = self._given.get(token), time.monotonic()
            if callback is None or callback.path != request.path or callback.user != user:
                return refusal(400, "InvalidPullTokenException failure")
            if self.clock() >= callback.ends_at:
                return refusal(410, "the callback URL is no longer good")
            callback.was_asked = True
            failure = _FAILURES[0] if callback.is_broken else self._failing.pop(0) if self._failing else None
            self.failed += failure is not None
            if failure is None:
                self._owed[callback.key] = None
        if failure is None:
            return Answer(200, callback.content)
        return replace(failure, body=callback.content) if failure.cut else failure


def _as_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _user_of(item: dict[str, Any]) -> str:
    return str(item["userId"])
