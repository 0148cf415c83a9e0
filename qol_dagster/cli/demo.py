"""The whole way on one machine: a simulated Garmin cloud, the receiver, the weekly job, the table.

Belongs here: what `qol demo` does, in order, and the local receiver.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import garmin_sim
from qol_dagster.cli.output import rendered
from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.cli.simulated import SimulatedTimeReceiver, enrol
from qol_dagster.errors import QolError
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.resources.id_map import IdMap
from qol_ingest.shared.files import write_new
from qol_ingest.shared.id_map import SqliteIdMap
from qol_ingest.shared.queues import DirectoryQueue
from qol_ingest.shared.stores import DirectoryStore, NotifyingStore
from qol_ingest.webhook import Receiver

if TYPE_CHECKING:
    from qol_dagster.settings import Settings
    from qol_ingest.server import LocalWebhook

STANDARD_QUERY = "SELECT * FROM db_qol.weekly_metrics ORDER BY date DESC LIMIT 10;"
Progress = Callable[[str], Callable[[int, int], None] | None]


class DemoError(QolError):
    """The demo will not run here; the message says why."""


def run_demo(
    settings: Settings,
    participants: int,
    weeks: int,
    *,
    note: Callable[[str], None],
    progress: Progress,
    width: int = 120,
) -> str:
    """Simulate, enrol, push, compute and query; return the standard query's result as text.

    Enrolment and receipt are in simulated time, so that the status answers as it would have done then.

    Refuses a QOL_HOME with participants of its own, so that simulated people never mix with real ones.
    """
    sim = garmin_sim.Simulation(participants, weeks)
    people = IdMap(settings.id_map_path)
    if {one.garmin_user_id for one in people.list()} - {one.user_id for one in sim.enrolments()}:
        raise DemoError(f"{settings.home} holds other participants; set QOL_HOME to an empty folder for the demo")
    first, last = sim.dates()[0], sim.dates()[-1]
    enrol(people, sim)
    note(f"{participants} simulated participants, {weeks} weeks, {first} to {last}")
    with local_webhook(settings, receiver=SimulatedTimeReceiver) as server:
        pushed = push(sim, server.url, client_id=settings.garmin_client_id, on_progress=progress("pushing"))
    note(f"pushed {pushed.bodies} bodies, {pushed.bytes / 1e6:.0f} MB, over HTTP in {pushed.seconds:.1f} s")
    done = materialize_weeks(settings, [first, last])
    if not done.success:
        raise DemoError(f"the weekly job failed: {done.message}")
    note(f"computed {done.days_recomputed} days and {len(done.weekly_rows)} weeks in {done.seconds:.1f} s")
    note(f"\n{STANDARD_QUERY}\n")
    found = query(settings.lake_dir, STANDARD_QUERY)
    return rendered(found.columns, found.rows, "table", width) + "\n" + _places(settings)


def push(sim: garmin_sim.Simulation, url: str, **options: Any) -> garmin_sim.PushReport:
    """Push a simulation to a receiver. Raises DemoError if that does not take it."""
    try:
        return garmin_sim.push(sim, url, **options)
    except garmin_sim.PushError as error:
        raise DemoError(str(error)) from error


def local_webhook(
    settings: Settings, host: str = "127.0.0.1", port: int = 0, *, receiver: type[Receiver] = Receiver
) -> LocalWebhook:
    """Return the receiver over this QOL_HOME's lake. What the puller drains is announced in `arrivals`."""
    from qol_ingest.server import LocalWebhook

    store = NotifyingStore(DirectoryStore(settings.lake_dir), DirectoryQueue(settings.arrivals_dir))
    people = SqliteIdMap(settings.id_map_path)
    taking = receiver(store, webhook_secret(settings), settings.garmin_client_id, id_map=people)
    return LocalWebhook(taking, host=host, port=port)


def webhook_secret(settings: Settings) -> str:
    """QOL_WEBHOOK_SECRET, else one made for this QOL_HOME and kept beside its data."""
    if settings.webhook_secret:
        return settings.webhook_secret
    settings.home.mkdir(parents=True, exist_ok=True)
    file = settings.home / "webhook_secret"
    write_new(file, secrets.token_urlsafe(32).encode())  # if another process was faster, its secret counts
    return file.read_text().strip()


def _places(settings: Settings) -> str:
    lake = settings.lake_dir
    return (
        f"raw lines       {lake}/raw/daily/date=D/\n"
        f"daily metrics   {lake}/processed/daily/date=D/\n"
        f"weekly metrics  {lake}/processed/weekly/date=MONDAY/\n"
        f"enrolments      {settings.id_map_path}\n"
        f"Dagster's runs  {settings.dagster_home}  (qol dev shows them)\n"
    )
