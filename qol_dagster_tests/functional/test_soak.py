"""The short form of the soak: some weeks in a box, each kind of fault once, with a fixed seed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from garmin_sim.simulation import Delivery
from qol_ingest.garmin.api import Endpoints, GarminApi, GarminApiError
from qol_ingest.garmin.tokens import ConsentNeededError
from qol_ingest.garmin.tokens_file import FileTokenStore
from soak.alerts import Due
from soak.comparison import compare_records, take_out
from soak.garmin import CLIENT_ID, CLIENT_SECRET, Cloud
from soak.history import Run
from soak.plan import KINDS, deal
from soak.table import Quarter

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.soak
def test_weeks_with_every_fault_lose_nothing_count_nothing_twice_and_alert_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "soak", "--weeks", "3", "--participants", "8", "--seed", "1"]
    done = subprocess.run([*command, "--folder", tmp_path / "soak"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.startswith("seed 1; again: make soak WEEKS=3 PARTICIPANTS=8 SEED=1\n")
    table = dict(re.findall(r"^ *(\S.*?)  +(\S.*)$", done.stdout, re.MULTILINE))
    assert {name: table[name] for name in ("records lost", "counted twice")} == {
        "records lost": "0",
        "counted twice": "0",
    }
    assert re.findall("^  that differ +(.*)$", done.stdout, re.MULTILINE) == ["0", "0"]
    due, sent = table["alerts due / sent"].split(" / ")
    assert due == sent != "0"
    assert {kind: table[kind.replace("_", " ")] for kind in KINDS} == dict.fromkeys(KINDS, "1")
    assert int(table["answers that failed"]) > 0
    assert table["dead letters redriven"] == "1"


def test_a_ping_announces_what_a_push_holds_and_its_urls_give_it_to_the_user_alone(tmp_path: Path) -> None:
    days, night = '{"userId":"a","steps":1},{"userId":"a","steps":2}', '{"userId":"b","awake":1.5}'
    body = f'{{"dailies":[{days}],"sleeps":[{night}]}}'
    cloud, store = Cloud(time.time, ["a", "b"]), FileTokenStore(tmp_path / "tokens.sqlite", tmp_path / "key")
    cloud.start()
    try:
        cloud.connect(["a", "b"], store)
        ping = cloud.ping_of(Delivery(datetime.now(UTC), body.encode(), frozenset("ab")), broken="b")
        assert ping
        announced = json.loads(ping.body)
        (first,), (second,) = announced["dailies"], announced["sleeps"]
        assert (first["userId"], second["userId"]) == ("a", "b")
        api = GarminApi(Endpoints.at(cloud.url), CLIENT_ID, CLIENT_SECRET, store)

        def fetched(url: str, user: str) -> str | int | None:
            try:
                return b"".join(api.fetch(url, user)).decode()
            except ConsentNeededError:
                return "withdrawn"
            except GarminApiError as error:
                return error.status

        asked = [
            fetched(first["callbackURL"], "a"),
            fetched(first["callbackURL"], "b"),
            fetched(second["callbackURL"], "b"),
        ]
        assert asked == [f"[{days}]", 400, 503]
        cloud.mend()
        assert fetched(second["callbackURL"], "b") == f"[{night}]"
        assert not cloud.withheld()

        nap = '{"userId":"b","awake":2.5}'
        later = cloud.ping_of(Delivery(datetime.now(UTC), f'{{"sleeps":[{nap}]}}'.encode(), frozenset("b")))
        again = cloud.ping_of(Delivery(datetime.now(UTC), body.encode(), frozenset("ab")))
        assert later
        assert again
        cloud.withdraw(["b"])
        assert fetched(json.loads(later.body)["sleeps"][0]["callbackURL"], "b") == "withdrawn"
        assert cloud.withheld() == {b'{"_summary_type":"sleeps",' + nap[1:].encode()}
    finally:
        cloud.stop()


def test_each_kind_of_fault_comes_and_a_seed_deals_them_out_alike() -> None:
    dealt = deal(7, 12, [1, 4, 7, 11], 3)
    assert dealt == deal(7, 12, [1, 4, 7, 11], 3) != deal(8, 12, [1, 4, 7, 11], 3)
    assert {kind for kinds in dealt.values() for kind in kinds} == set(KINDS)
    assert sum(map(len, dealt.values())) == 36
    assert all("daemon_killed" not in dealt[week] for week in (0, 2, 3, 5, 6, 8, 9, 10))


def test_a_record_that_is_lost_or_there_twice_is_counted_and_when_it_was_received_is_not(tmp_path: Path) -> None:
    def write(zone: str, name: str, *lines: str) -> None:
        folder = tmp_path / zone / "raw/daily/date=2024-01-01"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in lines))

    a, b, c = (f'{{"userId":"{user}","_received_at":"1","_ingest_id":"x","steps":2}}' for user in "abc")
    write("reference", "1.jsonl", a, b, c)
    write("lake", "2.jsonl", a.replace('"1"', '"9"').replace('"x"', '"y"'), a)
    write("lake", ".half.jsonl", b)
    found = compare_records(tmp_path / "reference", tmp_path / "lake", ['"c"'])
    assert (found.delivered, found.lost, found.twice) == (2, 1, 1)

    assert take_out(tmp_path / "reference", {b'{"userId":"b","steps":2}'}) == 1
    found = compare_records(tmp_path / "reference", tmp_path / "lake", ['"c"'])
    assert (found.delivered, found.lost, found.twice) == (1, 0, 1)


def test_a_run_that_was_given_up_has_failed_though_it_succeeds_later_and_one_that_starts_again_has_not() -> None:
    seen = [("FAILURE", None), ("FAILURE", False), ("SUCCESS", False), ("FAILURE", True), ("SUCCESS", None)]
    assert [Run("id", status, "", again).has_failed for status, again in seen] == [True, True, True, False, False]


def test_an_alert_is_due_when_more_is_unread_than_before_and_growth_is_bounded_by_half() -> None:
    due = Due()
    for bodies, files, letters in ((0, 0, 0), (1, 1, 0), (1, 1, 0), (3, 0, 0), (3, 0, 1), (3, 1, 0)):
        due.unread(bodies, files, letters)
    assert due.alerts["not_read"] == 4
    assert Quarter(100.0, 149.0).is_bounded(1.5)
    assert not Quarter(100.0, 151.0).is_bounded(1.5)
