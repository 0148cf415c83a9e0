"""How a process of a soak differs from one of a deployment: its clock, a disk that may fail, the release it is of.

Belongs here: those three, switched by files of the soak's folder while processes run. The product knows nothing of it.
"""

from __future__ import annotations

import errno
import os
import random
import time
from functools import cache
from pathlib import Path
from typing import Any

from soak.clock import SimulatedClock, install

FOLDER = "SOAK_FOLDER"
"""The variable that names the soak's folder. It is none of the product's settings."""
CLOCK, FAILING_STORE, NEXT_RELEASE = "clock", "failing_store", "next_release"
"""Files of that folder. The last two are switches: they are on while they are there."""
NEXT_VERSION = "99.0.0"
SLOW_S, SLOW_SHARE, FAILING_SHARE = 0.02, 0.3, 0.2


def begin() -> None:
    """Prepare this process. Called before anything of the product is imported."""
    folder = Path(os.environ[FOLDER])
    install(SimulatedClock(folder / CLOCK))
    _fail_at_times(folder / FAILING_STORE)
    if (folder / NEXT_RELEASE).exists():
        _be_next_release()


def _fail_at_times(switch: Path) -> None:
    """Have the disk be slow, or fail, at some of the times at which data is made safe, while a switch is on."""
    fsync, chance = os.fsync, random.Random(os.getpid())

    def unreliable(handle: Any) -> None:
        if switch.exists():
            drawn = chance.random()
            if drawn < FAILING_SHARE:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if drawn < FAILING_SHARE + SLOW_SHARE:
                time.sleep(SLOW_S)
        fsync(handle)

    os.fsync = unreliable  # type: ignore[assignment]


def _be_next_release() -> None:
    """Be a release whose metrics, code and reading of raw lines are others than those of the last one."""
    from qol_dagster.engines import fingerprint, queries
    from qol_dagster.metrics import dictionary

    daily, records = fingerprint.daily_fingerprint, fingerprint.records_fingerprint
    dictionary.METRICS_VERSION = NEXT_VERSION
    queries._code_digest = cache(lambda: "next")
    fingerprint.daily_fingerprint = lambda *given: f"next-{daily(*given)}"
    fingerprint.records_fingerprint = lambda *given: f"next-{records(*given)}"
