"""An AWS on loopback: a process of its own for the run, whose pid is known and which is stopped at its end."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from qol_ingest import aws

START_S = 60.0
REGION = "ap-northeast-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


@dataclass(frozen=True)
class Cloud:
    """The emulated AWS, as tests set it up. Names are made anew, since all tests share it."""

    url: str

    def bucket(self) -> str:
        """A new bucket."""
        name = f"qol-{secrets.token_hex(6)}"
        place = {"LocationConstraint": REGION}
        aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=place)
        return name

    def queue(self, **attributes: str) -> str:
        """A new queue's URL."""
        made = aws.client("sqs").create_queue(QueueName=f"qol-{secrets.token_hex(6)}", Attributes=attributes)
        return str(made["QueueUrl"])

    def arn_of_queue(self, url: str) -> str:
        """What other services know a queue by."""
        found = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(found["Attributes"]["QueueArn"])

    def table(self, *keys: str) -> str:
        """A new table with these keys, all of them text; without any, one like `user_id_map`."""
        keys = keys or ("garmin_user_id",)
        name = f"{keys[0]}_{secrets.token_hex(6)}"
        aws.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        return name


@pytest.fixture(scope="session")
def _emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    place = tmp_path_factory.mktemp("aws")
    for _ in range(5):  # somebody else may take the port first
        process, port = _started(place)
        if _answers(process, port):
            break
    else:
        pytest.fail(f"the emulated AWS did not start:\n{(place / 'log').read_text()[-2000:]}")
    try:
        yield Cloud(f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def cloud(_emulator: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The emulated AWS, to which all clients made in this test go."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": _emulator.url, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    return _emulator


def _started(place: Path) -> tuple[subprocess.Popen[bytes], int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Its default is all interfaces, and a second listener for things that nobody here has.
    settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0", "LOG_LEVEL": "WARNING"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "TMPDIR": str(place), **CREDENTIALS, **settings}
    with (place / "log").open("ab") as log:
        command = [sys.executable, "-m", "ministack"]
        return subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=log), port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/_ministack/health")
            if connection.getresponse().status == 200:
                return True
        except (OSError, HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    process.kill()
    process.wait()
    return False
