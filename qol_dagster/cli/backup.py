"""`qol backup`: create, list, verify and restore backups of a home.

Belongs here: options, messages and layout. What a backup is, `maintenance/` says.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qol_dagster.cli.common import note, read_settings, show_progress, terminal_width
from qol_dagster.cli.output import Format, rendered

if TYPE_CHECKING:
    from qol_dagster.maintenance.backup import Backup

backup = typer.Typer(help="Back up QOL_HOME, and put it back.", add_completion=False, rich_markup_mode=None)

DIR = typer.Option("--dir", metavar="DIR", help="The folder of backups; by default QOL_BACKUP_DIR.")
NAME = typer.Argument(help="As `qol backup list` shows it; by default the newest.")


@backup.command()
def create(folder: Annotated[Path | None, DIR] = None) -> None:
    """Back up QOL_HOME, while data comes in; prints the backup's name. Months that have not changed are not written."""
    from qol_dagster.maintenance.backup import create_backup

    place, home = _folder(folder), read_settings(existing=True).home
    with show_progress() as progress:
        made = create_backup(home, place, progress("backing up"))
    typer.echo(made.backup.name)
    new = sum(one.bytes for one in made.written)
    note(f"archives written: {len(made.written)}, {new / 1e6:.1f} MB; unchanged: {made.unchanged}")
    if made.unknown:
        note(f"not in the backup, since nothing says what it is: {', '.join(made.unknown)}")


@backup.command(name="list")
def list_(
    folder: Annotated[Path | None, DIR] = None,
    form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table",
) -> None:
    """List the backups, the oldest first: when they were made and verified, their size and months."""
    from qol_dagster.maintenance.backup import list_backups

    columns = ("name", "created_at", "mb", "first_month", "last_month", "verified_at")
    rows: list[tuple[object, ...]] = []
    for one in list_backups(_folder(folder)):
        months = one.months or ["-"]
        rows.append((one.name, one.created_at, round(one.bytes / 1e6, 1), months[0], months[-1], one.verified_at))
    typer.echo(rendered(columns, rows, form, terminal_width()), nl=False)


@backup.command()
def verify(name: Annotated[str, NAME] = "", *, folder: Annotated[Path | None, DIR] = None) -> None:
    """Read every byte of a backup, and compare it with its manifest. Exit code 1 if anything is damaged."""
    from qol_dagster.maintenance.archives import DamagedBackupError
    from qol_dagster.maintenance.backup import find_backup, verify_backup

    place = _folder(folder)
    found = find_backup(place, name)
    with show_progress() as progress:
        problems = verify_backup(place, found, progress("verifying"))
    for problem in problems:
        typer.echo(f"{place}/{problem}")
    if problems:
        raise DamagedBackupError(
            f"backup {found.name} is damaged in {len(problems)} places",
            advice="Create a backup: an archive whose files are in QOL_HOME as they were is written anew",
        )
    members = sum(one.members for one in found.archives)
    typer.echo(f"{found.name}: {len(found.archives)} archives with {members} files are as they were written")


@backup.command()
def restore(
    name: Annotated[
        str, typer.Argument(metavar="NAME|DIR", help="A backup's name, or a folder of backups: its newest.")
    ],
    *,
    home: Annotated[Path, typer.Option("--home", help="Where to: an empty folder, or one that is not there yet.")],
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="erasures.jsonl of a newer home, its key beside it: replayed too.")
    ] = None,
    folder: Annotated[Path | None, DIR] = None,
) -> None:
    """Put a backup into an empty home, all of it or nothing; erasures are replayed before anything can be read."""
    from qol_dagster.erasure.erase import replay_ledger
    from qol_dagster.maintenance.restore import restore_backup
    from qol_dagster.settings import load_settings

    place, found = _named(name, folder)
    settings = replace(load_settings(), backup_dir=None)
    with show_progress() as progress:
        number = restore_backup(
            place,
            found,
            home,
            replay=lambda staging: replay_ledger(replace(settings, home=staging)),
            ledger=ledger,
            on_progress=progress("restoring"),
        )
    typer.echo(f"{number} files of {found.name} are in {home}")
    note("the tokens and the secret of the webhook are in no backup: put your own copies there, or begin anew with")
    note("`qol webhook url`, which Garmin is given, and `qol participants invite`")


def _named(name: str, folder: Path | None) -> tuple[Path, Backup]:
    """Return the folder and the backup that are meant by a name or a folder."""
    from qol_dagster.maintenance.backup import find_backup

    if Path(name).is_dir():
        return Path(name), find_backup(Path(name))
    place = _folder(folder)
    return place, find_backup(place, name)


def _folder(folder: Path | None) -> Path:
    from qol_dagster.maintenance.archives import BackupError
    from qol_dagster.maintenance.backup import require_backup_folder
    from qol_dagster.settings import load_settings

    settings = load_settings()
    if settings.target != "local":
        raise BackupError("this backs up one machine", advice="On AWS the bucket of backups has what the lake has")
    return require_backup_folder(folder or settings.backup_dir, settings.home)
