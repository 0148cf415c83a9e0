"""Participants' Garmin tokens: where they are kept, and one that is valid when it is needed.

Belongs here: the stores (a file with encrypted values, or AWS Secrets Manager), and refreshing: early, once, and kept
before it is used, because Garmin's refresh token changes with every use. How Garmin is asked belongs in `garmin_api`.

A Garmin user id is never written: a row or secret is named by a hash of it. No message or log line holds a token or
an id.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from qol_ingest.shared import files, sqlite
from qol_ingest.shared.errors import QolError, reason

REFRESH_EARLY_S = 600.0
"""Garmin asks to refresh a token this long before it ends."""
LEASE_S = 60.0
"""How long a refresh on AWS may take before another one may try; several times what a request may take."""
WRITE_WAITS_S = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Between the tries to keep new tokens."""
_SWAP_TRIES = 50


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


# -- on one machine

_KEY_CHECK = "key"
"""The name of a row without tokens that shows whether the key is the right one."""


@dataclass(frozen=True)
class FileTokenStore:
    """One SQLite file with encrypted values. The key is in `key_path`: a backup must not hold both together."""

    path: Path
    key_path: Path

    def get(self, user: str) -> Tokens | None:
        """See `TokenStore`."""
        if not self.path.exists():
            return None
        with self._database() as database:
            return self._read(database, user)

    def put(self, user: str, tokens: Tokens) -> None:
        """See `TokenStore`."""
        with self._database() as database:
            self._write(database, user, tokens)

    def replace(self, user: str, old: Tokens, new: Tokens) -> bool:
        """See `TokenStore`."""
        with self._database() as database:
            if self._read(database, user) != old:
                return False
            self._write(database, user, new)
            return True

    def delete(self, user: str) -> None:
        """See `TokenStore`."""
        if self.path.exists():
            with self._database() as database:
                database.execute("DELETE FROM tokens WHERE name = ?", (self._name(user),))

    @contextmanager
    def locked(self, user: str) -> Iterator[None]:
        """See `TokenStore`. The lock of a process that was killed is free at once."""
        folder = self.path.with_name(f"{self.path.name}.locks")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(folder / self._name(user), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self, database: sqlite3.Connection, user: str) -> Tokens | None:
        kept = self._open(database, self._name(user))
        return None if kept is None else Tokens(**kept)

    def _write(self, database: sqlite3.Connection, user: str, tokens: Tokens) -> None:
        self._seal(database, self._name(user), vars(tokens))

    def _open(self, database: sqlite3.Connection, name: str) -> dict[str, Any] | None:
        from cryptography.fernet import InvalidToken

        row = database.execute("SELECT value FROM tokens WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        try:
            kept: dict[str, Any] = json.loads(self._cipher.decrypt(row[0]))
        except InvalidToken:
            kept = {}
        if kept.pop("name", None) != name:  # a row that was moved to another user is as wrong as one with another key
            raise TokenStoreError(f"{self.path} does not go with {self.key_path}; put the right key back")
        return kept

    def _seal(self, database: sqlite3.Connection, name: str, content: Mapping[str, Any]) -> None:
        value = self._cipher.encrypt(json.dumps({"name": name, **content}).encode())
        database.execute("INSERT OR REPLACE INTO tokens VALUES (?, ?)", (name, value))

    def _database(self) -> AbstractContextManager[sqlite3.Connection]:
        self._cipher  # noqa: B018 - the key comes first, so that a file without its key is never made
        return sqlite.transaction(self.path, self._prepare, self._unwritable)

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE IF NOT EXISTS tokens (name TEXT PRIMARY KEY, value BLOB NOT NULL)")
        # Names depend on the key: with another one, everybody would look as if they had never connected.
        if self._open(database, _KEY_CHECK) is None:
            self._seal(database, _KEY_CHECK, {})

    def _name(self, user: str) -> str:
        return hmac.new(self._key, user.encode(), hashlib.sha256).hexdigest()

    @cached_property
    def _cipher(self) -> Any:
        from cryptography.fernet import Fernet

        try:
            return Fernet(self._key)
        except ValueError as error:
            raise TokenStoreError(f"{self.key_path} holds no key; put the right one back") from error

    @cached_property
    def _key(self) -> bytes:
        try:
            return self.key_path.read_bytes().strip()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise TokenStoreError(f"{self.key_path} cannot be read: {error.strerror}") from error
        if self.path.exists():
            raise TokenStoreError(f"{self.key_path} is missing; put it back, {self.path} cannot be read without it")
        try:
            return self._new_key()
        except OSError as error:
            raise self._unwritable(error) from error

    def _new_key(self) -> bytes:
        """Make the key file whole or not at all; if another process was first, its key counts."""
        from cryptography.fernet import Fernet

        self.key_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_new(self.key_path, Fernet.generate_key())
        return self.key_path.read_bytes().strip()

    def _unwritable(self, error: Exception) -> TokenStoreError:
        return TokenStoreError(f"{self.path} could not be read or written: {reason(error)}")


# -- on AWS

_MISSING, _TAKEN = "ResourceNotFoundException", "ResourceExistsException"


@dataclass(frozen=True)
class SecretsManagerTokenStore:
    """One secret per user, `<prefix><SHA-256 of the user id>`.

    Secrets Manager has no conditional write, but it refuses a second version under a request token that exists with
    other content. The request token made from the present version's id therefore admits one successor only: that is
    the compare-and-swap, and a lease kept in the secret by the same means is the lock.
    """

    prefix: str = "qol/garmin/"
    kms_key_id: str = ""
    client: Any = None
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def get(self, user: str) -> Tokens | None:
        """See `TokenStore`."""
        found = self._read(user)
        return found[0].tokens if found else None

    def put(self, user: str, tokens: Tokens) -> None:
        """See `TokenStore`."""
        self._change(user, lambda kept: replace(kept or _Secret(tokens), tokens=tokens))

    def replace(self, user: str, old: Tokens, new: Tokens) -> bool:
        """See `TokenStore`."""
        return self._change(user, lambda kept: replace(kept, tokens=new) if kept and kept.tokens == old else None)

    def delete(self, user: str) -> None:
        """See `TokenStore`. Gone at once: a secret kept for recovery would be a token kept against a person's will."""
        self._ask("delete_secret", _MISSING, SecretId=self._id(user), ForceDeleteWithoutRecovery=True)

    @contextmanager
    def locked(self, user: str) -> Iterator[None]:
        """See `TokenStore`. A lease ends by itself after LEASE_S, so a killed Lambda holds nobody up for long."""
        lease = secrets.token_hex(16)

        def take(kept: _Secret | None) -> _Secret | None:
            if kept is None or kept.lease_until > self.clock():
                return None
            return replace(kept, lease=lease, lease_until=self.clock() + LEASE_S)

        while not self._change(user, take):
            if self._read(user) is None:
                break  # there is nothing to guard
            self.sleep(0.2)
        try:
            yield
        finally:
            with suppress(TokenStoreError):  # then it ends by itself; what was done under it is done
                self._change(user, lambda kept: _Secret(kept.tokens) if kept and kept.lease == lease else None)

    def _change(self, user: str, change: Callable[[_Secret | None], _Secret | None]) -> bool:
        """Write what `change` makes of what is kept (None: nothing is), again if somebody else was faster.

        False if `change` gives None.
        """
        for _ in range(_SWAP_TRIES):
            kept, version = self._read(user) or (None, "")
            new = change(kept)
            if new is None:
                return False
            if self._write(user, new, version):
                return True
        raise TokenStoreError("the tokens of a participant are being changed all the time; try again")

    def _read(self, user: str) -> tuple[_Secret, str] | None:
        answer = self._ask("get_secret_value", _MISSING, SecretId=self._id(user))
        return (_Secret.of(answer["SecretString"]), str(answer["VersionId"])) if answer else None

    def _write(self, user: str, content: _Secret, version: str) -> bool:
        """Write the successor of `version` ("": the first one); False if there is one already, or no secret."""
        text = content.text()
        if not version:
            key = {"KmsKeyId": self.kms_key_id} if self.kms_key_id else {}
            return bool(self._ask("create_secret", _TAKEN, Name=self._id(user), SecretString=text, **key))
        token = hashlib.sha256(f"after {version}".encode()).hexdigest()
        where = {"SecretId": self._id(user), "ClientRequestToken": token}
        return bool(self._ask("put_secret_value", _TAKEN, _MISSING, SecretString=text, **where))

    def _ask(self, call: str, *expected: str, **arguments: Any) -> Any:
        return _ask(self._client, call, *expected, **arguments)

    @cached_property
    def _client(self) -> Any:
        return _secrets_manager() if self.client is None else self.client

    def _id(self, user: str) -> str:
        return self.prefix + hashlib.sha256(user.encode()).hexdigest()


def read_secret(arn: str, client: Any = None) -> str:
    """Return the text of a secret that is none of the users'. Raises TokenStoreError."""
    answer = _ask(client or _secrets_manager(), "get_secret_value", SecretId=arn)
    return str(answer.get("SecretString", ""))


def _ask(client: Any, call: str, *expected: str, **arguments: Any) -> Any:
    """Return the answer, or None for an error that is expected."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return getattr(client, call)(**arguments)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if code in expected:
            return None
        raise TokenStoreError(f"Secrets Manager refused {call}: {code}") from None
    except BotoCoreError as error:
        raise TokenStoreError(f"Secrets Manager could not be asked: {type(error).__name__}") from None


def _secrets_manager() -> Any:
    import boto3
    from botocore.config import Config

    patience = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})
    return boto3.session.Session().client("secretsmanager", config=patience)


@dataclass(frozen=True)
class _Secret:
    """What one secret holds."""

    tokens: Tokens
    lease: str = ""
    lease_until: float = 0.0

    def text(self) -> str:
        # The salt makes two equal contents differ, so that a lost swap is never taken for a repeated request.
        kept = {**vars(self.tokens), "lease": self.lease, "lease_until": self.lease_until, "salt": secrets.token_hex(8)}
        return json.dumps(kept)

    @classmethod
    def of(cls, text: str) -> _Secret:
        try:
            kept = json.loads(text)
            kept.pop("salt", None)
            lease, until = str(kept.pop("lease", "")), float(kept.pop("lease_until", 0.0))
            return cls(Tokens(**kept), lease, until)
        except (ValueError, TypeError, AttributeError):
            return cls(CONSENT_NEEDED)  # whatever it was, connecting to Garmin again makes it good
