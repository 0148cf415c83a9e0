"""`qol garmin`: what pings announced, and old data, fetched from Garmin's cloud.

Belongs here: options and messages. How Garmin is asked, `resources/garmin_cloud.py` and the receiver say.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from qol_dagster.cli.common import NotPossibleError, local_settings, note, read_settings, show_progress
from qol_dagster.cli.dates import DATE

garmin = typer.Typer(
    help="Ask Garmin's cloud for what pings announced, or for old data.", add_completion=False, rich_markup_mode="rich"
)


@garmin.command()
def pull(
    *,
    redrive: Annotated[
        bool, typer.Option("--redrive", help="Try dead letters again first: what was tried in vain for half a day.")
    ] = False,
) -> None:
    """Fetch what pings announced, and apply what Garmin says of its users; `qol webhook serve` does so all along."""
    from qol_dagster.resources.garmin_cloud import Garmin

    cloud = Garmin(local_settings(existing=True))
    if redrive:
        note(f"dead letters tried again: {cloud.arrivals.redrive()}")
    worked = cloud.pull()
    try:
        worked += cloud.renew_tokens()
    finally:
        counts = ", ".join(f"{number} {outcome}" for outcome, number in sorted(worked.outcomes.items()))
        waiting = f"; {worked.waiting} wait" if worked.waiting else ""
        typer.echo(f"{counts or 'nothing to do'}{waiting}")


@garmin.command(name="backfill")
def backfill_(
    participant: Annotated[str, typer.Option(help="The participant's id.")],
    since: Annotated[date, typer.Option(**DATE, help="First date.")],
    until: Annotated[date, typer.Option(**DATE, help="Last date.")],
    types: Annotated[str, typer.Option(help="Garmin's summary types, with commas; by default all.")] = "",
) -> None:
    """Ask Garmin for old data of a participant; it comes by the webhook. The same command again goes on."""
    from qol_dagster.resources.garmin_cloud import Garmin

    chosen = [one for one in types.split(",") if one.strip()]
    with show_progress() as progress:
        bar = progress(f"asking for {participant}")
        report = Garmin(read_settings(existing=True)).backfill(
            participant, since, until, chosen, on_progress=lambda step: bar(step.done, step.total) if bar else None
        )
    typer.echo(f"requests accepted: {report.asked}, accepted before: {report.already}")
    for one in report.refused:
        note(f"{one.type} up to {one.until}: {one.reason}")
    if not report.complete:
        raise NotPossibleError(
            f"{report.waiting} requests wait: {report.why_waiting}; give the same command again later"
        )
