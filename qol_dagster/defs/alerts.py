"""One failure, one mail: the failure hook of the assets and the run failure sensor behind it.

Belongs here: what is said, and that it is said once. The hook knows the step; it misses crashes, timeouts and runs
that never started, which the sensor sees. Whoever comes first claims the run with a marker, which all hosts see.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import dagster as dg

from qol_dagster import settings as project
from qol_dagster.lake.shared_object import SharedObject
from qol_dagster.metrics.profiles import DEFAULT, PROFILES
from qol_dagster.metrics.tables import TableId
from qol_dagster.resources.id_map import People
from qol_dagster.resources.notifier import Notifier
from qol_dagster.settings import Settings

MAX_MESSAGE = 800
_MARKER = "alerts/{}"
_LONG = 8
"""Characters from which a confidential value is found within words too; `me` would be in every second of them."""


NO_PARTITION = "no partition"
AGAIN = """\
Open the run in Dagster to see its log; when the reason is mended, start it again with the same configuration.

実行が失敗しました。Dagster でこの実行のログを確認し、原因を取り除いてから、同じ設定でもう一度実行してください。
"""
WEEKS_AGAIN = """\
The tables are written one after the other: {daily}, {weekly}, {status}. Each file is whole: what was
written before the failure is new, the rest is as it was. So until these weeks are run again, the tables may
disagree. If a check failed, the rows that failed it are in their table: do not use these weeks until then.

Open the run in Dagster to see its log; when the reason is mended, run the same weeks again
(Dagster > {weekly} > Materialize, or `qol materialize --week DATE{option}`). That makes all tables agree.

週の計算が失敗しました。各ファイルは新旧どちらかの完全な状態ですが、同じ週を再び実行するまで、
表どうしが一致しないことがあります。チェックが失敗した週は、それまで使わないでください。Dagster でこの実行のログを
確認し、原因を取り除いてから、同じ週をもう一度実行してください
（Dagster > {weekly} > Materialize、または `qol materialize --week DATE{option}`）。
"""
"""True of every failure, also of Glue, which writes all tables before the first is checked."""


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
        return f"[qol] {self.job} failed for {self.partition}"

    def body(self) -> str:
        """Return what happened, to what, how the tables are now, and what to do."""
        return (
            f"The run {self.run_id} of {self.job} failed.\n\n"
            f"Weeks:  {self.partition}\nStep:   {self.step}\nReason: {self.error}\n\n{self._what_to_do()}"
        )

    def _what_to_do(self) -> str:
        if self.partition == NO_PARTITION:
            return AGAIN
        profile = next((one for one in PROFILES.values() if one.suffix and one.suffix in self.job + self.step), DEFAULT)
        daily, weekly, status = (TableId(table, profile).name for table in ("daily", "weekly", "status"))
        option = "" if profile is DEFAULT else f" --profile {profile.name}"
        return WEEKS_AGAIN.format(daily=daily, weekly=weekly, status=status, option=option)


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
    if not _claimed(parts, alert.run_id):
        return False
    clean = redacted(alert.error, confidential_values(parts))
    sent = parts.notifier().send(alert.subject(), Alert(**{**alert.__dict__, "error": clean}).body())
    if not sent:
        with contextlib.suppress(Exception):
            parts.marker(_MARKER.format(alert.run_id)).remove()
    return sent


def _claimed(parts: AlertParts, run_id: str) -> bool:
    try:
        return parts.marker(_MARKER.format(run_id)).claim()
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
    """Sends the step's failure with its reason."""
    error = context.op_exception
    kind = "" if isinstance(error, dg.Failure) else f"{type(error).__name__}: "
    reason = f"{kind}{error}" if error else "unknown"
    run = context.instance.get_run_by_id(context.run_id) if context.run_id else None
    notify_once(
        context.resources.parts,
        Alert(context.run_id, context.job_name, partition_of(run.tags if run else {}), context.op.name, reason),
    )


def failure_sensor(parts: AlertParts) -> dg.SensorDefinition:
    """Return the guarantee: alerts about every failed run that the hook did not announce."""

    @dg.run_failure_sensor(
        name="run_failure_sensor",
        description="Alerts people to a failed run, once, also when it crashed or never started.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def run_failure_sensor(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        if run.tags.get("dagster/will_retry") == "true":
            return  # a lost run is started again; an alert follows if that fails too
        steps = context.get_step_failure_events()
        found = steps[0].step_failure_data.error if steps else None
        reason = reason_of(found) if found else context.failure_event.message or "the run ended without a reason"
        step = steps[0].step_key or "none" if steps else "none"
        notify_once(parts, Alert(run.run_id, run.job_name, partition_of(dict(run.tags)), step, reason))

    return run_failure_sensor
