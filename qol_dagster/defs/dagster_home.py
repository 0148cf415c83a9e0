"""Dagster's home in QOL_HOME: the two files that configure it, made on first use.

Belongs here: what those files hold. Once made they are the deployment's own.
"""

from __future__ import annotations

import os

from qol_dagster.lake.lease import locked
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
