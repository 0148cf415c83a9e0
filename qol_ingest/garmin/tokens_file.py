"""Tokens on one machine: a SQLite file with encrypted values, and the key in a file of its own.

Belongs here: how they are kept and encrypted. What a store does, and when tokens are refreshed, is `tokens.py`'s.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from qol_ingest.garmin.tokens import Tokens, TokenStoreError
from qol_ingest.shared import files, sqlite
from qol_ingest.shared.errors import reason

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
