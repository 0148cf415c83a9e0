"""The sensors in the 14 dates before an answer: WHOQOL-26 asks about the last two weeks.

Belongs here: which dates those are, and each measure over them. The date of answering is not among them, because it
is not over when the form is answered, and no later date ever is.
"""

from __future__ import annotations

import cmath
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

WINDOW_DAYS = 14
LEAST_VALID_DAYS = 8
"""Of a valid window: more than half of its days."""
SUFFIX = f"_{WINDOW_DAYS}d"

Over = Literal["valid_days", "nights", "days"]
Statistic = Literal["mean", "sd", "circular_mean", "circular_sd"]
DailyRow = Mapping[str, Any]
"""A row of `daily_metrics`, by column."""


@dataclass(frozen=True)
class Measure:
    """One measure: a statistic of a daily column over some of the window's days, in `per`ths of its unit.

    As in `weekly_metrics`, `valid_days` are those worn long enough, `nights` those with a main sleep, `days` all.
    """

    stem: str
    column: str
    over: Over = "valid_days"
    statistic: Statistic = "mean"
    per: int = 1

    @property
    def name(self) -> str:
        """The column of `whoqol_sensor_windows`."""
        return f"{self.stem}{SUFFIX}"

    @property
    def count(self) -> str:
        """The column with its number of days."""
        return f"n_{self.name}"


MEASURES: tuple[Measure, ...] = (
    Measure("wear_min_mean", "wear_min", "days"),
    Measure("steps_mean", "steps"),
    Measure("distance_m_mean", "distance_m"),
    Measure("floors_mean", "floors"),
    Measure("active_kcal_mean", "active_kcal"),
    Measure("active_min_mean", "active_min"),
    Measure("moderate_min_mean", "moderate_min"),
    Measure("vigorous_min_mean", "vigorous_min"),
    Measure("resting_hr_mean", "resting_hr_bpm"),
    Measure("hr_mean", "hr_mean_bpm"),
    Measure("hrv_rmssd_mean", "hrv_rmssd_ms", "days"),
    Measure("stress_mean", "stress_mean"),
    Measure("body_battery_max_mean", "body_battery_max"),
    Measure("body_battery_min_mean", "body_battery_min"),
    Measure("body_battery_charged_mean", "body_battery_charged"),
    Measure("body_battery_drained_mean", "body_battery_drained"),
    Measure("sleep_tst_h_mean", "sleep_tst_min", "nights", per=60),
    Measure("sleep_tst_h_sd", "sleep_tst_min", "nights", "sd", per=60),
    Measure("sleep_tib_h_mean", "sleep_tib_min", "nights", per=60),
    Measure("sleep_efficiency_mean", "sleep_efficiency_pct", "nights"),
    Measure("sleep_waso_min_mean", "sleep_waso_min", "nights"),
    Measure("sleep_deep_pct_mean", "sleep_deep_pct", "nights"),
    Measure("sleep_light_pct_mean", "sleep_light_pct", "nights"),
    Measure("sleep_rem_pct_mean", "sleep_rem_pct", "nights"),
    Measure("midsleep_mean_min", "midsleep_min", "nights", "circular_mean"),
    Measure("midsleep_sd_min", "midsleep_min", "nights", "circular_sd"),
    Measure("spo2_mean", "spo2_mean_pct", "days"),
    Measure("resp_sleep_mean", "resp_sleep_brpm", "days"),
    Measure("resp_day_mean", "resp_day_brpm"),
    Measure("exercise_sessions_mean", "exercise_sessions", "days"),
    Measure("exercise_min_mean", "exercise_min", "days"),
)
READ_DAILY = ("is_valid_day", "sleep_tst_min", *dict.fromkeys(one.column for one in MEASURES))
"""The daily columns that a window is made from."""


def window_dates(answered_on: date) -> tuple[date, ...]:
    """Return the 14 dates before a form's date, the earliest first."""
    return tuple(answered_on - timedelta(days=back) for back in range(WINDOW_DAYS, 0, -1))


def sensor_window(answered_on: date, daily: Mapping[date, DailyRow]) -> dict[str, Any]:
    """Return the columns of one window, by name, from a participant's daily rows by date; the others are not read.

    A measure without a value in the window is null, and its `n_…` column says of how many of the 14 days it is made.
    """
    dates = window_dates(answered_on)
    rows = [daily[day] for day in dates if day in daily]
    n_valid = sum(_is_valid(row) for row in rows)
    found: dict[str, Any] = {
        "window_start": dates[0].isoformat(),
        "window_end": dates[-1].isoformat(),
        "n_days": len(rows),
        "n_valid_days": n_valid,
        "is_valid_window": n_valid >= LEAST_VALID_DAYS,
    }
    for one in MEASURES:
        values = _values(one, rows)
        value = _STATISTICS[one.statistic](values)
        found[one.name] = None if value is None else value / one.per
        found[one.count] = len(values)
    return found


def _values(measure: Measure, rows: Sequence[DailyRow]) -> list[float]:
    counts = _COUNTS[measure.over]
    return [float(row[measure.column]) for row in rows if counts(row) and row.get(measure.column) is not None]


def _is_valid(row: DailyRow) -> bool:
    return row.get("is_valid_day") is True


_COUNTS: Mapping[Over, Callable[[DailyRow], bool]] = {
    "valid_days": _is_valid,
    "nights": lambda row: row.get("sleep_tst_min") is not None,
    "days": lambda _row: True,
}


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _sd(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) >= 2 else None


def _resultant(minutes: Sequence[float]) -> complex:
    """Return the mean of the minutes as points on the 24-hour circle."""
    return sum(cmath.rect(1, math.tau * one / 1440) for one in minutes) / len(minutes)


def _circular_mean(minutes: Sequence[float]) -> float | None:
    if not minutes:
        return None
    value = cmath.phase(_resultant(minutes)) * 1440 / math.tau
    return 720.0 if value <= -720 else value


def _circular_sd(minutes: Sequence[float]) -> float | None:
    if len(minutes) < 2:
        return None
    length = min(1.0, max(abs(_resultant(minutes)), 1e-12))
    return math.sqrt(-2 * math.log(length)) * 1440 / math.tau + 0.0


_STATISTICS: Mapping[Statistic, Callable[[Sequence[float]], float | None]] = {
    "mean": _mean,
    "sd": _sd,
    "circular_mean": _circular_mean,
    "circular_sd": _circular_sd,
}
