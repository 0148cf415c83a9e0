"""Which week a date lies in, and which dates lie in a week."""

from __future__ import annotations

from datetime import date

from qol_dagster.weeks import dates_of, is_closed, mondays
from qol_dagster_tests.support.lakes import MONDAY


def test_the_week_of_any_date_is_the_iso_week() -> None:
    assert mondays([date(2027, 1, 3), date(2026, 12, 28), date(2027, 1, 4)]) == [date(2026, 12, 28), date(2027, 1, 4)]
    assert dates_of(MONDAY)[6] == date(2026, 11, 22)


def test_a_week_is_over_on_the_monday_after_it_and_the_last_of_all_never() -> None:
    sunday, next_monday, last = date(2026, 11, 22), date(2026, 11, 23), date(9999, 12, 27)
    assert [is_closed(MONDAY, on) for on in (sunday, next_monday)] == [False, True]
    assert not is_closed(last, next_monday)
