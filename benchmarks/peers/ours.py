"""Ours: the product's daily and weekly tables, as `qol materialize` makes them inside Dagster.

The third table, of the participants' status, no peer has.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute  # before the clock starts, as what the peers import
import pyarrow.parquet as pq

from benchmarks.peers.program import Work, run_peer, work_of_command_line
from qol_dagster.engines import ENGINES, Engine, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline.etl import materialize_daily, materialize_weekly
from qol_dagster.weeks import mondays

ENGINE = next(name for name in ENGINES if name == os.environ.get("BENCH_ENGINE", "duckdb"))
PROFILE = next(one for name, one in PROFILES.items() if name == os.environ.get("BENCH_PROFILE", "default"))
ANEW = "BENCH_CONTINUE" not in os.environ
MEMORY_MB = int(os.environ.get("BENCH_MEMORY_MB", "1536"))


def compute(work: Work, engine: Engine) -> None:
    """Both tables of all weeks of the lake, and its records, with the SQL that an earlier run has kept.

    From nothing, or from what an earlier run has left.
    """
    if ANEW:
        for folder in (PROFILE.folder, "records"):
            shutil.rmtree(work.lake / folder, ignore_errors=True)
    with work.people.open() as file:
        people = Identities({row["user_id"]: row["participant_id"] for row in csv.DictReader(file)})
    lake, limits = Lake.local(work.lake, PROFILE.folder), PROFILE.thresholds
    weeks = mondays(lake.raw_days())
    daily = materialize_daily(engine, lake, weeks, people, since=min(weeks), thresholds=limits)
    weekly = materialize_weekly(engine, lake, weeks, computed_at=datetime.now(UTC), thresholds=limits)
    _note(work.out, {**daily.seconds, **weekly[0].seconds})


def _note(out: Path, stages: Mapping[str, float]) -> None:
    (out / "stages.txt").write_text("\n".join(f"{name}: {seconds:.3f} s" for name, seconds in stages.items()) + "\n")


def gather(work: Work) -> None:
    """All partitions as one file a table, as the peers write them, for the comparison."""
    lake = Lake.local(work.lake, PROFILE.folder)
    if not any(work.lake.glob("records/date=*/*.parquet")):
        raise AssertionError("records are written within the time that is measured")
    tables: tuple[TableName, ...] = ("daily", "weekly")
    for table in tables:
        found = [lake.read_table(table, day) for day in lake.table_dates(table)]
        rows = pa.concat_tables([rows for rows in found if rows is not None])
        pq.write_table(rows, work.out / f"{table}.parquet")


if __name__ == "__main__":
    asked = work_of_command_line()
    with open_engine(ENGINE, memory_mb=MEMORY_MB, temp_dir=asked.out / "tmp") as opened:
        opened.queries(PROFILE.thresholds)
        run_peer(lambda work: compute(work, opened), afterwards=gather)
