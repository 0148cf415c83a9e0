"""Lakes to measure on: simulated participants' raw files, and who they are.

Belongs here: making a lake once for each description, and shaping the same bytes into other numbers of files.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from garmin_sim.lake import write_lake
from garmin_sim.simulation import Simulation
from qol_dagster.weeks import dates_of

UNTIL = date(2026, 11, 22)
"""The last simulated date, a Sunday."""
LATE_NAME = "late-"
"""What the names of files that came late begin with."""


@dataclass(frozen=True)
class Sample:
    """A QOL_HOME with a raw lake. `people` is a CSV of user_id,participant_id."""

    home: Path
    participants: int
    weeks: int

    @property
    def lake(self) -> Path:
        """Where raw/ lies."""
        return self.home / "lake"

    @property
    def people(self) -> Path:
        """Who is enrolled."""
        return self.home / "people.csv"

    @property
    def mondays(self) -> list[date]:
        """The Mondays of its weeks."""
        return [UNTIL - timedelta(days=6 + 7 * back) for back in reversed(range(self.weeks))]

    @property
    def megabytes(self) -> float:
        """All raw bytes."""
        return sum(file.stat().st_size for file in self.raw_files()) / 1e6

    def raw_files(self) -> list[Path]:
        """Return all raw files."""
        return sorted(self.lake.glob("raw/daily/date=*/*.jsonl"))


def simulated(work: Path, participants: int, weeks: int, *, traps: bool = False) -> Sample:
    """Return a lake of simulated participants without what earlier runs computed or added; it is made once.

    Raw files are those that the receiver writes: one for each body and date, under the body's hash.
    """
    name = f"{participants}x{weeks}{'-traps' if traps else ''}"
    sample = Sample(work / name, participants, weeks)
    if not sample.people.exists():
        shutil.rmtree(sample.home, ignore_errors=True)
        simulation = Simulation(participants, weeks, UNTIL, traps=frozenset({"all"} if traps else ()))
        write_lake(simulation, sample.lake)
        _write_people(sample.people, simulation.user_ids())
    for late in sample.lake.glob(f"raw/daily/date=*/{LATE_NAME}*"):
        late.unlink()
    for made in (*sample.home.iterdir(), *sample.lake.iterdir()):
        if made.name not in ("lake", "people.csv", "raw"):
            shutil.rmtree(made) if made.is_dir() else made.unlink()
    return sample


def week_with_traps(work: Path, participants: int) -> Sample:
    """One week with every oddity that real data is known for, but without the records of other weeks among them."""
    sample = simulated(work, participants, 1, traps=True)
    (monday,) = sample.mondays
    wanted = {f"date={day}" for day in dates_of(monday)}
    for folder in (sample.lake / "raw/daily").iterdir():
        if folder.name not in wanted:
            shutil.rmtree(folder)
    return sample


def one_day_in_files(work: Path, source: Sample, files: int) -> Sample:
    """Return the lines of the last date of a lake, dealt out to so many files."""
    sample = Sample(work / f"{source.home.name}-{files}-files", source.participants, 1)
    shutil.rmtree(sample.home, ignore_errors=True)
    folder = sample.lake / "raw" / "daily" / f"date={UNTIL}"
    folder.mkdir(parents=True)
    shutil.copy(source.people, sample.people)
    lines = [
        line
        for file in source.raw_files()
        if file.parent.name == folder.name
        for line in file.read_bytes().splitlines(keepends=True)
    ]
    for number in range(files):
        (folder / f"{number:06d}.jsonl").write_bytes(b"".join(lines[number::files]))
    return sample


def _write_people(file: Path, users: Sequence[str]) -> None:
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(("user_id", "participant_id"))
        rows.writerows((user, f"P{number:05d}") for number, user in enumerate(users, start=1))
