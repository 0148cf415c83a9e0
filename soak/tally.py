"""What happened in a soak, and what was stored and used by the week.

Belongs here: those values. How they are printed is `table.py`'s.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Growth:
    """What is stored and used at the end of a week."""

    raw_mb: float
    other_mb: float
    dagster_mb: float
    receiver_mb: float
    receiver_handles: int
    daemon_mb: float | None
    daemon_handles: int | None


@dataclass
class Tally:
    """What happened, as the closing table says it."""

    pushes: int = 0
    pings: int = 0
    callbacks: int = 0
    callbacks_failed: int = 0
    withheld: int = 0
    """Records that were announced, and not given before their users left."""
    redriven: int = 0
    retries: int = 0
    repeated: int = 0
    late_files: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    commands_that_failed: list[str] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
