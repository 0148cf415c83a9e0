"""Simulated participants on this QOL_HOME: enrolled, and received, in simulated time.

Belongs here: what a simulation needs of the id map and of the local receiver that no real participant needs, since only
simulated ones were enrolled and received at another time than now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import groupby
from typing import TYPE_CHECKING

from qol_ingest.webhook import Answer, Event, Receiver

if TYPE_CHECKING:
    from garmin_sim.simulation import Simulation
    from qol_dagster.resources.id_map import People


def enrol(people: People, sim: Simulation) -> None:
    """Enrol everyone of a simulation as of the simulated time, before the first simulated day.

    Second accounts are enrolled under the participant of the first. Raises IdMapError.
    """
    enrolments = sim.enrolments()
    first = [one for one in enrolments if one.user_id == one.first_user_id]
    for at, together in groupby(first, key=lambda one: one.at):
        people.enrol([one.user_id for one in together], at=at)
    for one in enrolments:
        if one.user_id != one.first_user_id and (known := people.get(one.first_user_id)):
            people.add(one.user_id, known.participant_id, at=one.at, after_leaving=True)


@dataclass(frozen=True)
class SimulatedTimeReceiver(Receiver):
    """A receiver that takes the header `Date` of a push for the time of its receipt. Never for real data."""

    def handle(self, event: Event, now: datetime | None = None) -> Answer:
        """Answer one request."""
        sent = event.get("headers", {}).get("date", "")
        return super().handle(event, parsedate_to_datetime(sent) if sent else now)

    def _watch_clock(self, now: datetime) -> None:
        """Do nothing: simulated pushes are not in the order of their times."""
