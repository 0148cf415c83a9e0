"""WHOQOL-26: scores, missing items by either rule, doubtful forms. Expected values are WHO's or worked out by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qol_dagster.surveys.quality import check_form, cronbach_alpha, describe_domain, item_nonresponse
from qol_dagster.surveys.whoqol import DOMAINS, ITEMS, RULES, DomainName, RuleName, Scores, read_answer, score_form
from qol_dagster_tests.support import whoqol_reference

ROOT = Path(__file__).parents[2]
REVERSED_BEFOREHAND = [4, 4, 2, 1, 4, 3, 4, 5, 3, 4, 5, 3, 4, 3, 4, 3, 4, 4, 5, 4, 3, 5, 4, 3, 4, 2]
"""A published form whose items 3, 4 and 26 are already reversed."""


def form(*marks: object) -> dict[int, object]:
    return dict(enumerate(marks, start=1))


def as_marked() -> dict[int, object]:
    """The published form as it was marked."""
    return {item: 6 - mark if item in (3, 4, 26) else mark for item, mark in enumerate(REVERSED_BEFOREHAND, start=1)}


def without(answers: dict[int, object], *items: int) -> dict[int, object]:
    return {item: mark for item, mark in answers.items() if item not in items}


def percent(scores: Scores) -> list[float | None]:
    return [None if (one := scores.domains[name].score_0_100) is None else round(one, 2) for name in DOMAINS]


# -- scores


def test_the_published_form_has_the_published_scores() -> None:
    scores = score_form(as_marked())
    # 65.625 is published as 65.63
    assert [scores.domains[name].score_0_100 for name in DOMAINS] == pytest.approx([53.57, 70.83, 75, 65.63], abs=0.006)
    assert (scores.overall_qol, scores.general_health, scores.n_answered) == (4, 4, 26)


def test_a_domain_is_given_on_three_scales() -> None:
    physical = score_form(as_marked()).domains["physical"]  # 2 + 1 + 4 + 4 + 3 + 4 + 4 = 22 of 7 items
    assert (physical.mean, physical.score_4_20, physical.score_0_100) == (22 / 7, 88 / 7, 375 / 7)
    assert (physical.n_answered, physical.reason) == (7, None)


@pytest.mark.parametrize(("good", "score"), [(5, 100), (3, 50), (1, 0)])
def test_the_best_form_has_100_the_middle_one_50_and_the_worst_0(good: int, score: int) -> None:
    answers: dict[int, object] = {item: 6 - good if item in (3, 4, 26) else good for item in range(1, 27)}
    assert percent(score_form(answers)) == [score] * 4


def test_items_3_4_and_26_and_no_other_are_reversed() -> None:
    middle = form(*[3] * 26)
    better = {
        item for item in ITEMS if any((percent(score_form({**middle, item: 5}))[at] or 0) > 50 for at in range(4))
    }
    worse = {item for item in ITEMS if any((percent(score_form({**middle, item: 5}))[at] or 0) < 50 for at in range(4))}
    assert (worse, better) == ({3, 4, 26}, set(range(5, 26)))


def test_every_item_but_the_two_overall_ones_is_in_one_domain() -> None:
    assert sorted(item for items in DOMAINS.values() for item in items) == list(range(3, 27))
    assert [len(items) for items in DOMAINS.values()] == [7, 6, 3, 8]


# -- missing items

LEAST = [
    ("who_syntax", "physical", 6),
    ("who_syntax", "psychological", 5),
    ("who_syntax", "social", 2),
    ("who_syntax", "environment", 6),
    ("who_text", "physical", 5),
    ("who_text", "psychological", 4),
    ("who_text", "social", 2),
    ("who_text", "environment", 6),
]


@pytest.mark.parametrize(("rule", "domain", "least"), LEAST)
def test_a_domain_with_just_enough_items_is_scored_and_with_one_fewer_not(
    rule: RuleName, domain: DomainName, least: int
) -> None:
    items = DOMAINS[domain]
    enough = score_form(without(as_marked(), *items[least:]), rule)
    assert enough.domains[domain].n_answered == least
    assert enough.domains[domain].score_0_100 is not None
    short = score_form(without(as_marked(), *items[least - 1 :]), rule)
    assert (short.domains[domain].score_0_100, short.domains[domain].mean) == (None, None)
    assert (short.domains[domain].n_answered, short.domains[domain].reason) == (least - 1, "domain_incomplete")
    assert [name for name in DOMAINS if short.domains[name].score_0_100 is None] == [domain]


def test_a_missing_item_counts_as_the_mean_of_the_others() -> None:
    physical = score_form(without(as_marked(), 4)).domains["physical"]  # 21 of 6 items
    assert (physical.mean, physical.score_0_100, physical.n_answered) == (3.5, 62.5, 6)


@pytest.mark.parametrize(("rule", "least"), [("who_syntax", 22), ("who_text", 21)])
def test_a_form_with_too_few_answers_has_no_score_at_all(rule: RuleName, least: int) -> None:
    blank = (8, 20, 3, 5, 9, 10)  # never too many of one domain
    enough = score_form(without(as_marked(), *blank[: 26 - least]), rule)
    assert enough.n_answered == least
    assert None not in percent(enough)
    short = score_form(without(as_marked(), *blank[: 27 - least]), rule)
    assert (percent(short), short.overall_qol, short.general_health) == ([None] * 4, None, None)
    assert {one.reason for one in short.domains.values()} == {"form_incomplete"}
    assert (short.n_answered, short.domains["social"].n_answered) == (least - 1, 2)


def test_a_form_is_scored_by_who_s_syntax_unless_the_other_rule_is_asked_for() -> None:
    short = without(as_marked(), 3, 4)
    assert (score_form(short).rule, score_form(short).domains["physical"].mean) == ("who_syntax", None)
    assert score_form(short, "who_text").domains["physical"].mean == 3.8


@pytest.mark.parametrize("mark", [0, 6, -1, 99, 3.5, True, None, "", "3,4", "3 4", [3], "three", float("nan"), 10**400])
def test_what_is_not_one_answer_from_1_to_5_is_missing(mark: object) -> None:
    assert read_answer(mark) is None
    scores = score_form({**as_marked(), 20: mark})
    assert (scores.n_answered, scores.domains["social"].n_answered) == (25, 2)


@pytest.mark.parametrize("mark", [4, 4.0, "4", " 4 ", "4.0", "４"])
def test_an_answer_may_be_a_number_or_text(mark: object) -> None:
    assert read_answer(mark) == 4


def test_an_empty_form_has_no_score_and_no_error() -> None:
    scores = score_form({})
    assert (scores.n_answered, percent(scores)) == (0, [None] * 4)


@pytest.fixture(scope="module")
def scored_twice() -> list[tuple[list[Any], RuleName, dict[str, Any]]]:
    """Made-up forms with the scores that the second implementation gives them, by either rule."""
    made = whoqol_reference.forms(16_000, seed=26)
    return [(marks, rule, whoqol_reference.scored(marks, rule)) for marks in made for rule in RULES]


def test_16000_forms_are_scored_as_by_a_second_implementation(scored_twice: list[Any]) -> None:
    for marks, rule, expected in scored_twice:
        assert flat(score_form(form(*marks), rule)) == expected, (marks, rule)


def flat(scores: Scores) -> dict[str, Any]:
    found: dict[str, Any] = {
        "n_answered": scores.n_answered,
        "overall_qol": scores.overall_qol,
        "general_health": scores.general_health,
    }
    for name, one in scores.domains.items():
        found |= {f"{name}_n": one.n_answered, f"{name}_reason": one.reason, f"{name}_mean": one.mean}
        found |= {f"{name}_4_20": one.score_4_20, f"{name}_0_100": one.score_0_100}
    return found


def test_the_made_up_forms_reach_every_case(scored_twice: list[Any]) -> None:
    for domain in DOMAINS:
        reasons = {expected[f"{domain}_reason"] for _, _, expected in scored_twice}
        assert reasons == {None, "form_incomplete", "domain_incomplete"}
    assert {expected["n_answered"] for _, _, expected in scored_twice} >= {0, 17, 20, 21, 22, 26}


MARKS = st.none() | st.integers(-2, 8) | st.floats() | st.text("012345６ .,", max_size=4) | st.booleans()


@given(st.dictionaries(st.integers(-3, 40), MARKS))
@settings(max_examples=200)
def test_no_form_is_an_error_and_no_score_leaves_its_scale(answers: dict[int, object]) -> None:
    for rule in RULES:
        scores = score_form(answers, rule)
        for one in scores.domains.values():
            assert (one.mean is None) == (one.reason is not None)
            assert one.mean is None or (1 <= one.mean <= 5 and 0 <= (one.score_0_100 or 0) <= 100)


# -- doubtful forms


def test_a_form_with_one_and_the_same_answer_is_straight_lined_and_scored_all_the_same() -> None:
    same = form(*[3] * 26)
    assert (check_form(same).is_straight_lined, check_form(same).longest_run) == (True, 26)
    assert percent(score_form(same)) == [50] * 4
    assert not check_form({**same, 12: 4}).is_straight_lined
    assert check_form({**same, 12: 4}).longest_run == 14


def test_few_equal_answers_are_no_straight_line() -> None:
    assert check_form(dict.fromkeys(range(1, 14), 4)).is_straight_lined
    assert not check_form(dict.fromkeys(range(1, 13), 4)).is_straight_lined
    # Whoever answers 5 throughout, without the reversed items, may simply be well.
    assert not check_form(dict.fromkeys(range(5, 26), 5)).is_straight_lined


def test_missing_and_invalid_answers_are_counted_apart() -> None:
    found = check_form({**without(as_marked(), 5), 6: None, 7: "", 8: 9, 9: "2,3"})
    assert (found.n_missing, found.n_invalid) == (5, 2)


# -- a wave of forms


def test_cronbach_s_alpha_is_that_of_a_case_worked_out_by_hand() -> None:
    # Variances of the items 1, 4/3 and 1, of the sums 6, 8 and 12: 28/3. 3/2 (1 - (10/3) / (28/3))
    assert cronbach_alpha([[2, 2, 2], [3, 2, 3], [4, 4, 4]]) == pytest.approx(27 / 28, rel=1e-12)
    assert cronbach_alpha([[1, 1], [2, 2], [3, 3]]) == 1
    assert cronbach_alpha([[1, 2]]) is None
    assert cronbach_alpha([[1, 2], [2, 1]]) is None


def test_floor_and_ceiling_are_shares_of_the_scored_forms() -> None:
    best, worst = ({**as_marked(), 20: end, 21: end, 22: end} for end in (5, 1))
    forms = [best, best, worst, as_marked(), without(as_marked(), 20, 21)]
    found = describe_domain("social", forms, [score_form(one).domains["social"].score_0_100 for one in forms])
    assert (found.floor, found.ceiling, found.n_scored, found.n_alpha) == (0.25, 0.5, 4, 4)
    nothing = describe_domain("social", [], [])
    assert (nothing.alpha, nothing.floor, nothing.n_scored) == (None, None, 0)


def test_item_nonresponse_is_the_share_of_forms_without_a_valid_answer() -> None:
    found = item_nonresponse([as_marked(), without(as_marked(), 21), {**as_marked(), 21: 7}, as_marked()])
    assert (found[21], found[20]) == (0.5, 0)
    assert item_nonresponse([]) == {}


# -- the wording is licensed


def tracked() -> Iterator[Path]:
    skipped = {".git", ".venv", "build", "site", "node_modules", "__pycache__", ".qol"}
    kinds = {".py", ".md", ".toml", ".json", ".jsonl", ".csv", ".html", ".jinja", ".j2", ".yml", ".yaml", ".txt", ".po"}
    for path in ROOT.rglob("*"):
        if path.suffix in kinds and path.is_file() and not skipped & set(path.relative_to(ROOT).parts):
            yield path


OPENINGS = {
    "en": "how satisfied are you|to what extent do|how much do you enjoy|how well are you able|have you enough|"
    "do you have enough|how often do you have|how healthy is your|how would you rate",
    "ja": "に満足していますか|をどのように評価|どのくらい楽しく|どのくらい有意義|どのくらい安全|どのくらい健康的|"
    "容姿（外見）|ひどい痛み|絶望、不安|毎日の活動をやり遂げる",
}
"""How items begin. The beginnings alone are no item; this file is the only one that may hold them."""


def test_no_file_holds_the_wording_of_an_item() -> None:
    wording = re.compile("|".join(OPENINGS.values()), re.I)
    files = [path for path in tracked() if path != Path(__file__)]
    assert len(files) > 200
    found = [path.relative_to(ROOT).as_posix() for path in files if wording.search(path.read_text("utf-8", "replace"))]
    assert found == []
    assert wording.search("How satisfied are you with the placeholder?")
