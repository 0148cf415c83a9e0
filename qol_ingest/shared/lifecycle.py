"""What Garmin announces of its users: that they left, or changed what they allow.

Belongs here: reading the raw lines of `raw/lifecycle/`, and what each changes in the id map. When that is done belongs
elsewhere: the puller does it on arrival, and every weekly run does it again, so nothing is missed.

Nothing that is announced carries a signature, and whoever knows the webhook's URL could send it. So what is announced
may only take away, at once: a deregistration counts from its receipt, and a change of permissions withdraws what it
does not name. What would give more counts only when Garmin says so too. Garmin is asked where there are tokens.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from qol_ingest.shared.erasures import plain_user
from qol_ingest.shared.id_map import Enrolment, IdMap, allowed_of, is_user, text_of, unless_ahead, without_withdrawn
from qol_ingest.shared.permissions import PERMISSION_TYPES, allowed_in

log = logging.getLogger(__name__)

Outcome = Literal["applied", "nothing new", "forged", "unconfirmed"]


class Garmin(Protocol):
    """What Garmin says of a user when it is asked; None if it cannot be, or does not answer."""

    def is_registered(self, user: str) -> bool | None:
        """Return whether Garmin still knows a user as ours."""

    def permissions(self, user: str) -> Sequence[str] | None:
        """Return what a user allows now."""


@dataclass(frozen=True)
class LifecycleEvent:
    """A user left (`permissions` is None), or allows these from `at` on. Both times are aware."""

    user: str = field(repr=False)
    at: datetime
    received_at: datetime
    permissions: tuple[str, ...] | None = None


def events(lines: Iterable[str]) -> Iterator[LifecycleEvent]:
    """Yield the events of raw lifecycle lines. What cannot be understood is passed over: it is kept raw, and logged.

    Garmin's manual prints a change of permissions whose user id has hyphens, which those of summaries have not. An
    event of an id in another spelling is therefore one of the id in theirs, too.
    """
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
            if (plain := plain_user(event.user)) != event.user:
                yield replace(event, user=plain)


def apply(id_map: IdMap, event: LifecycleEvent, garmin: Garmin | None = None) -> Outcome:
    """Change the map as an event says. Doing it again, or in another order, ends the same. Raises IdMapError.

    With `garmin`, a deregistration of a user whom Garmin still knows looks forged and is undone, which may be asked
    again: Garmin may not know it itself yet. Permissions that Garmin confirms are given. "unconfirmed" are permissions
    that it does not confirm, or not yet.
    """
    if event.permissions is not None:
        changed = id_map.narrow_permissions(event.user, event.permissions, event.at)
        if garmin is not None and (new := _new_permissions(id_map, event)):
            return "applied" if _are_confirmed(id_map, event, new, garmin) else "unconfirmed"
    else:
        # First the safe side: whoever may have left is not worked with while Garmin is being asked.
        changed = id_map.deregister(event.user, event.at)
        if garmin is not None:
            return _verify(id_map, event, garmin, "applied" if changed else "nothing new")
    return "applied" if changed else "nothing new"


def replay(id_map: IdMap, lines: Iterable[str], users: Collection[str] = ()) -> int:
    """Apply raw lifecycle lines once more, and return how many changed something. Raises IdMapError.

    After years most have been applied long ago, and the map is asked once for all of those instead of once for each.
    Of `users` whom the map does not know, what was announced until now is noted as on receipt: the receiver may have
    failed to, or they were forgotten since.
    """
    known = {one.garmin_user_id: one for one in id_map.list()}
    now, changed = datetime.now(UTC), 0
    for event in events(lines):
        if event.user in users and event.user not in known and event.received_at <= now:
            id_map.seen([event.user], event.received_at)
            if found := id_map.get(event.user):
                known[event.user] = found
        if event.user in known and _is_news(known[event.user], event):
            changed += apply(id_map, event) == "applied"
            known[event.user] = id_map.get(event.user) or known[event.user]
    return changed


def _is_news(known: Enrolment, event: LifecycleEvent) -> bool:
    """Return whether applying an event could change anything of a user."""
    at = text_of(event.at)
    if event.permissions is None:
        since = unless_ahead(known.status_at)
        return at > since if known.status == "deregistered" else at >= since
    if at <= unless_ahead(known.permissions_at):
        return False
    return known.permissions is None or without_withdrawn(known.permissions, event.permissions) != [*known.permissions]


def _new_permissions(id_map: IdMap, event: LifecycleEvent) -> set[str]:
    """Return what an event allows beyond what is known, unless Garmin was asked after it."""
    known = id_map.get(event.user)
    if known is None or known.permissions is None or text_of(event.at) <= known.permissions_at:
        return set()
    return {*allowed_of(event.permissions or ())}.difference(known.permissions)


def _are_confirmed(id_map: IdMap, event: LifecycleEvent, new: set[str], garmin: Garmin) -> bool:
    asked_at = _asked_at(event)
    answer = garmin.permissions(event.user)
    if answer is None or new.isdisjoint(answer):
        return False
    id_map.confirm_permissions(event.user, answer, asked_at)
    return True


def _asked_at(event: LifecycleEvent) -> datetime:
    """Return the present time, for which an answer holds: what happens while Garmin is asked still counts.

    It is later than the event in any case, so that a replay changes nothing.
    """
    return max(datetime.now(UTC), event.at + timedelta(milliseconds=1))


def _verify(id_map: IdMap, event: LifecycleEvent, garmin: Garmin, so_far: Outcome) -> Outcome:
    """Ask Garmin whether a user has left, and change the map if it says otherwise than the map."""
    known = id_map.get(event.user)
    asked_at = _asked_at(event)
    if known is None or (is_registered := garmin.is_registered(event.user)) is None:
        return so_far
    if not is_registered:
        return "applied" if id_map.deregister(event.user, asked_at) else so_far
    if not id_map.reinstate(event.user, asked_at):
        return so_far
    who = known.participant_id or "a user who is not enrolled"
    log.error("a deregistration of %s looks forged: Garmin still knows the user; check who has the webhook's URL", who)
    return "forged"


def _event(line: Any) -> LifecycleEvent | None:
    user, kind = line["userId"], line["_summary_type"]
    if not is_user(user):
        return None
    received_at = datetime.fromisoformat(line["_received_at"]).astimezone(UTC)
    if kind == "deregistrations":
        return LifecycleEvent(user, received_at, received_at)
    permissions = allowed_in(line["permissions"])
    if kind not in PERMISSION_TYPES or permissions is None:
        return None
    # Garmin's clock and ours may differ a little; a change from the future would shut out all later ones.
    at = min(_changed_at(line.get("changeTimeInSeconds")) or received_at, received_at)
    return LifecycleEvent(user, at, received_at, tuple(permissions))


def _changed_at(seconds: object) -> datetime | None:
    """None if it is no time: a permission that was withdrawn must count, whenever that was."""
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC)
    except (ValueError, OverflowError, OSError):
        return None
