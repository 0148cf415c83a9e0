"""Dagster's instance in QOL_HOME, as a command stores a run in it: quickly, and where Dagster's pages look for it.

Belongs here: what makes storing quick, and of which code location a run is. Dagster stores sixty events a run one by
one, connects anew for each, and would wait for the disk each time; ADR 13 has what that took. What it costs: a power
cut may lose the last events of a run (not its data), what a command prints is not captured for Dagster's UI, and three
of Dagster's private modules are used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from qol_dagster.defs.dagster_home import prepare_dagster_home
from qol_dagster.errors import QolError
from qol_dagster.lake.lease import locked
from qol_dagster.settings import Settings

NO_CAPTURE = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
"""What a command prints stands in its terminal. To capture it as well, Dagster would start four processes."""


LOCATION = "qol_dagster"
"""The code location, as workspace.yaml names it."""
LOCATION_TAG = {".dagster/repository": f"__repository__@{LOCATION}"}
"""By which the page of a job finds its runs: of which code location they are. A run is made with it."""


class HistoryError(QolError):
    """A database in which Dagster keeps runs cannot be read or written; the message says which and what to do."""


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[Any]:
    """Yield the instance of QOL_HOME/dagster, made on first use. Raises HistoryError."""
    home = prepare_dagster_home(settings)
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef  # what `from_ref` takes

    captures = "compute_logs" in Path(home, "dagster.yaml").read_text()
    # Two that make a home spoil each other's.
    with _readable_failures(settings), locked(settings.dagster_home / ".lock", quietly=True):
        opened = dg.DagsterInstance.from_ref(InstanceRef.from_dir(home, overrides=None if captures else NO_CAPTURE))
    history = settings.dagster_home / "history"
    with (
        _readable_failures(settings),
        opened as instance,
        _without_waiting(),
        _kept_open(history / "runs.db"),
        _kept_open(history / "runs/index.db"),
    ):
        yield instance


@contextmanager
def _readable_failures(settings: Settings) -> Iterator[None]:
    """Raise HistoryError where Dagster's databases cannot be written, as on a full disk."""
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except OperationalError as error:
        raise HistoryError(
            f"Dagster's history of runs below {settings.dagster_home} cannot be written ({error.orig})",
            advice="See whether the disk is full or read-only, and give the same command again",
        ) from error


@contextmanager
def new_run(instance: Any, settings: Settings) -> Iterator[str]:
    """Yield the id of a run to be, whose events' database is there already. At its end the timeline shows the run."""
    run_id = str(uuid4())
    instance.all_logs(run_id)
    with _kept_open(settings.dagster_home / f"history/runs/{run_id}.db"):
        try:
            yield run_id
        finally:
            _set_location(instance, run_id)


def _set_location(instance: Any, run_id: str) -> None:
    """Say of which code location a run is, as Dagster does of those it starts itself."""
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

    if run := instance.get_run_by_id(run_id):
        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(LOCATION), "__repository__")
        instance.run_storage.replace_job_origin(run, RemoteJobOrigin(repository, run.job_name))


@contextmanager
def _kept_open(file: Path) -> Iterator[None]:
    """Holds a connection to one of Dagster's databases, if it is SQLite's.

    SQLite writes a database out whenever its last connection closes. With one left open it does so once, at the end.
    Raises HistoryError.
    """
    if not file.exists():
        yield
        return
    with closing(sqlite3.connect(file)) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")  # it opens the file when it is first asked
        except sqlite3.DatabaseError as error:
            raise HistoryError(
                f"{file} cannot be read ({error}); move it away and run again. It has Dagster's history of runs, and "
                "none of the data"
            ) from error
        yield


@contextmanager
def _without_waiting() -> Iterator[None]:
    """SQLite is not to wait for the disk after each event: a killed process loses none, a power cut may the last."""
    from sqlalchemy import Engine, event

    def connected(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = NORMAL")

    event.listen(Engine, "connect", connected)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connected)
