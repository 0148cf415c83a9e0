"""A command's process ends at once, but not before what was begun is done."""

from __future__ import annotations

import subprocess
import sys

BEGIN = """
import atexit, sys, threading, time
from qol_dagster.cli.fast_exit import run_and_exit
"""


def ended(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, check=False)


def test_the_exit_code_and_all_that_was_printed_come_out() -> None:
    done = ended("run_and_exit(lambda: print('x' * 100_000, end='') or print('why', file=sys.stderr) or 3)")
    assert (done.returncode, len(done.stdout), done.stderr) == (3, 100_000, "why\n")


def test_what_was_registered_for_the_end_is_done() -> None:
    assert ended("atexit.register(print, 'tidy'); run_and_exit(lambda: 0)").stdout == "tidy\n"


def test_a_thread_that_is_at_work_is_waited_for() -> None:
    work = "threading.Thread(target=lambda: (time.sleep(0.3), print('stored'))).start()"
    assert ended(f"run_and_exit(lambda: {work} or 0)").stdout == "stored\n"


def test_a_thread_that_never_ends_by_itself_is_not() -> None:
    assert (
        ended(
            "threading.Thread(target=lambda: time.sleep(60), daemon=True).start(); run_and_exit(lambda: 0)"
        ).returncode
        == 0
    )


def test_objects_are_not_freed_one_by_one() -> None:
    lasting = """
class Lasting:
    def __del__(self): print("freed")
kept = Lasting()
run_and_exit(lambda: 0)
"""
    assert ended(lasting).stdout == ""
