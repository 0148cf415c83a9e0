"""The simulation written straight into a lake, as the receiver would have stored it. For benchmarks and
offline use.

Belongs here: raw lines and files. The bodies are those that are pushed, each received when it is sent in simulated
time, so that a lake written here is that of a receiver that took them (`qol_ingest/records.py`), byte for byte; a test
holds the two together. One body is made at a time: memory holds what `Simulation.deliveries` does.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from garmin_sim.delivery import LIFECYCLE_TYPES, Body, bodies
from garmin_sim.people import JST_S
from garmin_sim.traps import RECEIPT

if TYPE_CHECKING:
    from pathlib import Path

    from garmin_sim.simulation import Simulation

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

DAY_S = 86_400
_TOKEN = re.compile(rb',"userAccessToken":"[^"]*"')


@dataclass(frozen=True)
class LakeReport:
    """What was written."""

    participant_days: int
    lines: int
    files: int
    bytes: int


class _File(NamedTuple):
    """A part of a body that is one file: its folder below raw/, its name, its lines."""

    folder: str
    name: str
    lines: list[str]


def write_lake(
    sim: Simulation, lake_dir: Path, *, files_per_day: int | None = None, on_progress: Progress | None = None
) -> LakeReport:
    """Write `raw/daily/date=D/<sha256 of the body>.jsonl` below `lake_dir`, over files of the same name.

    With `files_per_day` the same lines are in so many files a date, `simulated-<seed>-<part>.jsonl`. A body sent twice
    is stored once, as the receiver does. `on_progress` counts participant-days. Raises ValueError if `files_per_day` is
    below 1, OSError if the lake cannot be written.
    """
    if files_per_day is not None and files_per_day < 1:
        raise ValueError(f"files_per_day is {files_per_day}; give 1 or more")
    begun: set[Path] = set()
    taken: set[str] = set()
    lines = size = 0
    for body in _with_progress(sim, on_progress):
        ingest_id = hashlib.sha256(body.json()).hexdigest()
        if ingest_id in taken:
            continue
        taken.add(ingest_id)
        for file in _files(body, ingest_id):
            name = file.name
            if files_per_day and file.folder.startswith("daily/"):
                name = f"simulated-{sim.seed}-{int(name[:8], 16) % files_per_day:04d}"
            path = lake_dir / "raw" / file.folder / f"{name}.jsonl"
            content = "\n".join([*file.lines, ""]).encode("ascii")
            if b'"userAccessToken"' in content:  # the receiver never stores one
                content = _TOKEN.sub(b"", content)
            _write(path, content, append=path in begun)
            begun.add(path)
            lines, size = lines + len(file.lines), size + len(content)
    return LakeReport(sim.participants * len(sim.dates()), lines, len(begun), size)


def _write(path: Path, content: bytes, *, append: bool) -> None:
    if not append:
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab" if append else "wb") as file:
        file.write(content)


def _with_progress(sim: Simulation, on_progress: Progress | None) -> Iterator[Body]:
    """Yield the bodies of a simulation; with the first of each day, how many participant-days were written."""
    days = len(sim.dates())
    total, done, start = sim.participants * days, 0, None
    for body in bodies(sim):
        yield body
        start = body.at // DAY_S if start is None else start
        if on_progress and (days_over := min(days - 1, int(body.at // DAY_S - start))) > done:
            done = days_over
            on_progress(sim.participants * done, total)
    if on_progress:
        on_progress(total, total)


def _files(body: Body, name: str) -> Iterator[_File]:
    """Yield what the receiver makes of a body of that hash: its lines by date, lifecycle events apart."""
    received = datetime.fromtimestamp(body.at, UTC)
    today = str(datetime.fromtimestamp(body.at + JST_S, UTC).date())
    rest = f'"_received_at":"{received:%Y-%m-%dT%H:%M:%S}.000Z","_ingest_id":"{name}"'
    by_date: dict[str, list[str]] = defaultdict(list)
    for kind, (texts, days) in body.summaries.items():
        head = f'{{"_summary_type":"{kind}",{rest},'
        if kind in LIFECYCLE_TYPES:
            lines = [head + text[1:] for text in texts]
            yield _File(f"lifecycle/date={today}", f"{name}-{received:%H%M%S}", lines)
            continue
        for text, day in zip(texts, days, strict=True):
            by_date[today if day == RECEIPT else day].append(head + text[1:])
    for day, lines in by_date.items():
        yield _File(f"daily/date={day}", name, lines)
