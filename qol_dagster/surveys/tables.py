"""The tables of questionnaires as people name them, and as Athena and the Glue Data Catalog know them.

Belongs here: what a row of each is, its folder in the lake, and how far its partitions reach. The columns are those of
`dictionary.py`.
"""

from __future__ import annotations

from datetime import date

from qol_dagster.metrics.profiles import DEFAULT
from qol_dagster.metrics.tables import JAPAN, ExternalTable, Layout, parquet_table
from qol_dagster.metrics.types import TableName
from qol_dagster.surveys.dictionary import SURVEY_TABLES

DUE_AHEAD = "5YEARS"
"""How far ahead Athena looks for due dates. Each date costs a query a listing, so the future has an end."""
_COMMENTS: dict[TableName, str] = {
    "survey_responses": "Answers of a participant and wave, as they were marked; date is that of answering",
    "survey_due": "When a wave is due, and whether it was answered, by participant and wave; date is the due date",
    "whoqol_scores": "Scores of a form, by participant and wave; date is that of answering",
    "whoqol_sensor_windows": "Sensors in the 14 dates before a form, by participant and wave; date is the form's",
    "whoqol_associations": "Domains and measures: estimates over all forms; date is that of the latest",
}
SURVEY_LAYOUTS: dict[TableName, Layout] = {name: Layout(name, 1, comment) for name, comment in _COMMENTS.items()}


def survey_key(table: TableName) -> tuple[str, ...]:
    """Return the columns of a table that no two rows have alike."""
    return ("domain", "measure", "method") if table == "whoqol_associations" else ("participant_id", "wave")


def survey_folder(table: TableName) -> str:
    """Return a table's folder in the lake."""
    return f"{DEFAULT.folder}/{table}"


def survey_external_tables(lake: str, since: date) -> tuple[ExternalTable, ...]:
    """Return the catalogue's tables of questionnaires; `lake` and `since` as in `external_table`. Raises TableError."""
    return tuple(
        parquet_table(
            layout,
            SURVEY_TABLES[table],
            lake,
            survey_folder(table),
            since,
            until=DUE_AHEAD if table == "survey_due" else JAPAN,
        )
        for table, layout in SURVEY_LAYOUTS.items()
    )
