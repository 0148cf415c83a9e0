"""Running a program to be measured: in a process of its own, one after the other, whose time and memory are its own.

Belongs here: starting, timing, and what several rounds come to.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cost:
    """Of one run, or the median of several: wall and CPU seconds, and peak memory (MB)."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def rounds(programs: Mapping[str, Callable[[], Cost]], times: int) -> dict[str, list[Cost]]:
    """Return each program so many times, in turn, so that what else the machine does falls on all of them."""
    found: dict[str, list[Cost]] = {name: [] for name in programs}
    for number in range(times):
        for name, run in programs.items():
            note(f"{name}, {number + 1} of {times}")
            found[name].append(run())
    return found


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians, and the highest peak."""
    return Cost(
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.cpu_s for cost in costs),
        max(cost.peak_mb for cost in costs),
    )


def times_as_long(one: Sequence[Cost], other: Sequence[Cost]) -> float:
    """Return the ratio of wall times: the median of the rounds' ratios, or where one was run less often, of the
    medians.

    Within a round the machine is the same, while from one to the next it may be a third slower.
    """
    if len(one) != len(other):
        one, other = [median(one)], [median(other)]
    return statistics.median(mine.wall_s / theirs.wall_s for mine, theirs in zip(one, other, strict=True))


def peer(module: str, lake: Path, people: Path, out: Path, *, apart: bool = False, **variables: str) -> Cost:
    """Return what a peer says of its own runs: the time to compute, without the start of Python or Spark, and the peak.

    `apart`: in the environment that `make .venv/peers` makes.
    """
    python = ROOT / ".venv/with-peers/bin/python" if apart else sys.executable
    command = [str(python), "-m", f"benchmarks.peers.{module}", str(lake), str(people), str(out)]
    told = json.loads(_finished(command, variables)[0].strip().splitlines()[-1])
    return Cost(told["wall"], told["cpu"], told["peak_mb"])


def command(*words: str, **variables: str) -> Cost:
    """Return a whole command, from its start to its end."""
    return _finished(list(words), variables)[1]


def qol(home: Path, *words: str, **variables: str) -> Cost:
    """Return the `qol` command in a QOL_HOME."""
    return command(str(Path(sys.executable).with_name("qol")), *words, QOL_HOME=str(home), **variables)


def note(text: str) -> None:
    """A line for who waits."""
    print(text, file=sys.stderr, flush=True)


def _finished(words: list[str], variables: Mapping[str, str]) -> tuple[str, Cost]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("QOL_", "DAGSTER_"))}
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complaint:
        begun = time.perf_counter()
        process = subprocess.Popen(words, cwd=ROOT, env={**kept, **variables}, stdout=said, stderr=complaint)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} failed:\n{_tail(said)}\n{_tail(complaint)}")
        # The peak is that of the largest process among it and those it started and waited for.
        return _tail(said), Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _tail(file: IO[bytes]) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - 4000))
    return file.read().decode(errors="replace")
