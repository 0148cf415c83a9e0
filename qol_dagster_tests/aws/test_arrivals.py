"""How the job hears of new raw files, by listing and by a queue alike: nothing is lost, whatever dies when."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from qol_dagster.definitions import build_defs
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import LakeError
from qol_dagster.lake.shared_object import SharedObject
from qol_dagster.resources.arrivals import (
    PENDING_DAYS,
    Arrivals,
    ArrivalsError,
    ListedArrivals,
    PendingDays,
    QueuedArrivals,
    announced_days,
)
from qol_dagster_tests.support.cloud import Cloud, Deployment
from qol_dagster_tests.support.lakes import MONDAY, record
from qol_ingest.shared.queues import QueueError, SqsQueue, announcement

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
SINCE, TUESDAY, WEDNESDAY = date(2026, 1, 5), MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)
SUNDAY = MONDAY + timedelta(days=6)
NEXT_MONDAY = MONDAY + timedelta(days=7)
HIDDEN_S = 3
"""Longer than the queue is waited for, so that no message comes twice in one look."""
Seen = Mapping[date, str]
KEPT: Seen = {date(2025, 12, 1): "of an earlier day"}
"""That something is remembered: without, everything is listed."""


@dataclass
class Place:
    """A raw zone, and what looks for arrivals there."""

    lake: Lake
    arrivals: Arrivals
    wait: Callable[[int], object] = lambda _count: None

    def put(self, *days: date, name: str = "a.jsonl") -> None:
        """Write a file to each day, and wait until it is told of."""
        for day in days:
            self.lake.store.put(f"raw/daily/date={day}/{name}", b"{}\n")
        self.wait(len(days))

    def news(self, seen: Seen, on: date = NEXT_MONDAY) -> dict[date, str]:
        """The days that are over and not as they were seen."""
        found = self.arrivals.poll(SINCE, on, seen)
        return {day: mark for day, mark in found.items() if day < on and seen.get(day) != mark}


def queued(cloud: Cloud, hidden_s: int = 30, **options: Any) -> Place:
    bucket, queue = cloud.bucket(), cloud.queue(VisibilityTimeout=str(hidden_s))
    cloud.told_of(bucket, "raw/daily/", queue)
    lake = Lake.s3(bucket)
    return Place(
        lake, QueuedArrivals(lake, SqsQueue(queue), wait_s=0, **options), lambda count: cloud.waiting(queue, count)
    )


@pytest.fixture(params=["listing", pytest.param("queue", marks=pytest.mark.aws)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "listing":
        lake = Lake.local(tmp_path)
        return Place(lake, ListedArrivals(lake))
    return queued(request.getfixturevalue("cloud"))


# -- both forms


def test_a_day_is_news_until_it_is_remembered_and_again_when_it_changes(place: Place) -> None:
    place.put(MONDAY, TUESDAY)
    first = place.news({})
    assert set(first) == {MONDAY, TUESDAY}
    assert place.news({}) == first
    assert place.news(first) == {}
    place.put(MONDAY, name="late.jsonl")
    assert set(place.news(first)) == {MONDAY}
    assert place.news(first)[MONDAY] != first[MONDAY]
    assert place.news({**first, **place.news(first)}) == {}


def test_what_came_before_the_first_look_is_found(place: Place) -> None:
    place.put(*(MONDAY - timedelta(days=number) for number in range(20)))
    assert len(place.news({})) == 20


def test_days_before_the_start_and_folders_that_are_no_days_are_passed_over(place: Place) -> None:
    place.put(SINCE, SINCE - timedelta(days=1))
    for key in ("raw/daily/date=2026-13-01/a.jsonl", "raw/daily/a.jsonl", "raw/lifecycle/date=2026-11-16/a.jsonl"):
        place.lake.store.put(key, b"{}\n")
    assert set(place.news({})) == {SINCE}


def test_a_day_that_is_not_over_is_news_when_it_is(place: Place) -> None:
    place.put(MONDAY, TUESDAY)
    seen = place.news({}, on=TUESDAY)
    assert set(seen) == {MONDAY}
    assert place.news(seen, on=TUESDAY) == {}
    later = place.news(seen, on=WEDNESDAY)
    assert set(later) == {TUESDAY}
    assert place.news({**seen, **later}, on=WEDNESDAY) == {}


def test_late_files_that_trickle_in_are_all_news_and_none_is_left_behind(place: Place) -> None:
    seen: Seen = {}
    for number in range(6):
        place.put(MONDAY, name=f"{number}.jsonl")
        found = place.news(seen)
        assert set(found) == {MONDAY}
        seen = {**seen, **found} if number % 2 else seen  # every other tick is not kept
    assert place.news(seen) == {}


def test_while_the_lake_cannot_be_listed_nothing_is_lost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put(MONDAY)

    def broken(_self: Lake, _day: date) -> Any:
        raise LakeError("no way there")

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "raw_objects", broken)
        with pytest.raises(LakeError):
            place.news({})
    assert set(place.news({})) == {MONDAY}


# -- the listing alone


def test_an_old_folder_is_listed_again_when_a_name_in_it_changes_and_once_a_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, on = Lake.local(tmp_path), NEXT_MONDAY + timedelta(weeks=8)
    folders = {day: tmp_path / f"raw/daily/date={day}" for day in (MONDAY, TUESDAY)}
    for day, folder in folders.items():
        lake.store.put(f"raw/daily/date={day}/a.jsonl", b"{}\n")
        os.utime(folder, (1e9, 1e9))
    listed: list[date] = []
    listing = Lake.raw_objects
    monkeypatch.setattr(Lake, "raw_objects", lambda self, day: listed.append(day) or listing(self, day))
    arrivals = ListedArrivals(lake)

    def listed_for(later: timedelta = timedelta()) -> tuple[list[date], Any]:
        listed.clear()
        found = arrivals.poll(SINCE, on + later, {})
        return list(listed), found

    first = listed_for()[1]
    assert listed == [MONDAY, TUESDAY]
    assert listed_for() == ([], first)
    lake.store.put(f"raw/daily/date={TUESDAY}/late.jsonl", b"{}\n")
    days, second = listed_for()
    assert days == [TUESDAY]
    assert second[TUESDAY] != first[TUESDAY]
    os.utime(folders[TUESDAY], (1.1e9, 1.1e9))
    listed_for()
    (folders[MONDAY] / "a.jsonl").write_bytes(b"{} \n")
    assert listed_for() == ([], second)
    days, third = listed_for(timedelta(days=1))
    assert days == [MONDAY, TUESDAY]
    assert third[MONDAY] != second[MONDAY]


# -- the queue alone


@pytest.fixture
def told(cloud: Cloud) -> Place:
    """A place whose first look is over, so that the queue is all it hears of today."""
    place = queued(cloud)
    assert place.news(KEPT) == {}
    return place


def listed(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[date]:
    """The days whose files are listed from now on."""
    asked: list[date] = []
    real = Lake.raw_objects

    def noted(self: Lake, day: date) -> Any:
        asked.append(day)
        return real(self, day)

    monkeypatch.setattr(Lake, "raw_objects", noted)
    return asked


@pytest.mark.aws
def test_only_days_that_were_told_of_are_listed_and_each_until_it_is_remembered(
    told: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.put(*(MONDAY - timedelta(days=number) for number in range(5)))
    seen = told.news(KEPT)
    assert len(seen) == 5
    seen = {**KEPT, **seen}
    asked = listed(told, monkeypatch)
    told.put(TUESDAY, TUESDAY, TUESDAY)
    seen = {**seen, **told.news(seen)}
    assert asked == [TUESDAY]
    asked.clear()
    assert told.news(seen) == {}
    assert asked == []


@pytest.mark.aws
def test_a_message_is_taken_off_once_its_day_is_noted(told: Place) -> None:
    assert isinstance(told.arrivals, QueuedArrivals)
    told.put(MONDAY)
    found = told.news(KEPT)
    assert PendingDays.of(told.arrivals.place.read().content) == PendingDays(found, NEXT_MONDAY)
    assert told.arrivals.queue.receive() == []
    assert told.news({**KEPT, **found}) == {}
    assert PendingDays.of(told.arrivals.place.read().content) == PendingDays({}, NEXT_MONDAY)
    told.lake.store.put(f"raw/daily/date={TUESDAY}/a.jsonl", b"{}\n")
    assert set(told.news({})) == {MONDAY, TUESDAY}  # as if the cursor was set back


@pytest.mark.aws
@pytest.mark.parametrize("dies", ["before the day is noted", "after it"])
def test_who_is_killed_between_queue_and_pending_days_leaves_the_day_in_one_of_them(
    cloud: Cloud, dies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = queued(cloud, hidden_s=HIDDEN_S)
    assert isinstance(place.arrivals, QueuedArrivals)
    assert place.news(KEPT) == {}
    place.put(MONDAY)

    class KilledError(BaseException):
        pass

    class Dying(SqsQueue):
        def done(self, message: Any) -> None:
            raise KilledError

    def killed(*_: Any) -> None:
        raise KilledError

    dying = QueuedArrivals(place.lake, Dying(place.arrivals.queue.url))  # type: ignore[attr-defined]
    with monkeypatch.context() as patched:
        if dies == "before the day is noted":
            patched.setattr(SharedObject, "write", killed)
        with pytest.raises(KilledError):
            dying.poll(SINCE, NEXT_MONDAY, KEPT)
    time.sleep(HIDDEN_S + 0.5)
    found = place.news(KEPT)
    assert set(found) == {MONDAY}
    time.sleep(HIDDEN_S + 0.5)
    assert place.news(found) == {}
    assert place.arrivals.queue.receive() == []


@pytest.mark.aws
def test_a_message_that_was_lost_costs_a_day_and_nothing_else(told: Place) -> None:
    assert isinstance(told.arrivals, QueuedArrivals)
    told.put(MONDAY)
    for message in told.arrivals.queue.receive(wait_s=1):
        told.arrivals.queue.done(message)
    assert told.news(KEPT) == {}
    assert set(told.news(KEPT, on=NEXT_MONDAY + timedelta(days=1))) == {MONDAY}


@pytest.mark.aws
def test_a_long_backlog_is_worked_off_from_the_latest_day_on(cloud: Cloud) -> None:
    place = queued(cloud, days_a_tick=4)
    days = [MONDAY - timedelta(days=number) for number in range(10)]
    place.put(*days)
    seen: Seen = KEPT
    took = []
    while found := place.news(seen):
        took.append(sorted(found, reverse=True))
        seen = {**seen, **found}
    assert took == [days[:4], days[4:8], days[8:]]


@pytest.mark.aws
def test_other_messages_and_s3_s_test_are_taken_off_and_tell_nothing(told: Place) -> None:
    assert isinstance(told.arrivals, QueuedArrivals)
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": told.lake.root.removeprefix("s3://")}
    for body in (
        json.dumps(test),
        "no json",
        "[]",
        announcement("raw/pings/date=2026-11-16/a.jsonl"),
        '{"Records": 1}',
    ):
        told.arrivals.queue.send(body)
    told.put(MONDAY, name="with space+plus=日本.jsonl")
    assert set(told.news(KEPT)) == {MONDAY}
    assert told.arrivals.queue.receive() == []


def test_the_days_of_a_message_are_read_from_its_keys_as_they_were_before_they_were_quoted() -> None:
    assert announced_days(announcement("raw/daily/date=2026-11-16/a b+c.jsonl")) == {MONDAY}
    for key in (
        "raw/daily/date=2026-11-16x/a",
        "raw/daily/date=2026-02-30/a",
        "raw/daily/date=2026-11-16/",
        "x/raw/daily/date=2026-11-16/a",
    ):
        assert announced_days(announcement(key)) == set()


@pytest.mark.aws
def test_pending_days_that_nobody_can_read_are_begun_anew_from_a_listing(told: Place) -> None:
    told.put(MONDAY)
    for content in (b"", b"no json", b"[]", b'{"days": {"tomorrow": ""}, "listed": "2026-11-23"}'):
        told.lake.store.put(PENDING_DAYS, content)
        assert set(told.news(KEPT)) == {MONDAY}


@pytest.mark.aws
def test_of_two_who_look_at_once_one_is_told_and_nothing_is_lost(told: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told.put(MONDAY)
    real = Lake.raw_objects

    def meanwhile(self: Lake, day: date) -> Any:
        monkeypatch.setattr(Lake, "raw_objects", real)
        told.lake.store.put(PENDING_DAYS, PendingDays({TUESDAY: ""}, NEXT_MONDAY).content)
        return real(self, day)

    told.lake.store.put(f"raw/daily/date={TUESDAY}/a.jsonl", b"{}\n")
    monkeypatch.setattr(Lake, "raw_objects", meanwhile)
    with pytest.raises(ArrivalsError, match="another sensor"):
        told.news(KEPT)
    assert TUESDAY in told.news(KEPT)


@pytest.mark.aws
def test_a_queue_that_is_not_there_is_a_clear_error(told: Place, cloud: Cloud) -> None:
    nowhere = QueuedArrivals(told.lake, SqsQueue(f"{cloud.url}/000000000000/nowhere"))
    with pytest.raises(QueueError, match="SQS did not do receive_message"):
        nowhere.poll(SINCE, NEXT_MONDAY, {})


# -- the sensor on AWS


@pytest.mark.aws
def test_the_sensor_reports_and_asks_for_each_arrival_once_even_if_a_tick_was_not_kept(
    deployed: Deployment, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qol_dagster.defs.sensors.today", lambda: NEXT_MONDAY)
    lake = Lake.s3(deployed.settings.bucket)
    sensor = build_defs(deployed.settings).resolve_sensor_def("raw_arrivals_sensor")

    def write(day: date, name: str) -> None:
        lake.write_raw(day, name, json.dumps(record("dailies", USER, day)).encode())
        cloud.waiting(deployed.settings.arrivals_queue_url, 1)

    def tick(cursor: str | None) -> Any:
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            return sensor(context)

    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(tick(None), dg.SkipReason)
        write(MONDAY, "a")
        lost, first = tick(None), tick(None)
        assert first.cursor == lost.cursor
        assert [event.partition for event in first.asset_events] == ["2026-11-16"]
        assert first.asset_events[0].metadata["files"].value == 1
        assert [request.partition_key for request in first.run_requests] == ["2026-11-16"]
        assert [one.run_key for one in first.run_requests] == [one.run_key for one in lost.run_requests]
        assert isinstance(tick(first.cursor), dg.SkipReason)
        write(SUNDAY, "late")
        late = tick(first.cursor)
        assert [event.partition for event in late.asset_events] == ["2026-11-22"]
        assert late.run_requests[0].run_key != first.run_requests[0].run_key
        assert isinstance(tick(late.cursor), dg.SkipReason)
    assert USER not in str((first, late))
