"""What is simulated: how many people, when, from which seed, with which traps.

Belongs here: the parameters, their checks, and who and when. How people live is `people.py`; what is sent when is
`delivery.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from garmin_sim import people
from garmin_sim.traps import TRAPS

MAX_WEEKS = 520
YEARS = range(2000, 2100)
JAPAN = timedelta(seconds=people.JST_S)


@dataclass(frozen=True)
class Parameters:
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
        """Return the Garmin user ids, 32 hexadecimal digits each; they depend on the seed and the position alone."""
        return [people.user_id(self.seed, index) for index in range(self.participants)]

    def dates(self) -> list[date]:
        """Return the simulated dates, first to last: weeks x 7 of them."""
        last = self.until
        assert last is not None  # settled at construction
        days = self.weeks * 7
        return [last - timedelta(days=days - 1 - day) for day in range(days)]


def last_complete_sunday(now: datetime) -> date:
    """Return the Sunday that ended the last complete Monday-to-Sunday week before `now` in Japan."""
    today = (now + JAPAN).date()
    return today - timedelta(days=today.weekday() + 1)
