"""WHOQOL-26 scored a second time, in plain Python, straight from WHO's table of steps; shares nothing with the package.

The form is a list of 26, as a spreadsheet has it, and the arithmetic is in whole fractions.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

STEPS: list[tuple[str, str, dict[str, int]]] = [
    ("physical", "6-Q3 6-Q4 Q10 Q15 Q16 Q17 Q18", {"who_syntax": 6, "who_text": 5}),
    ("psychological", "Q5 Q6 Q7 Q11 Q19 6-Q26", {"who_syntax": 5, "who_text": 4}),
    ("social", "Q20 Q21 Q22", {"who_syntax": 2, "who_text": 2}),
    ("environment", "Q8 Q9 Q12 Q13 Q14 Q23 Q24 Q25", {"who_syntax": 6, "who_text": 6}),
]
FORM = {"who_syntax": 22, "who_text": 21}


def scored(form: list[Any], rule: str) -> dict[str, Any]:
    """The form's scores by name, each null with its reason; `form[0]` is item 1."""
    marks = [mark if type(mark) is int and mark in (1, 2, 3, 4, 5) else None for mark in form]
    answered = 26 - marks.count(None)
    thrown_away = answered < FORM[rule]
    found: dict[str, Any] = {"n_answered": answered}
    found["overall_qol"], found["general_health"] = (None, None) if thrown_away else marks[:2]
    for domain, step, least in STEPS:
        points = []
        for term in step.split():
            mark = marks[int(term.rpartition("Q")[2]) - 1]
            if mark is not None:
                points.append(6 - mark if term.startswith("6-") else mark)
        found[f"{domain}_n"] = len(points)
        why = "form_incomplete" if thrown_away else "domain_incomplete" if len(points) < least[rule] else None
        found[f"{domain}_reason"] = why
        mean = None if why else Fraction(sum(points), len(points))
        found[f"{domain}_mean"] = mean
        found[f"{domain}_4_20"] = None if mean is None else mean * 4
        found[f"{domain}_0_100"] = None if mean is None else (mean * 4 - 4) * 100 / 16
    return {name: float(value) if isinstance(value, Fraction) else value for name, value in found.items()}


def forms(number: int, seed: int) -> list[list[Any]]:
    """Made-up forms: whole ones, some with holes of every size, and marks that are none."""
    dice = random.Random(seed)
    made = []
    for _ in range(number):
        form: list[Any] = [dice.randint(1, 5) for _ in range(26)]
        for at in dice.sample(range(26), dice.choice([0, 0, 1, 2, 3, 4, 5, 6, 9, 26])):
            form[at] = dice.choice([None, None, 0, 6, -1, 99])
        made.append(form)
    return made
