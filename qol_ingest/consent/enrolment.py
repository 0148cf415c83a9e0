"""Who may connect a Garmin account, and the sign-ins that are under way.

Belongs here: entry codes, what is remembered between our page and Garmin's, and how often a code may be guessed. Where
it is stored is `state`'s; HTTP belongs in `oauth`, words in `pages`, the tokens in `tokens`.

Entry codes, states and cookies are kept as hashes only, and no Garmin user id comes here at all. An invitation is one
entry, changed on condition that nobody else changed it meanwhile: that is what lets one of two browsers win.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from qol_ingest.consent.state import EnrolmentState, EnrolmentStateError
from qol_ingest.shared.errors import QolInputError

VALID_FOR = timedelta(days=14)
SIGN_IN_S = 600.0
"""How long a participant may take on Garmin's pages."""
CLAIM_S = 60.0
"""How long linking may take before another browser may use the code; several times what it takes."""
WRONG_CODES, WRONG_CODES_S = 50, 600.0
"""So many wrong codes within such a time from one visitor, and no more of them are counted until it is over."""
_ALPHABET = "23456789ACDEFGHJKMNPQRTVWXY"
"""16 of these 27 are 76 bits. B, S, U, Z are read as what they look like; 0, 1, I, L, O look like each other."""
_LOOKS_LIKE = str.maketrans("BSUZ", "85V2")
_CODE = re.compile(f"[{_ALPHABET}]{{16}}")
_BETWEEN = re.compile(r"[\s\-\u2010-\u2015\u2212\u30fc_.]+")
PARTICIPANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
REMEMBERED_S = 180 * 86_400.0
"""How long an invitation that is over is still distinguished from one that never was."""
TRIES = 20

Refusal = Literal["unknown", "expired", "used", "too many"]


class InvitationError(QolInputError):
    """An entry code cannot be used, and `refusal` says why; or an invitation cannot be made."""

    def __init__(self, message: str, refusal: Refusal = "unknown", retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.retry_after_s = retry_after_s


# -- invitations


@dataclass(frozen=True)
class Invitation:
    """An invitation that is open."""

    participant_id: str
    invited_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Invitations:
    """Entry codes: made by staff for one participant, good for one Garmin account, once."""

    state: EnrolmentState
    clock: Callable[[], float] = time.time

    def invite(self, participant_id: str, valid_for: timedelta = VALID_FOR) -> str:
        """Make an entry code, which cannot be shown a second time; the participant's older one is void from now on.

        Raises InvitationError for an id that cannot be one, EnrolmentStateError.
        """
        if not PARTICIPANT.fullmatch(participant_id):
            raise InvitationError(
                f"{participant_id!r} cannot be a participant id: letters, digits, - and _, at most 64, are allowed"
            )
        if valid_for <= timedelta():
            raise InvitationError("an invitation must be valid for some time")
        code, now = new_code(), self.clock()
        expires_at = now + valid_for.total_seconds()
        made = {"code": hash_of(code), "invited_at": now, "expires_at": expires_at, "claimed_until": 0, "used_at": 0}
        # In this order: a code whose participant has another one leads nowhere.
        self.state.put("code", hash_of(code), {"participant_id": participant_id}, 0, expires_at + REMEMBERED_S)
        self._change(participant_id, lambda _kept: made)
        return spelled(code)

    def withdraw(self, participant_id: str) -> bool:
        """Void the participant's open invitation; False if there is none."""
        return self._change(participant_id, lambda kept: {**kept, "expires_at": 0} if self._is_open(kept) else None)

    def open(self) -> list[Invitation]:
        """Return the invitations that can be used, by participant id."""
        kept = [(name, entry.content) for name, entry in self.state.entries("invitation")]
        return [
            Invitation(name, _moment(one["invited_at"]), _moment(one["expires_at"]))
            for name, one in sorted(kept, key=lambda pair: pair[0])
            if self._is_open(one)
        ]

    def find(self, code: str, visitor: str = "") -> str:
        """Return the participant whom a code, as somebody typed it, belongs to. It is not used up by this.

        Wrong codes are counted by `visitor`, any text that says nothing of a person. However many there were, a right
        code is taken: nobody guesses one of 76 bits, and visitors may share an address. Raises InvitationError,
        EnrolmentStateError.
        """
        typed = read_code(code)
        if not typed:
            raise InvitationError("this is no entry code")
        found = self.state.get("code", hash_of(typed))
        if found is None:
            count_guess(self.state, self.clock(), visitor)
            raise InvitationError("this entry code is not known")
        participant_id = str(found.content["participant_id"])
        kept = self.state.get("invitation", participant_id)
        if kept is None or not hmac.compare_digest(str(kept.content["code"]), hash_of(typed)):
            raise InvitationError("there is a newer invitation", "expired")
        if kept.content["used_at"]:
            raise InvitationError("this entry code was used already", "used")
        if not self._is_open(kept.content):
            raise InvitationError("this entry code has expired", "expired")
        return participant_id

    def claim(self, sign_in: SignIn) -> bool:
        """Keep all others from using the code of a sign-in for CLAIM_S; False if another one is just using it.

        A code that expired while its participant was at Garmin is still good. Raises InvitationError for one that was
        used or made void, EnrolmentStateError.
        """

        def claimed(kept: Mapping[str, Any]) -> Mapping[str, Any] | None:
            if kept["code"] != sign_in.code_hash or not kept["expires_at"]:
                raise InvitationError("there is a newer invitation", "expired")
            if kept["used_at"]:
                raise InvitationError("this entry code was used already", "used")
            now = self.clock()
            return {**kept, "claimed_until": now + CLAIM_S} if kept["claimed_until"] <= now else None

        return self._change(sign_in.participant_id, claimed)

    def release(self, sign_in: SignIn) -> None:
        """Give a claimed code back: nothing was linked."""
        self._change(sign_in.participant_id, _if_same(sign_in, {"claimed_until": 0}))

    def use(self, sign_in: SignIn) -> None:
        """Use up a claimed code."""
        self._change(sign_in.participant_id, _if_same(sign_in, {"used_at": self.clock()}))

    def _is_open(self, kept: Mapping[str, Any]) -> bool:
        return not kept["used_at"] and self.clock() < kept["expires_at"]

    def _change(self, participant_id: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]) -> bool:
        """Keep what `change` makes of an invitation, again if somebody else was faster; False if it gives None."""
        for _ in range(TRIES):
            entry = self.state.get("invitation", participant_id)
            new = change(entry.content if entry else _NO_INVITATION)
            if new is None:
                return False
            version, keep_until = entry.version if entry else 0, self.clock() + REMEMBERED_S
            if self.state.put("invitation", participant_id, new, version, max(keep_until, new["expires_at"])):
                return True
        raise EnrolmentStateError("an invitation is being changed all the time; try again")


def count_guess(state: EnrolmentState, now: float, visitor: str = "") -> None:
    """Count a wrong code of a visitor. Raises InvitationError instead if there were too many, EnrolmentStateError."""
    name = visitor or "all"
    for _ in range(TRIES):
        entry = state.get("guesses", name)
        since, wrong = (entry.content["since"], entry.content["wrong"]) if entry else (now, 0)
        if now >= since + WRONG_CODES_S:
            since, wrong = now, 0
        if wrong >= WRONG_CODES:
            raise InvitationError("too many wrong entry codes", "too many", since + WRONG_CODES_S - now)
        counted = {"since": since, "wrong": wrong + 1}
        if state.put("guesses", name, counted, entry.version if entry else 0, since + WRONG_CODES_S):
            return


_NO_INVITATION: Mapping[str, Any] = {"code": "", "invited_at": 0, "expires_at": 0, "claimed_until": 0, "used_at": 0}


def _if_same(sign_in: SignIn, change: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Mapping[str, Any] | None]:
    """Return the change of an invitation, unless the participant was invited anew meanwhile."""
    return lambda kept: {**kept, **change} if kept["code"] == sign_in.code_hash else None


def new_code() -> str:
    """Return a code that nobody guesses."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(16))


def spelled(code: str) -> str:
    """Return a code as people read it, in groups of four."""
    return "-".join(code[at : at + 4] for at in range(0, 16, 4))


def read_code(typed: str) -> str:
    """Return an entry code as it was made, out of what somebody typed; "" if it cannot be one.

    Small, full-width and separated characters are fine, and so are the letters that look like one of the code's.
    """
    text = _BETWEEN.sub("", unicodedata.normalize("NFKC", typed[:100])).upper().translate(_LOOKS_LIKE)
    return text if _CODE.fullmatch(text) else ""


# -- sign-ins


@dataclass(frozen=True)
class SignIn:
    """A participant on the way to Garmin and back; `done` if the account was linked by it already."""

    participant_id: str
    code_hash: str
    verifier: str = field(repr=False)
    done: bool
    name: str


@dataclass(frozen=True)
class SignIns:
    """What is remembered while a participant is on Garmin's pages, under `state`, for one browser."""

    state: EnrolmentState
    clock: Callable[[], float] = time.time

    def begin(self, participant_id: str, code: str, browser: str) -> tuple[str, str]:
        """Begin a sign-in and return its state and PKCE verifier. Raises EnrolmentStateError."""
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
        content = {
            "participant_id": participant_id,
            "code_hash": hash_of(read_code(code)),
            "verifier": verifier,
            "browser": hash_of(browser),
            "ends_at": self.clock() + SIGN_IN_S,
            "step": "begun",
        }
        self._put(hash_of(state), content, 0)
        return state, verifier

    def take(self, state: str, browser: str) -> SignIn | None:
        """Use the sign-in of a state up and return it; or, for a reload, return the one that is done.

        None if there is none, it is over, another browser's, or used. Raises EnrolmentStateError.
        """
        name = hash_of(state)
        entry = self.state.get("sign-in", name)
        if entry is None or self.clock() >= entry.content["ends_at"]:
            return None
        kept = entry.content
        if not hmac.compare_digest(str(kept["browser"]), hash_of(browser)):
            return None
        if kept["step"] == "begun" and not self._put(name, {**kept, "verifier": "", "step": "taken"}, entry.version):
            return None
        if kept["step"] == "taken":
            return None
        about = {one: str(kept[one]) for one in ("participant_id", "code_hash", "verifier")}
        return SignIn(**about, done=kept["step"] == "done", name=name)

    def finish(self, sign_in: SignIn) -> None:
        """Remember that the account was linked."""
        entry = self.state.get("sign-in", sign_in.name)
        if entry:
            self._put(sign_in.name, {**entry.content, "step": "done"}, entry.version)

    def _put(self, name: str, content: Mapping[str, Any], version: int) -> bool:
        return self.state.put("sign-in", name, content, version, content["ends_at"])


def hash_of(text: str) -> str:
    """Return what is kept in place of a code."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
