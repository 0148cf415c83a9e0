"""What every erasure does, on one machine and on AWS, by the fixture `emptied`: settings of what holds nothing yet."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from qol_dagster.erasure import UnknownPersonError
from qol_dagster.erasure.erase import count_person, erase, replay_ledger
from qol_dagster.lake.lake import Lake
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings
from qol_dagster_tests.support.lakes import MONDAY, record
from qol_dagster_tests.support.tables import rows

ADA, BEN = "4aacafe82427c251df9c9592d0c06768", "b" * 30 + "01"
BOTH, OF_ADA, OF_BEN = (f"raw/daily/date={MONDAY}/{name}.jsonl" for name in ("both", "ada", "ben"))


def lines(*users: str, **fields: Any) -> bytes:
    return "".join(json.dumps(record("dailies", user, MONDAY, steps=1, **fields)) + "\n" for user in users).encode()


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
