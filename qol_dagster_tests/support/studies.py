"""Simulated studies with a known truth: forms whose domains depend on made-up measures, as `associate` takes them."""

from __future__ import annotations

from random import Random
from typing import Any

from qol_dagster.surveys.simulated import Population, answer_form
from qol_dagster.surveys.whoqol import DOMAINS, score_form
from qol_dagster.surveys.windows import MEASURES, Measure

SLEEP, STRESS = "sleep_tst_h_mean_14d", "stress_mean_14d"
STUDIED: tuple[Measure, ...] = tuple(one for one in MEASURES if one.name in (SLEEP, STRESS))
SLEEP_SLOPE = 5.0
"""Points of each domain for an hour of sleep, in a study with an effect. Stress has none."""

_SPREAD = {SLEEP: (6.5, 0.8, 0.5), STRESS: (33.0, 8.0, 5.0)}
"""Of each measure: mean, SD between persons, SD within a person."""


def study(seed: int, *, persons: int = 40, forms: int = 4, slope: float = SLEEP_SLOPE) -> list[dict[str, Any]]:
    """The forms of a study; with `slope` 0 nothing depends on anything."""
    dice = Random(seed)
    effects = {domain: {SLEEP: slope} for domain in DOMAINS}
    population = Population(straight_liners=0, skipping=0, effects=effects)
    made = []
    for number in range(persons):
        person = population.respondent(dice)
        usual = {name: dice.gauss(mean, between) for name, (mean, between, _) in _SPREAD.items()}
        for _ in range(forms):
            measured = {name: dice.gauss(usual[name], _SPREAD[name][2]) for name in _SPREAD}
            scores = score_form(answer_form(person, population.targets(person, measured, dice), dice))
            made.append(
                {
                    "participant_id": f"P{number:05d}",
                    "is_valid_window": True,
                    **measured,
                    **{f"n_{name}": 14 for name in measured},
                    **{f"{domain}_0_100": one.score_0_100 for domain, one in scores.domains.items()},
                }
            )
    return made
