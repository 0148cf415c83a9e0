"""The project's side of Garmin's cloud: consent and backfill over a deployment, and downloads over this QOL_HOME.

Belongs here: which stores and queues the parts of `qol_ingest` are given. On AWS the Lambdas set themselves up; what
staff ask for goes to the same places.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING

from qol_dagster.errors import QolInputError
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import LakeError
from qol_dagster.resources.platform import Platform, open_platform
from qol_ingest.consent.enrolment import Invitations
from qol_ingest.consent.oauth import Enrolments, start_url
from qol_ingest.consent.pages import Programme
from qol_ingest.garmin.api import Endpoints, GarminApi, GarminApiError
from qol_ingest.garmin.tokens import ConsentNeededError, TokenStore, TokenStoreError
from qol_ingest.pulling import backfill
from qol_ingest.pulling.messages import Worked, drain
from qol_ingest.pulling.pings import Ping
from qol_ingest.pulling.puller import CLAIM_S, Puller, participant_names
from qol_ingest.pulling.renewal import keep_renewing, renew_tokens
from qol_ingest.shared.calendar import receipt_date
from qol_ingest.shared.erasures import Ledger
from qol_ingest.shared.id_map import Enrolment, IdMap, masked
from qol_ingest.shared.languages import Language
from qol_ingest.shared.queues import DirectoryQueue
from qol_ingest.shared.stores import DirectoryStore

if TYPE_CHECKING:
    from qol_dagster.settings import Settings
    from qol_ingest.server import LocalWebhook

RECEIVES = 8
"""How often a ping is tried over half a day before it is a dead letter; Garmin keeps it for a day."""


COUNTED_DATES = 28
"""How many of the last dates the records of pending users are counted in."""
_USER = re.compile(rb'"userId"\s*:\s*"([^"\\]*)"')


class GarminSetupError(QolInputError):
    """Garmin cannot be asked with these settings; the message says which is missing."""


class InviteError(QolInputError):
    """Nobody can be invited under this id; the message says why."""


class ForgetError(QolInputError):
    """Nobody can be forgotten by these words; the message says why, and holds no Garmin id."""


@dataclass(frozen=True)
class PendingUser:
    """A Garmin user who was never enrolled: the id masked, since when (ISO 8601, UTC), and how many records came."""

    garmin_user: str
    since: str
    records: int | None


def _count_records(lake: Lake, users: Collection[str]) -> dict[str, int] | None:
    """Return how many raw records these users have; None if raw files cannot be read."""
    counts: Counter[str] = Counter()
    try:
        for day in lake.last_raw_days(COUNTED_DATES):
            for item in lake.raw_objects(day):
                counts.update(user for user in _users_in(lake.read_raw(item)) if user in users)
    except LakeError:
        return None
    return dict(counts)


def _users_in(content: bytes) -> Iterator[str]:
    """Yield the user of each line. The whole line is read as JSON only where the text alone does not say it."""
    for line in content.split(b"\n"):
        plain = _USER.findall(line)
        if len(plain) == 1:
            yield plain[0].decode("utf-8", "replace")
        elif line.strip():
            with suppress(ValueError, AttributeError, RecursionError):
                yield str(json.loads(line).get("userId"))


def programme_of(settings: Settings) -> Programme:
    """Return who asks for the data, as participants read it."""
    usual = Programme().names
    names: dict[Language, str] = {
        "ja": settings.programme_ja or usual["ja"],
        "en": settings.programme_en or usual["en"],
    }
    return Programme(names, settings.contact)


def downloads_of(line: str) -> str | None:
    """Return the key under which it is noted what became of the ping of a raw line; None for another line."""
    ping = Ping.read(line)
    return ping.marker if ping else None


@dataclass(frozen=True)
class Garmin:
    """Everything that asks Garmin or answers a participant, over one deployment."""

    settings: Settings

    @property
    def id_map(self) -> IdMap:
        """Who is enrolled."""
        return self._platform.id_map()

    @property
    def invitations(self) -> Invitations:
        """The entry codes."""
        return Invitations(self._platform.enrolment_state())

    @property
    def tokens(self) -> TokenStore:
        """The participants' tokens."""
        return self._platform.tokens()

    @property
    def arrivals(self) -> DirectoryQueue:
        """Pings and lifecycle events that wait to be processed."""
        return DirectoryQueue(self.settings.arrivals_dir, visibility_s=CLAIM_S, max_receives=RECEIVES)

    @cached_property
    def _platform(self) -> Platform:
        return open_platform(self.settings)

    @property
    def is_set_up(self) -> bool:
        """Whether Garmin can be asked at all."""
        return bool(self.settings.garmin_client_id and self.settings.garmin_client_secret)

    def api(self) -> GarminApi:
        """Return Garmin's cloud, or the one at QOL_GARMIN_URL. Raises GarminSetupError."""
        if not self.is_set_up:
            raise GarminSetupError(
                "set QOL_GARMIN_CLIENT_ID and QOL_GARMIN_CLIENT_SECRET to those of your Garmin developer programme"
            )
        endpoints = Endpoints.at(self.settings.garmin_url) if self.settings.garmin_url else Endpoints()
        names = participant_names(self.id_map)
        client = self.settings.garmin_client_id, self.settings.garmin_client_secret
        return GarminApi(endpoints, *client, self.tokens, names)

    def enrolments(self, base_url: str = "") -> Enrolments:
        """Return the pages of consent, at QOL_PUBLIC_URL or else `base_url`. Raises GarminSetupError."""
        url = self.settings.public_url or base_url
        if not url:
            raise GarminSetupError(
                "set QOL_PUBLIC_URL to the address under which participants reach `qol webhook serve`"
            )
        return Enrolments(self.invitations.state, self.api(), self.id_map, url, programme_of(self.settings))

    def invite(self, participant_id: str) -> tuple[str, str]:
        """Make an entry code and return it and its link; any older one of the participant is void. Raises InviteError.

        P0001 and the like are given to whoever is enrolled without an id: such an id may be invited only when it is
        somebody's already, or two people could end up under it.
        """
        self._check_not_erased(participant_id)
        link = self._invitation_link()
        known = any(one.participant_id == participant_id for one in self.id_map.list())
        if re.fullmatch("P[0-9]+", participant_id) and not known:
            raise InviteError(f"{participant_id} may be given to somebody else meanwhile; choose an id like QOL-001")
        code = self.invitations.invite(participant_id)
        return code, link(code)

    def _check_not_erased(self, participant_id: str) -> None:
        if self._platform.ledger().state_of_participant(participant_id) in ("begun", "finished"):
            raise InviteError(
                f"{participant_id} was erased",
                advice="With a new consent, give `qol participants invite ... --after-erasure`, or choose another id",
            )

    def _invitation_link(self) -> Callable[[str], str]:
        """Return what makes the link of an entry code.

        On AWS the pages are a Lambda's, which alone knows Garmin's client secret.
        """
        if self.settings.target == "local":
            return self.enrolments().start_url
        if not self.settings.public_url:
            raise GarminSetupError("set QOL_PUBLIC_URL to the address under which participants reach the deployment")
        return partial(start_url, self.settings.public_url)

    def puller(self) -> Puller:
        """Return what drains the arrivals. Raises GarminSetupError."""
        letters = DirectoryQueue(self.settings.home / "dead_letters")
        store = DirectoryStore(self.settings.lake_dir)
        return Puller(store, self.api(), self.id_map, letters, Ledger(self.settings.home))

    def pull(self) -> Worked:
        """Process everything that is due."""
        return drain(self.arrivals, self.puller().work)

    def renew_tokens(self) -> Worked:
        """Renew tokens that end soon. Raises RenewalError."""
        renewed = renew_tokens(self.api(), self.id_map)
        return Worked({f"tokens {outcome}": number for outcome, number in renewed.items()})

    @contextmanager
    def at_work(self, server: LocalWebhook) -> Iterator[None]:
        """Answer participants, drain arrivals and renew tokens while the webhook runs."""
        server.enrolment = self.enrolments(server.base_url)
        over = threading.Event()
        puller = self.puller()
        threads = (
            threading.Thread(
                target=drain, args=(self.arrivals, puller.work), kwargs={"stopped": over.is_set}, daemon=True
            ),
            threading.Thread(target=keep_renewing, args=(puller.api, puller.id_map, over), daemon=True),
        )
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(5)

    def backfill(
        self,
        participant: str,
        since: date,
        until: date,
        types: Sequence[str] = (),
        *,
        on_progress: Callable[[backfill.Step], None] = lambda _step: None,
    ) -> backfill.Report:
        """Ask for old data of a participant; it comes by the webhook. Raises BackfillError, GarminSetupError."""
        pieces = backfill.plan(types, since, until, receipt_date(datetime.now(UTC)))
        people = backfill.accounts(self.id_map, participant)
        return backfill.run(self.api(), self._platform.raw_store(), people, pieces, on_progress=on_progress)

    def connection(self, account: Enrolment) -> str:
        """Return whether there are tokens for an account, in words."""
        try:
            kept = self.tokens.get(account.garmin_user_id)
        except TokenStoreError as error:
            return str(error)
        if kept is None:
            return "not connected"
        return "has to connect again" if kept.needs_consent else "connected"

    def forget(self, garmin_user: str, participant_id: str) -> None:
        """Remove a user, by Garmin's id or as `masked` shows it, and the tokens. Raises ForgetError.

        `participant_id` says whose account it is; "" for a user who was never enrolled.
        """
        given = garmin_user.strip()
        found = [one for one in self.id_map.list() if given in (one.garmin_user_id, masked(one.garmin_user_id))]
        if not found:
            raise ForgetError("there is no such Garmin user; `qol participants pending` shows who is not enrolled")
        if len(found) > 1:
            raise ForgetError(f"{len(found)} Garmin users look like this; give the whole id")
        (account,) = found
        if account.participant_id != participant_id:
            belongs = f"belongs to {account.participant_id}" if account.participant_id else "belongs to no participant"
            raise ForgetError(f"this Garmin user {belongs}; say so with --participant-id if that is to be forgotten")
        self.tokens.delete(account.garmin_user_id)
        self.id_map.forget(account.garmin_user_id)

    def pending(self) -> list[PendingUser]:
        """Return who pushes and was never enrolled, the longest first.

        Their records are counted in the raw files of the last COUNTED_DATES dates; None where these cannot be read.
        """
        waiting = [one for one in self.id_map.list() if one.is_pending]
        counts = _count_records(self._platform.lake(), {one.garmin_user_id for one in waiting}) if waiting else {}
        return [
            PendingUser(
                masked(one.garmin_user_id),
                one.created_at,
                None if counts is None else counts.get(one.garmin_user_id, 0),
            )
            for one in sorted(waiting, key=lambda one: one.created_at)
        ]

    def end_registration(self, user: str) -> str:
        """End a user's registration at Garmin, if there are credentials and tokens for it, and forget the tokens.

        Return what could not be done, in words; then the tokens stay, so that it can be tried again.
        """
        try:
            kept = self.tokens.get(user)
            if kept is not None and not kept.needs_consent and self.is_set_up:
                self.api().deregister(user)
            self.tokens.delete(user)
        except ConsentNeededError:  # it has ended already
            self.tokens.delete(user)
        except (GarminApiError, TokenStoreError) as error:
            return str(error)
        return ""

    def disconnect(self, participant: str, *, at_garmin: bool = False) -> list[str]:
        """Forget a participant's tokens; with `at_garmin`, end the registrations with them first.

        Return what could not be done, in words; then the tokens stay, so that it can be tried again.
        """
        problems, api = [], self.api() if at_garmin else None
        for account in self.id_map.list():
            if account.participant_id != participant:
                continue
            try:
                if api is not None:
                    api.deregister(account.garmin_user_id)
                self.tokens.delete(account.garmin_user_id)
            except (GarminApiError, ConsentNeededError, TokenStoreError) as error:
                problems.append(str(error))
        return problems
