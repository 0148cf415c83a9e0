"""One lake for the weeks of several modules, computed at once: Spark plans for a minute, however small a lake is.

Belongs here: who has a part in the lake, and that no part touches another one. What lies in it, the modules say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from qol_dagster.engines import Engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.pipeline.reports import EtlReport
from qol_dagster.weeks import mondays


@dataclass(frozen=True)
class Part:
    """What a module put into the lake: its weeks, its Garmin users as participants, and those who withdrew."""

    weeks: Sequence[date]
    participants: Mapping[str, str]
    withdrawn: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ComputedLake:
    """A lake, and what was said when it was computed."""

    root: Path
    engine: Engine
    identities: Identities
    report: EtlReport


Write = Callable[[Path], Part]
PARTS: list[Write] = []
T = TypeVar("T")


def part(write: Write) -> Write:
    """Have a module's function write its part whenever the lake is computed."""
    PARTS.append(write)
    return write


def compute(engine: Engine, root: Path, writers: Sequence[Write]) -> ComputedLake:
    """Write these parts below `root` and compute them. Weeks, users and participants are of one part alone."""
    parts = [write(root) for write in writers]
    weeks = apart([set(mondays(one.weeks)) for one in parts])
    users = apart([set(one.participants.items()) for one in parts])
    apart([set(one.participants) for one in parts])
    apart([set(one.participants.values()) for one in parts])
    identities = Identities(dict(users), frozenset().union(*(one.withdrawn for one in parts)))
    return ComputedLake(root, engine, identities, run_etl(engine, Lake.local(root), sorted(weeks), identities))


def apart(sets: Sequence[set[T]]) -> set[T]:
    """Return what is in any of these sets; an AssertionError names what is in several."""
    found: set[T] = set()
    for one in sets:
        assert not found & one
        found |= one
    return found
