"""Do the intervals of `whoqol_associations` hold the truth, and are as many discoveries false as is said?

200 simulated studies of 40 persons with 4 forms each. Slopes are held to the coefficient that made the answers,
correlations to those of one study of many persons. Run: `python -m benchmarks.associations [studies]`.
"""

from __future__ import annotations

import sys
from collections import Counter

from qol_dagster.surveys.associations import Association, associate
from qol_dagster_tests.support.studies import SLEEP, SLEEP_SLOPE, STUDIED, study

STUDIES = 200
MANY = 6_000
"""Persons of the study whose correlations are the truth."""


def main() -> int:
    """Print coverage by method, and false discoveries without an effect."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES
    truth = {_key(row): row.estimate or 0.0 for row in associate(study(0, persons=MANY), STUDIED)}
    covered, bias, tried = Counter[str](), Counter[str](), Counter[str]()
    for seed in range(1, studies + 1):
        for row in associate(study(seed), STUDIED):
            true = truth[_key(row)]
            if row.method == "mixed_slope":
                true = SLEEP_SLOPE if row.measure == SLEEP else 0.0
            tried[row.method] += 1
            covered[row.method] += (row.ci_low or 0.0) <= true <= (row.ci_high or 0.0)
            bias[row.method] += (row.estimate or 0.0) - true
    print(f"{studies} studies of 40 persons with 4 forms each; 95 % intervals that hold the truth, mean error:")
    for method, number in tried.items():
        print(f"  {method:20} {100 * covered[method] / number:5.1f} % of {number}   {bias[method] / number:+.4f}")
    false: Counter[str] = Counter()
    for seed in range(1, studies + 1):
        found = {row.method for row in associate(study(10_000 + seed, slope=0), STUDIED) if _is_discovery(row)}
        false.update(found)
    print("studies without any effect that discover something (p_adjusted < 0.05):")
    for method in tried:
        print(f"  {method:20} {100 * false[method] / studies:5.1f} %")
    return 0


def _key(row: Association) -> tuple[str, str, str]:
    return row.method, row.domain, row.measure


def _is_discovery(row: Association) -> bool:
    return row.p_adjusted is not None and row.p_adjusted < 0.05


if __name__ == "__main__":
    raise SystemExit(main())
