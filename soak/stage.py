"""What the weeks of a soak share: who takes part, the processes, the clock, the cloud, and what is counted.

Belongs here: values and processes that several modules need, and running a command. The order of events is `year.py`'s.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from garmin_sim.people import persona_of
from garmin_sim.simulation import Simulation
from qol_dagster.lake.lake import Lake
from soak.alerts import Due
from soak.clock import SimulatedClock
from soak.garmin import Cloud
from soak.mail import MailServer
from soak.processes import Box, Daemon, Receiver
from soak.start import CLOCK
from soak.tally import Tally

if TYPE_CHECKING:
    from garmin_sim.people import Persona

FIRST = date(2024, 1, 1)
"""The first simulated Monday: in the past of every machine."""
PERSONAS: tuple[Persona, ...] = (
    *("steady", "late_syncer", "two_accounts", "leaver", "silent", "traveller", "patchy", "new_device"),
    *("steady", "owl", "triathlete", "shift_worker", "abroad", "day_only", "ill", "insomniac"),
)


@dataclass
class Stage:
    """The participants, processes and counts of a soak."""

    box: Box
    seed: int
    weeks: int
    participants: int
    faults_per_week: float
    note: Callable[[str], None]
    mails: MailServer
    tally: Tally = field(default_factory=Tally)
    due: Due = field(default_factory=Due)
    erased: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.box.folder.mkdir(parents=True, exist_ok=True)
        self.clock = SimulatedClock(self.box.folder / CLOCK)
        self.cloud = Cloud(self.clock.time, [one.user_id for one in self.sim.enrolments()])
        self.box = replace(self.box, garmin_url=self.cloud.url)
        self.receiver, self.daemon = Receiver(self.box), Daemon(self.box)
        self.chance = random.Random(f"year {self.seed}")
        self.lake = Lake.local(self.box.lake)

    @cached_property
    def sim(self) -> Simulation:
        """Who takes part, and what they send."""
        last = FIRST + timedelta(days=7 * self.weeks - 1)
        return Simulation(self.participants, self.weeks, last, self.seed, personas=PERSONAS)

    @cached_property
    def mondays(self) -> list[date]:
        """The weeks."""
        return [FIRST + timedelta(weeks=number) for number in range(self.weeks)]

    @cached_property
    def staying_users(self) -> frozenset[str]:
        """Users who neither leave nor are erased."""
        firsts = self.sim.user_ids()
        leaving = {
            user
            for number, user in enumerate(firsts)
            if number == 0 or persona_of(self.seed, number, PERSONAS) == "leaver"
        }
        return frozenset(one.user_id for one in self.sim.enrolments() if one.first_user_id not in leaving)

    def must(self, *command: str) -> None:
        """Run a command that has no reason to fail."""
        if code := self.box.run(*command):
            self.tally.commands_that_failed.append(f"qol {' '.join(command)}: exit code {code}")

    def must_fail(self, *command: str) -> None:
        """Run a command that cannot succeed."""
        if not self.box.run(*command):
            self.tally.commands_that_failed.append(f"qol {' '.join(command)}: exit code 0, though it could not be done")

    def renew_receiver(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Kill the receiver and start it again; `meanwhile` is done in between."""
        self.receiver.kill()
        meanwhile()
        self.receiver.start()
