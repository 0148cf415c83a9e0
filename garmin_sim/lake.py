"""The simulation written straight into a lake, as the receiver would have stored it. For benchmarks and
offline use.

Belongs here: raw lines and files. One participant-day is made at a time and a week of files is open at most,
so memory does not grow with the number of participants or weeks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, NamedTuple

from garmin_sim.delivery import summaries, versions
from garmin_sim.people import JST_S, Life, live, make_participant
from garmin_sim.physiology import make_day
from garmin_sim.traps import RECEIPT, SECRETS

if TYPE_CHECKING:
    from pathlib import Path

    from garmin_sim.records import Version
    from garmin_sim.simulation import Simulation

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

OPEN_FILES = 224
REPORT_EVERY = 25


@dataclass(frozen=True)
class LakeReport:
    """What was written."""

    participant_days: int
    lines: int
    files: int
    bytes: int


class _Line(NamedTuple):
    date: str
    text: str


class _Files:
    """Files of the lake, opened at their first line, closed together. A run replaces the files of its name."""

    def __init__(self, lake_dir: Path, seed: int) -> None:
        self.root = lake_dir / "raw" / "daily"
        self.name = f"simulated-{seed}"
        self.begun: set[Path] = set()
        self.lines = 0
        self.bytes = 0
        self._stack = ExitStack()
        self._open: dict[Path, IO[bytes]] = {}

    def write(self, date: str, part: str, lines: list[str]) -> None:
        """Add lines to a part of a date."""
        path = self.root / f"date={date}" / f"{self.name}-{part}.jsonl"
        content = "".join(lines).encode("ascii")
        self._file(path).write(content)
        self.lines += len(lines)
        self.bytes += len(content)

    def close(self) -> None:
        """Close what is open; later lines are appended."""
        self._stack.close()
        self._open.clear()

    def _file(self, path: Path) -> IO[bytes]:
        if path not in self._open:
            if len(self._open) >= OPEN_FILES:
                self.close()
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab") if path in self.begun else path.open("wb")
            self._open[path] = self._stack.enter_context(file)
            self.begun.add(path)
        return self._open[path]


def write_lake(
    sim: Simulation, lake_dir: Path, *, files_per_day: int = 8, on_progress: Progress | None = None
) -> LakeReport:
    """Write `raw/daily/date=D/simulated-<seed>-<part>.jsonl` below `lake_dir`, over files of the same name.

    A participant's lines are in the same part of every date. Receipt times are those of the simulated syncs.
    A body sent twice is stored once, as the receiver does. `on_progress` counts participant-days. Raises
    ValueError if `files_per_day` is below 1, OSError if the lake cannot be written.
    """
    if files_per_day < 1:
        raise ValueError(f"files_per_day is {files_per_day}; give 1 or more")
    files, dates = _Files(lake_dir, sim.seed), sim.dates()
    days = len(dates)
    total, done = sim.participants * days, 0
    at_once = max(1, min(7, OPEN_FILES // files_per_day))
    try:
        for first in range(0, days, at_once):
            for index in range(sim.participants):
                life = live(make_participant(sim.seed, index), sim.seed, dates[0], days)
                for day in range(first, min(first + at_once, days)):
                    _write_day(sim, life, day, files, files_per_day)
                    done += 1
                    if on_progress and (done % REPORT_EVERY == 0 or done == total):
                        on_progress(done, total)
    finally:
        files.close()
    return LakeReport(total, files.lines, len(files.begun), files.bytes)


def _write_day(sim: Simulation, life: Life, day: int, files: _Files, files_per_day: int) -> None:
    date = str(life.first + timedelta(days=day))
    mine: list[str] = []
    for line in _lines(sim, life, day):
        if line.date in ("", date):
            mine.append(line.text)
        else:
            files.write(line.date, "strays", [line.text])
    if mine:
        files.write(date, f"{life.participant.index % files_per_day:04d}", mine)


def _lines(sim: Simulation, life: Life, index: int) -> Iterator[_Line]:
    """Yield the raw lines of all versions of a day; a date only where it may not be the day's."""
    sent = versions(life, index)
    day = make_day(life, sim.seed, index) if sent and life.wear[index] == "worn" else None
    for version in sent:
        tail = _tail(life, sim.seed, version)
        for record in summaries(life, sim.seed, index, version, sim.traps - SECRETS, day=day):
            filed = _date_in_japan(version) if record.filed == RECEIPT else record.filed
            yield _Line(filed, f'{record.text[:-1]},"_summary_type":"{record.type}",{tail}')


def _tail(life: Life, seed: int, version: Version) -> str:
    """When and with which body a version was received; all a sync brings shares a body here."""
    who = life.participant
    received = datetime.fromtimestamp(version.at + 60, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    body = hashlib.sha256(f"{seed} {who.user_id} {version.at}".encode()).hexdigest()
    return f'"_received_at":"{received}.{who.index % 1000:03d}Z","_ingest_id":"{body}"}}\n'


def _date_in_japan(version: Version) -> str:
    return str(datetime.fromtimestamp(version.at + 60 + JST_S, UTC).date())
