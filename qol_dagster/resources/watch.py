"""What somebody should look at though no run has failed: no data, a missing week, fewer valid days, silence.

Belongs here: gathering the facts, and when each condition holds and how badly, as a pure function. What is said of it
belongs in `defs/watch.py`. Nothing here names a person.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import fmean
from typing import TYPE_CHECKING, Literal, Protocol

from qol_dagster.resources.invitations import InvitationParts, forms_to_invite
from qol_dagster.resources.silence import SilenceParts, silences
from qol_dagster.weeks import WEEKLY_DEADLINE, WEEKLY_RUN_TIME, last_due_week, weekly_run_of, weeks_left_out
from qol_ingest.shared.calendar import EPOCH

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.settings import Settings

ConditionName = Literal[
    "no_data",
    "week_missing",
    "weeks_left_out",
    "fewer_valid_days",
    "silent",
    "to_invite",
    "ticks_fail",
    "disk_full",
]

QUIET_H = 24
"""After so many hours without anything from anybody, something is wrong."""
SILENT_DAYS = 7
"""After so many days without data of a participant, study staff should call."""
WEEK_LATE = datetime.combine(EPOCH, WEEKLY_DEADLINE) - datetime.combine(EPOCH, WEEKLY_RUN_TIME)
"""How long after the weekly run was due its week must be there."""
DROP = 0.2
"""So much less of the days being valid than in the weeks before is a drop."""
WEEKS_BEFORE = 4
LEAST_PERSONS = 5
"""Of fewer participants, one who is on holiday would be a drop."""
LEAST_FREE_GB = 2.0
NAMED = 5
"""So many weeks are named at most."""

_VALID_SHARE = f"""
    SELECT date, avg(n_valid_days / 7.0), count(*) FROM db_qol.participant_status
    WHERE status NOT IN ('revoked', 'not_enrolled') GROUP BY date ORDER BY date DESC LIMIT {WEEKS_BEFORE + 1}
"""


class WatchParts(SilenceParts, InvitationParts, Protocol):
    """Of a deployment, what is watched."""

    @property
    def settings(self) -> Settings:
        """Where working files are."""

    def lake(self) -> Lake:
        """The stored data."""


@dataclass(frozen=True)
class Facts:
    """What is known at a time.

    `last_data_at`: when anybody's last record was received. `valid_share`: the mean share of valid days, and of how
    many participants, by week. `left_out`: weeks with raw files that are not computed, between others. `to_invite`:
    forms that may be answered and never had a link. `failing`: sensors and schedules that fail again and again.
    """

    now: datetime
    participants: int = 0
    silent: int = 0
    to_invite: int = 0
    last_data_at: datetime | None = None
    first_raw_date: date | None = None
    newest_week: date | None = None
    left_out: tuple[date, ...] = ()
    valid_share: Mapping[date, tuple[float, int]] = field(default_factory=dict)
    failing: tuple[str, ...] = ()
    free_gb: float = float("inf")


@dataclass(frozen=True)
class Condition:
    """Something that holds: how badly (from 1 on; more is worse), and the values that its text names."""

    name: ConditionName
    level: int
    values: Mapping[str, str]


def gather_facts(parts: WatchParts, now: datetime, failing: tuple[str, ...] = ()) -> Facts:
    """Read what is known of a deployment; a few listings and three small queries."""
    lake, everyone = parts.lake(), silences(parts, now)
    days, weeks = lake.raw_days(), lake.table_dates("weekly")
    shares = parts.catalogue().query(_VALID_SHARE).rows
    home = parts.settings.home
    return Facts(
        now=now,
        participants=len(everyone),
        silent=sum(one.days_silent >= SILENT_DAYS for one in everyone),
        to_invite=forms_to_invite(parts, now),
        last_data_at=max((one.last_data_at for one in everyone if one.last_data_at), default=None),
        first_raw_date=days[0] if days else None,
        newest_week=weeks[-1] if weeks else None,
        left_out=tuple(weeks_left_out(days, weeks)),
        valid_share={date.fromisoformat(str(week)): (float(share), int(n)) for week, share, n in shares},
        failing=failing,
        free_gb=shutil.disk_usage(home).free / 1e9 if home.is_dir() else float("inf"),
    )


def conditions(facts: Facts) -> Iterator[Condition]:
    """Yield what holds, each with a level that grows when it gets worse."""
    yield from _no_data(facts)
    yield from _week_missing(facts)
    if facts.left_out:
        weeks = ", ".join(map(str, facts.left_out[:NAMED]))
        yield Condition("weeks_left_out", len(facts.left_out), {"n": str(len(facts.left_out)), "weeks": weeks})
    yield from _fewer_valid_days(facts)
    if facts.silent:
        yield Condition("silent", facts.silent, {"n": str(facts.silent), "days": str(SILENT_DAYS)})
    if facts.to_invite:
        yield Condition("to_invite", facts.to_invite, {"n": str(facts.to_invite)})
    if facts.failing:
        yield Condition("ticks_fail", len(facts.failing), {"names": ", ".join(facts.failing)})
    if facts.free_gb < LEAST_FREE_GB:
        yield Condition("disk_full", 1, {"free_gb": f"{facts.free_gb:.1f}"})


def _no_data(facts: Facts) -> Iterator[Condition]:
    """Say it after one day, two, four, eight ..."""
    if facts.participants == 0 or facts.last_data_at is None:
        return
    hours = int((facts.now - facts.last_data_at).total_seconds() // 3600)
    if hours >= QUIET_H:
        yield Condition("no_data", (hours // QUIET_H).bit_length(), {"hours": str(hours)})


def _week_missing(facts: Facts) -> Iterator[Condition]:
    due = last_due_week(facts.now - WEEK_LATE)
    if facts.first_raw_date is None or facts.first_raw_date >= due + timedelta(weeks=1):
        return
    oldest = (facts.newest_week or due - timedelta(weeks=1)) + timedelta(weeks=1)
    if oldest <= due:
        since = weekly_run_of(oldest) + WEEK_LATE
        behind = (facts.now - since) // timedelta(weeks=1) + 1
        yield Condition("week_missing", behind, {"week": due.isoformat()})


def _fewer_valid_days(facts: Facts) -> Iterator[Condition]:
    weeks = sorted(facts.valid_share, reverse=True)
    newest, before = facts.newest_week, weeks[1:]
    if newest is None or not before or newest != weeks[0]:
        return
    now, persons = facts.valid_share[newest]
    usual = fmean(facts.valid_share[week][0] for week in before)
    if persons >= LEAST_PERSONS and usual - now > DROP:
        values = {"now": f"{now:.0%}", "usual": f"{usual:.0%}", "week": newest.isoformat()}
        yield Condition("fewer_valid_days", int((usual - now) / DROP), values)
