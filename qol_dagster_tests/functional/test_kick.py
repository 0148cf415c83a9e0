"""The kick asks a real Dagster: its web server, its scheduler and the project's own code location."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.types import DaemonHeartbeat
from dagster._scheduler.scheduler import launch_scheduled_runs

from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.settings import Settings
from qol_ingest import kick
from qol_ingest.kick import Dagster, Kick
from qol_ingest.shared.calendar import weekly_run_of as tick_of

START_S = 90.0
WEEK = date(2025, 12, 29)
"""It is over on the day on which the tests run, and begins in another year than it ends."""
WORKSPACE = "load_from:\n  - grpc_server: {host: 127.0.0.1, port: %d, location_name: qol_dagster}\n"


@dataclass(frozen=True)
class System:
    """A Dagster that runs: its address, what it keeps, and what its scheduler looks at."""

    url: str
    settings: Settings
    instance: dg.DagsterInstance
    workspace: Any

    def kick(self, week: date) -> str:
        """A kick that was scheduled for a week."""
        return kicked(self.url, tick_of(week))

    def tick(self, week: date) -> None:
        """Let the scheduler's clock pass the time at which it asks for a week."""
        self.instance.wipe_all_schedules()
        for seconds in (-60, 1):
            now = tick_of(week) + timedelta(seconds=seconds)
            log = logging.getLogger("scheduler")
            errors = [one for one in launch_scheduled_runs(self.workspace, log, now, iteration_times={}) if one]
            assert errors == []

    def runs(self, week: date) -> list[dg.DagsterRun]:
        """The runs of a week, the newest first."""
        return list(self.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": week.isoformat()})))

    def begin(self, run: dg.DagsterRun) -> dg.DagsterRun:
        """Begin a run that waits, as the daemon would, and give it when it is over."""
        self.instance.launch_run(run.run_id, self.workspace.create_request_context())
        until = time.monotonic() + START_S
        while not (found := self.instance.get_run_by_id(run.run_id)).is_finished:  # type: ignore[union-attr]
            assert time.monotonic() < until
            time.sleep(0.1)
        return found  # type: ignore[return-value]

    def daemon_is_alive(self, ago_s: float = 0) -> None:
        """The daemon that begins runs told so, some time ago."""
        self.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - ago_s, "QUEUED_RUN_COORDINATOR", "test"))


def kicked(url: str, at: datetime) -> str:
    """A kick that was scheduled for a time, with a Glue that starts whatever it is asked for."""
    return Kick(Dagster(url), lambda _week: True, lambda _subject, _text: None).kick(at, datetime.now(UTC))


@pytest.fixture(scope="module")
def _system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    (settings.home / "lake").mkdir()
    location_port, web_port = free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("DAGSTER_HOME", str(settings.dagster_home))
        # No daemon: what is launched stays in the queue, and the tests alone decide what becomes of it.
        instance = stack.enter_context(dagster_instance(settings))
        file = settings.dagster_home / "workspace.yaml"
        file.write_text(WORKSPACE % location_port)
        location = "dagster api grpc -m qol_dagster.definitions --location-name qol_dagster --host 127.0.0.1"
        stack.enter_context(running(settings, f"{location} -p {location_port}", location_port))
        stack.enter_context(running(settings, f"dagster_webserver -h 127.0.0.1 -p {web_port} -w {file}", web_port))
        workspace = create_test_daemon_workspace_context(WorkspaceFileTarget([str(file)]), instance)
        yield System(f"http://127.0.0.1:{web_port}", settings, instance, stack.enter_context(workspace))


@pytest.fixture
def system(_system: System) -> System:
    _system.daemon_is_alive()
    return _system


@contextmanager
def running(settings: Settings, command: str, port: int) -> Iterator[None]:
    """A server in a process of its own, which listens when this begins and is gone when it ends."""
    home, log = str(settings.home), settings.home / "log"
    environment = {"PATH": os.environ["PATH"], "HOME": home, "QOL_HOME": home}
    environment["DAGSTER_HOME"] = str(settings.dagster_home)
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command.split()], cwd=home, env=environment, stdout=file, stderr=file
        )
    try:
        until = time.monotonic() + START_S
        while not listens(port):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < until, log.read_text()[-2000:]
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_week_is_launched_once_however_often_it_is_kicked(system: System) -> None:
    assert [system.kick(WEEK), system.kick(WEEK), system.kick(WEEK)] == ["launched", "there already", "there already"]
    (run,) = system.runs(WEEK)
    assert (run.job_name, run.status) == ("weekly_metrics_job", dg.DagsterRunStatus.QUEUED)
    assert run.tags["qol/started_by"] == "qol-weekly-survey-kick"


@pytest.mark.slow
def test_the_run_of_a_kick_computes_its_week_and_then_counts_as_before(system: System) -> None:
    week = WEEK - timedelta(weeks=12)
    assert system.kick(week) == "launched"
    assert system.begin(system.runs(week)[0]).status == dg.DagsterRunStatus.SUCCESS
    for asset in ("daily_metrics", "weekly_metrics", "weekly_metrics_table"):
        assert week.isoformat() in system.instance.get_materialized_partitions(dg.AssetKey(asset))
    assert system.kick(week) == "there already"


def test_the_schedule_that_comes_after_the_kick_finds_its_run_and_asks_for_none(system: System) -> None:
    week = WEEK - timedelta(weeks=1)
    assert system.kick(week) == "launched"
    system.tick(week)
    assert [run.tags["qol/started_by"] for run in system.runs(week)] == ["qol-weekly-survey-kick"]


def test_the_kick_that_comes_after_the_schedule_finds_its_run_and_asks_for_none(system: System) -> None:
    week = WEEK - timedelta(weeks=2)
    system.tick(week)
    assert system.kick(week) == "there already"
    (run,) = system.runs(week)
    assert "qol/started_by" not in run.tags
    assert run.tags["dagster/schedule_name"] == "weekly_metrics_schedule"


def test_a_kick_before_the_schedule_s_tick_does_not_take_its_turn(system: System) -> None:
    week = WEEK - timedelta(weeks=3)
    assert kicked(system.url, tick_of(week) - timedelta(days=2)) == "launched"
    system.tick(week)
    assert len(system.runs(week)) == 2


def test_a_failed_run_and_a_canceled_one_are_asked_for_again(system: System) -> None:
    week = WEEK - timedelta(weeks=4)
    for give_up in (system.instance.report_run_failed, system.instance.report_run_canceled):
        assert system.kick(week) == "launched"
        give_up(system.runs(week)[0])
    assert system.kick(week) == "launched"
    assert system.kick(week) == "there already"
    states = [run.status.value for run in system.runs(week)]
    assert states == ["QUEUED", "CANCELED", "FAILURE"]


@pytest.mark.slow
def test_a_run_of_several_weeks_counts_for_each_of_them(system: System) -> None:
    first, last = WEEK - timedelta(weeks=8), WEEK - timedelta(weeks=6)
    done = materialize_weeks(system.settings, [first, last])
    assert done.success
    weeks = [first - timedelta(weeks=1), first, first + timedelta(weeks=1), last, last + timedelta(weeks=1)]
    assert [system.kick(week) for week in weeks] == ["launched", *["there already"] * 3, "launched"]


def test_without_a_daemon_that_begins_runs_the_week_is_started_on_glue(system: System) -> None:
    week = WEEK - timedelta(weeks=10)
    system.daemon_is_alive(ago_s=3600)
    assert system.kick(week) == "started on Glue"
    assert system.runs(week) == []
    system.daemon_is_alive()
    assert system.kick(week) == "launched"
    system.daemon_is_alive(ago_s=3600)
    assert system.kick(week) == "started on Glue"


def test_a_code_location_that_is_not_there_is_a_dagster_that_does_not_answer(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    week = WEEK - timedelta(weeks=11)
    monkeypatch.setattr(kick, "LOCATION", "elsewhere")
    assert system.kick(week) == "started on Glue"
    assert "Dagster does not launch weekly_metrics_job: PipelineNotFoundError" in caplog.text
    assert system.runs(week) == []


def test_a_question_that_dagster_does_not_understand_is_a_dagster_that_does_not_answer(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kick, "RUNS_QUERY", "query { nonsense }")
    assert system.kick(WEEK) == "started on Glue"
    assert "the week of 2025-12-29 cannot be left to Dagster: Dagster answers 400" in caplog.text


class Broken(BaseHTTPRequestHandler):
    """Answers everything as its server is told to: a status and a body, or nothing at all."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, body = self.server.answer  # type: ignore[attr-defined]
        if not status:
            return
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def broken(status: int, body: bytes) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    server.answer = (status, body)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_dagster_that_is_not_there_is_one_that_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    assert kicked(f"http://127.0.0.1:{free_port()}", tick_of(WEEK)) == "started on Glue"
    assert "Dagster does not answer: ConnectionRefusedError" in caplog.text


RUNS = b'{"results": []}'
DAEMON = b'{"daemonHealth": {"daemonStatus": {"healthy": null}}}'


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, b"oh", "Dagster answers 500"),
        (302, b"", "Dagster answers 302"),
        (401, b'{"data": {}}', "Dagster answers 401"),
        (200, b"<html>sign in</html>", "Dagster does not answer: JSONDecodeError"),
        (200, b"[" * 100_000, "Dagster does not answer: RecursionError"),
        (0, b"", "Dagster does not answer: RemoteDisconnected"),
        (200, b"[1]", "Dagster answers with errors"),
        (200, b'{"data": null}', "Dagster answers with errors"),
        (200, b'{"data": {}, "errors": [{"message": "private"}]}', "Dagster answers with errors"),
        (200, b'{"data": {}}', "Dagster does not say which runs there are"),
        (200, b'{"data": {"ofWeek": {"results": [{"status": "STARTED"}]}}}', "Dagster does not say which runs"),
        (200, b'{"data": {"ofWeek": %b, "since": %b, "instance": null}}' % (RUNS, RUNS), "Dagster does not say"),
        (
            200,
            b'{"data": {"ofWeek": %b, "since": %b, "instance": %b, "launchRun": "private"}}' % (RUNS, RUNS, DAEMON),
            "Dagster does not launch weekly_metrics_job: None",
        ),
    ],
)
def test_any_answer_that_is_not_dagster_s_has_the_week_started_on_glue(
    caplog: pytest.LogCaptureFixture, status: int, body: bytes, why: str
) -> None:
    with broken(status, body) as url:
        assert kicked(url, tick_of(WEEK)) == "started on Glue"
    assert why in caplog.text
    assert "private" not in caplog.text
