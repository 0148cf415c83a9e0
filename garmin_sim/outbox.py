"""What the cloud sends to the webhook: now, or in the background while it goes on answering.

Belongs here: the two lanes, and giving up both at once. Connections and retries are `pusher.py`.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from garmin_sim.pusher import CLIENT_ID_HEADER, PushError, PushReport, Sender

if TYPE_CHECKING:
    from garmin_sim.simulation import Delivery

log = logging.getLogger(__name__)

RETRY_S = 7 * 86_400.0
"""How long Garmin goes on sending a body."""


class Outbox:
    """Deliveries to the URL that `url` gives at that moment, with Garmin's header for the application."""

    def __init__(self, url: Callable[[], str], client_id: str) -> None:
        self._url, self._headers = url, {CLIENT_ID_HEADER: client_id}
        self._senders: set[Sender] = set()
        self._waiting: queue.SimpleQueue[Iterator[Delivery] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="garmin-outbox", daemon=True)
        self._unsent, self._changed = 0, threading.Condition()
        self._stopped = False

    def start(self) -> None:
        """Begin with what is to be sent in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Give up what is under way and leave the rest."""
        with self._changed:
            self._stopped = True
            for sender in self._senders:
                sender.abort()
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def send(self, deliveries: Iterable[Delivery], connections: int = 1, patience_s: float = 30.0) -> PushReport:
        """Send these and wait. Raises PushError when one is not taken, ValueError for an URL that is not HTTP."""
        with self._sender(patience_s) as sender:
            return sender.send_all(deliveries, connections)

    def put(self, deliveries: Iterator[Delivery]) -> None:
        """Send these in the background, after all that was put before; they are made when it is their turn."""
        with self._changed:
            self._unsent += 1
        self._waiting.put(deliveries)

    def wait(self, timeout_s: float) -> bool:
        """Return whether all in the background is sent within a time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._unsent, timeout_s)

    def _run(self) -> None:
        while (deliveries := self._waiting.get()) is not None and not self._stopped:
            try:
                self.send(deliveries, 1, RETRY_S)
            except (PushError, ValueError) as error:
                if not self._stopped:
                    log.warning("not delivered: %s", error)
            finally:
                with self._changed:
                    self._unsent -= 1
                    self._changed.notify_all()

    @contextmanager
    def _sender(self, patience_s: float) -> Iterator[Sender]:
        with Sender(self._url(), patience_s, self._headers) as sender:
            with self._changed:
                self._senders.add(sender)
                if self._stopped:
                    sender.abort()
            try:
                yield sender
            finally:
                with self._changed:
                    self._senders.discard(sender)
