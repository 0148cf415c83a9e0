"""What a report shows of its facts: counts of people, spreads of measures, each person's own range, days by state.

Belongs here: pure functions of `Facts`. Each number is one that a query on `db_qol` gives.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean, stdev

from qol_dagster.report.facts import MEASURES, WEEKS_SINCE_ENROLMENT, Facts, Row
from qol_dagster.report.quantiles import quantile
from qol_dagster.weeks import weekly_run_of

T_995: Mapping[int, float] = {4: 4.604, 5: 4.032, 6: 3.707, 7: 3.499}
"""The 99.5 % quantile of Student's t by degrees of freedom: one less than the weeks that a range is made from."""


def week_label(week: date) -> str:
    """Return a week as columns and charts name it, in every language."""
    return f"{week.month}/{week.day}"


@dataclass(frozen=True)
class Overview:
    """A week in numbers of people. `enrolled` are those who may be measured, `active` those who wore the device.

    All are None of a week that is not computed.
    """

    week: date
    enrolled: int | None = None
    active: int | None = None
    valid: int | None = None

    @property
    def valid_pct(self) -> float | None:
        """Valid weeks in percent of those enrolled; None if nobody is."""
        return 100 * self.valid / self.enrolled if self.enrolled and self.valid is not None else None


def overview(facts: Facts, week: date) -> Overview:
    """Return the numbers of a week, from `participant_status`, which has a row of everybody in each computed week."""
    rows = facts.status_of(week)
    if not rows and week != facts.week:
        return Overview(week)
    states = Counter(row["status"] for row in rows)
    gone = states["revoked"] + states["not_enrolled"]
    return Overview(week, states.total() - gone, states["valid"] + states["too_short"], states["valid"])


@dataclass(frozen=True)
class Spread:
    """How a measure is spread over the participants with a valid week: quantiles in the measure's unit."""

    measure: str
    week: date
    n: int
    p10: float | None = None
    p25: float | None = None
    median: float | None = None
    p75: float | None = None
    p90: float | None = None


def spread(facts: Facts, measure: str, week: date) -> Spread:
    """Return the spread in a week; without quantiles when nobody has a value."""
    values = sorted(row[measure] for row in facts.weekly_of(week) if row["is_valid_week"] and row[measure] is not None)
    if not values:
        return Spread(measure, week, 0)
    return Spread(measure, week, len(values), *(quantile(values, share) for share in (0.1, 0.25, 0.5, 0.75, 0.9)))


@dataclass(frozen=True)
class OwnRange:
    """A participant's value of the week, the range that their own weeks before make likely, and those weeks' values."""

    participant_id: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    history: tuple[float | None, ...]

    @property
    def side(self) -> str:
        """Where the value is: "above" or "below" the range, else ""."""
        if self.value is None or self.low is None or self.high is None:
            return ""
        return "above" if self.value > self.high else "below" if self.value < self.low else ""


def own_ranges(facts: Facts, measures: Sequence[str] = MEASURES) -> dict[str, dict[str, OwnRange]]:
    """Return by participant and measure what is usual for them: for everyone with a row in any of the weeks.

    The range holds the next value with 99 % if a person's weeks are alike: mean +- t * sd * sqrt(1 + 1/n) over the
    valid weeks before, of which five at least are needed.
    """
    values: dict[str, dict[date, Row]] = defaultdict(dict)
    for row in facts.weekly:
        values[row["participant_id"]][date.fromisoformat(row["date"])] = row
    return {
        person: {measure: _own_range(person, measure, rows, facts.weeks) for measure in measures}
        for person, rows in sorted(values.items())
    }


def _own_range(person: str, measure: str, rows: Mapping[date, Row], weeks: Sequence[date]) -> OwnRange:
    history = tuple(_value(rows.get(week), measure) for week in weeks)
    before = [one for one in history[:-1] if one is not None]
    low, high = _limits(before)
    return OwnRange(person, measure, history[-1], low, high, history)


def _value(row: Row | None, measure: str) -> float | None:
    """Return the value of a valid week."""
    return row[measure] if row and row["is_valid_week"] else None


def _limits(before: Sequence[float]) -> tuple[float | None, float | None]:
    factor = T_995.get(len(before) - 1)
    if factor is None:
        return None, None
    reach = factor * stdev(before) * math.sqrt(1 + 1 / len(before))
    return (fmean(before) - reach, fmean(before) + reach) if reach > 0 else (None, None)


def day_states(facts: Facts) -> dict[str, str]:
    """Return by participant the letters of all days of the weeks of comparison and the week itself; " " if unknown."""
    weeks = {str(week): number for number, week in enumerate(facts.weeks[1:])}
    days: dict[str, list[str]] = defaultdict(lambda: [" " * 7] * len(weeks))
    for row in facts.status:
        if row["date"] in weeks:
            days[row["participant_id"]][weeks[row["date"]]] = row["day_states"] or " " * 7
    return {person: "".join(parts) for person, parts in sorted(days.items())}


def weeks_since_enrolment(facts: Facts) -> dict[str, list[int | None]]:
    """Return by participant the valid days of each week since enrolment, the first one first.

    Of the last `WEEKS_SINCE_ENROLMENT` weeks; who was enrolled before them is left out, since their first weeks are
    not known here.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in facts.status:
        rows[row["participant_id"]].append(row)
    found = {}
    for person, theirs in sorted(rows.items()):
        weeks = [None if one["status"] == "revoked" else one["n_valid_days"] for one in _enrolled(theirs)]
        if weeks and len(weeks) < WEEKS_SINCE_ENROLMENT:
            found[person] = weeks
    return found


def _enrolled(rows: Sequence[Row]) -> list[Row]:
    """Return the rows from the first week on that was not before enrolment."""
    first = next((number for number, row in enumerate(rows) if row["status"] != "not_enrolled"), len(rows))
    return list(rows[first:])


def late_participants(facts: Facts, week: date) -> int:
    """Return for how many participants a record of a week came after its weekly run."""
    run = weekly_run_of(week)
    return sum(bool(row["last_received_at"] and row["last_received_at"] > run) for row in facts.weekly_of(week))
