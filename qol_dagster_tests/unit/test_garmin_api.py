"""Garmin's cloud as the project asks it, against a real HTTP server that answers whatever a test wants."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from qol_ingest.garmin import api as garmin_api
from qol_ingest.garmin.api import BackfillAnswer, Endpoints, GarminApi, GarminApiError
from qol_ingest.garmin.tokens import ConsentNeededError, RefreshRefusedError, Tokens
from qol_ingest.garmin.tokens_file import FileTokenStore

USER = "4aacafe82427c251df9c9592d0c06768"
NOW = 1_800_000_000.0
DAY_S = 86_400.0
KEPT = Tokens("access-1-secret", "refresh-1-secret", NOW + DAY_S, NOW + 90 * DAY_S)
GIVEN = {"access_token": "access-2-secret", "refresh_token": "refresh-2-secret", "expires_in": 86_400}
PRIVATE = ("-secret", USER, "a-code", "a-verifier", "token=", "BODY")
"""What no message may hold."""


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True)
class Reply:
    """An answer: with `cut` so many bytes of the content are sent and then the line is hung up."""

    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    chunked: bool = False

    @classmethod
    def json(cls, content: object, status: int = 200, **headers: str) -> Reply:
        return cls(status, json.dumps(content).encode(), headers)


class Garmin(ThreadingHTTPServer):
    """Answers with `reply`, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Request] = []
        self.reply: Callable[[Request], Reply] = lambda _request: Reply()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, *replies: Reply) -> None:
        """Give these in turn, the last one for ever."""
        waiting = list(replies)
        self.reply = lambda _request: waiting.pop(0) if len(waiting) > 1 else waiting[0]


class _Handler(BaseHTTPRequestHandler):
    server: Garmin
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.server.asked.append(request)
        reply = self.server.reply(request)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("transfer-encoding" if reply.chunked else "content-length", self._length(reply))
        self.end_headers()
        sent = reply.content[: reply.cut]
        self.wfile.write(b"%X\r\n%b\r\n" % (len(sent), sent) if reply.chunked and sent else sent)
        if reply.chunked and reply.cut is None:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    do_GET = do_DELETE = do_POST  # noqa: N815

    def _length(self, reply: Reply) -> str:
        return "chunked" if reply.chunked else str(len(reply.content))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def garmin() -> Iterator[Garmin]:
    server = Garmin()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api(garmin: Garmin, tmp_path: Path) -> GarminApi:
    """Knows one user, with a token that is good."""
    store = FileTokenStore(tmp_path / "tokens.sqlite", tmp_path / "tokens.key")
    store.put(USER, KEPT)
    return GarminApi(
        Endpoints.at(garmin.url),
        "client-7",
        "client-secret",
        store,
        name_of=lambda user: "P0001",
        timeout_s=2,
        clock=lambda: NOW,
    )


@contextmanager
def fails(status: int | None, match: str = "Garmin") -> Iterator[pytest.ExceptionInfo[GarminApiError]]:
    """A GarminApiError with this status, whose text and causes hold nothing private."""
    with pytest.raises(GarminApiError, match=match) as caught:
        yield caught
    assert caught.value.status == status
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not any(private in str(caught.value) for private in PRIVATE)


def callback(api: GarminApi, rest: str = "activityFile?id=1&token=QUJD-secret") -> str:
    return f"{api.endpoints.api}/wellness-api/rest/{rest}"


# -- where the cloud is


def test_garmins_own_addresses_are_the_default() -> None:
    ends = Endpoints()
    assert (ends.api, ends.authorize) == ("https://apis.garmin.com", "https://connect.garmin.com/oauth2Confirm")
    assert ends.token == "https://diauth.garmin.com/di-oauth2-service/oauth/token"


def test_a_simulated_cloud_has_everything_at_one_address() -> None:
    ends = Endpoints.at("http://127.0.0.1:99/")
    assert (ends.api, ends.authorize) == ("http://127.0.0.1:99", "http://127.0.0.1:99/oauth2Confirm")
    assert ends.token == "http://127.0.0.1:99/di-oauth2-service/oauth/token"


REST = "https://apis.garmin.com/wellness-api/rest/"


@pytest.mark.parametrize(
    "rest",
    [
        "activityFile?id=1234&token=QUJD",
        "dailies?uploadStartTimeInSeconds=1&uploadEndTimeInSeconds=2&token=a.b-c_d~e%3D%3D",
        "epochs",
        "userMetrics?x=1",
        "user-file/1",
        "backfilled/1",
        "a/b/c-d_e/1?redirect=https://example.com/@",
    ],
)
def test_what_garmin_calls_a_callback_may_be_fetched(rest: str) -> None:
    assert Endpoints().is_callback(REST + rest)


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        7,
        b"https://apis.garmin.com/wellness-api/rest/dailies",
        "https://apis.garmin.com",
        "https://apis.garmin.com/wellness-api/rest",
        REST,
        REST + "?a=1",
        "http://apis.garmin.com/wellness-api/rest/dailies",
        "HTTPS://apis.garmin.com/wellness-api/rest/dailies",
        "//apis.garmin.com/wellness-api/rest/dailies",
        "file:///wellness-api/rest/dailies",
        "https:/apis.garmin.com/wellness-api/rest/dailies",
        "https:\\\\apis.garmin.com\\wellness-api\\rest\\dailies",
        "https://apis.garmin.com:443/wellness-api/rest/dailies",
        "https://apis.garmin.com:8443/wellness-api/rest/dailies",
        "https://user@apis.garmin.com/wellness-api/rest/dailies",
        "https://apis.garmin.com@evil.example/wellness-api/rest/dailies",
        "https://apis.garmin.com:x@evil.example/wellness-api/rest/dailies",
        "https://apis.garmin.com\\@evil.example/wellness-api/rest/dailies",
        "https://apis.garmin.com#@evil.example/wellness-api/rest/dailies",
        "https://apis.garmin.com?@evil.example/wellness-api/rest/dailies",
        "https://apis.garmin.com.evil.example/wellness-api/rest/dailies",
        "https://apis.garmin.com./wellness-api/rest/dailies",
        "https://evil-apis.garmin.com/wellness-api/rest/dailies",
        "https://x.apis.garmin.com/wellness-api/rest/dailies",
        "https://evil.example/https://apis.garmin.com/wellness-api/rest/dailies",
        "https://apis-garmin.com/wellness-api/rest/dailies",
        "https://apisxgarmin.com/wellness-api/rest/dailies",
        "https://apis\u3002garmin\uff0ecom/wellness-api/rest/dailies",
        "https://apis.garm\u0131n.com/wellness-api/rest/dailies",
        "https://\uff41pis.garmin.com/wellness-api/rest/dailies",
        "https://apis.garmin.com/wellness-api/rest//dailies",
        "https://apis.garmin.com//wellness-api/rest/dailies",
        REST + "../rest/dailies",
        REST + "./dailies",
        REST + "a/../../oauth",
        REST + "%2e%2e/dailies",
        REST + "..%2fdailies",
        REST + "a%2fb",
        REST + "a\\b",
        REST + "a;b",
        REST + "dailies/",
        REST + "dailies#x",
        REST + "dailies?a=1#x",
        REST + "dailies ",
        " " + REST + "dailies",
        REST + "dailies\n",
        REST + "dailies?a=b\n",
        REST + "dailies?a=b\r\nhost: evil.example",
        REST + "dailies?a=\t",
        REST + "dailies?a=b c",
        REST + "dailies?a=\u00e9",
        REST + "dailies?a=\ud83d",
        REST + "dailies\0",
        REST + "\u0664",
        REST + "user/registration",
        REST + "user/id?x=1",
        REST + "user",
        REST + "USER/registration",
        REST + "backfill/dailies?summaryStartTimeInSeconds=0",
        REST + "backfill?x",
        REST + "Backfill/dailies",
    ],
)
def test_nothing_else_may_be_fetched(api: GarminApi, garmin: Garmin, url: Any) -> None:
    assert not Endpoints().is_callback(url)
    simulated = url.replace("https://apis.garmin.com", garmin.url) if isinstance(url, str) else url
    if not isinstance(url, str) or "https://apis.garmin.com" in url:
        with fails(400, "not Garmin's; it was not fetched"):
            list(api.fetch(simulated, USER))
    assert garmin.asked == []


# -- OAuth


def test_a_code_is_exchanged_for_tokens(api: GarminApi, garmin: Garmin) -> None:
    garmin.answer(Reply.json(GIVEN | {"refresh_token_expires_in": 7_775_999, "scope": "X", "token_type": "bearer"}))
    got = api.exchange_code("a-code", "a-verifier", "https://x.example/oauth/callback")
    assert got == Tokens("access-2-secret", "refresh-2-secret", NOW + DAY_S, NOW + 7_775_999)
    (asked,) = garmin.asked
    assert (asked.method, asked.target) == ("POST", "/di-oauth2-service/oauth/token")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.form == {
        "grant_type": "authorization_code",
        "code": "a-code",
        "code_verifier": "a-verifier",
        "redirect_uri": "https://x.example/oauth/callback",
        "client_id": "client-7",
        "client_secret": "client-secret",
    }


def test_a_refresh_token_lives_ninety_days_if_garmin_does_not_say(api: GarminApi, garmin: Garmin) -> None:
    garmin.answer(Reply.json(GIVEN))
    assert api.refresh("refresh-1-secret").refresh_expires_at == NOW + 90 * DAY_S
    assert garmin.asked[0].form == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh-1-secret",
        "client_id": "client-7",
        "client_secret": "client-secret",
    }


@pytest.mark.parametrize("status", [400, 401])
def test_a_dead_refresh_token_is_refused(api: GarminApi, garmin: Garmin, status: int) -> None:
    garmin.answer(Reply.json({"error": "invalid_grant", "error_description": "Invalid: refresh-1-secret"}, status))
    with pytest.raises(RefreshRefusedError, match="^Garmin does not take the refresh token any more$"):
        api.refresh("refresh-1-secret")


@pytest.mark.parametrize(
    "reply",
    [
        Reply.json({"error": "invalid_client"}, 401),
        Reply.json({"error": "invalid_request"}, 400),
        Reply.json({"error": ["invalid_grant"]}, 400),
        Reply.json(["invalid_grant"], 400),
        Reply(400, b"<html>BODY blocked</html>"),
        Reply(401, b"[" * 50_000),
        Reply.json({"error": "invalid_grant"}, 403),
        Reply.json({"error": "invalid_grant"}, 500),
    ],
    ids=["client", "request", "list", "no object", "html", "deep", "403", "500"],
)
def test_anything_else_never_looks_like_a_participant_who_withdrew(
    api: GarminApi, garmin: Garmin, reply: Reply
) -> None:
    garmin.answer(reply)
    with fails(reply.status, f"^Garmin answered {reply.status} to oauth/token$"):
        api.refresh("refresh-1-secret")


def test_a_code_that_is_not_taken_is_an_error(api: GarminApi, garmin: Garmin) -> None:
    garmin.answer(Reply.json({"error": "invalid_grant", "error_description": "a-code"}, 400))
    with fails(400, "^Garmin answered 400 to oauth/token$"):
        api.exchange_code("a-code", "a-verifier", "https://x.example")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"BODY",
        b"[]",
        b"{}",
        b"[" * 50_000,
        json.dumps(GIVEN | {"access_token": ""}).encode(),
        json.dumps(GIVEN | {"access_token": 7}).encode(),
        json.dumps(GIVEN | {"access_token": "x\r\nhost: evil"}).encode(),
        json.dumps(GIVEN | {"refresh_token": None}).encode(),
        json.dumps(GIVEN | {"expires_in": "soon"}).encode(),
        json.dumps(GIVEN | {"expires_in": None}).encode(),
    ],
)
def test_an_answer_without_proper_tokens_is_an_error(api: GarminApi, garmin: Garmin, content: bytes) -> None:
    garmin.answer(Reply(200, content))
    with fails(200, "^Garmin answered oauth/token without tokens$"):
        api.refresh("refresh-1-secret")


# -- a user's token


def test_a_request_carries_the_users_token(api: GarminApi, garmin: Garmin) -> None:
    garmin.answer(Reply.json({"permissions": ["HEALTH_EXPORT", "ACTIVITY_EXPORT"]}))
    assert api.permissions(USER) == ("HEALTH_EXPORT", "ACTIVITY_EXPORT")
    (asked,) = garmin.asked
    assert (asked.method, asked.target, asked.token) == (
        "GET",
        "/wellness-api/rest/user/permissions",
        "access-1-secret",
    )
    garmin.answer(Reply.json(["HEALTH_EXPORT"]))
    assert api.permissions(USER) == ("HEALTH_EXPORT",)
    garmin.answer(Reply.json({"permissions": {"HEALTH_EXPORT": True, "ACTIVITY_EXPORT": False}}))
    assert api.permissions(USER) == ("HEALTH_EXPORT",)
    garmin.answer(Reply(204))
    api.deregister(USER)
    assert (garmin.asked[-1].method, garmin.asked[-1].target) == ("DELETE", "/wellness-api/rest/user/registration")


@pytest.mark.parametrize("answer", [None, "HEALTH_EXPORT", {}, {"permissions": None}, {"permissions": "none"}])
def test_an_answer_without_a_list_is_an_error_and_takes_no_permission_away(
    api: GarminApi, garmin: Garmin, answer: object
) -> None:
    garmin.answer(Reply.json(answer))
    with fails(200, "^Garmin answered user/permissions without a list$"):
        api.permissions(USER)


def token_matters(request: Request) -> Reply:
    """Takes only the second token, and gives it for the first refresh token."""
    if request.target.endswith("/oauth/token"):
        good = request.form["refresh_token"] == "refresh-1-secret"
        return Reply.json(GIVEN) if good else Reply.json({"error": "invalid_grant"}, 400)
    return Reply.json({"userId": USER, "permissions": []}, 200 if request.token == "access-2-secret" else 401)


def test_a_token_that_is_not_taken_is_refreshed_once_and_the_request_made_again(api: GarminApi, garmin: Garmin) -> None:
    garmin.reply = token_matters
    assert api.permissions(USER) == ()
    assert [asked.token for asked in garmin.asked] == ["access-1-secret", "", "access-2-secret"]
    assert api.permissions(USER) == ()
    assert len(garmin.asked) == 4
    assert api.store.get(USER) == Tokens("access-2-secret", "refresh-2-secret", NOW + DAY_S, NOW + 90 * DAY_S)


def test_a_new_token_that_is_not_taken_either_is_an_error(api: GarminApi, garmin: Garmin) -> None:
    garmin.reply = lambda asked: Reply.json(GIVEN) if asked.method == "POST" else Reply(401, b"BODY")
    with fails(401, "^Garmin answered 401 to user/permissions$"):
        api.permissions(USER)
    assert [asked.method for asked in garmin.asked] == ["GET", "POST", "GET"]


def test_a_refused_refresh_names_the_participant(api: GarminApi, garmin: Garmin) -> None:
    garmin.answer(Reply(401), Reply.json({"error": "invalid_grant"}, 400))
    with pytest.raises(ConsentNeededError, match="^P0001 has to connect to Garmin again"):
        api.permissions(USER)
    with pytest.raises(ConsentNeededError, match="^P0001 has to connect to Garmin again"):
        api.permissions(USER)
    assert len(garmin.asked) == 2


def test_a_redirect_is_not_followed(api: GarminApi, garmin: Garmin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.05)
        for status in (301, 302, 303, 307, 308):
            garmin.answer(Reply(status, headers={"location": f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"}))
            with fails(status):
                api.user_id("access-1-secret")
            with fails(status):
                list(api.fetch(callback(api), USER))
        with pytest.raises(TimeoutError):
            elsewhere.accept()
    assert len(garmin.asked) == 10


def test_no_proxy_of_the_environment_is_used(api: GarminApi, garmin: Garmin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    garmin.answer(Reply.json({"userId": USER}))
    assert api.user_id("access-1-secret") == USER


# -- who a user is


def test_the_user_id_belongs_to_the_token(api: GarminApi, garmin: Garmin) -> None:
    garmin.answer(Reply.json({"userId": f" {USER}\n"}))
    assert api.user_id("access-9-secret") == USER
    assert garmin.asked[0].token == "access-9-secret"


@pytest.mark.parametrize("content", [{}, {"userId": ""}, {"userId": "  "}, {"userId": 7}, [USER], None])
def test_a_user_id_that_is_none_is_an_error(api: GarminApi, garmin: Garmin, content: object) -> None:
    garmin.answer(Reply.json(content))
    with fails(200, "^Garmin answered user/id without an id$"):
        api.user_id("access-1-secret")


@pytest.mark.parametrize(
    ("replies", "registered"),
    [
        ([Reply.json({"userId": USER})], True),
        ([Reply.json({"userId": "somebody else"})], None),
        ([Reply(200, b"<html>BODY</html>")], None),
        ([Reply(403)], None),
        ([Reply(404)], None),
        ([Reply(410)], False),
        ([Reply(401), Reply.json(GIVEN), Reply(401)], None),
        ([Reply(401), Reply.json({"error": "invalid_grant"}, 400)], False),
        ([Reply(401), Reply.json({"error": "invalid_token"}, 401)], None),
        ([Reply(401), Reply.json({"error": "invalid_client"}, 401)], None),
        ([Reply(500)], None),
        ([Reply(429)], None),
        ([Reply(200, b'{"userId"', cut=3)], None),
    ],
)
def test_whether_a_user_is_registered_is_asked_with_the_users_token(
    api: GarminApi, garmin: Garmin, replies: list[Reply], registered: bool | None
) -> None:
    garmin.answer(*replies)
    assert api.is_registered(USER) is registered
    assert garmin.asked[0].target == "/wellness-api/rest/user/id"


def test_without_tokens_it_cannot_be_told_whether_a_user_is_registered(api: GarminApi, garmin: Garmin) -> None:
    assert api.is_registered("somebody") is None
    assert garmin.asked == []


# -- old data


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(202, "accepted"), (200, "accepted"), (409, "already"), (403, "forbidden"), (412, "off")],
)
def test_what_became_of_a_request_for_old_data(api: GarminApi, garmin: Garmin, status: int, outcome: Any) -> None:
    garmin.answer(Reply(status, b"BODY"))
    assert api.backfill(USER, "pulseOx", 1_790_000_000, 1_790_086_400) == BackfillAnswer(outcome)
    query = "summaryStartTimeInSeconds=1790000000&summaryEndTimeInSeconds=1790086400"
    assert garmin.asked[0].target == f"/wellness-api/rest/backfill/pulseOx?{query}"


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ({}, 60.0),
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:05:00 GMT"}, 300.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:05:00"}, 300.0),
        ({"retry-after": "Fri, 15 Jan 2027 17:05:00 +0900"}, 300.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 60.0),
        ({"retry-after": "1.5"}, 60.0),
        ({"retry-after": "soon"}, 60.0),
        ({"retry-after": "Fri, 99 Jan 2027 08:05:00 GMT"}, 60.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:05:00 +99999999999999999999"}, 60.0),
    ],
)
def test_too_many_requests_say_how_long_to_wait(
    api: GarminApi, garmin: Garmin, header: dict[str, str], wait_s: float
) -> None:
    garmin.answer(Reply(429, headers=header))
    assert api.backfill(USER, "dailies", 0, 1) == BackfillAnswer("wait", wait_s)
    with pytest.raises(GarminApiError) as caught:
        api.user_id("access-1-secret")
    assert caught.value.retry_after_s == (wait_s if header and wait_s != 60.0 else None)


@pytest.mark.parametrize("status", [204, 302, 400, 404, 500])
def test_any_other_answer_to_a_request_for_old_data_is_an_error(api: GarminApi, garmin: Garmin, status: int) -> None:
    garmin.answer(Reply(status))
    with fails(status, f"^Garmin answered {status} to backfill/dailies$"):
        api.backfill(USER, "dailies", 0, 1)


# -- downloads


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 200_000])
def test_a_download_gives_every_byte_in_pieces(api: GarminApi, garmin: Garmin, size: int, chunked: bool) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    garmin.answer(Reply(200, content, chunked=chunked))
    pieces = list(api.fetch(callback(api), USER))
    assert b"".join(pieces) == content
    assert all(0 < len(piece) <= 65_536 for piece in pieces)
    (asked,) = garmin.asked
    assert (asked.target, asked.token) == (
        "/wellness-api/rest/activityFile?id=1&token=QUJD-secret",
        "access-1-secret",
    )
    assert asked.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cut", [0, 1, 100_000])
def test_a_download_that_breaks_off_raises(api: GarminApi, garmin: Garmin, cut: int, chunked: bool) -> None:
    garmin.answer(Reply(200, b"BODY" * 50_000, cut=cut, chunked=chunked))
    got = []
    with fails(None, "a callback"):
        got.extend(api.fetch(callback(api), USER))
    assert api_may_try_again(api, garmin)


def api_may_try_again(api: GarminApi, garmin: Garmin) -> bool:
    garmin.answer(Reply(200, b"x"))
    return list(api.fetch(callback(api), USER)) == [b"x"]


def test_a_download_with_an_old_token_is_made_with_a_new_one(api: GarminApi, garmin: Garmin) -> None:
    garmin.reply = token_matters
    assert USER.encode() in b"".join(api.fetch(callback(api), USER))
    assert len(garmin.asked) == 3


def test_a_download_that_takes_for_ever_is_given_up(
    api: GarminApi, garmin: Garmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garmin_api, "DOWNLOAD_S", -1.0)
    garmin.answer(Reply(200, b"BODY"))
    with fails(None, "took too long"):
        list(api.fetch(callback(api), USER))


@pytest.mark.parametrize(
    ("status", "may_pass"),
    [(408, True), (410, False), (429, True), (500, True), (503, True), (400, False), (404, False)],
)
def test_an_error_tells_whether_trying_again_may_help(
    api: GarminApi, garmin: Garmin, status: int, may_pass: bool
) -> None:
    garmin.answer(Reply(status, b"BODY", {"retry-after": "7"}))
    with pytest.raises(GarminApiError, match=f"^Garmin answered {status} to a callback$") as caught:
        list(api.fetch(callback(api), USER))
    assert (caught.value.may_pass, caught.value.retry_after_s) == (may_pass, 7.0)


# -- a Garmin that does not answer


def test_a_garmin_that_hangs_is_given_up_after_the_timeout(garmin: Garmin, api: GarminApi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asking = GarminApi(
            Endpoints.at(f"http://127.0.0.1:{silent.getsockname()[1]}"), "c", "s", api.store, timeout_s=0.1
        )
        with fails(None, "^Garmin could not be asked for user/id: TimeoutError$"):
            asking.user_id("access-1-secret")


def test_a_garmin_that_is_not_there_is_an_error_that_may_pass(api: GarminApi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(GarminApiError, match="^Garmin could not be asked for oauth/token: ConnectionRefused") as caught:
        GarminApi(Endpoints.at(url), "c", "s", api.store).refresh("refresh-1-secret")
    assert caught.value.may_pass


@pytest.mark.parametrize("chunked", [False, True])
def test_tokens_whose_answer_breaks_off_are_not_taken_and_asking_again_may_help(
    api: GarminApi, garmin: Garmin, chunked: bool
) -> None:
    whole = Reply.json(GIVEN)
    garmin.answer(replace(whole, cut=len(whole.content) - 1, chunked=chunked), replace(whole, cut=0, chunked=chunked))
    for _ in range(2):
        with fails(None, "^Garmin could not be asked for oauth/token: IncompleteRead$") as caught:
            api.refresh("refresh-1-secret")
        assert caught.value.may_pass


def test_an_answer_that_is_too_large_or_no_http_is_an_error(api: GarminApi, garmin: Garmin) -> None:
    garmin.answer(Reply(200, b" " * (1024 * 1024 + 1)))
    with fails(200, "^Garmin answered user/id with too much$"):
        api.user_id("access-1-secret")
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def talk() -> None:
            client, _ = odd.accept()
            with client:
                client.recv(65_536)
                client.sendall(b"BODY -secret no http\r\n\r\n")

        talking = threading.Thread(target=talk)
        talking.start()
        asking = GarminApi(Endpoints.at(f"http://127.0.0.1:{odd.getsockname()[1]}"), "c", "s", api.store, timeout_s=2)
        with fails(None, "^Garmin could not be asked for user/id: BadStatusLine$"):
            asking.user_id("access-1-secret")
        talking.join()


def test_real_garmin_is_asked_over_tls_that_is_checked(api: GarminApi, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[http.client.HTTPSConnection] = []

    def refuse(connection: http.client.HTTPSConnection) -> None:
        made.append(connection)
        raise ConnectionRefusedError

    monkeypatch.setattr(http.client.HTTPSConnection, "connect", refuse)
    with fails(None, "ConnectionRefusedError"):
        GarminApi(Endpoints(), "c", "s", api.store).user_id("access-1-secret")
    context = made[0]._context  # type: ignore[attr-defined]
    assert (made[0].host, made[0].port) == ("apis.garmin.com", 443)
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_secrets_are_neither_shown_nor_logged(api: GarminApi, garmin: Garmin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    garmin.reply = token_matters
    api.permissions(USER)
    assert caplog.text == ""
    assert not any(private in repr(api) for private in ("-secret", USER, "client-7"))
