"""What participants allow: permissions, withdrawal, and what was asked for on their account.

Belongs here: which permission a type needs, and what of a delivery may be sent. Whose tokens are alive is `consent.py`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from garmin_sim.callbacks import FILES, segment

if TYPE_CHECKING:
    from garmin_sim.simulation import Delivery

HISTORY = "HISTORICAL_DATA_EXPORT"
PERMISSIONS = ("ACTIVITY_EXPORT", "HEALTH_EXPORT", HISTORY, "MCT_EXPORT")
"""All that a participant can allow, and does at first."""
ACTIVITY_TYPES = ("activities", "activityDetails", FILES, "moveIQActivities", "manuallyUpdatedActivities")
HEALTH_TYPES = (
    *("dailies", "epochs", "sleeps", "bodyComps", "stressDetails", "userMetrics", "pulseox", "allDayRespiration"),
    *("healthSnapshot", "hrv", "bloodPressures", "skinTemp"),
)
TYPES = (*HEALTH_TYPES, "mct", *ACTIVITY_TYPES)
BACKFILLS = {segment(kind): kind for kind in TYPES if kind not in (FILES, "manuallyUpdatedActivities")}
"""The types of which old data may be asked for, by their spelling in the path."""


@dataclass
class Account:
    """What a participant has granted, and what was asked for since."""

    permissions: tuple[str, ...] = PERMISSIONS
    changed_at: float = float("-inf")
    withdrawn: bool = False
    _asked: list[tuple[str, int, int]] = field(default_factory=list)

    def allows(self, kind: str) -> bool:
        """Return whether summaries of a type may leave. A type that is not known needs what health data need."""
        return not self.withdrawn and _permission(kind) in self.permissions

    def change(self, permissions: Collection[str], at: float) -> None:
        """Allow these from now on, unless a later change is known."""
        if at >= self.changed_at:
            self.permissions, self.changed_at = tuple(permissions), at

    def allow_history(self, allowed: bool) -> None:
        """Whether old data may be asked for."""
        rest = tuple(one for one in self.permissions if one != HISTORY)
        self.permissions = (*rest, HISTORY) if allowed else rest

    def come_back(self) -> None:
        """A consent: who had withdrawn begins anew."""
        if self.withdrawn:
            self.withdrawn, self._asked = False, []

    def ask(self, kind: str, begin_s: int, end_s: int) -> bool:
        """Note that a range of old data is asked for; False for a duplicate.

        Garmin refuses duplicates. Here these are the same range and any that is within one asked for before; one that
        only overlaps is another range, and what it shares comes once more.
        """
        if any(kind == one and first <= begin_s and end_s <= last for one, first, last in self._asked):
            return False
        self._asked.append((kind, begin_s, end_s))
        return True


def allowed_part(delivery: Delivery, accounts: Mapping[str, Account]) -> Delivery | None:
    """Return a delivery without what may not be sent, given the accounts by userId; None if nothing is left."""
    if all(accounts[user].allows(kind) for user in delivery.users for kind in ("dailies", "activities")):
        return delivery
    body = {
        kind: [one for one in summaries if accounts[one["userId"]].allows(kind)]
        for kind, summaries in json.loads(delivery.body).items()
    }
    body = {kind: summaries for kind, summaries in body.items() if summaries}
    users = frozenset(one["userId"] for summaries in body.values() for one in summaries)
    return replace(delivery, body=as_body(body), users=users) if body else None


def as_body(value: object) -> bytes:
    """JSON as Garmin sends it."""
    return json.dumps(value, separators=(",", ":")).encode()


def _permission(kind: str) -> str:
    if kind in ACTIVITY_TYPES:
        return "ACTIVITY_EXPORT"
    return "MCT_EXPORT" if kind == "mct" else "HEALTH_EXPORT"
