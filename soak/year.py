"""The weeks of a soak, one after the other: what Garmin sends, what is computed, what goes wrong meanwhile.

Belongs here: the order of events. What each fault does is in `pushes.py`, `command_weeks.py` and `daemon_weeks.py`. All
of it follows from the seed, but for what the scheduler of the machine decides: at which byte a process is killed.
"""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from garmin_sim.simulation import Delivery
from qol_dagster.resources.id_map import IdMap
from qol_dagster.weeks import weekly_run_of
from qol_ingest.garmin.tokens_file import FileTokenStore
from soak.command_weeks import CommandWeeks
from soak.daemon_weeks import DaemonWeeks
from soak.plan import deal
from soak.processes import kill_group, usage
from soak.pushes import Pushes
from soak.stage import FIRST, Stage
from soak.start import NEXT_RELEASE
from soak.tally import Growth

if TYPE_CHECKING:
    from garmin_sim.parameters import Enrolment

RELEASE_AT, ERASED_AT, LATE_AT = 30 / 52, 40 / 52, 20 / 52
"""At which share of the weeks the next release comes, somebody is erased, and the last are enrolled."""
DAEMON_EVERY = 3
"""One week of so many is computed by the daemon, the others by commands."""
BROKEN_S = 50 * 3600.0
"""So long before the run of a week a callback begins to fail that is to be a dead letter by then."""
CONNECTED_BEFORE = timedelta(days=8)
"""So long before their enrolment users consent: everyone has when Garmin first sends."""
MOST_PULLS, PULLED_AGAIN_S = 20, 3 * 3600.0
"""How often, and after how long, it is tried to fetch the rest at the end."""


@dataclass
class Year(Stage):
    """A soak under way: `run` runs all of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.pushes = Pushes(self)
        self.by_commands, self.by_daemon = CommandWeeks(self), DaemonWeeks(self, self.pushes)

    @cached_property
    def daemon_weeks(self) -> list[int]:
        """The weeks that the daemon computes, the last one among them."""
        return sorted({*range(DAEMON_EVERY - 1, self.weeks, DAEMON_EVERY), self.weeks - 1})

    @cached_property
    def enrolments(self) -> list[Enrolment]:
        """Who is enrolled when: every eighth only after some weeks of sending."""
        late = datetime.combine(FIRST + timedelta(weeks=round(LATE_AT * self.weeks)), datetime.min.time(), UTC)
        firsts = self.sim.user_ids()
        return sorted(
            (
                one._replace(at=late) if one.user_id in firsts and firsts.index(one.user_id) % 8 == 6 else one
                for one in self.sim.enrolments()
            ),
            key=lambda one: one.at,
        )

    def name_of(self, first_user: str) -> str:
        """Return the participant id of a user."""
        return f"QOL-{self.sim.user_ids().index(first_user) + 1:04d}"

    def run(self) -> None:
        """Go through all weeks."""
        plan = deal(self.seed, self.weeks, self.daemon_weeks, self.faults_per_week)
        self.clock.set(datetime.combine(FIRST, datetime.min.time(), UTC).timestamp() - 20 * 3600)
        self.box.home.mkdir(mode=0o700, exist_ok=True)
        deliveries = _Until(self.sim.deliveries())
        self.cloud.start()
        self.receiver.start()
        for number, monday in enumerate(self.mondays):
            begun = time.monotonic()
            self._begin_week(number)
            run_at = weekly_run_of(monday).timestamp()
            last = number == self.weeks - 1
            if "callback_dead" in plan[number]:
                self.pushes.break_from = run_at - BROKEN_S
            self.pushes.send(deliveries.until(float("inf") if last else run_at - 3600), plan[number])
            self.pushes.pass_time(run_at - 3600)
            if number in self.daemon_weeks:
                self.by_daemon.compute(monday, run_at, plan[number])
            else:
                self.by_commands.compute(monday, plan[number])
            self._measure()
            faults = ", ".join(plan[number]) or "none"
            self.note(
                f"week {number + 1} of {self.weeks}, {monday}: {time.monotonic() - begun:.0f} s; faults: {faults}"
            )
            self.renew_receiver()
        self.receiver.kill()
        self._pull_the_rest()
        self.must("upgrade", "--run")  # what enrolments and withdrawals have made old

    # -- the beginning of a week

    def _begin_week(self, number: int) -> None:
        self._connect(self.clock.now() + CONNECTED_BEFORE)
        self._enrol(self.clock.now())
        if number == round(RELEASE_AT * self.weeks):
            self._release()
        if number == min(round(ERASED_AT * self.weeks), self.weeks - 1):
            self._erase(self.sim.user_ids()[0])

    def _connect(self, until: datetime) -> None:
        store = FileTokenStore(self.box.home / "tokens.sqlite", self.box.home / "tokens.key")
        self.cloud.connect([one.user_id for one in self.sim.enrolments() if one.at <= until], store)

    def _enrol(self, now: datetime) -> None:
        known = {one.garmin_user_id for one in IdMap(self.box.home / "user_id_map.sqlite").list() if one.participant_id}
        rows = [one for one in self.enrolments if one.at <= now and one.user_id not in {*known, *self.erased}]
        if rows:
            self.must("participants", "import", str(self.people(rows)))

    def people(self, rows: list[Enrolment]) -> Path:
        """Write a CSV file of enrolments."""
        file = self.box.folder / "people.csv"
        with file.open("w", newline="") as out:
            lines = csv.writer(out)
            lines.writerow(("garmin_user_id", "participant_id", "enrolled_at"))
            lines.writerows((one.user_id, self.name_of(one.first_user_id), one.at.isoformat()) for one in rows)
        return file

    def _release(self) -> None:
        """Install another release; its upgrade is killed once and started again."""
        self.renew_receiver((self.box.folder / NEXT_RELEASE).touch)
        upgrade = self.box.qol("upgrade", "--run")
        with suppress(subprocess.TimeoutExpired):
            upgrade.wait(6)
        kill_group(upgrade)
        self.must("upgrade", "--run")

    def _erase(self, user: str) -> None:
        self.must("participants", "erase", self.name_of(user), "--yes", "--prove")
        self.erased.append(user)
        self.pushes.heard.pop(user, None)

    def _pull_the_rest(self) -> None:
        """Have everything fetched that still waits, hours later if need be."""
        for _ in range(MOST_PULLS):
            self.must("garmin", "pull")
            if not self.box.announcements():
                break
            self.clock.advance_to(self.clock.time() + PULLED_AGAIN_S)
        self.tally.callbacks, self.tally.callbacks_failed = self.cloud.announced, self.cloud.failed

    # -- growth

    def _measure(self) -> None:
        receiver = usage(self.receiver.pid)
        daemon, self.by_daemon.usage = self.by_daemon.usage, None
        raw = _megabytes(self.box.lake / "raw")
        self.tally.growth.append(
            Growth(
                raw,
                _megabytes(self.box.lake) - raw,
                _megabytes(self.box.dagster_home),
                receiver.memory_mb,
                receiver.handles,
                daemon.memory_mb if daemon else None,
                daemon.handles if daemon else None,
            )
        )


class _Until:
    """Deliveries in portions: those before a time."""

    def __init__(self, deliveries: Iterator[Delivery]) -> None:
        self._rest, self._next = deliveries, next(deliveries, None)

    def until(self, at: float) -> Iterator[Delivery]:
        """Yield what is sent before a time."""
        while self._next is not None and self._next.at.timestamp() < at:
            yield self._next
            self._next = next(self._rest, None)


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
