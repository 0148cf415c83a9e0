"""What must hold whatever the data: the way raw lines come to lie in files cannot show in a row, and neither can
other people; steps have no unit but their own, and no date is special.

Four made-up weeks of several people go through the receiver's own parsing into a lake; then again, changed.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from qol_dagster.engines import Engine, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import DAILY, WEEKLY
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import JST_S, MONDAY, UNCOMPARED, differences, local_s, write_raw
from qol_ingest.records import parse_body

PEOPLE = {f"user-{n}": f"P{n}" for n in range(5)}
WEEKS = [MONDAY - timedelta(weeks=back) for back in (3, 2, 1, 0)]
WEEK_S = 7 * 86_400
SEEDS = [0, pytest.param(1, marks=pytest.mark.slow)]

Record = dict[str, Any]
Row = dict[str, Any]
Files = Mapping[date, Sequence[Sequence[bytes]]]
"""The lines of each file of each date."""


@dataclass(frozen=True)
class Rows:
    """What was computed, without what a run writes about itself."""

    daily: list[Row]
    weekly: list[Row]

    def of(self, participant: str) -> Rows:
        """One participant's."""
        return Rows(*([row for row in rows if row["participant_id"] == participant] for rows in self))

    def __iter__(self) -> Iterator[list[Row]]:
        return iter((self.daily, self.weekly))


@dataclass(frozen=True)
class Body:
    """A request: when it was received, and its records with their types."""

    received_at: datetime
    records: tuple[tuple[str, Record], ...]

    def lines(self) -> Iterator[tuple[date, bytes]]:
        """The raw lines that the receiver makes of it, with their dates."""
        content: dict[str, list[Record]] = defaultdict(list)
        for type_, record in self.records:
            content[type_].append(record)
        parsed = parse_body(json.dumps(content).encode(), self.received_at)
        assert parsed.rejected == 0
        return ((date.fromisoformat(day), line.encode()) for day, lines in parsed.daily.items() for line in lines)


@dataclass(frozen=True)
class World:
    """Bodies, and a way to compute the rows of any files in a lake of their own."""

    bodies: tuple[Body, ...]
    compute: Callable[..., Rows]
    seed: int

    def chance(self) -> random.Random:
        """The same draws for each test, whichever ran before."""
        return random.Random(self.seed)

    def lines(self) -> dict[date, list[bytes]]:
        """All lines by date, in the order of their receipt."""
        return lines_of(self.bodies)

    def altered(self, change: Callable[[Record], Record]) -> tuple[Body, ...]:
        """The bodies with every record changed."""
        return tuple(
            replace(body, records=tuple((type_, change(record)) for type_, record in body.records))
            for body in self.bodies
        )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path_factory.mktemp("engine")) as opened:
        yield opened


@pytest.fixture(scope="module", params=SEEDS)
def world(request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> World:
    def compute(files: Files, people: Mapping[str, str] = PEOPLE, weeks: Sequence[date] = WEEKS) -> Rows:
        root = tmp_path_factory.mktemp("lake")
        for day, some in files.items():
            for number, lines in enumerate(some):
                write_raw(root, day, lines, f"{number:03d}")
        lake = Lake.local(root)
        run_etl(engine, lake, weeks, Identities(people))
        days = [day for week in weeks for day in dates_of(week)]
        return Rows(read(lake, "daily", days), read(lake, "weekly", weeks))

    return World(tuple(made_up_bodies(random.Random(request.param))), compute, request.param)


@pytest.fixture(scope="module")
def rows(world: World) -> Rows:
    return world.compute(in_one_file(world.lines()))


def read(lake: Lake, table: TableName, days: Iterable[date]) -> list[Row]:
    tables = [lake.read_table(table, day) for day in days]
    return [
        {name: value for name, value in row.items() if name not in UNCOMPARED}
        for rows in tables
        if rows is not None
        for row in rows.to_pylist()
    ]


def lines_of(bodies: Iterable[Body]) -> dict[date, list[bytes]]:
    by_day: dict[date, list[bytes]] = defaultdict(list)
    for body in bodies:
        for day, line in body.lines():
            by_day[day].append(line)
    return by_day


def in_one_file(lines: Mapping[date, Sequence[bytes]]) -> Files:
    return {day: [some] for day, some in lines.items()}


def unlike(some: Rows, others: Rows, but_for: Collection[str] = ()) -> list[str]:
    """What differs in any bit, in words."""
    return [
        f"{row['date']} {row['participant_id']} {name}: {value!r} is not {other.get(name)!r}"
        for mine, theirs in zip(some, others, strict=True)
        for row, other in zip(mine, theirs, strict=True)
        for name, value in row.items()
        if name not in but_for and repr(value) != repr(other.get(name))
    ]


# -- two weeks of people who wear their devices as people do


def made_up_bodies(chance: random.Random) -> Iterator[Body]:
    """A few requests a day, each with some people's records; a part of a day comes before the whole of it."""
    for day in [day for week in WEEKS for day in dates_of(week)]:
        sent: dict[int, list[tuple[str, Record]]] = defaultdict(list)
        for user in PEOPLE:
            shard = chance.randrange(2)
            for whole, type_, record in records_of_a_day(chance, user, day):
                sent[2 * whole + shard].append((type_, record))
        for number, records in sorted(sent.items()):
            yield Body(
                datetime(day.year, day.month, day.day, 12 + number, chance.randrange(60), tzinfo=UTC), tuple(records)
            )


def records_of_a_day(chance: random.Random, user: str, day: date) -> Iterator[tuple[bool, str, Record]]:
    """(comes with the whole day's request, type, record)."""

    def record(type_: str, minute: int, duration_s: int, **fields: Any) -> tuple[str, Record]:
        known = {
            "userId": user,
            "summaryId": f"{user}-{type_}-{day}-{minute}",
            "calendarDate": day.isoformat(),
            "startTimeInSeconds": local_s(day, minute),
            "startTimeOffsetInSeconds": JST_S,
            "durationInSeconds": duration_s,
        }
        return type_, known | {name: odd(chance, value) for name, value in fields.items()}

    early: list[tuple[str, Record]] = []
    has_daily = chance.random() < 0.85
    if has_daily:
        early.append(record("dailies", 0, 43_200, **daily_fields(chance, 2)))
    if chance.random() < 0.8:
        early.append(night(chance, day, record))
        early.append(record("hrv", -20, 20_000 + chance.randrange(9000), lastNightAvg=chance.randrange(20, 90)))
    if chance.random() < 0.2:
        early.append(record("sleeps", 780, 1200 + chance.randrange(3000), validation="DEVICE"))  # a nap
    yield from ((False, *one) for one in early)
    if has_daily and chance.random() < 0.9:
        yield True, *record("dailies", 0, 86_400, **daily_fields(chance, 14))
    if chance.random() < 0.1:  # on a journey
        yield True, *record("dailies", 300, 20_000 + chance.randrange(9000), **daily_fields(chance, 3))
    if chance.random() < 0.4:
        yield True, *record("userMetrics", 0, 86_400, vo2Max=chance.randrange(300, 500) / 10, fitnessAge=40)
    if chance.random() < 0.4:
        yield True, *record("activities", 1080, chance.randrange(600, 6000), steps=chance.randrange(9000))
    yield from ((True, *one) for one in through_the_day(chance, record))


def through_the_day(chance: random.Random, record: Callable[..., tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
    """Stress, breathing, blood oxygen and epochs."""
    levels = {str(180 * n): chance.randrange(-3, 100) for n in range(chance.choice((0, chance.randrange(480))))}
    battery = {str(180 * n): chance.randrange(-1, 100) for n in range(0, 480, 20)}
    yield record("stressDetails", 0, 86_400, timeOffsetStressLevelValues=levels, timeOffsetBodyBatteryValues=battery)
    for half in (0, 720):
        breaths = {str(60 * n): round(chance.uniform(-1, 20), 2) for n in range(40)}
        yield record("allDayRespiration", half, 43_200, timeOffsetEpochToBreaths=breaths)
        oxygen = {str(600 * n): round(chance.uniform(85, 99), 1) for n in range(20)}
        yield record("pulseox", half, 43_200, onDemand=chance.random() < 0.3, timeOffsetSpo2Values=oxygen)
    for minute in range(0, 1440, 30):
        if chance.random() < 0.95:
            yield record("epochs", minute, 900, activityType="WALKING", steps=chance.choice((0, 0, 10, 700)))


def daily_fields(chance: random.Random, hours: int) -> Record:
    first = chance.randrange(24 - hours)
    worn = range(240 * first, 240 * (first + chance.randrange(hours // 2, hours + 1)))
    stress = [f"{level}StressDuration" for level in ("rest", "low", "medium", "high")]
    seconds = ["activeTime", "moderateIntensityDuration", "vigorousIntensityDuration", *stress]
    return {
        "steps": chance.randrange(20_000),
        "distanceInMeters": chance.randrange(150_000) / 10,
        "floorsClimbed": chance.randrange(30),
        "activeKilocalories": chance.randrange(900),
        "averageStressLevel": chance.choice((-1, 20, 35, 61)),
        "bodyBatteryChargedValue": chance.randrange(100),
        "bodyBatteryDrainedValue": chance.randrange(100),
        **{f"{kind}HeartRateInBeatsPerMinute": chance.randrange(40, 180) for kind in ("resting", "min", "max")},
        **{f"{name}InSeconds": chance.randrange(3000) for name in seconds},
        "timeOffsetHeartRateSamples": {str(15 * slot): chance.randrange(50, 150) for slot in worn},
    }


def night(chance: random.Random, day: date, record: Callable[..., tuple[str, Record]]) -> tuple[str, Record]:
    start, asleep_s = chance.randrange(-150, 150), 14_400 + chance.randrange(18_000)
    up = local_s(day, start + 60)
    return record(
        "sleeps",
        start,
        asleep_s,
        awakeDurationInSeconds=chance.randrange(1800),
        deepSleepDurationInSeconds=chance.randrange(4000),
        lightSleepDurationInSeconds=chance.randrange(8000),
        remSleepInSeconds=chance.randrange(2000),
        sleepLevelsMap={"awake": [{"startTimeInSeconds": up, "endTimeInSeconds": up + chance.randrange(3000)}]}
        if chance.random() < 0.3
        else None,
        timeOffsetSleepSpo2={str(60 * n): round(chance.uniform(85, 99), 1) for n in range(30)},
        timeOffsetSleepRespiration={str(60 * n): round(chance.uniform(-1, 20), 2) for n in range(30)},
    )


def odd(chance: random.Random, value: Any) -> Any:
    """Now and then no value, one of another type, or a number as text."""
    if not isinstance(value, int | float) or isinstance(value, bool) or chance.random() < 0.9:
        return value
    return chance.choice((None, -1, True, "many", str(value), str(value)))


# -- the properties


@pytest.mark.slow
def test_the_made_up_weeks_say_something_about_every_column(world: World, rows: Rows) -> None:
    for some, metrics in zip(rows, (DAILY, WEEKLY), strict=True):
        assert {row["participant_id"] for row in some} == set(PEOPLE.values())
        names = {metric.name for metric in metrics} - UNCOMPARED
        empty = {name for name in names if all(row[name] is None for row in some)}
        assert not empty, f"no made-up record has what {sorted(empty)} is made from"
    assert {row["is_valid_day"] for row in rows.daily} == {True, False, None}
    assert max(row["n_dailies"] for row in rows.daily) == 2
    assert {row["is_valid_week"] for row in rows.weekly} == {True, False}


@pytest.mark.slow
def test_the_order_of_lines_and_files_changes_nothing(world: World, rows: Rows) -> None:
    files, chance = {}, world.chance()
    for day, lines in world.lines().items():
        mixed = chance.sample(lines, len(lines))
        files[day] = [mixed[n::3] for n in (2, 0, 1)]
    assert unlike(world.compute(files), rows) == []


@pytest.mark.slow
def test_lines_that_lie_there_twice_change_nothing(world: World, rows: Rows) -> None:
    files, chance = {}, world.chance()
    for day, lines in world.lines().items():
        again = chance.sample(lines, len(lines) // 2)
        files[day] = [[*again[::2], *lines, *again[::2]], again]
    assert unlike(world.compute(files), rows) == []


@pytest.mark.slow
def test_a_hundred_files_a_day_give_what_one_gives(world: World, rows: Rows) -> None:
    files = {day: [lines[n::100] for n in range(min(100, len(lines)))] for day, lines in world.lines().items()}
    assert max(map(len, files.values())) == 100
    assert unlike(world.compute(files), rows) == []


def test_a_body_that_comes_in_several_pieces_changes_nothing(world: World, rows: Rows) -> None:
    pieces = [
        replace(body, records=some)
        for body in world.bodies
        for some in (body.records[:7], body.records[7::2], body.records[8::2])
        if some
    ]
    assert len(pieces) > 2 * len(world.bodies)
    assert unlike(world.compute(in_one_file(lines_of(pieces))), rows) == []


STEPS = {"steps", "steps_by_hour", "steps_mean", "steps_median", "steps_sd", "steps_sum", "steps_per_wear_h"}


def test_three_times_the_steps_are_three_times_the_steps_and_change_nothing_else(world: World, rows: Rows) -> None:
    tripled = world.altered(lambda record: record | {"steps": times_three(record.get("steps"))})
    found = world.compute(in_one_file(lines_of(tripled)))
    for some, before in zip(found, rows, strict=True):
        expected = [row | {name: times_three(row[name]) for name in STEPS & row.keys()} for row in before]
        assert differences(some, expected) == []


def times_three(value: Any) -> Any:
    if isinstance(value, list):
        return [times_three(one) for one in value]
    if isinstance(value, str):
        return str(3 * int(value)) if value.isdigit() else value
    return value if value is None or isinstance(value, bool) else 3 * value


@pytest.mark.slow
def test_a_participant_has_the_same_rows_alone_as_among_others(world: World, rows: Rows) -> None:
    user, participant = world.chance().choice(sorted(PEOPLE.items()))
    theirs = [
        replace(body, records=own)
        for body in world.bodies
        if (own := tuple(one for one in body.records if one[1]["userId"] == user))
    ]
    alone = world.compute(in_one_file(lines_of(theirs)))
    among_strangers = world.compute(in_one_file(world.lines()), {user: participant})
    for found in (alone, among_strangers):
        assert unlike(found, rows.of(participant)) == []


@pytest.mark.slow
def test_all_of_it_a_week_later_gives_the_same_rows_a_week_later(world: World, rows: Rows) -> None:
    week = timedelta(weeks=1)
    later = [replace(body, received_at=body.received_at + week) for body in world.altered(a_week_later)]
    found = world.compute(in_one_file(lines_of(later)), weeks=[monday + week for monday in WEEKS])
    for row in (row for some in found for row in some):
        row["date"] = (date.fromisoformat(row["date"]) - week).isoformat()
        row["last_received_at"] -= week
    assert unlike(found, rows) == []


def a_week_later(value: Any) -> Any:
    if isinstance(value, list):
        return [a_week_later(one) for one in value]
    if not isinstance(value, dict):
        return value
    moved = {name: a_week_later(member) for name, member in value.items()}
    moved |= {name: value[name] + WEEK_S for name in ("startTimeInSeconds", "endTimeInSeconds") if name in value}
    if "calendarDate" in value:
        moved["calendarDate"] = (date.fromisoformat(value["calendarDate"]) + timedelta(weeks=1)).isoformat()
    return moved
