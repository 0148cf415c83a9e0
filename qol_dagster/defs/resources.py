"""The parts of a deployment as Dagster's resources: an asset names in its signature those that it needs.

Belongs here: that form alone. What the parts are is `resources/platform`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg

from qol_dagster.resources.garmin_cloud import Garmin
from qol_dagster.resources.platform import Resources


def as_dagster(parts: Resources) -> dict[str, Any]:
    """Return a resource for each part, opened at most once a run; and all of them as `parts`, for the failure hook."""
    openers: dict[str, Callable[[], Any]] = {
        "lake": parts.lake,
        "id_map": parts.id_map,
        "computer": parts.computer,
        "catalogue": parts.catalogue,
        "garmin": lambda: Garmin(parts.settings),
    }
    return {**{name: _opened_by(opener) for name, opener in openers.items()}, "parts": parts}


def _opened_by(opener: Callable[[], Any]) -> dg.ResourceDefinition:
    return dg.ResourceDefinition(lambda _context: opener())
