"""How people differ: the published spread between persons, drawn for one participant.

Belongs here: the traits that are numbers, each with its source (author, year, population). What a day makes of them is
`people.py` and `physiology.py`. `qol_dagster_tests/functional/test_sim_spread.py` measures in the weekly tables what
comes of it.

Published, of other devices and mostly other countries:

steps           National Health and Nutrition Survey 2019 (Japan, pedometers, 20 years and over), mean of a day: men
                7,864 at 20 to 64 years and 5,396 from 65, women 6,685 and 4,656
exercise        the same survey: 33 % of men and 25 % of women exercise regularly
cadence         Tudor-Locke 2011 (NHANES 2005-2006): adults spend some 7 minutes a day at 100 steps a minute or more
resting pulse   Quer 2020 (92,457 users of wrist-worn devices, United States): 65.5 +- 7.7 bpm, differing by sex and
                stable from week to week (of one person some 2 or 3 bpm, women some 3 more: approximations)
VO2max          Kaminsky 2015 (FRIEND, treadmill, United States): men 47.6 at 20 to 29 years, 25.8 at 70 to 79; women
                37.6 and 18.3; SD 7 to 11
sleep           Ohayon 2004 (65 studies): efficiency falls by some 2 points in ten years from 40 on. Wrist actigraphy of
                adults has about 85 to 90 %, SD 5 to 7 (as in MESA, Chen 2015; an approximation)
regularity      Windred 2024 (UK Biobank, 60,977 adults): sleep regularity index 81.0, quartiles 73.8 and 86.3
amplitude       Lyall 2018 (UK Biobank, 91,105 adults): relative amplitude 0.87 +- 0.06, of acceleration
breathing       Natarajan 2021 (10,000 Fitbit users): asleep 15.4 a minute, 90 % between 11.8 and 19.2; of one person a
                coefficient of variation of 2.3 to 9.2 % over 14 days (90 %, 20 to 24 years)
oxygen          overnight means of healthy adults are 94 to 97 % (an approximation of several studies)

Approximations: stress is Garmin's own scale, of which no spread is published: a mean of some 30. HRV falls with age as
Natarajan 2020 (Fitbit users) shows it, roughly. Fitness age is Garmin's own estimate; here it is the age, less half of
what VO2max is ahead of its age group's, so that it follows the age year by year. Of steps the relative amplitude is
higher than of acceleration, since a sleeper makes none: 0.95 or so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OLD_YEARS = 65
VO2MAX_A_YEAR = 0.39


@dataclass(frozen=True)
class Traits:
    """The numbers of one person; units are in the names."""

    female: bool
    age_years: int
    height_m: float
    weight_g: int
    fitness: float  # 0 is the average of age and sex, SD 0.7
    resting_hr_bpm: float
    hrv_rmssd_ms: float
    vo2max: float
    fitness_age: float
    stress_level: float
    steps_a_day: float
    cadence_spm: float  # of ordinary walking
    exercise_chance: float  # a day
    sleep_need_min: float
    awake_share: float  # of the time in bed
    irregular_min: float  # SD of the bedtime
    night_walks: float  # a night
    breaths_hundredths: float  # a minute, asleep
    oxygen_pct: float  # asleep


def draw_traits(rng: np.random.Generator, *, athlete: bool) -> Traits:
    """Return the traits of one person; an athlete is fitter and exercises most days."""
    female = bool(rng.random() < 0.5)
    age, height = int(rng.integers(24, 78)), float(rng.normal(1.58 if female else 1.71, 0.058))
    fitness = _within(rng.normal(0.8 if athlete else 0.0, 0.7), -1.8, 2.2)
    expected = (47.3 if female else 57.3) - VO2MAX_A_YEAR * age
    vo2max = _within(expected + 8 * fitness + rng.normal(0, 2), 14, 68)
    return Traits(
        female=female,
        age_years=age,
        height_m=height,
        weight_g=int(height * height * rng.normal(22.8, 2.8) * 1000),
        fitness=fitness,
        resting_hr_bpm=_within(rng.normal(64 + 3 * female - 4.5 * fitness, 6.6), 42, 92),
        hrv_rmssd_ms=_within(rng.normal(62 - 0.5 * age + 9 * fitness, 8), 14, 110),
        vo2max=vo2max,
        fitness_age=_within(age - 0.5 * (vo2max - expected) / VO2MAX_A_YEAR, 18, 90),
        stress_level=_within(rng.normal(34, 8), 15, 60),
        steps_a_day=_steps_a_day(rng, female, age, fitness),
        cadence_spm=_within(rng.normal(93 + 2 * fitness, 7), 74, 115),
        exercise_chance=0.75 if athlete else _exercise_chance(rng, female, fitness),
        sleep_need_min=_within(rng.normal(395, 38), 300, 500),
        awake_share=_within(0.08 * np.exp(rng.normal(0, 0.4)) + 0.002 * max(0, age - 40), 0.02, 0.3),
        irregular_min=_within(17 * np.exp(rng.normal(0, 0.7)), 5, 110),
        night_walks=_within(rng.gamma(1.2, 0.5 + 0.02 * max(0, age - 40)), 0, 5),
        breaths_hundredths=_within(rng.normal(1500, 210), 900, 2200),
        oxygen_pct=_within(rng.normal(95.9 - 0.02 * max(0, age - 50), 1.1), 90, 98.5),
    )


def _steps_a_day(rng: np.random.Generator, female: bool, age: int, fitness: float) -> float:
    usual = (4656 if female else 5396) if age >= OLD_YEARS else (6685 if female else 7864)
    return _within(usual * np.exp(0.2 * fitness + rng.normal(-0.06, 0.32)), 1200, 19_000)


def _exercise_chance(rng: np.random.Generator, female: bool, fitness: float) -> float:
    regular = rng.random() < (0.25 if female else 0.33) + 0.12 * fitness
    return _within(rng.normal(0.33 if regular else 0.03, 0.1 if regular else 0.02), 0, 0.7)


def _within(value: float, low: float, high: float) -> float:
    return float(min(max(value, low), high))
