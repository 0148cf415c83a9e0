"""Tables with the dictionary's columns, and the query that people begin with."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from qol_dagster.lake.tables import arrow_schema
from qol_dagster.metrics.dictionary import TABLES
from qol_dagster.metrics.types import TableName

STANDARD = "SELECT * FROM db_qol.weekly_metrics ORDER BY date DESC LIMIT 10;"


def rows(table: TableName, *given: dict[str, Any]) -> pa.Table:
    """Return rows that have nulls where nothing is given."""
    schema = arrow_schema(TABLES[table])
    return pa.Table.from_pylist([{**dict.fromkeys(schema.names), **one} for one in given], schema=schema)
