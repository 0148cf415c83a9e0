"""Which alerts must come, worked out from what was sent and which faults there were.

Belongs here: counting what is due, apart from the product's own code. Counting what came is `mail.py`'s.

An alert is due when its level has grown since it was last looked at: how many participants are silent, for how long
nothing came, how much is stored that no run reads, how far the share of valid days fell.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake

SILENT_S, QUIET_S = 7 * 86_400.0, 86_400.0
DROP, LEAST_PERSONS, WEEKS_BEFORE = 0.2, 5, 4


@dataclass
class Due:
    """The alerts that are due, by name."""

    alerts: Counter[str] = field(default_factory=Counter)
    _levels: dict[str, int] = field(default_factory=dict)

    def watch(self, at: float, heard_of: dict[str, float], lake: Lake) -> None:
        """Count what is due when the sensors look at a time: `heard_of` says when each active participant last sent."""
        silent = sum(at - last >= SILENT_S for last in heard_of.values())
        quiet_s = at - max(heard_of.values(), default=at)
        self._look("silent", silent)
        self._look("no_data", int(quiet_s // QUIET_S).bit_length())
        self._look("fewer_valid_days", drop_of_valid_days(lake))

    def unread(self, bodies: int, files: int, letters: int) -> None:
        """Count what is due, one mail for all, when so many bodies, files and dead letters are stored unread."""
        stored = {"bodies": bodies, "files": files, "letters": letters}
        grown = [self._grows(name, number) for name, number in stored.items()]
        self.alerts["not_read"] += any(grown)

    def _look(self, name: str, level: int) -> None:
        self.alerts[name] += self._grows(name, level)

    def _grows(self, name: str, level: int) -> bool:
        before, self._levels[name] = self._levels.get(name, 0), level
        return level > before


def drop_of_valid_days(lake: Lake) -> int:
    """Return how many fifths of all days fewer are valid in the last week that is stored than in the weeks before."""
    shares: list[tuple[float, int]] = []
    for week in lake.table_dates("status")[-WEEKS_BEFORE - 1 :]:
        rows = lake.read_table("status", week, ["status", "n_valid_days"])
        days = [
            row["n_valid_days"] / 7
            for row in (rows.to_pylist() if rows else ())
            if row["status"] not in ("revoked", "not_enrolled")
        ]
        if days:
            shares.append((sum(days) / len(days), len(days)))
    if len(shares) < 2:
        return 0
    (now, persons), before = shares[-1], [share for share, _ in shares[:-1]]
    drop = sum(before) / len(before) - now
    return int(drop / DROP) if persons >= LEAST_PERSONS and drop > DROP else 0
