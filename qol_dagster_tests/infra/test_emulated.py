"""The templates on an emulated AWS: deployed piece by piece, and a push that goes all the way to the queue."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from qol_dagster_tests.aws.conftest import REGION, Cloud, _emulator, cloud  # noqa: F401 - fixtures
from qol_dagster_tests.infra.templates import System
from qol_ingest import aws
from qol_ingest.id_map_dynamo import DynamoIdMap

pytestmark = pytest.mark.aws

SECRET, USER = "s3cret-s3cret-s3cret", "4aacafe82427c251df9c9592d0c06768"
BODY = json.dumps({"dailies": [{"userId": USER, "calendarDate": "2026-11-16"}]})
ORDER = ("QolData", "QolIngest", "QolEtl", "QolOps")


def until(done: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def content(file: Path) -> bytes:
    """What CDK would put into the bucket of assets: the file, or the folder as an archive."""
    if file.is_file():
        return file.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(path for path in file.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(file))
    return packed.getvalue()


@pytest.fixture
def outputs(cloud: Cloud, emulated: System) -> dict[str, str]:  # noqa: F811
    """What the stacks say of themselves once all of them are there."""
    account = aws.client("sts").get_caller_identity()["Account"]
    bucket = f"cdk-hnb659fds-assets-{account}-{REGION}"
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
    found: dict[str, str] = {}
    for stack in ORDER:
        for asset in json.loads((emulated.folder / f"{stack}.assets.json").read_text())["files"].values():
            (place,) = asset["destinations"].values()
            body = content(emulated.folder / asset["source"]["path"])
            aws.client("s3").put_object(Bucket=bucket, Key=place["objectKey"], Body=body)
            if asset["source"]["path"] == f"{stack}.template.json":
                template = f"{cloud.url}/{bucket}/{place['objectKey']}"
        found |= deployed(stack, template)
    aws.client("secretsmanager").put_secret_value(SecretId="qol/webhook-secret", SecretString=SECRET)
    return found


def deployed(stack: str, template_url: str) -> dict[str, str]:
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName=stack, TemplateURL=template_url, Capabilities=["CAPABILITY_NAMED_IAM"])

    def described() -> dict[str, object]:
        return dict(cloudformation.describe_stacks(StackName=stack)["Stacks"][0])

    until(lambda: not str(described()["StackStatus"]).endswith("IN_PROGRESS"))
    assert described()["StackStatus"] == "CREATE_COMPLETE", described().get("StackStatusReason")
    return {one["OutputKey"]: one["OutputValue"] for one in described()["Outputs"]}  # type: ignore[attr-defined]


def test_a_push_through_the_deployed_api_lies_in_the_lake_and_is_told_to_the_queue(
    cloud: Cloud,  # noqa: F811
    outputs: dict[str, str],
) -> None:
    host, port = urlsplit(outputs["PublicUrl"]).netloc, urlsplit(cloud.url).port

    def answer(path: str) -> int:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("POST", path, BODY, {"Host": host, "garmin-client-id": "the-client-id"})
            return connection.getresponse().status

    assert answer("/garmin/wrong") == 403
    assert answer(f"/garmin/{SECRET}") == 200
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
