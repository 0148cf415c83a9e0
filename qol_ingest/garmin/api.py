"""Garmin's cloud as this project asks it: OAuth 2, user, backfill, and the download of what a ping points at.

Belongs here: addresses, requests, and what Garmin's answers mean. When to ask again belongs to the callers; tokens
and their refreshing belong in `tokens`.

No message holds a token, an id, a URL's query or a part of a body. Redirects are never followed, proxies of the
environment never used: a token goes to Garmin's host and nowhere else.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from http.client import HTTPResponse
from typing import Any, Literal, Self
from urllib.parse import urlencode

from qol_ingest.garmin.tokens import (
    AccessTokens,
    ConsentNeededError,
    GrantEndedError,
    RefreshRefusedError,
    Tokens,
    TokenStore,
)
from qol_ingest.shared import http
from qol_ingest.shared.errors import QolError
from qol_ingest.shared.permissions import allowed_in

REST = "/wellness-api/rest/"
TIMEOUT_S = 10.0
DOWNLOAD_S = 120.0
"""How long one download may take as a whole."""
LARGEST_ANSWER_BYTES = 1024 * 1024
CHUNK_BYTES = 64 * 1024
BACKFILL_WAIT_S = 60.0
"""How long to wait after a 429 that does not say."""
REFRESH_LIFE_S = 90 * 86_400.0
"""How long a refresh token lives when Garmin does not say."""
_NO_GRANT = "invalid_grant"
_DEAD_TOKEN = (_NO_GRANT, "invalid_token")

Outcome = Literal["accepted", "already", "forbidden", "off", "wait"]


class GarminApiError(QolError):
    """Garmin could not be asked, or did not answer as hoped. `status` is its HTTP status, None without an answer."""

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def may_pass(self) -> bool:
        """Whether asking again later may help."""
        return self.status is None or self.status in (408, 429) or self.status >= 500


@dataclass(frozen=True)
class Endpoints:
    """Where Garmin's cloud is. `api` has no slash at its end."""

    api: str = "https://apis.garmin.com"
    authorize: str = "https://connect.garmin.com/oauth2Confirm"
    token: str = "https://diauth.garmin.com/di-oauth2-service/oauth/token"  # noqa: S105 - an address

    @classmethod
    def at(cls, base_url: str) -> Self:
        """Return endpoints that are all at one base URL: a simulated cloud's."""
        base = base_url.rstrip("/")
        return cls(base, f"{base}/oauth2Confirm", f"{base}/di-oauth2-service/oauth/token")

    def is_callback(self, url: object) -> bool:
        """Return whether a ping's URL may be fetched: Garmin's scheme, host and path, letter by letter.

        One pattern over the whole text, without any parsing: nothing is left that two parsers may read differently.
        """
        return isinstance(url, str) and self._callback.fullmatch(url) is not None

    @cached_property
    def _callback(self) -> re.Pattern[str]:
        segment = "[A-Za-z0-9_-]+"
        # A callback reads; these two change something or are about the account.
        path = f"(?!(?i:backfill|user)(?:[/?]|$)){segment}(?:/{segment})*"
        return re.compile(rf"{re.escape(self.api + REST)}{path}(?:\?[A-Za-z0-9_.~!$&'()*+,;=:@/?%-]*)?", re.ASCII)


@dataclass(frozen=True)
class BackfillAnswer:
    """What became of one request for old data; `wait_s` goes with "wait"."""

    outcome: Outcome
    wait_s: float = 0.0


_BACKFILL: Mapping[int, Outcome] = {200: "accepted", 202: "accepted", 409: "already", 403: "forbidden", 412: "off"}


@dataclass(frozen=True)
class GarminApi:
    """Asks Garmin. `name_of` gives the participant id of a Garmin user, for messages.

    Requests for a user raise ConsentNeededError and TokenStoreError too; see `tokens`.
    """

    endpoints: Endpoints
    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)
    store: TokenStore
    name_of: Callable[[str], str] = lambda _user: "a participant"
    timeout_s: float = TIMEOUT_S
    clock: Callable[[], float] = time.time

    @cached_property
    def access(self) -> AccessTokens:
        """The users' access tokens."""
        return AccessTokens(self.store, self.refresh, self.name_of, self.clock)

    # -- OAuth

    def exchange_code(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """Exchange an authorisation code for tokens; it is used up by this. Raises GarminApiError."""
        return self._tokens(
            {"grant_type": "authorization_code", "code": code, "code_verifier": verifier, "redirect_uri": redirect_uri}
        )

    def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token, which is used up by this, for new tokens.

        Raises RefreshRefusedError if Garmin says that it is dead, GarminApiError for anything else: neither a wrong
        client secret nor a firewall's 400 may look like participants who withdrew.
        """
        return self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def _tokens(self, form: Mapping[str, str]) -> Tokens:
        asked_at = self.clock()
        body = urlencode({**form, "client_id": self.client_id, "client_secret": self.client_secret}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        with self._request("POST", self.endpoints.token, "oauth/token", headers, body) as response:
            content = self._small(response, "oauth/token")
            error = _field(content, "error")
            if response.status in (400, 401) and "refresh_token" in form and error in _DEAD_TOKEN:
                message = "Garmin does not take the refresh token any more"
                raise RefreshRefusedError(message, grant_ended=error == _NO_GRANT)
            self._expect(response, "oauth/token")
        try:
            return _read_tokens(json.loads(content), asked_at)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise GarminApiError("Garmin answered oauth/token without tokens", response.status) from None

    # -- the user

    def user_id(self, access_token: str) -> str:
        """Return the Garmin user id that a token belongs to. Raises GarminApiError."""
        with self._request("GET", self._url("user/id"), "user/id", _bearer(access_token)) as response:
            content = self._small(response, "user/id")
            self._expect(response, "user/id")
        user = _field(content, "userId")
        if not isinstance(user, str) or not user.strip():
            raise GarminApiError("Garmin answered user/id without an id", response.status)
        return user.strip()

    def permissions(self, user: str) -> tuple[str, ...]:
        """Return what a user allows. Raises GarminApiError."""
        with self._as_user("GET", "user/permissions", user) as response:
            return self._read_permissions(response)

    def permissions_of(self, access_token: str) -> tuple[str, ...]:
        """Return what the user of a new token allows. Raises GarminApiError."""
        with self._request("GET", self._url("user/permissions"), "user/permissions", _bearer(access_token)) as response:
            return self._read_permissions(response)

    def _read_permissions(self, response: HTTPResponse) -> tuple[str, ...]:
        content = self._small(response, "user/permissions")
        self._expect(response, "user/permissions")
        found = _json(content)
        listed = found.get("permissions") if isinstance(found, dict) else found
        allowed = allowed_in(listed) if isinstance(listed, (list, dict)) else None  # a text may be a gateway's
        if allowed is None:
            raise GarminApiError("Garmin answered user/permissions without a list", response.status)
        return tuple(allowed)

    def deregister(self, user: str) -> None:
        """End a user's registration at Garmin. Raises GarminApiError."""
        with self._as_user("DELETE", "user/registration", user) as response:
            self._expect(response, "user/registration")

    def is_registered(self, user: str) -> bool | None:
        """Return whether Garmin still knows a user as ours: a deregistration may be forged.

        Only a refresh that ends in `invalid_grant`, or 410, says that the user has left. None if that is unknown:
        without tokens that worked so far, and for every other answer, which may be a gateway's.
        """
        if not self.access.known(user):
            return None
        try:
            with self._as_user("GET", "user/id", user) as response:
                content = self._small(response, "user/id")
                if response.status == 410:
                    return False
                return True if response.status == 200 and _field(content, "userId") == user else None
        except GrantEndedError:
            return False
        except (ConsentNeededError, GarminApiError):
            return None

    # -- data

    def backfill(self, user: str, kind: str, start_s: int, end_s: int) -> BackfillAnswer:
        """Ask for data that started from `start_s` on and before `end_s`; it comes by webhook.

        `kind` is the path's spelling (pulseOx). Raises GarminApiError for an answer that is none of the five.
        """
        query = urlencode({"summaryStartTimeInSeconds": start_s, "summaryEndTimeInSeconds": end_s})
        what = f"backfill/{kind}"
        with self._as_user("GET", f"{what}?{query}", user, what) as response:
            if response.status == 429:
                wait_s = _retry_after(response, self.clock())
                return BackfillAnswer("wait", BACKFILL_WAIT_S if wait_s is None else wait_s)
            if response.status not in _BACKFILL:
                raise self._refused(response, what)
            return BackfillAnswer(_BACKFILL[response.status])

    def fetch(self, callback_url: str, user: str) -> Iterator[bytes]:
        """Yield the content behind a ping's URL, in pieces. Raises GarminApiError, also for a URL that is not Garmin's.

        An answer that breaks off raises; what was given until then is not the whole. An empty iteration is an empty
        answer. Nothing is asked before the first piece is.
        """
        if not self.endpoints.is_callback(callback_url):
            raise GarminApiError("a callback URL is not Garmin's; it was not fetched", 400)
        path = callback_url.removeprefix(self.endpoints.api + REST)
        ends_at = time.monotonic() + DOWNLOAD_S
        with self._as_user("GET", path, user, "a callback") as response:
            self._expect(response, "a callback")
            for piece in http.pieces(response, CHUNK_BYTES):
                if time.monotonic() > ends_at:
                    raise GarminApiError("Garmin took too long over a callback")
                yield piece

    # -- requests

    def _url(self, path: str) -> str:
        return f"{self.endpoints.api}{REST}{path}"

    @contextmanager
    def _as_user(self, method: str, path: str, user: str, what: str = "") -> Iterator[HTTPResponse]:
        """Yield a request with the user's token; once more with a new one if Garmin does not take it."""
        token = self.access.for_user(user)
        url, what = self._url(path), what or path
        with self._request(method, url, what, _bearer(token)) as response:
            if response.status != 401:
                yield response
                return
        with self._request(method, url, what, _bearer(self.access.for_user(user, rejected=token))) as response:
            yield response

    @contextmanager
    def _request(
        self, method: str, url: str, what: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Iterator[HTTPResponse]:
        try:
            with http.request(method, url, headers, body, timeout_s=self.timeout_s) as response:
                yield response
        except http.NoAnswerError as error:
            raise GarminApiError(f"Garmin could not be asked for {what}: {error}") from None

    def _small(self, response: HTTPResponse, what: str) -> bytes:
        content = http.read(response, LARGEST_ANSWER_BYTES)
        if len(content) > LARGEST_ANSWER_BYTES:
            raise GarminApiError(f"Garmin answered {what} with too much", response.status)
        return content

    def _expect(self, response: HTTPResponse, what: str) -> None:
        if not 200 <= response.status < 300:
            raise self._refused(response, what)

    def _refused(self, response: HTTPResponse, what: str) -> GarminApiError:
        wait_s = _retry_after(response, self.clock())
        return GarminApiError(f"Garmin answered {response.status} to {what}", response.status, wait_s)


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _read_tokens(answer: Any, asked_at: float) -> Tokens:
    access, refresh = answer["access_token"], answer["refresh_token"]
    # A token goes into a header: anything but plain characters has no business there.
    if not all(isinstance(one, str) and re.fullmatch(r"[!-~]+", one) for one in (access, refresh)):
        raise ValueError
    refresh_life_s = float(answer.get("refresh_token_expires_in") or REFRESH_LIFE_S)
    return Tokens(access, refresh, asked_at + float(answer["expires_in"]), asked_at + refresh_life_s)


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _field(content: bytes, name: str) -> Any:
    found = _json(content)
    return found.get(name) if isinstance(found, dict) else None


def _retry_after(response: HTTPResponse, now_s: float) -> float | None:
    """Return seconds to wait: the header holds them, or a date."""
    given = response.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdecimal():
        return float(given[:9])
    try:
        moment = parsedate_to_datetime(given)
    except (ValueError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now_s, UTC)).total_seconds())
