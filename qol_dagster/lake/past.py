"""Past states by what people call them: a time, the name of a freeze, or `now`.

Belongs here: which state is meant. What was stored then is `history.py`'s and `freeze.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING

from qol_dagster.errors import QolInputError
from qol_dagster.lake.freeze import NAME, Freeze, read_freeze
from qol_dagster.lake.history import State, states_at, states_now
from qol_ingest.shared.calendar import JST_S

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.metrics.tables import TableId

JAPAN = timezone(timedelta(seconds=JST_S))


class MomentError(QolInputError):
    """Neither a time nor a freeze."""


@dataclass(frozen=True)
class Moment:
    """A state of all tables of a lake: that of a freeze, of a time, or that of now if it has neither."""

    lake: Lake
    at: datetime | None = None
    freeze: Freeze | None = None

    def covers(self, day: date) -> bool:
        """Return whether something is said of a date: a freeze of some weeks says nothing of others."""
        return self.freeze is None or self.freeze.covers(day)

    def states(self, table: TableId) -> Mapping[date, State]:
        """Return what each partition of a table held, in the order of dates. Raises HistoryError."""
        if self.freeze:
            return self.freeze.states(table)
        lake = self.lake.with_tables(table.profile.folder)
        return states_at(lake, table.table, self.at) if self.at else states_now(lake, table.table)


def parse_moment(lake: Lake, text: str) -> Moment:
    """Return the state that is meant by a time, a freeze or `now`. Raises MomentError or FreezeError.

    A time without a zone is UTC, as all times that are shown; a date is its end in Japan.
    """
    text = text.strip()
    if text == "now":
        return Moment(lake)
    if NAME.fullmatch(text):
        return Moment(lake, freeze=read_freeze(lake, text))
    return Moment(lake, at=_time(text))


def _time(text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return datetime.combine(day, time.max, JAPAN).astimezone(UTC)
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise MomentError(
            f"{text!r} is neither a freeze nor a time such as 2026-11-25, '2026-11-25 00:05' (UTC) or "
            "2026-11-25T09:05+09:00"
        ) from None
