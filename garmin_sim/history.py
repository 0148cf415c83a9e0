"""What the cloud has of its participants, for those who ask: by type and time, or by what a sync brought.

Belongs here: choosing among the summaries of a simulation. Nothing is kept; a day is made again when it is asked for,
which takes some 2 ms. The cloud has the whole simulated time from the beginning, whatever the clock says. It has
everyone's first account only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from garmin_sim.delivery import MAX_BODY, lives, summaries, synced_at, uploads, versions
from garmin_sim.physiology import make_day
from garmin_sim.records import stamp

if TYPE_CHECKING:
    from garmin_sim.people import Life
    from garmin_sim.records import Record
    from garmin_sim.simulation import Simulation

HOUR_S = 3600
LARGEST_S = 2**33
"""About the years 1698 to 2242; nothing is simulated beyond."""
MARGIN = timedelta(days=2)
"""A night begins on the day before, and clocks abroad differ: no summary starts further away from its day."""
KEYED_BY_ID = frozenset({"activities", "activityDetails", "manuallyUpdatedActivities"})


class Brought(NamedTuple):
    """What the syncs of one participant brought within an hour."""

    hour_s: int
    participant: int
    records: list[Record]


class History:
    """The summaries of a simulation's participants. Times are UTC seconds; a range has its begin and not its end."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim

    def final(self, participant: int, kind: str, begin_s: int, end_s: int) -> list[str]:
        """Return the last version of all summaries of a type that start in a range, as JSON, by day."""
        found: dict[tuple[Any, ...], tuple[int, str]] = {}
        life = self._lives[participant]
        for index in self._days(life, begin_s, end_s):
            midnight_s = stamp(life, index).midnight_s
            for at, record in self._sent(life, index):
                if record.type != kind:
                    continue
                fields = json.loads(record.text)
                start_s = _start(fields, midnight_s)
                key = _key(kind, fields, start_s)
                if begin_s <= start_s < end_s and at >= found.get(key, (at, ""))[0]:
                    found[key] = at, record.text
        return [text for _, text in found.values()]

    def uploaded(self, participant: int, kind: str, begin_s: int, end_s: int) -> list[str]:
        """Return the summaries of a type that syncs of a range brought, as JSON, in the order of sending."""
        life = self._lives[participant]
        return [
            record.text
            for number, sync in enumerate(life.syncs)
            if begin_s <= synced_at(life, sync) < end_s
            for record in self._brought(life, number)
            if record.type == kind
        ]

    def by_hour(self) -> Iterator[list[Brought]]:
        """Yield what came in each hour that had a sync, first to last."""
        everyone = self._lives
        when = sorted(
            (synced_at(life, sync) // HOUR_S * HOUR_S, who, number)
            for who, life in enumerate(everyone)
            for number, sync in enumerate(life.syncs)
        )
        for hour_s, syncs in groupby(when, key=lambda sync: sync[0]):
            yield [
                Brought(hour_s, who, [one for _, _, number in group for one in self._brought(everyone[who], number)])
                for who, group in groupby(syncs, key=lambda sync: sync[1])
            ]

    @cached_property
    def _lives(self) -> list[Life]:
        return list(lives(self._sim))

    def _days(self, life: Life, begin_s: int, end_s: int) -> range:
        """Return the days whose summaries may start in a range: all of them with traps, which plant other dates."""
        if self._sim.traps:
            return range(life.days)
        first, last = (_date(moment_s) - life.first for moment_s in (begin_s, end_s))
        return range(max(0, (first - MARGIN).days), min(life.days, (last + MARGIN).days + 1))

    def _sent(self, life: Life, index: int) -> Iterator[tuple[int, Record]]:
        sent = versions(life, index)
        day = make_day(life, self._sim.seed, index) if sent and life.wear[index] == "worn" else None
        for version in sent:
            for record in summaries(life, self._sim.seed, index, version, self._sim.traps, day=day):
                if record.user in ("", life.participant.user_id):
                    yield version.at, record

    def _brought(self, life: Life, number: int) -> Iterator[Record]:
        for upload in uploads(life, number):
            for record in summaries(life, self._sim.seed, upload.day, upload.version, self._sim.traps):
                if record.user in ("", life.participant.user_id):
                    yield record


def bodies(kind: str, texts: list[str]) -> Iterator[bytes]:
    """Summaries of one type as the bodies of pushes, none larger than Garmin's unless one summary is."""
    waiting: list[str] = []
    size = 0
    for text in texts:
        if waiting and size + len(text) > MAX_BODY - 100:
            yield _body(kind, waiting)
            waiting, size = [], 0
        waiting.append(text)
        size += len(text) + 1
    if waiting:
        yield _body(kind, waiting)


def _body(kind: str, texts: list[str]) -> bytes:
    return f'{{"{kind}":[{",".join(texts)}]}}'.encode("ascii")


def _date(moment_s: int) -> date:
    within = max(-LARGEST_S, min(LARGEST_S, moment_s))
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=within)).date()


def _start(fields: dict[str, Any], midnight_s: int) -> int:
    """When a summary starts; one without any time starts with its day."""
    inner = fields.get("summary", {})
    for found in (
        fields.get("startTimeInSeconds"),
        fields.get("measurementTimeInSeconds"),
        inner.get("startTimeInSeconds"),
    ):
        if found is not None:
            return int(found)
    return midnight_s


def _key(kind: str, fields: dict[str, Any], start_s: int) -> tuple[Any, ...]:
    """Return what two versions of one summary share."""
    if kind in KEYED_BY_ID:
        return (fields["summaryId"],)
    if kind == "userMetrics":
        return (fields.get("calendarDate", fields["summaryId"]),)
    return (start_s, fields.get("activityType") if kind == "epochs" else None, fields.get("onDemand"))
