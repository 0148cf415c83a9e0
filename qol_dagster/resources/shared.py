"""Small objects that several processes change: read, write if nobody wrote meanwhile, and what is made of that.

Belongs here: the compare-and-swap over an object store, the lease that keeps writers of a lake apart, and the claim
that lets one of many do a thing. All of it is one conditional PUT at a time; no clock is compared with another's.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qol_dagster.errors import QolError

logger = logging.getLogger(__name__)

STALE_S = 180.0
"""A lease that was not renewed for so long is anybody's: its holder was killed or cut off."""
RENEWALS = 9
"""So often is it renewed in that time: one request may hang for a minute or two."""
LOOK_S = 2.0
"""Between two looks of who waits."""
FREE = b"free"
"""What a lease that nobody has begins with."""


class SharedObjectError(QolError):
    """A shared object cannot be read or written, or a lease was lost; the message says which."""


@dataclass(frozen=True)
class Version:
    """An object's content and the tag that changes with every write; without a tag there is no object."""

    content: bytes = b""
    tag: str | None = None


@dataclass(frozen=True)
class SharedObject:
    """One object of a store. A folder can only make new ones; changing one takes S3."""

    store: Any
    key: str

    @classmethod
    def local(cls, folder: Path, key: str) -> SharedObject:
        """One in a folder, which is made if it is missing."""
        from obstore.store import LocalStore  # noqa: PLC0415

        return cls(LocalStore(folder.absolute(), mkdir=True), key)

    def read(self) -> Version:
        """What is there now. Raises SharedObjectError."""
        try:
            found = self.store.get(self.key)
            return Version(bytes(found.bytes()), found.meta["e_tag"])
        except FileNotFoundError:
            return Version()
        except Exception as error:
            raise SharedObjectError(f"{self.key} cannot be read: {reason(error)}") from error

    def write(self, content: bytes, instead_of: Version) -> Version | None:
        """Put `content` in the place of a version; None if that is there no longer. Raises SharedObjectError.

        A request whose answer was lost may have been carried out, and is then refused when it is sent again. So after
        a refusal it is looked whether `content` is there; it should differ from what others write.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        mode: Any = "create" if instead_of.tag is None else {"e_tag": instead_of.tag}
        try:
            put = self.store.put(self.key, content, mode=mode, use_multipart=False)
            return Version(content, put["e_tag"])
        except (AlreadyExistsError, PreconditionError):
            now = self.read()
            return now if now.content == content and now.tag is not None else None
        except Exception as error:
            raise SharedObjectError(f"{self.key} cannot be written: {reason(error)}") from error

    def claim(self) -> bool:
        """Make the object; False if somebody has. Raises SharedObjectError."""
        return self.write(_signed(b"claimed", secrets.token_urlsafe(12).encode()), Version()) is not None

    def remove(self) -> None:
        """Take the object away, if it is there. Raises SharedObjectError."""
        try:
            self.store.delete(self.key)
        except FileNotFoundError:
            return
        except Exception as error:
            raise SharedObjectError(f"{self.key} cannot be removed: {reason(error)}") from error


@dataclass(frozen=True)
class Lease:
    """One holder at a time. Whoever waits watches the tag: as long as it changes, the holder lives.

    A holder that stood still for `stale_s` seconds may have been replaced; it learns so at the latest at its end.
    """

    place: SharedObject
    stale_s: float = STALE_S
    look_s: float = LOOK_S

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lease, renew it meanwhile, and give it back. Raises SharedObjectError if it was lost."""
        me = secrets.token_urlsafe(12).encode()
        keeper = _Keeper(self, self._taken(me), me)
        keeper.start()
        try:
            yield
        finally:
            was_kept = self._given_back(keeper.stopped(), me)
        if not was_kept:
            raise SharedObjectError(
                f"the lease {self.place.key} was lost: this process stood still for {self.stale_s:.0f} s or more, and "
                "another may have written meanwhile. Run the same again"
            )

    def renewed(self, mine: Version, me: bytes, word: bytes = b"held") -> Version | None:
        """The lease written anew, which changes its tag; None if it is somebody else's.

        A write that got no answer may have been carried out: then what is there bears our name, and is ours.
        """
        done = self.place.write(_signed(word, me), mine)
        if done is None and me in (now := self.place.read()).content:
            done = self.place.write(_signed(word, me), now)
        return done

    def _given_back(self, mine: Version | None, me: bytes) -> bool:
        """Whether it was ours to the end."""
        try:
            return mine is not None and self.renewed(mine, me, FREE) is not None
        except SharedObjectError as error:  # whoever comes next waits until it is stale
            logger.warning("%s", error)
            return True

    def _taken(self, me: bytes) -> Version:
        seen, since = self.place.read(), time.monotonic()
        waits = False
        while True:
            is_free = seen.tag is None or seen.content.startswith(FREE)
            if (is_free or time.monotonic() - since >= self.stale_s) and (mine := self.renewed(seen, me)):
                return mine
            if not waits:
                logger.info("waiting for %s: %s", self.place.key, seen.content.decode("utf-8", "replace"))
                waits = True
            time.sleep(self.look_s)
            now = self.place.read()
            if now.tag != seen.tag:
                seen, since = now, time.monotonic()


class _Keeper(threading.Thread):
    """Renews a lease as long as it runs. What fails is tried again until the lease is stale."""

    def __init__(self, lease: Lease, mine: Version, me: bytes) -> None:
        super().__init__(daemon=True, name=f"lease of {lease.place.key}")
        self._lease, self._mine, self._me = lease, mine, me
        self._over = threading.Event()
        self._lost = False

    def run(self) -> None:
        every = self._lease.stale_s / RENEWALS
        until = time.monotonic() + self._lease.stale_s
        while not self._over.wait(every) and not self._lost:
            try:
                mine = self._lease.renewed(self._mine, self._me)
            except SharedObjectError as error:
                logger.warning("%s", error)
                self._lost = time.monotonic() > until
                continue
            if mine is None:
                self._lost = True
            else:
                self._mine, until = mine, time.monotonic() + self._lease.stale_s

    def stopped(self) -> Version | None:
        """The last version, or None if the lease was lost."""
        self._over.set()
        self.join()
        return None if self._lost else self._mine


def reason(error: Exception) -> str:
    """S3's code for a refusal, else an error's first line; obstore goes on with what only its developers can use."""
    text = str(error).strip()
    code = re.search(r"<Code>(\w+)</Code>", text)
    return code[1] if code else text.partition("\n")[0]


def _signed(word: bytes, me: bytes) -> bytes:
    """The word, who writes it, and something that is different every time."""
    where = f"{socket.gethostname()}:{os.getpid()}".encode()
    return b"%s by %s, %s %s" % (word, where, me, secrets.token_urlsafe(6).encode())
