"""Typed records -> daily rows, as one Ibis expression that every engine runs.

Belongs here: which record counts, and the formulas of the daily columns. Reading files, ids of people's accounts
beyond the join, and writing belong elsewhere. The definitions are those of the metric dictionary, column by column.

Input tables
    records       one row a raw line, columns of `fields.FIELDS` plus `rec` (unique int64) and `date` (the folder's)
    participants  user_id, participant_id, revoked
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from qol_dagster.metrics.dictionary import DAILY, by_name
from qol_dagster.metrics.fields import (
    DATE_KEYED_TYPES,
    ID_KEYED_TYPES,
    KEY_FIELDS,
    KNOWN_TYPES,
    SCALARS,
    TEST_TYPE,
    TYPE_ALIASES,
    records_schema,
)
from qol_dagster.metrics.thresholds import Thresholds
from qol_ingest.shared.calendar import JST_MS
from qol_ingest.shared.limits import FIRST_SECOND, LARGEST_NUMBER, LAST_SECOND
from qol_ingest.shared.record_dates import MEASURED_TYPES

DAY_S = 86_400
DAY_MIN = 1440
SLOT_S = 15
FIRST_OF_FOUR = 0x111111111111111  # of 60 bits
EXACT = "decimal(28, 9)"  # what is pooled is summed in decimals, so the order of the records cannot show

ROW = ["participant_id", "date"]
NEWEST = ("received_ms", "duration_s", "ingest_id")
# Only for records alike in all of the above: any fixed order, so that files in another order give the same rows.
TIE_BREAKERS = (
    "summary_id",
    "steps",
    "active_s",
    "distance_m",
    "active_kcal",
    "resting_hr",
    "awake_s",
    "deep_s",
)
# What is asked of every line, and what of it is kept; the rest is fetched for the few records of which it is asked.
ASKED_OF_ALL = (
    "user_id",
    "summary_type",
    "received_ms",
    "summary_id",
    "calendar_date",
    "activity_type",
    "start_s",
    "measured_s",
    "change_s",
    "nested_start_s",
    "offset_s",
    "duration_s",
    "steps",
    "on_demand",
    "is_parent",
)
CARRIED = ("received_ms", "duration_s", "start_s", "offset_s", "steps", "on_demand", "is_parent")


@ibis.udf.scalar.builtin
def bit_count(bits: int) -> dt.int8:
    """Return how many bits of an int64 are set; to be cast before anything is added to it."""


@ibis.udf.scalar.builtin(name="hash")
def hash_of(key) -> int:  # type: ignore[empty-body,no-untyped-def]  # of any type
    """Return the same for equal keys, hardly ever for others, and another number in each engine."""


@ibis.udf.agg.builtin
def bit_or(bits: int) -> int:  # type: ignore[empty-body]
    """Return all bits of a group's int64 values."""


def records_table(*, side_by_side: bool) -> ir.Table:
    """Return the unbound table of typed records; `side_by_side` as in `fields.records_schema`."""
    return ibis.table(records_schema(side_by_side=side_by_side), name="records")


def participants_table() -> ir.Table:
    """Return the unbound table of enrolled users: Garmin's user id, our participant id, whether revoked."""
    return ibis.table({"user_id": "string", "participant_id": "string", "revoked": "bool"}, name="participants")


@cache
def stages(records: ir.Table) -> dict[str, ir.Table]:
    """Return what is worked out once and kept under a name, in this order, before `daily_rows` and `day_counts` run."""
    found = {"lines": classified(records)}
    found["superseded"] = superseded(records, _of(found, "lines"))
    found["current_records"] = current_records(_of(found, "lines"), _of(found, "superseded"))
    current = _of(found, "current_records")
    found["main_dailies"] = main_dailies(records, current)
    found["main_sleeps"] = main_sleeps(records, current)
    found["heart_quarters"] = _heart_quarters(records, _of(found, "main_dailies"))
    found["nights"] = _nights(records, _of(found, "main_sleeps"))
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
    names = ("current_records", "main_dailies", "main_sleeps", "heart_quarters", "nights")
    current, dailies, sleeps, quarters, nights = (_of(stages(records), name) for name in names)
    pieces = (
        _counts(current),
        _from_dailies(dailies),
        _heart_rate(quarters, dailies, thresholds),
        *_stress(records, current),
        _sleep(records, sleeps, nights),
        _spo2(records, sleeps, "sleep_spo2", "sleep"),
        _spo2(records, current.filter(current.type == "pulseox", ~current.on_demand), "spo2", "day"),
        _respiration(records, sleeps, "sleep_respiration", "resp_sleep_brpm"),
        _respiration(records, current.filter(current.type == "allDayRespiration"), "respiration", "resp_day_brpm"),
        _latest(
            records,
            current,
            hrv_rmssd_ms=("hrv", "last_night_avg"),
            vo2max=("userMetrics", "vo2_max"),
            fitness_age=("userMetrics", "fitness_age"),
        ),
        _steps_by_hour(current),
    )
    return _finish(combined(pieces, ROW), thresholds)


# -- which record counts


def classified(records: ir.Table) -> ir.Table:
    """Return every line with `state`, `type`, `participant_id`, and what decides which of several lines is the current
    one.

    state: unreadable (no JSON object, or no user), misfiled (its own date is not its folder's), unmapped, revoked,
    or usable.
    """
    lines = records.filter(records.summary_type.fill_null("") != TEST_TYPE).select("rec", "date", *ASKED_OF_ALL)
    lines = lines.mutate(type=lines.summary_type.substitute(TYPE_ALIASES))
    lines = lines.mutate(own_day=_own_day(lines), **_key(lines))
    people = participants_table()
    joined = lines.left_join(people, lines.user_id == people.user_id).select(
        lines, people.participant_id, people.revoked
    )
    state = ibis.cases(
        (joined.user_id.fill_null("") == "", "unreadable"),
        (joined.own_day != _day_number(joined.date), "misfiled"),
        (joined.participant_id.isnull(), "unmapped"),
        (joined.revoked, "revoked"),
        else_="usable",
    )
    joined = joined.mutate(state=state, key_hash=hash_of(ibis.struct({name: joined[name] for name in KEY})))
    return joined.select("rec", *KEY, "participant_id", *CARRIED, "state", "key_hash")


def superseded(records: ir.Table, lines: ir.Table) -> ir.Table:
    """Return the usable records that a later one supersedes: one received later, else longer, else of a greater ingest
    id.

    Hardly a record has another version, so only those are ranked whose keys may be another's, by a hash.
    """
    # `usable` thrice would be one table expression, which DuckDB writes out whole before it is read.
    usable = lines.state == "usable"
    versions = lines.group_by("key_hash").agg(n=lines.count(where=usable))
    contested = lines.filter(usable, lines.key_hash.isin(versions.filter(versions.n > 1).key_hash))
    ranked = _ranked(_with(records, contested.select("rec", *KEY), *NEWEST, *TIE_BREAKERS), KEY, *NEWEST)
    return ranked.filter(ranked.rank > 0).select("rec", "date")


def current_records(lines: ir.Table, superseded: ir.Table) -> ir.Table:
    """Return the usable records that no later one supersedes."""
    current = lines.filter(lines.state == "usable").anti_join(superseded, "rec")
    return current.select("rec", *ROW, "type", *CARRIED)


def _with(records: ir.Table, chosen: ir.Table, *names: str) -> ir.Table:
    """Return the chosen records with these fields of theirs."""
    return records.select("rec", *names).inner_join(chosen, "rec")


def _whole(records: ir.Table, chosen: ir.Table) -> ir.Table:
    """Return the chosen records with all their fields but the lists."""
    return _with(records, chosen.select("rec", *ROW), *(field.name for field in SCALARS))


def main_dailies(records: ir.Table, current: ir.Table) -> ir.Table:
    """Return the day's record of each participant and date: the longest."""
    dailies = _whole(records, current.filter(current.type == "dailies"))
    return _first(dailies, ROW, "duration_s", "received_ms", "ingest_id")


def _key(lines: ir.Table) -> dict[str, ir.Value]:
    """Return what lines have in common that are versions of each other, beside date, user and type."""
    dated, identified = lines.type.isin(DATE_KEYED_TYPES), lines.type.isin(ID_KEYED_TYPES)
    timed = ~dated & ~(identified & lines.summary_id.notnull())
    start = ibis.coalesce(_start(lines), lines.change_s)
    return {
        "key_s": timed.ifelse(start, ibis.null("float64")),
        "key_id": (~dated & (identified | start.isnull())).ifelse(lines.summary_id, ibis.null("string")),
        **{f"key_{i}": _key_part(lines, i) for i in range(_KEY_PARTS)},
    }


_KEY_PARTS = max(len(names) for names in KEY_FIELDS.values())
KEY = ["date", "user_id", "type", "key_s", "key_id", *(f"key_{i}" for i in range(_KEY_PARTS))]


def _key_part(usable: ir.Table, index: int) -> ir.Value:
    cases = [
        (usable.type == type_, usable[names[index]].cast("string"))
        for type_, names in KEY_FIELDS.items()
        if index < len(names)
    ]
    return ibis.cases(*cases, else_=ibis.null("string"))


def main_sleeps(records: ir.Table, current: ir.Table) -> ir.Table:
    """Return the main sleep of each participant and date: neither off the wrist nor typed in by hand, the longest."""
    sleeps = _whole(records, current.filter(current.type == "sleeps", current.duration_s > 0))
    sleeps = sleeps.filter(~sleeps.validation.fill_null("").strip().upper().isin(["OFF_WRIST", "MANUAL"]))
    return _first(sleeps, ROW, "duration_s", "received_ms", "ingest_id")


def _start(lines: ir.Table) -> ir.Value:
    measured_first = ibis.coalesce(lines.measured_s, lines.start_s, lines.nested_start_s)
    start_first = ibis.coalesce(lines.start_s, lines.measured_s, lines.nested_start_s)
    return lines.type.isin(MEASURED_TYPES).ifelse(measured_first, start_first)


def _own_day(lines: ir.Table) -> ir.Value:
    """Return the raw key's rule: calendarDate, else the local date of the start, else the Japanese date of receipt."""
    strict = lines.calendar_date.re_search(r"^\d{4}-\d{2}-\d{2}$")
    local_s = (_start(lines) + lines.offset_s.fill_null(0.0)).floor()
    within = (local_s >= FIRST_SECOND) & (local_s <= LAST_SECOND)
    return ibis.coalesce(
        _day_number(strict.ifelse(lines.calendar_date, ibis.null("string"))),
        within.ifelse((local_s / DAY_S).floor(), ibis.null("float64")).cast("int64"),
        ((lines.received_ms + JST_MS) / (1000.0 * DAY_S)).floor().cast("int64"),
        _day_number(lines.date),
    )


def _day_number(text: ir.Value) -> ir.Value:
    """Days since 1970-01-01; null when the text is no date."""
    return text.try_cast("date").epoch_days().cast("int64")


def _midnight(table: ir.Table) -> ir.Value:
    """Local midnight of `date` in seconds since 1970, as if the local clock were UTC."""
    return _day_number(table.date).cast("float64") * DAY_S


def _first(table: ir.Table, group: Sequence[str], *order: str) -> ir.Table:
    """Return the first row of each group, in the order of `_ranked`."""
    ranked = _ranked(table, group, *order)
    return ranked.filter(ranked.rank == 0).drop("rank")


def _ranked(table: ir.Table, group: Sequence[str], *order: str) -> ir.Table:
    """Adds `rank` within the group, from 0: largest `order` columns first, missing values last."""
    by = [ibis.desc(table[name], nulls_first=False) for name in (*order, *TIE_BREAKERS)]
    return table.mutate(rank=ibis.row_number().over(group_by=list(group), order_by=by))


# -- pieces: each gives at most one row per (participant_id, date)


def _counts(current: ir.Table) -> ir.Table:
    """Records by type, and exercise: none at all, on a date with a dailies record, is 0 and not unknown."""
    types = {"n_dailies": "dailies", "n_sleeps": "sleeps", "n_stress": "stressDetails", "n_hrv": "hrv"}
    session = (current.type == "activities") & ~current.is_parent
    found = current.group_by(ROW).agg(
        n_records=current.count(),
        last_received_ms=current.received_ms.max(),
        sessions=current.count(where=session),
        session_s=_exact_sum(session.ifelse(current.duration_s, ibis.null("float64"))),
        **{name: current.count(where=current.type == type_) for name, type_ in types.items()},
    )
    none = found.sessions == 0
    unknown = none & (found.n_dailies == 0)
    exercise = found.mutate(
        exercise_sessions=unknown.ifelse(ibis.null("int64"), found.sessions),
        exercise_min=unknown.ifelse(ibis.null("float64"), none.ifelse(0.0, found.session_s / 60)),
    )
    return without(exercise, "sessions", "session_s")


def _from_dailies(dailies: ir.Table) -> ir.Table:
    d = dailies
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
        stress_rest_min=d.rest_stress_s / 60,
        stress_low_min=d.low_stress_s / 60,
        stress_medium_min=d.medium_stress_s / 60,
        stress_high_min=d.high_stress_s / 60,
        sync_lag_h=(d.received_ms / 1000.0 - (d.start_s + d.duration_s)) / 3600,
    )


def _heart_quarters(records: ir.Table, dailies: ir.Table) -> ir.Table:
    """Return the 15-s slots in which the day's record has a heart rate, by quarter of an hour of the local clock.

    Slots are counted from the record's start, which takes its place among those of the clock. The 60 of a quarter are
    the bits of one integer, so a day of 5,760 samples becomes 96 rows in a single pass.
    """
    lead = ((dailies.start_s + dailies.offset_s - _midnight(dailies)).fill_null(0.0) / SLOT_S).floor()
    samples = samples_of(records, dailies.select("rec", lead=lead), "heart_rate")
    samples = samples.filter(samples.v > 0)
    placed = samples.select("rec", "v", slot=(samples.t / SLOT_S).floor() + samples.lead)
    placed = placed.mutate(quarter=(placed.slot / 60).floor())
    return placed.group_by("rec", "quarter").agg(
        slots=bit_or(_bit(placed.slot - 60 * placed.quarter)), total=placed.v.sum(), n=placed.count()
    )


def _heart_rate(quarters: ir.Table, dailies: ir.Table, thresholds: Thresholds) -> ir.Table:
    """Wear and mean, from `_heart_quarters`."""
    q = quarters
    minutes = (q.slots | (q.slots >> 1) | (q.slots >> 2) | (q.slots >> 3)) & FIRST_OF_FOUR
    hours = q.select("rec", "slots", "total", "n", hour=(q.quarter / 4).floor(), minutes=bit_count(minutes))
    hours = hours.group_by("rec", "hour").agg(
        slots=bit_count(hours.slots).sum(), minutes=hours.minutes.sum(), total=hours.total.sum(), n=hours.n.sum()
    )
    found = hours.group_by("rec").agg(
        slots=hours.slots.sum(),
        valid_minutes_hours=(hours.minutes >= thresholds.minutes_per_valid_hour).sum(),
        hr_mean_bpm=hours.total.sum() / hours.n.sum(),
    )
    return dailies.select("rec", *ROW).inner_join(found, "rec").drop("rec")


def _bit(index: ir.Value) -> ir.Value:
    return ibis.literal(1, "int8").cast("int64") << index.cast("int32")


def _stress(records: ir.Table, current: ir.Table) -> tuple[ir.Table, ir.Table]:
    details = current.filter(current.type == "stressDetails")
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


def _nights(records: ir.Table, sleeps: ir.Table) -> ir.Table:
    near = _with(records, sleeps.select("rec", "start_s"), "sleep_levels")
    near = near.select("rec", "start_s", end=near.sleep_levels.unnest())
    near = near.filter(near.end > near.start_s, near.end <= near.start_s + 2 * DAY_S)
    ends = near.group_by("rec").agg(level_end_s=near.end.max())
    s = attach(sleeps, ends, ["rec"])
    idle_s = s.awake_s.fill_null(0.0) + s.unmeasurable_s.fill_null(0.0)
    to_local_min = s.offset_s - _midnight(s)
    end_s = s.level_end_s.fill_null(s.start_s + s.duration_s + idle_s)
    return s.select(
        "rec",
        *ROW,
        sleep_tst_min=s.duration_s / 60,
        sleep_tib_min=(s.duration_s + idle_s) / 60,
        sleep_waso_min=s.awake_s / 60,
        sleep_efficiency_pct=100 * s.duration_s / (s.duration_s + idle_s),
        sleep_deep_pct=100 * s.deep_s / s.duration_s,
        sleep_light_pct=100 * s.light_s / s.duration_s,
        sleep_rem_pct=100 * s.rem_s / s.duration_s,
        sleep_start_min=(s.start_s + to_local_min) / 60,
        sleep_end_min=(end_s + to_local_min) / 60,
        midsleep_min=((s.start_s + end_s) / 2 + to_local_min) / 60,
    )


def _sleep(records: ir.Table, sleeps: ir.Table, nights: ir.Table) -> ir.Table:
    return attach(nights, _asleep_by_hour(records, sleeps, nights), ["rec"]).drop("rec")


def _asleep_by_hour(records: ir.Table, sleeps: ir.Table, night: ir.Table) -> ir.Table:
    """Return which minutes of the clock the main sleep was asleep: 60 bits for each of the 24 hours.

    A minute counts by its beginning. A sleep of a day and more is cut at 24 hours, when the clock is full.
    """
    timed = night.filter(night.sleep_start_min.notnull(), night.sleep_end_min.notnull())
    timed = timed.select("rec", begin=timed.sleep_start_min.ceil(), end=timed.sleep_end_min.ceil())
    timed = timed.mutate(end=ibis.least(timed.end, timed.begin + DAY_MIN))
    to_local_s = sleeps.select("rec", lead=sleeps.offset_s - _midnight(sleeps))
    awake = _with(records, timed.inner_join(to_local_s, "rec"), "awake_spans")
    awake = awake.select("rec", "begin", "end", "lead", span=awake.awake_spans.unnest())
    awake = awake.select(
        "rec",
        begin=ibis.greatest(awake.begin, ((awake["span"].s + awake.lead) / 60).ceil()),
        end=ibis.least(awake.end, ((awake["span"].e + awake.lead) / 60).ceil()),
    )
    hours = attach(_minute_bits(timed, "inside"), _minute_bits(awake, "awake"), ["rec", "hour"])
    hours = hours.select("rec", "hour", bits=hours.inside & ~hours.awake.fill_null(0))
    return _by_clock_hour(hours, ["rec"], "bits", "asleep_by_hour", ibis.literal(0))


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
    samples = samples_of(records, chosen.select("rec"), field)
    each = samples.group_by("rec").agg(**{name: find(samples.v) for name, find in found.items()})
    return chosen.select("rec", *ROW).inner_join(each, "rec").drop("rec")


def _exact_sum(value: ir.Value) -> ir.Value:
    return value.cast(EXACT).sum().cast("float64")


def _latest(records: ir.Table, current: ir.Table, **columns: tuple[str, str]) -> ir.Table:
    """Return what the newest record of a type says, by the name of the column: (type, field)."""
    types, fields = zip(*columns.values(), strict=True)
    chosen = current.filter(current.type.isin(sorted(set(types)))).select("rec", *ROW, "type")
    newest = _first(_with(records, chosen, *NEWEST, *TIE_BREAKERS, *fields), [*ROW, "type"], *NEWEST)
    of_type = {name: newest[field].max(where=newest.type == type_) for name, (type_, field) in columns.items()}
    return newest.group_by(ROW).agg(**of_type)


def _steps_by_hour(current: ir.Table) -> ir.Table:
    epochs = current.filter(current.type == "epochs")
    local = epochs.start_s + epochs.offset_s.fill_null(0.0)
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
    """Return the readable samples of chosen records, one a row: the columns of `chosen`, `t` (s from start), `v`."""
    mine = _with(records, chosen, field)
    samples, others = mine[field], chosen.columns
    if samples.type().is_struct():
        flat = mine.select(*others, t=samples.t.unnest(), v=samples.v.unnest())
    else:
        one = mine.select(*others, sample=samples.unnest())
        flat = one.select(*others, t=one["sample"].t, v=one["sample"].v)
    limits = -LARGEST_NUMBER, LARGEST_NUMBER
    return flat.filter(flat.t.between(*limits), flat.v.between(*limits))


def combined(pieces: Sequence[ir.Table], keys: Sequence[str]) -> ir.Table:
    """Return the first piece, which has every key, with the columns of the others, null where one lacks the key."""
    first, *others = pieces
    joined = first
    for piece in others:
        joined = joined.left_join(piece, [first[key] == piece[key] for key in keys])
    columns = {name: piece[name] for piece in reversed(pieces) for name in piece.columns}
    return joined.select(**columns)


def attach(left: ir.Table, right: ir.Table, keys: list[str]) -> ir.Table:
    """Left join on columns of the same name, without the copies of the keys."""
    joined = left.left_join(right, [left[key] == right[key] for key in keys])
    return joined.select(left, *[right[name] for name in right.columns if name not in keys])


# -- the row


def _finish(day: ir.Table, thresholds: Thresholds) -> ir.Table:
    worn_s = day.slots.notnull()
    wear_min = worn_s.ifelse(
        day.slots / 4, (day.stress_samples > 0).ifelse(3.0 * day.worn_samples, ibis.null("float64"))
    )
    source = ibis.cases((worn_s, "heart_rate"), (day.stress_samples > 0, "stress"), else_=ibis.null("string"))
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
    lines, older = (_of(stages(records), name) for name in ("lines", "superseded"))
    versions = older.group_by("date").agg(superseded=ibis._.count())
    states = {
        "unreadable": "unreadable",
        "misfiled": "misfiled",
        "unmapped_records": "unmapped",
        "revoked_records": "revoked",
        "usable": "usable",
    }
    counted = lines.group_by("date").agg(
        lines=lines.count(),
        unmapped_users=lines.user_id.nunique(where=lines.state == "unmapped"),
        unknown_type_records=lines.count(where=lines.user_id.notnull() & ~lines.type.isin(KNOWN_TYPES)),
        **{name: lines.count(where=lines.state == state) for name, state in states.items()},
    )
    counts = attach(counted, versions, ["date"])
    counts = counts.mutate(superseded=counts.superseded.fill_null(0))
    return counts.mutate(records=counts.usable - counts.superseded).drop("usable").order_by("date")


@cache
def day_users(records: ir.Table) -> ir.Table:
    """Per date and user that counts for anything: how many lines are usable, and how many of somebody unmapped."""
    lines = _of(stages(records), "lines")
    states = ("usable", "unmapped")
    counted = lines.filter(lines.state.isin(states))
    per_state = {state: counted.count(where=counted.state == state) for state in states}
    return counted.group_by("date", "user_id").agg(**per_state)
