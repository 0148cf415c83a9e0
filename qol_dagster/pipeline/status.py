"""The status partitions: a row for everyone enrolled and each week, computed from daily and earlier weekly rows.

Belongs here: reading the inputs of the status and writing its partitions. Its expressions are `metrics/status.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from qol_dagster.lake.fingerprints import NO_RAW, week_fingerprint
from qol_dagster.lake.tables import by_date, concat_rows, read_partitions, read_rows, times_as_int, with_time
from qol_dagster.metrics.dictionary import READ_BY_STATUS, STATUS, WEEKLY, by_name
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS, Thresholds
from qol_dagster.pipeline.checks import Verify, accept
from qol_dagster.pipeline.clock import Clock
from qol_dagster.pipeline.inputs import count_accounts, inherited, noted_inputs, people_fingerprint, week_code
from qol_dagster.pipeline.reports import WeekReport
from qol_dagster.weeks import contributing_weeks, dates_of, mondays, weekly_run_of

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.engines import Engine
    from qol_dagster.identities import Identities
    from qol_dagster.lake.lake import Lake


def materialize_status(
    engine: Engine,
    lake: Lake,
    weeks: Sequence[date],
    identities: Identities,
    *,
    computed_at: datetime,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    verify: Verify = accept,
) -> tuple[WeekReport, ...]:
    """Write the status partitions of these weeks, a row for everyone enrolled, each partition replaced whole.

    To be called after the daily and weekly partitions are up to date: they are what it is made from.
    """
    clock = Clock()
    chosen = mondays(weeks)
    with lake.lock():
        with clock("read daily"):
            seen = contributing_weeks(chosen)
            parts = read_partitions(lake, "daily", [day for week in seen for day in dates_of(week)], READ_BY_STATUS)
            daily = {
                week: concat_rows((parts[day].rows for day in dates_of(week) if day in parts), READ_BY_STATUS)
                for week in seen
            }
            engine.load_table("daily_metrics", times_as_int(concat_rows(daily.values(), READ_BY_STATUS)))
        with clock("read earlier weeks"):
            silent = _silent(identities.participants_with_health_data(), chosen, daily)
            engine.load_table("earlier_weeks", times_as_int(_earlier_weeks(lake, chosen, silent)))
        with clock("compute status"):
            engine.load_table("people", _people(identities))
            engine.load_table("weeks", _weeks(chosen, computed_at))
            sql = engine.queries(thresholds)["status_rows"]
            found = engine.run(sql)
            by_week = by_date(with_time(found, computed_at), STATUS, chosen)
            for week, rows in by_week.items():
                verify("status", week, rows, len(identities.enrolled))
            by_week = {week: identities.without_withdrawn(rows, week) for week, rows in by_week.items()}
        with clock("write status"):
            causes = {}
            for week in chosen:
                days = [day for one in contributing_weeks([week]) for day in dates_of(one)]
                of_days = [parts[day].notes for day in days if day in parts]
                made_from = noted_inputs(
                    raw=week_fingerprint(str(one.get("raw", NO_RAW)) for one in of_days),
                    people=people_fingerprint(identities),
                    code=[*inherited(of_days)[1], sql],
                    thresholds=thresholds,
                    counts=count_accounts(identities),
                    engine=engine.name,
                )
                own = [str(parts[day].notes.get("code")) for day in dates_of(week) if day in parts]
                notes = {"code": week_code(own, [sql]), **made_from, **thresholds.as_dict()}
                revision = lake.revise("status", week, by_week[week], notes, otherwise="time")
                causes[week] = revision.cause if revision else ""
    return tuple(
        WeekReport(week, by_week[week].num_rows, lake.partition_uri("status", week), clock.seconds, cause=causes[week])
        for week in chosen
    )


def _people(identities: Identities) -> pa.Table:
    import pyarrow as pa

    active = identities.participants_with_health_data()
    people = sorted({*identities.active.values(), *identities.enrolled})
    dates = [str(identities.enrolled[one]) if one in identities.enrolled else None for one in people]
    return pa.table(
        {
            "participant_id": pa.array(people, pa.string()),
            "enrolled_date": pa.array(dates, pa.string()),
            "revoked": pa.array([one not in active for one in people], pa.bool_()),
        }
    )


def _weeks(chosen: Sequence[date], computed_at: datetime) -> pa.Table:
    """Return the weeks, each with the time at which it is looked at: the same whenever a past one is computed again."""
    import pyarrow as pa

    looks = [min(computed_at, weekly_run_of(week)) for week in chosen]
    times = pa.array(looks, pa.timestamp("ms", tz="UTC")).cast(pa.int64())
    return pa.table({"date": pa.array([str(week) for week in chosen], pa.string()), "as_of_ms": times})


def _silent(everyone: set[str], chosen: Sequence[date], daily: Mapping[date, pa.Table]) -> set[str]:
    """Return those of whom nothing came in all the weeks that the rows of one of the chosen weeks are made from."""
    import pyarrow.compute as pc

    heard = {
        week: set(rows.filter(pc.is_valid(rows["last_received_at"]))["participant_id"].unique().to_pylist())
        for week, rows in daily.items()
    }
    return {
        one for week in chosen for one in everyone.difference(*(heard[seen] for seen in contributing_weeks([week])))
    }


def _earlier_weeks(lake: Lake, chosen: Sequence[date], silent: set[str]) -> pa.Table:
    """When something of the silent last came, by week, from the weekly rows: those of daily rows were looked at."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = set(contributing_weeks(chosen))
    weeks = [week for week in lake.table_dates("weekly") if week < chosen[-1] and week not in known] if silent else []
    columns = [by_name(WEEKLY)[name] for name in ("participant_id", "date", "last_received_at")]
    rows = read_rows(lake, "weekly", weeks, columns)
    return rows.filter(pc.is_in(rows["participant_id"], pa.array(sorted(silent), pa.string())))
