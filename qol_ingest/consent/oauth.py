"""Enrolment over HTTP: a participant with an entry code connects a Garmin account.

Belongs here: the paths, what is checked in which order, and what is answered. Words belong in `pages`, codes and
sign-ins in `enrolment`, Garmin's side in `garmin/api.py`.

    GET /oauth/start              a field for the code
    GET /oauth/start?entry=CODE   what will be shared and for whom, and a button; uses nothing up, since mail scanners
                                  open links. A cookie, and a token for the button
    POST /oauth/start/go          the button: on to Garmin, with a state. Without the token of this browser's page it
                                  leads nowhere: a link to it would connect whoever is signed in at Garmin
    GET /oauth/callback           back from Garmin: linked, and on to /oauth/done
    GET /oauth/done, denied, …    what came of it, once more, for a reload or in the other language

Order. The state is used up first, then Garmin is asked, then the code is claimed for a minute, and only then is
anything kept: the tokens, the link, what is permitted, and last that the code is used up. After a crash in between the
code is free again when the minute is over, and doing it all again makes it good.

Nothing that identifies a person is logged: no path, query, cookie, code, id or token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from math import ceil
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlencode, urlsplit

from qol_ingest.consent.browsers import form_of, preferred_language, visitor_of
from qol_ingest.consent.enrolment import SIGN_IN_S, InvitationError, Invitations, SignIn, SignIns, read_code
from qol_ingest.consent.pages import PageName, Programme, page, programme_of_environment
from qol_ingest.consent.pages import headers as page_headers
from qol_ingest.consent.state import DynamoState, EnrolmentState, EnrolmentStateError, SqliteState
from qol_ingest.garmin.api import Endpoints, GarminApi, GarminApiError
from qol_ingest.garmin.tokens import Tokens, TokenStore, TokenStoreError
from qol_ingest.garmin.tokens_aws import SecretsManagerTokenStore, read_secret
from qol_ingest.garmin.tokens_file import FileTokenStore
from qol_ingest.shared.erasures import Ledger
from qol_ingest.shared.errors import QolInputError
from qol_ingest.shared.id_map import IdMap, IdMapError
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.webhook import Answer, Event

log = logging.getLogger(__name__)

START, GO, CALLBACK = "/oauth/start", "/oauth/start/go", "/oauth/callback"
COOKIE = "qol_enrolment"
RETRY_AFTER_S = 60
PAGE_S = 3600.0
"""How long a participant may read before pressing the button."""

_STATUS: Mapping[PageName, int] = {
    "enter": 200,
    "start": 200,
    "done": 200,
    "denied": 200,
    "later": 503,
    "other-account": 409,
    "over": 400,
    "unknown": 404,
    "expired": 410,
    "used": 410,
    "too-many": 429,
    "lost": 404,
}
_OUTCOMES: tuple[PageName, ...] = ("done", "denied", "later", "other-account", "over", "expired", "used")
"""Pages that stand at the end of a callback. They have an address of their own, since a callback works once."""
_REFUSALS: Mapping[str, PageName] = {"unknown": "unknown", "expired": "expired", "used": "used", "too many": "too-many"}
_PUBLIC_URL = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*")
_BROWSER = re.compile(r"[A-Za-z0-9_-]{43}")


class EnrolmentSetupError(QolInputError):
    """Enrolment is not set up; the message says what is missing."""


@dataclass(frozen=True)
class Enrolments:
    """Answers requests below /oauth/. `public_url` is what participants' browsers call this place; no / at its end.

    Raises EnrolmentSetupError for a public URL that is none.
    """

    state: EnrolmentState
    api: GarminApi
    id_map: IdMap
    public_url: str
    programme: Programme = field(default_factory=Programme)
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if not _PUBLIC_URL.fullmatch(self.public_url):
            raise EnrolmentSetupError("QOL_PUBLIC_URL must be like https://qol.example.org, without / at the end")

    @property
    def invitations(self) -> Invitations:
        """Where staff makes invitations."""
        return Invitations(self.state, self.clock)

    @property
    def redirect_uri(self) -> str:
        """Where Garmin sends participants back to; it has to be registered there letter by letter."""
        return self.public_url + CALLBACK

    def start_url(self, code: str = "") -> str:
        """Return the link of an invitation."""
        return start_url(self.public_url, code)

    def handle(self, event: Event) -> Answer:
        """Answer one request (API Gateway HTTP API, payload 2.0)."""
        visit = self._visit(event)
        allowed = ("GET", "POST") if visit.path == GO else ("GET",)
        if visit.method not in allowed:
            return _plain(405, {"allow": ", ".join(allowed)})
        try:
            return self._answer(visit)
        except InvitationError as error:
            log.info("enrolment: entry code refused, %s", error.refusal)
            return self._page(visit, _REFUSALS[error.refusal], error.retry_after_s)
        except (GarminApiError, EnrolmentStateError, TokenStoreError, IdMapError) as error:
            log.error("enrolment: not possible now: %s", error)  # noqa: TRY400 - a trace may quote more
            return self._page(visit, "later")

    def _answer(self, visit: _Visit) -> Answer:
        match visit.path:
            case "/oauth/start/go" if visit.method == "POST":
                return self._go(visit)
            case "/oauth/start" | "/oauth/start/go":
                return self._start(visit)
            case "/oauth/callback":
                return self._callback(visit)
        name = visit.path.removeprefix("/oauth/")
        return self._page(visit, name if name in _OUTCOMES else "lost")

    # -- there

    def _start(self, visit: _Visit) -> Answer:
        if not visit.entry:
            return self._page(visit, "enter")
        participant_id = self.invitations.find(visit.entry, visit.visitor)
        # One browser may have two tabs open: it keeps the cookie it has.
        browser = visit.browser or secrets.token_urlsafe(32)
        answer = self._page(replace(visit, browser=browser), "start", participant_id=participant_id)
        return {**answer, "cookies": [self._cookie(browser, visit.code_of_before, visit.language, PAGE_S)]}

    def _go(self, visit: _Visit) -> Answer:
        if not self._is_from_our_page(visit):
            log.info("enrolment: the button of a page that this browser was not shown, or long ago")
            return self._page(visit, "over")
        participant_id = self.invitations.find(visit.entry, visit.visitor)
        state, verifier = self._sign_ins.begin(participant_id, visit.entry, visit.browser)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.api.client_id,
            "redirect_uri": self.redirect_uri,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        cookie = self._cookie(visit.browser, read_code(visit.entry), visit.language, SIGN_IN_S)
        return {**_redirect(f"{self.api.endpoints.authorize}?{urlencode(query)}"), "cookies": [cookie]}

    def _cookie(self, browser: str, code: str, language: Language, life_s: float) -> str:
        cookie = f"{COOKIE}={browser}.{code}.{language}"
        cookie += f"; Path={self._prefix}/oauth; Max-Age={life_s:.0f}; HttpOnly; SameSite=Lax"
        return cookie + ("; Secure" if self.public_url.startswith("https:") else "")

    def _page_token(self, visit: _Visit, ends_at: int) -> str:
        """Return what the page's button has to show: this browser was shown the page of this code."""
        text = json.dumps(["page", visit.browser, read_code(visit.entry), ends_at])
        return f"{ends_at}.{hmac.new(self.api.client_secret.encode(), text.encode(), hashlib.sha256).hexdigest()}"

    def _is_from_our_page(self, visit: _Visit) -> bool:
        given = visit.query.get("token", "")
        ends_at = re.match("[0-9]{1,12}(?=[.])", given, re.ASCII)
        if not visit.browser or ends_at is None or self.clock() >= int(ends_at[0]):
            return False
        return hmac.compare_digest(given.encode(), self._page_token(visit, int(ends_at[0])).encode())

    # -- and back

    def _callback(self, visit: _Visit) -> Answer:
        sign_in = self._sign_ins.take(visit.query.get("state", ""), visit.browser)
        if sign_in is None:
            log.info("enrolment: a callback without a sign-in, or of another browser")
            return self._page(visit, "over")
        if not sign_in.done:
            outcome = self._connect(sign_in, visit.query.get("code", ""), visit.query.get("error", ""))
            log.info("enrolment: came back from Garmin, %s", outcome)
            if outcome != "done":
                return self._page(visit, outcome)
        return _redirect(f"{self.public_url}/oauth/done?{urlencode({'lang': visit.language})}")

    def _connect(self, sign_in: SignIn, code: str, error: str) -> PageName:
        """Link the account of a sign-in, and return the page that says what came of it."""
        if not code:
            return "denied" if error == "access_denied" else "later"
        tokens = self.api.exchange_code(code, sign_in.verifier, self.redirect_uri)
        consent = self._consent(tokens)
        if not self.invitations.claim(sign_in):
            return "later"
        if not self._link(sign_in, consent):
            return "other-account"
        self.invitations.use(sign_in)
        self._sign_ins.finish(sign_in)
        return "done"

    def _consent(self, tokens: Tokens) -> _Consent:
        """Ask Garmin whose tokens these are, and what is permitted."""
        user, at = self.api.user_id(tokens.access_token), datetime.fromtimestamp(self.clock(), UTC)
        return _Consent(user, tokens, self.api.permissions_of(tokens.access_token), at)

    def _link(self, sign_in: SignIn, consent: _Consent) -> bool:
        """Store what a consent gave and link its account; False, storing nothing, if that is another participant's."""
        linked, user = False, consent.user
        try:
            if self._is_of_another(user, sign_in):
                return False
            self.api.store.put(user, consent.tokens)
            try:
                self.id_map.add(user, sign_in.participant_id, after_leaving=True)
            except IdMapError:
                if self._is_of_another(user, sign_in):  # as of this moment
                    return False
                if self.id_map.get(user) is None:  # who was erased has tokens again only when staff say so
                    self.api.store.delete(user)
                raise
            # Each time anew: before this consent everything may have been withdrawn.
            self.id_map.confirm_permissions(user, consent.permissions, consent.at)
            linked = True
        finally:
            if not linked:
                self.invitations.release(sign_in)
        return True

    def _is_of_another(self, user: str, sign_in: SignIn) -> bool:
        known = self.id_map.get(user)
        return known is not None and known.participant_id not in ("", sign_in.participant_id)

    # -- answers

    def _page(self, visit: _Visit, name: PageName, retry_after_s: float = 0.0, *, participant_id: str = "") -> Answer:
        """Return a page, whose button leads on to Garmin from the first page, and to the first page from the others."""
        posted: dict[str, str] = {}
        other: Language = "en" if visit.language == "ja" else "ja"
        again = {"entry": visit.entry or visit.code_of_before, "lang": visit.language}
        target = f"{self._prefix}{GO if name == 'start' else START}"
        if name == "start":
            token = self._page_token(visit, int(self.clock() + PAGE_S))
            posted = {"entry": visit.entry, "lang": visit.language, "token": token}
        elif name not in ("enter", "unknown"):  # whose button is that of a form
            target += f"?{urlencode({key: value for key, value in again.items() if value})}"
        same = {"entry": visit.entry} if visit.entry else {}
        path = START if name in ("enter", "start", "unknown", "too-many") else f"/oauth/{name}"
        garmin = urlsplit(self.api.endpoints.authorize)
        headers = page_headers(f"{garmin.scheme}://{garmin.netloc}" if posted else "")
        if _STATUS[name] in (429, 503):
            headers["retry-after"] = str(ceil(retry_after_s) or RETRY_AFTER_S)
        return {
            "statusCode": _STATUS[name],
            "headers": headers,
            "body": page(
                name,
                visit.language,
                self.programme,
                button_url=target,
                other_url=f"{self._prefix}{path}?{urlencode({**same, 'lang': other})}",
                posted=posted,
                participant=participant_id,
            ),
        }

    # -- requests

    @property
    def _sign_ins(self) -> SignIns:
        return SignIns(self.state, self.clock)

    @cached_property
    def _prefix(self) -> str:
        """The public URL's own path, "" as a rule."""
        return urlsplit(self.public_url).path

    def _visit(self, event: Event) -> _Visit:
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        http = event.get("requestContext", {}).get("http", {})
        method, path = http.get("method", ""), event.get("rawPath") or http.get("path", "")
        given = form_of(event) if method == "POST" else event.get("rawQueryString") or ""
        query = {name: values[0] for name, values in parse_qs(given).items()}
        browser, code, chosen = _cookie(event.get("cookies") or headers.get("cookie", "").split(";"))
        asked = [one for one in (query.get("lang"), chosen) if one in LANGUAGES]
        language = cast("Language", asked[0]) if asked else preferred_language(headers.get("accept-language", ""))
        visitor = visitor_of(http.get("sourceIp") or "", self.api.client_secret)
        return _Visit(method, path.removeprefix(self._prefix), query, browser, code, language, visitor)


@dataclass(frozen=True)
class _Consent:
    """What Garmin gave for one consent; `permissions` were asked for `at`."""

    user: str = field(repr=False)
    tokens: Tokens
    permissions: tuple[str, ...]
    at: datetime


@dataclass(frozen=True)
class _Visit:
    """What one request brings."""

    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    browser: str = field(repr=False)
    """What the cookie knows the browser by, or nothing."""
    code_of_before: str = field(repr=False)
    """The entry code that the browser came with before it went to Garmin, or nothing."""
    language: Language
    visitor: str = field(repr=False)
    """By what wrong codes are counted."""

    @property
    def entry(self) -> str:
        """The entry code in the address or the form, as it is spelled there."""
        return self.query.get("entry", "").strip()


def _cookie(cookies: Iterable[str]) -> tuple[str, str, str]:
    """Return the browser's id, the entry code it came with, and the language it was shown; "" for what is odd."""
    values = dict(one.strip().partition("=")[::2] for one in cookies)
    browser, code, language = (*values.get(COOKIE, "").split("."), "", "", "")[:3]
    return browser if _BROWSER.fullmatch(browser) else "", read_code(code), language


def start_url(public_url: str, code: str = "") -> str:
    """Return the link of an invitation to what answers at `public_url`."""
    return f"{public_url}{START}" + (f"?{urlencode({'entry': code})}" if code else "")


def _redirect(url: str) -> Answer:
    return _plain(303, {"location": url, "cache-control": "no-store", "referrer-policy": "no-referrer"})


def _plain(status: int, headers: Mapping[str, str]) -> Answer:
    return {"statusCode": status, "headers": dict(headers), "body": ""}


# -- Lambda


def handler(event: Event, _context: object) -> Answer:
    """Answer a request, as the Lambda's entry point. Set up from QOL_* variables; 503 as long as one is missing."""
    try:
        enrolments = _enrolments_of_environment()
    except (EnrolmentSetupError, TokenStoreError) as error:
        log.error("enrolment not set up: %s", error)  # noqa: TRY400 - the message says it all
        return _plain(503, {"retry-after": str(RETRY_AFTER_S)})
    return enrolments.handle(event)


@cache
def _enrolments_of_environment() -> Enrolments:
    """Always: QOL_PUBLIC_URL, QOL_GARMIN_CLIENT_ID, QOL_GARMIN_CLIENT_SECRET or QOL_GARMIN_CLIENT_SECRET_ARN.

    Where everything is kept: QOL_ID_MAP_TABLE and QOL_ENROLMENT_TABLE, with QOL_TOKEN_PREFIX and QOL_TOKEN_KMS_KEY;
    or QOL_HOME, a directory. QOL_GARMIN_URL: a simulated cloud. What the pages say: QOL_PROGRAMME_JA,
    QOL_PROGRAMME_EN, QOL_CONTACT.
    """
    logging.getLogger("qol_ingest").setLevel(logging.INFO)  # Lambda's root logger starts at WARNING
    given = os.environ.get
    needed = ("QOL_PUBLIC_URL", "QOL_GARMIN_CLIENT_ID")
    if missing := [name for name in needed if not given(name)]:
        raise EnrolmentSetupError(f"set {' and '.join(missing)}")
    state, id_map, store = _kept_where()
    endpoints = Endpoints.at(given("QOL_GARMIN_URL", "")) if given("QOL_GARMIN_URL") else Endpoints()
    return Enrolments(
        state,
        GarminApi(endpoints, given("QOL_GARMIN_CLIENT_ID", ""), _client_secret(), store),
        id_map,
        given("QOL_PUBLIC_URL", ""),
        programme_of_environment(),
    )


def _kept_where() -> tuple[EnrolmentState, IdMap, TokenStore]:
    given = os.environ.get
    tables = given("QOL_ENROLMENT_TABLE", ""), given("QOL_ID_MAP_TABLE", "")
    home = Path(given("QOL_HOME", ""))
    if bool(given("QOL_HOME")) == any(tables) or any(tables) != all(tables):
        raise EnrolmentSetupError("set either QOL_ENROLMENT_TABLE and QOL_ID_MAP_TABLE, or QOL_HOME")
    if all(tables):
        from qol_ingest.shared.erasures_s3 import S3Ledger
        from qol_ingest.shared.id_map_dynamo import DynamoIdMap

        tokens = SecretsManagerTokenStore(given("QOL_TOKEN_PREFIX") or "qol/garmin/", given("QOL_TOKEN_KMS_KEY", ""))
        ledger = S3Ledger(given("QOL_BUCKET", ""), given("QOL_LEDGER_KEY", "")) if given("QOL_BUCKET") else None
        return DynamoState(tables[0]), DynamoIdMap(tables[1], ledger=ledger), tokens
    return (
        SqliteState(home / "enrolment.sqlite"),
        SqliteIdMap(home / "user_id_map.sqlite", Ledger(home)),
        FileTokenStore(home / "tokens.sqlite", home / "tokens.key"),
    )


def _client_secret() -> str:
    secret, arn = os.environ.get("QOL_GARMIN_CLIENT_SECRET", ""), os.environ.get("QOL_GARMIN_CLIENT_SECRET_ARN", "")
    if bool(secret) == bool(arn):
        raise EnrolmentSetupError("set either QOL_GARMIN_CLIENT_SECRET or QOL_GARMIN_CLIENT_SECRET_ARN")
    return secret or read_secret(arn)
