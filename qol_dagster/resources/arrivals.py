"""Which raw days may have changed since they were last looked at.

Belongs here: the port and its forms: all of them are listed, or those that S3 announced in a queue; and which days were
reported before. What follows from it is decided in `sensors.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Protocol

from qol_dagster.errors import QolError
from qol_dagster.lake.fingerprints import raw_fingerprint
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.shared_object import SharedObject, Version
from qol_ingest.shared.keys import ARRIVALS, RAW
from qol_ingest.shared.queues import announced

if TYPE_CHECKING:
    from qol_ingest.shared.queues import Message, Queue

PENDING_DAYS = f"{ARRIVALS}/days"
"""Where it stands which days are to be looked at."""
REPORTED_DAYS = f"{ARRIVALS}/reported"
"""Where the days are stored that were reported, with their fingerprints."""
MESSAGES_A_TICK, RECEIVE_S = 1000, 10.0
"""As much is taken from the queue at a time, and for so long."""
DAYS_A_TICK = 28
"""A day may have tens of thousands of files, and S3 lists them by the thousand."""
RECENT = timedelta(days=28)
"""Such days are listed each time: nearly all that comes is of them."""
STEADY_NS = 5_000_000_000
"""A folder whose time is older than that: a file that comes after it was listed gives it another one."""
_KEY = re.compile(rf"{RAW}/date=(\d{{4}}-\d\d-\d\d)/[^/]+")


class ArrivalsError(QolError):
    """Two look for arrivals at once; the message says so."""


class Arrivals(Protocol):
    """Where it is heard of new raw files."""

    def poll(self, since: date, on: date, seen: Mapping[date, str]) -> Mapping[date, str]:
        """Return fingerprints of the raw days from `since` on, as far as they may differ from those `seen`, and more.

        `seen` is what earlier calls gave and what is sure to be remembered. A day is left out if it is as it was seen,
        or if its turn comes with a later call on this or another date; `on` is today's. Raises LakeError and others:
        then nothing is lost, and the next call makes up for it.
        """


@dataclass(frozen=True)
class ListedArrivals:
    """For a folder, by listing it.

    An old day's folder is listed again when its time has changed, as it does with every name in it, and once a date: a
    file that somebody wrote over in its place is seen then.
    """

    lake: Lake
    _known: dict[date, tuple[int, date, str]] = field(default_factory=dict, repr=False, compare=False)

    def poll(self, since: date, on: date, seen: Mapping[date, str]) -> Mapping[date, str]:  # noqa: ARG002
        """Return all days. See `Arrivals`."""
        return {day: self._fingerprint(day, on) for day in self.lake.raw_days() if day >= since}

    def _fingerprint(self, day: date, on: date) -> str:
        changed_ns = self.lake.raw_day_changed_ns(day)
        known = self._known.get(day)
        if known and known[:2] == (changed_ns, on) and day < on - RECENT:
            return known[2]
        found = raw_fingerprint(self.lake.raw_objects(day))
        if changed_ns < time.time_ns() - STEADY_NS:
            self._known[day] = (changed_ns, on, found)
        return found


@dataclass(frozen=True)
class PendingDays:
    """The days that are to be checked, and the date on which all there are were last put among them.

    Beside each day is the fingerprint it had when it was last checked, or nothing.
    """

    days: Mapping[date, str] = field(default_factory=dict)
    listed: date = date.min

    @property
    def content(self) -> bytes:
        """As JSON."""
        days = {str(day): mark for day, mark in sorted(self.days.items())}
        return json.dumps({"days": days, "listed": str(self.listed)}).encode()

    @classmethod
    def of(cls, content: bytes) -> PendingDays:
        """Return the pending days that were stored; none if nothing is stored, or what nobody can read."""
        try:
            found = json.loads(content)
            days = {date.fromisoformat(day): str(mark) for day, mark in found["days"].items()}
            return cls(days, date.fromisoformat(found["listed"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()


@dataclass(frozen=True)
class QueuedArrivals:
    """For a bucket whose notifications go to a queue.

    A message says that a day has to be checked. It is taken off once the day is stored as pending, and a day is no
    longer pending once its fingerprint is remembered. So whoever is killed at any moment leaves the day in one of the
    two. Once a day, and when nothing is remembered, all days become pending, whatever the queue says: a message that
    was lost costs a day.
    """

    lake: Lake
    queue: Queue
    days_a_tick: int = DAYS_A_TICK
    wait_s: float = 1

    @property
    def place(self) -> SharedObject:
        """Where the pending days are stored: in the lake's own bucket."""
        return SharedObject(self.lake.store, PENDING_DAYS)

    def poll(self, since: date, on: date, seen: Mapping[date, str]) -> Mapping[date, str]:
        """Return the days that are over and have to be checked, the latest first. See `Arrivals`."""
        was = self.place.read()
        pending, messages = PendingDays.of(was.content), list(self._received())
        announced = {day for message in messages for day in announced_days(message.body)}
        everything = () if pending.listed == on and seen else self.lake.raw_days()
        days = _open(pending.days, seen) | dict.fromkeys((*announced, *everything), "")
        days = {day: mark for day, mark in days.items() if day >= since}
        turn = sorted((day for day in days if day < on), reverse=True)[: self.days_a_tick]
        now = {day: raw_fingerprint(self.lake.raw_objects(day)) for day in turn}
        self._store(PendingDays(_open(days | now, seen), on), was)
        for message in messages:
            self.queue.done(message)
        return {**seen, **now}

    def _received(self) -> Iterator[Message]:
        count, until = 0, time.monotonic() + RECEIVE_S
        while (
            count < MESSAGES_A_TICK and time.monotonic() < until and (found := self.queue.receive(wait_s=self.wait_s))
        ):
            yield from found
            count += len(found)

    def _store(self, pending: PendingDays, was: Version) -> None:
        if pending != PendingDays.of(was.content) and self.place.write(pending.content, was) is None:
            raise ArrivalsError(
                "the pending days of arrivals were changed by another sensor meanwhile; the next tick goes on"
            )


@dataclass(frozen=True)
class ReportedDays:
    """The days that were reported, each with the fingerprint it had, in the lake and under a name of fixed length.

    The name is a digest, and is all that a cursor holds. The days before and after a change are stored side by side:
    whoever is killed between the two finds what belongs to the name that was kept.
    """

    lake: Lake

    def read(self, name: str) -> dict[str, str]:
        """Return fingerprints by date of what was stored under a name, or nothing. Raises SharedObjectError."""
        try:
            days = json.loads(SharedObject(self.lake.store, REPORTED_DAYS).read().content)[name]
            return {str(date.fromisoformat(day)): str(mark) for day, mark in days.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return {}  # all days are reported once more, and no week is computed again for it

    def replace(self, before: Mapping[str, str], after: Mapping[str, str]) -> str:
        """Store the days of before and after a change; return the name of those after. Raises LakeError."""
        content = {_digest(days): dict(days) for days in (before, after)}
        self.lake.replace_object(REPORTED_DAYS, json.dumps(content, sort_keys=True).encode())
        return _digest(after)


def _digest(days: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(days), sort_keys=True).encode()).hexdigest()[:32]


def announced_days(body: str) -> Collection[date]:
    """Return the raw days that a notification of S3 announces. Of others, and of S3's test message, it is none."""
    found = (_KEY.fullmatch(key) for key in announced(body))
    return {day for one in found if one and (day := _date(one[1]))}


def _open(days: Mapping[date, str], seen: Mapping[date, str]) -> dict[date, str]:
    """Return the days without a fingerprint, or with one that is not remembered."""
    return {day: mark for day, mark in days.items() if not mark or seen.get(day) != mark}


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
