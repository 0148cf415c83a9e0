"""The metrics' SQL is made once and kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from qol_dagster.engines import queries as module
from qol_dagster.engines.queries import DAILY_STAGES, WEEKLY_STAGES, queries
from qol_dagster.metrics.thresholds import Thresholds

DEFAULT, STRICT = Thresholds(), Thresholds(valid_day_wear_min=780)
FINAL = {"daily_rows", "day_counts", "weekly_rows", "status_rows"}


@pytest.fixture
def _sql_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo for a test what the session does to be quick."""
    monkeypatch.setattr(module, "_compile_all", module._compile_all.__wrapped__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    assert set(queries("duckdb", DEFAULT, folder)) == {*DAILY_STAGES, *WEEKLY_STAGES, *FINAL}
    return folder


def test_what_is_kept_is_read_without_importing_what_made_it(folder: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from qol_dagster.engines.queries import queries
from qol_dagster.metrics.thresholds import Thresholds
print(len(queries("duckdb", Thresholds(), Path({str(folder)!r}))), "ibis" in sys.modules, "sqlglot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(DAILY_STAGES + WEEKLY_STAGES) + len(FINAL)), "False", "False"]


@pytest.mark.slow
def test_other_thresholds_are_other_queries_and_lie_beside(folder: Path) -> None:
    strict = queries("duckdb", STRICT, folder)
    assert "780" in strict["daily_rows"]
    assert "780" not in queries("duckdb", DEFAULT, folder)["daily_rows"]
    assert len(list(folder.iterdir())) == 2


@pytest.mark.slow
def test_those_of_older_code_go(folder: Path) -> None:
    (file, *_) = folder.iterdir()
    old = file.with_name(f"{file.stem.rpartition('-')[0]}-0123456789abcdef.json")
    file.rename(old)
    queries("duckdb", DEFAULT, folder)
    queries("duckdb", STRICT, folder)
    assert file.exists()
    assert not old.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b"{}", b'{"daily_rows": "SELECT 1"}', b'{"sha256": "0", "sql": {}}', b"[" * 10_000],
)
def test_a_file_that_was_spoiled_is_made_anew(folder: Path, content: bytes) -> None:
    right = queries("duckdb", DEFAULT, folder)
    for file in folder.iterdir():
        file.write_bytes(content)
    assert queries("duckdb", DEFAULT, folder) == right
    assert any(file.read_bytes() != content for file in folder.iterdir())


def test_a_file_of_which_a_letter_or_a_query_was_lost_is_made_anew(tmp_path: Path) -> None:
    right = queries("duckdb", DEFAULT, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_text()
    without = {name: sql for name, sql in right.items() if name != "rhythm_sums"}
    for spoiled in (whole.replace("SELECT", "SELEKT", 1), json.dumps(without)):
        assert spoiled != whole
        file.write_text(spoiled)
        assert queries("duckdb", DEFAULT, tmp_path) == right
        assert file.read_text() == whole


@pytest.mark.usefixtures("_sql_is_compiled_anew")
@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_time_and_nothing_else(tmp_path: Path, folder: Path) -> None:
    assert queries("duckdb", DEFAULT, tmp_path / "missing") == queries("duckdb", DEFAULT, folder)
