"""Who withdrew or was erased: the ledger, and a receiver that stores nothing of them and loses nothing of others."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.resources.garmin_cloud import Garmin, InviteError
from qol_dagster.settings import Settings
from qol_ingest.shared.erasures import Ledger, LedgerError
from qol_ingest.shared.id_map import IdMapError
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver, RefusingStore

SECRET = "an unguessable secret"
USER, OTHER = "4aacafe82427c251df9c9592d0c06768", "ffeeddccbbaa99887766554433221100"
DAY = "2026-11-16"


def record(user: str, **fields: Any) -> dict[str, Any]:
    return {"userId": user, "calendarDate": DAY, "steps": 4210, **fields}


class Home:
    """A receiver over a folder, and what it stored."""

    def __init__(self, home: Path) -> None:
        self.home, self.ledger = home, Ledger(home)
        self.people = SqliteIdMap(home / "user_id_map.sqlite", self.ledger)
        store = DirectoryStore(home / "lake")
        self.receiver = Receiver(store, SECRET, id_map=self.people, refusals=self.ledger)

    def push(self, body: bytes) -> tuple[int, dict[str, Any]]:
        path = f"/garmin/{SECRET}"
        answer = self.receiver.handle(
            {"rawPath": path, "requestContext": {"http": {"method": "POST", "path": path}}, "body": body}
        )
        return answer["statusCode"], json.loads(answer["body"])

    def stored(self, zone: str) -> str:
        return "".join(path.read_text() for path in sorted((self.home / "lake/raw" / zone).rglob("*.*")))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_of_a_push_only_what_is_of_others_is_stored_and_the_rest_is_counted(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "qol_ingest")
    home.ledger.append("begun", [USER], ["P1"])
    spelled = USER.upper()
    body = {
        "dailies": [record(USER), record(OTHER), record(spelled)],
        "sleeps": [record(USER, _ingest_id=1), record(OTHER, _ingest_id=1)],
        "deregistrations": [{"userId": USER}, {"userId": OTHER}],
        "activityFiles": [record(USER, callbackURL="https://x/1"), record(OTHER, callbackURL="https://x/2")],
    }
    assert home.push(json.dumps(body).encode()) == (200, {"stored": 3, "rejected": 1})
    for zone in ("daily", "lifecycle", "pings", "quarantine"):
        text = home.stored(zone)
        assert (OTHER in text, USER in text.lower()) == (True, False), zone
    assert [one.garmin_user_id for one in home.people.list()] == [OTHER]
    assert "5 of people who withdrew or were erased not stored" in caplog.text


def test_an_unreadable_body_goes_only_if_it_names_nobody_else(home: Home) -> None:
    home.ledger.append("finished", [USER])
    assert home.push(b'{"dailies":[{"userId":"%s"},' % USER.encode())[0] == 200
    assert home.stored("quarantine") == ""
    for kept in (b'{"dailies":[{"userId":"%s"},{"userId":"%s"},' % (USER.encode(), OTHER.encode()), b"no json"):
        home.push(kept)
    assert home.stored("quarantine").count("userId") == 2
    assert "no json" in home.stored("quarantine")


@pytest.mark.parametrize("state", ["withdrawn", "begun", "finished"])
def test_whoever_is_refused_is_stored_again_once_readmitted(home: Home, state: Any) -> None:
    body = json.dumps({"dailies": [record(USER)]}).encode()
    home.ledger.append(state, [USER])
    assert home.push(body) == (200, {"stored": 0, "rejected": 0})
    home.ledger.append("readmitted", [USER])
    assert home.push(body) == (200, {"stored": 1, "rejected": 0})


def test_an_erasure_begins_once_a_push_that_is_under_way_is_stored(home: Home) -> None:
    inside, go_on, begun = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        hash_of = staticmethod(home.ledger.hash_of)

        @contextmanager
        def receiving(self) -> Iterator[frozenset[str]]:
            with home.ledger.receiving() as hashes:
                inside.set()
                go_on.wait(10)
                yield hashes
                assert not begun.is_set()
                assert USER in home.stored("daily")

    slow = Home(home.home)
    slow.receiver = Receiver(DirectoryStore(home.home / "lake"), SECRET, refusals=Slow())
    pushing = threading.Thread(target=slow.push, args=(json.dumps({"dailies": [record(USER)]}).encode(),))
    pushing.start()
    inside.wait(10)

    def begin() -> None:
        home.ledger.append("begun", [USER])
        begun.set()

    beginning = threading.Thread(target=begin)
    beginning.start()
    assert not begun.wait(0.2)
    go_on.set()
    pushing.join(10)
    beginning.join(10)
    assert begun.is_set()


def test_the_ledger_names_nobody_and_survives_a_line_that_was_cut_off(home: Home) -> None:
    home.ledger.append("begun", [USER], ["QOL-1"])
    with home.ledger.path.open("a") as file:
        file.write('{"at": "2026-')
    home.ledger.append("finished", [USER], ["QOL-1"])
    again = Ledger(home.home)
    assert [one.state for one in again.entries()] == ["begun", "finished"]
    assert (again.state_of_user(USER), again.state_of_user(OTHER)) == ("finished", None)
    assert (again.state_of_participant("QOL-1"), again.state_of_participant("QOL-11")) == ("finished", None)
    assert USER not in again.path.read_text()
    assert "QOL-1" not in again.path.read_text()
    assert again.key_path.stat().st_mode & 0o777 == 0o600


def test_without_its_key_the_ledger_lets_garmin_send_again_and_nothing_is_stored(home: Home) -> None:
    home.ledger.append("begun", [USER])
    home.ledger.key_path.unlink()
    blind = Home(home.home)
    assert blind.push(json.dumps({"dailies": [record(USER)]}).encode())[0] == 503
    assert blind.stored("daily") == ""
    with pytest.raises(LedgerError, match="Put it back from the backup"):
        blind.ledger.state_of_user(USER)


def test_who_was_erased_is_enrolled_again_only_by_a_decision_of_staff(home: Home) -> None:
    home.ledger.append("begun", [USER], ["P0001"])
    with pytest.raises(IdMapError, match="under way"):
        home.people.add(USER)
    home.ledger.append("finished", [USER], ["P0001"])
    for user, participant in ((USER, "P5"), (OTHER, "P0001")):
        with pytest.raises(IdMapError, match="--after-erasure"):
            home.people.add(user, participant)
    assert home.people.add(OTHER) == "P0002"
    home.ledger.append("readmitted", participants=["P0001"])
    assert home.people.add(USER, "P0001") == "P0001"
    assert home.ledger.state_of_user(USER) == "readmitted"


def test_nobody_is_invited_under_an_erased_id_without_such_a_decision(home: Home) -> None:
    home.ledger.append("finished", [USER], ["QOL-1"])
    settings = Settings(home=home.home, garmin_client_id="id", garmin_client_secret="hush", public_url="https://x")
    with pytest.raises(InviteError, match="--after-erasure"):
        Garmin(settings).invite("QOL-1")
    home.ledger.append("readmitted", participants=["QOL-1"])
    assert Garmin(settings).invite("QOL-1")[1].startswith("https://x/oauth/start")


def test_who_withdrew_is_taken_back_in_by_a_new_enrolment(home: Home) -> None:
    home.people.add(USER, "P1")
    home.ledger.append("withdrawn", [USER], ["P1"])
    assert home.people.add(USER, "P1") == "P1"
    assert home.push(json.dumps({"dailies": [record(USER)]}).encode())[1]["stored"] == 1


def test_a_spilled_body_that_cannot_be_read_goes_if_it_names_nobody_else(home: Home) -> None:
    home.ledger.append("withdrawn", [USER])
    store, folder = RefusingStore(DirectoryStore(home.home / "lake"), home.ledger), f"raw/quarantine/date={DAY}"
    theirs = b'{"dailies":[{"userId":"%s"' % USER.encode()
    both = theirs + b'},{"userId":"%s"' % OTHER.encode()
    kept = [
        store.put_new(f"{folder}/{number}.body", body)
        for number, body in enumerate((theirs, gzip.compress(theirs), both, b"nobody"))
    ]
    assert kept == [False, False, True, True]
