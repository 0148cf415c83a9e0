"""Pings and lifecycle events worked off, against a real HTTP server in Garmin's place that does what a test wants."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from qol_ingest.garmin.api import Endpoints, GarminApi
from qol_ingest.garmin.tokens import Tokens, TokenStoreError
from qol_ingest.garmin.tokens_file import FileTokenStore
from qol_ingest.pulling import puller as module
from qol_ingest.pulling import renewal
from qol_ingest.pulling.messages import Worked, drain, settle
from qol_ingest.pulling.puller import Puller, PullerSetupError, handler, participant_names
from qol_ingest.pulling.renewal import RenewalError, keep_renewing, renew_tokens
from qol_ingest.records import parse_body
from qol_ingest.shared.erasures import Ledger
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.queues import DirectoryQueue, Message, QueueError, announced, announcement
from qol_ingest.shared.stores import DirectoryStore, NotifyingStore, StoreError
from qol_ingest.webhook import Receiver

USER = "4aacafe82427c251df9c9592d0c06768"
STRANGER = "ffeeddccbbaa99887766554433221100"
RECEIVED = datetime(2026, 11, 23, 16, 30, tzinfo=UTC)  # the 24th in Japan
TODAY = "2026-11-24"
DAY = {"summaryId": "s1", "calendarDate": "2026-11-20", "steps": 471147114711, "userId": USER}
PRIVATE = ("-secret", USER, STRANGER, "token=", "471147114711")
"""What no log line, no dead letter and no key may hold."""


# -- Garmin's place


@dataclass
class Reply:
    status: int = 200
    content: bytes = b"[]"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


def summaries(*records: Mapping[str, Any]) -> Reply:
    return Reply(content=json.dumps(records).encode())


class Garmin(ThreadingHTTPServer):
    """Answers what `reply` says to a path without its query; counts requests by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()
        self.reply: Callable[[str], Reply] = lambda _path: summaries(DAY)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answers(self, *replies: Reply) -> None:
        """These in turn, the last one for ever."""
        waiting = list(replies)
        self.reply = lambda _path: waiting.pop(0) if len(waiting) > 1 else waiting[0]


class _Handler(BaseHTTPRequestHandler):
    server: Garmin
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        path = self.path.partition("?")[0].removeprefix("/wellness-api/rest/")
        self.server.asked[path] += 1
        reply = self.server.reply(path)
        self.send_response(reply.status)
        for name, value in {**reply.headers, "content-length": str(len(reply.content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content[: reply.cut])
        self.close_connection = True

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
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


# -- our side


@dataclass
class World:
    """A receiver whose pings reach a puller by a queue, on one machine. `later_s` moves the queue's clock on."""

    home: Path
    garmin: Garmin
    later_s: float = 0.0
    now_s: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = DirectoryStore(self.home / "lake")
        self.queue = DirectoryQueue(self.home / "arrivals", clock=lambda: time.time() + self.later_s)
        self.letters = DirectoryQueue(self.home / "lost")
        self.people = SqliteIdMap(self.home / "user_id_map.sqlite")
        self.tokens = FileTokenStore(self.home / "tokens.sqlite", self.home / "tokens.key")
        self.people.add(USER, "P0001")
        self.connect(USER)
        self.api = GarminApi(
            Endpoints.at(self.garmin.url), "app", "client-secret", self.tokens, participant_names(self.people), 2.0
        )
        self.receiver = Receiver(NotifyingStore(self.store, self.queue), "webhook-secret-0123")
        self.puller = self.new_puller()

    def new_puller(self, **more: Any) -> Puller:
        given = {"clock": lambda: self.now_s, "sleep": self.sleep, "chance": lambda: 1.0, **more}
        return Puller(self.store, self.api, self.people, self.letters, **given)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def connect(self, user: str) -> None:
        now = time.time()
        self.tokens.put(user, Tokens("access-secret", "refresh-secret", now + 86_400, now + 90 * 86_400))

    def url(self, path: str = "dailies", token: str = "t1") -> str:
        return f"{self.garmin.url}/wellness-api/rest/{path}?uploadStartTimeInSeconds=1&token={token}"

    def push(self, body: Mapping[str, Any], at: datetime = RECEIVED) -> None:
        event = {
            "rawPath": "/garmin/webhook-secret-0123",
            "requestContext": {"http": {"method": "POST"}},
            "body": json.dumps(body),
        }
        assert self.receiver.handle(event, at)["statusCode"] == 200

    def ping(self, *kinds: str, at: datetime = RECEIVED, user: str = USER, **more: Any) -> None:
        """Garmin says that something of some types waits under a URL that ends like the type."""
        self.push({kind: [{"userId": user, "callbackURL": self.url(kind), **more}] for kind in kinds}, at)

    def work(self, puller: Puller | None = None) -> Worked:
        return drain(self.queue, (puller or self.puller).work)

    def later(self, hours: float = 6) -> Worked:
        """What was put off is due."""
        self.later_s += 3600 * hours
        return self.work()

    def objects(self, prefix: str = "raw/daily") -> dict[str, bytes]:
        found = sorted((self.store.root / prefix).rglob("*.*"))
        return {str(path.relative_to(self.store.root)): path.read_bytes() for path in found}

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for content in self.objects().values() for line in content.splitlines()]

    def markers(self) -> list[dict[str, Any]]:
        return [json.loads(content) for content in self.objects("raw/pulled").values()]

    def lost(self) -> list[dict[str, Any]]:
        return [json.loads(message.body) for message in self.letters.receive(100)]

    def dead(self) -> list[str]:
        return [path.read_text() for path in (self.home / "arrivals" / "dead").glob("*")]


@pytest.fixture
def world(tmp_path: Path, garmin: Garmin, caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    caplog.set_level(logging.DEBUG)
    world = World(tmp_path, garmin)
    yield world
    keys = [str(path) for path in (tmp_path / "lake").rglob("*")]
    letters = [path.read_text() for folder in ("lost", "arrivals/dead") for path in (tmp_path / folder).glob("*")]
    told = "\n".join([caplog.text, *keys, *letters, *map(str, world.markers())])
    assert not [private for private in PRIVATE if private in told.replace("-secret-0123", "")]


# -- what a ping brings


def test_what_a_ping_points_at_is_stored_just_as_a_push_of_it_would_be(world: World) -> None:
    world.garmin.answers(summaries({**DAY, "userAccessToken": "access-secret"}, {"userId": USER, "steps": 1.50}))
    world.ping("dailies")
    assert world.work() == Worked({"stored": 1})
    body = b'{"dailies":' + world.garmin.reply("").content + b"}"
    (name,) = {line["_ingest_id"] for line in world.lines()}
    daily = parse_body(body, RECEIVED, ingest_id=name).daily
    assert world.objects() == {
        f"raw/daily/date={day}/{name}.jsonl": "\n".join([*lines, ""]).encode() for day, lines in daily.items()
    }
    assert set(daily) == {"2026-11-20", TODAY}
    (marker,) = world.markers()
    assert marker == {"outcome": "stored", "records": 2, "at": marker["at"]}
    (key,) = world.objects("raw/pulled")
    assert key.startswith(f"raw/pulled/date={TODAY}/")


def test_a_summary_without_its_user_gets_the_ping_s_for_else_it_would_be_nobody_s(world: World) -> None:
    named, nameless = {"steps": 1, **DAY}, {"summaryId": "s2", "calendarDate": "2026-11-20", "name": "café  x"}
    world.garmin.answers(summaries(nameless, named, {}))
    world.ping("dailies")
    world.work()
    assert [line["userId"] for line in world.lines()] == [USER] * 3
    first = next(line for line in world.lines() if line.get("summaryId") == "s2")
    assert {key: first[key] for key in nameless} == nameless
    assert list(first)[:4] == ["_summary_type", "_received_at", "_ingest_id", "userId"]


@pytest.mark.parametrize(
    ("kind", "content", "types"),
    [
        ("pulseox", {"pulseox": [DAY]}, ["pulseox"]),
        ("pulseox", {"pulseOx": [DAY]}, ["pulseOx"]),
        ("allDayRespiration", {"respiration": [DAY]}, ["respiration"]),
        ("dailies", DAY, ["dailies"]),
        ("sleeps", {"naps": [{"napDurationInSeconds": 60}], **DAY}, ["sleeps"]),
        ("typeOfTomorrow", [DAY, DAY], ["typeOfTomorrow"] * 2),
        ("dailies", [], []),
        ("dailies", {}, []),
        ("dailies", None, []),
    ],
)
def test_a_list_one_summary_or_a_body_are_all_understood(
    world: World, kind: str, content: object, types: list[str]
) -> None:
    world.garmin.answers(Reply(content=b"" if content is None else b"\xef\xbb\xbf \n" + json.dumps(content).encode()))
    world.ping(kind)
    assert world.work() == Worked({"stored": 1})
    assert [line["_summary_type"] for line in world.lines()] == types
    assert [marker["records"] for marker in world.markers()] == [len(types)]
    assert world.objects("raw/quarantine") == {}


@pytest.mark.parametrize("content", [b"<html>", b"[{", b'"text"', b"\xff\xfe[]", b"[1] [2]", b"[" * 100_000])
def test_content_that_is_no_json_is_kept_byte_for_byte_in_quarantine(world: World, content: bytes) -> None:
    world.garmin.answers(Reply(content=content))
    world.ping("dailies")
    assert world.work() == Worked({"quarantined": 1})
    ((key, kept),) = world.objects("raw/quarantine").items()
    assert re.fullmatch(f"raw/quarantine/date={TODAY}/[0-9a-f]{{64}}.body", key)
    assert kept == content
    assert world.objects() == {}


def test_elements_that_are_no_summaries_go_to_quarantine_and_the_others_count(world: World) -> None:
    world.garmin.answers(Reply(content=b'[1,{"steps":2},null]'))
    world.ping("dailies")
    assert world.work() == Worked({"stored": 1})
    assert [line["steps"] for line in world.lines()] == [2]
    (rejects,) = world.objects("raw/quarantine").values()
    assert [json.loads(line)["value"] for line in rejects.splitlines()] == [1, None]


@pytest.mark.parametrize(
    ("told", "ending"), [("FIT", "fit"), ("TCX", "tcx"), ("gpx", "gpx"), ("../x", "bin"), (7, "bin")]
)
def test_a_file_is_kept_byte_for_byte_and_its_marker_says_where(world: World, told: object, ending: str) -> None:
    content = bytes(range(256)) * 1000
    world.garmin.answers(Reply(content=content))
    world.ping("activityFiles", fileType=told)
    assert world.work() == Worked({"stored": 1})
    ((key, kept),) = world.objects("raw/files").items()
    assert re.fullmatch(f"raw/files/date={TODAY}/[0-9a-f]{{64}}.{ending}", key)
    assert kept == content
    assert [marker["file"] for marker in world.markers()] == [key]
    assert world.objects() == {}


@pytest.mark.parametrize(
    ("kind", "content", "prefix"),
    [
        ("activities", b'[{"activityId": 12345}]', "raw/daily"),
        ("activityFiles", b"FIT", "raw/files"),
        ("activities", b"<html>", "raw/quarantine"),
        ("activities", b"[1]", "raw/quarantine"),
    ],
)
def test_the_same_bytes_of_two_users_are_stored_for_both(world: World, kind: str, content: bytes, prefix: str) -> None:
    world.people.add(STRANGER, "P0002")
    world.connect(STRANGER)
    world.garmin.answers(Reply(content=content))
    for user in (USER, STRANGER):
        world.ping(kind, user=user)
    world.work()
    assert len(world.objects(prefix)) == 2
    assert sorted(line["userId"] for line in world.lines()) == (sorted([USER, STRANGER]) if "daily" in prefix else [])


def test_a_download_counts_as_received_when_its_ping_was_so_a_late_one_supersedes_nothing(world: World) -> None:
    old, new = summaries({**DAY, "steps": 1}), summaries({**DAY, "steps": 2})
    world.garmin.answers(Reply(503))
    world.ping("dailies")
    assert world.work().waiting == 1
    world.garmin.answers(new)
    world.push({"dailies": [{"userId": USER, "callbackURL": world.url(token="t2")}]}, RECEIVED + timedelta(minutes=9))
    world.work()
    world.garmin.answers(old)
    world.later()
    by_time = sorted(world.lines(), key=lambda line: line["_received_at"])
    assert [line["steps"] for line in by_time] == [1, 2]


# -- once


def test_a_ping_is_fetched_once_however_often_it_is_announced_or_sent(world: World) -> None:
    world.ping("dailies", "sleeps")
    world.ping("dailies", "sleeps")
    (key,) = world.objects("raw/pings")
    world.queue.send(announcement(key))
    world.work()
    world.push({"dailies": [{"callbackURL": world.url(), "userId": USER}], "sleeps": []})  # in another body
    world.work()
    assert world.garmin.asked == {"dailies": 1, "sleeps": 1}
    assert world.queue.receive() == []


def test_two_pullers_on_one_ping_store_it_once(world: World) -> None:
    world.ping("dailies")
    (key,) = world.objects("raw/pings")
    both = threading.Barrier(2, timeout=10)

    def reply(_path: str) -> Reply:
        both.wait()
        return summaries(DAY)

    world.garmin.reply = reply
    message = Message(announcement(key), "", 1)
    worked: list[Worked] = []
    threads = [threading.Thread(target=lambda: worked.append(world.new_puller().work(message, 1e9))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.garmin.asked["dailies"] == 2
    assert len(world.lines()) == 1
    assert sorted((dict(one.outcomes) for one in worked), key=len) == [{}, {"stored": 1}]


@dataclass
class Dying:
    """A store that fails at one kind of object, once."""

    store: DirectoryStore
    at: str
    died: bool = False

    def get(self, key: str) -> bytes | None:
        return self.store.get(key)

    def put_new(self, key: str, content: bytes) -> bool:
        if key.startswith(self.at) and not self.died:
            self.died = True
            raise StoreError("killed here")
        return self.store.put_new(key, content)


@pytest.mark.parametrize("at", ["raw/pulled/", f"raw/daily/date={TODAY}", "raw/files/"])
def test_killed_between_storing_and_the_marker_it_starts_again_and_nothing_is_there_twice(
    world: World, at: str
) -> None:
    world.garmin.reply = lambda path: Reply(content=b"FIT") if path == "activityFiles" else summaries(DAY, {"steps": 1})
    world.ping("dailies", "activityFiles")
    assert world.work(replace(world.puller, store=Dying(world.store, at))).waiting
    world.later()
    assert sorted(line["steps"] for line in world.lines()) == [1, 471147114711]
    assert len(world.objects()) == 2
    assert len(world.objects("raw/files")) == 1
    assert len(world.markers()) == 2
    assert world.queue.receive() == []


# -- patience


def test_after_a_429_it_waits_as_long_as_garmin_asks_and_goes_on(world: World) -> None:
    world.garmin.answers(Reply(429, headers={"retry-after": "7"}), summaries(DAY))
    world.ping("dailies")
    assert world.work() == Worked({"stored": 1})
    assert world.slept == [7.0 + 2.0]


def test_tries_of_one_download_are_few_and_further_and_further_apart(world: World) -> None:
    world.garmin.answers(Reply(500))
    world.ping("dailies")
    assert world.work().waiting == 1
    assert world.slept == [2.0, 4.0, 8.0]
    assert world.garmin.asked["dailies"] == 4


def test_a_long_retry_after_stops_all_requests_and_the_message_comes_back_no_sooner(world: World) -> None:
    world.garmin.answers(Reply(429, headers={"retry-after": "3000"}))
    world.ping("dailies", "sleeps", "epochs")
    worked = world.work()
    assert (worked.waiting, worked.wait_s) == (3, 3000.0)
    assert world.slept == []
    assert sum(world.garmin.asked.values()) == 1
    world.garmin.answers(summaries(DAY))
    assert world.later(2990 / 3600) == Worked()
    assert world.later(11 / 3600) == Worked({"stored": 3})


def test_it_does_not_sleep_through_a_minute_that_the_queue_can_wait_for(world: World) -> None:
    world.garmin.answers(Reply(503, headers={"retry-after": "61"}))
    world.ping("dailies")
    assert world.work().wait_s == 61.0
    assert world.slept == []


def test_an_absurd_retry_after_costs_hours_not_years(world: World) -> None:
    world.garmin.answers(Reply(503, headers={"retry-after": "999999999"}))
    world.ping("dailies")
    assert world.work().wait_s == 3 * 3600


def test_errors_for_ever_end_as_a_dead_letter_and_cost_the_other_pings_nothing(world: World) -> None:
    world.garmin.reply = lambda path: Reply(502) if path == "sleeps" else summaries(DAY)
    world.ping("sleeps", "dailies")
    assert world.work() == Worked({"stored": 1}, 1, 60.0)
    waits = [world.later().wait_s for _ in range(5)]
    assert waits == [60.0, 240.0, 960.0, 3840.0, 10_800.0]
    assert world.dead() == []
    assert world.later() == Worked()
    assert len(world.dead()) == 1
    assert len(world.lines()) == 1
    assert world.lost() == []
    # An operator sends it back once Garmin is well again.
    world.garmin.answers(summaries(DAY))
    assert (world.queue.redrive(), world.dead()) == (1, [])
    assert world.work() == Worked({"stored": 1})
    assert world.queue.redrive() == 0


def test_an_outage_of_hours_is_outlived(world: World) -> None:
    world.garmin.answers(Reply(503))
    world.ping("dailies")
    world.work()
    for _ in range(3):
        world.later()
    world.garmin.answers(summaries(DAY))
    assert world.later() == Worked({"stored": 1})


def test_a_connection_that_breaks_half_way_leaves_nothing_and_is_tried_again(world: World) -> None:
    whole = summaries(*[DAY] * 5000)
    world.garmin.answers(replace(whole, cut=len(whole.content) // 2), replace(whole, cut=0), whole)
    world.ping("dailies")
    assert world.work() == Worked({"stored": 1})
    assert len(world.lines()) == 5000
    assert len(world.objects()) == 1
    assert world.objects("raw/quarantine") == {}


def test_nothing_is_begun_after_its_time_and_a_message_that_gets_on_never_dies(world: World) -> None:
    kinds = [f"type{letter}" for letter in "abcdefghij"]

    def reply(_path: str) -> Reply:
        world.now_s += 60
        return summaries(DAY)

    world.garmin.reply = reply
    world.ping(*kinds)
    stored = world.work().outcomes["stored"]
    assert stored == 3  # of 150 s
    for _ in range(3):
        stored += world.later().outcomes["stored"]
    assert stored == 10
    assert world.garmin.asked == dict.fromkeys(kinds, 1)
    assert world.dead() == []


# -- what will not come


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_what_garmin_refuses_is_not_asked_again_and_an_operator_hears_of_it_once(world: World, status: int) -> None:
    world.garmin.answers(Reply(status))
    world.ping("dailies")
    world.ping("dailies")
    assert world.work() == Worked({"lost": 1})
    world.later()
    assert world.garmin.asked == {"dailies": 1}
    why = f"Garmin answered {status} to a callback"
    letter = {"outcome": "lost", "type": "dailies", "date": TODAY, "participant": "P0001", "why": why}
    assert world.lost() == [letter]


def revoke(people: SqliteIdMap) -> None:
    people.revoke("P0001")


def withdraw(people: SqliteIdMap) -> None:
    people.narrow_permissions(USER, ["ACTIVITY_EXPORT"], RECEIVED)


@pytest.mark.parametrize("change", [revoke, withdraw])
def test_nothing_is_fetched_for_who_was_revoked_or_withdrew_a_permission(
    world: World, change: Callable[[SqliteIdMap], None]
) -> None:
    change(world.people)
    world.ping("dailies")
    world.work()
    assert world.later() == Worked({"withdrawn": 1})
    assert world.garmin.asked == {}
    assert [marker["outcome"] for marker in world.markers()] == ["withdrawn"]
    assert world.lost() == []


def test_a_download_of_who_is_being_erased_meanwhile_is_not_stored(world: World) -> None:
    ledger = Ledger(world.home)

    def reply(_path: str) -> Reply:
        ledger.append("begun", [USER])
        return summaries(DAY)

    world.garmin.reply = reply
    world.ping("dailies")
    puller = world.new_puller(refusals=ledger)
    world.work(puller)
    world.later_s += 6 * 3600
    world.work(puller)
    assert world.objects() == {}
    assert [one["outcome"] for one in world.markers()] == ["withdrawn"]


def test_pings_are_fetched_by_what_their_type_needs(world: World) -> None:
    world.people.narrow_permissions(USER, ["ACTIVITY_EXPORT"], RECEIVED)
    world.ping("activities", "dailies", "activityDetails", "typeOfTomorrow")
    world.work()
    world.later()
    assert world.garmin.asked == {"activities": 1, "activityDetails": 1}


@pytest.mark.parametrize("kind", ["mct", "menstrualCycleTracking"])
def test_a_cycle_is_fetched_only_with_the_permission_for_it_whatever_its_type_is_called(
    world: World, kind: str
) -> None:
    world.people.narrow_permissions(USER, ["ACTIVITY_EXPORT", "HEALTH_EXPORT"], RECEIVED)
    world.ping("dailies", kind)
    world.work()
    world.later()
    assert world.garmin.asked == {"dailies": 1}


def test_a_ping_waits_while_it_is_not_certain_that_its_user_has_left(world: World) -> None:
    world.garmin.reply = lambda path: Reply(503) if path == "user/id" else summaries(DAY)
    world.push({"deregistrations": [{"userId": USER}]}, datetime.now(UTC) + timedelta(seconds=1))
    world.ping("dailies")
    assert world.work().outcomes == {"applied": 1}
    assert world.garmin.asked["dailies"] == 0
    world.people.reinstate(USER, datetime.now(UTC) + timedelta(minutes=1))
    assert world.later().outcomes["stored"] == 1


def test_a_user_who_has_left_costs_no_request(world: World) -> None:
    world.people.deregister(USER, datetime.now(UTC) + timedelta(seconds=1))
    world.tokens.delete(USER)
    world.ping("dailies")
    world.work()
    assert world.later() == Worked({"withdrawn": 1})
    assert world.garmin.asked == {}


def test_a_file_that_was_fetched_before_and_never_kept_is_gone(world: World) -> None:
    world.garmin.answers(Reply(410))
    world.ping("activityFiles")
    assert world.work().waiting == 1
    assert world.later() == Worked({"gone": 1})
    assert [letter["outcome"] for letter in world.lost()] == ["gone"]
    assert world.later() == Worked()


def test_a_file_that_another_puller_is_about_to_keep_is_not_gone(world: World) -> None:
    world.ping("activityFiles")
    (key,) = world.objects("raw/pings")
    message = Message(announcement(key), "", 1)

    def reply(_path: str) -> Reply:
        world.garmin.answers(Reply(410))
        assert world.new_puller().work(message).waiting == 1  # the other one comes second
        return Reply(content=b"FIT")

    world.garmin.reply = reply
    assert world.work() == Worked({"stored": 1})
    assert world.new_puller().work(replace(message, receives=2)) == Worked()
    assert world.lost() == []


def test_a_ping_for_someone_without_tokens_has_a_second_chance_for_the_consent_may_be_under_way(world: World) -> None:
    world.people.add(STRANGER, "P0002")
    world.ping("dailies", user=STRANGER)
    assert world.work().waiting == 1
    world.connect(STRANGER)
    assert world.later() == Worked({"stored": 1})


def test_without_consent_a_ping_is_given_up_without_asking_garmin(world: World) -> None:
    world.ping("dailies", user=STRANGER)
    world.work()
    assert world.later() == Worked({"consent": 1})
    assert world.garmin.asked == {}
    (letter,) = world.lost()
    assert (letter["outcome"], letter["participant"]) == ("consent", "a user who is not enrolled")


@pytest.mark.parametrize(("status", "error"), [(401, "invalid_client"), (400, "unauthorized_client"), (403, "")])
def test_a_wrong_client_secret_loses_no_ping(world: World, status: int, error: str) -> None:
    world.tokens.put(USER, Tokens("access-secret", "refresh-secret", 0.0, time.time() + 9e6))
    world.garmin.reply = lambda path: (
        Reply(status, json.dumps({"error": error}).encode()) if path.endswith("oauth/token") else summaries(DAY)
    )
    world.ping("dailies")
    assert world.work().waiting == 1
    assert world.later().waiting == 1
    assert world.markers() == []
    world.connect(USER)
    assert world.later() == Worked({"stored": 1})


def test_a_download_beyond_the_limit_is_broken_off_and_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_DOWNLOAD_BYTES", 100_000)
    world.garmin.reply = lambda path: Reply(content=b"x" * (100_000 if path == "activityFiles" else 100_001))
    world.ping("dailies", "activityFiles")
    assert world.work() == Worked({"lost": 1, "stored": 1})
    assert world.objects("raw/quarantine") == {}
    assert [letter["why"] for letter in world.lost()] == ["it is larger than Garmin's largest"]


@contextmanager
def trap() -> Iterator[tuple[int, list[object]]]:
    """A port on which nobody may ever connect, and who did."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        came: list[object] = []
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                came.append(address)
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            time.sleep(0.1)
            ended.set()
            thread.join()


def test_hostile_urls_are_never_connected_to(world: World) -> None:
    rest = "/wellness-api/rest/dailies?token=t1"
    host = world.garmin.url.removeprefix("http://")
    with trap() as (port, came):
        evil = f"127.0.0.1:{port}"
        hostile: list[object] = [
            f"http://{evil}{rest}",
            f"http://{host}@{evil}{rest}",
            f"http://{evil}#{host}{rest}",
            f"http://{host}:x@{evil}{rest}",
            f"http://{host}\\@{evil}{rest}",
            f"http://localhost:{port}{rest}",
            f"//{evil}{rest}",
            f"http://{host}.{evil}{rest}",
            f"https://{evil}{rest}",
            f"{world.garmin.url}/wellness-api/rest/../../x",
            f"{world.garmin.url}/wellness-api/rest/%2e%2e/x",
            f"{world.garmin.url}/wellness-api/rest/dailies\r\nhost: {evil}",
            f"{world.garmin.url}/wellness-api/rest/backfill/dailies?token=t1",
            f"{world.garmin.url}/wellness-api/rest/user/registration",
            "file:///etc/passwd",
            7,
            [f"http://{evil}{rest}"],
        ]
        world.push({"dailies": [{"userId": USER, "callbackURL": url} for url in hostile]})
        assert world.work() == Worked({"refused": len(hostile)})
    assert came == []
    assert world.garmin.asked == {}
    assert Counter(letter["outcome"] for letter in world.lost()) == {"refused": len(hostile)}


def test_garmin_is_not_followed_to_another_host(world: World) -> None:
    with trap() as (port, came):
        world.garmin.answers(Reply(302, headers={"location": f"http://127.0.0.1:{port}/wellness-api/rest/dailies"}))
        world.ping("dailies")
        assert world.work() == Worked({"lost": 1})
    assert came == []


def test_odd_pings_are_refused_and_a_type_that_may_be_an_id_is_not_told(world: World) -> None:
    world.push({USER: [{"userId": 7, "callbackURL": world.url()}], "x" * 99: [{"callbackURL": "\ud800"}]})
    for _ in range(3):
        world.later()
    assert sorted(letter["outcome"] for letter in world.lost()) == ["consent", "refused"]
    assert {letter["type"] for letter in world.lost()} <= {"unknown"}


# -- messages


def test_what_is_no_announcement_of_ours_is_dropped_with_a_line_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    test_event = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"})
    odd_key = json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": 7}}}]})
    removed = json.dumps({"Records": [{"eventName": "ObjectRemoved:Delete", "s3": {"object": {"key": "raw/pings/x"}}}]})
    for body in (test_event, "", "[", "[" * 100_000, "null", '{"Records":[7]}', '{"Records":"x"}', odd_key, removed):
        caplog.clear()
        world.queue.send(body)
        assert world.work() == Worked()
        assert "a message announces no object; it is dropped" in caplog.text
    for key in ("raw/daily/date=2026-11-20/x.jsonl", "raw/pings/date=2026-11-20/missing.jsonl"):
        caplog.clear()
        world.queue.send(announcement(key))
        assert world.work() == Worked()
        assert "passed over" in caplog.text
    assert world.queue.receive() == []


def test_one_message_may_announce_several_objects_under_quoted_keys(world: World) -> None:
    world.ping("dailies")
    world.ping("sleeps")
    keys = list(world.objects("raw/pings"))
    for message in world.queue.receive():
        world.queue.done(message)
    records = [json.loads(announcement(key))["Records"][0] for key in keys]
    assert all("%2F" in record["s3"]["object"]["key"] for record in records)
    world.queue.send(json.dumps({"Records": records}))
    assert world.work() == Worked({"stored": 2})


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"_received_at":"x"}', b'{"a":' * 100_000, b"7"])
def test_a_line_that_is_no_ping_of_ours_hides_none_of_the_others(world: World, line: bytes) -> None:
    world.ping("dailies")
    (content,) = world.objects("raw/pings").values()
    other = "raw/pings/date=2026-11-24/other.jsonl"
    world.store.put_new(other, line + b"\n" + content)
    assert world.puller.work(Message(announcement(other), "", 1)) == Worked({"stored": 1})


def test_a_line_break_of_another_script_within_a_ping_does_not_end_its_line(world: World) -> None:
    ping = json.dumps({"userId": USER, "activityName": "a\u2028b\x85c", "callbackURL": world.url()}, ensure_ascii=False)
    (line,) = parse_body(f'{{"dailies":[{ping}]}}'.encode(), RECEIVED).pings
    key = "raw/pings/date=2026-11-24/one.jsonl"
    world.store.put_new(key, f"{line}\n".encode())
    assert world.puller.work(Message(announcement(key), "", 1)) == Worked({"stored": 1})


def test_a_ping_may_spell_its_callback_otherwise(world: World) -> None:
    world.push({"dailies": [{"userId": USER, "callbackURL": None, "callbackUrl": world.url()}]})
    assert world.work() == Worked({"stored": 1})


def test_a_number_of_five_thousand_digits_within_a_ping_costs_no_download(world: World) -> None:
    ping = f'{{"userId":"{USER}","uploadTimeInSeconds":{"9" * 5000},"callbackURL":"{world.url()}"}}'
    (line,) = parse_body(f'{{"dailies":[{ping}]}}'.encode(), RECEIVED).pings
    key = "raw/pings/date=2026-11-24/one.jsonl"
    world.store.put_new(key, f"{line}\n".encode())
    assert world.puller.work(Message(announcement(key), "", 1)) == Worked({"stored": 1})


def test_a_pulled_night_is_stored_under_its_date_of_waking(world: World) -> None:
    late = 1_794_925_800  # 2026-11-17T23:30 in Japan
    night = {"userId": USER, "startTimeInSeconds": late, "startTimeOffsetInSeconds": 32_400, "durationInSeconds": 1800}
    world.garmin.answers(summaries(night))
    world.ping("sleeps")
    assert world.work() == Worked({"stored": 1})
    assert [key.split("/")[2] for key in world.objects("raw/daily")] == ["date=2026-11-18"]


def test_a_pulled_record_with_a_repeated_key_is_quarantined_and_the_others_are_stored(world: World) -> None:
    world.garmin.answers(Reply(content=b'[{"userId":"u","steps":1},{"userId":"u","steps":1,"steps":2}]'))
    world.ping("dailies")
    assert world.work() == Worked({"stored": 1})
    (lines,), (reject,) = world.objects("raw/daily").values(), world.objects("raw/quarantine").values()
    assert lines.count(b"\n") == 1
    assert json.loads(reject)["reason"] == "the record has the key steps twice"


def test_a_store_or_map_that_fails_puts_the_message_off(world: World) -> None:
    class Failing(DirectoryStore):
        def get(self, key: str) -> bytes | None:
            raise StoreError("down")

    world.ping("dailies")
    assert world.work(replace(world.puller, store=Failing(world.home))).waiting == 1
    assert world.later() == Worked({"stored": 1})


def test_tokens_that_cannot_be_read_put_off_their_user_alone(world: World) -> None:
    class Shaky(FileTokenStore):
        def get(self, user: str) -> Tokens | None:
            if user == STRANGER:
                raise TokenStoreError("damaged")
            return super().get(user)

    api = replace(world.api, store=Shaky(world.tokens.path, world.tokens.key_path))
    pings = [{"userId": user, "callbackURL": world.url(token=user[:2])} for user in (STRANGER, USER)]
    world.push({"dailies": pings})
    assert world.work(replace(world.puller, api=api)) == Worked({"stored": 1}, 1, 60.0)


def test_a_failing_store_is_not_asked_for_the_rest_of_the_pings(world: World) -> None:
    world.ping("dailies", "sleeps", "epochs")
    assert world.work(replace(world.puller, store=Dying(world.store, "raw/daily"))).waiting == 3
    assert sum(world.garmin.asked.values()) == 1


def test_whatever_goes_wrong_inside_a_message_stays_in_the_queue(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(DirectoryStore):
        def get(self, key: str) -> bytes | None:
            raise RuntimeError(f"about {USER}")

    world.ping("dailies")
    assert world.work(replace(world.puller, store=Broken(world.home))).waiting == 1
    assert "RuntimeError" in caplog.text
    assert world.later() == Worked({"stored": 1})


def test_for_ever_means_until_it_is_stopped_and_through_a_failing_queue(world: World) -> None:
    @dataclass
    class Shaky:
        failures: int = 2

        def receive(self, limit: int = 10, wait_s: float = 0) -> list[Message]:
            if self.failures:
                self.failures -= 1
                raise QueueError("down")
            return world.queue.receive(limit, wait_s)

        def __getattr__(self, name: str) -> Any:
            return getattr(world.queue, name)

    world.ping("dailies")
    with pytest.raises(QueueError):
        drain(Shaky(), world.puller.work)
    seen: list[Worked] = []
    drain(Shaky(), world.puller.work, stopped=lambda: bool(world.markers()), wait_s=0.01, sleep=seen.append)  # type: ignore[arg-type]
    assert len(seen) == 2
    assert len(world.lines()) == 1


def test_settling_says_whether_the_message_is_off_the_queue(world: World) -> None:
    world.queue.send("x")
    (message,) = world.queue.receive()
    assert not settle(world.queue, message, Worked({}, 1, 5.0))
    world.later_s = 6.0
    (message,) = world.queue.receive()
    assert message.receives == 2
    assert settle(world.queue, message, Worked({"stored": 1}, 1, 5.0))
    world.later_s = 12.0
    (message,) = world.queue.receive()
    assert message.receives == 1
    assert settle(world.queue, message, Worked())
    world.later_s = 1e6
    assert world.queue.receive() == []


# -- lifecycle


def user_id(status: int, user: str = USER) -> Callable[[str], Reply]:
    return lambda path: Reply(status, json.dumps({"userId": user}).encode() if status == 200 else b"")


def status(world: World, user: str = USER) -> str:
    known = world.people.get(user)
    return known.status if known else ""


def announce_leaving(world: World) -> None:
    """Garmin, or somebody in its name, says that the user has left; a second from now, so after the enrolment."""
    world.push({"deregistrations": [{"userId": USER}]}, datetime.now(UTC) + timedelta(seconds=1))


def test_a_deregistration_counts_if_garmin_says_that_the_user_is_gone(world: World) -> None:
    world.garmin.reply = user_id(410)
    announce_leaving(world)
    assert world.work() == Worked({"applied": 1})
    assert status(world) == "deregistered"
    assert world.tokens.get(USER) is None
    assert world.queue.receive() == []


def test_a_deregistration_counts_if_the_refresh_token_is_not_taken_any_more(world: World) -> None:
    world.garmin.reply = lambda path: Reply(401) if path == "user/id" else Reply(400, b'{"error": "invalid_grant"}')
    announce_leaving(world)
    assert world.work() == Worked({"applied": 1})
    assert (status(world), world.tokens.get(USER)) == ("deregistered", None)


def test_a_deregistration_of_a_user_whom_garmin_knows_is_undone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.garmin.reply = user_id(200)
    announce_leaving(world)
    assert world.work().outcomes == {"forged": 1}
    assert status(world) == "active"
    assert "of P0001 looks forged" in caplog.text


@pytest.mark.parametrize("refusal", [401, 403, 404, 429, 500])
def test_an_answer_that_may_be_a_gateway_s_is_no_proof_and_deletes_no_tokens(world: World, refusal: int) -> None:
    world.garmin.reply = user_id(refusal)
    announce_leaving(world)
    assert world.work().waiting == 1
    assert status(world) == "deregistered"
    assert world.tokens.get(USER) is not None
    world.garmin.reply = user_id(200)
    assert world.later().outcomes == {"forged": 1}
    assert status(world) == "active"


def test_a_true_deregistration_that_looks_forged_at_first_is_found_out_later(world: World) -> None:
    world.garmin.reply = user_id(200)
    announce_leaving(world)
    world.work()
    assert status(world) == "active"
    world.garmin.reply = user_id(410)
    assert world.later(0.1) == Worked({"applied": 1})
    assert (status(world), world.tokens.get(USER)) == ("deregistered", None)


@pytest.mark.parametrize(("answer", "ends", "letters"), [(200, "active", 0), (503, "deregistered", 1)])
def test_garmin_is_asked_less_and_less_often_for_a_day_and_it_never_becomes_a_dead_letter_of_the_queue(
    world: World, answer: int, ends: str, letters: int
) -> None:
    world.garmin.reply = user_id(answer)
    puller = world.new_puller(wall_clock=lambda: time.time() + world.later_s)
    announce_leaving(world)
    asked_at = []
    for minute in range(36 * 60):
        world.later_s = 60.0 * minute
        before = world.garmin.asked["user/id"]
        world.work(puller)
        if world.garmin.asked["user/id"] > before:
            asked_at.append(minute / 60)
    assert 10 <= len(asked_at) <= 20
    assert asked_at[3] < 0.25
    assert 24 <= asked_at[-1] < 28
    assert (status(world), world.dead()) == (ends, [])
    assert len(world.lost()) == letters


def test_a_deregistration_of_somebody_without_tokens_is_not_asked_about(world: World) -> None:
    world.people.add(STRANGER, "P0002")
    event = {"deregistrations": [{"userId": STRANGER}]}
    world.push(event, datetime.now(UTC) + timedelta(seconds=1))
    assert world.work() == Worked({"applied": 1})
    assert world.garmin.asked == {}
    known = world.people.get(STRANGER)
    assert known is not None
    assert known.status == "deregistered"


def test_permissions_are_applied_in_garmin_s_order_and_once(world: World) -> None:
    def told(permissions: list[str], second: int) -> dict[str, Any]:
        at = int(RECEIVED.timestamp()) - 100 + second
        return {"userId": USER, "permissions": permissions, "changeTimeInSeconds": at}

    world.garmin.reply = lambda _path: Reply(content=b'["HEALTH_EXPORT"]')
    world.push({"userPermissionsChange": [told([], 2), told(["HEALTH_EXPORT"], 3), told([], 1)]})
    assert world.work() == Worked({"applied": 2})
    (key,) = world.objects("raw/lifecycle")
    world.queue.send(announcement(key))
    assert world.work() == Worked()
    known = world.people.get(USER)
    assert known is not None
    assert known.permissions == ("HEALTH_EXPORT",)


@pytest.mark.parametrize("first", [Reply(503), Reply(403), Reply(content=b"[]"), Reply(content=b"<html>")])
def test_permissions_that_garmin_does_not_confirm_are_not_given_and_asked_for_again(world: World, first: Reply) -> None:
    def allowed() -> tuple[str, ...] | None:
        known = world.people.get(USER)
        return known.permissions if known else None

    world.people.narrow_permissions(USER, [], RECEIVED)
    world.garmin.reply = lambda _path: first
    world.push({"userPermissions": [{"userId": USER, "permissions": ["HEALTH_EXPORT"]}]}, datetime.now(UTC))
    assert world.work().waiting == 1
    assert allowed() == ()
    world.garmin.reply = lambda _path: Reply(content=b'{"permissions": ["HEALTH_EXPORT"]}')
    assert world.later() == Worked({"applied": 1})
    assert allowed() == ("HEALTH_EXPORT",)


def test_of_somebody_who_is_not_connected_it_is_said_that_only_an_invitation_helps(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.people.narrow_permissions(USER, [], RECEIVED)
    world.tokens.delete(USER)
    world.push({"userPermissionsChange": [{"userId": USER, "permissions": ["HEALTH_EXPORT"]}]}, datetime.now(UTC))
    assert world.work() == Worked({"unconfirmed": 1})
    assert "P0001 may permit more, but is not connected" in caplog.text
    assert world.queue.receive() == []


# -- as a Lambda


class Context:
    def __init__(self, left_s: float = 300) -> None:
        self.left_s = left_s

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * self.left_s)


def sqs(*messages: Message) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"m{number}",
                "receiptHandle": message.handle,
                "body": message.body,
                "attributes": {"ApproximateReceiveCount": str(message.receives)},
            }
            for number, message in enumerate(messages)
        ]
    }


@pytest.fixture
def as_lambda(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    variables = {
        "QOL_RAW_DIR": str(world.store.root),
        "QOL_HOME": str(world.home),
        "QOL_GARMIN_URL": world.garmin.url,
        "QOL_GARMIN_CLIENT_ID": "app",
        "QOL_GARMIN_CLIENT_SECRET": "client-secret",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.0)
    level = logging.getLogger("qol_ingest").level
    once = module._puller_of_environment
    once.cache_clear()
    yield
    once.cache_clear()
    logging.getLogger("qol_ingest").setLevel(level)


@pytest.mark.usefixtures("as_lambda")
def test_as_a_lambda_it_reports_the_messages_that_must_come_back(world: World) -> None:
    world.garmin.reply = lambda path: Reply(503) if path == "sleeps" else summaries(DAY)
    world.ping("dailies")
    world.ping("sleeps")
    messages = sorted(world.queue.receive(), key=lambda one: world.store.get(announced(one.body)[0]) or b"")
    assert handler(sqs(*messages), Context()) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert len(world.lines()) == 1
    assert handler({}, Context()) == {"batchItemFailures": []}


@pytest.mark.usefixtures("as_lambda")
def test_as_a_lambda_it_begins_nothing_that_may_not_end_in_time(world: World) -> None:
    world.ping("dailies")
    messages = world.queue.receive()
    assert handler(sqs(*messages), Context(left_s=140)) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert world.garmin.asked == {}
    assert handler(sqs(*messages), Context(left_s=300)) == {"batchItemFailures": []}


@pytest.mark.usefixtures("as_lambda")
def test_with_its_queue_a_lambda_delays_what_fails_and_begins_anew_with_what_gets_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    puller, _ = module._puller_of_environment()
    monkeypatch.setattr(module, "_puller_of_environment", lambda: (puller, world.queue))
    world.garmin.reply = lambda path: Reply(503) if path == "sleeps" else summaries(DAY)
    world.ping("sleeps", "dailies")
    assert handler(sqs(*world.queue.receive()), Context()) == {"batchItemFailures": []}
    world.later_s += 61
    (message,) = world.queue.receive()
    assert message.receives == 1
    assert handler(sqs(message), Context()) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    world.later_s += 61
    (message,) = world.queue.receive()
    assert message.receives == 2


@pytest.mark.usefixtures("as_lambda")
@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("QOL_GARMIN_CLIENT_ID", "QOL_GARMIN_CLIENT_ID"),
        ("QOL_GARMIN_CLIENT_SECRET", "QOL_GARMIN_CLIENT_SECRET_ARN"),
        ("QOL_HOME", "QOL_ID_MAP_TABLE"),
    ],
)
def test_a_lambda_that_is_not_set_up_says_what_is_missing_and_takes_no_message(
    monkeypatch: pytest.MonkeyPatch, missing: str, says: str
) -> None:
    monkeypatch.delenv(missing)
    with pytest.raises(PullerSetupError, match=says):
        handler({}, Context())


# -- connections that nobody uses

DAY_S = 86_400.0


def granting(path: str) -> Reply:
    """Garmin's answer to whoever brings a refresh token."""
    given = {"access_token": "new-access-secret", "refresh_token": "new-refresh-secret", "expires_in": 86_400}
    return Reply(content=json.dumps(given).encode()) if path.endswith("oauth/token") else Reply(404)


def kept_until(world: World, user: str, days: float) -> None:
    """The user's refresh token, which nobody used since, ends in so many days."""
    world.tokens.put(user, Tokens("access-secret", "refresh-secret", 0.0, time.time() + DAY_S * days))


def days_left(world: World, user: str) -> float:
    tokens = world.tokens.get(user)
    return (tokens.refresh_expires_at - time.time()) / DAY_S if tokens else 0.0


def renew(world: World, **more: Any) -> Mapping[str, int]:
    return renew_tokens(world.api, world.people, sleep=world.sleep, **more)


def test_a_refresh_token_is_renewed_in_the_second_half_of_its_life_and_not_before(world: World) -> None:
    others = {"b" * 32: 44.9, "c" * 32: 45.1}
    for number, (user, days) in enumerate(others.items(), start=2):
        world.people.add(user, f"P000{number}")
        kept_until(world, user, days)
    kept_until(world, USER, 1)
    world.garmin.reply = granting
    assert renew(world) == {"renewed": 2}
    assert [round(days_left(world, user)) for user in (USER, *others)] == [90, 90, 45]
    assert world.slept == [1.0, 1.0], "Garmin takes so many requests a minute"
    assert renew(world) == {}


def test_of_who_was_revoked_no_token_is_used_and_nobody_without_one_is_asked_for(world: World) -> None:
    world.people.add(STRANGER, "P0002")
    kept_until(world, USER, 1)
    world.people.revoke("P0001")
    assert renew(world) == {}
    assert world.garmin.asked == {}


def test_a_token_that_garmin_does_not_take_is_noted_so_that_the_participant_is_asked_to_connect(world: World) -> None:
    kept_until(world, USER, -1)
    world.garmin.reply = lambda _path: Reply(400, b'{"error": "invalid_grant"}')
    assert renew(world) == {"consent": 1}
    tokens = world.tokens.get(USER)
    assert tokens is not None
    assert tokens.needs_consent
    assert renew(world) == {}


@pytest.mark.parametrize("status", [401, 429, 503])
def test_when_garmin_cannot_tell_no_token_is_lost_and_the_others_wait_for_another_day(
    world: World, status: int
) -> None:
    world.people.add(STRANGER, "P0002")
    for user in (USER, STRANGER):
        kept_until(world, user, 10)
    world.garmin.reply = lambda _path: Reply(status, b'{"error": "invalid_client"}')
    with pytest.raises(RenewalError, match="^tokens that end soon are not renewed: "):
        renew(world)
    assert world.garmin.asked.total() == 1
    world.garmin.reply = granting
    assert renew(world) == {"renewed": 2}


def test_in_a_year_in_which_nobody_uses_a_token_it_is_renewed_each_45_days_and_never_dies(world: World) -> None:
    now = [time.time()]
    world.tokens.put(USER, Tokens("access-secret", "refresh-secret", now[0], now[0] + 90 * DAY_S))
    api = GarminApi(Endpoints.at(world.garmin.url), "app", "client-secret", world.tokens, clock=lambda: now[0])
    world.garmin.reply = granting
    renewed_on = []
    for day in range(366):
        if renew_tokens(api, world.people, sleep=world.sleep):
            renewed_on.append(day)
        now[0] += DAY_S
    assert renewed_on == [45, 90, 135, 180, 225, 270, 315, 360]


def test_no_renewal_begins_when_time_is_up(world: World) -> None:
    kept_until(world, USER, 1)
    assert renew(world, stopped=lambda: True) == {}
    assert world.garmin.asked == {}


def test_beside_a_webhook_tokens_are_renewed_at_once_and_the_end_does_not_wait_for_the_next_day(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept_until(world, USER, 1)
    first = [Reply(503, b"")]
    world.garmin.reply = lambda path: first.pop() if first else granting(path)
    monkeypatch.setattr(renewal, "EVERY_S", 0.05)  # the next day
    over = threading.Event()
    thread = threading.Thread(target=keep_renewing, args=(world.api, world.people, over))
    thread.start()
    until = time.monotonic() + 20
    while days_left(world, USER) < 80 and time.monotonic() < until:
        time.sleep(0.02)
    over.set()
    thread.join(20)
    assert not thread.is_alive()
    assert days_left(world, USER) > 80
    assert "are not renewed: Garmin" in caplog.text
    assert "they are looked at again in a day" in caplog.text


@pytest.mark.usefixtures("as_lambda")
def test_as_a_lambda_it_renews_tokens_when_its_schedule_calls(world: World) -> None:
    kept_until(world, USER, 1)
    world.garmin.reply = granting
    assert handler({"renew": "tokens"}, Context(left_s=140)) == {"renew": {}}, "too little time is left"
    assert handler({"renew": "tokens"}, Context()) == {"renew": {"renewed": 1}}


# -- memory

MEASURED = """
import re, sys, time
from pathlib import Path
from qol_ingest.garmin.api import Endpoints, GarminApi
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.pulling.puller import Puller
from qol_ingest.shared.queues import Message, announcement
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.garmin.tokens import Tokens, TokenStoreError
from qol_ingest.garmin.tokens_file import FileTokenStore

home, url = Path(sys.argv[1]), sys.argv[2]
tokens = FileTokenStore(home / "tokens.sqlite", home / "tokens.key")
tokens.put("user", Tokens("a", "r", time.time() + 86400, time.time() + 864000))
puller = Puller(DirectoryStore(home), GarminApi(Endpoints.at(url), "app", "x", tokens), SqliteIdMap(home / "map"))
ping = '{"_summary_type":"epochs","_received_at":"2026-11-23T16:30:00.000Z","_ingest_id":"0","userId":"user",'
for kind in ("small", "large"):
    key = f"raw/pings/date=2026-11-24/{kind}.jsonl"
    line = f'{ping}"callbackURL":"{url}/wellness-api/rest/{kind}?token=1"}}'
    puller.store.put_new(key, line.encode())
    assert puller.work(Message(announcement(key), "", 1)).outcomes == {"stored": 1}
    # Not getrusage: what that says begins with the peak of the process that started this one.
    print(int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
def test_a_callback_of_60_mb_needs_less_than_five_times_its_size(tmp_path: Path, garmin: Garmin) -> None:
    one = json.dumps({"userId": "user", "calendarDate": "2026-11-20", "samples": list(range(200))})
    large = f"[{','.join([one] * (60 * 1024 * 1024 // len(one)))}]".encode()
    garmin.reply = lambda path: Reply(content=large if path == "large" else b"[]")
    code = [sys.executable, "-W", "error", "-c", MEASURED, str(tmp_path), garmin.url]
    done = subprocess.run(code, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    before_mb, after_mb = map(int, done.stdout.split())
    print(f"{before_mb} MB before, {after_mb} MB with 60 MB")
    assert after_mb - before_mb < 5 * 60
    (stored,) = tmp_path.glob("raw/daily/date=2026-11-20/*.jsonl")
    assert stored.stat().st_size > len(large)
