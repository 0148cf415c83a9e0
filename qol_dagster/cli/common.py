"""What commands share: the settings of the installation, and what is said beside a result.

Belongs here: what more than one module of commands needs. How results are laid out is `output.py`'s.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import typer

from qol_dagster.errors import QolError, QolInputError

if TYPE_CHECKING:
    from pathlib import Path

    from qol_dagster.settings import Settings


class NoHomeError(QolError):
    """There is no QOL_HOME."""


class UsageError(QolInputError):
    """Options that do not go together."""


class NotPossibleError(QolError):
    """Could not be done."""


def read_settings(*, existing: bool = False) -> Settings:
    """Return the settings. QOL_HOME is made when it is missing, for its owner alone: locally it holds health data.

    With `existing`, raises NoHomeError instead.
    """
    from qol_dagster.settings import load_settings

    settings = load_settings()
    if existing and settings.target == "local" and not settings.home.is_dir():
        raise NoHomeError(f"there is no {settings.home}; set QOL_HOME, or begin with `qol demo`")
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return settings


def local_settings(*, existing: bool = False) -> Settings:
    """Return the settings, for what is done on one machine only."""
    settings = read_settings(existing=existing)
    if settings.target != "local":
        raise UsageError("this works on one machine only; unset QOL_TARGET. On AWS the Lambdas take and fetch data")
    return settings


def writing_rows(settings: Settings, out: Path | None) -> AbstractContextManager[None]:
    """Hold the lake while participants' rows are written below QOL_HOME: an erasure clears it before that, or after.

    What is written elsewhere, or printed, is the reader's own to delete, and waits for nobody.
    """
    if out is None or settings.target != "local" or not out.resolve().is_relative_to(settings.home.resolve()):
        return nullcontext()
    from qol_dagster.lake.lake import Lake

    return Lake.local(settings.lake_dir).lock()


def note(message: str) -> None:
    """Say something that is no result: on stderr."""
    typer.echo(message, err=True)


def terminal_width() -> int:
    """Return how many letters a line of the terminal holds, or of what is no terminal."""
    return shutil.get_terminal_size((120, 24)).columns


@contextmanager
def show_progress() -> Iterator[Callable[[str], Callable[[int, int], None] | None]]:
    """Show bars on stderr when a person watches: yield what returns, for a label, what is called with (done, total)."""
    if not sys.stderr.isatty():
        yield lambda _label: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:

        def bar(label: str) -> Callable[[int, int], None]:
            task = bars.add_task(label, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield bar
