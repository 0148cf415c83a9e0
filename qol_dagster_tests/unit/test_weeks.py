"""Which week a date lies in, and which dates lie in a week."""

from __future__ import annotations

from datetime import date

from qol_dagster.weeks import dates_of, mondays
from qol_dagster_tests.support.lakes import MONDAY


def test_the_week_of_any_date_is_the_iso_week() -> None:
    assert mondays([date(2027, 1, 3), date(2026, 12, 28), date(2027, 1, 4)]) == [date(2026, 12, 28), date(2027, 1, 4)]
    assert dates_of(MONDAY)[6] == date(2026, 11, 22)
