"""`qol diff` and `qol freeze`: what became of numbers, and states of the tables that stay.

Belongs here: options, messages and layout. What a past state is, `lake/past.py` says, and what differs,
`lake/difference.py`.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qol_dagster.cli import common
from qol_dagster.cli.common import read_settings, terminal_width, writing_rows
from qol_dagster.cli.output import Format, rendered
from qol_dagster.errors import QolError, QolInputError
from qol_dagster.metrics.tables import TableId, all_tables

if TYPE_CHECKING:
    from qol_dagster.lake.freeze import Freeze
    from qol_dagster.lake.lake import Lake
    from qol_dagster.resources.catalogue import Catalogue

freeze = typer.Typer(
    help="Named states of the tables that are never changed.", add_completion=False, rich_markup_mode=None
)

DIFFERENCES = (
    "table",
    "date",
    "participant_id",
    "change",
    "column",
    "before",
    "after",
    "difference",
    "cause",
)
TABLE_HELP = "One table only, such as weekly_metrics; by default all of the usual thresholds."
MOMENT = "A time (UTC without a zone; a date is its end in Japan), a freeze or now."


class PastError(QolInputError):
    """What is asked of the past does not fit."""


class DamagedFreezeError(QolError):
    """Objects of a freeze are missing or damaged."""


def catalogue_as_of(moment: str) -> Catalogue:
    """Return the tables as they were at a moment; of a bucket, the objects are fetched for each question."""
    from qol_dagster.lake.past import parse_moment
    from qol_dagster.resources.catalogue.duckdb import LocalCatalogue
    from qol_dagster.resources.catalogue.fetched import FetchedCatalogue

    lake = _lake()
    found = parse_moment(lake, moment)
    return LocalCatalogue(lake.folder, found) if lake.folder else FetchedCatalogue(found, read_settings().temp_dir)


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help=MOMENT)],
    other: Annotated[str, typer.Argument(metavar="B", help=MOMENT)],
    *,
    table: Annotated[str, typer.Option(help=TABLE_HELP)] = "",
    form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table",
) -> None:
    """What differs between two states of the tables: participants, dates, columns, by how much, and why."""
    from qol_dagster.lake.difference import differences
    from qol_dagster.lake.past import parse_moment

    lake = _lake()
    before, after = parse_moment(lake, one), parse_moment(lake, other)
    found = {chosen: [one.as_row() for one in differences(before, after, chosen)] for chosen in _tables(table)}
    if form != "table":
        typer.echo(rendered(DIFFERENCES, [row for rows in found.values() for row in rows], form), nl=False)
        return
    for chosen, rows in found.items():  # the name above leaves its width to the values
        shown = rendered(DIFFERENCES[1:], [row[1:] for row in rows], form, terminal_width())
        typer.echo(f"{chosen.qualified_name}\n{shown}" if rows else f"{chosen.qualified_name}: no difference")


@freeze.command()
def create(
    name: Annotated[str, typer.Argument(help="Small letters, digits, dots and hyphens, such as paper-1.")],
    *,
    weeks: Annotated[
        str, typer.Option(metavar="A..B", help="Only these weeks, each named by any of its dates; one is enough.")
    ] = "",
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Freeze the tables as they are now; prints the SHA-256 of the manifest."""
    from qol_dagster.lake.freeze import create_freeze

    made = create_freeze(_lake(), name, _weeks(weeks), note)
    typer.echo(made.sha256)
    common.note(f"{name}: objects: {len(made.objects)}; `qol query --as-of {name}` asks them")


@freeze.command(name="list")
def list_(form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table") -> None:
    """List the freezes, the oldest first."""
    from qol_dagster.lake.freeze import freezes

    rows = [
        (one.name, one.created_at, " to ".join(one.facts["weeks"] or ["all"]), len(one.objects), one.facts["note"])
        for one in freezes(_lake())
    ]
    typer.echo(rendered(("name", "created_at", "weeks", "objects", "note"), rows, form, terminal_width()), nl=False)


@freeze.command()
def show(
    name: Annotated[str, typer.Argument(help="The freeze's name.")],
    form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table",
) -> None:
    """Show what a freeze holds, and what made it."""
    from qol_dagster.lake.freeze import read_freeze

    found = read_freeze(_lake(), name)
    columns = ("table", "date", "rows", "revision", "valid_from", "cause", "metrics_version", "engine", "sha256")
    rows = [tuple(one.get(column) for column in columns) for one in found.objects]
    typer.echo(rendered(columns, rows, form, terminal_width()), nl=False)
    made_by = found.facts["made_by"]
    for label, value in (
        ("created", f"{found.created_at:%Y-%m-%d %H:%M} UTC"),
        ("by", f"{made_by['software']}, metrics {made_by['metrics_version']}"),
        ("note", found.facts["note"]),
        ("manifest", found.sha256),
    ):
        common.note(f"{label}: {value}")
    _note_erasures(found)


@freeze.command()
def verify(name: Annotated[str, typer.Argument(help="The freeze's name.")]) -> None:
    """Compare every object of a freeze with its hash."""
    from qol_dagster.lake.freeze import read_freeze, verify_freeze

    lake = _lake()
    found = read_freeze(lake, name)
    if problems := verify_freeze(lake, found):
        for problem in problems:
            typer.echo(f"{lake.root}/{problem}")
        raise DamagedFreezeError(
            f"{len(problems)} of {len(found.objects)} objects of {name} are not what was frozen; put them back from a "
            "backup"
        )
    typer.echo(f"{name} is as it was frozen; objects: {len(found.objects)}")
    _note_erasures(found)


@freeze.command()
def export(
    name: Annotated[str, typer.Argument(help="The freeze's name.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder; it becomes a BagIt bag.")],
) -> None:
    """Write a freeze as a BagIt bag: data as Parquet and CSV, dictionary, manifest, README; prints how to cite it."""
    from qol_dagster.lake.bag import citation, write_bag
    from qol_dagster.lake.freeze import read_freeze

    lake = _lake()
    with writing_rows(read_settings(), folder):
        found = read_freeze(lake, name)
        write_bag(lake, found, folder)
    typer.echo(citation(found))


def _note_erasures(found: Freeze) -> None:
    """Say that rows of a person were taken out of a freeze, and what its manifest was called before."""
    for one in found.erasures:
        common.note(
            f"erasure of {one['at'][:10]}: objects rewritten without a person: {len(one['objects'])}; the manifest was "
            f"{one['manifest_was']}"
        )


def _lake() -> Lake:
    from qol_dagster.resources.platform import open_platform

    return open_platform(read_settings(existing=True)).lake()


def _tables(name: str) -> list[TableId]:
    name = name.removeprefix("db_qol.")
    chosen = [table for table in all_tables() if table.name == name or (not name and not table.profile.suffix)]
    if not chosen:
        raise PastError(f"there is no table {name}; there are {', '.join(table.name for table in all_tables())}")
    return chosen


def _weeks(text: str) -> list[date] | None:
    try:
        return [date.fromisoformat(one) for one in text.split("..")] if text else None
    except ValueError:
        raise PastError(f"--weeks {text}: give dates like 2026-11-02..2026-11-16") from None
