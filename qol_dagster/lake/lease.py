"""Who may write to a lake: a lock of the file system for a folder, a lease that is renewed for a bucket.

Belongs here: waiting, renewing and losing. What is written meanwhile is not known here.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from qol_dagster.lake.shared_object import SharedObject, SharedObjectError, Version, signed
from qol_ingest.shared.files import in_the_way

logger = logging.getLogger(__name__)

STALE_S = 180.0
"""A lease that was not renewed for so long is anybody's: its holder was killed or cut off."""
RENEWALS = 9
"""So often is it renewed in that time: one request may hang for a minute or two."""
POLL_S = 2.0
"""Between two looks of who waits."""
LOOK_S = 0.02
"""Between two looks at a file that is locked for a moment."""
FREE = b"free"
"""What a lease that nobody has begins with."""
SAY_AFTER_S = 2.0
"""Who waits longer says for whom: two runs wait for each other's tables all the time."""


@contextmanager
def locked(file: Path, *, shared: bool = False, quietly: bool = False) -> Iterator[None]:
    """Hold a file's lock: whoever comes second waits. It is released with the process that holds it.

    With `shared`, only those wait who want it for themselves alone. Who waits says in the log for whom, since when: a
    holder's process and the time stand in the file; with `quietly`, where all have it for seconds only, nothing is
    said. Raises SharedObjectError.
    """
    try:
        handle = file.open("a+")
    except OSError as error:
        why = in_the_way(file) or f"{file} cannot be opened: {error.strerror}"
        raise SharedObjectError(f"the lock cannot be taken: {why}") from error
    with handle:
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        if not quietly:
            _say_who_has(handle, file, how)
        fcntl.flock(handle, how)
        if not shared:
            _sign(handle)
        yield


def _say_who_has(handle: IO[str], file: Path, how: int) -> None:
    """Take the lock if it is free within a moment; say who has it otherwise."""
    until = time.monotonic() + SAY_AFTER_S
    while time.monotonic() < until:
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(handle, how | fcntl.LOCK_NB)
        time.sleep(LOOK_S)
    return logger.warning("waiting for %s: %s", file, file.read_text("utf-8", "replace") or "held by another process")


def _sign(handle: IO[str]) -> None:
    """Write who holds a file. A full disk is no reason not to hold it."""
    with contextlib.suppress(OSError):
        handle.truncate(0)
        handle.write(f"{_held_since()} by process {os.getpid()} on {socket.gethostname()}")
        handle.flush()


def _held_since() -> str:
    return f"held since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class Lease:
    """One holder at a time. Whoever waits watches the tag: as long as it changes, the holder lives.

    A holder that stood still for `stale_s` seconds may have been replaced; it learns so at the latest at its end.
    """

    place: SharedObject
    stale_s: float = STALE_S
    poll_s: float = POLL_S

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lease, renew it meanwhile, and give it back. Raises SharedObjectError if it was lost."""
        me = secrets.token_urlsafe(12).encode()
        mine, word = self._acquire(me)
        keeper = _Keeper(self, mine, me, word)
        keeper.start()
        try:
            yield
        finally:
            was_kept = self._give_back(keeper.stopped(), me)
        if not was_kept:
            raise SharedObjectError(
                f"the lease {self.place.key} was lost: this process stood still for {self.stale_s:.0f} s or more, and "
                "another may have written meanwhile. Run the same again"
            )

    def renew(self, mine: Version, me: bytes, word: bytes = b"held") -> Version | None:
        """Write the lease anew, which changes its tag, and return it; None if it is somebody else's.

        A write that got no answer may have been carried out: then what is there bears our name, and is ours.
        """
        done = self.place.write(signed(word, me), mine)
        if done is None and me in (now := self.place.read()).content:
            done = self.place.write(signed(word, me), now)
        return done

    def _give_back(self, mine: Version | None, me: bytes) -> bool:
        """Free the lease; False if it was not ours to the end."""
        try:
            return mine is not None and self.renew(mine, me, FREE) is not None
        except SharedObjectError as error:  # whoever comes next waits until it is stale
            logger.warning("%s", error)
            return True

    def _acquire(self, me: bytes) -> tuple[Version, bytes]:
        """Wait for the lease and return it, and what it is renewed with: since when it is held."""
        began = time.monotonic()
        seen, since = self.place.read(), began
        waits = False
        while True:
            is_free, word = seen.tag is None or seen.content.startswith(FREE), _held_since().encode()
            if (is_free or time.monotonic() - since >= self.stale_s) and (mine := self.renew(seen, me, word)):
                return mine, word
            if not waits and time.monotonic() - began >= SAY_AFTER_S:
                logger.warning("waiting for %s: %s", self.place.key, _holder(seen))
                waits = True
            time.sleep(self.poll_s)
            now = self.place.read()
            if now.tag != seen.tag:
                seen, since = now, time.monotonic()


def _holder(seen: Version) -> str:
    """Return what a lease says of its holder: since when, and which process of which host."""
    return seen.content.decode("utf-8", "replace").partition(",")[0]


class _Keeper(threading.Thread):
    """Renews a lease as long as it runs. What fails is tried again until the lease is stale."""

    def __init__(self, lease: Lease, mine: Version, me: bytes, word: bytes) -> None:
        super().__init__(daemon=True, name=f"lease of {lease.place.key}")
        self._lease, self._mine, self._me, self._word = lease, mine, me, word
        self._over = threading.Event()
        self._lost = False

    def run(self) -> None:
        every = self._lease.stale_s / RENEWALS
        until = time.monotonic() + self._lease.stale_s
        while not self._over.wait(every) and not self._lost:
            try:
                mine = self._lease.renew(self._mine, self._me, self._word)
            except SharedObjectError as error:
                logger.warning("%s", error)
                self._lost = time.monotonic() > until
                continue
            if mine is None:
                self._lost = True
            else:
                self._mine, until = mine, time.monotonic() + self._lease.stale_s

    def stopped(self) -> Version | None:
        """End the thread and return the last version, or None if the lease was lost."""
        self._over.set()
        self.join()
        return None if self._lost else self._mine
