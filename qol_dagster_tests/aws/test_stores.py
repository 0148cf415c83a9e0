"""The contract of a store, kept by a directory and by a bucket alike."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qol_dagster_tests.support.cloud import Cloud
from qol_ingest.shared.queues import DirectoryQueue, SqsQueue, announced
from qol_ingest.shared.stores import DirectoryStore, NotifyingStore, S3Store, Store, StoreError

KEY = "raw/pings/date=2026-11-16/0a-1b.jsonl"


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.aws)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "not" / "there" / "yet")
    return S3Store(request.getfixturevalue("cloud").bucket(), "some/prefix/")


@pytest.mark.parametrize("content", [b"", b"line\n", bytes(range(256)) * 12_000], ids=["empty", "line", "3 MB"])
def test_what_was_put_is_got_and_never_overwritten(store: Store, content: bytes) -> None:
    assert store.get(KEY) is None
    assert store.put_new(KEY, content)
    assert not store.put_new(KEY, b"other")
    assert store.get(KEY) == content
    assert store.get(f"{KEY}.more") is None
    assert store.get("raw/pings") is None


def test_of_many_writers_of_one_key_one_has_written_it(store: Store) -> None:
    together = threading.Barrier(8)

    def write(number: int) -> bool | None:
        together.wait()
        try:
            return store.put_new(KEY, bytes([number]) * 50_000)
        except StoreError:
            return None  # S3 may ask the loser to try again, who then learns of it

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write, range(8)))
    assert written.count(True) == 1
    assert store.get(KEY) == bytes([written.index(True)]) * 50_000


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../b", "a//b", ".a", "a b", "a\n", "日本"])
def test_a_key_that_leads_elsewhere_is_neither_written_nor_read(store: Store, key: str) -> None:
    for act in (lambda: store.put_new(key, b"x"), lambda: store.get(key)):
        with pytest.raises(StoreError):
            act()


def test_a_directory_that_cannot_be_read_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "raw").symlink_to(tmp_path / "raw")
    with pytest.raises(StoreError, match="could not be read: Too many levels of symbolic links"):
        DirectoryStore(tmp_path).get(KEY)


@pytest.mark.aws
def test_a_bucket_that_is_not_there_is_not_empty(cloud: Cloud) -> None:
    store = S3Store("no-such-bucket-of-ours")
    with pytest.raises(StoreError, match="^s3://no-such-bucket-of-ours could not be read: NoSuchBucket$"):
        store.get(KEY)
    with pytest.raises(StoreError, match="^s3://no-such-bucket-of-ours could not be written: NoSuchBucket$"):
        store.put_new(KEY, b"x")


def test_locally_the_queue_hears_of_pings_and_lifecycle_events_also_of_one_told_before(tmp_path: Path) -> None:
    queue = DirectoryQueue(tmp_path / "queue")
    store = NotifyingStore(DirectoryStore(tmp_path / "lake"), queue)
    keys = [KEY, "raw/daily/date=2026-11-16/a.jsonl", "raw/lifecycle/date=2026-11-16/a-010203.jsonl"]
    assert [store.put_new(key, b"x") for key in (*keys, KEY)] == [True, True, True, False]
    # A queue promises no order: two messages of one tick of the clock may change places.
    assert sorted(announced(one.body) for one in queue.receive()) == sorted([[keys[0]], [keys[2]], [keys[0]]])
    assert store.get(KEY) == b"x"


@pytest.mark.aws
def test_s3_s_own_notification_is_read_like_the_local_one(cloud: Cloud) -> None:
    bucket, queue = cloud.bucket(), SqsQueue(cloud.queue())
    cloud.told_of(bucket, "raw/pings/", queue.url)
    store = S3Store(bucket)
    assert store.put_new("raw/daily/date=2026-11-16/a.jsonl", b"x")
    assert store.put_new(KEY, b"x")
    found: list[str] = []
    until = time.monotonic() + 20
    while KEY not in found and time.monotonic() < until:
        for message in queue.receive(wait_s=1):
            found += announced(message.body)
            queue.done(message)
    assert found == [KEY]
