"""The queue of one machine: files that threads and processes share. What every queue does is told in `aws/`."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qol_ingest.shared.queues import DirectoryQueue, QueueError, announced, announcement

TAKER = """
import sys
from pathlib import Path
from qol_ingest.shared.queues import DirectoryQueue

queue = DirectoryQueue(Path(sys.argv[1]))
while found := queue.receive(5):
    for one in found:
        print(one.body, one.receives)
        queue.done(one)
"""


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> DirectoryQueue:
    return DirectoryQueue(tmp_path / "deep" / "queue", clock=clock)


def test_messages_come_in_the_order_in_which_they_are_due(queue: DirectoryQueue, clock: Clock) -> None:
    for body, delay_s in {"later": 10, "first": 0, "second": 0.5}.items():
        queue.send(body, delay_s)
    clock.now += 11
    assert [one.body for one in queue.receive()] == ["first", "second", "later"]


def test_a_taker_that_was_killed_loses_nothing(queue: DirectoryQueue, clock: Clock) -> None:
    queue.send("a")
    assert queue.receive()  # and never heard of again
    clock.now += queue.visibility_s - 1
    assert queue.receive() == []
    clock.now += 2
    assert [(one.body, one.receives) for one in queue.receive()] == [("a", 2)]


def test_a_message_of_when_the_clock_was_a_year_ahead_is_handed_out_once_it_is_right(
    queue: DirectoryQueue, clock: Clock
) -> None:
    clock.now += 365 * 86_400
    queue.send("taken")
    clock.now += 1
    queue.send("sent")
    assert [one.body for one in queue.receive(1)] == ["taken"]  # and hidden for a year and a minute
    clock.now -= 365 * 86_400
    queue.send("hidden", 3 * 3600)
    queue.send("now")
    assert [one.body for one in queue.receive()] == ["now", "sent", "taken"]
    assert queue.receive() == []


def test_a_sender_that_was_killed_half_way_leaves_nothing_that_is_taken_for_a_message(queue: DirectoryQueue) -> None:
    queue.send("a")
    (queue.root / ".0123456789abcdef.tmp").write_text("half a mess")
    (queue.root / "note.txt").write_text("somebody's")
    assert [one.body for one in queue.receive()] == ["a"]


def test_processes_share_the_messages_and_each_is_taken_once(tmp_path: Path) -> None:
    queue = DirectoryQueue(tmp_path / "queue")
    for number in range(60):
        queue.send(str(number))

    def take(_: int) -> str:
        command = [sys.executable, "-c", TAKER, str(queue.root)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(3) as pool:
        lines = "".join(pool.map(take, range(3))).splitlines()
    assert sorted(lines) == sorted(f"{number} 1" for number in range(60))


def test_a_dead_letter_keeps_its_content_and_may_be_read_by_its_owner_alone(
    queue: DirectoryQueue, clock: Clock
) -> None:
    queue.send("a")
    for _ in range(queue.max_receives):
        assert len(queue.receive()) == 1
        clock.now += queue.visibility_s + 1
    assert queue.receive() == []
    assert [path.read_text() for path in (queue.root / "dead").iterdir()] == ["a"]
    assert [path.stat().st_mode & 0o077 for path in (queue.root, queue.root / "dead")] == [0, 0]


def test_a_queue_that_nobody_has_used_is_empty_and_looking_makes_none(queue: DirectoryQueue) -> None:
    assert queue.receive() == []
    assert not queue.root.exists()


def test_a_queue_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("a file")
    queue = DirectoryQueue(tmp_path / "queue")
    with pytest.raises(QueueError, match="^the queue .*/queue could not be read or written: File exists$"):
        queue.send("a")
    with pytest.raises(QueueError):
        DirectoryQueue(tmp_path / "other").send("\ud800")
    assert list((tmp_path / "other").iterdir()) == []


def test_an_announcement_is_read_back_and_anything_else_announces_nothing() -> None:
    key = "raw/pings/date=2026-11-16/a b+c%.jsonl"
    assert announced(announcement(key)) == [key]
    removed = {"Records": [{"eventName": "ObjectRemoved:Delete", "s3": {"object": {"key": "a"}}}]}
    odd_key = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": 7}}}]}
    for body in ("", "7", "[]", "{}", '{"Records": 7}', '{"Records": [7]}', '{"Event": "s3:TestEvent"}', "[" * 50_000):
        assert announced(body) == []
    for content in (removed, odd_key):
        assert announced(json.dumps(content)) == []
