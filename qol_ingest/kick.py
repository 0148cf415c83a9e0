"""`qol-weekly-survey-kick`: ensures that the last complete week is computed, by Dagster or without it.

Belongs here: which week is due, whether a run of it exists already, and who is asked for one. Computing belongs to
the job.

EventBridge Scheduler calls it at `cron(5 0 ? * WED *)` UTC, Wednesday 09:05 in Japan, with this input:

    {"time": "<aws.scheduler.scheduled-time>"}

So a delivery that is late or comes again is about the same week. Without a time, or with one that cannot be read, the
present time counts. A time of another Wednesday asks for the week before it.

Without Dagster. If it cannot be asked, answers anything but what is expected, or has no daemon that would begin what
is launched, Glue is started directly and people are notified. If that fails too, they are notified of that, and
KickError makes the Lambda's alarm go off.

One run of a week. Dagster's own schedule fires at the same minute, and does not look for other runs of the week. So
it is given a head start here, and whatever it launched is found. And the other way round: a run launched here carries
the tags by which the scheduler knows the run of its tick, so a schedule that is late finds it and launches none. That
run is the tick's from then on: if it fails, people are notified as of any other, and only the next kick asks again.

What is left open: each side looks first and launches then, and Dagster has nothing that makes one step of it. Within
those few hundred milliseconds both may launch. So may two kicks at once; let Lambda run one at a time (reserved
concurrency 1). And Dagster may have launched a run although its answer got lost, so that Glue is started too. A second
run does no harm: it replaces the week's partitions, whole, by the same rows.

Time. Whatever hangs, this is over in less than a minute (`Limits`). No log line or message holds the token, an
address, or what Dagster or AWS have to say beyond the kind of their error.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

from qol_ingest.shared import aws, http
from qol_ingest.shared.calendar import end_of, last_complete_week, weekly_run_of
from qol_ingest.shared.deadline import TooSlowError, within
from qol_ingest.shared.errors import QolError

T = TypeVar("T")

log = logging.getLogger(__name__)

NAME = "qol-weekly-survey-kick"
JOB, SCHEDULE = "weekly_metrics_job", "weekly_metrics_schedule"
LOCATION, REPOSITORY = "qol_dagster", "__repository__"
PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
OF_SCHEDULE, OF_TICK = "dagster/schedule_name", ".dagster/scheduled_execution_time"
"""The tags by which Dagster's scheduler knows the run of a tick."""
STARTED_BY = "qol/started_by"

GIVEN_UP = frozenset({"FAILURE", "CANCELING", "CANCELED"})
WAITING = frozenset({"NOT_STARTED", "QUEUED"})
GLUE_ACTIVE = frozenset({"STARTING", "RUNNING", "WAITING"})
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
ASK_S = 8.0
"""How long one piece of Dagster's answer is waited for."""

RUNS_QUERY = """
query DagsterRuns($ofWeek: RunsFilter!, $since: RunsFilter!) {
  instance { daemonHealth { daemonStatus(daemonType: "QUEUED_RUN_COORDINATOR") { healthy } } }
  ofWeek: runsOrError(filter: $ofWeek, limit: 100) { ...runs }
  since: runsOrError(filter: $since, limit: 500) { ...runs }
}
fragment runs on RunsOrError { ... on Runs { results { status startTime tags { key value } } } }
"""
LAUNCH = """
mutation Launch($run: ExecutionParams!) { launchRun(executionParams: $run) { __typename } }
"""

Outcome = Literal["there already", "launched", "on Glue already", "started on Glue"]


class KickError(QolError):
    """A week was not started, nobody could be notified of something, or the Lambda is not set up."""


class DagsterError(QolError):
    """Dagster could not be asked, or did not answer as hoped; the message says why."""


@dataclass(frozen=True)
class Limits:
    """Seconds. How long the schedule may go first, and then how long Dagster, Glue and SNS are waited for at most."""

    head_start_s: float = 15.0
    dagster_s: float = 20.0
    glue_s: float = 12.0
    notify_s: float = 8.0


@dataclass(frozen=True)
class Run:
    """A run of Dagster. `started_s` is seconds since 1970, None for one that has not started."""

    status: str
    tags: Mapping[str, str]
    started_s: float | None = None


@dataclass(frozen=True)
class DagsterRuns:
    """What Dagster knows: runs that may be about a week, and whether it has a daemon that begins those that wait."""

    runs: tuple[Run, ...]
    queue_moves: bool = True


# -- which week, and is there a run of it


def scheduled_at(event: object, now: datetime) -> datetime:
    """Return the time that the event is about: its own, or `now`."""
    given = event.get("time") if isinstance(event, Mapping) else None
    if given is None:
        return now
    try:
        at = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        log.warning("the event's time cannot be read, so the present time counts; check the schedule's input")
        return now
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def head_start_left_s(week: date, now: datetime, head_start_s: float) -> float:
    """Return how long the schedule may still go first."""
    since_tick_s = (now - weekly_run_of(week)).total_seconds()
    return head_start_s - since_tick_s if 0 <= since_tick_s < head_start_s else 0.0


def is_taken_care_of(known: DagsterRuns, week: date) -> bool:
    """Return whether a run computes the week, will do so, or did so after its end.

    A failed or canceled one does not count.
    """
    over_s = end_of(week).timestamp()
    idle = GIVEN_UP if known.queue_moves else GIVEN_UP | WAITING
    return any(
        run.status not in idle and (run.status != "SUCCESS" or (run.started_s or 0.0) >= over_s)
        for run in known.runs
        if _is_about(run, week)
    )


def _is_about(run: Run, week: date) -> bool:
    only = run.tags.get(PARTITION, "")
    first, last = (only or run.tags.get(name, "") for name in (RANGE_START, RANGE_END))
    return first <= week.isoformat() <= last


def run_tags(week: date, at: datetime) -> dict[str, str]:
    """Return the tags of a week's run asked for at a time.

    Before the schedule's tick it is not the run of that tick.
    """
    tick = weekly_run_of(week)
    of_tick = {OF_SCHEDULE: SCHEDULE, OF_TICK: tick.astimezone(UTC).isoformat()} if at >= tick else {}
    return {PARTITION: week.isoformat(), STARTED_BY: NAME, **of_tick}


# -- Dagster


@dataclass(frozen=True)
class Dagster:
    """Dagster's GraphQL at a base URL. The token is read out of Secrets Manager if there is an ARN."""

    url: str = field(repr=False)
    token_arn: str = ""

    def see_to(self, week: date, at: datetime) -> Outcome:
        """Launch a run of the week unless there is one. Raises DagsterError."""
        headers = {"content-type": "application/json", **self._bearer()}
        known = self._runs_of(week, headers)
        if is_taken_care_of(known, week):
            return "there already"
        if not known.queue_moves:
            raise DagsterError("Dagster has no healthy daemon that would begin a run")
        self._launch(run_tags(week, at), headers)
        return "launched"

    def _runs_of(self, week: date, headers: Mapping[str, str]) -> DagsterRuns:
        """Runs of several weeks have no tag of one to ask for, so all runs since the week's end are looked through."""
        of_week = {"pipelineName": JOB, "tags": [{"key": PARTITION, "value": week.isoformat()}]}
        since = {"pipelineName": JOB, "createdAfter": end_of(week).timestamp()}
        data = self._ask(RUNS_QUERY, {"ofWeek": of_week, "since": since}, headers)
        try:
            runs = tuple(_run(one) for name in ("ofWeek", "since") for one in data[name]["results"])
            # It says nothing of a daemon that this Dagster does not need.
            healthy = data["instance"]["daemonHealth"]["daemonStatus"]["healthy"]
        except (KeyError, TypeError, ValueError):
            raise DagsterError("Dagster does not say which runs there are") from None
        return DagsterRuns(runs, healthy is not False)

    def _launch(self, tags: Mapping[str, str], headers: Mapping[str, str]) -> None:
        run = {
            "selector": {"jobName": JOB, "repositoryName": REPOSITORY, "repositoryLocationName": LOCATION},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self._ask(LAUNCH, {"run": run}, headers).get("launchRun")
        kind = answer.get("__typename") if isinstance(answer, dict) else None
        if kind != "LaunchRunSuccess":
            raise DagsterError(f"Dagster does not launch {JOB}: {kind}")

    def _bearer(self) -> dict[str, str]:
        if not self.token_arn:
            return {}
        try:
            token = aws.client("secretsmanager").get_secret_value(SecretId=self.token_arn)["SecretString"]
        except Exception as error:
            raise DagsterError(f"the token for Dagster cannot be read: {aws.why(error)}") from None
        return {"authorization": f"Bearer {token.strip()}"}

    def _ask(self, query: str, variables: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        try:
            answer = json.loads(self._post(body, headers))
        except http.NoAnswerError as error:
            raise DagsterError(f"Dagster does not answer: {error}") from None
        except (ValueError, RecursionError) as error:  # no JSON
            raise DagsterError(f"Dagster does not answer: {type(error).__name__}") from None
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or answer.get("errors"):
            raise DagsterError("Dagster answers with errors")
        return data

    def _post(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        parts = urlsplit(self.url)
        url = urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/graphql", "", ""))
        with http.request("POST", url, headers, body, timeout_s=ASK_S) as response:
            if response.status != 200:
                raise DagsterError(f"Dagster answers {response.status}")
            return http.read(response, LARGEST_ANSWER_BYTES)


def _run(answer: Mapping[str, Any]) -> Run:
    started = answer["startTime"]
    tags = {str(tag["key"]): str(tag["value"]) for tag in answer["tags"]}
    return Run(str(answer["status"]), tags, None if started is None else float(started))


# -- AWS


def start_on_glue(job: str, week: date) -> bool:
    """Start a run of a week unless one is active; return whether it did. Raises what `aws.faults` names."""
    glue = aws.client("glue")
    if _is_active(glue, job, week):
        return False
    try:
        glue.start_job_run(JobName=job, Arguments={"--weeks": week.isoformat(), "--triggered-by": "kick"})
    except aws.faults():
        # Somebody else was faster, or the answer got lost and the client has tried again.
        if not _is_active(glue, job, week):
            raise
    return True


def _is_active(glue: Any, job: str, week: date) -> bool:
    pages = glue.get_paginator("get_job_runs").paginate(JobName=job)
    return any(
        run["JobRunState"] in GLUE_ACTIVE and week.isoformat() in run.get("Arguments", {}).get("--weeks", "")
        for page in pages
        for run in page["JobRuns"]
    )


def publish(topic_arn: str, subject: str, text: str) -> None:
    """Notify everybody who subscribed to a topic. Raises what `aws.faults` names."""
    aws.client("sns").publish(TopicArn=topic_arn, Subject=subject, Message=text)


# -- both


@dataclass(frozen=True)
class Kick:
    """Ensures that a week is computed. `start` starts it on Glue, `notify` takes a subject and a text.

    Both may raise anything.
    """

    dagster: Dagster
    start: Callable[[date], bool]
    notify: Callable[[str, str], None]
    limits: Limits = Limits()
    sleep: Callable[[float], None] = time.sleep

    def kick(self, at: datetime, now: datetime) -> Outcome:
        """Ensure that the last week that was complete at `at` is computed. Raises KickError."""
        week = last_complete_week(at)
        self.sleep(head_start_left_s(week, now, self.limits.head_start_s))
        try:
            outcome = _within(self.limits.dagster_s, "Dagster", partial(self.dagster.see_to, week, at))
        except (DagsterError, TooSlowError) as error:
            log.warning("the week of %s cannot be left to Dagster: %s", week, error)
            outcome = self._without_dagster(week, str(error))
        log.info("the week of %s is %s", week, outcome)
        return outcome

    def _without_dagster(self, week: date, reason: str) -> Outcome:
        try:
            started = _within(self.limits.glue_s, "Glue", partial(self.start, week))
        except Exception as error:
            what = f"The week of {week} was not started. {reason}, and Glue does not start it: {aws.why(error)}."
            self._send(
                f"[qol] the week of {week} was not started",
                f"{what}\n\n{WHEN_NOT_STARTED % (NAME, weekly_run_of(week).isoformat())}",
            )
            raise KickError(what) from None
        outcome: Outcome = "started on Glue" if started else "on Glue already"
        what = f"The week of {week} is {outcome}. {reason}."
        if not self._send(f"[qol] the week of {week} runs on Glue, without Dagster", f"{what}\n\n{WHEN_ON_GLUE}"):
            raise KickError(f"{what} Nobody could be notified.")
        return outcome

    def _send(self, subject: str, text: str) -> bool:
        try:
            _within(self.limits.notify_s, "SNS", partial(self.notify, subject, text))
        except Exception as error:
            log.error("a message could not be sent: %s", aws.why(error))  # noqa: TRY400 - a trace may quote ids
            return False
        return True


def _within(seconds: float, what: str, call: Callable[[], T]) -> T:
    return within(time.monotonic() + seconds, what, call)


WHEN_NOT_STARTED = """\
Nothing of the week is lost: its raw files wait. When Dagster or Glue is mended, run the week in Dagster
(weekly_metrics > Materialize), or invoke %s with this input:

    {"time": "%s"}
"""
WHEN_ON_GLUE = """\
The week is computed all the same. Check Dagster's web server, code location and daemon. Dagster's history does not
show this run; running the week there again does no harm.
"""


def handler(event: object, _context: object) -> dict[str, str]:
    """Start the weekly run, as the Lambda's entry point, and return the week's Monday and what came of it.

    Set up from QOL_* variables. Raises KickError.
    """
    logging.getLogger("qol_ingest").setLevel(logging.INFO)  # Lambda's root logger starts at WARNING
    now = datetime.now(UTC)
    at = scheduled_at(event, now)
    return {"week": last_complete_week(at).isoformat(), "outcome": _kick_of_environment().kick(at, now)}


def _kick_of_environment() -> Kick:
    """QOL_DAGSTER_URL, QOL_GLUE_JOB, QOL_ALERT_TOPIC_ARN; QOL_DAGSTER_TOKEN_ARN if Dagster wants a token."""
    names = ("QOL_DAGSTER_URL", "QOL_GLUE_JOB", "QOL_ALERT_TOPIC_ARN")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise KickError(f"{NAME} is not set up; set {', '.join(missing)}")
    url, job, topic_arn = (os.environ[name] for name in names)
    dagster = Dagster(url, os.environ.get("QOL_DAGSTER_TOKEN_ARN", ""))
    return Kick(dagster, partial(start_on_glue, job), partial(publish, topic_arn))
