"""The SQL of each view, and the same question in Python and R.

Belongs here: statements that DuckDB and Athena both take. They are made of the dictionary's names, dates and quoted
literals only.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from qol_dagster.explorer.selection import Selection
from qol_dagster.metrics.profiles import Profile
from qol_dagster.metrics.tables import DATABASE, TableId
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.weeks import dates_of

if TYPE_CHECKING:
    from qol_dagster.metrics.types import TableName
    from qol_dagster.settings import Settings

WEEK_COLUMNS = ("participant_id", "date", "is_valid_week", "n_valid_days")
"""What every view of weekly rows begins with."""
STATUS_COLUMNS = ("participant_id", "date", "status", "n_valid_days")


def literal(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def last_week(profile: Profile) -> str:
    """Ask for the Monday of the last week that has rows."""
    return f"SELECT max(date) FROM {_name('weekly', profile)}"


def weekly_rows(selection: Selection) -> str:
    """Ask for the measures of the chosen weeks and participants, a row for each of both."""
    columns = dict.fromkeys((*WEEK_COLUMNS, *selection.measures))
    valid = " AND is_valid_week" if selection.valid_only else ""
    return f"SELECT {', '.join(columns)} FROM {_name('weekly', selection.profile)} {_where(selection)}{valid} {_ORDER}"


def status_rows(selection: Selection) -> str:
    """Ask for the status of the chosen weeks and participants."""
    return f"SELECT {', '.join(STATUS_COLUMNS)} FROM {_name('status', selection.profile)} {_where(selection)} {_ORDER}"


def row_of_week(table: TableName, profile: Profile, participant: str, week: date) -> str:
    """Ask for all columns of a participant's week."""
    mine = f"participant_id = {literal(participant)}"
    return f"SELECT * FROM {_name(table, profile)} WHERE date = '{week}' AND {mine}"


def days_of_week(profile: Profile, participant: str, week: date) -> str:
    """Ask for all columns of a participant's days of a week."""
    days = dates_of(week)
    return daily_rows(profile, participant, days[0], days[-1])


def daily_rows(profile: Profile, participant: str, first: date, last: date) -> str:
    """Ask for all columns of a participant's dates, both ends included."""
    mine = f"participant_id = {literal(participant)}"
    span = f"date BETWEEN '{first}' AND '{last}'"
    return f"SELECT * FROM {_name('daily', profile)} WHERE {span} AND {mine} ORDER BY date"


def known_participants(profile: Profile, participants: tuple[str, ...]) -> str:
    """Ask which of these participants any week knows, by its status or its row."""
    wanted = f"participant_id IN ({', '.join(map(literal, participants))})"
    tables = (_name("status", profile), _name("weekly", profile))
    return " UNION ".join(f"SELECT participant_id FROM {table} WHERE {wanted}" for table in tables)


def survey_rows(table: TableName, participants: tuple[str, ...]) -> str:
    """Ask for all columns of a table of questionnaires: of these participants, or of all; associations are nobody's."""
    names = [one.name for one in SURVEY_TABLES[table]]
    is_persons = names[0] == "participant_id"
    mine = f" WHERE participant_id IN ({', '.join(map(literal, participants))})" if participants and is_persons else ""
    order = "participant_id, wave" if is_persons else "domain, measure, method"
    return f"SELECT {', '.join(names)} FROM {DATABASE}.{table}{mine} ORDER BY {order}"


def _name(table: TableName, profile: Profile) -> str:
    return TableId(table, profile).qualified_name


def _where(selection: Selection) -> str:
    chosen = ", ".join(map(literal, selection.participants))
    mine = f" AND participant_id IN ({chosen})" if chosen else ""
    return f"WHERE date BETWEEN '{selection.since}' AND '{selection.until}'{mine}"


_ORDER = "ORDER BY date DESC, participant_id"


# -- the same elsewhere


@dataclass(frozen=True)
class Snippet:
    """A way to ask the same question: the language it is in, and the code."""

    name: str
    code: str


def snippets(sql: str, table: TableName, profile: Profile, settings: Settings) -> tuple[Snippet, ...]:
    """Return the question as SQL and as a line of Python and of R, for where the tables are."""
    if settings.target == "aws":
        return (
            Snippet("SQL", sql),
            Snippet("Python", f"rows = pyathena.connect(work_group={_text(settings.athena_workgroup)})"
                              f".cursor().execute({_text(sql)}).fetchall()"),
            Snippet("R", "rows <- DBI::dbGetQuery(DBI::dbConnect(noctua::athena(), "
                         f"work_group = {_text(settings.athena_workgroup)}), {_text(sql)})"),
        )  # fmt: skip
    here = sql.replace(f"FROM {TableId(table, profile).qualified_name} ", f"FROM {_files(table, profile, settings)} ")
    return (
        Snippet("SQL", sql),
        Snippet("Python", f"rows = duckdb.sql({_text(here)}).to_arrow_table()"),
        Snippet("R", f"rows <- DBI::dbGetQuery(DBI::dbConnect(duckdb::duckdb()), {_text(here)})"),
    )


def snippet_of_past(sql: str, moment: str) -> Snippet:
    """Return the question as a command, of the tables as they were at a moment."""
    return Snippet("shell", f"qol query --as-of {shlex.quote(moment)} {shlex.quote(sql)}")


def _files(table: TableName, profile: Profile, settings: Settings) -> str:
    files = literal(str(settings.lake_dir / TableId(table, profile).folder / "date=*" / "[!._]*.parquet"))
    return f"read_parquet({files}, union_by_name = true, hive_partitioning = true, hive_types = {{'date': VARCHAR}})"


def _text(text: str) -> str:
    """Return a text as a literal of Python and of R alike."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
