"""Holding what Athena shows against what the local engine computes: what is the same, and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from emulated_aws.comparison import ComparisonError, compare
from qol_dagster.resources.catalogue import QueryResult

OLD = {"participant_id": "P1", "date": "2026-11-09", "steps_mean": 1.0, "n_days": 7, "computed_at": "then"}
NEW = {**OLD, "date": "2026-11-16", "steps_mean": 3.0}


def table(*rows: dict[str, Any], columns: Sequence[str] = tuple(OLD)) -> QueryResult:
    return QueryResult(pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows]))


def test_the_order_of_columns_rounding_and_the_time_of_computing_make_no_difference() -> None:
    nearly = {**NEW, "steps_mean": 3.0 + 1e-12, "computed_at": "now"}
    turned = table(nearly, OLD, columns=[*OLD][::-1])
    compare(turned, turned, table(OLD, NEW))
    compare(table(NEW), table(OLD, NEW), table(OLD, NEW))


@pytest.mark.parametrize("name", ["steps_mean", "n_days"])
def test_a_value_that_differs_is_named_by_its_row_and_column(name: str) -> None:
    found = table({**NEW, name: 4 if name == "n_days" else 3.001}, OLD)
    with pytest.raises(ComparisonError, match=f"2026-11-16.*P1.* in {name}$"):
        compare(table(NEW, OLD), found, table(OLD, NEW))


def test_rows_or_columns_that_only_one_has_are_a_difference() -> None:
    with pytest.raises(ComparisonError, match="Athena has 1 rows, and the local engine 2"):
        compare(table(NEW), table(NEW), table(OLD, NEW))
    with pytest.raises(ComparisonError, match="in n_days$"):
        compare(table(NEW), table(NEW), table(NEW, columns=[name for name in OLD if name != "n_days"]))


def test_what_is_shown_has_to_begin_with_the_last_weeks() -> None:
    for shown in (table(OLD, NEW), table(OLD), table()):
        with pytest.raises(ComparisonError, match="last weeks first"):
            compare(shown, table(OLD, NEW), table(OLD, NEW))
