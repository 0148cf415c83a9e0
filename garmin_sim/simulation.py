"""What is simulated: the `Simulation` value, and the deliveries it yields.

Belongs here: the parameters, their checks, and who and when. How people live is `people.py`; what is sent
when is `delivery.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from garmin_sim import delivery, people
from garmin_sim.traps import TRAPS

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_WEEKS = 520
YEARS = range(2000, 2100)
JAPAN = timedelta(hours=9)


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
class Simulation:
    """Participants over whole weeks. The same values give the same bytes, on any machine with the same numpy.

    participants  how many people, 1 or more; ten kinds of habits come round in turn
    weeks         how many weeks of 7 days, 1 to 520
    until         last simulated date, inclusive, 2000 to 2099; None: the Sunday of the last week complete in Japan
    seed          0 or more
    traps         names out of `TRAPS`, or "all"; none by default

    Raises ValueError naming the value that is out of range.
    """

    participants: int
    weeks: int
    until: date | None = None
    seed: int = 0
    traps: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Check the values and settle `until` and `traps`."""
        if self.participants < 1:
            raise ValueError(f"participants is {self.participants}; give 1 or more")
        if not 1 <= self.weeks <= MAX_WEEKS:
            raise ValueError(f"weeks is {self.weeks}; give 1 to {MAX_WEEKS}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; give 0 or more")
        if self.until and self.until.year not in YEARS:
            raise ValueError(f"until is {self.until}; give a date from {YEARS[0]} to {YEARS[-1]}")
        traps = frozenset(TRAPS) if "all" in self.traps else frozenset(self.traps)
        if unknown := sorted(traps - set(TRAPS)):
            raise ValueError(f"unknown traps {', '.join(unknown)}; choose from all, {', '.join(TRAPS)}")
        object.__setattr__(self, "traps", traps)
        object.__setattr__(self, "until", self.until or last_complete_sunday(datetime.now(UTC)))

    def user_ids(self) -> list[str]:
        """The Garmin user ids, 32 hexadecimal digits each; they depend on the seed and the position alone."""
        return [people.user_id(self.seed, index) for index in range(self.participants)]

    def dates(self) -> list[date]:
        """The simulated dates, first to last: weeks x 7 of them."""
        last = self.until
        assert last is not None  # settled at construction
        days = self.weeks * 7
        return [last - timedelta(days=days - 1 - day) for day in range(days)]

    def deliveries(self) -> Iterator[Delivery]:
        """Garmin's requests in the order of sending, made as they are asked for.

        Memory holds the habits of everyone, about 15 KB a participant for 8 weeks, and three bodies at most.
        """
        for at, body, users in delivery.requests(self):
            yield Delivery(datetime.fromtimestamp(at, UTC), body, users)


def last_complete_sunday(now: datetime) -> date:
    """The Sunday that ended the last complete Monday-to-Sunday week before `now` in Japan."""
    today = (now + JAPAN).date()
    return today - timedelta(days=today.weekday() + 1)
