"""The whole way on the emulated AWS: Garmin, API Gateway, Lambda, S3, SQS, Dagster, Glue, Athena.

Belongs here: what `make aws-demo` does, in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import garmin_sim
from emulated_aws.comparison import WHOLE_TABLE, compare, local_answer
from emulated_aws.daemon import Daemon
from qol_dagster.cli.demo import SHORT_QUERY, STANDARD_QUERY, DemoError
from qol_dagster.cli.output import rendered
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.resources.platform import open_platform
from qol_ingest.shared import aws

if TYPE_CHECKING:
    from emulated_aws.deployment import Deployment
    from qol_dagster.settings import Settings

PARTICIPANTS, WEEKS = 10, 2
WAITING = "ApproximateNumberOfMessages"
SAME = """\
All {rows} rows of db_qol.weekly_metrics in Athena, computed by Spark, are equal to those that the local engine
(DuckDB) computes from the same raw files."""


def run_demo(
    deployment: Deployment, settings: Settings, folder: Path, note: Callable[[str], None], width: int = 120
) -> str:
    """Simulate, enrol, push, compute, query, and compare; return a short table of the weeks as text.

    `settings` are those of the deployment. Raises DemoError if a run fails, and ComparisonError if the local engine
    computes other rows.
    """
    sim = garmin_sim.Simulation(PARTICIPANTS, WEEKS)
    platform = open_platform(settings)
    platform.id_map().enrol(sim.user_ids())
    note(f"{PARTICIPANTS} simulated participants, {WEEKS} weeks, {sim.dates()[0]} to {sim.dates()[-1]}")
    pushed = garmin_sim.push(sim, deployment.webhook_url, client_id=settings.garmin_client_id)
    sent = f"{pushed.bodies} bodies, {pushed.bytes / 1e6:.0f} MB"
    note(f"pushed {sent}, over HTTP through API Gateway and Lambda to S3 in {pushed.seconds:.1f} s")
    queue = aws.client("sqs").get_queue_attributes(QueueUrl=settings.arrivals_queue_url, AttributeNames=[WAITING])
    note(f"S3 announced {queue['Attributes'][WAITING]} new files to the queue")
    weeks = _computed(settings, note)
    note("asking Athena, and the local engine for the same weeks ...\n")
    athena = platform.catalogue()
    local = local_answer(platform, folder / "local", weeks)
    compare(athena.query(STANDARD_QUERY), athena.query(WHOLE_TABLE), local)
    answer = athena.query(SHORT_QUERY)
    shown = rendered(answer.columns, answer.rows, "table", width)
    return f"{shown}\n{SAME.format(rows=local.table.num_rows)}\n"


def _computed(settings: Settings, note: Callable[[str], None]) -> list[date]:
    """Run what the sensor of arrivals asks for; return the weeks."""
    with dagster_instance(settings) as instance:
        daemon = Daemon(settings, instance)
        requests = daemon.arrivals()
        note(f"raw_arrivals_sensor found new files of {len(daemon.days)} days, and asks for {len(requests)} weeks")
        for request in requests:
            begun = time.monotonic()
            done = daemon.run(request)
            if not done.success:
                raise DemoError(f"the run of {request.partition_key} failed: {daemon.reason(done)}")
            (made,) = done.asset_materializations_for_node("weekly_metrics_table")
            rows = made.metadata["dagster/partition_row_count"].value
            spent = time.monotonic() - begun
            note(f"{request.partition_key}: computed by Spark in the Glue job, {rows} rows in Athena, {spent:.1f} s")
        return [date.fromisoformat(str(request.partition_key)) for request in requests]
