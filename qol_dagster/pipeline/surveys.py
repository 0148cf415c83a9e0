"""Stored forms and daily rows -> responses, due waves, scores, sensor windows and associations.

Belongs here: what is read, and the five tables written. All of them are computed anew each time: a programme's forms
are a few thousand, and a late day or a correction then repairs whatever it touches. No orchestrator is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from qol_dagster.lake.surveys import read_sendings, write_sendings
from qol_dagster.lake.tables import arrow_schema, read_rows, set_aside
from qol_dagster.metrics.dictionary import DAILY, by_name
from qol_dagster.pipeline.checks import find_problems, refuse
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.quality import check_form, describe_domain, item_nonresponse
from qol_dagster.surveys.responses import Response, Sending, latest_responses
from qol_dagster.surveys.simulated import simulated_sendings
from qol_dagster.surveys.tables import survey_key
from qol_dagster.surveys.waves import DEFAULT_PLAN, DueWave, WavePlan, due_waves
from qol_dagster.surveys.whoqol import (
    DEFAULT_RULE,
    DOMAINS,
    ITEMS,
    Answers,
    DomainName,
    RuleName,
    read_answers,
    score_form,
)
from qol_dagster.surveys.windows import READ_DAILY, sensor_window, window_dates
from qol_dagster.weeks import receipt_date

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.identities import Identities
    from qol_dagster.lake.lake import Lake
    from qol_dagster.metrics.types import TableName

Row = dict[str, Any]
Days = Mapping[str, Mapping[date, Row]]
"""Daily rows by participant and date."""
Verify = Callable[["TableName", "pa.Table", int, int], None]
"""Called with the rows of each table before any is written, how many forms they are from, and how many of their values
were set aside."""


@dataclass(frozen=True)
class SurveyReport:
    """Rows written by table; forms left out because nobody of that id is enrolled any more; lines that are no form."""

    rows: Mapping[TableName, int]
    not_enrolled: int
    unreadable: int


def score_surveys(
    lake: Lake,
    identities: Identities,
    *,
    computed_at: datetime,
    rule: RuleName = DEFAULT_RULE,
    plan: WavePlan = DEFAULT_PLAN,
    verify: Verify | None = None,
) -> SurveyReport:
    """Write the five tables from all stored forms and the daily rows as they are now.

    If the rows of any fail a check, none is written: raises ChecksError, or what else `verify` does. Raises LakeError.
    """
    verify = verify or _refuse_failing({*identities.active, *identities.revoked})
    with lake.lock():
        stored = read_sendings(lake)
        everyone = latest_responses(stored.sendings)
        people = set(identities.active.values())
        responses = [one for one in everyone if one.participant_id in people]
        scored = [_score_row(one, rule) for one in responses]
        windows = _window_rows(lake, responses)
        tables: dict[TableName, list[Row]] = {
            "survey_responses": [_response_row(one) for one in responses],
            "survey_due": [
                row
                for row in _due_rows(lake, responses, people, plan, receipt_date(computed_at))
                if not _is_after_withdrawal(row, identities)
            ],
            "whoqol_scores": scored,
            "whoqol_sensor_windows": windows,
            "whoqol_associations": _association_rows(scored, windows, rule),
        }
        computed = {table: _as_table(table, rows, computed_at) for table, rows in tables.items()}
        for table, (found, aside) in computed.items():
            verify(table, found, 0 if table == "survey_due" else len(responses), sum(aside.values()))
        for table, (found, _) in computed.items():
            _replace_table(lake, table, found)
    counts = {table: len(rows) for table, rows in tables.items()}
    return SurveyReport(counts, len(everyone) - len(responses), stored.unreadable)


def _refuse_failing(garmin_ids: Collection[str]) -> Verify:
    def verify(table: TableName, rows: pa.Table, used: int, _aside: int) -> None:
        problems = find_problems(rows, SURVEY_TABLES[table], used, garmin_ids, survey_key(table))
        refuse_rows(table, problems)

    return verify


def refuse_rows(table: TableName, problems: Mapping[str, str]) -> None:
    """Raise ChecksError if there are problems with a table's rows, by check."""
    refuse(f"the rows of {table}", problems, "compute the tables of questionnaires again")


def describe_waves(lake: Lake, identities: Identities, *, rule: RuleName = DEFAULT_RULE) -> list[Row]:
    """Return how each domain did in each wave: alpha, shares at the ends of the scale, and answers left out."""
    people = set(identities.active.values())
    waves: dict[int, list[Response]] = {}
    for one in latest_responses(read_sendings(lake).sendings):
        if one.participant_id in people:
            waves.setdefault(one.wave, []).append(one)
    return [
        {"wave": wave, "domain": domain, **_described(domain, [one.answers for one in waves[wave]], rule)}
        for wave in sorted(waves)
        for domain in DOMAINS
    ]


def _described(domain: DomainName, forms: Sequence[Answers], rule: RuleName) -> Row:
    found = describe_domain(domain, forms, [score_form(one, rule).domains[domain].score_0_100 for one in forms])
    missing = item_nonresponse(forms)
    row = {"n_forms": len(forms), **asdict(found)}
    return row | {"nonresponse": fmean(missing[item] for item in DOMAINS[domain])}


def open_forms(
    lake: Lake,
    identities: Identities,
    *,
    today: date,
    plan: WavePlan = DEFAULT_PLAN,
    begun: Collection[tuple[str, int]] = (),
    answered: Collection[tuple[str, int]] | None = None,
) -> list[tuple[str, DueWave]]:
    """Return the forms that may be answered on a date and were not, from the daily rows as they are now.

    Those that were `begun` and not finished, as participant and wave, count as not answered. `answered`: those that
    were, for who may not read raw lines.
    """
    if answered is None:
        answered = {(one.participant_id, one.wave) for one in latest_responses(read_sendings(lake).sendings)}
    answered = set(answered) - set(begun)
    return [
        (person, due)
        for person, waves in _waves(lake, identities.participants_to_ask(), plan).items()
        for due in waves
        if (person, due.wave) not in answered and due.state(None, today) == "open"
    ]


def scored_forms(lake: Lake) -> set[tuple[str, int]]:
    """Return the forms, as participant and wave, that the tables had when they were computed last."""
    columns = by_name(SURVEY_TABLES["survey_responses"])
    wanted = [columns[name] for name in ("participant_id", "wave")]
    rows = read_rows(lake, "survey_responses", lake.table_dates("survey_responses"), wanted).to_pylist()
    return {(row["participant_id"], row["wave"]) for row in rows}


def simulate_surveys(
    lake: Lake, identities: Identities, *, until: date, seed: int = 0, plan: WavePlan = DEFAULT_PLAN
) -> int:
    """Have everybody answer the waves that are due up to a date, and return how many sendings were new.

    The answers depend on the daily rows as `surveys/simulated.py` says; to be called once these are up to date.
    """
    daily = _daily_rows(lake, lake.table_dates("daily"), READ_DAILY)
    sendings: list[Sending] = []
    for person, waves in _waves(lake, set(identities.active.values()), plan).items():
        window = partial(_window_of, daily.get(person, {}))
        sendings += simulated_sendings(person, waves, window, until=until, seed=seed)
    return write_sendings(lake, sendings)


def _window_of(daily: Mapping[date, Row], answered_on: date) -> Row:
    return sensor_window(answered_on, daily)


def _key(response: Response) -> Row:
    return {
        "participant_id": response.participant_id,
        "date": response.answered_on.isoformat(),
        "wave": response.wave,
    }


def _response_row(response: Response) -> Row:
    answers = read_answers(response.answers)
    return {
        **_key(response),
        **{f"q{item}": answers.get(item) for item in ITEMS},
        **asdict(check_form(response.answers)),
        **{name: getattr(response, name) for name in ("language", "mode", "completed_at", "last_received_at")},
        "n_sendings": response.n_sendings,
    }


def _score_row(response: Response, rule: RuleName) -> Row:
    scores = score_form(response.answers, rule)
    row: Row = {**_key(response), "missing_rule": rule, "n_answered": scores.n_answered}
    row |= {"overall_qol": scores.overall_qol, "general_health": scores.general_health}
    for domain, one in scores.domains.items():
        row |= {f"n_{domain}": one.n_answered, f"{domain}_mean": one.mean, f"{domain}_reason": one.reason}
        row |= {f"{domain}_4_20": one.score_4_20, f"{domain}_0_100": one.score_0_100}
    return row | {"is_straight_lined": check_form(response.answers).is_straight_lined}


def _window_rows(lake: Lake, responses: Sequence[Response]) -> list[Row]:
    needed = {day for one in responses for day in window_dates(one.answered_on)}
    daily = _daily_rows(lake, needed, READ_DAILY)
    return [{**_key(one), **sensor_window(one.answered_on, daily.get(one.participant_id, {}))} for one in responses]


def _due_rows(lake: Lake, responses: Sequence[Response], people: set[str], plan: WavePlan, today: date) -> list[Row]:
    answered = {(one.participant_id, one.wave): one.answered_on for one in responses}
    rows = []
    for person, waves in _waves(lake, people, plan).items():
        for due in waves:
            on = answered.get((person, due.wave))
            rows.append(
                {
                    "participant_id": person,
                    "date": due.due_on.isoformat(),
                    "wave": due.wave,
                    "opens_on": due.opens_on.isoformat(),
                    "closes_on": due.closes_on.isoformat(),
                    "state": due.state(on, today),
                    "answered_on": on.isoformat() if on else None,
                }
            )
    return rows


def _is_after_withdrawal(row: Row, identities: Identities) -> bool:
    """Return whether a wave opens when its participant had withdrawn, or could still be answered then and was not."""
    since = identities.withdrawn.get(row["participant_id"])
    last = "opens_on" if row["answered_on"] else "closes_on"
    return since is not None and date.fromisoformat(row[last]) >= since


def _waves(lake: Lake, people: set[str], plan: WavePlan) -> dict[str, tuple[DueWave, ...]]:
    """Return everybody's waves, from the dates on which the device was worn."""
    daily = _daily_rows(lake, lake.table_dates("daily"), ("wear_min",))
    worn = {
        person: [day for day, row in daily.get(person, {}).items() if (row["wear_min"] or 0) > 0]
        for person in sorted(people)
    }
    return {person: due_waves(days, plan) for person, days in worn.items()}


def _association_rows(scored: Sequence[Row], windows: Sequence[Row], rule: RuleName) -> list[Row]:
    if not scored:
        return []
    from qol_dagster.surveys.associations import associate

    forms = [{**window, **score} for score, window in zip(scored, windows, strict=True)]
    last = max(one["date"] for one in scored)
    return [{"date": last, "missing_rule": rule, **asdict(one)} for one in associate(forms)]


def _daily_rows(lake: Lake, days: Iterable[date], columns: Sequence[str]) -> Days:
    entries = by_name(DAILY)
    metrics = [entries[name] for name in dict.fromkeys(("participant_id", "date", *columns))]
    found: dict[str, dict[date, Row]] = {}
    for row in read_rows(lake, "daily", sorted(days), metrics).to_pylist():
        found.setdefault(row["participant_id"], {})[date.fromisoformat(row["date"])] = row
    return found


def _as_table(table: TableName, rows: Sequence[Row], computed_at: datetime) -> tuple[pa.Table, dict[str, int]]:
    """Return the rows without values that cannot be, and how many there were by column."""
    import pyarrow as pa

    columns = SURVEY_TABLES[table]
    full = [{**row, "computed_at": computed_at} for row in rows]
    return set_aside(pa.Table.from_pylist(full, schema=arrow_schema(columns)), columns)


def _replace_table(lake: Lake, table: TableName, rows: pa.Table) -> None:
    """Write every partition of a table and remove those that have no rows any more."""
    import pyarrow.compute as pc

    days = sorted(map(date.fromisoformat, rows["date"].unique().to_pylist()))
    for day in days:
        found = rows.filter(pc.equal(rows["date"], day.isoformat()))
        lake.write_table(table, day, found, {"rows": found.num_rows})
    for day in set(lake.table_dates(table)) - set(days):
        lake.remove_objects(lake.keys(f"{lake.partition_key(table, day)}/"))
