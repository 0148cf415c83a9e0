"""Simulated participants answer as they are said to: the truth of their answers is known, and so are their faults."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date, timedelta
from random import Random
from statistics import fmean

import pytest

from qol_dagster.surveys.quality import check_form
from qol_dagster.surveys.responses import Response, latest_responses
from qol_dagster.surveys.simulated import (
    EFFECTS,
    TYPICAL,
    Population,
    Respondent,
    answer_form,
    simulated_sendings,
)
from qol_dagster.surveys.waves import WavePlan, due_waves
from qol_dagster.surveys.whoqol import DOMAINS, score_form
from qol_dagster.surveys.windows import MEASURES

START = date(2026, 1, 5)
WAVES = due_waves([START + timedelta(days=at) for at in range(14)], WavePlan(every_weeks=8, waves=4))
LATER = date(2027, 1, 1)


def everybody(number: int = 400, until: date = LATER) -> list[list[Response]]:
    return [
        latest_responses(simulated_sendings(f"P{one:04}", WAVES, lambda _day: TYPICAL, until=until))
        for one in range(number)
    ]


def test_the_expected_score_of_a_domain_is_its_target() -> None:
    dice, person = Random(1), Respondent(dict.fromkeys(DOMAINS, 0.0))
    targets = {"physical": 31.0, "psychological": 50.0, "social": 77.7, "environment": 92.0}
    forms = [score_form(answer_form(person, targets, dice)) for _ in range(3000)]  # type: ignore[arg-type]
    for domain in DOMAINS:
        assert fmean(one.domains[domain].score_0_100 or 0 for one in forms) == pytest.approx(targets[domain], abs=0.5)


def test_an_hour_of_sleep_moves_the_domains_by_their_coefficients() -> None:
    population = Population(form_sd=0)
    person = Respondent(dict.fromkeys(DOMAINS, 60.0))
    usual = population.targets(person, TYPICAL, Random(1))
    longer = population.targets(person, {**TYPICAL, "sleep_tst_h_mean_14d": 7.5}, Random(1))
    assert {name: longer[name] - usual[name] for name in DOMAINS} == pytest.approx(
        {"physical": 4, "psychological": 5, "social": 0, "environment": 0}
    )
    assert population.targets(person, {}, Random(1)) == usual == dict.fromkeys(DOMAINS, 60.0)


def test_the_effects_are_of_measures_that_there_are() -> None:
    named = {name for effects in EFFECTS.values() for name in effects}
    assert named == set(TYPICAL)
    assert named <= {one.name for one in MEASURES}


def test_the_same_seed_gives_the_same_answers_and_another_others() -> None:
    once, again, other = (
        simulated_sendings("P1", WAVES, lambda _day: TYPICAL, until=LATER, seed=at) for at in (1, 1, 2)
    )
    assert once == again != other


def test_some_answer_late_some_on_paper_some_skip_items_some_straight_line_and_some_not_at_all() -> None:
    people = everybody()
    forms = [form for person in people for form in person]
    assert len(forms) / (len(people) * len(WAVES)) == pytest.approx(0.85, abs=0.04)
    assert len({form.wave for form in forms}) == len(WAVES)
    states = Counter(WAVES[one.wave].state(one.answered_on, LATER) for one in forms)
    assert 0.01 < states["answered_outside"] / len(forms) < 0.10
    assert Counter(one.mode for one in forms)["paper"] / len(forms) == pytest.approx(0.15, abs=0.05)
    assert sum(check_form(one.answers).is_straight_lined for one in forms) / len(forms) == pytest.approx(0.04, abs=0.03)
    assert 0.04 < sum(check_form(one.answers).n_missing > 0 for one in forms) / len(forms) < 0.14
    assert {one.n_sendings for one in forms if one.mode == "web"} == {3}
    assert all(set(one.answers) == set(range(1, 27)) for one in forms)


def test_nobody_answers_before_a_wave_is_due_or_after_today() -> None:
    until = WAVES[1].due_on
    for person in everybody(60, until):
        for form in person:
            assert WAVES[form.wave].due_on <= form.answered_on <= until


def test_domains_of_one_person_go_together() -> None:
    people = [Population().respondent(Random(one)) for one in range(2000)]
    x, y = ([one.levels[name] - 60 for one in people] for name in ("physical", "social"))
    r = fmean(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(fmean(a * a for a in x) * fmean(b * b for b in y))
    assert r == pytest.approx(0.5, abs=0.06)
