"""What a run of the weekly job did, as plain values that also travel as JSON.

Belongs here: the reports. Not here: how they are shown; that is `defs/assets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from qol_dagster.weeks import monday_of, mondays


@dataclass(frozen=True)
class DayReport:
    """One date: whether its rows were reused, and what its raw lines contained. `counts` has the keys of `COUNTS`.

    `raw_bytes` are those of all its raw files, `bytes_read` those that were parsed in this run. `cause`: why its rows
    became others, empty if they are the same.
    """

    date: date
    reused: bool
    rows: int
    files: int
    raw_bytes: int
    bytes_read: int
    counts: Mapping[str, int]
    cause: str = ""


@dataclass(frozen=True)
class DailyReport:
    """The dates of a run in order, and the seconds each stage took."""

    days: tuple[DayReport, ...]
    seconds: Mapping[str, float]

    def of(self, weeks: Sequence[date]) -> list[DayReport]:
        """Return the dates of these weeks."""
        named = set(mondays(weeks))
        return [day for day in self.days if monday_of(day.date) in named]


@dataclass(frozen=True)
class WeekReport:
    """One week's rows, where they are stored, and how many values were set aside since they cannot be.

    `cause`: why the rows became others, empty if they are the same.
    """

    week: date
    rows: int
    uri: str
    seconds: Mapping[str, float]
    set_aside: int = 0
    cause: str = ""


@dataclass(frozen=True)
class EtlReport:
    """What a whole run did."""

    daily: DailyReport
    weekly: tuple[WeekReport, ...]
    status: tuple[WeekReport, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "days": [vars(one) | {"date": str(one.date), "counts": dict(one.counts)} for one in self.daily.days],
            "seconds": dict(self.daily.seconds),
            **{
                table: [vars(one) | {"week": str(one.week), "seconds": dict(one.seconds)} for one in weeks]
                for table, weeks in (("weekly", self.weekly), ("status", self.status))
            },
        }

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> EtlReport:
        """Return the report that `as_dict` gave. Raises ValueError for anything else."""
        try:
            days = tuple(DayReport(**one | {"date": date.fromisoformat(one["date"])}) for one in report["days"])
            weekly, status = (
                tuple(WeekReport(**one | {"week": date.fromisoformat(one["week"])}) for one in report[table])
                for table in ("weekly", "status")
            )
            return cls(DailyReport(days, report["seconds"]), weekly, status)
        except (KeyError, TypeError) as error:
            raise ValueError("that is no report of a weekly run") from error
