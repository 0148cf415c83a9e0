"""REDCap: a data dictionary that makes the instruments, and a file to import into them.

Belongs here: REDCap's names and field types. A participant is a record, a row an instance of a repeating instrument.
A field's name is unique in a project, so each begins with the first letter of its table: `w_steps_mean`; of those of
questionnaires with a prefix of its own: `qs_wave`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.exports import ExportError
from qol_dagster.exports.codebook import descriptions, label_of
from qol_dagster.exports.columns import Column, Kind
from qol_dagster.exports.formats import Options
from qol_dagster.exports.formats.delimited import write_csv, write_rows
from qol_dagster.exports.tables import has_participants
from qol_dagster.metrics.tables import LAYOUTS, TableId
from qol_dagster.metrics.types import DescribedTable

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.exports.rows import Dataset

FIRST_INSTANCE = date(2015, 1, 5)
"""The Monday whose week, and date, is instance 1; so that a row has its number for good, in every export."""
RECORD_ID = "record_id"
COMPLETE = 2
_PREFIXES: dict[DescribedTable, str] = {
    "survey_responses": "qr",
    "survey_due": "qd",
    "whoqol_scores": "qs",
    "whoqol_sensor_windows": "qw",
}
DICTIONARY_COLUMNS = (
    *("Variable / Field Name", "Form Name", "Section Header", "Field Type", "Field Label"),
    *("Choices, Calculations, OR Slider Labels", "Field Note", "Text Validation Type OR Show Slider Number"),
    *("Text Validation Min", "Text Validation Max", "Identifier?"),
    *("Branching Logic (Show field only if...)", "Required Field?", "Custom Alignment"),
    *("Question Number (surveys only)", "Matrix Group Name", "Matrix Ranking?", "Field Annotation"),
)
_VALIDATION: dict[Kind, str] = {
    "date": "date_ymd",
    "time": "datetime_seconds_ymd",
    "integer": "integer",
    "number": "number",
}


def write(dataset: Dataset, folder: Path, options: Options) -> None:
    """Write `<table>_redcap_dictionary.csv` and `<table>_redcap_import.csv`."""
    name = dataset.table.name
    if not has_participants(dataset.table):
        raise ExportError(f"{name} has no participants, who are REDCap's records", advice="Choose another --format")
    write_rows(dictionary_rows(dataset, options), folder / f"{name}_redcap_dictionary.csv", excel=options.excel)
    write_csv(import_table(dataset), folder / f"{name}_redcap_import.csv", excel=options.excel)


def field_name(column: Column) -> str:
    """Return what a column is called in REDCap."""
    table = column.metric.table
    return f"{_PREFIXES.get(table, table[0])}_{column.name}"


def dictionary_rows(dataset: Dataset, options: Options) -> list[dict[str, object]]:
    """Return a row for each field, with REDCap's columns; the first is the record's, on a form of its own."""
    participant = _field(RECORD_ID, "participant", "text", "Participant" if options.language == "en" else "参加者 ID")
    return [participant, *(_of(one, dataset.table.name, options) for one in _fields(dataset))]


def import_table(dataset: Dataset) -> pa.Table:
    """Return the rows as REDCap imports them: raw codes, 1 and 0 for yes and no, times in UTC."""
    import pyarrow as pa

    rows, form = dataset.rows, dataset.table.name
    every = {
        RECORD_ID: rows["participant_id"],
        "redcap_repeat_instrument": pa.array([form] * rows.num_rows, pa.string()),
        "redcap_repeat_instance": pa.array(_instances(dataset), pa.int64()),
        **{field_name(one): _raw(rows[one.name], one) for one in _fields(dataset)},
        f"{form}_complete": pa.array([COMPLETE] * rows.num_rows, pa.int8()),
    }
    return pa.Table.from_arrays(list(every.values()), names=list(every))


def _instances(dataset: Dataset) -> list[int]:
    """Return the number of each row's instance, from 1: of its week or date, or of its wave."""
    rows, table = dataset.rows, dataset.table
    if not isinstance(table, TableId):
        return [wave + 1 for wave in rows["wave"].to_pylist()]
    days = LAYOUTS[table.table].days
    return [(day - FIRST_INSTANCE).days // days + 1 for day in rows["date"].to_pylist()]


def _fields(dataset: Dataset) -> Sequence[Column]:
    return [one for one in dataset.columns if one.name != "participant_id"]


def _of(column: Column, form: str, options: Options) -> dict[str, object]:
    english, japanese = descriptions(column)
    field_type = {"category": "dropdown", "boolean": "yesno"}.get(column.kind, "text")
    return _field(
        field_name(column),
        form,
        field_type,
        column.labelled(options.language),
        choices=_choices(column, options) if column.kind == "category" else None,
        note=english if options.language == "en" else japanese,
        validation=_VALIDATION.get(column.kind),
        low=column.minimum,
        high=column.maximum,
    )


def _field(
    name: str,
    form: str,
    field_type: str,
    label: str,
    *,
    choices: str | None = None,
    note: str | None = None,
    validation: str | None = None,
    low: float | None = None,
    high: float | None = None,
) -> dict[str, object]:
    given = (name, form, None, field_type, label, choices, note, validation, low, high)
    return dict(zip(DICTIONARY_COLUMNS, (*given, *[None] * (len(DICTIONARY_COLUMNS) - len(given))), strict=True))


def _choices(column: Column, options: Options) -> str:
    return " | ".join(f"{one.word}, {label_of(one, options.language)}" for one in column.values)


def _raw(values: pa.ChunkedArray, column: Column) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.kind == "boolean":
        return values.cast(pa.int8())
    if column.kind == "time":
        seconds = values.cast(pa.timestamp("s"), safe=False)  # REDCap has no fractions
        return pc.strftime(seconds, format="%Y-%m-%d %H:%M:%S")
    return values
