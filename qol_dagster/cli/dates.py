"""A date as an option of a command.

Belongs here: how one is read from text.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import typer


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date like 2026-11-16") from None


DATE: dict[str, Any] = {"parser": _day, "metavar": "YYYY-MM-DD"}
