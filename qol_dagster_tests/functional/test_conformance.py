"""Every engine gives the rows that the definitions give: same raw files in, same rows out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.engines import Engine, open_engine
from qol_dagster.etl import EtlReport, Identities, days_of, run_etl
from qol_dagster.metrics.dictionary import DAILY, WEEKLY
from qol_dagster.resources.storage import Lake
from qol_dagster_tests.lakes import MONDAY, UNCOMPARED, differences, local_s, record, worn, write_raw
from qol_dagster_tests.paper_week import EXPECTED, write_paper_week
from qol_dagster_tests.reference import reference_daily, reference_weekly
from qol_dagster_tests.trap_records import write_trap_lake

PEOPLE = {"user-1": "P1", "user-2": "P2"}


@pytest.fixture(scope="module", params=["duckdb", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(request.param, memory_mb=1024, temp_dir=tmp_path_factory.mktemp("engine")) as opened:
        yield opened


def computed(
    engine: Engine, root: Path, people: dict[str, str], week: date = MONDAY, **options: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], EtlReport]:
    """Daily rows, weekly rows and the report of one week."""
    lake = Lake.local(root)
    report = run_etl(engine, lake, [week], Identities(people, **options))
    daily = [row for day in days_of(week) for row in rows(lake, "daily", day)]
    return daily, rows(lake, "weekly", week), report


def rows(lake: Lake, table: Any, day: date) -> list[dict[str, Any]]:
    found = lake.read_table(table, day)
    assert found is not None
    return found.to_pylist()


def test_every_weekly_column_of_a_week_worked_out_on_paper_is_right(engine: Engine, tmp_path: Path) -> None:
    people, monday = write_paper_week(tmp_path)
    _, weekly, _ = computed(engine, tmp_path, people, monday)
    assert {metric.name for metric in WEEKLY} - UNCOMPARED == set(EXPECTED)
    assert differences(weekly, [EXPECTED]) == []


def test_a_lake_full_of_traps_gives_the_rows_of_the_plain_python_reference(engine: Engine, tmp_path: Path) -> None:
    people = write_trap_lake(tmp_path, MONDAY)
    daily, weekly, _ = computed(engine, tmp_path, people)
    expected_daily = reference_daily(tmp_path, people, days_of(MONDAY))
    assert len(expected_daily) > 10
    assert differences(daily, expected_daily) == []
    assert differences(weekly, reference_weekly(expected_daily, MONDAY)) == []


def test_the_rows_have_the_dictionary_s_columns_in_its_order(engine: Engine, tmp_path: Path) -> None:
    write_raw(tmp_path, MONDAY, [record("dailies", "user-1", MONDAY)])
    daily, weekly, _ = computed(engine, tmp_path, PEOPLE)
    for rows_, metrics in ((daily, DAILY), (weekly, WEEKLY)):
        assert [*rows_[0]] == [m.name for m in metrics if m.name != "date"] + ["date"]


def test_the_latest_received_wins_whatever_the_order_of_lines_and_files(engine: Engine, tmp_path: Path) -> None:
    early = record("dailies", "user-1", MONDAY, steps=10, _received_at="2026-11-16T03:00:00.000Z")
    late = record("dailies", "user-1", MONDAY, steps=30, _received_at="2026-11-17T03:00:00.000Z")
    middle = record("dailies", "user-1", MONDAY, steps=20, _received_at="2026-11-16T13:00:00.000Z")
    write_raw(tmp_path, MONDAY, [late, early], "z")
    write_raw(tmp_path, MONDAY, [middle, late], "a")
    daily, _, report = computed(engine, tmp_path, PEOPLE)
    assert (daily[0]["steps"], daily[0]["n_records"]) == (30, 1)
    assert report.daily.days[0].counts["superseded"] == 3


@pytest.mark.parametrize(
    ("value", "steps"),
    [
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
    ],
)
def test_a_field_of_any_type_is_read_or_null_and_the_record_stays(
    engine: Engine, tmp_path: Path, value: Any, steps: float | None
) -> None:
    write_raw(tmp_path, MONDAY, [record("dailies", "user-1", MONDAY, steps=value, floorsClimbed=7)])
    daily, _, _ = computed(engine, tmp_path, PEOPLE)
    assert (daily[0]["steps"], daily[0]["floors"]) == (steps, 7.0)


def test_broken_lines_and_foreign_files_cost_nothing_but_themselves(engine: Engine, tmp_path: Path) -> None:
    good = record("dailies", "user-1", MONDAY, steps=5000)
    broken = [b"not json", b'{"half": ', b"[1, 2]", b'"text"', b'{"userId": "\xff\xfe"}', b"", b"   "]
    write_raw(tmp_path, MONDAY, [*broken, good])
    folder = write_raw(tmp_path, MONDAY, [b""], "empty").parent
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "half.jsonl").write_bytes(b'{"_summary_type": "dailies", "userId": "user-2", "st')
    for name in ("notes.txt", "_temporary.jsonl", ".hidden.jsonl", "a.jsonl.tmp"):
        (folder / name).write_text('{"_summary_type": "dailies", "userId": "user-2"}\n')
    (folder / "folder").mkdir()
    (folder / "folder" / "nested.txt").write_text("nothing")
    daily, _, report = computed(engine, tmp_path, PEOPLE)
    assert [(row["participant_id"], row["steps"]) for row in daily] == [("P1", 5000.0)]
    assert report.daily.days[0].counts["unreadable"] == 6


def test_a_record_under_another_date_than_its_own_is_left_out_and_counted(engine: Engine, tmp_path: Path) -> None:
    tuesday = MONDAY + timedelta(days=1)
    old = record("dailies", "user-1", date(2023, 11, 16), steps=1)
    future = record("dailies", "user-1", date(2031, 1, 1), steps=2)
    by_start = record("epochs", "user-1", MONDAY, calendarDate=..., startTimeInSeconds=local_s(tuesday, 5))
    right = record("epochs", "user-1", MONDAY, calendarDate=..., startTimeInSeconds=local_s(tuesday, -5), steps=9)
    undated = record("skinTemp", "user-2", MONDAY, calendarDate=..., startTimeInSeconds=...)
    write_raw(tmp_path, MONDAY, [old, future, by_start, right])
    write_raw(tmp_path, tuesday, [undated])  # received on Tuesday at 08:00 in Japan
    daily, _, report = computed(engine, tmp_path, PEOPLE)
    assert [(row["participant_id"], row["date"]) for row in daily] == [
        ("P1", "2026-11-16"),
        ("P2", "2026-11-17"),
    ]
    assert daily[0]["steps_by_hour"][23] == 9
    assert [day.counts["misfiled"] for day in report.daily.days] == [3, 0, 0, 0, 0, 0, 0]


def test_unmapped_and_revoked_users_are_counted_and_appear_nowhere(engine: Engine, tmp_path: Path) -> None:
    users = ["user-1", "stranger", "another", "leaver"]
    write_raw(tmp_path, MONDAY, [record("dailies", user, MONDAY, steps=1) for user in [*users, "stranger"]])
    daily, weekly, report = computed(engine, tmp_path, PEOPLE, revoked=frozenset({"leaver"}))
    assert [row["participant_id"] for row in daily + weekly] == ["P1", "P1"]
    counts = report.daily.days[0].counts
    assert (counts["unmapped_users"], counts["unmapped_records"], counts["revoked_records"]) == (2, 3, 1)


def test_nights_that_are_all_alike_have_no_spread(engine: Engine, tmp_path: Path) -> None:
    for day in days_of(MONDAY):
        start = local_s(day, 7)
        sleep = record("sleeps", "user-1", day, startTimeInSeconds=start, durationInSeconds=25_200)
        write_raw(tmp_path, day, [sleep])
    _, weekly, _ = computed(engine, tmp_path, PEOPLE)
    assert weekly[0]["midsleep_mean_min"] == pytest.approx(217, abs=1e-9)
    assert weekly[0]["midsleep_sd_min"] == pytest.approx(0, abs=1e-6)
    assert weekly[0]["social_jetlag_min"] == pytest.approx(0, abs=1e-9)


def test_a_day_with_a_gap_counts_the_hours_that_have_forty_minutes(engine: Engine, tmp_path: Path) -> None:
    # 10:00-10:39 has 39 minutes, 11:00-11:40 has 40; off-grid offsets share the slot they fall into.
    samples = {str(10 * 3600 + 60 * m): 70 for m in range(39)}
    samples |= {str(11 * 3600 + 60 * m): 70 for m in range(40)}
    samples |= {str(10 * 3600 + 7): 90, "99999": 0, "100": -5}
    line = record("dailies", "user-1", MONDAY, timeOffsetHeartRateSamples=samples)
    write_raw(tmp_path, MONDAY, [line])
    daily, _, _ = computed(engine, tmp_path, PEOPLE)
    assert daily[0]["valid_minutes_hours"] == 1
    assert daily[0]["wear_min"] == 79 / 4
    assert daily[0]["hr_mean_bpm"] == pytest.approx((79 * 70 + 90) / 80)


def test_a_second_run_reads_no_raw_bytes_and_one_late_file_does_one_day_again(engine: Engine, tmp_path: Path) -> None:
    for day in days_of(MONDAY):
        write_raw(tmp_path, day, [record("dailies", "user-1", day, timeOffsetHeartRateSamples=worn(12))])
    _, before, first = computed(engine, tmp_path, PEOPLE)
    _, same, second = computed(engine, tmp_path, PEOPLE)
    late = record("dailies", "user-1", MONDAY, timeOffsetHeartRateSamples=worn(9), steps=1,
                  _received_at="2026-11-25T00:00:00.000Z")  # fmt: skip
    write_raw(tmp_path, MONDAY, [late], "late")
    _, after, third = computed(engine, tmp_path, PEOPLE)
    assert [sum(not day.reused for day in run.daily.days) for run in (first, second, third)] == [7, 0, 1]
    assert sum(day.bytes_read for day in second.daily.days) == 0
    assert differences(before, same) == []
    assert (before[0]["n_valid_days"], after[0]["n_valid_days"]) == (7, 6)
