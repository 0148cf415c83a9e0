"""The mail server of a soak: it counts the alerts that come, and can be down.

Belongs here: receiving. Which mails should have come is `alerts.py`'s.
"""

from __future__ import annotations

import re
from collections import Counter
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.controller import Controller

from qol_dagster.defs.messages import SUBJECTS

_PATTERNS = {
    name: re.compile(re.sub(r"\\\{\w+\\\}", ".*", re.escape(subject)), re.DOTALL) for name, subject in SUBJECTS.items()
}


class MailServer:
    """A server on one port, up or down. `alerts` counts what came by the name of the alert."""

    def __init__(self, port: int) -> None:
        self.alerts: Counter[str] = Counter()
        self.subjects: list[str] = []
        self._port = port
        self._controller: Any = None

    def start(self) -> None:
        """Take mails."""
        self._controller = Controller(self, hostname="127.0.0.1", port=self._port)
        self._controller.start()

    def stop(self) -> None:
        """Refuse connections."""
        if self._controller:
            self._controller.stop()
            self._controller = None

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Count a mail."""
        subject = str(message_from_bytes(envelope.content, policy=policy.default)["Subject"])
        self.subjects.append(subject)
        self.alerts[next((name for name, shape in _PATTERNS.items() if shape.fullmatch(subject)), subject)] += 1
        return "250 OK"
