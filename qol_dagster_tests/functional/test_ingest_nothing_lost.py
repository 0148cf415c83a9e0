"""No record is lost: thousands of odd bodies, a store and a process that fail, and pushes in any order."""

from __future__ import annotations

import base64
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import garmin_sim
from qol_dagster.cli.output import rendered
from qol_dagster.engines import open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster_tests.support.bodies import Body, bodies
from qol_ingest.records import parse_body
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.stores import DirectoryStore, StoreError
from qol_ingest.webhook import Receiver

SECRET = "s3cret-s3cret-s3cret"
PATH = f"/garmin/{SECRET}"
NOW = datetime(2026, 11, 23, 3, 4, 5, tzinfo=UTC)
COUNT = 10_000


@dataclass
class Memory:
    """A store in memory."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def put_new(self, key: str, content: bytes) -> bool:
        return self.kept.setdefault(key, content) is content


def push(receiver: Receiver, body: bytes) -> dict[str, Any]:
    sent = {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    event = {"rawPath": PATH, "requestContext": {"http": {"method": "POST"}}, **sent}
    answer = receiver.handle(event, NOW)
    assert answer["statusCode"] == 200
    return dict(json.loads(answer["body"]))


@pytest.mark.slow
def test_ten_thousand_valid_broken_and_hostile_bodies_lose_no_record_and_no_byte() -> None:
    store = Memory()
    receiver = Receiver(store, SECRET)
    seen: Counter[str] = Counter()
    for body in [*bodies(COUNT, seed=1), *huge()]:
        store.kept.clear()
        told = push(receiver, body.content)
        if body.broken:
            assert list(store.kept.values()) == [body.content]
            assert told == {"stored": 0, "rejected": 1}
        else:
            assert told["stored"] + told["rejected"] == len(body.records) + body.others
            assert Counter(originals(store)) == Counter(body.records)
        seen["broken" if body.broken else "sound"] += 1
        seen["records"] += len(body.records)
        seen["others"] += body.others
    assert sum(seen[kind] for kind in ("broken", "sound")) >= COUNT
    assert min(seen["broken"], seen["others"], seen["records"]) > 1000


def huge() -> Iterator[Body]:
    """Bodies of 6 MB: few large records, many small ones, more than any body of Garmin's has, and each cut off."""
    samples = ",".join(f'"{slot}":60' for slot in range(5760))
    large = [f'{{"userId":"u{n}","timeOffsetHeartRateSamples":{{{samples}}}}}' for n in range(115)]
    small = [f'{{"userId":"u{n}","steps":{n},"note":"{"x" * 100}"}}' for n in range(45_000)]
    for records in (large, small):
        content = f'{{"dailies":[{",".join(records)}]}}'.encode()
        assert 5_000_000 < len(content) < 8_000_000
        yield Body(content, tuple(records))
        yield Body(content[:-2], broken=True)
    tiny = ",".join(f'{{"userId":"u{n}","steps":{n}}}' for n in range(200_000))
    yield Body(f'{{"dailies":[{tiny}]}}'.encode(), broken=True)


def originals(store: Memory) -> Iterator[str]:
    """The records' text as it came, out of the lines that were stored. Rejects are counted, not compared."""
    for key, content in store.kept.items():
        if not key.endswith(".rejects.jsonl"):
            for line in content.decode().splitlines():
                head, _, rest = line.partition('"_ingest_id":"')
                assert head.startswith('{"_summary_type":')
                yield "{" + rest[65:].removeprefix(",")


# -- faults


@dataclass
class Faulty:
    """A store that is slow now and then, and fails at three keys of ten when they are written first. Seeded."""

    store: DirectoryStore
    chance: random.Random
    tried: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put_new(self, key: str, content: bytes) -> bool:
        with self.lock:
            luck, first = self.chance.random(), key not in self.tried
            self.tried.add(key)
        if luck < 0.1:
            time.sleep(0.02)
        if first and luck > 0.7:
            raise StoreError("injected")
        return self.store.put_new(key, content)


def raw_lines(lake: Path) -> Counter[str]:
    """Every raw line by date, without when it was received."""
    found: Counter[str] = Counter()
    for path in lake.glob("raw/daily/date=*/*.jsonl"):
        for line in path.read_text().splitlines():
            head, _, rest = line.partition('"_received_at":"')
            found[path.parent.name + head + rest[24:]] += 1
    return found


def expected_lines(sim: garmin_sim.Simulation) -> Counter[str]:
    """What must be there: the lines of each distinct body once."""
    found: Counter[str] = Counter()
    for body in {delivery.body for delivery in sim.deliveries()}:
        for day, lines in parse_body(body, NOW).daily.items():
            for line in lines:
                head, _, rest = line.partition('"_received_at":"')
                found[f"date={day}" + head + rest[24:]] += 1
    return found


@pytest.mark.slow
def test_a_store_that_is_slow_and_fails_half_way_has_every_record_once_after_retries(tmp_path: Path) -> None:
    sim = garmin_sim.Simulation(4, 2, date(2026, 11, 22), seed=5)
    receiver = Receiver(Faulty(DirectoryStore(tmp_path), random.Random(7)), SECRET)
    with LocalWebhook(receiver) as server:
        report = garmin_sim.push(sim, server.url)
    assert report.retries > 10
    assert raw_lines(tmp_path) == expected_lines(sim)


KILLED = """
import os, random, sys
from pathlib import Path
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver

class Deadly(DirectoryStore):
    def put_new(self, key, content):
        luck = random.random()
        if luck < 0.04:
            os._exit(9)
        done = super().put_new(key, content)
        if luck > 0.96:
            os._exit(9)
        return done

class DeadlyReceiver(Receiver):
    def handle(self, event, now=None):
        answer = super().handle(event, now)
        if random.random() < 0.04:
            os._exit(9)
        return answer

LocalWebhook(DeadlyReceiver(Deadly(Path(sys.argv[1])), sys.argv[3]), port=int(sys.argv[2])).serve_forever()
"""


@contextmanager
def restarted(lake: Path, deaths: list[int]) -> Iterator[str]:
    """A receiver that is killed now and then and started again by somebody, as a service is."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    over = threading.Event()
    command = [sys.executable, "-c", KILLED, str(lake), str(port), SECRET]
    current = [subprocess.Popen(command)]

    def watch() -> None:
        while not over.is_set():
            with suppress(subprocess.TimeoutExpired):
                deaths.append(current[0].wait(timeout=0.05))
                if not over.is_set():
                    current[0] = subprocess.Popen(command)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield f"http://127.0.0.1:{port}{PATH}"
    finally:
        over.set()
        watcher.join()
        current[0].kill()
        current[0].wait()


@pytest.mark.slow
def test_a_process_killed_between_write_and_answer_has_every_record_once_after_retries(tmp_path: Path) -> None:
    sim, deaths = garmin_sim.Simulation(3, 3, date(2026, 11, 22), seed=6), []
    with restarted(tmp_path, deaths) as url:
        garmin_sim.push(sim, url, connections=2)
    assert deaths.count(9) > 5
    assert raw_lines(tmp_path) == expected_lines(sim)


# -- any order


@dataclass(frozen=True)
class Dated:
    """A receiver whose clock is the `x-received-at` header, so that two deliveries can be compared."""

    inner: Receiver

    @property
    def secret(self) -> str:
        return self.inner.secret

    def answer_without_body(self, event: dict[str, Any]) -> dict[str, Any] | None:
        return self.inner.answer_without_body(event)

    def handle(self, event: dict[str, Any], _now: datetime | None = None) -> dict[str, Any]:
        return self.inner.handle(event, datetime.fromisoformat(event["headers"]["x-received-at"]))


def send(port: int, body: bytes, at: datetime) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", PATH, body, {"x-received-at": at.isoformat()})
        return connection.getresponse().status
    finally:
        connection.close()


def delivered(lake: Path, sim: garmin_sim.Simulation, wild: random.Random) -> int:
    """Deliver a simulation shuffled, by 16 clients, with every third body sent again a day later."""
    once = {delivery.body: delivery for delivery in reversed(list(sim.deliveries()))}
    sends = [(one.body, one.at) for one in once.values()]
    with LocalWebhook(Dated(Receiver(DirectoryStore(lake), SECRET))) as server:  # type: ignore[arg-type]
        wild.shuffle(sends)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda one: send(server.port, *one), sends))
            again = [(body, at + timedelta(days=1)) for body, at in wild.sample(sends, len(sends) // 3)]
            answers += pool.map(lambda one: send(server.port, *one), again)
    assert set(answers) == {200}
    return len(answers)


def weekly_csv(lake: Path, sim: garmin_sim.Simulation) -> str:
    identities = Identities({user: f"P{n}" for n, user in enumerate(sim.user_ids())})
    with open_engine("duckdb", memory_mb=1024, temp_dir=lake / "tmp") as engine:
        run_etl(engine, Lake.local(lake), sim.dates(), identities)
    found = query(lake, "SELECT * EXCLUDE (computed_at) FROM db_qol.weekly_metrics ORDER BY date, participant_id")
    return rendered(found.columns, found.rows, "csv")


@pytest.mark.slow
def test_a_thousand_pushes_shuffled_and_redelivered_by_sixteen_clients_give_the_same_table(tmp_path: Path) -> None:
    sim = garmin_sim.Simulation(8, 12, date(2026, 11, 22), seed=3)
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    garmin_sim.write_lake(sim, calm)
    assert delivered(wild, sim, random.Random(4)) >= 1000
    assert raw_lines(calm) == raw_lines(wild) == expected_lines(sim)
    table = weekly_csv(calm, sim)
    assert table.count("\n") > 60
    assert weekly_csv(wild, sim) == table


@pytest.fixture(autouse=True)
def _calm(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """None of it names anybody in the log."""
    yield
    assert SECRET not in caplog.text
