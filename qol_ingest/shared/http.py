"""One request over HTTP, and nothing besides: no redirect, no second try, no proxy, no line in a log.

Belongs here: the connection, TLS, and that an answer is whole. What is asked, and what the answer means, belong to the
callers. urllib3 comes with boto3, also in Lambda (2.6 or later), and is loaded with the first request.

It is urllib3's connection and not its pool: the pool rewrites a URL (a stray % becomes %25, %3d becomes %3D) where
Garmin's callbacks go out letter by letter, and it writes URLs, which hold secrets and ids, into the log.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from qol_ingest.shared.errors import QolError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse
    from urllib3.connection import HTTPConnection


class NoAnswerError(QolError):
    """No answer came, or not the whole of it. The message is the kind of the error alone: it quotes nothing."""


@contextmanager
def request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, timeout_s: float
) -> Iterator[BaseHTTPResponse]:
    """Ask once and yield the answer, its content as it is sent and still to be read.

    `timeout_s` is for the connection and for each piece that is sent or read. Raises NoAnswerError, in the block too:
    for an answer that breaks off before its announced end, and for a URL or a header that cannot be sent.
    """
    from urllib3.exceptions import HTTPError

    try:
        with _asked(method, url, headers, body, timeout_s) as response:
            yield response
    except (HTTPError, HTTPException, OSError) as error:
        raise NoAnswerError(_kind(error)) from None


def read(response: BaseHTTPResponse, limit: int) -> bytes:
    """Read a small answer to its end, or one byte more than `limit` of a larger one. To be called in the block."""
    content = b""
    # Once more after the last piece: only then does urllib3 say that an answer broke off.
    while len(content) <= limit and (piece := response.read(limit + 1 - len(content))):
        content += piece
    return content


@contextmanager
def _asked(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
) -> Iterator[BaseHTTPResponse]:
    try:
        parts = urlsplit(url)
        connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout_s)
    except ValueError as error:
        raise NoAnswerError(type(error).__name__) from None
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        _send(connection, method, target, headers, body)
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int | None, timeout_s: float) -> HTTPConnection:
    from urllib3.connection import HTTPConnection, HTTPSConnection

    _quieten()
    if scheme == "https":
        return HTTPSConnection(host, port, timeout=timeout_s, ssl_context=ssl.create_default_context())
    return HTTPConnection(host, port, timeout=timeout_s)


def _send(connection: HTTPConnection, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> None:
    from urllib3.util import SKIP_HEADER

    # Content as it is sent: callers bound its size, and what is packed would grow beyond that.
    options: dict[str, Any] = {"preload_content": False, "decode_content": False}
    try:
        connection.request(method, target, body, {"user-agent": SKIP_HEADER, **headers}, **options)
    except ValueError as error:  # its text quotes the header, with the token in it
        raise NoAnswerError(type(error).__name__) from None


@cache
def _quieten() -> None:
    """Keep urllib3 from warning about an odd answer: the warning quotes the URL."""
    logging.getLogger("urllib3.connection").setLevel(logging.CRITICAL)


def _kind(error: BaseException) -> str:
    """The kind of what went wrong: of urllib3's own errors, the kind of their cause."""
    from urllib3.exceptions import HTTPError

    while isinstance(error, HTTPError) and error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__
