"""Enrolment as a participant meets it: a browser, our pages, the simulated Garmin cloud's, and back."""

from __future__ import annotations

import base64
import hashlib
import html
import http.cookiejar
import logging
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from botocore.exceptions import ClientError

from garmin_sim import GarminCloud, Simulation
from qol_ingest.consent import oauth
from qol_ingest.consent.browsers import visitor_of
from qol_ingest.consent.enrolment import CLAIM_S, WRONG_CODES, Invitations
from qol_ingest.consent.oauth import COOKIE, Enrolments, EnrolmentSetupError
from qol_ingest.consent.pages import TEXTS, PageName, Programme
from qol_ingest.consent.state import DynamoState, EnrolmentStateError, SqliteState
from qol_ingest.garmin import tokens_aws
from qol_ingest.garmin.api import Endpoints, GarminApi
from qol_ingest.garmin.tokens import TokenStoreError
from qol_ingest.garmin.tokens_aws import SecretsManagerTokenStore
from qol_ingest.garmin.tokens_file import FileTokenStore
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.id_map import IdMapError
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver

SIM = Simulation(4, 1, date(2026, 3, 1), seed=4)
REST = "/wellness-api/rest/"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@dataclass
class Place:
    """Everything that takes part."""

    cloud: GarminCloud
    hook: LocalWebhook
    enrolments: Enrolments
    clock: Clock

    @property
    def id_map(self) -> SqliteIdMap:
        assert isinstance(self.enrolments.id_map, SqliteIdMap)
        return self.enrolments.id_map

    @property
    def api(self) -> GarminApi:
        return self.enrolments.api

    def link(self, participant_id: str = "P0001", **more: Any) -> str:
        """An invitation's link."""
        return self.enrolments.start_url(self.enrolments.invitations.invite(participant_id, **more))

    def url(self, path: str) -> str:
        return self.hook.base_url + path

    def swap(self, **parts: Any) -> None:
        """Go on with other parts."""
        self.hook.enrolment = self.enrolments = replace(self.enrolments, **parts)

    def linked(self) -> dict[str, tuple[str, str]]:
        """(participant, status) by number of the simulated person."""
        known = {one.garmin_user_id: (one.participant_id, one.status) for one in self.id_map.list()}
        return {n: known[user] for n, user in enumerate(map(self.cloud.user_id, range(4))) if user in known}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    clock = Clock()
    with GarminCloud(SIM) as cloud, LocalWebhook(Receiver(DirectoryStore(tmp_path / "lake"), "secret")) as hook:
        store = FileTokenStore(tmp_path / "tokens.sqlite", tmp_path / "tokens.key")
        api = GarminApi(Endpoints.at(cloud.base_url), "sim-client", "sim-secret", store, timeout_s=5)
        id_map, state = SqliteIdMap(tmp_path / "user_id_map.sqlite"), SqliteState(tmp_path / "enrolment.sqlite", clock)
        enrolments = Enrolments(state, api, id_map, hook.base_url, clock=clock)
        hook.enrolment = enrolments
        yield Place(cloud, hook, enrolments, clock)


@dataclass(frozen=True)
class Page:
    """What a browser shows."""

    status: int
    url: str
    headers: Any
    text: str

    @property
    def title(self) -> str:
        return html.unescape(re.findall(r"<h1>(.*)</h1>", self.text)[0])

    @property
    def button(self) -> str:
        return html.unescape(re.findall(r'<a class="button" href="([^"]*)"', self.text)[0])

    @property
    def form(self) -> tuple[str, dict[str, str]]:
        """Where the button of the first page leads, and what it sends there."""
        (action,) = re.findall(r'<form method="post" action="([^"]*)"', self.text)
        fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', self.text)
        return urljoin(self.url, html.unescape(action)), {name: html.unescape(value) for name, value in fields}

    @property
    def other_language(self) -> str:
        return html.unescape(re.findall(r'<a href="([^"]*)" lang="(?:ja|en)" hreflang', self.text)[0])

    @property
    def language(self) -> str:
        return re.findall(r'<html lang="(\w+)">', self.text)[0]


def titled(name: PageName, language: str = "en") -> str:
    """The title of a page."""
    return TEXTS[name][language].strip().splitlines()[0].removeprefix("# ")  # type: ignore[index]


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Browser:
    """Keeps cookies and follows redirects."""

    def __init__(self, language: str = "en-GB,en;q=0.9,ja;q=0.5") -> None:
        self.cookies = http.cookiejar.CookieJar()
        self.language = language

    def press(self, page: Page, *, follow: bool = True, **changed: str) -> Page:
        """Press the button of the first page."""
        action, fields = page.form
        return self.get(action, follow=follow, method="POST", form={**fields, **changed})

    def get(self, url: str, *, follow: bool = True, method: str = "GET", form: Mapping[str, str] | None = None) -> Page:
        """Where a link leads."""
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies)]
        opener = urllib.request.build_opener(*handlers, *([] if follow else [_Stay()]))
        body = None if form is None else urlencode(form).encode()
        request = urllib.request.Request(url, body, headers={"accept-language": self.language}, method=method)
        try:
            with opener.open(request, timeout=20) as answer:
                return Page(answer.status, answer.url, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as answer:
            with answer:
                return Page(answer.code, answer.url, answer.headers, answer.read().decode())

    def to_garmin(self, link: str) -> Page:
        """Open an invitation and press the button."""
        at_garmin = self.press(self.get(link))
        assert "/oauth2Confirm" in at_garmin.url
        return at_garmin

    def back_from_garmin(self, link: str, person: int) -> str:
        """The callback URL, with which Garmin sends somebody back who agreed."""
        return self.get(f"{self.to_garmin(link).url}&auto={person}", follow=False).headers["location"]

    def connect(self, link: str, person: int) -> Page:
        """All the way."""
        return self.get(f"{self.to_garmin(link).url}&auto={person}")


# -- the way through


def test_a_participant_connects_and_a_token_works(place: Place) -> None:
    browser = Browser()
    done = browser.connect(place.link("P0007"), 2)
    assert (done.status, done.title) == (200, titled("done"))
    assert done.url == place.url("/oauth/done?lang=en")
    assert place.linked() == {2: ("P0007", "active")}
    assert place.api.access.for_user(place.cloud.user_id(2))
    assert "HEALTH_EXPORT" in place.api.permissions(place.cloud.user_id(2))
    assert place.enrolments.invitations.open() == []


def test_the_request_to_garmin_is_oauth_2_with_pkce(place: Place) -> None:
    browser = Browser()
    link = place.link()
    sent = browser.press(browser.get(link), follow=False)
    assert sent.status == 303
    assert sent.headers["cache-control"] == "no-store"
    assert sent.headers["referrer-policy"] == "no-referrer"
    url = urlsplit(sent.headers["location"])
    assert f"{url.scheme}://{url.netloc}{url.path}" == place.api.endpoints.authorize
    query = parse_qs(url.query)
    state, challenge = query.pop("state")[0], query.pop("code_challenge")[0]
    assert query == {
        "response_type": ["code"],
        "client_id": ["sim-client"],
        "redirect_uri": [place.url("/oauth/callback")],
        "code_challenge_method": ["S256"],
    }
    assert (len(state), len(challenge)) == (43, 43)
    (kept,) = [entry.content for _, entry in place.enrolments.state.entries("sign-in")]
    digest = hashlib.sha256(kept["verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode() == f"{challenge}="
    assert 43 <= len(kept["verifier"]) <= 128
    again = browser.press(browser.get(link), follow=False).headers["location"]
    assert state not in again
    assert challenge not in again


def test_opening_the_link_uses_nothing_up(place: Place) -> None:
    link = place.link()
    for _ in range(3):
        scanner = Browser()
        assert scanner.get(link).status == 200
        assert scanner.press(scanner.get(link)).status == 200
        assert scanner.get(link, method="HEAD").status in (405, 501)
    assert Browser().connect(link, 0).title == titled("done")


@pytest.mark.parametrize("spelled", ["{}", "{:l}", "{:s}", "{:w}", " {} "])
def test_a_code_may_be_typed_in_many_ways(place: Place, spelled: str) -> None:
    code = place.enrolments.invitations.invite("P0001")
    wide = code.translate({ord(one): ord(one) + 0xFEE0 for one in code if one != "-"}).replace("-", "ー")
    typed = {"{}": code, "{:l}": code.lower(), "{:s}": code.replace("-", " "), "{:w}": wide, " {} ": f" {code} "}[
        spelled
    ]
    browser = Browser()
    form = browser.get(place.url("/oauth/start"))
    assert form.title == titled("enter")
    action = html.unescape(re.findall(r'<form method="get" action="([^"]*)">', form.text)[0])
    page = browser.get(place.url(f"{action}?{urlencode({'lang': 'en', 'entry': typed})}"))
    assert page.title == titled("start")
    assert browser.get(f"{browser.press(page).url}&auto=0").title == titled("done")


def test_a_reload_of_any_page_is_sensible(place: Place) -> None:
    browser = Browser()
    link = place.link()
    callback = browser.back_from_garmin(link, 1)
    for _ in range(3):
        assert browser.get(callback).title == titled("done")
    assert browser.get(link).title == titled("used")
    assert browser.get(link).status == 410
    assert len(place.linked()) == 1


def test_a_user_whom_the_webhook_saw_first_is_linked(place: Place) -> None:
    place.id_map.seen([place.cloud.user_id(1)], datetime.now(UTC))
    assert Browser().connect(place.link("P0001"), 1).title == titled("done")
    assert place.linked() == {1: ("P0001", "active")}


def test_a_participant_who_comes_back_connects_with_a_new_invitation(place: Place) -> None:
    Browser().connect(place.link("P0001"), 1)
    place.id_map.revoke("P0001")
    assert Browser().connect(place.link("P0001"), 1).title == titled("done")
    assert place.linked() == {1: ("P0001", "active")}


def test_a_consent_after_a_withdrawal_can_be_used_again(place: Place) -> None:
    Browser().connect(place.link("P0001"), 1)
    user = place.cloud.user_id(1)
    place.id_map.narrow_permissions(user, [], datetime.now(UTC))
    place.id_map.deregister(user, datetime.now(UTC))
    place.clock.now += 60
    assert Browser().connect(place.link("P0001"), 1).title == titled("done")
    known = place.id_map.get(user)
    assert known is not None
    assert known.may_be_used
    assert known.permissions_at[:19] == datetime.fromtimestamp(place.clock.now, UTC).isoformat()[:19]


def test_what_a_participant_does_not_tick_at_garmin_is_not_permitted(place: Place) -> None:
    place.cloud._accounts[1].change(["ACTIVITY_EXPORT"], 0)
    assert Browser().connect(place.link("P0001"), 1).title == titled("done")
    known = place.id_map.get(place.cloud.user_id(1))
    assert known is not None
    assert known.permissions == ("ACTIVITY_EXPORT",)


# -- codes that are not good


def test_an_unknown_code_gets_a_field_to_try_again(place: Place) -> None:
    for code in ("ACDE-FGHJ-KMNP-QRTV", "x", "", "\0", "%", "あ" * 500):
        for path in ("/oauth/start", "/oauth/start/go"):
            page = Browser().get(place.url(f"{path}?{urlencode({'entry': code})}"))
            if code:
                assert (page.status, page.title) == (404, titled("unknown"))
            assert '<input name="entry"' in page.text


def test_an_expired_code_says_so(place: Place) -> None:
    link = place.link(valid_for=timedelta(days=14))
    place.clock.now += 14 * 86_400 - 1
    browser = Browser()
    page = browser.get(link)
    assert page.title == titled("start")
    place.clock.now += 1
    for late in (browser.get(link), browser.press(page)):
        assert (late.status, late.title) == (410, titled("expired"))


def test_a_code_that_expires_while_the_participant_is_at_garmin_is_still_good(place: Place) -> None:
    browser = Browser()
    callback = browser.back_from_garmin(place.link(valid_for=timedelta(minutes=5)), 1)
    place.clock.now += 301
    assert browser.get(callback).title == titled("done")


def test_a_new_invitation_voids_the_older_one_even_at_the_last_moment(place: Place) -> None:
    browser = Browser()
    old = place.link("P0001")
    callback = browser.back_from_garmin(old, 1)
    new = place.link("P0001")
    assert Browser().get(old).title == titled("expired")
    assert (browser.get(callback).status, browser.get(old).title) == (410, titled("expired"))
    assert place.linked() == {}
    assert Browser().connect(new, 1).title == titled("done")


def test_an_invitation_that_was_withdrawn_links_nothing(place: Place) -> None:
    browser = Browser()
    link = place.link("P0001")
    callback = browser.back_from_garmin(link, 1)
    assert place.enrolments.invitations.withdraw("P0001")
    assert browser.get(callback).title == titled("expired")
    assert Browser().get(link).title == titled("expired")
    assert place.linked() == {}


def test_a_used_code_is_used_for_every_browser(place: Place) -> None:
    link = place.link()
    late = Browser()
    callback = late.back_from_garmin(link, 2)
    Browser().connect(link, 1)
    assert (late.get(callback).status, late.get(link).title) == (410, titled("used"))
    assert place.linked() == {1: ("P0001", "active")}
    assert place.api.store.get(place.cloud.user_id(2)) is None


def test_guessing_is_refused_for_a_while_and_a_right_code_never(place: Place, tmp_path: Path) -> None:
    link, other = place.link(), place.url("/oauth/start?entry=AAAA-CCCC-DDDD-XXXX")
    for number in range(WRONG_CODES):
        wrong = f"{number:04d}".translate(str.maketrans("01", "XY"))
        assert Browser().get(place.url(f"/oauth/start?entry=AAAA-CCCC-DDDD-{wrong}")).status == 404
    page = Browser().get(other)
    assert (page.status, page.title) == (429, titled("too-many"))
    assert 0 < int(page.headers["retry-after"]) <= 600
    assert Browser().connect(link, 1).title == titled("done")
    assert b"127.0.0.1" not in (tmp_path / "enrolment.sqlite").read_bytes()
    place.clock.now += 600
    assert Browser().get(other).status == 404


def test_guesses_are_counted_by_address_and_one_network_of_ipv6_is_one() -> None:
    def counted(*addresses: str) -> int:
        return len({visitor_of(address, "key") for address in addresses})

    assert counted("192.0.2.1", "192.0.2.2", "2001:db8::1", "", "no address") == 5
    assert counted("2001:db8::1", "2001:db8::2", "2001:0db8::ffff:1%eth0") == 1
    assert counted("2001:db8:0:1::1", "2001:db8:0:2::1") == 2
    assert visitor_of("192.0.2.1", "key") != visitor_of("192.0.2.1", "another")


def test_a_lambda_counts_guesses_by_the_address_that_api_gateway_names(place: Place) -> None:
    def status(address: str) -> int:
        event = {
            "rawPath": "/oauth/start",
            "rawQueryString": "entry=AAAA-CCCC-DDDD-XXXX",
            "requestContext": {"http": {"method": "GET", "sourceIp": address}},
        }
        return int(place.enrolments.handle(event)["statusCode"])

    assert [status("192.0.2.1") for _ in range(WRONG_CODES + 1)] == [404] * WRONG_CODES + [429]
    assert status("192.0.2.2") == 404


def test_what_cannot_be_a_code_is_no_guess(place: Place) -> None:
    link = place.link()
    for _ in range(WRONG_CODES + 1):
        assert Browser().get(place.url("/oauth/start?entry=admin")).status == 404
    assert Browser().get(link).status == 200


# -- callbacks that are not good


def over(page: Page) -> bool:
    return (page.status, page.title) == (400, titled("over"))


def test_a_callback_with_another_state_is_refused(place: Place) -> None:
    browser = Browser()
    link = place.link()
    callback = browser.back_from_garmin(link, 1)
    code = parse_qs(urlsplit(callback).query)["code"][0]
    for query in ("", f"code={code}", f"code={code}&state=", f"code={code}&state={'A' * 43}", f"code={code}&state=%00"):
        assert over(browser.get(place.url(f"/oauth/callback?{query}")))
    assert place.linked() == {}
    assert browser.get(callback).title == titled("done")


def test_a_leaked_callback_url_is_worthless_in_another_browser(place: Place) -> None:
    browser, thief = Browser(), Browser()
    callback = browser.back_from_garmin(place.link("P0001"), 1)
    assert over(thief.get(callback))
    thief.back_from_garmin(place.link("P0002"), 3)
    assert over(thief.get(callback))
    assert place.linked() == {}
    assert browser.get(callback).title == titled("done")
    assert over(thief.get(callback))


def test_a_sign_in_ends_after_ten_minutes(place: Place) -> None:
    browser = Browser()
    link = place.link()
    callbacks = [browser.back_from_garmin(link, 1) for _ in range(2)]
    place.clock.now += 599
    code_ended = browser.get(callbacks[0])
    place.clock.now += 1
    assert code_ended.title == titled("done")
    assert over(browser.get(callbacks[1]))


def test_a_state_is_used_up_at_once_also_when_garmin_fails(place: Place) -> None:
    browser = Browser()
    link = place.link()
    callback = browser.back_from_garmin(link, 1)
    good = place.api
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
    place.swap(api=replace(good, endpoints=replace(good.endpoints, token=dead)))
    page = browser.get(callback)
    assert (page.status, page.title, page.headers["retry-after"]) == (503, titled("later"), "60")
    place.swap(api=good)
    assert over(browser.get(callback))
    assert page.button == f"/oauth/start?{urlsplit(link).query.replace('-', '')}&lang=en"
    assert browser.connect(place.url(page.button), 1).title == titled("done")


def test_two_tabs_of_one_browser_both_work(place: Place) -> None:
    browser = Browser()
    first = browser.back_from_garmin(place.link("P0001"), 1)
    second = browser.back_from_garmin(place.link("P0002"), 2)
    assert browser.get(first).title == browser.get(second).title == titled("done")
    assert place.linked() == {1: ("P0001", "active"), 2: ("P0002", "active")}


def test_who_does_not_agree_can_start_again(place: Place) -> None:
    browser = Browser()
    denied = browser.get(f"{browser.to_garmin(place.link()).url}&deny=1")
    assert (denied.status, denied.title) == (200, titled("denied"))
    assert place.linked() == {}
    assert browser.connect(place.url(denied.button), 1).title == titled("done")


@pytest.mark.parametrize("query", ["error=server_error", "", "code=", "code=wrong"])
def test_garmin_failing_on_its_own_page_is_not_taken_for_a_refusal(place: Place, query: str) -> None:
    browser = Browser()
    state = parse_qs(urlsplit(browser.to_garmin(place.link()).url).query)["state"][0]
    page = browser.get(place.url(f"/oauth/callback?state={state}&{query}"))
    assert (page.status, page.title) == (503, titled("later"))


# -- accounts of others, and browsers at the same time


def test_the_account_of_another_participant_is_not_linked_and_nothing_of_theirs_changes(place: Place) -> None:
    Browser().connect(place.link("P0001"), 1)
    before = place.api.store.get(place.cloud.user_id(1))
    browser = Browser()
    link = place.link("P0002")
    page = browser.connect(link, 1)
    assert (page.status, page.title) == (409, titled("other-account"))
    assert place.linked() == {1: ("P0001", "active")}
    assert place.api.store.get(place.cloud.user_id(1)) == before
    assert browser.connect(place.url(page.button), 2).title == titled("done")
    assert place.linked() == {1: ("P0001", "active"), 2: ("P0002", "active")}


@pytest.mark.parametrize("same_account", [True, False])
def test_of_browsers_with_one_code_at_the_same_time_exactly_one_succeeds(place: Place, same_account: bool) -> None:
    link = place.link("P0001")
    browsers = [Browser() for _ in range(4)]
    people = [1] * 4 if same_account else list(range(4))
    callbacks = [one.back_from_garmin(link, person) for one, person in zip(browsers, people, strict=True)]
    together = threading.Barrier(4)

    def come_back(number: int) -> str:
        together.wait()
        return browsers[number].get(callbacks[number]).title

    with ThreadPoolExecutor(4) as pool:
        titles = list(pool.map(come_back, range(4)))
    assert titles.count(titled("done")) == 1
    assert set(titles) <= {titled("done"), titled("used"), titled("later")}
    winner = people[titles.index(titled("done"))]
    assert place.linked() == {winner: ("P0001", "active")}
    kept = [person for person in range(4) if place.api.store.get(place.cloud.user_id(person))]
    assert kept == [winner]


# -- a crash in between


class Failing:
    """An id map that fails as told."""

    def __init__(self, inner: SqliteIdMap, error: BaseException) -> None:
        self.inner, self.error, self.get = inner, error, inner.get

    def add(self, user: str, participant_id: str | None = None, *, after_leaving: bool) -> str:
        raise self.error


def test_an_id_map_that_cannot_be_written_leaves_the_code_good(place: Place) -> None:
    link, good = place.link(), place.id_map
    place.swap(id_map=Failing(good, IdMapError("the id map cannot be opened")))
    browser = Browser()
    assert browser.connect(link, 1).title == titled("later")
    place.swap(id_map=good)
    assert place.linked() == {}
    assert browser.connect(link, 1).title == titled("done")


def test_an_account_linked_to_somebody_else_meanwhile_is_told(place: Place) -> None:
    link, good = place.link("P0001"), place.id_map

    class Late(Failing):
        def add(self, user: str, participant_id: str | None = None, *, after_leaving: bool) -> str:
            self.inner.add(user, "P0009")
            return self.inner.add(user, participant_id, after_leaving=after_leaving)

    place.swap(id_map=Late(good, ValueError()))
    assert Browser().connect(link, 1).title == titled("other-account")
    place.swap(id_map=good)
    assert place.linked() == {1: ("P0009", "active")}


def test_a_token_store_that_fails_links_nothing_and_leaves_the_code_good(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TokenStoreError("disk full")

    link = place.link()
    with monkeypatch.context() as broken:
        broken.setattr(FileTokenStore, "put", fail)
        assert Browser().connect(link, 1).title == titled("later")
    assert place.linked() == {}
    assert Browser().connect(link, 1).title == titled("done")


@pytest.mark.parametrize("step", ["put", "add", "use", "finish"])
def test_a_crash_anywhere_is_made_good_by_opening_the_link_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Killed(BaseException):
        """Nothing runs any more after it, not even what tidies up."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    link = place.link()
    callback = Browser().back_from_garmin(link, 1)
    owner: Any = {"put": FileTokenStore, "add": SqliteIdMap, "use": Invitations, "finish": oauth.SignIns}[step]
    browser = Browser()
    callback = browser.back_from_garmin(link, 1)
    cookies = [f"{one.name}={one.value}" for one in browser.cookies]
    event = lambda_event("/oauth/callback", urlsplit(callback).query, cookies=cookies)
    with monkeypatch.context() as broken:
        broken.setattr(owner, step, die)
        broken.setattr(Invitations, "release", lambda *_: None)
        with pytest.raises(Killed):
            place.enrolments.handle(event)
    assert place.linked() in ({}, {1: ("P0001", "active")})
    if step in ("put", "add"):
        busy = Browser().connect(link, 1)
        assert (busy.status, busy.title) == (503, titled("later"))
    place.clock.now += CLAIM_S
    again = Browser().get(link) if step == "finish" else Browser().connect(link, 1)
    assert again.title == titled("used" if step == "finish" else "done")
    assert place.linked() == {1: ("P0001", "active")}
    assert place.api.access.for_user(place.cloud.user_id(1))


def test_a_state_that_cannot_be_kept_is_a_page_too(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def get(self, kind: str, name: str) -> None:
            raise EnrolmentStateError("disk full")

    link = place.link()
    place.swap(state=Broken())
    page = Browser().get(link)
    assert (page.status, page.title) == (503, titled("later"))
    assert caplog.messages == ["enrolment: not possible now: disk full"]


# -- languages


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "ja"),
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en-US;q=0.8", "ja"),
        ("en-US,en;q=0.9,ja;q=0.8", "en"),
        ("de, fr;q=0.9", "ja"),
        ("de, en;q=0.2", "en"),
        ("en;q=0, *", "ja"),
        ("en;q=0.1, ja;q=1.000", "ja"),
        ("EN", "en"),
        ("en;q=x, ja;q=0.1", "ja"),
        (";;,,q=1,en;q=", "en"),
        ("english", "ja"),
    ],
)
def test_pages_speak_the_language_that_the_browser_likes(place: Place, accepted: str, language: str) -> None:
    assert Browser(accepted).get(place.url("/oauth/start")).language == language


def test_the_other_language_is_one_link_away_on_every_page_and_stays(place: Place) -> None:
    browser, link = Browser("ja"), place.link()
    start = browser.get(link)
    assert (start.language, start.title) == ("ja", titled("start", "ja"))
    start = browser.get(place.url(start.other_language))
    assert (start.language, start.title) == ("en", titled("start"))
    denied = browser.get(f"{browser.press(start).url}&deny=1")
    assert (denied.language, denied.title) == ("en", titled("denied"))
    good = place.api
    place.swap(api=replace(good, endpoints=replace(good.endpoints, token="http://127.0.0.1:1")))
    start = browser.get(place.url(denied.button))
    later = browser.get(f"{browser.press(start).url}&auto=1")
    assert (later.language, later.title) == ("en", titled("later"))
    place.swap(api=good)
    denied = browser.get(place.url(denied.other_language))
    assert (denied.status, denied.language, denied.title) == (200, "ja", titled("denied", "ja"))
    start = browser.get(place.url(denied.button))
    assert (start.language, start.title) == ("ja", titled("start", "ja"))
    done = browser.get(f"{browser.press(start).url}&auto=1")
    assert (done.language, done.title) == ("ja", titled("done", "ja"))
    assert browser.get(place.url(done.other_language)).title == titled("done")
    used = browser.get(place.url(browser.get(link).other_language))
    assert (used.status, used.language, used.title) == (410, "en", titled("used"))


@pytest.mark.parametrize(
    "name", ["done", "denied", "later", "other-account", "over", "expired", "used", "start", "lost"]
)
def test_outcomes_keep_their_status_in_both_languages(place: Place, name: PageName) -> None:
    expected = {
        "done": 200,
        "denied": 200,
        "later": 503,
        "other-account": 409,
        "over": 400,
        "expired": 410,
        "used": 410,
    }
    path = f"/oauth/{name}"
    page = Browser().get(place.url(f"{path}?lang=ja")) if name != "start" else Browser().get(place.url(path))
    other = Browser().get(place.url(page.other_language))
    assert (page.status, other.status) == (expected.get(name, 200 if name == "start" else 404),) * 2
    assert {page.language, other.language} == {"ja", "en"}


# -- HTTP


def test_every_page_is_locked_up(place: Place) -> None:
    link = place.link()
    pages = [Browser().get(url) for url in (link, place.url("/oauth/start"), place.url("/oauth/x"), f"{link}X")]
    for page in pages:
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert (page.headers["set-cookie"] is None) == (page.title != titled("start"))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_pages_can_only_be_read(place: Place, method: str) -> None:
    answer = Browser().get(place.link(), method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    answer = Browser().get(place.url("/oauth/start/go"), method="PUT")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


# -- a link leads nobody to Garmin


def test_a_link_to_the_button_shows_the_page_first_and_whose_number_it_is(place: Place) -> None:
    link = place.link("QOL-003").replace("/oauth/start?", "/oauth/start/go?")
    page = Browser().get(link)
    assert (page.title, page.url) == (titled("start"), link)
    assert "participant number QOL-003" in page.text
    assert place.enrolments.state.entries("sign-in") == []


def test_the_button_works_only_in_the_browser_that_was_shown_its_page(place: Place) -> None:
    browser = Browser()
    page = browser.get(place.link())
    for stranger in (Browser(), Browser()):
        assert stranger.press(page).title == titled("over")
        stranger.get(place.link("P0002"))
    assert stranger.press(page).title == titled("over")
    assert place.enrolments.state.entries("sign-in") == []
    assert "/oauth2Confirm" in browser.press(page).url


@pytest.mark.parametrize("token", ["", "x", "9999999999.", "9999999999." + "0" * 64, "é", "1.é"])
def test_a_token_that_is_not_the_page_s_leads_nowhere(place: Place, token: str) -> None:
    browser = Browser()
    page = browser.press(browser.get(place.link()), token=token)
    assert (page.status, page.title) == (400, titled("over"))
    assert browser.connect(place.url(page.button), 1).title == titled("done")


def test_the_token_of_one_code_s_page_is_no_good_for_another_code(place: Place) -> None:
    browser, other = Browser(), parse_qs(urlsplit(place.link("P0002")).query)["entry"][0]
    assert browser.press(browser.get(place.link()), entry=other).title == titled("over")


def test_a_page_that_was_open_for_hours_leads_to_itself_again(place: Place) -> None:
    browser, link = Browser(), place.link()
    page = browser.get(link)
    place.clock.now += 3600
    over = browser.press(page)
    assert over.title == titled("over")
    assert browser.connect(place.url(over.button), 1).title == titled("done")


def test_a_form_that_is_too_large_is_none(place: Place) -> None:
    browser = Browser()
    assert browser.press(browser.get(place.link()), more="x" * 5000).title == titled("over")


def test_without_an_enrolment_the_paths_are_not_there(place: Place) -> None:
    link = place.link()
    place.hook.enrolment = None
    assert Browser().get(link).status == 404
    place.hook.enrolment = place.enrolments
    assert Browser().get(place.url("/oauth")).status == 404
    assert Browser().get(place.url("/health")).status == 200


def lambda_event(path: str, query: str = "", **more: Any) -> dict[str, Any]:
    """What API Gateway hands to a Lambda."""
    http_part = {"method": "GET", "path": path}
    return {"version": "2.0", "rawPath": path, "rawQueryString": query, "requestContext": {"http": http_part}, **more}


def pressed(enrolments: Enrolments, path: str, code: str) -> dict[str, Any]:
    """What a Lambda answers to the button of its first page."""
    shown = enrolments.handle(lambda_event(f"{path}/start", urlencode({"entry": code, "lang": "ja"}), cookies=["a=b"]))
    page = Page(200, enrolments.public_url, shown["headers"], shown["body"])
    cookie = shown["cookies"][0].split(";")[0]
    event = lambda_event(urlsplit(page.form[0]).path, body=urlencode(page.form[1]), cookies=["a=b", cookie])
    event["requestContext"]["http"]["method"] = "POST"
    return enrolments.handle(event)


def test_the_cookie_is_for_this_browser_and_these_pages_alone(place: Place) -> None:
    for public_url, path, secure in (
        ("http://127.0.0.1:9", "/oauth", []),
        ("https://qol.example.org", "/oauth", ["Secure"]),
        ("https://example.org/qol", "/qol/oauth", ["Secure"]),
    ):
        enrolments = replace(place.enrolments, public_url=public_url)
        code = enrolments.invitations.invite("P0001")
        answer = pressed(enrolments, path, code)
        (cookie,) = answer["cookies"]
        value, *rest = cookie.split("; ")
        assert re.fullmatch(rf"{COOKIE}=[A-Za-z0-9_-]{{43}}\.[A-Z0-9]{{16}}\.ja", value)
        assert rest == [f"Path={path}", "Max-Age=600", "HttpOnly", "SameSite=Lax", *secure]
        back = parse_qs(urlsplit(answer["headers"]["location"]).query)["redirect_uri"]
        assert back == [f"{public_url}/oauth/callback"]


@pytest.mark.parametrize("cookie", ["", "x", "x.y", "." * 50, "x.y.z.z", "A" * 42, "A" * 44, "A" * 42 + "é"])
def test_a_cookie_that_is_not_ours_is_not_kept(place: Place, cookie: str) -> None:
    event = lambda_event("/oauth/start/go", urlsplit(place.link()).query, cookies=[f"{COOKIE}={cookie}"])
    value = place.enrolments.handle(event)["cookies"][0].partition("=")[2].partition(".")[0]
    assert re.fullmatch("[A-Za-z0-9_-]{43}", value)


@pytest.mark.parametrize("where", ["cookies", "headers"])
def test_a_lambda_event_brings_its_cookies_in_either_place(place: Place, where: str) -> None:
    sent = pressed(place.enrolments, "/oauth", place.enrolments.invitations.invite("P0001"))
    cookie = sent["cookies"][0].split(";")[0]
    back = Browser().get(f"{sent['headers']['location']}&auto=1", follow=False).headers["location"]
    brought = {"cookies": ["a=b", cookie]} if where == "cookies" else {"headers": {"Cookie": f"a=b; {cookie}"}}
    answer = place.enrolments.handle(lambda_event("/oauth/callback", urlsplit(back).query, **brought))
    assert (answer["statusCode"], answer["headers"]["location"]) == (303, place.url("/oauth/done?lang=ja"))


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"rawPath": "/oauth/start"},
        lambda_event("/oauth/start", "&".join(["a"] * 500)) | {"headers": None, "cookies": None},
    ],
)
def test_an_odd_event_is_answered(place: Place, event: dict[str, Any]) -> None:
    assert place.enrolments.handle(event)["statusCode"] in (200, 405)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "qol.example.org",
        "ftp://x",
        "https://",
        "https://x/",
        "https://x?y",
        "https://a@x",
        "http://[",
        "https://x\n",
    ],
)
def test_a_public_url_must_be_one(place: Place, url: str) -> None:
    with pytest.raises(EnrolmentSetupError, match="QOL_PUBLIC_URL must be like"):
        replace(place.enrolments, public_url=url)


def test_nothing_private_is_on_a_page_or_in_the_log(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    browser, link = Browser(), place.link("P0001")
    pages = [browser.get(link), browser.connect(link, 1), browser.get(link), browser.get(f"{link}X")]
    other = Browser()
    pages.append(other.connect(place.link("P0002"), 1))
    pages.append(Browser().get(place.url("/oauth/callback?code=a-code&state=a-state")))
    user = place.cloud.user_id(1)
    kept = place.api.store.get(user)
    assert kept
    private = [user, kept.access_token, kept.refresh_token, "sim-secret", "P0002", "a-code", "a-state"]
    private += [one.value for jar in (browser, other) for one in jar.cookies]
    shown = "\n".join(page.text for page in pages)
    code = parse_qs(urlsplit(link).query)["entry"][0]
    ours = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("qol_"))
    assert "came back from Garmin, done" in ours
    for one in private:
        assert one not in shown
        assert one not in caplog.text
    assert [number for number, page in enumerate(pages) if "P0001" in page.text] == [0]  # the page that names it
    for one in (code, code.replace("-", ""), "/oauth/", "state=", "P0001"):
        assert one not in caplog.text


def test_no_code_state_or_cookie_can_be_read_where_they_are_kept(place: Place, tmp_path: Path) -> None:
    browser, link = Browser(), place.link()
    code = parse_qs(urlsplit(link).query)["entry"][0]
    at_garmin = browser.to_garmin(link)
    state = parse_qs(urlsplit(at_garmin.url).query)["state"][0]
    (cookie,) = [one.value for one in browser.cookies]
    browser.get(f"{at_garmin.url}&auto=1")
    kept = (tmp_path / "enrolment.sqlite").read_bytes()
    for secret in (code, code.replace("-", ""), state, cookie, cookie[:43], place.cloud.user_id(1)):
        assert secret.encode() not in kept
    assert (tmp_path / "enrolment.sqlite").stat().st_mode & 0o777 == 0o600


def test_enrolments_show_their_secrets_to_nobody(place: Place) -> None:
    assert "sim-secret" not in repr(place.enrolments)


# -- the entry point in Lambda


@pytest.fixture
def _fresh() -> Iterator[None]:
    oauth._enrolments_of_environment.cache_clear()
    yield
    oauth._enrolments_of_environment.cache_clear()
    logging.getLogger("qol_ingest").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("_fresh")
def test_the_lambda_is_set_up_once_from_its_variables(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "QOL_PUBLIC_URL": place.hook.base_url,
        "QOL_GARMIN_CLIENT_ID": "sim-client",
        "QOL_GARMIN_CLIENT_SECRET": "sim-secret",
        "QOL_GARMIN_URL": place.cloud.base_url,
        "QOL_HOME": str(tmp_path),
        "QOL_PROGRAMME_EN": "Test <Programme>",
        "QOL_CONTACT": "03-0000-0000",
    }.items():
        monkeypatch.setenv(name, value)
    query = urlsplit(place.link("P0003")).query
    answer = oauth.handler(lambda_event("/oauth/start", f"{query}&lang=en"), None)
    assert answer["statusCode"] == 200
    assert "Test &lt;Programme&gt;" in answer["body"]
    assert "Contact: 03-0000-0000" in answer["body"]
    assert oauth._enrolments_of_environment() is oauth._enrolments_of_environment()
    place.swap(**{name: getattr(oauth._enrolments_of_environment(), name) for name in ("state", "api", "id_map")})
    assert Browser().connect(place.link("P0003"), 3).title == titled("done")


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"QOL_PUBLIC_URL": "", "QOL_GARMIN_CLIENT_ID": ""}, "QOL_PUBLIC_URL and QOL_GARMIN_CLIENT_ID"),
        ({"QOL_PUBLIC_URL": "x"}, "QOL_PUBLIC_URL must be like"),
        ({"QOL_GARMIN_CLIENT_SECRET": ""}, "either QOL_GARMIN_CLIENT_SECRET or"),
        ({"QOL_GARMIN_CLIENT_SECRET_ARN": "x"}, "either QOL_GARMIN_CLIENT_SECRET or"),
        ({"QOL_HOME": ""}, "QOL_ENROLMENT_TABLE and QOL_ID_MAP_TABLE, or QOL_HOME"),
        ({"QOL_ID_MAP_TABLE": "x"}, "QOL_ENROLMENT_TABLE and QOL_ID_MAP_TABLE, or QOL_HOME"),
        ({"QOL_ID_MAP_TABLE": "x", "QOL_HOME": ""}, "QOL_ENROLMENT_TABLE and QOL_ID_MAP_TABLE, or QOL_HOME"),
    ],
)
def test_a_lambda_that_is_not_set_up_says_what_is_missing(
    changed: dict[str, str], missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    variables = {
        "QOL_PUBLIC_URL": "https://qol.example.org",
        "QOL_GARMIN_CLIENT_ID": "c",
        "QOL_GARMIN_CLIENT_SECRET": "s",
        "QOL_HOME": "h",
    }
    for name, value in (variables | changed).items():
        monkeypatch.setenv(name, value)
    assert oauth.handler(lambda_event("/oauth/start"), None)["statusCode"] == 503
    assert len(caplog.messages) == 1
    assert missing in caplog.text


class SecretsManager:
    """Holds one secret, and refuses all others."""

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803 - boto3's own name
        if SecretId != "arn:right":
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no arn:wrong for you"}}, "Get")
        return {"SecretString": "sim-secret"}


@pytest.mark.usefixtures("_fresh")
def test_on_aws_everything_is_kept_there_and_the_client_secret_read_from_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from qol_ingest.shared.id_map_dynamo import DynamoIdMap

    monkeypatch.setattr(tokens_aws, "_secrets_manager", SecretsManager)
    for name, value in {
        "QOL_PUBLIC_URL": "https://qol.example.org",
        "QOL_GARMIN_CLIENT_ID": "sim-client",
        "QOL_GARMIN_CLIENT_SECRET_ARN": "arn:wrong",
        "QOL_ENROLMENT_TABLE": "enrolment",
        "QOL_ID_MAP_TABLE": "user_id_map",
        "QOL_TOKEN_KMS_KEY": "key-1",
    }.items():
        monkeypatch.setenv(name, value)
    assert oauth.handler(lambda_event("/oauth/start"), None)["statusCode"] == 503
    assert caplog.messages == ["enrolment not set up: Secrets Manager refused get_secret_value: AccessDeniedException"]
    monkeypatch.setenv("QOL_GARMIN_CLIENT_SECRET_ARN", "arn:right")
    assert oauth.handler(lambda_event("/oauth/start"), None)["statusCode"] == 200
    made = oauth._enrolments_of_environment()
    assert made.api.client_secret == "sim-secret"
    assert made.api.endpoints == Endpoints()
    assert made.state == DynamoState("enrolment")
    assert made.api.store == SecretsManagerTokenStore("qol/garmin/", "key-1")
    assert made.id_map == DynamoIdMap("user_id_map")


def test_a_programme_names_itself(place: Place) -> None:
    place.swap(programme=Programme({"ja": "花子プログラム", "en": "Hanako"}, "hanako@example.org"))
    assert "花子プログラム" in Browser("ja").get(place.link()).text
    assert "Contact: hanako@example.org" in Browser().get(place.link()).text
