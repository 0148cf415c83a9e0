"""What a deployment runs on: lake, id map, engine, catalogue and notifier behind one resource.

Belongs here: which form of each a target uses. Opening one happens when it is asked for, so that loading the
definitions touches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qol_dagster.engines import Engine, EngineName, open_engine
from qol_dagster.profiles import DEFAULT, Profile
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.notifier import LogNotifier, Notifier, SmtpNotifier
from qol_dagster.resources.storage import Lake

if TYPE_CHECKING:
    from qol_dagster.resources.catalogue import Catalogue
    from qol_dagster.settings import Settings


@dataclass(frozen=True)
class Platform:
    """The local target: a folder, SQLite, an engine in this process, mail by SMTP if it is configured."""

    settings: Settings

    def lake(self, profile: Profile = DEFAULT) -> Lake:
        """The lake under QOL_HOME, with the tables of a profile."""
        return Lake.local(self.settings.lake_dir, profile.folder)

    def id_map(self) -> IdMap:
        """Who is enrolled."""
        return IdMap(self.settings.id_map_path)

    def engine(self, name: EngineName | None = None) -> AbstractContextManager[Engine]:
        """An engine, by default the one of the settings."""
        return open_engine(
            name or self.settings.engine, memory_mb=self.settings.memory_mb, temp_dir=self.settings.temp_dir
        )

    def notifier(self) -> Notifier:
        """Who is told of failures: the people of QOL_MAIL_TO, and the log in any case."""
        return SmtpNotifier(self.settings) if self.settings.smtp_host else LogNotifier()

    def catalogue(self) -> Catalogue:
        """The tables people query."""
        from qol_dagster.resources.catalogue import LocalCatalogue  # noqa: PLC0415

        return LocalCatalogue(self.settings.lake_dir)

    def count_rows(self, table: str, partitions: Sequence[str]) -> dict[str, int]:
        """Rows the catalogue shows for each of these partitions of `db_qol.<table>`."""
        from qol_dagster.resources.catalogue import count_rows  # noqa: PLC0415

        return count_rows(self.catalogue(), table, partitions)
