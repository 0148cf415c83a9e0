"""Parquet: one file, each column with its labels and unit as metadata.

Belongs here: that file. pandas, Polars, DuckDB, R's arrow and Spark read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.exports.formats import Options

if TYPE_CHECKING:
    from qol_dagster.exports.rows import Dataset


def write(dataset: Dataset, folder: Path, options: Options) -> None:
    """Write `<table>.parquet`; labels are there in both languages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    del options
    schema = pa.schema(
        [
            dataset.rows.schema.field(one.name).with_metadata(
                {"label": one.label, "label_ja": one.label_ja, "unit": one.unit}
            )
            for one in dataset.columns
        ]
    )
    pq.write_table(dataset.rows.cast(schema), folder / f"{dataset.table.name}.parquet", compression="zstd")
