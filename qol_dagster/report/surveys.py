"""Questionnaires in a report: how many answered, how the scores are spread, what goes along with what.

Belongs here: what is read of the tables of questionnaires, and pure functions of it. Counts and spreads only: no
participant's own score is in a report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from qol_dagster.lake.objects import LakeError
from qol_dagster.lake.tables import read_rows
from qol_dagster.metrics.dictionary import by_name
from qol_dagster.report.quantiles import quantile
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.whoqol import DOMAINS, DomainName
from qol_dagster.weeks import receipt_date, weekly_run_of

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.metrics.types import TableName

Row = Mapping[str, Any]

LEAST_SCORES = 5
"""Fewer scores of a wave are not shown: their spread would be single persons."""
ASSOCIATED = (
    "steps_mean_14d",
    "active_min_mean_14d",
    "sleep_tst_h_mean_14d",
    "resting_hr_mean_14d",
    "hrv_rmssd_mean_14d",
    "stress_mean_14d",
)
"""Measures whose associations are shown: chosen beforehand, whatever comes out."""
METHOD = "within_correlation"
_SCORES = tuple(f"{domain}_0_100" for domain in DOMAINS)
_COLUMNS: Mapping[TableName, tuple[str, ...]] = {
    "survey_due": ("participant_id", "date", "wave", "opens_on", "closes_on", "answered_on", "computed_at"),
    "whoqol_scores": ("date", "wave", *_SCORES),
    "whoqol_associations": (
        *("date", "domain", "measure", "method", "n_persons", "n_forms"),
        *("estimate", "ci_low", "ci_high", "p_adjusted"),
    ),
}


@dataclass(frozen=True)
class Surveys:
    """Rows of the tables of questionnaires; none without any.

    `as_of` is the date in Japan on which `survey_due` was computed, but not after the week's run: later due dates,
    answers and scores count as not there yet. Associations are of all forms, up to their own `date`.
    """

    as_of: date | None = None
    due: tuple[Row, ...] = ()
    scores: tuple[Row, ...] = ()
    associations: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Response:
    """A wave in numbers of participants. `overdue` are due and not answered, `open` those who still may."""

    wave: int
    due: int
    answered: int
    open: int

    @property
    def overdue(self) -> int:
        """Those whose form is due, and did not come."""
        return self.due - self.answered

    @property
    def rate_pct(self) -> float:
        """The answered in percent of the due."""
        return 100 * self.answered / self.due


@dataclass(frozen=True)
class Reminder:
    """A form that may be answered and was not: for how many days it has been due, 0 or less before that, until when."""

    participant_id: str
    wave: int
    days: int
    closes_on: date


@dataclass(frozen=True)
class ScoreSpread:
    """How a domain (0 to 100) is spread over the forms of a wave; without quartiles below `LEAST_SCORES`."""

    domain: DomainName
    wave: int
    n: int
    p25: float | None = None
    median: float | None = None
    p75: float | None = None


def read_surveys(lake: Lake, week: date) -> Surveys:
    """Return what the tables hold up to a week's run; nothing without tables, or where they may not be read."""
    try:
        due, scores, associations = (_rows(lake, table) for table in _COLUMNS)
    except LakeError:
        return Surveys()
    if not due:
        return Surveys()
    computed = max(row["computed_at"] for row in due)
    as_of = receipt_date(min(computed, weekly_run_of(week)))
    return Surveys(
        as_of,
        tuple({name: value for name, value in row.items() if name != "computed_at"} for row in due),
        tuple(row for row in scores if row["date"] <= str(as_of)),
        tuple(row for row in associations if row["method"] == METHOD and row["measure"] in ASSOCIATED),
    )


def _rows(lake: Lake, table: TableName) -> list[Row]:
    columns = by_name(SURVEY_TABLES[table])
    metrics = [columns[name] for name in _COLUMNS[table]]
    return list(read_rows(lake, table, lake.table_dates(table), metrics).to_pylist())


def responses(surveys: Surveys) -> list[Response]:
    """Return the numbers of each wave of which any form is due or answered."""
    today = str(surveys.as_of)
    waves: dict[int, list[Row]] = {}
    for row in surveys.due:
        if row["date"] <= today or _is_answered(row, today):
            waves.setdefault(row["wave"], []).append(row)
    return [
        Response(
            wave,
            len(rows),
            sum(_is_answered(row, today) for row in rows),
            sum(not _is_answered(row, today) and row["closes_on"] >= today for row in rows),
        )
        for wave, rows in sorted(waves.items())
    ]


def reminders(surveys: Surveys) -> dict[str, Reminder]:
    """Return by participant the form that may be answered and was not: the latest due of several."""
    today = str(surveys.as_of)
    return {
        row["participant_id"]: _reminder(row, today)
        for row in sorted(surveys.due, key=lambda row: row["date"])
        if row["opens_on"] <= today <= row["closes_on"] and not _is_answered(row, today)
    }


def _reminder(row: Row, today: str) -> Reminder:
    days = (date.fromisoformat(today) - date.fromisoformat(row["date"])).days
    return Reminder(row["participant_id"], row["wave"], days, date.fromisoformat(row["closes_on"]))


def _is_answered(row: Row, today: str) -> bool:
    return row["answered_on"] is not None and row["answered_on"] <= today


def score_spreads(surveys: Surveys) -> dict[DomainName, list[ScoreSpread]]:
    """Return by domain how the scores of each wave are spread."""
    waves = sorted({row["wave"] for row in surveys.scores})
    return {domain: [_spread(surveys.scores, domain, wave) for wave in waves] for domain in DOMAINS}


def _spread(scores: Sequence[Row], domain: DomainName, wave: int) -> ScoreSpread:
    column = f"{domain}_0_100"
    values = sorted(row[column] for row in scores if row["wave"] == wave and row[column] is not None)
    if len(values) < LEAST_SCORES:
        return ScoreSpread(domain, wave, len(values))
    return ScoreSpread(domain, wave, len(values), *(quantile(values, share) for share in (0.25, 0.5, 0.75)))


def associations(surveys: Surveys) -> list[tuple[DomainName, list[Row]]]:
    """Return by domain the estimates there are, in the order of `ASSOCIATED`; only those with an interval."""
    found = []
    for domain in DOMAINS:
        rows = {row["measure"]: row for row in surveys.associations if row["domain"] == domain}
        estimated = [rows[one] for one in ASSOCIATED if one in rows and rows[one]["ci_low"] is not None]
        if estimated:
            found.append((domain, estimated))
    return found
