"""Every alert that a deployment can send, by name, and sending what is due: once, and again when it gets worse.

Belongs here: the names with their subjects, and what is remembered of what was sent. When an alert is due and what its
body says belong with whoever looks: `alerts.py`, `unread.py`, `watch.py`, `backups.py` and `qol heartbeat`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from qol_dagster.resources.notifier import Notifier
from qol_dagster.resources.watch import ConditionName

AlertName = ConditionName | Literal["run_failed", "not_read", "no_backup", "daemon_gone"]

SUBJECTS: Mapping[AlertName, str] = {
    "run_failed": "[qol] {job} failed for {weeks}",
    "not_read": "[qol] not read: {what}",
    "no_data": "[qol] no data for {hours} hours",
    "week_missing": "[qol] the week {week} is missing",
    "weeks_left_out": "[qol] weeks left out between others: {n}",
    "fewer_valid_days": "[qol] fewer valid days in the week {week}",
    "silent": "[qol] participants silent for {days} days: {n}",
    "to_invite": "[qol] to be invited to the questionnaire: {n}",
    "ticks_fail": "[qol] failing in Dagster: {names}",
    "disk_full": "[qol] the disk is nearly full",
    "no_backup": "[qol] no backup for {days} days",
    "daemon_gone": "[qol] Dagster's daemon is not running",
}
"""The subject of each alert; values are in braces."""
NOT_SENT = "the alert could not be sent; it is tried again"


def subject(name: AlertName, **values: object) -> str:
    """Return the subject of an alert, one line."""
    return SUBJECTS[name].format(**values)


@dataclass(frozen=True)
class Message:
    """One mail, and the names of the levels that it reports."""

    about: Collection[str]
    subject: str
    body: str


@dataclass(frozen=True)
class Alerted:
    """What came of alerting: the names that were reported and those still to be, and the levels to remember."""

    sent: tuple[str, ...]
    unsent: tuple[str, ...]
    levels: dict[str, int]


def send_growth(
    notifier: Notifier,
    levels: Mapping[str, int],
    before: Mapping[str, int],
    messages: Callable[[Collection[str]], Iterable[Message]],
) -> Alerted:
    """Send the messages about the levels that are higher than before, by name, and return what to remember.

    What could not be sent is remembered as it was before, so that the next tick tries again. After one message that
    could not be sent no other is tried: an unresponsive server costs a tick one time-out, whatever is due.
    """
    grown = [name for name, level in levels.items() if level > before.get(name, 0)]
    unsent: list[str] = []
    for message in messages(grown) if grown else ():
        if unsent or not notifier.send(message.subject, message.body):
            unsent += message.about
    remembered = {name: before.get(name, 0) if name in unsent else level for name, level in levels.items()}
    return Alerted(tuple(name for name in grown if name not in unsent), tuple(unsent), remembered)
