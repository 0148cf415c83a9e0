"""The closing table of a soak.

Belongs here: its values and how they are printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

    from soak.comparison import Records, Rows
    from soak.tally import Tally

SLACK = 5.0
"""What a value may change by though it is bounded, in its own unit: of little, a half more is nothing."""


@dataclass(frozen=True)
class Quarter:
    """A mean of the second quarter of the weeks and of the last; None if nothing was measured."""

    second: float | None
    last: float | None

    def is_bounded(self, bound: float) -> bool:
        """Return whether the last quarter is no more than so many times the second."""
        if self.second is None or self.last is None:
            return True
        return self.last <= max(bound * self.second, self.second + SLACK)


@dataclass(frozen=True)
class Outcome:
    """What came of a soak."""

    tally: Tally
    records: Records
    daily: Rows
    weekly: Rows
    runs: int
    runs_started_again: int
    due: Counter[str]
    sent: Counter[str]
    quarters: Mapping[str, Quarter]
    failures: tuple[str, ...]

    @property
    def twice(self) -> int:
        """How many records and rows are there more than once."""
        return self.records.twice + self.daily.twice + self.weekly.twice

    def with_failures(self, failures: tuple[str, ...]) -> Outcome:
        """Return it with what is not as it must be."""
        return replace(self, failures=failures)


def rendered(outcome: Outcome) -> str:
    """Return the table."""
    tally = outcome.tally
    names = sorted({*outcome.due, *outcome.sent})
    rows = {
        "pushes": f"{tally.pushes:,}",
        "pings in their place": f"{tally.pings:,}, of callbacks: {tally.callbacks:,}",
        "  answers that failed": f"{tally.callbacks_failed}",
        "  records not given, as users left": str(tally.withheld),
        "  dead letters redriven": f"{tally.redriven}",
        "redeliveries": f"{tally.retries + tally.repeated:,}, of which after no answer of 200: {tally.retries:,}",
        "faults": f"{tally.faults.total()}",
        **{f"  {kind.replace('_', ' ')}": str(number) for kind, number in sorted(tally.faults.items())},
        "late files, of weeks computed before": f"{tally.late_files:,}",
        "runs": f"{outcome.runs}, of which lost and started again: {outcome.runs_started_again}",
        "alerts due / sent": f"{outcome.due.total()} / {outcome.sent.total()}",
        **{f"  {name.replace('_', ' ')}": f"{outcome.due[name]} / {outcome.sent[name]}" for name in names},
        "records delivered": f"{outcome.records.delivered:,}",
        "records lost": str(outcome.records.lost),
        "counted twice": str(outcome.twice),
        "participant-weeks": f"{outcome.weekly.expected:,}",
        "  that differ": str(len(outcome.weekly.different)),
        "participant-days": f"{outcome.daily.expected:,}",
        "  that differ ": str(len(outcome.daily.different)),
        **{f"{name}, 2nd and last quarter": _quarter(one) for name, one in outcome.quarters.items()},
    }
    width = max(map(len, rows))
    return "".join(f"{name:<{width}}  {value}\n" for name, value in rows.items())


def _quarter(one: Quarter) -> str:
    return " / ".join("-" if value is None else f"{value:.1f}" for value in (one.second, one.last))
