"""The columns of an export and their codebook, and why a value of it is missing."""

from __future__ import annotations

import csv
import re
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.exports import ExportError, FormatName
from qol_dagster.exports.codebook import FIELDS, codebook_page, codebook_rows
from qol_dagster.exports.columns import columns_of
from qol_dagster.exports.export import citation_of
from qol_dagster.exports.formats import Options, write_format
from qol_dagster.exports.formats.redcap import DICTIONARY_COLUMNS, dictionary_rows, import_table
from qol_dagster.exports.formats.statistics import sas_program
from qol_dagster.exports.rows import Dataset, Weeks, read_dataset
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import TABLES
from qol_dagster.metrics.tables import TableId, all_tables
from qol_dagster.metrics.types import TableName
from qol_dagster.resources.catalogue.duckdb import LocalCatalogue
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.tables import rows

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
AT = datetime(2026, 11, 25, 0, 5, 0, 123_000, tzinfo=UTC)
COUNTED = {one.name: 0 for one in TABLES["weekly"] if one.name.startswith("n_")}
WEEK: dict[str, Any] = {**COUNTED, "n_days": 7, "n_records": 9, "metrics_version": "2.0.0", "computed_at": AT}


def written(folder: Path, table: TableName, *given: dict[str, Any], day: date = MONDAY) -> LocalCatalogue:
    Lake.local(folder).write_table(table, day, rows(table, *given), {})
    return LocalCatalogue(folder)


def read(folder: Path, table: TableName, *given: dict[str, Any]) -> Dataset:
    return read_dataset(written(folder, table, *given), TableId(table), Weeks())


# -- columns and codebook


@pytest.mark.parametrize("table", all_tables(), ids=lambda table: table.name)
def test_every_column_of_a_table_is_exported_and_a_list_as_twenty_four(table: TableId) -> None:
    columns = columns_of(table.columns)
    expected: list[str] = []
    for metric in table.columns:
        base = metric.name.removesuffix("_by_hour")
        expected += [f"{base}_h{hour:02}" for hour in range(24)] if base != metric.name else [metric.name]
        expected += [f"{metric.name}_na"] if metric.blanks else []
    assert [one.name for one in columns] == expected


def test_names_and_labels_fit_the_programs_that_take_the_least() -> None:
    for column in columns_of(tuple(metric for metrics in TABLES.values() for metric in metrics)):
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,28}", column.name), "Stata names a label after a variable, and has 32"
        assert column.label
        assert JAPANESE.search(column.label_ja), column.name
        assert not JAPANESE.search(column.label), column.name


@pytest.mark.parametrize("table", TABLES)
def test_the_codebook_says_all_of_every_column_in_both_languages(tmp_path: Path, table: TableName) -> None:
    given = {"weekly": WEEK, "daily": {}, "status": {"status": "not_worn"}}[table]
    dataset = read(tmp_path, table, {"participant_id": "P1", **given})
    entries = {row["name"]: row for row in codebook_rows(dataset)}
    assert list(entries) == dataset.rows.column_names == [one.name for one in dataset.columns]
    page = codebook_page(dataset, citation_of(dataset))
    for column in dataset.columns:
        entry, metric = entries[column.name], column.metric
        assert tuple(entry) == FIELDS
        for name in ("label", "description"):
            assert entry[f"{name}_en"]
            assert JAPANESE.search(str(entry[f"{name}_ja"]))
        if column.is_reason:
            assert [one.word for one in column.values] == re.findall(r"\d (\w+) =", str(entry["values_en"]))
            continue
        assert (entry["rule_en"], entry["rule_ja"]) == (metric.rule or None, metric.japanese.rule or None)
        assert entry["source"] == metric.source
        assert metric.japanese.term in page
        assert f'id="{metric.name}"' in page
        for threshold in metric.thresholds:
            assert f"{threshold} = " in str(entry["thresholds"])


def test_the_codebook_has_the_thresholds_that_the_table_was_computed_with(tmp_path: Path) -> None:
    strict = next(one for one in all_tables() if one.name == "daily_metrics_strict")
    Lake.local(tmp_path, "processed_strict").write_table("daily", MONDAY, rows("daily", {"participant_id": "P"}), {})
    dataset = read_dataset(LocalCatalogue(tmp_path), strict, Weeks())
    (entry,) = (row for row in codebook_rows(dataset) if row["name"] == "is_valid_day")
    assert entry["thresholds"] == "valid_day_wear_min = 780"


def test_the_hours_of_a_night_are_minutes_and_never_a_mask(tmp_path: Path) -> None:
    asleep = [2**60 - 1, 0, 0b101, *[0] * 20, 1 << 59]
    dataset = read(tmp_path, "daily", {"participant_id": "P1", "asleep_by_hour": asleep}, {"participant_id": "P2"})
    minutes = [dataset.rows[f"asleep_h{hour:02}"].to_pylist() for hour in range(24)]
    assert [first for first, _ in minutes] == [60, 0, 2, *[0] * 20, 1]
    assert {second for _, second in minutes} == {None}


# -- why a value is missing

VALID = {"n_valid_days": 5, "wear_min_mean": 900.0, "n_wear_days": 7}
SHORT = {"n_valid_days": 0, "wear_min_mean": 200.0, "n_wear_days": 3}
REASONS: list[tuple[TableName, str, dict[str, Any], str]] = [
    ("weekly", "steps_mean", {}, "unknown"),
    ("weekly", "steps_mean", {"wear_min_mean": 0.0}, "not_worn"),
    ("weekly", "steps_mean", SHORT, "too_short"),
    ("weekly", "steps_mean", VALID, "device_does_not_measure"),
    ("weekly", "steps_sd", {**VALID, "n_steps_days": 1}, "below_precondition"),
    ("weekly", "resting_hr_slope", {**VALID, "n_resting_hr_days": 2}, "below_precondition"),
    ("weekly", "moderate_min_sum", SHORT, "device_does_not_measure"),
    ("weekly", "vo2max_last", VALID, "unknown"),
    ("weekly", "vo2max_last", {"wear_min_mean": 0.0}, "not_worn"),
    ("weekly", "sleep_tst_h_mean", VALID, "unknown"),
    ("weekly", "sleep_tst_h_sd", {**VALID, "n_nights": 1}, "below_precondition"),
    ("weekly", "hrv_rmssd_mean", VALID, "unknown"),
    ("weekly", "hrv_rmssd_mean", {**VALID, "n_nights": 6}, "device_does_not_measure"),
    ("weekly", "hrv_cv_pct", {**VALID, "n_nights": 6, "n_hrv_nights": 1}, "below_precondition"),
    ("weekly", "social_jetlag_min", {**VALID, "n_nights": 5, "n_midsleep_nights": 5}, "below_precondition"),
    ("weekly", "sleep_regularity_index", {**VALID, "n_nights": 4, "n_sleep_pairs": 3}, "below_precondition"),
    ("weekly", "sleep_regularity_index_28d", {"n_sleep_pairs_28d": 13}, "below_precondition"),
    ("weekly", "interdaily_stability", {**VALID, "n_step_hours": 119}, "below_precondition"),
    ("weekly", "interdaily_stability", VALID, "device_does_not_measure"),
    ("daily", "wear_min", {}, "not_worn"),
    ("daily", "wear_min", {"steps": 4210}, "unknown"),
    ("daily", "hr_mean_bpm", {"steps": 4210}, "unknown"),
    ("daily", "steps", {"wear_min": 0.0}, "not_worn"),
    ("daily", "steps", {"wear_min": 100.0}, "device_does_not_measure"),
    ("daily", "sleep_tst_min", {"wear_min": 100.0}, "unknown"),
    ("daily", "hrv_rmssd_ms", {"wear_min": 100.0}, "unknown"),
    ("daily", "hrv_rmssd_ms", {"wear_min": 100.0, "sleep_tst_min": 400.0}, "device_does_not_measure"),
    ("daily", "steps_by_hour", {"wear_min": 100.0}, "device_does_not_measure"),
    ("status", "last_worn_date", {"status": "revoked"}, "revoked"),
    ("status", "last_synced_at", {"status": "not_enrolled"}, "not_enrolled"),
    ("status", "days_since_last_sync", {"status": "not_synced"}, "not_synced"),
    ("status", "last_synced_at", {"status": "valid"}, "unknown"),
]


@pytest.mark.parametrize(("table", "name", "given", "reason"), REASONS)
def test_a_missing_value_has_the_reason_that_its_row_shows(
    tmp_path: Path, table: TableName, name: str, given: dict[str, Any], reason: str
) -> None:
    base = WEEK if table == "weekly" else {}
    dataset = read(tmp_path, table, {"participant_id": "P1", **base, **given})
    assert dataset.rows[f"{name}_na"].to_pylist() == [reason]


def test_a_value_that_is_there_has_no_reason_and_0_is_a_value(tmp_path: Path) -> None:
    dataset = read(tmp_path, "weekly", {"participant_id": "P1", **WEEK, "steps_mean": 0.0})
    assert dataset.rows["steps_mean_na"].to_pylist() == [None]


def test_who_measured_it_in_another_week_has_a_device_that_does(tmp_path: Path) -> None:
    worn = {**WEEK, **VALID}
    written(tmp_path, "weekly", {"participant_id": "P1", **worn, "floors_mean": 3.0}, day=MONDAY - timedelta(weeks=1))
    catalogue = written(tmp_path, "weekly", {"participant_id": "P1", **worn}, {"participant_id": "P2", **worn})
    dataset = read_dataset(catalogue, TableId("weekly"), Weeks(MONDAY, MONDAY))
    assert dataset.rows["floors_mean_na"].to_pylist() == ["unknown", "device_does_not_measure"]


def test_weeks_without_a_row_are_listed_with_their_state(tmp_path: Path) -> None:
    written(tmp_path, "weekly", {"participant_id": "P1", **WEEK}, day=MONDAY - timedelta(weeks=1))
    catalogue = written(tmp_path, "weekly", {"participant_id": "P1", **WEEK})
    states = {"P1": "valid", "P2": "not_synced", "P3": "not_enrolled", "P4": "revoked", "P5": "too_short"}
    written(tmp_path, "status", *({"participant_id": one, "status": state} for one, state in states.items()))
    dataset = read_dataset(catalogue, TableId("weekly"), Weeks())
    assert [tuple(row.values()) for row in dataset.absent.to_pylist()] == [
        ("P2", MONDAY, "not_synced"),
        ("P3", MONDAY, "not_enrolled"),
        ("P4", MONDAY, "revoked"),
        ("P5", MONDAY, "unknown"),  # worn by its state, so that its row is yet to be computed
    ]
    assert dataset.unexplained == (MONDAY - timedelta(weeks=1),)


# -- REDCap and SAS, which no reader at hand understands


def test_the_redcap_dictionary_follows_redcaps_rules_and_the_import_has_its_fields(tmp_path: Path) -> None:
    given = {"participant_id": "P1", **WEEK, "is_valid_week": True, "who_activity": "below", "last_received_at": AT}
    dataset = read(tmp_path, "weekly", given)
    fields = dictionary_rows(dataset, Options("ja"))
    assert all(tuple(one) == DICTIONARY_COLUMNS for one in fields)
    names = [str(one["Variable / Field Name"]) for one in fields]
    assert names[0] == "record_id"
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z](?:_?[a-z0-9])*", name) and len(name) <= 100 for name in names)
    kinds = {(one["Field Type"], one["Text Validation Type OR Show Slider Number"]) for one in fields}
    times = {"date_ymd", "datetime_seconds_ymd"}
    assert kinds == {
        ("dropdown", None),
        ("yesno", None),
        *(("text", one) for one in {None, "integer", "number", *times}),
    }
    imported = import_table(dataset)
    header = imported.column_names
    assert header[:3] == ["record_id", "redcap_repeat_instrument", "redcap_repeat_instance"]
    assert header[3:-1] == names[1:]
    row = imported.to_pylist()[0]
    assert row["redcap_repeat_instance"] == (MONDAY - date(2015, 1, 5)).days / 7 + 1
    assert (row["w_is_valid_week"], row["w_computed_at"]) == (1, "2026-11-25 00:05:00")
    (choices,) = (one["Choices, Calculations, OR Slider Labels"] for one in fields if one[FIELD] == "w_who_activity")
    assert row["w_who_activity"] in [choice.partition(", ")[0] for choice in str(choices).split(" | ")]


FIELD = "Variable / Field Name"


def test_fields_of_two_tables_can_stand_in_one_redcap_project(tmp_path: Path) -> None:
    weekly = read(tmp_path / "w", "weekly", {"participant_id": "P1", **WEEK})
    daily = read(tmp_path / "d", "daily", {"participant_id": "P1"})
    status = read(tmp_path / "s", "status", {"participant_id": "P1", "status": "valid"})
    names = [one[FIELD] for data in (weekly, daily, status) for one in dictionary_rows(data, Options())]
    assert [name for name in names if names.count(name) > 1] == ["record_id"] * 3


def test_the_sas_program_formats_every_labelled_column_with_a_format_it_defines() -> None:
    columns = columns_of(TABLES["weekly"])
    program = sas_program("weekly_metrics", columns, Options("ja"))
    defined = re.findall(r"^  value (\w+) ", program, re.M)
    used = dict(re.findall(r"^  format (\w+) (\w+)\.;", program, re.M))
    assert {name for name in used if used[name] in defined} == {one.name for one in columns if one.values}
    assert set(defined) <= set(used.values())
    assert all(len(name) <= 32 and not name[-1].isdigit() for name in defined), "a name of SAS ends in no digit"
    assert "6 = '機器が測定しない'" in program
    assert max(map(len, csv.reader(program.splitlines()))) < 32_767


# -- what stops an export


def test_without_the_extra_packages_it_is_said_which_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read(tmp_path, "weekly", {"participant_id": "P1", **WEEK})
    monkeypatch.setitem(sys.modules, "pyreadstat", None)
    with pytest.raises(ExportError, match=r"pip install 'qol-dagster\[exports\]'"):
        write_format("stata", dataset, tmp_path, Options())


@pytest.mark.parametrize("form", ["stata", "spss", "sas"])
def test_a_word_that_has_no_number_is_no_missing_value(tmp_path: Path, form: FormatName) -> None:
    dataset = read(tmp_path, "weekly", {"participant_id": "P1", **WEEK, "who_activity": "twice"})
    with pytest.raises(ExportError, match="who_activity holds a word"):
        write_format(form, dataset, tmp_path, Options())
