"""Sending over HTTP as Garmin does: POST, a few connections kept alive, repeated until the answer is 200.

Belongs here: connections, retries and their order. It sends nothing Garmin would not send.

A request waits while another with one of its users is under way, so a receiver that stamps arrivals sees the
versions of a summary in their order, whatever the number of connections.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from garmin_sim.simulation import Delivery, Simulation

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

TIMEOUT_S = 30.0  # Garmin's own
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


@dataclass
class _Sender:
    """Connections to one URL, one for each thread."""

    url: SplitResult
    patience_s: float
    given_up: threading.Event = field(default_factory=threading.Event)
    connections: list[http.client.HTTPConnection] = field(default_factory=list)
    local: threading.local = field(default_factory=threading.local)

    def send(self, delivery: Delivery) -> int:
        """Send until it is taken; gives the number of retries. Raises PushError when patience runs out."""
        deadline, pause, retries = time.monotonic() + self.patience_s, FIRST_PAUSE_S, 0
        while (answer := self._try(delivery.body, deadline)) != "200":
            retries += 1
            if time.monotonic() + pause > deadline or self.given_up.wait(pause):
                self.given_up.set()
                raise PushError(self._complaint(answer))
            pause = min(2 * pause, LONGEST_PAUSE_S)
        return retries

    def close(self) -> None:
        """Close all connections."""
        for connection in self.connections:
            connection.close()

    def _try(self, body: bytes, deadline: float) -> str:
        connection = self._connection()
        connection.timeout = min(TIMEOUT_S, max(0.1, deadline - time.monotonic()))
        if connection.sock:
            connection.sock.settimeout(connection.timeout)
        path = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
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
        connection: http.client.HTTPConnection | None = getattr(self.local, "connection", None)
        if connection is None:
            secure = self.url.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = kind(self.url.hostname or "", self.url.port, timeout=TIMEOUT_S)
            self.local.connection = connection
            self.connections.append(connection)
        return connection

    def _complaint(self, answer: str) -> str:
        # The path is the receiver's secret, and a user name may hold another: both stay out of messages.
        where = f"{self.url.hostname}:{self.url.port}" if self.url.port else self.url.hostname
        return (
            f"{self.url.scheme}://{where} did not take a body within {self.patience_s:g} s "
            f"(last answer: {answer}); check that the receiver runs and that the URL is the one it printed"
        )


def push(
    sim: Simulation,
    url: str,
    *,
    connections: int = 4,
    on_progress: Progress | None = None,
    patience_s: float = 30.0,
) -> PushReport:
    """Send all deliveries of a simulation to `url`, as fast as the receiver takes them.

    Any answer but 200, or none, is retried with back-off for `patience_s` seconds for each body.
    `on_progress` counts simulated hours. Raises PushError when a body is not taken in time, ValueError for an
    URL that is not HTTP or for less than one connection.
    """
    if connections < 1:
        raise ValueError(f"connections is {connections}; give 1 or more")
    parts = urlsplit(url)
    if parts.port == 0 or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the URL to push to must begin with http:// or https:// and name a host")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("the URL to push to holds spaces or characters that are not ASCII; percent-encode them")
    begun, sender = time.monotonic(), _Sender(parts, patience_s)
    try:
        bodies, size, retries = _send_all(sim, sender, connections, on_progress or (lambda _done, _total: None))
    finally:
        sender.close()
    return PushReport(bodies, size, retries, time.monotonic() - begun)


def _send_all(sim: Simulation, sender: _Sender, connections: int, progress: Progress) -> tuple[int, int, int]:
    under_way: dict[Future[int], frozenset[str]] = {}
    bodies = size = retries = done = 0
    start, total = None, 24 * (len(sim.dates()) + 1)
    with ThreadPoolExecutor(connections, thread_name_prefix="push") as pool:
        for delivery in sim.deliveries():
            while len(under_way) >= QUEUED * connections or _busy(under_way, delivery.users):
                retries += _collect(under_way)
            under_way[pool.submit(sender.send, delivery)] = delivery.users
            bodies, size = bodies + 1, size + len(delivery.body)
            start = start or delivery.at
            hours = int((delivery.at - start).total_seconds() // 3600)
            if hours > done:
                done = min(hours, total - 1)
                progress(done, total)
        while under_way:
            retries += _collect(under_way)
    progress(total, total)
    return bodies, size, retries


def _busy(under_way: dict[Future[int], frozenset[str]], users: frozenset[str]) -> bool:
    return any(not users.isdisjoint(others) for others in under_way.values())


def _collect(under_way: dict[Future[int], frozenset[str]]) -> int:
    """Wait for a request and forget the finished ones; gives their retries."""
    finished, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in finished:
        del under_way[future]
    return sum(future.result() for future in finished)
