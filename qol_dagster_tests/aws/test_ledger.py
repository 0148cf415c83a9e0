"""The contract of the ledger of erasures in a bucket, and who consults it on AWS."""

from __future__ import annotations

import json
from datetime import date

import pytest

from qol_dagster.cli.app import run
from qol_dagster.resources.id_map import AwsIdMap, People
from qol_dagster_tests.support.cloud import Cloud, Deployment
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import ledger as contract
from qol_dagster_tests.support.contracts.ledger import OTHER, USER, Again
from qol_ingest.shared import aws
from qol_ingest.shared.erasures import AnyLedger, LedgerError
from qol_ingest.shared.erasures_s3 import S3Ledger
from qol_ingest.shared.queues import SqsQueue
from qol_ingest.shared.stores import S3Store
from qol_ingest.spill import drain
from qol_ingest.webhook import Receiver, RefusingStore

pytestmark = pytest.mark.aws

globals().update(contract_tests(contract))


@pytest.fixture
def again(cloud: Cloud) -> Again:
    bucket = cloud.bucket()
    return lambda: S3Ledger(bucket)


@pytest.fixture
def ledger(again: Again) -> AnyLedger:
    return again()


@pytest.fixture
def people(cloud: Cloud, again: Again) -> People:
    return AwsIdMap(cloud.table(), ledger=again())


def push(receiver: Receiver, day: int) -> int:
    records = [{"userId": one, "summaryId": f"{one}-{day}", "calendarDate": f"2026-11-{day}"} for one in (USER, OTHER)]
    event = {
        "requestContext": {"http": {"method": "POST", "path": "/garmin/s"}},
        "body": json.dumps({"dailies": records}),
    }
    return int(receiver.handle(event)["statusCode"])


def stored(bucket: str, day: int) -> list[str]:
    s3, prefix = aws.client("s3"), f"raw/daily/date=2026-11-{day}/"
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())]
    lines = b"".join(s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys).splitlines()
    return sorted(json.loads(line)["userId"] for line in lines)


def test_after_a_withdrawal_the_receiver_stores_the_others_alone_and_spills_while_it_cannot_ask(
    deployed: Deployment, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bucket, people = deployed.settings.bucket, AwsIdMap(deployed.settings.id_map_table)
    people.import_rows([(USER, "P1", None), (OTHER, "P2", None)])
    spilled, ledger = SqsQueue(cloud.queue(VisibilityTimeout="1")), S3Ledger(bucket)
    receiver = Receiver(S3Store(bucket), "s", spill=spilled, refusals=ledger)
    assert (push(receiver, 16), stored(bucket, 16)) == (200, [USER, OTHER])

    assert run(["participants", "withdraw", "P1"]) == 0
    assert "P1 has withdrawn" in capfd.readouterr().out
    (account,) = (one for one in people.list() if one.participant_id == "P1")
    assert (account.status, account.withdrawn_from, account.permits("dailies")) == ("withdrawn", str(date.min), False)
    assert people.identities().withdrawn == {"P1": date.min}
    assert (push(receiver, 17), stored(bucket, 17), stored(bucket, 16)) == (200, [OTHER], [USER, OTHER])

    def fails(*_: object) -> None:
        raise LedgerError("nobody answers")

    with monkeypatch.context() as patched:
        patched.setattr(S3Ledger, "_tag", fails)
        assert (push(receiver, 18), stored(bucket, 18)) == (200, [])
        assert drain(spilled, RefusingStore(S3Store(bucket), ledger)).waiting == 1
    assert stored(bucket, 18) == []
    aws.client("sqs").purge_queue(QueueUrl=spilled.url)
    with monkeypatch.context() as patched:
        patched.setattr(S3Ledger, "_tag", fails)
        push(receiver, 19)
    assert drain(spilled, RefusingStore(S3Store(bucket), ledger)).stored == 1
    assert stored(bucket, 19) == [OTHER]
