"""Storms of runs in Dagster's queue, as the `dagster.yaml` of a laptop and that of hosting order it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from qol_dagster.defs.dagster_home import DAGSTER_YAML, prepare_dagster_home
from qol_dagster.defs.instance import LOCATION
from qol_dagster.settings import Settings

HOSTED = Path(__file__).parents[2] / "infra" / "dagster.yaml"
WEEKLY = {"dagster/schedule_name": "weekly_metrics_schedule"}
STORM: Mapping[str, Mapping[str, str]] = {
    "backfill": {"dagster/backfill": "five years"},
    "sensor": {"dagster/sensor_name": "raw_arrivals_sensor"},
    "again": {**WEEKLY, "dagster/parent_run_id": "of last week", "qol/lane": "weekly"},
    "backup": {"dagster/schedule_name": "backup_schedule"},
    "person": {},
}
"""By who asks, the tags that Dagster gives a run; a re-run has those of its parent."""
EACH = 2
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(LOCATION), "__repository__"), "noop")


class Queue:
    """Dagster's queue, and its daemon as far as it says which runs start now."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self._daemon = QueuedRunCoordinatorDaemon(interval_seconds=5)

    def ask(self, tags: Mapping[str, str]) -> str:
        """Queue a run; return its id."""
        run = self.instance.create_run_for_job(noop, tags=dict(tags), remote_job_origin=ORIGIN)
        self.instance.run_coordinator.submit_run(SubmitRunContext(run, None))  # type: ignore[arg-type]
        return run.run_id

    def start(self) -> list[str]:
        """Start what may start now; return the ids."""
        config = self.instance.get_concurrency_config()
        starting = self._daemon._get_runs_to_dequeue(self.instance, config, fixed_iteration_time=None)
        for run in starting:
            self.instance.report_dagster_event(_event("PIPELINE_STARTING"), run_id=run.run_id)
        return [run.run_id for run in starting]

    def end(self, run_id: str) -> None:
        """End a run that was started."""
        self.instance.report_dagster_event(_event("PIPELINE_SUCCESS"), run_id=run_id)


def _event(kind: str) -> dg.DagsterEvent:
    return dg.DagsterEvent(event_type_value=kind, job_name="noop")


@dg.job
def noop() -> None:
    """Nothing."""


@pytest.fixture(scope="module", params=["laptop", "hosted"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    home = tmp_path_factory.mktemp("queue")
    config = yaml.safe_load(DAGSTER_YAML if request.param == "laptop" else HOSTED.read_text())
    kept = {name: config[name] for name in ("run_coordinator", "concurrency", "telemetry", "retention", "python_logs")}
    together = {"module": "dagster._core.storage.event_log", "class": "ConsolidatedSqliteEventLogStorage"}
    kept["event_log_storage"] = {**together, "config": {"base_dir": str(home)}}  # quicker than a file for each run
    (home / "dagster.yaml").write_text(yaml.safe_dump(kept))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Queue(instance)


@pytest.fixture
def queue(opened: Queue) -> Queue:
    """An empty one."""
    for run in opened.instance.get_runs():
        opened.instance.delete_run(run.run_id)
    return opened


def test_the_weekly_run_starts_at_once_whatever_storm_was_there_before_it(queue: Queue) -> None:
    asked = {queue.ask(tags): who for who, tags in STORM.items() for _ in range(EACH)}
    (first,) = queue.start()
    assert asked[first] in ("again", "backup", "person")
    weekly = queue.ask(WEEKLY)
    assert queue.start() == [weekly]
    retry = queue.ask({**WEEKLY, "dagster/parent_run_id": weekly, "dagster/retry_number": "1"})
    assert queue.start() == []
    queue.end(weekly)
    assert queue.start() == [retry]


def test_people_and_schedules_come_before_sensors_and_sensors_before_backfills(queue: Queue) -> None:
    asked = {queue.ask(tags): who for who, tags in STORM.items()}
    order = []
    while started := queue.start():
        order += [asked[one] for one in started]
        queue.end(*started)
    assert order == ["again", "backup", "person", "sensor", "backfill"]


def test_a_person_may_give_a_run_another_priority(queue: Queue) -> None:
    queue.ask({})
    urgent = queue.ask({**STORM["backfill"], "dagster/priority": "3"})
    assert queue.start() == [urgent]


OF_LAST_RELEASE = """\
# Written once; yours to change. Runs, schedules and events are kept beside this file.
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
  max_runtime_seconds: 3600
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false
concurrency:
  runs:
    max_concurrent_runs: 2
"""


def test_a_dagster_yaml_that_nobody_changed_gets_the_lanes_and_a_changed_one_stays(settings: Settings) -> None:
    file = Path(prepare_dagster_home(settings)) / "dagster.yaml"
    assert "WeeklyRunFirst" in file.read_text()
    for before, stays in ((OF_LAST_RELEASE, False), (f"{OF_LAST_RELEASE}# ours\n", True), ("{}\n", True)):
        file.write_text(before)
        prepare_dagster_home(settings)
        assert (file.read_text() == before) == stays
        assert stays or "WeeklyRunFirst" in file.read_text()
