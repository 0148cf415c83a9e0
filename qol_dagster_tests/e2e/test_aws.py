"""The whole system on an emulated AWS, deployed from its templates, while things go wrong on the way.

The tests are stages of one story and run in their order: 200 pushes, a crash, what the sensor asks for, a Glue attempt
that fails, and one week whose attempts are used up.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import garmin_sim
from emulated_aws.comparison import WHOLE_TABLE, compare, local_answer
from emulated_aws.daemon import Daemon
from emulated_aws.deployment import Deployment, deploy, synthesise, synthesised
from emulated_aws.server import emulator
from garmin_sim import Delivery
from garmin_sim.pusher import CLIENT_ID_HEADER, Sender
from infra import names
from infra.glue_bundle import build
from qol_dagster.cli.demo import STANDARD_QUERY
from qol_dagster.resources.platform import Platform, open_platform
from qol_dagster.settings import Settings, load_settings
from qol_dagster_tests.support.cloud import Cloud, alerts_of, installed, lead_to
from qol_dagster_tests.support.lakes import differences
from qol_dagster_tests.support.reference import reference_daily, reference_weekly
from qol_ingest.shared import aws

pytestmark = [pytest.mark.aws, pytest.mark.spark]

PUSHES = 200
MONDAY, SUNDAY = date(2026, 11, 16), date(2026, 11, 22)
SIM = garmin_sim.Simulation(20, 1, SUNDAY, seed=3)
LONG_AGO, DAYS = date(2014, 1, 1), 200
"""Before the start date: such days are kept, and computed by nobody."""


@dataclass(frozen=True)
class World:
    """A deployment, what was sent to it, and what Dagster knows of it."""

    deployment: Deployment
    settings: Settings
    daemon: Daemon
    inbox: str
    """A queue that hears what the alert topic tells."""
    sent: list[Delivery]
    crash: int
    """Which of them is under way when its Lambda dies."""
    asked: list[dg.RunRequest] = field(default_factory=list)
    """The runs that the sensor asked for."""

    @property
    def platform(self) -> Platform:
        return open_platform(self.settings)

    def garmin(self) -> Sender:
        return Sender(self.deployment.webhook_url, 30, {CLIENT_ID_HEADER: self.settings.garmin_client_id})

    def weekly_rows(self) -> list[dict[str, Any]]:
        return self.platform.catalogue().query(WHOLE_TABLE).table.to_pylist()

    def glue_runs(self) -> list[str]:
        """How the runs of the Glue job ended, the first one first."""
        runs = aws.client("glue").get_job_runs(JobName=self.settings.glue_job)["JobRuns"]
        return [run["JobRunState"] for run in sorted(runs, key=lambda run: run["StartedOn"])]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("e2e")
    build(folder / "bundle", installed)
    writing = synthesise(folder / "templates", folder / "bundle")
    with pytest.MonkeyPatch.context() as patched, emulator(folder / "emulator") as started:
        synthesised(writing)
        lead_to(started, patched)
        deployment = deploy(started, folder / "templates")
        settings = load_settings({**deployment.environment, "QOL_HOME": str(folder / "home")})
        inbox = Cloud(started.url, started.folder).inbox_of(settings.alert_topic_arn)
        open_platform(settings).id_map().enrol(SIM.user_ids())
        with dg.instance_for_test() as instance:
            yield World(deployment, settings, Daemon(settings, instance), inbox, *pushes())


def pushes() -> tuple[list[Delivery], int]:
    """What is sent: the simulation, one body with old days of a device, and bodies sent before, out of order."""
    found = list(SIM.deliveries())
    found.insert(crash := len(found) // 2, old_days(SIM.user_ids()[0]))
    chance = random.Random(7)
    while len(found) < PUSHES:
        again = chance.randrange(crash)
        found.insert(chance.randrange(crash + 1, len(found) + 1), found[again])
    return found, crash


def old_days(user: str) -> Delivery:
    days = [LONG_AGO + timedelta(days=number) for number in range(DAYS)]
    dailies = [{"userId": user, "summaryId": f"x-{day}", "calendarDate": str(day), "steps": 1} for day in days]
    body = json.dumps({"dailies": dailies}).encode()
    return Delivery(datetime(2026, 11, 15, tzinfo=UTC), body, frozenset({user}))


def records_of(bodies: Iterable[bytes]) -> Counter[str]:
    """Every summary of these bodies, and how often it is there."""
    return Counter(
        json.dumps([kind, summary], sort_keys=True)
        for body in bodies
        for kind, summaries in json.loads(body).items()
        for summary in summaries
    )


def records_in(platform: Platform) -> Counter[str]:
    """Every summary of the raw zone, and how often it is there."""
    lake, found = platform.lake(), Counter[str]()
    for day in lake.raw_days():
        for item in lake.raw_objects(day):
            for line in lake.read_raw(item).splitlines():
                summary = json.loads(line)
                kind = summary.pop("_summary_type")
                del summary["_received_at"], summary["_ingest_id"]
                found[json.dumps([kind, summary], sort_keys=True)] += 1
    return found


def files_of(bucket: str, body: bytes, s3: Any) -> int:
    """How many raw files a body of that time has become."""
    name = f"{hashlib.sha256(body).hexdigest()}.jsonl"
    prefix = f"{names.RAW_DAILY}date={LONG_AGO.year}"
    found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
    return sum(item["Key"].endswith(name) for item in found)


def lambdas_of(emulator_pid: int, function: str) -> list[int]:
    """The processes in which an emulator runs a Lambda."""
    children = Path(f"/proc/{emulator_pid}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    name = f"AWS_LAMBDA_FUNCTION_NAME={function}".encode()
    return [pid for pid in pids if name in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")]


@contextmanager
def dying_under_way(world: World, body: bytes) -> Iterator[list[int]]:
    """Kill the receiver as soon as it has stored something of a body; gives how many files there were then."""
    s3, receivers = aws.client("s3"), lambdas_of(world.deployment.emulator.pid, names.WEBHOOK)
    assert files_of(world.settings.bucket, body, s3) == 0
    killed_at: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 30
        while not (stored := files_of(world.settings.bucket, body, s3)) and time.monotonic() < until:
            pass  # quickly, or it has stored everything
        for pid in receivers:
            os.kill(pid, signal.SIGKILL)
        killed_at.append(stored)

    killer = threading.Thread(target=kill)
    killer.start()
    yield killed_at
    killer.join()


@contextmanager
def failing(world: World, times: int) -> Iterator[None]:
    """Meanwhile, so many runs of the Glue job fail before they have done anything."""
    job = aws.client("glue").get_job(JobName=world.settings.glue_job)["Job"]
    bucket, _, key = job["Command"]["ScriptLocation"].removeprefix("s3://").partition("/")
    s3 = aws.client("s3")
    script = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    told = {"count": f"count-{secrets.token_hex(4)}", "times": times, "script": script}
    s3.put_object(Bucket=bucket, Key=key, Body=FAILS_FIRST.format(**told).encode())
    yield
    s3.put_object(Bucket=bucket, Key=key, Body=script)


FAILS_FIRST = """\
import pathlib, sys, tempfile
count = pathlib.Path(tempfile.gettempdir(), "{count}")
with count.open("a") as file:
    file.write(".")
if count.stat().st_size <= {times}:
    sys.exit("the machine was taken away")
exec(compile({script!r}, "the job", "exec"))
"""


def test_of_200_pushes_with_redeliveries_and_a_crash_nothing_is_lost_and_nothing_is_there_twice(world: World) -> None:
    dying = world.sent[world.crash]
    with world.garmin() as garmin:
        before = garmin.send_all(world.sent[: world.crash], connections=4)
        with dying_under_way(world, dying.body) as killed_at:
            retries = garmin.send(dying)
        after = garmin.send_all(world.sent[world.crash + 1 :], connections=4)
    assert before.bodies + 1 + after.bodies == PUSHES == len(world.sent)
    bodies = [delivery.body for delivery in world.sent]
    assert len(set(bodies)) < PUSHES - 30
    assert 0 < killed_at[0] < DAYS == files_of(world.settings.bucket, dying.body, aws.client("s3"))
    assert retries == 1
    assert records_in(world.platform) == records_of(set(bodies))
    waiting = "ApproximateNumberOfMessages"
    spilled = {"QueueUrl": world.deployment.outputs["SpillUrl"], "AttributeNames": [waiting]}
    assert aws.client("sqs").get_queue_attributes(**spilled)["Attributes"][waiting] == "0"


def test_the_sensor_asks_for_the_week_that_data_came_for_and_not_twice(world: World) -> None:
    world.asked.extend(world.daemon.arrivals())
    assert [request.partition_key for request in world.asked] == [str(MONDAY)]
    assert world.daemon.days == [str(day) for day in SIM.dates()]
    assert world.daemon.arrivals() == []


def test_a_glue_attempt_that_fails_is_made_again_and_the_table_equals_the_reference(
    world: World, tmp_path: Path
) -> None:
    with failing(world, times=1):
        done = world.daemon.run(*world.asked)
    assert done.success, world.daemon.reason(done)
    assert world.glue_runs() == ["FAILED", "SUCCEEDED"]
    assert alerts_of(world.inbox) == []
    local = local_answer(world.platform, tmp_path, [MONDAY])
    catalogue = world.platform.catalogue()
    compare(catalogue.query(STANDARD_QUERY), catalogue.query(WHOLE_TABLE), local)
    people = dict(world.platform.id_map().identities().active)
    daily = reference_daily(tmp_path / "lake", people, SIM.dates())
    assert differences(world.weekly_rows(), reference_weekly(daily, MONDAY)) == []
    assert len(world.weekly_rows()) > 15


def test_when_the_attempts_are_used_up_people_are_told_exactly_once_and_the_week_keeps_its_rows(world: World) -> None:
    before, runs = world.weekly_rows(), len(world.glue_runs())
    late = {"userId": SIM.user_ids()[0], "summaryId": "late", "calendarDate": str(SUNDAY), "steps": 1}
    with world.garmin() as garmin:
        garmin.send(Delivery(datetime.now(UTC), json.dumps({"dailies": [late]}).encode()))
    (request,) = world.daemon.arrivals()
    assert request.partition_key == str(MONDAY)
    with failing(world, times=2):
        failed = world.daemon.run(request)
    world.daemon.look_at_failure(failed.run_id)
    assert not failed.success
    assert world.glue_runs()[runs:] == ["FAILED", "FAILED"]
    ((subject, body),) = alerts_of(world.inbox)
    assert subject == f"[qol] weekly_metrics_job failed for {MONDAY}"
    assert "glue" in body.lower()
    assert world.weekly_rows() == before
