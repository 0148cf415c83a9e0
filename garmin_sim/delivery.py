"""What Garmin sends when: versions of a day, syncs, and the bodies of requests.

Belongs here: partial days that full ones supersede, days that come late, out of order or twice, and how the
summaries of several users end up in one body. What a summary says is `records.py`.

Garmin sends after a device has synced. A sync brings every day that is over and was not sent yet, sometimes
the day that is under way, and now and then a day again, recalculated at the same duration. The syncs of an
hour share bodies. A body may be sent twice, before its users sync again. So in the order of sending, the last
version of a summary is its final one.
"""

from __future__ import annotations

import heapq
import json
import zlib
from bisect import bisect_right
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from garmin_sim.people import Life, Sync, live, make_participant
from garmin_sim.physiology import MINUTES, Day, make_day
from garmin_sim.records import Record, Version, day_records, idle_records, stamp
from garmin_sim.traps import LATER, plant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from garmin_sim.parameters import Parameters

MAX_BODY = 1_000_000
KEPT_DAYS = 1000  # some 30 KB each
PUSH_DELAY_S = 60
SENT_TWICE = 40  # one body in so many
ALONE = 5  # one hour in so many, dailies have bodies of their own
LIFECYCLE_TYPES = frozenset({"deregistrations", "userPermissionsChange"})
ACTIVITY_TYPES = frozenset({"activities", "activityDetails", "manuallyUpdatedActivities", "moveIQActivities"})

Request = tuple[float, bytes, frozenset[str]]
"""When it is sent (UTC seconds), the body, the userIds in it."""


class Body:
    """A request body: of each type the summaries and the dates they were made for, and when it is sent (UTC seconds).

    They are two lists and not one of pairs, of which the garbage collector would have thousands to look at.
    """

    def __init__(self) -> None:
        self.at = 0.0
        self.summaries: dict[str, tuple[list[str], list[str]]] = {}
        self.users: set[str] = set()
        self.size = 2

    def add(self, record: Record, user: str, day: str) -> None:
        """Add a summary of a user and date."""
        kind, text, filed, other_user = record
        of_type = self.summaries.get(kind)
        if of_type is None:
            of_type = self.summaries[kind] = ([], [])
            self.size += len(kind) + 6
        of_type[0].append(text)
        of_type[1].append(filed or day)
        self.users.add(other_user or user)
        self.size += len(text) + 1

    def json(self) -> bytes:
        """Return the body as Garmin sends it."""
        types = (f'"{kind}":[{",".join(texts)}]' for kind, (texts, _) in self.summaries.items())
        return ("{" + ",".join(types) + "}").encode("ascii")


class Upload(NamedTuple):
    """A version of a participant's day that a sync brings; whether a later one brings another."""

    at: int
    participant: int
    day: int
    version: Version
    again: bool


def synced_at(life: Life, sync: Sync) -> int:
    """When a sync is, UTC seconds."""
    day = life.first + timedelta(days=sync.day)
    midnight_s = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - life.clock_s(sync.day)
    return midnight_s + 60 * sync.minute


def versions(life: Life, day: int) -> list[Version]:
    """Return every sending of a day's summaries, first to last; none if the day is absent or no sync follows it."""
    if life.wear[day] == "absent":
        return []
    worn, since = life.wear[day] == "worn", 0
    later = bisect_right(life.syncs, day, key=_sync_day)
    sent: list[Version] = []
    for sync in life.syncs[bisect_right(life.syncs, day - 1, key=_sync_day) : later]:
        minute = sync.minute + (life.offset_s[day] - life.clock_s(day)) // 60
        upto = max(0, min(MINUTES - 15, minute // 15 * 15))
        if worn and sync.partial and upto > since:
            sent.append(Version(synced_at(life, sync), upto, since))
            since = upto
    if later < len(life.syncs):
        sent.append(Version(synced_at(life, life.syncs[later]), MINUTES, since))
    if worn and life.resent[day] and later + 1 < len(life.syncs):
        sent.append(Version(synced_at(life, life.syncs[later + 1]), MINUTES, MINUTES, revision=1))
    return sent


def _sync_day(sync: Sync) -> int:
    return sync.day


def uploads(life: Life, number: int) -> list[Upload]:
    """Return what sync `number` of a life brings, days out of order."""
    sync = life.syncs[number]
    at = synced_at(life, sync)
    earliest = life.syncs[number - 2].day if number > 1 else 0
    days = sorted(range(earliest, min(sync.day + 1, life.days)), key=lambda day: day * 7919 % 13)
    brought = []
    for day in days:
        sent = versions(life, day)
        brought += [
            Upload(at, life.participant.index, day, version, version is not sent[-1])
            for version in sent
            if version.at == at
        ]
    return brought


class _Days:
    """The signals of days of which another version will be sent: making them is a third of the work."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._kept: dict[tuple[int, int], Day] = {}

    def signals(self, life: Life, upload: Upload) -> Day | None:
        """Return the signals of a day; None if the device was not worn."""
        if life.wear[upload.day] != "worn":
            return None
        key = upload.participant, upload.day
        day = self._kept.pop(key, None) or make_day(life, self._seed, upload.day)
        if upload.again and len(self._kept) < KEPT_DAYS:
            self._kept[key] = day
        return day


def summaries(
    life: Life, seed: int, index: int, version: Version, traps: Collection[str], *, day: Day | None = None
) -> list[Record]:
    """Return the summaries that a version of day `index` brings; `day` are its signals if they are at hand."""
    if life.wear[index] == "idle":
        records = idle_records(life, index)
    else:
        records = day_records(day or make_day(life, seed, index), version)
    if traps and version.full:
        plant(records, traps, stamp(life, index), life.participant.index, index, later=version.revision > 0)
    return records


def lives(sim: Parameters) -> Iterator[Life]:
    """Yield the lives of all participants, in order."""
    dates = sim.dates()
    for index in range(sim.participants):
        life = live(make_participant(sim.seed, index, sim.personas), sim.seed, dates[0], len(dates))
        yield replace(life, resent=[True] * len(dates)) if sim.traps & LATER else life


def requests(sim: Parameters) -> Iterator[Request]:
    """Yield all requests in the order of sending, repeated ones among them."""
    repeats: list[tuple[float, int, Request]] = []
    for number, body in enumerate(bodies(sim)):
        at, content, users = body.at, body.json(), frozenset(body.users)
        while repeats and repeats[0][0] <= at:
            yield heapq.heappop(repeats)[2]
        yield at, content, users
        check = zlib.crc32(content)
        if check % SENT_TWICE == 0 and LIFECYCLE_TYPES.isdisjoint(body.summaries):
            again = at + 120 + check % 5000
            heapq.heappush(repeats, (again, number, (again, content, users)))
    while repeats:
        yield heapq.heappop(repeats)[2]


def bodies(sim: Parameters) -> Iterator[Body]:
    """Yield what is sent, each body once, in the order of sending."""
    everyone = list(lives(sim))
    leaving = sorted((_withdrawal(life) for life in everyone if life.participant.persona == "leaver"), key=_sent_at)
    yield from heapq.merge(_synced_bodies(sim, everyone), leaving, key=_sent_at)


def _sent_at(body: Body) -> float:
    return body.at


def _withdrawal(life: Life) -> Body:
    """Return what Garmin sends an hour after the last sync of who leaves: a deregistration, or no permission left."""
    who, body, at = life.participant, Body(), synced_at(life, life.syncs[-1]) + 3600
    left: dict[str, object] = {"userId": who.user_id}
    if who.quiet < 0.5:
        body.add(Record("deregistrations", json.dumps(left, separators=(",", ":"))), who.user_id, "")
    else:
        left |= {"summaryId": f"x{who.user_id[:7]}-{at:x}", "permissions": [], "changeTimeInSeconds": at}
        body.add(Record("userPermissionsChange", json.dumps(left, separators=(",", ":"))), who.user_id, "")
    body.at = at + PUSH_DELAY_S
    return body


def _synced_bodies(sim: Parameters, everyone: list[Life]) -> Iterator[Body]:
    days = _Days(sim.seed)
    next_sync = [0] * len(everyone)
    for day in range(len(sim.dates()) + 1):
        brought: list[Upload] = []
        for life in everyone:
            who = life.participant.index
            while next_sync[who] < len(life.syncs) and life.syncs[next_sync[who]].day <= day:
                brought += uploads(life, next_sync[who])
                next_sync[who] += 1
        brought.sort(key=lambda upload: upload.at)  # stable: the days of one sync stay out of order
        for hour, group in groupby(brought, key=lambda upload: upload.at // 3600):
            yield from _bodies_of_hour(sim, everyone, days, hour, group)


def _bodies_of_hour(
    sim: Parameters, everyone: list[Life], days: _Days, hour: int, brought: Iterator[Upload]
) -> Iterator[Body]:
    apart = zlib.crc32(b"%d %d" % (sim.seed, hour)) % ALONE == 0
    lanes: dict[str, Body] = {}
    at = 0.0
    for upload in brought:
        at = upload.at + PUSH_DELAY_S
        life = everyone[upload.participant]
        day, user = str(life.first + timedelta(days=upload.day)), life.participant.user_id
        kind, lane, signals = "", "", days.signals(life, upload)
        last: Record | None = None
        for record in summaries(life, sim.seed, upload.day, upload.version, sim.traps, day=signals):
            if record.type != kind:
                kind, lane = record.type, _lane(record.type, apart)
            body = lanes.get(lane) or lanes.setdefault(lane, Body())
            if body.size + len(record.text) > MAX_BODY and not _is_epoch_beside(last, record):
                body.at = at
                yield body
                body = lanes[lane] = Body()
            last = record
            body.add(record, user, day)
    for body in lanes.values():
        body.at = at
        yield body


def _is_epoch_beside(last: Record | None, record: Record) -> bool:
    """Return whether two records are epochs of one start, all of which Garmin sends at once."""
    if last is None or not last.type == record.type == "epochs":
        return False
    first, second = (one.text.partition('"startTimeInSeconds":')[2].partition(",")[0] for one in (last, record))
    return bool(first) and first == second


def _lane(kind: str, apart: bool) -> str:
    if kind in ACTIVITY_TYPES:
        return "activity"
    return "dailies" if apart and kind == "dailies" else "wellness"
