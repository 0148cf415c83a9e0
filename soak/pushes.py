"""What Garmin sends in the weeks of a soak, and what goes wrong while it does.

Belongs here: sending in simulated time, pings in place of pushes, and the faults of `plan.WHILE_PUSHED`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from garmin_sim.delivery import LIFECYCLE_TYPES
from garmin_sim.pusher import CLIENT_ID_HEADER, Sender
from garmin_sim.simulation import Delivery
from soak.garmin import CLIENT_ID
from soak.processes import PATIENCE_S, full_disk
from soak.start import FAILING_STORE

if TYPE_CHECKING:
    from soak.plan import Fault
    from soak.stage import Stage

DAY_S = 86_400.0
STEP_S, STEP_TAKES_S = 1800.0, 0.4
SET_BACK_S = 600.0
"""How far the clock is set back: less than there is between two versions of a day."""
HALF_A_BODY = b'{"dailies":[{"summaryId":"x1","steps":12'
_LEAVING = tuple(f'"{kind}":'.encode() for kind in LIFECYCLE_TYPES)


@dataclass
class Pushes:
    """Garmin's side of a soak."""

    stage: Stage
    half_bodies: int = 0
    heard: dict[str, float] = field(default_factory=dict)
    """When each user last sent."""
    break_from: float = float("inf")
    """The first ping after this time has URLs that fail until the cloud is mended."""

    def __post_init__(self) -> None:
        self._skew_s = 0.0
        self._acting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sent: set[int] = set()

    def send(self, deliveries: Iterator[Delivery], faults: list[Fault]) -> None:
        """Send what Garmin sends until a time, with faults at times of the week that the seed says."""
        begin = self.stage.clock.time()
        acts: dict[Fault, Callable[[], None]] = {
            "receiver_killed": self._kill_receiver,
            "receiver_disk_full": partial(self._background, self._fill_disk_of_receiver),
            "store_fails": partial(self._background, self._fail_store),
            "clock_set_back": self._set_clock_back,
            "callback_fails": self.stage.cloud.fail,
            "body_half_sent": lambda: None,
        }
        timed = sorted((begin + self.stage.chance.uniform(0.5, 6.0) * DAY_S, kind) for kind in faults if kind in acts)
        headers = {CLIENT_ID_HEADER: CLIENT_ID}
        url, wait = self.stage.box.url, self.stage.cloud.wait
        with _TimedSender(url, PATIENCE_S, headers, before=self._begin, after=wait) as sender:
            report = sender.send_all(self._with_faults(deliveries, timed, acts))
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._skew_s = 0.0
        self.stage.tally.pushes += report.bodies
        self.stage.tally.retries += report.retries

    def _with_faults(
        self, deliveries: Iterator[Delivery], timed: list[tuple[float, Fault]], acts: dict[Fault, Callable[[], None]]
    ) -> Iterator[Delivery]:
        for delivery in deliveries:
            at = delivery.at.timestamp()
            while timed and timed[0][0] <= at:
                kind = timed.pop(0)[1]
                self.stage.tally.faults[kind] += 1
                acts[kind]()
                if kind == "body_half_sent":
                    self.half_bodies += 1
                    yield Delivery(delivery.at, HALF_A_BODY + b"%d" % self.half_bodies)
            fingerprint = hash(delivery.body)
            is_again = fingerprint in self._sent
            self.stage.tally.repeated += is_again
            self._sent.add(fingerprint)
            self.heard.update(dict.fromkeys(delivery.users, at))
            yield self._as_garmin_sends(delivery, may_break=at >= self.break_from and not is_again)
        for _, kind in timed:  # of a week in which less was sent
            self.stage.tally.faults[kind] += kind != "body_half_sent"
            acts[kind]()

    def _as_garmin_sends(self, delivery: Delivery, *, may_break: bool) -> Delivery:
        """Return a push, or the ping that announces it, with URLs that fail if they may."""
        cloud, broken = self.stage.cloud, delivery.users & self.stage.staying_users if may_break else frozenset()
        if _is_leaving(delivery) or not (cloud.is_pinged(delivery) or broken):
            return delivery
        ping = cloud.ping_of(delivery, broken)
        if ping and broken:
            self.break_from = float("inf")
        self.stage.tally.pings += ping is not None
        return ping or delivery

    def _begin(self, delivery: Delivery) -> None:
        """Have its time come: who leaves does so then, and not when it is made, some deliveries ahead."""
        self.pass_time(delivery.at.timestamp() + self._skew_s)
        if _is_leaving(delivery):
            self.stage.cloud.withdraw(delivery.users)

    def pass_time(self, until: float) -> None:
        """Go on to a time; while a callback is broken in steps, so that it is tried as often as in real hours."""
        clock = self.stage.clock
        while self.stage.cloud.is_broken and not self.stage.box.dead_letters() and clock.time() + STEP_S < until:
            clock.advance_to(clock.time() + STEP_S)
            time.sleep(STEP_TAKES_S)
        clock.advance_to(until)

    def _background(self, act: Callable[[], None]) -> None:
        def one_at_a_time() -> None:
            with self._acting:
                act()

        thread = threading.Thread(target=one_at_a_time)
        thread.start()
        self._threads.append(thread)

    def _kill_receiver(self) -> None:
        wait_s = self.stage.chance.uniform(0.0, 0.05)

        def kill() -> None:
            time.sleep(wait_s)
            self.stage.renew_receiver()

        self._background(kill)

    def _fill_disk_of_receiver(self) -> None:
        with full_disk(self.stage.receiver.pid):
            time.sleep(1.0)

    def _fail_store(self) -> None:
        switch = self.stage.box.folder / FAILING_STORE
        switch.touch()
        time.sleep(1.0)
        switch.unlink()

    def _set_clock_back(self) -> None:
        self._skew_s = -SET_BACK_S
        self.stage.clock.set(self.stage.clock.time() - SET_BACK_S)


def _is_leaving(delivery: Delivery) -> bool:
    return any(kind in delivery.body for kind in _LEAVING)


@dataclass(eq=False)
class _TimedSender(Sender):
    """Sends each delivery when its time has come: `before` is called with it then, and `after` with its body."""

    before: Callable[[Delivery], None] = field(kw_only=True)
    after: Callable[[bytes], None] = field(kw_only=True)

    def send(self, delivery: Delivery) -> int:
        """See `Sender`."""
        self.before(delivery)
        retries = super().send(delivery)
        self.after(delivery.body)
        return retries
