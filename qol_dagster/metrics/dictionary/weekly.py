"""The columns of `weekly_metrics`: a row for each participant and ISO week.

Belongs here: facts about its columns. Their expressions are `metrics/weekly.py`'s.
"""

from __future__ import annotations

from functools import partial

from qol_dagster.metrics.dictionary.metric import (
    ACTIVITIES,
    CIRCULAR,
    DAY_MINUTES,
    GARMIN,
    HRV,
    ID_RULE,
    JETLAG,
    LAST_28_DAYS,
    LINEAGE,
    LN_HRV,
    LONG_NIGHTS,
    NIGHT,
    RAPIDS,
    RHYTHM,
    SENSOR,
    SENSOR_OF_NIGHTS,
    SENSOR_OF_VALID_DAYS,
    SLEEP,
    SRI,
    WEAR,
    WEEK,
    WHO,
    WORN,
    Metric,
    entry,
)
from qol_dagster.metrics.dictionary.sources import Source
from qol_dagster.metrics.dictionary.values import WHO_LEVELS, YES_NO, Blanks

_weekly = partial(entry, "weekly")

_V = "Over valid days with a value"
_ALL = "Over all days with a value"
_NIGHTS = "Over nights with a main sleep, on any day"
_OF_EVERY_NIGHT = ("sleep_tst_min", "sleep_tib_min")
_NOT_OF_EVERY_NIGHT = ("sleep_efficiency_pct", "sleep_waso_min")
_VALUE_NIGHTS = "Over nights with a value, on any day"
_LAST = "Last value of the week, on any day"
_TIMED_NIGHTS = Blanks("nights", counts=("n_midsleep_nights",))
_STRESS_MINUTES = "is_valid_day stress_rest_min stress_low_min stress_medium_min stress_high_min"


def _mean(
    name: str, unit: str, what: str, column: str, plausible: tuple[float, float], *, high: float | None = None
) -> Metric:
    """Return the mean of a daily column over the valid days."""
    return _weekly(
        name, unit, f"Mean {what}", formula=f"mean({column})", rule=_V, inputs=f"is_valid_day {column}",
        high=high, plausible=plausible, blanks=SENSOR_OF_VALID_DAYS,
    )  # fmt: skip


def _all_mean(
    name: str, unit: str, what: str, column: str, plausible: tuple[float, float], *, high: float | None = None
) -> Metric:
    """Return the mean of a daily column over all days: a day of little wear may have a good night."""
    return _weekly(
        name, unit, f"Mean {what}", formula=f"mean({column})", rule=_ALL, inputs=column,
        high=high, plausible=plausible, blanks=SENSOR_OF_NIGHTS,
    )  # fmt: skip


def _night_mean(
    name: str, unit: str, what: str, column: str, plausible: tuple[float, float], *, per: int = 1,
    high: float | None = None, sources: tuple[Source, ...] = GARMIN,
) -> Metric:  # fmt: skip
    """Return the mean of a daily column over the nights, in `per`ths of its unit."""
    formula = f"mean({column})" if per == 1 else f"mean({column}) / {per}"
    inputs = column if column == "sleep_tst_min" else f"{column} sleep_tst_min"
    rule = f"{_NIGHTS} where it is known" if column in _NOT_OF_EVERY_NIGHT else _NIGHTS
    return _weekly(
        name, unit, f"Mean {what}", formula=formula, rule=rule, inputs=inputs, sources=sources,
        high=high, plausible=plausible, blanks=NIGHT if column in _OF_EVERY_NIGHT else SENSOR_OF_NIGHTS,
    )  # fmt: skip


def _sum(name: str, unit: str, what: str, column: str, plausible: tuple[float, float]) -> Metric:
    """Return the sum of a daily column over all days."""
    return _weekly(
        name, unit, what, formula=f"sum({column})", rule=_ALL, inputs=column, plausible=plausible,
        blanks=SENSOR,
    )  # fmt: skip


def _denominator(name: str, unit: str, of: str, *, formula: str, rule: str, inputs: str, high: int = 7) -> Metric:
    """Return how many days, nights or hours the metrics named in `of` are made from."""
    return _weekly(
        name, unit, f"Denominator of {of}", formula=formula, rule=rule, inputs=inputs,
        type="int64", sources=LINEAGE, nullable=False, high=high,
    )  # fmt: skip


def _valid_days(name: str, of: str, column: str) -> Metric:
    """Return the denominator of means over the valid days."""
    return _denominator(name, "d", of, formula=f"n({column})", rule=_V, inputs=f"is_valid_day {column}")


def _completeness(name: str, type_: str) -> Metric:
    column = f"n_{name}"
    return _weekly(
        f"completeness_{name}", "1", f"Share of the week's dates with any record of type {type_}",
        formula=f"n(dates with {column} > 0) / 7", inputs=column, sources=RAPIDS, high=1, nullable=False,
    )  # fmt: skip


def _regularity(suffix: str, days: int, over: str) -> tuple[Metric, ...]:
    """Return the sleep regularity index over so many days; `over` says which."""
    sri, pairs = f"sleep_regularity_index{suffix}", f"n_sleep_pairs{suffix}"
    rule = f"Pairs of consecutive dates {over} that both have a main sleep on the local clock"
    inputs = "asleep_by_hour date"
    return (
        _weekly(
            sri, "1", "Sleep regularity index",
            formula=f"-100 + 200 / (1440 {pairs}) sum [s(d, m) = s(d + 1, m)], s: asleep in minute m of date d",
            rule=f"{rule}, at least regularity_night_pairs{suffix}",
            inputs=inputs, sources=SRI, low=-100, high=100, plausible=(0, 100),
            blanks=Blanks("nights", counts=(pairs, "n_midsleep_nights")),
        ),
        _denominator(pairs, "n", sri, formula="n(pairs)", rule=rule, inputs=inputs, high=days - 1),
    )  # fmt: skip


def _rhythm(suffix: str, days: int, over: str) -> tuple[Metric, ...]:
    """Return the nonparametric measures of the rest-activity rhythm over so many days; `over` says which."""
    names = [f"{name}{suffix}" for name in ("interdaily_stability", "intradaily_variability", "relative_amplitude")]
    hours = f"Hourly steps x {over}, hours with data only, at least rhythm_step_hours{suffix}"
    whole = f"{hours}, every hour of the clock among them"
    inputs = "steps_by_hour date"
    blanks = Blanks("worn_days", sensor=True, counts=(f"n_step_hours{suffix}",))
    return (
        _weekly(
            names[0], "1", "Interdaily stability of hourly steps",
            formula="sum_h n_h (mean_h - mean)^2 / sum_i (x_i - mean)^2",
            rule=f"{whole}. It falls with the number of days: compare spans of one length",
            inputs=inputs, sources=RHYTHM, high=1.0000001, plausible=(0, 1), blanks=blanks,
        ),
        _weekly(
            names[1], "1", "Intradaily variability of hourly steps",
            formula="n sum (x_i - x_i-1)^2 / (a sum (x_i - mean)^2), a pairs of adjacent hours",
            rule=hours, inputs=inputs, sources=RHYTHM, plausible=(0, 3), blanks=blanks,
        ),
        _weekly(
            names[2], "1", "Relative amplitude of hourly steps",
            formula="(M10 - L5) / (M10 + L5) of the mean 24-h profile",
            rule=f"{whole}. M10, L5: mean of the 10 most and 5 least active hours in a row, also over midnight",
            inputs=inputs, sources=RHYTHM, high=1, blanks=blanks,
        ),
        _denominator(
            f"n_step_hours{suffix}", "h", f"{names[0]}, {names[1]} and {names[2]}",
            formula="n(x)", rule=f"Hours {over} with an epoch", inputs=inputs, high=24 * days,
        ),
    )  # fmt: skip


WEEKLY: tuple[Metric, ...] = (
    _weekly(
        "participant_id", "", "Pseudonymous participant",
        rule=ID_RULE, inputs="participant_id", type="string", sources=LINEAGE, nullable=False,
    ),
    _weekly(
        "date", "", "Monday of the ISO week",
        rule="Partition column, text YYYY-MM-DD", inputs="date", type="string", sources=LINEAGE, nullable=False,
    ),
    # Wear and completeness
    _weekly(
        "n_days", "d", "Dates with any record",
        formula="n(date)", inputs="date", type="int64", sources=LINEAGE, low=1, high=7, nullable=False,
    ),
    _weekly(
        "n_valid_days", "d", "Valid days",
        formula="n(is_valid_day)", inputs="is_valid_day", type="int64", sources=WEAR, high=7, nullable=False,
    ),
    _weekly(
        "n_valid_weekend_days", "d", "Valid Saturdays and Sundays",
        formula="n(is_valid_day)", rule="Saturday and Sunday", inputs="is_valid_day date",
        type="int64", sources=WEAR, high=2, nullable=False,
    ),
    _weekly(
        "is_valid_week", "", "Whether the week counts as worn",
        formula="n_valid_days >= valid_week_days and n_valid_weekend_days >= valid_week_weekend_days",
        inputs="is_valid_day date", type="bool", sources=WEAR, nullable=False, values=YES_NO,
    ),
    _weekly(
        "yield_hours", "1", "Share of the week's hours with data",
        formula="sum(valid_minutes_hours) / 168", rule=_ALL, inputs="valid_minutes_hours",
        sources=RAPIDS, plausible=(0, 1),
        blanks=SENSOR,
    ),
    _completeness("dailies", "dailies"),
    _completeness("sleeps", "sleeps"),
    _completeness("stress", "stressDetails"),
    _completeness("hrv", "hrv"),
    _weekly(
        "wear_min_mean", "min", "Mean wear time",
        formula="mean(wear_min)", rule=_ALL, inputs="wear_min", sources=WEAR, plausible=DAY_MINUTES,
        blanks=WORN,
    ),
    _denominator("n_wear_days", "d", "wear_min_mean", formula="n(wear_min)", rule=_ALL, inputs="wear_min"),
    _weekly(
        "sync_lag_h_median", "h", "Median delay of synchronisation",
        formula="median(sync_lag_h)", rule=_ALL, inputs="sync_lag_h", sources=LINEAGE, low=None, plausible=(-24, 336),
        blanks=WORN,
    ),
    # Movement
    _mean("steps_mean", "n/d", "steps a day", "steps", (0, 50_000)),
    _weekly(
        "steps_median", "n/d", "Median steps a day",
        formula="median(steps)", rule=_V, inputs="is_valid_day steps", plausible=(0, 50_000),
        blanks=SENSOR_OF_VALID_DAYS,
    ),
    _weekly(
        "steps_sd", "n/d", "Sample SD of steps a day",
        formula="sd(steps)", rule=f"{_V}, at least 2", inputs="is_valid_day steps", plausible=(0, 25_000),
        blanks=Blanks("valid_days", sensor=True, counts=("n_steps_days",)),
    ),
    _weekly(
        "steps_sum", "n", "Steps",
        formula="sum(steps)", rule=_V, inputs="is_valid_day steps", plausible=(0, 350_000),
        blanks=SENSOR_OF_VALID_DAYS,
    ),
    _weekly(
        "steps_per_wear_h", "n/h", "Steps per hour of wear",
        formula="sum(steps) / sum(wear_min / 60)", rule="Over valid days that have both",
        inputs="is_valid_day steps wear_min", plausible=(0, 3_000),
        blanks=SENSOR_OF_VALID_DAYS,
    ),
    _valid_days("n_steps_days", "steps_mean, _median, _sd and _sum", "steps"),
    _mean("distance_m_mean", "m/d", "distance", "distance_m", (0, 60_000)),
    _mean("floors_mean", "n/d", "floors climbed", "floors", (0, 200)),
    _mean("active_kcal_mean", "kcal/d", "active energy", "active_kcal", (0, 5_000)),
    _mean("active_min_mean", "min/d", "active time", "active_min", (0, 960)),
    _sum("moderate_min_sum", "min", "Moderate intensity", "moderate_min", (0, 4_200)),
    _sum("vigorous_min_sum", "min", "Vigorous intensity", "vigorous_min", (0, 2_100)),
    _weekly(
        "mvpa_equiv_min", "min", "Moderate-equivalent minutes",
        formula="moderate_min_sum + 2 vigorous_min_sum", rule="A missing one counts 0; null if both are missing",
        inputs="moderate_min vigorous_min", sources=WHO, plausible=(0, 4_200),
        blanks=SENSOR,
    ),
    _weekly(
        "who_activity", "", "Activity against the WHO recommendation",
        formula="mvpa_equiv_min: below < 150 <= meets <= 300 < exceeds",
        rule="Below 150 with fewer than 7 valid days: unknown. "
        "Garmin may count only bouts of 10 min, WHO 2020 counts any",
        inputs="is_valid_day moderate_min vigorous_min", type="string", sources=WHO,
        values=WHO_LEVELS, blanks=SENSOR,
    ),
    # Heart rate
    _mean("resting_hr_mean", "bpm", "resting heart rate", "resting_hr_bpm", (30, 120)),
    _weekly(
        "resting_hr_slope", "bpm/d", "Trend of the resting heart rate",
        formula="sum (t - mean_t)(x - mean_x) / sum (t - mean_t)^2, t = 0..6",
        rule="Least squares of resting_hr_bpm on the day of the week, over valid days with a value, at least 3",
        inputs="is_valid_day resting_hr_bpm date", low=None, plausible=(-5, 5),
        blanks=Blanks("valid_days", sensor=True, counts=("n_resting_hr_days",)),
    ),
    _valid_days("n_resting_hr_days", "resting_hr_mean and _slope", "resting_hr_bpm"),
    _mean("hr_mean", "bpm", "of the daily mean heart rate", "hr_mean_bpm", (35, 150)),
    _valid_days("n_hr_days", "hr_mean", "hr_mean_bpm"),
    _weekly(
        "hrv_rmssd_mean", "ms", "Mean overnight RMSSD",
        formula="mean(hrv_rmssd_ms)", rule=_VALUE_NIGHTS, inputs="hrv_rmssd_ms", sources=HRV, plausible=(5, 200),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _weekly(
        "hrv_ln_rmssd_mean", "ln ms", "Mean of ln RMSSD",
        formula="mean(ln hrv_rmssd_ms)", rule=_VALUE_NIGHTS, inputs="hrv_rmssd_ms", sources=LN_HRV,
        low=None, plausible=(1.6, 5.3),
        blanks=SENSOR_OF_NIGHTS,
    ),
    _weekly(
        "hrv_cv_pct", "%", "Coefficient of variation of RMSSD",
        formula="100 sd(hrv_rmssd_ms) / mean(hrv_rmssd_ms)", rule=f"{_VALUE_NIGHTS}, at least 2",
        inputs="hrv_rmssd_ms", sources=LN_HRV, plausible=(0, 100),
        blanks=Blanks("nights", sensor=True, counts=("n_hrv_nights",)),
    ),
    _denominator(
        "n_hrv_nights", "n", "hrv_rmssd_mean, hrv_ln_rmssd_mean and hrv_cv_pct",
        formula="n(hrv_rmssd_ms)", rule=_VALUE_NIGHTS, inputs="hrv_rmssd_ms",
    ),
    # Stress and Body Battery
    _mean("stress_mean", "1-100", "stress", "stress_mean", (1, 100)),
    _weekly(
        "stress_high_pct", "%", "Share of high stress",
        formula="100 sum(high) / sum(rest + low + medium + high)", rule="Minutes, summed over valid days",
        inputs=_STRESS_MINUTES, high=100,
        blanks=SENSOR_OF_VALID_DAYS,
    ),
    _weekly(
        "stress_rest_pct", "%", "Share of rest",
        formula="100 sum(rest) / sum(rest + low + medium + high)", rule="Minutes, summed over valid days",
        inputs=_STRESS_MINUTES, high=100,
        blanks=SENSOR_OF_VALID_DAYS,
    ),
    _valid_days("n_stress_days", "stress_mean", "stress_mean"),
    _mean("body_battery_max_mean", "points", "of the daily highest Body Battery", "body_battery_max", (0, 100)),
    _mean("body_battery_min_mean", "points", "of the daily lowest Body Battery", "body_battery_min", (0, 100)),
    _mean("body_battery_charged_mean", "points", "Body Battery charged", "body_battery_charged", (0, 100)),
    _mean("body_battery_drained_mean", "points", "Body Battery drained", "body_battery_drained", (0, 100)),
    # Sleep
    _night_mean("sleep_tst_h_mean", "h", "total sleep time", "sleep_tst_min", (2, 14), per=60),
    _weekly(
        "sleep_tst_h_sd", "h", "Sample SD of total sleep time",
        formula="sd(sleep_tst_min) / 60", rule=f"{_NIGHTS}, at least 2", inputs="sleep_tst_min", plausible=(0, 5),
        blanks=Blanks("nights", counts=("n_nights",)),
    ),
    _night_mean("sleep_tib_h_mean", "h", "time in bed", "sleep_tib_min", (2, 16), per=60, sources=SLEEP),
    _night_mean(
        "sleep_efficiency_mean", "%", "sleep efficiency", "sleep_efficiency_pct", (50, 100),
        high=100.0000001, sources=SLEEP,
    ),
    _night_mean(
        "sleep_waso_min_mean", "min", "time awake after sleep onset", "sleep_waso_min", (0, 240), sources=SLEEP
    ),
    _night_mean("sleep_deep_pct_mean", "%", "share of deep sleep", "sleep_deep_pct", (0, 60)),
    _night_mean("sleep_light_pct_mean", "%", "share of light sleep", "sleep_light_pct", (0, 100)),
    _night_mean("sleep_rem_pct_mean", "%", "share of REM sleep", "sleep_rem_pct", (0, 60)),
    _denominator(
        "n_nights", "n", "the sleep means", formula="n(sleep_tst_min)", rule=_NIGHTS, inputs="sleep_tst_min"
    ),
    _weekly(
        "midsleep_mean_min", "min", "Circular mean of midsleep, local minutes from midnight",
        formula="atan2(mean sin a, mean cos a) in (-720, 720], a = 2 pi midsleep_min / 1440", rule=_VALUE_NIGHTS,
        inputs="midsleep_min", sources=CIRCULAR, low=-720, high=720,
        blanks=_TIMED_NIGHTS,
    ),
    _weekly(
        "midsleep_sd_min", "min", "Circular SD of midsleep",
        formula="1440 / (2 pi) sqrt(-2 ln R), R = length of the mean (cos a, sin a), a = 2 pi midsleep_min / 1440",
        rule=f"{_VALUE_NIGHTS}, at least 2", inputs="midsleep_min", sources=CIRCULAR, plausible=(0, 360),
        blanks=_TIMED_NIGHTS,
    ),
    _denominator(
        "n_midsleep_nights", "n", "midsleep_mean_min and _sd_min",
        formula="n(midsleep_min)", rule=_VALUE_NIGHTS, inputs="midsleep_min",
    ),
    _weekly(
        "social_jetlag_min", "min", "Midsleep of free days minus working days",
        formula="midsleep(Sat, Sun) - midsleep(Mon-Fri), circular, in (-720, 720]",
        rule="Circular means over the nights that end on these days. Null if either is missing",
        inputs="midsleep_min date", sources=JETLAG, low=-720, high=720, plausible=(-240, 360),
        blanks=_TIMED_NIGHTS,
    ),
    _weekly(
        "nights_ge7h_pct", "%", "Share of nights of 7 h and more",
        formula="100 n(sleep_tst_min >= 420) / n_nights", rule=_NIGHTS, inputs="sleep_tst_min",
        sources=LONG_NIGHTS, high=100,
        blanks=NIGHT,
    ),
    *_regularity("", 7, WEEK),
    *_regularity("_28d", 28, LAST_28_DAYS),
    # Blood oxygen, breathing, fitness
    _all_mean("spo2_mean", "%", "blood oxygen", "spo2_mean_pct", (80, 100)),
    _all_mean(
        "spo2_lt90_pct_mean", "%", "share of blood-oxygen samples below 90 %", "spo2_lt90_pct", (0, 100),
        high=100.0000001,
    ),
    _denominator(
        "n_spo2_days", "d", "spo2_mean and spo2_lt90_pct_mean",
        formula="n(spo2_mean_pct)", rule=_ALL, inputs="spo2_mean_pct",
    ),
    _all_mean("resp_sleep_mean", "1/min", "breathing rate asleep", "resp_sleep_brpm", (6, 30)),
    _denominator(
        "n_resp_sleep_days", "d", "resp_sleep_mean",
        formula="n(resp_sleep_brpm)", rule=_ALL, inputs="resp_sleep_brpm",
    ),
    _mean("resp_day_mean", "1/min", "breathing rate over the day", "resp_day_brpm", (6, 40)),
    _valid_days("n_resp_day_days", "resp_day_mean", "resp_day_brpm"),
    _weekly(
        "vo2max_last", "ml/kg/min", "Maximal oxygen uptake",
        formula="last(vo2max)", rule=_LAST, inputs="vo2max date", plausible=(10, 90),
        blanks=WORN,
    ),
    _weekly(
        "fitness_age_last", "y", "Fitness age",
        formula="last(fitness_age)", rule=_LAST, inputs="fitness_age date", plausible=(15, 100),
        blanks=WORN,
    ),
    # Rhythm of rest and activity
    *_rhythm("", 7, WEEK),
    *_rhythm("_28d", 28, LAST_28_DAYS),
    # Exercise
    _weekly(
        "exercise_sessions_sum", "n", "Recorded activities",
        formula="sum(exercise_sessions)", rule=_ALL, inputs="exercise_sessions", type="int64",
        sources=ACTIVITIES, plausible=(0, 140),
        blanks=WORN,
    ),
    _weekly(
        "exercise_min_sum", "min", "Duration of the recorded activities",
        formula="sum(exercise_min)", rule=_ALL, inputs="exercise_min", sources=ACTIVITIES, plausible=(0, 6_720),
        blanks=WORN,
    ),
    # Where the row comes from
    _weekly(
        "n_records", "n", "Records used",
        formula="sum(n_records)", rule="Over all days", inputs="n_records",
        type="int64", sources=LINEAGE, low=1, nullable=False,
    ),
    _weekly(
        "last_received_at", "UTC", "Latest receipt of a record used",
        formula="max(last_received_at)", rule="Over all days", inputs="last_received_at",
        type="timestamp", sources=LINEAGE,
    ),
    _weekly(
        "computed_at", "UTC", "When the week's values first came out so",
        type="timestamp", sources=LINEAGE, nullable=False,
    ),
    _weekly("metrics_version", "", "Version of these definitions", type="string", sources=LINEAGE, nullable=False),
)  # fmt: skip
