"""A home on one machine, as an erasure sees it: its ledger, its lock, its backups, its search.

Belongs here: what `erase.py` asks of a place, in the form for one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.erasure.backups import erase_from_backups
from qol_dagster.erasure.databases import is_in_bytes, naming_values
from qol_dagster.erasure.search import Searched, search
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.lease import locked
from qol_dagster.maintenance.contents import ERASING
from qol_dagster.resources.id_map import IdMap, People
from qol_ingest.shared import files
from qol_ingest.shared.erasures import AnyLedger, Entry, Ledger
from qol_ingest.shared.keys import ERASURES

if TYPE_CHECKING:
    from qol_dagster.erasure.names import Person
    from qol_dagster.erasure.places import Clearing
    from qol_dagster.settings import Settings

REPORTS = ERASURES
"""Folder of the signed reports below QOL_HOME."""
Log = Callable[[str], object]


@dataclass(frozen=True)
class Home:
    """Everything below QOL_HOME, and the backups. See `Place`."""

    settings: Settings
    replay: Callable[[Settings], bool]

    advice = "Free some space or mend the permissions, and give the same command again: it goes on"

    def check(self) -> None:
        """See `Place`."""

    def ledger(self) -> AnyLedger:
        """See `Place`."""
        return Ledger(self.settings.home)

    def people(self) -> People:
        """See `Place`."""
        return IdMap(self.settings.id_map_path, self.ledger())

    def lake(self) -> Lake:
        """See `Place`."""
        return Lake.local(self.settings.lake_dir)

    def alone(self) -> AbstractContextManager[None]:
        """See `Place`."""
        return locked(self.settings.home / ERASING)

    def wait(self, begun: Entry, clearing: Clearing, log: Log) -> None:  # noqa: ARG002 - pushes were waited for by the ledger's lock
        """See `Place`."""
        with self.lake().with_people(changed=True):
            pass

    def clear_copies(self, person: Person, log: Log) -> dict[str, str]:
        """See `Place`."""
        return erase_from_backups(self.settings, person, self.replay, log)

    def clear_sides(self, clearing: Clearing) -> None:
        """See `Place`."""

    def search(self, person: Person) -> Searched:
        """See `Place`: the id map, and SQLite's files beside it, forget the person last."""
        searched = search(self.settings.home, person)
        searched.found = [
            path for path in searched.found if not path.parts[0].startswith(self.settings.id_map_path.name)
        ]
        return searched

    def left_in_id_map(self, person: Person) -> dict[str, str]:
        """See `Place`."""
        path = self.settings.id_map_path
        is_left = path.exists() and (is_in_bytes(path, person) or any(True for _ in naming_values(path, person)))
        return {path.name: "names the person"} if is_left else {}

    def stays(self, now: datetime) -> Mapping[str, str]:  # noqa: ARG002
        """See `Place`."""
        return {}

    def write_report(self, name: str, content: bytes) -> str:
        """See `Place`."""
        path: Path = self.settings.home / REPORTS / name
        files.make_folder(path.parent)
        files.replace(path, content)
        return str(path)
