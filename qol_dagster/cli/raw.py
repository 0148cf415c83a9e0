"""`qol raw`: raw files mended.

Belongs here: options and messages. What is moved or read again, `lake/refile.py` and `resources/requarantine.py` say.
"""

from __future__ import annotations

from typing import Annotated

import typer

from qol_dagster.cli.common import read_settings, show_progress

raw = typer.Typer(
    help="Mend raw files: move misfiled records, read quarantine again.", add_completion=False, rich_markup_mode="rich"
)


@raw.command()
def refile(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; change nothing.")] = False,
) -> None:
    """Move records that are stored under another date than their own to where they belong."""
    from qol_dagster.lake.refile import refile as move
    from qol_dagster.resources.platform import open_platform

    platform = open_platform(read_settings(existing=True))
    with show_progress() as progress:
        report = move(platform.lake(), dry_run=dry_run, on_progress=progress("looking"))
    typer.echo(f"{report.misfiled} of {report.lines} records {'are under another date' if dry_run else 'moved'}")


@raw.command()
def requarantine(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; change nothing.")] = False,
) -> None:
    """Read again what is in quarantine, after a fix; what still cannot be read stays there."""
    from qol_dagster.resources.platform import open_platform
    from qol_dagster.resources.requarantine import requarantine as read_again
    from qol_dagster.resources.requarantine import store_of

    platform = open_platform(read_settings(existing=True))
    with show_progress() as progress:
        report = read_again(platform.lake(), store_of(platform), dry_run=dry_run, on_progress=progress("reading"))
    done = "can be read" if dry_run else "read and taken out of quarantine"
    typer.echo(f"{report.read} of {report.files} files {done}, records: {report.records}")
