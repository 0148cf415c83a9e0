"""The weekly job with its runs in PostgreSQL: what others see of them, and what happens when one side goes away."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import date, timedelta
from typing import Any

import dagster as dg
import dagster_postgres
import pytest
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from dagster._cli.instance import instance_cli
from dagster._core.test_utils import freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring import execute_run_monitoring_iteration
from dagster._serdes import serialize_value
from dagster_postgres.utils import DagsterPostgresException, pg_alembic_config

from infra import hosting
from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, differences, record, worn, write_raw
from qol_dagster_tests.support.paper_week import EXPECTED, write_paper_week
from qol_dagster_tests.support.postgres import SECRET, Server

LAST_WEEK = MONDAY - timedelta(weeks=1)
USERS = {"a1b2c3d4e5f60718293a4b5c6d7e8f90": "P1", "ffeeddccbbaa99887766554433221100": "P2"}
TABLES = ("daily_metrics", "weekly_metrics", "weekly_metrics_table", "participant_status")
QOL = [sys.executable, "-W", "error", "-c", "from qol_dagster.cli.app import main; main()"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Dagster that tries as often as ever to reach its database, and does not wait between."""
    monkeypatch.setattr("dagster_postgres.utils.calculate_delay", lambda *_, **__: 0)


def fill(settings: Settings, *weeks: date, steps: int = 1000) -> None:
    """Worn days of two participants over these weeks."""
    for day in [day for week in weeks for day in dates_of(week)]:
        fields = {"steps": steps, "timeOffsetHeartRateSamples": worn(12)}
        write_raw(settings.lake_dir, day, [record("dailies", user, day, **fields) for user in USERS])
    IdMap(settings.id_map_path).import_rows(USERS.items())


def table(settings: Settings) -> list[dict[str, Any]]:
    found = query(settings.lake_dir, "SELECT * FROM db_qol.weekly_metrics ORDER BY date, participant_id")
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def steps(settings: Settings) -> list[int]:
    return [row["steps_sum"] for row in table(settings)]


def materializing(week: date, until: date) -> subprocess.Popen[str]:
    """`qol materialize` in a process of its own."""
    command = [*QOL, "materialize", "--week", week.isoformat(), "--until", until.isoformat()]
    return subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def partitions(instance: dg.DagsterInstance, asset: str) -> set[str]:
    return set(instance.get_materialized_partitions(dg.AssetKey(asset)))


def instance_command(*arguments: str) -> str:
    """What `dagster instance` prints on the hosted configuration."""
    done = CliRunner().invoke(instance_cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_what_a_process_ran_is_seen_by_another_one(hosted: Settings) -> None:
    people, monday = write_paper_week(hosted.lake_dir)
    IdMap(hosted.id_map_path).import_rows(people.items())
    ran = materializing(monday, monday)
    out, err = ran.communicate(timeout=120)
    assert (ran.returncode, out) == (0, f"{monday}  participants: 1\n"), err
    assert differences(table(hosted), [EXPECTED]) == []
    with dagster_instance(hosted) as instance:
        (run,) = instance.get_runs()
        assert (run.status, run.job_name) == (dg.DagsterRunStatus.SUCCESS, "weekly_metrics_job")
        assert [partitions(instance, asset) for asset in TABLES] == [{monday.isoformat()}] * 4
        made = instance.get_latest_materialization_event(dg.AssetKey("weekly_metrics"))
        assert made is not None
        assert made.asset_materialization is not None
        assert made.asset_materialization.metadata["dagster/partition_row_count"].value == 1
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(dg.AssetKey("weekly_metrics"), name) for name in ("rows", "ranges", "unique_keys")]
        )
    assert [one.event.dagster_event.asset_check_evaluation_data.passed for one in checks.values()] == [True] * 3  # type: ignore[union-attr]


def test_two_processes_that_come_first_at_once_make_the_schema_and_lose_nothing(hosted: Settings) -> None:
    first, second = MONDAY - timedelta(weeks=2), LAST_WEEK
    fill(hosted, first, second, MONDAY)
    runs = [materializing(first, second), materializing(second, MONDAY)]
    for one in runs:
        _, err = one.communicate(timeout=120)
        assert one.returncode == 0, err
    assert steps(hosted) == [7000] * 6
    with dagster_instance(hosted) as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 2
        for asset in TABLES:
            assert partitions(instance, asset) == {week.isoformat() for week in (first, second, MONDAY)}
            told = Counter(one.partition_key for one in instance.fetch_materializations(dg.AssetKey(asset), 10).records)
            # The newest week looks back on the days of the first: where that comes after it, its rows follow.
            assert (told[str(first)], told[str(second)]) == (1, 2)
            assert told[str(MONDAY)] in ((1, 2) if asset in ("weekly_metrics", "participant_status") else (1,))


def test_migrating_fills_an_empty_database_and_brings_an_older_schema_up_to_date_with_what_it_holds(
    hosted: Settings, database: str, postgres: Server
) -> None:
    instance_command("migrate")
    with dagster_instance(hosted) as instance:
        arrived = dg.AssetMaterialization("garmin_raw_daily", partition=MONDAY.isoformat())
        instance.report_runless_asset_event(arrived)
        schema, newest = instance.run_storage.alembic_version() or (None, None)
    assert (schema is not None, schema) == (True, newest)
    with closing(postgres.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = %s", [preceding(newest)])
        connection.commit()
    instance_command("migrate")
    with dagster_instance(hosted) as instance:
        assert instance.run_storage.alembic_version() == (newest, newest)
        assert partitions(instance, "garmin_raw_daily") == {MONDAY.isoformat()}


def preceding(revision: str) -> str:
    """The schema before a revision."""
    found = ScriptDirectory.from_config(pg_alembic_config(dagster_postgres.run_storage.__file__)).get_revision(revision)
    return str(found.down_revision)


def test_a_database_that_is_restarted_in_the_middle_of_a_run_is_waited_for(
    hosted: Settings, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(hosted, MONDAY)
    comes_back = threading.Timer(0.5, postgres.start)

    def restart(*_: Any) -> str:
        if not comes_back.ident:
            postgres.stop(signal.SIGQUIT)
            comes_back.start()
        return ""

    monkeypatch.setattr("qol_dagster.pipeline.checks._double_keys", restart)
    assert materialize_weeks(hosted, [MONDAY]).success
    comes_back.join()
    with dagster_instance(hosted) as instance:
        assert [partitions(instance, asset) for asset in TABLES] == [{MONDAY.isoformat()}] * 4


def test_a_database_that_stays_away_ends_the_run_with_the_reason_and_leaves_the_old_week_whole(
    hosted: Settings, postgres: Server, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    fill(hosted, MONDAY)
    assert materialize_weeks(hosted, [MONDAY]).success
    before = table(hosted)
    fill(hosted, MONDAY, steps=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qol_dagster.pipeline.checks._double_keys", lambda *_: postgres.stop(signal.SIGQUIT))
        with pytest.raises(DagsterPostgresException, match="too many retries for DB connection"):
            materialize_weeks(hosted, [MONDAY])
    assert f'connection to server at "127.0.0.1", port {postgres.port} failed' in caplog.text
    assert differences(table(hosted), before) == []
    postgres.start()
    assert materialize_weeks(hosted, [MONDAY]).success
    assert steps(hosted) == [350, 350]


def test_a_run_whose_process_was_killed_is_failed_once_two_hours_of_glue_and_some_are_over(hosted: Settings) -> None:
    fill(hosted, MONDAY)
    killed = materializing(MONDAY, MONDAY)
    with dagster_instance(hosted) as instance:
        while not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()
        killed.communicate()
        (record,) = instance.get_run_records()
        assert record.start_time
        assert contributing_weeks(instance, record.start_time + 2 * 3600) == dg.DagsterRunStatus.STARTED
        assert contributing_weeks(instance, record.start_time + 9001) == dg.DagsterRunStatus.FAILURE


def contributing_weeks(instance: dg.DagsterInstance, at: float) -> dg.DagsterRunStatus:
    """The status of the one run after the monitoring came by at a time."""
    with freeze_time(at), WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace:
        assert list(execute_run_monitoring_iteration(workspace, logging.getLogger("monitoring"))) == [None]
    (run,) = instance.get_runs()
    return run.status


def test_the_password_is_told_to_nobody(
    hosted: Settings,
    database: str,
    postgres: Server,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fill(hosted, MONDAY)
    assert materialize_weeks(hosted, [MONDAY]).success
    told = [instance_command("info"), instance_command("migrate")]
    with dagster_instance(hosted) as instance:
        told.append(serialize_value(instance.get_ref()))  # stands on the command line of each run's process
    with closing(postgres.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        for (name,) in cursor.fetchall():
            cursor.execute(f"SELECT * FROM {name}")
            told += map(str, cursor.fetchall())
    told += [path.read_bytes().decode(errors="replace") for path in hosted.home.rglob("*") if path.is_file()]
    told += [postgres.log(), caplog.text, *capfd.readouterr()]
    assert len(told) > 50
    assert hosting.USER in "".join(told)
    assert [text for text in told if SECRET in text] == []


def test_a_wrong_password_is_a_clear_refusal_that_does_not_repeat_it(
    hosted: Settings, impatient: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_PASSWORD", "another-password")
    with pytest.raises(DagsterPostgresException) as refused, dagster_instance(hosted):
        pass
    told = f"{refused.value} {refused.value.__cause__} {caplog.text}"
    assert f'password authentication failed for user "{hosting.USER}"' in told
    assert "another-password" not in told
