"""What Garmin tells of its users: that they left, or changed what they allow.

Belongs here: reading the raw lines of `raw/lifecycle/`, and what each changes in the id map. When that is done belongs
elsewhere: the puller does it on arrival, and every weekly run does it again, so nothing is missed.

A deregistration carries no time and no signature. It counts from its receipt; whether it is true is asked of Garmin
where that is possible, because whoever knows the webhook's URL could send one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from qol_ingest.id_map import IdMap

log = logging.getLogger(__name__)

Outcome = Literal["applied", "nothing new", "forged"]
IsRegistered = Callable[[str], bool | None]
"""Whether Garmin still knows a user; None if that cannot be told."""


@dataclass(frozen=True)
class LifecycleEvent:
    """A user left (`permissions` is None), or allows these from `at` on (UTC)."""

    user: str = field(repr=False)
    at: datetime
    permissions: tuple[str, ...] | None = None


def events(lines: Iterable[str]) -> Iterator[LifecycleEvent]:
    """The events of raw lifecycle lines. What cannot be understood is passed over: it is kept raw, and logged."""
    for line in lines:
        if not line.strip():
            continue
        try:
            event = _event(json.loads(line))
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError, OSError):
            event = None
        if event is None:
            log.error("a lifecycle event cannot be understood; it lies in raw/lifecycle and changes nothing")
        else:
            yield event


def apply(id_map: IdMap, event: LifecycleEvent, is_registered: IsRegistered | None = None) -> Outcome:
    """Change the map as an event says. Doing it again, or in another order, ends the same. Raises IdMapError.

    With `is_registered`, a deregistration of a user whom Garmin still knows is forged: it is undone.
    """
    if event.permissions is not None:
        changed = id_map.change_permissions(event.user, event.permissions, event.at)
        return "applied" if changed else "nothing new"
    # First the safe side: whoever may have left is not worked with while Garmin is being asked.
    changed = id_map.deregister(event.user, event.at)
    if is_registered is None:
        return "applied" if changed else "nothing new"
    known = id_map.get(event.user)
    if known is not None and known.status == "deregistered" and is_registered(event.user):
        id_map.reinstate(event.user, datetime.now(UTC))  # later than the event, so that a replay changes nothing
        who = known.participant_id or "a user who is not enrolled"
        log.error("a deregistration of %s is forged: Garmin still knows the user; check who has the webhook's URL", who)
        return "forged"
    return "applied" if changed else "nothing new"


def _event(line: Any) -> LifecycleEvent | None:
    user, kind = line["userId"], line["_summary_type"]
    if not isinstance(user, str) or not user.strip():
        return None
    received = datetime.fromisoformat(line["_received_at"])
    if kind == "deregistrations":
        return LifecycleEvent(user, received)
    if kind != "userPermissionsChange":
        return None
    permissions = line["permissions"]
    if not isinstance(permissions, list):
        return None
    changed = line.get("changeTimeInSeconds")
    known = isinstance(changed, int | float) and not isinstance(changed, bool)
    at = datetime.fromtimestamp(changed, UTC) if known else received
    # Garmin's clock and ours may differ a little; a change from the future would shut out all later ones.
    return LifecycleEvent(user, min(at, received), tuple(str(one) for one in permissions))
