"""What is simulated: how many people, when, from which seed, with which traps.

Belongs here: the parameters, their checks, and who and when. How people live is `people.py`; what is sent when is
`delivery.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from garmin_sim import people
from garmin_sim.traps import TRAPS

MAX_WEEKS = 520
YEARS = range(2000, 2100)
AHEAD_DAYS = 14
"""Within so many days before the first date everyone is enrolled."""
JAPAN = timedelta(seconds=people.JST_S)


class Enrolment(NamedTuple):
    """A Garmin account, the first account of the same participant, and when it was enrolled."""

    user_id: str
    first_user_id: str
    at: datetime


@dataclass(frozen=True)
class Parameters:
    """Participants over whole weeks. The same values give the same bytes, on any machine with the same numpy.

    participants  how many people, 1 or more; ten usual personas come round in turn, and from the twenty-first on
                  rare ones take the place of some (`people.RARE` has the chances)
    weeks         how many weeks of 7 days, 1 to 520
    until         last simulated date, inclusive, 2000 to 2099; None: the last Sunday in Japan whose Monday is over
    seed          0 or more
    traps         names out of `TRAPS`, or "all"; none by default
    personas      names out of `people.ALL_PERSONAS`, which come round in turn instead

    Raises ValueError naming the value that is out of range.
    """

    participants: int
    weeks: int
    until: date | None = None
    seed: int = 0
    traps: frozenset[str] = frozenset()
    personas: tuple[people.Persona, ...] = ()

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
        known = people.ALL_PERSONAS
        if strangers := sorted(set(self.personas) - set(known)):
            raise ValueError(f"unknown personas {', '.join(strangers)}; choose from {', '.join(known)}")
        object.__setattr__(self, "traps", traps)
        object.__setattr__(self, "until", self.until or last_synced_sunday(datetime.now(UTC)))

    def user_ids(self) -> list[str]:
        """Return everyone's first Garmin user id, 32 hexadecimal digits each, by seed and position alone."""
        return [people.user_id(self.seed, index) for index in range(self.participants)]

    def enrolments(self) -> list[Enrolment]:
        """Return who would have been enrolled when: everyone some days before the first date, second accounts later."""
        first = self.dates()[0]
        found = [Enrolment(user, user, _noon(first, -1 - n % AHEAD_DAYS)) for n, user in enumerate(self.user_ids())]
        for index, user in enumerate(self.user_ids()):
            if people.persona_of(self.seed, index, self.personas) == "two_accounts":
                second = people.second_user_id(self.seed, index)
                found.append(Enrolment(second, user, _noon(first, people.half_way(7 * self.weeks) - 1)))
        return found

    def dates(self) -> list[date]:
        """Return the simulated dates, first to last: weeks x 7 of them."""
        last = self.until
        assert last is not None  # settled at construction
        days = self.weeks * 7
        return [last - timedelta(days=days - 1 - day) for day in range(days)]


def _noon(first: date, days: int) -> datetime:
    """Return noon in Japan of a day, counted from the first."""
    return datetime.combine(first + timedelta(days=days), time(12), UTC) - JAPAN


def last_synced_sunday(now: datetime) -> date:
    """Return the last Sunday in Japan of which the day after is over, too.

    The last syncs are on that day: so nothing is received later than `now`.
    """
    yesterday = (now + JAPAN).date() - timedelta(days=1)
    return yesterday - timedelta(days=yesterday.weekday() + 1)
