"""One request over HTTP, and nothing besides: no redirect, no second try, no proxy, no line in a log.

Belongs here: the connection, TLS, and that an answer is whole. What is asked, and what the answer means, belong to the
callers. It is the standard library's connection and no client's: those rewrite a URL (a stray % becomes %25) where
Garmin's callbacks go out letter by letter, write URLs, which hold secrets and ids, into the log, and come with Lambda
in a version that is not ours to choose.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from qol_ingest.shared.errors import QolError


class NoAnswerError(QolError):
    """No answer came, or not the whole of it. The message is the kind of the error alone: it quotes nothing."""


@contextmanager
def request(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, timeout_s: float
) -> Iterator[HTTPResponse]:
    """Ask once and yield the answer, to be read with `read` or `pieces` in the block.

    `timeout_s` is for the connection and for each piece that is sent or read. Raises NoAnswerError, in the block too:
    for an answer that breaks off before its announced end, and for a URL or a header that cannot be sent.
    """
    try:
        connection, target = _connection(url, timeout_s)
    except ValueError as error:
        raise NoAnswerError(type(error).__name__) from None
    try:
        _send(connection, method, target, headers, body)
        with connection.getresponse() as response:
            yield response
    except (HTTPException, OSError) as error:
        raise NoAnswerError(type(error).__name__) from None
    finally:
        connection.close()


def read(response: HTTPResponse, limit: int) -> bytes:
    """Read a small answer to its end, or one byte more than `limit` of a larger one."""
    content = response.read(limit + 1)
    if len(content) <= limit:
        _expect_end(response)
    return content


def pieces(response: HTTPResponse, size: int) -> Iterator[bytes]:
    """Read an answer to its end, as it arrives, in pieces of up to `size` bytes."""
    while piece := response.read1(size):
        yield piece
    _expect_end(response)


def _expect_end(response: HTTPResponse) -> None:
    """http.client does not complain about an answer that ends before the length it announced."""
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


def _connection(url: str, timeout_s: float) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection that is not open yet, and what to ask it for. Raises ValueError for what is no URL."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context), target
    return http.client.HTTPConnection(host, port, timeout=timeout_s), target


def _send(
    connection: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str], body: bytes | None
) -> None:
    try:
        connection.request(method, target, body, dict(headers))
    except ValueError as error:  # its text quotes the header, with the token in it
        raise NoAnswerError(type(error).__name__) from None
