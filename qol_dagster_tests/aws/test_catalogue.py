"""`db_qol` in both forms: the same rows give the same answers, and a statement reads and does nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import REVISIONS, TABLES, WEEKLY
from qol_dagster.metrics.tables import LAYOUTS
from qol_dagster.metrics.types import TableName
from qol_dagster.resources.catalogue import Catalogue, CatalogueError, count_rows
from qol_dagster.resources.catalogue.athena import AthenaCatalogue, _table, reading_statement
from qol_dagster.resources.catalogue.duckdb import LocalCatalogue
from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.tables import STANDARD, rows
from qol_ingest.shared import aws

COMPUTED = datetime(2026, 11, 25, 0, 5, 0, 123_000, tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """A lake, and what answers questions on it."""

    lake: Lake
    catalogue: Catalogue

    def asked(self, sql: str) -> list[dict[str, Any]]:
        found = self.catalogue.query(sql)
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def in_folder(folder: Path) -> Place:
    return Place(Lake.local(folder), LocalCatalogue(folder))


def in_cloud(cloud: Cloud) -> Place:
    bucket = cloud.bucket()
    cloud.tables(bucket)
    return Place(Lake.s3(bucket), AthenaCatalogue(cloud.workgroup(bucket)))


@pytest.fixture(params=["duckdb", pytest.param("athena", marks=pytest.mark.aws)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return in_folder(tmp_path / "lake") if request.param == "duckdb" else in_cloud(request.getfixturevalue("cloud"))


@pytest.fixture
def place(empty: Place) -> Place:
    first = {"participant_id": "P1", "steps_mean": 5000.5, "computed_at": COMPUTED, "n_days": 7}
    second = {"participant_id": "P2", "is_valid_week": True, "steps_mean": 0.1 + 0.2}
    empty.lake.write_table("weekly", MONDAY, rows("weekly", first, second), {})
    return empty


def test_the_standard_query_works_word_for_word(place: Place) -> None:
    earlier = MONDAY - timedelta(weeks=1)
    place.lake.write_table("weekly", earlier, rows("weekly", *({"participant_id": f"Q{n}"} for n in range(20))), {})
    found = place.asked(STANDARD)
    assert set(found[0]) == {metric.name for metric in WEEKLY}
    assert [row["date"] for row in found] == ["2026-11-16"] * 2 + ["2026-11-09"] * 8


def test_values_have_the_types_of_the_dictionary(place: Place) -> None:
    one, other = place.asked("SELECT * FROM db_qol.weekly_metrics ORDER BY participant_id")
    assert (one["date"], one["steps_mean"], one["n_days"], one["is_valid_week"]) == ("2026-11-16", 5000.5, 7, None)
    assert (other["is_valid_week"], other["steps_mean"], other["n_days"]) == (True, 0.1 + 0.2, None)
    assert one["computed_at"] == COMPUTED
    assert one["computed_at"].utcoffset() == timedelta(0)


def test_partitions_are_counted_and_those_without_rows_have_none(place: Place) -> None:
    asked = ["2026-11-16", "2026-11-09"]
    assert count_rows(place.catalogue, "weekly_metrics", asked) == {"2026-11-16": 2, "2026-11-09": 0}
    assert count_rows(place.catalogue, "weekly_metrics", []) == {}
    assert count_rows(place.catalogue, "weekly_metrics_strict", asked[:1]) == {"2026-11-16": 0}


def test_a_lake_without_any_partition_has_empty_tables_with_all_columns(empty: Place) -> None:
    for table, layout in LAYOUTS.items():
        found = empty.catalogue.query(f"SELECT * FROM db_qol.{layout.name}")
        assert set(found.columns) == {metric.name for metric in TABLES[table]}
        assert found.rows == []


def test_a_result_of_several_pages_is_given_whole_and_in_order(empty: Place) -> None:
    names = [f"P{number:04d}" for number in range(2345)]
    empty.lake.write_table("weekly", MONDAY, rows("weekly", *({"participant_id": name} for name in names)), {})
    found = empty.catalogue.query("SELECT participant_id FROM db_qol.weekly_metrics ORDER BY participant_id")
    assert [row[0] for row in found.rows] == names


def test_questions_of_many_kinds_are_answered(place: Place) -> None:
    table = "db_qol.weekly_metrics"
    for sql, answer in {
        f"-- a question\nSELECT count(*) AS n, max(steps_mean) AS most FROM {table} -- of all": [(2, 5000.5)],
        f"WITH a AS (SELECT participant_id FROM {table}) SELECT count(*) FROM a;": [(2,)],
        f"(SELECT participant_id FROM {table}) UNION ALL (SELECT 'x; y') ORDER BY 1": [("P1",), ("P2",), ("x; y",)],
        f"SELECT participant_id, participant_id FROM {table} WHERE n_days = 7": [("P1", "P1")],
        "SELECT DATE '2026-11-16', CAST(1.50 AS DECIMAL(4, 2)), 1 < 2, '', NULL;": [
            (date(2026, 11, 16), Decimal("1.50"), True, "", None)
        ],
    }.items():
        assert place.catalogue.query(sql).rows == answer, sql


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE db_qol.weekly_metrics",
        "INSERT INTO db_qol.weekly_metrics SELECT * FROM db_qol.weekly_metrics",
        "CREATE TABLE db_qol.mine AS SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "/* SELECT */ DELETE FROM db_qol.weekly_metrics",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE db_qol.weekly_metrics",
        "SELEC 1",
        "SELECT",
        "SELECT 'no end",
        "SELECT * FROM db_qol.nothing",
        "SELECT no_such_column FROM db_qol.weekly_metrics",
        "",
        ";",
    ],
)
def test_what_is_no_question_is_refused_in_one_line(place: Place, sql: str) -> None:
    with pytest.raises(CatalogueError) as error:
        place.catalogue.query(sql)
    assert "\n" not in str(error.value)
    assert count_rows(place.catalogue, "weekly_metrics", ["2026-11-16"]) == {"2026-11-16": 2}


@pytest.mark.aws
@pytest.mark.parametrize("table", LAYOUTS)
def test_both_forms_give_the_same_answers_to_the_same_rows(cloud: Cloud, tmp_path: Path, table: TableName) -> None:
    places = [in_folder(tmp_path), in_cloud(cloud)]
    for place in places:
        for day in (MONDAY, MONDAY - timedelta(weeks=1)):
            place.lake.write_table(table, day, rows(table, *(a_full_row(table, n) for n in range(5))), {})
    name = LAYOUTS[table].name
    # Arrays are left out: the emulated Athena shows them as Python does, and not as Athena does.
    shown = ", ".join(metric.name for metric in TABLES[table] if not metric.type.startswith("list"))
    for sql in (
        f"SELECT {shown} FROM db_qol.{name} ORDER BY date, participant_id",
        f"SELECT date, count(*) AS n FROM db_qol.{name} GROUP BY date ORDER BY date",
    ):
        local, remote = (place.asked(sql) for place in places)
        assert local == remote
        assert len(local) > 1


def a_full_row(table: TableName, number: int) -> dict[str, Any]:
    """A value in nearly every column, another in every row."""
    values: dict[str, Callable[[int], Any]] = {
        "string": lambda at: f"日本 {number}, \"{at}'",
        "int64": lambda at: number * 1_000_000_007 - at,
        "float64": lambda at: (number + 1) / (at + 3),
        "bool": lambda at: bool((number + at) % 2),
        "timestamp": lambda at: COMPUTED + timedelta(milliseconds=number * at),
        "list<float64>": lambda at: [number / 3, None, float(at)],
        "list<int64>": lambda at: [number, at],
    }
    row = {one.name: values[one.type](at) if (number + at) % 7 else None for at, one in enumerate(TABLES[table])}
    return {**row, "participant_id": f"P{number}"}


@pytest.mark.aws
def test_the_log_of_revisions_is_the_same_in_both_forms_but_for_its_end(cloud: Cloud, tmp_path: Path) -> None:
    both = [in_folder(tmp_path), in_cloud(cloud)]
    made = rows("weekly", *({"participant_id": f"P{n}", "steps_mean": float(n)} for n in range(3)))
    for place in both:
        for number, notes in ((1, {"raw": "a"}), (2, {"raw": "b"}), (3, {"raw": "c"})):
            place.lake.revise("weekly", MONDAY, made.slice(0, number), {"inputs": notes, "engine": "duckdb"})
    sql = "SELECT {} FROM db_qol.weekly_metrics_revisions ORDER BY revision"
    names = ", ".join(f'"{one.name}"' for one in REVISIONS if one.name not in ("valid_until", "replaced_object"))
    folder, bucket = (place.asked(sql.format(names)) for place in both)
    assert [one["cause"] for one in bucket] == ["first", "late_files", "late_files"]
    assert [one["n_rows_added"] for one in bucket] == [1, 1, 1]
    assert {str(one["date"])[:10] for one in bucket} == {"2026-11-16"}
    assert all(abs(one["valid_from"] - datetime.now(UTC)) < timedelta(minutes=5) for one in (*folder, *bucket))
    without = [[{**one, "valid_from": None, "date": None} for one in found] for found in (folder, bucket)]
    assert without[0] == without[1]


# -- the folder alone


def test_the_tables_of_a_folder_have_their_columns_in_the_dictionary_s_order(tmp_path: Path) -> None:
    for table, layout in LAYOUTS.items():
        found = LocalCatalogue(tmp_path).query(f"SELECT * FROM db_qol.{layout.name}")
        assert found.columns == [metric.name for metric in TABLES[table]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT table_name FROM information_schema.tables WHERE table_name <> 'weekly_metrics'",
        "SELECT view_name FROM duckdb_views() WHERE schema_name = 'db_qol' AND view_name <> 'weekly_metrics'",
        "SELECT name FROM (SHOW ALL TABLES)",
    ],
)
def test_who_asks_which_tables_there_are_is_told_of_all(local: Place, sql: str) -> None:
    names = {name for (name,) in local.catalogue.query(sql).rows} | {"weekly_metrics"}
    assert names >= {f"{layout.name}{suffix}" for layout in LAYOUTS.values() for suffix in ("", "_strict")}


def test_a_question_on_one_table_opens_no_file_of_another(local: Place) -> None:
    key = local.lake.write_table("daily", MONDAY, rows("daily", {"participant_id": "P1"}), {})
    Path(local.lake.local_path(key)).write_bytes(b"no Parquet")
    assert local.asked('SELECT count(*) AS n FROM db_qol."WEEKLY_METRICS"') == [{"n": 2}]
    with pytest.raises(CatalogueError, match=r"part-0\.parquet"):
        local.catalogue.query("SELECT * FROM db_qol.weekly_metrics JOIN db_qol.daily_metrics USING (participant_id)")


@pytest.fixture
def local(tmp_path: Path) -> Place:
    place = in_folder(tmp_path / "lake")
    place.lake.write_table("weekly", MONDAY, rows("weekly", {"participant_id": "P1"}, {"participant_id": "P2"}), {})
    return place


@pytest.mark.parametrize("day", [date(2026, 11, 9), date(2026, 11, 23)], ids=["before", "behind"])
def test_a_column_that_a_file_lacks_is_null_in_it_and_one_of_another_type_is_not_rounded(
    local: Place, day: date
) -> None:
    other = pa.table({"participant_id": ["P9"], "n_valid_days": pa.array([2.5])})
    local.lake.write_table("weekly", day, other, {})
    found = local.catalogue.query(
        "SELECT participant_id, steps_mean, n_valid_days FROM db_qol.weekly_metrics "
        "ORDER BY participant_id = 'P9' DESC, participant_id"
    )
    assert found.rows == [("P9", None, 2.5), ("P1", None, None), ("P2", None, None)]
    assert local.catalogue.query("SELECT max(n_valid_days) FROM db_qol.weekly_metrics").rows == [(2.5,)]


def test_a_statement_looks_into_no_files_of_dates_that_it_does_not_ask_for(local: Place) -> None:
    for day in (date(2026, 11, 23), date(2026, 11, 30)):
        local.lake.write_table("weekly", day, rows("weekly", {"participant_id": "P9"}), {})
    (folder,) = Path(local.lake.root).glob("processed/weekly/date=2026-11-23")
    next(folder.glob("*.parquet")).write_bytes(b"no Parquet")
    asked = "SELECT participant_id FROM db_qol.weekly_metrics WHERE date = '2026-11-16' ORDER BY participant_id"
    assert local.catalogue.query(asked).rows == [("P1",), ("P2",)]


def test_temporary_files_beside_a_partition_are_not_part_of_the_table(local: Place) -> None:
    folder = Path(local.lake.local_path(local.lake.partition_key("weekly", MONDAY)))
    for name in (".part-1.parquet", "_part-1.parquet", "part-0.parquet#1", "notes.txt"):
        (folder / name).write_text("half written")
    assert count_rows(local.catalogue, "weekly_metrics", ["2026-11-16"]) == {"2026-11-16": 2}


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
    ],
)
def test_a_statement_reads_the_tables_and_can_do_nothing_else(local: Place, sql: str) -> None:
    lake = Path(local.lake.root)
    outside = lake.parent / "outside.csv"
    outside.write_text("secret")
    local.lake.write_raw(MONDAY, "a", b'{"userId": "secret"}\n')
    with pytest.raises(CatalogueError) as error:
        local.catalogue.query(sql.format(outside=outside, lake=lake))
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    assert count_rows(local.catalogue, "weekly_metrics", ["2026-11-16"]) == {"2026-11-16": 2}


def test_a_folder_with_a_quote_in_its_name_is_no_problem(tmp_path: Path) -> None:
    odd = in_folder(tmp_path / "it's here")
    odd.lake.write_table("weekly", MONDAY, rows("weekly", {"participant_id": "P1"}), {})
    assert odd.catalogue.query("SELECT count(*) FROM db_qol.weekly_metrics").rows == [(1,)]


# -- Athena alone


@pytest.mark.aws
def test_what_takes_too_long_is_cancelled(cloud: Cloud) -> None:
    slow = AthenaCatalogue(cloud.workgroup(cloud.bucket()), limit_s=0.1)
    with pytest.raises(CatalogueError, match=r"^Athena took longer than 0\.1 s and was stopped; ask for less"):
        slow.query("SELECT sum(sin(a.range * b.range)) FROM range(60000) AS a, range(60000) AS b")
    (asked,) = aws.client("athena").list_query_executions(WorkGroup=slow.workgroup)["QueryExecutionIds"]
    found = aws.client("athena").get_query_execution(QueryExecutionId=asked)["QueryExecution"]
    assert found["Status"]["State"] == "CANCELLED"


@pytest.mark.aws
def test_a_workgroup_that_is_not_there_is_an_error_of_one_line(cloud: Cloud, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CatalogueError, match="^Athena: .*InvalidRequestException") as error:
        AthenaCatalogue("nowhere").query("SELECT 1")
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_only_one_query_is_taken_for_one_and_it_loses_nothing_but_its_end() -> None:
    for sql, sent in {
        STANDARD: STANDARD[:-1],
        "select ';' ; -- done;": "select ';'",
        "\n(table x)\n": "\n(table x)",
        "VALUES 1": "VALUES 1",
    }.items():
        assert reading_statement(sql) == sent
    for sql in ("UNLOAD (SELECT 1) TO 's3://x/'", "WITHOUT", "EXECUTE x", "MERGE INTO a USING b ON c", "SHOW TABLES"):
        with pytest.raises(CatalogueError, match="give a SELECT"):
            reading_statement(sql)


def test_what_athena_says_in_text_becomes_values() -> None:
    from pyathena.converter import DefaultTypeConverter

    # Type, text and value, as Athena's own documentation shows them.
    said: list[tuple[str, str | None, Any]] = [
        ("boolean", "true", True),
        ("tinyint", "-1", -1),
        ("bigint", "9223372036854775807", 2**63 - 1),
        ("double", "1.0E10", 1e10),
        ("double", "Infinity", float("inf")),
        ("decimal", "12.340", Decimal("12.340")),
        ("date", "2026-11-16", date(2026, 11, 16)),
        ("timestamp", "2026-11-25 00:05:00.123", COMPUTED),
        ("timestamp with time zone", "2026-11-25 09:05:00.123 Asia/Tokyo", COMPUTED),
        ("array", "[1.5, null, 2.0]", [1.5, None, 2.0]),
        ("array", "[]", []),
        ("varchar", "", ""),
        ("varchar", None, None),
        ("array", None, None),
    ]
    converter = DefaultTypeConverter()
    for type_, text, value in said:
        read = converter.convert(type_, text)
        (column,) = _table([("x", type_)], [(read,), (None,)]).columns
        assert column.to_pylist() == [value, None], (type_, text)
        assert _table([("x", type_)], []).num_rows == 0


def test_values_that_no_one_type_of_arrow_holds_are_shown_as_text() -> None:
    assert _table([("x", "row")], [(1,), ("a",), (None,)])["x"].to_pylist() == ["1", "a", None]
