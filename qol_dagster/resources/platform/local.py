"""A deployment on one machine: files, SQLite, an engine in this process, mail by SMTP if it is configured.

Belongs here: the local form of each part.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from qol_dagster.engines import Engine, EngineName, open_engine
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.shared_object import SharedObject
from qol_dagster.metrics.profiles import DEFAULT, Profile
from qol_dagster.resources.arrivals import Arrivals, ListedArrivals
from qol_dagster.resources.id_map import IdMap, People
from qol_dagster.resources.notifier import LogNotifier, Notifier, SmtpNotifier
from qol_dagster.resources.platform import Computer
from qol_ingest.shared.erasures import Ledger

if TYPE_CHECKING:
    from qol_dagster.resources.catalogue import Catalogue
    from qol_dagster.resources.platform import Kind
    from qol_dagster.settings import Settings
    from qol_ingest.consent.state import EnrolmentState
    from qol_ingest.garmin.tokens import TokenStore
    from qol_ingest.shared.erasures import AnyLedger
    from qol_ingest.shared.stores import Store


@dataclass(frozen=True)
class LocalPlatform:
    """Everything below QOL_HOME. See `Platform`."""

    settings: Settings

    @property
    def kinds(self) -> Mapping[Kind, str]:
        """See `Platform`."""
        return {"engine": self.settings.engine, "catalogue": "duckdb", "id_map": "sqlite"}

    def lake(self, profile: Profile = DEFAULT) -> Lake:
        """Return the lake under QOL_HOME."""
        return self._lake.with_tables(profile.folder)

    def arrivals(self) -> Arrivals:
        """Return a listing of all raw days, which remembers those that are old."""
        return self._arrivals

    def id_map(self) -> People:
        """Return a SQLite file."""
        return IdMap(self.settings.id_map_path, self.ledger())

    def ledger(self) -> AnyLedger:
        """Return a file."""
        return Ledger(self.settings.home)

    def engine(self, name: EngineName | None = None) -> AbstractContextManager[Engine]:
        """Return an engine that has QOL_MEMORY_MB of this machine."""
        settings = self.settings
        return open_engine(name or settings.engine, memory_mb=settings.memory_mb, temp_dir=settings.temp_dir)

    def computer(self) -> Computer:
        """Return an engine in this process."""
        return Computer(self.engine, None, self.settings.start_date)

    def catalogue(self) -> Catalogue:
        """Views in memory over the lake."""
        from qol_dagster.resources.catalogue.duckdb import LocalCatalogue

        return LocalCatalogue(self.settings.lake_dir)

    def notifier(self) -> Notifier:
        """Mail to QOL_MAIL_TO, or the log."""
        return SmtpNotifier(self.settings) if self.settings.smtp_host else LogNotifier()

    def report_notifier(self) -> Notifier | None:
        """Mail to QOL_REPORT_MAIL_TO."""
        to = self.settings.report_mail_to
        return SmtpNotifier(replace(self.settings, mail_to=to)) if to and self.settings.smtp_host else None

    def marker(self, name: str) -> SharedObject:
        """Return a file under QOL_HOME."""
        return SharedObject.local(self.settings.home, name)

    def enrolment_state(self) -> EnrolmentState:
        """Return a SQLite file."""
        from qol_ingest.consent.state import SqliteState

        return SqliteState(self.settings.home / "enrolment.sqlite")

    def tokens(self) -> TokenStore:
        """Encrypted in a SQLite file, with the key in another; a backup must not hold the two together."""
        from qol_ingest.garmin.tokens_file import FileTokenStore

        return FileTokenStore(self.settings.home / "tokens.sqlite", self.settings.home / "tokens.key")

    def raw_store(self) -> Store:
        """Return the lake's folder."""
        from qol_ingest.shared.stores import DirectoryStore

        return DirectoryStore(self.settings.lake_dir)

    @cached_property
    def _arrivals(self) -> ListedArrivals:
        return ListedArrivals(self.lake())

    @cached_property
    def _lake(self) -> Lake:
        return Lake.local(self.settings.lake_dir)
