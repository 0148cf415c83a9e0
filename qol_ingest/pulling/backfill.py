"""Asking Garmin for old data: which pieces of time, how fast, and what was asked already.

Belongs here: cutting a range into requests, remembering what Garmin accepted, and patience. The data itself comes by
the webhook, later, like any other.

The memory of an account and a type is a list of objects, each written once and never changed, after Garmin said yes:

    raw/backfills/participant=<P>/account=<n>/<type>/<number>.json    {"since", "until", "outcome", "at"}

A participant may have several Garmin accounts. They are distinguished by their number in the order of enrolment:
nothing of a Garmin id may stand next to a participant id here.
"""

from __future__ import annotations

import itertools
import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from qol_ingest.garmin.api import GarminApi, GarminApiError
from qol_ingest.garmin.tokens import ConsentNeededError
from qol_ingest.shared.calendar import EPOCH, JST
from qol_ingest.shared.errors import QolInputError
from qol_ingest.shared.id_map import IdMap
from qol_ingest.shared.keys import BACKFILLS
from qol_ingest.shared.permissions import kind_is_permitted
from qol_ingest.shared.stores import Store

log = logging.getLogger(__name__)

DAY = timedelta(days=1)
HEALTH_DAYS, ACTIVITY_DAYS = 90, 30
"""Garmin's limits for one request."""
FIRST_DATE = date(2010, 1, 1)
"""No device of today's kind has older data; a date before it is a slip of the pen."""
HEALTH_TYPES = (
    *("dailies", "sleeps", "epochs", "stressDetails", "hrv", "userMetrics", "pulseox", "allDayRespiration"),
    *("bodyComps", "bloodPressures", "skinTemp", "healthSnapshot", "mct"),
)
ACTIVITY_TYPES = ("activities", "activityDetails", "moveIQActivities")
TYPES = (*HEALTH_TYPES, *ACTIVITY_TYPES)
"""What can be asked for, most wanted first."""
PATHS = {"pulseox": "pulseOx", "allDayRespiration": "respiration", "moveIQActivities": "moveiq"}
"""How Garmin spells a type in URLs, where that differs."""

SPACING_S = 1.0
"""Between two requests: partners report that Garmin takes 100 a minute, pushes and pulls of the day among them."""
PATIENCE_S = 30 * 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 15 * 60.0
"""Between tries when Garmin does not answer at all."""

NO_HISTORY = "old data is not allowed by the participant (HISTORICAL_DATA_EXPORT)"
NO_TYPE = "this type is not allowed by the participant"
NOT_GIVEN = "too old for Garmin, or not switched on for the programme"


class BackfillError(QolInputError):
    """A backfill cannot be asked for like this; the message says why and what to do."""


@dataclass(frozen=True)
class Piece:
    """What one request asks for: a type and local dates in Japan, both inclusive."""

    type: str
    since: date
    until: date

    @property
    def path(self) -> str:
        """The type as Garmin spells it in URLs."""
        return PATHS.get(self.type, self.type)

    @property
    def start_s(self) -> int:
        """Midnight at its beginning, UTC seconds."""
        return _midnight_s(self.since)

    @property
    def end_s(self) -> int:
        """Midnight at its end, UTC seconds; not part of it."""
        return _midnight_s(self.until + DAY)


@dataclass(frozen=True)
class Account:
    """A Garmin account of a participant: its user id, its number among the participant's, from 1, and what it permits.

    `permissions` is None as long as nothing is known of them.
    """

    user: str = field(repr=False)
    participant: str
    number: int = 1
    permissions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Refusal:
    """A type that an account does not get: from the date `until` back, `pieces` requests."""

    participant: str
    account: int
    type: str
    until: date
    reason: str
    pieces: int


@dataclass(frozen=True)
class Step:
    """One answer, or a wait, on the way through `total` requests; `piece` is being asked for."""

    done: int
    total: int
    account: Account
    piece: Piece
    what: str


@dataclass(frozen=True)
class Report:
    """What became of a backfill, in requests.

    asked     Garmin accepted them now
    already   Garmin had accepted them before, or we remember that it did
    refused   by account and type
    waiting   not asked yet, because Garmin wants to wait: ask for the same again, later
    """

    asked: int = 0
    already: int = 0
    refused: tuple[Refusal, ...] = ()
    waiting: int = 0
    why_waiting: str = ""

    @property
    def complete(self) -> bool:
        """Whether all was asked for that can be."""
        return self.waiting == 0


def plan(types: Iterable[str], since: date, until: date, today: date) -> list[Piece]:
    """Return the requests for some types (all, if none are named) and local dates, both inclusive; newest first.

    Pieces are cut where a grid says that depends on nothing else, so what is asked twice is asked in the same pieces.
    Raises BackfillError.
    """
    if since > until:
        raise BackfillError(f"since {since} is after until {until}; swap them")
    if until > today:
        raise BackfillError(f"until {until} is in the future; {today} is the last possible date")
    if since < FIRST_DATE:
        raise BackfillError(f"since {since} is before {FIRST_DATE}; Garmin has nothing that old")
    chosen = list(dict.fromkeys(map(read_type, types))) or list(TYPES)
    pieces = [piece for kind in chosen for piece in _cut(kind, since, until)]
    return sorted(pieces, key=lambda piece: piece.until, reverse=True)


def read_type(text: str) -> str:
    """Return a type from either of its spellings, upper or lower case. Raises BackfillError."""
    spellings = {name.lower(): kind for kind in TYPES for name in (kind, PATHS.get(kind, kind))}
    try:
        return spellings[text.strip().lower()]
    except KeyError:
        raise BackfillError(f"there is no type {text.strip()!r} to ask for; there are {', '.join(TYPES)}") from None


def accounts(id_map: IdMap, participant: str) -> list[Account]:
    """Return the Garmin accounts of a participant that are in use.

    Raises BackfillError if there are none, IdMapError.
    """
    known = [one for one in id_map.list() if participant and one.participant_id == participant]
    if not known:
        raise BackfillError(f"there is no participant {participant}; `qol participants list` shows who there is")
    # Later enrolments come behind, and nobody ever leaves the map: numbers stay.
    known.sort(key=lambda one: (one.enrolled_at, one.garmin_user_id))
    found = [
        Account(one.garmin_user_id, participant, number, one.permissions)
        for number, one in enumerate(known, 1)
        if one.status == "active"
    ]
    if not found:
        raise BackfillError(f"{participant} is {known[-1].status}; old data is asked for whom the programme has")
    return found


def run(
    api: GarminApi,
    store: Store,
    people: Sequence[Account],
    pieces: Iterable[Piece],
    *,
    again: bool = False,
    spacing_s: float = SPACING_S,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.time,
    chance: Callable[[], float] = random.random,
    on_progress: Callable[[Step], None] = lambda _step: None,
) -> Report:
    """Ask for the pieces, for each account, that are not remembered; killed at any moment, it may simply be run again.

    `again` asks for what is remembered too: Garmin gives old data a second time only where it forgot the first.
    Gives up when Garmin has taken nothing for `patience_s` seconds. `clock` is seconds since 1970. Raises StoreError,
    TokenStoreError.
    """
    return _Run(api, store, again, spacing_s, patience_s, sleep, clock, chance, on_progress).all(people, pieces)


class _GivenUpError(Exception):
    """Garmin's patience with us, and ours with Garmin, is at an end."""


@dataclass
class _Run:
    api: GarminApi
    store: Store
    again: bool
    spacing_s: float
    patience_s: float
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    chance: Callable[[], float]
    on_progress: Callable[[Step], None]
    asked: int = 0
    already: int = 0
    refused: dict[tuple[Account, str], Refusal] = field(default_factory=dict)
    notes: dict[tuple[Account, str], int] = field(default_factory=dict)
    waited_s: float = 0.0
    pauses: int = 0
    last_s: float = float("-inf")

    def all(self, people: Sequence[Account], pieces: Iterable[Piece]) -> Report:
        todo = self._todo(people, list(pieces))
        for number, (account, piece) in enumerate(todo):
            step = Step(number, len(todo), account, piece, "asking")
            try:
                what = self._one(step)
            except _GivenUpError as error:
                return self._report(len(todo) - number, str(error))
            self.on_progress(replace(step, done=number + 1, what=what))
        return self._report(0, "")

    def _report(self, waiting: int, why: str) -> Report:
        report = Report(self.asked, self.already, tuple(self.refused.values()), waiting, why)
        counts = (report.asked, report.already, sum(one.pieces for one in report.refused), report.waiting)
        log.info("backfill: %d asked, %d already, %d refused, %d waiting", *counts)
        return report

    def _todo(self, people: Sequence[Account], pieces: list[Piece]) -> list[tuple[Account, Piece]]:
        todo: list[tuple[Account, Piece]] = []
        for account in people:
            memory = {kind: _memory(self.store, account, kind) for kind in dict.fromkeys(one.type for one in pieces)}
            self.notes.update({(account, kind): len(known) for kind, known in memory.items()})
            for piece in pieces:
                left = list(without(piece, () if self.again else filter(None, memory[piece.type])))
                self.already += not left
                todo += [(account, one) for one in left]
        return sorted(todo, key=lambda one: one[1].until, reverse=True)

    def _one(self, step: Step) -> str:
        account, piece = step.account, step.piece
        refusal = self.refused.get((account, piece.type))
        if refusal is not None:
            self.refused[account, piece.type] = replace(refusal, pieces=refusal.pieces + 1)
            return "skipped"
        reason = self._ask(step) if kind_is_permitted(account.permissions, piece.type) else NO_TYPE
        if reason:
            number, kind = account.number, piece.type
            self.refused[account, kind] = Refusal(account.participant, number, kind, piece.until, reason, 1)
            return f"refused: {reason}"
        return "asked"

    def _ask(self, step: Step) -> str:
        """Ask until there is an answer; why Garmin says no, or "". Raises _GivenUpError."""
        account, piece = step.account, step.piece
        while True:
            self._keep_distance()
            try:
                answer = self.api.backfill(
                    step.account.user, step.piece.path, step.piece.start_s, self._end(step.piece)
                )
            except ConsentNeededError as error:
                return str(error)
            except GarminApiError as error:
                if not error.may_pass:
                    return f"{error}: {NOT_GIVEN}" if str(error).endswith(piece.path) else str(error)
                self._pause(step, error.retry_after_s or FIRST_PAUSE_S, str(error))
                continue
            if answer.outcome == "wait":
                self._pause(step, answer.wait_s, "Garmin wants fewer requests")
                continue
            self.waited_s, self.pauses = 0.0, 0
            if answer.outcome in ("forbidden", "off"):
                return NO_HISTORY if answer.outcome == "forbidden" else NO_TYPE
            self._remember(account, piece, answer.outcome)
            self.asked += answer.outcome == "accepted"
            self.already += answer.outcome == "already"
            return ""

    def _end(self, piece: Piece) -> int:
        # What has not happened yet is not asked for.
        return max(piece.start_s + 1, min(piece.end_s, int(self.clock())))

    def _keep_distance(self) -> None:
        ahead_s = self.last_s + self.spacing_s - self.clock()
        if 0 < ahead_s <= self.spacing_s:  # anything else is a clock that was set
            self.sleep(ahead_s)
        self.last_s = self.clock()

    def _pause(self, step: Step, asked_s: float, why: str) -> None:
        """Wait as long as Garmin asked for, and longer each time in a row, with jitter. Raises _GivenUpError."""
        pause_s = max(asked_s, min(LONGEST_PAUSE_S, asked_s * 2**self.pauses * (1 + self.chance() / 4)))
        if self.waited_s + pause_s > self.patience_s:
            raise _GivenUpError(why)
        self.pauses += 1
        self.waited_s += pause_s
        self.on_progress(replace(step, what=f"waiting {pause_s:.0f} s: {why}"))
        self.sleep(pause_s)

    def _remember(self, account: Account, piece: Piece, outcome: str) -> None:
        at = datetime.fromtimestamp(self.clock(), UTC).isoformat()
        content = {"since": piece.since.isoformat(), "until": piece.until.isoformat(), "outcome": outcome, "at": at}
        for number in itertools.count(self.notes[account, piece.type] + 1):
            if self.store.put_new(_key(account, piece.type, number), json.dumps(content).encode()):
                self.notes[account, piece.type] = number
                return


def without(piece: Piece, asked: Iterable[tuple[date, date]]) -> Iterator[Piece]:
    """Yield what of a piece is left without some ranges of dates, both inclusive; newest first."""
    until = piece.until
    for first, last in sorted(asked, key=lambda one: one[1], reverse=True):
        if last < piece.since or first > until:
            continue
        if last < until:
            yield replace(piece, since=last + DAY, until=until)
        until = first - DAY
        if until < piece.since:
            return
    yield replace(piece, until=until)


def _cut(kind: str, since: date, until: date) -> Iterator[Piece]:
    days = ACTIVITY_DAYS if kind in ACTIVITY_TYPES else HEALTH_DAYS
    for cell in range(since.toordinal() // days, until.toordinal() // days + 1):
        first, last = (date.fromordinal(cell * days), date.fromordinal((cell + 1) * days - 1))
        yield Piece(kind, max(since, first), min(until, last))


def _midnight_s(day: date) -> int:
    offset = JST.utcoffset(None)
    return int(((day - EPOCH) - offset).total_seconds())


# -- memory


def _key(account: Account, kind: str, number: int) -> str:
    return f"{BACKFILLS}/participant={account.participant}/account={account.number}/{kind}/{number:04d}.json"


def _memory(store: Store, account: Account, kind: str) -> list[tuple[date, date] | None]:
    """Return the ranges of dates that Garmin accepted, both inclusive; None for a note that is none.

    Raises StoreError.
    """
    ranges: list[tuple[date, date] | None] = []
    while (note := store.get(_key(account, kind, len(ranges) + 1))) is not None:
        try:
            found = json.loads(note)
            ranges.append((date.fromisoformat(found["since"]), date.fromisoformat(found["until"])))
        except (ValueError, TypeError, KeyError):
            log.warning("a note of an earlier backfill cannot be read; what it names is asked for again")
            ranges.append(None)
    return ranges
