"""What Garmin announces of its users: that they left, or changed what they allow.

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
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from qol_ingest.shared.id_map import IdMap, is_user

log = logging.getLogger(__name__)

Outcome = Literal["applied", "nothing new", "forged"]
IsRegistered = Callable[[str], bool | None]
"""Whether Garmin still knows a user; None if that is unknown."""


@dataclass(frozen=True)
class LifecycleEvent:
    """A user left (`permissions` is None), or allows these from `at` on. Both times are aware."""

    user: str = field(repr=False)
    at: datetime
    received_at: datetime
    permissions: tuple[str, ...] | None = None


def events(lines: Iterable[str]) -> Iterator[LifecycleEvent]:
    """Yield the events of raw lifecycle lines. What cannot be understood is passed over: it is kept raw, and logged."""
    for line in lines:
        if not line.strip():
            continue
        try:
            event = _event(json.loads(line, parse_int=float))
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError, OSError):
            event = None
        if event is None:
            log.error("a lifecycle event cannot be understood; it is stored in raw/lifecycle and changes nothing")
        else:
            yield event


def apply(id_map: IdMap, event: LifecycleEvent, is_registered: IsRegistered | None = None) -> Outcome:
    """Change the map as an event says. Doing it again, or in another order, ends the same. Raises IdMapError.

    With `is_registered`, a deregistration of a user whom Garmin still knows is forged: it is undone.
    """
    if event.permissions is not None:
        changed = id_map.change_permissions(event.user, event.permissions, event.at, event.received_at)
    else:
        # First the safe side: whoever may have left is not worked with while Garmin is being asked.
        changed = id_map.deregister(event.user, event.at)
        if is_registered is not None and _was_forged(id_map, event, is_registered):
            return "forged"
    return "applied" if changed else "nothing new"


def _was_forged(id_map: IdMap, event: LifecycleEvent, is_registered: IsRegistered) -> bool:
    known = id_map.get(event.user)
    # The answer holds for when it was asked for: whoever leaves meanwhile has left. It is later than the event in any
    # case, so that a replay changes nothing.
    asked_at = max(datetime.now(UTC), event.at + timedelta(milliseconds=1))
    if known is None or known.status != "deregistered" or not is_registered(event.user):
        return False
    if not id_map.reinstate(event.user, asked_at):
        return False
    who = known.participant_id or "a user who is not enrolled"
    log.error("a deregistration of %s is forged: Garmin still knows the user; check who has the webhook's URL", who)
    return True


def _event(line: Any) -> LifecycleEvent | None:
    user, kind = line["userId"], line["_summary_type"]
    if not is_user(user):
        return None
    received_at = datetime.fromisoformat(line["_received_at"]).astimezone(UTC)
    if kind == "deregistrations":
        return LifecycleEvent(user, received_at, received_at)
    permissions = line["permissions"]
    if kind != "userPermissionsChange" or not isinstance(permissions, list):
        return None
    # Garmin's clock and ours may differ a little; a change from the future would shut out all later ones.
    at = min(_changed_at(line.get("changeTimeInSeconds")) or received_at, received_at)
    return LifecycleEvent(user, at, received_at, tuple(one for one in permissions if isinstance(one, str)))


def _changed_at(seconds: object) -> datetime | None:
    """None if it is no time: a permission that was withdrawn must count, whenever that was."""
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC)
    except (ValueError, OverflowError, OSError):
        return None
