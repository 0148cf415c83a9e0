"""Giving up on a call that takes too long, whatever it waits for.

Belongs here: the waiting, and nothing of what is called. A client's own timeouts bound each wait for a piece of an
answer; they do not bound an answer that comes a byte at a time, nor a name that nobody resolves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from qol_ingest.shared.errors import QolError

T = TypeVar("T")


class TooSlowError(QolError):
    """A call had not returned by its time."""


def within(until: float, what: str, call: Callable[[], T]) -> T:
    """Call, and return or raise what that does. Raises TooSlowError if it has done neither by `until` (time.monotonic).

    Then it goes on in the background and nobody hears of its end, so it must do no harm when it is done late or twice.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    over = threading.Event()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)
        finally:
            over.set()

    threading.Thread(target=run, daemon=True).start()
    if not over.wait(max(0.0, until - time.monotonic())):
        raise TooSlowError(f"{what} did not answer in time")
    if errors:
        raise errors[0]
    return results[0]
