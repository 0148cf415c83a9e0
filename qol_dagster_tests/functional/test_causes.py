"""Why rows were replaced, as the log of revisions says it after real runs of the weekly job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.engines import Engine, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.history import revisions_of
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.thresholds import Thresholds
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline import inputs
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.pipeline.status import materialize_status
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw

ADA, BEN = "a1b2c3d4e5f60718293a4b5c6d7e8f90", "ffeeddccbbaa99887766554433221100"
ONE, BOTH = Identities({ADA: "P1"}), Identities({ADA: "P1", BEN: "P2"})


@pytest.fixture
def duckdb(tmp_path: Path) -> Iterator[Engine]:
    with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path / "engine") as engine:
        yield engine


def fill(lake: Path) -> Lake:
    """Twelve hours of wear on each day of two people."""
    for day in dates_of(MONDAY):
        beats = [record("dailies", user, day, steps=4000, timeOffsetHeartRateSamples=worn(12)) for user in (ADA, BEN)]
        write_raw(lake, day, beats)
    return Lake.local(lake).of_run("run-1")


def log(lake: Lake, table: TableName, day: date = MONDAY) -> list[str]:
    return [one.cause for one in revisions_of(lake, table) if one.date == day]


def files(lake: Lake) -> dict[str, int]:
    assert lake.folder
    return {
        str(file): file.stat().st_mtime_ns for file in lake.folder.rglob("*") if file.suffix in (".parquet", ".json")
    }


@pytest.mark.slow
def test_each_change_is_logged_with_its_cause_and_a_run_without_one_writes_nothing(
    duckdb: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, tuesday = fill(tmp_path), MONDAY + timedelta(days=1)

    def run(people: Identities, **options: Any) -> None:
        run_etl(duckdb, lake, [MONDAY], people, since=MONDAY, **options)

    run(ONE)
    assert (log(lake, "daily"), log(lake, "weekly"), log(lake, "status")) == (["first"], ["first"], ["first"])
    before = files(lake)
    run(ONE)
    assert files(lake) == before
    run(ONE, force=True)
    changed = {name for name, stamp in files(lake).items() if before.get(name) != stamp}
    assert {Path(name).parts[len(tmp_path.parts)] for name in changed} == {"records"}
    late = record("dailies", ADA, tuesday, _received_at="2026-11-20T00:00:00Z", steps=9000)
    write_raw(tmp_path, tuesday, [late], "late")
    run(ONE)
    assert (log(lake, "daily"), log(lake, "daily", tuesday)) == (["first"], ["first", "late_files"])
    assert log(lake, "weekly") == ["first", "late_files"]
    run(BOTH)
    assert log(lake, "daily") == ["first", "enrolment"]
    assert log(lake, "weekly")[2:] == log(lake, "status")[-1:] == ["enrolment"]
    run(BOTH, thresholds=Thresholds(valid_day_wear_min=780))
    assert log(lake, "daily")[2:] == log(lake, "weekly")[3:] == log(lake, "status")[-1:] == ["thresholds"]
    run(BOTH, thresholds=Thresholds(valid_day_wear_min=780))
    run(Identities({ADA: "P1"}, frozenset({BEN})), thresholds=Thresholds(valid_day_wear_min=780))
    assert log(lake, "daily")[3:] == log(lake, "weekly")[4:] == log(lake, "status")[-1:] == ["revocation"]
    weekly = revisions_of(lake, "weekly")
    assert [(one.added, one.removed) for one in weekly] == [(1, 0), (0, 0), (1, 0), (0, 0), (0, 1)]
    assert {one.run_id for one in weekly} == {"run-1"}
    assert {one.engine for one in weekly} == {"duckdb"}
    assert [(one.thresholds or {})["valid_day_wear_min"] for one in weekly] == [600, 600, 600, 780, 780]
    assert "n_valid_days" in weekly[3].columns
    assert "steps_sum" in weekly[1].columns


def test_another_release_is_named_as_code(duckdb: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = fill(tmp_path)
    run_etl(duckdb, lake, [MONDAY], ONE, since=MONDAY)
    rows = lake.read_table("weekly", MONDAY)
    assert rows is not None
    notes = lake.partition_metadata("weekly", MONDAY) or {}
    older = {**notes, "metrics_version": "1.0.0", "inputs": {**notes["inputs"], "code": "other"}}
    less = rows.set_column(rows.column_names.index("n_days"), "n_days", [[1]])
    lake.revise("weekly", MONDAY, less, older)
    run_etl(duckdb, lake, [MONDAY], ONE, since=MONDAY)
    found = revisions_of(lake, "weekly")
    assert [(one.cause, one.metrics_version) for one in found][1:] == [
        ("code", "1.0.0"),
        ("code", inputs.METRICS_VERSION),
    ]


def test_a_status_that_only_time_changes_is_named_so(duckdb: Engine, tmp_path: Path) -> None:
    lake = fill(tmp_path)
    monday, tuesday = (datetime(2026, 11, day, 1, tzinfo=UTC) for day in (23, 24))
    run_etl(duckdb, lake, [MONDAY], ONE, since=MONDAY)
    for now in (monday, tuesday, tuesday):
        materialize_status(duckdb, lake, [MONDAY], ONE, computed_at=now)
    assert log(lake, "status") == ["first", "time", "time"]
    assert revisions_of(lake, "status")[-1].columns == ("days_since_last_sync",)
