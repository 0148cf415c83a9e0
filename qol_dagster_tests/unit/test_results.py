"""Rows as a table, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

from qol_dagster.cli.output import rendered

WHEN = datetime(2026, 11, 25, 0, 5, tzinfo=UTC)
COLUMNS = ("date", "participant_id", "steps_mean", "is_valid_week", "computed_at", "by_hour")
ROWS = [
    ("2026-11-16", "P1", 5021.142857142857, True, WHEN, [1.0, None]),
    ("2026-11-16", "P,2", None, None, None, None),
]


def test_json_is_an_array_of_objects_with_every_digit() -> None:
    assert json.loads(rendered(COLUMNS, ROWS, "json")) == [
        {
            "date": "2026-11-16",
            "participant_id": "P1",
            "steps_mean": 5021.142857142857,
            "is_valid_week": True,
            "computed_at": "2026-11-25T00:05:00.000Z",
            "by_hour": [1.0, None],
        },
        {**dict.fromkeys(COLUMNS), "date": "2026-11-16", "participant_id": "P,2"},
    ]
    assert json.loads(rendered(COLUMNS, [], "json")) == []


def test_numbers_that_json_lacks_are_null_and_decimals_are_numbers() -> None:
    values = (float("nan"), float("inf"), Decimal("1.5"))
    assert json.loads(rendered(("a", "b", "c"), [values], "json")) == [{"a": None, "b": None, "c": 1.5}]


def test_csv_reads_back_with_missing_values_empty() -> None:
    lines = list(csv.DictReader(io.StringIO(rendered(COLUMNS, ROWS, "csv"))))
    assert lines[0] == {
        "date": "2026-11-16",
        "participant_id": "P1",
        "steps_mean": "5021.142857142857",
        "is_valid_week": "true",
        "computed_at": "2026-11-25T00:05:00.000Z",
        "by_hour": "[1.0, null]",
    }
    assert lines[1] == {**dict.fromkeys(COLUMNS, ""), "date": "2026-11-16", "participant_id": "P,2"}


def test_a_table_is_rounded_and_aligned_for_reading() -> None:
    text = rendered(("who", "steps", "share"), [("P1", 12345.6, 0.123456), ("P22", None, 7.0)], "table")
    assert text.splitlines() == [
        "who  steps   share",
        "---  -----  ------",
        "P1   12346  0.1235",
        "P22      -       7",
        "(2 rows)",
    ]


def test_a_table_too_wide_for_the_terminal_has_a_line_for_each_column() -> None:
    columns = [f"column_{n}" for n in range(10)]
    rows = [[f"value-{row}-{n}" for n in range(10)] for row in range(3)]
    lines = rendered(columns, rows, "table", width=32).splitlines()
    assert lines[0] == "column_0  value-0-0  value-1-0"
    assert lines[11] == "column_0  value-2-0"
    assert lines[-1] == "(3 rows)"
    assert max(map(len, lines)) <= 32
    assert all(value in "\n".join(lines) for row in rows for value in row)


def test_an_empty_table_shows_its_columns() -> None:
    assert rendered(("a", "b"), [], "table") == "a  b\n-  -\n(0 rows)\n"


def test_a_value_cannot_break_the_table_s_lines() -> None:
    assert rendered(("a",), [("one\ntwo\t" + "x" * 100,)], "table").splitlines()[2] == "one two " + "x" * 51 + "…"
