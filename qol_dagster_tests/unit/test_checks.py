"""The blocking checks: each passes on good rows and fails on the rows it is there for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import dagster as dg
import pyarrow as pa
import pytest

from qol_dagster.defs.checks import check_rows, check_specs
from qol_dagster.defs.table_metadata import column_lineage, column_schema
from qol_dagster.lake.tables import arrow_schema, set_aside
from qol_dagster.metrics.dictionary import DAILY, WEEKLY, by_name
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline.checks import find_problems
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.tables import survey_key

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
GOOD: dict[str, Any] = {
    "participant_id": "P1",
    "date": "2026-11-16",
    "n_days": 7,
    "n_valid_days": 7,
    "n_valid_weekend_days": 2,
    "is_valid_week": True,
    "steps_mean": 5000.0,
    "sleep_efficiency_mean": 90.0,
    "n_records": 70,
    "computed_at": datetime(2026, 11, 25, tzinfo=UTC),
    "metrics_version": "1.0.0",
}


def verdicts(*rows: dict[str, Any], used: int = 70, ids: tuple[str, ...] = (USER,)) -> dict[str, bool]:
    schema = arrow_schema(WEEKLY)
    required = {metric.name: 0 for metric in WEEKLY if not metric.nullable and metric.type in ("int64", "float64")}
    full = [{**dict.fromkeys(schema.names), **required, **row} for row in rows]
    results = check_rows("weekly_metrics", pa.Table.from_pylist(full, schema=schema), WEEKLY, used, ids)
    return {result.check_name or "": result.passed for result in results}


def failed(*rows: dict[str, Any], **options: Any) -> set[str]:
    return {name for name, passed in verdicts(*rows, **options).items() if not passed}


def test_good_rows_pass_every_check() -> None:
    assert verdicts(GOOD, {**GOOD, "participant_id": "P2"}) == dict.fromkeys(
        ("rows", "unique_keys", "ranges", "no_garmin_id"), True
    )


def test_records_that_give_no_row_fail_and_no_records_are_fine() -> None:
    assert failed() == {"rows"}
    assert failed(used=0) == set()


def test_two_rows_of_one_participant_and_week_fail() -> None:
    assert failed(GOOD, GOOD) == {"unique_keys"}
    assert failed(GOOD, {**GOOD, "date": "2026-11-09"}) == set()


@pytest.mark.parametrize("table", SURVEY_TABLES)
def test_two_rows_of_one_form_or_of_one_estimate_fail(table: TableName) -> None:
    key, schema = survey_key(table), arrow_schema(SURVEY_TABLES[table])
    words = {"participant_id": "P1", "domain": "social", "measure": "steps_mean_14d", "method": "mixed_slope"}
    row = {**dict.fromkeys(schema.names), "date": "2026-11-16", "wave": 0, **words}
    other = {**row, key[-1]: 1 if key[-1] == "wave" else "between_correlation"}

    def doubles(*rows: dict[str, Any]) -> str:
        given = [{name: one[name] for name in schema.names} for one in rows]
        found = pa.Table.from_pylist(given, schema=schema)
        return find_problems(found, SURVEY_TABLES[table], 1, [], key)["unique_keys"]

    assert doubles(row, other) == ""
    assert doubles(row, other, {**row, "date": "2026-11-17"}) == f"rows with the {', '.join(key)} of another one: 1"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("steps_mean", -1.0),
        ("sleep_efficiency_mean", 100.1),
        ("n_valid_days", 8),
        ("n_days", None),
        ("completeness_hrv", 1.2),
    ],
)
def test_a_value_out_of_its_dictionary_range_or_missing_fails(column: str, value: Any) -> None:
    assert failed({**GOOD, column: value}) == {"ranges"}


@pytest.mark.parametrize("told", [USER, f"x-{USER}", USER.upper(), str(UUID(USER))])
def test_a_garmin_id_in_any_text_fails_without_being_named(told: str) -> None:
    row = {**GOOD, "participant_id": told}
    assert failed(row) == {"no_garmin_id"}
    schema = arrow_schema(WEEKLY)
    rows = pa.Table.from_pylist([{**dict.fromkeys(schema.names), **row}], schema=schema)
    results = check_rows("weekly_metrics", rows, WEEKLY, 1, [USER])
    assert told.lower() not in str(results).lower()


@pytest.mark.parametrize("pushed", ["p1", "meets", "2026-11-16", "2.0.0", "1"])
def test_a_push_for_a_user_of_any_name_stops_nobody_s_week(pushed: str) -> None:
    row = {**GOOD, "who_activity": "meets", "metrics_version": "2.0.0"}
    assert failed(row, ids=(pushed, pushed.upper())) == set()


def test_every_check_blocks_what_is_downstream() -> None:
    specs = check_specs("weekly_metrics")
    assert {spec.name for spec in specs} == set(verdicts(GOOD))
    assert all(spec.blocking for spec in specs)


def test_the_dictionary_names_every_column_once_and_its_inputs_exist() -> None:
    daily = by_name(DAILY)
    for metrics in (DAILY, WEEKLY):
        assert len(by_name(metrics)) == len(metrics)
        assert all(metric.description and metric.source for metric in metrics)
    computed_before = {name for metric in WEEKLY for name in metric.inputs}
    assert computed_before <= set(daily)


def test_dagster_shows_the_type_unit_definition_and_origin_of_every_column() -> None:
    schema = {column.name: column for column in column_schema(WEEKLY).columns}
    assert list(schema) == [metric.name for metric in WEEKLY]
    steps = schema["steps_mean"]
    assert (steps.type, dict(steps.tags), steps.constraints.nullable) == ("float64", {"unit": "n_per_d"}, True)
    assert steps.description == "Mean steps a day [n/d]. Over valid days with a value"
    origins = column_lineage(WEEKLY, "daily_metrics").deps_by_column["steps_mean"]
    assert [(one.asset_key, one.column_name) for one in origins] == [
        (dg.AssetKey("daily_metrics"), name) for name in by_name(WEEKLY)["steps_mean"].inputs
    ]


def test_values_that_cannot_be_are_set_aside_and_the_others_stay() -> None:
    schema = arrow_schema(WEEKLY)
    required = {metric.name: 0 for metric in WEEKLY if not metric.nullable and metric.type in ("int64", "float64")}
    rows = [
        {**dict.fromkeys(schema.names), **required, **GOOD, "sleep_efficiency_mean": 100.5, "steps_mean": -1.0},
        {**dict.fromkeys(schema.names), **required, **GOOD, "participant_id": "P2"},
    ]
    kept, found = set_aside(pa.Table.from_pylist(rows, schema=schema), WEEKLY)
    assert found == {"sleep_efficiency_mean": 1, "steps_mean": 1}
    assert kept["sleep_efficiency_mean"].to_pylist() == [None, 90.0]
    assert kept["steps_mean"].to_pylist() == [None, 5000.0]
    assert kept.schema.equals(schema, check_metadata=True)
    results = check_rows("weekly_metrics", kept, WEEKLY, 70, (USER,), set_aside=sum(found.values()))
    (ranges,) = (result for result in results if result.check_name == "ranges")
    assert (ranges.passed, ranges.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert ranges.description == "values outside of what can be, set aside as null: 2"
