"""Associations: each statistic against a published or hand-made case, and studies whose truth is known."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from qol_dagster.surveys.associations import LEAST_FORMS, LEAST_PERSONS, Association, associate
from qol_dagster.surveys.statistics import (
    Codes,
    Floats,
    adjust_for_false_discoveries,
    between_person_correlation,
    mixed_model_slope,
    repeated_measures_correlation,
    t_p_value,
    t_quantile,
)
from qol_dagster_tests.support.studies import SLEEP, SLEEP_SLOPE, STRESS, STUDIED, study

# Bland & Altman, BMJ 1995 310:446: intramural pH and PaCO2 of eight subjects.
PH = [
    [6.68, 6.53, 6.43, 6.33],
    [6.85, 7.06, 7.13, 7.17],
    [7.4, 7.42, 7.41, 7.37, 7.34, 7.35, 7.28, 7.3, 7.34],
    [7.36, 7.33, 7.29, 7.3, 7.35],
    [7.35, 7.3, 7.3, 7.37, 7.27, 7.28, 7.32, 7.32],
    [7.38, 7.3, 7.29, 7.33, 7.31, 7.33],
    [6.86, 6.94, 6.92],
    [7.19, 7.29, 7.21, 7.25, 7.2, 7.19, 6.77, 6.82],
]
PACO2 = [
    [3.97, 4.12, 4.09, 3.97],
    [5.27, 5.37, 5.41, 5.44],
    [5.67, 3.64, 4.32, 4.73, 4.96, 5.04, 5.22, 4.82, 5.07],
    [5.67, 5.1, 5.53, 4.75, 5.51],
    [4.28, 4.44, 4.32, 3.23, 4.46, 4.72, 4.75, 4.99],
    [4.78, 4.73, 5.12, 4.93, 5.03, 4.93],
    [6.85, 6.44, 6.52],
    [5.28, 4.56, 4.34, 4.32, 4.41, 3.69, 6.09, 5.58],
]


def arrays(x: list[list[float]], y: list[list[float]]) -> tuple[Codes, Floats, Floats]:
    persons = np.repeat(np.arange(len(x)), [len(one) for one in x])
    return persons, np.concatenate([*map(np.array, x)]), np.concatenate([*map(np.array, y)])


# -- within persons


def test_the_repeated_measures_correlation_is_the_published_one() -> None:
    found = repeated_measures_correlation(*arrays(PH, PACO2))
    assert found
    assert found.df == 38
    assert (found.value, found.p) == (pytest.approx(-0.50677, abs=1e-5), pytest.approx(0.000847, abs=1e-6))
    assert (found.low, found.high) == (pytest.approx(-0.71, abs=0.005), pytest.approx(-0.23, abs=0.008))


def test_a_correlation_within_persons_does_not_see_how_persons_differ() -> None:
    # Within each person y falls by 1, 2, 3 as x rises; the person with the larger x has the far larger y.
    x, y = [[1, 2, 3], [11, 12, 13]], [[3, 2, 1.5], [103, 102, 101.5]]
    found = repeated_measures_correlation(*arrays(x, y))
    # Distances from the means: x -1 0 1; y 5/6 -1/6 -2/3. r = -1.5 / sqrt(2 x 7/6)
    assert found
    assert found.value == pytest.approx(-1.5 / math.sqrt(7 / 3))


def test_a_person_with_one_form_tells_nothing_of_a_change() -> None:
    alone = repeated_measures_correlation(*arrays([*PH, [9.0]], [*PACO2, [1.0]]))
    assert alone == repeated_measures_correlation(*arrays(PH, PACO2))


# -- between persons


def test_the_correlation_between_persons_is_that_of_their_means() -> None:
    # Means: x 1 2 3 4, y 1 3 2 5: r = 5.5 / sqrt(5 x 8.75)
    x, y = [[0, 2], [2], [3, 3, 3], [4]], [[0, 2], [3], [1, 2, 3], [5]]
    found = between_person_correlation(*arrays(x, y))
    r = 5.5 / math.sqrt(5 * 8.75)
    assert found
    assert (found.value, found.df) == (pytest.approx(r), 2)
    z, half = math.atanh(r), 1.959963985 / math.sqrt(4 - 3)
    assert (found.low, found.high) == (pytest.approx(math.tanh(z - half)), pytest.approx(math.tanh(z + half)))


# -- the mixed model


def dense(persons: Codes, x: Floats, y: Floats, ratio: float) -> tuple[float, float, float]:
    """Slope, its error and -2 log REML, with whole matrices."""
    v = np.eye(len(x)) + ratio * (persons[:, None] == persons[None, :])
    design = np.column_stack([np.ones_like(x), x])
    inverse = np.linalg.inv(v)
    information = design.T @ inverse @ design
    solved = np.linalg.solve(information, design.T @ inverse @ y)
    residual = y - design @ solved
    variance = residual @ inverse @ residual / (len(x) - 2)
    logs = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + (len(x) - 2) * math.log(variance)
    return float(solved[1]), math.sqrt(variance * np.linalg.inv(information)[1, 1]), float(logs)


def test_the_mixed_model_has_the_slope_of_another_package_and_of_whole_matrices() -> None:
    persons, x, y = arrays(PH, PACO2)
    found = mixed_model_slope(persons, x, y)
    assert found
    assert found.value == pytest.approx(-1.805159, abs=2e-4)  # of statsmodels' MixedLM, by REML
    tried = [dense(persons, x, y, ratio) for ratio in np.exp(np.linspace(0, 4, 801))]
    slope, error, _ = min(tried, key=lambda one: one[2])
    assert found.value == pytest.approx(slope, rel=1e-3)
    assert (found.high - found.low) / 2 == pytest.approx(2.024394 * error, rel=1e-3)  # t(0.975, 38)


def test_without_differences_between_persons_the_mixed_model_is_least_squares() -> None:
    x, y = [[1, 2, 3, 4]] * 3, [[1, 2, 2, 3], [2, 1, 3, 2], [1, 3, 1, 3]]
    found = mixed_model_slope(*arrays([*map(list, x)], y))
    assert found
    assert found.value == pytest.approx(6 / 15, rel=1e-4)  # sums of (x - 2.5) y: 3, 1 and 2; of (x - 2.5)^2: 3 x 5


def test_a_slope_is_in_the_units_of_its_measures() -> None:
    persons, x, y = arrays(PH, PACO2)
    found, scaled = mixed_model_slope(persons, x, y), mixed_model_slope(persons, 1000 * x + 7, y / 10)
    assert found
    assert scaled
    assert scaled.value == pytest.approx(found.value / 10_000, rel=1e-5)
    assert (scaled.p, scaled.low) == (pytest.approx(found.p, rel=1e-4), pytest.approx(found.low / 10_000, rel=1e-5))


@pytest.mark.parametrize("method", [repeated_measures_correlation, between_person_correlation, mixed_model_slope])
def test_of_nothing_and_of_constants_there_is_no_estimate(method: Any) -> None:
    nothing = np.array([], dtype=np.float64)
    assert method(nothing.astype(np.intp), nothing, nothing) is None
    persons, x, y = arrays(PH, PACO2)
    assert method(persons, np.full_like(x, 0.1), y) is None
    assert method(persons, x, np.full_like(y, 0.1)) is None


def test_a_perfect_correlation_is_one_and_no_error() -> None:
    persons, x, _ = arrays(PH, PACO2)
    found = repeated_measures_correlation(persons, x, -2 * x)
    assert found
    assert (found.value, found.p) == (pytest.approx(-1), pytest.approx(0, abs=1e-100))
    assert mixed_model_slope(persons, x, -2 * x)


# -- distributions


@pytest.mark.parametrize(
    ("df", "t"), [(1, 12.7062), (2, 4.30265), (10, 2.22814), (30, 2.04227), (120, 1.97993), (1000, 1.96234)]
)
def test_student_s_t_is_that_of_the_tables(df: int, t: float) -> None:
    assert t_quantile(0.975, df) == pytest.approx(t, abs=1e-4)
    assert t_p_value(t, df) == pytest.approx(0.05, abs=1e-5)
    assert t_p_value(-t, df) == t_p_value(t, df)


@pytest.mark.parametrize(("t", "df", "p"), [(0, 7, 1), (1, 1, 0.5), (math.sqrt(2), 2, 1 - math.sqrt(0.5)), (1e6, 3, 0)])
def test_student_s_t_has_its_closed_forms(t: float, df: int, p: float) -> None:
    assert t_p_value(t, df) == pytest.approx(p, abs=1e-12)


def test_benjamini_and_hochberg_s_own_example_has_four_discoveries() -> None:
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1,
    ]
    adjusted = adjust_for_false_discoveries(p)
    assert sum(one <= 0.05 for one in adjusted) == 4
    assert adjusted[:4] == pytest.approx([0.0015, 0.003, 0.0095, 0.035625])
    assert adjusted[-1] == 1
    assert adjust_for_false_discoveries(p[::-1]) == adjusted[::-1]
    assert adjust_for_false_discoveries([]) == []


# -- the table


def by_key(rows: list[Association]) -> dict[tuple[str, str, str], Association]:
    return {(row.method, row.domain, row.measure): row for row in rows}


def test_there_is_a_row_for_each_domain_measure_and_method_with_its_numbers() -> None:
    rows = associate(study(1), STUDIED)
    assert len(rows) == len(by_key(rows)) == 3 * 4 * 2
    assert {(row.n_persons, row.n_forms, row.reason) for row in rows} == {(40, 160, None)}
    assert all((row.ci_low or 0) < (row.estimate or 0) < (row.ci_high or 0) for row in rows)
    assert all((row.p_adjusted or 0) >= (row.p or 0) for row in rows)


def test_p_is_adjusted_within_a_method() -> None:
    rows = associate(study(1), STUDIED)
    for method in ("within_correlation", "between_correlation", "mixed_slope"):
        chosen = [row for row in rows if row.method == method]
        expected = adjust_for_false_discoveries([row.p or 0 for row in chosen])
        assert [row.p_adjusted for row in chosen] == expected


def test_below_the_least_numbers_nothing_is_estimated() -> None:
    few = [one for one in study(2) if int(one["participant_id"][1:]) < LEAST_PERSONS - 1]
    assert {(row.estimate, row.p, row.p_adjusted, row.reason) for row in associate(few, STUDIED)} == {
        (None, None, None, "too_few_persons")
    }
    assert {row.reason for row in associate([], STUDIED)} == {"too_few_persons"}
    two_each = [one for at, one in enumerate(study(2)) if at % 4 < 2][: LEAST_FORMS - 2]
    assert {(row.method, row.reason) for row in associate(two_each, STUDIED)} == {
        ("within_correlation", "too_few_forms"),
        ("mixed_slope", "too_few_forms"),
        ("between_correlation", None),
    }


def test_invalid_windows_measures_of_few_days_and_unscored_domains_do_not_count() -> None:
    forms = study(3)
    forms[0] |= {"is_valid_window": False}
    forms[4] |= {f"n_{SLEEP}": 7}
    forms[8] |= {"social_0_100": None}
    forms[12] |= {STRESS: None, f"n_{STRESS}": 0}
    found = by_key(associate(forms, STUDIED))
    numbers = {key[1:]: row.n_forms for key, row in found.items() if key[0] == "mixed_slope"}
    assert numbers[("physical", SLEEP)] == 158
    assert numbers[("social", SLEEP)] == 157
    assert numbers[("physical", STRESS)] == 158
    assert numbers[("social", STRESS)] == 157


def test_persons_with_one_form_count_between_persons_and_not_within() -> None:
    forms = [one for at, one in enumerate(study(4)) if at % 4 == 0 or at >= 80]
    found = by_key(associate(forms, STUDIED))
    assert found["within_correlation", "social", SLEEP].n_persons == 20
    assert found["between_correlation", "social", SLEEP].n_persons == 40


# -- truth


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """The 200 studies of `benchmarks/associations.py`, in small: 24 studies, 192 slopes with a known truth."""
    held = [
        (row.ci_low or 0) <= (SLEEP_SLOPE if row.measure == SLEEP else 0) <= (row.ci_high or 0)
        for seed in range(24)
        for row in associate(study(1000 + seed), STUDIED)
        if row.method == "mixed_slope"
    ]
    assert len(held) == 192
    assert 0.90 <= sum(held) / len(held) <= 0.99  # 95 % and three standard errors


@pytest.mark.slow
def test_without_an_effect_few_studies_discover_something_and_with_one_most_do() -> None:
    discovered: Counter[tuple[float, str]] = Counter()
    for slope in (0.0, SLEEP_SLOPE):
        for seed in range(30):
            rows = associate(study(2000 + seed, slope=slope), STUDIED)
            false = [row for row in rows if (row.p_adjusted or 1) < 0.05 and (row.measure == STRESS or not slope)]
            discovered[slope, "false"] += bool(false)
            discovered[slope, "true"] += any((row.p_adjusted or 1) < 0.05 for row in rows if row.measure == SLEEP)
    # Three methods with a chance of 5 % each, if they were independent: 4.3 of 30 studies; above 10 in one of 1000.
    assert discovered[0.0, "false"] <= 10
    assert discovered[SLEEP_SLOPE, "true"] == 30
