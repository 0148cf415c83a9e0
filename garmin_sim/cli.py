"""The `garmin-sim` command.

Belongs here: options, progress and messages. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

import garmin_sim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

app = typer.Typer(
    help="A simulated Garmin cloud: participants, their data, and how Garmin delivers it.",
    no_args_is_help=True,
    add_completion=False,
)

Participants = Annotated[int, typer.Option(min=1, help="How many participants.")]
Weeks = Annotated[int, typer.Option(min=1, help="How many weeks.")]
Until = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Last date; by default the last Sunday of which all is synced."),
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same data.")]
Traps = Annotated[str, typer.Option(help="Oddities of real data to plant: names with commas, or all.")]
Personas = Annotated[str, typer.Option(help="Kinds of people, in turn: names with commas; else the usual.")]


@app.command()
def push(
    *,
    to: Annotated[str, typer.Option(help="The URL that takes pushes, as the receiver printed it.")],
    participants: Participants = 20,
    weeks: Weeks = 8,
    until: Until = None,
    seed: Seed = 0,
    traps: Traps = "",
    personas: Personas = "",
    client_id: Annotated[str, typer.Option(help="The application's client id, if the receiver asks for one.")] = "",
    connections: Annotated[int, typer.Option(min=1, help="Connections at the same time.")] = 4,
) -> None:
    """Send everything to a webhook over HTTP, as Garmin would."""
    sim = _simulation(participants, weeks, until, seed, traps=traps, personas=personas)
    with _problems_in_one_line(), _progress("pushing") as on_progress:
        report = garmin_sim.push(sim, to, client_id=client_id, connections=connections, on_progress=on_progress)
    sent = f"{report.bodies} bodies, {report.bytes / 1e6:.1f} MB"
    typer.echo(f"pushed {sent}, in {report.seconds:.1f} s; {report.retries} retries")


@app.command()
def lake(
    directory: Annotated[Path, typer.Argument(help="The lake; lines go below raw/daily.")],
    *,
    participants: Participants = 20,
    weeks: Weeks = 8,
    until: Until = None,
    seed: Seed = 0,
    traps: Traps = "",
    personas: Personas = "",
    files_per_day: Annotated[
        int | None, typer.Option(min=1, help="Pack each date into so many files; by default each body is a file.")
    ] = None,
) -> None:
    """Write everything straight into a lake, as the receiver would have stored it."""
    sim = _simulation(participants, weeks, until, seed, traps=traps, personas=personas)
    with _problems_in_one_line(), _progress("writing") as on_progress:
        report = garmin_sim.write_lake(sim, directory, files_per_day=files_per_day, on_progress=on_progress)
    megabytes = report.bytes / 1e6
    typer.echo(f"wrote {report.lines} lines, {megabytes:.1f} MB, in {report.files} files below {directory}")


@app.command()
def cloud(
    *,
    to: Annotated[str, typer.Option(help="The URL that takes pushes, as the receiver printed it.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen on; 0 takes a free one.")] = 8322,
    client_id: Annotated[str, typer.Option(help="The application's client id.")] = "sim-client",
    client_secret: Annotated[
        str, typer.Option(envvar="GARMIN_SIM_CLIENT_SECRET", show_default=False, help="The application's secret.")
    ] = "sim-secret",  # noqa: S107 - it protects nothing
    participants: Participants = 20,
    weeks: Weeks = 8,
    until: Until = None,
    seed: Seed = 0,
    traps: Traps = "",
    personas: Personas = "",
) -> None:
    """Run Garmin's side of OAuth, backfill and deregistration on this machine, until interrupted."""
    sim = _simulation(participants, weeks, until, seed, traps=traps, personas=personas)
    with _problems_in_one_line():
        running = garmin_sim.GarminCloud(
            sim, webhook_url=to, client_id=client_id, client_secret=client_secret, host=host, port=port
        )
    with _requests_on_stderr(), running, suppress(KeyboardInterrupt):
        typer.echo("\n".join([running.base_url, *running.labels()]))
        sys.stdout.flush()
        while True:
            time.sleep(3600)


@app.command()
def users(participants: Participants = 20, seed: Seed = 0) -> None:
    """Print the Garmin user ids, one a line."""
    for user in _simulation(participants, 1, None, seed).user_ids():
        typer.echo(user)


def main() -> None:
    """Run the command of this process."""
    app()


def _simulation(
    participants: int, weeks: int, until: datetime | None, seed: int, *, traps: str = "", personas: str = ""
) -> garmin_sim.Simulation:
    last = until.date() if until else None
    with _problems_in_one_line():
        return garmin_sim.Simulation.named(participants, weeks, last, seed, traps=traps, personas=personas)


@contextmanager
def _problems_in_one_line() -> Iterator[None]:
    """Say what went wrong on stderr: exit code 2 for a wrong value, 1 for what happened on the way."""
    try:
        yield
    except ValueError as error:
        typer.echo(f"garmin-sim: {error}", err=True)
        raise typer.Exit(2) from None
    except (garmin_sim.PushError, OSError) as error:
        typer.echo(f"garmin-sim: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _requests_on_stderr() -> Iterator[None]:
    """Yield each answer of the cloud as a line: the kind of path and the status, nothing secret."""
    room, handler = logging.getLogger("garmin_sim"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    level = room.level
    room.addHandler(handler)
    room.setLevel(logging.INFO)
    try:
        yield
    finally:
        room.removeHandler(handler)
        room.setLevel(level)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a bar on stderr when a person watches."""
    if not sys.stderr.isatty():
        yield None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
