"""What every AWS form needs: a client that does not wait for long, and what its errors may say.

Belongs here: the clients' patience, and the names of what can go wrong. boto3 is loaded when the first client is made.
"""

from __future__ import annotations

import os
from typing import Any

CONNECT_S, READ_S, ATTEMPTS = 1.0, 4.0, 2
"""How long a client waits for a connection and for each piece of an answer, and how often it tries."""


def client(service: str) -> Any:
    """Return a client of its own session, since the default one is not made for threads."""
    return session().client(service, config=patience())


def session(role_arn: str = "") -> Any:
    """Return a session in the region of AWS_REGION, which boto3 alone does not read, or else of boto3's own sources.

    With `role_arn` it has the rights of that role, which whoever this process is has to be let assume.
    """
    import boto3

    core = _assuming(role_arn) if role_arn else None
    return boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None, botocore_session=core)


def _assuming(role_arn: str) -> Any:
    """Return a session of botocore that assumes a role when it is first used, and again before that ends."""
    from botocore.credentials import DeferredRefreshableCredentials
    from botocore.session import get_session

    def assume() -> dict[str, str]:
        found = client("sts").assume_role(RoleArn=role_arn, RoleSessionName="qol")["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }

    core = get_session()
    core._credentials = DeferredRefreshableCredentials(assume, "sts-assume-role")  # there is no setter
    return core


def patience(read_s: float = READ_S) -> Any:
    """Return how long clients wait, and how often they try."""
    from botocore.config import Config

    retries = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    return Config(connect_timeout=CONNECT_S, read_timeout=read_s, retries=retries)


def faults() -> tuple[type[Exception], ...]:
    """Return what a call may raise: a refusal, no answer, or one that nobody can read."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError


def why(error: Exception) -> str:
    """Return AWS's code for its refusal, or the kind of the fault. Not the message: it may quote keys and ids."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or type(error).__name__)
