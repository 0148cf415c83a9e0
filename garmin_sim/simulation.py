"""A simulation: its parameters, and the deliveries that come of them.

Belongs here: what users of the package hold in their hands. The parameters are `parameters.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, cast

from garmin_sim import delivery
from garmin_sim.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from garmin_sim.people import Persona


@dataclass(frozen=True)
class Delivery:
    """One request of Garmin's.

    `at` is when Garmin sends it (UTC), `body` the JSON sent, at most about 1 MB; `users` are the userIds in
    it.
    """

    at: datetime
    body: bytes
    users: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Simulation(Parameters):
    """Participants over whole weeks, and what Garmin sends of them. See `Parameters`."""

    @classmethod
    def named(
        cls, participants: int, weeks: int, until: date | None, seed: int, *, traps: str, personas: str
    ) -> Simulation:
        """Return a simulation of a command's options: names with commas. Raises ValueError."""
        chosen = cast("list[Persona]", _names(personas))
        return cls(participants, weeks, until, seed, frozenset(_names(traps)), tuple(chosen))

    def deliveries(self) -> Iterator[Delivery]:
        """Garmin's requests in the order of sending, made as they are asked for.

        Memory holds the habits of everyone, about 15 KB a participant for 8 weeks, days of which a part was sent, some
        30 MB at most, and three bodies.
        """
        for at, body, users in delivery.requests(self):
            yield Delivery(datetime.fromtimestamp(at, UTC), body, users)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
