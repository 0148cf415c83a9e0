"""How each domain goes along with each measure of the 14 days before: `whoqol_associations`.

Belongs here: which forms count, the methods, the least numbers, and the table's rows. The statistics themselves are
`statistics.py`'s. An association is no effect: nobody was assigned to sleep longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np

from qol_dagster.surveys.statistics import (
    Codes,
    Estimate,
    Floats,
    adjust_for_false_discoveries,
    between_person_correlation,
    mixed_model_slope,
    repeated_measures_correlation,
)
from qol_dagster.surveys.whoqol import DOMAINS, DomainName
from qol_dagster.surveys.windows import LEAST_VALID_DAYS, MEASURES, Measure

Method = Literal["within_correlation", "between_correlation", "mixed_slope"]
NoEstimate = Literal["too_few_persons", "too_few_forms", "no_variance"]
Form = Mapping[str, Any]
"""A form's `participant_id`, `is_valid_window`, `<domain>_0_100` and the measures with their counts, by column."""

LEAST_PERSONS = 10
"""Below, a correlation's interval is nearly the whole scale, and a person may be recognised in it."""
LEAST_FORMS = 30
"""Of the methods that look within persons."""

_METHODS: Mapping[Method, Callable[[Codes, Floats, Floats], Estimate | None]] = {
    "within_correlation": repeated_measures_correlation,
    "between_correlation": between_person_correlation,
    "mixed_slope": mixed_model_slope,
}


@dataclass(frozen=True)
class Association:
    """One row: a domain, a measure and a method, with its estimate or the reason why there is none.

    `estimate` is a correlation, or of `mixed_slope` points (0-100) of the domain for one unit of the measure.
    """

    domain: DomainName
    measure: str
    method: Method
    n_persons: int
    n_forms: int
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    reason: NoEstimate | None = None


def associate(forms: Iterable[Form], measures: Sequence[Measure] = MEASURES) -> list[Association]:
    """Return a row for each domain, measure and method.

    A form counts for a measure if its window is valid, the measure is made of at least as many days as make a window
    valid, and the domain is scored. p is adjusted within a method, over all of its rows that have an estimate.
    """
    valid = [one for one in forms if one["is_valid_window"]]
    rows = [
        _associate(valid, domain, measure, method) for method, domain, measure in product(_METHODS, DOMAINS, measures)
    ]
    return [row for method in _METHODS for row in _adjusted([one for one in rows if one.method == method])]


def _associate(forms: Sequence[Form], domain: DomainName, measure: Measure, method: Method) -> Association:
    score = f"{domain}_0_100"
    used = [
        (one["participant_id"], one[measure.name], one[score])
        for one in forms
        if one[measure.count] >= LEAST_VALID_DAYS and one[measure.name] is not None and one[score] is not None
    ]
    if method == "within_correlation":
        used = _repeated(used)
    names = {name: code for code, name in enumerate(dict.fromkeys(name for name, _, _ in used))}
    row = Association(domain, measure.name, method, len(names), len(used))
    if len(names) < LEAST_PERSONS:
        return replace(row, reason="too_few_persons")
    if method != "between_correlation" and len(used) < LEAST_FORMS:
        return replace(row, reason="too_few_forms")
    persons = np.array([names[name] for name, _, _ in used], dtype=np.intp)
    x, y = (np.array([one[at] for one in used], dtype=np.float64) for at in (1, 2))
    found = _METHODS[method](persons, x, y)
    if found is None:
        return replace(row, reason="no_variance")
    return replace(row, estimate=found.value, ci_low=found.low, ci_high=found.high, p=found.p)


def _repeated(used: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Return the forms of persons with at least two: the others tell nothing of a change within a person."""
    counts: dict[str, int] = {}
    for name, _, _ in used:
        counts[name] = counts.get(name, 0) + 1
    return [one for one in used if counts[one[0]] >= 2]


def _adjusted(rows: list[Association]) -> list[Association]:
    adjusted = iter(adjust_for_false_discoveries([one.p for one in rows if one.p is not None]))
    return [row if row.p is None else replace(row, p_adjusted=next(adjusted)) for row in rows]
