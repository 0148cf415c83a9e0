"""The Glue job that computes weeks on AWS: a run of it is started, watched to its end, and stopped.

Belongs here: what Glue is asked, how long it is waited for, and what is known of a run. What goes into a run and comes
back from it is `assets/glue.py`'s, what it does the script's (`qol_dagster/pipeline/glue_job.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from qol_dagster.errors import QolError
from qol_ingest.shared import aws

ENDED = frozenset({"SUCCEEDED", "FAILED", "ERROR", "TIMEOUT", "STOPPED", "EXPIRED"})
"""In no other state a run stays."""
POLL_S = 5.0
LIMIT_S = 70 * 60.0
"""Glue stops a run 60 minutes after it began; before that it may wait for machines."""
UNRESPONSIVE_S = 300.0
"""For so long Glue may fail to say how a run does, which may still do well."""
_ADVICE = {
    "ConcurrentRunsExceededException": "as many runs of it are active as it may have; it is tried once more",
    "EntityNotFoundException": "there is no such job; set QOL_GLUE_JOB to the one that was deployed",
    "AccessDeniedException": "this role may not start it",
    "ResourceNumberLimitExceededException": "the account has too few DPUs left for it",
}


class GlueError(QolError):
    """A run on Glue did not start, or did not end well; the message says which run, and where its log is."""


@dataclass(frozen=True)
class GlueRun:
    """A run as Glue last reported it. `execution_s` without the time it waited, `dpu_s` as it is charged."""

    job: str
    id: str
    state: str
    region: str
    log_group: str = ""
    execution_s: int = 0
    dpu_s: float = 0.0

    def __str__(self) -> str:
        return f"the Glue run {self.id} of {self.job}"

    @property
    def url(self) -> str:
        """Its page in the console, which leads to its logs."""
        return f"{self._console}/gluestudio/home?region={self.region}#/job/{quote(self.job)}/run/{quote(self.id)}"

    @property
    def log_url(self) -> str:
        """The log groups of its job in the console; its streams are named by its id."""
        wanted = quote(quote(self.log_group, safe=""), safe="").replace("%", "$")
        page = f"logsV2:log-groups$3FlogGroupNameFilter$3D{wanted}"
        return f"{self._console}/cloudwatch/home?region={self.region}#{page}"

    @property
    def _console(self) -> str:
        return f"https://{self.region}.console.aws.amazon.com"


def _client() -> Any:
    # A start without an answer is not sent again by itself: each one that arrived is a run.
    from botocore.config import Config

    once = Config(retries={"total_max_attempts": 1})
    return aws.session().client("glue", config=aws.patience().merge(once))


@dataclass(frozen=True)
class GlueJob:
    """A deployed job by its name."""

    name: str
    poll_s: float = POLL_S
    limit_s: float = LIMIT_S
    unresponsive_s: float = UNRESPONSIVE_S
    client: Any = field(default_factory=_client, repr=False)

    def run(self, arguments: Mapping[str, str], log: Callable[[str], object]) -> GlueRun:
        """Start a run, and wait until it has ended, in whatever state. Raises GlueError.

        Whatever ends the waiting before, such as a cancelled run in Dagster, stops the run on Glue too.
        """
        started = self._start(arguments)
        log(f"{started} has started: {started.url}")
        try:
            return self._ended(started)
        except BaseException:
            self._stop(started, log)
            raise

    def _start(self, arguments: Mapping[str, str]) -> GlueRun:
        try:
            started = self.client.start_job_run(JobName=self.name, Arguments=dict(arguments))
        except aws.faults() as error:
            why = aws.why(error)
            raise GlueError(f"Glue did not start {self.name}: {_ADVICE.get(why, why)}") from None
        return GlueRun(self.name, started["JobRunId"], "STARTING", self.client.meta.region_name)

    def _ended(self, run: GlueRun) -> GlueRun:
        began = heard = time.monotonic()
        while run.state not in ENDED:
            time.sleep(self.poll_s)
            now = time.monotonic()
            try:
                run, heard = self._poll(run), now
            except aws.faults() as error:
                if now - heard > self.unresponsive_s:
                    raise GlueError(
                        f"for {self.unresponsive_s:g} s Glue did not say how {run} does: {aws.why(error)}"
                    ) from None
            if now - began > self.limit_s and run.state not in ENDED:
                raise GlueError(f"{run} was {run.state} after {self.limit_s:g} s, and is stopped: {run.url}")
        return run

    def _poll(self, run: GlueRun) -> GlueRun:
        answer = self.client.get_job_run(JobName=run.job, RunId=run.id)["JobRun"]
        seconds = int(answer.get("ExecutionTime") or 0)
        return GlueRun(
            run.job,
            run.id,
            answer["JobRunState"],
            run.region,
            answer.get("LogGroupName") or "",
            seconds,
            float(answer.get("DPUSeconds") or seconds * float(answer.get("MaxCapacity") or 0)),
        )

    def _stop(self, run: GlueRun, log: Callable[[str], object]) -> None:
        try:
            answer = self.client.batch_stop_job_run(JobName=run.job, JobRunIds=[run.id])
            refused = [one["ErrorDetail"]["ErrorCode"] for one in answer.get("Errors", ())]
        except aws.faults() as error:
            refused = [aws.why(error)]
        log(f"{run} could not be stopped: {refused[0]}. Stop it by hand: {run.url}" if refused else f"{run} is stopped")
