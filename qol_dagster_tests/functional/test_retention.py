"""Retention: what is older than it is kept goes, and what somebody needs stays."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from qol_dagster.cli.app import run
from qol_dagster.defs.code_location import build_defs
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.lake.freeze import create_freeze, read_freeze, verify_freeze
from qol_dagster.lake.lake import Lake
from qol_dagster.maintenance.backup import create_backup, list_backups, verify_backup
from qol_dagster.maintenance.contents import Home
from qol_dagster.maintenance.retention import plan_retention, run_retention
from qol_dagster.maintenance.stores import FolderStore
from qol_dagster.settings import Settings, load_settings
from qol_dagster_tests.support.killed_commands import killed_command
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.tables import rows

TODAY = date(2026, 11, 29)


def put(settings: Settings, name: str, age_days: int = 0) -> Path:
    """Write a file of two bytes that was last written so many days before noon (in Japan) of TODAY."""
    path = settings.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}")
    at = (datetime(2026, 11, 29, 3, tzinfo=UTC) - timedelta(days=age_days)).timestamp()
    os.utime(path, (at, at))
    return path


def day(age: int) -> str:
    return f"date={TODAY - timedelta(days=age)}"


def test_of_each_kind_what_is_older_than_it_is_kept_goes_and_nothing_else(settings: Settings) -> None:
    old = [
        put(settings, f"lake/raw/quarantine/{day(181)}/a.body"),
        put(settings, f"lake/raw/pings/{day(31)}/a.jsonl"),
        put(settings, "dead_letters/a", 15),
        put(settings, "arrivals/dead/a", 15),
        put(settings, "dagster/storage/run/compute_logs/a.err", 181),
        put(settings, "alerts/a", 181),
    ]
    kept = [
        put(settings, f"lake/raw/quarantine/{day(180)}/a.body", 400),
        put(settings, f"lake/raw/pings/{day(30)}/a.jsonl"),
        put(settings, "dead_letters/b", 14),
        put(settings, "arrivals/a", 400),
        put(settings, "alerts/b", 180),
        put(settings, f"lake/raw/daily/{day(4000)}/a.jsonl", 4000),
        put(settings, f"lake/raw/lifecycle/{day(4000)}/a.jsonl", 4000),
        put(settings, f"lake/reports/week={TODAY - timedelta(days=4000)}/report.ja.html", 4000),
        put(settings, "erasures.jsonl", 4000),
    ]
    plans = {plan.kind: plan for plan in plan_retention(settings, TODAY)}
    found = {file.path for plan in plans.values() for file in plan.files}
    assert found == set(old)
    dead = plans["dead_letters"]
    assert (len(dead.files), dead.bytes, dead.kept) == (2, 4, 14)
    assert dead.dates == (TODAY - timedelta(days=15),) * 2
    assert all(path.exists() for path in (*old, *kept)), "a plan changes nothing"
    run_retention(settings, TODAY)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in kept)
    assert not old[0].parent.exists()


def test_killed_between_two_files_it_goes_on_and_what_is_kept_stays(settings: Settings) -> None:
    old = [put(settings, f"lake/raw/pings/{day(age)}/a.jsonl") for age in (31, 32, 33)]
    kept = [put(settings, f"lake/raw/pings/{day(30)}/a.jsonl"), put(settings, f"lake/raw/daily/{day(40)}/a.jsonl")]
    with killed_command("retention", "run") as kill_after:
        assert kill_after("qol_dagster.maintenance.retention._remove", 1) == -9
        assert sum(one.exists() for one in old) == 2
    run_retention(settings, TODAY)
    assert [one.exists() for one in (*old, *kept)] == [False] * 3 + [True] * 2


def test_raw_dates_from_which_days_are_computed_stay_whatever_is_set(settings: Settings) -> None:
    one = Settings(home=settings.home, start_date=TODAY - timedelta(days=500), retention=(("raw", 400),))
    gone = put(one, f"lake/raw/daily/{day(501)}/a.jsonl"), put(one, f"lake/records/{day(501)}/manifest.json")
    computed, young = (put(one, f"lake/raw/daily/{day(age)}/a.jsonl") for age in (500, 399))
    run_retention(one, TODAY)
    assert [path.exists() for path in (*gone, computed, young)] == [False, False, True, True]


def test_replaced_rows_go_when_that_is_set_but_for_those_of_freezes_and_the_log(settings: Settings) -> None:
    lake = Lake.local(settings.lake_dir)
    for steps in (1, 2, 3):
        lake.write_table("weekly", MONDAY, rows("weekly", {"participant_id": "P1", "steps_mean": float(steps)}), {})
        if steps == 2:
            create_freeze(lake, "paper-1")
    history = settings.lake_dir / "history"
    objects, logged = ({*history.rglob(f"*.{ending}")} for ending in ("parquet", "json"))
    assert (len(objects), len(logged)) == (2, 3)
    for path in (*objects, *logged):
        os.utime(path, (0, 0))
    run_retention(settings, TODAY)
    assert {*history.rglob("*.parquet")} == objects, "for ever unless set"
    run_retention(Settings(home=settings.home, retention=(("history", 30),)), TODAY)
    assert verify_freeze(lake, read_freeze(lake, "paper-1")) == []
    assert len({*history.rglob("*.parquet")}) == 1
    assert {*history.rglob("*.json")} == logged


def test_backups_beyond_the_newest_go_with_the_archives_that_no_other_needs(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    one = Settings(home=settings.home, backup_dir=folder, retention=(("backups", 1),))
    for number in range(2):
        put(one, f"lake/raw/daily/date=2026-10-1{number}/a.jsonl")
        put(one, "dead_letters/a", number)
        create_backup(Home(one.home), FolderStore(folder))
    archives = {path.name for path in folder.glob("*.zip")}
    assert len(archives) == 4
    (plan,) = [plan for plan in plan_retention(one, datetime.now(UTC).date()) if plan.kind == "backups"]
    assert sorted(path.path.suffix for path in plan.files) == [".json", ".verified", ".zip", ".zip"]
    run_retention(one, datetime.now(UTC).date())
    (left,) = list_backups(FolderStore(folder))
    assert verify_backup(FolderStore(folder), left) == []
    assert {path.name for path in folder.glob("*.zip")} == {archive.file for archive in left.archives}
    assert len(list(folder.glob("*.verified"))) == 1


DAYS = dg.DailyPartitionsDefinition("2026-01-01")


@dg.asset(partitions_def=DAYS)
def partitioned() -> None:
    """An asset of which two dates are made."""


@pytest.mark.slow
def test_old_runs_of_dagster_go_but_for_those_under_way_and_the_latest_of_a_partition(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with dagster_instance(settings) as instance:
        made = [
            dg.materialize([partitioned], partition_key=key, instance=instance).run_id
            for key in ("2026-01-01", "2026-01-01", "2026-01-02")
        ]
        under_way = instance.create_run_for_job(build_defs(settings).resolve_job_def("retention_job")).run_id
    database = settings.dagster_home / "history/runs.db"
    with closing(sqlite3.connect(database)) as runs:
        runs.execute("UPDATE runs SET update_timestamp = datetime('now', '-181 days')")
        runs.execute("UPDATE runs SET status = 'STARTED' WHERE run_id = ?", (under_way,))
        runs.commit()
    assert run(["retention", "plan", "--format", "json"]) == 0
    (row,) = [one for one in json.loads(capsys.readouterr().out) if one["kind"] == "dagster_runs"]
    assert (row["kept"], row["goes"]) == ("180 days", 1)
    with dagster_instance(settings) as instance:
        result = build_defs(settings).resolve_job_def("retention_job").execute_in_process(instance=instance)
        (event,) = [one for one in result.all_events if one.event_type_value == "STEP_OUTPUT"]
        assert event.step_output_data.metadata["dagster_runs"].value == 1
        left = {one.run_id for one in instance.get_runs()}
        assert left == {*made[1:], under_way, result.run_id}
        assert instance.get_materialized_partitions(dg.AssetKey("partitioned")) == {"2026-01-01", "2026-01-02"}
    assert not list(settings.dagster_home.glob(f"history/runs/{made[0]}*"))


def test_the_command_shows_what_went(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QOL_RETENTION", "quarantine=7, history=730")
    path = put(settings, "lake/raw/quarantine/date=2026-11-01/a.body")
    for command in ("plan", "run", "plan"):
        goes = 1 if path.exists() else 0
        assert run(["retention", command, "--format", "json"]) == 0
        found = {row["kind"]: row for row in json.loads(capsys.readouterr().out)}
        assert (found["quarantine"]["kept"], found["quarantine"]["goes"]) == ("7 days", goes)
        assert found["quarantine"]["oldest"] == ("2026-11-01" if goes else None)
    assert not path.exists()
    assert (found["history"]["kept"], found["raw"]["kept"]) == ("730 days", "forever")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("quarantin=3", "names 'quarantin', which is none of raw, quarantine,"),
        ("pings=0", "must have a number of days, or forever, for pings"),
        ("pings", "must have a number of days, or forever, for pings"),
    ],
)
def test_a_retention_that_is_none_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"QOL_RETENTION {problem}"):
        load_settings({"QOL_RETENTION": text})
