"""The whole way on one machine: a simulated Garmin cloud, the receiver, the weekly job, the table.

Belongs here: what `qol demo` does, in order, and the local receiver.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import garmin_sim
from qol_dagster.cli.output import rendered
from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.cli.simulated import SimulatedTimeReceiver, enrol
from qol_dagster.errors import QolError
from qol_dagster.report.files import report_key
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings
from qol_ingest.shared.erasures import Ledger
from qol_ingest.shared.files import write_new
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.queues import DirectoryQueue
from qol_ingest.shared.stores import DirectoryStore, NotifyingStore
from qol_ingest.webhook import Receiver

if TYPE_CHECKING:
    from qol_ingest.server import LocalWebhook

STANDARD_QUERY = "SELECT * FROM db_qol.weekly_metrics ORDER BY date DESC LIMIT 10;"
SHORT_QUERY = """
    SELECT participant_id AS participant, date AS week, n_valid_days AS valid_days, steps_mean AS steps,
        resting_hr_mean AS resting_hr, hrv_rmssd_mean AS hrv_ms, stress_mean AS stress, sleep_tst_h_mean AS sleep_h
    FROM db_qol.weekly_metrics ORDER BY date DESC, participant_id LIMIT 10
"""
"""A table that fits 80 letters."""
FORMS_QUERY = """
    SELECT count(*), median(physical_0_100), median(steps_mean_14d), median(sleep_tst_h_mean_14d)
    FROM db_qol.whoqol_scores JOIN db_qol.whoqol_sensor_windows USING (participant_id, wave)
"""
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
    """Simulate, enrol, push, compute and query; return a short table, where things are, and what to do next.

    `note` is called with a line for each stage, before what takes long and after it.

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
    note(f"enrolled {len(people.list())} Garmin accounts; pushing their data over HTTP, as Garmin does ...")
    with local_webhook(settings, receiver=SimulatedTimeReceiver) as server:
        pushed = push(sim, server.url, client_id=settings.garmin_client_id, on_progress=progress("pushing"))
    note(f"pushed {pushed.bodies} bodies, {pushed.bytes / 1e6:.0f} MB, over HTTP in {pushed.seconds:.1f} s")
    note("computing in Dagster ...")
    done = materialize_weeks(settings, [first, last])
    if not done.success:
        raise DemoError(f"the weekly job failed: {done.message}")
    note(f"computed {done.days_recomputed} days and {len(done.weekly_rows)} weeks in {done.seconds:.1f} s\n")
    found = query(settings.lake_dir, SHORT_QUERY)
    report = settings.lake_dir / report_key(max(done.weekly_rows), "ja")
    answer_forms(settings, last)
    places = {"report": report, "data": settings.lake_dir, "runs": settings.dagster_home}
    shown = _places({**forms_line(settings), **places})
    table = rendered(found.columns, found.rows, "table", width)
    return "\n".join((table, shown, next_steps(settings, _qol())))


def answer_forms(settings: Settings, until: date) -> None:
    """Have everybody answer the forms that are due until a date, and compute their tables; nothing if none is new."""
    from qol_dagster.pipeline.surveys import score_surveys, simulate_surveys
    from qol_dagster.resources.platform import open_platform

    platform = open_platform(settings)
    lake, identities = platform.lake(), platform.id_map().identities()
    if simulate_surveys(lake, identities, until=until):
        score_surveys(lake, identities, computed_at=datetime.now(UTC))


def forms_line(settings: Settings) -> dict[str, str]:
    """Return how many forms there are, and the medians of a domain and of the sensors before it; nothing of none."""
    ((number, *medians),) = query(settings.lake_dir, FORMS_QUERY).rows
    if None in medians:
        return {}
    physical, steps, sleep = medians
    beside = f"{steps:,.0f} steps and {sleep:.1f} h of sleep"
    return {"whoqol": f"{number} answered, physical {physical:.0f} of 100, beside {beside}"}


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
    people, ledger = SqliteIdMap(settings.id_map_path), Ledger(settings.home)
    taking = receiver(store, webhook_secret(settings), settings.garmin_client_id, id_map=people, refusals=ledger)
    return LocalWebhook(taking, host=host, port=port)


def webhook_secret(settings: Settings) -> str:
    """QOL_WEBHOOK_SECRET, else one made for this QOL_HOME and kept beside its data."""
    if settings.webhook_secret:
        return settings.webhook_secret
    settings.home.mkdir(parents=True, exist_ok=True)
    file = settings.home / "webhook_secret"
    write_new(file, secrets.token_urlsafe(32).encode())  # if another process was faster, its secret counts
    return file.read_text().strip()


def _places(places: Mapping[str, object]) -> str:
    """Return a line for each thing that was made: what it is, and where."""
    return "".join(f"{what:<8}{place}\n" for what, place in places.items())


def _qol() -> str:
    """Return how the command is called here: by its name if it is on the path."""
    return "qol" if shutil.which("qol") else shlex.quote(os.path.relpath(sys.argv[0]))


def next_steps(settings: Settings, qol: str) -> str:
    """Return three commands to go on with, as they can be typed; `qol` is how the command is called."""
    if settings.home != Settings().home:
        qol = f"QOL_HOME={shlex.quote(str(settings.home))} {qol}"
    steps = {
        f"{qol} report --lang en --open": "the weekly report: whom to call, and what the data are worth",
        f'{qol} query "{STANDARD_QUERY}"': "all columns of the table",
        f"{qol} dev": "Dagster's UI: lineage, runs, backfills",
    }
    return "next\n" + "".join(f"  {command}  # {what}\n" for command, what in steps.items())
