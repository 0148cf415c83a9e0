"""Erasing a person from a home on one machine: the order, the rounds until a search finds nothing, and the report.

Belongs here: who is meant, what is held meanwhile, and what is reported. What is in which place is `places.py`'s.

The order. First the ledger, so that nothing more of the person is stored; then the id map answers as if there were no
such person, and runs that read it before are waited for; then backups are made anew, and everything is cleared under
the lake's lock, again until the search finds nothing; the id map forgets the person last. Killed at any moment, the
same command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.engines import open_engine
from qol_dagster.erasure import ErasureError, UnknownPersonError
from qol_dagster.erasure.backups import erase_from_backups
from qol_dagster.erasure.databases import is_in_bytes, naming_values
from qol_dagster.erasure.fingerprints import Fingerprints
from qol_dagster.erasure.names import Person
from qol_dagster.erasure.places import TMP, Clearing
from qol_dagster.erasure.search import Searched, search
from qol_dagster.lake.lake import Lake, LakeError
from qol_dagster.lake.lease import locked
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.resources.garmin_cloud import Garmin
from qol_dagster.resources.id_map import IdMap, identities_of
from qol_ingest.shared import files
from qol_ingest.shared.erasures import Entry, Ledger, LedgerError, users_named
from qol_ingest.shared.errors import reason
from qol_ingest.shared.id_map import Enrolment, is_user

if TYPE_CHECKING:
    from qol_dagster.settings import Settings

RAW_ZONES = ("raw/daily", "raw/lifecycle", "raw/pings", "raw/quarantine")
ROUNDS = 5
"""How often the home is cleared: what came while it was is found by the search, and goes in the next round."""
REPORTS = "erasures"
"""Folder of the signed reports below QOL_HOME."""
Log = Callable[[str], object]


@dataclass(frozen=True)
class ErasureReport:
    """What came of an erasure. `counts` by place; `left`: what still names the person, and why. It names nobody."""

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


def count_person(settings: Settings, name: str) -> dict[str, int]:
    """Return how much of a person is in each place, and change nothing. Raises UnknownPersonError."""
    person, _ = _find(settings, name)
    clearing = _clearing(settings, person, [], "", dry_run=True)
    _clear(clearing)
    counts = _counts(clearing)
    accounts = [one for one in _id_map(settings).list() if one.garmin_user_id in person.users]
    counts |= {"id map": len(accounts)} if accounts else {}
    if not counts.keys() - {TMP}:
        raise UnknownPersonError("there is nobody of that id, and nothing stored that names it")
    return counts


def erase(settings: Settings, name: str, *, log: Log = lambda _text: None) -> ErasureReport:
    """Erase the person with a participant id, or the user with a Garmin user id, from QOL_HOME and all its backups.

    Given again, it goes on where it stopped. What is left is in the report; then the erasure is not complete.
    Raises UnknownPersonError, and ErasureError if it could not go on.
    """
    with locked(settings.home / ".erasing.lock"):
        try:
            return _erase(settings, name, log)
        except (OSError, LakeError, LedgerError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise ErasureError(
                f"the erasure stopped: {why}",
                advice="Free some space or mend the permissions, and give the same command again: it goes on",
            ) from error


def replay_ledger(settings: Settings, *, log: Log = lambda _text: None) -> list[ErasureReport]:
    """Erase again whom the ledger names and the home holds, as after a restore of a backup of before.

    To be called before anything of what was restored can be read.
    """
    ledger, lake = Ledger(settings.home), Lake.local(settings.lake_dir)
    names = {one.garmin_user_id: one.participant_id for one in _id_map(settings).list()}
    for key in (key for zone in RAW_ZONES for key in lake.keys(zone)):
        names |= dict.fromkeys(users_named(lake.read_object(key)) - names.keys(), "")
    gone = [user for user in sorted(names) if ledger.state_of_user(user) in ("begun", "finished")]
    return [erase(settings, name, log=log) for name in sorted({names[user] or user for user in gone})]


def write_report(settings: Settings, report: ErasureReport) -> Path:
    """Write a report with its HMAC-SHA-256 under the ledger's key, and return its path."""
    content = asdict(report)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    signed = {"report": content, "hmac_sha256": Ledger(settings.home).sign(text)}
    path = settings.home / REPORTS / f"{report.erasure}.json"
    files.make_folder(path.parent)
    files.replace(path, json.dumps(signed, indent=1, ensure_ascii=False).encode())
    return path


def is_genuine(settings: Settings, path: Path) -> bool:
    """Return whether a signed report is as it was written here."""
    found = json.loads(path.read_bytes())
    text = json.dumps(found["report"], sort_keys=True, ensure_ascii=False)
    return bool(found["hmac_sha256"] == Ledger(settings.home).sign(text))


def _erase(settings: Settings, name: str, log: Log) -> ErasureReport:
    person, state = _find(settings, name)
    ledger, people = Ledger(settings.home), _id_map(settings)
    everyone = people.list()
    users = [one.garmin_user_id for one in everyone if one.garmin_user_id in person.users]
    if not users and state is None:
        count_person(settings, name)  # raises if there is nobody
    log("beginning: nothing more of the person is stored")
    begun = _begin(ledger, person)
    people.begin_erasure(users)
    lake = Lake.local(settings.lake_dir).of_run(f"erasure {begun.erasure}")
    with lake.with_people(changed=True):
        pass
    problems = [problem for user in users if (problem := Garmin(settings).end_registration(user))]
    left = {"Garmin": f"the registration goes on: {'; '.join(problems)}"} if problems else {}
    left |= erase_from_backups(settings, person, replay_ledger, log)
    clearing = _clearing(settings, person, everyone, begun.erasure)
    searched = _clear_all(clearing, log)
    left |= {_shown(path, person): "names the person, and no command removes it" for path in searched.found}
    left |= {f"lake/{key}": why for key, why in clearing.left.items()}
    if not left:
        people.end_erasure(users, person.participants)
        left = _left_in_id_map(settings, person)
    if not left:
        ledger.finish(begun)
    return ErasureReport(
        begun.erasure,
        begun.at,
        datetime.now(UTC).isoformat(timespec="milliseconds"),
        not left,
        (*begun.users, *begun.participants),
        _counts(clearing) | ({"accounts": len(users)} if users else {}),
        clearing.files,
        clearing.bytes_written,
        searched.files,
        searched.bytes,
        left,
    )


def _begin(ledger: Ledger, person: Person) -> Entry:
    """Return the entry that began this erasure, which may have been another call's."""
    users = {*map(ledger.hash_of, person.users)} if ledger.entries() else set()
    participants = {*map(ledger.hash_of_participant, person.participants)} if users else set()
    for entry in reversed(ledger.entries()):
        if users.intersection(entry.users) or participants.intersection(entry.participants):
            if entry.state == "begun":
                return entry
            break
    return ledger.append("begun", person.users, person.participants)


def _clear_all(clearing: Clearing, log: Log) -> Searched:
    """Clear the home in rounds, until a search finds nothing or nothing but what no round removes."""
    settings, searched = clearing.settings, Searched()
    before: list[Path] | None = None
    with clearing.lake.lock():
        for number in range(1, ROUNDS + 1):
            log(f"clearing, round {number}")
            clearing.left.clear()
            _clear(clearing)
            log("searching all bytes")
            searched = _search(settings, clearing.person)
            if not searched.found or searched.found == before:
                break
            before = searched.found
    return searched


def _clear(clearing: Clearing) -> None:
    clearing.clear_raw()
    clearing.clear_raw_sides()
    clearing.clear_tables()
    clearing.clear_pages()
    clearing.clear_queues()
    clearing.clear_leftovers()
    clearing.clear_databases()


def _clearing(
    settings: Settings, person: Person, everyone: list[Enrolment], erasure: str, *, dry_run: bool = False
) -> Clearing:
    lake = Lake.local(settings.lake_dir).of_run(f"erasure {erasure}")
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
    return Clearing(settings, lake, person, of_profile, erasure, dry_run)


def _as_before(one: Enrolment, person: Person) -> Enrolment:
    """Return an enrolment as it was before its erasure began."""
    known: Any = one.status_before
    return replace(one, status=known) if one.status == "erasing" and one.garmin_user_id in person.users else one


def _search(settings: Settings, person: Person) -> Searched:
    """Search the home, but for the id map and SQLite's files beside it, which forget the person last."""
    searched = search(settings.home, person)
    searched.found = [path for path in searched.found if not path.parts[0].startswith(settings.id_map_path.name)]
    return searched


def _find(settings: Settings, name: str) -> tuple[Person, str | None]:
    """Return who is meant, and the state in the ledger. A participant is all of their accounts."""
    everyone, ledger, name = _id_map(settings).list(), Ledger(settings.home), name.strip()
    if not is_user(name):
        raise UnknownPersonError("give a participant id, or a Garmin user id")
    known = [one for one in everyone if name in (one.garmin_user_id, one.participant_id)]
    participants = {one.participant_id for one in known if one.participant_id}
    users = {one.garmin_user_id for one in everyone if one in known or one.participant_id in participants}
    state = ledger.state_of_participant(name) or ledger.state_of_user(name)
    if not known:  # forgotten, or never noted, or an erasure that came to its end
        return Person((name,), (name,)), state
    return Person(tuple(sorted(users)), tuple(sorted(participants))), state


def _left_in_id_map(settings: Settings, person: Person) -> dict[str, str]:
    path = settings.id_map_path
    is_left = path.exists() and (is_in_bytes(path, person) or any(True for _ in naming_values(path, person)))
    return {path.name: "names the person"} if is_left else {}


def _shown(path: Path, person: Person) -> str:
    """Return a path without what names the person."""
    return "/".join("***" if person.is_named_in_text(part) else part for part in path.parts)


def _counts(clearing: Clearing) -> dict[str, int]:
    return {place: number for place, number in clearing.counts.items() if number}


def _id_map(settings: Settings) -> IdMap:
    return IdMap(settings.id_map_path, Ledger(settings.home))
