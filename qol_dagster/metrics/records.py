"""Typed lines -> the records that count: of whom, of which date, which version, which night, which account.

Belongs here: Garmin's own rules of what is an update, as Ibis expressions that every engine runs. What is computed from
the records that count is `daily.py`'s.

Input tables
    records       one row a raw line, columns of `fields.FIELDS` plus `rec` (unique int64),
                  `date` (the folder's), `file`, `line` and `body`; see `fields.records_schema`
    participants  user_id, participant_id, revoked, withheld
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import ibis
import ibis.expr.types as ir

from qol_dagster.metrics.fields import (
    DATE_KEYED_TYPES,
    FINALITY,
    ID_KEYED_TYPES,
    KEY_FIELDS,
    LONGEST_FIRST_TYPES,
    NO_SLEEP,
    OTHER_FINALITY,
    SCALARS,
    TEST_TYPE,
    TYPE_ALIASES,
    records_schema,
)
from qol_ingest.shared.calendar import JST_MS
from qol_ingest.shared.limits import FIRST_SECOND, LAST_SECOND
from qol_ingest.shared.permissions import ACTIVITY, ACTIVITY_TYPES, HEALTH
from qol_ingest.shared.record_dates import LAST_STAGE_WITHIN_S, MEASURED_TYPES, STAGES_TOLERANCE_S

DAY_S = 86_400
ROW = ["participant_id", "date"]
ORIGIN = ("body", "file", "line")
NEWEST = ("received_ms", *ORIGIN)
"""What decides between records, one after the other: the greatest first, missing ones last."""
LONGEST = ("duration_s", *NEWEST)
OVERLAPPING = 6
"""So many sleeps of a date are compared with each other; further ones are compared with those that were chosen."""

# What is asked of every line, and what of it is kept; the rest is fetched for the few records of which it is asked.
ASKED_OF_ALL = (
    "user_id",
    "summary_type",
    "received_ms",
    "body",
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
SLEEP_FIELDS = (
    "start_s",
    "offset_s",
    "duration_s",
    "awake_s",
    "unmeasurable_s",
    "deep_s",
    "light_s",
    "rem_s",
    "sleep_levels",
    "awake_spans",
)
STAGE_SPANS = ("deep_spans", "light_spans", "rem_spans")


@ibis.udf.scalar.builtin(name="hash")
def hash_of(key) -> int:  # type: ignore[empty-body,no-untyped-def]  # of any type
    """Return the same for equal keys, hardly ever for others, and another number in each engine."""


def records_table(*, side_by_side: bool) -> ir.Table:
    """Return the unbound table of typed records; `side_by_side` as in `fields.records_schema`."""
    return ibis.table(records_schema(side_by_side=side_by_side), name="records")


def participants_table() -> ir.Table:
    """Return the unbound table of enrolled users: Garmin's user id, our participant id, whether revoked.

    `withheld` is the permission, for health data or for activities, that the user does not give, or "".
    """
    columns = {"user_id": "string", "participant_id": "string", "revoked": "bool", "withheld": "string"}
    return ibis.table(columns, name="participants")


# -- whose, of which date


def classified(records: ir.Table) -> ir.Table:
    """Return every line with `state`, `type`, `participant_id`, and the key that versions of one record share.

    state: unreadable (no JSON object, or no user), misfiled (its own date is not its folder's), unmapped, revoked
    (all of the user's, or records of a type that is not permitted), or usable.
    """
    lines = records.filter(records.summary_type.fill_null("") != TEST_TYPE).select("rec", "date", *ASKED_OF_ALL)
    # Without a type it is of none that is known: of a day with nothing else, Spark would count null records of each.
    type_ = lines.summary_type.substitute(TYPE_ALIASES).fill_null("")
    lines = lines.mutate(type=type_, stated_day=_stated_day(lines))
    # Of `records` and not of `lines`, which DuckDB would write out whole, as it is read twice.
    undated = records.filter(records.summary_type == "sleeps", _stated_day(records).isnull())
    lines = attach(lines, with_times(undated).select("rec", "end_s"), ["rec"])
    lines = lines.mutate(own_day=_own_day(lines), **_key(lines))
    people = participants_table()
    joined = lines.left_join(people, lines.user_id == people.user_id).select(
        lines, people.participant_id, people.revoked, people.withheld
    )
    needed = joined.type.isin(ACTIVITY_TYPES).ifelse(ACTIVITY, HEALTH)
    state = ibis.cases(
        (joined.user_id.fill_null("") == "", "unreadable"),
        (joined.own_day != day_number(joined.date), "misfiled"),
        (joined.participant_id.isnull(), "unmapped"),
        (joined.revoked | (joined.withheld == needed), "revoked"),
        else_="usable",
    )
    slice_ = ibis.struct({name: joined[name] for name in ("date", "user_id", "key_s", "key_id")})
    joined = joined.mutate(
        start_s=real_start(joined),
        state=state,
        key_hash=hash_of(ibis.struct({name: joined[name] for name in KEY})),
        slice_hash=(joined.type == "epochs").ifelse(hash_of(slice_), ibis.null()),
    )
    return joined.select("rec", *KEY, "participant_id", *CARRIED, "state", "key_hash", "slice_hash")


def _key(lines: ir.Table) -> dict[str, ir.Value]:
    """Return what lines have in common that are versions of each other, beside date, user and type."""
    dated, identified = lines.type.isin(DATE_KEYED_TYPES), lines.type.isin(ID_KEYED_TYPES)
    summary_id = lines.summary_id.nullif("")  # an empty one identifies nothing
    timed = ~dated & ~(identified & summary_id.notnull())
    start = ibis.coalesce(_start(lines), lines.change_s)
    return {
        "key_s": timed.ifelse(start, ibis.null("float64")),
        "key_id": (~dated & (identified | start.isnull())).ifelse(summary_id, ibis.null("string")),
        **{f"key_{i}": _key_part(lines, i) for i in range(_KEY_PARTS)},
    }


_KEY_PARTS = max(len(names) for names in KEY_FIELDS.values())
KEY = ["date", "user_id", "type", "key_s", "key_id", *(f"key_{i}" for i in range(_KEY_PARTS))]


def _key_part(lines: ir.Table, index: int) -> ir.Value:
    cases = [
        (lines.type == type_, lines[names[index]].cast("string"))
        for type_, names in KEY_FIELDS.items()
        if index < len(names)
    ]
    return ibis.cases(*cases, else_=ibis.null("string"))


def _start(lines: ir.Table) -> ir.Value:
    measured_first = ibis.coalesce(lines.measured_s, lines.start_s, lines.nested_start_s)
    start_first = ibis.coalesce(lines.start_s, lines.measured_s, lines.nested_start_s)
    return lines.type.isin(MEASURED_TYPES).ifelse(measured_first, start_first)


def _stated_day(lines: ir.Table) -> ir.Value:
    strict = lines.calendar_date.re_search(r"^\d{4}-\d{2}-\d{2}$")
    there_is = strict & (lines.calendar_date >= "0001")
    return day_number(there_is.ifelse(lines.calendar_date, ibis.null("string")))


def _own_day(lines: ir.Table) -> ir.Value:
    """Return the raw key's rule: calendarDate, else the local date, else the Japanese date of receipt.

    The local date is that of the start; of the end for nights, which belong to the date of waking.
    """
    start = _start(lines)
    at = ibis.cases(
        (lines.type == "sleeps", lines.end_s.fill_null(start)),
        (lines.type == "hrv", (real_start(lines) + lines.duration_s.fill_null(0.0)).fill_null(start)),
        else_=start,
    )
    local_s = (at + lines.offset_s.fill_null(0.0)).floor()
    return ibis.coalesce(
        lines.stated_day,
        is_second(local_s).ifelse((local_s / DAY_S).floor(), ibis.null("float64")).cast("int64"),
        ((lines.received_ms + JST_MS) / (1000.0 * DAY_S)).floor().cast("int64"),
        day_number(lines.date),
    )


def is_second(at: ir.Value) -> ir.Value:
    """Return whether seconds since 1970 are a time that there can be, rather than milliseconds or nonsense."""
    return (at >= FIRST_SECOND) & (at <= LAST_SECOND)


def real_start(records: ir.Table) -> ir.Value:
    """Return `start_s`, null where it is no time on the local clock: such a record has neither a date nor an hour."""
    local_s = records.start_s + records.offset_s.fill_null(0.0)
    return is_second(local_s).ifelse(records.start_s, ibis.null("float64"))


def day_number(text: ir.Value) -> ir.Value:
    """Days since 1970-01-01; null when the text is no date."""
    return text.try_cast("date").epoch_days().cast("int64")


# -- which version


def superseded(records: ir.Table, lines: ir.Table) -> ir.Table:
    """Return the usable records of which another version counts.

    Hardly a record has another version, so only those are ranked whose keys may be another's, by a hash.
    """
    contested = _of_several(lines, "key_hash")
    found = with_fields(records, contested.select("rec", *KEY), *_DECIDING, "validation")
    ranked = _ranked(found.mutate(**_precedence(found)), KEY, *_PRECEDENCE)
    older = ranked.filter(ranked.rank > 0).select("rec", "date")
    return older.union(_replaced_epochs(lines), distinct=True)


def _of_several(lines: ir.Table, hash_: str) -> ir.Table:
    """Return the usable lines that share a hash with another one."""
    # `usable` thrice would be one table expression, which DuckDB writes out whole before it is read.
    usable = lines.state == "usable"
    found = lines.group_by(hash_).agg(n=lines.count(where=usable))
    return lines.filter(usable, lines[hash_].isin(found.filter(found.n > 1)[hash_]))


_DECIDING = (*NEWEST, "duration_s")
_PRECEDENCE = ("finality", "length_s", "received_ms", "sleep_s", *ORIGIN)


def _precedence(versions: ir.Table) -> dict[str, ir.Value]:
    """Return what decides first: the finality of a night, the length of what grows while it is measured."""
    is_night = versions.type == "sleeps"
    grows = versions.type.isin(LONGEST_FIRST_TYPES)
    return {
        "finality": is_night.ifelse(finality(versions), 0),
        "length_s": grows.ifelse(_length_among(versions, KEY), 0.0),
        "sleep_s": is_night.ifelse(versions.duration_s, ibis.null("float64")),
    }


def _length_among(versions: ir.Table, key: Sequence[str]) -> ir.Value:
    """Return the durations, a missing one as long as the longest of its versions."""
    return versions.duration_s.fill_null(versions.duration_s.max().over(group_by=list(key)))


def finality(sleeps: ir.Table) -> ir.Value:
    """Return how final Garmin says a sleep is: the greater, the more."""
    word = sleeps.validation.fill_null("").strip().upper()
    return ibis.cases(*((word == name, rank) for name, rank in FINALITY.items()), else_=OTHER_FINALITY)


def _replaced_epochs(lines: ir.Table) -> ir.Table:
    """Return the epochs whose start another delivery has too that counts: new ones replace all, whatever their type."""
    shared = _of_several(lines, "slice_hash")
    bodies = shared.group_by("slice_hash").agg(first=shared.key_1.min(), last=shared.key_1.max())
    contested = shared.filter(shared.slice_hash.isin(bodies.filter(bodies.first != bodies.last).slice_hash))
    slice_ = ["date", "user_id", "key_s", "key_id"]
    each = contested.select("rec", *slice_, "duration_s", "received_ms", body=contested.key_1)
    each = each.mutate(length_s=_length_among(each, slice_))
    deliveries = each.group_by(*slice_, "body").agg(length_s=each.length_s.max(), received_ms=each.received_ms.max())
    ranked = _ranked(deliveries, slice_, "length_s", "received_ms", "body")
    older = ranked.filter(ranked.rank > 0)
    same = [each[name].identical_to(older[name]) for name in (*slice_, "body")]
    return each.semi_join(older, same).select("rec", "date")


def account_records(lines: ir.Table, superseded: ir.Table) -> ir.Table:
    """Return the usable records that no other version supersedes, of all accounts."""
    current = lines.filter(lines.state == "usable").anti_join(superseded, "rec")
    return current.select("rec", *ROW, "user_id", "type", *CARRIED)


def account_dailies(records: ir.Table, current: ir.Table) -> ir.Table:
    """Return the day's record of each account and date: the longest."""
    dailies = current.filter(current.type == "dailies").select("rec", *ROW, "user_id")
    fields = (field.name for field in SCALARS if field.name != "user_id")
    longest = first_of_each(with_fields(records, dailies, *fields, *ORIGIN), [*ROW, "user_id"], *LONGEST)
    return longest.mutate(start_s=real_start(longest))


# -- which account


def other_accounts(lines: ir.Table, current: ir.Table, wear: ir.Table) -> ir.Table:
    """Return the usable records, superseded ones too, of accounts that do not count.

    Of several accounts of a participant on a date that with the most wear counts, for all types; then that whose
    records came last. `wear` has `wear_min` for each account of `contested_accounts` that has any.
    """
    accounts = attach(contested_accounts(current), wear, [*ROW, "user_id"])
    accounts = accounts.mutate(wear_min=accounts.wear_min.fill_null(-1.0))
    ranked = _ranked(accounts, ROW, "wear_min", "received_ms", "user_id")
    less_worn = ranked.filter(ranked.rank > 0).select(*ROW, "user_id")
    return lines.filter(lines.state == "usable").semi_join(less_worn, [*ROW, "user_id"]).select("rec", "date")


def contested_accounts(current: ir.Table) -> ir.Table:
    """Return the accounts of the participants that have several on a date, with the latest receipt of each."""
    accounts = current.group_by(*ROW, "user_id").agg(received_ms=current.received_ms.max())
    several = accounts.group_by(ROW).agg(n=accounts.count()).filter(ibis._.n > 1)
    return accounts.semi_join(several, ROW)


def of_chosen_accounts(table: ir.Table, others: ir.Table) -> ir.Table:
    """Return the records of the accounts that count."""
    return table.anti_join(others, "rec")


# -- which night


def with_times(sleeps: ir.Table) -> ir.Table:
    """Return sleeps, which have `SLEEP_FIELDS`, with how long they lasted: tst_s, awake_s, unmeasurable_s, end_s.

    What Garmin's duration includes differs, so that the stages decide, if they add up to it. Awake time that nobody
    gave is null; unmeasurable time then counts 0.
    """
    s = sleeps.mutate(start_s=real_start(sleeps))
    lengths = s.awake_spans.map(lambda span: ibis.greatest(span.e - span.s, 0.0))
    in_map = s.awake_spans.notnull().ifelse(lengths.sums().fill_null(0.0), ibis.null("float64"))
    s = s.mutate(awake_s=s.awake_s.fill_null(in_map), unmeasurable_s=s.unmeasurable_s.fill_null(0.0))
    s = s.mutate(tst_s=_total_sleep_s(s), level_end_s=s.sleep_levels.filter(lambda end: end > s.start_s).maxs())
    expected = s.start_s + s.tst_s.fill_null(0.0) + s.awake_s.fill_null(0.0) + s.unmeasurable_s
    near = ((s.level_end_s - expected).abs() <= LAST_STAGE_WITHIN_S).fill_null(False)
    return s.mutate(end_s=near.ifelse(s.level_end_s, expected)).drop("level_end_s")


def _total_sleep_s(s: ir.Table) -> ir.Value:
    stages = [s.deep_s, s.light_s, s.rem_s]
    total = sum((stage.fill_null(0.0) for stage in stages[1:]), stages[0].fill_null(0.0))
    total = ibis.coalesce(*stages).notnull().ifelse(total, ibis.null("float64"))
    without_unmeasurable = s.duration_s - s.unmeasurable_s
    readings = (s.duration_s, without_unmeasurable, s.duration_s - s.awake_s, without_unmeasurable - s.awake_s)
    agrees = ibis.or_(*(((total - reading).abs() <= STAGES_TOLERANCE_S).fill_null(False) for reading in readings))
    return agrees.ifelse(total, s.duration_s.fill_null(total))


def main_sleeps(records: ir.Table, current: ir.Table) -> ir.Table:
    """Return the main sleep of each participant and date: of overlapping ones the most final, of others the longest."""
    sleeps = current.filter(current.type == "sleeps").select("rec", *ROW)
    s = with_fields(records, sleeps, *SLEEP_FIELDS, *STAGE_SPANS, "validation", *NEWEST)
    s = s.filter(~s.validation.fill_null("").strip().upper().isin(NO_SLEEP))
    s = with_times(s)
    s = s.filter(s.tst_s > 0).mutate(finality=finality(s))
    return first_of_each(_without_overlaps(s), ROW, "tst_s", *NEWEST)


def _without_overlaps(sleeps: ir.Table) -> ir.Table:
    """Return the sleeps that overlap none chosen before them: the most final, then the latest, then the longest."""
    ranked = _ranked(sleeps, ROW, "finality", "received_ms", "tst_s", *ORIGIN)
    places = range(OVERLAPPING)
    spans = ranked.group_by(ROW).agg(
        **{f"begin_{i}": ranked.start_s.max(where=ranked.rank == i) for i in places},
        **{f"until_{i}": ranked.end_s.max(where=ranked.rank == i) for i in places},
    )
    for i in places:
        overlaps = _overlap_any(spans, spans[f"begin_{i}"], spans[f"until_{i}"], range(i))
        spans = spans.mutate(**{f"chosen_{i}": ~overlaps})
    each = attach(ranked, spans, ROW)
    own = ibis.cases(
        *((each["rank"] == i, each[f"chosen_{i}"]) for i in places),
        else_=~_overlap_any(each, each.start_s, each.end_s, places),
    )
    return each.filter(own).select(*sleeps.columns)


def _overlap_any(spans: ir.Table, begin: ir.Value, until: ir.Value, places: Iterable[int]) -> ir.Value:
    """Return whether a time overlaps the sleep in one of these places, if that was chosen."""
    overlaps = [
        (spans[f"chosen_{i}"] & (begin < spans[f"until_{i}"]) & (spans[f"begin_{i}"] < until)).fill_null(False)
        for i in places
    ]
    return ibis.or_(*overlaps) if overlaps else ibis.literal(False)


# -- tables


def with_fields(records: ir.Table, chosen: ir.Table, *names: str) -> ir.Table:
    """Return the chosen records with these fields of theirs."""
    return records.select("rec", *names).inner_join(chosen, "rec")


def first_of_each(table: ir.Table, group: Sequence[str], *order: str) -> ir.Table:
    """Return the first row of each group: that with the greatest `order` columns, missing values last."""
    ranked = _ranked(table, group, *order)
    return ranked.filter(ranked.rank == 0).drop("rank")


def _ranked(table: ir.Table, group: Sequence[str], *order: str) -> ir.Table:
    """Adds `rank` within the group, from 0: the greatest `order` columns first, missing values last."""
    by = [ibis.desc(table[name], nulls_first=False) for name in order]
    return table.mutate(rank=ibis.row_number().over(group_by=list(group), order_by=by))


def attach(left: ir.Table, right: ir.Table, keys: list[str]) -> ir.Table:
    """Left join on columns of the same name, without the copies of the keys."""
    joined = left.left_join(right, [left[key] == right[key] for key in keys])
    return joined.select(left, *[right[name] for name in right.columns if name not in keys])
