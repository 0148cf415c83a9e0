"""Compare-and-swap, claims and the lease: one of many wins, and whoever dies is replaced."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import GenericError

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.lease import FREE, RENEWALS, Lease
from qol_dagster.lake.shared_object import SharedObject, SharedObjectError, Version
from qol_dagster_tests.support.cloud import Cloud

STALE_S = 1.5


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.aws)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> SharedObject:
    if request.param == "folder":
        return SharedObject.local(tmp_path / "not there yet", "alerts/a")
    return SharedObject(Lake.s3(request.getfixturevalue("cloud").bucket()).store, "alerts/a")


@pytest.fixture
def swapped(cloud: Cloud) -> SharedObject:
    return SharedObject(Lake.s3(cloud.bucket()).store, "locks/writer")


class Faulty:
    """A store on a bad line: it sends what was carried out again, loses answers, or is out of reach."""

    def __init__(self, store: Any) -> None:
        self.store, self.sends_twice, self.loses, self.is_out = store, False, 0, False

    def get(self, key: str) -> Any:
        return self._of(lambda: self.store.get(key))

    def put(self, *arguments: Any, **options: Any) -> Any:
        if self.sends_twice:
            self.store.put(*arguments, **options)
        done = self._of(lambda: self.store.put(*arguments, **options))
        if self.loses:
            self.loses -= 1
            raise GenericError("no answer came")
        return done

    def _of(self, call: Any) -> Any:
        if self.is_out:
            raise GenericError("no way there")
        return call()


# -- claims


def test_of_many_that_claim_one_has_it_until_it_is_taken_away(place: SharedObject) -> None:
    for _ in range(2):
        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(lambda _: place.claim(), range(8))) == [False] * 7 + [True]
        place.remove()
        place.remove()


def test_a_claim_that_was_sent_twice_since_its_first_answer_was_lost_is_had_all_the_same(place: SharedObject) -> None:
    faulty = Faulty(place.store)
    faulty.sends_twice = True
    shaky = SharedObject(faulty, place.key)
    assert shaky.claim()
    assert not SharedObject(place.store, place.key).claim()


def test_what_cannot_be_claimed_is_an_error_and_neither_had_nor_refused(place: SharedObject) -> None:
    faulty = Faulty(place.store)
    faulty.is_out = True
    with pytest.raises(SharedObjectError, match="alerts/a cannot be written: no way there"):
        SharedObject(faulty, place.key).claim()


# -- compare and swap


@pytest.mark.aws
def test_a_version_is_replaced_by_one_writer_and_a_stale_one_by_nobody(swapped: SharedObject) -> None:
    assert swapped.read() == Version()
    first = swapped.write(b"one", Version())
    assert first is not None
    assert swapped.read() == first
    assert swapped.write(b"two", Version()) is None
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda number: swapped.write(b"by %d" % number, first), range(8)))
    (second,) = [one for one in done if one]
    assert swapped.read() == second
    assert swapped.write(b"late", first) is None


@pytest.mark.aws
def test_an_object_that_was_taken_away_is_no_longer_replaced(swapped: SharedObject) -> None:
    first = swapped.write(b"one", Version())
    assert first is not None
    swapped.remove()
    assert swapped.write(b"two", first) is None


@pytest.mark.aws
def test_a_change_that_was_sent_twice_counts_as_done(swapped: SharedObject) -> None:
    faulty = Faulty(swapped.store)
    shaky = SharedObject(faulty, swapped.key)
    first = shaky.write(b"one", Version())
    assert first is not None
    faulty.sends_twice = True
    assert shaky.write(b"two", first) == swapped.read()
    assert swapped.read().content == b"two"


# -- the lease


@pytest.mark.aws
def test_holders_come_one_after_another(swapped: SharedObject) -> None:
    lease, count = Lease(swapped, poll_s=0.01), 0

    def add(_: int) -> None:
        nonlocal count
        with lease.held():
            before = count
            time.sleep(0.02)
            count = before + 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(12)))
    assert count == 12
    assert swapped.read().content.startswith(FREE)


@pytest.mark.aws
def test_a_holder_that_lives_is_not_replaced_however_long_it_takes(swapped: SharedObject) -> None:
    lease, begun = Lease(swapped, STALE_S, 0.1), time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        with lease.held():
            other = pool.submit(enter, lease)
            time.sleep(3 * STALE_S)
            assert not other.done()
            left = time.monotonic()
        assert other.result() >= left > begun + 3 * STALE_S


def enter(lease: Lease) -> float:
    with lease.held():
        return time.monotonic()


HOLD = f"""
import sys
from qol_dagster.lake.lease import Lease
from qol_dagster.lake.shared_object import SharedObject, SharedObjectError
from qol_dagster.lake.lake import Lake
try:
    with Lease(SharedObject(Lake.s3(sys.argv[1]).store, "locks/writer"), {STALE_S}, 0.1).held():
        print("in", flush=True)
        sys.stdin.read()
except SharedObjectError as error:
    print(error)
"""


@contextmanager
def holder(cloud: Cloud) -> Iterator[tuple[subprocess.Popen[str], Lease]]:
    """A process that holds the lease of a new bucket, and the same lease for this one."""
    bucket = cloud.bucket()
    command = [sys.executable, "-c", HOLD, bucket]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        yield process, Lease(SharedObject(Lake.s3(bucket).store, "locks/writer"), STALE_S, 0.1)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.aws
def test_a_holder_that_was_killed_is_replaced_after_a_while(cloud: Cloud) -> None:
    with holder(cloud) as (process, lease):
        process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        assert killed + STALE_S <= enter(lease) < killed + STALE_S + 5
        again = time.monotonic()
        assert enter(lease) < again + 1


@pytest.mark.aws
def test_a_holder_that_stood_still_learns_that_it_was_replaced_and_disturbs_nobody(cloud: Cloud) -> None:
    with holder(cloud) as (process, lease):
        process.send_signal(signal.SIGSTOP)
        with lease.held():
            process.send_signal(signal.SIGCONT)
            out, _ = process.communicate(timeout=20)
            assert "the lease locks/writer was lost" in out
            assert lease.place.read().content.startswith(b"held")


@pytest.mark.aws
@pytest.mark.parametrize(("out_s", "is_lost"), [(0.6 * STALE_S, False), (2 * STALE_S, True)])
def test_a_line_that_is_down_for_a_moment_costs_nothing_and_one_that_stays_down_the_lease(
    swapped: SharedObject, out_s: float, is_lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = Faulty(swapped.store)
    lease = Lease(SharedObject(faulty, swapped.key), STALE_S, 0.1)

    def work() -> None:
        with lease.held():
            faulty.is_out = True
            time.sleep(out_s)
            faulty.is_out = False
            time.sleep(0.5)

    if is_lost:
        with pytest.raises(SharedObjectError, match="Run the same again"):
            work()
    else:
        work()
        assert swapped.read().content.startswith(FREE)
    assert "locks/writer cannot be written: no way there" in caplog.text


@pytest.mark.aws
def test_renewals_that_were_sent_twice_keep_the_lease(swapped: SharedObject) -> None:
    faulty = Faulty(swapped.store)
    faulty.sends_twice = True
    with Lease(SharedObject(faulty, swapped.key), STALE_S, 0.1).held():
        time.sleep(STALE_S)
        assert swapped.read().content.startswith(b"held")
    assert swapped.read().content.startswith(FREE)


@pytest.mark.aws
def test_answers_that_never_came_cost_no_lease(swapped: SharedObject) -> None:
    faulty = Faulty(swapped.store)
    with Lease(SharedObject(faulty, swapped.key), STALE_S, 0.1).held():
        faulty.loses = 2
        time.sleep(STALE_S)
        assert not faulty.loses
    assert swapped.read().content.startswith(FREE)
    with Lease(SharedObject(faulty, swapped.key), STALE_S, 0.1).held():
        faulty.loses = 1
        time.sleep(1.5 * STALE_S / RENEWALS)
        assert not faulty.loses
    assert swapped.read().content.startswith(FREE)


@pytest.mark.aws
def test_a_fault_of_the_work_is_what_is_raised_and_the_lease_is_give_back(swapped: SharedObject) -> None:
    with pytest.raises(ValueError, match="a fault of its own"), Lease(swapped).held():
        raise ValueError("a fault of its own")
    assert swapped.read().content.startswith(FREE)
