"""What is stored of a form: one JSON object for each saved page or whole form, and which answers of them count.

Belongs here: the raw line, read and written, and the latest answers of a participant and wave. Raw lines lie under
`raw/surveys/date=D/<id>.jsonl`, D the date of answering in Japan, and are never changed: a correction is another line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, get_args

from qol_dagster.surveys.whoqol import ITEMS
from qol_dagster.weeks import receipt_date

ZONE = "raw/surveys"
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
    def line(self) -> bytes:
        """The raw line, with its end."""
        return json.dumps({**self.content, "received_at": _text(self.received_at)}, ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True)
class Response:
    """A participant's form of a wave: of each item the answer received last.

    `answered_on` is the date in Japan of the earliest of these answers, so that no later day enters the window.
    """

    participant_id: str
    wave: int
    answers: Mapping[int, object]
    answered_on: date
    completed_at: datetime
    last_received_at: datetime
    language: str
    mode: Mode
    n_sendings: int


def read_line(line: str) -> Sending | None:
    """Return the sending of a raw line; None if it is none. What is no answer from 1 to 5 is kept as it is."""
    try:
        found = json.loads(line)
        received = _time(found["received_at"])
        answers = {int(item): value for item, value in found["answers"].items()}
        wave, participant, mode = found["wave"], found["participant_id"], found["mode"]
        answered = _time(found["answered_at"]) if found.get("answered_at") else received
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if type(wave) is not int or wave < 0 or not isinstance(participant, str) or not participant or mode not in MODES:
        return None
    known = {item: value for item, value in answers.items() if item in ITEMS}
    return Sending(participant, wave, known, str(found.get("language") or ""), mode, answered, received)


def latest_responses(sendings: Iterable[Sending]) -> list[Response]:
    """Return one response for each participant and wave, in their order; one received twice counts once."""
    once = {one.id: one for one in sorted(sendings, key=lambda one: one.received_at, reverse=True)}
    forms: dict[tuple[str, int], list[Sending]] = {}
    for one in sorted(once.values(), key=lambda one: (one.received_at, one.answered_at, one.id)):
        forms.setdefault((one.participant_id, one.wave), []).append(one)
    return [_merged(forms[key]) for key in sorted(forms)]


def _merged(sendings: list[Sending]) -> Response:
    """Return the response of sendings in the order of their receipt."""
    source = {item: one for one in sendings for item in one.answers}
    counting = list(source.values()) or sendings
    last = sendings[-1]
    return Response(
        last.participant_id,
        last.wave,
        {item: source[item].answers[item] for item in sorted(source)},
        receipt_date(min(one.answered_at for one in counting)),
        max(one.answered_at for one in counting),
        last.received_at,
        last.language,
        last.mode,
        len(sendings),
    )


def _time(text: object) -> datetime:
    if not isinstance(text, str):
        raise TypeError(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
