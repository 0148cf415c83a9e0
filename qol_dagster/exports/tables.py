"""The tables that can be exported: those of the weeks, and those of questionnaires.

Belongs here: what an export needs to know of a table beside its columns: the key of a row, whether weeks choose rows,
and which command computes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from qol_dagster.metrics.dictionary import Metric
from qol_dagster.metrics.profiles import DEFAULT, Profile
from qol_dagster.metrics.tables import DATABASE, LAYOUTS, TableId, all_tables
from qol_dagster.metrics.types import TableName
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.tables import SURVEY_LAYOUTS, survey_key


@dataclass(frozen=True)
class SurveyTable:
    """A table of questionnaires; it has no profile of its own, and its days are those of the default one."""

    table: TableName
    profile: Profile = DEFAULT

    @property
    def name(self) -> str:
        """What it is called in `db_qol`."""
        return self.table

    @property
    def qualified_name(self) -> str:
        """As a query names it."""
        return f"{DATABASE}.{self.name}"

    @property
    def columns(self) -> tuple[Metric, ...]:
        """Its columns."""
        return SURVEY_TABLES[self.table]


ExportTable = TableId | SurveyTable


def export_tables() -> dict[str, ExportTable]:
    """Return every table that can be exported, by its name in `db_qol`."""
    tables: list[ExportTable] = [*all_tables(), *map(SurveyTable, SURVEY_TABLES)]
    return {one.name: one for one in tables}


def key_of(table: ExportTable) -> tuple[str, ...]:
    """Return the columns that no two rows have alike, in the order of an export's rows."""
    if isinstance(table, TableId):
        return ("participant_id", "date")
    return survey_key(table.table)


def has_participants(table: ExportTable) -> bool:
    """Return whether a row is one participant's."""
    return table.columns[0].name == "participant_id"


def comment_of(table: ExportTable) -> str:
    """Return what a row is, and which date it has."""
    return (LAYOUTS if isinstance(table, TableId) else SURVEY_LAYOUTS)[table.table].comment


def advice_for(table: ExportTable) -> str:
    """Return how the rows of a table are made."""
    if isinstance(table, SurveyTable):
        return "Compute them with `qol survey score`, or ask for others"
    profile = "" if table.profile is DEFAULT else f" --profile {table.profile.name}"
    return f"Compute them with `qol materialize --week DATE{profile}`, or ask for others"
