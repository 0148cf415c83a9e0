"""The weekly job as Dagster runs it: what it computes, reuses, replaces and tells."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
import yaml
from sqlalchemy import create_engine

from qol_dagster.cli.app import run as cli
from qol_dagster.cli.runs import WeekError, materialize_weeks
from qol_dagster.definitions import build_defs
from qol_dagster.defs.instance import HistoryError, dagster_instance, new_run
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import WEEKLY
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.platform import Computer
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, differences, record, worn, write_raw
from qol_dagster_tests.support.paper_week import EXPECTED, write_paper_week

USERS = {"a1b2c3d4e5f60718293a4b5c6d7e8f90": "P1", "ffeeddccbbaa99887766554433221100": "P2"}
LAST_WEEK = MONDAY - timedelta(weeks=1)
NIGHTLESS = {"status/valid": 2, "worn_without_a_night": 2}
"""What a run says of people whom `fill` lets wear the device by day alone."""


def fill(settings: Settings, weeks: int = 1, users: dict[str, str] = USERS) -> None:
    """Worn days for everybody over the weeks that end with that of MONDAY; steps are 1000 + the day's number."""
    for week in range(weeks):
        for day in dates_of(MONDAY - timedelta(weeks=week)):
            lines = [
                record("dailies", user, day, steps=1000 + day.toordinal() % 100, timeOffsetHeartRateSamples=worn(12))
                for user in users
            ]
            write_raw(settings.lake_dir, day, lines)
    IdMap(settings.id_map_path).import_rows(users.items())


def table(settings: Settings, sql: str = "SELECT * FROM db_qol.weekly_metrics ORDER BY date, participant_id") -> Any:
    found = query(settings.lake_dir, sql)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def run(settings: Settings, *weeks: date, **options: Any) -> Any:
    done = materialize_weeks(settings, weeks or [MONDAY], **options)
    assert done.success, done.message
    return done


@pytest.mark.slow
def test_the_job_puts_a_week_worked_out_on_paper_into_the_table(settings: Settings) -> None:
    people, monday = write_paper_week(settings.lake_dir)
    IdMap(settings.id_map_path).import_rows(people.items())
    done = run(settings, monday)
    assert done.weekly_rows == {monday: 1}
    assert differences(table(settings), [EXPECTED]) == []


@pytest.mark.slow
def test_the_standard_query_works_word_for_word_and_shows_the_dictionary_s_columns(settings: Settings) -> None:
    fill(settings)
    run(settings)
    found = query(settings.lake_dir, "SELECT * FROM db_qol.weekly_metrics ORDER BY date DESC LIMIT 10;")
    assert found.columns == [metric.name for metric in WEEKLY]
    assert [row[:2] for row in found.rows] == [("P1", "2026-11-16"), ("P2", "2026-11-16")]


@pytest.mark.slow
def test_a_second_run_reads_no_raw_byte_and_changes_no_number(settings: Settings) -> None:
    fill(settings)
    first = run(settings)
    before = table(settings)
    second = run(settings)
    assert (first.days_recomputed, second.days_recomputed, second.days_reused) == (7, 0, 7)
    assert daily_metadata(settings)["run/parsed_mb"] == 0
    assert differences(table(settings), before) == []


@pytest.mark.slow
def test_one_late_file_makes_its_day_and_the_week_anew_and_nothing_else_is_parsed(settings: Settings) -> None:
    fill(settings)
    run(settings)
    late = dates_of(MONDAY)[3]
    file = write_raw(settings.lake_dir, late, [record("hrv", next(iter(USERS)), late, lastNightAvg=44)], name="late")
    done = run(settings)
    assert (done.days_recomputed, done.days_reused) == (1, 6)
    assert daily_metadata(settings)["run/parsed_mb"] == float(f"{file.stat().st_size / 1e6:.3g}")
    assert [row["hrv_rmssd_mean"] for row in table(settings)] == [44, None]


@pytest.mark.slow
def test_several_weeks_are_one_run_and_every_partition_says_what_it_holds(settings: Settings) -> None:
    fill(settings, weeks=3)
    first = MONDAY - timedelta(weeks=2)
    done = run(settings, first, MONDAY)
    assert list(done.weekly_rows.items()) == [(first, 2), (LAST_WEEK, 2), (MONDAY, 2)]
    with dagster_instance(settings) as instance:
        assert len(instance.get_runs()) == 1
        for asset in ("daily_metrics", "weekly_metrics", "weekly_metrics_table"):
            made = instance.get_materialized_partitions(dg.AssetKey(asset))
            assert made == {week.isoformat() for week in done.weekly_rows}
        told = {
            one.asset_materialization.partition: one.asset_materialization.metadata
            for one in instance.fetch_materializations(dg.AssetKey("weekly_metrics"), limit=10).records
        }
        status = instance.get_latest_materialization_event(dg.AssetKey("participant_status"))
    assert {week: metadata["dagster/partition_row_count"].value for week, metadata in told.items()} == dict.fromkeys(
        told, 2
    )
    assert status
    assert status.asset_materialization
    of_people = {name: status.asset_materialization.metadata[name].value for name in ("participants", *NIGHTLESS)}
    assert of_people == {"participants": 2, **NIGHTLESS}


@pytest.mark.slow
def test_the_metadata_of_a_week_is_of_that_week_alone_and_says_what_is_of_the_run(settings: Settings) -> None:
    fill(settings, weeks=2)
    late = "0badc0de" * 4
    write_raw(settings.lake_dir, MONDAY, [record("dailies", late, MONDAY, steps=1234)] * 2, name="third")
    IdMap(settings.id_map_path).add(late, "P3")
    run(settings, LAST_WEEK, MONDAY)
    with dagster_instance(settings) as instance:
        shown = {
            (asset, one.asset_materialization.partition): {
                name: value.value for name, value in one.asset_materialization.metadata.items()
            }
            for asset in ("daily_metrics", "weekly_metrics", "participant_status")
            for one in instance.fetch_materializations(dg.AssetKey(asset), limit=10).records
            if one.asset_materialization
        }
    rows = {key: metadata["dagster/partition_row_count"] for key, metadata in shown.items()}
    assert rows == {
        ("daily_metrics", str(LAST_WEEK)): 14, ("daily_metrics", str(MONDAY)): 15,
        ("weekly_metrics", str(LAST_WEEK)): 2, ("weekly_metrics", str(MONDAY)): 3,
        ("participant_status", str(LAST_WEEK)): 3, ("participant_status", str(MONDAY)): 3,
    }  # fmt: skip
    lines = {week: metadata["lines"] for (asset, week), metadata in shown.items() if asset == "daily_metrics"}
    assert lines == {str(LAST_WEEK): 14, str(MONDAY): 16}
    for (asset, week), metadata in shown.items():
        others = {str(day) for other in (LAST_WEEK, MONDAY) if str(other) != week for day in dates_of(other)}
        assert not [day for day in others if day in metadata["preview"]], asset
        assert week in metadata["preview"]
        assert "dagster/row_count" not in metadata
    assert {metadata["run/days_recomputed"] for (asset, _), metadata in shown.items() if asset == "daily_metrics"} == {
        14
    }
    assert "| 1,036 |" in shown["daily_metrics", str(MONDAY)]["preview"]


@pytest.mark.slow
def test_a_run_reports_what_it_read_of_raw_days_and_of_the_id_map_as_counts(settings: Settings) -> None:
    fill(settings)
    people = IdMap(settings.id_map_path)
    people.add("0badc0de" * 4, "P3")
    people.revoke("P3")
    stranger = record("hrv", "5eed" * 8, MONDAY, lastNightAvg=44, _received_at="2026-11-17T03:04:05.000Z")
    write_raw(settings.lake_dir, MONDAY, [stranger], name="stranger")
    run(settings)
    with dagster_instance(settings) as instance:
        raw = {
            one.asset_observation.partition: one.asset_observation.metadata
            for one in instance.fetch_observations(dg.AssetKey("garmin_raw_daily"), limit=50).records
            if one.asset_observation
        }
        (seen,) = instance.fetch_observations(dg.AssetKey("user_id_map"), limit=50).records
    assert set(raw) == {str(day) for day in dates_of(MONDAY)}
    monday = {name: value.value for name, value in raw[str(MONDAY)].items()}
    assert (monday["lines"], monday["users"], monday["users_not_enrolled"], monday["types"]) == (3, 3, 1, 2)
    assert monday["files"] == 2
    assert datetime.fromtimestamp(monday["last_received_at"], UTC) >= datetime(2026, 11, 17, 3, 4, 5, tzinfo=UTC)
    assert seen.asset_observation
    states = {"active": 2, "revoked": 1, "pending": 0, "deregistered": 0, "withdrawn": 0, "erasing": 0}
    assert {name: value.value for name, value in seen.asset_observation.metadata.items()} == {
        "participants": 2,
        **{f"accounts/{state}": number for state, number in states.items()},
    }


@pytest.mark.slow
def test_a_run_of_the_command_is_found_where_dagster_s_pages_look_for_runs_of_the_job(settings: Settings) -> None:
    fill(settings)
    done = run(settings)
    location = yaml.safe_load((Path(__file__).parents[2] / "workspace.yaml").read_text())["load_from"][0]
    label = f"__repository__@{location['python_module']['location_name']}"
    with dagster_instance(settings) as instance:
        wanted = dg.RunsFilter(job_name="weekly_metrics_job", tags={".dagster/repository": label})
        (found,) = instance.get_runs(wanted)
    assert (found.run_id, found.status) == (done.run_id, dg.DagsterRunStatus.SUCCESS)
    origin = found.remote_job_origin  # by which the timeline has it
    assert origin
    assert origin.repository_origin.get_label() == label


@pytest.mark.slow
def test_each_table_of_a_run_has_one_line_of_information_in_its_log(settings: Settings) -> None:
    fill(settings)
    done = run(settings)
    with dagster_instance(settings) as instance:
        lines = [
            one.user_message
            for one in instance.all_logs(done.run_id)
            if one.level == logging.INFO and not one.is_dagster_event
        ]
    assert [line.partition(",")[0] for line in lines] == [
        "daily_metrics", "weekly_metrics", "participant_status", "db_qol.weekly_metrics", "weekly_report: 1 written"
    ]  # fmt: skip
    assert lines[0].startswith("daily_metrics, week 2026-11-16: 14 rows; days recomputed 7; days reused 0; parsed mb ")


def test_a_step_that_fails_says_what_happened_and_what_to_do_and_shows_no_stack(settings: Settings) -> None:
    fill(settings)
    (settings.lake_dir / "processed").write_text("a file where a folder belongs")
    done = materialized(settings, "daily_metrics")
    (failed,) = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    assert failed.user_failure_data
    assert "is a file where a folder belongs" in failed.user_failure_data.description
    assert failed.error
    assert failed.error.cause is None
    assert "qol_dagster/lake" not in "".join(failed.error.stack)


@pytest.mark.slow
def test_a_week_before_the_first_data_can_be_computed_and_is_empty(settings: Settings) -> None:
    fill(settings)
    assert run(settings, LAST_WEEK).weekly_rows == {LAST_WEEK: 0}


def materialized(settings: Settings, *assets: str) -> dg.ExecuteInProcessResult:
    """What Dagster's UI does for some assets of the week of MONDAY."""
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    with dagster_instance(settings) as instance:
        return job.execute_in_process(
            instance=instance,
            partition_key=MONDAY.isoformat(),
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            raise_on_error=False,
        )


@pytest.mark.slow
def test_one_of_the_tables_can_be_made_alone(settings: Settings) -> None:
    fill(settings)
    run(settings)
    before = stamps(settings)
    for table in ("weekly", "status"):
        (settings.lake_dir / "processed" / table / f"date={MONDAY}" / "part-0.parquet").unlink()
    done = materialized(settings, "weekly_metrics")
    assert done.success
    (made,) = done.asset_materializations_for_node("weekly_etl")
    assert made.asset_key.path == ["weekly_metrics"]
    assert (made.metadata["revisions"].value, made.metadata["revision_causes"].value) == (1, "first")
    now = stamps(settings)
    assert {Path(path).parts[-3] for path, mark in before.items() if now.get(path) != mark} == {"weekly", "status"}
    assert {Path(path).parts[-3] for path in now} == {"daily", "weekly"}


def test_nothing_is_made_from_rows_that_fail_a_check(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(settings)
    monkeypatch.setattr("qol_dagster.pipeline.checks._double_keys", lambda *_: "P1 stands there twice")
    done = materialized(settings, "daily_metrics", "weekly_metrics", "weekly_metrics_table")
    assert not done.success
    made = [one.asset_key.path[0] for one in done.asset_materializations_for_node("weekly_etl")]
    assert made == ["garmin_records", "daily_metrics"]
    assert not list(settings.lake_dir.glob("processed/weekly/*"))
    assert not [event.step_key for event in done.all_events if event.is_step_success]


@pytest.mark.slow
def test_with_force_every_day_is_computed_anew(settings: Settings) -> None:
    fill(settings)
    run(settings)
    assert run(settings, force=True).days_recomputed == 7


@pytest.mark.slow
def test_the_strict_profile_writes_beside_and_never_over(settings: Settings) -> None:
    fill(settings)
    run(settings)
    before = {path: path.read_bytes() for path in (settings.lake_dir / "processed").rglob("*.parquet")}
    done = run(settings, profile=PROFILES["strict"])
    assert done.weekly_rows == {MONDAY: 2}
    assert {path: path.read_bytes() for path in (settings.lake_dir / "processed").rglob("*.parquet")} == before
    usual = table(settings)
    strict = table(settings, "SELECT * FROM db_qol.weekly_metrics_strict ORDER BY date, participant_id")
    # Everybody wears the device for 12 h: enough for the convention, too little for 13 h.
    assert [row["n_valid_days"] for row in usual] == [row["n_days"] for row in usual]
    assert [row["n_valid_days"] for row in strict] == [0, 0]
    assert [row["wear_min_mean"] for row in strict] == [row["wear_min_mean"] for row in usual]


@pytest.mark.slow
def test_enrolling_a_user_later_repairs_the_past(settings: Settings) -> None:
    fill(settings, users=dict([next(iter(USERS.items()))]))
    late = list(USERS)[1]
    write_raw(settings.lake_dir, MONDAY, [record("dailies", late, MONDAY, steps=7)], name="other")
    run(settings)
    assert [row["participant_id"] for row in table(settings)] == ["P1"]
    assert daily_metadata(settings)["unmapped_records"] == 1
    IdMap(settings.id_map_path).add(late, "P2")
    run(settings)
    assert [row["participant_id"] for row in table(settings)] == ["P1", "P2"]


@pytest.mark.slow
def test_a_revoked_participant_leaves_the_tables_at_the_next_run_and_stays_raw(settings: Settings) -> None:
    fill(settings)
    run(settings)
    raw = {path: path.read_bytes() for path in settings.lake_dir.glob("raw/**/*.jsonl")}
    IdMap(settings.id_map_path).revoke("P2")
    run(settings)
    assert [row["participant_id"] for row in table(settings)] == ["P1"]
    assert {row["participant_id"] for row in table(settings, "SELECT * FROM db_qol.daily_metrics")} == {"P1"}
    assert {path: path.read_bytes() for path in raw} == raw


@pytest.mark.slow
def test_who_deregisters_at_garmin_leaves_the_tables_at_the_next_run(settings: Settings) -> None:
    fill(settings)
    run(settings)
    leaver, stays = USERS
    folder = settings.lake_dir / "raw" / "lifecycle" / "date=2099-01-01"
    folder.mkdir(parents=True)
    event = {"_summary_type": "deregistrations", "_received_at": "2099-01-01T00:00:00Z", "userId": leaver}
    (folder / "a.jsonl").write_text(json.dumps(event) + "\n")
    assert run(settings).weekly_rows == {MONDAY: 1}
    assert [row["participant_id"] for row in table(settings)] == [USERS[stays]]
    assert [one.what for one in IdMap(settings.id_map_path).history(USERS[leaver])] == ["active", "deregistered"]
    assert run(settings).days_recomputed == 0


def test_dagster_s_databases_are_written_out_once_at_the_end_of_a_command(settings: Settings) -> None:
    logs = [settings.dagster_home / "history" / name for name in ("runs.db-wal", "runs/index.db-wal")]
    with dagster_instance(settings) as instance:
        instance.add_dynamic_partitions("weeks", ["2026-11-16"])
        assert instance.get_runs_count() == 0
        assert all(log.exists() for log in logs)
    assert not any(log.exists() for log in logs)


@pytest.mark.slow
def test_the_database_of_a_run_is_too_and_the_disk_is_waited_for_only_then(settings: Settings) -> None:
    def how_durable() -> int:
        with create_engine(f"sqlite:///{settings.home}/any.db").connect() as connection:
            return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    fill(settings)
    full, normal = 2, 1
    with dagster_instance(settings) as instance, new_run(instance, settings) as run_id:
        log = settings.dagster_home / f"history/runs/{run_id}.db-wal"
        instance.all_logs(run_id)
        assert log.exists()
        assert how_durable() == normal
    assert not log.exists()
    assert how_durable() == full
    done = run(settings)
    assert list(settings.dagster_home.glob("history/**/*-wal")) == []
    with dagster_instance(settings) as instance:
        assert len(instance.all_logs(done.run_id)) > 50


@pytest.mark.slow
def test_what_a_command_prints_is_captured_only_where_dagster_s_configuration_says_so(settings: Settings) -> None:
    fill(settings)
    captured = settings.dagster_home / "captured"
    run(settings)
    assert list((settings.dagster_home / "storage").rglob("*.err")) == []
    with (settings.dagster_home / "dagster.yaml").open("a") as more:
        more.write("compute_logs:\n  module: dagster._core.storage.local_compute_log_manager\n")
        more.write(f"  class: LocalComputeLogManager\n  config: {{base_dir: {captured}}}\n")
    run(settings)
    assert len(list(captured.rglob("*.err"))) == 1


@pytest.mark.slow
def test_a_spoiled_database_of_dagster_s_is_named_and_moving_it_away_is_enough(settings: Settings) -> None:
    fill(settings)
    run(settings)
    index = settings.dagster_home / "history/runs/index.db"
    index.write_text("nonsense")
    with pytest.raises(HistoryError, match=r"index\.db cannot be read \(file is not a database\); move it away"):
        materialize_weeks(settings, [MONDAY])
    index.unlink()
    assert run(settings).weekly_rows == {MONDAY: 2}


def test_on_a_full_disk_the_command_says_in_one_line_that_its_run_cannot_be_stored(settings: Settings) -> None:
    fill(settings)
    command = [sys.executable, "-m", "qol_dagster.cli.app", "materialize", "--week", str(MONDAY)]
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (4096, 4096))
    done = subprocess.run(command, preexec_fn=full, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"qol: Dagster's history of runs below {settings.dagster_home} cannot be written (disk I/O")
    assert run(settings).weekly_rows == {MONDAY: 2}


def test_what_duckdb_does_wrong_is_switched_off_for_questions_too(settings: Settings) -> None:
    fill(settings)
    assert table(settings, "SELECT current_setting('enable_caching_operators') AS gathers") == [{"gathers": False}]


def test_a_week_without_any_data_is_an_empty_partition_and_no_failure(settings: Settings) -> None:
    assert run(settings).weekly_rows == {MONDAY: 0}
    assert table(settings) == []


def test_weeks_that_are_not_over_or_lie_before_the_start_are_refused(settings: Settings) -> None:
    with pytest.raises(WeekError, match="not over yet"):
        materialize_weeks(settings, [date(2999, 1, 7)])
    with pytest.raises(WeekError, match="before the start date 2015-01-05"):
        materialize_weeks(settings, [date(2015, 1, 4)])


def test_no_garmin_id_is_in_anything_but_raw_files_their_records_and_the_id_map(settings: Settings) -> None:
    fill(settings)
    write_raw(settings.lake_dir, MONDAY, [record("dailies", "0badc0de" * 4, MONDAY)], name="unmapped")
    write_raw(settings.lake_dir, MONDAY, [b'{"userId": "0badc0de'], name="broken")
    run(settings)
    lake = Lake.local(settings.lake_dir)
    words = [*USERS, "0badc0de" * 4]
    texts = [str(lake.read_table("daily", day)) for day in dates_of(MONDAY)] + [str(lake.read_table("weekly", MONDAY))]
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    texts += [path.read_bytes().decode(errors="replace") for path in files if is_told(settings, path)]
    assert len(texts) > 20
    assert [word for word in words if any(word in text for text in texts)] == []
    assert [path for path in files if any(word in str(path) for word in words)] == []


def is_told(settings: Settings, path: Path) -> bool:
    """Whether a file is one of those that must not name anybody."""
    return path != settings.id_map_path and not {"raw", "records"} & {*path.relative_to(settings.home).parts}


@pytest.mark.slow
def test_where_somebody_was_is_in_raw_files_and_in_nothing_that_is_made_of_them(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QOL_HOME", str(settings.home))
    fill(settings)
    place = {
        "startingLatitudeInDegree": 35.658581,
        "startingLongitudeInDegree": 139.745433,
        "activityName": "Shiba Run",
    }
    activity = {"summaryId": "a-1", "activityId": 1, "activityType": "RUNNING", "durationInSeconds": 1800, **place}
    points = [
        {"startTimeInSeconds": 0, "latitudeInDegree": 35.658581, "longitudeInDegree": 139.745433, "heartRate": 90}
    ]
    user = next(iter(USERS))
    write_raw(
        settings.lake_dir,
        MONDAY,
        [
            record("activities", user, MONDAY, **activity),
            record("activityDetails", user, MONDAY, summary=activity, samples=points, **activity),
        ],
        name="run",
    )
    run(settings)
    assert [row["exercise_min_sum"] for row in table(settings)] == [30, 0], "who recorded none has 0, not null"
    out = tmp_path / "out"
    for name in ("daily_metrics", "weekly_metrics"):
        assert cli(["export", "--table", name, "--format", "csv", "--out", str(out / name)]) == 0
    samples = ["samples", "--participant", "P1", "--date", str(MONDAY), "--type", "heart_rate", "--format", "csv"]
    assert cli([*samples, "--out", str(out / "samples.csv")]) == 0
    assert cli(["report", "--week", str(MONDAY)]) == 0

    words = ("35.658581", "139.745433", "Shiba", "atitude", "ongitude")
    naming: set[str] = set()
    seen: Counter[str] = Counter()
    for path in [path for folder in (settings.home, out) for path in folder.rglob("*") if path.is_file()]:
        seen[path.suffix] += 1
        if path.suffix == ".parquet":
            rows = pq.read_table(path)
            text = f"{rows.schema} {rows.to_pylist()}"
        else:
            text = path.read_bytes().decode(errors="replace")
        if any(word in text for word in words):
            naming.add(path.relative_to(settings.home).as_posix() if path.is_relative_to(settings.home) else str(path))
    assert naming == {f"lake/raw/daily/date={MONDAY}/run.jsonl"}
    assert seen[".parquet"] > 10
    assert seen[".csv"] > 2
    assert seen[".html"] == 4


@pytest.mark.slow
def test_a_failed_run_leaves_the_old_week_whole_and_the_next_one_heals(settings: Settings) -> None:
    fill(settings)
    run(settings)
    before = table(settings)
    day = settings.lake_dir / "processed" / "daily" / f"date={MONDAY}"
    day.rename(day.with_name("aside"))
    day.write_text("a file where the folder was")
    write_raw(settings.lake_dir, MONDAY, [record("hrv", next(iter(USERS)), MONDAY, lastNightAvg=44)], name="late")
    done = materialize_weeks(settings, [MONDAY])
    assert not done.success
    assert done.message.startswith(str(settings.lake_dir))
    assert "is a file where a folder belongs" in done.message
    assert differences(table(settings), before) == []
    day.unlink()
    assert run(settings).days_recomputed >= 1
    assert table(settings)[0]["hrv_rmssd_mean"] == 44


QOL = [sys.executable, "-W", "error", "-c", "from qol_dagster.cli.app import main; main()"]
MATERIALIZE = [*QOL, "materialize", "--week", MONDAY.isoformat()]


@pytest.mark.slow
def test_two_runs_of_one_week_at_once_both_succeed_and_give_the_right_rows(settings: Settings) -> None:
    fill(settings)
    runs = [
        subprocess.Popen(MATERIALIZE, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in runs:
        out, err = one.communicate(timeout=120)
        assert (one.returncode, out) == (0, "2026-11-16  participants: 2\n"), err
    assert [row["steps_sum"] for row in table(settings)] == [
        sum(1000 + d.toordinal() % 100 for d in dates_of(MONDAY))
    ] * 2
    files = Counter(file.parts[-3] for file in settings.lake_dir.glob("processed/*/date=*/*"))
    assert files == {"daily": 7, "weekly": 1, "status": 1}


@pytest.mark.slow
def test_dagster_s_home_can_be_made_by_several_processes_at_once(settings: Settings) -> None:
    code = """
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.settings import load_settings
with dagster_instance(load_settings()) as instance:
    print(instance.get_runs_count())
"""
    words = [sys.executable, "-c", code]
    openings = [
        subprocess.Popen(words, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for one in openings:
        assert one.communicate(timeout=120) == ("0\n", "")
    assert not (settings.dagster_home / "history/runs.db-wal").exists()


@pytest.mark.slow
def test_a_run_killed_at_any_moment_leaves_whole_partitions_and_the_next_one_heals(settings: Settings) -> None:
    fill(settings)
    run(settings)
    before = {row["participant_id"]: row["steps_sum"] for row in table(settings)}
    for day in dates_of(MONDAY):
        lines = [record("dailies", user, day, steps=50, timeOffsetHeartRateSamples=worn(12)) for user in USERS]
        write_raw(settings.lake_dir, day, lines)
    lake, reached = Lake.local(settings.lake_dir), set()
    for wait_for in ("start", "first day", "last day", "week"):
        started = time.monotonic()
        marks = stamps(settings)
        killed = subprocess.Popen([*MATERIALIZE, "--force"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while killed.poll() is None and not is_reached(settings, wait_for, marks):
            assert time.monotonic() < started + 60
            time.sleep(0.001)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        reached.add(killed.returncode)
        for day in dates_of(MONDAY):
            found = lake.read_table("daily", day)
            assert found is not None
            assert found["steps"].to_pylist() in ([1000 + day.toordinal() % 100] * 2, [50, 50])
        sums = {row["participant_id"]: row["steps_sum"] for row in table(settings)}
        assert sums in (before, dict.fromkeys(before, 350))
    assert -signal.SIGKILL in reached
    run(settings)
    assert [row["steps_sum"] for row in table(settings)] == [350, 350]


def stamps(settings: Settings) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in settings.lake_dir.glob("processed/*/date=*/*.parquet")}


def is_reached(settings: Settings, stage: str, before: dict[str, int]) -> bool:
    if stage == "start":
        return True
    changed = [path for path, mark in stamps(settings).items() if before.get(path) != mark]
    wanted = {"first day": f"daily/date={MONDAY}", "last day": f"daily/date={dates_of(MONDAY)[6]}", "week": "weekly/"}
    return any(wanted[stage] in path for path in changed)


def daily_metadata(settings: Settings) -> dict[str, Any]:
    """Metadata of the last materialisation of daily_metrics, as plain values."""
    with dagster_instance(settings) as instance:
        last = instance.get_latest_materialization_event(dg.AssetKey("daily_metrics"))
    assert last is not None
    assert last.asset_materialization is not None
    return {name: value.value for name, value in last.asset_materialization.metadata.items()}


def test_a_step_that_was_cancelled_is_not_begun_anew(settings: Settings) -> None:
    begun = []

    def cancelled(name: Any = None) -> Any:
        begun.append(name)
        raise dg.DagsterExecutionInterruptedError

    fill(settings)
    computer = Computer(cancelled, None, settings.start_date)
    job = build_defs(settings, resource_overrides={"computer": computer}).resolve_job_def("weekly_metrics_job")
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.DagsterExecutionInterruptedError):
        job.execute_in_process(partition_key=MONDAY.isoformat(), instance=instance)
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("target", "engine", "expected"),
    [
        ("local", "duckdb", ("duckdb", "duckdb", "sqlite")),
        ("local", "spark", ("spark", "duckdb", "sqlite")),
        ("aws", "duckdb", ("glue", "athena", "dynamodb")),
    ],
)
def test_every_asset_shows_by_what_it_is_made_there(target: Any, engine: Any, expected: tuple[str, ...]) -> None:
    shown = build_defs(Settings(target=target, engine=engine)).resolve_asset_graph()
    names = ("participant_status", "weekly_metrics_table", "user_id_map")
    found = [shown.get(dg.AssetKey(name)).kinds for name in names]
    for kinds, one in zip(found, expected, strict=True):
        assert one in kinds
    assert {"duckdb", "sqlite"} & set().union(*found) <= set(expected)
