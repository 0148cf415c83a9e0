"""When the store fails: what was taken waits in a queue and is stored later, once."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qol_ingest import spill as spill_module
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.queues import LARGEST_MESSAGE_BYTES, DirectoryQueue, Message, QueueError
from qol_ingest.shared.stores import DirectoryStore, StoreError
from qol_ingest.spill import Drained, drain, spill
from qol_ingest.webhook import Receiver

SECRET = "s3cret-s3cret-s3cret"
USER, OTHER = "4aacafe82427c251df9c9592d0c06768", "ffeeddccbbaa99887766554433221100"
NOW = datetime(2026, 11, 16, 3, tzinfo=UTC)
BODY = {
    "dailies": [{"userId": USER, "calendarDate": f"2026-11-{day}", "steps": day} for day in (14, 15, 16)],
    "sleeps": [{"userId": OTHER, "calendarDate": "2026-11-14"}, 7],
}


@dataclass
class Failing:
    """A store that takes so many objects and then none."""

    store: DirectoryStore
    takes: int = 0
    asked: list[str] = field(default_factory=list)

    def put_new(self, key: str, content: bytes) -> bool:
        self.asked.append(key)
        if len(self.asked) > self.takes:
            raise StoreError("the disk is on fire")
        return self.store.put_new(key, content)

    def get(self, key: str) -> bytes | None:
        return self.store.get(key)


class Clock:
    """A clock for a queue that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> DirectoryQueue:
    return DirectoryQueue(tmp_path / "queue", clock=clock)


def push(receiver: Receiver, body: Any = BODY) -> int:
    event = {"rawPath": f"/garmin/{SECRET}", "requestContext": {"http": {"method": "POST"}}, "body": json.dumps(body)}
    return int(receiver.handle(event, NOW)["statusCode"])


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def calm(tmp_path: Path) -> dict[str, bytes]:
    """What lies there when nothing fails."""
    assert push(Receiver(DirectoryStore(tmp_path / "calm"), SECRET)) == 200
    return files(tmp_path / "calm")


@pytest.mark.parametrize("takes", range(5))
def test_what_the_store_does_not_take_is_drained_later_and_lies_as_if_nothing_had_failed(
    tmp_path: Path, queue: DirectoryQueue, takes: int
) -> None:
    store = Failing(DirectoryStore(tmp_path / "lake"), takes)
    assert push(Receiver(store, SECRET, spill=queue)) == 200
    assert len(store.asked) == min(takes + 1, 4)  # after the first failure the store is left in peace
    found = drain(queue, store.store)
    assert found == Drained(stored=4 - takes if takes < 4 else 0, waiting=0)
    assert files(tmp_path / "lake") == calm(tmp_path)
    assert drain(queue, store.store) == Drained(0, 0)


def test_without_a_spill_queue_or_with_a_failing_one_garmin_is_asked_to_send_again(tmp_path: Path) -> None:
    class Full(DirectoryQueue):
        def send(self, body: str, delay_s: float = 0) -> None:
            raise QueueError("no queue either")

    store = Failing(DirectoryStore(tmp_path))
    for spill_queue in (None, Full(tmp_path / "queue")):
        assert push(Receiver(store, SECRET, spill=spill_queue)) == 503


def test_a_large_object_is_cut_into_messages_that_the_queue_takes(tmp_path: Path, queue: DirectoryQueue) -> None:
    content = random.Random(5).randbytes(3_000_000)  # does not shrink
    spill(queue, "raw/daily/date=2026-11-16/a.jsonl", content)
    sizes = [path.stat().st_size for path in queue.root.iterdir()]
    assert len(sizes) == 16
    assert max(sizes) <= LARGEST_MESSAGE_BYTES
    store = DirectoryStore(tmp_path / "lake")
    assert drain(queue, store).stored == 1
    assert store.get("raw/daily/date=2026-11-16/a.jsonl") == content


def test_an_object_of_which_a_part_is_on_its_way_waits(tmp_path: Path, queue: DirectoryQueue, clock: Clock) -> None:
    spill(queue, "raw/daily/date=2026-11-16/a.jsonl", random.Random(5).randbytes(400_000))
    (first, *_) = sorted(queue.root.iterdir())
    text = first.read_text()
    first.unlink()
    store = DirectoryStore(tmp_path / "lake")
    assert drain(queue, store).stored == 0
    queue.send(text)
    clock.now += spill_module.RETRY_S + 1
    assert drain(queue, store) == Drained(1, 0)


def test_drained_again_after_a_kill_between_storing_and_forgetting_nothing_is_doubled(
    tmp_path: Path, queue: DirectoryQueue, clock: Clock
) -> None:
    class Killed(DirectoryQueue):
        def done(self, message: object) -> None:
            raise KeyboardInterrupt

    assert push(Receiver(Failing(DirectoryStore(tmp_path / "lake")), SECRET, spill=queue)) == 200
    store = DirectoryStore(tmp_path / "lake")
    with pytest.raises(KeyboardInterrupt):
        drain(Killed(queue.root, clock=clock), store)
    assert len(files(tmp_path / "lake")) == 1
    clock.now += queue.visibility_s + 1
    assert drain(queue, store).stored == 4
    assert files(tmp_path / "lake") == calm(tmp_path)


def test_as_long_as_the_store_fails_everything_waits_longer_each_time_and_nothing_becomes_a_dead_letter_too_soon(
    tmp_path: Path, queue: DirectoryQueue, clock: Clock
) -> None:
    failing = Failing(DirectoryStore(tmp_path / "lake"))
    assert push(Receiver(failing, SECRET, spill=queue)) == 200
    for minutes in (1, 4, 16, 64):
        assert drain(queue, failing) == Drained(0, 4)
        clock.now += 60 * minutes - 1
        assert drain(queue, failing) == Drained(0, 0)
        clock.now += 2
    assert drain(queue, failing.store).stored == 4
    assert not (queue.root / "dead").exists()


def test_one_object_that_the_store_refuses_does_not_keep_the_others_waiting(
    tmp_path: Path, queue: DirectoryQueue
) -> None:
    store = DirectoryStore(tmp_path / "lake")
    spill(queue, "raw/not a key", b"1\n")
    spill(queue, "raw/daily/date=2026-11-16/a.jsonl", b"2\n")
    assert drain(queue, store) == Drained(1, 1)
    assert files(tmp_path / "lake") == {"raw/daily/date=2026-11-16/a.jsonl": b"2\n"}


def test_objects_are_stored_in_the_order_in_which_they_were_spilled(tmp_path: Path, queue: DirectoryQueue) -> None:
    for name in "abc":
        spill(queue, f"raw/{name}", b"x")
    for message in queue.receive():  # a queue of AWS has no order, and hands out c first this time
        queue.retry(message, {"c": -3, "b": -2, "a": -1}[json.loads(message.body)["key"][-1]])
    store = Failing(DirectoryStore(tmp_path / "lake"), takes=3)
    assert drain(queue, store).stored == 3
    assert store.asked == ["raw/a", "raw/b", "raw/c"]


def test_a_kill_while_the_messages_of_one_object_are_taken_off_leaves_no_dead_letter(
    tmp_path: Path, queue: DirectoryQueue, clock: Clock
) -> None:
    class Killed(DirectoryQueue):
        def done(self, message: Message) -> None:
            super().done(message)
            raise KeyboardInterrupt

    spill(queue, "raw/a", random.Random(5).randbytes(700_000))
    store = DirectoryStore(tmp_path / "lake")
    with pytest.raises(KeyboardInterrupt):
        drain(Killed(queue.root, clock=clock), store)
    clock.now += queue.visibility_s + 1
    assert drain(queue, store) == Drained(0, 0)
    assert list(queue.root.iterdir()) == []


def test_what_was_spilled_in_part_is_forgotten_once_garmin_has_sent_it_again(
    tmp_path: Path, queue: DirectoryQueue
) -> None:
    class Breaking(DirectoryQueue):
        def send(self, body: str, delay_s: float = 0) -> None:
            if list(self.root.glob("*")):
                raise QueueError("the queue breaks")
            super().send(body, delay_s)

    key, content = "raw/daily/date=2026-11-16/a.jsonl", random.Random(5).randbytes(400_000)
    with pytest.raises(QueueError, match="breaks"):
        spill(Breaking(queue.root, clock=queue.clock), key, content)
    store = DirectoryStore(tmp_path / "lake")
    store.put_new(key, content)
    assert drain(queue, store) == Drained(0, 0)
    assert list(queue.root.iterdir()) == []


def test_a_damaged_object_is_stored_nowhere_and_becomes_a_dead_letter(
    tmp_path: Path, queue: DirectoryQueue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    spill(queue, "raw/a", b"content")
    (message,) = queue.receive()
    queue.done(message)
    for damage in ({"sha256": "0" * 64}, {"data": "####"}, {"data": "QUJD"}):
        queue.send(json.dumps({**json.loads(message.body), **damage, "spill": str(damage)}))
    store = DirectoryStore(tmp_path / "lake")
    for _ in range(queue.max_receives + 1):
        assert drain(queue, store) == Drained(0, 0)
        clock.now += queue.visibility_s + 1
    assert files(tmp_path / "lake") == {}
    assert len(list((queue.root / "dead").iterdir())) == 3
    assert "damaged" in caplog.text


def test_a_drain_holds_so_much_at_a_time_and_goes_on_until_its_time_is_over(
    tmp_path: Path, queue: DirectoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(25):
        spill(queue, f"raw/{number:02}", bytes([number]))
    monkeypatch.setattr(spill_module, "MOST_CHARS", 1)
    store = DirectoryStore(tmp_path / "lake")
    assert drain(queue, store, until=time.monotonic() - 1) == Drained(0, 0)
    assert len(list(queue.root.iterdir())) == 25
    assert drain(queue, store) == Drained(25, 0)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"spill": 1}', "\\ud800"])
def test_a_message_that_is_none_of_ours_becomes_a_dead_letter_and_stops_nobody(
    tmp_path: Path, queue: DirectoryQueue, clock: Clock, body: str
) -> None:
    queue.send(body)
    spill(queue, "raw/daily/date=2026-11-16/a.jsonl", b"line\n")
    store = DirectoryStore(tmp_path / "lake")
    assert drain(queue, store).stored == 1
    for _ in range(queue.max_receives):
        clock.now += queue.visibility_s + 1
        drain(queue, store)
    assert [path.read_text() for path in (queue.root / "dead").iterdir()] == [body]


def test_first_seen_users_are_pending_once_and_enrolled_ones_stay_what_they_are(tmp_path: Path) -> None:
    people = SqliteIdMap(tmp_path / "map.sqlite")
    people.add(USER, "P1")
    receiver = Receiver(DirectoryStore(tmp_path / "lake"), SECRET, id_map=people)
    odd = {"hrv": [{"userId": 7}, {"userId": ""}, {"userId": None}, {}], "pulseox": [{"userId": OTHER}]}
    assert push(receiver) == push(receiver, odd) == push(receiver) == 200
    assert {one.garmin_user_id: (one.status, one.participant_id) for one in people.list()} == {
        USER: ("active", "P1"),
        OTHER: ("pending", ""),
    }
    assert people.add(OTHER) == "P0002"


def test_an_id_map_that_fails_costs_no_record_and_names_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "map.sqlite"
    broken.write_bytes(b"this is no database, and it is long enough to be seen as none" * 20)
    receiver = Receiver(DirectoryStore(tmp_path / "lake"), SECRET, id_map=SqliteIdMap(broken))
    assert push(receiver) == 200
    assert files(tmp_path / "lake") == calm(tmp_path)
    assert "users could not be noted" in caplog.text
    assert not any(user in caplog.text for user in (USER, OTHER))


def test_a_slow_store_is_left_for_the_queue_when_its_time_is_over(
    tmp_path: Path, queue: DirectoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]

    @dataclass
    class Slow(Failing):
        def put_new(self, key: str, content: bytes) -> bool:
            passed[0] += 4
            return super().put_new(key, content)

    monkeypatch.setattr("qol_ingest.webhook.time.monotonic", lambda: passed[0])
    store = Slow(DirectoryStore(tmp_path / "lake"), takes=100)
    assert push(Receiver(store, SECRET, spill=queue)) == 200
    assert len(store.asked) == 2  # begun at 0 s and at 4 s, not at 8 s
    monkeypatch.undo()
    drain(queue, store.store)
    assert files(tmp_path / "lake") == calm(tmp_path)
