"""`qol silent`: who has sent nothing for some days, as of now: seen on the next day, not in the next weekly run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from qol_dagster.resources.connections import by_participant
from qol_dagster.resources.platform import open_platform

if TYPE_CHECKING:
    from qol_dagster.resources.id_map import Enrolment
    from qol_dagster.settings import Settings

COLUMNS = ("participant_id", "last_data_at", "days_silent")


@dataclass(frozen=True)
class Silence:
    """A participant's latest receipt (UTC; None if nothing ever came), and the whole days since then or enrolment."""

    participant_id: str
    last_data_at: datetime | None
    days_silent: int


def silent_participants(settings: Settings, days: int, now: datetime) -> list[Silence]:
    """Return who should send data and has not for so many days, the longest silence first.

    The receiver notes when a user pushes; files that came by other ways are known once their week was computed.
    """
    platform = open_platform(settings)
    computed = platform.catalogue().query(
        "SELECT participant_id, max(last_synced_at) FROM db_qol.participant_status GROUP BY participant_id"
    )
    synced = dict(computed.rows)
    used = [one for one in platform.id_map().list() if one.status == "active" and one.may_be_used]
    found = [_silence(person, accounts, synced.get(person), now) for person, accounts in by_participant(used).items()]
    found = [one for one in found if one.days_silent >= days]
    return sorted(found, key=lambda one: (-one.days_silent, one.participant_id))


def _silence(person: str, accounts: Iterable[Enrolment], synced: datetime | None, now: datetime) -> Silence:
    seen = [datetime.fromisoformat(one.seen_at) for one in accounts if one.seen_at]
    last = max([*seen, *([synced] if synced else [])], default=None)
    enrolled = min(datetime.fromisoformat(one.enrolled_at) for one in accounts)
    return Silence(person, last, max((now - (last or enrolled)).days, 0))
