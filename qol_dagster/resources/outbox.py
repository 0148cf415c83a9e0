"""Alerts under way: what is about to be sent is stored before it is sent, and what was sent after it.

Belongs here: who may send an alert now, so that it is sent once, and again if its sender was killed before it was out.
What an alert says and how it is sent belong elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from qol_dagster.lake.shared_object import SharedObject, Version

LOST = timedelta(minutes=10)
"""Who has not sent an alert by then was killed: a mail server has 20 s, and SNS is tried for a minute."""
_SENDING = b"sending since "


@dataclass(frozen=True)
class Outgoing:
    """One alert. `marker` returns a stored object by name, which one process can make."""

    marker: Callable[[str], SharedObject]
    name: str

    def claim(self) -> bool:
        """Store that it is about to be sent; False if it was sent, or somebody sends it. Raises SharedObjectError."""
        note = self.marker(self.name)
        found = note.read()
        if not self._is_due(found):
            return False
        if found.tag is not None:  # what was read and not what is there now: that may be somebody's who was faster
            note.remove()  # of a sender that was killed
        return note.claim(_SENDING + datetime.now(UTC).isoformat(timespec="seconds").encode())

    def is_due(self) -> bool:
        """Return whether nobody sent it and nobody is about to. Raises SharedObjectError."""
        return self._is_due(self.marker(self.name).read())

    def _is_due(self, note: Version) -> bool:
        return note.tag is None or (_is_lost(note.content) and self._sent().read().tag is None)

    def settle(self, *, is_sent: bool) -> None:
        """Store that it was sent, or let the next one try again. Raises SharedObjectError."""
        if is_sent:
            self._sent().claim()
        else:
            self.give_back()

    def give_back(self) -> None:
        """Let anybody send it, again or for the first time. Raises SharedObjectError."""
        self._sent().remove()
        self.marker(self.name).remove()

    def _sent(self) -> SharedObject:
        return self.marker(f"{self.name}.sent")


def _is_lost(content: bytes) -> bool:
    """Return whether a sender has had the time to send; a marker of before had no time, and was sent."""
    if not content.startswith(_SENDING):
        return False
    since = content.removeprefix(_SENDING).split(b" ", 1)[0].decode()
    return datetime.now(UTC) - datetime.fromisoformat(since) > LOST
