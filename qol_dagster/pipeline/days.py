"""Rows of dates: raw files to stored records, and stored records to daily rows and counts.

Belongs here: the order in which an engine is asked. Which dates are computed, and what is parsed, `plan.py` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from qol_dagster.engines import Engine, RawFile, RecordsUpdate
from qol_dagster.engines.queries import register_daily_stages
from qol_dagster.lake.records import NOTHING, StoredRecords, forget_records, new_staging, store_records
from qol_dagster.lake.tables import arrow_schema, by_date, set_aside
from qol_dagster.metrics.dictionary import DAILY

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.lake.lake import Lake, RawObject
    from qol_dagster.pipeline.clock import Clock
    from qol_dagster.pipeline.plan import RecordsPlan

COUNTS = (
    "lines",
    "users",
    "types",
    "last_received_ms",
    "unreadable",
    "misfiled",
    "superseded",
    "other_account",
    "unmapped_records",
    "unmapped_users",
    "revoked_records",
    "unknown_type_records",
    "records",
    "values_set_aside",
)
MOST_PARTS = 8
"""Files of a date's records; before there are more they are made one."""


@dataclass(frozen=True)
class ComputedDay:
    """A date's rows, with the dictionary's columns, and by `COUNTS` what its raw lines held.

    `set_aside`: by column how many values could not be and are null now.
    """

    rows: pa.Table
    counts: Mapping[str, int]
    set_aside: Mapping[str, int] = field(default_factory=dict)


def update_records(
    engine: Engine, lake: Lake, reading: str, plans: Mapping[date, RecordsPlan]
) -> dict[date, StoredRecords]:
    """Parse what is new, store it with what stays, and return the records of these dates."""
    changed = {day: plan for day, plan in plans.items() if plan.files and not plan.is_current}
    found = {day: plan.stored if plan.files else NOTHING for day, plan in plans.items()}
    forget_records(lake, [day for day, plan in plans.items() if not plan.files])
    if changed:
        staging = new_staging()
        beside = {day: plan.stored.parts for day, plan in changed.items() if engine.appends and _may_stay(plan)}
        updates = {
            day: RecordsUpdate(
                _located(lake, plan.new), [lake.uri(key) for key in plan.stored.parts if day not in beside], plan.keep
            )
            for day, plan in changed.items()
        }
        engine.write_records(updates, lake.uri(staging))
        found |= store_records(lake, staging, reading, {day: plan.files for day, plan in changed.items()}, beside)
    return found


def _may_stay(plan: RecordsPlan) -> bool:
    """Whether what is new comes beside the stored files: all in them stays, and they are not too many."""
    return plan.keep is None and len(plan.stored.parts) < MOST_PARTS


def compute_days(
    engine: Engine, lake: Lake, sql: Mapping[str, str], records: Mapping[date, StoredRecords], clock: Clock
) -> dict[date, ComputedDay]:
    """Return everybody's rows of these dates from their records. The engine has the table `participants`."""
    parts = {day: [lake.uri(key) for key in found.parts] for day, found in records.items() if found.parts}
    if not parts:
        nothing = arrow_schema(DAILY).empty_table()
        return {day: ComputedDay(nothing, dict.fromkeys(COUNTS, 0)) for day in records}
    with clock("select records"):
        engine.load_records(parts)
        register_daily_stages(engine, sql)
    with clock("compute daily"):
        rows = by_date(engine.run(sql["daily_rows"]), DAILY, list(records))
    with clock("count"):
        counted = {row["date"]: row for row in engine.run(sql["day_counts"]).to_pylist()}
    found = {}
    for day in records:
        kept, beyond = set_aside(rows[day], DAILY)
        counts = {**counted.get(str(day), {}), "values_set_aside": sum(beyond.values())}
        found[day] = ComputedDay(kept, {name: int(counts.get(name) or 0) for name in COUNTS}, beyond)
    return found


def _located(lake: Lake, files: Sequence[RawObject]) -> list[RawFile]:
    return [RawFile(lake.uri(item.key), item.size) for item in files]
