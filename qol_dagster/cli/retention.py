"""`qol retention`: what is older than it is kept, and removing that.

Belongs here: options, messages and layout. What goes, `maintenance/retention.py` and `defs/retention.py` say.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qol_dagster.cli.common import read_settings, terminal_width
from qol_dagster.cli.output import Format, rendered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qol_dagster.maintenance.retention import KindPlan
    from qol_dagster.settings import Settings

retention = typer.Typer(
    help="Show and remove what is older than QOL_RETENTION has it kept.", add_completion=False, rich_markup_mode=None
)

FORM = typer.Option("--format", help="How the rows are printed.")
COLUMNS = ("kind", "what", "kept", "goes", "mb", "oldest", "newest")
UNITS = {"backups": "newest, and one a month"}


@retention.command()
def plan(form: Annotated[Format, FORM] = "table") -> None:
    """Show what `qol retention run` would remove, and for how long everything is kept. Nothing is changed."""
    from qol_dagster.maintenance.retention import plan_retention
    from qol_dagster.weeks import today

    settings = _local_settings()
    typer.echo(_shown(settings, plan_retention(settings, today()), _runs(settings, remove=False), form), nl=False)


@retention.command()
def run(form: Annotated[Format, FORM] = "table") -> None:
    """Remove what is older than it is kept, and show what that was. What goes is in the backups made before."""
    from qol_dagster.maintenance.retention import run_retention
    from qol_dagster.weeks import today

    settings = _local_settings()
    removed = run_retention(settings, today())
    typer.echo(_shown(settings, removed, _runs(settings, remove=True), form), nl=False)


def _shown(settings: Settings, plans: Sequence[KindPlan], runs: Sequence[date], form: Format) -> str:
    from qol_dagster.settings.retention import KINDS, kept_days

    rows = [_row(one.kind, one.kept, len(one.files), round(one.bytes / 1e6, 1), one.dates) for one in plans]
    days = kept_days(settings.retention)["dagster_runs"]
    rows.append(_row("dagster_runs", days, len(runs), None, (runs[0], runs[-1]) if runs else None))
    order = list(KINDS)
    return rendered(COLUMNS, sorted(rows, key=lambda row: order.index(row[0])), form, terminal_width())


def _row(kind: Any, kept: int | None, goes: int, mb: float | None, dates: tuple[date, date] | None) -> tuple[Any, ...]:
    from qol_dagster.settings.retention import FOREVER, KINDS

    text = FOREVER if kept is None else f"{kept} {UNITS.get(kind, 'days')}"
    return (kind, KINDS[kind].what, text, goes, mb, *(dates or (None, None)))


def _runs(settings: Settings, *, remove: bool) -> list[date]:
    """Return the dates of the runs of Dagster that go, the oldest first."""
    history = settings.dagster_home / "history"
    if not (history / "runs.db").exists():
        return []
    from qol_dagster.defs.instance import dagster_instance
    from qol_dagster.defs.retention import expired_runs, remove_runs

    with dagster_instance(settings) as instance:
        found = expired_runs(instance, settings, datetime.now(UTC))
        if remove:
            remove_runs(instance, found, history)
    return [one.update_timestamp.date() for one in found]


def _local_settings() -> Settings:
    from qol_dagster.maintenance.retention import RetentionError

    settings = read_settings(existing=True)
    if settings.target != "local":
        raise RetentionError(
            "this is for one machine", advice="On AWS the rules of the bucket remove files, and retention_job old runs"
        )
    return settings
