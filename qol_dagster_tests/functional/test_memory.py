"""Bounded memory: however many cores and however long a line, DuckDB stays within QOL_MEMORY_MB or says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from qol_dagster.engines import EngineError, open_engine
from qol_dagster.engines.duckdb import MB, _reading
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.etl import run_etl
from qol_dagster_tests.support.lakes import MONDAY, record, write_raw


def steps_of_monday(root: Path, memory_mb: int) -> list[float]:
    lake = Lake.local(root)
    with open_engine("duckdb", memory_mb=memory_mb, temp_dir=root / "tmp") as engine:
        run_etl(engine, lake, [MONDAY], Identities({"user-1": "P1"}))
    found = lake.read_table("daily", MONDAY)
    assert found is not None
    return found["steps"].to_pylist()


@pytest.mark.parametrize("cores", [1, 2, 8, 64, 256])
@pytest.mark.parametrize("memory_mb", [512, 1536, 16_384])
@pytest.mark.parametrize("largest_mb", [0, 15, 40, 4000])
def test_the_buffers_take_a_quarter_of_the_memory_at_most(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory_mb: int, largest_mb: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    longest_mb, threads = _reading(largest_mb * MB, memory_mb)
    assert 1 <= threads <= cores
    assert 2 * longest_mb * threads <= memory_mb / 4
    assert longest_mb >= min(largest_mb, 128, memory_mb // 8)


@pytest.mark.parametrize("cores", [2, 64])
def test_a_line_of_thirty_megabytes_is_read_with_little_memory_and_many_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    long = record("dailies", "user-1", MONDAY, steps=7, note="x" * 30_000_000)
    write_raw(tmp_path, MONDAY, [record("hrv", "user-1", MONDAY), long])
    assert steps_of_monday(tmp_path, 512) == [7]


@pytest.mark.slow
def test_a_line_too_long_for_any_record_is_a_clear_error_and_the_old_rows_stay(tmp_path: Path) -> None:
    write_raw(tmp_path, MONDAY, [record("dailies", "user-1", MONDAY, steps=7)])
    assert steps_of_monday(tmp_path, 512) == [7]
    file = write_raw(tmp_path, MONDAY, [b'{"no end": "' + b"x" * 140_000_000], name="endless")
    with pytest.raises(EngineError, match=r"endless\.jsonl.*take the file out of raw/, or raise QOL_MEMORY_MB"):
        steps_of_monday(tmp_path, 512)
    file.unlink()
    assert steps_of_monday(tmp_path, 512) == [7]
