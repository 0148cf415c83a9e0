"""Who has sent nothing for some days, as of now: seen on the next day, not in the next weekly run.

Belongs here: putting together what the receiver notes and what the tables know. Without Garmin's ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from qol_dagster.resources.connections import by_participant

if TYPE_CHECKING:
    from qol_dagster.resources.catalogue import Catalogue
    from qol_dagster.resources.id_map import Enrolment, People

COLUMNS = ("participant_id", "last_data_at", "days_silent")


@dataclass(frozen=True)
class Silence:
    """A participant's latest receipt (UTC; None if nothing ever came), and the whole days since then or enrolment."""

    participant_id: str
    last_data_at: datetime | None
    days_silent: int


class SilenceParts(Protocol):
    """Of a deployment, what knows when somebody sent something."""

    def id_map(self) -> People:
        """Who is enrolled, and when each user pushed last."""

    def catalogue(self) -> Catalogue:
        """The tables."""


def silences(parts: SilenceParts, now: datetime) -> list[Silence]:
    """Return everybody who should send data, the longest silence first.

    The receiver notes when a user pushes; files that came by other ways are known once their week was computed.
    """
    computed = parts.catalogue().query(
        "SELECT participant_id, max(last_synced_at) FROM db_qol.participant_status GROUP BY participant_id"
    )
    synced = dict(computed.rows)
    used = [one for one in parts.id_map().list() if one.status == "active" and one.may_be_used]
    found = [_silence(person, accounts, synced.get(person), now) for person, accounts in by_participant(used).items()]
    return sorted(found, key=lambda one: (-one.days_silent, one.participant_id))


def _silence(person: str, accounts: Iterable[Enrolment], synced: datetime | None, now: datetime) -> Silence:
    seen = [datetime.fromisoformat(one.seen_at) for one in accounts if one.seen_at]
    last = max([*seen, *([synced] if synced else [])], default=None)
    enrolled = min(datetime.fromisoformat(one.enrolled_at) for one in accounts)
    return Silence(person, last, max((now - (last or enrolled)).days, 0))
