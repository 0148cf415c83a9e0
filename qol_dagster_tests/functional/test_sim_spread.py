"""The simulated cohort differs as published people do: the spread between and within persons, from the real tables.

Each band is taken from the source that `garmin_sim/population.py` names for it, with room for a cohort of 200; none is
taken from the simulator's parameters. Where a band is an approximation, it says so.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from garmin_sim import Simulation, write_lake
from garmin_sim.people import make_participant
from qol_dagster.engines import open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.catalogue.duckdb import query

pytestmark = pytest.mark.slow

SIM = Simulation(200, 2, date(2026, 11, 22))
MONDAYS = [date(2026, 11, 9), date(2026, 11, 16)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cohort")
    write_lake(SIM, root / "lake")
    people = {user: str(number) for number, user in enumerate(SIM.user_ids())}
    with open_engine("duckdb", memory_mb=1024, temp_dir=root / "tmp") as engine:
        run_etl(engine, Lake.local(root / "lake"), MONDAYS, Identities(people))
    return root / "lake"


def row(lake: Path, sql: str) -> tuple[Any, ...]:
    (only,) = query(lake, sql).rows
    return tuple(only)


BETWEEN: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    # column: bands of the mean and of the SD of the persons' means
    "steps_mean": ((5_500, 7_500), (2_000, 3_800)),  # NHNS 2019: 4,656 to 7,864 by sex and age
    "resting_hr_mean": ((63.5, 67.5), (6.2, 9.2)),  # Quer 2020: 65.5 +- 7.7
    "sleep_efficiency_mean": ((85, 90), (4, 7)),  # actigraphy: 85 to 90, SD 5 to 7
    "resp_sleep_mean": ((14.4, 16.4), (1.6, 2.6)),  # Natarajan 2021: 15.4, 90 % in 11.8 to 19.2
    "spo2_mean": ((94.5, 96.5), (0.8, 1.8)),  # approximation
    "vo2max_last": ((29, 38), (8, 12)),  # Kaminsky 2015, both sexes, 20 to 79 years
    "stress_mean": ((26, 36), (5, 9)),  # approximation: Garmin's own scale
    # Lyall 2018 has 0.87 +- 0.06 of acceleration; of steps, of which a sleeper makes none, it is higher: approximation
    "relative_amplitude": ((0.87, 0.97), (0.04, 0.1)),
}


@pytest.mark.parametrize("column", BETWEEN)
def test_persons_differ_as_published_ones_do(lake: Path, column: str) -> None:
    mean, sd = row(
        lake,
        f"SELECT avg(mean), stddev_samp(mean) FROM "
        f"(SELECT avg({column}) AS mean FROM db_qol.weekly_metrics GROUP BY participant_id)",
    )
    (low, high), (least, most) = BETWEEN[column]
    assert low <= mean <= high
    assert least <= sd <= most


WITHIN: dict[str, tuple[float, float]] = {
    # column of a day: band of the median over persons of the SD of their days
    "steps": (1_600, 3_200),  # a coefficient of variation of a third or more
    "resting_hr_bpm": (1, 3),  # approximation: stable over the short term (Quer 2020)
    "sleep_efficiency_pct": (2, 6),  # approximation
    "resp_sleep_brpm": (0.35, 1.4),  # Natarajan 2021: a coefficient of variation of 2.3 to 9.2 %
    "spo2_mean_pct": (0.3, 1),  # approximation
}


@pytest.mark.parametrize("column", WITHIN)
def test_a_persons_days_differ_less_than_persons_do(lake: Path, column: str) -> None:
    within, between = row(
        lake,
        f"SELECT median(sd), stddev_samp(mean) FROM (SELECT stddev_samp({column}) AS sd, avg({column}) AS mean "
        "FROM db_qol.daily_metrics WHERE is_valid_day GROUP BY participant_id)",
    )
    low, high = WITHIN[column]
    assert low <= within <= high
    assert within < between


def test_sleep_is_as_regular_as_in_the_uk_biobank(lake: Path) -> None:
    quartiles = row(
        lake,
        "SELECT quantile_cont(mean, 0.25), median(mean), quantile_cont(mean, 0.75) FROM (SELECT "
        "avg(sleep_regularity_index) AS mean FROM db_qol.weekly_metrics GROUP BY participant_id)",
    )
    for found, published in zip(quartiles, (73.8, 81.0, 86.3), strict=True):  # Windred 2024
        assert found == pytest.approx(published, abs=3.5)


def test_of_full_weeks_a_part_is_below_a_part_meets_and_a_part_exceeds_what_who_recommends(lake: Path) -> None:
    # Approximation: by how much activity is measured differs by device; no share may be nearly all or nearly none.
    shares = row(
        lake,
        "SELECT avg((who_activity = 'below')::int), avg((who_activity = 'meets')::int), "
        "avg((who_activity = 'exceeds')::int) FROM db_qol.weekly_metrics WHERE n_days = 7",
    )
    for share, (low, high) in zip(shares, ((0.25, 0.55), (0.15, 0.4), (0.15, 0.4)), strict=True):
        assert low <= share <= high


def test_fitness_age_follows_age_year_by_year(lake: Path) -> None:
    found = query(lake, "SELECT participant_id, max(fitness_age_last) FROM db_qol.weekly_metrics GROUP BY ALL").rows
    ages = {row[0]: make_participant(SIM.seed, int(row[0])).traits.age_years for row in found}
    pairs = [(ages[person], fitness_age) for person, fitness_age in found if fitness_age is not None]
    middle = [sum(values) / len(pairs) for values in zip(*pairs, strict=True)]
    slope = sum((x - middle[0]) * (y - middle[1]) for x, y in pairs) / sum((x - middle[0]) ** 2 for x, _ in pairs)
    assert slope == pytest.approx(1, abs=0.12)
    spread = (sum((y - x) ** 2 for x, y in pairs) / len(pairs)) ** 0.5
    assert 4 < spread < 12
