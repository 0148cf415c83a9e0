"""When a form is due, in which state a wave is, and which sensor days belong to an answer."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qol_dagster.metrics.dictionary import DAILY, by_name
from qol_dagster.surveys.waves import PlanError, WavePlan, due_waves
from qol_dagster.surveys.windows import MEASURES, READ_DAILY, sensor_window, window_dates

START = date(2026, 9, 1)
PLAN = WavePlan(wear_days=14, every_weeks=4, waves=3, window_days=3)


def days(number: int, start: date = START) -> list[date]:
    return [start + timedelta(days=at) for at in range(number)]


# -- waves


def test_the_baseline_is_due_on_the_day_after_the_14th_worn_day_and_the_others_every_so_many_weeks() -> None:
    found = due_waves(days(40), PLAN)
    assert [(one.wave, one.due_on) for one in found] == [
        (0, date(2026, 9, 15)),
        (1, date(2026, 10, 13)),
        (2, date(2026, 11, 10)),
    ]


def test_days_that_were_not_worn_delay_the_baseline() -> None:
    assert due_waves([*days(10), *days(10, date(2026, 9, 21))], PLAN)[0].due_on == date(2026, 9, 25)
    assert due_waves(days(13) * 2, PLAN) == ()
    assert due_waves(days(14)[::-1], PLAN)[0].due_on == date(2026, 9, 15)


def test_a_wave_may_be_answered_some_days_before_and_after_but_the_baseline_not_before() -> None:
    baseline, first, _ = due_waves(days(14), PLAN)
    assert (baseline.opens_on, baseline.closes_on) == (date(2026, 9, 15), date(2026, 9, 18))
    assert (first.opens_on, first.closes_on) == (date(2026, 10, 10), date(2026, 10, 16))


@pytest.mark.parametrize(
    ("answered", "today", "state"),
    [
        (None, "2026-10-09", "upcoming"),
        (None, "2026-10-10", "open"),
        (None, "2026-10-16", "open"),
        (None, "2026-10-17", "missed"),
        ("2026-10-10", "2026-10-10", "answered"),
        ("2026-10-16", "2026-12-01", "answered"),
        ("2026-10-17", "2026-12-01", "answered_outside"),
        ("2026-10-09", "2026-12-01", "answered_outside"),
    ],
)
def test_the_state_of_a_wave_follows_from_its_window(answered: str | None, today: str, state: str) -> None:
    wave = due_waves(days(14), PLAN)[1]
    assert wave.state(date.fromisoformat(answered) if answered else None, date.fromisoformat(today)) == state


@pytest.mark.parametrize("wrong", [{"wear_days": 0}, {"every_weeks": 0}, {"waves": 0}, {"window_days": -1}])
def test_a_plan_of_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(PlanError, match="at least one"):
        WavePlan(**wrong)


def test_windows_that_overlap_are_refused() -> None:
    assert WavePlan(every_weeks=1, window_days=3)
    with pytest.raises(PlanError, match="windows of 7 days around waves every 2 weeks overlap"):
        WavePlan(every_weeks=2, window_days=7)


# -- the window

ANSWERED = date(2026, 11, 16)


def row(**values: Any) -> dict[str, Any]:
    return {"is_valid_day": True, **values}


def test_the_window_is_the_14_dates_before_the_answer_without_its_own() -> None:
    assert window_dates(ANSWERED) == tuple(days(14, date(2026, 11, 2)))
    found = sensor_window(ANSWERED, {})
    assert (found["window_start"], found["window_end"]) == ("2026-11-02", "2026-11-15")


def test_what_was_worn_on_the_first_and_the_last_day_counts_and_beyond_not() -> None:
    steps = {date(2026, 11, 1): 1, date(2026, 11, 2): 10, date(2026, 11, 15): 100, ANSWERED: 1000}
    found = sensor_window(ANSWERED, {day: row(steps=number) for day, number in steps.items()})
    assert (found["steps_mean_14d"], found["n_steps_mean_14d"], found["n_days"]) == (55, 2, 2)


@pytest.mark.parametrize(("valid", "is_valid"), [(7, False), (8, True), (14, True)])
def test_a_window_is_valid_from_8_valid_days_on(valid: int, is_valid: bool) -> None:
    daily = {day: row(is_valid_day=at < valid, steps=1) for at, day in enumerate(window_dates(ANSWERED))}
    found = sensor_window(ANSWERED, daily)
    assert (found["n_valid_days"], found["is_valid_window"], found["n_days"]) == (valid, is_valid, 14)


def test_movement_is_over_valid_days_and_sleep_over_nights() -> None:
    first, second, third = window_dates(ANSWERED)[:3]
    daily = {
        first: row(steps=4000, sleep_tst_min=420, sleep_waso_min=30),
        second: row(is_valid_day=False, steps=100, sleep_tst_min=360),
        third: row(is_valid_day=None, steps=100, sleep_waso_min=90),
    }
    found = sensor_window(ANSWERED, daily)
    assert (found["steps_mean_14d"], found["n_steps_mean_14d"]) == (4000, 1)
    assert (found["sleep_tst_h_mean_14d"], found["n_sleep_tst_h_mean_14d"]) == (6.5, 2)
    assert found["sleep_tst_h_sd_14d"] == pytest.approx((2 * 30**2) ** 0.5 / 60)
    assert (found["sleep_waso_min_mean_14d"], found["n_sleep_waso_min_mean_14d"]) == (30, 1)


def test_midsleep_is_averaged_around_the_clock() -> None:
    nights = [row(sleep_tst_min=400, midsleep_min=minutes) for minutes in (710, -710)]
    found = sensor_window(ANSWERED, dict(zip(window_dates(ANSWERED), nights, strict=False)))
    assert found["midsleep_mean_min_14d"] == pytest.approx(720)
    # R = cos 2.5 deg; sqrt(-2 ln R) rad as minutes
    assert found["midsleep_sd_min_14d"] == pytest.approx(10.00, abs=0.01)


def test_without_sensors_a_window_is_null_and_its_counts_0() -> None:
    found = sensor_window(ANSWERED, {})
    assert {found[one.name] for one in MEASURES} == {None}
    assert {found[one.count] for one in MEASURES} == {0}
    assert not found["is_valid_window"]


def test_every_measure_is_made_of_a_daily_column() -> None:
    assert set(READ_DAILY) <= set(by_name(DAILY))
    assert len({one.name for one in MEASURES}) == len(MEASURES)


values = st.none() | st.floats(0, 1000)
rows = st.fixed_dictionaries({name: values for name in READ_DAILY if name != "is_valid_day"}).flatmap(
    lambda found: st.sampled_from([None, True, False]).map(lambda valid: {**found, "is_valid_day": valid})
)
history = st.dictionaries(st.integers(-40, 40).map(lambda at: ANSWERED + timedelta(days=at)), rows, max_size=6)


@given(history, history)
@settings(max_examples=60, deadline=None)
def test_no_day_from_the_answer_on_ever_enters_a_window(known: dict[date, Any], later: dict[date, Any]) -> None:
    """Whatever becomes known of the date of answering and of later ones, the window stays as it is."""
    before = sensor_window(ANSWERED, known)
    changed = {day: row for day, row in known.items() if day < ANSWERED}
    changed |= {day: row for day, row in later.items() if day >= ANSWERED}
    assert sensor_window(ANSWERED, changed) == before


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_the_window_of_any_date_ends_the_day_before(day: date) -> None:
    found = window_dates(day)
    assert (len(set(found)), found[0], found[-1]) == (14, day - timedelta(days=14), day - timedelta(days=1))
