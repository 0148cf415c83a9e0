"""The templates on an emulated AWS: deployed piece by piece, and a push that goes all the way to the queue."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from emulated_aws.deployment import Deployment, deploy
from emulated_aws.server import Emulator
from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.templates import System
from qol_ingest.shared import aws
from qol_ingest.shared.id_map_dynamo import DynamoIdMap

pytestmark = pytest.mark.aws

USER = "4aacafe82427c251df9c9592d0c06768"
BODY = json.dumps({"dailies": [{"userId": USER, "calendarDate": "2026-11-16"}]})


def until(done: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def deployment(_emulator: Emulator, cloud: Cloud, emulated: System) -> Deployment:
    return deploy(_emulator, emulated.folder)


def test_a_push_through_the_deployed_api_lies_in_the_lake_and_is_told_to_the_queue(
    deployment: Deployment,
) -> None:
    outputs, secret = deployment.outputs, deployment.webhook_url.rpartition("/")[2]
    host, port = urlsplit(outputs["PublicUrl"]).netloc, urlsplit(deployment.emulator.url).port

    def answer(path: str) -> int:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("POST", path, BODY, {"Host": host, "garmin-client-id": "the-client-id"})
            return connection.getresponse().status

    assert answer("/garmin/wrong") == 403
    assert answer(f"/garmin/{secret}") == 200
    (raw,) = aws.client("s3").list_objects_v2(Bucket=outputs["LakeName"], Prefix="raw/daily/")["Contents"]
    assert raw["Key"].startswith("raw/daily/date=2026-11-16/")
    (user,) = DynamoIdMap("user_id_map").list()
    assert (user.garmin_user_id, user.status) == (USER, "pending")
    told: list[str] = []

    def heard() -> bool:
        answer = aws.client("sqs").receive_message(QueueUrl=outputs["ArrivalsUrl"], MaxNumberOfMessages=10)
        told.extend(one["Body"] for one in answer.get("Messages", ()))
        return any(raw["Key"].rpartition("/")[2] in one for one in told)

    until(heard)
    assert json.loads(aws.client("lambda").invoke(FunctionName="qol-spill-drain")["Payload"].read()) == {
        "stored": 0,
        "waiting": 0,
    }
    glue = aws.client("glue")
    run = glue.start_job_run(JobName="qol-weekly-etl", Arguments={"--weeks": "2026-11-16"})["JobRunId"]
    until(lambda: glue.get_job_run(JobName="qol-weekly-etl", RunId=run)["JobRun"]["JobRunState"] == "SUCCEEDED")
    assert {one["Name"] for one in aws.client("scheduler").list_schedules()["Schedules"]} == {
        "qol-spill-drain-schedule",
        "qol-weekly-schedule",
        "qol-noon-schedule",
    }
