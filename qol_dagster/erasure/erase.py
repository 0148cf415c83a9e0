"""Erasing a person: the order, the rounds until a search finds nothing, and the report.

Belongs here: who is meant, what is held meanwhile, and what is reported. What is in which place is `places.py`'s; a
home on one machine and a deployment on AWS are two forms of a `Place`, in `home.py` and `account.py`.

The order. First the ledger, so that nothing more of the person is stored; then the id map answers as if there were no
such person, and whoever read either before is waited for; then backups are made anew, and everything is cleared under
the lake's lock, again until the search finds nothing; the id map forgets the person last. Killed at any moment, the
same command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from qol_dagster.engines import open_engine
from qol_dagster.erasure import ErasureError, UnknownPersonError
from qol_dagster.erasure.fingerprints import Fingerprints
from qol_dagster.erasure.home import Home
from qol_dagster.erasure.names import Person
from qol_dagster.erasure.places import TMP, Clearing
from qol_dagster.erasure.search import Searched
from qol_dagster.errors import QolError
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.resources.garmin_cloud import Garmin
from qol_dagster.resources.id_map import People, identities_of
from qol_ingest.shared import keys
from qol_ingest.shared.erasures import AnyLedger, Entry, users_named
from qol_ingest.shared.errors import reason
from qol_ingest.shared.id_map import Enrolment, is_user

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.settings import Settings

RAW_ZONES = (keys.RAW, keys.LIFECYCLE, keys.PINGS, keys.QUARANTINE)
ROUNDS = 5
"""How often the home is cleared: what came while it was is found by the search, and goes in the next round."""
Log = Callable[[str], object]


class Place(Protocol):
    """What a person is erased from: everything of a deployment. `advice`: what to do when it stopped."""

    advice: str

    @property
    def settings(self) -> Settings:
        """The settings it was opened with."""

    def check(self) -> None:
        """Raise ErasureError if something is missing without which not everything could go."""

    def ledger(self) -> AnyLedger:
        """Return the ledger."""

    def people(self) -> People:
        """Return the id map."""

    def lake(self) -> Lake:
        """Return the lake."""

    def alone(self) -> AbstractContextManager[None]:
        """Hold off other erasures."""

    def wait(self, begun: Entry, clearing: Clearing, log: Log) -> None:
        """Wait until nobody writes who read ledger, id map or a link to a form before the erasure began."""

    def clear_copies(self, person: Person, log: Log) -> dict[str, str]:
        """Take the person out of backups; return what could not be, and why."""

    def clear_sides(self, clearing: Clearing) -> None:
        """Clear what there is beside the lake's newest state and QOL_HOME."""

    def search(self, person: Person) -> Searched:
        """Look through everything but the id map for the person."""

    def left_in_id_map(self, person: Person) -> dict[str, str]:
        """Return where the id map names the person, and why."""

    def stays(self, now: datetime) -> Mapping[str, str]:
        """Return what no command removes, and until when."""

    def write_report(self, name: str, content: bytes) -> str:
        """Store a signed report, and return where it is."""


@dataclass(frozen=True)
class ErasureReport:
    """What came of an erasure. It names nobody.

    `counts` by place; `left`: what still names the person, and why; `stays`: what goes by itself, and until when.
    """

    erasure: str
    begun_at: str
    ended_at: str
    is_complete: bool
    people: tuple[str, ...]
    counts: dict[str, int]
    files_rewritten: int
    bytes_written: int
    files_searched: int
    bytes_searched: int
    left: dict[str, str] = field(default_factory=dict)
    stays: dict[str, str] = field(default_factory=dict)


def count_person(settings: Settings, name: str) -> dict[str, int]:
    """Count how much of a person is in each place, and change nothing. Raises UnknownPersonError."""
    place = _place(settings)
    person, _ = _find(place, name)
    clearing = _clearing(place, person, [])
    _clear(place, clearing)
    counts = _counts(clearing)
    accounts = [one for one in place.people().list() if one.garmin_user_id in person.users]
    counts |= {"id map": len(accounts)} if accounts else {}
    if not counts.keys() - {TMP}:
        raise UnknownPersonError("there is nobody of that id, and nothing stored that names it")
    return counts


def erase(settings: Settings, name: str, *, log: Log = lambda _text: None) -> ErasureReport:
    """Erase the person with a participant id, or the user with a Garmin user id, from everything of a deployment.

    Given again, it goes on where it stopped. What is left is in the report; then the erasure is not complete.
    Raises UnknownPersonError, and ErasureError if it could not go on.
    """
    place = _place(settings)
    place.check()
    try:
        with place.alone():
            return _erase(place, name, log)
    except (UnknownPersonError, ErasureError):
        raise
    except (OSError, QolError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise ErasureError(f"the erasure stopped: {why}", advice=place.advice) from error


def replay_ledger(settings: Settings, *, log: Log = lambda _text: None) -> list[ErasureReport]:
    """Erase again whom the ledger names and the home holds, as after a restore of a backup of before.

    To be called before anything of what was restored can be read.
    """
    place = _place(settings)
    ledger, lake = place.ledger(), place.lake()
    names = {one.garmin_user_id: one.participant_id for one in place.people().list()}
    for key in (key for zone in RAW_ZONES for key in lake.keys(zone)):
        names |= dict.fromkeys(users_named(lake.read_object(key)) - names.keys(), "")
    gone = [user for user in sorted(names) if ledger.state_of_user(user) in ("begun", "finished")]
    return [erase(settings, name, log=log) for name in sorted({names[user] or user for user in gone})]


def save_report(settings: Settings, report: ErasureReport) -> str:
    """Store a report with its HMAC-SHA-256 under the ledger's key, and return where it is."""
    place, content = _place(settings), asdict(report)
    signed = {"report": content, "hmac_sha256": place.ledger().sign(signed_text(content))}
    return place.write_report(f"{report.erasure}.json", json.dumps(signed, indent=1, ensure_ascii=False).encode())


def signed_text(content: Mapping[str, Any]) -> str:
    """Return what is signed of a report."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False)


def _place(settings: Settings) -> Place:
    if settings.target == "aws":
        from qol_dagster.erasure.account import Account

        return Account(settings)
    return Home(settings, lambda restored: all(one.is_complete for one in replay_ledger(restored)))


def _erase(place: Place, name: str, log: Log) -> ErasureReport:
    person, state = _find(place, name)
    ledger, people = place.ledger(), place.people()
    everyone = people.list()
    users = [one.garmin_user_id for one in everyone if one.garmin_user_id in person.users]
    if not users and state is None:
        count_person(place.settings, name)  # raises if there is nobody
    log("beginning: nothing more of the person is stored")
    begun = _begin(ledger, person)
    people.begin_erasure(users)
    cloud = Garmin(place.settings)
    problems = [problem for user in users if (problem := cloud.end_registration(user))]
    clearing = _clearing(place, person, everyone, begun)
    place.wait(begun, clearing, log)
    left = {"Garmin": f"the registration goes on: {'; '.join(problems)}"} if problems else {}
    left |= place.clear_copies(person, log)
    searched = _clear_all(place, clearing, log)
    left |= {_shown(path, person): "names the person, and no command removes it" for path in searched.found}
    left |= {f"lake/{key}": why for key, why in clearing.left.items()}
    if not left:
        people.end_erasure(users, person.participants)
        left = place.left_in_id_map(person)
    if not left:
        ledger.finish(begun)
    now = datetime.now(UTC)
    return ErasureReport(
        begun.erasure,
        begun.at,
        now.isoformat(timespec="milliseconds"),
        not left,
        (*begun.users, *begun.participants),
        _counts(clearing) | ({"accounts": len(users)} if users else {}),
        clearing.files,
        clearing.bytes_written,
        searched.files,
        searched.bytes,
        left,
        dict(place.stays(now)),
    )


def _begin(ledger: AnyLedger, person: Person) -> Entry:
    """Note in the ledger that an erasure begins, unless an earlier call did, and return that entry."""
    users = {*map(ledger.hash_of, person.users)} if ledger.entries() else set()
    participants = {*map(ledger.hash_of_participant, person.participants)} if users else set()
    for entry in reversed(ledger.entries()):
        if users.intersection(entry.users) or participants.intersection(entry.participants):
            if entry.state == "begun":
                return entry
            break
    return ledger.append("begun", person.users, person.participants)


def _clear_all(place: Place, clearing: Clearing, log: Log) -> Searched:
    """Clear everything in rounds, until a search finds nothing or nothing but what no round removes."""
    searched = Searched()
    before: list[Path] | None = None
    with clearing.lake.lock():
        for number in range(1, ROUNDS + 1):
            log(f"clearing, round {number}")
            clearing.left.clear()
            _clear(place, clearing)
            log("searching all bytes")
            searched = place.search(clearing.person)
            if not searched.found or searched.found == before:
                break
            before = searched.found
    return searched


def _clear(place: Place, clearing: Clearing) -> None:
    clearing.clear_raw()
    clearing.clear_raw_sides()
    clearing.clear_tables()
    clearing.clear_pages()
    clearing.clear_queues()
    clearing.clear_leftovers()
    clearing.clear_databases()
    place.clear_sides(clearing)


def _clearing(place: Place, person: Person, everyone: list[Enrolment], begun: Entry | None = None) -> Clearing:
    """Return what clears, or without an entry that an erasure began with, what counts and changes nothing."""
    erasure, began = (begun.erasure, datetime.fromisoformat(begun.at)) if begun else ("", datetime.now(UTC))
    settings, lake = place.settings, place.lake().of_run(f"erasure {erasure}")
    enrolled = [one for one in everyone if one.participant_id]
    before = [
        _as_before(one, person) for one in enrolled if one.status != "erasing" or one.garmin_user_id in person.users
    ]
    after = [one for one in before if one.garmin_user_id not in person.users]
    with open_engine("duckdb", memory_mb=settings.memory_mb, temp_dir=settings.temp_dir) as engine:
        ids = identities_of(before), identities_of(after)
        of_profile: dict[str, Fingerprints] = {
            one.name: Fingerprints.of(engine, one.thresholds, *ids) for one in PROFILES.values()
        }
    return Clearing(settings, lake, person, of_profile, erasure, began, dry_run=begun is None)


def _as_before(one: Enrolment, person: Person) -> Enrolment:
    """Return an enrolment as it was before its erasure began."""
    known: Any = one.status_before
    return replace(one, status=known) if one.status == "erasing" and one.garmin_user_id in person.users else one


def _find(place: Place, name: str) -> tuple[Person, str | None]:
    """Return who is meant, and the state in the ledger. A participant is all of their accounts."""
    everyone, ledger, name = place.people().list(), place.ledger(), name.strip()
    if not is_user(name):
        raise UnknownPersonError("give a participant id, or a Garmin user id")
    known = [one for one in everyone if name in (one.garmin_user_id, one.participant_id)]
    participants = {one.participant_id for one in known if one.participant_id}
    users = {one.garmin_user_id for one in everyone if one in known or one.participant_id in participants}
    state = ledger.state_of_participant(name) or ledger.state_of_user(name)
    if not known:  # forgotten, or never noted, or an erasure that came to its end
        return Person((name,), (name,)), state
    return Person(tuple(sorted(users)), tuple(sorted(participants))), state


def _shown(path: Path, person: Person) -> str:
    """Return a path without what names the person."""
    return "/".join("***" if person.is_named_in_text(part) else part for part in path.parts)


def _counts(clearing: Clearing) -> dict[str, int]:
    return {place: number for place, number in clearing.counts.items() if number}
