"""Permissions by kind in the tables: without that for activities the exercise columns go, without that for health data
all others do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.engines import Engine, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.pipeline.status import materialize_status
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, differences, record, worn, write_raw
from qol_dagster_tests.support.reference import reference_daily, reference_weekly
from qol_dagster_tests.support.trap_records import write_trap_lake

ADA, BEN = "user-ada", "user-ben"
PEOPLE = Identities({ADA: "P1", BEN: "P2"})
EXERCISE = ("exercise_sessions", "exercise_min")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path_factory.mktemp("duckdb")) as engine:
        yield engine


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A day of steps, sleepless; Ada went for a run of an hour, Ben did not."""
    day = [record("dailies", user, MONDAY, steps=4321, timeOffsetHeartRateSamples=worn(14)) for user in (ADA, BEN)]
    write_raw(tmp_path, MONDAY, [*day, record("activities", ADA, MONDAY, durationInSeconds=3600)])
    return Lake.local(tmp_path)


def computed(engine: Engine, lake: Lake, people: Identities) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Monday's rows by participant, and its counts."""
    report = run_etl(engine, lake, [MONDAY], people)
    table = lake.read_table("daily", MONDAY)
    assert table is not None
    (counts,) = [day.counts for day in report.daily.days if day.date == MONDAY]
    return {row["participant_id"]: row for row in table.to_pylist()}, dict(counts)


def test_with_both_permissions_all_columns_are_filled(engine: Engine, lake: Lake) -> None:
    rows, counts = computed(engine, lake, PEOPLE)
    assert [[rows[who][name] for name in ("steps", *EXERCISE)] for who in ("P1", "P2")] == [
        [4321, 1, 60.0],
        [4321, 0, 0.0],
    ]
    assert counts["revoked_records"] == 0


def test_without_activities_the_exercise_columns_are_unknown_and_the_rest_stays(engine: Engine, lake: Lake) -> None:
    everything, _ = computed(engine, lake, PEOPLE)
    rows, counts = computed(engine, lake, replace(PEOPLE, withheld=dict.fromkeys((ADA, BEN), "ACTIVITY_EXPORT")))
    for who in ("P1", "P2"):
        assert [rows[who][name] for name in EXERCISE] == [None, None]
    assert (rows["P1"]["steps"], rows["P1"]["wear_min"]) == (4321, everything["P1"]["wear_min"])
    assert counts["revoked_records"] == 1


def test_without_health_data_only_the_exercise_columns_stay(engine: Engine, lake: Lake) -> None:
    rows, counts = computed(engine, lake, replace(PEOPLE, withheld={ADA: "HEALTH_EXPORT"}))
    assert [rows["P1"][name] for name in ("steps", "wear_min", *EXERCISE)] == [None, None, 1, 60.0]
    assert rows["P2"]["steps"] == 4321
    assert counts["revoked_records"] == 1


def test_a_lake_full_of_traps_gives_the_reference_s_rows_whoever_withholds_what(engine: Engine, tmp_path: Path) -> None:
    people = write_trap_lake(tmp_path, MONDAY)
    kinds = ("HEALTH_EXPORT", "ACTIVITY_EXPORT", "")
    withheld = {user: kinds[number % 3] for number, user in enumerate(sorted(people)) if kinds[number % 3]}
    run_etl(engine, Lake.local(tmp_path), [MONDAY], Identities(people, withheld=withheld))
    days = dates_of(MONDAY)
    daily = reference_daily(tmp_path, people, days, withheld)
    assert len(daily) < len(reference_daily(tmp_path, people, days)), "somebody's rows are missing"
    tables = [Lake.local(tmp_path).read_table("daily", day) for day in days]
    assert differences([row for one in tables if one for row in one.to_pylist()], daily) == []
    weekly = Lake.local(tmp_path).read_table("weekly", MONDAY)
    assert weekly
    assert differences(weekly.to_pylist(), reference_weekly(daily, MONDAY)) == []


def test_a_permission_that_changes_makes_the_days_anew(engine: Engine, lake: Lake) -> None:
    computed(engine, lake, PEOPLE)
    rows, _ = computed(engine, lake, replace(PEOPLE, withheld={ADA: "HEALTH_EXPORT"}))
    assert rows["P1"]["steps"] is None
    rows, _ = computed(engine, lake, PEOPLE)
    assert rows["P1"]["steps"] == 4321


def test_who_withholds_health_data_has_the_status_of_the_revoked(engine: Engine, lake: Lake) -> None:
    people = replace(PEOPLE, withheld={ADA: "HEALTH_EXPORT", BEN: "ACTIVITY_EXPORT"})
    run_etl(engine, lake, [MONDAY], people)
    materialize_status(engine, lake, [MONDAY], people, computed_at=datetime(2026, 11, 25, tzinfo=UTC))
    table = lake.read_table("status", MONDAY)
    assert table is not None
    status = {row["participant_id"]: row["status"] for row in table.to_pylist()}
    assert status["P1"] == "revoked"
    assert status["P2"] != "revoked"
