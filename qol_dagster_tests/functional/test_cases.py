"""Cases from the world, each with the right value and why it is right: pushes or raw files in, tables out.

A case is a folder of `qol_dagster_tests/cases`: `people.csv`, `push-1.json, ...` (in the order of their receipt) or
`date=D/*.jsonl`, and `case.json` with the weeks, the environment, and what queries have to answer.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.engines import Engine, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.catalogue.duckdb import query
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver

CASES = sorted(file.parent for file in (Path(__file__).parents[1] / "cases").glob("*/case.json"))
SECRET = "synthetic-secret-0123456789"
FIRST_PUSH = datetime(2026, 11, 20, 3, tzinfo=UTC)


@pytest.fixture(params=CASES, ids=lambda folder: folder.name)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A case's folder, while its environment is set."""
    folder: Path = request.param
    for name, value in description(folder).get("env", {}).items():
        monkeypatch.setenv(name, value)
    time.tzset()
    yield folder
    monkeypatch.undo()
    time.tzset()


def description(case: Path) -> dict[str, Any]:
    return dict(json.loads((case / "case.json").read_text()))


def test_the_tables_have_the_right_values(case: Path, engine: Engine, tmp_path: Path) -> None:
    fill(case, tmp_path)
    with (case / "people.csv").open() as people:
        identities = Identities({row["garmin_user_id"]: row["participant_id"] for row in csv.DictReader(people)})
    weeks = [date.fromisoformat(week) for week in description(case)["weeks"]]
    run_etl(engine, Lake.local(tmp_path), weeks, identities)
    for expected in description(case)["expect"]:
        answer = query(tmp_path, expected["sql"])
        rows = json.loads(json.dumps([dict(zip(answer.columns, row, strict=True)) for row in answer.rows], default=str))
        assert same(rows, expected["rows"]), f"{description(case)['why']} {rows}"


def test_an_engine_that_starts_in_los_angeles_reads_times_without_a_zone_as_utc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    try:
        case = next(case for case in CASES if case.name == "receipt-without-zone-los-angeles")
        with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path / "tmp") as engine:
            test_the_tables_have_the_right_values(case, engine, tmp_path)
    finally:
        monkeypatch.undo()
        time.tzset()


def fill(case: Path, lake: Path) -> None:
    """Push bodies, each a second after the one before, and put raw files into the lake."""
    receiver = Receiver(DirectoryStore(lake), SECRET)
    for number, body in enumerate(sorted(case.glob("push-*.json"), key=lambda file: int(file.stem.split("-")[1]))):
        path = f"/garmin/{SECRET}"
        event = {"rawPath": path, "requestContext": {"http": {"method": "POST", "path": path}}}
        answer = receiver.handle({**event, "body": body.read_text()}, FIRST_PUSH + timedelta(seconds=number))
        assert answer["statusCode"] == 200
    for day in case.glob("date=*"):
        shutil.copytree(day, lake / "raw" / "daily" / day.name, dirs_exist_ok=True)


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
