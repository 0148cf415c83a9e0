"""Whether both engines give the same rows for one lake.

Belongs here: running both over the same raw files and comparing every column of every table but `computed_at`.
"""

from __future__ import annotations

import csv

import pyarrow as pa

from benchmarks.check import RELATIVE
from benchmarks.lakes import Sample
from qol_dagster.engines import ENGINES, EngineName, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import TABLES
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline.etl import run_etl

NOT_COMPARED = ("computed_at", "days_since_last_sync")
"""The run's own time, and what counts from it."""


def compared(sample: Sample) -> list[tuple[str, ...]]:
    """Return a row for each table: name, rows, columns, values, differences. Floats may differ by 1e-9 of them."""
    lakes = {name: _computed(sample, name) for name in ENGINES}
    return [
        _compared(table, *(_rows(lakes[name], table) for name in ENGINES)) for table in ("daily", "weekly", "status")
    ]


def _computed(sample: Sample, name: EngineName) -> Lake:
    with sample.people.open() as file:
        who = {row["user_id"]: row["participant_id"] for row in csv.DictReader(file)}
    people = Identities(who, enrolled=dict.fromkeys(who.values(), sample.mondays[0]))
    lake = Lake.local(sample.lake, f"processed-{name}")
    with open_engine(name, memory_mb=4096, temp_dir=sample.home / "tmp") as engine:
        run_etl(engine, lake, sample.mondays, people)
    return lake


def _rows(lake: Lake, table: TableName) -> pa.Table:
    found = [lake.read_table(table, day) for day in lake.table_dates(table)]
    rows = pa.concat_tables([rows for rows in found if rows is not None])
    return rows.sort_by([("participant_id", "ascending"), ("date", "ascending")])


def _compared(table: TableName, ours: pa.Table, theirs: pa.Table) -> tuple[str, ...]:
    columns = [metric.name for metric in TABLES[table] if metric.name not in NOT_COMPARED]
    different = abs(ours.num_rows - theirs.num_rows)
    for name in columns:
        pairs = zip(ours[name].to_pylist(), theirs[name].to_pylist(), strict=False)
        different += sum(not _alike(one, other) for one, other in pairs)
    values = ours.num_rows * len(columns)
    return table, f"{ours.num_rows:,}", str(len(columns)), f"{values:,}", str(different)


def _alike(one: object, other: object) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= RELATIVE * max(abs(one), abs(other))
    return one == other
