"""The whole system on an emulated AWS, deployed from its templates, while things go wrong on the way.

The tests are stages of one story and run in their order: 200 pushes, a crash, what the sensor asks for, a Glue attempt
that fails, and one week whose attempts are used up.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import garmin_sim
from emulated_aws.daemon import Daemon
from emulated_aws.deployment import Deployment, deploy, synthesise, synthesised
from emulated_aws.server import emulator
from garmin_sim import Delivery
from garmin_sim.pusher import CLIENT_ID_HEADER, Sender
from infra import names
from qol_dagster.resources.platform import Platform
from qol_dagster.settings import Settings, load_settings
from qol_dagster_tests.aws.conftest import lead_to
from qol_ingest import aws

pytestmark = pytest.mark.aws

PUSHES = 200
SUNDAY = date(2026, 11, 22)
WEEKS = [date(2026, 11, 9), date(2026, 11, 16)]
SIM = garmin_sim.Simulation(10, 2, SUNDAY, seed=3)
LONG_AGO, DAYS = date(2014, 1, 1), 120
"""Before the start date: such days are kept, and computed by nobody."""


@dataclass(frozen=True)
class World:
    """A deployment, what was sent to it, and what Dagster knows of it."""

    deployment: Deployment
    settings: Settings
    daemon: Daemon
    sent: list[Delivery]
    crash: int
    """Which of them is under way when its Lambda dies."""

    @property
    def platform(self) -> Platform:
        return Platform(self.settings)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("e2e")
    writing = synthesise(folder / "templates", folder / "no bundle")
    with pytest.MonkeyPatch.context() as patched, emulator(folder / "emulator") as started:
        synthesised(writing)
        lead_to(started, patched)
        deployment = deploy(started, folder / "templates")
        settings = load_settings({**deployment.environment, "QOL_HOME": str(folder / "home")})
        Platform(settings).id_map().enrol(SIM.user_ids())
        with dg.instance_for_test() as instance:
            yield World(deployment, settings, Daemon(settings, instance), *pushes())


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


def kill_under_way(world: World, body: bytes, killed_at: list[int]) -> None:
    """Kill the receiver as soon as it has stored something of a body; notes how many files there were."""
    bucket, s3, until = world.settings.bucket, aws.client("s3"), time.monotonic() + 30
    receivers = lambdas_of(world.deployment.emulator.pid, names.WEBHOOK)
    while not (stored := files_of(bucket, body, s3)) and time.monotonic() < until:
        pass  # quickly, or it has stored everything
    for pid in receivers:
        os.kill(pid, signal.SIGKILL)
    killed_at.append(stored)


def test_of_200_pushes_with_redeliveries_and_a_crash_nothing_is_lost_and_nothing_is_there_twice(world: World) -> None:
    dying, killed_at = world.sent[world.crash], []
    killer = threading.Thread(target=kill_under_way, args=(world, dying.body, killed_at))
    with Sender(world.deployment.webhook_url, 30, {CLIENT_ID_HEADER: world.settings.garmin_client_id}) as garmin:
        before = garmin.send_all(world.sent[: world.crash], connections=4)
        killer.start()
        retries = garmin.send(dying)
        killer.join()
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


def test_the_sensor_asks_for_each_week_that_data_came_for_and_for_none_twice(world: World) -> None:
    asked = world.daemon.arrivals()
    assert [request.partition_key for request in asked] == [str(week) for week in WEEKS]
    assert len(world.daemon.days) == len(set(world.daemon.days)) == 14
    assert world.daemon.arrivals() == []
