"""Participants' Garmin tokens: what a store of them does, and one that is valid when it is needed.

Belongs here: refreshing: early, once, and kept before it is used, because Garmin's refresh token changes with every
use. Where tokens are kept is `tokens_file.py`'s and `tokens_aws.py`'s; how Garmin is asked, `api.py`'s.

A Garmin user id is never written: a row or secret is named by a hash of it. No message or log line holds a token or
an id.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from qol_ingest.shared.errors import QolError

REFRESH_EARLY_S = 600.0
"""Garmin asks to refresh a token this long before it ends."""
WRITE_WAITS_S = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Between the tries to keep new tokens."""


class TokenStoreError(QolError):
    """Tokens could not be read or kept; the message says why and holds none."""


class RefreshRefusedError(QolError):
    """Garmin does not take this refresh token any more; `grant_ended` says that there is no consent behind it."""

    def __init__(self, message: str, *, grant_ended: bool = False) -> None:
        super().__init__(message)
        self.grant_ended = grant_ended


class ConsentNeededError(QolError):
    """A participant has not connected to Garmin, or has to do so again."""


class GrantEndedError(ConsentNeededError):
    """Garmin has just said that a participant's consent has ended."""


@dataclass(frozen=True)
class Tokens:
    """What Garmin gave for one user. Times are seconds since 1970; without a refresh token, consent is needed."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    refresh_expires_at: float

    @property
    def needs_consent(self) -> bool:
        """Whether only the participant can get new ones."""
        return not self.refresh_token


CONSENT_NEEDED = Tokens("", "", 0.0, 0.0)
"""Kept in place of tokens which Garmin no longer takes."""


class TokenStore(Protocol):
    """Tokens by Garmin user id, for threads and processes at a time. Everything raises TokenStoreError."""

    def get(self, user: str) -> Tokens | None:
        """Return the tokens of a user."""

    def put(self, user: str, tokens: Tokens) -> None:
        """Keep a user's tokens in place of any others."""

    def replace(self, user: str, old: Tokens, new: Tokens) -> bool:
        """Keep `new` if `old` is what is kept at that moment; False if not."""

    def delete(self, user: str) -> None:
        """Forget a user's tokens."""

    def locked(self, user: str) -> AbstractContextManager[None]:
        """Keep all others who ask for the same user's lock waiting. Not to be nested."""


@dataclass(frozen=True)
class AccessTokens:
    """Access tokens that are valid now. `refresh` asks Garmin (raises RefreshRefusedError when it says no).

    `name_of` gives what a Garmin user is called in messages: the participant id.
    """

    store: TokenStore
    refresh: Callable[[str], Tokens] = field(repr=False)
    name_of: Callable[[str], str] = lambda _user: "a participant"
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def known(self, user: str) -> bool:
        """Return whether there are tokens that Garmin has not refused."""
        tokens = self.store.get(user)
        return tokens is not None and not tokens.needs_consent

    def for_user(self, user: str, rejected: str = "") -> str:
        """Return a token that is valid for ten minutes at least; not `rejected`, which Garmin refused before its time.

        However many ask at the same time, one refreshes and the others get what it got. Raises ConsentNeededError,
        TokenStoreError, and what `refresh` raises.
        """
        tokens = self._usable(user)
        if self._is_fresh(tokens, rejected):
            return tokens.access_token
        with self.store.locked(user):
            tokens = self._usable(user)
            if not self._is_fresh(tokens, rejected):
                tokens = self._refreshed(user, tokens)
        return tokens.access_token

    def renew(self, user: str, before_s: float) -> bool:
        """Use the refresh token if it ends within so many seconds, for a new one; return whether it was.

        Raises what `for_user` does, but not for a user without tokens.
        """
        if not self._ends_within(user, before_s):
            return False
        with self.store.locked(user):
            if not self._ends_within(user, before_s):
                return False
            self._refreshed(user, self._usable(user))
        return True

    def _ends_within(self, user: str, before_s: float) -> bool:
        tokens = self.store.get(user)
        return tokens is not None and not tokens.needs_consent and self.clock() >= tokens.refresh_expires_at - before_s

    def _usable(self, user: str) -> Tokens:
        tokens = self.store.get(user)
        if tokens is None:
            raise ConsentNeededError(f"{self.name_of(user)} has not connected to Garmin; send an invitation")
        if tokens.needs_consent:
            raise ConsentNeededError(f"{self.name_of(user)} has to connect to Garmin again; send an invitation")
        return tokens

    def _is_fresh(self, tokens: Tokens, rejected: str) -> bool:
        early_enough = self.clock() < tokens.expires_at - REFRESH_EARLY_S
        return early_enough and not hmac.compare_digest(tokens.access_token.encode(), rejected.encode())

    def _refreshed(self, user: str, old: Tokens) -> Tokens:
        # The same once more, to see that the store takes it: with a full disk, a refresh would use up everyone's
        # refresh token and keep nobody's new one.
        grant_ended = False
        if self.store.replace(user, old, old):
            try:
                new = self.refresh(old.refresh_token)
            except RefreshRefusedError as error:
                new, grant_ended = CONSENT_NEEDED, error.grant_ended
            self._keep(user, old, new)
        # Read again, since the participant may have connected anew meanwhile; those tokens are the newer ones.
        try:
            return self._usable(user)
        except ConsentNeededError as error:
            if grant_ended:
                raise GrantEndedError(str(error)) from None
            raise

    def _keep(self, user: str, old: Tokens, new: Tokens) -> None:
        """Tried several times: the old refresh token is used up, so a lost new one costs a consent."""
        for wait_s in WRITE_WAITS_S:
            try:
                self.store.replace(user, old, new)
            except TokenStoreError:
                self.sleep(wait_s)
            else:
                return
        self.store.replace(user, old, new)
