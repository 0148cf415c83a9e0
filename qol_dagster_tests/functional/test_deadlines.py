"""Garmin has its answer in time with every dependency hanging: real sockets that accept, and do not answer."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qol_ingest import webhook
from qol_ingest.shared.deadline import TooSlowError, within
from qol_ingest.shared.id_map_dynamo import DynamoIdMap
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.queues import DirectoryQueue, SqsQueue
from qol_ingest.shared.stores import SLOWEST_BYTES_PER_S, WRITE_S, DirectoryStore, S3Store
from qol_ingest.spill import drain
from qol_ingest.webhook import Limits, Receiver

SECRET = "s3cret-s3cret-s3cret"
USER = "4aacafe82427c251df9c9592d0c06768"
NOW = datetime(2026, 11, 16, 3, tzinfo=UTC)
BODY = json.dumps({"dailies": [{"userId": USER, "calendarDate": f"2026-11-{day}"} for day in (14, 15, 16)]})
PUSH = {"rawPath": f"/garmin/{SECRET}", "requestContext": {"http": {"method": "POST"}}, "body": BODY}
SHORT = Limits(store_s=0.3, store_alone_s=0.3, id_map_s=(0.9, 1.2), spill_s=(1.2, 1.5))
GRACE_S = 8.0
"""For a machine that is busy with other tests."""


class Hanging(threading.Thread):
    """A server that takes every connection and answers with a byte now and then, or with nothing at all."""

    def __init__(self, drip: bytes) -> None:
        super().__init__(daemon=True)
        self.drip = drip
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.clients: list[socket.socket] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        self.listener.settimeout(0.1)
        while not self.over.is_set():
            with suppress(TimeoutError):
                self.clients.append(self.listener.accept()[0])
            for client in [*self.clients] if self.drip else ():
                try:
                    client.sendall(self.drip)
                except OSError:
                    self.clients.remove(client)
                    client.close()

    def close(self) -> None:
        self.over.set()
        self.join()
        for one in (self.listener, *self.clients):
            one.close()


@pytest.fixture(params=[b"", b"H"], ids=["silent", "dripping"])
def hanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    others = threading.active_count()
    running = Hanging(request.param)
    running.start()
    for name, value in {
        "AWS_ENDPOINT_URL": running.url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "ap-northeast-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    yield running
    running.close()
    # Calls that were given up come to their end, which is near since nobody listens any more.
    until = time.monotonic() + 20
    while threading.active_count() > others and time.monotonic() < until:
        time.sleep(0.05)


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def push(receiver: Receiver) -> tuple[int, float]:
    """Status, and how long it took."""
    begun = time.monotonic()
    status = receiver.handle(PUSH, NOW)["statusCode"]
    return status, time.monotonic() - begun


def test_with_everything_hanging_garmin_is_asked_to_send_again_in_time(hanging: Hanging) -> None:
    queue, people = SqsQueue(f"{hanging.url}/000000000000/spill"), DynamoIdMap("user_id_map")
    status, took_s = push(Receiver(S3Store("qol", limit_s=0.3), SECRET, spill=queue, id_map=people, limits=SHORT))
    assert status == 503
    assert 1.2 < took_s < 1.5 + GRACE_S  # the queue had its share


def test_with_the_store_alone_hanging_nothing_is_asked_of_it_twice_and_all_is_spilled(
    hanging: Hanging, tmp_path: Path
) -> None:
    queue, people = DirectoryQueue(tmp_path / "queue"), SqliteIdMap(tmp_path / "map")
    patient = replace(SHORT, spill_s=(20.0, 25.0))  # the queue is fast, but the machine may be busy
    status, took_s = push(Receiver(S3Store("qol", limit_s=0.3), SECRET, spill=queue, id_map=people, limits=patient))
    assert status == 200
    assert took_s < 0.6 + GRACE_S
    assert drain(queue, DirectoryStore(tmp_path / "lake")).stored == 3
    assert len(files(tmp_path / "lake")) == 3


def test_with_the_store_hanging_and_no_queue_garmin_is_asked_to_send_again_in_time(hanging: Hanging) -> None:
    status, took_s = push(Receiver(S3Store("qol", limit_s=0.3), SECRET, limits=SHORT))
    assert status == 503
    assert took_s < 0.6 + GRACE_S


def test_with_the_id_map_hanging_the_push_is_taken_and_the_users_are_asked_for_next_time(
    hanging: Hanging, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patient = replace(SHORT, store_alone_s=20.0, id_map_s=(20.0, 1.2))  # only the map hangs; the machine may be busy
    receiver = Receiver(DirectoryStore(tmp_path), SECRET, id_map=DynamoIdMap("user_id_map"), limits=patient)
    for _ in range(2):
        status, took_s = push(receiver)
        assert status == 200
        assert took_s < 1.2 + GRACE_S
    assert len(files(tmp_path)) == 3
    assert caplog.text.count("users could not be noted: TooSlowError") == 2


def test_with_little_time_left_the_id_map_is_not_asked_at_all(tmp_path: Path) -> None:
    class Asked(SqliteIdMap):
        def seen(self, *_: Any) -> int:
            raise AssertionError

    receiver = Receiver(
        DirectoryStore(tmp_path), SECRET, id_map=Asked(tmp_path / "map"), limits=Limits(id_map_s=(0.0, 16.0))
    )
    assert push(receiver)[0] == 200


def test_a_warm_receiver_asks_the_id_map_once_for_each_user(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    class Asked(SqliteIdMap):
        def seen(self, users: Any, at: datetime) -> int:
            asked.append(list(users))
            return super().seen(asked[-1], at)

    receiver = Receiver(DirectoryStore(tmp_path), SECRET, id_map=Asked(tmp_path / "map"))
    other = {**PUSH, "body": json.dumps({"sleeps": [{"userId": USER}, {"userId": "other"}]})}
    for event in (PUSH, PUSH, other, other):
        receiver.handle(event, NOW)
    assert asked == [[USER], ["other"]]


def test_the_usual_limits_leave_room_within_garmin_s_thirty_seconds() -> None:
    limits, largest_bytes = Limits(), 10 * 1024 * 1024  # what API Gateway takes
    write_s = WRITE_S + largest_bytes / SLOWEST_BYTES_PER_S
    assert limits.store_s + write_s < limits.spill_s[0]  # what the store did not take can still be spilled
    assert limits.store_s + write_s < limits.id_map_s[1]
    slowest_s = max(limits.store_alone_s + write_s, limits.spill_s[1], limits.id_map_s[1])
    assert webhook.SECRET_S + slowest_s < 28


# -- the secret


@pytest.fixture
def _fresh() -> Iterator[None]:
    webhook._receiver_of_environment.cache_clear()
    yield
    webhook._receiver_of_environment.cache_clear()
    logging.getLogger("qol_ingest").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("_fresh")
def test_with_secrets_manager_hanging_a_new_lambda_takes_nothing_and_asks_to_send_again(
    hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QOL_RAW_DIR", str(tmp_path))
    monkeypatch.setenv("QOL_WEBHOOK_SECRET_ARN", "arn:aws:secretsmanager:ap-northeast-1:000000000000:secret:hook")
    monkeypatch.setattr(webhook, "SECRET_S", 0.4)
    begun = time.monotonic()
    answer = webhook.handler(PUSH, None)
    assert (answer["statusCode"], "retry-after" in answer["headers"]) == (503, True)
    assert time.monotonic() - begun < 0.4 + GRACE_S
    assert "the webhook's secret cannot be read: TooSlowError" in caplog.text
    assert files(tmp_path) == set()


# -- giving up


def test_what_a_call_returns_or_raises_comes_through() -> None:
    def wrong() -> None:
        raise KeyboardInterrupt

    assert within(time.monotonic() + 20, "it", lambda: 7) == 7
    with pytest.raises(KeyboardInterrupt):
        within(time.monotonic() + 20, "it", wrong)


def test_a_call_that_takes_too_long_is_left_alone_and_may_end_later() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def slow() -> None:
        go_on.wait(20)
        ended.set()

    for until in (time.monotonic() + 0.05, time.monotonic() - 1):
        with pytest.raises(TooSlowError, match="^the store did not answer in time$"):
            within(until, "the store", slow)
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(20)
