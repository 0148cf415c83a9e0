"""What Dagster's daemon does, one tick at a time and in this process: no clock, nothing left running.

Belongs here: looking for arrivals and for failures with the real sensors, and running what is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from qol_dagster.definitions import build_defs
from qol_dagster.defs.alerts import confidential_values, reason_of, redacted
from qol_dagster.resources.platform import Computer, open_platform
from qol_dagster.settings import Settings

POLL_S = 0.5
"""Between two looks at a Glue run, which here costs nobody anything."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ARRIVALS, FAILURES = "raw_arrivals_sensor", "run_failure_sensor"


def nearby(computer: Computer) -> Computer:
    """Return what computes weeks on an AWS that is on this machine."""
    job = computer.glue_job
    return replace(computer, glue_job=job and replace(job, poll_s=POLL_S))


@dataclass
class Daemon:
    """The definitions of a deployment and an instance; it remembers each sensor's cursor and the runs it asked for."""

    settings: Settings
    instance: dg.DagsterInstance
    cursor: str | None = None
    days: list[str] = field(default_factory=list)
    _asked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Load the definitions."""
        computer = nearby(open_platform(self.settings).computer())
        self.definitions = build_defs(self.settings, resource_overrides={"computer": computer})

    def arrivals(self) -> list[dg.RunRequest]:
        """Poll until nothing new is found; return the runs that were asked for and not before, in order.

        `days` has the raw days that were reported.
        """
        requests: list[dg.RunRequest] = []
        while found := self._tick():
            requests += [one for one in found.run_requests or () if one.run_key not in self._asked]
            self._asked |= {str(one.run_key) for one in requests}
        return requests

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Run what was asked for; a failure is in the result."""
        return self.definitions.resolve_job_def(request.job_name or "weekly_metrics_job").execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=dict(request.tags),
            run_config=QUIET,
            raise_on_error=False,
        )

    def reason(self, failed: dg.ExecuteInProcessResult) -> str:
        """Why a run failed, without ids of people."""
        errors = [event.step_failure_data.error for event in failed.all_events if event.is_step_failure]
        failure = reason_of(errors[0]) if errors and errors[0] else "no step says why"
        return redacted(failure, confidential_values(open_platform(self.settings)))

    def look_at_failure(self, run_id: str) -> None:
        """Show a failed run to the sensor of failures."""
        (event,) = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE)
        run = self.instance.get_run_by_id(run_id)
        assert run is not None  # it was just read
        assert event.dagster_event is not None
        context = dg.build_run_status_sensor_context(
            sensor_name=FAILURES,
            dagster_event=event.dagster_event,
            dagster_instance=self.instance,
            dagster_run=run,
        )
        self.definitions.resolve_sensor_def(FAILURES)(context.for_run_failure())

    def _tick(self) -> dg.SensorResult | None:
        sensor: Any = self.definitions.resolve_sensor_def(ARRIVALS)
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            found = sensor(context)
        if not isinstance(found, dg.SensorResult):
            return None
        for event in found.asset_events:
            self.instance.report_runless_asset_event(event)
        self.days += [str(event.partition) for event in found.asset_events]
        self.cursor = found.cursor
        return found
