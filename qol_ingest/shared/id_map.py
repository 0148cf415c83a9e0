"""`user_id_map`: who is enrolled. The only place where a Garmin user id and a participant id stand side by side.

Belongs here: what a map does, and the rules of enrolling, revoking and of what Garmin announces. How each change is
stored belongs in `id_map_sqlite` and `id_map_dynamo`.

A user whom nobody has enrolled is `pending`: known to push, and nothing else. Only staff or the user's own consent
make a pending user a participant; no data is ever linked to a guess.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal, Protocol

from qol_ingest.shared.calendar import receipt_date
from qol_ingest.shared.erasures import AnyLedger
from qol_ingest.shared.errors import QolInputError
from qol_ingest.shared.permissions import kind_is_permitted, withheld_of

list_ = list  # the maps have a method of that name
Status = Literal["pending", "active", "revoked", "deregistered", "withdrawn", "erasing"]
"""`withdrawn`: what is there is used on, and nothing is added. `erasing`: as if there were no such user."""

_PARTICIPANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_AUTOMATIC = re.compile(r"P([0-9]+)")
_PERMISSION = re.compile(r"[A-Za-z_]{1,40}")
CHANCE_LENGTH = 6
"""Shorter ids (Garmin's have 32 characters) may be part of other text by chance."""
LONGEST_USER = 256
MOST_PENDING = 1000
"""Users who were never enrolled: whoever has the webhook's URL can make them up."""
TOO_MANY_PENDING = (
    f"{MOST_PENDING} Garmin users are pending and no more are noted; look at `qol participants pending`, forget those "
    "who are nobody, and change the webhook's secret if somebody makes them up"
)
NOTHING_TO_WITHDRAW = "{} is revoked or being erased: nothing is computed already"
SEEN_STEP = timedelta(hours=1)
"""How much later a push has to be than the last one that was noted of its user: devices push many times an hour."""

MOST_LINES = 1000
"""Of a user's history; announcements of that user make it grow, and they may be forged."""

Row = tuple[str, str] | tuple[str, str, datetime | None]
"""An enrolment to import: Garmin user id, participant id, and when it was made, if that is known."""


LEFT_AT_GARMIN: frozenset[Status] = frozenset({"deregistered"})
LEFT: frozenset[Status] = LEFT_AT_GARMIN | {"revoked", "withdrawn"}
"""Whom a list does not take back in; whoever adds a single person who was revoked, or withdrew, has decided so."""
_HOW_LEFT = {"deregistered": "left at Garmin", "revoked": "was revoked", "withdrawn": "withdrew"}


class IdMapError(QolInputError):
    """An enrolment cannot be made or changed; the message says why and what to do."""


class LeftError(IdMapError):
    """Somebody has left since the last consent that is known, and is not enrolled again by this."""


@dataclass(frozen=True)
class Imported:
    """What became of a list: how many rows are enrolled, and which are not since the person has left, as messages."""

    enrolled: int
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enrolment:
    """One row of the map. Times are ISO 8601, UTC.

    `permissions` is None as long as Garmin has said nothing of them; `permissions_at` is when Garmin was last asked,
    or "". `seen_at` is when the user last pushed, as far as `IdMap.seen` was told, or "". Of who withdrew,
    `withdrawn_from` is the first date of which nothing is computed (ISO 8601). `status_at` is since when the status is
    known to hold.
    """

    garmin_user_id: str = field(repr=False)
    participant_id: str
    status: Status
    updated_at: str
    enrolled_at: str = ""
    permissions: tuple[str, ...] | None = None
    permissions_at: str = ""
    created_at: str = ""
    seen_at: str = ""
    status_before: str = ""
    withdrawn_from: str = ""
    status_at: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether the user pushes and was never enrolled. Who has left at Garmin does not, until more is pushed."""
        pushes = self.status == "pending" or (self.status in LEFT_AT_GARMIN and self.seen_at > self.status_at)
        return not self.participant_id and pushes

    @property
    def may_be_used(self) -> bool:
        """Whether any of the user's data may be worked with now."""
        return self.status in ("active", "withdrawn") and len(self.withheld) < 2

    @property
    def withheld(self) -> frozenset[str]:
        """Which of the permissions for health data and activities the user does not give."""
        return withheld_of(self.permissions)

    def permits(self, kind: str) -> bool:
        """Return whether the user's data of a type, by Garmin's name, may be asked for now."""
        return self.status == "active" and kind_is_permitted(self.permissions, kind)


@dataclass(frozen=True)
class Change:
    """One line of a user's history, without Garmin's id."""

    at: str
    what: str


class IdMap(Protocol):
    """The map. Every change is one transaction or conditional write. Raises IdMapError."""

    def add(
        self,
        garmin_user_id: str,
        participant_id: str | None = None,
        *,
        at: datetime | None = None,
        after_leaving: bool = False,
    ) -> str:
        """Enrol a user, or take one back in, and give the participant id (the next free one by default).

        `at` is as of when, by default now; of an active user, the earlier time stays. Doing it twice changes nothing.
        Several Garmin accounts may belong to one participant. Raises LeftError for who has left at Garmin, unless
        there is a consent `after_leaving`.
        """

    def enrol(self, users: Iterable[str], *, at: datetime | None = None) -> int:
        """Enrol many users as of `at` under the next free participant ids, all or none; return their number.

        Also who has left: it is for simulated people, whose departure is announced after `at`.
        """

    def import_rows(self, rows: Iterable[Row], *, after_leaving: bool = False) -> Imported:
        """Enrol many, all or none, but for who has left: without a consent `after_leaving` they stay as they are."""

    def forget(self, garmin_user_id: str) -> bool:
        """Remove a user and the history; False if there is none. Who pushes again is pending again."""

    def revoke(self, participant_id: str) -> int:
        """Stop using the data of a participant from the next run on; return the number of accounts concerned."""

    def withdraw(self, participant_id: str, since: date) -> int:
        """Add nothing of a participant any more, and compute nothing of `since` and later; return the accounts."""

    def begin_erasure(self, users: Iterable[str]) -> None:
        """Have the map answer as if there were no such users, until they are erased."""

    def end_erasure(self, users: Iterable[str], participants: Iterable[str]) -> None:
        """Remove users with all that is noted of them, and these participant ids."""

    def list(self) -> list_[Enrolment]:
        """Return all users by participant id, pending ones first."""

    def get(self, garmin_user_id: str) -> Enrolment | None:
        """Return one user; None for one of whom nothing is known."""

    def seen(self, users: Iterable[str], at: datetime) -> int:
        """Note users that pushed, `SEEN_STEP` after the last time at least: unknown ones become pending.

        Returns how many those are.

        Raises IdMapError if there are MOST_PENDING already, after noting those that still fit.
        """

    def deregister(self, garmin_user_id: str, at: datetime) -> bool:
        """Note that a user has left at Garmin. False if nothing changes: unknown, or enrolled again since then."""

    def reinstate(self, garmin_user_id: str, at: datetime) -> bool:
        """Take a deregistration back that was none, as was found out at `at`. False if nothing changes."""

    def narrow_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """Withdraw every permission of a known user that is not among those announced for `at`; none is ever added.

        Announcements may come in any order. False if nothing changes, or Garmin was asked after `at`.
        """

    def confirm_permissions(self, garmin_user_id: str, permissions: Sequence[str], at: datetime) -> bool:
        """Replace a known user's permissions by what Garmin answered when it was asked at `at`.

        False if nothing changes, or Garmin was asked later.
        """

    def history(self, participant_id: str) -> Sequence[Change]:
        """Return what became of a participant's accounts, first to last."""


def is_user(value: object) -> bool:
    """Return whether a value can be a Garmin user id: some text that every database takes as it is."""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_USER:
        return False
    return value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value)


def check_user(user: str) -> str:
    """Return a Garmin user id as staff typed it, without spaces around it. Raises IdMapError if it cannot be one."""
    user = user.strip()
    if not user:
        raise IdMapError("a Garmin user id is needed, and this one is empty")
    if not is_user(user):
        raise IdMapError(f"this cannot be a Garmin user id: it is longer than {LONGEST_USER} characters, or no text")
    return user


def check_participant(participant: str, user: str) -> None:
    """Raise IdMapError if a participant id cannot be one, or gives the Garmin user id away."""
    if not _PARTICIPANT.fullmatch(participant):
        raise IdMapError(
            f"{participant!r} cannot be a participant id: letters, digits, - and _, at most 64, are allowed"
        )
    if tells_user(participant, user):
        raise IdMapError("a participant id must not hold the Garmin user id; choose another")


def check_swapped(*, user_is_participant: bool, participant_is_user: bool, user: str) -> None:
    """Raise IdMapError if what was given as one kind of id is known as the other."""
    if user_is_participant or _AUTOMATIC.fullmatch(user):
        raise IdMapError("this is a participant id and no Garmin user id; give Garmin's userId first")
    if participant_is_user:
        raise IdMapError("the participant id given is a Garmin user id; choose another")


def check_stays(status: Status, since: str, left: Collection[Status], participant: str) -> None:
    """Raise LeftError if a status, which holds `since` (ISO 8601, or ""), is among those of people who have left."""
    if status in left:
        on = f" on {receipt_date(datetime.fromisoformat(since))}" if since else ""
        raise LeftError(f"{participant or 'this Garmin user'} {_HOW_LEFT[status]}{on}")


def past_text(moment: datetime | None) -> str:
    """Return a time as the map keeps it, "" for none. Raises IdMapError for one in the future."""
    if moment is not None and moment > datetime.now(UTC):
        raise IdMapError(f"the date of enrolment {moment.date()} is in the future")
    return "" if moment is None else text_of(moment)


def masked(garmin_user_id: str) -> str:
    """Return enough of a Garmin user id for staff to recognise it, and too little to be it."""
    return f"{garmin_user_id[:4]}...{garmin_user_id[-4:]}" if len(garmin_user_id) >= 16 else "..."


def tells_user(text: str, garmin_user_id: str) -> bool:
    """Return whether a text reveals a Garmin user id: it is the id, or holds one that is too long for chance."""
    text, user = text.lower(), garmin_user_id.lower()
    return text == user or (len(user) >= CHANCE_LENGTH and user in text)


def readmit(ledger: AnyLedger, user: str, participant: str) -> None:
    """Note in the ledger that who withdrew is back. Raises IdMapError for who was erased, unless staff decided so.

    The ledger comes first: enrolled and still refused, a person's records would be lost.
    """
    of_user, of_participant = ledger.state_of_user(user), ledger.state_of_participant(participant)
    is_new_decision = "readmitted" in (of_user, of_participant)
    if "begun" in (of_user, of_participant):
        raise IdMapError("an erasure of this person is under way; give `qol participants erase` again to end it")
    if "finished" in (of_user, of_participant) and not is_new_decision:
        raise IdMapError(
            "this person, or who had this participant id, was erased. With a new consent, enrol with "
            "`qol participants add ... --after-erasure`, or invite with `qol participants invite ... --after-erasure`"
        )
    if of_user in ("withdrawn", "finished") or of_participant in ("withdrawn", "finished"):
        ledger.append("readmitted", [user], [participant])


def free_ids(taken: Iterable[str]) -> Iterator[str]:
    """Yield P0001 and so on, from behind the last one that is taken."""
    found = map(_AUTOMATIC.fullmatch, taken)
    for number in itertools.count(max((int(one[1]) for one in found if one), default=0) + 1):
        yield f"P{number:04d}"


def allowed_of(permissions: Iterable[str]) -> list[str]:
    """Return Garmin's names for what is allowed, each once, in order. Text that is no such name is left out."""
    return sorted({one for one in permissions if _PERMISSION.fullmatch(one)})


def permissions_line(allowed: Sequence[str]) -> str:
    """Return what the history says of a change."""
    return f"permissions: {', '.join(allowed) or 'nothing'}"


def without_withdrawn(known: Iterable[str] | None, announced: Iterable[str]) -> list[str]:
    """Return what of the known permissions (None: nothing is known) an announced change leaves."""
    allowed = allowed_of(announced)
    return allowed if known is None else sorted(set(known).intersection(allowed))


def unless_ahead(noted: str) -> str:
    """Return a time that the map has noted, or "" if it is more than a day ahead.

    The clock was wrong then, and nobody's departure may wait until it is right.
    """
    return noted if noted <= text_of(datetime.now(UTC) + timedelta(days=1)) else ""


def text_of(moment: datetime) -> str:
    """Return a time as the map keeps it: ISO 8601, UTC, in milliseconds, so that it sorts."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
