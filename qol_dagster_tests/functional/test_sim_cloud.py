"""The simulated Garmin cloud, asked by a plain HTTP client: each rule of Garmin's that a receiver meets."""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import http.server
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from typer.testing import CliRunner

from garmin_sim import Faults, GarminCloud, PushError, Simulation, TokenPair
from garmin_sim.callbacks import fit_crc
from garmin_sim.cli import app

SUNDAY = date(2026, 3, 1)
SIM = Simulation(4, 2, SUNDAY, seed=4)
END_S = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
DAY_S = 86_400
REDIRECT = "http://127.0.0.1:9/oauth/callback"
VERIFIER = "v" * 43 + "-._~0"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
TOKEN_PATH = "/di-oauth2-service/oauth/token"
REST = "/wellness-api/rest/"
SECRET_PATH = "/very-secret-path"


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Inbox:
    """A webhook: what it took, and how it answers the n-th request."""

    answer: Callable[[int], int] = lambda _number: 200
    taken: list[bytes] = field(default_factory=list)
    client_ids: set[str | None] = field(default_factory=set)
    requests: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def summaries(self, kind: str) -> list[dict[str, Any]]:
        return [one for body in self.taken for one in json.loads(body).get(kind, [])]


@contextmanager
def inbox(answer: Callable[[int], int] = lambda _number: 200) -> Iterator[Inbox]:
    box = Inbox(answer)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with box.lock:
                box.requests += 1
                box.client_ids.add(self.headers["garmin-client-id"])
                status = box.answer(box.requests)
                if status == 200:
                    box.taken.append(body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        box.url = f"http://127.0.0.1:{server.server_port}{SECRET_PATH}"
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def box() -> Iterator[Inbox]:
    with inbox() as one:
        yield one


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cloud(box: Inbox, clock: Clock) -> Iterator[GarminCloud]:
    with GarminCloud(SIM, webhook_url=box.url, clock=clock) as one:
        yield one


def ask(cloud: GarminCloud, target: str, method: str = "GET", body: str | None = None, **headers: str) -> Reply:
    """One request on a connection of its own."""
    parts = urlsplit(cloud.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): text for name, text in headers.items()})
        with connection.getresponse() as response:
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def rest(cloud: GarminCloud, path: str, token: str, method: str = "GET") -> Reply:
    return ask(cloud, REST + path, method, authorization=f"Bearer {token}")


def consent_query(**changes: str) -> str:
    query = {
        "response_type": "code",
        "client_id": "sim-client",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "redirect_uri": REDIRECT,
        "state": "some-state",
    }
    return "/oauth2Confirm?" + urlencode({k: v for k, v in (query | changes).items() if v})


def landed(reply: Reply) -> dict[str, str]:
    """The parameters with which a browser comes back to the application."""
    assert reply.status == 302
    place, _, query = reply.headers["location"].partition("?")
    assert place == REDIRECT
    return {name: values[0] for name, values in parse_qs(query).items()}


def token_request(cloud: GarminCloud, **changes: str) -> Reply:
    form = {"client_id": "sim-client", "client_secret": "sim-secret"} | changes
    body = urlencode({name: text for name, text in form.items() if text})
    return ask(cloud, TOKEN_PATH, "POST", body, content_type="application/x-www-form-urlencoded")


def exchange(cloud: GarminCloud, code: str, /, **changes: str) -> Reply:
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER, "redirect_uri": REDIRECT}
    return token_request(cloud, **(form | changes))


def new_code(cloud: GarminCloud, participant: int = 1) -> str:
    return landed(ask(cloud, consent_query(auto=str(participant))))["code"]


def refresh(cloud: GarminCloud, token: str) -> Reply:
    return token_request(cloud, grant_type="refresh_token", refresh_token=token)


def backfill(cloud: GarminCloud, token: str, path: str, begin_s: object, end_s: object) -> Reply:
    query = urlencode({"summaryStartTimeInSeconds": begin_s, "summaryEndTimeInSeconds": end_s})
    return rest(cloud, f"backfill/{path}?{query}", token)


# -- consent


def test_a_participant_consents_on_a_page_and_the_code_becomes_tokens(cloud: GarminCloud) -> None:
    page = ask(cloud, consent_query())
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    text = page.body.decode()
    people = re.findall(r'<option value="(\d+)">([^<]+)</option>', text)
    assert people == [("0", "0: steady"), ("1", "1: traveller"), ("2", "2: day only"), ("3", "3: late syncer")]
    assert "Allow" in text
    assert "Deny" in text
    hidden = {name: html.unescape(v) for name, v in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text)}
    back = landed(ask(cloud, "/oauth2Confirm?" + urlencode(hidden | {"auto": "2"})))
    assert back["state"] == "some-state"
    tokens = exchange(cloud, back["code"])
    assert rest(cloud, "user/id", tokens.json["access_token"]).json == {"userId": SIM.user_ids()[2]}


def test_a_participant_who_denies_comes_back_without_a_code(cloud: GarminCloud) -> None:
    back = landed(ask(cloud, consent_query(auto="1", deny="1")))
    assert back == {"error": "access_denied", "state": "some-state"}


def test_a_cloud_may_consent_by_itself_and_a_request_may_name_another_participant() -> None:
    with GarminCloud(SIM, auto_consent=3) as cloud:
        for query, participant in ((consent_query(), 3), (consent_query(auto="0"), 0)):
            tokens = exchange(cloud, landed(ask(cloud, query))["code"]).json
            assert rest(cloud, "user/id", tokens["access_token"]).json == {"userId": SIM.user_ids()[participant]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "someone-else"},
        {"client_id": ""},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": ""},
        {"redirect_uri": REDIRECT + "#there"},
        {"response_type": "token"},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": ""},
        {"code_challenge": "short"},
        {"auto": "4"},
        {"auto": "-1"},
        {"auto": "one"},
    ],
)
def test_a_consent_request_that_is_not_right_is_answered_400_and_nobody_is_sent_anywhere(
    cloud: GarminCloud, wrong: dict[str, str]
) -> None:
    reply = ask(cloud, consent_query(**({"auto": "1"} | wrong)))
    assert reply.status == 400
    assert "location" not in reply.headers


def test_only_registered_addresses_are_returned_to() -> None:
    with GarminCloud(SIM, redirect_uris=[REDIRECT]) as cloud:
        assert ask(cloud, consent_query(auto="1")).status == 302
        assert ask(cloud, consent_query(auto="1", redirect_uri=REDIRECT + "/elsewhere")).status == 400


def test_what_a_request_says_is_escaped_on_the_page(cloud: GarminCloud) -> None:
    page = ask(cloud, consent_query(state='"><script>alert(1)</script>'))
    assert page.status == 200
    assert b"<script" not in page.body


def test_an_address_with_a_query_keeps_it(cloud: GarminCloud) -> None:
    reply = ask(cloud, consent_query(auto="1", redirect_uri=REDIRECT + "?lang=ja", state=""))
    assert re.fullmatch(re.escape(REDIRECT) + r"\?lang=ja&code=[\w-]+", reply.headers["location"])


# -- tokens


def test_tokens_come_in_garmins_form(cloud: GarminCloud) -> None:
    reply = exchange(cloud, new_code(cloud))
    assert reply.status == 200
    answer = reply.json
    assert (answer["expires_in"], answer["refresh_token_expires_in"]) == (86_400, 7_775_998)
    assert answer["token_type"] == "bearer"
    assert {"access_token", "refresh_token", "scope", "jti"} < answer.keys()
    assert reply.headers["cache-control"] == "no-store"


def test_a_code_is_good_once(cloud: GarminCloud) -> None:
    code = new_code(cloud)
    assert exchange(cloud, code).status == 200
    again = exchange(cloud, code)
    assert (again.status, again.json) == (400, {"error": "invalid_grant"})


def test_a_code_lives_for_a_minute(cloud: GarminCloud, clock: Clock) -> None:
    early, late = new_code(cloud), new_code(cloud)
    clock.now += 59
    assert exchange(cloud, early).status == 200
    clock.now += 1
    assert exchange(cloud, late).json == {"error": "invalid_grant"}


@pytest.mark.parametrize("wrong", [{"code_verifier": "w" * 43}, {"redirect_uri": REDIRECT + "/2"}, {"code": "made-up"}])
def test_a_code_needs_its_verifier_and_its_address_and_is_used_up_by_a_wrong_try(
    cloud: GarminCloud, wrong: dict[str, str]
) -> None:
    code = new_code(cloud)
    reply = exchange(cloud, code, **wrong)
    assert (reply.status, reply.json) == (400, {"error": "invalid_grant"})
    assert exchange(cloud, code).status == (200 if "code" in wrong else 400)


@pytest.mark.parametrize("wrong", [{"client_secret": "guessed"}, {"client_id": "someone"}, {"client_secret": ""}])
def test_a_wrong_client_is_told_so_and_uses_nothing_up(cloud: GarminCloud, wrong: dict[str, str]) -> None:
    code = new_code(cloud)
    reply = exchange(cloud, code, **wrong)
    assert (reply.status, reply.json) == (401, {"error": "invalid_client"})
    assert exchange(cloud, code).status == 200


def test_the_client_may_show_its_secret_in_a_header(cloud: GarminCloud) -> None:
    body = urlencode({"grant_type": "refresh_token", "refresh_token": cloud.tokens(0).refresh_token})
    form = "application/x-www-form-urlencoded"
    statuses = []
    for secret in ("guessed", "sim-secret"):
        basic = base64.b64encode(f"sim-client:{secret}".encode()).decode()
        reply = ask(cloud, TOKEN_PATH, "POST", body, content_type=form, authorization=f"Basic {basic}")
        statuses.append(reply.status)
    assert statuses == [401, 200]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "x"}, "invalid_request"),
    ],
)
def test_a_token_request_that_makes_no_sense_gets_oauths_error(
    cloud: GarminCloud, form: dict[str, str], error: str
) -> None:
    reply = token_request(cloud, **form)
    assert (reply.status, reply.json) == (400, {"error": error})


def test_a_token_request_must_be_a_form_sent_with_post(cloud: GarminCloud) -> None:
    assert ask(cloud, TOKEN_PATH, "POST", "{}", content_type="application/json").json == {"error": "invalid_request"}
    assert ask(cloud, TOKEN_PATH).status == 405


def test_a_refresh_token_changes_with_each_use_and_the_old_one_is_dead(cloud: GarminCloud) -> None:
    first = exchange(cloud, new_code(cloud, 2)).json
    second = refresh(cloud, first["refresh_token"])
    assert second.status == 200
    assert second.json["refresh_token"] != first["refresh_token"]
    again = refresh(cloud, first["refresh_token"])
    assert (again.status, again.json) == (400, {"error": "invalid_grant"})
    third = refresh(cloud, second.json["refresh_token"]).json
    for answer in (first, second.json, third):
        assert rest(cloud, "user/id", answer["access_token"]).json == {"userId": SIM.user_ids()[2]}


def test_of_many_refreshes_at_a_time_one_is_granted(cloud: GarminCloud) -> None:
    token, replies = cloud.tokens(0).refresh_token, []
    threads = [threading.Thread(target=lambda: replies.append(refresh(cloud, token).status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [200] + [400] * 7


def test_tokens_end_with_time(cloud: GarminCloud, clock: Clock) -> None:
    pair = cloud.tokens(0)
    assert (pair.expires_at, pair.refresh_expires_at) == (clock.now + 86_400, clock.now + 7_775_998)
    clock.now += 86_399
    assert rest(cloud, "user/id", pair.access_token).status == 200
    clock.now += 1
    assert rest(cloud, "user/id", pair.access_token).status == 401
    clock.now += 7_775_998 - 86_400
    assert refresh(cloud, pair.refresh_token).json == {"error": "invalid_grant"}


def test_tokens_may_be_short_lived() -> None:
    clock = Clock()
    with GarminCloud(SIM, clock=clock, faults=Faults(token_lifetime_s=5)) as cloud:
        answer = exchange(cloud, new_code(cloud)).json
        assert answer["expires_in"] == 5
        clock.now += 5
        assert rest(cloud, "user/id", answer["access_token"]).status == 401


def test_no_token_shows_in_a_representation(cloud: GarminCloud) -> None:
    pair = cloud.tokens(0)
    assert pair.access_token not in repr(pair)
    assert pair.refresh_token not in repr(pair)


# -- the user


def test_a_token_tells_who_it_is_and_what_is_allowed(cloud: GarminCloud) -> None:
    token = cloud.tokens(1).access_token
    assert rest(cloud, "user/id", token).json == {"userId": SIM.user_ids()[1]}
    assert {"ACTIVITY_EXPORT", "HEALTH_EXPORT"} < set(rest(cloud, "user/permissions", token).json)
    cloud.allow_history(1, allowed=False)
    assert "HISTORICAL_DATA_EXPORT" not in rest(cloud, "user/permissions", token).json


@pytest.mark.parametrize("header", ["Bearer made-up", "Bearer", "Basic eA==", ""])
@pytest.mark.parametrize("path", ["user/id", "user/permissions", "backfill/dailies", "dailies", "activityFile"])
def test_without_a_good_token_the_answer_is_401(cloud: GarminCloud, path: str, header: str) -> None:
    assert ask(cloud, REST + path, authorization=header).status == 401


def test_other_paths_and_methods_are_404_and_405(cloud: GarminCloud) -> None:
    token = cloud.tokens(0).access_token
    for path in ("user/else", "backfill/pulseox", "backfill/activityFiles", "dailies/1", ""):
        assert rest(cloud, path, token).status == 404
    assert ask(cloud, "/elsewhere").status == 404
    assert rest(cloud, "user/id", token, "DELETE").status == 405
    assert rest(cloud, "user/registration", token).status == 405
    assert ask(cloud, consent_query(), "POST").status == 405


def test_a_deleted_registration_ends_the_tokens_and_is_told_to_the_webhook(cloud: GarminCloud, box: Inbox) -> None:
    pair, other = cloud.tokens(1), cloud.tokens(0)
    reply = rest(cloud, "user/registration", pair.access_token, "DELETE")
    assert (reply.status, reply.body) == (204, b"")
    cloud.settle()
    assert [json.loads(body) for body in box.taken] == [{"deregistrations": [{"userId": SIM.user_ids()[1]}]}]
    assert rest(cloud, "user/id", pair.access_token).status == 401
    assert refresh(cloud, pair.refresh_token).json == {"error": "invalid_grant"}
    assert rest(cloud, "user/id", other.access_token).status == 200


# -- old data


def key(kind: str, one: dict[str, Any]) -> tuple[Any, ...]:
    """What two versions of a summary share, by Garmin's rules."""
    if kind in ("activities", "activityDetails"):
        return (one["summaryId"],)
    if kind == "userMetrics":
        return (one["calendarDate"],)
    return (start(one), one.get("activityType") if kind == "epochs" else None, one.get("onDemand"))


def start(one: dict[str, Any]) -> int:
    if "calendarDate" in one and "startTimeInSeconds" not in one:
        return int(datetime.fromisoformat(one["calendarDate"] + "T00:00+09:00").timestamp())
    inner = one.get("summary", one)
    return int(one.get("measurementTimeInSeconds", inner.get("startTimeInSeconds")))


def final_versions(sim: Simulation, participant: int, kind: str, begin_s: int, end_s: int) -> list[dict[str, Any]]:
    """What pushes end with: the last version of each summary that starts in a range."""
    user, found = sim.user_ids()[participant], {}
    for body in pushed(sim):
        for one in body.get(kind, []):
            if one["userId"] == user and begin_s <= start(one) < end_s:
                found[key(kind, one)] = one
    return list(found.values())


@cache
def pushed(sim: Simulation) -> list[dict[str, list[dict[str, Any]]]]:
    """The bodies of all pushes."""
    return [json.loads(delivery.body) for delivery in sim.deliveries()]


def in_order(summaries: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(one, sort_keys=True) for one in summaries)


PATHS = {"pulseOx": "pulseox", "respiration": "allDayRespiration", "moveiq": "moveIQActivities"}
BACKFILLED = [
    *("dailies", "epochs", "sleeps", "bodyComps", "stressDetails", "userMetrics", "pulseOx", "respiration"),
    *("healthSnapshot", "hrv", "bloodPressures", "skinTemp", "activities", "activityDetails", "moveiq", "mct"),
]


@pytest.mark.slow
def test_every_type_comes_by_webhook_as_the_pushes_would_have_left_it(cloud: GarminCloud, box: Inbox) -> None:
    begin_s, end_s = END_S - 10 * DAY_S + 14 * 3600, END_S - 2 * DAY_S + 16 * 3600  # no date's begin, anywhere
    texts = {json.dumps(one, separators=(",", ":")) for body in pushed(SIM) for given in body.values() for one in given}
    assert all(any(text.encode() in delivery.body for delivery in SIM.deliveries()) for text in sorted(texts)[::500])
    seen = set()
    for participant in (0, 1):
        token = cloud.tokens(participant).access_token
        for path in BACKFILLED:
            box.taken.clear()
            assert backfill(cloud, token, path, begin_s, end_s).status == 202
            cloud.settle()
            kind = PATHS.get(path, path)
            expected = final_versions(SIM, participant, kind, begin_s, end_s)
            assert {name for body in box.taken for name in json.loads(body)} <= {kind}
            assert all(json.dumps(json.loads(body), separators=(",", ":")).encode() == body for body in box.taken)
            assert in_order(box.summaries(kind)) == in_order(expected)
            assert {json.dumps(one, separators=(",", ":")) for one in box.summaries(kind)} <= texts
            seen |= {kind} if expected else set()
    assert len(seen) >= 12
    assert box.client_ids == {"sim-client"}


def test_old_data_hold_the_planted_oddities_too() -> None:
    sim = Simulation(1, 2, SUNDAY, seed=4, traps=frozenset({"all"}))
    with inbox() as box, GarminCloud(sim, webhook_url=box.url) as cloud:
        token = cloud.tokens(0).access_token
        for begin_s in (END_S - 14 * DAY_S, END_S - 3 * 365 * DAY_S - 14 * DAY_S):
            box.taken.clear()
            assert backfill(cloud, token, "dailies", begin_s, begin_s + 14 * DAY_S).status == 202
            cloud.settle()
            expected = final_versions(sim, 0, "dailies", begin_s, begin_s + 14 * DAY_S)
            assert expected
            assert in_order(box.summaries("dailies")) == in_order(expected)


def test_ninety_days_come_within_three_seconds_in_bodies_of_a_megabyte_at_most(box: Inbox) -> None:
    with GarminCloud(Simulation(2, 13, SUNDAY), webhook_url=box.url) as cloud:
        begun = time.monotonic()
        assert backfill(cloud, cloud.tokens(0).access_token, "dailies", END_S - 90 * DAY_S, END_S).status == 202
        cloud.settle()
        assert time.monotonic() - begun < 3
    days = [one["calendarDate"] for one in box.summaries("dailies")]
    assert len(set(days)) >= 89
    assert days == sorted(days)
    assert len(box.taken) > 1
    assert max(map(len, box.taken)) <= 1_000_000


@pytest.mark.parametrize(
    ("path", "begin_s", "end_s", "status"),
    [
        ("dailies", 0, 90 * DAY_S, 202),
        ("dailies", 0, 90 * DAY_S + 1, 400),
        ("activities", 0, 30 * DAY_S, 202),
        ("activities", 0, 30 * DAY_S + 1, 400),
        ("activityDetails", 0, 31 * DAY_S, 400),
        ("moveiq", 0, 31 * DAY_S, 400),
        ("mct", 0, 31 * DAY_S, 202),
        ("dailies", DAY_S, DAY_S, 400),
        ("dailies", DAY_S, 0, 400),
        ("dailies", "", DAY_S, 400),
        ("dailies", "yesterday", "today", 400),
        ("dailies", -DAY_S, 0, 202),
        ("dailies", 99_999_913_600, 99_999_999_999, 202),
        ("dailies", -99_999_999_999, -99_999_913_600, 202),
    ],
)
def test_a_range_is_90_days_at_most_and_30_for_activities(
    cloud: GarminCloud, path: str, begin_s: object, end_s: object, status: int
) -> None:
    assert backfill(cloud, cloud.tokens(0).access_token, path, begin_s, end_s).status == status
    cloud.settle()


def test_a_range_asked_for_before_is_a_duplicate_and_one_that_overlaps_is_not(cloud: GarminCloud) -> None:
    token, other = cloud.tokens(0).access_token, cloud.tokens(1).access_token
    begin_s, end_s = END_S - 4 * DAY_S, END_S
    asked = [
        (token, "dailies", begin_s, end_s, 202),
        (token, "dailies", begin_s, end_s, 409),
        (token, "dailies", begin_s + 1, end_s, 409),
        (token, "dailies", begin_s - 1, end_s, 202),
        (token, "sleeps", begin_s, end_s, 202),
        (other, "dailies", begin_s, end_s, 202),
    ]
    assert [backfill(cloud, *request[:4]).status for request in asked] == [request[4] for request in asked]


def test_what_is_not_allowed_is_412_and_without_historical_data_403(cloud: GarminCloud, box: Inbox) -> None:
    token = cloud.tokens(0).access_token
    cloud.change_permissions(0, ["ACTIVITY_EXPORT", "HISTORICAL_DATA_EXPORT"])
    box.taken.clear()
    assert backfill(cloud, token, "dailies", 0, DAY_S).status == 412
    assert backfill(cloud, token, "mct", 0, DAY_S).status == 412
    assert backfill(cloud, token, "activities", 0, DAY_S).status == 202
    cloud.allow_history(0, allowed=False)
    assert backfill(cloud, token, "dailies", 0, DAY_S).status == 412
    assert backfill(cloud, token, "activities", DAY_S, 2 * DAY_S).status == 403
    cloud.allow_history(0, allowed=True)
    assert backfill(cloud, token, "activities", DAY_S, 2 * DAY_S).status == 202
    cloud.settle()
    assert box.taken == []


def test_a_webhook_that_is_not_well_gets_everything_in_order_in_the_end() -> None:
    with inbox(lambda number: 200 if number % 3 == 0 else 503) as box, GarminCloud(SIM) as cloud:
        cloud.webhook_url = box.url
        token = cloud.tokens(0).access_token
        wanted = ["hrv", "sleeps", "skinTemp", "dailies"]
        for path in wanted:
            assert backfill(cloud, token, path, END_S - 14 * DAY_S, END_S).status == 202
        cloud.settle()
        assert [next(iter(json.loads(body))) for body in box.taken] == wanted
        assert box.requests == 12


def test_what_was_asked_for_before_is_not_sent_once_the_participant_has_withdrawn() -> None:
    ready = threading.Event()
    with inbox(lambda _number: 200 if ready.is_set() else 503) as box, GarminCloud(SIM, webhook_url=box.url) as cloud:
        token = cloud.tokens(0).access_token
        for path in ("sleeps", "dailies"):
            backfill(cloud, token, path, END_S - 14 * DAY_S, END_S)
        rest(cloud, "user/registration", token, "DELETE")
        ready.set()
        cloud.settle()
        assert "deregistrations" in json.loads(box.taken[-1])
        assert box.summaries("dailies") == []


# -- pings


def items(box: Inbox, kind: str, participant: int) -> list[dict[str, Any]]:
    return [one for one in box.summaries(kind) if one["userId"] == SIM.user_ids()[participant]]


def fetch(cloud: GarminCloud, item: dict[str, Any], token: str) -> Reply:
    assert item["callbackURL"].startswith(cloud.base_url + REST)
    return ask(cloud, item["callbackURL"].removeprefix(cloud.base_url), authorization=f"Bearer {token}")


@pytest.mark.slow
def test_pings_lead_to_all_that_is_pushed(cloud: GarminCloud, box: Inbox) -> None:
    report = cloud.ping()
    assert (report.bodies, report.retries) == (len(box.taken), 0)
    assert any(len(json.loads(body)) > 3 for body in box.taken)
    fetched: dict[int, Counter[str]] = {}
    for participant in (1, 3):
        token, found = cloud.tokens(participant).access_token, fetched.setdefault(participant, Counter())
        for kind in {kind for body in box.taken for kind in json.loads(body)} - {"activityFiles"}:
            for item in items(box, kind, participant):
                reply = fetch(cloud, item, token)
                assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
                found.update(kind + json.dumps(one) for one in reply.json)
    pushed: dict[int, set[str]] = {1: set(), 3: set()}
    for delivery in SIM.deliveries():
        for kind, summaries in json.loads(delivery.body).items():
            for participant, found_texts in pushed.items():
                mine = (one for one in summaries if one["userId"] == SIM.user_ids()[participant])
                found_texts.update(kind + json.dumps(one) for one in mine)
    assert {participant: set(found) for participant, found in fetched.items()} == pushed
    assert max(max(found.values()) for found in fetched.values()) == 1


def test_a_ping_tells_of_the_types_wanted_and_spells_the_path_garmins_way(cloud: GarminCloud, box: Inbox) -> None:
    wanted = {
        "pulseox": "pulseOx",
        "allDayRespiration": "respiration",
        "moveIQActivities": "moveiq",
        "activityFiles": "activityFile",
        "dailies": "dailies",
    }
    cloud.ping(list(wanted))
    paths: dict[str, set[str]] = {}
    for body in box.taken:
        for kind, given in json.loads(body).items():
            paths.setdefault(kind, set()).update(urlsplit(one["callbackURL"]).path for one in given)
    assert paths == {kind: {REST + path} for kind, path in wanted.items()}
    query = parse_qs(urlsplit(items(box, "dailies", 0)[0]["callbackURL"]).query)
    begin_s, end_s = (int(query[f"upload{end}TimeInSeconds"][0]) for end in ("Start", "End"))
    assert 0 < end_s - begin_s <= DAY_S
    assert query["token"]


def test_types_that_do_not_exist_are_named(cloud: GarminCloud) -> None:
    with pytest.raises(ValueError, match="unknown types dailys; choose from dailies, "):
        cloud.ping(["dailies", "dailys"])


def test_a_callback_needs_the_users_token_and_is_good_for_a_day(cloud: GarminCloud, box: Inbox, clock: Clock) -> None:
    cloud.ping(["dailies"])
    item = items(box, "dailies", 0)[0]
    mine, other = cloud.tokens(0).access_token, cloud.tokens(1).access_token
    assert fetch(cloud, item, "made-up").status == 401
    assert fetch(cloud, item, other).status == 403
    for wrong in ("&more=1", "x"):
        assert fetch(cloud, {"callbackURL": item["callbackURL"] + wrong}, mine).status == 400
    elsewhere = item["callbackURL"].replace("/dailies", "/sleeps")
    assert fetch(cloud, {"callbackURL": elsewhere}, mine).status == 400
    clock.now += 86_399
    assert [fetch(cloud, item, mine).status for _ in range(2)] == [200, 200]
    clock.now += 1
    assert fetch(cloud, item, cloud.tokens(0).access_token).status == 410


def test_a_file_can_be_fetched_once_and_is_a_fit_file(cloud: GarminCloud, box: Inbox) -> None:
    cloud.ping(["activityFiles"])
    owner = next(one for one in range(4) if items(box, "activityFiles", one))
    item, token = items(box, "activityFiles", owner)[0], cloud.tokens(owner).access_token
    assert {"summaryId", "activityId", "startTimeInSeconds"} < item.keys()
    assert (item["fileType"], item["manual"]) == ("FIT", False)
    first, second = fetch(cloud, item, token), fetch(cloud, item, token)
    assert (first.status, first.headers["content-type"], second.status) == (200, "application/octet-stream", 410)
    content = first.body
    assert content[8:12] == b".FIT"
    assert int.from_bytes(content[4:8], "little") == len(content) - 14 - 2
    assert fit_crc(content[:12]) == int.from_bytes(content[12:14], "little")
    assert fit_crc(content) == 0  # a checksum at the end makes the whole come out as nothing
    created = int.from_bytes(content[14 + 15 + 4 : 14 + 15 + 8], "little")
    assert created + 631_065_600 == item["startTimeInSeconds"]


def test_the_checksum_of_fit_files_is_crc_16_arc() -> None:
    assert fit_crc(b"123456789") == 0xBB3D


# -- pushes and what participants do


def test_a_push_sends_everything_with_the_applications_id(cloud: GarminCloud, box: Inbox) -> None:
    report = cloud.push_all()
    made = [delivery.body for delivery in SIM.deliveries()]
    assert Counter(box.taken) == Counter(made)
    assert (report.bodies, report.retries) == (len(made), 0)
    assert box.client_ids == {"sim-client"}


def test_a_push_is_repeated_until_it_is_taken() -> None:
    with inbox(lambda number: {0: 503, 1: 500, 2: 202}.get(number % 40, 200)) as box:
        with GarminCloud(SIM, webhook_url=box.url) as cloud:
            report = cloud.push_all()
        assert Counter(box.taken) == Counter(delivery.body for delivery in SIM.deliveries())
        assert report.retries == box.requests - len(box.taken) > 0


def test_a_push_that_is_never_taken_ends_and_says_so_without_the_secret() -> None:
    with inbox(lambda _number: 403) as box, GarminCloud(SIM, webhook_url=box.url) as cloud:
        with pytest.raises(PushError, match="last answer: 403") as caught:
            cloud.push_all(patience_s=0.2)
        assert SECRET_PATH not in str(caught.value)
        assert box.taken == []


def test_without_a_webhook_nothing_can_be_sent() -> None:
    with GarminCloud(SIM) as cloud:
        with pytest.raises(ValueError, match="http://"):
            cloud.push_all()
        backfill(cloud, cloud.tokens(0).access_token, "dailies", END_S - 3 * DAY_S, END_S)
        cloud.settle()


def test_what_a_participant_does_not_allow_is_not_sent_and_all_else_is(cloud: GarminCloud, box: Inbox) -> None:
    cloud.deregister(0)
    cloud.change_permissions(1, ["HEALTH_EXPORT"])
    cloud.change_permissions(2, ["ACTIVITY_EXPORT"])
    box.taken.clear()
    for send in (cloud.push_all, cloud.ping):
        box.taken.clear()
        send()
        sent = {
            (one["userId"], kind) for body in box.taken for kind, given in json.loads(body).items() for one in given
        }
        users = SIM.user_ids()
        activity = {"activities", "activityDetails", "moveIQActivities", "manuallyUpdatedActivities", "activityFiles"}
        kinds = {user: {kind for owner, kind in sent if owner == user} for user in users}
        assert kinds[users[0]] == set()
        assert kinds[users[1]]
        assert not kinds[users[1]] & activity
        assert kinds[users[2]]
        assert kinds[users[2]] <= activity
        assert kinds[users[3]] & activity
        assert "dailies" in kinds[users[3]]


def test_what_is_left_out_changes_no_other_summary(cloud: GarminCloud, box: Inbox) -> None:
    cloud.deregister(0)
    box.taken.clear()
    cloud.push_all()
    gone = SIM.user_ids()[0]
    made = (json.loads(delivery.body) for delivery in SIM.deliveries())
    expected = Counter(
        json.dumps(one) for body in made for given in body.values() for one in given if one["userId"] != gone
    )
    sent = (json.loads(body) for body in box.taken)
    assert Counter(json.dumps(one) for body in sent for given in body.values() for one in given) == expected


def test_a_redelivery_is_byte_for_byte_the_same_also_in_another_order(cloud: GarminCloud, box: Inbox) -> None:
    made = [delivery.body for delivery in SIM.deliveries()]
    cloud.deregister(0)
    orders = []
    for shuffle in (None, 1, 1):
        box.taken.clear()
        cloud.redeliver(shuffle=shuffle, connections=1)
        assert Counter(box.taken) == Counter(made)
        orders.append(list(box.taken))
    assert orders[0] == made
    assert orders[1] == orders[2] != made


def test_a_deregistration_is_told_and_a_forged_one_looks_the_same(cloud: GarminCloud, box: Inbox) -> None:
    pair = cloud.tokens(2)
    cloud.forge_deregistration(2)
    assert rest(cloud, "user/id", pair.access_token).json == {"userId": SIM.user_ids()[2]}
    cloud.deregister(2)
    assert rest(cloud, "user/id", pair.access_token).status == 401
    assert refresh(cloud, pair.refresh_token).status == 400
    forged, true = box.taken
    assert forged == true
    assert json.loads(true) == {"deregistrations": [{"userId": SIM.user_ids()[2]}]}


def test_who_consents_again_begins_anew(cloud: GarminCloud, box: Inbox) -> None:
    token = cloud.tokens(0).access_token
    assert backfill(cloud, token, "sleeps", END_S - DAY_S, END_S).status == 202
    cloud.deregister(0)
    token = exchange(cloud, new_code(cloud, 0)).json["access_token"]
    assert backfill(cloud, token, "sleeps", END_S - DAY_S, END_S).status == 202
    cloud.settle()
    box.taken.clear()
    cloud.push_all()
    assert items(box, "dailies", 0)


def test_a_code_given_before_a_deregistration_is_dead(cloud: GarminCloud) -> None:
    code = new_code(cloud, 0)
    cloud.deregister(0)
    assert exchange(cloud, code).json == {"error": "invalid_grant"}


def test_a_change_of_permissions_is_told_with_its_time_and_an_older_one_changes_nothing(
    cloud: GarminCloud, box: Inbox, clock: Clock
) -> None:
    token = cloud.tokens(1).access_token
    cloud.change_permissions(1, ["HEALTH_EXPORT"])
    cloud.change_permissions(1, [], changed_at=clock.now - 60)
    (newer,), (older,) = (json.loads(body)["userPermissionsChange"] for body in box.taken)
    assert newer["userId"] == older["userId"] == SIM.user_ids()[1]
    assert (newer["permissions"], older["permissions"]) == (["HEALTH_EXPORT"], [])
    assert (newer["changeTimeInSeconds"], older["changeTimeInSeconds"]) == (clock.now, clock.now - 60)
    assert newer["summaryId"] != older["summaryId"]
    assert rest(cloud, "user/permissions", token).json == ["HEALTH_EXPORT"]


@pytest.mark.parametrize("participant", [-1, 4])
def test_a_participant_who_does_not_exist_is_named(cloud: GarminCloud, participant: int) -> None:
    acts: list[Callable[[int], object]] = [cloud.tokens, cloud.deregister, cloud.forge_deregistration, cloud.user_id]
    for act in acts:
        with pytest.raises(ValueError, match=f"no participant {participant}; give 0 to 3"):
            act(participant)
    with pytest.raises(ValueError, match="no participant"):
        GarminCloud(SIM, auto_consent=participant)


# -- what goes wrong


def statuses(faults: Faults, requests: int, path: str = "user/id") -> list[int]:
    """The statuses of so many requests; 0 where no answer came."""
    with GarminCloud(SIM, faults=faults) as cloud:
        token, found = cloud.tokens(0).access_token, []
        for _ in range(requests):
            try:
                reply = rest(cloud, path, token)
                assert reply.headers.get("retry-after") == ("1" if reply.status == 429 else None)
                found.append(reply.status)
            except http.client.RemoteDisconnected:
                found.append(0)
        kind = path.partition("?")[0]
        assert cloud.requests == {(kind, status): number for status, number in Counter(found).items()}
    return found


def test_every_third_answer_may_be_429_that_says_when_to_come_again() -> None:
    assert statuses(Faults(rate_limit=3), 7) == [200, 200, 429, 200, 200, 429, 200]


def test_a_share_of_errors_is_the_same_for_a_seed_and_another_for_another() -> None:
    first, again, other = (statuses(Faults(errors=0.5, seed=seed), 40) for seed in (1, 1, 2))
    assert first == again != other
    assert {200, 500, 503} == set(first)
    assert 10 <= first.count(200) <= 30


def test_an_answer_that_is_lost_was_acted_on() -> None:
    query = f"backfill/mct?summaryStartTimeInSeconds={END_S - DAY_S}&summaryEndTimeInSeconds={END_S}"
    found = statuses(Faults(drop=0.6, seed=3), 12, query)
    assert found[0] == 0
    assert set(found) == {0, 409}


def test_a_dropped_or_cut_download_fails_and_does_not_use_up_a_file(box: Inbox) -> None:
    faults = Faults(cut_downloads=0.4, drop=0.3, seed=5)
    with GarminCloud(SIM, webhook_url=box.url, faults=faults) as cloud:
        cloud.ping(["activityFiles", "sleeps"])
        whole: Counter[str] = Counter()
        for kind in ("activityFiles", "sleeps"):
            for item in box.summaries(kind):
                token = cloud.tokens(SIM.user_ids().index(item["userId"])).access_token
                while True:
                    try:
                        reply = fetch(cloud, item, token)
                    except (http.client.IncompleteRead, http.client.RemoteDisconnected):
                        continue
                    assert reply.status == 200
                    whole[kind] += 1
                    break
        assert whole == {kind: len(box.summaries(kind)) for kind in whole}
        counts = cloud.requests
        assert counts["callback/activityFile", 200] == whole["activityFiles"]
        assert counts["callback/activityFile", 0] > 0
        assert counts["callback/sleeps", 0] > 0


def test_a_cut_download_ends_half_way_through_its_promised_length(box: Inbox) -> None:
    with GarminCloud(SIM, webhook_url=box.url, faults=Faults(cut_downloads=1)) as cloud:
        cloud.ping(["sleeps"])
        with pytest.raises(http.client.IncompleteRead) as caught:
            fetch(cloud, items(box, "sleeps", 0)[0], cloud.tokens(0).access_token)
        assert abs(len(caught.value.partial) - (caught.value.expected or 0)) <= 1


def test_the_token_endpoint_is_spoilt_only_before_it_acts() -> None:
    with GarminCloud(SIM, faults=Faults(rate_limit=2, drop=1)) as cloud:
        token = cloud.tokens(0).refresh_token
        first = refresh(cloud, token)
        assert first.status == 200
        assert refresh(cloud, first.json["refresh_token"]).status == 429
        assert refresh(cloud, first.json["refresh_token"]).status == 200


def test_answers_may_be_slow_and_stopping_does_not_wait_for_them() -> None:
    with GarminCloud(SIM, faults=Faults(slow_s=0.2)) as cloud:
        begun = time.monotonic()
        assert rest(cloud, "user/id", cloud.tokens(0).access_token).status == 200
        assert time.monotonic() - begun >= 0.2
    replies: list[Reply] = []
    with GarminCloud(SIM, faults=Faults(slow_s=60)) as cloud:
        token = cloud.tokens(0).access_token
        thread = threading.Thread(target=lambda: replies.append(rest(cloud, "user/id", token)))
        thread.start()
        time.sleep(0.1)
        begun = time.monotonic()
    thread.join()
    assert time.monotonic() - begun < 3
    assert [reply.status for reply in replies] == [200]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"errors": 1.1}, "errors is 1.1"),
        ({"drop": -0.1}, "drop is -0.1"),
        ({"cut_downloads": 2}, "cut_downloads is 2"),
        ({"rate_limit": -1}, "rate_limit is -1"),
        ({"slow_s": -1}, "slow_s is -1"),
    ],
)
def test_a_fault_that_is_out_of_range_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Faults(**wrong)


# -- the server


def test_requests_are_counted_by_kind_and_status(cloud: GarminCloud) -> None:
    token = cloud.tokens(0).access_token
    code = new_code(cloud)
    exchange(cloud, code)
    exchange(cloud, code)
    for path in ("user/id", "user/permissions", "dailies", "secretword", "else/where"):
        rest(cloud, path, token)
    backfill(cloud, token, "pulseOx", 0, DAY_S)
    assert cloud.requests == {
        ("oauth2Confirm", 302): 1,
        ("oauth/token", 200): 1,
        ("oauth/token", 400): 1,
        ("user/id", 200): 1,
        ("user/permissions", 200): 1,
        ("callback/dailies", 400): 1,
        ("callback/other", 400): 1,
        ("unknown", 404): 1,
        ("backfill/pulseOx", 202): 1,
    }


def test_a_connection_takes_many_requests_and_a_bad_one_ends_it(cloud: GarminCloud) -> None:
    parts = urlsplit(cloud.base_url)
    headers = {"authorization": f"Bearer {cloud.tokens(0).access_token}"}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        for _ in range(3):
            connection.request("GET", REST + "user/id", headers=headers)
            with connection.getresponse() as response:
                assert response.status == 200
                response.read()
        for length in ("x", "65537", "-1"):
            connection.putrequest("POST", TOKEN_PATH)
            connection.putheader("content-length", length)
            connection.endheaders()
            with connection.getresponse() as response:
                assert response.status == 400
                response.read()
            connection.close()
    finally:
        connection.close()


def test_nothing_secret_is_logged(box: Inbox, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    refused = inbox(lambda _number: 503)
    with refused as sick, GarminCloud(SIM, webhook_url=sick.url, clock=clock) as cloud:
        code = new_code(cloud, 0)
        answer = exchange(cloud, code).json
        again = refresh(cloud, answer["refresh_token"]).json
        backfill(cloud, again["access_token"], "dailies", END_S - 3 * DAY_S, END_S)
        rest(cloud, again["access_token"], again["access_token"])
        ask(cloud, f"/{again['refresh_token']}?{again['access_token']}")
        cloud.webhook_url = box.url
        cloud.ping(["dailies"])
        item = items(box, "dailies", 0)[0]
        fetch(cloud, item, again["access_token"])
    secrets = [code, VERIFIER, "sim-secret", SECRET_PATH, item["callbackURL"].rpartition("token=")[2], *SIM.user_ids()]
    secrets += [one[name] for one in (answer, again) for name in ("access_token", "refresh_token")]
    assert "callback/dailies: 200" in caplog.text
    assert [secret for secret in secrets if secret in caplog.text] == []


def test_stopping_ends_every_thread_and_frees_the_port_also_with_a_webhook_that_never_takes_anything() -> None:
    before = set(threading.enumerate())
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        cloud = GarminCloud(SIM, webhook_url=f"http://127.0.0.1:{silent.getsockname()[1]}/x")
        cloud.start()
        assert backfill(cloud, cloud.tokens(0).access_token, "dailies", END_S - 3 * DAY_S, END_S).status == 202
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            cloud.settle(0.1)
        parts = urlsplit(cloud.base_url)
        with socket.create_connection((parts.hostname, parts.port)):  # one that never asks
            time.sleep(0.05)
            begun = time.monotonic()
            cloud.stop()
            assert time.monotonic() - begun < 3
    cloud.stop()
    assert set(threading.enumerate()) == before
    GarminCloud(SIM, port=parts.port or 0).stop()


def test_a_port_that_is_taken_and_an_url_that_is_not_http_are_refused(cloud: GarminCloud) -> None:
    with pytest.raises(OSError, match="in use"):
        GarminCloud(SIM, port=urlsplit(cloud.base_url).port or 0)
    with pytest.raises(ValueError, match="http://"):
        GarminCloud(SIM, webhook_url="ftp://somewhere/x")


def test_tokens_have_the_names_that_oauth_gives_them() -> None:
    assert list(TokenPair.__dataclass_fields__) == [
        "access_token",
        "refresh_token",
        "expires_at",
        "refresh_expires_at",
    ]


# -- the command

SMALL = ["--participants", "3", "--weeks", "1", "--until", "2026-03-01", "--seed", "4"]


def test_the_command_serves_until_it_is_interrupted_and_tells_nothing_secret(box: Inbox) -> None:
    command = [sys.executable, "-c", "from garmin_sim.cli import main; main()", "cloud", "--to", box.url, "--port", "0"]
    env = {**os.environ, "PYTHONWARNINGS": "error"}
    with subprocess.Popen(
        [*command, *SMALL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as run:
        assert run.stdout
        try:
            lines = [run.stdout.readline().strip() for _ in range(4)]
            base_url = urlsplit(lines[0])
            connection = http.client.HTTPConnection(base_url.hostname or "", base_url.port, timeout=10)
            connection.request("GET", consent_query(auto="1"))
            with connection.getresponse() as response:
                code = landed(Reply(response.status, {"location": response.headers["location"]}, b""))["code"]
            connection.close()
        finally:
            run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=10)
    assert (run.returncode, out) == (0, "")
    assert lines[1:] == ["0: steady", "1: traveller", "2: day only"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d GET oauth2Confirm: 302\n", err)
    assert code not in err


def test_a_cloud_that_cannot_run_ends_with_1_and_a_wrong_value_with_2(cloud: GarminCloud, box: Inbox) -> None:
    port = str(urlsplit(cloud.base_url).port)
    taken = CliRunner().invoke(app, ["cloud", "--to", box.url, "--port", port, *SMALL])
    assert (taken.exit_code, taken.stdout) == (1, "")
    assert "in use" in taken.stderr
    for wrong in (["--to", "ftp://x/hidden"], ["--to", box.url, "--participants", "0"], []):
        done = CliRunner().invoke(app, ["cloud", "--port", "0", *SMALL, *wrong])
        assert (done.exit_code, done.stdout) == (2, "")
        assert "hidden" not in done.stderr
