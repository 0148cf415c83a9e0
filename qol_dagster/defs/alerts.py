"""One failure, one mail: the failure hook of the assets and the run failure sensor behind it.

Belongs here: what is said, and that it is said once. The hook knows the step; it misses crashes, timeouts and runs
that never started, which the sensor sees. Whoever comes first claims the run with a marker, which all hosts see. What
could not be sent, or whose sender was killed, is sent by `watch_sensor`, each hour.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import dagster as dg

from qol_dagster import settings as project
from qol_dagster.defs.messages import subject
from qol_dagster.lake.shared_object import SharedObject
from qol_dagster.metrics.profiles import DEFAULT, PROFILES
from qol_dagster.metrics.tables import TableId
from qol_dagster.resources.id_map import People
from qol_dagster.resources.notifier import Notifier
from qol_dagster.resources.outbox import Outgoing
from qol_dagster.settings import Settings
from qol_ingest.shared.keys import ALERTS

MAX_MESSAGE = 800
RESEND = timedelta(days=7)
"""For so long after a run failed its alert is tried again."""
PAUSE_S = 60.0
"""After an alert that could not be sent: a tick sees up to five runs, and may take no longer than this."""
DECIDED_S = 5.0
"""So long after a run failed Dagster has decided whether to start it again."""
_MARKER = f"{ALERTS}/{{}}"
_SENDING = "alert about a failed step"
"""The name of the threads that send one."""
_LONG = 8
"""Characters from which a confidential value is found within words too; `me` would be in every second of them."""


NO_PARTITION = "no partition"
FACTS = """\
Weeks:  {weeks}
Step:   {step}
Reason: {reason}
"""
FACTS_JA = """\
対象週：{weeks}
ステップ：{step}
理由：{reason}
"""
AGAIN = """\
Open the run in Dagster to see its log; when the reason is mended, start it again with the same configuration.

実行が失敗しました。

{facts}
Dagster でこの実行のログを確認し、原因を取り除いてから、同じ設定でもう一度実行してください。
"""
WEEKS_AGAIN = """\
The tables are written one after the other: {daily}, {weekly}, {status}. Each file is whole: what was
written before the failure is new, the rest is as it was. So until these weeks are run again, the tables may
disagree. If a check failed, the rows that failed it are in their table: do not use these weeks until then.

Open the run in Dagster to see its log; when the reason is mended, run the same weeks again
(Dagster > {weekly} > Materialize, or `qol materialize --week DATE{option}`). That makes all tables agree.

週の計算が失敗しました。

{facts}
各ファイルは新旧どちらかの完全な状態ですが、同じ週を再び実行するまで、表どうしが一致しないことがあります。
チェックが失敗した週は、それまで使わないでください。Dagster でこの実行のログを確認し、原因を取り除いてから、
同じ週をもう一度実行してください
（Dagster > {weekly} > Materialize、または `qol materialize --week DATE{option}`）。
"""
"""True of every failure; on Glue, rows that fail a check are not even written."""


@dataclass(frozen=True)
class Alert:
    """What is known of a failure."""

    run_id: str
    job: str
    partition: str
    step: str
    error: str

    def subject(self) -> str:
        """One line."""
        return subject("run_failed", job=self.job, weeks=self.partition)

    def body(self) -> str:
        """Return what happened, to what, how the tables are now, and what to do."""
        facts = FACTS.format(weeks=self.partition, step=self.step, reason=self.error)
        return f"The run {self.run_id} of {self.job} failed.\n\n{facts}\n{self._what_to_do()}"

    def _what_to_do(self) -> str:
        weeks = "なし" if self.partition == NO_PARTITION else self.partition.replace(" to ", "～")
        facts = FACTS_JA.format(weeks=weeks, step=self.step, reason=self.error)
        if self.partition == NO_PARTITION:
            return AGAIN.format(facts=facts)
        profile = next((one for one in PROFILES.values() if one.suffix and one.suffix in self.job + self.step), DEFAULT)
        daily, weekly, status = (TableId(table, profile).name for table in ("daily", "weekly", "status"))
        option = "" if profile is DEFAULT else f" --profile {profile.name}"
        return WEEKS_AGAIN.format(facts=facts, daily=daily, weekly=weekly, status=status, option=option)


class AlertParts(Protocol):
    """What it takes to notify somebody: of a whole platform, its resources, or single ones."""

    @property
    def settings(self) -> Settings:
        """Of which some are confidential."""

    def id_map(self) -> People:
        """Whose Garmin ids are confidential."""

    def notifier(self) -> Notifier:
        """Return who is notified."""

    def marker(self, name: str) -> SharedObject:
        """Return which one process can claim once."""


def notify_once(parts: AlertParts, alert: Alert) -> bool:
    """Send the alert unless its run was announced already; return whether this call sent it."""
    return _claimed(parts, alert.run_id) and _sent(parts, alert)


def _sent(parts: AlertParts, alert: Alert) -> bool:
    """Send the alert about a run that was claimed; if that fails, somebody else may claim it."""
    clean = redacted(alert.error, confidential_values(parts))
    sent = parts.notifier().send(alert.subject(), Alert(**{**alert.__dict__, "error": clean}).body())
    with contextlib.suppress(Exception):
        _outgoing(parts, alert.run_id).settle(is_sent=sent)
    return sent


def _outgoing(parts: AlertParts, run_id: str) -> Outgoing:
    return Outgoing(parts.marker, _MARKER.format(run_id))


def _claimed(parts: AlertParts, run_id: str) -> bool:
    try:
        return _outgoing(parts, run_id).claim()
    except Exception:
        return True  # a disk that is full, or a bucket out of reach, must not silence the alert about it


def redacted(text: str, confidential_values: Iterable[str]) -> str:
    """Return the first line of a text, and what it announces with a colon, short, without ids of people or secrets."""
    for value in filter(None, confidential_values):
        whole = re.escape(value) if len(value) >= _LONG else rf"(?<!\w){re.escape(value)}(?!\w)"
        text = re.sub(whole, "***", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    summary = " ".join(lines[:2]) if lines and lines[0].endswith(":") else "".join(lines[:1])
    return (summary or "no reason was given")[:MAX_MESSAGE]


def confidential_values(parts: AlertParts) -> list[str]:
    """Confidential settings, and the Garmin ids of everybody enrolled; what may contain another comes before it."""
    values = [*project.confidential_values(parts.settings)]
    with contextlib.suppress(Exception):
        values += [one.garmin_user_id for one in parts.id_map().list()]
    return sorted(values, key=len, reverse=True)


def reason_of(error: Any) -> str:
    """Return what went wrong in a step, below Dagster's wrapping and above its own causes.

    That is the sentence of a Failure, and `ErrorClass: message` of anything else.
    """
    while error.cause and (error.cls_name or "").startswith(("Dagster", "Retry")):
        error = error.cause
    name, _, rest = error.message.partition(": ")
    kind = name.rpartition(".")[2]
    return (rest if kind == dg.Failure.__name__ else f"{kind}: {rest}") if rest else str(error.message)


def partition_of(tags: dict[str, str] | object) -> str:
    """Return the weeks a run was about, from its tags."""
    tags = tags if isinstance(tags, dict) else {}
    first, last = (
        tags.get("dagster/asset_partition_range_start"),
        tags.get("dagster/asset_partition_range_end"),
    )
    if first and last:
        return first if first == last else f"{first} to {last}"
    return tags.get("dagster/partition") or NO_PARTITION


@dg.failure_hook(required_resource_keys={"parts"})
def notify_failed_step(context: dg.HookContext) -> None:
    """Send the step's failure with its reason, beside the run, which does not wait for a mail server."""
    error = context.op_exception
    kind = "" if isinstance(error, dg.Failure) else f"{type(error).__name__}: "
    reason = f"{kind}{error}" if error else "unknown"
    run = context.instance.get_run_by_id(context.run_id) if context.run_id else None
    alert = Alert(context.run_id, context.job_name, partition_of(run.tags if run else {}), context.op.name, reason)
    # Not a daemon thread: the process of the run ends once the mail is out, or was given up.
    threading.Thread(target=notify_once, args=(context.resources.parts, alert), name=_SENDING).start()


def wait_until_sent() -> None:
    """Wait until this process sends no alert about a failed step any more."""
    for thread in threading.enumerate():
        if thread.name == _SENDING:
            thread.join()


def failure_sensor(parts: AlertParts) -> dg.SensorDefinition:
    """Return the sensor that alerts about every failed run that the hook did not announce."""
    unsent_at = float("-inf")

    @dg.run_failure_sensor(
        name="run_failure_sensor",
        description="Alerts people to a failed run, once, also when it crashed or never started.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def run_failure_sensor(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        nonlocal unsent_at
        wait_until_sent()
        if time.monotonic() - unsent_at < PAUSE_S:
            return dg.SkipReason("alerts cannot be sent now; watch_sensor tries again")
        if not notify_of_run(parts, context.instance, context.dagster_run):
            unsent_at = time.monotonic()
        return None

    return run_failure_sensor


def resend_failures(parts: AlertParts, instance: dg.DagsterInstance) -> bool:
    """Alert about the failed runs of the last days that nobody was alerted about; return whether all is sent.

    Among them are those whose alert was being sent when its sender was killed.

    It stops at the first alert that cannot be sent: an unresponsive server costs one time-out, whatever failed.
    """
    since = datetime.now(UTC) - RESEND
    failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since))
    return all(notify_of_run(parts, instance, run) for run in reversed(failed) if _is_due(parts, run.run_id))


def notify_of_run(parts: AlertParts, instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Alert about a failed run unless somebody has; return False if the alert could not be sent.

    A lost run that is started again is passed over: an alert follows if that fails too.
    """
    if _starts_again(instance, run):
        return True
    steps = _events(instance, run, dg.DagsterEventType.STEP_FAILURE)
    ends = _events(instance, run, dg.DagsterEventType.RUN_FAILURE)
    found = steps[0].step_failure_data.error if steps else None
    reason = reason_of(found) if found else (ends[-1].message if ends else "") or "the run ended without a reason"
    step = steps[0].step_key or "none" if steps else "none"
    alert = Alert(run.run_id, run.job_name, partition_of(dict(run.tags)), step, reason)
    return not _claimed(parts, run.run_id) or _sent(parts, alert)


def _starts_again(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether Dagster starts a failed run again. It says so a moment after it has said that the run failed."""
    until = time.monotonic() + DECIDED_S
    while True:
        tags = (instance.get_run_by_id(run.run_id) or run).tags
        if "dagster/will_retry" in tags or not instance.run_retries_enabled or time.monotonic() > until:
            return tags.get("dagster/will_retry") == "true"
        time.sleep(0.1)


def _is_due(parts: AlertParts, run_id: str) -> bool:
    try:
        return _outgoing(parts, run_id).is_due()
    except Exception:
        return False  # what is sent while no marker can be made is sent by the hook and the sensor, not each hour


def _events(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
    entries = instance.all_logs(run.run_id, of_type=kind)
    return [entry.dagster_event for entry in entries if entry.dagster_event]
