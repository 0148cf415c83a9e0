"""Daily rows and enrolments -> who wore the device and who fell silent, as one Ibis expression for every engine.

Belongs here: the formulas of the status columns. Unlike the other tables, this one has a row for everyone enrolled,
also in weeks of which nothing came.

Input tables
    daily_metrics  the columns of `dictionary.READ_BY_STATUS`; of each week, also the three weeks before it
    earlier_weeks  participant_id, date (Monday), last_received_at of weekly rows that are not among the daily ones
    people         participant_id, enrolled_date (text, or null when unknown), revoked
    weeks          date (Monday), as_of_ms: up to when silence is counted
"""

from __future__ import annotations

from functools import reduce
from operator import add

import ibis
import ibis.expr.types as ir

from qol_dagster.metrics.daily import in_shape
from qol_dagster.metrics.dictionary import METRICS_VERSION, READ_BY_STATUS, STATUS, WEAR_SIGNS
from qol_dagster.metrics.records import attach
from qol_dagster.metrics.thresholds import TRAILING_WEEKS, Thresholds
from qol_dagster.metrics.weekly import FIRST_WEEKEND_DAY, WEEK_DAYS
from qol_ingest.shared.calendar import JST_MS

WEEK = ["participant_id", "monday"]
DAY_MS = 86_400_000
DAY_STATES = {
    "valid": "V",
    "short": "S",
    "unknown": "U",
    "not_worn": "N",
    "not_synced": "A",
    "not_enrolled": "E",
    "revoked": "R",
}
"""The letter of each state of a day in `day_states`, named as the counts are."""
COUNTS = [metric.name for metric in STATUS if metric.name.startswith("n_")]
SILENCE = ("last_worn_date", "last_night_date", "last_synced_at", "days_since_last_sync")


def status_rows(thresholds: Thresholds) -> ir.Table:
    """One row per (participant_id, date = Monday) of `people` x `weeks` with the columns of `dictionary.STATUS`.

    `computed_at` is left null: it is the run's and not the data's.
    """
    daily = _placed(ibis.table({metric.name: metric.ibis_type for metric in READ_BY_STATUS}, name="daily_metrics"))
    row = attach(_people_by_week(), _days_with_a_row(daily), WEEK)
    row = _states(attach(row, _last(_known_by_week(daily)), WEEK))
    row = row.mutate(
        **{name: row.revoked.ifelse(0, row[name]) for name in COUNTS},
        **{name: row.revoked.ifelse(ibis.null(row[name].type()), row[name]) for name in SILENCE},
        status=_status(row, thresholds),
        computed_at=ibis.null("int64"),
        metrics_version=ibis.literal(METRICS_VERSION),
    )
    return in_shape(row, STATUS).order_by("date", "participant_id")


def _people_by_week() -> ir.Table:
    """Return every person in every week, with `monday` and `enrolled` as days since 1970."""
    people = ibis.table({"participant_id": "string", "enrolled_date": "string", "revoked": "boolean"}, name="people")
    weeks = ibis.table({"date": "string", "as_of_ms": "int64"}, name="weeks")
    return people.cross_join(weeks).mutate(
        monday=ibis._.date.cast("date").epoch_days().cast("int64"),
        enrolled=ibis._.enrolled_date.cast("date").epoch_days().cast("int64"),
    )


def _placed(daily: ir.Table) -> ir.Table:
    """Adds `monday` (days since 1970), `day` (0 = Monday to 6), `worn`, `valid`, `unknown` and `night`."""
    date = daily.date.cast("date")
    monday = date.truncate("W").epoch_days().cast("int64")
    return daily.mutate(
        monday=monday,
        day=date.epoch_days().cast("int64") - monday,
        worn=(daily.wear_min > 0).fill_null(False),
        valid=daily.is_valid_day.fill_null(False),
        unknown=daily.wear_min.isnull() & ibis.or_(*((daily[sign] > 0).fill_null(False) for sign in WEAR_SIGNS)),
        night=daily.sleep_tst_min.notnull(),
    )


def _days_with_a_row(d: ir.Table) -> ir.Table:
    return d.group_by(WEEK).agg(
        n_valid=d.count(where=d.valid),
        n_valid_weekend=d.count(where=d.valid & (d.day >= FIRST_WEEKEND_DAY)),
        n_short=d.count(where=d.worn & ~d.valid),
        n_unknown=d.count(where=d.unknown),
        n_unworn=d.count(where=~d.worn & ~d.valid & ~d.unknown),
        **{
            f"{name}_{day}": d.count(where=(d.day == day) & condition)
            for day in range(WEEK_DAYS)
            for name, condition in (("row", True), ("valid", d.valid), ("worn", d.worn), ("unknown", d.unknown))
        },
    )


def _known_by_week(daily: ir.Table) -> ir.Table:
    """`received_ms`, `worn_date` and `night_date`, the last ones of each person's dates of a week."""
    earlier = ibis.table(
        {"participant_id": "string", "date": "string", "last_received_at": "int64"}, name="earlier_weeks"
    )
    return (
        daily.group_by(WEEK)
        .agg(
            received_ms=daily.last_received_at.max(),
            worn_date=daily.date.max(where=daily.worn),
            night_date=daily.date.max(where=daily.night),
        )
        .union(
            earlier.select(
                participant_id=earlier.participant_id,
                monday=earlier.date.cast("date").epoch_days().cast("int64"),
                received_ms=earlier.last_received_at,
                worn_date=ibis.null("string"),
                night_date=ibis.null("string"),
            )
        )
    )


def _last(known: ir.Table) -> ir.Table:
    """The last wear, night and receipt as of each week: over 28 days, and the receipt else over all before."""
    known = known.rename(person="participant_id", known_monday="monday")
    week = _people_by_week().select(*WEEK)
    both = week.join(known, [week.participant_id == known.person, known.known_monday <= week.monday])
    recent = both.known_monday > both.monday - TRAILING_WEEKS * WEEK_DAYS
    return both.group_by(WEEK).agg(
        last_worn_date=both.worn_date.max(where=recent),
        last_night_date=both.night_date.max(where=recent),
        last_synced_at=both.received_ms.max(where=recent).fill_null(both.received_ms.max()),
    )


def _states(row: ir.Table) -> ir.Table:
    """Return the six counts: days with a row by their wear, days without one by enrolment and the last receipt."""
    absent, before, synced = [], [], []
    for day in range(WEEK_DAYS):
        number = row.monday + day
        absent.append(row[f"row_{day}"].fill_null(0) == 0)
        before.append((number < row.enrolled).fill_null(False))
        synced.append((row.last_synced_at >= (number + 1) * DAY_MS - JST_MS).fill_null(False))
    days = list(zip(absent, before, synced, strict=True))
    silent_ms = row.as_of_ms - row.last_synced_at
    return row.mutate(
        day_states=_letters(row, days),
        n_valid_days=row.n_valid.fill_null(0),
        n_valid_weekend_days=row.n_valid_weekend.fill_null(0),
        n_short_days=row.n_short.fill_null(0),
        n_unknown_days=row.n_unknown.fill_null(0),
        n_not_worn_days=row.n_unworn.fill_null(0) + _number([gone & ~early & sync for gone, early, sync in days]),
        n_not_synced_days=_number([gone & ~early & ~sync for gone, early, sync in days]),
        n_not_enrolled_days=_number([gone & early for gone, early, _ in days]),
        days_since_last_sync=ibis.cases((silent_ms < 0, 0), else_=silent_ms // DAY_MS),
    )


def _letters(row: ir.Table, days: list[tuple[ir.BooleanValue, ir.BooleanValue, ir.BooleanValue]]) -> ir.StringValue:
    """Return the seven days' states, Monday first; `days` says of each whether it is absent, too early and synced."""
    letters = [
        ibis.cases(
            (row.revoked, DAY_STATES["revoked"]),
            ((row[f"valid_{day}"] > 0).fill_null(False), DAY_STATES["valid"]),
            ((row[f"worn_{day}"] > 0).fill_null(False), DAY_STATES["short"]),
            ((row[f"unknown_{day}"] > 0).fill_null(False), DAY_STATES["unknown"]),
            (~absent, DAY_STATES["not_worn"]),
            (early, DAY_STATES["not_enrolled"]),
            (synced, DAY_STATES["not_worn"]),
            else_=DAY_STATES["not_synced"],
        )
        for day, (absent, early, synced) in enumerate(days)
    ]
    return reduce(add, letters)


def _status(row: ir.Table, thresholds: Thresholds) -> ir.Value:
    enough_days = row.n_valid_days >= thresholds.valid_week_days
    enough_weekend = row.n_valid_weekend_days >= thresholds.valid_week_weekend_days
    return ibis.cases(
        (row.revoked, "revoked"),
        (enough_days & enough_weekend, "valid"),
        (row.n_valid_days + row.n_short_days > 0, "too_short"),
        (row.n_not_enrolled_days == WEEK_DAYS, "not_enrolled"),
        (row.n_unknown_days > 0, "unknown"),
        (row.n_not_worn_days > 0, "not_worn"),
        else_="not_synced",
    )


def _number(conditions: list[ir.BooleanValue]) -> ir.Value:
    return sum(one.cast("int64") for one in conditions)
