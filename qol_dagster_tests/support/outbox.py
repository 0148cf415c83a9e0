"""A notifier that keeps what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outbox:
    """Keeps subject and body of what is sent while it `works`."""

    works: bool = True
    sent: list[tuple[str, str]] = field(default_factory=list)

    def send(self, subject: str, body: str) -> bool:
        """See `Notifier`."""
        if self.works:
            self.sent.append((subject, body))
        return self.works
