"""The receiver over plain HTTP on one machine, in place of API Gateway and Lambda.

Belongs here: HTTP in, API Gateway events out to the same `Receiver`, `Enrolments` and `Surveys` that can run in Lambda.
Nothing is decided here but what API Gateway decides: who gets a path, how large a body may be, how long a client may
take, and how many are served at a time. HTTP itself is uvicorn's (ADR 19). No Lambda imports this module.

A request is answered before its body is read wherever its head decides: a path that is not there, a wrong secret, a
body that is too large.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote, unquote

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from qol_ingest.webhook import LARGEST_BODY_BYTES, PUSH_PATH, RETRY_AFTER_S, Answer, Event, Receiver

log = logging.getLogger(__name__)

HEAD_S, BODY_S, FORM_S = 15.0, 30.0, 10.0
"""How long a client may take for the head of its next request, for a body, and for a body of the pages' forms."""
LARGEST_HEAD_BYTES = 16 * 1024
LARGEST_FORM_BYTES = 64 * 1024
MOST_HELD_BYTES = 128 * 1024 * 1024
"""Bodies in memory at a time, all together. Beyond that Garmin is asked to send again."""
MOST_CONNECTIONS = 200
TURN_S = 15.0
"""How long a request that was read may wait for its turn: after that, its client would not hear the answer."""
OAUTH_PATH, SURVEY_PATH = "/oauth/", "/survey"
LAST_REQUESTS_S = 5
"""How long a stopping server waits for requests that are under way."""

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Handler(Protocol):
    """What answers requests: a `Receiver`, `oauth.Enrolments`, or `survey.web.Surveys`."""

    def handle(self, event: Event) -> Answer:
        """Answer one request (API Gateway HTTP API, payload 2.0)."""


class LocalWebhook:
    """A server that listens from the start; `with` runs it in the background, `serve_forever` in the foreground.

    With an enrolment, that answers everything below /oauth/; with a survey, that answers /survey. Port 0 takes a free
    one. Raises OSError if the port is taken. What is opened is closed by either way to run it.
    """

    def __init__(
        self, receiver: Receiver, host: str = "127.0.0.1", port: int = 0, enrolment: Handler | None = None
    ) -> None:
        self._socket = socket.create_server((host, port), backlog=128)
        self._port = int(self._socket.getsockname()[1])
        self._app = _App(receiver, enrolment)
        self._server = uvicorn.Server(_config(self._app))
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._host = host

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def base_url(self) -> str:
        """The URL without any path."""
        return f"http://{self._host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL that takes pushes. It holds the secret."""
        return f"{self.base_url}{PUSH_PATH}{quote(self._app.receiver.secret, safe='')}"

    @property
    def enrolment(self) -> Handler | None:
        """What answers below /oauth/. It may be set later, since an enrolment has to know the URL."""
        return self._app.enrolment

    @enrolment.setter
    def enrolment(self, enrolment: Handler | None) -> None:
        self._app.enrolment = enrolment

    @property
    def survey(self) -> Handler | None:
        """What answers /survey. It may be set later."""
        return self._app.survey

    @survey.setter
    def survey(self, survey: Handler | None) -> None:
        self._app.survey = survey

    def serve_forever(self) -> None:
        """Answer requests until interrupted; then let requests under way finish, and close all connections."""
        try:
            self._server.run([self._socket])
        finally:
            self._socket.close()
            self._app.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()


# -- one request


class _RefusedError(Exception):
    """A request that is not handed on; `answer` is what its client gets, if it is still there."""

    def __init__(self, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status.phrase)
        self.answer: Answer = {"statusCode": status.value, "headers": dict(headers or {}), "body": ""}


class _GoneError(Exception):
    """The client went away. It has lost nothing: without a 200 it sends again."""


@dataclass(frozen=True)
class _Door:
    """What one kind of request may take: bytes and seconds for a body, requests at a time, threads to answer them."""

    largest: int
    body_s: float
    most: int
    threads: ThreadPoolExecutor


class _App:
    """The ASGI application."""

    def __init__(self, receiver: Receiver, enrolment: Handler | None) -> None:
        self.receiver, self.enrolment = receiver, enrolment
        self.survey: Handler | None = None
        # Pages wait for Garmin, and anybody may open them: pushes do not wait for pages.
        self._pushes = _Door(LARGEST_BODY_BYTES, BODY_S, 64, ThreadPoolExecutor(8, "push"))
        self._pages = _Door(LARGEST_FORM_BYTES, FORM_S, 32, ThreadPoolExecutor(4, "page"))
        self._open = {id(self._pushes): 0, id(self._pages): 0}
        self._held = 0

    def close(self) -> None:
        """Begin nothing more."""
        for door in (self._pushes, self._pages):
            door.threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(_event(scope), scope, receive)
        except _RefusedError as refused:
            answer = refused.answer
        except _GoneError:
            return
        except Exception as error:
            log.error("a request failed: %s", type(error).__name__)  # noqa: TRY400 - its message may quote data
            answer = _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR).answer
        await _send(send, answer)

    async def _answer(self, event: dict[str, Any], scope: Any, receive: Receive) -> Answer:
        pages = self._pages_at(event["rawPath"])
        if pages is None:
            early = self.receiver.answer_without_body(event)
            if early is not None:
                return early
        door = self._pushes if pages is None else self._pages
        _refuse_length(scope, door.largest)
        if self._open[id(door)] >= door.most:
            raise _busy()
        self._open[id(door)] += 1
        body = bytearray()
        try:
            await self._read(receive, body, door)
            event["body"] = bytes(body) if pages is None else base64.b64encode(body).decode()
            event["isBase64Encoded"] = pages is not None
            return await self._handled(pages or self.receiver, event, door)
        finally:
            self._open[id(door)] -= 1
            self._held -= len(body)

    def _pages_at(self, path: str) -> Handler | None:
        """Return what answers participants at a path, or None."""
        if path.startswith(OAUTH_PATH):
            return self.enrolment
        return self.survey if path == SURVEY_PATH or path.startswith(f"{SURVEY_PATH}/") else None

    async def _read(self, receive: Receive, body: bytearray, door: _Door) -> None:
        """Read a body to its end. Raises _RefusedError, _GoneError."""
        try:
            async with asyncio.timeout(door.body_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise _GoneError
                    piece = message.get("body", b"")
                    body += piece
                    self._held += len(piece)
                    if len(body) > door.largest:
                        raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                    if self._held > MOST_HELD_BYTES:
                        raise _busy()
                    more = message.get("more_body", False)
        except TimeoutError:
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, {"connection": "close"}) from None

    async def _handled(self, handler: Handler, event: Event, door: _Door) -> Answer:
        until = time.monotonic() + TURN_S

        def handle() -> Answer:
            if time.monotonic() > until:
                raise _busy()
            return handler.handle(event)

        return await asyncio.get_running_loop().run_in_executor(door.threads, handle)


def _busy() -> _RefusedError:
    return _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, {"retry-after": str(RETRY_AFTER_S)})


def _refuse_length(scope: Any, largest: int) -> None:
    """Raise _RefusedError for a body that says it is too large. uvicorn takes no length that is none, and no two."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if lengths and int(lengths[0]) > largest:
        raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _event(scope: Any) -> dict[str, Any]:
    """Return a request's head as API Gateway has it: names in lower case, cookies apart from the other headers."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name == "cookie":
            cookies += [one.strip() for one in value.split(";") if one.strip()]
        else:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    path = unquote(scope["raw_path"].decode("latin-1"))
    client = scope.get("client") or ("",)
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": scope["query_string"].decode("latin-1"),
        "cookies": cookies,
        "headers": headers,
        "requestContext": {"http": {"method": scope["method"], "path": path, "sourceIp": client[0]}},
    }


async def _send(send: Send, answer: Answer) -> None:
    body = answer["body"].encode()
    pairs = [*answer["headers"].items(), *(("set-cookie", cookie) for cookie in answer.get("cookies", ()))]
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer["statusCode"], "headers": headers})
    await send({"type": "http.response.body", "body": body})


# -- connections


def _config(app: _App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",  # it logs paths, which hold secrets and codes; whoever answers logs what may be known
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(HEAD_S),
        timeout_graceful_shutdown=LAST_REQUESTS_S,
        h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
    )


class _Connection(H11Protocol):
    """uvicorn's, which bounds neither how long a head may take nor how many connections there are.

    Of too many, the one goes that has waited longest for its client to ask for something.
    """

    _timer: asyncio.TimerHandle | None = None
    _waits_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > MOST_CONNECTIONS:
            idle = [one for one in self.connections if isinstance(one, _Connection) and one.is_idle]
            min(idle, key=lambda one: one._waits_since).hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_head()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered. What is left of a body that was refused does not count."""
        return self.cycle is None or self.cycle.response_complete

    def hang_up(self) -> None:
        """Close the connection unless a request is being answered."""
        if self.is_idle:
            self.connections.discard(self)
            self.transport.abort()

    def _await_head(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._waits_since = self.loop.time()
        self._timer = self.loop.call_later(HEAD_S, self.hang_up)
