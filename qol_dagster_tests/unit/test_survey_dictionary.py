"""The tables of questionnaires: an entry for every column, in two languages, held to what is computed."""

from __future__ import annotations

import re

import pytest

from qol_dagster.lake.tables import arrow_schema
from qol_dagster.metrics.dictionary import DAILY, LONGEST_COMMENT, Metric, by_name
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.japanese import SURVEY_TEXTS
from qol_dagster.surveys.whoqol import RULES

EVERY = [column for columns in SURVEY_TABLES.values() for column in columns]
JAPANESE_LETTERS = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def entry(metric: Metric) -> str:
    return f"{metric.table}-{metric.name}"


def test_every_column_has_one_entry_under_its_table_and_one_japanese_text() -> None:
    for table, columns in SURVEY_TABLES.items():
        assert {one.table for one in columns} == {table}
        assert len(by_name(columns)) == len(columns)
        assert set(SURVEY_TEXTS[table]) == set(by_name(columns))


@pytest.mark.parametrize("metric", EVERY, ids=entry)
def test_an_entry_says_what_it_is_where_that_comes_from_and_as_much_in_japanese(metric: Metric) -> None:
    assert metric.description
    assert metric.sources
    assert metric.unit or metric.type in ("string", "bool")
    assert metric.name == "computed_at" or (metric.inputs and (metric.formula or metric.rule))
    assert JAPANESE_LETTERS.search(metric.japanese.term + metric.japanese.text)
    assert bool(metric.japanese.rule) == bool(metric.rule)
    assert not JAPANESE_LETTERS.search(f"{metric.description} {metric.formula} {metric.rule}")


@pytest.mark.parametrize("metric", EVERY, ids=entry)
def test_a_comment_is_one_line_that_glue_takes(metric: Metric) -> None:
    assert len(metric.comment) <= LONGEST_COMMENT
    assert metric.comment.isascii()
    assert metric.comment.isprintable()
    assert metric.comment.startswith(metric.description)


@pytest.mark.parametrize("metric", [one for one in EVERY if one.name.startswith("n_")], ids=entry)
def test_a_count_is_a_whole_number_and_never_missing(metric: Metric) -> None:
    assert (metric.type, metric.nullable) == ("int64", False)


def test_the_daily_inputs_are_daily_columns_and_the_others_columns_of_these_tables_or_of_raw() -> None:
    known = {one.name for one in EVERY} | {f"daily.{one.name}" for one in DAILY} | {"setting"}
    known |= {f"{table}.{one.name}" for table, columns in SURVEY_TABLES.items() for one in columns}
    named = {name for metric in EVERY for name in metric.inputs if not re.match(r"raw\.|\w+\.\*$", name)}
    assert named - known == set()


def test_the_rules_for_missing_items_are_those_of_the_code() -> None:
    text = by_name(SURVEY_TABLES["whoqol_scores"])["missing_rule"].rule
    for rule in RULES.values():
        stated = next(part for part in text.split(". ") if part.startswith(rule.name))
        numbers = [int(number) for number in re.findall(r"\d+", stated)]
        assert numbers == [rule.least_form, *rule.least.values()]


def test_each_table_has_a_parquet_schema() -> None:
    for columns in SURVEY_TABLES.values():
        assert arrow_schema(columns).names == [one.name for one in columns]


def test_a_measure_of_the_window_is_described_by_its_daily_column() -> None:
    windows = by_name(SURVEY_TABLES["whoqol_sensor_windows"])
    sleep = windows["sleep_tst_h_mean_14d"]
    assert (sleep.unit, sleep.formula, sleep.description) == (
        "h", "mean(sleep_tst_min) / 60", "Mean of: total sleep time"
    )  # fmt: skip
    assert windows["hrv_rmssd_mean_14d"].description.startswith("Mean of: ")
    assert windows["midsleep_mean_min_14d"].minimum == -720
