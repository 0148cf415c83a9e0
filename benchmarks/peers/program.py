"""What the peers have in common: their command line and their stopwatch."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Work:
    """What a peer is given: the raw lake, who is enrolled (user_id,participant_id), and where the tables go."""

    lake: Path
    people: Path
    out: Path

    @property
    def raw(self) -> str:
        """All raw files, as a glob."""
        return f"{self.lake}/raw/daily/date=*/*.jsonl"


def work_of_command_line() -> Work:
    """Return what this process was asked for."""
    lake, people, out = map(Path, sys.argv[1:4])
    return Work(lake, people, out)


def run_peer(compute: Callable[[Work], object], afterwards: Callable[[Work], object] = lambda _work: None) -> None:
    """Run a peer, and print the wall and CPU seconds it took and the peak memory (MB) of its process."""
    work = work_of_command_line()
    work.out.mkdir(parents=True, exist_ok=True)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    compute(work)
    wall, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    afterwards(work)
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_mb": peak}))
