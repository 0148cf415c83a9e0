"""What every erasure does, on one machine and on AWS.

By the fixtures `emptied`, settings of what holds nothing yet, which this process's environment has too, and `named`,
where Ada is named by a search of the module's own.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow.parquet as pq
import pytest

from qol_dagster.cli.app import run
from qol_dagster.erasure import UnknownPersonError
from qol_dagster.erasure.erase import count_person, erase, replay_ledger
from qol_dagster.erasure.places import Clearing
from qol_dagster.lake.freeze import create_freeze, freezes, read_freeze, verify_freeze
from qol_dagster.lake.lake import Lake
from qol_dagster.resources.platform import open_platform
from qol_dagster.resources.requarantine import requarantine, store_of
from qol_dagster.settings import Settings
from qol_dagster_tests.support.killed_commands import Step, killed_command
from qol_dagster_tests.support.lakes import MONDAY, record
from qol_dagster_tests.support.tables import rows
from qol_ingest.webhook import Receiver

ADA, BEN = "4aacafe82427c251df9c9592d0c06768", "b" * 30 + "01"
BOTH, OF_ADA, OF_BEN = (f"raw/daily/date={MONDAY}/{name}.jsonl" for name in ("both", "ada", "ben"))

STEPS: list[Step] = [
    ("qol_dagster.erasure.erase._begin", 1),  # the ledger says so, and nothing else yet
    ("qol_dagster.erasure.places.Clearing.clear_raw", 1),
    ("qol_dagster.erasure.places.rewrite_freezes", 1),
    ("qol_dagster.erasure.places.apply_erasure", 1),  # the other table has all rows still
]
LAST_STEPS: dict[str, list[Step]] = {
    "local": [
        ("qol_dagster.erasure.erase._clear_all", 1),  # the id map alone names the person
        ("qol_dagster.erasure.home.Home.left_in_id_map", 1),  # nothing does, and the ledger does not say so yet
    ],
    "aws": [
        ("qol_dagster.erasure.versions.Versions.remove", 1),
        ("qol_dagster.erasure.erase._clear_all", 1),
        ("qol_dagster.erasure.account.Account.left_in_id_map", 1),
    ],
}


WITHDRAWN = {
    "local": "qol_ingest.shared.id_map_sqlite.SqliteIdMap.withdraw",
    "aws": "qol_ingest.shared.id_map_dynamo.DynamoIdMap.withdraw",
}


def lines(*users: str, **fields: Any) -> bytes:
    return "".join(
        json.dumps(record("dailies", user, MONDAY, **{"steps": 1, **fields})) + "\n" for user in users
    ).encode()


def fill(settings: Settings) -> Lake:
    """Two people in raw files and in a table, of whom one comes back after a while by another file."""
    platform = open_platform(settings)
    platform.id_map().import_rows([(ADA, "QOL-1", None), (BEN, "QOL-11", None)])
    lake = platform.lake()
    for key, users in ((BOTH, (ADA, BEN)), (OF_ADA, (ADA,)), (OF_BEN, (BEN,))):
        lake.replace_object(key, lines(*users))
    people = [{"participant_id": one, "steps_mean": 2.0} for one in ("QOL-1", "QOL-11")]
    lake.write_table("weekly", MONDAY, rows("weekly", *people), {"rows": 2})
    return lake


def stored(lake: Lake) -> dict[str, list[Any]]:
    """Lines and rows by key."""
    found: dict[str, list[Any]] = {}
    for key in (*lake.keys("raw"), *lake.keys("processed")):
        content = lake.read_object(key)
        table = pq.read_table(io.BytesIO(content), partitioning=None) if key.endswith(".parquet") else None
        found[key] = content.splitlines() if table is None else [one["participant_id"] for one in table.to_pylist()]
    return found


def test_nothing_of_the_person_stays_and_all_of_the_others_and_again_there_is_nothing_to_do(emptied: Settings) -> None:
    lake, platform = fill(emptied), open_platform(emptied)
    before = stored(lake)
    assert count_person(emptied, "QOL-1") == {"raw lines": 2, "table rows": 1, "id map": 1}
    for nobody in ("QOL", "QOL-111", "c" * 32):
        with pytest.raises(UnknownPersonError):
            erase(emptied, nobody)
    assert (stored(lake), platform.ledger().entries()) == (before, [])

    report = erase(emptied, "QOL-1")
    assert (report.is_complete, report.left) == (True, {})
    assert {name: report.counts[name] for name in ("raw lines", "table rows", "accounts")} == {
        "raw lines": 2,
        "table rows": 1,
        "accounts": 1,
    }
    ben = lines(BEN).splitlines()
    (weekly,) = lake.keys("processed")
    assert stored(lake) == {BOTH: ben, OF_BEN: ben, weekly: ["QOL-11"]}
    assert [one.garmin_user_id for one in platform.id_map().list()] == [BEN]
    assert [one.state for one in platform.ledger().entries()] == ["begun", "finished"]
    assert ADA not in json.dumps(vars(report)) + json.dumps([vars(one) for one in platform.ledger().entries()])

    again = erase(emptied, "QOL-1")
    assert (again.is_complete, again.files_rewritten, again.counts) == (True, 0, {})


def test_what_comes_back_by_a_restore_is_erased_again_by_the_ledger(emptied: Settings) -> None:
    lake = fill(emptied)
    assert erase(emptied, ADA).is_complete
    lake.replace_object(BOTH, lines(ADA, BEN))
    assert [one.is_complete for one in replay_ledger(emptied)] == [True]
    assert stored(lake)[BOTH] == lines(BEN).splitlines()
    assert replay_ledger(emptied) == []


def test_somebody_elses_record_that_names_the_person_keeps_the_erasure_open_until_it_is_mended(
    emptied: Settings,
) -> None:
    lake, ledger = fill(emptied), open_platform(emptied).ledger()
    lake.replace_object(OF_BEN, lines(BEN, partner=ADA))
    report = erase(emptied, "QOL-1")
    assert (report.is_complete, [*report.left]) == (False, [f"lake/{OF_BEN}"])
    assert (lake.read_object(OF_BEN), ledger.unfinished()) == (lines(BEN, partner=ADA), 1)
    lake.replace_object(OF_BEN, lines(BEN, partner="-"))
    assert erase(emptied, "QOL-1").is_complete
    assert (ledger.unfinished(), ledger.state_of_participant("QOL-1")) == (0, "finished")


def of_ben(lake: Lake) -> dict[str, list[Any]]:
    """Lines and rows of the other one."""
    found: dict[str, list[Any]] = {}
    for key, content in stored(lake).items():
        found[key] = [one for one in content if one == "QOL-11" or (isinstance(one, bytes) and BEN.encode() in one)]
    return {key: one for key, one in found.items() if one}


def push(settings: Settings, number: int) -> int:
    """Have the receiver get a record of each, and return how many it stored."""
    platform = open_platform(settings)
    records = [{"userId": one, "summaryId": f"s-{number}", "calendarDate": str(MONDAY)} for one in (ADA, BEN)]
    receiver = Receiver(platform.raw_store(), "s", id_map=platform.id_map(), refusals=platform.ledger())
    http = {"requestContext": {"http": {"method": "POST", "path": "/garmin/s"}}}
    answer = receiver.handle({**http, "body": json.dumps({"dailies": records})})
    assert answer["statusCode"] == 200
    return int(json.loads(answer["body"])["stored"])


@pytest.mark.slow
def test_killed_after_any_step_by_the_system_it_goes_on_and_the_others_lose_nothing(
    emptied: Settings, named: Callable[[], Collection[str]]
) -> None:
    lake, platform = fill(emptied), open_platform(emptied)
    for table in ("weekly", "daily", "daily"):
        people = [{"participant_id": one} for one in ("QOL-1", "QOL-11")]
        lake.write_table(table, MONDAY, rows(table, *people), {"rows": 2})
    create_freeze(lake, "paper-1")
    before = of_ben(lake)
    assert len(before) == 4
    with killed_command("participants", "erase", "QOL-1", "--yes") as kill_after:
        for step in (*STEPS, *LAST_STEPS[emptied.target]):
            assert kill_after(*step) == -9, step
            assert (of_ben(lake), verify_freeze(lake, read_freeze(lake, "paper-1"))) == (before, []), step
            assert (platform.ledger().unfinished(), platform.ledger().state_of_user(ADA)) == (1, "begun"), step
    assert platform.id_map().identities().active == {BEN: "QOL-11"}
    assert erase(emptied, "QOL-1").is_complete
    assert (of_ben(lake), verify_freeze(lake, read_freeze(lake, "paper-1"))) == (before, [])
    assert [one.state for one in platform.ledger().entries()] == ["begun", "finished"]
    assert not named()


def test_a_push_before_during_and_after_an_erasure_and_after_a_restore_brings_nobody_back(
    emptied: Settings, named: Callable[[], Collection[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, clearing, during = fill(emptied), Clearing.clear_tables, []
    assert push(emptied, 1) == 2

    def pushed_to(one: Clearing) -> None:
        clearing(one)
        during.append(push(emptied, 2))

    monkeypatch.setattr(Clearing, "clear_tables", pushed_to)
    assert erase(emptied, "QOL-1").is_complete
    assert (during, push(emptied, 3)) == ([1], 1)
    lake.replace_object(BOTH, lines(ADA, BEN))  # as a restore brings it back
    assert push(emptied, 4) == 1
    assert [one.is_complete for one in replay_ledger(emptied)] == [True]
    assert not named()
    of_pushes = [one for key, found in stored(lake).items() if key not in (BOTH, OF_BEN) for one in found]
    assert [json.loads(one)["userId"] for one in of_pushes if one != "QOL-11"] == [BEN] * 4


def test_the_same_person_twice_and_another_at_once_all_come_to_their_end(
    emptied: Settings, named: Callable[[], Collection[str]]
) -> None:
    lake, people = fill(emptied), open_platform(emptied).id_map()
    people.import_rows([("c" * 32, "QOL-3", None)])
    lake.replace_object(OF_ADA, lines(ADA, "c" * 32))
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda name: erase(emptied, name).is_complete, ("QOL-1", BEN, ADA)))
    assert done == [True] * 3
    assert stored(lake) == {OF_ADA: lines("c" * 32).splitlines(), **{key: [] for key in lake.keys("processed")}}
    assert [one.participant_id for one in people.list()] == ["QOL-3"]
    assert open_platform(emptied).ledger().unfinished() == 0
    assert not named()


def test_what_is_read_again_from_quarantine_brings_nobody_back(emptied: Settings) -> None:
    platform = open_platform(emptied)
    lake, records = platform.lake(), [{"userId": one, "calendarDate": str(MONDAY)} for one in (ADA, BEN)]
    lake.replace_object(f"raw/quarantine/date={MONDAY}/a.body", json.dumps({"dailies": records}).encode())
    platform.ledger().append("withdrawn", [ADA])
    assert requarantine(lake, store_of(platform)).read == 1
    ((line,),) = stored(lake).values()
    assert json.loads(line)["userId"] == BEN


def test_a_withdrawal_and_a_freeze_that_were_killed_are_nothing_half_and_the_repetition_completes_them(
    emptied: Settings,
) -> None:
    lake, platform = fill(emptied), open_platform(emptied)
    lake.write_table("daily", MONDAY, rows("daily", {"participant_id": "QOL-1"}), {"rows": 1})
    before = stored(lake)
    with killed_command("freeze", "create", "paper-1") as kill_after:
        for number in (1, 2):
            assert kill_after("qol_dagster.lake.freeze._objects", number) == -9
            assert (freezes(lake), stored(lake)) == ([], before)
    assert run(["freeze", "create", "paper-1"]) == 0
    assert verify_freeze(lake, read_freeze(lake, "paper-1")) == []

    with killed_command("participants", "withdraw", "QOL-1") as kill_after:
        assert kill_after(WITHDRAWN[emptied.target], 1) == -9
        assert kill_after("qol_ingest.shared.erasures.AnyLedger.append", 1) == -9
        assert push(emptied, 1) == 1
    assert run(["participants", "withdraw", "QOL-1"]) == 0
    (ada,) = (one for one in platform.id_map().list() if one.participant_id == "QOL-1")
    assert (ada.status, platform.ledger().state_of_user(ADA)) == ("withdrawn", "withdrawn")
    assert {key: found for key, found in stored(lake).items() if key in before} == before
