"""R: a CSV, and a script that reads it with types, factors and labels, by base R alone.

Belongs here: that script.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.exports.codebook import label_of
from qol_dagster.exports.columns import Column, Kind
from qol_dagster.exports.formats import Options
from qol_dagster.exports.formats.delimited import write_csv

if TYPE_CHECKING:
    from qol_dagster.exports.rows import Dataset

_CLASSES: dict[Kind, str] = {
    "text": "character",
    "date": "Date",
    "time": "character",
    "integer": "integer",
    "number": "numeric",
    "boolean": "logical",
    "category": "character",
}


def write(dataset: Dataset, folder: Path, options: Options) -> None:
    """Write `<table>.csv` and `<table>.R`."""
    name = dataset.table.name
    write_csv(dataset.rows, folder / f"{name}.csv", excel=options.excel)
    (folder / f"{name}.R").write_text(script(dataset, options), encoding="utf-8")


def script(dataset: Dataset, options: Options) -> str:
    """Return the script: it makes a data frame that is called as the table is."""
    name, columns = dataset.table.name, dataset.columns
    classes = ",\n  ".join(f"{one.name} = {_text(_CLASSES[one.kind])}" for one in columns)
    times = [_assigned(name, one, _time(name, one)) for one in columns if one.kind == "time"]
    factors = [_assigned(name, one, _factor(name, one, options)) for one in columns if one.kind == "category"]
    labels = [f"attr({name}${one.name}, 'label') <- {_text(one.labelled(options.language))}" for one in columns]
    units = [f"attr({name}${one.name}, 'units') <- {_text(one.unit)}" for one in columns if one.unit]
    return (
        "\n".join(
            [
                f"# Reads {name}.csv with types, factors, labels and units; base R is enough.",
                f'# In its folder: source("{name}.R", encoding = "UTF-8"). From elsewhere, set `folder` before.',
                'if (!exists("folder")) folder <- "."',
                f"{name} <- read.csv(",
                f'  file.path(folder, "{name}.csv"), na.strings = "", fileEncoding = "UTF-8-BOM",',
                f"  colClasses = c(\n  {classes}\n))",
                f"stopifnot(nrow({name}) == {dataset.rows.num_rows})",
                *times,
                *factors,
                *labels,
                *units,
            ]
        )
        + "\n"
    )


def _assigned(name: str, column: Column, value: str) -> str:
    return f"{name}${column.name} <- {value}"


def _time(name: str, column: Column) -> str:
    return f"as.POSIXct({name}${column.name}, format = '%Y-%m-%dT%H:%M:%OSZ', tz = 'UTC')"


def _factor(name: str, column: Column, options: Options) -> str:
    words = _vector(one.word for one in column.values)
    labels = _vector(label_of(one, options.language) for one in column.values)
    return f"factor({name}${column.name}, levels = {words}, labels = {labels})"


def _vector(texts: Iterable[str]) -> str:
    return f"c({', '.join(map(_text, texts))})"


def _text(text: str) -> str:
    """Return a string of R, which spells one as JSON does."""
    return json.dumps(text, ensure_ascii=False)
