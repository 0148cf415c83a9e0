"""Simulated participants answer WHOQOL-26: domains depend on what the sensors measured, with known coefficients.

Belongs here: made-up answers, for the demo and for holding the estimates of `associations.py` to the truth. Marks only,
no wording. Who wore what when is the simulated cloud's (`garmin_sim`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from random import Random
from types import MappingProxyType
from typing import Literal

from qol_dagster.surveys.responses import Sending
from qol_dagster.surveys.waves import DueWave
from qol_dagster.surveys.whoqol import DOMAINS, GENERAL_HEALTH, ITEMS, OVERALL_QOL, DomainName, best_is_5
from qol_ingest.shared.calendar import JST

Habit = Literal["plain", "straight_liner", "skips_items"]
Effects = Mapping[DomainName, Mapping[str, float]]

EFFECTS: Effects = MappingProxyType(
    {
        "physical": {"steps_mean_14d": 0.0015, "sleep_tst_h_mean_14d": 4.0},
        "psychological": {"sleep_tst_h_mean_14d": 5.0, "stress_mean_14d": -0.3},
        "social": {},
        "environment": {"steps_mean_14d": 0.0008},
    }
)
"""Points (0-100) of a domain for one unit of a measure; what is not named has no effect, above all on `social`."""
_MEAN_DELAY_DAYS = 2.5
TYPICAL: Mapping[str, float] = MappingProxyType(
    {"steps_mean_14d": 7_000.0, "sleep_tst_h_mean_14d": 6.5, "stress_mean_14d": 33.0}
)
"""Where the effects are 0, so that they move nobody to the end of the scale."""


@dataclass(frozen=True)
class Respondent:
    """A simulated person: the usual level of each domain (0-100), and how forms are answered."""

    levels: Mapping[DomainName, float]
    habit: Habit = "plain"
    share_answered: float = 1.0
    on_paper: bool = False


@dataclass(frozen=True)
class Population:
    """How respondents differ: SDs of the levels between persons and of a domain from form to form, shares of habits."""

    mean: float = 60.0
    between_sd: float = 8.0
    form_sd: float = 5.0
    straight_liners: float = 0.04
    skipping: float = 0.1
    on_paper: float = 0.15
    share_answered: float = 0.85
    effects: Effects = field(default_factory=lambda: EFFECTS)

    def respondent(self, dice: Random) -> Respondent:
        """Return a person. Whoever has a good level in one domain has one in the others: half of it is shared."""
        shared = dice.gauss(0, 1)
        levels = {
            domain: self.mean + self.between_sd * (shared + dice.gauss(0, 1)) / math.sqrt(2) for domain in DOMAINS
        }
        drawn = dice.random()
        skips = drawn < self.straight_liners + self.skipping
        habit: Habit = "straight_liner" if drawn < self.straight_liners else "skips_items" if skips else "plain"
        return Respondent(levels, habit, self.share_answered, dice.random() < self.on_paper)

    def targets(
        self, person: Respondent, measured: Mapping[str, float | None], dice: Random
    ) -> dict[DomainName, float]:
        """Return each domain's true score (0-100) on one occasion; a measure that is missing has no effect."""
        found: dict[DomainName, float] = {}
        for domain in DOMAINS:
            effects = self.effects.get(domain, {})
            moved = sum(
                slope * (value - TYPICAL.get(name, 0.0))
                for name, slope in effects.items()
                if (value := measured.get(name)) is not None
            )
            found[domain] = person.levels[domain] + moved + dice.gauss(0, self.form_sd)
        return found


DEFAULT_POPULATION = Population()


def simulated_sendings(
    participant_id: str,
    waves: Iterable[DueWave],
    window: Callable[[date], Mapping[str, float | None]],
    *,
    until: date,
    seed: int = 0,
    population: Population = DEFAULT_POPULATION,
) -> list[Sending]:
    """Return what a participant sends up to a date; the same seed gives the same answers to the same waves.

    `window` returns the measures of the 14 days before a date. Some waves are never answered, some days late, a few
    after they closed. Web forms come in three pages, paper ones whole and a week later.
    """
    person = population.respondent(_dice(seed, participant_id))
    sendings: list[Sending] = []
    for due in waves:
        dice = _dice(seed, participant_id, due.wave)
        answers = dice.random() < person.share_answered
        day = due.due_on + timedelta(days=min(30, int(dice.expovariate(1 / _MEAN_DELAY_DAYS))))
        if answers and day <= until:
            marks = answer_form(person, population.targets(person, window(day), dice), dice)
            at = datetime.combine(day, time(dice.randrange(7, 22), dice.randrange(60)), JST)
            sendings += _sent(participant_id, due.wave, marks, at, on_paper=person.on_paper)
    return sendings


def _sent(
    participant_id: str, wave: int, marks: Mapping[int, int | None], at: datetime, *, on_paper: bool
) -> list[Sending]:
    if on_paper:
        return [Sending(participant_id, wave, marks, "ja", "paper", at, at + timedelta(days=7))]
    pages = [ITEMS[:9], ITEMS[9:18], ITEMS[18:]]
    times = [at + timedelta(minutes=2 * number) for number in range(len(pages))]
    return [
        Sending(participant_id, wave, {item: marks[item] for item in page}, "ja", "web", moment, moment)
        for page, moment in zip(pages, times, strict=True)
    ]


def answer_form(person: Respondent, targets: Mapping[DomainName, float], dice: Random) -> dict[int, int | None]:
    """Return the marks of one form, by item number, as they are made: of items 3, 4 and 26 low ones are good.

    Each item is the true mean rounded up or down at random, so that a domain's expected score is its target.
    """
    if person.habit == "straight_liner":
        return dict.fromkeys(ITEMS, 3)
    good: dict[int, int] = {}
    for domain, items in DOMAINS.items():
        good |= {item: _rounded(targets[domain] / 25 + 1, dice) for item in items}
    overall = sum(targets.values()) / len(targets) / 25 + 1
    good |= {OVERALL_QOL: _rounded(overall, dice), GENERAL_HEALTH: _rounded(targets["physical"] / 25 + 1, dice)}
    skipped = 0.08 if person.habit == "skips_items" else 0.0
    return {item: None if dice.random() < skipped else best_is_5(item, good[item]) for item in ITEMS}


def _dice(*parts: object) -> Random:
    return Random(" ".join(map(str, parts)))  # noqa: S311 - nothing secret is drawn


def _rounded(mean: float, dice: Random) -> int:
    mean = min(5.0, max(1.0, mean))
    return math.floor(mean) + (dice.random() < mean % 1)
