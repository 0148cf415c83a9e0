"""Messages of the queue that announces objects: taking one, and putting it back for later.

Belongs here: what a message came to, and when it is handed out again. What it asks for is `puller`'s.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qol_ingest.shared.queues import Message, Queue, QueueError

log = logging.getLogger(__name__)

RECEIVES_IN_A_ROW = 4
"""How often an announcement that is asked about is handed out before it is sent anew, so that it is no dead letter."""


@dataclass(frozen=True)
class Worked:
    """What came of a message: how much was settled, by outcome, and how much waits for `wait_s` seconds at least.

    Of what waits, `unverified` are announcements that Garmin is asked about again: no failures, however often.
    """

    outcomes: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    wait_s: float = 0.0
    unverified: int = 0

    def __add__(self, other: Worked) -> Worked:
        """Both together."""
        outcomes = Counter(self.outcomes) + Counter(other.outcomes)
        wait_s, unverified = max(self.wait_s, other.wait_s), self.unverified + other.unverified
        return Worked(dict(outcomes), self.waiting + other.waiting, wait_s, unverified)


def drain(
    queue: Queue,
    work: Callable[[Message], Worked],
    *,
    stopped: Callable[[], bool] | None = None,
    wait_s: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Worked:
    """Process what is due in a queue; with `stopped`, go on until that says so. Raises QueueError without `stopped`.

    The queue must hide messages for CLAIM_S. With `stopped`, an empty queue is looked at again after `wait_s`
    seconds, and so is one that fails.
    """
    total = Worked()
    while stopped is None or not stopped():
        try:
            # One at a time: a claim begins when a message is handed out.
            messages = queue.receive(1, wait_s if stopped else 0.0)
            for message in messages:
                worked = work(message)
                settle(queue, message, worked)
                total += worked
        except QueueError as error:
            if stopped is None:
                raise
            log.error("the queue fails: %s", error)  # noqa: TRY400 - the message says it all
            sleep(max(1.0, wait_s))
            continue
        if stopped is None and not messages:
            break
    return total


def settle(queue: Queue, message: Message, worked: Worked) -> bool:
    """Take a message off the queue, or leave it there for later (False). Raises QueueError."""
    is_question = worked.unverified > 0 and message.receives >= RECEIVES_IN_A_ROW
    if worked.waiting and not worked.outcomes and not is_question:
        queue.retry(message, worked.wait_s)
        return False
    if worked.waiting:
        # It is getting on, so its receives count anew: however long a message is, it does not die half done.
        queue.send(message.body, worked.wait_s)
    queue.done(message)
    return True
