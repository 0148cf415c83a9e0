"""Who may read whose data: OAuth 2 with PKCE, as Garmin has it.

Belongs here: the page on which a participant consents, codes, access and refresh tokens. What tokens open is
`cloud.py`. Nothing here is ever logged.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from garmin_sim.web import Answer, Request, as_json

CODE_LIFE_S = 60
REFRESH_LIFE_S = 7_775_998
SCOPE = "PARTNER_WRITE PARTNER_READ CONNECT_READ CONNECT_WRITE"
FORM = "application/x-www-form-urlencoded"
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simulated Garmin Connect</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:30rem;margin:3rem auto;padding:0 1rem}}
select,button{{font:inherit;padding:.5rem 1rem;margin:.25rem .5rem .25rem 0}}</style></head>
<body><h1>Simulated Garmin Connect</h1>
<p><strong>{client}</strong> asks for the data of a participant. Nobody real is behind this page.</p>
<form method="get" action="">{hidden}
<p><label>Consent as <select name="auto">{people}</select></label></p>
<p><button>Allow</button><button name="deny" value="1">Deny</button></p>
</form></body></html>
"""


@dataclass(frozen=True)
class TokenPair:
    """What a consent gives: times are seconds since 1970."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    refresh_expires_at: float


@dataclass(frozen=True)
class _Wish:
    """What an application asks a participant for: the parameters of the consent page."""

    client_id: str = ""
    response_type: str = ""
    code_challenge: str = ""
    code_challenge_method: str = ""
    redirect_uri: str = ""
    state: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> _Wish:
        return cls(**{one.name: query[one.name] for one in fields(cls) if one.name in query})


@dataclass(frozen=True)
class _Code:
    """A consent that waits to be exchanged."""

    participant: int
    challenge: str
    redirect_uri: str
    ends_at: float


@dataclass(frozen=True)
class _Token:
    participant: int
    ends_at: float


class _OAuthError(Exception):
    """A request that the token endpoint does not grant; `error` is OAuth's word for it."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.status = error, status


class Consent:
    """Codes and tokens of all participants; for several threads.

    `labels` gives the participants' names on the page. `redirect_uris` are those that the application has registered;
    with none of them any is good. With `auto` a participant consents at once, without a page. `granted` is called with
    a participant that has consented, before the tokens are given.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        labels: Callable[[], Sequence[str]],
        *,
        redirect_uris: Collection[str],
        auto: int | None,
        clock: Callable[[], float],
        access_life_s: int,
        granted: Callable[[int], None],
    ) -> None:
        self._client = client_id, client_secret
        self._labels, self._redirect_uris, self._auto = labels, frozenset(redirect_uris), auto
        self._clock, self._access_life_s, self._granted = clock, access_life_s, granted
        self._codes: dict[str, _Code] = {}
        self._access: dict[str, _Token] = {}
        self._refresh: dict[str, _Token] = {}
        self._lock = threading.Lock()

    # -- the page

    def page(self, request: Request) -> Answer:
        """Return the page that asks a participant, or where to go once it is decided; 400 for a suspicious request."""
        wish = _Wish.read(request.query)
        if problem := self._problem(wish):
            # Never a redirect: an address that is not the application's must not be sent anyone.
            return Answer(400, f"{problem}\n".encode(), "text/plain; charset=utf-8")
        if "deny" in request.query:
            return _redirect(wish, error="access_denied")
        chosen = request.query.get("auto", "" if self._auto is None else str(self._auto))
        labels = self._labels()
        if not chosen:
            return Answer(200, _page(wish, labels), "text/html; charset=utf-8", {"cache-control": "no-store"})
        if not (chosen.isascii() and chosen.isdecimal() and int(chosen[:9]) < len(labels)):
            return Answer(400, b"there is no such participant\n", "text/plain; charset=utf-8")
        code = secrets.token_urlsafe(24)
        with self._lock:
            ends_at = self._clock() + CODE_LIFE_S
            self._codes[code] = _Code(int(chosen), wish.code_challenge, wish.redirect_uri, ends_at)
        return _redirect(wish, code=code)

    def _problem(self, wish: _Wish) -> str:
        target = urlsplit(wish.redirect_uri)
        proper = target.scheme in ("http", "https") and target.hostname and not target.fragment
        if not secrets.compare_digest(wish.client_id.encode(), self._client[0].encode()):
            return "client_id is not known"
        if not proper or (self._redirect_uris and wish.redirect_uri not in self._redirect_uris):
            return "redirect_uri is not the application's"
        if wish.response_type != "code":
            return "response_type must be code"
        if wish.code_challenge_method != "S256" or not _CHALLENGE.fullmatch(wish.code_challenge):
            return "code_challenge must be given, with code_challenge_method S256"
        return ""

    # -- the token endpoint

    def token(self, request: Request) -> Answer:
        """Tokens for a code or for a refresh token, or OAuth's error."""
        try:
            form = _form(request)
            self._check_client(form, request.headers.get("authorization", ""))
            return _token_answer(self._grant(form), self._clock())
        except _OAuthError as error:
            return as_json({"error": error.error}, error.status)

    def _grant(self, form: Mapping[str, str]) -> TokenPair:
        match form.get("grant_type"):
            case "authorization_code":
                return self.issue(self._exchange(form))
            case "refresh_token":
                return self._rotate(form.get("refresh_token", ""))
            case None:
                raise _OAuthError("invalid_request")
            case _:
                raise _OAuthError("unsupported_grant_type")

    def _check_client(self, form: Mapping[str, str], header: str) -> None:
        given = form.get("client_id", ""), form.get("client_secret", "")
        if header:
            given = _basic(header)
        matches = [secrets.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._client, strict=True)]
        if not all(matches):
            raise _OAuthError("invalid_client", 401)

    def _exchange(self, form: Mapping[str, str]) -> int:
        """Use a code up, whatever comes of it, and return its participant."""
        if not all(form.get(name) for name in ("code", "code_verifier", "redirect_uri")):
            raise _OAuthError("invalid_request")
        with self._lock:
            code = self._codes.pop(form["code"], None)
        verifier = form["code_verifier"]
        good = (
            code is not None
            and self._clock() < code.ends_at
            and form["redirect_uri"] == code.redirect_uri
            and _VERIFIER.fullmatch(verifier)
            and secrets.compare_digest(challenge_of(verifier), code.challenge)
        )
        if code is None or not good:
            raise _OAuthError("invalid_grant")
        return code.participant

    def _rotate(self, refresh_token: str) -> TokenPair:
        """Use a refresh token up, and return new tokens."""
        if not refresh_token:
            raise _OAuthError("invalid_request")
        with self._lock:  # as one step: a participant who withdraws meanwhile is left with no token
            token = self._refresh.pop(refresh_token, None)
            if token is None or self._clock() >= token.ends_at:
                raise _OAuthError("invalid_grant")
            return self._new_pair(token.participant)

    # -- tokens

    def issue(self, participant: int) -> TokenPair:
        """Issue the tokens of a new consent. Those given before live on."""
        self._granted(participant)
        with self._lock:
            return self._new_pair(participant)

    def _new_pair(self, participant: int) -> TokenPair:
        access, refresh, now = secrets.token_urlsafe(64), secrets.token_urlsafe(48), self._clock()
        pair = TokenPair(access, refresh, now + self._access_life_s, now + REFRESH_LIFE_S)
        self._access[access] = _Token(participant, pair.expires_at)
        self._refresh[refresh] = _Token(participant, pair.refresh_expires_at)
        return pair

    def holder(self, request: Request) -> int | None:
        """Return the participant whose access token a request shows; None without one that is alive."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        with self._lock:
            token = self._access.get(given.strip()) if scheme.lower() == "bearer" else None
        return token.participant if token and self._clock() < token.ends_at else None

    def revoke(self, participant: int) -> None:
        """End all that a participant has ever granted."""
        with self._lock:
            self._access = {key: one for key, one in self._access.items() if one.participant != participant}
            self._refresh = {key: one for key, one in self._refresh.items() if one.participant != participant}
            self._codes = {key: one for key, one in self._codes.items() if one.participant != participant}


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _token_answer(pair: TokenPair, now: float) -> Answer:
    answer = as_json(
        {
            "access_token": pair.access_token,
            "expires_in": round(pair.expires_at - now),
            "token_type": "bearer",
            "refresh_token": pair.refresh_token,
            "scope": SCOPE,
            "jti": str(uuid.uuid4()),
            "refresh_token_expires_in": round(pair.refresh_expires_at - now),
        }
    )
    return Answer(200, answer.body, headers={"cache-control": "no-store"})


def _redirect(wish: _Wish, **given: str) -> Answer:
    if wish.state:
        given["state"] = wish.state
    joint = "&" if urlsplit(wish.redirect_uri).query else "?"
    return Answer(302, headers={"location": f"{wish.redirect_uri}{joint}{urlencode(given)}"})


def _page(wish: _Wish, labels: Sequence[str]) -> bytes:
    hidden = "".join(
        f'<input type="hidden" name="{one.name}" value="{html.escape(getattr(wish, one.name))}">'
        for one in fields(wish)
    )
    people = "".join(f'<option value="{i}">{html.escape(label)}</option>' for i, label in enumerate(labels))
    return _PAGE.format(client=html.escape(wish.client_id), hidden=hidden, people=people).encode()


def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise _OAuthError("invalid_request")
    pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    if len(dict(pairs)) < len(pairs):
        raise _OAuthError("invalid_request")  # as OAuth has it: no parameter twice
    return dict(pairs)


def _basic(header: str) -> tuple[str, str]:
    scheme, _, given = header.partition(" ")
    try:
        user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        raise _OAuthError("invalid_client", 401) from None
    if scheme.lower() != "basic":
        raise _OAuthError("invalid_client", 401)
    return unquote(user), unquote(password)
