"""A simulated Garmin cloud: participants with habits, their summaries, and the way Garmin delivers them.

Belongs here: the names other code may use, and nothing else. Importing the package loads neither numpy nor an
HTTP client; the first use of a name does.

    sim = garmin_sim.Simulation(participants=20, weeks=8, seed=1)
    garmin_sim.push(sim, "http://127.0.0.1:8321/secret")     # as Garmin would, over HTTP
    garmin_sim.write_lake(sim, Path("lake"))                 # as the receiver would have stored it
    with garmin_sim.GarminCloud(sim) as cloud: ...           # all of Garmin's side: OAuth, backfill, pings
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from garmin_sim.cloud import GarminCloud
    from garmin_sim.consent import TokenPair
    from garmin_sim.faults import Faults
    from garmin_sim.lake import LakeReport, write_lake
    from garmin_sim.pusher import PushError, PushReport, push
    from garmin_sim.simulation import Delivery, Simulation
    from garmin_sim.traps import TRAPS

__all__ = [
    "TRAPS",
    "Delivery",
    "Faults",
    "GarminCloud",
    "LakeReport",
    "PushError",
    "PushReport",
    "Simulation",
    "TokenPair",
    "push",
    "write_lake",
]

_HOMES = {
    "TRAPS": "traps",
    "Delivery": "simulation",
    "Faults": "faults",
    "GarminCloud": "cloud",
    "Simulation": "simulation",
    "LakeReport": "lake",
    "write_lake": "lake",
    "PushError": "pusher",
    "PushReport": "pusher",
    "TokenPair": "consent",
    "push": "pusher",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
