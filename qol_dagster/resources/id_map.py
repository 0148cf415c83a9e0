"""`user_id_map` as the weekly job and the command line see it; the map itself is the receiver's room's.

Belongs here: the map in the form the weekly job needs, and reading a CSV file of enrolments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Protocol

from qol_dagster.identities import Identities
from qol_dagster.spreadsheets import SPELLINGS, Row, decode, read_rows, read_time
from qol_dagster.weeks import receipt_date
from qol_ingest.shared import id_map as port
from qol_ingest.shared.id_map import CHANCE_LENGTH, Enrolment, IdMapError, LeftError, tells_user
from qol_ingest.shared.id_map_dynamo import DynamoIdMap
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.lifecycle import replay

__all__ = [
    "CHANCE_LENGTH",
    "AwsIdMap",
    "Enrolment",
    "IdMap",
    "IdMapError",
    "LeftError",
    "People",
    "read_csv",
    "tells_user",
]


COLUMNS = ("garmin_user_id", "participant_id", "enrolled_at")
"""Of a file of enrolments; the last may be missing."""


class People(port.IdMap, Protocol):
    """The map in whatever form, with what the weekly job asks of it besides."""

    def identities(self) -> Identities:
        """Return the map as the weekly job needs it.

        Who was never enrolled is nobody: such records count as unmapped.
        """
        everyone = [one for one in self.list() if one.participant_id and one.status != "erasing"]
        return identities_of(everyone)

    def replay(self, lines: Iterable[str], users: Collection[str] = ()) -> int:
        """Apply raw lifecycle lines that were not applied on arrival; return how many changed something.

        `users` count even if nobody knows them yet.
        """
        return replay(self, lines, users)


def identities_of(everyone: Iterable[Enrolment]) -> Identities:
    """Return who is who among enrolled users."""
    latest_first = sorted(everyone, key=lambda one: one.enrolled_at, reverse=True)
    return Identities(
        {one.garmin_user_id: one.participant_id for one in latest_first if one.may_be_used},
        frozenset(one.garmin_user_id for one in latest_first if not one.may_be_used),
        {one.participant_id: _date_in_japan(one.enrolled_at) for one in latest_first},
        {one.garmin_user_id: next(iter(one.withheld)) for one in latest_first if one.may_be_used and one.withheld},
        {
            one.participant_id: date.fromisoformat(one.withdrawn_from)
            for one in latest_first
            if one.status == "withdrawn" and one.withdrawn_from
        },
    )


class IdMap(SqliteIdMap, People):
    """The local map."""


class AwsIdMap(DynamoIdMap, People):
    """The map on AWS."""


def _date_in_japan(moment: str) -> date:
    return receipt_date(datetime.fromisoformat(moment))


def read_csv(file: Path) -> list[tuple[str, str, datetime | None]]:
    """Return (garmin_user_id, participant_id, enrolled_at) of a CSV file with these columns; the last may be missing.

    A date is its midnight in Japan. Raises IdMapError naming the column or the entry.
    """
    try:
        names, rows = read_rows(decode(file.read_bytes()))
    except UnicodeDecodeError as error:
        raise IdMapError(f"{file} is neither UTF-8 nor Shift JIS text; save it as CSV UTF-8") from error
    _check_columns(file, names)
    return [_enrolment(f"{file}: entry {number}", row) for number, row in enumerate(rows, start=1)]


def _check_columns(file: Path, names: Sequence[str]) -> None:
    missing = [name for name in COLUMNS[:2] if name not in names]
    if missing:
        raise IdMapError(f"{file} has no column {' and no column '.join(missing)} in its first line")
    if unknown := [name or "one without a name" for name in names if name not in COLUMNS]:
        raise IdMapError(f"{file} has columns that are not read: {', '.join(unknown)}. Leave {', '.join(COLUMNS)} only")
    if len({*names}) < len(names):
        raise IdMapError(f"{file} has a column twice")


def _enrolment(where: str, row: Row) -> tuple[str, str, datetime | None]:
    user, participant, enrolled = (row.values.get(name, "") for name in COLUMNS)
    if not user or not participant:
        raise IdMapError(f"{where} lacks a garmin_user_id or a participant_id")
    if any(row.beyond):
        raise IdMapError(f"{where} has more values than there are columns")
    try:
        return user, participant, read_time(enrolled, time()) if enrolled else None
    except ValueError:
        raise IdMapError(f"{where}: enrolled_at is a date or time like {SPELLINGS}") from None
