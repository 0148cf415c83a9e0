"""Freezes: a named state of the tables that is never changed, so that what was cited can be found again.

Belongs here: the manifest, `freezes/<name>.json`, and the objects it names, which are in the history from then on. How
a freeze is handed out is `resources/bag.py`'s.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from qol_dagster.errors import QolInputError
from qol_dagster.lake.history import HistoryError, State, damage, states_now
from qol_dagster.lake.revisions import Revision, history_folder, object_key
from qol_dagster.metrics.describe import records
from qol_dagster.metrics.dictionary import METRICS_VERSION, TABLES
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.metrics.tables import TableId, all_tables
from qol_dagster.weeks import monday_of
from qol_ingest.shared import keys

if TYPE_CHECKING:
    from qol_dagster.lake.erasure import NewObject
    from qol_dagster.lake.lake import Lake

FREEZES = f"{keys.FREEZES}/"
NAME = re.compile(r"[a-z][a-z0-9._-]{0,63}")
NOT_NAMES = ("now",)


class FreezeError(QolInputError):
    """A freeze cannot be made or is not there; the message says why."""


@dataclass(frozen=True)
class Freeze:
    """A manifest: `facts` as they are in its JSON, and the SHA-256 of that."""

    facts: Mapping[str, Any]
    sha256: str

    @property
    def name(self) -> str:
        """Return its name."""
        return str(self.facts["name"])

    @property
    def created_at(self) -> datetime:
        """Return when it was made (UTC)."""
        return datetime.fromisoformat(self.facts["created_at"])

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Return the objects: `table`, `date`, `sha256`, `bytes`, `rows`, and what made them."""
        return list(self.facts["objects"])

    @property
    def erasures(self) -> list[dict[str, Any]]:
        """Return the erasures since: `at`, the SHA-256 that the manifest had, and the hashes of objects rewritten."""
        return list(self.facts.get("erasures") or ())

    def covers(self, day: date) -> bool:
        """Return whether partitions of a date were frozen, if there were any."""
        weeks = [date.fromisoformat(one) for one in self.facts["weeks"] or ()]
        return not weeks or _is_within(day, weeks)

    def states(self, table: TableId) -> dict[date, State]:
        """Return what each partition of a table held, in the order of dates."""
        folder, found = history_folder(table.profile.folder, table.table), {}
        for one in self.objects:
            if one["table"] == table.name:
                day = date.fromisoformat(one["date"])
                revision = Revision(
                    day, one["revision"], datetime.fromisoformat(one["valid_from"]), one["cause"], one["rows"]
                )
                found[day] = State((object_key(folder, day, one["sha256"]),), revision)
        return found


def create_freeze(lake: Lake, name: str, weeks: Sequence[date] | None = None, note: str = "") -> Freeze:
    """Freeze all tables of all profiles, or those of the weeks from the first to the last of `weeks`.

    Waits for a run that is under way. Raises FreezeError.
    """
    if not NAME.fullmatch(name) or name in NOT_NAMES:
        raise FreezeError(
            f"{name!r} is no name for a freeze; take a letter and then letters, digits, dots or hyphens, all small"
        )
    with lake.lock():
        objects = [one for table in all_tables() for one in _objects(lake, table, weeks)]
        if not objects:
            raise FreezeError("there is nothing to freeze; run `qol materialize` first, or name other weeks")
        dictionary = records(metric for table in TABLES.values() for metric in table)
        facts = {
            "name": name,
            "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "note": note,
            "weeks": [str(min(weeks)), str(max(weeks))] if weeks else None,
            "made_by": {
                "software": f"qol-dagster {version('qol-dagster')}",
                "metrics_version": METRICS_VERSION,
                "thresholds": {profile.name: profile.thresholds.as_dict() for profile in PROFILES.values()},
            },
            "dictionary": {"sha256": _sha256(json.dumps(dictionary).encode()), "entries": dictionary},
            "objects": objects,
        }
        content = json.dumps(facts, indent=1, ensure_ascii=False).encode()
        if not lake.create_object(manifest_key(name), content):
            raise FreezeError(f"there is a freeze {name} already, and it is never changed; choose another name")
    return Freeze(facts, _sha256(content))


def freezes(lake: Lake) -> list[Freeze]:
    """Return all freezes, the oldest first."""
    names = [key.removeprefix(FREEZES).removesuffix(".json") for key in lake.keys(FREEZES) if key.endswith(".json")]
    return sorted((read_freeze(lake, name) for name in names), key=lambda one: one.created_at)


def read_freeze(lake: Lake, name: str) -> Freeze:
    """Return a freeze. Raises FreezeError if there is none of this name, HistoryError if it is damaged."""
    key = manifest_key(name)
    if key not in lake.keys(FREEZES):
        raise FreezeError(f"there is no freeze {name}; `qol freeze list` shows all")
    content = lake.read_object(key)
    try:
        found = Freeze(json.loads(content), _sha256(content))
        is_whole = found.name == name and all({"table", "date", "sha256"} <= one.keys() for one in found.objects)
    except (ValueError, KeyError, TypeError, AttributeError):
        is_whole = False
    if not is_whole:
        raise HistoryError(f"{lake.root}/{key} is damaged: it is no manifest of a freeze")
    return found


def verify_freeze(lake: Lake, freeze: Freeze) -> list[str]:
    """Compare every object with its hash, and return what is wrong: a line for each, with its key."""
    keys = [key for table in all_tables() for state in freeze.states(table).values() for key in state.keys]
    return [f"{key} {problem}" for key in keys if (problem := damage(lake, key))]


def rewrite_freezes(lake: Lake, renamed: Mapping[tuple[str, str, str], NewObject], at: datetime, erasure: str) -> int:
    """Have all freezes name the objects that took the place of others, and return how many freezes changed.

    `renamed`: by table, date and old SHA-256. What the manifest and each object were called stays as a tombstone, which
    names no person; a second call for the same `erasure` completes it.
    """
    changed = 0
    for freeze in freezes(lake):
        keys = [(str(one["table"]), str(one["date"]), str(one["sha256"])) for one in freeze.objects]
        gone = [key for key in keys if key in renamed]
        if not gone:
            continue
        objects = [
            {**one, "sha256": new.sha256, "bytes": new.size, "rows": new.rows} if (new := renamed.get(key)) else one
            for key, one in zip(keys, freeze.objects, strict=True)
        ]
        stones = [{"table": table, "date": day, "was": sha256} for table, day, sha256 in gone]
        facts = {**freeze.facts, "objects": objects, "erasures": _with_tombstones(freeze, stones, at, erasure)}
        content = json.dumps(facts, indent=1, ensure_ascii=False).encode()
        lake.replace_object(manifest_key(freeze.name), content, as_tables=True)
        changed += 1
    return changed


def _with_tombstones(freeze: Freeze, stones: list[dict[str, str]], at: datetime, erasure: str) -> list[dict[str, Any]]:
    *earlier, last = [*freeze.erasures] or [{}]
    if last.get("erasure") == erasure:
        return [*earlier, {**last, "objects": [*last["objects"], *stones]}]
    when = at.isoformat(timespec="milliseconds")
    return [*freeze.erasures, {"erasure": erasure, "at": when, "manifest_was": freeze.sha256, "objects": stones}]


def _objects(lake: Lake, table: TableId, weeks: Sequence[date] | None) -> list[dict[str, Any]]:
    """Copy what a table holds to the history, where it stays, and return what the manifest says of it."""
    lake, found = lake.with_tables(table.profile.folder), []
    for day, state in states_now(lake, table.table).items():
        if weeks and not _is_within(day, weeks):
            continue
        if len(state.keys) != 1:
            raise HistoryError(f"{lake.partition_uri(table.table, day)} has several objects; run its week again")
        content = lake.read_object(state.keys[0])
        revision = state.revision
        found.append(
            {
                "table": table.name,
                "date": str(day),
                "sha256": lake.keep_object(table.table, day, content),
                "bytes": len(content),
                "rows": revision.rows,
                "revision": revision.number,
                "valid_from": revision.valid_from.isoformat(timespec="milliseconds"),
                "cause": revision.cause,
                "metrics_version": revision.metrics_version,
                "engine": revision.engine,
                "thresholds": dict(revision.thresholds or {}),
            }
        )
    return found


def _is_within(day: date, weeks: Sequence[date]) -> bool:
    return monday_of(min(weeks)) <= monday_of(day) <= monday_of(max(weeks))


def manifest_key(name: str) -> str:
    """Return the key of a freeze's manifest."""
    return f"{FREEZES}{name}.json"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
