"""The receiver and the drain as Lambda runs them, with a bucket, a queue, a table and a secret of AWS."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from qol_dagster_tests.support.cloud import Cloud
from qol_ingest import spill, webhook
from qol_ingest.shared import aws
from qol_ingest.shared.id_map_dynamo import DynamoIdMap
from qol_ingest.shared.queues import SqsQueue

pytestmark = pytest.mark.aws

SECRET = "s3cret-s3cret-s3cret"
USER = "4aacafe82427c251df9c9592d0c06768"
BODY = json.dumps({"dailies": [{"userId": USER, "calendarDate": f"2026-11-{day}"} for day in (14, 15, 16)]})
PUSH = {"rawPath": f"/garmin/{SECRET}", "requestContext": {"http": {"method": "POST"}}, "body": BODY}


@dataclass(frozen=True)
class System:
    """What the Lambdas were told of in their environment."""

    bucket: str
    spill: str
    table: str

    def stored(self) -> list[str]:
        return [one["Key"] for one in aws.client("s3").list_objects_v2(Bucket=self.bucket).get("Contents", ())]


@pytest.fixture
def system(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    system = System(cloud.bucket(), cloud.queue(), cloud.table())
    # A file that a secret is made of tends to end with a line break.
    secret = aws.client("secretsmanager").create_secret(Name=f"{system.bucket}/webhook", SecretString=f"{SECRET}\n")
    for name, value in {
        "QOL_BUCKET": system.bucket,
        "QOL_SPILL_QUEUE_URL": system.spill,
        "QOL_ID_MAP_TABLE": system.table,
        "QOL_WEBHOOK_SECRET_ARN": secret["ARN"],
    }.items():
        monkeypatch.setenv(name, value)
    webhook._receiver_of_environment.cache_clear()
    yield system
    webhook._receiver_of_environment.cache_clear()
    logging.getLogger("qol_ingest").setLevel(logging.NOTSET)


def test_a_push_lies_in_the_bucket_and_its_user_is_pending(system: System) -> None:
    for path, status in {PUSH["rawPath"]: 200, "/garmin/wrong": 403}.items():
        assert webhook.handler({**PUSH, "rawPath": path}, None)["statusCode"] == status
    assert [key.split("/")[:3] for key in system.stored()] == [
        ["raw", "daily", f"date=2026-11-{d}"] for d in (14, 15, 16)
    ]
    (user,) = DynamoIdMap(system.table).list()
    assert (user.garmin_user_id, user.status, user.participant_id) == (USER, "pending", "")


def test_while_the_bucket_refuses_pushes_wait_in_the_queue_and_are_drained_later(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "RETRY_S", 1.0)
    right = system.bucket
    monkeypatch.setenv("QOL_BUCKET", "no-such-bucket-of-ours")
    assert webhook.handler(PUSH, None)["statusCode"] == 200
    assert system.stored() == []
    assert webhook.drain_handler({}, None) == {"stored": 0, "waiting": 3}
    monkeypatch.setenv("QOL_BUCKET", right)
    time.sleep(1.2)
    assert webhook.drain_handler({}, None) == {"stored": 3, "waiting": 0}
    assert len(system.stored()) == 3
    webhook._receiver_of_environment.cache_clear()
    before = system.stored()
    assert webhook.handler(PUSH, None)["statusCode"] == 200
    assert system.stored() == before


def test_as_long_as_the_secret_cannot_be_had_garmin_is_asked_to_send_again(
    system: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QOL_WEBHOOK_SECRET_ARN", "nothing-there")
    assert webhook.handler(PUSH, None)["statusCode"] == 503
    assert "the webhook's secret cannot be read: ResourceNotFoundException" in caplog.text
    monkeypatch.setenv("QOL_WEBHOOK_SECRET_ARN", f"{system.bucket}/webhook")
    assert webhook.handler(PUSH, None)["statusCode"] == 200


def test_without_any_place_left_garmin_is_asked_to_send_again(
    system: System, monkeypatch: pytest.MonkeyPatch, cloud: Cloud
) -> None:
    monkeypatch.setenv("QOL_BUCKET", "no-such-bucket-of-ours")
    monkeypatch.setenv("QOL_SPILL_QUEUE_URL", f"{cloud.url}/000000000000/nowhere")
    assert webhook.handler(PUSH, None)["statusCode"] == 503
    assert SqsQueue(system.spill).receive() == []
