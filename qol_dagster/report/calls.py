"""Whom to call today, and why: the first thing a report says.

Belongs here: the reasons, their order, and the limits. The words are `texts.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

from qol_dagster.metrics.thresholds import TRAILING_WEEKS
from qol_dagster.report.facts import Facts, Row
from qol_dagster.report.surveys import Reminder, reminders
from qol_dagster.resources.connections import Person
from qol_dagster.weeks import receipt_date

Reason = Literal[
    "permission_lost",
    "reconnect",
    "silent",
    "never_synced",
    "not_worn",
    "low_coverage",
    "no_night",
    "survey_overdue",
    "survey_to_invite",
    "not_joined",
    "unmapped",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""The most urgent first: what stops data altogether, then what thins it, then what is still to begin."""
SILENT_DAYS = 3
"""Days without any data after which somebody is called: a device synchronises several times a day."""
NOT_WORN_DAYS = 3
SHOWN = 12
"""Calls that are shown at once, so that they fit a screen; the others are below them."""


@dataclass(frozen=True)
class Call:
    """One reason to call one participant. `number` is the days or persons it speaks of, `since` a date if known.

    `until` is the last date on which a form may be answered.
    """

    reason: Reason
    participant_id: str = ""
    number: int | None = None
    since: date | None = None
    until: date | None = None


def calls_of(facts: Facts) -> list[Call]:
    """Return a call for each participant who needs one, by their most urgent reason, the most urgent first."""
    long_enrolled = _enrolled_in(facts, facts.week - timedelta(weeks=TRAILING_WEEKS - 1))
    persons = {one.participant_id: one for one in facts.people.persons}
    forms = reminders(facts.surveys)
    found: list[Call] = []
    for row in facts.status_of(facts.week):
        participant = row["participant_id"]
        of_data = _reasons(row, persons.get(participant), participant in long_enrolled)
        found += [*of_data, *_reminder(row, forms.get(participant), facts)][:1]
    found += [Call("not_joined", participant) for participant in facts.people.invited]
    if facts.people.n_pending:
        found.append(Call("unmapped", number=facts.people.n_pending))
    return sorted(found, key=_urgency)


def _enrolled_in(facts: Facts, week: date) -> set[str]:
    return {row["participant_id"] for row in facts.status_of(week) if row["status"] != "not_enrolled"}


def _urgency(call: Call) -> tuple[int, int, str]:
    few_days_are_worse = call.reason == "low_coverage"
    number = call.number or 0
    return REASONS.index(call.reason), number if few_days_are_worse else -number, call.participant_id


def _reasons(row: Row, person: Person | None, long_enrolled: bool) -> Iterator[Call]:
    """Yield what holds of a participant, the most urgent first."""
    participant, silent = row["participant_id"], row["days_since_last_sync"]
    if person and person.may_be_used and not person.health_data:
        yield Call("permission_lost", participant)
    if row["status"] in ("revoked", "not_enrolled"):
        return
    if person and person.connection == "reconnect":
        yield Call("reconnect", participant)
    if silent is not None and silent >= SILENT_DAYS:
        yield Call("silent", participant, silent)
    if silent is None:
        yield Call("never_synced", participant)
    unworn = _days_not_worn(row)
    if unworn >= NOT_WORN_DAYS:
        yield Call("not_worn", participant, unworn, _date(row["last_worn_date"]))
    if row["status"] == "too_short":
        yield Call("low_coverage", participant, row["n_valid_days"])
    if long_enrolled and row["last_worn_date"] and not row["last_night_date"]:
        yield Call("no_night", participant)


def _reminder(row: Row, form: Reminder | None, facts: Facts) -> Iterator[Call]:
    """Yield that a form without a link needs one, and that one with a link, or where that is unknown, is overdue."""
    if not form or row["status"] in ("revoked", "not_enrolled"):
        return
    invited = facts.people.invited_forms
    is_open = form.closes_on >= receipt_date(facts.made_at)
    if invited is not None and is_open and (form.participant_id, form.wave) not in invited:
        yield Call("survey_to_invite", form.participant_id, until=form.closes_on)
    elif form.days > 0:
        yield Call("survey_overdue", form.participant_id, form.days, until=form.closes_on)


def _days_not_worn(row: Row) -> int:
    """Return for how many days, up to the last synchronised one of the week, the device was not worn."""
    states = (row["day_states"] or "").rstrip("A")
    return len(states) - len(states.rstrip("N"))


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
