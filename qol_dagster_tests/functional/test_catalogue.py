"""`db_qol`: what queries see, and what they cannot reach."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qol_dagster.etl import arrow_schema
from qol_dagster.metrics.dictionary import DAILY, STATUS, WEEKLY
from qol_dagster.resources.catalogue import CatalogueError, QueryResult, count_rows, query
from qol_dagster.resources.storage import Lake
from qol_dagster_tests.lakes import MONDAY

SCHEMA = arrow_schema(WEEKLY)


def a_row(participant: str, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(SCHEMA.names), "participant_id": participant, **values}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    when = datetime(2026, 11, 25, 0, 5, tzinfo=UTC)
    rows = [a_row("P1", steps_mean=5000.5, computed_at=when), a_row("P2", is_valid_week=True)]
    Lake.local(tmp_path).write_table("weekly", MONDAY, pa.Table.from_pylist(rows, schema=SCHEMA), {})
    return tmp_path


def test_a_table_shows_the_rows_of_all_partitions_with_their_date_as_text(lake: Path) -> None:
    found = query(lake, "SELECT participant_id, date, steps_mean FROM db_qol.weekly_metrics ORDER BY 1")
    assert found.rows == [("P1", "2026-11-16", 5000.5), ("P2", "2026-11-16", None)]
    assert count_rows(lake, "weekly_metrics", ["2026-11-16", "2026-11-09"]) == {"2026-11-16": 2, "2026-11-09": 0}
    assert count_rows(lake, "weekly_metrics", []) == {}


def test_a_lake_without_any_partition_has_empty_tables_with_all_columns(tmp_path: Path) -> None:
    for table, metrics in (("weekly_metrics", WEEKLY), ("daily_metrics", DAILY), ("participant_status", STATUS)):
        found = query(tmp_path, f"SELECT * FROM db_qol.{table}")
        assert found.columns == [metric.name for metric in metrics]
        assert found.rows == []


def test_a_column_that_older_files_lack_is_null_in_them(lake: Path) -> None:
    old = pa.table({"participant_id": ["P9"]})
    folder = lake / "processed" / "weekly" / "date=2026-11-09"
    folder.mkdir()
    pq.write_table(old, folder / "part-0.parquet")
    found = query(lake, "SELECT participant_id, steps_mean FROM db_qol.weekly_metrics ORDER BY date")
    assert found.rows[0] == ("P9", None)
    assert len(found.rows) == 3


def test_temporary_files_beside_a_partition_are_not_part_of_the_table(lake: Path) -> None:
    folder = lake / "processed" / "weekly" / "date=2026-11-16"
    for name in (".part-1.parquet", "_part-1.parquet", "part-0.parquet#1", "notes.txt"):
        (folder / name).write_text("half written")
    assert count_rows(lake, "weekly_metrics", ["2026-11-16"]) == {"2026-11-16": 2}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM '{outside}'",
        "SELECT * FROM read_text('{lake}/../outside.csv')",
        "SELECT * FROM read_text('{lake}/raw/daily/date=2026-11-16/a.jsonl')",
        "COPY (SELECT 1) TO '{lake}/processed/weekly/date=2026-11-16/part-0.parquet'",
        "DROP VIEW db_qol.weekly_metrics",
        "ATTACH '{lake}/x.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/processed/x.csv'",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "SELECT * FROM db_qol.nothing",
        "",
    ],
)
def test_a_statement_reads_the_tables_and_can_do_nothing_else(lake: Path, sql: str) -> None:
    outside = lake.parent / "outside.csv"
    outside.write_text("secret")
    raw = lake / "raw" / "daily" / "date=2026-11-16"
    raw.mkdir(parents=True)
    (raw / "a.jsonl").write_text('{"userId": "secret"}\n')
    with pytest.raises(CatalogueError) as error:
        query(lake, sql.format(outside=outside, lake=lake))
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    assert count_rows(lake, "weekly_metrics", ["2026-11-16"]) == {"2026-11-16": 2}


def test_a_folder_with_a_quote_in_its_name_is_no_problem(tmp_path: Path) -> None:
    odd = tmp_path / "it's here"
    Lake.local(odd).write_table("weekly", MONDAY, pa.Table.from_pylist([a_row("P1")], schema=SCHEMA), {})
    found = query(odd, "SELECT count(*) FROM db_qol.weekly_metrics")
    assert isinstance(found, QueryResult)
    assert found.rows == [(1,)]
