"""The hosted daemon itself, by the command of its container, on a PostgreSQL that was empty when it came."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.selector import PartitionRangeSelector, PartitionsByAssetSelector, PartitionsSelector
from dagster._core.execution.backfill import PartitionBackfill

from infra.hosting import DAEMON
from qol_dagster.definitions import build_defs
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw
from qol_dagster_tests.support.postgres import SECRET

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
TABLES = ("daily_metrics", "weekly_metrics", "weekly_metrics_table", "participant_status")
BACKFILL = "old weeks"
FIRST_MONDAY = MONDAY - timedelta(weeks=13)
"""The week of the first raw file, where the partitions begin."""
OLD_WEEKS = [(MONDAY - timedelta(weeks=back)).isoformat() for back in (12, 11, 10)]
"""Without raw files, so that nobody but the backfill asks for them."""


def test_the_daemon_runs_a_backfill_as_one_run_and_the_next_one_knows_what_it_saw(
    hosted: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    for day in (FIRST_MONDAY + timedelta(days=2), *dates_of(MONDAY)):
        write_raw(hosted.lake_dir, day, [record("dailies", USER, day, timeOffsetHeartRateSamples=worn(12))])
    IdMap(hosted.id_map_path).add(USER, "P1")
    defs = build_defs(hosted)
    with dagster_instance(hosted) as instance:
        instance.add_backfill(asked_for(defs, instance))
        with daemon(log := hosted.home / "daemon.log"):
            wait_for_runs(instance, 3)
        assert SECRET not in log.read_text()
        (of_backfill,) = [run for run in instance.get_runs() if "dagster/backfill" in run.tags]
        assert of_backfill.tags["dagster/backfill"] == BACKFILL
        of_files = [run.tags["dagster/partition"] for run in instance.get_runs() if run != of_backfill]
        assert sorted(of_files) == [FIRST_MONDAY.isoformat(), MONDAY.isoformat()]
        for table in TABLES:
            made = instance.get_materialized_partitions(dg.AssetKey(table))
            assert made == {FIRST_MONDAY.isoformat(), *OLD_WEEKS, MONDAY.isoformat()}

        arrivals = tick("raw_arrivals_sensor", defs, instance)
        nothing = "no raw file of a day that is over came or changed; raw days: 8"
        assert (arrivals.skip_message, arrivals.run_requests) == (nothing, [])

        lost = instance.create_run_for_job(
            defs.resolve_job_def("weekly_metrics_job"), tags={"dagster/max_retries": "0"}
        )
        instance.report_run_failed(lost, message="the machine went away")
        tick("run_failure_sensor", defs, instance)
        assert caplog.text.count("the machine went away") == 2  # once in each language


def asked_for(defs: dg.Definitions, instance: dg.DagsterInstance) -> PartitionBackfill:
    """What the page of an asset sends for some weeks of all tables."""
    weeks = PartitionsSelector(ranges=[PartitionRangeSelector(start=OLD_WEEKS[0], end=OLD_WEEKS[-1])])
    return PartitionBackfill.from_partitions_by_assets(
        backfill_id=BACKFILL,
        asset_graph=defs.resolve_asset_graph(),
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        partitions_by_assets=[
            PartitionsByAssetSelector(asset_key=dg.AssetKey(table), partitions=weeks) for table in TABLES
        ],
        title=None,
        description=None,
        run_config=None,
    )


@contextmanager
def daemon(log: Path) -> Iterator[None]:
    """The daemon as its container starts it."""
    program, *arguments = DAEMON.command
    command = [Path(sys.executable).parent / program, *arguments]
    with log.open("w") as prints:
        process = subprocess.Popen(command, cwd=ROOT, stdout=prints, stderr=prints)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for_runs(instance: dg.DagsterInstance, wanted: int) -> None:
    until = time.monotonic() + 150
    while len(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))) < wanted:
        assert time.monotonic() < until, [(run.status, run.tags) for run in instance.get_runs()]
        time.sleep(0.2)


def tick(sensor: str, defs: dg.Definitions, instance: dg.DagsterInstance) -> Any:
    """What a sensor does when it comes by again, with the cursor that the daemon kept for it."""
    (kept,) = [one for one in instance.all_instigator_state() if one.instigator_name == sensor]
    with dg.build_sensor_context(instance=instance, cursor=kept.instigator_data.cursor) as context:
        return defs.resolve_sensor_def(sensor).evaluate_tick(context)
