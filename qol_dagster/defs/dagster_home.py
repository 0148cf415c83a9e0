"""Dagster's home in QOL_HOME: the two files that configure it, made on first use, and who is at work there.

Belongs here: what those files hold. Once made they are the deployment's own; one that nobody changed is brought up to
date with a new release.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

from qol_dagster.errors import QolError
from qol_dagster.lake.lease import locked
from qol_dagster.settings import Settings

BEATS_S = 45.0
"""A daemon says that it is alive every 30 s."""
DAGSTER_YAML = """\
# Yours to change: then no release changes it any more. Runs, schedules and events are kept beside this file.
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
# The weekly run has a lane of its own: it starts at once, whatever is in the other. Further runs would only wait there
# for the lake. Runs of `qol materialize` are not queued, but count towards the ten.
run_coordinator:
  module: qol_dagster.defs.queue
  class: WeeklyRunFirst
concurrency:
  runs:
    max_concurrent_runs: 10
    tag_concurrency_limits:
      - key: qol/lane
        value: {applyLimitPerUniqueValue: true}
        limit: 1
# Who waits for another writer of the lake says so in its run's log: for whom, and since when that one has it.
python_logs:
  managed_python_loggers: [qol_dagster.lake.lease]
# Ticks of sensors and schedules; how long runs are kept, QOL_RETENTION says.
retention:
  schedule: {purge_after_days: 180}
  sensor:
    purge_after_days: {skipped: 7, success: 180, failure: 180, started: 180}
"""

EARLIER = frozenset({"d98ebd28c76b4af69338f343605fc97945364bda28ac49a21c5a02ce847e0be5"})
"""SHA-256 of what earlier releases wrote as dagster.yaml. The one in use joins them when it changes."""

WORKSPACE_YAML = """\
# The same location as in the project's workspace.yaml, under the same name.
load_from:
  - python_module:
      module_name: qol_dagster.definitions
      location_name: qol_dagster
"""


def prepare_dagster_home(settings: Settings) -> str:
    """Make QOL_HOME/dagster with a calm configuration, and return its path. Raises DagsterHomeError."""
    home = settings.dagster_home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".lock", quietly=True):
        for name, text in {"dagster.yaml": DAGSTER_YAML, "workspace.yaml": WORKSPACE_YAML}.items():
            file = home / name
            if file.is_dir():
                raise DagsterHomeError(
                    f"{file} is a folder where a file belongs", advice="Move it away, or remove it, and run again"
                )
            if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() in EARLIER:
                file.write_text(text)
    os.environ.setdefault("DAGSTER_HOME", str(home))
    return str(home)


class DagsterHomeError(QolError):
    """Something is in the place of a file that configures Dagster; the message names it."""


class DaemonError(QolError):
    """Another daemon works on this home."""


def require_no_daemon(home: str) -> None:
    """Raise DaemonError if a daemon was at work here a moment ago: two would start everything twice."""
    with _instance(home) as instance:
        beats = [beat.timestamp for beat in instance.get_daemon_heartbeats().values()]
    ago_s = time.time() - max(beats, default=0.0)
    if ago_s < BEATS_S:
        raise DaemonError(
            f"a Dagster daemon was at work on {home} {max(0, round(ago_s))} s ago",
            advice=f"Stop it, and wait for {BEATS_S:.0f} s",
        )


def forget_daemon(home: str) -> None:
    """Forget when a daemon was last at work here, since it has ended."""
    with _instance(home) as instance:
        instance.wipe_daemon_heartbeats()


def _instance(home: str) -> Any:
    import dagster as dg

    return dg.DagsterInstance.from_config(home)
