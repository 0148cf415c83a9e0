"""Simulated people for whom definitions break, with every trap: DuckDB and the plain-Python reference agree."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from garmin_sim import Simulation, write_lake
from garmin_sim.people import ALL_PERSONAS
from qol_dagster.engines import open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import differences
from qol_dagster_tests.support.reference import reference_daily, reference_weekly

pytestmark = pytest.mark.slow

MONDAY = date(2026, 10, 19)  # with the Sunday on which clocks are changed in Europe
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sim() -> Simulation:
    sunday = date(2026, 10, 25)
    return Simulation(len(ALL_PERSONAS), 1, sunday, 3, frozenset({"all"}), personas=ALL_PERSONAS)


@pytest.fixture(scope="module")
def people(sim: Simulation) -> dict[str, str]:
    numbers = {user: f"{number:02d} {ALL_PERSONAS[number]}" for number, user in enumerate(sim.user_ids())}
    return {one.user_id: numbers[one.first_user_id] for one in sim.enrolments()}


@pytest.fixture(scope="module")
def computed(sim: Simulation, people: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Lake]:
    root = tmp_path_factory.mktemp("traps")
    write_lake(sim, root / "lake")
    lake = Lake.local(root / "lake")
    with open_engine("duckdb", memory_mb=1024, temp_dir=root / "tmp") as engine:
        report = run_etl(engine, lake, [MONDAY], Identities(people))
    counts = [day.counts for day in report.daily.days]
    for what in ("superseded", "other_account", "unknown_type_records"):
        assert sum(count[what] for count in counts) > 0
    return root / "lake", lake


def rows(lake: Lake, table: Any, day: date) -> Rows:
    found = lake.read_table(table, day)
    assert found is not None
    return found.to_pylist()


def test_every_simulated_day_and_week_is_that_of_the_reference(
    computed: tuple[Path, Lake], people: dict[str, str]
) -> None:
    raw, lake = computed
    expected = reference_daily(raw, people, dates_of(MONDAY))
    assert {row["participant_id"] for row in expected} == set(people.values())
    assert differences([row for day in dates_of(MONDAY) for row in rows(lake, "daily", day)], expected) == []
    assert differences(rows(lake, "weekly", MONDAY), reference_weekly(expected, MONDAY)) == []
