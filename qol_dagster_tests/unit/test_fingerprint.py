"""What code made a row: its fingerprint follows what is computed, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from qol_dagster import engines
from qol_dagster.engines.fingerprint import daily_fingerprint, package_fingerprint
from qol_dagster.engines.queries import queries
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS, Thresholds

PACKAGE = Path(engines.__file__).parent


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, Callable[[str], str]], bool]:
    """Whether a copy of the engines has another fingerprint after an edit of one of its files."""

    def edit(name: str, edited: Callable[[str], str]) -> bool:
        folder = tmp_path / "engines"
        shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        file = folder / name
        before = file.read_text() if file.exists() else ""
        after = edited(before)
        assert after != before
        file.parent.mkdir(exist_ok=True)
        file.write_text(after)
        return package_fingerprint(folder) != package_fingerprint(PACKAGE)

    return edit


Changed = Callable[[str, Callable[[str], str]], bool]


def test_a_copy_has_the_same_fingerprint(changed: Changed) -> None:
    assert not changed("note.txt", lambda _text: "no code")


@pytest.mark.parametrize("name", ["new.py", "readers/new.py"])
def test_a_module_that_is_added_counts_without_being_listed_anywhere(changed: Changed, name: str) -> None:
    assert changed(name, lambda _text: "READS = 'differently'\n")


@pytest.mark.parametrize("name", ["duckdb.py", "spark.py", "sql.py"])
def test_a_comment_makes_no_stored_day_stale(changed: Changed, name: str) -> None:
    assert not changed(name, lambda text: f"# a word\n\n{text}# and another\n")


def test_a_docstring_makes_no_stored_day_stale(changed: Changed) -> None:
    assert not changed(
        "sql.py", lambda text: text.replace('"""Any scalar\'s text."""', '"""The text of any scalar."""')
    )


def test_a_line_that_reads_otherwise_makes_every_stored_day_stale(changed: Changed) -> None:
    assert changed("sql.py", lambda text: text.replace("'true', '1'", "'yes', '1'"))


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return queries("duckdb", DEFAULT_THRESHOLDS, tmp_path_factory.mktemp("sql"))


@pytest.mark.parametrize("name", ["daily_rows", "day_counts", "main_sleeps"])
def test_another_expression_of_a_day_makes_it_stale_and_one_of_a_week_does_not(
    sql: Mapping[str, str], name: str
) -> None:
    now = daily_fingerprint(sql, "reading")
    assert daily_fingerprint({**sql, name: f"{sql[name]} LIMIT 1"}, "reading") != now
    assert daily_fingerprint({**sql, "weekly_rows": "SELECT 1"}, "reading") == now
    assert daily_fingerprint(sql, "reading otherwise") != now


def test_other_thresholds_make_other_expressions(sql: Mapping[str, str], tmp_path: Path) -> None:
    strict = queries("duckdb", Thresholds(valid_day_wear_min=780), tmp_path)
    assert daily_fingerprint(strict, "") != daily_fingerprint(sql, "")


@pytest.mark.slow
def test_two_processes_agree(tmp_path: Path) -> None:
    code = (
        "import json; from pathlib import Path\n"
        "from qol_dagster.engines.duckdb import DuckDBEngine; from qol_dagster.engines.spark import SparkEngine\n"
        "from qol_dagster.engines.fingerprint import daily_fingerprint as of\n"
        "from qol_dagster.engines.queries import bundled\n"
        "from qol_dagster.metrics.thresholds import Thresholds\n"
        "engines = {'duckdb': DuckDBEngine(None, 0, Path()), 'pyspark': SparkEngine(None, Path())}\n"
        "for name, engine in engines.items():\n"
        "    print(of(json.loads(bundled(name, Thresholds())), engine.reading))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "4")  # between these, sets of names have another order
    }
    assert len(found) == 1
