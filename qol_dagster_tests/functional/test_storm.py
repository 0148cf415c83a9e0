"""The weekly schedule in the middle of a storm: Dagster's real daemon, at a simulated time just before it is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator.base import SubmitRunContext

from qol_dagster.definitions import build_defs
from qol_dagster.defs.dagster_home import prepare_dagster_home
from qol_dagster.defs.instance import LOCATION
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of, weekly_run_of
from qol_dagster_tests.support.lakes import record, worn, write_raw
from soak.clock import SimulatedClock
from soak.processes import Box, Daemon, free_port
from soak.start import CLOCK

MONDAY = date(2024, 4, 1)
"""The week that the schedule asks for."""
ASKED, BACKLOG = 100, 12
"""So many weeks somebody asked to backfill, a run each; files of so many others came at once."""
USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
PATIENCE_S, SOON_S = 120.0, 60.0
"""Of the simulated clock, on a machine that does much else: left alone, it begins within ten."""
JOB = "weekly_metrics_job"
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(LOCATION), "__repository__"), JOB)
BY_SCHEDULE = {"dagster/schedule_name": "weekly_metrics_schedule"}
BY_SENSOR = {"dagster/sensor_name": "raw_arrivals_sensor"}
OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


@pytest.mark.slow
def test_the_weekly_run_does_not_wait_behind_a_hundred_runs_of_a_backfill_and_a_backlog(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path / "soak", free_port(), free_port())
    settings = replace(settings, home=box.home)
    monkeypatch.setenv("DAGSTER_HOME", str(box.dagster_home))
    first = MONDAY - timedelta(weeks=ASKED + BACKLOG)
    for day in (first, *(day for back in range(BACKLOG + 1) for day in dates_of(MONDAY - timedelta(weeks=back)))):
        write_raw(box.lake, day, [record("dailies", USER, day, timeOffsetHeartRateSamples=worn(12))])
    clock, due = SimulatedClock(box.folder / CLOCK), weekly_run_of(MONDAY).timestamp()
    clock.set(due - 3600)
    with dg.DagsterInstance.from_config(prepare_dagster_home(settings)) as instance:
        job = build_defs(settings, first=first).resolve_job_def(JOB)
        run = instance.create_run_for_job(job, tags={"dagster/backfill": "two years"}, remote_job_origin=ORIGIN)
        for number in range(ASKED):
            tags = {**run.tags, "dagster/partition": str(first + timedelta(weeks=number))}
            asked = instance.add_run(run._replace(run_id=str(uuid4()), tags=tags))
            instance.run_coordinator.submit_run(SubmitRunContext(asked, None))  # type: ignore[arg-type]
        instance.delete_run(run.run_id)
        with running(Daemon(box)):
            wait(box, lambda: instance.get_run_records(dg.RunsFilter(tags=BY_SENSOR)))
            clock.set(due)
            (weekly,) = wait(box, lambda: instance.get_run_records(dg.RunsFilter(tags=BY_SCHEDULE, statuses=OVER)))
        assert weekly.dagster_run.tags["dagster/partition"] == str(MONDAY)
        assert weekly.dagster_run.is_success
        others = [one for one in instance.get_run_records() if one.dagster_run.run_id != weekly.dagster_run.run_id]
        of_backlog = [one for one in others if one.dagster_run.tags.items() >= BY_SENSOR.items()]
        assert weekly.start_time
        queued = queued_at(instance, weekly)
        overtook = [one for one in others if one.start_time and queued < one.start_time < weekly.start_time]
        assert weekly.start_time - queued < SOON_S
        assert len(others) - len(of_backlog) == ASKED
        assert len(of_backlog) > 1
        assert len(overtook) < 3, "runs that were about to begin"


def queued_at(instance: dg.DagsterInstance, run: dg.RunRecord) -> float:
    """Return when a run was queued, by the simulated clock, as its start is."""
    events = instance.all_logs(run.dagster_run.run_id, of_type=dg.DagsterEventType.PIPELINE_ENQUEUED)
    return events[0].timestamp


def wait(box: Box, find: Callable[[], Sequence[dg.RunRecord]]) -> Sequence[dg.RunRecord]:
    """Wait for records, and return them."""
    until = time.monotonic() + PATIENCE_S
    while not (found := find()):
        assert time.monotonic() < until, (box.folder / "daemon.log").read_text()[-5000:]
        time.sleep(0.2)
    return found


@contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    """Run the daemon, and end it with all its runs."""
    daemon.start()
    try:
        yield
    finally:
        daemon.kill()
