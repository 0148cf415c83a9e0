"""Running the weekly job from a command line: the same job the schedule runs, in this process.

Belongs here: which weeks may be asked for, Dagster's home, and what came of a run.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from qol_dagster.etl import mondays
from qol_dagster.profiles import DEFAULT, Profile
from qol_dagster.resources.storage import locked
from qol_dagster.settings import Settings

DAGSTER_YAML = """\
# Written once; yours to change. Runs, schedules and events are kept beside this file.
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
  max_runtime_seconds: 3600
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false
concurrency:
  runs:
    max_concurrent_runs: 2
"""


WORKSPACE_YAML = """\
# The same location as in the project's workspace.yaml, under the same name.
load_from:
  - python_module:
      module_name: qol_dagster.definitions
      location_name: qol_dagster
"""


class WeekError(ValueError):
    """A week cannot be computed; the message says which and why."""


class HistoryError(RuntimeError):
    """A database in which Dagster keeps runs cannot be read; the message says which and what to do."""


@dataclass(frozen=True)
class RunOutcome:
    """What came of a run. `message` is the reason of a failure, without ids of people."""

    success: bool
    run_id: str
    message: str
    weekly_rows: dict[date, int]
    days_reused: int
    days_recomputed: int
    seconds: float


def materialize_weeks(
    settings: Settings,
    weeks: Sequence[date],
    engine: str = "default",
    *,
    force: bool = False,
    profile: Profile = DEFAULT,
) -> RunOutcome:
    """Run a profile's job once for all weeks from the first to the last of these dates' weeks.

    The run is kept in Dagster's home, where its UI shows it. Raises WeekError for weeks that are not over or lie
    before the start date.
    """
    chosen = check_weeks(settings, weeks)
    started = time.perf_counter()
    with dagster_instance(settings) as instance:
        from qol_dagster.definitions import build_defs  # noqa: PLC0415

        job = build_defs(settings).resolve_job_def(profile.job)
        result = job.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config=_run_config(engine, force, profile),
            tags={
                "dagster/asset_partition_range_start": chosen[0].isoformat(),
                "dagster/asset_partition_range_end": chosen[-1].isoformat(),
            },
        )
        return _outcome(settings, result, chosen, profile, time.perf_counter() - started)


def check_weeks(settings: Settings, weeks: Sequence[date]) -> list[date]:
    """The Mondays from the first week to the last, when all of them can be computed."""
    from qol_dagster.partitions import is_closed, today  # noqa: PLC0415

    named = mondays(weeks)
    if not named:
        raise WeekError("no week was named")
    chosen = [named[0] + timedelta(weeks=number) for number in range((named[-1] - named[0]).days // 7 + 1)]
    if chosen[0] < settings.start_date:
        raise WeekError(
            f"the week of {chosen[0]} lies before the start date {settings.start_date}; set QOL_START_DATE earlier"
        )
    if not is_closed(chosen[-1], today()):
        raise WeekError(f"the week of {chosen[-1]} is not over yet in Japan; ask again after its Sunday")
    return chosen


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[Any]:
    """The instance of QOL_HOME/dagster, made on first use."""
    home = prepare_dagster_home(settings)
    import dagster as dg  # noqa: PLC0415

    with locked(settings.dagster_home / ".lock"):  # two that make its databases at once spoil each other's
        opened = dg.DagsterInstance.from_config(home)
    with opened as instance, _kept_open(settings.dagster_home):
        yield instance


@contextmanager
def _kept_open(home: Path) -> Iterator[None]:
    """Holds a connection to Dagster's databases, where they are SQLite's.

    Dagster connects anew for each event, and SQLite writes a database out whenever its last connection closes. With
    one left open it does so once, at the end. Raises HistoryError.
    """
    with ExitStack() as held:
        for file in (home / "history/runs.db", home / "history/runs/index.db"):
            if file.exists():
                connection = held.enter_context(closing(sqlite3.connect(file)))
                try:
                    connection.execute("SELECT count(*) FROM sqlite_master")  # it opens the file when it is first asked
                except sqlite3.DatabaseError as error:
                    raise HistoryError(
                        f"{file} cannot be read ({error}); move it away and run again. It has Dagster's history of "
                        "runs, and none of the data"
                    ) from error
        yield


def prepare_dagster_home(settings: Settings) -> str:
    """Make QOL_HOME/dagster with a calm configuration, and give its path."""
    home = settings.dagster_home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".lock"):
        for name, text in {"dagster.yaml": DAGSTER_YAML, "workspace.yaml": WORKSPACE_YAML}.items():
            if not (home / name).exists():
                (home / name).write_text(text)
    os.environ.setdefault("DAGSTER_HOME", str(home))
    return str(home)


def _run_config(engine: str, force: bool, profile: Profile) -> dict[str, Any]:
    ops = {profile.step: {"config": {"engine": engine, "force": force}}}
    return {"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _outcome(settings: Settings, result: Any, weeks: list[date], profile: Profile, seconds: float) -> RunOutcome:
    if not result.success:
        return RunOutcome(False, result.run_id, _reason(settings, result), {}, 0, 0, seconds)
    made = result.asset_materializations_for_node(profile.step)
    daily = next(one.metadata for one in made if one.asset_key.path == [f"daily_metrics{profile.suffix}"])
    weekly = result.asset_materializations_for_node(f"weekly_metrics{profile.suffix}_table")
    rows = {date.fromisoformat(one.partition): int(one.metadata["dagster/partition_row_count"].value) for one in weekly}
    return RunOutcome(
        True,
        result.run_id,
        "",
        {week: rows[week] for week in weeks},
        int(daily["days_reused"].value),
        int(daily["days_recomputed"].value),
        seconds,
    )


def _reason(settings: Settings, result: Any) -> str:
    from qol_dagster.alerts import reason_of, scrubbed, unspeakable  # noqa: PLC0415
    from qol_dagster.resources.platform import Platform  # noqa: PLC0415

    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            return scrubbed(reason_of(event.step_failure_data.error), unspeakable(Platform(settings)))
    return "the run failed; its log in Dagster says why"
