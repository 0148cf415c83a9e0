"""`qol materialize --engine spark`: a real local Spark behind the same command and the same job."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from qol_dagster.settings import Settings
from qol_dagster_tests.support.lakes import differences

QOL = [sys.executable, "-c", "from qol_dagster.cli.app import main; main()"]
TABLES = ("weekly_metrics", "daily_metrics")

pytestmark = pytest.mark.spark


def qol(*arguments: str) -> tuple[str, str]:
    done = subprocess.run([*QOL, *arguments], capture_output=True, text=True, timeout=300, check=True)
    return done.stdout, done.stderr


def tables() -> list[list[dict[str, Any]]]:
    """Both tables' rows, without when they were computed."""
    columns = {"weekly_metrics": "* EXCLUDE (computed_at)", "daily_metrics": "*"}
    sql = "SELECT {} FROM db_qol.{} ORDER BY date, participant_id"
    return [json.loads(qol("query", sql.format(columns[name], name), "--format", "json")[0]) for name in TABLES]


def test_spark_and_duckdb_give_equal_tables_and_spark_says_nothing_of_its_own(settings: Settings) -> None:
    qol("simulate", "--participants", "4", "--weeks", "1", "--until", "2026-11-22", "--lake", "--enrol")
    qol("materialize", "--week", "2026-11-16")
    with_duckdb = tables()
    out, err = qol("materialize", "--week", "2026-11-16", "--engine", "spark")
    assert out == "2026-11-16  participants: 4\n"
    assert re.fullmatch(r"days computed: 7, reused: 0, [\d.]+ s, run [0-9a-f-]{36}\n", err)
    with_spark = tables()
    assert [len(rows) > 3 for rows in with_spark] == [True, True]
    for mine, theirs in zip(with_spark, with_duckdb, strict=True):
        assert differences(mine, theirs) == []
    assert [file.name for file in (settings.home / "tmp").iterdir() if not file.name.startswith("sql-")] == []
