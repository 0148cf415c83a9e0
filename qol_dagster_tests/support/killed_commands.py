"""Commands that are killed by SIGKILL after a step, in processes of their own: no block of theirs comes to its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = tuple[str, int]
"""A function by its whole name, and the number of its call after which the process is killed."""
KILLED = """
import os, pkgutil, signal, sys
from qol_dagster.cli.app import run
from qol_dagster.engines import queries
from qol_dagster.erasure import account, erase
from qol_dagster.lake.lease import Lease
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.resources.garmin_cloud import Garmin

Lease.__init__.__defaults__ = 0.6, 0.05
account.SETTLE_S = account.PAGE_S = 0.0
Garmin.end_registration = lambda *_: ""

def killed_after(name, number):
    seen = 0
    where = pkgutil.resolve_name(name.rpartition(".")[0])
    inner = getattr(where, name.rpartition(".")[2])
    def call(*arguments, **options):
        nonlocal seen
        done = inner(*arguments, **options)
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    setattr(where, name.rpartition(".")[2], call)

for profile in PROFILES.values() if "erase" in sys.argv else ():
    queries._compile_all("duckdb", profile.thresholds)
for line in sys.stdin:
    if (child := os.fork()) == 0:
        name, number = line.split()
        killed_after(name, int(number))
        os.dup2(2, 1)
        os._exit(run(sys.argv[1:]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""One process imports and compiles everything, once; each line has a child of it run the command and be killed."""


@contextmanager
def killed_command(*arguments: str) -> Iterator[Callable[[str, int], int]]:
    """Yield what runs `qol` by the settings of this environment, and kills it after the n-th call of a function.

    It returns the exit code: -9 if there was such a call, that of the command if it came to its end before.
    """
    command = [sys.executable, "-c", KILLED, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asked, said = process.stdin, process.stdout
        assert asked
        assert said

        def kill_after(function: str, number: int = 1) -> int:
            asked.write(f"{function} {number}\n")
            asked.flush()
            return int(said.readline())

        yield kill_after
        asked.close()
