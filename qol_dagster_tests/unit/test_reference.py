"""The reference finds what was worked out by hand: every golden case and the week on paper, without any engine.

Engines are compared with the reference over many more records than anybody works out; this is why it may be trusted.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from qol_dagster_tests.golden.cases import Case, Key, Row, Rows, deviations, read_cases
from qol_dagster_tests.support.lakes import differences
from qol_dagster_tests.support.paper_week import EXPECTED, write_paper_week
from qol_dagster_tests.support.reference import Record, read_records, reference_daily, reference_weekly
from qol_dagster_tests.support.trap_records import write_trap_lake

CASES = read_cases()
WEEK = timedelta(weeks=1)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    root = tmp_path_factory.mktemp("lake")
    for case in CASES:
        case.write(root)
    people = {user: name for case in CASES for user, name in case.participants.items()}
    weeks = sorted({value.day - timedelta(days=value.day.weekday()) for case in CASES for value in case.expected})
    days = [weeks[0] - 3 * WEEK + timedelta(days=n) for n in range((weeks[-1] - weeks[0]).days + 28)]
    daily = reference_daily(root, people, days)
    found: dict[Key, Row] = {("daily", row["participant_id"], row["date"]): row for row in daily}
    for week in weeks:
        found |= {("weekly", row["participant_id"], week): row for row in reference_weekly(daily, week)}
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reference_finds_what_the_case_says(rows: Rows, case: Case) -> None:
    assert deviations(case, rows) == [], case.shows


def test_the_reference_finds_the_week_worked_out_on_paper(tmp_path: Path) -> None:
    people, monday = write_paper_week(tmp_path)
    daily = reference_daily(tmp_path, people, [monday + timedelta(days=n) for n in range(7)])
    assert differences(reference_weekly(daily, monday), [EXPECTED]) == []


def test_a_record_knows_its_line_and_one_without_an_ingest_id_has_its_file_s_name(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('\n{"userId": "u"}\n{"userId": "u", "_ingest_id": 7}\n')
    assert list(read_records(tmp_path)) == [
        Record("u", None, {"userId": "u"}, None, "b", 1),
        Record("u", None, {"userId": "u", "_ingest_id": 7}, None, "7", 2),
    ]


def test_the_lake_of_traps_is_the_same_each_time_and_has_a_row_for_each_trap(tmp_path: Path) -> None:
    monday = date(2026, 11, 16)
    people = write_trap_lake(tmp_path / "one", monday)
    assert write_trap_lake(tmp_path / "two", monday) == people
    one, two = (
        {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*.jsonl"))}
        for root in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    daily = reference_daily(tmp_path / "one", people, [monday + timedelta(days=n) for n in range(7)])
    assert len({row["participant_id"] for row in daily}) > len(set(people.values())) - 3
