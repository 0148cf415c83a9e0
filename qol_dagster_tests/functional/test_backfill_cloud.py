"""Pings and old data from the simulated Garmin cloud, which fails, limits and forgets as the real one does."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from garmin_sim import Faults, GarminCloud, Simulation
from qol_ingest.garmin.api import Endpoints, GarminApi
from qol_ingest.garmin.tokens import Tokens
from qol_ingest.garmin.tokens_file import FileTokenStore
from qol_ingest.pulling.backfill import TYPES, Account, Piece, Report, Step, accounts, plan, run
from qol_ingest.pulling.messages import Worked, drain
from qol_ingest.pulling.puller import Puller, participant_names
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.queues import DirectoryQueue, announcement
from qol_ingest.shared.stores import DirectoryStore, NotifyingStore
from qol_ingest.webhook import Receiver

SUNDAY = date(2026, 3, 1)
WEEKS = 1
SIM = Simulation(3, WEEKS, SUNDAY, seed=4, personas=("steady", "triathlete", "day_only"))
FIRST = SUNDAY - timedelta(days=7 * WEEKS - 1)
SECRET = "sim-secret-of-the-simulated-cloud"


@dataclass
class World:
    """A cloud whose webhook is ours, with every participant connected as P0001 and so on."""

    home: Path
    cloud: GarminCloud
    later_s: float = 0.0

    def __post_init__(self) -> None:
        self.store = DirectoryStore(self.home / "lake")
        self.queue = DirectoryQueue(self.home / "arrivals", max_receives=8, clock=lambda: time.time() + self.later_s)
        self.letters = DirectoryQueue(self.home / "lost")
        self.people = SqliteIdMap(self.home / "user_id_map.sqlite")
        self.tokens = FileTokenStore(self.home / "tokens.sqlite", self.home / "tokens.key")
        names = participant_names(self.people)
        self.api = GarminApi(Endpoints.at(self.cloud.base_url), "sim-client", SECRET, self.tokens, names)
        self.puller = Puller(self.store, self.api, self.people, self.letters, sleep=lambda _s: None)
        for index in range(3):
            self.connect(index, f"P000{index + 1}")

    def connect(self, index: int, participant: str) -> None:
        pair = self.cloud.tokens(index)
        self.people.add(self.cloud.user_id(index), participant)
        self.tokens.put(
            self.cloud.user_id(index),
            Tokens(pair.access_token, pair.refresh_token, pair.expires_at, pair.refresh_expires_at),
        )

    def pull(self) -> Worked:
        """Work everything off, and what is put off after it is due."""
        total = Worked()
        for _ in range(10):
            worked = drain(self.queue, self.puller.work)
            total += Worked(worked.outcomes)
            if not worked.waiting:
                return total
            self.later_s += 6 * 3600
        return total

    def backfill(self, participant: str, pieces: list[Piece], **more: Any) -> Report:
        given: dict[str, Any] = {"spacing_s": 0.0, "sleep": lambda _s: None, **more}
        return run(self.api, self.store, accounts(self.people, participant), pieces, **given)

    def records(self) -> Counter[tuple[str, str]]:
        """(type, summary as Garmin spelled it) of every raw line."""
        found: Counter[tuple[str, str]] = Counter()
        for path in self.store.root.glob("raw/daily/date=*/*.jsonl"):
            for line in path.read_text().split("\n")[:-1]:
                kind = json.loads(line)["_summary_type"]
                found[kind, "{" + line.partition('"_ingest_id":"')[2][65:].removeprefix(",")] += 1
        return found

    def users(self, kind: str) -> set[str]:
        return {json.loads(text)["userId"] for one, text in self.records() if one == kind}


MakeWorld = Callable[..., Any]


@pytest.fixture
def make_world(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> MakeWorld:
    caplog.set_level(logging.DEBUG)

    @contextmanager
    def make(sim: Simulation = SIM, **faults: Any) -> Iterator[World]:
        with GarminCloud(sim, client_secret=SECRET, faults=Faults(**faults)) as cloud:
            world = World(tmp_path, cloud)
            receiver = Receiver(NotifyingStore(world.store, world.queue), "webhook-secret-0123")
            with LocalWebhook(receiver) as server:
                cloud.webhook_url = server.url
                yield world
            ids = [cloud.user_id(index) for index in range(3)]
        kept = [world.tokens.get(user) for user in ids]
        tokens = [one for pair in kept if pair for one in (pair.access_token, pair.refresh_token)]
        private = [one for one in [*ids, *tokens, "token=", SECRET] if one]
        paths = [str(path) for path in tmp_path.rglob("*")]
        notes = [path.read_text() for path in (tmp_path / "lake/raw/backfills").rglob("*.json")]
        told = "\n".join([caplog.text, *paths, *notes])
        assert not [one for one in private if one in told]

    return make


def pushed(sim: Simulation) -> set[tuple[str, str]]:
    """What the simulation sends as pushes: (type, text of the summary)."""
    found = set()
    for delivery in sim.deliveries():
        for kind, summaries in json.loads(delivery.body).items():
            found |= {(kind, json.dumps(one, sort_keys=True)) for one in summaries}
    return found


def normal(records: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    return Counter({(kind, json.dumps(json.loads(text), sort_keys=True)): n for (kind, text), n in records.items()})


# -- pings


@pytest.mark.slow
def test_everything_that_pings_announce_arrives_once_though_the_cloud_fails_limits_and_cuts_off(
    make_world: MakeWorld,
) -> None:
    trouble = {"rate_limit": 7, "errors": 0.15, "drop": 0.05, "cut_downloads": 0.15, "seed": 3}
    with make_world(**trouble) as world:
        world.cloud.ping()
        worked = world.pull()
        found = normal(world.records())
        assert set(found) == pushed(SIM)
        assert worked.outcomes == {"stored": worked.outcomes["stored"]}
        requests = world.cloud.requests
        files = list((world.store.root / "raw/files").rglob("*.fit"))
        assert len(files) == requests["callback/activityFile", 200] > 3
        assert all(path.read_bytes()[8:12] == b".FIT" for path in files)
        lost = sum(
            number for (kind, status), number in requests.items() if kind.startswith("callback") and status != 200
        )
        assert lost > 50
        assert world.letters.receive() == []
        assert not list((world.home / "arrivals").glob("dead/*"))


def test_a_ping_announced_again_brings_nothing_and_asks_for_nothing(make_world: MakeWorld) -> None:
    with make_world() as world:
        world.cloud.ping(["dailies"])
        world.pull()
        once, asked = world.records(), world.cloud.requests
        for path in (world.store.root / "raw/pings").rglob("*.jsonl"):
            world.queue.send(announcement(str(path.relative_to(world.store.root))))
        assert world.pull() == Worked()
        assert world.cloud.requests == asked
        assert world.records() == once


def test_an_access_token_that_has_ended_is_refreshed_once_and_nothing_is_missed(make_world: MakeWorld) -> None:
    with make_world() as world:
        for index in range(3):
            user = world.cloud.user_id(index)
            kept = world.tokens.get(user)
            world.tokens.put(user, replace(kept, expires_at=0.0))
        world.cloud.ping(["dailies"])
        assert world.pull().outcomes.keys() == {"stored"}
        assert world.cloud.requests["oauth/token", 200] == 3
        assert {one for one in normal(world.records()) if one[0] == "dailies"} == {
            one for one in pushed(SIM) if one[0] == "dailies"
        }


def test_a_participant_who_leaves_is_deregistered_and_a_forged_leaving_is_undone(make_world: MakeWorld) -> None:
    with make_world() as world:
        time.sleep(0.01)  # the leaving has to be later than the enrolment
        world.cloud.deregister(0)
        world.cloud.forge_deregistration(1)
        assert world.pull().outcomes == {"applied": 1, "forged": 1}
        status = {one.participant_id: one.status for one in world.people.list()}
        assert status == {"P0001": "deregistered", "P0002": "active", "P0003": "active"}


# -- backfill


def test_old_data_of_all_types_is_asked_for_once_and_comes_by_the_webhook(make_world: MakeWorld) -> None:
    with make_world() as world:
        pieces = plan([], FIRST, SUNDAY, SUNDAY)
        seen: list[Step] = []
        assert world.backfill("P0001", pieces, on_progress=seen.append) == Report(asked=len(pieces))
        assert [step.done for step in seen] == list(range(1, len(pieces) + 1))
        world.cloud.settle()
        mine = {kind for kind, text in pushed(SIM) if json.loads(text)["userId"] == world.cloud.user_id(0)}
        assert {kind for kind, _ in world.records()} == mine & set(TYPES)
        assert len(mine) > 8
        assert world.users("dailies") == {world.cloud.user_id(0)}
        days = {json.loads(text)["calendarDate"] for kind, text in world.records() if kind == "dailies"}
        assert {FIRST.isoformat() <= day <= SUNDAY.isoformat() for day in days} == {True}
        asked = world.cloud.requests
        assert world.backfill("P0001", pieces) == Report(already=len(pieces))
        assert world.cloud.requests == asked
        assert world.backfill("P0001", pieces, again=True) == Report(already=len(pieces))  # Garmin's 409
        assert {(kind, 409) for kind, status in world.cloud.requests if status == 409} == {
            (f"backfill/{piece.path}", 409) for piece in pieces
        }


def test_long_ranges_keep_within_garmin_s_limits(make_world: MakeWorld) -> None:
    with make_world() as world:
        pieces = plan([], SUNDAY - timedelta(days=700), SUNDAY, SUNDAY)
        assert world.backfill("P0001", pieces) == Report(asked=len(pieces))
        answers = {status for (kind, status) in world.cloud.requests if kind.startswith("backfill/")}
        assert answers == {202}


def test_what_a_participant_does_not_allow_is_told_by_type_and_the_rest_is_asked(make_world: MakeWorld) -> None:
    with make_world() as world:
        world.cloud.change_permissions(0, ["HEALTH_EXPORT", "HISTORICAL_DATA_EXPORT"])
        world.cloud.allow_history(1, allowed=False)
        pieces = plan(["dailies", "activities"], FIRST, SUNDAY, SUNDAY)
        (refusal,) = world.backfill("P0001", pieces).refused
        assert (refusal.participant, refusal.type) == ("P0001", "activities")
        assert refusal.reason == "this type is not allowed by the participant"
        refused = world.backfill("P0002", pieces).refused
        assert {one.type for one in refused} == {"dailies", "activities"}
        assert all("HISTORICAL_DATA_EXPORT" in one.reason for one in refused)
        world.cloud.allow_history(1, allowed=True)
        assert world.backfill("P0002", pieces) == Report(asked=len(pieces))


def test_a_participant_who_has_left_is_told_to_connect_again(make_world: MakeWorld) -> None:
    with make_world() as world:
        world.cloud.deregister(0)
        (refusal,) = world.backfill("P0001", plan(["dailies"], FIRST, SUNDAY, SUNDAY)).refused
        assert "P0001 has to connect to Garmin again" in refusal.reason


def test_both_accounts_of_a_participant_are_asked(make_world: MakeWorld) -> None:
    with make_world() as world:
        world.people = SqliteIdMap(world.home / "other_map.sqlite")
        for index in (0, 2):
            world.connect(index, "P0007")
        pieces = plan(["dailies"], FIRST, SUNDAY, SUNDAY)
        assert world.backfill("P0007", pieces) == Report(asked=2 * len(pieces))
        world.cloud.settle()
        assert world.users("dailies") == {world.cloud.user_id(0), world.cloud.user_id(2)}


def test_a_cloud_that_limits_and_fails_is_asked_until_it_has_taken_everything(make_world: MakeWorld) -> None:
    with make_world(rate_limit=3, errors=0.2, drop=0.1) as world:
        pieces = plan([], SUNDAY - timedelta(days=400), SUNDAY, SUNDAY)
        slept: list[float] = []
        report = world.backfill("P0001", pieces, sleep=slept.append)
        assert report.complete
        assert report.refused == ()
        assert report.asked + report.already == len(pieces)
        assert report.already > 0  # their first answers were lost on the way
        requests = world.cloud.requests
        taken = sum(number for (kind, status), number in requests.items() if status == 202)
        limited = sum(number for (kind, status), number in requests.items() if status == 429)
        assert taken == report.asked
        assert len([pause_s for pause_s in slept if pause_s >= 1.0]) >= limited > 10


def test_a_cloud_that_always_limits_ends_our_patience(make_world: MakeWorld) -> None:
    with make_world(rate_limit=1) as world:
        report = world.backfill("P0001", plan(["dailies"], FIRST, SUNDAY, SUNDAY), patience_s=60.0)
        assert not report.complete
        assert report.asked == 0
        assert report.why_waiting == "Garmin wants fewer requests"


KILLED = """
import os, random, sys, time
from datetime import date
from pathlib import Path
from qol_ingest.pulling.backfill import Account, plan, run
from qol_ingest.garmin.api import Endpoints, GarminApi
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.garmin.tokens_file import FileTokenStore

class Deadly(DirectoryStore):
    def put_new(self, key, content):
        luck = random.random()
        if luck < 0.06:
            os._exit(9)
        done = super().put_new(key, content)
        if luck > 0.94:
            os._exit(9)
        return done

home, url, secret, user = Path(sys.argv[1]), *sys.argv[2:5]
api = GarminApi(Endpoints.at(url), "sim-client", secret, FileTokenStore(home / "tokens.sqlite", home / "tokens.key"))
pieces = plan([], date(2024, 9, 1), date(2026, 3, 1), date(2026, 3, 1))
report = run(api, Deadly(home / "lake"), [Account(user, "P0001")], pieces, spacing_s=0.0)
assert report.complete and not report.refused
print(report.asked, report.already)
"""


@pytest.mark.slow
def test_killed_again_and_again_it_goes_on_and_asks_for_no_remembered_piece_twice(make_world: MakeWorld) -> None:
    with make_world() as world:
        code = [sys.executable, "-c", KILLED, str(world.home), world.cloud.base_url, SECRET, world.cloud.user_id(0)]
        kills = 0
        while (done := subprocess.run(code, capture_output=True, text=True, timeout=60)).returncode == 9:
            kills += 1
            assert kills < 200
        assert (done.returncode, done.stderr) == (0, "")
        pieces = plan([], date(2024, 9, 1), SUNDAY, SUNDAY)
        requests = world.cloud.requests
        assert sum(number for (_, status), number in requests.items() if status == 202) == len(pieces)
        assert sum(number for (_, status), number in requests.items() if status == 409) <= kills
        assert kills > 2
        assert world.backfill("P0001", pieces) == Report(already=len(pieces))


def test_the_types_are_the_paths_that_the_cloud_has(make_world: MakeWorld) -> None:
    with make_world() as world:
        today = datetime.now(UTC).date()
        for kind in TYPES:
            piece = Piece(kind, today, today)
            answer = world.api.backfill(world.cloud.user_id(0), piece.path, piece.start_s, piece.start_s + 60)
            assert answer.outcome == "accepted", kind
        assert Account(world.cloud.user_id(0), "P0001") == accounts(world.people, "P0001")[0]
