"""Tokens on AWS: a secret for each user in Secrets Manager. Other secrets are read here too.

Belongs here: how they are kept, and by what means one of many changes them. What a store does, and when tokens are
refreshed, is `tokens.py`'s.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from qol_ingest.garmin.tokens import CONSENT_NEEDED, Tokens, TokenStoreError

LEASE_S = 60.0
"""How long a refresh on AWS may take before another one may try; several times what a request may take."""
_SWAP_TRIES = 50

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
