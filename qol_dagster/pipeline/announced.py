"""What Garmin announced of its users and was not applied on arrival: each weekly run applies it.

Belongs here: which raw lifecycle files a run has to read for that, so that it costs no more with every year of them.
What an event changes is `qol_ingest/shared/lifecycle.py`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from qol_dagster.lake.fingerprints import raw_fingerprint
from qol_dagster.lake.shared_object import SharedObject
from qol_ingest.shared.keys import ARRIVALS

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.resources.id_map import Enrolment, People

ANNOUNCED = f"{ARRIVALS}/announced"
"""With which map which files changed nothing. It names nobody."""


@dataclass(frozen=True)
class Applied:
    """The fingerprint of a map, and of the files of each date of receipt whose events change nothing in it."""

    people: str = ""
    days: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, content: bytes) -> Applied:
        """Return what was noted; nothing if that was never done, or cannot be read."""
        try:
            found = json.loads(content)
            return cls(str(found["people"]), {str(day): str(mark) for day, mark in found["days"].items()})
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()


def apply_announced(lake: Lake, people: People) -> int:
    """Apply what was announced; return how many events changed something.

    Raises LakeError, SharedObjectError or IdMapError.

    What events do depends on them and on the map. So while the map is as it was when they changed nothing, only files
    that came since are read; when it is not, since somebody was enrolled or has left, all are.
    """
    of_day = {day: [*found] for day, found in groupby(lake.lifecycle_objects(), lambda one: one.key.rpartition("/")[0])}
    marks = {day: raw_fingerprint(found) for day, found in of_day.items()}
    applied, now = Applied.of(SharedObject(lake.store, ANNOUNCED).read().content), _fingerprint(people.list())
    known = applied.days if applied.people == now else {}
    unread = [one for day, found in of_day.items() if known.get(day) != marks[day] for one in found]
    changed = people.replay(lake.lifecycle_lines(unread))
    if not changed and (applied.people, applied.days) != (now, marks):
        lake.replace_object(ANNOUNCED, json.dumps(asdict(Applied(now, marks))).encode())
    return changed


def _fingerprint(everyone: Iterable[Enrolment]) -> str:
    """Changes with all that is known of anybody, but for when the user last pushed."""
    known = sorted(str({**asdict(one), "seen_at": ""}) for one in everyone)
    return hashlib.sha256("\n".join(known).encode("utf-8", "surrogatepass")).hexdigest()
