"""Sending over HTTP as Garmin does: POST, a few connections kept alive, repeated until the answer is 200.

Belongs here: connections, retries and their order. It sends nothing Garmin would not send. HTTP's own header `Date`
says when, in simulated time; a receiver need not look at it.

A request waits while another with one of its users is under way, so a receiver that stamps arrivals sees the
versions of a summary in their order, whatever the number of connections.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from garmin_sim.simulation import Delivery, Simulation

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

TIMEOUT_S = 30.0  # Garmin's own
CLIENT_ID_HEADER = "garmin-client-id"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
QUEUED = 2  # requests under way or ready, for each connection


class PushError(Exception):
    """A receiver that did not take a body; says which and what to do."""


@dataclass(frozen=True)
class PushReport:
    """What was sent: `retries` counts answers other than 200 and broken connections."""

    bodies: int
    bytes: int
    retries: int
    seconds: float


@dataclass(eq=False)
class Sender:
    """Connections to one URL, one for each thread; `with` closes them.

    Any answer but 200, or none, is retried with back-off for `patience_s` seconds for each body. Raises ValueError for
    an URL that is not HTTP.
    """

    url: str = field(repr=False)
    patience_s: float = 30.0
    headers: Mapping[str, str] = field(default_factory=dict)
    _parts: SplitResult = field(init=False, repr=False)
    _given_up: threading.Event = field(default_factory=threading.Event, repr=False)
    _connections: list[http.client.HTTPConnection] = field(default_factory=list, repr=False)
    _local: threading.local = field(default_factory=threading.local, repr=False)

    def __post_init__(self) -> None:
        """Check the URL."""
        self._parts = checked_url(self.url)

    def __enter__(self) -> Self:
        """Nothing is opened before the first body."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()

    def send_all(self, deliveries: Iterable[Delivery], connections: int = 1) -> PushReport:
        """Send deliveries, in order for each user. Raises PushError when one is not taken in time."""
        if connections < 1:
            raise ValueError(f"connections is {connections}; give 1 or more")
        under_way: dict[Future[int], frozenset[str]] = {}
        begun, bodies, size, retries = time.monotonic(), 0, 0, 0
        with ThreadPoolExecutor(connections, thread_name_prefix="push") as pool:
            for delivery in deliveries:
                while len(under_way) >= QUEUED * connections or _busy(under_way, delivery.users):
                    retries += _collect(under_way)
                under_way[pool.submit(self.send, delivery)] = delivery.users
                bodies, size = bodies + 1, size + len(delivery.body)
            while under_way:
                retries += _collect(under_way)
        return PushReport(bodies, size, retries, time.monotonic() - begun)

    def send(self, delivery: Delivery) -> int:
        """Send until it is taken; return the number of retries. Raises PushError when patience runs out."""
        deadline, pause, retries = time.monotonic() + self.patience_s, FIRST_PAUSE_S, 0
        while (answer := self._try(delivery, deadline)) != "200":
            retries += 1
            if time.monotonic() + pause > deadline or self._given_up.wait(pause):
                self._given_up.set()
                raise PushError(self._complaint(answer))
            pause = min(2 * pause, LONGEST_PAUSE_S)
        return retries

    def abort(self) -> None:
        """From another thread: give up what is under way, without waiting for answers."""
        self._given_up.set()
        for connection in list(self._connections):
            if connection.sock:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def _try(self, delivery: Delivery, deadline: float) -> str:
        connection = self._connection()
        connection.timeout = min(TIMEOUT_S, max(0.1, deadline - time.monotonic()))
        if connection.sock:
            connection.sock.settimeout(connection.timeout)
        path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        sent_at = {"Content-Type": "application/json", "Date": format_datetime(delivery.at, usegmt=True)}
        try:
            connection.request("POST", path, delivery.body, {**sent_at, **self.headers})
            response = connection.getresponse()
            response.read()
        except OSError as error:
            connection.close()
            return str(error) or type(error).__name__
        except http.client.HTTPException as error:
            connection.close()
            return type(error).__name__
        return str(response.status)

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            secure = self._parts.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_S)
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def _complaint(self, answer: str) -> str:
        # The path is the receiver's secret, and a user name may hold another: both stay out of messages.
        where = f"{self._parts.hostname}:{self._parts.port}" if self._parts.port else self._parts.hostname
        return (
            f"{self._parts.scheme}://{where} did not take a body within {self.patience_s:g} s "
            f"(last answer: {answer}); check that the receiver runs and that the URL is the one it printed"
        )


def push(
    sim: Simulation,
    url: str,
    *,
    client_id: str = "",
    connections: int = 4,
    on_progress: Progress | None = None,
    patience_s: float = 30.0,
) -> PushReport:
    """Send all deliveries of a simulation to `url`, as fast as the receiver takes them.

    With a `client_id`, each carries it in Garmin's header for the application.

    Any answer but 200, or none, is retried with back-off for `patience_s` seconds for each body.
    `on_progress` counts simulated hours. Raises PushError when a body is not taken in time, ValueError for an
    URL that is not HTTP or for less than one connection.
    """
    progress = on_progress or (lambda _done, _total: None)
    with Sender(url, patience_s, {CLIENT_ID_HEADER: client_id} if client_id else {}) as sender:
        report = sender.send_all(_with_progress(sim, progress), connections)
    progress(_hours(sim), _hours(sim))
    return report


def checked_url(url: str) -> SplitResult:
    """Return the parts of an URL to push to.

    Raises ValueError, without the path, if it is not HTTP or not plain ASCII.
    """
    parts = urlsplit(url)
    if parts.port == 0 or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the URL to push to must begin with http:// or https:// and name a host")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("the URL to push to holds spaces or characters that are not ASCII; percent-encode them")
    return parts


def _hours(sim: Simulation) -> int:
    """Return how many simulated hours there are to push: one day more than is simulated, for the last syncs."""
    return 24 * (len(sim.dates()) + 1)


def _with_progress(sim: Simulation, progress: Progress) -> Iterator[Delivery]:
    """Yield the deliveries of a simulation; with each of a new hour the progress."""
    start, done, total = None, 0, _hours(sim)
    for delivery in sim.deliveries():
        yield delivery
        start = start or delivery.at
        hours = int((delivery.at - start).total_seconds() // 3600)
        if hours > done:
            done = min(hours, total - 1)
            progress(done, total)


def _busy(under_way: dict[Future[int], frozenset[str]], users: frozenset[str]) -> bool:
    return any(not users.isdisjoint(others) for others in under_way.values())


def _collect(under_way: dict[Future[int], frozenset[str]]) -> int:
    """Wait for a request and forget the finished ones; return their retries."""
    finished, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in finished:
        del under_way[future]
    return sum(future.result() for future in finished)
