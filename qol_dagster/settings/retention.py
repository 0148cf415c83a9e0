"""How long each kind of stored data is kept: one table, from which retention here and the rules of S3 on AWS are made.

Belongs here: the kinds, their defaults, and which folders or prefixes they are. What is removed when is
`maintenance/retention.py`'s, and on AWS that of the lifecycle rules in `infra/data.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from qol_ingest.shared import keys

KindName = Literal[
    "raw",
    "quarantine",
    "pings",
    "dead_letters",
    "history",
    "reports",
    "logs",
    "dagster_runs",
    "alert_markers",
    "old_versions",
    "backups",
]
FOREVER = "forever"


@dataclass(frozen=True)
class Kind:
    """A kind of stored data, and for how many days it is kept by default; None: for ever.

    `folders` are those below QOL_HOME, `prefixes` those of the lake's bucket. Of backups it is not a number of days: so
    many of the newest stay.
    """

    what: str
    days: int | None
    folders: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


def _zones(*zones: str) -> dict[str, tuple[str, ...]]:
    """Folders and prefixes of what lies in the lake on one machine and on AWS alike."""
    return {"folders": tuple(f"lake/{zone}" for zone in zones), "prefixes": tuple(f"{zone}/" for zone in zones)}


KINDS: Mapping[KindName, Kind] = {
    "raw": Kind("raw lines and their records", None, **_zones(keys.RAW, keys.RECORDS)),
    "quarantine": Kind("bodies that could not be read", 180, **_zones(keys.QUARANTINE)),
    "pings": Kind("pings", 30, **_zones(keys.PINGS)),
    "dead_letters": Kind("pings and events tried in vain", 14, ("dead_letters", "arrivals/dead")),
    "history": Kind("replaced rows, but for frozen ones", None, **_zones(keys.HISTORY, f"{keys.HISTORY}_strict")),
    "reports": Kind("weekly reports", None, **_zones(keys.REPORTS)),
    "logs": Kind("what steps print, and logs", 180, ("dagster/storage",), (f"{keys.COMPUTE_LOGS}/",)),
    "dagster_runs": Kind("Dagster's runs and their events", 180),
    "alert_markers": Kind("which runs were alerted about", 180, ("alerts",), (f"{keys.ALERTS}/",)),
    "old_versions": Kind("what was overwritten or deleted in the bucket", 90),
    "backups": Kind("backups", 14),
}
"""The table. What is not in it is kept for ever: tables, questionnaires, activity files, who is enrolled, freezes, the
ledger of erasures."""


def parse_retention(text: str) -> tuple[tuple[KindName, int | None], ...]:
    """Return what differs from the table, of a text like `quarantine=90, history=730, pings=forever`.

    Raises ValueError.
    """
    found: dict[KindName, int | None] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, value = (one.strip() for one in part.partition("="))
        if name not in get_args(KindName):
            raise ValueError(f"names {name!r}, which is none of {', '.join(KINDS)}")
        if value != FOREVER and not (value.isascii() and value.isdigit() and 1 <= int(value) <= 36_500):
            raise ValueError(f"must have a number of days, or {FOREVER}, for {name}")
        found[cast("KindName", name)] = None if value == FOREVER else int(value)
    return tuple(found.items())


def kept_days(retention: tuple[tuple[KindName, int | None], ...]) -> dict[KindName, int | None]:
    """Return the days of every kind, those of the table where a deployment says nothing else."""
    return {**{name: kind.days for name, kind in KINDS.items()}, **dict(retention)}
