"""`python -m soak`: a year in a box, and the table at its end. Exit code 1 if anything in it is not as it must be.

make soak                                    52 weeks of 200 participants
make soak WEEKS=12 PARTICIPANTS=40           the short form, some ten minutes
make soak WEEKS=12 PARTICIPANTS=40 SEED=7    what a seed brought, again
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from garmin_sim.pusher import PushError
from soak.mail import MailServer
from soak.processes import Box, SoakError, free_port
from soak.table import Outcome, rendered
from soak.verdict import judge
from soak.year import Year


def main() -> int:
    """Run a soak, print its table, and return 1 if anything was lost, counted twice, different or not alerted."""
    options = argparse.ArgumentParser(prog="python -m soak", description="A year in a box, with faults throughout.")
    options.add_argument("--weeks", type=int, default=52, help="how many weeks, 3 or more")
    options.add_argument("--participants", type=int, default=200, help="how many participants, 8 or more")
    options.add_argument("--seed", type=int, help="the same seed has the same faults; by default another each time")
    options.add_argument("--faults-per-week", type=float, default=1.5, help="on average; each kind comes once at least")
    options.add_argument("--folder", type=Path, help="an empty folder to work in, which stays; else a temporary one")
    given = options.parse_args()
    if given.weeks < 3 or given.participants < 8:
        options.error("give 3 weeks and 8 participants at least")
    seed = given.seed if given.seed is not None else time.time_ns() % 1_000_000
    replay = f"make soak WEEKS={given.weeks} PARTICIPANTS={given.participants} SEED={seed}"
    replay += f" FAULTS={given.faults_per_week:g}" if given.faults_per_week != 1.5 else ""
    print(f"seed {seed}; again: {replay}", flush=True)
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="qol-soak-"))).absolute()
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started is ended then, too
    try:
        outcome = _outcome(folder, seed, given)
    except (SoakError, PushError, subprocess.TimeoutExpired) as error:
        print(f"FAILED after {_now()}: {error}. Logs: {folder}. Again: {replay}")
        return 1
    print(rendered(outcome), end="")
    print(f"{time.monotonic() - begun:.0f} s")
    if outcome.failures:
        print(f"FAILED: {'; '.join(outcome.failures)}. Logs: {folder}. Again: {replay}")
        return 1
    if not given.folder:
        shutil.rmtree(folder)
    return 0


def _outcome(folder: Path, seed: int, given: argparse.Namespace) -> Outcome:
    box = Box(folder, free_port(), free_port())
    mails = MailServer(box.mail_port)
    year = Year(box, seed, given.weeks, given.participants, given.faults_per_week, _note, mails)
    mails.start()
    try:
        year.run()
        return judge(year)
    finally:
        mails.stop()
        year.daemon.kill()
        year.receiver.kill()
        year.cloud.stop()


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
