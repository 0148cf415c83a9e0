"""The kick as Lambda runs it, with a Glue job, a topic and a secret of AWS, and a Dagster that is there or not."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from qol_dagster_tests.support.cloud import Cloud
from qol_ingest import kick
from qol_ingest.kick import KickError
from qol_ingest.shared import aws
from qol_ingest.shared.queues import SqsQueue

pytestmark = pytest.mark.aws

EVENT = {"time": "2026-11-25T00:05:00Z"}
WEEK = "2026-11-16"
TOKEN = "t0ken-t0ken-t0ken"


@dataclass(frozen=True)
class System:
    """What the Lambda was told of in its environment, and a queue that listens to the topic."""

    job: str
    inbox: SqsQueue

    def runs(self) -> list[dict[str, Any]]:
        return list(aws.client("glue").get_job_runs(JobName=self.job)["JobRuns"])

    def mails(self) -> list[tuple[str, str]]:
        told = [json.loads(one.body) for one in self.inbox.receive(wait_s=1)]
        return [(one["Subject"], one["Message"]) for one in told]


@pytest.fixture
def system(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    bucket, queue = cloud.bucket(), cloud.queue()
    # The emulator runs a script of this kind as it is; it is still running when the tests look.
    aws.client("s3").put_object(Bucket=bucket, Key="job.py", Body=b"import time; time.sleep(5)")
    command = {"Name": "pythonshell", "ScriptLocation": f"s3://{bucket}/job.py", "PythonVersion": "3.9"}
    aws.client("glue").create_job(Name=bucket, Role="arn:aws:iam::000000000000:role/etl", Command=command)
    sns = aws.client("sns")
    topic = sns.create_topic(Name=bucket)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=cloud.arn_of_queue(queue))
    with socket.create_server(("127.0.0.1", 0)) as free:
        nowhere = free.getsockname()[1]
    for name, value in {
        "QOL_DAGSTER_URL": f"http://127.0.0.1:{nowhere}",
        "QOL_GLUE_JOB": bucket,
        "QOL_ALERT_TOPIC_ARN": topic,
    }.items():
        monkeypatch.setenv(name, value)
    yield System(bucket, SqsQueue(queue))
    logging.getLogger("qol_ingest").setLevel(logging.NOTSET)


def test_without_dagster_glue_computes_the_week_once_and_people_are_told(system: System) -> None:
    assert kick.handler(EVENT, None) == {"week": WEEK, "outcome": "started on Glue"}
    (run,) = system.runs()
    assert (run["Arguments"], run["JobRunState"]) == ({"--weeks": WEEK, "--triggered-by": "kick"}, "RUNNING")
    ((subject, text),) = system.mails()
    assert subject == "[qol] the week of 2026-11-16 runs on Glue, without Dagster"
    assert "The week of 2026-11-16 is started on Glue. Dagster does not answer: ConnectionRefusedError." in text
    assert kick.handler(EVENT, None) == {"week": WEEK, "outcome": "on Glue already"}
    assert len(system.runs()) == 1
    assert "is on Glue already" in system.mails()[0][1]
    other = {"time": "2026-11-18T00:05:00Z"}
    assert kick.handler(other, None) == {"week": "2026-11-09", "outcome": "started on Glue"}


def test_when_glue_cannot_be_started_either_people_are_told_and_the_lambda_fails(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QOL_GLUE_JOB", "no-such-job-of-ours")
    with pytest.raises(KickError, match="Glue does not start it: EntityNotFoundException"):
        kick.handler(EVENT, None)
    ((subject, text),) = system.mails()
    assert subject == "[qol] the week of 2026-11-16 was not started"
    assert "Dagster does not answer: ConnectionRefusedError" in text
    assert "EntityNotFoundException" in text


def test_a_start_on_glue_of_which_nobody_can_be_told_fails_the_lambda_and_is_kept(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QOL_ALERT_TOPIC_ARN", "arn:aws:sns:ap-northeast-1:000000000000:nowhere")
    for outcome in ("started on Glue", "on Glue already"):  # Lambda tries again
        with pytest.raises(KickError, match=rf"is {outcome}\. .* Nobody could be notified"):
            kick.handler(EVENT, None)
    assert len(system.runs()) == 1


class Guarded(BaseHTTPRequestHandler):
    """A Dagster behind a proxy that wants the token; the run that it has takes care of the week."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        allowed = self.headers["authorization"] == f"Bearer {TOKEN}"
        run = {"status": "STARTED", "startTime": time.time(), "tags": [{"key": "dagster/partition", "value": WEEK}]}
        healthy = {"daemonHealth": {"daemonStatus": {"healthy": True}}}
        data = {"instance": healthy, "ofWeek": {"results": [run]}, "since": {"results": [run]}}
        self.send_response(200 if allowed and self.path == "/dagster/graphql" else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"data": data}).encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def guarded(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("QOL_DAGSTER_URL", f"http://127.0.0.1:{server.server_address[1]}/dagster/")
    yield system
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("secret", "outcome"),
    # A line break within cannot be sent, and http.client quotes the whole of it.
    [(f"{TOKEN}\n", "there already"), (f"{TOKEN}\r\nx-more: 1", "started on Glue")],
)
def test_the_token_of_secrets_manager_opens_dagster_and_is_told_to_nobody_else(
    guarded: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, secret: str, outcome: str
) -> None:
    made = aws.client("secretsmanager").create_secret(Name=secrets.token_hex(6), SecretString=secret)
    monkeypatch.setenv("QOL_DAGSTER_TOKEN_ARN", made["ARN"])
    assert kick.handler(EVENT, None)["outcome"] == outcome
    assert len(guarded.runs()) == (outcome == "started on Glue")
    assert "t0ken" not in caplog.text + str(guarded.mails())


def test_a_token_that_cannot_be_read_is_a_dagster_that_does_not_answer(
    guarded: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QOL_DAGSTER_TOKEN_ARN", "nothing-there")
    assert kick.handler(EVENT, None)["outcome"] == "started on Glue"
    assert "the token for Dagster cannot be read: ResourceNotFoundException" in guarded.mails()[0][1]
