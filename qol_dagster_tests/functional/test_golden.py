"""Every engine finds what the golden cases say, each value worked out by hand in its case (see golden/README.md).

All cases lie in one lake, each as a participant of its own, and an engine computes the lake once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import DAILY, WEEKLY
from qol_dagster.weeks import dates_of, mondays
from qol_dagster_tests.golden.cases import (
    FOLDER,
    TABLES,
    Case,
    CaseError,
    Key,
    Row,
    Rows,
    TableName,
    deviations,
    read_case,
    read_cases,
)
from qol_dagster_tests.support.lakes import UNCOMPARED
from qol_dagster_tests.support.one_lake import ComputedLake, Part, Write, part

CASES = read_cases()
METRICS = {"daily": DAILY, "weekly": WEEKLY}
OF_THE_ROW = {"participant_id", "date"} | UNCOMPARED
"""Columns that say whose row it is and what made it: each case is looked up by them."""


WEEKS = mondays([value.day for case in CASES for value in case.expected])


@part
def write_cases(lake: Path) -> Part:
    for case in CASES:
        case.write(lake)
    return Part(WEEKS, {user: name for case in CASES for user, name in case.participants.items()})


@pytest.fixture(scope="module")
def rows(computed: Callable[[Write], ComputedLake]) -> Rows:
    lake = Lake.local(computed(write_cases).root)
    days = [day for week in WEEKS for day in dates_of(week)]
    return dict([*rows_of(lake, "daily", days), *rows_of(lake, "weekly", WEEKS)])


def rows_of(lake: Lake, table: TableName, days: Sequence[date]) -> Iterator[tuple[Key, Row]]:
    for day in days:
        found = lake.read_table(table, day)
        assert found is not None
        for row in found.to_pylist():
            yield (table, row["participant_id"], day), row


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_engine_finds_what_the_case_says(rows: Rows, case: Case) -> None:
    assert deviations(case, rows) == [], case.shows


def test_every_column_has_a_case_with_a_value_and_one_without() -> None:
    values: dict[str, set[str]] = defaultdict(set)
    nulls: dict[str, set[str]] = defaultdict(set)
    for value in (value for case in CASES for value in case.expected):
        (nulls if value.value is None else values)[value.table].add(value.column)
    for table in TABLES:
        metrics = [metric for metric in METRICS[table] if metric.name not in OF_THE_ROW]
        unseen = {metric.name for metric in metrics} - values[table]
        assert not unseen, f"no case has a value of {table} {sorted(unseen)}"
        never_null = {metric.name for metric in metrics if metric.nullable} - nulls[table]
        assert not never_null, f"no case has null for {table} {sorted(never_null)}"
        assert {metric.name for metric in metrics if not metric.nullable} & nulls[table] == set()


def test_every_case_says_what_it_shows_and_is_small() -> None:
    for case in CASES:
        assert re.fullmatch(r"[A-Z][^\n]{30,150}\.", case.shows), case.name
        assert len((FOLDER / f"{case.name}.toml").read_text().splitlines()) <= 120, case.name


def test_the_guide_shows_a_case_that_is_read(tmp_path: Path) -> None:
    (written,) = re.findall(r"^```toml\n(.*?)^```", (FOLDER / "README.md").read_text(), re.M | re.S)
    path = tmp_path / "breath_of_a_day.toml"
    path.write_text(written)
    case = read_case(path)
    assert [line["_summary_type"] for line in case.raw[date(2026, 6, 1)]] == ["allDayRespiration"]
    assert [(value.column, value.value) for value in case.expected] == [("resp_day_brpm", 14.0), ("steps", None)]


CASE = """
shows = "Steps are as received."
[raw]
2026-06-01 = '''
{}
'''
[daily.2026-06-01]
steps = "= 2 * 7"
floors = 3
null = ["vo2max"]
"""


def read(tmp_path: Path, line: str = '{"steps": 14}', old: str = "", new: str = "") -> Case:
    path = tmp_path / "made_up.toml"
    path.write_text(CASE.format(line).replace(old, new) if old else CASE.format(line))
    return read_case(path)


def test_a_deviation_tells_table_date_column_what_was_expected_and_what_was_found(tmp_path: Path) -> None:
    case = read(tmp_path)
    key: Key = ("daily", "made_up", date(2026, 6, 1))
    assert deviations(case, {key: {"steps": 14.0, "floors": 3.0, "vo2max": None}}) == []
    assert deviations(case, {key: {"steps": 14.1, "floors": None, "vo2max": 0.0}}) == [
        "[daily.2026-06-01] steps: expected 14 = 2 * 7, found 14.1",
        "[daily.2026-06-01] floors: expected 3, found None",
        "[daily.2026-06-01] vo2max: expected None, found 0.0",
    ]
    assert deviations(case, {})[2] == "[daily.2026-06-01] vo2max: expected null, found no row"


@pytest.mark.parametrize(
    ("line", "spelled_out"),
    [
        ('{"startTimeInSeconds": "@ 00:00"}', {"startTimeInSeconds": 1780272000}),
        ('{"a": ["@ 23:00 the day before", "@ 01:00:30 the day after"]}', {"a": [1780268400, 1780362030]}),
        ('{"t": "@ 09:00", "startTimeOffsetInSeconds": 32400}', {"t": 1780272000, "startTimeOffsetInSeconds": 32400}),
        ('{"m": {"every 15 s from 00:10 to 00:10:45": 60, "9": 1}}', {"m": {"600": 60, "615": 60, "630": 60, "9": 1}}),
        ('{"userId": "another", "calendarDate": null}', {"userId": "another", "calendarDate": None}),
    ],
)
def test_clock_times_and_series_become_what_garmin_sends(
    tmp_path: Path, line: str, spelled_out: dict[str, Any]
) -> None:
    (found,) = read(tmp_path, line).raw[date(2026, 6, 1)]
    assert found == {"userId": "golden-made_up", "calendarDate": "2026-06-01"} | spelled_out


def test_a_start_in_a_series_makes_a_line_each_and_a_folder_may_be_many_days(tmp_path: Path) -> None:
    line = '{"startTimeInSeconds": "@ every 3 min from 00:00 to 00:07"}'
    raw = read(tmp_path, line, "2026-06-01 = '''", "\"2026-06-01, 2026-06-30 to 2026-07-01\" = '''").raw
    assert [day.isoformat() for day in raw] == ["2026-06-01", "2026-06-30", "2026-07-01"]
    first = 1780272000
    assert [one["startTimeInSeconds"] - first for one in raw[date(2026, 6, 1)]] == [0, 180, 360]


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        ('{"steps": 14', "", "", r"no JSON .*: \{\"steps\": 14$"),
        ('{"t": "@ 8:00"}', "", "", "'@ 8:00' is not like: @ 23:00"),
        ('{"m": {"every 15 s": 60}}', "", "", "'every 15 s' is not like: every 15 s from"),
        ("{}", "floors = 3", "flors = 3", "names flors, which is no column of the daily table"),
        ("{}", "vo2max", "steps", r"\[daily.2026-06-01\] has steps twice"),
        ("{}", "daily.", "weekly.", "names steps, which is no column of the weekly table"),
        ("{}", "daily.2026-06-01", "weekly.2026-06-02", r"\[weekly.2026-06-02\] is no Monday"),
        ("{}", "= 2 * 7", "= 2 * many", "'= 2 \\* many' cannot be worked out: name 'many' is not defined"),
        ("{}", "2026-06-01 = '''", "\"2026-06-02 to 2026-06-01\" = '''", "ends before it begins"),
        ("{}", "[raw]", "[row]", "there is no part row"),
        ("{}", "shows", "source", "shows is missing"),
    ],
)
def test_a_case_that_cannot_be_read_says_which_and_why(
    tmp_path: Path, line: str, old: str, new: str, message: str
) -> None:
    with pytest.raises(CaseError, match=rf"^made_up\.toml: .*{message}"):
        read(tmp_path, line, old, new)
