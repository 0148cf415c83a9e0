"""The records that count -> daily rows, as Ibis expressions that every engine runs.

Belongs here: the formulas of the daily columns, by the metric dictionary's definitions, column by column. Which records
count is `records.py`'s; reading files and writing belong elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from qol_dagster.metrics.dictionary import DAILY, by_name
from qol_dagster.metrics.fields import KNOWN_TYPES
from qol_dagster.metrics.records import (
    DAY_S,
    NEWEST,
    ROW,
    STAGE_SPANS,
    account_dailies,
    account_records,
    attach,
    classified,
    contested_accounts,
    day_number,
    first_of_each,
    main_sleeps,
    of_chosen_accounts,
    other_accounts,
    participants_table,
    superseded,
    with_fields,
)
from qol_dagster.metrics.thresholds import Thresholds
from qol_ingest.shared.limits import LARGEST_NUMBER
from qol_ingest.shared.permissions import ACTIVITY

DAY_MIN = 1440
EXACT = "decimal(28, 9)"  # what is pooled is summed in decimals, so the order of the records cannot show


@ibis.udf.scalar.builtin
def bit_count(bits: int) -> dt.int8:
    """Return how many bits of an int64 are set; to be cast before anything is added to it."""


@ibis.udf.agg.builtin
def bit_or(bits: int) -> int:  # type: ignore[empty-body]
    """Return all bits of a group's int64 values."""


@cache
def stages(records: ir.Table) -> dict[str, ir.Table]:
    """Return what is worked out once and kept under a name, in this order, before `daily_rows` and `day_counts` run."""
    found = {"lines": classified(records)}
    found["superseded"] = superseded(records, _of(found, "lines"))
    found["account_records"] = account_records(_of(found, "lines"), _of(found, "superseded"))
    every = _of(found, "account_records")
    found["account_dailies"] = account_dailies(records, every)
    found["heart_hours"] = _heart_hours(records, _of(found, "account_dailies"))
    wear = _wear_of_contested(records, every, _of(found, "account_dailies"), _of(found, "heart_hours"))
    found["other_accounts"] = other_accounts(_of(found, "lines"), every, wear)
    found["current_records"] = of_chosen_accounts(every, _of(found, "other_accounts"))
    found["main_sleeps"] = main_sleeps(records, _of(found, "current_records"))
    return found


def _of(found: dict[str, ir.Table], name: str) -> ir.Table:
    return stage_table(name, found[name])


def stage_table(name: str, expression: ir.Table) -> ir.Table:
    """Return the table under which a stage's rows are kept."""
    return ibis.table(expression.schema(), name=name)


@cache
def daily_rows(records: ir.Table, thresholds: Thresholds) -> ir.Table:
    """One row per (participant_id, date) with the columns of `dictionary.DAILY`, ordered by date, participant.

    Reads `records` and the tables of `stages`.
    """
    names = ("lines", "current_records", "account_dailies", "heart_hours", "other_accounts", "main_sleeps")
    lines, current, every_daily, hours, others, sleeps = (_of(stages(records), name) for name in names)
    dailies = of_chosen_accounts(every_daily, others)
    of_sleep = sleeps.select("rec", *ROW, length_s=sleeps.end_s - sleeps.start_s)
    pieces = (
        _counts(current),
        _from_dailies(dailies),
        _heart_rate(hours, dailies, thresholds),
        *_stress(records, _of_type(current, "stressDetails")),
        _nights(sleeps),
        _spo2(records, of_sleep, "sleep_spo2", "sleep"),
        _spo2(records, _of_type(current.filter(~current.on_demand), "pulseox"), "spo2", "day"),
        _respiration(records, of_sleep, "sleep_respiration", "resp_sleep_brpm"),
        _respiration(records, _of_type(current, "allDayRespiration"), "respiration", "resp_day_brpm"),
        _of_latest_hrv(records, current),
        _latest_values(records, of_chosen_accounts(lines, others), vo2max="vo2_max", fitness_age="fitness_age"),
        _steps_by_hour(current),
    )
    return _finish(combined(pieces, ROW), thresholds)


def _of_type(current: ir.Table, type_: str) -> ir.Table:
    """Return the records of a type, with how long they last: samples outside of that are of no record."""
    return current.filter(current.type == type_).select("rec", *ROW, length_s=current.duration_s)


def _midnight(table: ir.Table) -> ir.Value:
    """Local midnight of `date` in seconds since 1970, as if the local clock were UTC."""
    return day_number(table.date).cast("float64") * DAY_S


# -- pieces: each gives at most one row per (participant_id, date)


def _counts(current: ir.Table) -> ir.Table:
    """Records by type, and exercise.

    None at all, on a date with a dailies record, is 0 and not unknown; it is unknown of who does not permit activities.
    """
    types = {"n_dailies": "dailies", "n_sleeps": "sleeps", "n_stress": "stressDetails", "n_hrv": "hrv"}
    session = (current.type == "activities") & ~current.is_parent
    found = current.group_by(ROW).agg(
        n_records=current.count(),
        last_received_ms=current.received_ms.max(),
        sessions=current.count(where=session),
        session_s=_exact_sum(session.ifelse(current.duration_s, ibis.null("float64"))),
        **{name: current.count(where=current.type == type_) for name, type_ in types.items()},
    )
    people = participants_table()
    withheld = people.filter(people.withheld == ACTIVITY).select("participant_id", withholds=True).distinct()
    found = attach(found, withheld, ["participant_id"])
    none = found.sessions == 0
    unknown = none & ((found.n_dailies == 0) | found.withholds.fill_null(False))
    exercise = found.mutate(
        exercise_sessions=unknown.ifelse(ibis.null("int64"), found.sessions),
        exercise_min=unknown.ifelse(ibis.null("float64"), none.ifelse(0.0, found.session_s / 60)),
    )
    return without(exercise, "sessions", "session_s", "withholds")


def _from_dailies(dailies: ir.Table) -> ir.Table:
    d = dailies
    within = {
        name: (d[name] <= d.duration_s.fill_null(LARGEST_NUMBER)).ifelse(d[name], ibis.null("float64")) / 60
        for name in ("rest_stress_s", "low_stress_s", "medium_stress_s", "high_stress_s")
    }
    return d.select(
        *ROW,
        "steps",
        "distance_m",
        "floors",
        "active_kcal",
        "average_stress",
        "body_battery_charged",
        "body_battery_drained",
        active_min=d.active_s / 60,
        moderate_min=d.moderate_s / 60,
        vigorous_min=d.vigorous_s / 60,
        resting_hr_bpm=d.resting_hr,
        hr_min_bpm=d.min_hr,
        hr_max_bpm=d.max_hr,
        stress_rest_min=within["rest_stress_s"],
        stress_low_min=within["low_stress_s"],
        stress_medium_min=within["medium_stress_s"],
        stress_high_min=within["high_stress_s"],
        sync_lag_h=(d.received_ms / 1000.0 - (d.start_s + d.duration_s)) / 3600,
    )


def _heart_hours(records: ir.Table, dailies: ir.Table) -> ir.Table:
    """Return the minutes in which the day's record has a heart rate, by hour of the local clock, as its 60 bits.

    A sample stands for the time before its offset. Minutes are counted from the record's start, which takes its place
    among those of the clock. So a day of 5,760 samples becomes 24 rows in a single pass.
    """
    lead = ((dailies.start_s + dailies.offset_s - _midnight(dailies)).fill_null(0.0) / 60).floor()
    samples = samples_of(records, dailies.select("rec", length_s=dailies.duration_s, lead=lead), "heart_rate")
    samples = samples.filter(samples.v > 0)
    minute = (ibis.greatest(samples.t - 1, 0.0) / 60).floor() + samples.lead  # an integer: a float takes twice as long
    placed = samples.select("rec", "v", minute=minute, hour=(minute / 60).floor())
    return placed.group_by("rec", "hour").agg(
        minutes=bit_or(_bit(placed.minute - 60 * placed.hour)), total=placed.v.sum(), n=placed.count()
    )


def _heart_rate(hours: ir.Table, dailies: ir.Table, thresholds: Thresholds) -> ir.Table:
    """Wear and mean, from `_heart_hours`. A day of 25 hours has two that are one of the clock."""
    h = hours.mutate(clock=hours.hour - 24 * (hours.hour / 24).floor(), worn=bit_count(hours.minutes))
    clock = h.group_by("rec", "clock").agg(
        seen=bit_count(bit_or(h.minutes)), worn=h.worn.sum(), total=h.total.sum(), n=h.n.sum()
    )
    found = clock.group_by("rec").agg(
        heart_min=clock.worn.sum(),
        valid_minutes_hours=(clock.seen >= thresholds.minutes_per_valid_hour).sum(),
        hr_mean_bpm=clock.total.sum() / clock.n.sum(),
    )
    return dailies.select("rec", *ROW).inner_join(found, "rec").drop("rec")


def _wear_of_contested(records: ir.Table, current: ir.Table, dailies: ir.Table, hours: ir.Table) -> ir.Table:
    """Return `wear_min` of the accounts of whom one has to be chosen, as `_finish` has it of those that are."""
    account = [*ROW, "user_id"]
    contested = contested_accounts(current).select(account)
    mine = dailies.select("rec", *account).semi_join(contested, account).inner_join(hours, "rec")
    heart = mine.group_by(account).agg(heart_min=bit_count(mine.minutes).cast("int64").sum())
    details = current.filter(current.type == "stressDetails").semi_join(contested, account)
    samples = samples_of(records, details.select("rec", *account, length_s=details.duration_s), "stress")
    stress = samples.group_by(account).agg(
        stress_samples=samples.count(), worn_samples=samples.count(where=samples.v != -1)
    )
    found = attach(attach(contested, heart, account), stress, account)
    return found.select(account, wear_min=_wear_min(found))


def _wear_min(day: ir.Table) -> ir.Value:
    """Minutes with a heart rate; without any, 3 min for each stress sample taken on the wrist."""
    by_stress = (day.stress_samples > 0).ifelse(3.0 * day.worn_samples, ibis.null("float64"))
    return day.heart_min.cast("float64").fill_null(by_stress)


def _bit(index: ir.Value) -> ir.Value:
    return ibis.literal(1, "int8").cast("int64") << index.cast("int32")


def _stress(records: ir.Table, details: ir.Table) -> tuple[ir.Table, ir.Table]:
    s = _of_samples(
        records,
        details,
        "stress",
        samples=lambda v: v.count(),
        worn=lambda v: v.count(where=v != -1),
        total=lambda v: v.cast(EXACT).sum(where=v >= 0),
        n=lambda v: v.count(where=v >= 0),
    )
    stress = s.group_by(ROW).agg(
        stress_samples=s.samples.sum(),
        worn_samples=s.worn.sum(),
        stress_sum=s.total.sum().cast("float64"),
        stress_n=s.n.sum(),
    )
    b = _of_samples(
        records, details, "body_battery", most=lambda v: v.max(where=v >= 0), least=lambda v: v.min(where=v >= 0)
    )
    battery = b.group_by(ROW).agg(body_battery_max=b.most.max(), body_battery_min=b.least.min())
    return stress, battery


def _nights(sleeps: ir.Table) -> ir.Table:
    s = sleeps
    to_local_min = s.offset_s - _midnight(s)
    known_s = s.awake_s.notnull().ifelse(s.tst_s + s.awake_s + s.unmeasurable_s, ibis.null("float64"))
    night = s.select(
        "rec",
        *ROW,
        sleep_tst_min=s.tst_s / 60,
        sleep_tib_min=(s.tst_s + s.awake_s.fill_null(0.0) + s.unmeasurable_s) / 60,
        sleep_waso_min=s.awake_s / 60,
        sleep_efficiency_pct=_share(s.tst_s, known_s),
        sleep_deep_pct=_share(s.deep_s, s.tst_s),
        sleep_light_pct=_share(s.light_s, s.tst_s),
        sleep_rem_pct=_share(s.rem_s, s.tst_s),
        sleep_start_min=(s.start_s + to_local_min) / 60,
        sleep_end_min=(s.end_s + to_local_min) / 60,
        midsleep_min=((s.start_s + s.end_s) / 2 + to_local_min) / 60,
    )
    return attach(night, _asleep_by_hour(sleeps, night), ["rec"]).drop("rec")


def _share(part: ir.Value, whole: ir.Value) -> ir.Value:
    """Percent, at most 100: what exceeds its whole does so by rounding."""
    share = 100 * part / whole
    return (share > 100).ifelse(100.0, share)


def _asleep_by_hour(sleeps: ir.Table, night: ir.Table) -> ir.Table:
    """Return which minutes of the clock the main sleep was asleep: 60 bits for each of the 24 hours.

    Asleep is who is in a deep, light or REM interval; where the sleep has none, who is in no awake interval. A minute
    counts by its beginning. A sleep of a day and more is cut at 24 hours, when the clock is full.
    """
    timed = night.filter(night.sleep_start_min.notnull(), night.sleep_end_min.notnull())
    timed = timed.select("rec", begin=timed.sleep_start_min.ceil(), end=timed.sleep_end_min.ceil())
    timed = timed.mutate(end=ibis.least(timed.end, timed.begin + DAY_MIN))
    spans = sleeps.select("rec", "awake_spans", *STAGE_SPANS, lead=sleeps.offset_s - _midnight(sleeps))
    window = timed.inner_join(spans, "rec")
    awake = _minute_bits(_spans(window, "awake_spans"), "awake")
    staged = [_spans(window, name) for name in STAGE_SPANS]
    asleep = ibis.union(*staged)
    has_stages = asleep.group_by("rec").agg(stages=asleep.count())
    hours = attach(_minute_bits(timed, "inside"), awake, ["rec", "hour"])
    hours = attach(attach(hours, _minute_bits(asleep, "asleep"), ["rec", "hour"]), has_stages, ["rec"])
    by_stage = hours.asleep.fill_null(0)
    bits = hours.stages.notnull().ifelse(by_stage, hours.inside & ~hours.awake.fill_null(0))
    return _by_clock_hour(hours.select("rec", "hour", bits=bits), ["rec"], "bits", "asleep_by_hour", ibis.literal(0))


def _spans(window: ir.Table, field: str) -> ir.Table:
    """Return the intervals of a stage that end after they begin, in whole local minutes within the sleep."""
    each = window.select("rec", "begin", "end", "lead", span=window[field].unnest())
    each = each.filter(each["span"].e > each["span"].s)
    return each.select(
        "rec",
        begin=ibis.greatest(each.begin, ((each["span"].s + each.lead) / 60).ceil()),
        end=ibis.least(each.end, ((each["span"].e + each.lead) / 60).ceil()),
    )


def _minute_bits(spans: ir.Table, name: str) -> ir.Table:
    """For each `rec` and clock hour the minutes from `begin` to before `end` (whole local minutes) as bits."""
    each = spans.filter(spans.begin < spans.end)
    each = each.mutate(n=ibis.range(0, 25).unnest())
    first = each.mutate(hour_min=60 * ((each.begin / 60).floor() + each.n))
    part = first.filter(first.hour_min < first.end)
    low = ibis.greatest(part.begin - part.hour_min, 0)
    high = ibis.least(part.end - part.hour_min, 60)
    bits = (_bit(high - low) - 1) << low.cast("int32")
    clock = part.hour_min / 60 - 24 * (part.hour_min / DAY_MIN).floor()
    return part.group_by("rec", hour=clock.cast("int64")).agg(**{name: bit_or(bits)})


def _spo2(records: ir.Table, chosen: ir.Table, field: str, prefix: str) -> ir.Table:
    s = _of_samples(
        records,
        chosen,
        field,
        total=lambda v: v.cast(EXACT).sum(where=v > 0),
        n=lambda v: v.count(where=v > 0),
        low=lambda v: v.count(where=(v > 0) & (v < 90)),
    )
    n = s.n.sum().nullif(0)
    return s.group_by(ROW).agg(
        **{f"{prefix}_spo2_mean": s.total.sum().cast("float64") / n, f"{prefix}_spo2_lt90": 100 * s.low.sum() / n}
    )


def _respiration(records: ir.Table, chosen: ir.Table, field: str, name: str) -> ir.Table:
    s = _of_samples(
        records, chosen, field, total=lambda v: v.cast(EXACT).sum(where=v > 0), n=lambda v: v.count(where=v > 0)
    )
    return s.group_by(ROW).agg(**{name: s.total.sum().cast("float64") / s.n.sum().nullif(0)})


def _of_samples(records: ir.Table, chosen: ir.Table, field: str, **found: Callable[[ir.Value], ir.Value]) -> ir.Table:
    """For each chosen record the participant, the date, and what is found in the values of its samples.

    One number is grouped faster than a participant and a date, of which there is seldom more than one record.
    """
    samples = samples_of(records, chosen.select("rec", "length_s"), field)
    each = samples.group_by("rec").agg(**{name: find(samples.v) for name, find in found.items()})
    return chosen.select("rec", *ROW).inner_join(each, "rec").drop("rec")


def _exact_sum(value: ir.Value) -> ir.Value:
    return value.cast(EXACT).sum().cast("float64")


def _of_latest_hrv(records: ir.Table, current: ir.Table) -> ir.Table:
    """Return what the record received last says."""
    found = with_fields(records, current.filter(current.type == "hrv").select("rec", *ROW), *NEWEST, "last_night_avg")
    newest = first_of_each(found, ROW, *NEWEST)
    return newest.select(*ROW, hrv_rmssd_ms=newest.last_night_avg)


def _latest_values(records: ir.Table, lines: ir.Table, **columns: str) -> ir.Table:
    """Return the latest value of each field that userMetrics say anything of, by the name of the column."""
    parts = lines.filter(lines.state == "usable", lines.type == "userMetrics").select("rec", *ROW)
    found = with_fields(records, parts, *NEWEST, *columns.values())
    dates = parts.select(*ROW).distinct()
    for name, field in columns.items():
        latest = first_of_each(found.filter(found[field].notnull()), ROW, *NEWEST)
        dates = attach(dates, latest.select(*ROW, **{name: latest[field]}), ROW)
    return dates


def _steps_by_hour(current: ir.Table) -> ir.Table:
    epochs = current.filter(current.type == "epochs")
    local = epochs.start_s + epochs.offset_s
    epochs = epochs.select(*ROW, "steps", hour=(local / 3600).floor() - 24 * (local / DAY_S).floor())
    hours = epochs.group_by(*ROW, "hour").agg(steps=_exact_sum(epochs.steps))
    return _by_clock_hour(hours, ROW, "steps", "steps_by_hour")


def _by_clock_hour(
    hours: ir.Table, keys: list[str], value: str, name: str, missing: ir.Value | None = None
) -> ir.Table:
    """For each key an array of 24, `name`, of the `value` that a row has for an `hour` of the clock."""
    wide = hours.group_by(keys).agg(**{f"h{h}": hours[value].max(where=hours.hour == h) for h in range(24)})
    each = [ibis.coalesce(wide[f"h{h}"], missing) for h in range(24)]
    return wide.select(*keys, **{name: ibis.array(each)})


def samples_of(records: ir.Table, chosen: ir.Table, field: str) -> ir.Table:
    """Return the readable samples of chosen records, one a row: the columns of `chosen`, `t` (s from start), `v`.

    `chosen` has `length_s`, null where it is unknown: what is outside of a record is not of it.
    """
    mine = with_fields(records, chosen, field)
    samples, others = mine[field], chosen.columns
    if samples.type().is_struct():
        flat = mine.select(*others, t=samples.t.unnest(), v=samples.v.unnest())
    else:
        one = mine.select(*others, sample=samples.unnest())
        flat = one.select(*others, t=one["sample"].t, v=one["sample"].v)
    length = flat.length_s.fill_null(LARGEST_NUMBER)
    return flat.filter(flat.t >= 0, flat.t <= length, flat.v.between(-LARGEST_NUMBER, LARGEST_NUMBER))


def combined(pieces: Sequence[ir.Table], keys: Sequence[str]) -> ir.Table:
    """Return the first piece, which has every key, with the columns of the others, null where one lacks the key."""
    first, *others = pieces
    joined = first
    for piece in others:
        joined = joined.left_join(piece, [first[key] == piece[key] for key in keys])
    columns = {name: piece[name] for piece in reversed(pieces) for name in piece.columns}
    return joined.select(**columns)


# -- the row


def _finish(day: ir.Table, thresholds: Thresholds) -> ir.Table:
    wear_min = _wear_min(day)
    by_heart = day.heart_min.notnull()
    source = ibis.cases((by_heart, "heart_rate"), (day.stress_samples > 0, "stress"), else_=ibis.null("string"))
    day = day.mutate(
        wear_min=wear_min,
        wear_source=source,
        is_valid_day=wear_min >= thresholds.valid_day_wear_min,
        stress_mean=day.average_stress.fill_null(day.stress_sum / (day.stress_n).nullif(0)),
        spo2_mean_pct=day.sleep_spo2_mean.fill_null(day.day_spo2_mean),
        spo2_lt90_pct=day.sleep_spo2_lt90.fill_null(day.day_spo2_lt90),
        last_received_at=day.last_received_ms,
    )
    return in_shape(day, DAILY).order_by("date", "participant_id")


def without(table: ir.Table, *names: str) -> ir.Table:
    """Return the table without some columns. Ibis names those that `drop` leaves out in an order that changes with
    processes, and so would the fingerprint of the SQL."""
    return table.select(*(name for name in table.columns if name not in names))


def in_shape(table: ir.Table, metrics: Sequence[Any]) -> ir.Table:
    """Exactly the dictionary's columns, in its order and types; times are milliseconds since 1970 UTC."""
    types = {name: metric.ibis_type for name, metric in by_name(metrics).items()}
    return table.select(**{name: table[name].cast(type_) for name, type_ in types.items()})


# -- what was left out


@cache
def day_counts(records: ir.Table) -> ir.Table:
    """Per date: lines read and what became of them, as counts. No id is in it. Reads the tables of `stages`."""
    names = ("lines", "superseded", "other_accounts")
    lines, older, others = (_of(stages(records), name) for name in names)
    versions = older.group_by("date").agg(superseded=ibis._.count())
    elsewhere = others.anti_join(older, "rec").group_by("date").agg(other_account=ibis._.count())
    states = {
        "unreadable": "unreadable",
        "misfiled": "misfiled",
        "unmapped_records": "unmapped",
        "revoked_records": "revoked",
        "usable": "usable",
    }
    counted = lines.group_by("date").agg(
        lines=lines.count(),
        users=lines.user_id.nunique(),
        types=lines.type.nunique(),
        last_received_ms=lines.received_ms.max(),
        unmapped_users=lines.user_id.nunique(where=lines.state == "unmapped"),
        unknown_type_records=lines.count(where=lines.user_id.notnull() & ~lines.type.isin(KNOWN_TYPES)),
        **{name: lines.count(where=lines.state == state) for name, state in states.items()},
    )
    counts = attach(attach(counted, versions, ["date"]), elsewhere, ["date"])
    counts = counts.mutate(superseded=counts.superseded.fill_null(0), other_account=counts.other_account.fill_null(0))
    counts = counts.mutate(records=counts.usable - counts.superseded - counts.other_account)
    return without(counts, "usable").order_by("date")
