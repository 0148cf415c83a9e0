"""Withdrawing: what is there stays, in the tables too, and nothing is stored, fetched or computed from then on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from qol_dagster.cli.app import run
from qol_dagster.engines import Engine, open_engine
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.survey_pages import survey_links
from qol_dagster.settings import Settings
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw
from qol_ingest.shared.erasures import Ledger
from qol_ingest.shared.id_map import IdMapError

LEAVER_USER, OTHER_USER = "4aacafe82427c251df9c9592d0c06768", "ffeeddccbbaa99887766554433221100"
BEFORE = MONDAY - timedelta(weeks=1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine("duckdb", memory_mb=512, temp_dir=tmp_path_factory.mktemp("engine")) as opened:
        yield opened


class Study:
    """Two participants, P1 who leaves and P2, and two weeks."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings, self.engine = settings, engine
        self.lake, self.people = Lake.local(settings.lake_dir), IdMap(settings.id_map_path, Ledger(settings.home))
        self.people.import_rows([(LEAVER_USER, "P1", None), (OTHER_USER, "P2", None)])

    def receive(self, day: date, user: str, name: str, **fields: Any) -> None:
        beats = record("dailies", user, day, timeOffsetHeartRateSamples=worn(0.1), **fields)
        write_raw(self.settings.lake_dir, day, [beats], f"{name}-{day.day}")

    def run(self, week: date) -> None:
        people = self.people.identities()
        run_etl(self.engine, self.lake, [week], people, since=self.settings.start_date)

    def rows(self, table: TableName, day: date, participant: str = "P1") -> list[dict[str, Any]]:
        found = self.lake.read_table(table, day)
        rows = [] if found is None else found.to_pylist()
        return [{**one, "computed_at": None} for one in rows if one["participant_id"] == participant]


@pytest.fixture
def study(settings: Settings, engine: Engine) -> Study:
    study = Study(settings, engine)
    for user in (LEAVER_USER, OTHER_USER):
        study.receive(BEFORE, user, user[:4], steps=4000)
        study.receive(MONDAY, user, user[:4], steps=4000)
    study.run(BEFORE)
    return study


def test_the_weeks_that_were_computed_keep_the_person_and_no_other_has_them(study: Study) -> None:
    stored = {table: study.rows(table, BEFORE) for table in ("daily", "weekly", "status")}
    assert all(stored.values())
    assert run(["participants", "withdraw", "P1"]) == 0
    study.receive(BEFORE, OTHER_USER, "late", steps=9000, _received_at=f"{MONDAY}T00:00:00Z")
    for week in (BEFORE, MONDAY):
        study.run(week)
    assert study.rows("daily", BEFORE, "P2")[0]["steps"] == 9000
    assert {table: study.rows(table, BEFORE) for table in ("daily", "weekly", "status")} == stored
    for table in ("daily", "weekly", "status"):
        assert (study.rows(table, MONDAY), len(study.rows(table, MONDAY, "P2"))) == ([], 1)


def test_links_to_the_questionnaire_are_void(study: Study) -> None:
    links = survey_links(study.settings)
    for participant in ("P1", "P2"):
        links.invite(participant, 0)
    assert run(["participants", "withdraw", "P1"]) == 0
    assert links.linked() == {("P2", 0)}


def test_withdrawing_twice_keeps_the_first_date_and_nothing_is_fetched(study: Study) -> None:
    run(["participants", "withdraw", "P1"])
    study.run(MONDAY)
    run(["participants", "withdraw", "P1"])
    (account,) = (one for one in study.people.list() if one.participant_id == "P1")
    assert (account.status, account.withdrawn_from) == ("withdrawn", str(MONDAY))
    assert not account.permits("dailies")
    assert Ledger(study.settings.home).state_of_user(LEAVER_USER) == "withdrawn"


def test_revoking_takes_the_rows_out_and_enrolling_again_takes_the_person_back_in(study: Study) -> None:
    run(["participants", "withdraw", "P1"])
    run(["participants", "revoke", "P1"])
    study.run(BEFORE)
    assert study.rows("weekly", BEFORE) == []
    with pytest.raises(IdMapError, match="nothing is computed already"):
        study.people.withdraw("P1", MONDAY)
    study.people.add(LEAVER_USER, "P1")
    study.run(MONDAY)
    assert len(study.rows("weekly", MONDAY)) == 1
    assert Ledger(study.settings.home).state_of_user(LEAVER_USER) == "readmitted"


def test_before_any_week_was_computed_nothing_is_computed(settings: Settings, engine: Engine) -> None:
    study = Study(settings, engine)
    study.receive(MONDAY, LEAVER_USER, "a", steps=1)
    run(["participants", "withdraw", "P1"])
    study.run(MONDAY)
    assert study.rows("daily", MONDAY) == []


def test_nobody_withdraws_who_is_not_there(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["participants", "withdraw", "P9"]) == 2
    assert "there is no participant P9" in capfd.readouterr().err
    assert not Ledger(settings.home).path.exists()
