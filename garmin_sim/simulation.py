"""A simulation: its parameters, and the deliveries that come of them.

Belongs here: what users of the package hold in their hands. The parameters are `parameters.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from garmin_sim import delivery
from garmin_sim.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator


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

    def deliveries(self) -> Iterator[Delivery]:
        """Garmin's requests in the order of sending, made as they are asked for.

        Memory holds the habits of everyone, about 15 KB a participant for 8 weeks, and three bodies at most.
        """
        for at, body, users in delivery.requests(self):
            yield Delivery(datetime.fromtimestamp(at, UTC), body, users)
