"""What is read of a form: one JSON object for each saved page or whole form, and which answers of them count.

Belongs here: reading the raw line, and the latest answers of a participant and wave. How it is written, and where,
is `qol_ingest/shared/sendings.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from qol_dagster.surveys.whoqol import ITEMS
from qol_dagster.weeks import receipt_date
from qol_ingest.shared.sendings import MODES, Mode, Sending

__all__ = ["MODES", "Mode", "Response", "Sending", "latest_responses", "read_line"]


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
