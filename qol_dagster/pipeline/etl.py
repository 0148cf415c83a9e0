"""The weekly job itself: raw lines -> daily -> weekly and status partitions. A laptop, a test and Glue call this.

Belongs here: which days are done again, in what order, and what is reported. No orchestrator is known here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from qol_dagster.engines import EngineError
from qol_dagster.engines.fingerprint import daily_fingerprint, records_fingerprint
from qol_dagster.engines.queries import WEEKLY_STAGES
from qol_dagster.lake.fingerprints import NO_RAW, raw_fingerprint, week_fingerprint
from qol_dagster.lake.objects import map_concurrently
from qol_dagster.lake.records import NOTHING, clear_staging, forget_records, stored_records
from qol_dagster.lake.tables import by_date, concat_rows, read_partitions, set_aside, times_as_int, with_time
from qol_dagster.metrics.dictionary import DAILY, WEEKLY
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS, Thresholds
from qol_dagster.pipeline.checks import Verify, accept, refuse_failing
from qol_dagster.pipeline.clock import Clock
from qol_dagster.pipeline.days import COUNTS, ComputedDay, compute_days, update_records
from qol_dagster.pipeline.inputs import count_accounts, inherited, noted_inputs, week_code, weekly_sql
from qol_dagster.pipeline.plan import RecordsPlan, batches, plan_records, stale_days
from qol_dagster.pipeline.reports import DailyReport, DayReport, EtlReport, WeekReport
from qol_dagster.pipeline.status import materialize_status
from qol_dagster.weeks import affected_weeks, contributing_weeks, dates_of, mondays

if TYPE_CHECKING:
    from qol_dagster.engines import Engine
    from qol_dagster.identities import Identities
    from qol_dagster.lake.lake import Lake, RawObject


_OF_EACH_WEEK = {"code", "thresholds"}
"""Causes of revisions that all weeks have."""


def run_etl(
    engine: Engine,
    lake: Lake,
    weeks: Sequence[date],
    identities: Identities,
    *,
    since: date = date.min,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    force: bool = False,
    log: Callable[[str], object] = lambda _message: None,
) -> EtlReport:
    """Bring the daily, weekly and status partitions of these weeks (any date names its week) up to date.

    Weekly and status rows of other weeks follow: see `following_weeks`. Rows that fail a check are not written, nor
    what is made from them: raises ChecksError.
    """
    verify = refuse_failing({*identities.active, *identities.revoked})
    daily = materialize_daily(
        engine, lake, weeks, identities, since=since, thresholds=thresholds, force=force, log=log, verify=verify
    )
    now = datetime.now(UTC)
    weeks = [*mondays(weeks), *following_weeks(lake, daily, weeks)]
    weekly = materialize_weekly(engine, lake, weeks, computed_at=now, thresholds=thresholds, verify=verify)
    status = materialize_status(engine, lake, weeks, identities, computed_at=now, thresholds=thresholds, verify=verify)
    return EtlReport(daily, weekly, status)


def following_weeks(lake: Lake, daily: DailyReport, weeks: Sequence[date]) -> list[date]:
    """Return stored weeks beside these whose rows are made from days that have other rows since this run.

    A run computes the days that its weeks look back on, and weeks look back on its days. Not among them are weeks whose
    days other code or thresholds changed: those are all computed anew, each with all of its days (`qol upgrade`).
    """
    changed = [day.date for day in daily.days if day.cause and _OF_EACH_WEEK.isdisjoint(day.cause.split("+"))]
    stored = {*lake.table_dates("weekly")} - {*mondays(weeks)} if changed else set()
    return [week for week in affected_weeks(changed) if week in stored]


def materialize_daily(
    engine: Engine,
    lake: Lake,
    weeks: Sequence[date],
    identities: Identities,
    *,
    since: date = date.min,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    force: bool = False,
    log: Callable[[str], object] = lambda _message: None,
    verify: Verify = accept,
) -> DailyReport:
    """Write the daily partitions that the rows of these weeks are made from, where their inputs changed.

    The weeks before, from `since` on, are among them: the `..._28d` columns look back, and must come out the same
    whichever week is run first. A day is left as it is when the fingerprint kept with it says that its raw files, the
    code, the enrolments and the thresholds are the same; with `force`, never in the weeks that were named. Raw files
    are parsed once: what changed otherwise is computed from the stored records, which `force` makes again too.
    Raises LakeError, EngineError or what `verify` raises; partitions not yet reached then keep their old rows.
    """
    named = {day for week in mondays(weeks) for day in dates_of(week)}
    clock = Clock()
    with lake.lock():
        with clock("list raw files"):
            days = [day for week in contributing_weeks(weeks) for day in dates_of(week) if day in named or day >= since]
            listed = map_concurrently(lake.raw_objects, days)
            raw = {day: found for day, found in listed.items() if found or day in named}
        code = code_fingerprint(engine, thresholds, identities)
        wanted = {day: {"raw": raw_fingerprint(found), "code": code} for day, found in raw.items()}
        with clock("compare fingerprints"):
            noted = map_concurrently(partial(lake.checked_metadata, "daily"), raw)
            notes = {day: found or {} for day, found in noted.items()}
            forced = named if force else set()
            stale = stale_days(wanted, notes, forced)
            reading = records_fingerprint(engine.name, engine.reading)
            reused = [day for day in stale if day not in forced]
            stored = map_concurrently(partial(stored_records, lake, reading=reading), reused)
            plans = {day: plan_records(raw[day], stored.get(day, NOTHING)) for day in stale}
        computer = _Computer(engine, lake, engine.queries(thresholds), reading, clock, log)
        made_from = partial(
            noted_inputs,
            people=identities.fingerprint(),
            code=[daily_fingerprint(engine.queries(thresholds), engine.reading)],
            thresholds=thresholds,
            counts=count_accounts(identities),
            engine=engine.name,
        )
        done: dict[date, DayReport] = {}
        if plans:
            clear_staging(lake)
            engine.load_table("participants", identities.as_table())
        for batch in batches(plans, engine.batch_bytes):
            computed, parsed = computer.compute(batch)
            with clock("write daily"):
                for day, everyone in computed.items():
                    verify("daily", day, everyone.rows, int(everyone.counts.get("records") or 0))
                    found = replace(everyone, rows=identities.without_withdrawn(everyone.rows, day))
                    metadata = {**wanted[day], "rows": found.rows.num_rows, "counts": dict(found.counts)}
                    metadata["set_aside"] = dict(found.set_aside)
                    notes_now = {**metadata, **made_from(raw=wanted[day]["raw"])}
                    revision = lake.revise("daily", day, found.rows, notes_now)
                    report = _day_report(day, raw[day], found.rows.num_rows, found.counts, parsed[day])
                    done[day] = replace(report, cause=revision.cause if revision else "")
    reports = [done[day] if day in done else _reused_day(day, raw[day], notes[day]) for day in sorted(raw)]
    return DailyReport(tuple(reports), clock.seconds)


@dataclass(frozen=True)
class _Computer:
    engine: Engine
    lake: Lake
    sql: Mapping[str, str]
    reading: str
    clock: Clock
    log: Callable[[str], object]

    def compute(self, plans: Mapping[date, RecordsPlan]) -> tuple[dict[date, ComputedDay], dict[date, int]]:
        """Parse and compute what is planned, and return the days and how many raw bytes were parsed for each.

        Stored records that cannot be read are made again from all raw files.
        """
        try:
            return self._compute(plans)
        except EngineError as error:
            reused = [day for day, plan in plans.items() if plan.stored.parts]
            if not reused:
                raise
            self.log(f"stored records of {reused[0]} to {reused[-1]} are of no use and made again ({error})")
            forget_records(self.lake, reused)
            return self._compute({day: plan_records(plan.files, NOTHING) for day, plan in plans.items()})

    def _compute(self, plans: Mapping[date, RecordsPlan]) -> tuple[dict[date, ComputedDay], dict[date, int]]:
        first, last, files = min(plans), max(plans), sum(len(plan.new) for plan in plans.values())
        self.log(f"computing {first} to {last}; raw files to parse: {files:,}")
        with self.clock("parse raw"):
            records = update_records(self.engine, self.lake, self.reading, plans)
        computed = compute_days(self.engine, self.lake, self.sql, records, self.clock)
        return computed, {day: plan.bytes_to_parse for day, plan in plans.items()}


def materialize_weekly(
    engine: Engine,
    lake: Lake,
    weeks: Sequence[date],
    *,
    computed_at: datetime,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    verify: Verify = accept,
) -> tuple[WeekReport, ...]:
    """Write the weekly partitions of these weeks from the daily ones, each replaced whole."""
    clock = Clock()
    chosen = mondays(weeks)
    with lake.lock():
        with clock("read daily"):
            days = [day for week in contributing_weeks(chosen) for day in dates_of(week)]
            daily = read_partitions(lake, "daily", days, DAILY)
            raw = {day: str(daily[day].notes.get("raw", NO_RAW)) if day in daily else NO_RAW for day in days}
            engine.load_table("daily_metrics", times_as_int(concat_rows((part.rows for part in daily.values()), DAILY)))
        with clock("compute weekly"):
            sql = engine.queries(thresholds)
            for name in WEEKLY_STAGES:
                engine.keep(name, sql[name], in_order=True)
            found = engine.run(sql["weekly_rows"], in_order=True)
            rows = by_date(with_time(found, computed_at), WEEKLY, chosen)
        aside, causes = {}, {}
        with clock("write weekly"):
            for week in chosen:
                rows[week], aside[week] = set_aside(rows[week], WEEKLY)
                own_days = [day for day in dates_of(week) if day in daily]
                verify("weekly", week, rows[week], sum(daily[day].rows.num_rows for day in own_days))
                seen = [day for one in contributing_weeks([week]) for day in dates_of(one)]
                people, code, counts = inherited([daily[day].notes for day in seen if day in daily])
                made_from = noted_inputs(
                    raw=(fingerprint := week_fingerprint(raw[day] for day in seen)),
                    people=people,
                    code=[*code, *weekly_sql(sql)],
                    thresholds=thresholds,
                    counts=counts,
                    engine=engine.name,
                )
                own = [str(daily[day].notes.get("code")) for day in own_days]
                notes = {
                    "raw": fingerprint,
                    "set_aside": aside[week],
                    "code": week_code(own, weekly_sql(sql)),
                    **made_from,
                    **thresholds.as_dict(),
                }
                revision = lake.revise("weekly", week, rows[week], notes)
                causes[week] = revision.cause if revision else ""
    return tuple(
        WeekReport(
            week,
            rows[week].num_rows,
            lake.partition_uri("weekly", week),
            clock.seconds,
            sum(aside[week].values()),
            causes[week],
        )
        for week in chosen
    )


def _day_report(
    day: date, objects: Sequence[RawObject], rows: int, counts: Mapping[str, Any], parsed: int | None
) -> DayReport:
    full = {name: int(counts.get(name) or 0) for name in COUNTS}
    raw_bytes = sum(item.size for item in objects)
    return DayReport(day, parsed is None, rows, len(objects), raw_bytes, parsed or 0, full)


def code_fingerprint(engine: Engine, thresholds: Thresholds, identities: Identities) -> str:
    """Changes with all that makes a row of a date but its raw files."""
    code = daily_fingerprint(engine.queries(thresholds), engine.reading)
    parts = (engine.name, code, str(thresholds.as_dict()), identities.fingerprint())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _reused_day(day: date, objects: Sequence[RawObject], notes: Mapping[str, Any]) -> DayReport:
    return _day_report(day, objects, int(notes["rows"]), notes["counts"], None)
