"""What a deployment runs on, in its form for one target: on a laptop or on AWS.

Belongs here: the port, and the one function that chooses between its two forms. Opening something happens when it is
asked for, so that loading the definitions touches nothing. Who needs a lake asks for the lake, not for the platform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, Protocol

from qol_dagster.metrics.profiles import DEFAULT, Profile

if TYPE_CHECKING:
    from qol_dagster.engines import Engine, EngineName
    from qol_dagster.lake.lake import Lake
    from qol_dagster.lake.shared_object import SharedObject
    from qol_dagster.resources.arrivals import Arrivals
    from qol_dagster.resources.catalogue import Catalogue
    from qol_dagster.resources.glue_run import GlueJob
    from qol_dagster.resources.id_map import People
    from qol_dagster.resources.notifier import Notifier
    from qol_dagster.settings import Settings
    from qol_ingest.consent.state import EnrolmentState
    from qol_ingest.garmin.tokens import TokenStore
    from qol_ingest.shared.erasures import AnyLedger
    from qol_ingest.shared.stores import Store

Kind = Literal["engine", "catalogue", "id_map"]


class Platform(Protocol):
    """Everything of a deployment. Each method opens one part."""

    @property
    def settings(self) -> Settings:
        """The settings it was opened with."""

    @property
    def kinds(self) -> Mapping[Kind, str]:
        """What its parts are, as Dagster shows them."""

    def lake(self, profile: Profile = DEFAULT) -> Lake:
        """Return the lake, with the tables of a profile."""

    def arrivals(self) -> Arrivals:
        """Return which raw days may have changed."""

    def id_map(self) -> People:
        """Return who is enrolled."""

    def ledger(self) -> AnyLedger:
        """Return who withdrew or was erased."""

    def engine(self, name: EngineName | None = None) -> AbstractContextManager[Engine]:
        """Return an engine in this process, by default the one of the settings."""

    def computer(self) -> Computer:
        """Return what computes weeks."""

    def catalogue(self) -> Catalogue:
        """Return the tables people query."""

    def notifier(self) -> Notifier:
        """Return who is notified of failures."""

    def report_notifier(self) -> Notifier | None:
        """Return the staff who hear of each new weekly report, if that is configured."""

    def marker(self, name: str) -> SharedObject:
        """Return an object that one process can claim once, seen by all hosts of the deployment."""

    def enrolment_state(self) -> EnrolmentState:
        """Invitations and sign-ins that are under way."""

    def tokens(self) -> TokenStore:
        """Return the participants' tokens for Garmin's cloud."""

    def raw_store(self) -> Store:
        """Return where the receiver writes."""


def open_platform(settings: Settings, tables_key: str = "") -> Platform:
    """Return the platform for the target of the settings.

    `tables_key`: the key of KMS under which tables are written; of those who write tables on AWS.
    """
    if settings.target == "aws":
        from qol_dagster.resources.platform.aws import AwsPlatform

        return AwsPlatform(settings, tables_key)
    from qol_dagster.resources.platform.local import LocalPlatform

    return LocalPlatform(settings)


@dataclass(frozen=True)
class Computer:
    """What computes weeks: the Glue job if there is one, else an engine in this process; `since` is the first date."""

    engine: Callable[[EngineName | None], AbstractContextManager[Engine]]
    glue_job: GlueJob | None
    since: date


@dataclass(frozen=True)
class Resources:
    """The parts that Dagster's assets, sensors and hooks ask for, each opened by a call; tests swap single ones."""

    settings: Settings
    lake: Callable[[], Lake]
    arrivals: Callable[[], Arrivals]
    id_map: Callable[[], People]
    computer: Callable[[], Computer]
    catalogue: Callable[[], Catalogue]
    notifier: Callable[[], Notifier]
    report_notifier: Callable[[], Notifier | None]
    marker: Callable[[str], SharedObject]
    tokens: Callable[[], TokenStore]
    enrolment_state: Callable[[], EnrolmentState]

    @classmethod
    def of(cls, platform: Platform, overrides: Mapping[str, Any] | None = None) -> Resources:
        """Return the parts of a platform, but for those in `overrides`, which has the parts themselves.

        Raises KeyError for a name that is none of the parts.
        """
        parts = {item.name: getattr(platform, item.name) for item in fields(cls)}
        for name, part in (overrides or {}).items():
            if name not in parts or name == "settings":
                raise KeyError(f"there is no resource {name}; there are {', '.join(parts)}")
            parts[name] = part if name == "marker" else _already(part)
        return cls(**parts)


def _already(part: Any) -> Callable[[], Any]:
    return lambda: part
