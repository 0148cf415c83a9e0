"""The mail by which staff hear of a new report: where it is and how many calls it asks for, and nothing of anybody.

Belongs here: what it says, and that it is sent once a week. How mail is sent is `resources/notifier`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Protocol

from qol_dagster.report.files import Report
from qol_dagster.report.texts import text
from qol_dagster.weeks import last_due_week
from qol_ingest.shared.keys import REPORTS
from qol_ingest.shared.languages import LANGUAGES

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.lake.shared_object import SharedObject
    from qol_dagster.report.calls import Reason
    from qol_dagster.resources.notifier import Notifier
    from qol_dagster.settings import Settings

GROUPS: Mapping[str, Collection[Reason]] = {
    "no_data": ("permission_lost", "reconnect", "silent", "never_synced"),
    "little_data": ("not_worn", "low_coverage", "no_night"),
    "questionnaire": ("survey_overdue", "survey_to_invite"),
    "to_join": ("not_joined", "unmapped"),
}
"""The report's reasons to call somebody, as the mail counts them: each is in one group."""


class MailParts(Protocol):
    """Of a deployment, what it takes to send the mail."""

    @property
    def settings(self) -> Settings:
        """Where the report is for staff."""

    def report_notifier(self) -> Notifier | None:
        """Return to whom it goes."""

    def marker(self, name: str) -> SharedObject:
        """Return an object that one process can claim once."""


def announce(parts: MailParts, lake: Lake, report: Report) -> bool:
    """Mail the report of the last week whose weekly run was due to staff, once; return whether this call did.

    Not before: devices have two days to synchronise, and who did not yet is no one to call.
    """
    notifier, week = parts.report_notifier(), report.facts.week
    if notifier is None or week != last_due_week(datetime.now(UTC)):
        return False
    marker = parts.marker(f"{REPORTS}/mailed-{week}")
    if not marker.claim():
        return False
    subject, body = message(week, report.calls, _places(parts.settings, lake, report))
    if notifier.send(subject, body):
        return True
    marker.remove()  # the next run tries again
    return False


def message(week: date, calls: Mapping[str, int], places: Mapping[str, str]) -> tuple[str, str]:
    """Return subject and body, Japanese first. `places` are the report's by language."""
    counts = {group: sum(calls.get(reason, 0) for reason in reasons) for group, reasons in GROUPS.items()}
    counts["n"] = sum(calls.values())
    subject = " / ".join(f"{text('title', language)} {week}" for language in LANGUAGES)
    body = "\n".join(text("mail", language, week=week, place=places[language], **counts) for language in LANGUAGES)
    return f"[qol] {subject}", body


def _places(settings: Settings, lake: Lake, report: Report) -> dict[str, str]:
    base = settings.report_url.rstrip("/")
    return {
        language: f"{base}/{key.removeprefix(REPORTS + '/')}" if base else lake.uri(key)
        for language, key in report.keys.items()
    }
