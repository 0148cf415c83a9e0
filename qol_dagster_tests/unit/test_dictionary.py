"""The metric dictionary: an entry for every column, nothing missing in it, and what is made from it agrees with it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from datetime import date

import pytest
import sqlglot
import typer
from rich.cells import cell_len
from sqlglot import exp

from qol_dagster.cli import app as cli
from qol_dagster.cli.metrics import metrics as metric_commands
from qol_dagster.defs.table_metadata import column_schema
from qol_dagster.engines.queries import compile_sql
from qol_dagster.lake.tables import arrow_schema
from qol_dagster.metrics import tables as ddl
from qol_dagster.metrics import weekly
from qol_dagster.metrics.daily import daily_rows
from qol_dagster.metrics.describe import UnknownMetricError, facts, find
from qol_dagster.metrics.dictionary import DAILY, LONGEST_COMMENT, REVISIONS, STATUS, TABLES, WEEKLY, Metric, by_name
from qol_dagster.metrics.dictionary.japanese import TEXTS
from qol_dagster.metrics.dictionary.values import REASONS, Value
from qol_dagster.metrics.fields import FIELDS, KNOWN_TYPES
from qol_dagster.metrics.records import records_table
from qol_dagster.metrics.status import status_rows
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS
from qol_dagster.metrics.types import TableName
from qol_dagster.metrics.weekly import weekly_rows

EVERY = [metric for metrics in TABLES.values() for metric in metrics]
JAPANESE_LETTERS = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
GARMIN_FIELDS = {name for field in FIELDS for name in field.garmin}
MONDAY = date(2015, 1, 5)


def names_of(metrics: Iterable[Metric]) -> list[str]:
    return [metric.name for metric in metrics]


def entry(metric: Metric) -> str:
    return f"{metric.table}-{metric.name}"


# -- every column, and the whole of it


def test_the_expressions_and_the_dictionary_have_the_same_columns_and_types() -> None:
    records = [records_table(side_by_side=side_by_side) for side_by_side in (True, False)]
    expressions = [
        *((daily_rows(one, DEFAULT_THRESHOLDS), DAILY) for one in records),
        (weekly_rows(DEFAULT_THRESHOLDS), WEEKLY),
        (status_rows(DEFAULT_THRESHOLDS), STATUS),
    ]
    for expression, metrics in expressions:
        computed = {name: str(type_).replace("!", "") for name, type_ in expression.schema().items()}
        assert computed == {metric.name: metric.ibis_type for metric in metrics}


def test_an_entry_stands_under_its_own_table_once() -> None:
    for table, metrics in TABLES.items():
        assert {metric.table for metric in metrics} == {table}
        assert len(by_name(metrics)) == len(metrics)


@pytest.mark.parametrize("metric", EVERY, ids=entry)
def test_an_entry_says_what_it_is_and_where_that_comes_from(metric: Metric) -> None:
    assert metric.description
    assert metric.sources
    assert metric.formula or metric.rule or metric.name in ("computed_at", "metrics_version")
    assert metric.unit or metric.type in ("string", "bool")
    assert metric.inputs or metric.name in ("computed_at", "metrics_version")


@pytest.mark.parametrize("table", TABLES)
def test_every_column_has_a_japanese_text_and_there_is_no_other(table: str) -> None:
    assert set(TEXTS[table]) == set(names_of(TABLES[table]))


@pytest.mark.parametrize("metric", EVERY, ids=entry)
def test_the_japanese_text_is_japanese_and_says_as_much_as_the_english(metric: Metric) -> None:
    japanese = metric.japanese
    assert JAPANESE_LETTERS.search(japanese.term)
    assert JAPANESE_LETTERS.search(japanese.text)
    assert bool(japanese.rule) == bool(metric.rule)
    assert not japanese.rule or JAPANESE_LETTERS.search(japanese.rule)
    assert not JAPANESE_LETTERS.search(f"{metric.description} {metric.formula} {metric.rule}")


@pytest.mark.parametrize("metric", EVERY, ids=entry)
def test_a_threshold_in_english_is_one_in_japanese_too(metric: Metric) -> None:
    japanese = set(re.findall(r"[a-z_0-9]+", f"{metric.japanese.text} {metric.japanese.rule}"))
    assert [name for name in DEFAULT_THRESHOLDS.as_dict() if name in japanese] == list(metric.thresholds)


@pytest.mark.parametrize("metric", DAILY, ids=entry)
def test_the_inputs_of_a_daily_metric_are_fields_that_are_read(metric: Metric) -> None:
    for name in metric.inputs:
        type_, _, field = name.partition(".")
        if type_ == "user_id_map":
            assert field == "participant_id"
            continue
        assert type_ in (*KNOWN_TYPES, "*"), name
        assert field in (*GARMIN_FIELDS, "*", ""), name


@pytest.mark.parametrize("metric", [one for one in EVERY if one.table != "daily"], ids=entry)
def test_the_inputs_of_other_metrics_are_daily_columns_and_of_status_also_the_enrolment(metric: Metric) -> None:
    enrolment = {f"user_id_map.{name}" for name in ("participant_id", "status", "enrolled_at")}
    assert set(metric.inputs) <= set(by_name(DAILY)) | (enrolment if metric.table == "status" else set())
    assert len(set(metric.inputs)) == len(metric.inputs)


@pytest.mark.parametrize("metric", EVERY, ids=entry)
def test_only_numbers_have_a_range_and_plausible_values_lie_within_it(metric: Metric) -> None:
    bounds = (metric.minimum, metric.maximum, metric.plausible)
    assert metric.type in ("int64", "float64") or bounds == (None, None, None)
    low = float("-inf") if metric.minimum is None else metric.minimum
    high = float("inf") if metric.maximum is None else metric.maximum
    assert low < high
    if metric.plausible:
        assert low <= metric.plausible[0] < metric.plausible[1] <= high


@pytest.mark.parametrize("metric", [one for one in EVERY if one.name.startswith("n_")], ids=entry)
def test_a_count_is_a_whole_number_and_never_missing(metric: Metric) -> None:
    assert (metric.type, metric.nullable) == ("int64", False)
    assert metric.minimum in (0, 1)


# -- one source for each number


def test_every_threshold_decides_something() -> None:
    named = {name for metric in EVERY for name in metric.thresholds}
    assert named == set(DEFAULT_THRESHOLDS.as_dict())


@pytest.mark.parametrize("metric", [one for one in EVERY if one.thresholds], ids=entry)
def test_a_threshold_is_named_and_its_value_not_repeated(metric: Metric) -> None:
    texts = " ".join((metric.formula, metric.rule, metric.japanese.text, metric.japanese.rule))
    for name in metric.thresholds:
        value = DEFAULT_THRESHOLDS.as_dict()[name]
        assert not re.search(rf"(?<![\w.]){value}(?![\w.])", texts), (name, texts)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("nights_ge7h_pct", (weekly.LONG_NIGHT_MIN,)),
        ("who_activity", (weekly.WHO_LOW_MIN, weekly.WHO_HIGH_MIN, weekly.WEEK_DAYS)),
        ("resting_hr_slope", (weekly.SLOPE_DAYS,)),
        ("yield_hours", (weekly.WEEK_HOURS,)),
        ("social_jetlag_min", (weekly.HALF_DAY_MIN,)),
        ("midsleep_sd_min", (weekly.DAY_MIN,)),
    ],
)
def test_numbers_that_are_no_thresholds_are_those_of_the_expression(name: str, numbers: tuple[int, ...]) -> None:
    metric = by_name(WEEKLY)[name]
    told = re.findall(r"\d+", f"{metric.formula} {metric.rule}")
    assert {str(number) for number in numbers} <= set(told)


@pytest.mark.parametrize("source", {one: None for metric in EVERY for one in metric.sources}, ids=str)
def test_a_source_is_named_and_its_identifiers_have_their_form(source: object) -> None:
    given = {name: getattr(source, name) for name in ("doi", "pmc", "pubmed")}
    forms = {"doi": r"10\.\d{4,9}/\S+", "pmc": r"\d+", "pubmed": r"\d+"}
    assert getattr(source, "name") and getattr(source, "work")  # noqa: B009, PT018
    assert [name for name, value in given.items() if value and not re.fullmatch(forms[name], value)] == []


# -- comments


@pytest.mark.parametrize("metric", EVERY, ids=entry)
def test_a_comment_is_one_line_that_glue_takes_and_begins_with_the_description(metric: Metric) -> None:
    assert len(metric.description) <= LONGEST_COMMENT
    assert len(metric.comment) <= LONGEST_COMMENT
    assert metric.comment.isascii()
    assert metric.comment.isprintable()
    assert metric.comment.startswith(metric.description)
    assert metric.comment == metric.definition or metric.definition.startswith(metric.comment.removesuffix(" ..."))


def test_a_definition_too_long_for_a_comment_loses_its_last_sentences() -> None:
    metric = by_name(WEEKLY)["steps_mean"]
    sentence = "y" * 60
    rule = ". ".join([sentence] * 5)
    shortened = type(metric)(**{**metric.__dict__, "rule": rule}).comment
    assert shortened == f"Mean steps a day [n/d]. {sentence}. {sentence}. {sentence} ..."
    words = type(metric)(**{**metric.__dict__, "description": "word " * 80, "rule": "", "formula": ""}).comment
    assert words.endswith("word ...")
    assert 250 <= len(words) <= LONGEST_COMMENT


def test_the_parquet_schema_carries_the_comments_and_dagster_the_definitions_and_ranges() -> None:
    for metrics in TABLES.values():
        schema = arrow_schema(metrics)
        assert [field.metadata[b"comment"].decode() for field in schema] == [metric.comment for metric in metrics]
        assert [one.description for one in column_schema(metrics).columns] == [one.definition for one in metrics]
    shown = {one.name: one.constraints.other for one in column_schema(WEEKLY).columns}
    assert (shown["n_valid_days"], shown["steps_mean"], shown["date"]) == (["0 to 7"], [">= 0"], [])


# -- Athena


@pytest.mark.parametrize("table", TABLES)
def test_athena_reads_the_table_s_statement(table: TableName) -> None:
    made = ddl.external_table(table, "s3://bucket", MONDAY)
    parsed = sqlglot.parse_one(made.ddl, dialect="athena")
    assert isinstance(parsed, exp.Create)
    assert parsed.this.this.sql() == f"db_qol.{made.name}"
    columns = {
        one.name: (one.kind.sql("hive").lower(), one.find(exp.CommentColumnConstraint).this.name)
        for one in parsed.find_all(exp.ColumnDef)
    }
    types = {
        "string": "string",
        "int64": "bigint",
        "float64": "double",
        "bool": "boolean",
        "timestamp": "timestamp",
        "list<float64>": "array<double>",
        "list<int64>": "array<bigint>",
    }
    assert columns == {one.name: (types[one.type], one.comment) for one in TABLES[table]}


@pytest.mark.parametrize("table", TABLES)
def test_the_catalogue_s_columns_are_the_dictionary_s_and_the_partition_is_none_of_them(table: TableName) -> None:
    made = ddl.external_table(table, "s3://bucket", MONDAY)
    assert [one.name for one in made.columns] == [name for name in names_of(TABLES[table]) if name != "date"]
    assert [(one.name, one.type) for one in made.partition_keys] == [("date", "string")]
    assert all(len(one.comment) <= LONGEST_COMMENT for one in (*made.columns, *made.partition_keys))
    assert len(made.ddl) < 256 * 1024  # as much as Athena takes


def test_a_log_of_revisions_is_json_with_the_dictionary_s_columns_but_its_end() -> None:
    made = ddl.revisions_table("weekly", "s3://bucket/lake/", MONDAY, "_strict")
    assert (made.name, made.location) == (
        "weekly_metrics_strict_revisions",
        "s3://bucket/lake/history_strict/weekly/revisions/",
    )
    wanted = [one.name for one in REVISIONS if one.name not in ("date", "valid_until")]
    assert [one.name for one in made.columns] == wanted
    assert dict(made.parameters)["projection.date.interval"] == "7"
    assert "ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'\nSTORED AS INPUTFORMAT" in made.ddl
    assert isinstance(sqlglot.parse_one(made.ddl, dialect="athena"), exp.Create)


def test_date_stands_in_backticks_wherever_the_statement_names_it() -> None:
    statement = ddl.external_table("weekly", "s3://bucket", MONDAY).ddl
    assert "PARTITIONED BY (\n  `date` string" in statement
    assert not re.search(r"^  date ", statement, re.M)


@pytest.mark.parametrize(("table", "days"), [("daily", "1"), ("weekly", "7"), ("status", "7")])
def test_partitions_are_counted_from_a_monday_until_now_in_japan(table: TableName, days: str) -> None:
    made = ddl.external_table(table, "s3://bucket/lake/", MONDAY)
    assert made.location == f"s3://bucket/lake/processed/{table}/"
    assert dict(made.parameters) == {
        "classification": "parquet",
        "projection.enabled": "true",
        "projection.date.type": "date",
        "projection.date.format": "yyyy-MM-dd",
        "projection.date.range": "2015-01-05,NOW+9HOURS",
        "projection.date.interval": days,
        "projection.date.interval.unit": "DAYS",
        "storage.location.template": f"s3://bucket/lake/processed/{table}/date=${{date}}/",
    }
    assert all(f"'{name}' = '{value}'" in made.ddl for name, value in made.parameters.items())


def test_a_profile_s_table_has_a_name_and_a_folder_of_its_own() -> None:
    for table, name in (("weekly", "weekly_metrics_strict"), ("status", "participant_status_strict")):
        made = ddl.external_table(table, "s3://bucket", MONDAY, "_strict")
        assert (made.name, made.location) == (name, f"s3://bucket/processed_strict/{table}/")


@pytest.mark.parametrize(
    ("lake", "since", "complaint"),
    [("s3://bucket", date(2015, 1, 6), "a Monday"), ("/mnt/lake", MONDAY, "reads s3://")],
)
def test_a_table_that_athena_could_not_read_is_refused(lake: str, since: date, complaint: str) -> None:
    with pytest.raises(ddl.TableError, match=complaint):
        ddl.external_table("weekly", lake, since)


def test_quotes_and_backslashes_in_a_comment_reach_the_catalogue_as_they_are() -> None:
    comment = "Garmin's \\ sign; no 'end'"
    table = ddl.ExternalTable("t", comment, "s3://b/", (ddl.Column("a", "double", comment),), (), {})
    read = sqlglot.parse_one(table.ddl.replace("PARTITIONED BY (\n\n)\n", ""), dialect="athena")
    assert [one.this.name for one in read.find_all(exp.CommentColumnConstraint)] == [comment]


# -- in the terminal

Qol = Callable[..., tuple[int, str, str]]


@pytest.fixture
def qol(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Qol:
    """`qol metrics ...`: its exit code, stdout and stderr, in a terminal of so many columns."""
    root = typer.Typer()
    root.add_typer(metric_commands, name="metrics")
    monkeypatch.setattr(cli, "app", root)

    def run(*words: str, columns: int = 120) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        code = cli.run(["metrics", *words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_the_list_names_every_metric_with_its_unit(qol: Qol) -> None:
    code, out, err = qol("list")
    rows = [line.split() for line in out.splitlines()[2:-1]]
    assert [(row[0], row[1]) for row in rows] == [(metric.table, metric.name) for metric in EVERY]
    assert ["weekly", "steps_mean", "n/d", "Mean", "steps", "a", "day"] in rows
    assert (code, err, out.splitlines()[-1]) == (0, "", f"({len(EVERY)} rows)")


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_list_keeps_within_the_terminal_and_each_metric_on_its_line(qol: Qol, columns: int) -> None:
    lines = qol("list", columns=columns)[1].splitlines()
    assert len(lines) == len(EVERY) + 3
    assert max(map(len, lines)) <= columns


def test_the_list_of_one_table_shows_that_one(qol: Qol) -> None:
    rows = list(csv.DictReader(io.StringIO(qol("list", "--table", "weekly", "--format", "csv")[1])))
    assert [row["name"] for row in rows] == names_of(WEEKLY)
    rhythm = next(row for row in rows if row["name"] == "relative_amplitude")
    assert (rhythm["minimum"], rhythm["maximum"], rhythm["term_ja"]) == ("0.0", "1", "相対振幅")


def test_the_list_as_json_carries_every_field_in_both_languages(qol: Qol) -> None:
    rows = json.loads(qol("list", "--format", "json")[1])
    assert [(row["table"], row["name"]) for row in rows] == [(metric.table, metric.name) for metric in EVERY]
    for row, metric in zip(rows, EVERY, strict=True):
        assert (row["formula"], row["rule"], row["unit"]) == (metric.formula, metric.rule, metric.unit)
        assert (row["description"], row["description_ja"]) == (metric.description, metric.japanese.text)
        assert row["inputs"].split() == list(metric.inputs)


def unwrapped(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_a_metric_is_shown_with_all_that_is_known_of_it(qol: Qol) -> None:
    code, out, err = qol("show", "is_valid_week")
    assert (code, err) == (0, "")
    assert unwrapped(out) == (
        "is_valid_week table db_qol.weekly_metrics what Whether the week counts as worn unit yes/no "
        "formula n_valid_days >= valid_week_days and n_valid_weekend_days >= valid_week_weekend_days "
        "thresholds valid_week_days = 4, valid_week_weekend_days = 1 inputs is_valid_day, date "
        "source Tudor-Locke 2012 (doi:10.5888/pcd9.110332); Herrmann 2013 (PMID 23036822) "
    )


def test_a_metric_is_shown_in_japanese(qol: Qol) -> None:
    out = qol("show", "social_jetlag_min", "--lang", "ja", columns=200)[1]
    assert "  説明        社会的時差ぼけ。" in out
    assert "  範囲        -720〜720" in out
    assert "どちらかがなければ欠損" in out


def test_a_metric_of_two_tables_is_shown_from_both(qol: Qol) -> None:
    out = qol("show", "n_records")[1]
    assert re.findall(r"db_qol\.\w+", out) == ["db_qol.daily_metrics", "db_qol.weekly_metrics"]
    assert [metric.table for metric in find("n_records")] == ["daily", "weekly"]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_what_is_shown_keeps_within_the_terminal_and_loses_nothing(qol: Qol, language: str) -> None:
    for metric in {metric.name: metric for metric in EVERY}.values():
        narrow = qol("show", metric.name, "--lang", language, columns=80)[1]
        wide = qol("show", metric.name, "--lang", language, columns=5000)[1]
        assert max(map(cell_len, narrow.splitlines())) <= 80
        assert not re.search(r"^\s*[、。）]", narrow, re.M)  # signs that may not begin a line
        assert re.sub(r"\s", "", narrow) == re.sub(r"\s", "", wide)


@pytest.mark.parametrize(
    ("name", "nearest"), [("step_mean", "steps_mean"), ("Steps_Mean", "steps_mean"), ("hrv", "hrv_rmssd_ms")]
)
def test_an_unknown_name_is_told_with_the_nearest_ones(qol: Qol, name: str, nearest: str) -> None:
    code, out, err = qol("show", name)
    assert (code, out) == (2, "")
    assert err.startswith(f"qol: there is no metric '{name}'; nearest: ")
    assert nearest in err


def test_a_name_like_none_is_told_where_all_are(qol: Qol) -> None:
    assert qol("show", "zzzz") == (2, "", "qol: there is no metric 'zzzz'; `qol metrics list` shows all\n")
    with pytest.raises(UnknownMetricError):
        find("")


# -- values and reasons for blanks


@pytest.mark.parametrize("metric", EVERY, ids=entry)
def test_a_column_that_may_be_null_says_why_it_may_and_no_other_does(metric: Metric) -> None:
    nobody_knows = metric.name == "last_received_at"
    assert bool(metric.blanks) == (metric.nullable and not nobody_knows)
    words = [one.word for one in metric.blanks.reasons] if metric.blanks else ["unknown"]
    assert words[-1] == "unknown"


@pytest.mark.parametrize("metric", [one for one in EVERY if one.blanks and one.blanks.counts], ids=entry)
def test_the_counts_that_explain_a_blank_are_columns_of_its_table(metric: Metric) -> None:
    columns = by_name(TABLES[metric.table])
    assert metric.blanks
    assert all(columns[name].type == "int64" and not columns[name].nullable for name in metric.blanks.counts)
    assert "below_precondition" in [one.word for one in metric.blanks.reasons]


@pytest.mark.parametrize(
    "values", {one.values: None for one in EVERY if one.values} | {REASONS: None}, ids=lambda values: values[0].word
)
def test_the_words_of_a_column_are_labelled_in_both_languages_and_numbered_apart(values: tuple[Value, ...]) -> None:
    assert len({one.code for one in values}) == len({one.word for one in values}) == len(values)
    for one in values:
        assert one.en
        assert not JAPANESE_LETTERS.search(one.en)
        assert JAPANESE_LETTERS.search(one.ja)


def test_the_words_of_a_column_are_those_that_its_expression_can_give() -> None:
    expressions = {
        "who_activity": weekly_rows(DEFAULT_THRESHOLDS),
        "status": status_rows(DEFAULT_THRESHOLDS),
        "wear_source": daily_rows(records_table(side_by_side=True), DEFAULT_THRESHOLDS),
    }
    for name, expression in expressions.items():
        (metric,) = find(name)
        given = re.findall(r"(?:THEN|ELSE) '(\w+)'", compile_sql(expression, "duckdb"))
        assert {one.word for one in metric.values} == {word for word in given if len(word) > 1}, name


def test_why_a_value_may_be_missing_is_shown_with_the_metric() -> None:
    (steps,) = find("steps_sd")
    assert dict(facts(steps))["blank if"] == "not_worn, too_short, device_does_not_measure, below_precondition, unknown"
    assert dict(facts(steps, "ja"))["欠損の理由"].startswith("非装着, 装着不足, ")
