"""`qol backup`: create, list, verify and restore backups of a home, or of a deployment on AWS.

Belongs here: options, messages and layout. What a backup is, `maintenance/` says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qol_dagster.cli.common import note, read_settings, show_progress, terminal_width
from qol_dagster.cli.output import Format, rendered

if TYPE_CHECKING:
    from qol_dagster.maintenance.backup import Backup
    from qol_dagster.maintenance.stores import BackupStore
    from qol_dagster.settings import Settings

backup = typer.Typer(
    help="Back up QOL_HOME, on AWS the lake and the tables, and put it back.",
    add_completion=False,
    rich_markup_mode=None,
)

DIR = typer.Option(
    "--dir", metavar="DIR", help="The folder of backups; by default QOL_BACKUP_DIR, on AWS QOL_BACKUP_BUCKET."
)
NAME = typer.Argument(help="As `qol backup list` shows it; by default the newest.")


@backup.command()
def create(folder: Annotated[Path | None, DIR] = None) -> None:
    """Back up, while data comes in; prints the backup's name. Months that have not changed are not written."""
    from qol_dagster.maintenance.places import back_up

    settings = read_settings(existing=True)
    store = _store(folder)
    with show_progress() as progress:
        made = back_up(settings, store, progress("backing up"))
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
    for one in list_backups(_store(folder)):
        months = one.months or ["-"]
        rows.append((one.name, one.created_at, round(one.bytes / 1e6, 1), months[0], months[-1], one.verified_at))
    typer.echo(rendered(columns, rows, form, terminal_width()), nl=False)


@backup.command()
def verify(name: Annotated[str, NAME] = "", *, folder: Annotated[Path | None, DIR] = None) -> None:
    """Read every byte of a backup, and compare it with its manifest. Exit code 1 if anything is damaged."""
    from qol_dagster.maintenance.archives import DamagedBackupError
    from qol_dagster.maintenance.backup import find_backup, verify_backup

    store = _store(folder)
    found = find_backup(store, name)
    with show_progress() as progress:
        problems = verify_backup(store, found, progress("verifying"))
    for problem in problems:
        typer.echo(f"{store.place}/{problem}")
    if problems:
        raise DamagedBackupError(
            f"backup {found.name} is damaged; places: {len(problems)}",
            advice="Create a backup: an archive whose files are as they were is written anew",
        )
    members = sum(one.members for one in found.archives)
    typer.echo(f"{found.name} is as it was written; archives: {len(found.archives)}, files: {members}")


@backup.command()
def restore(
    name: Annotated[
        str, typer.Argument(metavar="NAME|DIR", help="A backup's name, or a folder of backups: its newest.")
    ],
    *,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", help="Where to: an empty folder, or one that is not there yet. On AWS it may be left out."
        ),
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="erasures.jsonl of a newer home, its key beside it: replayed too.")
    ] = None,
    folder: Annotated[Path | None, DIR] = None,
) -> None:
    """Put a backup into an empty home, all of it or nothing; erasures are replayed before anything can be read.

    On AWS without --home: into the bucket and the tables of the settings, which have to be empty.
    """
    from qol_dagster.erasure.erase import replay_ledger
    from qol_dagster.maintenance.contents import BackupError
    from qol_dagster.maintenance.restore import restore_backup
    from qol_dagster.settings import load_settings

    settings = load_settings()
    store, found = _named(name, folder)
    if home is None and settings.target == "local":
        raise BackupError("it is not said where to", advice="Give --home, an empty folder")
    at_home = replace(settings, target="local", backup_dir=None)

    def replay(staging: Path) -> object:
        return replay_ledger(replace(at_home, home=staging))

    with show_progress() as progress, _newest_ledger(settings, ledger) as newest:
        more: Any = {"replay": replay, "ledger": newest, "on_progress": progress("restoring")}
        if home is not None:
            number, where = restore_backup(store, found, home, **more), str(home)
        else:
            from qol_dagster.maintenance.deployment import restore_deployment

            where = f"s3://{settings.bucket} and its tables"
            number, left = restore_deployment(store, found, settings, **more)
            if left:
                note(f"not restored, since it has no place on AWS: {', '.join(left)}")
    typer.echo(f"{found.name} is in {where}; files: {number}")
    note("the tokens and the secret of the webhook are in no backup: put your own copies there, or begin anew with")
    note("`qol webhook url`, which Garmin is given, and `qol participants invite`")


@contextmanager
def _newest_ledger(settings: Settings, given: Path | None) -> Iterator[Path | None]:
    """Yield the ledger that is replayed besides that of the backup: on AWS the newest there is, if none is given."""
    if given or settings.target == "local":
        yield given
        return
    from qol_dagster.maintenance.deployment import newest_ledger

    with tempfile.TemporaryDirectory() as folder:
        yield newest_ledger(settings, Path(folder))


def _named(name: str, folder: Path | None) -> tuple[BackupStore, Backup]:
    """Return the store and the backup that are meant by a name or a folder."""
    from qol_dagster.maintenance.backup import find_backup
    from qol_dagster.maintenance.stores import FolderStore

    if Path(name).is_dir():
        return (store := FolderStore(Path(name))), find_backup(store)
    return (named := _store(folder)), find_backup(named, name)


def _store(folder: Path | None) -> BackupStore:
    from qol_dagster.maintenance.places import open_store
    from qol_dagster.settings import load_settings

    return open_store(load_settings(), folder)
