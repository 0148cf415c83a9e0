"""The places in a lake and below QOL_HOME where a person's data is stored, each cleared by a function that can be
called again.

Belongs here: which files hold what, and what goes of them. Each function returns how much was the person's, and changes
nothing in a dry run. Files are replaced whole, with the time and the permissions they had. What a deployment on AWS has
beside its lake is `account.py`'s.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.erasure import databases
from qol_dagster.erasure.fingerprints import Fingerprints
from qol_dagster.erasure.lines import Cut, cut_body, cut_lines, participant_of_line
from qol_dagster.erasure.names import Person, scrub
from qol_dagster.erasure.search import names_person
from qol_dagster.exports.folder import MANIFEST as EXPORT
from qol_dagster.lake.erasure import PartitionErasure, apply_erasure, erased_dates, plan_erasure, rewrite
from qol_dagster.lake.fingerprints import raw_fingerprint
from qol_dagster.lake.freeze import FREEZES, rewrite_freezes
from qol_dagster.lake.raw_notes import Change
from qol_dagster.lake.records import clear_staging, erase_records, mark
from qol_dagster.metrics.tables import LAYOUTS, TableId, all_tables
from qol_dagster.resources.garmin_cloud import downloads_of
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_ingest.shared import files
from qol_ingest.shared.keys import BACKFILLS, LIFECYCLE, PINGS, PULLED, QUARANTINE, REPORTS, SURVEYS

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.settings import Settings

_UNFINISHED = re.compile(r"^\.[0-9a-f]{16}\.tmp$|#[0-9]+$")
"""Names of files that a killed process did not come to put into their place."""
TMP = "left in tmp/"
"""The place of what runs left behind, whosever it is."""
LINES = (LIFECYCLE, QUARANTINE)


@dataclass
class Clearing:
    """One pass over a home: what it is about, and what was counted. `left`: files that need a person to look.

    `erasure` and `began` are of the ledger's entry: which erasure, and since when.
    """

    settings: Settings
    lake: Lake
    person: Person
    fingerprints: Mapping[str, Fingerprints]
    erasure: str
    began: datetime
    dry_run: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    left: dict[str, str] = field(default_factory=dict)
    files: int = 0
    bytes_written: int = 0

    def clear_raw(self) -> None:
        """Cut the person's lines from raw files, and their records from what these were parsed to."""
        if not self.dry_run:
            clear_staging(self.lake)
        for day in self.lake.raw_days():
            before = self.lake.raw_objects(day)
            self._clear_files(
                [item.key for item in before], partial(cut_lines, person=self.person.as_user), "raw lines"
            )
            now = {item.key: item for item in self.lake.raw_objects(day)}
            # Files that came meanwhile are not computed: they make the day stale, as they should.
            after = [now[item.key] for item in before if item.key in now]
            change = Change(raw_fingerprint(before), raw_fingerprint(after))
            for one in self.fingerprints.values():
                one.raw[day] = change
            if not self.dry_run:
                marks = {mark(item): mark(now[item.key]) if item.key in now else None for item in before}
                self.counts["records"] += erase_records(self.lake, day, self.person.users, marks)

    def clear_raw_sides(self) -> None:
        """Clear what Garmin sent beside daily lines, what was fetched for it, and answered questionnaires."""
        self._clear_downloads()
        for zone in LINES:
            keys = [key for key in self.lake.keys(zone) if key.endswith(".jsonl")]
            self._clear_files(keys, partial(cut_lines, person=self.person.as_user), f"{zone} lines")
        bodies = [key for key in self.lake.keys(QUARANTINE) if key.endswith(".body")]
        self._clear_files(bodies, partial(cut_body, person=self.person), "quarantined bodies")
        answers = partial(cut_lines, person=self.person.as_participant, owners=participant_of_line)
        self._clear_files(self._with_participant(SURVEYS), answers, "questionnaires")
        for participant in self.person.participants:
            folder = f"{BACKFILLS}/participant={participant}"
            self._remove(self.lake.keys(folder), "backfill notes")
            if self.lake.folder and not self.dry_run:  # the name of an empty folder names them too
                shutil.rmtree(self.lake.local_path(folder), ignore_errors=True)

    def clear_tables(self) -> None:
        """Take the person's rows out of all tables, their history and the freezes."""
        gone = frozenset(self.person.participants)
        plans: list[tuple[TableId, PartitionErasure]] = []
        for table in (*all_tables(), *map(TableId, SURVEY_TABLES)):
            lake = self.lake.with_tables(table.profile.folder)
            notes = self.fingerprints[table.profile.name]
            for day in erased_dates(lake, table.table):
                renote = partial(notes.renote, table.table, day)
                planned = plan_erasure(lake, table.table, day, gone, renote, began=self.began, dry_run=self.dry_run)
                if planned:
                    plans.append((table, planned))
        self.counts["table rows"] += sum(one.rows for _, one in plans)
        self.counts["history rows"] += sum(one.old_rows for _, one in plans)
        renamed = {
            (table.name, str(one.day), old): new
            for table, one in plans
            if table.table in LAYOUTS
            for old, new in one.renamed.items()
        }
        if self.dry_run:
            self.counts["freezes"] += sum(self._names_object(key, renamed) for key in self.lake.keys(FREEZES))
            return
        self.counts["freezes"] += rewrite_freezes(self.lake, renamed, self.began, self.erasure)
        for table, planned in plans:
            self.bytes_written += apply_erasure(self.lake.with_tables(table.profile.folder), planned)
            self.files += len(planned.renamed) + bool(planned.current)

    def clear_pages(self) -> None:
        """Remove reports and exports that name the person: both can be made anew."""
        digests = {hashlib.sha256(one.encode()).hexdigest()[:12] for one in self.person.participants}
        for key in self.lake.keys(REPORTS):
            is_own = key.rpartition("/")[2].partition(".")[0] in digests
            if is_own or self.person.is_named_in_text(self.lake.read_object(key)):
                self._remove([key], "pages of reports")
        for folder in _exports(self.settings.home):
            if any(names_person(path, self.person) for path in folder.rglob("*") if path.is_file()):
                self.counts["exports"] += 1
                if not self.dry_run:
                    shutil.rmtree(folder)

    def clear_queues(self) -> None:
        """Remove dead letters and messages that name the person."""
        home = self.settings.home
        for folder, place in ((home / "dead_letters", "dead letters"), (self.settings.arrivals_dir, "arrivals")):
            for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
                if path.is_file() and self.is_about(path.read_bytes()):
                    self.counts[place] += 1
                    if not self.dry_run:
                        path.unlink(missing_ok=True)

    def clear_leftovers(self) -> None:
        """Remove what killed processes left: unfinished files that name the person, and folders in tmp/."""
        for path in (one for one in self.settings.home.rglob("*") if _UNFINISHED.search(one.name) and one.is_file()):
            if names_person(path, self.person):
                self.counts["unfinished files"] += 1
                if not self.dry_run:
                    path.unlink(missing_ok=True)
        tmp = self.settings.temp_dir
        for path in sorted(tmp.iterdir()) if tmp.is_dir() else ():
            if path.is_dir() or self.person.is_named_in_text(path.read_bytes()):
                self.counts[TMP] += 1
                if not self.dry_run:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def clear_databases(self) -> None:
        """Take the person out of invitations and of Dagster's runs, events and logs."""
        invitations = self.settings.home / "enrolment.sqlite"
        if invitations.is_file():
            gone = databases.remove_invitations(invitations, self.person, dry_run=self.dry_run)
            self.counts["invitations"] += gone
        dagster = self.settings.dagster_home
        for path in sorted(dagster.rglob("*")) if dagster.is_dir() else ():
            if not path.is_file() or path.name.endswith(("-wal", "-shm", "-journal")):
                continue
            if databases.is_database(path):
                self._clear_database(path)
            elif self.person.is_named_in_text(content := path.read_bytes()):
                self.counts["Dagster's logs"] += 1
                if not self.dry_run:
                    files.replace(path, scrub(content.decode("utf-8", "replace"), self.person).encode())

    def _clear_database(self, path: Path) -> None:
        if self.dry_run:
            self.counts["Dagster's texts"] += sum(1 for _ in databases.naming_values(path, self.person))
        else:
            self.counts["Dagster's texts"] += databases.scrub_database(path, self.person)

    def _clear_downloads(self) -> None:
        """Remove the person's pings with what was fetched for them."""
        user, pulled = self.person.as_user, {*self.lake.keys(PULLED)}
        for key in self.lake.keys(PINGS):
            content = self.lake.read_object(key)
            if not user.is_named_in_text(content):
                continue
            lines = [one for one in content.split(b"\n") if cut_lines(one, user).records]
            markers = [found for one in lines if (found := downloads_of(one.decode("utf-8", "replace")))]
            known = pulled.intersection(markers)
            fetched = [file for one in known if (file := _file_of(self.lake.read_object(one)))]
            self._remove(fetched, "fetched files")
            self._remove(known, "notes of downloads")
            self._clear_files([key], partial(cut_lines, person=user), f"{PINGS} lines")

    def _clear_files(self, keys: list[str], cut: Callable[[bytes], Cut], place: str) -> None:
        for key, content in self.lake.read_objects(keys):
            found = cut(content)
            self.counts[place] += found.records
            if found.named and found.content:
                self.left[key] = "a record of somebody else names the person: look at it, and cut it by hand"
            elif found.named:
                self.counts["bodies that named others too"] += 1
            if found.content == content or self.dry_run:
                continue
            self.files += 1
            self.bytes_written += len(found.content)
            if found.content:
                rewrite(self.lake, key, found.content)
            else:
                self.lake.remove_objects([key])

    def _with_participant(self, zone: str) -> list[str]:
        return [
            key
            for key, content in self.lake.read_objects(self.lake.keys(zone))
            if any(one.encode() in content for one in self.person.participants)
        ]

    def _remove(self, keys: Iterable[str], place: str) -> None:
        keys = list(keys)
        self.counts[place] += len(keys)
        if not self.dry_run:
            self.lake.remove_objects(keys)

    def is_about(self, content: bytes) -> bool:
        """Return whether a message names the person, in any of its values."""
        if self.person.is_named_in_text(content):
            return True
        try:
            values = json.loads(content).values()
        except (ValueError, AttributeError):
            return False
        return any(one in self.person.participants or self.person.is_user(one) for one in values)

    def _names_object(self, key: str, renamed: Mapping[tuple[str, str, str], object]) -> bool:
        text = self.lake.read_object(key).decode()
        return any(old in text for _, _, old in renamed)


def _file_of(marker: bytes) -> str:
    try:
        return str(json.loads(marker).get("file") or "")
    except (ValueError, AttributeError):
        return ""


def _exports(home: Path) -> list[Path]:
    """Return the folders below a home that are an export, or the bag of a freeze."""
    found = [path.parent for name in (EXPORT, "bagit.txt") for path in home.rglob(name)]
    return sorted({one for one in found if one != home and not (one / "lake").exists()})
