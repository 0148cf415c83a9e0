"""The weeks of a soak, one after the other: what Garmin sends, what is computed, what goes wrong meanwhile.

Belongs here: the order of events, and what each fault does. All of it follows from the seed, but for what the scheduler
of the machine decides: at which byte a process is killed.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from garmin_sim.pusher import Sender
from garmin_sim.simulation import Delivery, Simulation
from qol_dagster.lake.lake import Lake
from qol_dagster.resources.id_map import IdMap
from qol_dagster.weeks import dates_of, weekly_run_of
from soak.alerts import Due
from soak.clock import SimulatedClock
from soak.history import History
from soak.mail import MailServer
from soak.plan import Fault, deal
from soak.processes import (
    COMMAND_S,
    PATIENCE_S,
    Box,
    Daemon,
    Receiver,
    SoakError,
    Usage,
    full_disk,
    kill_group,
    read_only,
    usage,
)
from soak.start import CLOCK, FAILING_STORE, NEXT_RELEASE

if TYPE_CHECKING:
    from garmin_sim.parameters import Enrolment
    from garmin_sim.people import Persona

FIRST = date(2024, 1, 1)
"""The first simulated Monday: in the past of every machine."""
PERSONAS: tuple[Persona, ...] = (
    *("steady", "late_syncer", "two_accounts", "leaver", "silent", "traveller", "patchy", "new_device"),
    *("steady", "owl", "triathlete", "shift_worker", "abroad", "day_only", "ill", "insomniac"),
)
RELEASE_AT, ERASED_AT, LATE_AT = 30 / 52, 40 / 52, 20 / 52
"""At which share of the weeks the next release comes, somebody is erased, and the last are enrolled."""
DAEMON_EVERY = 3
"""One week of so many is computed by the daemon, the others by commands."""
DAY_S = 86_400.0
SET_BACK_S = 600.0
"""How far the clock is set back: less than there is between two versions of a day."""
BEFORE_THE_SCHEDULE_S = 20.0
"""How long before the schedule is due the daemon is started for the first time; later ones make up for it."""
UNREAD_DAYS = 56
"""Of so many dates files that no run reads are counted."""
LOST_S = 3900.0
"""After so long a run that is not over is lost: an hour, as dagster.yaml has it, and some minutes."""
HALF_A_BODY = b'{"dailies":[{"summaryId":"x1","steps":12'


@dataclass(frozen=True)
class Growth:
    """What is stored and used at the end of a week."""

    raw_mb: float
    other_mb: float
    dagster_mb: float
    receiver_mb: float
    receiver_handles: int
    daemon_mb: float | None
    daemon_handles: int | None


@dataclass
class Tally:
    """What happened, as the closing table says it."""

    pushes: int = 0
    retries: int = 0
    repeated: int = 0
    late_files: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    commands_that_failed: list[str] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)


@dataclass
class Year:
    """A soak under way: `run` runs all of it."""

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
        self.receiver, self.daemon = Receiver(self.box), Daemon(self.box)
        self.chance = random.Random(f"year {self.seed}")
        self.lake = Lake.local(self.box.lake)
        self._heard: dict[str, float] = {}
        self._half_bodies = 0
        self._foreign_files: list[str] = []
        self._skew_s = 0.0
        self._acting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._daemon_usage: Usage | None = None
        self._sent: set[int] = set()

    @cached_property
    def sim(self) -> Simulation:
        """Who takes part, and what they send."""
        last = FIRST + timedelta(days=7 * self.weeks - 1)
        return Simulation(self.participants, self.weeks, last, self.seed, personas=PERSONAS)

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
        self.receiver.start()
        for number in range(self.weeks):
            begun = time.monotonic()
            monday = FIRST + timedelta(weeks=number)
            self._begin_week(number)
            run_at = weekly_run_of(monday).timestamp()
            last = number == self.weeks - 1
            self._push(deliveries.until(float("inf") if last else run_at - 3600), plan[number])
            self.clock.advance_to(run_at - 3600)
            if number in self.daemon_weeks:
                self._with_daemon(monday, run_at, plan[number])
            else:
                self._with_commands(monday, plan[number])
            self._measure()
            faults = ", ".join(plan[number]) or "none"
            self.note(
                f"week {number + 1} of {self.weeks}, {monday}: {time.monotonic() - begun:.0f} s; faults: {faults}"
            )
            self._renew_receiver()
        self.receiver.kill()
        self._must("upgrade", "--run")  # what enrolments and withdrawals have made old

    # -- the beginning of a week

    def _begin_week(self, number: int) -> None:
        self._enrol(self.clock.now())
        if number == round(RELEASE_AT * self.weeks):
            self._release()
        if number == min(round(ERASED_AT * self.weeks), self.weeks - 1):
            self._erase(self.sim.user_ids()[0])

    def _enrol(self, now: datetime) -> None:
        known = {one.garmin_user_id for one in IdMap(self.box.home / "user_id_map.sqlite").list() if one.participant_id}
        rows = [one for one in self.enrolments if one.at <= now and one.user_id not in {*known, *self.erased}]
        if rows:
            self._must("participants", "import", str(self.people(rows)))

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
        self._renew_receiver((self.box.folder / NEXT_RELEASE).touch)
        upgrade = self.box.qol("upgrade", "--run")
        with suppress(subprocess.TimeoutExpired):
            upgrade.wait(6)
        kill_group(upgrade)
        self._must("upgrade", "--run")

    def _erase(self, user: str) -> None:
        self._must("participants", "erase", self.name_of(user), "--yes", "--prove")
        self.erased.append(user)
        self._heard.pop(user, None)

    def _renew_receiver(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.receiver.kill()
        meanwhile()
        self.receiver.start()

    # -- pushes

    def _push(self, deliveries: Iterator[Delivery], faults: list[Fault]) -> None:
        """Send what Garmin sends until a time, with faults at times of the week that the seed says."""
        begin = self.clock.time()
        acts: dict[Fault, Callable[[], None]] = {
            "receiver_killed": self._kill_receiver,
            "receiver_disk_full": partial(self._background, self._fill_disk_of_receiver),
            "store_fails": partial(self._background, self._fail_store),
            "clock_set_back": self._set_clock_back,
            "body_half_sent": lambda: None,
        }
        timed = sorted((begin + self.chance.uniform(0.5, 6.0) * DAY_S, kind) for kind in faults if kind in acts)
        with _TimedSender(self.box.url, PATIENCE_S, before=self._advance_clock) as sender:
            report = sender.send_all(self._with_faults(deliveries, timed, acts))
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._skew_s = 0.0
        self.tally.pushes += report.bodies
        self.tally.retries += report.retries

    def _with_faults(
        self, deliveries: Iterator[Delivery], timed: list[tuple[float, Fault]], acts: dict[Fault, Callable[[], None]]
    ) -> Iterator[Delivery]:
        for delivery in deliveries:
            at = delivery.at.timestamp()
            while timed and timed[0][0] <= at:
                kind = timed.pop(0)[1]
                self.tally.faults[kind] += 1
                acts[kind]()
                if kind == "body_half_sent":
                    self._half_bodies += 1
                    yield Delivery(delivery.at, HALF_A_BODY + b"%d" % self._half_bodies)
            fingerprint = hash(delivery.body)
            self.tally.repeated += fingerprint in self._sent
            self._sent.add(fingerprint)
            self._heard.update(dict.fromkeys(delivery.users, at))
            yield delivery
        for _, kind in timed:  # of a week in which less was sent
            self.tally.faults[kind] += kind != "body_half_sent"
            acts[kind]()

    def _advance_clock(self, delivery: Delivery) -> None:
        self.clock.advance_to(delivery.at.timestamp() + self._skew_s)

    def _background(self, act: Callable[[], None]) -> None:
        def one_at_a_time() -> None:
            with self._acting:
                act()

        thread = threading.Thread(target=one_at_a_time)
        thread.start()
        self._threads.append(thread)

    def _kill_receiver(self) -> None:
        wait_s = self.chance.uniform(0.0, 0.05)

        def kill() -> None:
            time.sleep(wait_s)
            self._renew_receiver()

        self._background(kill)

    def _fill_disk_of_receiver(self) -> None:
        with full_disk(self.receiver.pid):
            time.sleep(1.0)

    def _fail_store(self) -> None:
        switch = self.box.folder / FAILING_STORE
        switch.touch()
        time.sleep(1.0)
        switch.unlink()

    def _set_clock_back(self) -> None:
        self._skew_s = -SET_BACK_S
        self.clock.set(self.clock.time() - SET_BACK_S)

    # -- weeks that commands compute

    def _with_commands(self, monday: date, faults: list[Fault]) -> None:
        acts: dict[Fault, Callable[[date], None]] = {
            "run_killed": self._kill_run,
            "run_disk_full": self._fill_disk_of_run,
            "lake_read_only": self._run_on_read_only_lake,
            "parquet_damaged": self._damage_parquet,
            "sqlite_damaged": self._damage_id_map,
            "two_runs": self._run_twice_at_once,
            "files_half_written": self._leave_half_files,
        }
        for kind in faults:
            if kind in acts:
                self.tally.faults[kind] += 1
                acts[kind](monday)
        self._must(*_materialize(monday))

    def _must(self, *command: str) -> None:
        """Run a command that has no reason to fail."""
        if code := self.box.run(*command):
            self.tally.commands_that_failed.append(f"qol {' '.join(command)}: exit code {code}")

    def _must_fail(self, *command: str) -> None:
        if not self.box.run(*command):
            self.tally.commands_that_failed.append(f"qol {' '.join(command)}: exit code 0, though it could not be done")

    def _kill_run(self, monday: date) -> None:
        run = self.box.qol(*_materialize(monday))
        time.sleep(self.chance.uniform(1.0, 4.0))
        kill_group(run)

    def _fill_disk_of_run(self, monday: date) -> None:
        run = self.box.qol(*_materialize(monday))
        time.sleep(self.chance.uniform(0.8, 2.5))
        with suppress(ProcessLookupError), full_disk(run.pid):
            run.wait(COMMAND_S)

    def _run_on_read_only_lake(self, monday: date) -> None:
        with read_only(self.box.lake):
            self._must_fail(*_materialize(monday))

    def _damage_parquet(self, monday: date) -> None:
        """Cut a file of a table, and one of records, in half."""
        for pattern in ("processed/daily/date=*/*.parquet", "records/date=*/*.parquet"):
            files = sorted(self.box.lake.glob(pattern))
            if files:
                file = files[-self.chance.randint(1, min(7, len(files)))]
                os.truncate(file, file.stat().st_size // 2)
        previous = monday - timedelta(weeks=1)
        if previous >= FIRST:
            self._must(*_materialize(previous))

    def _damage_id_map(self, monday: date) -> None:
        """Put what is no database in the place of the id map, run, and restore the id map."""
        self.receiver.kill()
        database = self.box.home / "user_id_map.sqlite"
        copy = self.box.folder / "copy.sqlite"
        shutil.copy2(database, copy)
        database.write_bytes(b"no database" * 1000)
        self._must_fail(*_materialize(monday))
        shutil.copy2(copy, database)
        self.receiver.start()

    def _run_twice_at_once(self, monday: date) -> None:
        runs = [self.box.qol(*_materialize(monday)) for _ in range(2)]
        for run in runs:
            if code := run.wait(COMMAND_S):
                self.tally.commands_that_failed.append(f"one of two runs of {monday} at once: exit code {code}")

    def _leave_half_files(self, monday: date) -> None:
        """Leave what processes leave that were killed while they wrote."""
        day = f"date={monday}"
        for folder in (f"raw/daily/{day}", f"processed/daily/{day}", f"records/{day}", "records/_staging/half"):
            place = self.box.lake / folder
            place.mkdir(parents=True, exist_ok=True)
            (place / f".{self.chance.randrange(2**32):08x}.tmp").write_bytes(b'{"_summary_type":"dailies","userI')

    # -- weeks that the daemon computes

    def _with_daemon(self, monday: date, run_at: float, faults: list[Fault]) -> None:
        self.tally.faults.update(kind for kind in faults if kind in _DAEMONS)
        if "mail_server_down" in faults:
            self.mails.stop()
            self._fail_run_of_before(monday)
            self.mails.start()
        if "foreign_file" in faults:
            self._foreign_files.append(f"date={monday}")
            (self.box.lake / f"raw/daily/date={monday}/copied.jsonl.part").write_text("{}\n")
        if not self.box.dagster_home.exists():
            self._must(*_materialize(monday))
        before = self.history.run_ids()
        is_first = not self.history.has_looked()
        self._start_daemon(run_at - BEFORE_THE_SCHEDULE_S if is_first else run_at + 5)
        try:
            if "two_daemons" in faults:
                self._must_fail("dev")
            if "daemon_killed" in faults:
                self._start_daemon_after_power_cut()
            if "daemon_run_killed" in faults:
                self._wait("a run begins", lambda: self.history.is_running() or self._computed(monday, before))
                self._start_daemon_after_power_cut()
            self._wait("the week is computed", lambda: self._computed(monday, before))
            self._daemon_usage = usage(self.daemon.pid)
        finally:
            self.daemon.kill()

    def _start_daemon(self, at: float) -> None:
        """Start the daemon at a time, and wait until its sensors have looked: after that, alerts are sent."""
        self.clock.advance_to(at)
        self.due.watch(at, self._active(), self.lake)
        looked_at = sorted(folder.name for folder in self.box.lake.glob("raw/daily/date=*"))[-UNREAD_DAYS:]
        self.due.unread(self._half_bodies, sum(day in looked_at for day in self._foreign_files))
        self.daemon.start()
        self._wait("the sensors look", lambda: self.history.looked_since(at))

    def _start_daemon_after_power_cut(self) -> None:
        """Kill the daemon with its runs. Runs that were lost are noticed, and started again, after an hour."""
        self.daemon.kill()
        self._start_daemon(self.clock.time() + LOST_S)

    def _fail_run_of_before(self, monday: date) -> None:
        with read_only(self.box.lake):
            self._must_fail(*_materialize(monday))

    def _computed(self, monday: date, before: set[str]) -> bool:
        """Return whether a run of a week has succeeded since, and none is under way."""
        runs = [run for run in self.history.runs() if run.run_id not in before]
        over = all(run.is_over for run in self.history.runs())
        return over and any(run.status == "SUCCESS" and run.week == monday.isoformat() for run in runs)

    def _wait(self, what: str, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + 2 * PATIENCE_S
        while not holds():
            if time.monotonic() > until:
                raise SoakError(f"in vain: waiting until {what}; see {self.box.folder}/daemon.log")
            time.sleep(0.5)

    def _active(self) -> dict[str, float]:
        """Return when each participant who should send was last heard of, by first account; enrolment counts too."""
        active = [
            one
            for one in IdMap(self.box.home / "user_id_map.sqlite").list()
            if one.participant_id and one.status == "active" and one.may_be_used
        ]
        found: dict[str, float] = {}
        for one in active:
            heard = self._heard.get(one.garmin_user_id, datetime.fromisoformat(one.enrolled_at).timestamp())
            found[one.participant_id or ""] = max(found.get(one.participant_id or "", 0.0), heard)
        return found

    @cached_property
    def history(self) -> History:
        """Dagster's history of runs and ticks."""
        return History(self.box.dagster_home)

    # -- growth

    def _measure(self) -> None:
        receiver = usage(self.receiver.pid)
        daemon, self._daemon_usage = self._daemon_usage, None
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


_DAEMONS: tuple[Fault, ...] = ("mail_server_down", "foreign_file", "daemon_killed", "daemon_run_killed", "two_daemons")


@dataclass(eq=False)
class _TimedSender(Sender):
    """Sends each delivery when its time has come: `before` is called with it, and not when it is made ready."""

    before: Callable[[Delivery], None] = field(kw_only=True)

    def send(self, delivery: Delivery) -> int:
        """See `Sender`."""
        self.before(delivery)
        return super().send(delivery)


class _Until:
    """Deliveries in portions: those before a time."""

    def __init__(self, deliveries: Iterator[Delivery]) -> None:
        self._rest, self._next = deliveries, next(deliveries, None)

    def until(self, at: float) -> Iterator[Delivery]:
        """Yield what is sent before a time."""
        while self._next is not None and self._next.at.timestamp() < at:
            yield self._next
            self._next = next(self._rest, None)


def _materialize(monday: date) -> tuple[str, ...]:
    return "materialize", "--week", dates_of(monday)[0].isoformat()


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
