"""Daily rows -> weekly rows, as one Ibis expression that every engine runs.

Belongs here: the formulas of the weekly columns. The definitions are those of the metric dictionary, column by
column; V below is the set of valid days of a participant's week.

Input table: `daily_metrics`, the columns of `dictionary.DAILY`, any number of weeks. The `..._28d` columns of a week
look back over the three weeks before it: give those too.
"""

from __future__ import annotations

import math

import ibis
import ibis.expr.types as ir

from qol_dagster.metrics.daily import bit_count, combined, in_shape, stage_table, without
from qol_dagster.metrics.dictionary import DAILY, METRICS_VERSION, WEEKLY
from qol_dagster.metrics.records import attach
from qol_dagster.metrics.thresholds import TRAILING_WEEKS, Thresholds

WEEK = ["participant_id", "week"]
DAY_MIN = 1440
HALF_DAY_MIN = 720
WEEK_HOURS = 168
LONG_NIGHT_MIN = 420
SLOPE_DAYS = 3
WHO_LOW_MIN, WHO_HIGH_MIN = 150, 300
WEEK_DAYS = 7
FIRST_WEEKEND_DAY = 5
HOURS = range(24)
NO_DIRECTION, ALIKE = 1e-9, 1e-13
"""Below these shares a resultant of angles, or a variance, is rounding and nothing else."""

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
    "resp_day_mean": "resp_day_brpm",
}
_VALID_COUNTS = {
    "n_steps_days": "steps",
    "n_resting_hr_days": "resting_hr_bpm",
    "n_hr_days": "hr_mean_bpm",
    "n_stress_days": "stress_mean",
    "n_resp_day_days": "resp_day_brpm",
}
_NIGHT_MEANS = {
    "sleep_efficiency_mean": "sleep_efficiency_pct",
    "sleep_waso_min_mean": "sleep_waso_min",
    "sleep_deep_pct_mean": "sleep_deep_pct",
    "sleep_light_pct_mean": "sleep_light_pct",
    "sleep_rem_pct_mean": "sleep_rem_pct",
}
_STRESS_LEVELS = ("stress_rest", "stress_low", "stress_medium", "stress_high")
_COMPLETENESS = {
    "completeness_dailies": "n_dailies",
    "completeness_sleeps": "n_sleeps",
    "completeness_stress": "n_stress",
    "completeness_hrv": "n_hrv",
}


def daily_table() -> ir.Table:
    """Return the unbound table of daily rows."""
    return ibis.table({metric.name: metric.ibis_type for metric in DAILY}, name="daily_metrics")


def stages(thresholds: Thresholds) -> dict[str, ir.Table]:
    """Return what is worked out once and kept under a name, in this order, before `weekly_rows` runs."""
    sums = _rhythm_sums(_placed_in_week(daily_table()))
    return {"rhythm_sums": sums, "rhythm": _rhythm(stage_table("rhythm_sums", sums), thresholds)}


def weekly_rows(thresholds: Thresholds) -> ir.Table:
    """One row per (participant_id, date = Monday) with the columns of `dictionary.WEEKLY`, in that order.

    Reads `daily_metrics` and the tables of `stages`. `computed_at` is left null: it is the run's and not the data's.
    """
    days = _placed_in_week(daily_table())
    sums = days.group_by(WEEK).agg(**_wear(days), **_over_valid_days(days), **_over_all_days(days), **_nights(days))
    pieces = (
        sums.mutate(**_of_sums(sums, thresholds)),
        _midsleep(days),
        stage_table("rhythm", stages(thresholds)["rhythm"]),
    )
    week = combined(pieces, WEEK)
    counts = [metric.name for metric in WEEKLY if metric.name.startswith("n_") and not metric.nullable]
    week = week.mutate(
        **{name: week[name].fill_null(0) for name in counts},
        date=week.week,
        computed_at=ibis.null("int64"),
        metrics_version=ibis.literal(METRICS_VERSION),
    )
    return in_shape(week, WEEKLY).order_by("date", "participant_id")


def _placed_in_week(days: ir.Table) -> ir.Table:
    """Adds `week` (its Monday, text), `day` (0 = Monday to 6), `number` (days since 1970) and `valid`."""
    date = days.date.cast("date")
    monday = date.truncate("W")
    number = date.epoch_days().cast("int64")
    day = number - monday.epoch_days()
    return days.mutate(
        week=monday.cast("string").left(10),
        day=day.cast("float64"),
        number=number,
        valid=days.is_valid_day.fill_null(False),
    )


# -- the aggregates over a week's days, by name


def _wear(days: ir.Table) -> dict[str, ir.Value]:
    weekend = days.day >= FIRST_WEEKEND_DAY
    return {
        "n_days": days.count(),
        "n_valid_days": days.count(where=days.valid),
        "n_valid_weekend_days": days.count(where=days.valid & weekend),
        "yield_hours": days.valid_minutes_hours.sum() / WEEK_HOURS,
        **{name: days.count(where=days[column] > 0) / WEEK_DAYS for name, column in _COMPLETENESS.items()},
    }


def _over_valid_days(days: ir.Table) -> dict[str, ir.Value]:
    v = days.valid
    both = v & days.steps.notnull() & days.wear_min.notnull()
    rested = v & days.resting_hr_bpm.notnull()
    x, y = days.day, days.resting_hr_bpm
    return {
        **{name: days[column].mean(where=v) for name, column in _VALID_MEANS.items()},
        **{name: days[column].count(where=v) for name, column in _VALID_COUNTS.items()},
        **{level: days[f"{level}_min"].sum(where=v) for level in _STRESS_LEVELS},
        "steps_median": v.ifelse(days.steps, ibis.null("float64")).median(),  # Ibis spoils its `where` for Spark
        "steps_sd": days.steps.std(how="sample", where=v),
        "steps_sum": days.steps.sum(where=v),
        "steps_worn": days.steps.sum(where=both),
        "wear_h": days.wear_min.sum(where=both) / 60,
        "x_sum": x.sum(where=rested),
        "y_sum": y.sum(where=rested),
        "xx_sum": (x * x).sum(where=rested),
        "xy_sum": (x * y).sum(where=rested),
    }


def _over_all_days(days: ir.Table) -> dict[str, ir.Value]:
    return {
        "wear_min_mean": days.wear_min.mean(),
        "n_wear_days": days.wear_min.count(),
        "sync_lag_h_median": days.sync_lag_h.median(),
        "moderate_min_sum": days.moderate_min.sum(),
        "vigorous_min_sum": days.vigorous_min.sum(),
        "hrv_rmssd_mean": days.hrv_rmssd_ms.mean(),
        "hrv_ln_rmssd_mean": days.hrv_rmssd_ms.ln().mean(),
        "hrv_cv_pct": 100 * days.hrv_rmssd_ms.std(how="sample") / days.hrv_rmssd_ms.mean(),
        "n_hrv_nights": days.hrv_rmssd_ms.count(),
        "spo2_mean": days.spo2_mean_pct.mean(),
        "n_spo2_days": days.spo2_mean_pct.count(),
        "spo2_lt90_pct_mean": days.spo2_lt90_pct.mean(),
        "resp_sleep_mean": days.resp_sleep_brpm.mean(),
        "n_resp_sleep_days": days.resp_sleep_brpm.count(),
        "exercise_sessions_sum": days.exercise_sessions.sum(),
        "exercise_min_sum": days.exercise_min.sum(),
        "n_records": days.n_records.sum(),
        "last_received_at": days.last_received_at.max(),
        "vo2max_last": days.vo2max.argmax(days.day, where=days.vo2max.notnull()),
        "fitness_age_last": days.fitness_age.argmax(days.day, where=days.fitness_age.notnull()),
    }


def _nights(days: ir.Table) -> dict[str, ir.Value]:
    night = days.sleep_tst_min.notnull()
    return {
        "n_nights": days.sleep_tst_min.count(),
        "sleep_tst_h_mean": days.sleep_tst_min.mean() / 60,
        "sleep_tst_h_sd": days.sleep_tst_min.std(how="sample") / 60,
        "sleep_tib_h_mean": days.sleep_tib_min.mean(where=night) / 60,
        "long_nights": days.count(where=days.sleep_tst_min >= LONG_NIGHT_MIN),
        **{name: days[column].mean(where=night) for name, column in _NIGHT_MEANS.items()},
    }


# -- what is made of them


def _of_sums(week: ir.Table, thresholds: Thresholds) -> dict[str, ir.Value]:
    n = week.n_resting_hr_days
    slope = (n * week.xy_sum - week.x_sum * week.y_sum) / (n * week.xx_sum - week.x_sum * week.x_sum)
    total = _total([week[level] for level in _STRESS_LEVELS]).nullif(0.0)
    enough_weekend = week.n_valid_weekend_days >= thresholds.valid_week_weekend_days
    mvpa_equiv_min = _mvpa(week)
    return {
        "is_valid_week": (week.n_valid_days >= thresholds.valid_week_days) & enough_weekend,
        "steps_per_wear_h": week.steps_worn / week.wear_h.nullif(0.0),
        "resting_hr_slope": (n >= SLOPE_DAYS).ifelse(slope, ibis.null("float64")),
        # Divided first: a part is never above its whole, but 100 times a part may be above 100 wholes by rounding.
        "stress_high_pct": 100 * (week.stress_high / total),
        "stress_rest_pct": 100 * (week.stress_rest / total),
        "mvpa_equiv_min": mvpa_equiv_min,
        "who_activity": _who_activity(mvpa_equiv_min, week.n_valid_days),
        "nights_ge7h_pct": 100 * week.long_nights / week.n_nights.nullif(0),
    }


def _midsleep(days: ir.Table) -> ir.Table:
    """Circular statistics on the 24-h clock, each day in its place, so that nothing depends on the order of rows.

    The spread is summed from sin²(difference / 2), not from R, which for nights much alike is 1 but for rounding.
    """
    minutes = days.midsleep_min - DAY_MIN * (days.midsleep_min / DAY_MIN).floor()
    angle = minutes * (2 * math.pi / DAY_MIN)
    week = days.group_by(WEEK).agg(
        n_midsleep_nights=angle.count(), **{f"a{day}": angle.max(where=days.day == day) for day in range(WEEK_DAYS)}
    )
    spans = {"mean": range(WEEK_DAYS), "free": range(FIRST_WEEKEND_DAY, WEEK_DAYS), "working": range(FIRST_WEEKEND_DAY)}
    week = week.select(
        *WEEK,
        "n_midsleep_nights",
        **{f"{name}_angles": _known(ibis.array([week[f"a{day}"] for day in span])) for name, span in spans.items()},
    )
    week = week.mutate(
        **{f"{name}_sin": week[f"{name}_angles"].map(lambda angle: angle.sin()).sums() for name in spans},
        **{f"{name}_cos": week[f"{name}_angles"].map(lambda angle: angle.cos()).sums() for name in spans},
    )
    week = week.mutate(**{name: _mean_angle(week, name) for name in spans})
    halves = week.mean_angles.map(lambda angle: ((angle - week.mean) / 2).sin())
    q = 2 * halves.map(lambda half: half * half).sums() / week.n_midsleep_nights
    week = week.mutate(q=week.mean.notnull().ifelse(q, ibis.null("float64")))
    # R = 1 - q, and -2 ln(1 - q) = 2 (q + q²/2 + q³/3 + …)
    small = 2 * week.q * (1 + week.q * (0.5 + week.q * (1 / 3 + week.q / 4)))
    large = -2 * (1 - week.q).ln()
    dispersion = (week.q < 1e-4).ifelse(small, (week.q < 1).ifelse(large, ibis.null("float64")))
    return week.select(
        *WEEK,
        "n_midsleep_nights",
        midsleep_mean_min=_wrapped(week.mean),
        midsleep_sd_min=(week.n_midsleep_nights >= 2).ifelse(
            dispersion.sqrt() * (DAY_MIN / (2 * math.pi)), ibis.null("float64")
        ),
        social_jetlag_min=_wrapped(week.free - week.working),
    )


def _mean_angle(week: ir.Table, span: str) -> ir.Value:
    """Return the mean direction; none when the angles cancel each other out, which leaves nothing but rounding."""
    north, east = week[f"{span}_sin"], week[f"{span}_cos"]
    points = (north * north + east * east).sqrt() > NO_DIRECTION * week[f"{span}_angles"].length()
    return points.ifelse(north.atan2(east), ibis.null("float64"))


def _wrapped(angle: ir.Value) -> ir.Value:
    """Minutes in (-720, 720]."""
    minutes = angle * (DAY_MIN / (2 * math.pi))
    return minutes - DAY_MIN * ((minutes - HALF_DAY_MIN) / DAY_MIN).ceil()


# -- regularity and rhythm


_PAIR_SUMS = ("jumps", "n_jumps", "agreeing_min", "n_pairs")


def _rhythm_sums(days: ir.Table) -> ir.Table:
    """Return what the measures are made of, per participant and week; sums of it over weeks are those of longer spans.

    `totals` and `counts`: sum and number of the steps by clock hour; `squares`: sum of their squares; `jumps` and
    `n_jumps`: of the squared differences of adjacent hours; `agreeing_min` and `n_pairs`: of consecutive nights.
    What links Monday to the Sunday before is apart, as `first_...`. All are sums of whole numbers in nearly all data,
    and so exact.
    """
    before = ibis.window(group_by="participant_id", order_by="number")
    d = days.select(*WEEK, "number", "day", steps="steps_by_hour", asleep="asleep_by_hour")
    d = d.mutate(
        follows=d.number.lag().over(before) == d.number - 1,
        last_x=d.steps[23].lag().over(before),
        last_asleep=d.asleep.lag().over(before),
        within=_known(ibis.range(1, len(HOURS)).map(lambda h: d.steps[h] - d.steps[h - 1])),
    )
    over_midnight = d.follows.ifelse(d.steps[0] - d.last_x, ibis.null("float64"))
    pair = d.follows & d.asleep.notnull() & d.last_asleep.notnull()
    differing = ibis.range(0, len(HOURS)).map(lambda h: bit_count(d.asleep[h] ^ d.last_asleep[h]).cast("int64")).sums()
    d = d.mutate(
        squares=_known(d.steps).map(lambda x: x * x).sums(),
        jumps=d.within.map(lambda step: step * step).sums().fill_null(0.0),
        n_jumps=d.within.length(),
        jump=(over_midnight * over_midnight).fill_null(0.0),
        n_jump=over_midnight.notnull().cast("int64"),
        pair=pair,
        agreeing=pair.ifelse(DAY_MIN - differing, 0),
    )
    later, first = d.day > 0, d.day == 0
    sums = d.group_by(WEEK).agg(
        **{f"s{h}": d.steps[h].sum().fill_null(0.0) for h in HOURS},
        **{f"n{h}": d.steps[h].count() for h in HOURS},
        squares=d.squares.sum().fill_null(0.0),
        jumps=(d.jumps + later.ifelse(d.jump, 0.0)).sum(),
        n_jumps=(d.n_jumps + later.ifelse(d.n_jump, 0)).sum(),
        agreeing_min=later.ifelse(d.agreeing, 0).sum(),
        n_pairs=(later & d.pair).cast("int64").sum(),
        first_jumps=first.ifelse(d.jump, 0.0).sum(),
        first_n_jumps=first.ifelse(d.n_jump, 0).sum(),
        first_agreeing_min=first.ifelse(d.agreeing, 0).sum(),
        first_n_pairs=(first & d.pair).cast("int64").sum(),
    )
    return _with_arrays(sums)


def _with_arrays(sums: ir.Table) -> ir.Table:
    """`totals` and `counts` in the place of `s<h>` and `n<h>` of the hours h."""
    each = {"totals": [f"s{h}" for h in HOURS], "counts": [f"n{h}" for h in HOURS]}
    arrays = {name: ibis.array([sums[one] for one in hours]) for name, hours in each.items()}
    return without(sums.mutate(**arrays), *each["totals"], *each["counts"])


def _over_spans(sums: ir.Table) -> ir.Table:
    """Return the sums of each week, and those of it and the weeks before it under the same week with suffix `_28d`."""
    each = sums.mutate(part=ibis.range(0, 1 + TRAILING_WEEKS).unnest())
    later = ibis.greatest(each.part - 1, 0)
    linked = (each.part > 0) & (later < TRAILING_WEEKS - 1)
    each = each.mutate(
        week=_as_text(each.week.cast("date").epoch_days() + WEEK_DAYS * later),
        suffix=(each.part > 0).ifelse("_28d", ""),
        **{name: each[name] + linked.ifelse(each[f"first_{name}"], 0) for name in _PAIR_SUMS},
    )
    found = each.group_by(*WEEK, "suffix").agg(
        **{f"s{h}": each.totals[h].sum() for h in HOURS},
        **{f"n{h}": each.counts[h].sum() for h in HOURS},
        **{name: each[name].sum() for name in ("squares", *_PAIR_SUMS)},
    )
    return _with_arrays(found)


def _rhythm(sums: ir.Table, thresholds: Thresholds) -> ir.Table:
    """Return the four measures and their denominators, over the week and, as `..._28d`, over those before it too."""
    found = _measures(_over_spans(sums), thresholds)
    names = [name for name in found.columns if name not in (*WEEK, "suffix")]
    week, longer = (found.filter(found.suffix == suffix).drop("suffix") for suffix in ("", "_28d"))
    return attach(week, longer.rename({f"{name}_28d": name for name in names}), WEEK)


def _measures(sums: ir.Table, thresholds: Thresholds) -> ir.Table:
    hours = ibis.range(0, len(HOURS))
    w = sums.mutate(
        n=sums.counts.sums(),
        total=sums.totals.sums(),
        m1=hours.map(lambda h: sums.totals[h] / sums.counts[h].nullif(0)),
    )
    # Sums of 2, 4, 5, 8 and 10 hours from each hour of the clock on, each out of shorter ones.
    w = w.mutate(m2=_both(w, "m1", 0, "m1", 1), mean=w.total / w.n.nullif(0))
    w = w.mutate(m4=_both(w, "m2", 0, "m2", 2))
    w = w.mutate(m5=_both(w, "m4", 0, "m1", 4), m8=_both(w, "m4", 0, "m4", 4))
    w = w.mutate(m10=_both(w, "m8", 0, "m2", 8))
    w = w.mutate(
        spread=_spread(w),
        between=_known(hours.map(lambda h: w.counts[h] * (w.m1[h] - w.mean) * (w.m1[h] - w.mean))).sums(),
        most=w.m10.maxs() / 10,
        least=w.m5.mins() / 5,
        all_seen=_known(w.m1).length() == len(HOURS),
        enough=w.n >= _by_span(w, thresholds.rhythm_step_hours, thresholds.rhythm_step_hours_28d),
    )
    pairs = _by_span(w, thresholds.regularity_night_pairs, thresholds.regularity_night_pairs_28d)
    nothing = ibis.null("float64")
    whole = w.enough & w.all_seen
    return w.select(
        *WEEK,
        "suffix",
        sleep_regularity_index=(w.n_pairs >= pairs).ifelse(
            -100 + 200 * w.agreeing_min / (DAY_MIN * w.n_pairs.nullif(0)), nothing
        ),
        n_sleep_pairs=w.n_pairs,
        interdaily_stability=whole.ifelse(w.n * w.between / w.spread, nothing),
        intradaily_variability=w.enough.ifelse(w.n * w.n * w.jumps / (w.n_jumps.nullif(0) * w.spread), nothing),
        relative_amplitude=whole.ifelse((w.most - w.least) / (w.most + w.least).nullif(0.0), nothing),
        n_step_hours=w.n,
    )


def _by_span(w: ir.Table, week: int, longer: int) -> ir.Value:
    return (w.suffix == "").ifelse(week, longer)


def _spread(w: ir.Table) -> ir.Value:
    """n sum (x - mean)², null when all are alike: for fractions, rounding leaves a little."""
    spread = w.n * w.squares - w.total * w.total
    return (spread > ALIKE * w.n * w.squares).ifelse(spread, ibis.null("float64"))


def _both(table: ir.Table, one: str, first: int, other: str, second: int) -> ir.Value:
    """Element by element around the clock: `one` from hour `first` on plus `other` from hour `second` on."""
    hours = ibis.range(0, len(HOURS))
    return hours.map(lambda h: table[one][(h + first) % len(HOURS)] + table[other][(h + second) % len(HOURS)])


def _known(array: ir.Value) -> ir.Value:
    """Return what is there of an array. Without that, Ibis adds up wrongly in Spark."""
    return array.filter(lambda value: value.notnull())


def _total(values: list[ir.Value]) -> ir.Value:
    """Return the sum, where a missing value counts 0."""
    return sum(value.fill_null(0) for value in values)


def _as_text(number: ir.Value) -> ir.Value:
    """Days since 1970 as YYYY-MM-DD."""
    return (ibis.date(1970, 1, 1) + number.as_interval("D")).cast("string").left(10)


def _mvpa(week: ir.Table) -> ir.Value:
    moderate, vigorous = week.moderate_min_sum, week.vigorous_min_sum
    known = moderate.notnull() | vigorous.notnull()
    return known.ifelse(moderate.fill_null(0.0) + 2 * vigorous.fill_null(0.0), ibis.null("float64"))


def _who_activity(minutes: ir.Value, n_valid_days: ir.Value) -> ir.Value:
    return ibis.cases(
        (minutes > WHO_HIGH_MIN, "exceeds"),
        (minutes >= WHO_LOW_MIN, "meets"),
        (minutes.notnull() & (n_valid_days < WEEK_DAYS), "unknown"),
        (minutes.notnull(), "below"),
        else_=ibis.null("string"),
    )
