"""The receiver over plain HTTP on one machine, in place of API Gateway and Lambda.

Belongs here: HTTP in, API Gateway events out to the same `Receiver` and `Enrolments` that run in Lambda. Nothing is
decided here but what API Gateway decides: who gets a path, how large a body may be, how long a client may take.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote, unquote

from qol_ingest.webhook import LARGEST_BODY_BYTES, PUSH_PATH, Answer, Event, Receiver

log = logging.getLogger(__name__)

CLIENT_TIMEOUT_S = 30.0
OAUTH_PATH = "/oauth/"
LAST_REQUESTS_S = 5.0
"""How long a stopping server waits for requests that are under way."""


class Handler(Protocol):
    """What answers requests: a `Receiver`, or `oauth.Enrolments`."""

    def handle(self, event: Event) -> Answer:
        """Answer one request (API Gateway HTTP API, payload 2.0)."""


class LocalWebhook:
    """A server that listens from the start; `with` runs it in the background, `serve_forever` in the foreground.

    With an enrolment, that answers everything below /oauth/. Port 0 takes a free one. Raises OSError if the port is
    taken. What is opened is closed by either way to run it, or by `close`.
    """

    def __init__(
        self, receiver: Receiver, host: str = "127.0.0.1", port: int = 0, enrolment: Handler | None = None
    ) -> None:
        self._server = _Server((host, port), receiver, enrolment)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._host = host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port

    @property
    def base_url(self) -> str:
        """The URL without any path."""
        return f"http://{self._host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL that takes pushes. It holds the secret."""
        return f"{self.base_url}{PUSH_PATH}{quote(self._server.receiver.secret, safe='')}"

    @property
    def enrolment(self) -> Handler | None:
        """What answers below /oauth/. It may be set later, since an enrolment has to know the URL."""
        return self._server.enrolment

    @enrolment.setter
    def enrolment(self, enrolment: Handler | None) -> None:
        self._server.enrolment = enrolment

    def serve_forever(self) -> None:
        """Answer requests until interrupted, then close."""
        try:
            self._server.serve_forever()
        finally:
            self.close()

    def close(self) -> None:
        """Stop listening, let requests under way finish, close all connections."""
        self._server.server_close()
        self._server.hang_up(LAST_REQUESTS_S)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self.close()


class _BadRequestError(Exception):
    """A request that is no proper HTTP; `status` says in what way."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], receiver: Receiver, enrolment: Handler | None) -> None:
        self.receiver, self.enrolment = receiver, enrolment
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the host's name, which may take seconds and is never used.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def hang_up(self, timeout_s: float) -> None:
        """Take no more requests on open connections and wait for the answers under way."""
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
            self._changed.wait_for(lambda: not self._connections, timeout_s)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - neither may be logged
        log.error("a request failed: %s", type(sys.exc_info()[1]).__name__)  # its message may quote data


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "qol", ""
    disable_nagle_algorithm = True
    timeout = CLIENT_TIMEOUT_S

    def handle(self) -> None:
        # A client that goes away has lost nothing: without a 200 it sends again.
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def do_POST(self) -> None:
        try:
            body = self._read_body()
        except _BadRequestError as error:
            self.close_connection = True
            self._send(error.status, {"connection": "close"}, b"")
            return
        event = self._event(body)
        enrolment = self.server.enrolment if event["rawPath"].startswith(OAUTH_PATH) else None
        answer = (enrolment or self.server.receiver).handle(event)
        self._send(answer["statusCode"], answer["headers"], answer["body"].encode(), answer.get("cookies", ()))

    do_GET = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 - names http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: request lines hold secrets and codes. Whoever answers logs what may be known."""

    def _event(self, body: bytes) -> Event:
        path, _, query = self.path.partition("?")
        path = unquote(path)
        headers = {name.lower(): ",".join(self.headers.get_all(name, [])) for name in self.headers}
        headers.pop("cookie", None)  # as API Gateway has it: cookies come apart from the other headers
        cookies = [one.strip() for line in self.headers.get_all("cookie", []) for one in line.split(";")]
        return {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": query,
            "cookies": [one for one in cookies if one],
            "headers": headers,
            "requestContext": {"http": {"method": self.command, "path": path, "sourceIp": self.client_address[0]}},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }

    def _send(self, status: int, headers: dict[str, str], body: bytes, cookies: Iterable[str] = ()) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        for cookie in cookies:
            self.send_header("set-cookie", cookie)
        self.end_headers()
        self.wfile.write(body)

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return self._read_chunks()
        lengths = self.headers.get_all("content-length", ["0"])
        if len(set(lengths)) != 1:
            raise _BadRequestError(HTTPStatus.BAD_REQUEST)
        return self._read(_length(lengths[0].strip(), 10))

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := _length(self._read_line().partition(b";")[0].strip().decode("latin-1"), 16, len(body)):
            body += self._read(size)
            self._read_line()
        while self._read_line().strip():
            pass
        return bytes(body)

    def _read_line(self) -> bytes:
        line = self.rfile.readline(65_537)
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        return line

    def _read(self, length: int) -> bytes:
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError
        return body


def _length(digits: str, base: int, already: int = 0) -> int:
    """Return a length of a request's head or chunk.

    Raises _BadRequestError if it is none or the body becomes too large.
    """
    if not digits.isascii() or not digits.isalnum():
        raise _BadRequestError(HTTPStatus.BAD_REQUEST)
    try:
        length = int(digits, base)
    except ValueError:
        raise _BadRequestError(HTTPStatus.BAD_REQUEST) from None
    if already + length > LARGEST_BODY_BYTES:
        raise _BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return length
