"""`qol export` and `qol samples`: files for researchers.

Belongs here: options and messages. What is in the files is `exports/`'s.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from qol_dagster.cli.common import note, read_settings, writing_rows
from qol_dagster.cli.dates import DATE
from qol_dagster.errors import QolInputError
from qol_dagster.exports import FormatName, SampleFormat
from qol_dagster.metrics.sample_types import SampleType
from qol_dagster.metrics.tables import LAYOUTS, all_tables
from qol_dagster.metrics.types import TableName
from qol_ingest.shared.languages import Language

if TYPE_CHECKING:
    from qol_dagster.exports.export import Exported
    from qol_dagster.exports.rows import Weeks
    from qol_dagster.exports.samples import Samples
    from qol_dagster.exports.tables import ExportTable
    from qol_dagster.settings import Settings


_SURVEYS = [name for name in get_args(TableName) if name not in LAYOUTS]
_TABLE_HELP = f"A table of db_qol: {', '.join([*(one.name for one in all_tables()), *_SURVEYS])}."


class ExportOptionsError(QolInputError):
    """Options of an export that do not go together."""


def _table(name: str) -> ExportTable:
    from qol_dagster.exports.tables import export_tables

    tables = export_tables()
    if name not in tables:
        raise typer.BadParameter(f"{name!r} cannot be exported; these tables can: {', '.join(tables)}")
    return tables[name]


def export(
    *,
    form: Annotated[FormatName, typer.Option("--format", help="Whose files they are.")],
    out: Annotated[Path, typer.Option(help="A new folder, or that of an earlier export, which is replaced.")],
    table: Annotated[str, typer.Option(metavar="TABLE", help=_TABLE_HELP)] = "weekly_metrics",
    week: Annotated[date | None, typer.Option(**DATE, help="Any date of the week; by default all weeks.")] = None,
    until: Annotated[date | None, typer.Option(**DATE, help="Any date of the last week, for several.")] = None,
    language: Annotated[Language, typer.Option("--lang", help="Language of labels in the files.")] = "en",
    excel: Annotated[bool, typer.Option("--excel", help="Begin CSV files with the mark that Excel needs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that holds other files.")] = False,
) -> None:
    """Write a table as files for a statistics program, with codebook and checksums."""
    from qol_dagster.exports.export import export as write_export
    from qol_dagster.exports.formats import Options
    from qol_dagster.resources.platform import open_platform

    weeks = _weeks(week, until)
    settings, options = read_settings(existing=True), Options(language, excel)
    catalogue = open_platform(settings).catalogue()
    with writing_rows(settings, out):
        done = write_export(catalogue, _table(table), weeks, form, out, options=options, force=force)
    for name in done.files:
        typer.echo(out / name)
    for text in _notes(done):
        note(text)


def samples(
    *,
    participant: Annotated[str, typer.Option(help="The participant's id.")],
    day: Annotated[date, typer.Option("--date", **DATE, help="A date, as the daily table has it.")],
    type_: Annotated[SampleType, typer.Option("--type", help="What was measured.")],
    form: Annotated[SampleFormat, typer.Option("--format", help="How they are written.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="A file; by default standard output.")] = None,
) -> None:
    """Show the raw samples of a participant and date that the day's metrics are made from."""
    from qol_ingest.shared import files

    if form == "parquet" and out is None and sys.stdout.isatty():
        raise ExportOptionsError("Parquet is no text for a terminal; name a file with --out")
    settings = read_settings(existing=True)
    with writing_rows(settings, out):
        found = _samples(settings, participant, day, type_)
        if out:
            files.replace(out, found.encoded(form))
            typer.echo(out)
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(found.encoded(form))
    if found.is_stale:
        note(f"raw files of {day} changed since; `qol materialize --week {day}` reads them")
    if not found.rows.num_rows:
        note(f"{participant} has no {type_} samples on {day} that count")


def _weeks(week: date | None, until: date | None) -> Weeks:
    from qol_dagster.exports.rows import Weeks
    from qol_dagster.weeks import monday_of

    if week is None:
        if until:
            raise ExportOptionsError("--until needs --week, the first week")
        return Weeks()
    if until and until < week:
        raise ExportOptionsError("--until is before --week")
    return Weeks(monday_of(week), monday_of(until or week))


def _notes(done: Exported) -> Iterator[str]:
    """Yield how to cite an export, and what it does not explain."""
    yield done.citation
    if absent := done.dataset.absent.num_rows:
        yield f"weeks of participants without a row: {absent}; absent_weeks.csv says why"
    if silent := done.dataset.unexplained:
        yield (
            f"participant_status has nothing of {len(silent)} of the weeks, the first {silent[0]}: who is absent "
            "there, and why, is not known"
        )


def _samples(settings: Settings, participant: str, day: date, type_: SampleType) -> Samples:
    from qol_dagster.engines import open_engine
    from qol_dagster.exports.samples import read_samples
    from qol_dagster.resources.platform import open_platform

    platform = open_platform(settings)
    lake, identities = platform.lake(), platform.id_map().identities()
    settings.temp_dir.mkdir(parents=True, exist_ok=True)
    with (
        open_engine("duckdb", memory_mb=settings.memory_mb, temp_dir=settings.temp_dir) as engine,
        tempfile.TemporaryDirectory(prefix="samples-", dir=settings.temp_dir) as work,
    ):
        return read_samples(engine, lake, identities, participant, day, type_=type_, work=Path(work))
