"""A person's ids in every spelling, and finding them in bytes, JSON and text.

Belongs here: what counts as naming a person. Pure: nothing is read or written.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from qol_ingest.shared.id_map import CHANCE_LENGTH

ERASED = "[erased]"
"""What stands in the place of an id in a text that stays."""
SHORTEST_IN_BINARY = 5
"""Letters of an id that is looked for in bytes of any kind: a shorter one may be there by chance."""
_UUID = re.compile(r"[0-9a-f]{32}")
_WORD = r"[A-Za-z0-9_-]"


@dataclass(frozen=True)
class Person:
    """Everything that one person is called: Garmin user ids and participant ids."""

    users: tuple[str, ...]
    participants: tuple[str, ...]

    def is_user(self, user: object) -> bool:
        """Return whether a value is one of the Garmin user ids; those of Garmin's shape in any spelling."""
        return isinstance(user, str) and (user in self.users or _plain(user) in self._plain_users)

    def is_named_in(self, content: bytes) -> bool:
        """Return whether bytes hold an id in any spelling: a participant's as a word of its own."""
        return self.user_is_named_in(content) or self.participant_is_named_in(content)

    def user_is_named_in(self, content: bytes) -> bool:
        """Return whether bytes hold a Garmin user id: as it is, in capitals, with hyphens, escaped or in base64."""
        small = content.lower()
        if any(one in small for one in self._small) or any(one in content for one in self._exact):
            return True
        if b"\\u00" in small and self._escaped.search(small):
            return True
        return any(word.search(content) for word in self._short_users)

    def participant_is_named_in(self, content: bytes) -> bool:
        """Return whether bytes hold a participant id that is not part of a longer word."""
        return any(text in content and word.search(content) for text, word in self._participants)

    def is_named_in_text(self, text: str | bytes) -> bool:
        """Return whether a text names the person. Of ids that may be there by chance, the cells of a table do."""
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        return self.is_named_in(content) or any(cell.search(content) for cell in self._short_cells)

    @property
    def as_user(self) -> Person:
        """Return the person with Garmin's ids alone."""
        return Person(self.users, ())

    @property
    def as_participant(self) -> Person:
        """Return the person with the participant ids alone."""
        return Person((), self.participants)

    @cached_property
    def _plain_users(self) -> frozenset[str]:
        return frozenset(plain for user in self.users if _UUID.fullmatch(plain := _plain(user)))

    @cached_property
    def _long_users(self) -> list[str]:
        return [user for user in self.users if len(user) >= CHANCE_LENGTH]

    @cached_property
    def _small(self) -> frozenset[bytes]:
        """Return spellings in small letters."""
        found: set[str] = set()
        for user in self._long_users:
            found.update(
                (user, quote(user, safe=""), json.dumps(user)[1:-1], json.dumps(user, ensure_ascii=False)[1:-1])
            )
            if _UUID.fullmatch(plain := _plain(user)):
                found.update((plain, "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))))
        small = {one.lower() for one in found}
        return frozenset(
            coded
            for one in small
            for coded in (one.encode("utf-8", "surrogatepass"), one.encode("utf-16-le", "replace"))
        )

    @cached_property
    def _exact(self) -> frozenset[bytes]:
        """Return spellings in base64, wherever the id begins among three bytes."""
        found: set[bytes] = set()
        for user in self._long_users:
            raw = user.encode("utf-8", "surrogatepass")
            for before in range(3):
                coded = base64.b64encode(bytes(before) + raw)
                start = (0, 2, 3)[before]
                end = len(coded) - (0, 3, 2)[(before + len(raw)) % 3]
                found.update((coded[start:end], coded[start:end].translate(bytes.maketrans(b"+/", b"-_"))))
        return frozenset(one for one in found if len(one) >= CHANCE_LENGTH)

    @cached_property
    def _escaped(self) -> re.Pattern[bytes]:
        """Return what finds an id of which any letters are escaped as in JSON, in small letters."""
        spelled = [
            "".join(rf"(?:{re.escape(c)}|\\u{ord(c):04x})" if ord(c) < 128 else re.escape(c) for c in user.lower())
            for user in self._long_users
        ]
        return re.compile("|".join(spelled or ["(?!)"]).encode("utf-8", "surrogatepass"))

    @cached_property
    def _short_users(self) -> list[re.Pattern[bytes]]:
        return [_word(user) for user in self.users if SHORTEST_IN_BINARY <= len(user) < CHANCE_LENGTH]

    @cached_property
    def _participants(self) -> list[tuple[bytes, re.Pattern[bytes]]]:
        long = [one for one in self.participants if len(one) >= SHORTEST_IN_BINARY]
        return [(one.encode(), _word(one)) for one in long]

    @cached_property
    def _short_cells(self) -> list[re.Pattern[bytes]]:
        short = [one for one in (*self.users, *self.participants) if len(one) < SHORTEST_IN_BINARY]
        return [re.compile(rf'[|>"]\s*{re.escape(one)}\s*[|<"]'.encode("utf-8", "surrogatepass")) for one in short]


def scrub(text: str, person: Person) -> str:
    """Return a text that names a person no more: in JSON, lines of a string that do, else the names themselves."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict | list):
        return json.dumps(_map_texts(found, lambda one: _scrub_string(one, person)), ensure_ascii=False)
    return _scrub_string(text, person)


def _scrub_string(text: str, person: Person) -> str:
    if not person.is_named_in_text(text):
        return text
    if text.lstrip()[:1] in ("{", "[") and (inner := _as_json(text)) is not None:
        return json.dumps(_map_texts(inner, lambda one: _scrub_string(one, person)), ensure_ascii=False)
    if "\n" in text:
        return "\n".join(line for line in text.split("\n") if not person.is_named_in_text(line))
    return ERASED


def _as_json(text: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_texts(one, change) for one in value]
    if isinstance(value, dict):
        return {change(key): _map_texts(one, change) for key, one in value.items()}
    return value


def _plain(user: str) -> str:
    return user.replace("-", "").lower()


def _word(text: str) -> re.Pattern[bytes]:
    return re.compile(rf"(?<!{_WORD}){re.escape(text)}(?!{_WORD})".encode("utf-8", "surrogatepass"))
