"""`user_id_map` as the weekly job and the command line see it; the map itself is the receiver's room's.

Belongs here: the map in the form the weekly job needs, and reading a CSV file of enrolments.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from qol_dagster.identities import Identities
from qol_dagster.weeks import receipt_date
from qol_ingest.shared import id_map as port
from qol_ingest.shared.id_map import CHANCE_LENGTH, Enrolment, IdMapError, SqliteIdMap, tells_user
from qol_ingest.shared.id_map_dynamo import DynamoIdMap
from qol_ingest.shared.lifecycle import apply, events

__all__ = ["CHANCE_LENGTH", "AwsIdMap", "Enrolment", "IdMap", "IdMapError", "People", "read_csv", "tells_user"]


class People(port.IdMap, Protocol):
    """The map in whatever form, with what the weekly job asks of it besides."""

    def identities(self) -> Identities:
        """Return the map as the weekly job needs it.

        Who was never enrolled is nobody: such records count as unmapped.
        """
        everyone = [one for one in self.list() if one.participant_id]
        latest_first = sorted(everyone, key=lambda one: one.enrolled_at, reverse=True)
        return Identities(
            {one.garmin_user_id: one.participant_id for one in everyone if one.may_be_used},
            frozenset(one.garmin_user_id for one in everyone if not one.may_be_used),
            {one.participant_id: _date_in_japan(one.enrolled_at) for one in latest_first},
        )

    def replay(self, lines: Iterable[str]) -> int:
        """Apply raw lifecycle lines that were not applied on arrival; return how many changed something."""
        return sum(apply(self, event) == "applied" for event in events(lines))


class IdMap(SqliteIdMap, People):
    """The local map."""


class AwsIdMap(DynamoIdMap, People):
    """The map on AWS."""


def _date_in_japan(moment: str) -> date:
    return receipt_date(datetime.fromisoformat(moment))


def read_csv(file: Path) -> list[tuple[str, str]]:
    """(garmin_user_id, participant_id) of a CSV file with these two columns. Raises IdMapError naming the line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, skipinitialspace=True)
            missing = [name for name in ("garmin_user_id", "participant_id") if name not in (reader.fieldnames or ())]
            if missing:
                raise IdMapError(f"{file} has no column {' and no column '.join(missing)} in its first line")
            found = [(line["garmin_user_id"] or "", line["participant_id"] or "") for line in reader]
    except UnicodeDecodeError as error:
        raise IdMapError(f"{file} is not UTF-8 text; save it as CSV UTF-8") from error
    for number, (user, participant) in enumerate(found, start=1):
        if not user.strip() or not participant.strip():
            raise IdMapError(f"{file}: entry {number} lacks a garmin_user_id or a participant_id")
    return found
