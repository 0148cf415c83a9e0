"""The types of the tables' columns, and how each of the four that store or read them spells them.

Belongs here: names of types. Which column has which is the dictionary's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

ColumnType = Literal["string", "int64", "float64", "bool", "timestamp", "list<float64>", "list<int64>"]
TableName = Literal[
    "daily",
    "weekly",
    "status",
    # Of questionnaires: `surveys/dictionary.py` has their columns.
    "survey_responses",
    "survey_due",
    "whoqol_scores",
    "whoqol_sensor_windows",
    "whoqol_associations",
]
DescribedTable = TableName | Literal["revisions"]
"""What the dictionary describes: the tables, and the log of revisions that each of them has."""


@dataclass(frozen=True)
class Spelling:
    """A type in Ibis, Hive and DuckDB."""

    ibis: str
    hive: str
    duckdb: str


COLUMN_TYPES: dict[ColumnType, Spelling] = {
    "string": Spelling("string", "string", "VARCHAR"),
    "int64": Spelling("int64", "bigint", "BIGINT"),
    "float64": Spelling("float64", "double", "DOUBLE"),
    "bool": Spelling("boolean", "boolean", "BOOLEAN"),
    # Inside an expression a time is milliseconds since 1970 UTC.
    "timestamp": Spelling("int64", "timestamp", "TIMESTAMP WITH TIME ZONE"),
    "list<float64>": Spelling("array<float64>", "array<double>", "DOUBLE[]"),
    "list<int64>": Spelling("array<int64>", "array<bigint>", "BIGINT[]"),
}


def arrow_type(name: ColumnType) -> pa.DataType:
    """Return the type in Arrow, and so in Parquet."""
    import pyarrow as pa

    return {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("ms", tz="UTC"),
        "list<float64>": pa.list_(pa.float64()),
        "list<int64>": pa.list_(pa.int64()),
    }[name]
