"""Weeks of a soak that commands compute, and what goes wrong meanwhile.

Belongs here: the faults of `plan.IN_A_COMMAND`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from soak.processes import COMMAND_S, full_disk, kill_group, materialize, read_only

if TYPE_CHECKING:
    from soak.plan import Fault
    from soak.stage import Stage


@dataclass
class CommandWeeks:
    """Computes a week with `qol materialize`."""

    stage: Stage

    def compute(self, monday: date, faults: list[Fault]) -> None:
        """Do what the faults say, and then compute a week."""
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
                self.stage.tally.faults[kind] += 1
                acts[kind](monday)
        self.stage.must(*materialize(monday))

    def _kill_run(self, monday: date) -> None:
        run = self.stage.box.qol(*materialize(monday))
        time.sleep(self.stage.chance.uniform(1.0, 4.0))
        kill_group(run)

    def _fill_disk_of_run(self, monday: date) -> None:
        run = self.stage.box.qol(*materialize(monday))
        time.sleep(self.stage.chance.uniform(0.8, 2.5))
        with suppress(ProcessLookupError), full_disk(run.pid):
            run.wait(COMMAND_S)

    def _run_on_read_only_lake(self, monday: date) -> None:
        with read_only(self.stage.box.lake):
            self.stage.must_fail(*materialize(monday), "--force")  # it may be computed already

    def _damage_parquet(self, monday: date) -> None:
        """Cut a file of a table, and one of records, in half."""
        for pattern in ("processed/daily/date=*/*.parquet", "records/date=*/*.parquet"):
            files = sorted(self.stage.box.lake.glob(pattern))
            if files:
                file = files[-self.stage.chance.randint(1, min(7, len(files)))]
                os.truncate(file, file.stat().st_size // 2)
        previous = monday - timedelta(weeks=1)
        if previous in self.stage.mondays:
            self.stage.must(*materialize(previous))

    def _damage_id_map(self, monday: date) -> None:
        """Put what is no database in the place of the id map, run, and restore the id map."""
        self.stage.receiver.kill()
        database = self.stage.box.home / "user_id_map.sqlite"
        copy = self.stage.box.folder / "copy.sqlite"
        shutil.copy2(database, copy)
        database.write_bytes(b"no database" * 1000)
        self.stage.must_fail(*materialize(monday))
        shutil.copy2(copy, database)
        self.stage.receiver.start()

    def _run_twice_at_once(self, monday: date) -> None:
        runs = [self.stage.box.qol(*materialize(monday)) for _ in range(2)]
        for run in runs:
            if code := run.wait(COMMAND_S):
                self.stage.tally.commands_that_failed.append(f"one of two runs of {monday} at once: exit code {code}")

    def _leave_half_files(self, monday: date) -> None:
        """Leave what processes leave that were killed while they wrote."""
        day = f"date={monday}"
        for folder in (f"raw/daily/{day}", f"processed/daily/{day}", f"records/{day}", "records/_staging/half"):
            place = self.stage.box.lake / folder
            place.mkdir(parents=True, exist_ok=True)
            (place / f".{self.stage.chance.randrange(2**32):08x}.tmp").write_bytes(b'{"_summary_type":"dailies","userI')
