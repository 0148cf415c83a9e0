"""What makes a form doubtful, and how a wave of forms behaves: nothing here changes a score.

Belongs here: flags of one form, and the statistics that are reported of a wave. What to do about a flag is the
researcher's to decide, before the analysis.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from qol_dagster.surveys.whoqol import DOMAINS, ITEMS, REVERSED, Answers, DomainName, best_is_5, read_answers

STRAIGHT_LINE_ITEMS = 13
"""From how many answers on (half a form) a form with one and the same answer counts as straight-lined."""


@dataclass(frozen=True)
class Quality:
    """Flags of a form. `longest_run`: most answers in a row that are the same, as they were marked."""

    n_missing: int
    n_invalid: int
    longest_run: int
    is_straight_lined: bool


def check_form(answers: Answers) -> Quality:
    """Return a form's flags. Invalid are answers that are given and outside 1-5; they are among the missing.

    Straight-lined: every answer is the same although items 3, 4 and 26 are worded the other way round.
    """
    given = read_answers(answers)
    present = [item for item in ITEMS if answers.get(item) not in (None, "")]
    runs = [len(list(run)) for _, run in groupby(given[item] for item in ITEMS if item in given)]
    return Quality(
        len(ITEMS) - len(given),
        len(present) - len(given),
        max(runs, default=0),
        len(given) >= STRAIGHT_LINE_ITEMS and len(runs) == 1 and not REVERSED.isdisjoint(given),
    )


@dataclass(frozen=True)
class DomainStatistics:
    """A domain in a wave. Alpha is over forms with all of its items; floor and ceiling are shares of scored forms."""

    alpha: float | None
    n_alpha: int
    floor: float | None
    ceiling: float | None
    n_scored: int


def describe_domain(
    domain: DomainName, forms: Sequence[Answers], scores_0_100: Sequence[float | None]
) -> DomainStatistics:
    """Return Cronbach's alpha, and the shares of forms with the lowest (0) and the highest (100) score."""
    read = [read_answers(form) for form in forms]
    items = DOMAINS[domain]
    complete = [[best_is_5(item, form[item]) for item in items] for form in read if all(one in form for one in items)]
    scored = [score for score in scores_0_100 if score is not None]
    shares = [sum(score == end for score in scored) / len(scored) if scored else None for end in (0.0, 100.0)]
    return DomainStatistics(cronbach_alpha(complete), len(complete), shares[0], shares[1], len(scored))


def cronbach_alpha(rows: Sequence[Sequence[float]]) -> float | None:
    """Return alpha of complete rows (forms x items, 5 the best); None with fewer than 2 rows or no variance.

    k / (k - 1) (1 - sum of the items' variances / variance of the sum), Cronbach 1951.
    """
    if len(rows) < 2 or len(rows[0]) < 2:
        return None
    k = len(rows[0])
    total = statistics.variance([sum(row) for row in rows])
    parts = sum(statistics.variance(column) for column in zip(*rows, strict=True))
    return k / (k - 1) * (1 - parts / total) if total else None


def item_nonresponse(forms: Sequence[Answers]) -> Mapping[int, float]:
    """Return the share of forms without a valid answer, by item number; empty without forms."""
    read = [read_answers(form) for form in forms]
    return {item: sum(item not in form for form in read) / len(read) for item in ITEMS} if read else {}
