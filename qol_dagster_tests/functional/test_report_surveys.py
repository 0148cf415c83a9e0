"""Questionnaires in the weekly report, from the tables that `qol survey score` makes."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.cli.demo import forms_line
from qol_dagster.lake.lake import Lake
from qol_dagster.report.calls import Call, calls_of
from qol_dagster.report.facts import Facts, Origin
from qol_dagster.report.page import render_own_page, render_report
from qol_dagster.report.surveys import METHOD, Response, Surveys, read_surveys, responses, score_spreads
from qol_dagster.resources.connections import People
from qol_dagster.settings import Settings
from qol_dagster_tests.support.forms import answers_of, form, survey_lake

PEOPLE = [f"P{number}" for number in range(1, 8)]
WEEK = date(2026, 10, 26)
"""Its run is on Wednesday, 4 November: wave 1 was due on the 2nd and closes on the 5th."""
WEEKS = tuple(WEEK - timedelta(weeks=back) for back in range(8, -1, -1))
MARKS = {"P1": 1, "P2": 2, "P3": 3, "P4": 4, "P5": 5}
STATUS = {
    "date": str(WEEK), "status": "valid", "day_states": "VVVVVVV", "n_valid_days": 7, "days_since_last_sync": 1,
    "last_worn_date": "2026-11-01", "last_night_date": "2026-11-01",
}  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Seven people: five answered the baseline, P1 also wave 1, and P2 that on the day after the run."""
    forms = [form(person, 0, answers_of(mark)) for person, mark in MARKS.items()]
    forms += [form("P1", 1, answers_of(3)), form("P2", 1, answers_of(3), date(2026, 11, 5))]
    return survey_lake(tmp_path_factory.mktemp("lake"), PEOPLE, forms)


def facts(surveys: Surveys, **status: Any) -> Facts:
    rows = tuple({**STATUS, "participant_id": person, **status} for person in PEOPLE)
    made = datetime(2026, 11, 4, 0, 6, tzinfo=UTC)
    return Facts(WEEK, WEEKS, rows, (), People(), Origin(), made, surveys)


def test_responses_are_counted_as_of_the_weeks_run_whatever_came_later(lake: Lake) -> None:
    surveys = read_surveys(lake, WEEK)
    assert surveys.as_of == date(2026, 11, 4)
    # The baseline closed on 22 October; wave 2 is due on the 16th of November.
    assert responses(surveys) == [Response(0, 7, 5, 0), Response(1, 7, 1, 6)]
    assert [one.overdue for one in responses(surveys)] == [2, 6]


def test_who_may_still_answer_is_called_unless_a_more_urgent_reason_holds(lake: Lake) -> None:
    surveys = read_surveys(lake, WEEK)
    calls = calls_of(facts(surveys))
    assert [one.participant_id for one in calls] == ["P2", "P3", "P4", "P5", "P6", "P7"]
    assert calls[0] == Call("survey_overdue", "P2", 2, until=date(2026, 11, 5))
    assert {one.reason for one in calls_of(facts(surveys, days_since_last_sync=5))} == {"silent"}
    assert calls_of(facts(surveys, status="revoked", day_states="RRRRRRR")) == []
    page = render_report(facts(surveys))["en"]
    assert "Questionnaire due for 2 days (may be answered until November 5, 2026)" in page


def test_whose_form_has_no_link_is_to_be_invited_and_is_not_overdue(lake: Lake) -> None:
    surveys = read_surveys(lake, WEEK)

    def reasons(at: datetime, *invited: tuple[str, int]) -> dict[str, str]:
        found = replace(facts(surveys), people=People(invited_forms=frozenset(invited)), made_at=at)
        return {one.participant_id: one.reason for one in calls_of(found)}

    wednesday, later = datetime(2026, 11, 4, 0, 6, tzinfo=UTC), datetime(2026, 11, 6, tzinfo=UTC)
    everybody = dict.fromkeys(("P2", "P3", "P4", "P5", "P6", "P7"), "survey_to_invite")
    assert reasons(wednesday, ("P3", 0), ("P4", 1)) == {**everybody, "P4": "survey_overdue"}
    # Nobody can be invited any more when the form is closed.
    assert set(reasons(later).values()) == {"survey_overdue"}
    # On 31 October, wave 1 was open and not due yet: who has a link is left in peace.
    early = replace(surveys, as_of=date(2026, 10, 31))
    before = replace(facts(early), people=People(invited_forms=frozenset({("P2", 1)})))
    assert {one.participant_id: one.reason for one in calls_of(before)} == {
        one: "survey_to_invite" for one in PEOPLE if one != "P2"
    }


def test_domains_are_spread_over_waves_and_few_scores_are_not_shown(lake: Lake) -> None:
    baseline, later = score_spreads(read_surveys(lake, WEEK))["social"]
    assert (baseline.n, baseline.p25, baseline.median, baseline.p75) == (5, 25.0, 50.0, 75.0)  # 0, 25, 50, 75, 100
    assert (later.n, later.median) == (1, None)


def test_associations_are_shown_above_the_minima_with_what_they_do_not_mean(lake: Lake) -> None:
    surveys = read_surveys(lake, WEEK)
    pages = render_report(facts(surveys))
    assert "No association can be shown yet: at least 10 persons and 30 forms are needed." in pages["en"]
    row = {
        "date": "2026-11-02", "domain": "social", "measure": "steps_mean_14d", "method": METHOD, "n_persons": 12,
        "n_forms": 40, "estimate": 0.314, "ci_low": -0.004, "ci_high": 0.6, "p_adjusted": 0.0004,
    }  # fmt: skip
    shown = render_report(facts(Surveys(surveys.as_of, surveys.due, surveys.scores, (row,))))
    cells = re.findall(r'<td class="num">([^<]*)</td>', shown["en"].partition('class="forest"')[2])[:5]
    assert cells == ["0.31", "0.00 to 0.60", "12", "40", "&lt; 0.001"]
    assert "does not mean that the one causes the other" in shown["en"]
    assert "どちらかが原因であることや、本人への助言の根拠になることは意味しません" in shown["ja"]


def test_the_demo_names_forms_beside_sensors_once_there_are_any(settings: Settings) -> None:
    assert forms_line(settings) == {}
    survey_lake(settings.lake_dir, ["P1"], [form("P1", 0, answers_of(4))])
    assert forms_line(settings) == {"whoqol": "1 answered, physical 75 of 100, beside 5,000 steps and 6.5 h of sleep"}


def test_nothing_is_shown_without_questionnaires_and_never_on_a_participants_page(lake: Lake, tmp_path: Path) -> None:
    assert read_surveys(Lake.local(tmp_path), WEEK) == Surveys()
    for language, page in render_report(facts(Surveys())).items():
        assert "WHOQOL" not in page
        own = render_own_page(facts(read_surveys(lake, WEEK)), "P1", language)
        assert not re.search("WHOQOL|[Qq]uestionnaire|質問票|得点", own)
    for page in render_report(facts(read_surveys(lake, WEEK))).values():
        assert page.count('href="#surveys"') == 1
