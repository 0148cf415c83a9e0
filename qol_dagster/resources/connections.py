"""How participants are connected: permissions, tokens, invitations, and users that nobody knows; without Garmin's ids.

Belongs here: reading it from the id map, the tokens and the invitations. Who may not read one of these goes without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qol_dagster.resources.invitations import Form, invited_forms
from qol_ingest.consent.enrolment import Invitations
from qol_ingest.garmin.tokens import TokenStoreError
from qol_ingest.shared.permissions import HEALTH

if TYPE_CHECKING:
    from qol_dagster.resources.id_map import Enrolment
    from qol_dagster.resources.id_map import People as IdMapPort
    from qol_ingest.consent.state import EnrolmentState
    from qol_ingest.garmin.tokens import TokenStore


@dataclass(frozen=True)
class Person:
    """What the id map says of a participant: without Garmin's id.

    `connection`: "ok", "reconnect" (Garmin no longer takes the token), "none" (no token), or "" where that is unknown.
    """

    participant_id: str
    may_be_used: bool
    health_data: bool
    connection: str = ""


@dataclass(frozen=True)
class People:
    """Everyone enrolled, how many users push data and are nobody, and who was invited and has not joined.

    `invited_forms` of the questionnaire have or had a link; None where that is unknown.
    """

    persons: tuple[Person, ...] = ()
    n_pending: int = 0
    invited: tuple[str, ...] = ()
    invited_forms: frozenset[Form] | None = None


class PeopleParts(Protocol):
    """Of a deployment, what knows of people."""

    def id_map(self) -> IdMapPort:
        """Who is enrolled."""

    def tokens(self) -> TokenStore:
        """The tokens for Garmin's cloud."""

    def enrolment_state(self) -> EnrolmentState:
        """The invitations."""


def read_people(parts: PeopleParts) -> People:
    """Return what is known of everybody, without Garmin's ids; nothing of who is being erased."""
    everyone = [one for one in parts.id_map().list() if one.status != "erasing"]
    enrolled = [one for one in everyone if one.participant_id]
    return People(
        persons_of(enrolled, _connections(parts, enrolled)),
        sum(one.is_pending for one in everyone),
        _invited(parts, {one.participant_id for one in enrolled}),
        invited_forms(parts),
    )


def _connections(parts: PeopleParts, enrolled: Iterable[Enrolment]) -> Mapping[str, str]:
    """Return by Garmin user id how the connection is; nothing from the first token on that may not be read."""
    found: dict[str, str] = {}
    with suppress(TokenStoreError, OSError):
        tokens = parts.tokens()
        for one in enrolled:
            kept = tokens.get(one.garmin_user_id)
            found[one.garmin_user_id] = "none" if kept is None else "reconnect" if kept.needs_consent else "ok"
    return found


def _invited(parts: PeopleParts, enrolled: set[str]) -> tuple[str, ...]:
    with suppress(Exception):  # whoever makes reports on AWS may not see invitations
        waiting = {one.participant_id for one in Invitations(parts.enrolment_state()).open()}
        return tuple(sorted(waiting - enrolled))
    return ()


def by_participant(everyone: Iterable[Enrolment]) -> dict[str, list[Enrolment]]:
    """Return the accounts of each participant; who was never enrolled is none."""
    found: dict[str, list[Enrolment]] = {}
    for one in everyone:
        if one.participant_id:
            found.setdefault(one.participant_id, []).append(one)
    return found


def persons_of(everyone: Sequence[Enrolment], connection: Mapping[str, str]) -> tuple[Person, ...]:
    """Return each participant once, with the best of several accounts; `connection` is by Garmin user id."""
    order = ("ok", "", "none", "reconnect")
    return tuple(
        Person(
            participant,
            any(one.may_be_used for one in accounts),
            any(one.may_be_used and HEALTH not in one.withheld for one in accounts),
            min((connection.get(one.garmin_user_id, "") for one in accounts), key=order.index),
        )
        for participant, accounts in sorted(by_participant(everyone).items())
    )
