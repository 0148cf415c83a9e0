"""Simulated participants on this QOL_HOME: enrolled, and received, in simulated time.

Belongs here: what a simulation needs of the id map and of the local receiver that no real participant needs, since only
simulated ones were enrolled and received at another time than now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from qol_dagster.resources.id_map import IdMap, IdMapError
from qol_ingest.shared import sqlite
from qol_ingest.shared.id_map import text_of
from qol_ingest.webhook import Answer, Event, Receiver

if TYPE_CHECKING:
    from garmin_sim.parameters import Enrolment
    from garmin_sim.simulation import Simulation
    from qol_dagster.resources.id_map import People


def enrol(people: People, sim: Simulation) -> None:
    """Enrol everyone of a simulation: second accounts under the participant of the first.

    On the local map the enrolments are dated as simulated, before the first simulated day; on AWS they are dated now.
    Raises IdMapError.
    """
    enrolments = sim.enrolments()
    people.enrol(one.user_id for one in enrolments if one.user_id == one.first_user_id)
    for one in enrolments:
        if one.user_id != one.first_user_id and (first := people.get(one.first_user_id)):
            people.add(one.user_id, first.participant_id)
    if isinstance(people, IdMap):
        _date(people, enrolments)


def _date(people: IdMap, enrolments: list[Enrolment]) -> None:
    """Date enrolments back. What has happened to a user since then, as a revocation, stays as it is."""

    def failure(error: Exception) -> IdMapError:
        return IdMapError(f"the enrolments in {people.path} cannot be dated: {error}")

    with sqlite.transaction(people.path, lambda _: None, failure) as database:
        database.executemany(
            "UPDATE user_id_map SET enrolled_at = :at, status_at = min(status_at, :at) "
            "WHERE garmin_user_id = :user AND status = 'active' AND enrolled_at > :at",
            [{"at": text_of(one.at), "user": one.user_id} for one in enrolments],
        )


@dataclass(frozen=True)
class SimulatedTimeReceiver(Receiver):
    """A receiver that takes the header `Date` of a push for the time of its receipt. Never for real data."""

    def handle(self, event: Event, now: datetime | None = None) -> Answer:
        """Answer one request."""
        sent = event.get("headers", {}).get("date", "")
        return super().handle(event, parsedate_to_datetime(sent) if sent else now)
