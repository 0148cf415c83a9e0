"""One failure, one mail: the failure hook of the assets and the run failure sensor behind it.

Belongs here: what is said, and that it is said once. The hook knows the step; it misses crashes, timeouts and runs
that never started, which the sensor sees. Whoever comes first claims the run with a marker, which all hosts see.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from qol_dagster.resources.platform import Platform
from qol_dagster.settings import confidential_values

MAX_MESSAGE = 800
_MARKER = "alerts/{}"


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
        """What happened, to what, and what to do."""
        return (
            f"The run {self.run_id} of {self.job} failed.\n\n"
            f"Weeks:  {self.partition}\nStep:   {self.step}\nReason: {self.error}\n\n"
            "The weeks keep their old data. Open the run in Dagster to see its log; when the reason is mended,\n"
            "run the same weeks again (Dagster > weekly_metrics > Materialize, or `qol materialize --week DATE`).\n"
        )


def tell_once(platform: Platform, alert: Alert) -> bool:
    """Send the alert unless its run was told of already; gives whether this call sent it."""
    if not _claimed(platform, alert.run_id):
        return False
    clean = scrubbed(alert.error, unspeakable(platform))
    sent = platform.notifier().send(alert.subject(), Alert(**{**alert.__dict__, "error": clean}).body())
    if not sent:
        with contextlib.suppress(Exception):
            platform.marker(_MARKER.format(alert.run_id)).remove()
    return sent


def _claimed(platform: Platform, run_id: str) -> bool:
    try:
        return platform.marker(_MARKER.format(run_id)).claim()
    except Exception:
        return True  # a disk that is full, or a bucket out of reach, must not silence the alert about it


def scrubbed(text: str, unspeakable: Iterable[str]) -> str:
    """The first line of a text, and what it announces with a colon, short, without ids of people or secrets."""
    for word in unspeakable:
        if word:
            text = text.replace(word, "***")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = " ".join(lines[:2]) if lines and lines[0].endswith(":") else "".join(lines[:1])
    return (told or "no reason was given")[:MAX_MESSAGE]


def unspeakable(platform: Platform) -> list[str]:
    """Confidential settings, and the Garmin ids of everybody enrolled; what may contain another comes before it."""
    values = [*confidential_values(platform.settings)]
    with contextlib.suppress(Exception):
        values += [one.garmin_user_id for one in platform.id_map().list()]
    return sorted(values, key=len, reverse=True)


def reason_of(error: Any) -> str:
    """`ErrorClass: message` of what went wrong in a step, below Dagster's wrapping and above its own causes."""
    while error.cause and (error.cls_name or "").startswith(("Dagster", "Retry")):
        error = error.cause
    name, _, rest = error.message.partition(": ")
    return f"{name.rpartition('.')[2]}: {rest}" if rest else str(error.message)


def partition_of(tags: dict[str, str] | object) -> str:
    """The weeks a run was about, from its tags."""
    tags = tags if isinstance(tags, dict) else {}
    first, last = (
        tags.get("dagster/asset_partition_range_start"),
        tags.get("dagster/asset_partition_range_end"),
    )
    if first and last:
        return first if first == last else f"{first} to {last}"
    return tags.get("dagster/partition") or "no partition"


@dg.failure_hook(required_resource_keys={"platform"})
def tell_of_failed_step(context: dg.HookContext) -> None:
    """Sends the step's failure with its reason."""
    error = context.op_exception
    reason = f"{type(error).__name__}: {error}" if error else "unknown"
    run = context.instance.get_run_by_id(context.run_id) if context.run_id else None
    tell_once(
        context.resources.platform,
        Alert(context.run_id, context.job_name, partition_of(run.tags if run else {}), context.op.name, reason),
    )


def failure_sensor(platform: Platform) -> dg.SensorDefinition:
    """The guarantee: tells of every failed run that the hook did not tell of."""

    @dg.run_failure_sensor(
        name="run_failure_sensor",
        description="Tells people of a failed run, once, also when it crashed or never started.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def run_failure_sensor(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        if run.tags.get("dagster/will_retry") == "true":
            return  # a lost run is started again; it is told of if that fails too
        steps = context.get_step_failure_events()
        found = steps[0].step_failure_data.error if steps else None
        reason = reason_of(found) if found else context.failure_event.message or "the run ended without a reason"
        step = steps[0].step_key or "none" if steps else "none"
        tell_once(platform, Alert(run.run_id, run.job_name, partition_of(dict(run.tags)), step, reason))

    return run_failure_sensor
