"""Cases from the world, each with the right value and why it is right: pushes or raw files in, tables out.

A case is a folder of `qol_dagster_tests/cases`: `people.csv`, `push-1.json, ...` (in the order of their receipt) or
`date=D/*.jsonl`, and `case.json` with the weeks, the environment, and what queries have to answer.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from qol_dagster.engines import open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.one_lake import ComputedLake, Part, Write, part
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver

CASES = sorted(file.parent for file in (Path(__file__).parents[1] / "cases").glob("*/case.json"))
SECRET = "synthetic-secret-0123456789"
FIRST_PUSH = datetime(2026, 11, 20, 3, tzinfo=UTC)


@part
def write_cases(lake: Path) -> Part:
    """All cases, each with people of its own."""
    people, weeks = {}, set()
    for number, case in enumerate(CASES):
        fill(case, lake, number)
        people |= {user_of(user, number): f"{case.name}/{who}" for user, who in people_of(case).items()}
        weeks |= {date.fromisoformat(week) for week in description(case)["weeks"]}
    return Part(sorted(weeks), people)


@pytest.fixture(scope="module")
def lake(computed: Callable[[Write], ComputedLake]) -> Lake:
    return Lake.local(computed(write_cases).root)


@pytest.mark.parametrize("case", CASES, ids=lambda folder: folder.name)
def test_the_tables_have_the_right_values(case: Path, lake: Lake, tmp_path: Path) -> None:
    take_out(case, lake, Lake.local(tmp_path))
    assert wrong(case, tmp_path) == []


def test_an_engine_that_starts_in_los_angeles_reads_times_without_a_zone_as_utc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(case for case in CASES if case.name == "receipt-without-zone-los-angeles")
    for name, value in description(case)["env"].items():
        monkeypatch.setenv(name, value)
    time.tzset()
    try:
        fill(case, tmp_path, 0)
        people = {user_of(user, 0): who for user, who in people_of(case).items()}
        with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path / "tmp") as engine:
            run_etl(engine, Lake.local(tmp_path), [date(2026, 11, 16)], Identities(people))
        assert wrong(case, tmp_path) == []
    finally:
        monkeypatch.undo()
        time.tzset()


def description(case: Path) -> dict[str, Any]:
    return dict(json.loads((case / "case.json").read_text()))


def people_of(case: Path) -> dict[str, str]:
    with (case / "people.csv").open() as people:
        return {row["garmin_user_id"]: row["participant_id"] for row in csv.DictReader(people)}


def user_of(user: str, number: int) -> str:
    """A user id of the case's own, as long as before."""
    return f"{number:02d}{user[2:]}"


def wrong(case: Path, lake: Path) -> list[str]:
    """What queries answer that is not as the case has it."""
    found = []
    for expected in description(case)["expect"]:
        answer = query(lake, expected["sql"])
        rows = json.loads(json.dumps([dict(zip(answer.columns, row, strict=True)) for row in answer.rows], default=str))
        if not same(rows, expected["rows"]):
            found.append(f"{expected['sql']}: right {expected['rows']}, found {rows}. {description(case)['why']}")
    return found


def take_out(case: Path, lake: Lake, target: Lake) -> None:
    """Write the rows of a case's participants to a lake of their own."""
    for week in map(date.fromisoformat, description(case)["weeks"]):
        places: list[tuple[TableName, date]] = [("weekly", week), *(("daily", day) for day in dates_of(week))]
        for table, day in places:
            rows = lake.read_table(table, day)
            assert rows is not None
            mine = rows.filter(pc.starts_with(rows["participant_id"], f"{case.name}/"))
            names = pc.replace_substring(mine["participant_id"], f"{case.name}/", "")
            at = mine.column_names.index("participant_id")
            target.write_table(table, day, mine.set_column(at, mine.field(at), names), {})


def fill(case: Path, lake: Path, number: int) -> None:
    """Push bodies, each a second after the one before, and put raw files into the lake."""

    def renamed(content: bytes) -> bytes:
        for user in people_of(case):
            content = content.replace(user.encode(), user_of(user, number).encode())
        return content

    receiver = Receiver(DirectoryStore(lake), SECRET)
    for second, body in enumerate(sorted(case.glob("push-*.json"), key=lambda file: int(file.stem.split("-")[1]))):
        path = f"/garmin/{SECRET}"
        event = {"rawPath": path, "requestContext": {"http": {"method": "POST", "path": path}}}
        content = renamed(body.read_bytes()).decode()
        answer = receiver.handle({**event, "body": content}, FIRST_PUSH + timedelta(seconds=second))
        assert answer["statusCode"] == 200
    for file in case.glob("date=*/*.jsonl"):
        target = lake / "raw" / "daily" / file.parent.name / f"{number:02d}-{file.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(renamed(file.read_bytes()))


def same(one: Any, other: Any) -> bool:
    """Numbers to 1e-6, whatever their type; all else as it is."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
    return bool(one == other)
