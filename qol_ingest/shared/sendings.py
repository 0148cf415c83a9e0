"""The raw line of a questionnaire: answers that were saved together, and where they are stored.

Belongs here: what the page on the receiver and the import write alike. Raw lines are under
`raw/surveys/date=D/<id>.jsonl`, D the date of answering in Japan, and are never changed: a correction is another line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, get_args

from qol_ingest.shared.calendar import receipt_date
from qol_ingest.shared.keys import SURVEYS

Mode = Literal["web", "paper", "import"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Sending:
    """Answers that were saved together: a page or a form. Items that are not named are not touched; None is a blank."""

    participant_id: str
    wave: int
    answers: Mapping[int, object]
    language: str
    mode: Mode
    answered_at: datetime
    received_at: datetime

    @property
    def content(self) -> dict[str, Any]:
        """All but the receipt, so that the same answers received twice are the same."""
        return {
            "participant_id": self.participant_id,
            "wave": self.wave,
            "answers": {str(item): self.answers[item] for item in sorted(self.answers)},
            "language": self.language,
            "mode": self.mode,
            "answered_at": _text(self.answered_at),
        }

    @property
    def id(self) -> str:
        """SHA-256 of the content: the name of its file."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @property
    def date(self) -> date:
        """The date of answering in Japan: the partition of its file."""
        return receipt_date(self.answered_at)

    @property
    def key(self) -> str:
        """Where it is stored."""
        return f"{SURVEYS}/date={self.date.isoformat()}/{self.id}.jsonl"

    @property
    def line(self) -> bytes:
        """The raw line, with its end."""
        return json.dumps({**self.content, "received_at": _text(self.received_at)}, ensure_ascii=False).encode() + b"\n"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
