"""A small lake with questionnaires: the sensors of its people, their answers, and the tables made of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.surveys import write_sendings
from qol_dagster.lake.tables import arrow_schema
from qol_dagster.metrics.dictionary import DAILY
from qol_dagster.pipeline.surveys import score_surveys
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.responses import Sending
from qol_dagster.surveys.waves import WavePlan

FIRST_DAY = date(2026, 10, 5)
BASELINE = date(2026, 10, 19)
"""The day after 14 worn days."""
PLAN = WavePlan(every_weeks=2, waves=3, window_days=3)
COMPUTED_AT = datetime(2026, 11, 23, 0, 5, tzinfo=UTC)


def answers_of(mark: int, **blank: Any) -> dict[int, Any]:
    """Every item marked so that each domain's mean is `mark`, but for those given as `q20=None`."""
    marks = {item: 6 - mark if item in (3, 4, 26) else mark for item in range(1, 27)}
    return marks | {int(name[1:]): value for name, value in blank.items()}


def form(person: str, wave: int, answers: Mapping[int, Any], answered_on: date | None = None) -> Sending:
    """A form answered at noon in Japan, on its due date unless said."""
    on = answered_on or BASELINE + timedelta(weeks=2 * wave)
    at = datetime(on.year, on.month, on.day, 3, tzinfo=UTC)
    return Sending(person, wave, dict(answers), "ja", "web", at, at)


def survey_lake(folder: Path, people: Iterable[str], forms: Iterable[Sending]) -> Lake:
    """Return a lake whose people wore the device for seven weeks, with the tables of these forms."""
    lake, people = Lake.local(folder), list(people)
    blank = dict.fromkeys(one.name for one in DAILY) | {one.name: 1 for one in DAILY if not one.nullable}
    for at in range(49):
        day = FIRST_DAY + timedelta(days=at)
        worn = {"date": str(day), "wear_min": 700.0, "is_valid_day": True, "steps": 5000, "sleep_tst_min": 390}
        rows = [{**blank, **worn, "participant_id": person} for person in people]
        lake.write_table("daily", day, pa.Table.from_pylist(rows, schema=arrow_schema(DAILY)), {})
    write_sendings(lake, list(forms))
    active = {f"garmin-{person}": person for person in people}
    score_surveys(lake, Identities(active), computed_at=COMPUTED_AT, plan=PLAN)
    return lake


def write_due(lake: Lake, person: str, opens_on: date, closes_on: date) -> None:
    """Have a participant's baseline open between two dates, as `survey_due` has it."""
    row = {"participant_id": person, "date": str(opens_on), "wave": 0, "state": "open", "answered_on": None}
    row |= {"opens_on": str(opens_on), "closes_on": str(closes_on), "computed_at": COMPUTED_AT}
    table = pa.Table.from_pylist([row], schema=arrow_schema(SURVEY_TABLES["survey_due"]))
    lake.write_table("survey_due", opens_on, table, {})
