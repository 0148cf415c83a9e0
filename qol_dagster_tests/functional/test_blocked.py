"""Rows that fail a check in the weekly job without Dagster, as on Glue: they are not written."""

from __future__ import annotations

from pathlib import Path

import pytest

from qol_dagster.engines import open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.checks import ChecksError
from qol_dagster.pipeline.etl import run_etl
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"


def test_a_garmin_id_in_the_rows_blocks_the_day_and_all_that_is_made_from_it(tmp_path: Path) -> None:
    lake = Lake.local(tmp_path)
    write_raw(tmp_path, MONDAY, [record("dailies", USER, MONDAY, timeOffsetHeartRateSamples=worn(12))])
    with open_engine("duckdb", memory_mb=512, temp_dir=tmp_path / "tmp") as engine:
        with pytest.raises(ChecksError) as failed:
            run_etl(engine, lake, [MONDAY], Identities({USER: USER}))
        assert "the daily rows of 2026-11-16 fail no_garmin_id, and were not written" in str(failed.value)
        assert USER not in str(failed.value)
        assert not [*tmp_path.glob("processed/**/*.parquet")]
        run_etl(engine, lake, [MONDAY], Identities({USER: "P1"}))
    rows = lake.read_table("weekly", MONDAY)
    assert rows is not None
    assert rows["participant_id"].to_pylist() == ["P1"]
