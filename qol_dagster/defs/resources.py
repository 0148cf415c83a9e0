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
    openers: dict[str, tuple[str, Callable[[], Any]]] = {
        "lake": ("Raw lines, records and tables: where they are read and written.", parts.lake),
        "id_map": ("Who is enrolled: Garmin user id -> participant id.", parts.id_map),
        "computer": ("What computes weeks: an engine in this process, or the Glue job.", parts.computer),
        "catalogue": ("The tables that people query, `db_qol`.", parts.catalogue),
        "garmin": ("Garmin's cloud, asked with the participants' tokens.", lambda: Garmin(parts.settings)),
        "parts": ("All of the deployment's parts, for the alert about a failed step.", lambda: parts),
    }
    return {name: _opened_by(name, description, opener) for name, (description, opener) in openers.items()}


def _opened_by(name: str, description: str, opener: Callable[[], Any]) -> dg.ResourceDefinition:
    def opened(_context: dg.InitResourceContext) -> Any:
        return opener()

    opened.__name__ = name  # which Dagster shows as the resource's type
    return dg.ResourceDefinition(opened, description=description)
