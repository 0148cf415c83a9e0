"""The weekly job itself: raw lines -> daily -> weekly and status partitions. A laptop, a test and Glue call this.

Belongs here: which days are done again, in what order, and what is reported. No orchestrator is known here.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any

from qol_dagster.days import COUNTS, DayComputer
from qol_dagster.engines.queries import WEEKLY_STAGES
from qol_dagster.metrics.dictionary import (
    DAILY,
    DEFAULT_THRESHOLDS,
    METRICS_VERSION,
    READ_BY_STATUS,
    STATUS,
    TRAILING_WEEKS,
    WEEKLY,
    Thresholds,
    by_name,
)
from qol_dagster.resources.storage import at_once
from qol_dagster.tables import by_date, read_partitions, read_rows, times_as_int, together, with_time

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.engines import Engine
    from qol_dagster.resources.storage import Lake, RawObject

WEEKLY_RUN = timedelta(days=9, minutes=5)
"""From a week's Monday, 00:00 UTC, to the weekly run that looks at it: Wednesday, 09:05 in Japan."""


@dataclass(frozen=True)
class Identities:
    """The id map as the job needs it: Garmin user id -> participant id, and the ids of revoked users.

    `enrolled`: participant id -> date in Japan of the first enrolment, of all who ever were.
    """

    active: Mapping[str, str]
    revoked: frozenset[str] = frozenset()
    enrolled: Mapping[str, date] = field(default_factory=dict)

    def accounts_with(self, users: Iterable[str]) -> dict[str, str]:
        """User id -> participant id, of all accounts of the participants that these users are."""
        participants = {self.active[user] for user in users if user in self.active}
        return {user: participant for user, participant in self.active.items() if participant in participants}

    def fingerprint(self) -> str:
        """Changes when anybody is enrolled, revoked or renamed; tells no id. A date of enrolment changes no metric."""
        digest = hashlib.sha256()
        for user, participant in sorted(self.active.items()):
            digest.update(f"{user}\0{participant}\n".encode())
        for user in sorted(self.revoked):
            digest.update(f"{user}\0\0\n".encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class DayReport:
    """One date: whether its rows were reused, and what its raw lines held. `counts` has the keys of `COUNTS`."""

    date: date
    reused: bool
    rows: int
    files: int
    raw_bytes: int
    counts: Mapping[str, int]

    @property
    def bytes_read(self) -> int:
        """Raw bytes read in this run."""
        return 0 if self.reused else self.raw_bytes


@dataclass(frozen=True)
class DailyReport:
    """The dates of a run in order, and the seconds each stage took."""

    days: tuple[DayReport, ...]
    seconds: Mapping[str, float]

    def of(self, weeks: Sequence[date]) -> list[DayReport]:
        """The dates of these weeks."""
        named = set(mondays(weeks))
        return [day for day in self.days if monday_of(day.date) in named]


@dataclass(frozen=True)
class WeekReport:
    """One week's rows and where they lie."""

    week: date
    rows: int
    uri: str
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class EtlReport:
    """What a whole run did."""

    daily: DailyReport
    weekly: tuple[WeekReport, ...]
    status: tuple[WeekReport, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "days": [vars(one) | {"date": str(one.date), "counts": dict(one.counts)} for one in self.daily.days],
            "seconds": dict(self.daily.seconds),
            **{
                table: [vars(one) | {"week": str(one.week), "seconds": dict(one.seconds)} for one in weeks]
                for table, weeks in (("weekly", self.weekly), ("status", self.status))
            },
        }

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> EtlReport:
        """The report that `as_dict` gave. Raises ValueError for anything else."""
        try:
            days = tuple(DayReport(**one | {"date": date.fromisoformat(one["date"])}) for one in told["days"])
            weekly, status = (
                tuple(WeekReport(**one | {"week": date.fromisoformat(one["week"])}) for one in told[table])
                for table in ("weekly", "status")
            )
            return cls(DailyReport(days, told["seconds"]), weekly, status)
        except (KeyError, TypeError) as error:
            raise ValueError("that is no report of a weekly run") from error


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
    """Bring the daily, weekly and status partitions of these weeks (any date names its week) up to date."""
    daily = materialize_daily(engine, lake, weeks, identities, since=since, thresholds=thresholds, force=force, log=log)
    now = datetime.now(UTC)
    weekly = materialize_weekly(engine, lake, weeks, computed_at=now, thresholds=thresholds)
    status = materialize_status(engine, lake, weeks, identities, computed_at=now, thresholds=thresholds)
    return EtlReport(daily, weekly, status)


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
) -> DailyReport:
    """Write the daily partitions that the rows of these weeks are made from, where their inputs changed.

    The weeks before, from `since` on, are among them: the `..._28d` columns look back, and must come out the same
    whichever week is run first. A day is left as it is when the fingerprint kept with it says that its raw files, the
    code, the enrolments and the thresholds are the same; with `force`, never in the weeks that were named. Where files
    came late and all else is the same, only the rows of those whom they tell of are made again.
    Raises LakeError or EngineError; partitions not yet reached then keep their old rows.
    """
    named = {day for week in mondays(weeks) for day in days_of(week)}
    clock = _Clock()
    with lake.lock():
        with clock("list raw files"):
            days = [day for week in looked_at(weeks) for day in days_of(week) if day in named or day >= since]
            listed = at_once(lake.raw_objects, days)
            raw = {day: found for day, found in listed.items() if found or day in named}
        code = _code_fingerprint(engine.name, thresholds, identities)
        wanted = {day: {"raw": raw_fingerprint(found), "code": code} for day, found in raw.items()}
        with clock("compare fingerprints"):
            notes = {day: found or {} for day, found in at_once(partial(lake.partition_metadata, "daily"), raw).items()}
        stale = [day for day in raw if (force and day in named) or not _noted(notes[day], wanted[day])]
        computer = DayComputer(engine, lake, identities, thresholds, clock)
        late = {
            day: new
            for day in stale
            if not force and notes[day].get("code") == code and (new := computer.late(raw[day], notes[day]))
        }
        done: dict[date, DayReport] = {}
        for batch in _batches({day: raw[day] for day in stale}, engine.batch_bytes):
            log(f"computing {batch[0]} to {batch[-1]} from {sum(len(raw[day]) for day in batch):,} raw files")
            computed = computer.whole({day: raw[day] for day in batch if day not in late})
            if some := {day: late[day] for day in batch if day in late}:
                seen = {day: notes[day]["counts"] for day in some}
                computed |= computer.renewed({day: raw[day] for day in some}, some, seen)
            with clock("write daily"):
                for day in batch:
                    done[day] = _day_report(
                        day, raw[day], computed[day].rows.num_rows, computed[day].counts, reused=False
                    )
                    noted = {**wanted[day], **computer.notes(raw[day], computed[day])}
                    lake.write_table("daily", day, computed[day].rows, noted)
    reports = [done[day] if day in done else _reused(day, raw[day], notes[day]) for day in sorted(raw)]
    return DailyReport(tuple(reports), clock.seconds)


def materialize_weekly(
    engine: Engine,
    lake: Lake,
    weeks: Sequence[date],
    *,
    computed_at: datetime,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> tuple[WeekReport, ...]:
    """Write the weekly partitions of these weeks from the daily ones, each replaced whole."""
    clock = _Clock()
    chosen = mondays(weeks)
    with lake.lock():
        with clock("read daily"):
            days = [day for week in looked_at(chosen) for day in days_of(week)]
            daily = read_partitions(lake, "daily", days, DAILY)
            raw = {day: str(daily[day].notes.get("raw", NO_RAW)) if day in daily else NO_RAW for day in days}
            engine.load_table("daily_metrics", times_as_int(together((part.rows for part in daily.values()), DAILY)))
        with clock("compute weekly"):
            sql = engine.queries(thresholds)
            for name in WEEKLY_STAGES:
                engine.keep(name, sql[name], in_order=True)
            found = engine.run(sql["weekly_rows"], in_order=True)
            rows = by_date(with_time(found, computed_at), WEEKLY, chosen)
        with clock("write weekly"):
            for week in chosen:
                seen = [raw[day] for one in looked_at([week]) for day in days_of(one)]
                notes = {
                    "raw": _week_fingerprint(seen),
                    "metrics_version": METRICS_VERSION,
                    "engine": engine.name,
                    **thresholds.as_dict(),
                }
                lake.write_table("weekly", week, rows[week], notes)
    return tuple(
        WeekReport(week, rows[week].num_rows, lake.partition_uri("weekly", week), clock.seconds) for week in chosen
    )


def materialize_status(
    engine: Engine,
    lake: Lake,
    weeks: Sequence[date],
    identities: Identities,
    *,
    computed_at: datetime,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> tuple[WeekReport, ...]:
    """Write the status partitions of these weeks, a row for everyone enrolled, each partition replaced whole.

    To be called after the daily and weekly partitions are up to date: they are what it is made from.
    """
    clock = _Clock()
    chosen = mondays(weeks)
    with lake.lock():
        with clock("read daily"):
            seen = looked_at(chosen)
            parts = read_partitions(lake, "daily", [day for week in seen for day in days_of(week)], READ_BY_STATUS)
            daily = {
                week: together((parts[day].rows for day in days_of(week) if day in parts), READ_BY_STATUS)
                for week in seen
            }
            engine.load_table("daily_metrics", times_as_int(together(daily.values(), READ_BY_STATUS)))
        with clock("read earlier weeks"):
            silent = _silent(set(identities.active.values()), chosen, daily)
            engine.load_table("earlier_weeks", times_as_int(_earlier_weeks(lake, chosen, silent)))
        with clock("compute status"):
            engine.load_table("people", _people(identities))
            engine.load_table("weeks", _weeks(chosen, computed_at))
            found = engine.run(engine.queries(thresholds)["status_rows"])
            by_week = by_date(with_time(found, computed_at), STATUS, chosen)
        with clock("write status"):
            notes = {"metrics_version": METRICS_VERSION, "engine": engine.name, **thresholds.as_dict()}
            for week in chosen:
                lake.write_table("status", week, by_week[week], notes)
    return tuple(
        WeekReport(week, by_week[week].num_rows, lake.partition_uri("status", week), clock.seconds) for week in chosen
    )


def mondays(days: Sequence[date]) -> list[date]:
    """The Mondays of the ISO weeks that these dates lie in, each once, in order."""
    return sorted({monday_of(day) for day in days})


def monday_of(day: date) -> date:
    """The Monday of a date's ISO week."""
    return day - timedelta(days=day.weekday())


def looked_at(weeks: Sequence[date]) -> list[date]:
    """The Mondays of all weeks that the rows of these weeks are made from: the `..._28d` columns look back."""
    return mondays([week - timedelta(weeks=back) for week in weeks for back in range(TRAILING_WEEKS)])


def touched_by(days: Sequence[date]) -> list[date]:
    """The Mondays of all weeks whose rows these dates have a part in."""
    return mondays([day + timedelta(weeks=later) for day in days for later in range(TRAILING_WEEKS)])


def stale_weeks(lake: Lake, days: Sequence[date], since: date = date.min) -> list[date]:
    """The Mondays of the weeks touched by these dates that were not made from the raw files that lie there now.

    Weeks without any raw file or row have nothing to repair. Days before `since` are not computed anew.
    """

    @cache
    def fingerprint(day: date) -> str:
        if day < since:
            return str((lake.partition_metadata("daily", day) or {}).get("raw", NO_RAW))
        return raw_fingerprint(lake.raw_objects(day))

    def is_stale(week: date) -> bool:
        notes = lake.partition_metadata("weekly", week)
        if notes is None and not any(lake.raw_objects(day) for day in days_of(week)):
            return False
        now = _week_fingerprint(fingerprint(day) for one in looked_at([week]) for day in days_of(one))
        return (notes or {}).get("raw") != now

    return [week for week in touched_by(days) if is_stale(week)]


def days_of(week: date) -> list[date]:
    """The seven dates of a week."""
    return [week + timedelta(days=number) for number in range(7)]


def code_version() -> str:
    """Changes with the code that makes a daily row, so that rows of older code are made again; not with its words."""
    columns = [(metric.name, metric.type) for metric in DAILY]
    digest = hashlib.sha256(repr((METRICS_VERSION, columns)).encode())
    for room, names in (("metrics", ("fields", "daily")), ("engines", ("duckdb", "lines", "spark", "sql"))):
        for name in names:
            digest.update(resources.files(f"qol_dagster.{room}").joinpath(f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def _people(identities: Identities) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415

    active = set(identities.active.values())
    people = sorted(active | identities.enrolled.keys())
    dates = [str(identities.enrolled[one]) if one in identities.enrolled else None for one in people]
    return pa.table(
        {
            "participant_id": pa.array(people, pa.string()),
            "enrolled_date": pa.array(dates, pa.string()),
            "revoked": pa.array([one not in active for one in people], pa.bool_()),
        }
    )


def _weeks(chosen: Sequence[date], computed_at: datetime) -> pa.Table:
    """The weeks, each with the time at which it is looked at: the same whenever a past one is computed again."""
    import pyarrow as pa  # noqa: PLC0415

    looks = [min(computed_at, datetime(week.year, week.month, week.day, tzinfo=UTC) + WEEKLY_RUN) for week in chosen]
    times = pa.array(looks, pa.timestamp("ms", tz="UTC")).cast(pa.int64())
    return pa.table({"date": pa.array([str(week) for week in chosen], pa.string()), "as_of_ms": times})


def _silent(everyone: set[str], chosen: Sequence[date], daily: Mapping[date, pa.Table]) -> set[str]:
    """Those of whom nothing came in all the weeks that the rows of one of the chosen weeks are made from."""
    import pyarrow.compute as pc  # noqa: PLC0415

    heard = {
        week: set(rows.filter(pc.is_valid(rows["last_received_at"]))["participant_id"].unique().to_pylist())
        for week, rows in daily.items()
    }
    return {one for week in chosen for one in everyone.difference(*(heard[seen] for seen in looked_at([week])))}


def _earlier_weeks(lake: Lake, chosen: Sequence[date], silent: set[str]) -> pa.Table:
    """When something of the silent last came, by week, from the weekly rows: those of daily rows were looked at."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    known = set(looked_at(chosen))
    weeks = [week for week in lake.table_dates("weekly") if week < chosen[-1] and week not in known] if silent else []
    columns = [by_name(WEEKLY)[name] for name in ("participant_id", "date", "last_received_at")]
    rows = read_rows(lake, "weekly", weeks, columns)
    return rows.filter(pc.is_in(rows["participant_id"], pa.array(sorted(silent), pa.string())))


def _batches(raw: Mapping[date, Sequence[RawObject]], largest: int) -> Iterator[list[date]]:
    """The dates in runs of at most so many bytes (or one date)."""
    batch: list[date] = []
    size = 0
    for day in sorted(raw):
        day_bytes = sum(item.size for item in raw[day])
        if batch and size + day_bytes > largest:
            yield batch
            batch, size = [], 0
        batch.append(day)
        size += day_bytes
    if batch:
        yield batch


def raw_fingerprint(objects: Sequence[RawObject]) -> str:
    """Changes when a raw file of the date comes, goes or is written again."""
    digest = hashlib.sha256()
    for item in objects:
        digest.update(f"{item.key}\0{item.size}\0{item.etag}\n".encode())
    return digest.hexdigest()[:32]


def _week_fingerprint(days: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(days).encode()).hexdigest()[:32]


def _day_report(
    day: date, objects: Sequence[RawObject], rows: int, counts: Mapping[str, Any], *, reused: bool
) -> DayReport:
    full = {name: int(counts.get(name) or 0) for name in COUNTS}
    return DayReport(day, reused, rows, len(objects), sum(item.size for item in objects), full)


def _code_fingerprint(engine: str, thresholds: Thresholds, identities: Identities) -> str:
    parts = (engine, code_version(), str(thresholds.as_dict()), identities.fingerprint())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _noted(notes: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(notes.get(name) == value for name, value in wanted.items())


def _reused(day: date, objects: Sequence[RawObject], notes: Mapping[str, Any]) -> DayReport:
    return _day_report(day, objects, int(notes["rows"]), notes["counts"], reused=True)


NO_RAW = raw_fingerprint(())


@dataclass(frozen=True)
class _Clock:
    """Seconds by stage, added up."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started
