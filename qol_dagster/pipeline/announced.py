"""What Garmin announced of its users and was not applied on arrival: each weekly run applies it.

Belongs here: which raw lifecycle files a run has to read for that, so that it costs no more with every year of them.
What an event changes is `qol_ingest/shared/lifecycle.py`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

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
    files = lake.lifecycle_files()
    marks, of_day = _by_day(files)
    applied, now = Applied.of(SharedObject(lake.store, ANNOUNCED).read().content), _fingerprint(people.list())
    known = applied.days if applied.people == now else {}
    unread = [key for day, keys in of_day.items() if known.get(day) != marks[day] for key in keys]
    changed = people.replay(lake.lifecycle_lines(unread))
    if not changed and (applied.people, applied.days) != (now, marks):
        lake.replace_object(ANNOUNCED, json.dumps(asdict(Applied(now, marks))).encode())
    return changed


def _by_day(files: Mapping[str, int]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return a fingerprint of each date's files, and their keys."""
    of_day = defaultdict(list)
    for key in sorted(files):
        of_day[key.rpartition("/")[0]].append(key)
    return {day: _digest(f"{key} {files[key]}" for key in keys) for day, keys in of_day.items()}, of_day


def _fingerprint(everyone: Iterable[Enrolment]) -> str:
    """Changes with all that is known of anybody, but for when the user last pushed."""
    return _digest(sorted(str({**asdict(one), "seen_at": ""}) for one in everyone))


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
