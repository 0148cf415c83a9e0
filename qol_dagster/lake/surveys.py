"""The raw zone of questionnaires: `raw/surveys/date=D/<id>.jsonl`, one object for each saved page or form.

Belongs here: writing a sending once, and reading all of them. What a line means is `surveys/responses.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import map_concurrently
from qol_dagster.surveys.responses import Sending, read_line
from qol_ingest.shared.keys import SURVEYS


@dataclass(frozen=True)
class StoredSendings:
    """All sendings of the lake, and how many lines are none."""

    sendings: tuple[Sending, ...]
    unreadable: int


def write_sendings(lake: Lake, sendings: Iterable[Sending]) -> int:
    """Store each sending that is not there yet, and return how many were not; one that is there stays as it is."""
    known = set(lake.keys(SURVEYS))
    new = {key: one for one in sendings if (key := one.key) not in known}
    for one in new.values():
        lake.write_raw(one.date, one.id, one.line, zone=SURVEYS)
    return len(new)


def read_sendings(lake: Lake) -> StoredSendings:
    """Return every sending under `raw/surveys/`, in key order."""
    found, unreadable = [], 0
    names = {key: key.rpartition("/")[2] for key in lake.keys(SURVEYS)}
    keys = [key for key, name in names.items() if name.endswith(".jsonl") and name[0] not in "._"]
    for content in map_concurrently(lake.read_object, keys).values():
        # Not splitlines: text in JSON may hold other separators.
        for line in content.decode("utf-8", "replace").split("\n"):
            if line.strip():
                read = read_line(line)
                unreadable += read is None
                found += [read] if read else []
    return StoredSendings(tuple(found), unreadable)
