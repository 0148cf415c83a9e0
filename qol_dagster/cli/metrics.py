"""`qol metrics`: the dictionary in the terminal.

Belongs here: options and layout. What a metric is stands in `metrics/dictionary/`.
"""

from __future__ import annotations

import re
from typing import Annotated

import typer

from qol_dagster.cli.common import terminal_width
from qol_dagster.cli.output import GAP, Format, rendered
from qol_dagster.metrics.describe import described, facts, find, records, unit
from qol_dagster.metrics.dictionary import TABLES, Metric
from qol_dagster.metrics.types import TableName
from qol_ingest.shared.languages import Language

metrics = typer.Typer(
    help="Explain what each column of the tables means: unit, range, formula, rule, source.",
    add_completion=False,
    rich_markup_mode="rich",
)

COLUMNS = ("table", "name", "unit", "description")
NARROWEST = 40
UNBROKEN = re.compile(r"(?:[!-~]+|.)[、。）]*")
"""A word of ASCII or one other letter, with the signs that may not begin a line."""


@metrics.command(name="list")
def list_(
    table: Annotated[TableName | None, typer.Option(help="One table only.")] = None,
    form: Annotated[Format, typer.Option("--format", help="csv and json carry every field, in both languages.")] = (
        "table"
    ),
    language: Annotated[Language, typer.Option("--lang", help="English or Japanese, in the table.")] = "en",
) -> None:
    """List the metrics."""
    from qol_dagster.surveys.dictionary import SURVEY_TABLES

    shown = {**TABLES, **SURVEY_TABLES} if table else TABLES
    chosen = [one for name, columns in shown.items() if table in (None, name) for one in columns]
    if form == "table":
        typer.echo(rendered(COLUMNS, _in_width(chosen, terminal_width(), language), form, terminal_width()), nl=False)
    else:
        rows = records(chosen)
        names = list(records(TABLES["daily"][:1])[0])
        typer.echo(rendered(names, [list(row.values()) for row in rows], form), nl=False)


@metrics.command()
def show(
    name: Annotated[str, typer.Argument(help="The column's name, such as steps_mean.")],
    language: Annotated[Language, typer.Option("--lang", help="English or Japanese.")] = "en",
) -> None:
    """Show all that is known of a metric; of each, where two tables have one of this name."""
    typer.echo("\n".join(_shown(metric, language) for metric in find(name)), nl=False)


def _in_width(chosen: list[Metric], width: int, language: Language) -> list[tuple[str, ...]]:
    """Return the rows of the list, descriptions cut to what is left of the line."""
    from rich.cells import cell_len, set_cell_size

    rows = [(one.table, one.name, unit(one, language), described(one, language)) for one in chosen]
    taken = sum(max((cell_len(row[at]) for row in rows), default=0) for at in range(3)) + len(GAP) * len(COLUMNS)
    room = max(width - taken, len(COLUMNS[-1]))

    def cut(text: str) -> str:
        return text if cell_len(text) <= room else set_cell_size(text, room - 1).rstrip() + "…"

    return [(*row[:3], cut(row[3])) for row in rows]


def _shown(metric: Metric, language: Language) -> str:
    """Return the metric's name, then a label and its text on each line; long texts go on below the text."""
    from rich.cells import cell_len

    pairs = facts(metric, language)
    labels = max(cell_len(label) for label, _ in pairs)
    room = max(terminal_width() - labels - 2 * len(GAP), NARROWEST)
    lines = [metric.name]
    for label, text in pairs:
        first, *more = _wrapped(text, room)
        lines.append(f"{GAP}{label}{' ' * (labels - cell_len(label))}{GAP}{first}")
        lines += [f"{GAP}{' ' * labels}{GAP}{one}" for one in more]
    return "\n".join([*lines, ""])


def _wrapped(text: str, width: int) -> list[str]:
    """Return the text in lines of so many terminal cells. Japanese, two cells a letter, may break after any of them."""
    from rich.cells import cell_len

    lines = [""]
    for piece in UNBROKEN.findall(text):
        if cell_len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return [line.rstrip() for line in lines]
