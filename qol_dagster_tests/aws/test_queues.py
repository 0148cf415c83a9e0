"""The contract of a queue, kept by a folder and by SQS alike, with real time: SQS knows whole seconds only."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from qol_dagster_tests.support.cloud import Cloud
from qol_ingest.shared.queues import LARGEST_MESSAGE_BYTES, DirectoryQueue, Message, Queue, QueueError, SqsQueue
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.spill import Drained, drain, spill

HIDDEN_S, RECEIVES = 2, 3


@dataclass(frozen=True)
class Place:
    """A queue, and what it has given up."""

    queue: Queue
    dead: Callable[[], list[str]]

    def next(self, wait_s: float = 0) -> Message:
        """The one message there is."""
        (message,) = self.queue.receive(wait_s=wait_s)
        return message


MakePlace = Callable[[int], Place]


@pytest.fixture(params=["directory", pytest.param("sqs", marks=pytest.mark.aws)])
def make_place(request: pytest.FixtureRequest, tmp_path: Path) -> MakePlace:
    """A queue that hides messages for so many seconds."""

    def folder(hidden_s: int) -> Place:
        queue = DirectoryQueue(tmp_path / "queue", visibility_s=hidden_s, max_receives=RECEIVES)
        return Place(queue, lambda: [path.read_text() for path in (queue.root / "dead").glob("*")])

    def sqs(hidden_s: int) -> Place:
        cloud: Cloud = request.getfixturevalue("cloud")
        dead = SqsQueue(cloud.queue())
        redrive = {"deadLetterTargetArn": cloud.arn_of_queue(dead.url), "maxReceiveCount": str(RECEIVES)}
        made = cloud.queue(VisibilityTimeout=str(hidden_s), RedrivePolicy=json.dumps(redrive))
        return Place(SqsQueue(made), lambda: [one.body for one in dead.receive()])

    return folder if request.param == "directory" else sqs


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    return make_place(30)


@pytest.fixture
def hasty(make_place: MakePlace) -> Place:
    return make_place(HIDDEN_S)


def test_a_message_is_handed_out_to_one_taker_until_it_is_done(hasty: Place) -> None:
    hasty.queue.send('{"a": "日本"}')
    message = hasty.next()
    assert (message.body, message.receives) == ('{"a": "日本"}', 1)
    assert hasty.queue.receive() == []
    hasty.queue.done(message)
    hasty.queue.done(message)
    time.sleep(HIDDEN_S + 0.5)
    assert hasty.queue.receive() == []


def test_what_nobody_has_done_in_time_is_handed_out_again_and_counts(hasty: Place) -> None:
    hasty.queue.send("a")
    first = hasty.next()
    again = hasty.next(wait_s=HIDDEN_S + 1)
    assert (again.body, again.receives) == ("a", 2)
    assert hasty.queue.receive() == []
    assert first.handle != again.handle


def test_what_is_given_back_comes_when_it_is_to_come(place: Place) -> None:
    place.queue.send("a")
    place.queue.retry(place.next(), 0)
    second = place.next()
    assert second.receives == 2
    place.queue.retry(second, 1)
    assert place.queue.receive() == []
    assert place.next(wait_s=3).receives == 3


def test_who_was_too_slow_neither_takes_off_nor_gives_back_what_is_somebody_else_s(hasty: Place) -> None:
    hasty.queue.send("a")
    slow = hasty.next()
    second = hasty.next(wait_s=HIDDEN_S + 1)
    hasty.queue.done(second)
    hasty.queue.retry(slow, 0)
    hasty.queue.done(slow)
    assert hasty.queue.receive() == []
    assert hasty.dead() == []


def test_a_delayed_message_comes_later(place: Place) -> None:
    place.queue.send("a", delay_s=1)
    assert place.queue.receive() == []
    assert place.next(wait_s=3).body == "a"


def test_what_was_handed_out_too_often_is_a_dead_letter(place: Place) -> None:
    place.queue.send("a")
    for receives in range(1, RECEIVES + 1):
        message = place.next()
        assert message.receives == receives
        place.queue.retry(message, 0)
    assert place.queue.receive() == []
    assert place.dead() == ["a"]


def test_no_more_is_handed_out_than_was_asked_for_and_each_once(place: Place) -> None:
    for number in range(12):
        place.queue.send(str(number))
    first, second, *rest = (place.queue.receive(limit) for limit in (1, 4, 10, 10, 10))
    assert (len(first), len(second)) == (1, 4)
    assert sorted(int(one.body) for found in (first, second, *rest) for one in found) == list(range(12))


def test_many_takers_at_a_time_share_the_messages(place: Place) -> None:
    for number in range(40):
        place.queue.send(str(number))

    def take(_: int) -> list[str]:
        taken = []
        while found := place.queue.receive(3):
            taken += [one.body for one in found]
            for one in found:
                place.queue.done(one)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [body for found in pool.map(take, range(4)) for body in found]
    assert sorted(map(int, taken)) == list(range(40))


def test_the_largest_message_fits(place: Place) -> None:
    place.queue.send("x" * LARGEST_MESSAGE_BYTES)
    assert len(place.next().body) == LARGEST_MESSAGE_BYTES


def test_waiting_ends_when_something_comes(place: Place) -> None:
    with ThreadPoolExecutor(1) as pool:
        begun = time.monotonic()
        waiting = pool.submit(place.queue.receive, 10, 20)
        time.sleep(0.3)
        place.queue.send("a")
        assert [one.body for one in waiting.result()] == ["a"]
    assert time.monotonic() - begun < 19


def test_objects_of_many_chunks_are_spilled_and_drained_whole(place: Place, tmp_path: Path) -> None:
    contents = {f"raw/daily/date=2026-11-16/{n}.jsonl": random.Random(n).randbytes(500_000) for n in range(3)}
    for key, content in contents.items():
        spill(place.queue, key, content)
    store = DirectoryStore(tmp_path / "lake")
    until = time.monotonic() + 20
    stored = 0
    while stored < 3 and time.monotonic() < until:
        stored += drain(place.queue, store).stored
    assert {key: store.get(key) for key in contents} == contents
    assert drain(place.queue, store) == Drained(0, 0)


@pytest.mark.aws
def test_a_queue_that_is_not_there_is_a_clear_error(cloud: Cloud) -> None:
    with pytest.raises(QueueError, match="^SQS did not do send_message: .*(NonExistentQueue|QueueDoesNotExist)$"):
        SqsQueue(f"{cloud.url}/000000000000/nowhere").send("a")
