"""What every AWS form needs: a client that does not wait for long, and what its errors may say.

Belongs here: the clients' patience, and the names of what can go wrong. boto3 is loaded when the first client is made.
"""

from __future__ import annotations

from typing import Any

CONNECT_S, READ_S, ATTEMPTS = 1.0, 4.0, 2
"""How long a client waits for a connection and for each piece of an answer, and how often it tries."""


def client(service: str) -> Any:
    """A client of its own session, since the default one is not made for threads."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    retries = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    patience = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries=retries)
    return boto3.session.Session().client(service, config=patience)


def faults() -> tuple[type[Exception], ...]:
    """What a call may raise: a refusal, no answer, or one that nobody can read."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    return BotoCoreError, ClientError, ResponseParserError


def why(error: Exception) -> str:
    """AWS's code for its refusal, or the kind of the fault. Not the message: it may quote keys and ids."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or type(error).__name__)
