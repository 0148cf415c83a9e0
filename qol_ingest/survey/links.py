"""Personal links to the questionnaire, and the form that is being answered by each.

Belongs here: codes, when they are over, and the draft of a form: its answers, and the pages that were sent. HTTP
belongs in `web`; the raw lines, which alone count, are written there before a draft changes.

A code is kept as a hash. The form of a participant and wave is one entry: a newer link voids the older one and goes on
with its draft. A form that is finished keeps no answers here.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from qol_ingest.consent.enrolment import (
    PARTICIPANT,
    REMEMBERED_S,
    TRIES,
    InvitationError,
    count_guess,
    hash_of,
    new_code,
    read_code,
    spelled,
)
from qol_ingest.consent.state import EnrolmentState, EnrolmentStateError

VALID_FOR = timedelta(days=30)
GRACE_S = 86_400.0
"""How long a page may still be sent after its link has expired: whoever has begun may end."""
MOST_SAVED = 200
"""How often pages may be sent by one link, each of which is a raw line. Nobody who answers comes near it."""
_NEW: Mapping[str, Any] = {"code": "", "expires_at": 0, "finished_at": 0, "answers": {}, "sent": [], "saved": 0}


@dataclass(frozen=True)
class Draft:
    """A form that is open: the answers so far by item, None for a blank, and the pages that were sent, from 1 on."""

    participant_id: str
    wave: int
    code_hash: str
    answers: Mapping[int, int | None]
    sent: frozenset[int]


@dataclass(frozen=True)
class SurveyLinks:
    """Codes for one form each: one participant and one wave."""

    state: EnrolmentState
    clock: Callable[[], float] = time.time

    def invite(self, participant_id: str, wave: int, valid_for: timedelta = VALID_FOR) -> tuple[str, datetime]:
        """Make a code, which cannot be shown a second time, and return it and when it expires; an older one is void.

        Raises InvitationError for an id or a wave that cannot be one, EnrolmentStateError.
        """
        if not PARTICIPANT.fullmatch(participant_id) or wave < 0:
            raise InvitationError(f"{participant_id!r}, wave {wave}: there can be no such form")
        code, expires_at = new_code(), self.clock() + valid_for.total_seconds()
        about = {"participant_id": participant_id, "wave": wave}
        # In this order: a code whose form has another one leads nowhere.
        self.state.put("survey-code", hash_of(code), about, 0, expires_at + REMEMBERED_S)

        def invited(kept: Mapping[str, Any]) -> Mapping[str, Any]:
            draft = _NEW if kept["finished_at"] else kept
            return {**draft, "code": hash_of(code), "expires_at": expires_at, "saved": 0}

        self._change(participant_id, wave, invited)
        return spelled(code), datetime.fromtimestamp(expires_at, UTC)

    def linked(self) -> set[tuple[str, int]]:
        """Return the forms, as participant and wave, whose link can be used."""
        return {form for form, kept in self._forms() if kept["code"] and self.clock() < kept["expires_at"]}

    def invited(self) -> set[tuple[str, int]]:
        """Return the forms that have or had a link, as long as they are remembered; but for those of who withdrew."""
        return {form for form, kept in self._everything() if kept["code"] or kept["finished_at"]}

    def finished(self) -> set[tuple[str, int]]:
        """Return the forms that were finished, as long as they are remembered."""
        return {form for form, kept in self._everything() if kept["finished_at"]}

    def begun(self) -> set[tuple[str, int]]:
        """Return the forms that were begun and are not finished."""
        return {form for form, kept in self._forms() if kept["sent"] or kept["answers"]}

    def _forms(self) -> list[tuple[tuple[str, int], Mapping[str, Any]]]:
        """Return what is kept of each form that is not finished."""
        return [(form, kept) for form, kept in self._everything() if not kept["finished_at"]]

    def _everything(self) -> list[tuple[tuple[str, int], Mapping[str, Any]]]:
        found = [(name.rpartition("."), entry.content) for name, entry in self.state.entries("survey")]
        return [((owner, int(wave)), kept) for (owner, _, wave), kept in found]

    def withdraw(self, participant_id: str) -> None:
        """Void all links of a participant, and forget the answers of forms that are not finished."""
        for (owner, wave), _ in self._forms():
            if owner == participant_id:
                self._change(owner, wave, lambda kept: {**kept, "code": "", "answers": {}, "sent": []})

    def find(self, typed: str, visitor: str = "", *, grace_s: float = 0.0) -> Draft:
        """Return the form that a code, as somebody typed it, belongs to. It is not used up by this.

        Wrong codes are counted by `visitor` as in `Invitations.find`. Raises InvitationError, EnrolmentStateError.
        """
        code = read_code(typed)
        if not code:
            raise InvitationError("this is no code")
        about = self.state.get("survey-code", hash_of(code))
        if about is None:
            count_guess(self.state, self.clock(), visitor)
            raise InvitationError("this code is not known")
        participant_id, wave = str(about.content["participant_id"]), int(about.content["wave"])
        entry = self.state.get("survey", _name(participant_id, wave))
        if entry is None or not hmac.compare_digest(str(entry.content["code"]), hash_of(code)):
            raise InvitationError("there is a newer link", "expired")
        return self._draft(participant_id, wave, entry.content, grace_s)

    def save(self, draft: Draft, answers: Mapping[int, int | None], page: int = 0, *, pages: int = 0) -> bool:
        """Add answers to a draft, and `page` to those that were sent; True if the form is finished with them.

        It is finished, and its link used up, when `pages` are sent; 0 leaves it open. Raises InvitationError if
        another link took its place or another browser finished it meanwhile, EnrolmentStateError.
        """
        finished = False

        def saved(kept: Mapping[str, Any]) -> Mapping[str, Any]:
            nonlocal finished
            if kept["code"] != draft.code_hash:
                raise InvitationError("there is a newer link", "expired")
            if kept["finished_at"]:
                raise InvitationError("this form was finished already", "used")
            sent = sorted({*kept["sent"], *([page] if page else [])})
            finished = bool(pages) and len(sent) >= pages
            if finished:
                return {**kept, "finished_at": self.clock(), "answers": {}, "sent": sent}
            new = {str(item): value for item, value in answers.items()}
            return {**kept, "answers": {**kept["answers"], **new}, "sent": sent, "saved": kept["saved"] + 1}

        self._change(draft.participant_id, draft.wave, saved)
        return finished

    def _draft(self, participant_id: str, wave: int, kept: Mapping[str, Any], grace_s: float) -> Draft:
        if kept["finished_at"]:
            raise InvitationError("this form was finished already", "used")
        if self.clock() >= kept["expires_at"] + grace_s:
            raise InvitationError("this link has expired", "expired")
        if kept["saved"] >= MOST_SAVED:
            raise InvitationError("this link was used too often", "expired")
        answers = {int(item): value for item, value in kept["answers"].items()}
        return Draft(participant_id, wave, str(kept["code"]), answers, frozenset(kept["sent"]))

    def _change(self, participant_id: str, wave: int, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Keep what `change` makes of a form, again if somebody else was faster."""
        name = _name(participant_id, wave)
        for _ in range(TRIES):
            entry = self.state.get("survey", name)
            new = change(entry.content if entry else _NEW)
            until = max(self.clock() + REMEMBERED_S, new["expires_at"] + REMEMBERED_S)
            if self.state.put("survey", name, new, entry.version if entry else 0, until):
                return
        raise EnrolmentStateError("a form is being changed all the time; try again")


def _name(participant_id: str, wave: int) -> str:
    return f"{participant_id}.{wave}"
