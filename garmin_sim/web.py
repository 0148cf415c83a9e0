"""The simulated cloud's HTTP: requests in, answers out, and a server that ends without leaving anything behind.

Belongs here: sockets, threads and the shape of requests and answers. What is answered is `cloud.py`. Nothing of a
request is logged: paths hold tokens, headers hold more of them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakSet

log = logging.getLogger(__name__)

CLIENT_TIMEOUT_S = 30.0
LAST_ANSWERS_S = 5.0
"""How long a stopping server waits for answers under way."""
LARGEST_REQUEST_BYTES = 64 * 1024
LOST = 0
"""In place of a status: the connection was closed without a whole answer."""


@dataclass(frozen=True)
class Request:
    """A request. Names of headers are in lower case; of a repeated parameter the last one counts."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Answer:
    """An answer. With status LOST the connection is closed instead; with `cut` it is closed half-way through."""

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cut: bool = False


def as_json(value: object, status: int = 200) -> Answer:
    """Return an answer that is JSON."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode())


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error in the form of Garmin's REST API."""
    return Answer(status, json.dumps({"errorMessage": message}).encode(), headers=headers or {})


class WebServer:
    """Answers requests from `start` to `stop`, each connection on its own thread. It listens from the beginning.

    Port 0 takes a free one. Raises OSError if the port is taken.
    """

    def __init__(self, host: str, port: int, answer: Callable[[Request], Answer]) -> None:
        self._server = _Server((host, port), answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="garmin-cloud", daemon=True
        )
        self.base_url = f"http://{host}:{self._server.server_port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Let answers under way finish, close every connection, end every thread."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.hang_up()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        self._connections: set[socket.socket] = set()
        self._threads_begun: WeakSet[threading.Thread] = WeakSet()
        self._changed = threading.Condition()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks DNS for the host's name, which may take seconds and is never used.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        # Daemons, so that a program that forgets to stop the cloud can end; those of the base class are not waited for.
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._changed:
            self._connections.add(request)
        self._threads_begun.add(thread)
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def hang_up(self) -> None:
        """Take no more requests; wait for the answers under way, and cut off those that take too long."""
        with self._changed:
            self._shut(socket.SHUT_RD)
            if not self._changed.wait_for(lambda: not self._connections, LAST_ANSWERS_S):
                self._shut(socket.SHUT_RDWR)
        for thread in list(self._threads_begun):
            thread.join()

    def _shut(self, how: int) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(how)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - neither may be logged
        log.error("a request failed: %s", type(sys.exc_info()[1]).__name__)  # its message may quote a token


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "garmin-sim", ""
    disable_nagle_algorithm = True
    timeout = CLIENT_TIMEOUT_S

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def do_GET(self) -> None:
        body = self._read_body()
        if body is None:
            self.close_connection = True
            self._send(refusal(400, "the request has no proper length", {"connection": "close"}))
            return
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(self.server.answer(Request(self.command, url.path, query, headers, body)))

    do_POST = do_DELETE = do_PUT = do_PATCH = do_GET  # noqa: N815 - names http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: request lines hold tokens."""

    def _read_body(self) -> bytes | None:
        length = self.headers.get("content-length", "0").strip()
        too_long = not (length.isascii() and length.isdecimal()) or int(length[:9]) > LARGEST_REQUEST_BYTES
        if too_long or "transfer-encoding" in self.headers:
            return None
        return self.rfile.read(int(length))

    def _send(self, answer: Answer) -> None:
        if answer.status == LOST:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.body:
            self.send_header("content-type", answer.content_type)
        if answer.status != 204:
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if answer.cut:
            self.close_connection = True
        self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
