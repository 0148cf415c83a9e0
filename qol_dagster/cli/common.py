"""What commands share: the settings of the installation, and what is said beside a result.

Belongs here: what more than one module of commands needs. How results are laid out is `output.py`'s.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import typer

from qol_dagster.errors import QolError

if TYPE_CHECKING:
    from qol_dagster.settings import Settings


class NoHomeError(QolError):
    """There is no QOL_HOME."""


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


def note(message: str) -> None:
    """Say something that is no result: on stderr."""
    typer.echo(message, err=True)


def terminal_width() -> int:
    """Return how many letters a line of the terminal holds, or of what is no terminal."""
    return shutil.get_terminal_size((120, 24)).columns
