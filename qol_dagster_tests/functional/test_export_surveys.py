"""Exports of questionnaires: every table in every format, as other programs read it."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from typing import Any

import pyreadstat
import pytest

from qol_dagster.exports import FORMAT_NAMES, ExportError, FormatName
from qol_dagster.exports.codebook import codebook_rows
from qol_dagster.exports.export import Exported, export
from qol_dagster.exports.formats import Options
from qol_dagster.exports.rows import Weeks
from qol_dagster.exports.tables import SurveyTable
from qol_dagster.metrics.types import TableName
from qol_dagster.resources.catalogue.duckdb import LocalCatalogue
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster_tests.support.forms import answers_of, form, survey_lake

LONGEST = {"name": 32, "label": 80}
"""Of Stata."""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> LocalCatalogue:
    """Two people: one with two waves, one whose social domain of the baseline was left blank."""
    folder = tmp_path_factory.mktemp("lake")
    blank = answers_of(3, q20=None, q21=None, q22=None)
    forms = [form("P1", 0, answers_of(4)), form("P1", 1, answers_of(2)), form("P2", 0, blank)]
    survey_lake(folder, ("P1", "P2"), forms)
    return LocalCatalogue(folder)


def exported(
    catalogue: LocalCatalogue, table: TableName, form: FormatName, out: Path, weeks: Weeks | None = None
) -> Exported:
    return export(catalogue, SurveyTable(table), weeks or Weeks(), form, out, options=Options("en", False))


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_scores_are_exported_with_the_reason_for_one_that_is_missing(catalogue: LocalCatalogue, tmp_path: Path) -> None:
    done = exported(catalogue, "whoqol_scores", "csv", tmp_path / "out")
    rows = csv_rows(tmp_path / "out" / "whoqol_scores.csv")
    columns = ("participant_id", "wave", "date", "physical_0_100", "social_0_100", "social_reason")
    assert [[row[name] for name in columns] for row in rows] == [
        ["P1", "0", "2026-10-19", "75", "75", ""],
        ["P1", "1", "2026-11-02", "25", "25", ""],
        ["P2", "0", "2026-10-19", "50", "", "domain_incomplete"],
    ]
    assert csv_rows(tmp_path / "out" / "absent_weeks.csv") == []
    (why,) = (row for row in codebook_rows(done.dataset) if row["name"] == "social_reason")
    labels = ("1 form_incomplete = Too few answers in the form", "2 domain_incomplete = Too few answers in the domain")
    assert why["values_en"] == "; ".join(labels)
    assert "領域の回答が足りない" in str(why["values_ja"])


@pytest.mark.parametrize("table", SURVEY_TABLES)
def test_every_table_is_in_every_format_and_stata_reads_what_the_table_holds(
    catalogue: LocalCatalogue, tmp_path: Path, table: TableName
) -> None:
    for name in FORMAT_NAMES:
        if (table, name) != ("whoqol_associations", "redcap"):
            assert exported(catalogue, table, name, tmp_path / name).files
    done = exported(catalogue, table, "stata", tmp_path / "stata")
    found, about = pyreadstat.read_dta(tmp_path / "stata" / f"{table}.dta", output_format="dict")
    assert list(found) == [one.name for one in SURVEY_TABLES[table]]
    assert all(len(name) <= LONGEST["name"] for name in found)
    assert all(0 < len(label) <= LONGEST["label"] for label in about.column_labels)
    for column in done.dataset.columns:
        codes = {one.word: one.code for one in column.values}
        values = [codes.get(value, value) for value in done.dataset.rows[column.name].to_pylist()]
        if column.kind in ("category", "integer", "text", "date"):
            assert [_plain(one) for one in found[column.name]] == [_plain(one) for one in values], column.name


def _plain(value: Any) -> Any:
    return None if value is None or value != value or value == "" else value


def test_weeks_choose_forms_by_their_date_of_answering_and_waves_by_when_they_are_due(
    catalogue: LocalCatalogue, tmp_path: Path
) -> None:
    later = Weeks(date(2026, 11, 2), date(2026, 11, 2))
    for table, waves in (("whoqol_scores", ["1"]), ("survey_due", ["1", "1"])):
        exported(catalogue, table, "csv", tmp_path / table, later)  # type: ignore[arg-type]
        assert [row["wave"] for row in csv_rows(tmp_path / table / f"{table}.csv")] == waves
    with pytest.raises(ExportError, match="made of all forms at once") as refused:
        exported(catalogue, "whoqol_associations", "csv", tmp_path / "out", later)
    assert "Leave out --week" in str(refused.value.advice)


def test_in_redcap_a_wave_is_an_instance_and_what_is_no_participants_is_refused(
    catalogue: LocalCatalogue, tmp_path: Path
) -> None:
    exported(catalogue, "whoqol_scores", "redcap", tmp_path / "out")
    rows = csv_rows(tmp_path / "out" / "whoqol_scores_redcap_import.csv")
    shown = [(one["record_id"], one["redcap_repeat_instance"], one["qs_physical_0_100"]) for one in rows]
    assert shown == [("P1", "1", "75"), ("P1", "2", "25"), ("P2", "1", "50")]
    with pytest.raises(ExportError, match="has no participants"):
        exported(catalogue, "whoqol_associations", "redcap", tmp_path / "none")


def test_no_garmin_id_is_in_an_export(catalogue: LocalCatalogue, tmp_path: Path) -> None:
    exported(catalogue, "survey_responses", "csv", tmp_path / "out")
    assert not any(b"garmin-P" in path.read_bytes() for path in (tmp_path / "out").iterdir())
