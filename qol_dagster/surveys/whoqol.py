"""The scores of a WHOQOL-26 (WHOQOL-BREF) form: four domains, and two items that stand alone.

Belongs here: item numbers, domains, the rules for missing items, and the arithmetic. There is no total score.
Source: WHOQOL-BREF: introduction, administration, scoring and generic version of the assessment (WHO 1996), and the
SPSS syntax that is its table 3. The two disagree on missing items, so the rule is a named profile.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

DomainName = Literal["physical", "psychological", "social", "environment"]
RuleName = Literal["who_syntax", "who_text"]
Reason = Literal["form_incomplete", "domain_incomplete"]
Answers = Mapping[int, object]
"""Answers by item number, as given; an item that is not named was not answered."""

ITEMS = tuple(range(1, 27))
LOWEST, HIGHEST = 1, 5
REVERSED = frozenset({3, 4, 26})
"""Items in which 5 is the worst answer."""
OVERALL_QOL, GENERAL_HEALTH = 1, 2

DOMAINS: Mapping[DomainName, tuple[int, ...]] = MappingProxyType(
    {
        "physical": (3, 4, 10, 15, 16, 17, 18),
        "psychological": (5, 6, 7, 11, 19, 26),
        "social": (20, 21, 22),
        "environment": (8, 9, 12, 13, 14, 23, 24, 25),
    }
)

_ONE_MARK = re.compile(r"[1-5](\.0+)?")


@dataclass(frozen=True)
class MissingRule:
    """How many items must be answered: of the form, else nothing of it is scored, and of each domain."""

    name: RuleName
    least_form: int
    least: Mapping[DomainName, int]
    why: str


RULES: Mapping[RuleName, MissingRule] = MappingProxyType(
    {
        "who_syntax": MissingRule(
            "who_syntax",
            22,
            MappingProxyType({"physical": 6, "psychological": 5, "social": 2, "environment": 6}),
            "WHO's SPSS syntax: MEAN.6, .5, .2 and .6, forms with TOTAL > 21.",
        ),
        "who_text": MissingRule(
            "who_text",
            21,
            MappingProxyType({"physical": 5, "psychological": 4, "social": 2, "environment": 6}),
            "WHO's text: at most two missing items in a domain (one in social), and 20 % of the form.",
        ),
    }
)
DEFAULT_RULE: RuleName = "who_syntax"


@dataclass(frozen=True)
class DomainScore:
    """A domain's mean answer (1-5) and its two transformations; all three null for the same `reason`."""

    n_answered: int
    mean: float | None = None
    score_4_20: float | None = None
    score_0_100: float | None = None
    reason: Reason | None = None


@dataclass(frozen=True)
class Scores:
    """What a form gives under a rule. `overall_qol` and `general_health` are items 1 and 2, from 1 to 5."""

    rule: RuleName
    n_answered: int
    overall_qol: int | None
    general_health: int | None
    domains: Mapping[DomainName, DomainScore]


def read_answer(value: object) -> int | None:
    """Return an answer from 1 to 5; None if it is missing, outside of that, or more than one mark.

    A number may be text, also in the full-width digits of a Japanese keyboard.
    """
    if type(value) is int:
        return value if LOWEST <= value <= HIGHEST else None
    if isinstance(value, bool) or not isinstance(value, float | str):
        return None
    text = unicodedata.normalize("NFKC", str(value)).strip()
    return int(text[0]) if _ONE_MARK.fullmatch(text) else None


def read_answers(answers: Answers) -> dict[int, int]:
    """Return the valid answers by item number; items outside 1-26 are passed over."""
    read = {item: read_answer(answers.get(item)) for item in ITEMS}
    return {item: value for item, value in read.items() if value is not None}


def best_is_5(item: int, answer: int) -> int:
    """Return the answer on a scale of which 5 is the best."""
    return LOWEST + HIGHEST - answer if item in REVERSED else answer


def score_form(answers: Answers, rule: RuleName = DEFAULT_RULE) -> Scores:
    """Return the scores of a form. Items 3, 4 and 26 are reversed here, so give all answers as they were marked.

    With fewer answers than the rule asks of a form, WHO discards it: every score is null.
    """
    given, wanted = read_answers(answers), RULES[rule]
    complete = len(given) >= wanted.least_form
    return Scores(
        rule,
        len(given),
        given.get(OVERALL_QOL) if complete else None,
        given.get(GENERAL_HEALTH) if complete else None,
        {
            domain: _score_domain([best_is_5(item, given[item]) for item in items if item in given], least, complete)
            for (domain, items), least in ((entry, wanted.least[entry[0]]) for entry in DOMAINS.items())
        },
    )


def _score_domain(values: list[int], least: int, complete: bool) -> DomainScore:
    n, total = len(values), sum(values)
    if not complete:
        return DomainScore(n, reason="form_incomplete")
    if n < least:
        return DomainScore(n, reason="domain_incomplete")
    # (4 mean - 4) x 100 / 16, with one rounding
    return DomainScore(n, total / n, 4 * total / n, 25 * (total - n) / n)
