"""A release that computes otherwise: what it computes again is said before, and done a week at a time, newest first."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.cli import runs
from qol_dagster.cli.app import run
from qol_dagster.defs.run_times import RunTimes, measured_times
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import METRICS_VERSION
from qol_dagster.metrics.profiles import DEFAULT
from qol_dagster.metrics.types import TableName
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
WEEKS = [MONDAY - timedelta(weeks=back) for back in range(3)]
"""The newest first."""
OLDER = "1.0.0"


@pytest.fixture
def older(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Three weeks as a release with other metrics, other code and another reading of lines has made them."""
    monkeypatch.setenv("QOL_START_DATE", str(WEEKS[-1]))
    IdMap(settings.id_map_path).add(USER, "P1")
    for week in WEEKS:
        for day in dates_of(week):
            write_raw(
                settings.lake_dir, day, [record("dailies", USER, day, timeOffsetHeartRateSamples=worn(24, 60, 0))]
            )
    with monkeypatch.context() as release:
        release.setattr("qol_dagster.pipeline.inputs.METRICS_VERSION", OLDER)
        release.setattr("qol_dagster.pipeline.etl.daily_fingerprint", lambda *_: "older")
        release.setattr("qol_dagster.pipeline.etl.records_fingerprint", lambda *_: "older")
        assert run(["materialize", "--week", str(WEEKS[-1]), "--until", str(WEEKS[0])]) == 0
    return settings


def planned(capsys: pytest.CaptureFixture[str]) -> tuple[list[list[str]], str]:
    """The rows of the plan, and what is said of it."""
    capsys.readouterr()
    assert run(["upgrade", "--plan", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    return list(csv.reader(io.StringIO(shown.out)))[1:], shown.err.strip()


def versions(settings: Settings, week: date) -> set[Any]:
    """The metrics that made the tables of a week."""
    lake = Lake.local(settings.lake_dir)
    parts: list[tuple[TableName, date]] = [
        ("weekly", week),
        ("status", week),
        *(("daily", day) for day in dates_of(week)),
    ]
    return {(lake.partition_metadata(table, day) or {}).get("metrics_version") for table, day in parts}


def files(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file() and file.name[0] != "."}


@pytest.mark.slow
def test_an_upgrade_is_planned_without_a_change_done_newest_first_and_goes_on_where_it_was_stopped(
    older: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, runs_before = files(older.lake_dir), sorted((older.dagster_home / "history" / "runs").glob("*-*.db"))
    rows, said = planned(capsys)
    raw_mb = round(sum(file.stat().st_size for file in older.lake_dir.glob(f"raw/daily/date={MONDAY}/*")) * 7 / 1e6, 1)
    assert rows == [[str(week), OLDER, "7", "again", "again", str(raw_mb)] for week in WEEKS]
    assert said.startswith(f"weeks: 3, days: 21, to metrics {METRICS_VERSION}; raw bytes parsed again: ")
    assert "time: about" in said
    assert files(older.lake_dir) == before
    assert sorted((older.dagster_home / "history" / "runs").glob("*-*.db")) == runs_before

    with monkeypatch.context() as patched:
        materialize, calls = runs.materialize_weeks, []

        def stopped_in_the_second_week(*arguments: Any, **options: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return materialize(*arguments, **options)

        patched.setattr(runs, "materialize_weeks", stopped_in_the_second_week)
        assert run(["upgrade", "--run"]) == 130
    assert f"1 of 3  {MONDAY}  days computed: 21" in capsys.readouterr().out
    assert versions(older, MONDAY) == {METRICS_VERSION}
    rows, said = planned(capsys)
    assert rows == [[str(week), OLDER, "0", "again", "again", "0.0"] for week in WEEKS[1:]], "its 28 days are new"
    assert "no raw file is parsed again" in said

    assert run(["upgrade", "--run"]) == 0
    done = capsys.readouterr().out.splitlines()
    assert [line.split("  days")[0] for line in done] == [f"1 of 2  {WEEKS[1]}", f"2 of 2  {WEEKS[2]}"]
    assert [versions(older, week) for week in WEEKS] == [{METRICS_VERSION}] * 3
    assert planned(capsys) == ([], f"nothing: all weeks are as metrics {METRICS_VERSION} of this release makes them")


def test_how_long_it_takes_is_unknown_where_nothing_ran(settings: Settings) -> None:
    assert measured_times(settings, DEFAULT) is None
    assert RunTimes(run_s=5, day_s=0.5).of(3, 21) == 25.5


@pytest.mark.parametrize("options", [[], ["--plan", "--run"]])
def test_whether_to_plan_or_to_run_has_to_be_said(settings: Settings, options: list[str]) -> None:
    assert run(["upgrade", *options]) == 2
