"""Every engine gives the rows that the definitions give: same raw files in, same rows out.

Each scenario writes a week of its own into one lake, and an engine computes the lake once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from qol_dagster.engines import open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import DAILY, WEEKLY
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.pipeline.reports import DayReport, EtlReport
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, UNCOMPARED, differences, local_s, record, worn, write_raw
from qol_dagster_tests.support.one_lake import ComputedLake, Part, Write, part
from qol_dagster_tests.support.paper_week import EXPECTED, write_paper_week
from qol_dagster_tests.support.reference import reference_daily, reference_weekly
from qol_dagster_tests.support.trap_records import write_trap_lake

Rows = list[dict[str, Any]]

DRIFT: list[tuple[Any, float | None]] = [
    (8000, 8000.0),
    ("8000", 8000.0),
    (" 8e3 ", 8000.0),
    (8000.5, 8000.5),
    (None, None),
    (..., None),
    (True, None),
    ("many", None),
    ("8_000", None),
    ("8000d", None),
    ("", None),
    ([8000], None),
    ({"value": 8000}, None),
    (float("nan"), None),
    (float("inf"), None),
    (10**40, None),
    (-1, None),
]

PEOPLE = {"user-1": "P1", "user-2": "P2"} | {f"user-drift-{n}": f"D{n:02d}" for n in range(len(DRIFT))}
LEAVER = "user-leaver"
TRAP_MONDAY = MONDAY - timedelta(weeks=40)


@dataclass(frozen=True)
class Week:
    """What was computed of one scenario."""

    monday: date
    daily: Rows
    weekly: Rows
    days: tuple[DayReport, ...]


@dataclass(frozen=True)
class World(ComputedLake):
    """A lake with a week for each scenario."""

    def week(self, scenario: Callable[[Path, date], None]) -> Week:
        return self.of(SCENARIOS[scenario])

    def of(self, monday: date, report: EtlReport | None = None) -> Week:
        lake, days = Lake.local(self.root), set(dates_of(monday))
        return Week(
            monday,
            [row for day in dates_of(monday) for row in rows(lake, "daily", day)],
            rows(lake, "weekly", monday),
            tuple(day for day in (report or self.report).daily.days if day.date in days),
        )

    def again(self, monday: date) -> Week:
        return self.of(monday, run_etl(self.engine, Lake.local(self.root), [monday], self.identities))


def rows(lake: Lake, table: Any, day: date) -> Rows:
    found = lake.read_table(table, day)
    assert found is not None
    return found.to_pylist()


MANY = 600_000
"""Rows, several times what one thread of DuckDB takes at once."""


@part
def write_scenarios(lake: Path) -> Part:
    paper, paper_monday = write_paper_week(lake)
    traps = write_trap_lake(lake, TRAP_MONDAY)
    for write, monday in SCENARIOS.items():
        write(lake, monday)
    assert len({TRAP_MONDAY, paper_monday, *SCENARIOS.values()}) == len(SCENARIOS) + 2
    weeks = [TRAP_MONDAY, paper_monday, *SCENARIOS.values(), SCENARIOS[four_weeks] - timedelta(weeks=1)]
    return Part(weeks, {**paper, **traps, **PEOPLE}, frozenset({LEAVER}))


@pytest.fixture(scope="module")
def world(computed: Callable[[Write], ComputedLake]) -> World:
    return World(**vars(computed(write_scenarios)))


def test_every_weekly_column_of_a_week_worked_out_on_paper_is_right(world: World, tmp_path: Path) -> None:
    _, monday = write_paper_week(tmp_path)
    assert {metric.name for metric in WEEKLY} - UNCOMPARED == set(EXPECTED)
    assert differences(world.of(monday).weekly, [EXPECTED]) == []


def test_a_lake_full_of_traps_gives_the_rows_of_the_plain_python_reference(world: World, tmp_path: Path) -> None:
    people, found = write_trap_lake(tmp_path, TRAP_MONDAY), world.of(TRAP_MONDAY)
    expected_daily = reference_daily(tmp_path, people, dates_of(TRAP_MONDAY))
    expected_weekly = reference_weekly(expected_daily, TRAP_MONDAY)
    assert len(expected_daily) > 550
    assert len(expected_weekly) > 90
    assert differences(found.daily, expected_daily) == []
    assert differences(found.weekly, expected_weekly) == []


@pytest.mark.slow
def test_records_of_one_hash_are_told_apart_by_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people, lake = write_trap_lake(tmp_path / "lake", TRAP_MONDAY), Lake.local(tmp_path / "lake")
    with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path) as engine:
        run_etl(engine, lake, [TRAP_MONDAY], Identities(people))
        right = [row for day in dates_of(TRAP_MONDAY) for row in rows(lake, "daily", day)]
        made = engine.queries(DEFAULT_THRESHOLDS)
        alike = {**made, "lines": made["lines"].replace("HASH(", "0 * HASH(")}
        assert alike["lines"] != made["lines"]
        monkeypatch.setattr(type(engine), "queries", lambda *_: alike)
        run_etl(engine, lake, [TRAP_MONDAY], Identities(people), force=True)
    assert differences([row for day in dates_of(TRAP_MONDAY) for row in rows(lake, "daily", day)], right) == []


def test_rows_come_in_the_order_that_a_query_asks_for_however_many_they_are(world: World) -> None:
    numbers = [7919 * number % MANY for number in range(MANY)]
    world.engine.load_table("numbers", pa.table({"n": numbers, "words": [f"n {number}" for number in numbers]}))
    found = world.engine.run("SELECT n, words FROM numbers ORDER BY n")
    assert found["n"].to_pylist() == list(range(MANY))


def superseded(lake: Path, monday: date) -> None:
    def sent(steps: int, day: int, hour: int) -> dict[str, Any]:
        received = f"{monday + timedelta(days=day)}T{hour:02d}:00:00.000Z"
        return record("dailies", "user-1", monday, steps=steps, _received_at=received)

    early, middle, late = sent(10, 0, 3), sent(20, 0, 13), sent(30, 1, 3)
    write_raw(lake, monday, [late, early], "z")
    write_raw(lake, monday, [middle, late], "a")


def test_of_versions_as_long_the_latest_received_wins_whatever_the_order_of_lines_and_files(world: World) -> None:
    found = world.week(superseded)
    assert (found.daily[0]["steps"], found.daily[0]["n_records"]) == (30, 1)
    assert found.days[0].counts["superseded"] == 3


def test_the_rows_have_the_dictionary_s_columns_in_its_order(world: World) -> None:
    found = world.week(superseded)
    for some, metrics in ((found.daily, DAILY), (found.weekly, WEEKLY)):
        assert [*some[0]] == [metric.name for metric in metrics if metric.name != "date"] + ["date"]


def drifted(lake: Path, monday: date) -> None:
    lines = [
        record("dailies", f"user-drift-{n}", monday, steps=value, floorsClimbed=7) for n, (value, _) in enumerate(DRIFT)
    ]
    write_raw(lake, monday, lines)


def test_a_field_of_any_type_is_read_or_null_and_the_record_stays(world: World) -> None:
    found = {row["participant_id"]: (row["steps"], row["floors"]) for row in world.week(drifted).daily}
    assert found == {f"D{n:02d}": (steps, 7.0) for n, (_, steps) in enumerate(DRIFT)}


def respelled(lake: Path, monday: date) -> None:
    beats = {"0": 60, "1_5": 70, "30": "8_0", "4*5": 20, "60": 90, "7#5": 30}
    line = json.dumps(record("dailies", "user-1", monday, timeOffsetHeartRateSamples=beats))
    for plain, escaped in {"timeOffsetH": r"time\u004fffsetH", "4*5": r"4\u005f5", "7#5": r"7\u0035"}.items():
        assert line.count(plain) == 1
        line = line.replace(plain, escaped)
    oxygen = json.dumps(record("pulseox", "user-1", monday, timeOffsetSpo2Values={"0": 95, "3_0": 50}))
    end = str(local_s(monday, 60))
    awake = {"awake": [{"startTimeInSeconds": local_s(monday), "endTimeInSeconds": f"{end[:3]}_{end[3:]}"}]}
    night = json.dumps(record("sleeps", "user-1", monday, sleepLevelsMap=awake))
    write_raw(lake, monday, [line.encode(), oxygen.encode(), night.replace("LevelsMap", r"\u004cevelsMap").encode()])


def test_samples_are_read_however_the_line_spells_them_and_only_where_they_are_numbers(world: World) -> None:
    found = world.week(respelled).daily[0]
    assert (found["wear_min"], found["hr_mean_bpm"], found["spo2_mean_pct"]) == (2, (60 + 90 + 30) / 3, 95)
    assert found["sleep_end_min"] == 1440


def broken_lines(lake: Path, monday: date) -> None:
    good = record("dailies", "user-1", monday, steps=5000)
    broken = [b"not json", b'{"half": ', b"[1, 2]", b'"text"', b'{"userId": "\xff\xfe"}', b"", b"   "]
    folder = write_raw(lake, monday, [*broken, good]).parent
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "half.jsonl").write_bytes(b'{"_summary_type": "dailies", "userId": "user-2", "st')
    for name in ("notes.txt", "_temporary.jsonl", ".hidden.jsonl", "a.jsonl.tmp"):
        (folder / name).write_text('{"_summary_type": "dailies", "userId": "user-2"}\n')
    (folder / "folder").mkdir()
    (folder / "folder" / "nested.txt").write_text("nothing")


def test_broken_lines_and_foreign_files_cost_nothing_but_themselves(world: World) -> None:
    found = world.week(broken_lines)
    assert [(row["participant_id"], row["steps"]) for row in found.daily] == [("P1", 5000.0)]
    assert found.days[0].counts["unreadable"] == 6


def glued_lines(lake: Path, monday: date) -> None:
    one = b'{"_summary_type": "dailies", "userId": "user-1", "calendarDate": "%s", "steps": 5}' % str(monday).encode()
    for name, line in {
        "glued": one + one,
        "comma": one + b"," + one,
        "tail": one + b" x",
        "bracket": one + b"]",
    }.items():
        write_raw(lake, monday, [line], name)
    write_raw(lake, monday, [b"\t " + one + b" \r"], "good")


def test_a_line_that_only_begins_with_an_object_is_no_record(world: World) -> None:
    found = world.week(glued_lines)
    assert [(row["participant_id"], row["n_records"]) for row in found.daily] == [("P1", 1)]
    assert (found.days[0].counts["unreadable"], found.days[0].counts["lines"]) == (4, 5)


def misfiled(lake: Path, monday: date) -> None:
    tuesday = monday + timedelta(days=1)
    old = record("dailies", "user-1", date(2023, 11, 16), steps=1)
    future = record("dailies", "user-1", date(2031, 1, 1), steps=2)
    by_start = record("epochs", "user-1", monday, calendarDate=..., startTimeInSeconds=local_s(tuesday, 5))
    right = record("epochs", "user-1", monday, calendarDate=..., startTimeInSeconds=local_s(tuesday, -5), steps=9)
    undated = record("skinTemp", "user-2", monday, calendarDate=..., startTimeInSeconds=...)
    write_raw(lake, monday, [old, future, by_start, right])
    write_raw(lake, tuesday, [undated])  # received on Tuesday at 08:00 in Japan


def test_a_record_under_another_date_than_its_own_is_left_out_and_counted(world: World) -> None:
    found = world.week(misfiled)
    days = [day.isoformat() for day in dates_of(found.monday)]
    assert [(row["participant_id"], row["date"]) for row in found.daily] == [("P1", days[0]), ("P2", days[1])]
    assert found.daily[0]["steps_by_hour"][23] == 9
    assert [day.counts["misfiled"] for day in found.days] == [3, 0, 0, 0, 0, 0, 0]


def strangers(lake: Path, monday: date) -> None:
    users = ["user-1", "stranger", "another", LEAVER, "stranger"]
    write_raw(lake, monday, [record("dailies", user, monday, steps=1) for user in users])


def test_unmapped_and_revoked_users_are_counted_and_appear_nowhere(world: World) -> None:
    found = world.week(strangers)
    assert [row["participant_id"] for row in found.daily + found.weekly] == ["P1", "P1"]
    counts = found.days[0].counts
    assert (counts["unmapped_users"], counts["unmapped_records"], counts["revoked_records"]) == (2, 3, 1)


def older_names(lake: Path, monday: date) -> None:
    kinds = ("dailies", "thirdPartyDailies", "menstrualCycleTracking", "mct", "typeOfTomorrow")
    write_raw(lake, monday, [record(kind, "user-1", monday, steps=n) for n, kind in enumerate(kinds, 1)])


def test_types_of_older_versions_of_garmin_s_documents_are_known_and_feed_no_metric(world: World) -> None:
    found = world.week(older_names)
    assert [(row["steps"], row["n_records"]) for row in found.daily] == [(1, 4)]  # of mct the latest counts
    assert (found.days[0].counts["unknown_type_records"], found.days[0].counts["superseded"]) == (1, 1)


def four_weeks(lake: Path, monday: date) -> None:
    """Nights and hourly steps of no pattern at all, some missing, up to the Sunday of the week.

    They begin before the 28 days, so that the pair of the first day and the one before it is there to be left out.
    """
    chance = random.Random(28)
    for number in range(-28, 7):
        day = monday + timedelta(days=number)
        for user in ("user-1", "user-2"):
            if chance.random() < 0.95:
                write_raw(lake, day, list(one_day(chance, user, day)), user)


def one_day(chance: random.Random, user: str, day: date) -> Iterator[dict[str, Any]]:
    start = local_s(day, chance.randrange(-200, 400))
    asleep_s = 60 * chance.randrange(1, 700) + chance.choice((0, 0, 25))

    def spans(number: int) -> list[dict[str, int]]:
        starts = [start + chance.randrange(-600, 40_000) for _ in range(number)]
        return [{"startTimeInSeconds": at, "endTimeInSeconds": at + chance.randrange(0, 9000)} for at in starts]

    whole = {"startTimeInSeconds": start, "endTimeInSeconds": start + asleep_s + 1800}
    levels = {"awake": spans(3)} | chance.choice(
        ({"deep": [whole]}, {"unmeasurable": [whole]}, {"light": spans(4), "rem": spans(1), "deep": spans(2)})
    )
    yield record("sleeps", user, day, startTimeInSeconds=start, durationInSeconds=asleep_s, sleepLevelsMap=levels)
    for hour in range(24):
        if chance.random() < 0.9:
            at = {"startTimeInSeconds": local_s(day, 60 * hour), "durationInSeconds": 900}
            yield record("epochs", user, day, **at, steps=chance.choice((0, 0, 5, 80, 900, 41.5)))


def test_regularity_and_rhythm_of_a_week_and_of_28_days_are_those_of_the_reference(
    world: World, tmp_path: Path
) -> None:
    found = world.week(four_weeks)
    four_weeks(tmp_path, found.monday)
    days = [found.monday + timedelta(days=number) for number in range(-28, 7)]
    expected = reference_weekly(reference_daily(tmp_path, PEOPLE, days), found.monday)
    assert differences(found.weekly, expected) == []
    for name in ("sleep_regularity_index", "interdaily_stability", "intradaily_variability", "relative_amplitude"):
        assert all(row[name] is not None and row[f"{name}_28d"] not in (None, row[name]) for row in expected)


def same_nights(lake: Path, monday: date) -> None:
    for day in dates_of(monday):
        night = {"startTimeInSeconds": local_s(day, 7), "durationInSeconds": 25_200}
        write_raw(lake, day, [record("sleeps", "user-1", day, **night)])


def test_nights_that_are_all_alike_have_no_spread(world: World) -> None:
    weekly = world.week(same_nights).weekly
    assert weekly[0]["midsleep_mean_min"] == pytest.approx(217, abs=1e-9)
    assert weekly[0]["midsleep_sd_min"] == pytest.approx(0, abs=1e-6)
    assert weekly[0]["social_jetlag_min"] == pytest.approx(0, abs=1e-9)


def gaps(lake: Path, monday: date) -> None:
    # 10 o'clock has 29 minutes, 11 o'clock 30; off-grid offsets share the minute they fall into.
    samples = {str(10 * 3600 + 60 * m): 70 for m in range(1, 30)}
    samples |= {str(11 * 3600 + 60 * m): 70 for m in range(1, 31)}
    samples |= {str(10 * 3600 + 7): 90, "99999": 200, "86000": 0, "100": -5}
    write_raw(lake, monday, [record("dailies", "user-1", monday, timeOffsetHeartRateSamples=samples)])


def test_a_day_with_a_gap_counts_the_hours_that_have_thirty_minutes(world: World) -> None:
    daily = world.week(gaps).daily
    assert daily[0]["valid_minutes_hours"] == 1
    assert daily[0]["wear_min"] == 29 + 30
    assert daily[0]["hr_mean_bpm"] == pytest.approx((59 * 70 + 90) / 60)


def worn_days(lake: Path, monday: date) -> None:
    for day in dates_of(monday):
        write_raw(lake, day, [record("dailies", "user-1", day, timeOffsetHeartRateSamples=worn(12))])


def test_a_second_run_reads_no_raw_bytes_and_one_late_file_does_one_day_again(world: World) -> None:
    first = world.week(worn_days)
    second = world.again(first.monday)
    late = record("dailies", "user-1", first.monday, timeOffsetHeartRateSamples=worn(9), steps=1,
                  _received_at="2026-11-25T00:00:00.000Z")  # fmt: skip
    write_raw(world.root, first.monday, [late], "late")
    third = world.again(first.monday)
    assert [sum(not day.reused for day in found.days) for found in (first, second, third)] == [7, 0, 1]
    assert sum(day.bytes_read for day in second.days) == 0
    assert differences(first.weekly, second.weekly) == []
    assert (first.weekly[0]["n_valid_days"], third.weekly[0]["n_valid_days"]) == (7, 6)


WRITERS = (
    superseded,
    drifted,
    broken_lines,
    glued_lines,
    misfiled,
    strangers,
    same_nights,
    gaps,
    worn_days,
    respelled,
    older_names,
)
SCENARIOS = {write: MONDAY - timedelta(weeks=n) for n, write in enumerate(WRITERS, start=60)}
SCENARIOS[four_weeks] = MONDAY - timedelta(weeks=90)
"""The scenarios, each with the Monday of its week."""
