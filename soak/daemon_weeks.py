"""Weeks of a soak that Dagster's daemon computes, and what goes wrong meanwhile.

Belongs here: the faults of `plan.WITH_THE_DAEMON`, and when the daemon is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from qol_dagster.resources.id_map import IdMap
from soak.history import History
from soak.plan import WITH_THE_DAEMON
from soak.processes import COMMAND_S, SoakError, Usage, materialize, read_only, usage

if TYPE_CHECKING:
    from soak.plan import Fault
    from soak.pushes import Pushes
    from soak.stage import Stage

BEFORE_THE_SCHEDULE_S = 20.0
"""How long before the schedule is due the daemon is started for the first time; later ones make up for it."""
UNREAD_DAYS = 56
"""Of so many dates files that no run reads are counted."""
LOST_S = 3900.0
"""After so long a run that is not over is lost: an hour, as dagster.yaml has it, and some minutes."""


@dataclass
class DaemonWeeks:
    """Has the daemon compute a week."""

    stage: Stage
    pushes: Pushes
    usage: Usage | None = None
    """What the daemon used at the end of the last week that it computed."""
    _failed: set[str] = field(default_factory=set)
    _foreign_files: list[str] = field(default_factory=list)

    def compute(self, monday: date, run_at: float, faults: list[Fault]) -> None:
        """Have a week computed whose run is due at a time, with faults before and meanwhile."""
        self.stage.tally.faults.update(kind for kind in faults if kind in WITH_THE_DAEMON)
        if "mail_server_down" in faults:
            self.stage.mails.stop()
            self._fail_run_of_before(monday)
            self.stage.mails.start()
        if "foreign_file" in faults:
            self._foreign_files.append(f"date={monday}")
            (self.stage.box.lake / f"raw/daily/date={monday}/copied.jsonl.part").write_text("{}\n")
        if not self.stage.box.dagster_home.exists():
            self.stage.must(*materialize(monday))
        self.count_failed_runs()
        before = self.history.run_ids()
        is_first = not self.history.has_looked()
        self._start_daemon(run_at - BEFORE_THE_SCHEDULE_S if is_first else run_at + 5)
        try:
            if "two_daemons" in faults:
                self.stage.must_fail("dev")
            if "daemon_killed" in faults:
                self._start_daemon_after_power_cut()
            if "daemon_run_killed" in faults:
                self._wait("a run begins", lambda: self.history.is_running() or self._computed(monday, before))
                self._start_daemon_after_power_cut()
            self._wait("the week is computed", lambda: self._computed(monday, before))
            self.usage = usage(self.stage.daemon.pid)
        finally:
            self.stage.daemon.kill()
        if "callback_dead" in faults:
            self._redrive()

    def count_failed_runs(self) -> int:
        """Return how many runs have failed for good so far. Dagster forgets them after 180 days."""
        self._failed |= {run.run_id for run in self.history.runs() if run.has_failed}
        return len(self._failed)

    def _start_daemon(self, at: float) -> None:
        """Start the daemon at a time, and wait until its sensors have looked: after that, alerts are sent."""
        self.stage.clock.advance_to(at)
        self.stage.due.watch(at, self._active(), self.stage.lake)
        looked_at = sorted(folder.name for folder in self.stage.box.lake.glob("raw/daily/date=*"))[-UNREAD_DAYS:]
        files = sum(day in looked_at for day in self._foreign_files)
        self.stage.due.unread(self.pushes.half_bodies, files, self.stage.box.dead_letters())
        self.stage.daemon.start()
        self._wait("the sensors look", lambda: self.history.looked_since(at))

    def _start_daemon_after_power_cut(self) -> None:
        """Kill the daemon with its runs. Runs that were lost are noticed, and started again, after an hour."""
        self.stage.daemon.kill()
        self._start_daemon(self.stage.clock.time() + LOST_S)

    def _redrive(self) -> None:
        """Have what ended in dead letters tried again, as whoever reads the alert does once Garmin answers again."""
        before = self.stage.box.dead_letters()
        self.stage.cloud.mend()
        self.stage.must("garmin", "pull", "--redrive")
        self.stage.tally.redriven += before - self.stage.box.dead_letters()
        if not before or self.stage.box.dead_letters():
            self.stage.tally.commands_that_failed.append(f"of {before} dead letters not all were redriven")

    def _fail_run_of_before(self, monday: date) -> None:
        with read_only(self.stage.box.lake):
            self.stage.must_fail(*materialize(monday))

    def _computed(self, monday: date, before: set[str]) -> bool:
        """Return whether a run of a week has succeeded since, and none is under way."""
        runs = [run for run in self.history.runs() if run.run_id not in before]
        over = all(run.is_over for run in self.history.runs())
        return over and any(run.status == "SUCCESS" and run.week == monday.isoformat() for run in runs)

    def _wait(self, what: str, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + COMMAND_S
        while not holds():
            if time.monotonic() > until:
                raise SoakError(f"in vain: waiting until {what}; see {self.stage.box.folder}/daemon.log")
            time.sleep(0.5)

    def _active(self) -> dict[str, float]:
        """Return when each participant who should send was last heard of, by first account; enrolment counts too."""
        active = [
            one
            for one in IdMap(self.stage.box.home / "user_id_map.sqlite").list()
            if one.participant_id and one.status == "active" and one.may_be_used
        ]
        found: dict[str, float] = {}
        for one in active:
            heard = self.pushes.heard.get(one.garmin_user_id, datetime.fromisoformat(one.enrolled_at).timestamp())
            found[one.participant_id or ""] = max(found.get(one.participant_id or "", 0.0), heard)
        return found

    @cached_property
    def history(self) -> History:
        """Dagster's history of runs and ticks."""
        return History(self.stage.box.dagster_home)
