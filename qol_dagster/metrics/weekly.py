"""Daily rows -> weekly rows, as one Ibis expression that every engine runs.

Belongs here: the formulas of the weekly columns. The definitions are those of the metric dictionary, column by
column; V below is the set of valid days of a participant's week.

Input table: `daily_metrics`, the columns of `dictionary.DAILY`, any number of weeks.
"""

from __future__ import annotations

import math
from functools import cache

import ibis
import ibis.expr.types as ir

from qol_dagster.metrics.daily import attach, in_shape
from qol_dagster.metrics.dictionary import DAILY, METRICS_VERSION, WEEKLY, Thresholds

WEEK = ["participant_id", "week"]
DAY_MIN = 1440
HALF_DAY_MIN = 720
WEEK_HOURS = 168
LONG_NIGHT_MIN = 420
SLOPE_DAYS = 3
WHO_LOW_MIN, WHO_HIGH_MIN = 150, 300
WEEK_DAYS = 7
FIRST_WEEKEND_DAY = 5

_VALID_MEANS = {
    "steps_mean": "steps",
    "distance_m_mean": "distance_m",
    "floors_mean": "floors",
    "active_kcal_mean": "active_kcal",
    "active_min_mean": "active_min",
    "resting_hr_mean": "resting_hr_bpm",
    "hr_mean": "hr_mean_bpm",
    "stress_mean": "stress_mean",
    "body_battery_max_mean": "body_battery_max",
    "body_battery_min_mean": "body_battery_min",
    "body_battery_charged_mean": "body_battery_charged",
    "body_battery_drained_mean": "body_battery_drained",
    "spo2_mean": "spo2_mean_pct",
    "spo2_lt90_pct_mean": "spo2_lt90_pct",
    "resp_sleep_mean": "resp_sleep_brpm",
    "resp_day_mean": "resp_day_brpm",
}
_VALID_COUNTS = {
    "n_steps_days": "steps",
    "n_resting_hr_days": "resting_hr_bpm",
    "n_hr_days": "hr_mean_bpm",
    "n_stress_days": "stress_mean",
    "n_spo2_days": "spo2_mean_pct",
    "n_resp_sleep_days": "resp_sleep_brpm",
    "n_resp_day_days": "resp_day_brpm",
}
_NIGHT_MEANS = {
    "sleep_efficiency_mean": "sleep_efficiency_pct",
    "sleep_waso_min_mean": "sleep_waso_min",
    "sleep_deep_pct_mean": "sleep_deep_pct",
    "sleep_light_pct_mean": "sleep_light_pct",
    "sleep_rem_pct_mean": "sleep_rem_pct",
}
_COMPLETENESS = {
    "completeness_dailies": "n_dailies",
    "completeness_sleeps": "n_sleeps",
    "completeness_stress": "n_stress",
    "completeness_hrv": "n_hrv",
}


def daily_table() -> ir.Table:
    """The unbound table of daily rows."""
    return ibis.table({metric.name: metric.ibis_type for metric in DAILY}, name="daily_metrics")


@cache
def weekly_rows(thresholds: Thresholds) -> ir.Table:
    """One row per (participant_id, date = Monday) with the columns of `dictionary.WEEKLY`, in that order.

    `computed_at` is left null: it is the run's and not the data's.
    """
    days = _placed_in_week(daily_table())
    week = _wear(days, thresholds)
    for piece in (_over_valid_days(days), _over_all_days(days), _nights(days), _midsleep(days), _last(days)):
        week = attach(week, piece, WEEK)
    counts = [metric.name for metric in WEEKLY if metric.name in week.columns and not metric.nullable]
    week = week.mutate(**{name: week[name].fill_null(0) for name in counts if name.startswith("n_")})
    week = week.mutate(
        date=week.week,
        mvpa_equiv_min=_mvpa(week),
        computed_at=ibis.null("int64"),
        metrics_version=ibis.literal(METRICS_VERSION),
    )
    week = week.mutate(who_activity=_who_activity(week))
    return in_shape(week, WEEKLY).order_by("date", "participant_id")


def _placed_in_week(days: ir.Table) -> ir.Table:
    """Adds `week` (its Monday, text), `day` (0 = Monday to 6) and `valid`."""
    date = days.date.cast("date")
    monday = date.truncate("W")
    day = date.epoch_days() - monday.epoch_days()
    return days.mutate(
        week=monday.cast("string").left(10), day=day.cast("float64"), valid=days.is_valid_day.fill_null(False)
    )


def _wear(days: ir.Table, thresholds: Thresholds) -> ir.Table:
    weekend = days.day >= FIRST_WEEKEND_DAY
    week = days.group_by(WEEK).agg(
        n_days=days.count(),
        n_valid_days=days.count(where=days.valid),
        n_valid_weekend_days=days.count(where=days.valid & weekend),
        yield_hours=days.valid_minutes_hours.sum() / WEEK_HOURS,
        **{name: days.count(where=days[column] > 0) / WEEK_DAYS for name, column in _COMPLETENESS.items()},
    )
    enough_days = week.n_valid_days >= thresholds.valid_week_days
    enough_weekend = week.n_valid_weekend_days >= thresholds.valid_week_weekend_days
    return week.mutate(is_valid_week=enough_days & enough_weekend)


def _over_valid_days(days: ir.Table) -> ir.Table:
    v = days.filter(days.valid)
    both = v.steps.notnull() & v.wear_min.notnull()
    has_rest = v.resting_hr_bpm.notnull()
    x, y = v.day, v.resting_hr_bpm
    sums = {f"stress_{level}": v[f"stress_{level}_min"].sum() for level in ("rest", "low", "medium", "high")}
    week = v.group_by(WEEK).agg(
        **{name: v[column].mean() for name, column in _VALID_MEANS.items()},
        **{name: v[column].count() for name, column in _VALID_COUNTS.items()},
        **sums,
        steps_median=v.steps.median(),
        steps_sd=v.steps.std(how="sample"),
        steps_sum=v.steps.sum(),
        steps_worn=v.steps.sum(where=both),
        wear_h=v.wear_min.sum(where=both) / 60,
        x_mean=x.mean(where=has_rest),
        xx_sum=(x * x).sum(where=has_rest),
        xy_sum=(x * y).sum(where=has_rest),
        x_sum=x.sum(where=has_rest),
        y_sum=y.sum(),
    )
    n = week.n_resting_hr_days
    slope = (n * week.xy_sum - week.x_sum * week.y_sum) / (n * week.xx_sum - week.x_sum * week.x_sum)
    levels = [week[name].fill_null(0.0) for name in sums]
    total = sum(levels[1:], levels[0]).nullif(0.0)
    return week.mutate(
        steps_per_wear_h=week.steps_worn / week.wear_h.nullif(0.0),
        resting_hr_slope=(n >= SLOPE_DAYS).ifelse(slope, ibis.null("float64")),
        stress_high_pct=100 * week.stress_high / total,
        stress_rest_pct=100 * week.stress_rest / total,
    ).drop(*sums, "steps_worn", "wear_h", "x_mean", "xx_sum", "xy_sum", "x_sum", "y_sum")


def _over_all_days(days: ir.Table) -> ir.Table:
    return days.group_by(WEEK).agg(
        wear_min_mean=days.wear_min.mean(),
        n_wear_days=days.wear_min.count(),
        sync_lag_h_median=days.sync_lag_h.median(),
        moderate_min_sum=days.moderate_min.sum(),
        vigorous_min_sum=days.vigorous_min.sum(),
        hrv_rmssd_mean=days.hrv_rmssd_ms.mean(),
        hrv_ln_rmssd_mean=days.hrv_rmssd_ms.ln().mean(),
        hrv_cv_pct=100 * days.hrv_rmssd_ms.std(how="sample") / days.hrv_rmssd_ms.mean(),
        n_hrv_nights=days.hrv_rmssd_ms.count(),
        exercise_sessions_sum=days.exercise_sessions.sum(),
        exercise_min_sum=days.exercise_min.sum(),
        n_records=days.n_records.sum(),
        last_received_at=days.last_received_at.max(),
    )


def _nights(days: ir.Table) -> ir.Table:
    nights = days.filter(days.sleep_tst_min.notnull())
    week = nights.group_by(WEEK).agg(
        n_sleeps_main=nights.count(),
        sleep_tst_h_mean=nights.sleep_tst_min.mean() / 60,
        sleep_tst_h_sd=nights.sleep_tst_min.std(how="sample") / 60,
        sleep_tib_h_mean=nights.sleep_tib_min.mean() / 60,
        nights_ge7h_pct=100 * nights.count(where=nights.sleep_tst_min >= LONG_NIGHT_MIN) / nights.count(),
        **{name: nights[column].mean() for name, column in _NIGHT_MEANS.items()},
    )
    return week.rename(n_nights="n_sleeps_main")


def _midsleep(days: ir.Table) -> ir.Table:
    """Circular statistics on the 24-h clock.

    The spread is summed from sin²(difference / 2), not from R, which for nights much alike is 1 but for rounding.
    """
    nights = days.filter(days.midsleep_min.notnull())
    angle = nights.midsleep_min * (2 * math.pi / DAY_MIN)
    nights = nights.select(*WEEK, "day", angle=angle)
    week = nights.group_by(WEEK).agg(
        n_midsleep_nights=nights.count(),
        mean=_mean_angle(nights),
        free=_mean_angle(nights, nights.day >= FIRST_WEEKEND_DAY),
        working=_mean_angle(nights, nights.day < FIRST_WEEKEND_DAY),
    )
    around = nights.inner_join(week.select(*WEEK, "mean"), WEEK)
    half = ((around.angle - around.mean) / 2).sin()
    spread = around.group_by(WEEK).agg(q=(2 * half * half).mean())
    week = attach(week, spread, WEEK)
    # R = 1 - q, and -2 ln(1 - q) = 2 (q + q²/2 + q³/3 + …)
    small = 2 * week.q * (1 + week.q * (0.5 + week.q * (1 / 3 + week.q / 4)))
    large = -2 * (1 - week.q).ln()
    dispersion = (week.q < 1e-4).ifelse(small, (week.q < 1).ifelse(large, ibis.null("float64")))
    return week.select(
        *WEEK,
        "n_midsleep_nights",
        midsleep_mean_min=_minutes(week.mean),
        midsleep_sd_min=(week.n_midsleep_nights >= 2).ifelse(
            dispersion.sqrt() * (DAY_MIN / (2 * math.pi)), ibis.null("float64")
        ),
        social_jetlag_min=_wrapped(_minutes(week.free) - _minutes(week.working)),
    )


def _mean_angle(nights: ir.Table, where: ir.Value | None = None) -> ir.Value:
    sine, cosine = nights.angle.sin(), nights.angle.cos()
    return sine.mean(where=where).atan2(cosine.mean(where=where))


def _minutes(angle: ir.Value) -> ir.Value:
    return _wrapped(angle * (DAY_MIN / (2 * math.pi)))


def _wrapped(minutes: ir.Value) -> ir.Value:
    """Minutes in (-720, 720]; the input lies within (-1440, 1440]."""
    return ibis.cases(
        (minutes <= -HALF_DAY_MIN, minutes + DAY_MIN),
        (minutes > HALF_DAY_MIN, minutes - DAY_MIN),
        else_=minutes,
    )


def _last(days: ir.Table) -> ir.Table:
    return days.group_by(WEEK).agg(
        vo2max_last=days.vo2max.argmax(days.day, where=days.vo2max.notnull()),
        fitness_age_last=days.fitness_age.argmax(days.day, where=days.fitness_age.notnull()),
    )


def _mvpa(week: ir.Table) -> ir.Value:
    moderate, vigorous = week.moderate_min_sum, week.vigorous_min_sum
    known = moderate.notnull() | vigorous.notnull()
    return known.ifelse(moderate.fill_null(0.0) + 2 * vigorous.fill_null(0.0), ibis.null("float64"))


def _who_activity(week: ir.Table) -> ir.Value:
    minutes = week.mvpa_equiv_min
    return ibis.cases(
        (minutes > WHO_HIGH_MIN, "exceeds"),
        (minutes >= WHO_LOW_MIN, "meets"),
        (minutes.notnull() & (week.n_valid_days < WEEK_DAYS), "unknown"),
        (minutes.notnull(), "below"),
        else_=ibis.null("string"),
    )
