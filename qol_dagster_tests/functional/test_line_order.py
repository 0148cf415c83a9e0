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
