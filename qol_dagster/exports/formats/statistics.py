"""Stata, SPSS and SAS: numbers with labels, in the files that these programs read.

Belongs here: how a word becomes a labelled number, what a label may hold, and the SAS program that goes with its file.
The files are written by pyreadstat; it and Polars are the extra `exports`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.exports import ExportError
from qol_dagster.exports.codebook import label_of
from qol_dagster.exports.columns import Column
from qol_dagster.exports.formats import Options
from qol_dagster.metrics.dictionary.values import REASONS, YES_NO, Value

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.exports.rows import Dataset

STATA_LABEL = 80
"""The most characters of a variable's label in Stata."""
LABEL_BYTES = 255
"""The most bytes of one in SPSS and SAS."""
_SAS_FORMATS = {"date": "yymmdd10.", "time": "e8601dt23.3"}
_SPSS_FORMATS = {"date": "SDATE10", "time": "DATETIME23.3", "integer": "F12.0", "number": "F16.4"}


def write_stata(dataset: Dataset, folder: Path, options: Options) -> None:
    """Write `<table>.dta`, of Stata 14 and later."""
    _pyreadstat().write_dta(
        _frame(dataset),
        folder / f"{dataset.table.name}.dta",
        file_label=dataset.table.name,
        column_labels=_labels(dataset, options, lambda text: _cut(text, STATA_LABEL)),
        variable_value_labels=_value_labels(dataset, options),
    )


def write_spss(dataset: Dataset, folder: Path, options: Options) -> None:
    """Write `<table>.sav`."""
    measures = {one.name: "scale" if one.kind in ("integer", "number") else "nominal" for one in dataset.columns}
    formats = {one.name: _SPSS_FORMATS[one.kind] for one in dataset.columns if one.kind in _SPSS_FORMATS}
    formats |= {one.name: "F2.0" for one in dataset.columns if one.values}
    _pyreadstat().write_sav(
        _frame(dataset),
        folder / f"{dataset.table.name}.sav",
        file_label=dataset.table.name,
        column_labels=_labels(dataset, options, _cut_bytes),
        row_compress=True,
        variable_value_labels=_value_labels(dataset, options),
        variable_format=formats,
        variable_measure=measures,
    )


def write_sas(dataset: Dataset, folder: Path, options: Options) -> None:
    """Write `<table>.xpt`, a transport file of version 8, and the program `<table>.sas` that loads and labels it."""
    _pyreadstat().write_xport(
        _frame(dataset),
        folder / f"{dataset.table.name}.xpt",
        table_name=dataset.table.name,
        file_format_version=8,
        column_labels=_labels(dataset, options, _cut_bytes),
    )
    program = sas_program(dataset.table.name, dataset.columns, options)
    (folder / f"{dataset.table.name}.sas").write_text(program, encoding="utf-8")


def sas_program(table: str, columns: Sequence[Column], options: Options) -> str:
    """Return the SAS program: a format for each set of words, and which column has which."""
    formats: dict[str, tuple[Value, ...]] = {}
    used = []
    for one in columns:
        if values := _values(one):
            name = "missing_" if one.is_reason else "yes_no_" if one.kind == "boolean" else f"{one.name}_"
            formats[name] = REASONS if one.is_reason else values
            used.append(f"{one.name} {name}.")
        elif one.kind in _SAS_FORMATS:
            used.append(f"{one.name} {_SAS_FORMATS[one.kind]}")
    lines = [
        f"/* Loads {table}.xpt as work.{table}, with labels. Give the folder; run in a session with encoding UTF-8. */",
        "%let folder = .;",
        f'%xpt2loc(libref=work, memlist={table}, filespec="&folder/{table}.xpt");',
        "proc format;",
        *(f"  value {name} {_sas_labels(values, options)};" for name, values in formats.items()),
        "run;",
        "proc datasets library=work nolist;",
        f"  modify {table};",
        *(f"  format {one};" for one in used),
        "quit;",
    ]
    return "\n".join(lines) + "\n"


def _sas_labels(values: Sequence[Value], options: Options) -> str:
    labels = [(one.code, label_of(one, options.language).replace("'", "''")) for one in values]
    return " ".join(f"{code} = '{label}'" for code, label in labels)


def _pyreadstat() -> Any:
    try:
        import polars  # noqa: F401
        import pyreadstat
    except ImportError as error:
        raise ExportError("Stata, SPSS and SAS need more packages: pip install 'qol-dagster[exports]'") from error
    return pyreadstat


def _frame(dataset: Dataset) -> Any:
    """Return the rows for Polars, words and yes or no as numbers."""
    import polars as pl
    import pyarrow as pa

    arrays = [_numbered(dataset.rows[one.name], one) for one in dataset.columns]
    return pl.from_arrow(pa.Table.from_arrays(arrays, names=dataset.names))


def _numbered(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Return the codes of the words. Raises ExportError for a word that the dictionary has not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.kind == "boolean":
        return values.cast(pa.int8())
    if column.kind != "category":
        return values
    words = pa.array([one.word for one in column.values], pa.string())
    places = pc.index_in(values, words)
    if places.null_count != values.null_count:
        raise ExportError(f"{column.name} holds a word that the dictionary has not; report this as a fault")
    return pa.array([one.code for one in column.values], pa.int8()).take(places)


def _values(column: Column) -> tuple[Value, ...]:
    return YES_NO if column.kind == "boolean" else column.values


def _labels(dataset: Dataset, options: Options, cut: Any) -> dict[str, str]:
    return {one.name: cut(one.labelled(options.language)) for one in dataset.columns}


def _value_labels(dataset: Dataset, options: Options) -> Mapping[str, Mapping[int, str]]:
    return {
        one.name: {value.code: label_of(value, options.language) for value in _values(one)}
        for one in dataset.columns
        if _values(one)
    }


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _cut_bytes(text: str) -> str:
    while len(text.encode()) > LABEL_BYTES:
        text = f"{text.removesuffix('…')[:-1]}…"
    return text
