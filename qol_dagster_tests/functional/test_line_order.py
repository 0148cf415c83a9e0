"""Of two versions in one body the one further down counts, so lines have to be in the order of their file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from qol_dagster.engines import Engine, RawFile, RecordsUpdate, open_engine

DAY = date(2026, 11, 17)
KB = 1024


@pytest.fixture(scope="module")
def duckdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine("duckdb", memory_mb=2304, temp_dir=tmp_path_factory.mktemp("work")) as engine:
        yield engine


@pytest.mark.slow
def test_the_lines_of_a_file_that_several_threads_read_are_in_its_order(duckdb: Engine, tmp_path: Path) -> None:
    """DuckDB reads a file in parts of twice the longest line, which is taken to be 128 MB at most."""
    files, lines, line_kb = 2, 36_000, 8
    pad, folder = "x" * line_kb * KB, tmp_path / f"date={DAY}"
    folder.mkdir()
    for file in range(files):
        text = (json.dumps({"userId": "u", "summaryId": f"{line:05d}", "pad": pad}) for line in range(lines))
        (folder / f"f{file:02d}.jsonl").write_text("\n".join(text) + "\n")
    raw = [RawFile(str(one), one.stat().st_size) for one in sorted(folder.iterdir())]
    duckdb.write_records({DAY: RecordsUpdate(raw)}, str(tmp_path / "records"))
    duckdb.load_records({DAY: [str(one) for one in tmp_path.glob("records/*/*.parquet")]})
    rows = duckdb.run("SELECT file, summary_id FROM records ORDER BY file, line").to_pylist()
    expected = [f"{line:05d}" for line in range(lines)]
    for file in range(files):
        assert [one["summary_id"] for one in rows[file * lines : (file + 1) * lines]] == expected
    assert len(rows) == files * lines


@pytest.mark.slow
def test_lines_are_in_order_of_small_files_of_odd_ones_and_after_stored_ones_are_copied(
    duckdb: Engine, tmp_path: Path
) -> None:
    """Of 31,000 lines each, so that a file fills more than one group of rows; every third has a key twice."""
    files, lines = 12, 31_000
    folder = tmp_path / f"date={DAY}"
    folder.mkdir()
    for file in range(files):
        twice = ', "steps": 2' if file % 3 == 0 else ""
        text = (f'{{"userId": "u", "summaryId": "{line:05d}", "steps": 1{twice}}}' for line in range(lines))
        (folder / f"f{file:02d}.jsonl").write_text("\n".join(text) + "\n")
    raw = [RawFile(str(one), one.stat().st_size) for one in sorted(folder.iterdir())]
    duckdb.write_records({DAY: RecordsUpdate(raw[:-1])}, str(tmp_path / "first"))
    stored = [str(one) for one in tmp_path.glob("first/*/*.parquet")]
    gone = raw[1].name
    update = RecordsUpdate(raw[-1:], stored, [one.name for one in raw[:-1] if one.name != gone])
    duckdb.write_records({DAY: update}, str(tmp_path / "second"))
    duckdb.load_records({DAY: [str(one) for one in tmp_path.glob("second/*/*.parquet")]})
    rows = duckdb.run("SELECT file, summary_id, steps, rec FROM records ORDER BY file, line").to_pylist()
    assert [(one["file"], one["summary_id"], one["steps"]) for one in rows] == [
        (f"f{file:02d}", f"{line:05d}", 2 if file % 3 == 0 else 1)
        for file in range(files)
        if f"f{file:02d}" != gone
        for line in range(lines)
    ]
    assert len({one["rec"] for one in rows}) == len(rows)
