"""What a user permits at Garmin, and what each type of data needs.

Belongs here: Garmin's names. Who permits what is kept in the id map.
"""

from __future__ import annotations

import re
from collections.abc import Collection

HEALTH, ACTIVITY = "HEALTH_EXPORT", "ACTIVITY_EXPORT"
"""Garmin's permissions for a user's health data and activities, of which all metrics are made."""
PERMISSION_TYPES = ("userPermissionsChange", "userPermissions")
"""Under which changes of permissions come: Garmin's type, and its name in a peer's documentation."""
ACTIVITY_TYPES = (
    *("activities", "activityDetails", "activityFiles", "moveIQActivities", "manuallyUpdatedActivities"),
    "moveiq",
)
"""The types that need ACTIVITY_EXPORT, in either spelling."""
_CYCLE_TYPES = ("mct", "menstrualCycleTracking")
_NEEDED = {**dict.fromkeys(ACTIVITY_TYPES, ACTIVITY), **dict.fromkeys(_CYCLE_TYPES, "MCT_EXPORT")}
"""The permission that a type needs; every other needs HEALTH_EXPORT."""


def kind_is_permitted(permissions: Collection[str] | None, kind: str) -> bool:
    """Return whether some permissions (None: nothing is known of them) cover a type, by Garmin's name."""
    return permissions is None or _NEEDED.get(kind, HEALTH) in permissions


def allowed_in(permissions: object) -> list[str] | None:
    """Return the names that a value of Garmin's `permissions` allows; None if it cannot be understood.

    It is a list of names, and has been seen as an object that says of each whether it is allowed. A text names those it
    holds, and null allows nothing.
    """
    if permissions is None:
        return []
    if isinstance(permissions, dict):
        return [name for name, allowed in permissions.items() if str(allowed).lower() == "true"]
    if isinstance(permissions, str):
        return re.findall(r"\w+", permissions)
    return [one for one in permissions if isinstance(one, str)] if isinstance(permissions, list) else None


def withheld_of(permissions: Collection[str] | None) -> frozenset[str]:
    """Return which of the permissions for health data and activities are missing."""
    return frozenset() if permissions is None else frozenset({HEALTH, ACTIVITY}.difference(permissions))
