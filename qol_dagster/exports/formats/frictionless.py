"""Frictionless: a CSV and the `datapackage.json` that describes it and the codebook, by Table Schema.

Belongs here: that description, of version 1 of the specifications (specs.frictionlessdata.io).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.exports.codebook import descriptions
from qol_dagster.exports.columns import Column, Kind
from qol_dagster.exports.folder import checksum
from qol_dagster.exports.formats import Options
from qol_dagster.exports.formats.delimited import write_csv
from qol_dagster.exports.tables import comment_of, key_of

if TYPE_CHECKING:
    from qol_dagster.exports.rows import Dataset

_TYPES: dict[Kind, dict[str, str]] = {
    "text": {"type": "string"},
    "date": {"type": "date"},
    "time": {"type": "datetime", "format": "%Y-%m-%dT%H:%M:%S.%fZ"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "category": {"type": "string"},
}


def write(dataset: Dataset, folder: Path, options: Options) -> None:
    """Write `<table>.csv` and `datapackage.json`."""
    data = folder / f"{dataset.table.name}.csv"
    write_csv(dataset.rows, data, excel=options.excel)
    package = {
        "profile": "tabular-data-package",
        "name": dataset.table.name.replace("_", "-"),
        "title": comment_of(dataset.table),
        "resources": [
            {
                "profile": "tabular-data-resource",
                "name": dataset.table.name.replace("_", "-"),
                "path": data.name,
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8-sig" if options.excel else "utf-8",
                "bytes": data.stat().st_size,
                "hash": f"sha256:{checksum(data)}",
                "schema": table_schema(dataset.columns, key_of(dataset.table), options),
            }
        ],
    }
    text = json.dumps(package, ensure_ascii=False, indent=1)
    (folder / "datapackage.json").write_text(f"{text}\n", encoding="utf-8")


def table_schema(columns: Sequence[Column], key: Sequence[str], options: Options) -> dict[str, Any]:
    """Return the Table Schema of the columns."""
    return {
        "fields": [_field(one, options) for one in columns],
        "missingValues": [""],
        "primaryKey": list(key),
    }


def _field(column: Column, options: Options) -> dict[str, Any]:
    english, japanese = descriptions(column)
    limits = {
        "required": True if column.is_required else None,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "enum": [one.word for one in column.values] if column.kind == "category" else None,
    }
    constraints = {name: _plain(value) for name, value in limits.items() if value is not None}
    described = english if options.language == "en" else japanese
    return {
        "name": column.name,
        **_TYPES[column.kind],
        "title": column.labelled(options.language),
        "description": described,
        **({"unit": column.unit} if column.unit else {}),
        **({"constraints": constraints} if constraints else {}),
    }


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
