"""The emulated AWS as tests set it up, and a deployment on it. `conftest.py` starts it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest  # noqa: TC002 - what an argument is, as in any test

from emulated_aws.server import REGION, Emulator
from infra import glue_bundle
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.metrics.tables import DATABASE, LAYOUTS, Column, ExternalTable, external_table, revisions_table
from qol_dagster.settings import Settings
from qol_dagster.surveys.tables import survey_external_tables
from qol_ingest.shared import aws
from qol_ingest.shared.queues import SqsQueue


@functools.cache
def _client(_url: str, service: str) -> Any:
    return aws.client(service)


@dataclass(frozen=True)
class Cloud:
    """The emulated AWS, as tests set it up. Names are made anew, since all tests share it; its files are in `place`."""

    url: str
    place: Path

    def client(self, service: str) -> Any:
        """A client that all tests share: to make one takes longer than what it is asked here."""
        return _client(self.url, service)

    def bucket(self) -> str:
        """A new bucket."""
        name = f"qol-{secrets.token_hex(6)}"
        place = {"LocationConstraint": REGION}
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=place)
        return name

    def queue(self, **attributes: str) -> str:
        """A new queue's URL."""
        made = self.client("sqs").create_queue(QueueName=f"qol-{secrets.token_hex(6)}", Attributes=attributes)
        return str(made["QueueUrl"])

    def arn_of_queue(self, url: str) -> str:
        """What other services know a queue by."""
        found = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(found["Attributes"]["QueueArn"])

    def told_of(self, bucket: str, prefix: str, queue: str) -> None:
        """Have a queue told of every new object of a bucket whose key begins so."""
        rule = {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}
        told = {"QueueArn": self.arn_of_queue(queue), "Events": ["s3:ObjectCreated:*"], "Filter": rule}
        self.client("s3").put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [told]}
        )

    def waiting(self, queue: str, count: int) -> int:
        """How many messages wait in a queue; looks until there are `count` or more, for a few seconds."""
        until, name = time.monotonic() + 10, "ApproximateNumberOfMessages"
        while True:
            found = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=[name])
            if int(found["Attributes"][name]) >= count or time.monotonic() > until:
                return int(found["Attributes"][name])
            time.sleep(0.05)

    def table(self, *keys: str) -> str:
        """A new table with these keys, all of them text; without any, one like `user_id_map`."""
        keys = keys or ("garmin_user_id",)
        name = f"{keys[0]}_{secrets.token_hex(6)}"
        self.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        return name

    def topic(self) -> tuple[str, str]:
        """A new topic's ARN, and the URL of a queue that gets what is told there."""
        arn = str(self.client("sns").create_topic(Name=f"alert-{secrets.token_hex(6)}")["TopicArn"])
        return arn, self.inbox_of(arn)

    def inbox_of(self, topic_arn: str) -> str:
        """The URL of a new queue that gets what is told to a topic."""
        inbox = self.queue()
        self.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=self.arn_of_queue(inbox))
        return inbox

    def workgroup(self, bucket: str) -> str:
        """A new workgroup, which puts its results into a bucket."""
        name = f"qol-{secrets.token_hex(6)}"
        results = {"ResultConfiguration": {"OutputLocation": f"s3://{bucket}/athena/"}}
        self.client("athena").create_work_group(Name=name, Configuration=results)
        return name

    def glue_job(self) -> str:
        """A new Glue job, which has nothing to do."""
        name = f"qol-weekly-etl-{secrets.token_hex(6)}"
        command = {"Name": "glueetl", "ScriptLocation": "s3://nowhere/job.py"}
        self.client("glue").create_job(Name=name, Role="any", Command=command, GlueVersion="5.1")
        return name

    def runs_script(self, job: str, script: Path, **arguments: str) -> None:
        """Have a Glue job run a script as a process of its own, with these arguments in its environment."""
        bucket = self.bucket()
        self.client("s3").put_object(Bucket=bucket, Key=script.name, Body=script.read_bytes())
        command = {"Name": "pythonshell", "ScriptLocation": f"s3://{bucket}/{script.name}"}
        told = {f"--{name.replace('_', '-')}": value for name, value in arguments.items()}
        update = {"Role": "any", "Command": command, "DefaultArguments": told}
        self.client("glue").update_job(JobName=job, JobUpdate=update)

    def tables(self, bucket: str) -> None:
        """`db_qol` over a bucket, as the deployment makes it; it takes the place of what other tests made."""
        glue = self.client("glue")
        with contextlib.suppress(glue.exceptions.EntityNotFoundException):
            glue.delete_database(Name=DATABASE)
        glue.create_database(DatabaseInput={"Name": DATABASE})
        place = f"s3://{bucket}", Settings().start_date
        of_weeks = [
            make(table, *place, profile.suffix)
            for profile in PROFILES.values()
            for table in LAYOUTS
            for make in (external_table, revisions_table)
        ]
        for made in (*of_weeks, *survey_external_tables(*place)):
            glue.create_table(DatabaseName=DATABASE, TableInput=_table_input(made))


def _table_input(table: ExternalTable) -> dict[str, Any]:
    def declared(columns: Iterable[Column]) -> list[dict[str, str]]:
        return [{"Name": one.name, "Type": one.type, "Comment": one.comment} for one in columns]

    return {
        "Name": table.name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": dict(table.parameters),
        "PartitionKeys": declared(table.partition_keys),
        "StorageDescriptor": {
            "Columns": declared(table.columns),
            "Location": table.location,
            "InputFormat": table.input_format,
            "OutputFormat": table.output_format,
            "SerdeInfo": {"SerializationLibrary": table.serde},
        },
    }


def lead_to(started: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process know one AWS and no other."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in started.environment.items():
        monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class Deployment:
    """What a deployment consists of, and a queue that hears what its alert topic tells."""

    settings: Settings
    inbox: str

    def told(self) -> list[tuple[str, str]]:
        """Subjects and bodies of the alerts since the last time."""
        return alerts_of(self.inbox)


def alerts_of(inbox: str) -> list[tuple[str, str]]:
    """Subjects and bodies of what a topic told a queue that subscribed to it."""
    found = [json.loads(one.body) for one in SqsQueue(inbox).receive(wait_s=1)]
    return [(one["Subject"], one["Message"]) for one in found]


def installed(folder: Path) -> None:
    """Copy the packages that Glue lacks from this machine, in place of downloading them."""
    for name in glue_bundle.MISSING_IN_GLUE:
        package = metadata.distribution(name)
        for top in {file.parts[0] for file in package.files or ()}:
            shutil.copytree(str(package.locate_file(top)), folder / top)
