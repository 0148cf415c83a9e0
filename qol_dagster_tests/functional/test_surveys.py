"""Forms from their file to the tables people query: stored once, never lost, scored, joined with the sensors."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from garmin_sim.people import user_id
from qol_dagster.cli.app import run
from qol_dagster.cli.surveys import served_survey
from qol_dagster.definitions import build_defs
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.surveys import read_sendings, write_sendings
from qol_dagster.lake.tables import arrow_schema
from qol_dagster.metrics.dictionary import DAILY
from qol_dagster.pipeline import surveys as pipeline_surveys
from qol_dagster.pipeline.checks import ChecksError
from qol_dagster.pipeline.surveys import SurveyReport, open_forms, score_surveys
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.platform import open_platform
from qol_dagster.resources.survey_pages import has_surveys, write_template
from qol_dagster.settings import Settings
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.responses import Sending, latest_responses
from qol_dagster.surveys.waves import WavePlan
from qol_dagster.weeks import dates_of, last_due_week, today
from qol_dagster_tests.support.lakes import record, worn, write_raw
from qol_ingest.consent.state import EnrolmentStateError, SqliteState
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.survey.links import SurveyLinks
from qol_ingest.webhook import Receiver

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ANSWERED = date(2026, 11, 16)
FIRST = date(2026, 11, 2)
PEOPLE = Identities({"garmin-1": "P1", "garmin-2": "P2"})
PLAN = WavePlan(every_weeks=4, waves=2, window_days=3)

Said = tuple[int, str, str]


def form(**changed: Any) -> Sending:
    at = datetime(2026, 11, 16, 3, tzinfo=UTC)
    given = {"participant_id": "P1", "wave": 0, "language": "ja", "mode": "web", "answered_at": at, "received_at": at}
    answers = {item: 2 if item in (3, 4, 26) else 4 for item in range(1, 27)}
    return Sending(**{**given, "answers": answers, **changed})


def write_daily(lake: Lake, steps: dict[date, int], *people: str) -> None:
    """Valid days with so many steps."""
    blank = dict.fromkeys(metric.name for metric in DAILY) | {one.name: 1 for one in DAILY if not one.nullable}
    for day, number in steps.items():
        known = {"date": str(day), "wear_min": 700.0, "is_valid_day": True, "steps": number}
        found = [{**blank, **known, "participant_id": person} for person in people or ("P1",)]
        lake.write_table("daily", day, pa.Table.from_pylist(found, schema=arrow_schema(DAILY)), {})


def dates(number: int, first: date = FIRST) -> list[date]:
    return [first + timedelta(days=at) for at in range(number)]


def rows(folder: Path, sql: str) -> list[dict[str, Any]]:
    return list(query(folder, sql).table.to_pylist())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def lake(folder: Path) -> Lake:
    return Lake.local(folder)


def scored(lake: Lake, **options: Any) -> SurveyReport:
    return score_surveys(lake, PEOPLE, **{"computed_at": NOW, "plan": PLAN, **options})


# -- raw


def test_a_form_is_stored_once_and_never_changed(lake: Lake) -> None:
    first = form()
    assert write_sendings(lake, [first]) == 1
    assert write_sendings(lake, [form(received_at=NOW)]) == 0
    assert lake.keys("raw/surveys") == [f"raw/surveys/date=2026-11-16/{first.id}.jsonl"]
    assert read_sendings(lake).sendings == (first,)
    correction = form(answers={1: 5}, received_at=NOW)
    assert write_sendings(lake, [first, correction]) == 1
    assert lake.read_object(first.key) == first.line


def test_what_is_no_form_is_counted_and_hinders_nobody(lake: Lake) -> None:
    write_sendings(lake, [form()])
    lake.write_raw(ANSWERED, "half", form().line[:40], zone="raw/surveys")
    lake.write_raw(ANSWERED, "_notes", b"not a form\n", zone="raw/surveys")
    report = scored(lake)
    assert (report.unreadable, report.rows["whoqol_scores"]) == (1, 1)


# -- tables


def test_a_form_becomes_a_row_in_each_table_that_people_query(lake: Lake, folder: Path) -> None:
    write_daily(lake, {day: 1000 * (at + 1) for at, day in enumerate(dates(15))})  # the last is the date of answering
    write_sendings(lake, [form()])
    report = scored(lake)
    assert (report.rows["survey_responses"], report.not_enrolled) == (1, 0)
    (score,) = rows(folder, "SELECT * FROM db_qol.whoqol_scores")
    assert (score["participant_id"], score["date"], score["wave"]) == ("P1", "2026-11-16", 0)
    assert (score["physical_0_100"], score["physical_mean"], score["n_physical"]) == (75, 4, 7)
    assert (score["overall_qol"], score["missing_rule"], score["computed_at"]) == (4, "who_syntax", NOW)
    (window,) = rows(folder, "SELECT * FROM db_qol.whoqol_sensor_windows")
    assert (window["window_start"], window["window_end"]) == ("2026-11-02", "2026-11-15")
    assert (window["steps_mean_14d"], window["n_steps_mean_14d"], window["is_valid_window"]) == (7500, 14, True)
    (answered,) = rows(folder, "SELECT * FROM db_qol.survey_responses")
    assert (answered["q1"], answered["q26"], answered["mode"], answered["n_missing"]) == (4, 2, "web", 0)


def test_the_columns_people_query_are_those_of_the_dictionary(lake: Lake, folder: Path) -> None:
    for when in ("before", "after"):
        for table, columns in SURVEY_TABLES.items():
            found = query(folder, f"SELECT * FROM db_qol.{table}").columns
            assert found == [one.name for one in columns], when
        write_sendings(lake, [form()])
        scored(lake)


def test_values_stay_within_the_ranges_of_the_dictionary_and_required_ones_are_there(lake: Lake, folder: Path) -> None:
    write_daily(lake, dict.fromkeys(dates(20), 4000))
    write_sendings(lake, [form(), form(participant_id="P2", answers={1: 9, 5: None})])
    scored(lake)
    for table, columns in SURVEY_TABLES.items():
        for row in rows(folder, f"SELECT * FROM db_qol.{table}"):
            for one in columns:
                value = row[one.name]
                assert one.nullable or value is not None, (table, one.name)
                assert value is None or one.minimum is None or value >= one.minimum, (table, one.name)
                assert value is None or one.maximum is None or value <= one.maximum, (table, one.name)


def test_every_wave_has_a_row_that_says_how_it_stands(lake: Lake, folder: Path) -> None:
    write_daily(lake, dict.fromkeys(dates(14), 1))
    write_sendings(lake, [form()])
    scored(lake)
    found = rows(
        folder, "SELECT wave, date, opens_on, closes_on, state, answered_on FROM db_qol.survey_due ORDER BY wave"
    )
    assert [tuple(row.values()) for row in found] == [
        (0, "2026-11-16", "2026-11-16", "2026-11-19", "answered", "2026-11-16"),
        (1, "2026-12-14", "2026-12-11", "2026-12-17", "upcoming", None),
    ]


def test_of_whoever_withdrew_only_waves_that_were_over_or_answered_stay_due(lake: Lake, folder: Path) -> None:
    write_daily(lake, dict.fromkeys(dates(14), 1), "P1", "P2")
    write_sendings(lake, [form(participant_id="P2")])
    for withdrew, waves in ((date(2026, 11, 19), [("P2", 0)]), (date(2026, 11, 20), [("P1", 0), ("P2", 0)])):
        left = Identities(PEOPLE.active, withdrawn={"P1": withdrew, "P2": withdrew})
        score_surveys(lake, left, computed_at=NOW, plan=PLAN)
        found = rows(folder, "SELECT participant_id, wave FROM db_qol.survey_due ORDER BY participant_id")
        assert [tuple(row.values()) for row in found] == waves  # the baseline closes on the 19th


def test_a_correction_replaces_the_score_and_a_late_day_the_window(lake: Lake, folder: Path) -> None:
    write_daily(lake, dict.fromkeys(dates(13), 1000))
    write_sendings(lake, [form()])
    scored(lake)
    later = form(answers={20: 1, 21: 1, 22: 1}, received_at=NOW, mode="paper")
    write_sendings(lake, [later])
    write_daily(lake, {date(2026, 11, 15): 15_000})
    scored(lake)
    (score,) = rows(folder, "SELECT social_0_100, physical_0_100 FROM db_qol.whoqol_scores")
    assert score == {"social_0_100": 0, "physical_0_100": 75}
    (window,) = rows(folder, "SELECT steps_mean_14d FROM db_qol.whoqol_sensor_windows")
    assert window == {"steps_mean_14d": 2000}


def test_a_form_that_moves_to_another_date_leaves_no_row_behind(lake: Lake, folder: Path) -> None:
    write_sendings(lake, [form()])
    scored(lake)
    at = datetime(2026, 11, 18, 3, tzinfo=UTC)
    write_sendings(lake, [form(answered_at=at, received_at=at)])
    scored(lake)
    assert rows(folder, "SELECT date FROM db_qol.whoqol_scores") == [{"date": "2026-11-18"}]


def test_whoever_is_no_longer_enrolled_is_in_no_table_and_stays_raw(lake: Lake, folder: Path) -> None:
    write_sendings(lake, [form(), form(participant_id="P2")])
    scored(lake)
    report = score_surveys(lake, Identities({"garmin-2": "P2"}, frozenset({"garmin-1"})), computed_at=NOW)
    assert (report.not_enrolled, report.rows["survey_responses"]) == (1, 1)
    assert rows(folder, "SELECT DISTINCT participant_id AS p FROM db_qol.survey_responses") == [{"p": "P2"}]
    assert len(lake.keys("raw/surveys")) == 2


def test_few_forms_give_associations_without_an_estimate(lake: Lake, folder: Path) -> None:
    write_sendings(lake, [form(), form(participant_id="P2")])
    scored(lake)
    found = rows(folder, "SELECT DISTINCT reason, estimate, missing_rule FROM db_qol.whoqol_associations")
    assert found == [{"reason": "too_few_persons", "estimate": None, "missing_rule": "who_syntax"}]


def test_no_garmin_id_is_in_any_table_of_forms(lake: Lake, folder: Path) -> None:
    write_sendings(lake, [form()])
    scored(lake)
    for table in SURVEY_TABLES:
        assert "garmin-1" not in str(rows(folder, f"SELECT * FROM db_qol.{table}"))


# -- commands


@pytest.fixture
def qol(settings: Settings, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    IdMap(settings.id_map_path).add("garmin-1", "P1")

    def call(*words: str) -> Said:
        code = run(["survey", *words])
        return (code, *capfd.readouterr())

    return call


def csv_file(folder: Path, people: Iterable[str] = ("P1",), first: str = "4", language: str = "ja") -> Path:
    head = "participant_id,wave,answered_at,language," + ",".join(f"q{item}" for item in range(1, 27))
    lines = [f"{person},0,2026-11-16,{language},{first}" + ",3" * 25 for person in people]
    file = folder / "forms.csv"
    file.write_text("\n".join([head, *lines]))
    return file


def test_the_doctor_speaks_of_the_questionnaire_once_there_is_a_text(
    qol: Callable[..., Said], settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    def findings() -> list[str]:
        run(["doctor"])
        return [line for line in capfd.readouterr().out.splitlines() if "questionnaire" in line]

    assert findings() == []
    write_sendings(Lake.local(settings.lake_dir), [form()])
    assert findings()[0].startswith("note  questionnaire: there is no text; its page answers 404")
    qol("template")
    assert findings()[0].startswith("note  questionnaire: ja (version placeholder): a template")
    file = settings.home / "survey/whoqol.ja.toml"
    file.write_text(file.read_text().replace('"placeholder"', '"2"'))
    assert findings() == ["ok    questionnaire: ja (version 2)"]
    file.write_text("title = 1")
    assert findings()[0].startswith(f"FAIL  questionnaire: {file}: ")


def test_links_need_a_text_and_one_with_faults_is_refused_with_all_of_them(
    qol: Callable[..., Said], settings: Settings
) -> None:
    code, out, err = qol("invite", "P1", "--wave", "0")
    assert (code, out) == (2, "")
    assert err.startswith(f"qol: there is no licensed text in {settings.home / 'survey'}. `qol survey template` writes")
    file = settings.home / "survey/whoqol.ja.toml"
    assert qol("template")[:2] == (0, f"{file}\n")
    assert "is there already. Change that one" in qol("template")[2]
    assert qol("check")[:2] == (0, "ja  version placeholder, 26 items\n")
    file.write_text(file.read_text().replace("26 = {", "27 = {").replace('"ja"', '"en"'))
    for words in (("check",), ("invite", "P1", "--wave", "0")):
        assert f"{file}: missing items: 26; unknown items: 27" in qol(*words)[2]


def test_a_link_is_made_for_one_form_of_somebody_enrolled(qol: Callable[..., Said], settings: Settings) -> None:
    assert qol("template", "--lang", "en")[0] == 0
    code, out, err = qol("invite", "P1", "--wave", "3", "--format", "json")
    (made,) = json.loads(out)
    assert (code, made["participant_id"], made["wave"]) == (0, "P1", 3)
    assert made["link"].startswith("http://127.0.0.1:8321/survey?code=")
    assert "P1" not in made["link"]
    assert "links: 1; older ones of these forms are void" in err
    assert "P7 is not enrolled" in qol("invite", "P7", "--wave", "0")[2]
    assert "void" not in qol("invite", "--due", "--wave", "99")[2]
    assert "no form of P1 is due today; say which with --wave" in qol("invite", "P1")[2]
    assert "say either a participant or --due" in qol("invite")[2]


def test_revoking_a_participant_voids_the_links(qol: Callable[..., Said], settings: Settings) -> None:
    qol("template")
    qol("invite", "P1", "--wave", "0")
    links = SurveyLinks(SqliteState(settings.home / "enrolment.sqlite"))
    assert links.linked() == {("P1", 0)}
    assert run(["participants", "revoke", "P1"]) == 0
    assert links.linked() == set()


def test_everybody_whose_form_is_due_and_was_not_answered_gets_a_link(
    qol: Callable[..., Said], settings: Settings
) -> None:
    lake = Lake.local(settings.lake_dir)
    first = today() - timedelta(days=16)  # 14 worn days, so that the baseline is due since two days ago
    write_daily(lake, dict.fromkeys(dates(14, first), 4000))
    assert open_forms(lake, PEOPLE, today=first + timedelta(days=13)) == []
    qol("template")

    def invited(*words: str) -> list[list[str]]:
        return [line.split(",")[:2] for line in qol("invite", "--due", *words)[1].splitlines()[1:]]

    assert invited() == [["P1", "0"]]
    assert invited() == []  # the link is still good
    assert invited("--again") == [["P1", "0"]]
    draft = SurveyLinks(SqliteState(settings.home / "enrolment.sqlite"))
    code, _ = draft.invite("P1", 0)
    draft.save(draft.find(code), {1: 4}, 1)
    write_sendings(lake, [form()])
    assert invited("--again") == [["P1", "0"]]  # begun, and not finished
    draft.save(draft.find(draft.invite("P1", 0)[0]), {}, 2, pages=2)
    assert invited("--again") == []


def test_whoever_withdrew_is_not_invited(qol: Callable[..., Said], settings: Settings) -> None:
    write_daily(Lake.local(settings.lake_dir), dict.fromkeys(dates(14, today() - timedelta(days=16)), 4000))
    qol("template")
    assert run(["participants", "withdraw", "P1"]) == 0
    assert "P1," not in qol("invite", "--due")[1]
    assert "P1 is not enrolled, or has withdrawn" in qol("invite", "P1", "--wave", "0")[2]


def test_links_made_before_a_fault_are_shown_all_the_same(
    qol: Callable[..., Said], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    IdMap(settings.id_map_path).add("garmin-2", "P2")
    worn = dates(14, today() - timedelta(days=16))
    write_daily(Lake.local(settings.lake_dir), dict.fromkeys(worn, 4000), "P1", "P2")
    qol("template")
    make, made = SurveyLinks.invite, []

    def fails_once(links: SurveyLinks, *about: Any) -> Any:
        made.append(about[0])
        if len(made) == 2:
            raise EnrolmentStateError("the disk is full")
        return make(links, *about)

    monkeypatch.setattr(SurveyLinks, "invite", fails_once)
    code, out, err = qol("invite", "--due")
    assert (code, [line.split(",")[0] for line in out.splitlines()[1:]]) == (1, made[:1])
    assert "the disk is full" in err
    assert [line.split(",")[0] for line in qol("invite", "--due")[1].splitlines()[1:]] == made[1:2]


def test_letters_are_written_for_staff_alone_and_never_over_another_file(
    qol: Callable[..., Said], settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "letters.html"
    qol("template", "--lang", "en")
    code, out, err = qol("invite", "P1", "--wave", "0", "--letters", str(file))
    assert (code, out) == (0, "")
    assert f"letters: 1, in {file}; print it, and delete it then" in err
    assert file.stat().st_mode & 0o777 == 0o600
    page = file.read_text()
    assert "Participant number P1" in page
    assert "参加者番号" not in page, "in the languages of the form"
    (code_of_letter,) = re.findall(r'class="code">([^<]+)<', page)
    links = SurveyLinks(SqliteState(settings.home / "enrolment.sqlite"))
    assert links.find(code_of_letter).participant_id == "P1"
    again = qol("invite", "P1", "--wave", "0", "--letters", str(file))
    assert again[0] == 2
    assert "File exists; no link was made. Name another file" in again[2]
    assert links.find(code_of_letter).participant_id == "P1", "the link of before is still good"


def test_a_sheet_of_paper_is_entered_and_corrected(qol: Callable[..., Said], settings: Settings) -> None:
    def enter(marks: str, person: str = "P1") -> Said:
        return qol("enter", person, marks, "--wave", "1", "--answered-on", "2026-11-16")

    assert enter("44214 34534 53434-43 445435434")[::2] == (
        2, "qol: nothing was stored: there are 27 marks and not 26\n"
    )  # fmt: skip
    assert enter("44214 34534 534-4 34344 543543")[:2] == (0, "P1  wave 1  2026-11-16  blank: 14\n")
    assert "7 x is none of 1 to 5 and -" in enter("x7214 34534 534-4 34344 543543")[2]
    assert "'P7' is not enrolled" in enter("4" * 26, "P7")[2]
    for marks in ("54214 34534 534-4 34344 543543", "44214 34534 534-4 34344 543543", "54214 34534 534-4 34344 543543"):
        enter(marks)
    (stored,) = latest_responses(read_sendings(Lake.local(settings.lake_dir)).sendings)
    assert (stored.mode, stored.wave, str(stored.answered_on), stored.n_sendings) == ("paper", 1, "2026-11-16", 4)
    assert [stored.answers[item] for item in (1, 2, 14, 26)] == [5, 4, None, 3]


def test_the_receiver_shows_the_form_to_whoever_has_a_link(qol: Callable[..., Said], settings: Settings) -> None:
    def status(path: str) -> int:
        with LocalWebhook(Receiver(DirectoryStore(settings.lake_dir), "secret")) as server:
            server.survey = served_survey(settings, "key")
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
                connection.request("GET", path)
                return connection.getresponse().status

    assert status("/survey") == 404
    qol("template")
    assert qol("check")[2].startswith("the text in ja is the template")
    link = qol("invite", "P1", "--wave", "0")[1].splitlines()[1].split(",")[2]
    assert status(link.removeprefix("http://127.0.0.1:8321")) == 200
    assert status("/surveys") == 404
    (settings.home / "survey/whoqol.ja.toml").write_text("title = 1")
    assert status("/survey") == 404


def test_the_older_name_of_the_command_still_works(qol: Callable[..., Said], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["surveys", "--help"]) == 0
    assert "invite" in capfd.readouterr().out


def test_a_file_is_imported_once_and_shown_before(qol: Callable[..., Said], settings: Settings, tmp_path: Path) -> None:
    file = csv_file(tmp_path, first="9")
    code, out, err = qol("import", str(file), "--dry-run")
    assert (code, out) == (0, "wave 0  new forms: 1\n")
    assert "forms that would be stored: 1; stored before: 0" in err
    assert "count as missing: 1. Nothing was stored" in err
    assert Lake.local(settings.lake_dir).keys("raw/surveys") == []
    assert "forms stored: 1; stored before: 0" in qol("import", str(file))[2]
    assert "forms stored: 0; stored before: 1" in qol("import", str(file))[2]
    assert len(Lake.local(settings.lake_dir).keys("raw/surveys")) == 1
    code, out, err = qol("score")
    assert (code, err) == (0, "")
    assert "whoqol_scores  rows: 1\n" in out


def test_a_wave_is_described_by_domain(qol: Callable[..., Said], settings: Settings) -> None:
    IdMap(settings.id_map_path).add("garmin-2", "P2")
    lake = Lake.local(settings.lake_dir)
    best = {item: 1 if item in (3, 4, 26) else 5 for item in range(1, 27)}
    write_sendings(lake, [form(answers={**best, 20: None}), form(participant_id="P2"), form(participant_id="P3")])
    code, out, err = qol("describe", "--format", "json")
    social = json.loads(out)[2]
    assert (code, err, len(json.loads(out))) == (0, "", 4)
    # Of two forms one has 100 (two items of three), the other 75; alpha needs two whole ones.
    assert social == {
        "wave": 0, "domain": "social", "n_forms": 2, "n_scored": 2, "alpha": None, "n_alpha": 1, "floor": 0.0,
        "ceiling": 0.5, "nonresponse": 0.167,
    }  # fmt: skip


def test_a_file_with_a_fault_is_refused_whole(qol: Callable[..., Said], settings: Settings, tmp_path: Path) -> None:
    code, out, err = qol("import", str(csv_file(tmp_path, ("P1", "P7"))))
    assert (code, out) == (2, "")
    assert err.startswith("qol: nothing was imported: line 3: 'P7' is not enrolled")
    assert Lake.local(settings.lake_dir).keys("raw/surveys") == []


def test_what_is_no_file_or_no_option_is_said_in_a_line(qol: Callable[..., Said], tmp_path: Path) -> None:
    assert qol("import", str(tmp_path / "none.csv"))[::2] == (
        2,
        f"qol: {tmp_path / 'none.csv'} cannot be read: No such file or directory\n",
    )
    assert "--map takes NAME=COLUMN" in qol("import", str(csv_file(tmp_path)), "--map", "wave")[2]
    assert qol("score", "--every-weeks", "1")[0] == 2


def test_simulated_participants_answer_what_is_due_and_a_second_time_nothing_new(
    qol: Callable[..., Said], settings: Settings
) -> None:
    lake = Lake.local(settings.lake_dir)
    write_daily(lake, dict.fromkeys(dates(14, date(2026, 3, 2)), 5000), "P9")
    IdMap(settings.id_map_path).add(user_id(0, 3), "P9")
    assert "1 who are enrolled are not simulated with --seed 0" in qol("simulate")[2]
    IdMap(settings.id_map_path).revoke("P1")
    plan = ("--every-weeks", "4", "--waves", "6", "--window-days", "3")
    code, out, err = qol("simulate", *plan)
    assert (code, err) == (0, "")
    stored = len(lake.keys("raw/surveys"))
    assert out == f"pages and forms stored: {stored}\n"
    assert stored > 1
    assert qol("simulate", *plan)[1] == "pages and forms stored: 0\n"
    assert qol("score", *plan)[0] == 0
    found = rows(settings.lake_dir, "SELECT count(*) AS n, min(n_answered) AS least FROM db_qol.whoqol_scores")
    assert found[0]["n"] >= 1


# -- checks


def tables_of(settings: Settings) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in settings.lake_dir.glob("processed/*/*/*.parquet")}


def run_job(settings: Settings) -> tuple[bool, int, list[tuple[str, str]], str]:
    """Return whether the job ran to its end, how many checks were made, which failed, and all that it said."""
    result = build_defs(settings).resolve_job_def("surveys_job").execute_in_process(raise_on_error=False)
    checks = result.get_asset_check_evaluations()
    assert all(one.blocking for one in checks)
    failed = [(one.asset_key.to_user_string(), one.check_name) for one in checks if not one.passed]
    return result.success, len(checks), failed, " ".join(str(event) for event in result.all_events)


@pytest.mark.slow
def test_a_garmin_id_in_an_imported_file_stops_all_tables_and_the_report_until_it_is_mended(
    qol: Callable[..., Said], settings: Settings, tmp_path: Path
) -> None:
    other = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
    IdMap(settings.id_map_path).seen([other], NOW)  # it pushed, and is not enrolled
    write_daily(Lake.local(settings.lake_dir), dict.fromkeys(dates(14), 5000))
    qol("import", str(csv_file(tmp_path)))
    assert run_job(settings)[:3] == (True, 20, [])
    before = tables_of(settings)

    qol("import", str(csv_file(tmp_path, first="5", language=other)))
    done, number, failed, said = run_job(settings)
    assert (done, number, failed) == (False, 4, [("survey_responses", "no_garmin_id")])
    assert "the rows of survey_responses fail no_garmin_id, and were not written; the old rows stay" in said
    assert other not in said
    assert "weekly_report" not in said
    assert tables_of(settings) == before

    qol("import", str(csv_file(tmp_path, first="5")))
    assert run_job(settings)[:3] == (True, 20, [])
    assert rows(settings.lake_dir, "SELECT q1, language FROM db_qol.survey_responses") == [{"q1": 5, "language": "ja"}]


def test_a_participant_who_is_called_by_a_garmin_id_is_in_no_table(lake: Lake) -> None:
    user = "a1b2c3d4-e5f6-0718-293a-4b5c6d7e8f90"
    write_sendings(lake, [form(participant_id=user)])
    with pytest.raises(ChecksError, match="the rows of survey_responses fail no_garmin_id") as failed:
        score_surveys(lake, Identities({user: user}), computed_at=NOW, plan=PLAN)
    assert user not in str(failed.value)
    assert not lake.keys("processed")


@pytest.mark.slow
def test_a_form_that_is_in_the_tables_twice_leaves_them_as_they_were(
    qol: Callable[..., Said], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.local(settings.lake_dir)
    write_sendings(lake, [form(), form(wave=1)])  # two waves of one participant and date are two forms
    assert qol("score")[0] == 0
    before = tables_of(settings)
    monkeypatch.setattr("qol_dagster.pipeline.surveys.latest_responses", lambda found: latest_responses(found) * 2)
    assert run_job(settings)[:3] == (False, 4, [("survey_responses", "unique_keys")])
    code, out, err = qol("score")
    assert (code, out) == (1, "")
    assert "the rows of survey_responses fail unique_keys, and were not written" in err
    assert tables_of(settings) == before


def test_the_last_table_is_checked_before_the_first_is_written(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sendings(lake, [form()])
    rows_of = pipeline_surveys._association_rows
    monkeypatch.setattr(pipeline_surveys, "_association_rows", lambda *given: rows_of(*given) * 2)
    with pytest.raises(ChecksError, match="the rows of whoqol_associations fail unique_keys"):
        scored(lake)
    assert not lake.keys("processed")


def test_a_sensor_value_that_cannot_be_is_set_aside_and_warned_of_and_stops_nobody_s_form(
    settings: Settings,
) -> None:
    IdMap(settings.id_map_path).add("garmin-1", "P1")
    lake = Lake.local(settings.lake_dir)
    write_daily(lake, {**dict.fromkeys(dates(13), 5000), FIRST + timedelta(days=13): -(10**6)})
    write_sendings(lake, [form()])
    assert run_job(settings)[:3] == (True, 20, [("whoqol_sensor_windows", "ranges")])
    found = rows(settings.lake_dir, "SELECT steps_mean_14d, n_steps_mean_14d FROM db_qol.whoqol_sensor_windows")
    assert found == [{"steps_mean_14d": None, "n_steps_mean_14d": 14}]


# -- in Dagster


@pytest.mark.slow
def test_the_job_names_the_columns_that_each_column_comes_from(settings: Settings) -> None:
    IdMap(settings.id_map_path).add("garmin-1", "P1")
    write_daily(Lake.local(settings.lake_dir), dict.fromkeys(dates(14), 5000))
    write_sendings(Lake.local(settings.lake_dir), [form()])
    result = build_defs(settings).resolve_job_def("surveys_job").execute_in_process()
    origins = {
        (event.asset_key.to_user_string(), column): {(one.asset_key.to_user_string(), one.column_name) for one in deps}
        for event in result.get_asset_materialization_events()
        if (found := event.materialization.metadata.get("dagster/column_lineage"))
        for column, deps in found.value.deps_by_column.items()
    }
    assert origins["whoqol_scores", "social_mean"] == {("survey_responses", f"q{item}") for item in (20, 21, 22)}
    assert origins["whoqol_sensor_windows", "steps_mean_14d"] == {
        ("daily_metrics", "is_valid_day"), ("daily_metrics", "steps"),
    }  # fmt: skip
    assert origins["survey_due", "opens_on"] == {("daily_metrics", "date"), ("daily_metrics", "wear_min")}
    estimate = origins["whoqol_associations", "estimate"]
    assert {("whoqol_scores", "social_0_100"), ("whoqol_sensor_windows", "steps_mean_14d")} < estimate
    assert {table for table, _ in origins} == set(SURVEY_TABLES) - {"survey_responses"}, "which are of no asset"
    assert ("whoqol_scores", "missing_rule") not in origins, "it is a setting"


@pytest.mark.slow
def test_the_job_writes_the_tables_and_reports_their_rows(settings: Settings) -> None:
    lake = Lake.local(settings.lake_dir)
    IdMap(settings.id_map_path).add("garmin-1", "P1")
    write_daily(lake, dict.fromkeys(dates(14), 5000))
    write_sendings(lake, [form()])
    config = {"ops": {"score_surveys": {"config": {"rule": "who_text", "waves": 2}}}}
    result = build_defs(settings).resolve_job_def("surveys_job").execute_in_process(run_config=config)
    assert result.success
    counts = {
        event.asset_key.to_user_string(): event.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
    }
    assert counts == {
        "survey_responses": 1,
        "survey_due": 2,
        "whoqol_scores": 1,
        "whoqol_sensor_windows": 1,
        "whoqol_associations": 372,
    }
    found = rows(settings.lake_dir, "SELECT missing_rule FROM db_qol.whoqol_scores")
    assert found == [{"missing_rule": "who_text"}]


@pytest.mark.slow
def test_the_job_writes_the_newest_report_again_when_an_answer_came_late(settings: Settings) -> None:
    week = last_due_week(datetime.now(UTC))
    run_on = week + timedelta(days=9)
    IdMap(settings.id_map_path).add(user_id(0, 3), "P1")
    for day in dates_of(week):
        lines = [record("dailies", user_id(0, 3), day, timeOffsetHeartRateSamples=worn(12))]
        write_raw(settings.lake_dir, day, lines)
    assert run(["materialize", "--week", str(week)]) == 0
    lake = Lake.local(settings.lake_dir)
    write_daily(lake, dict.fromkeys(dates(14, run_on - timedelta(days=15)), 5000))  # due on the day before the run
    job = build_defs(replace(settings, survey_rule="who_text")).resolve_job_def("surveys_job")

    def reports() -> list[tuple[str | None, bool]]:
        """Which reports the job wrote: the partition, and whether the report names P1's form as due."""
        events = job.execute_in_process().get_asset_materialization_events()
        written = [event for event in events if event.asset_key.to_user_string() == "weekly_report"]
        page = lake.read_object(f"reports/week={week}/report.en.html").decode()
        return [(one.partition, "Questionnaire open, no link yet" in page) for one in written]

    assert reports() == [(str(week), True)]
    assert reports() == []
    at = datetime.combine(run_on, time(), UTC)
    write_sendings(lake, [form(answered_at=at, received_at=at, mode="paper")])
    assert reports() == [(str(week), False)]
    assert rows(settings.lake_dir, "SELECT missing_rule FROM db_qol.whoqol_scores") == [{"missing_rule": "who_text"}]


def test_the_schedule_starts_the_job_in_programmes_that_have_questionnaires(settings: Settings) -> None:
    schedule = build_defs(settings).resolve_schedule_def("surveys_schedule")

    def requests() -> int:
        ticked = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=NOW))
        return len(ticked.run_requests or [])

    assert schedule.job_name == "surveys_job"
    assert requests() == 0
    write_sendings(Lake.local(settings.lake_dir), [form()])
    assert requests() == 1


def test_a_text_alone_makes_a_programme_one_with_questionnaires(settings: Settings) -> None:
    assert not has_surveys(open_platform(settings))
    write_template(settings, "en")
    assert has_surveys(open_platform(settings))
