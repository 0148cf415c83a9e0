"""The numbers of a report, read from `db_qol` through the catalogue and from what writers noted in partitions.

Belongs here: the queries and the values. What follows from them is `views.py`'s and `calls.py`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from qol_dagster.errors import QolError
from qol_dagster.lake.objects import LakeError, map_concurrently
from qol_dagster.metrics.tables import TableId
from qol_dagster.report.surveys import Surveys, read_surveys
from qol_dagster.resources.connections import People
from qol_dagster.resources.unread import count_quarantined
from qol_dagster.weeks import dates_of

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.resources.catalogue import Catalogue

Row = Mapping[str, Any]

WEEKS_BEFORE = 8
"""How many weeks before its own a report compares with."""
WEEKS_SINCE_ENROLMENT = 26
"""How many weeks since enrolment are shown, and how many weeks back they are looked for."""
MEASURES = (
    "steps_mean",
    "mvpa_equiv_min",
    "sleep_tst_h_mean",
    "sleep_regularity_index",
    "resting_hr_mean",
    "hrv_rmssd_mean",
    "stress_mean",
    "wear_min_mean",
)
"""Columns of `weekly_metrics` that are drawn."""
HEADLINES = ("steps_mean", "sleep_tst_h_mean", "resting_hr_mean", "stress_mean")
_STATUS = (
    "participant_id",
    "date",
    "status",
    "day_states",
    "n_valid_days",
    "last_worn_date",
    "last_night_date",
    "days_since_last_sync",
)
_WEEKLY = ("participant_id", "date", "is_valid_week", "n_valid_days", *MEASURES, "last_received_at")
_LINES = ("lines", "records", "superseded", "misfiled", "unreadable", "unmapped_records", "values_set_aside")
"""Of the counts that a daily partition's writer noted."""


class ReportError(QolError):
    """A report cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Origin:
    """Where a week's rows come from: counts of its raw lines by what became of them, and who computed it how."""

    counts: Mapping[str, int] = field(default_factory=dict)
    n_quarantined: int | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """Everything one report is made from. `weeks` ends with its own week; rows are those of the tables."""

    week: date
    weeks: tuple[date, ...]
    status: tuple[Row, ...]
    weekly: tuple[Row, ...]
    people: People
    origin: Origin
    made_at: datetime
    surveys: Surveys = field(default_factory=Surveys)

    def status_of(self, week: date) -> list[Row]:
        """Return the status rows of a week."""
        return self._status_by_week.get(str(week), [])

    def weekly_of(self, week: date) -> list[Row]:
        """Return the weekly rows of a week."""
        return self._weekly_by_week.get(str(week), [])

    @cached_property
    def _status_by_week(self) -> dict[str, list[Row]]:
        return _by(self.status, "date")

    @cached_property
    def _weekly_by_week(self) -> dict[str, list[Row]]:
        return _by(self.weekly, "date")


def _by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def read_facts(catalogue: Catalogue, lake: Lake, people: People, week: date, made_at: datetime) -> Facts:
    """Return the facts of the week that begins on this Monday. Raises ReportError if it was never computed.

    A computed week without rows has facts too: while nobody is enrolled, a report counts who pushes data.
    """
    weeks = tuple(week - timedelta(weeks=back) for back in range(WEEKS_BEFORE, -1, -1))
    status = _rows(catalogue, "status", _STATUS, week - timedelta(weeks=WEEKS_SINCE_ENROLMENT - 1), week)
    if not any(row["date"] == str(week) for row in status) and week not in lake.table_dates("status"):
        raise ReportError(f"nothing is known of the week of {week}; compute it first: qol materialize --week {week}")
    weekly = _rows(catalogue, "weekly", _WEEKLY, weeks[0], week)
    return Facts(week, weeks, status, weekly, people, read_origin(lake, week), made_at, read_surveys(lake, week))


def _rows(catalogue: Catalogue, table: Any, columns: Sequence[str], first: date, last: date) -> tuple[Row, ...]:
    found = catalogue.query(
        f"SELECT {', '.join(columns)} FROM {TableId(table).qualified_name} "
        f"WHERE date >= '{first}' AND date <= '{last}' ORDER BY date, participant_id",
        span=(str(first), str(last)),
    )
    return tuple(dict(zip(columns, row, strict=True)) for row in found.rows)


def read_origin(lake: Lake, week: date) -> Origin:
    """Return where a week's rows come from; without the parts that its reader may not see."""
    try:
        notes = map_concurrently(partial(lake.partition_metadata, "daily"), dates_of(week)).values()
        made = lake.partition_metadata("weekly", week) or {}
        quarantined = sum(count_quarantined(lake).values())
    except LakeError:
        return Origin()
    counts: Counter[str] = Counter()
    for found in notes:
        of_day = (found or {}).get("counts") or {}
        counts.update({name: int(of_day.get(name) or 0) for name in _LINES})
    return Origin(
        {name: counts[name] for name in _LINES if name in counts},
        quarantined,
        {name: str(value) for name, value in sorted(made.items()) if isinstance(value, str | int) and name != "raw"},
    )
