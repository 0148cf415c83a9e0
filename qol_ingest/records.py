"""A Garmin request body -> dated raw lines, lifecycle events, pings and rejects.

Belongs here: what of a body is kept, under which date, and as which text. Pure: bytes and a time in, text out.
Where lines are stored and how requests arrive belong elsewhere.

A line holds the summary as Garmin spelled it, sliced out of the body, so that number spelling, key order, escapes
and duplicate keys of a sample map survive; json.dumps of the parsed record would lose them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import re
import time
import zlib
from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json import JSONDecodeError, JSONDecoder
from typing import Any, NamedTuple

from qol_ingest.shared.calendar import aware, receipt_date
from qol_ingest.shared.permissions import PERMISSION_TYPES
from qol_ingest.shared.record_dates import own_date

LIFECYCLE_TYPES = ("deregistrations", *PERMISSION_TYPES)
OUR_KEYS = ("_summary_type", "_received_at", "_ingest_id")
CALLBACK_KEYS = ("callbackURL", "callbackUrl")
"""Of which a ping has one. A push may have one too, with null or nothing in it."""
TOKEN_KEY = "userAccessToken"  # noqa: S105 - the name of the secret, not the secret

LONGEST_TYPE_NAME = 100
"""Characters of a summary type's name, which each of its lines repeats. Garmin's longest has 26."""
MEMBERS_OF_GZIP = 1000
"""Of a gzip stream: each costs time, whether it holds anything or not."""
GZIP = b"\x1f\x8b\x08"
"""How a gzip stream begins, and no JSON."""

_SPACE = re.compile(r"[ \t\r\n]*")
_NOTHING = re.compile(r"(?:null|\[\s*\])?")
"""A body, without the space around it, that holds as little as `{}` does."""
_NAME = re.compile(r"[ -~]{1,64}")
_LINE_BREAKS = re.compile(r"[\r\n][ \t\r\n]*")
_UTF8_BOM = b"\xef\xbb\xbf"


def _token_member(spelling: str) -> re.Pattern[str]:
    # Outside of strings JSON has no backslash, so a quote without one before it opens a string; inside of a string
    # every quote has one. What a colon follows is a key.
    return re.compile(rf'(?<!\\)"{spelling}"[ \t\r\n]*:[ \t\r\n]*')


_PLAIN_TOKEN = _token_member(TOKEN_KEY)
_ESCAPED_TOKEN = _token_member("".join(rf"(?:{c}|\\u(?i:{ord(c):04x}))" for c in TOKEN_KEY))


@dataclass(frozen=True)
class Bounds:
    """Up to where a body is read. What is beyond is stored whole in quarantine, and can be read later.

    `size` is in bytes, unpacked. `containers` are objects and lists, which take the most memory for a character.
    `dates` are files, each of which takes a write.
    """

    size: int
    records: int
    containers: int
    dates: int


WHILE_GARMIN_WAITS = Bounds(10 * 1024 * 1024, 50_000, 500_000, 400)
"""Garmin's documented 10 MB, in records of no less than 200 bytes: at the worst 154 MB of memory and 1.6 s."""
WITHOUT_HASTE = Bounds(100 * 1024 * 1024, 500_000, 5_000_000, 4_000)
"""Garmin's documented 100 MB of activityDetails, for a command that nobody waits for."""


class BodyError(ValueError):
    """A body that cannot be read; the message says why, and quotes nothing of it."""


@dataclass(frozen=True)
class Parsed:
    """What a body holds. Every line is one JSON object without a line break.

    `daily` maps an ISO date to the raw lines of that date. `rejects` are lines {"reason", "_summary_type", "value"}.
    `users` are the Garmin user ids of what was kept.
    With `whole_body_reason` the body could not be read at all and everything else is empty.
    """

    ingest_id: str
    daily: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lifecycle: tuple[str, ...] = ()
    pings: tuple[str, ...] = ()
    rejects: tuple[str, ...] = ()
    users: frozenset[str] = field(default=frozenset(), repr=False)
    whole_body_reason: str | None = None

    @property
    def stored(self) -> int:
        """How many records have a line."""
        return sum(map(len, self.daily.values())) + len(self.lifecycle) + len(self.pings)

    @property
    def rejected(self) -> int:
        """How many records were rejected; a body that cannot be read counts as one."""
        return len(self.rejects) + (self.whole_body_reason is not None)


def parse_body(
    body: bytes,
    received_at: datetime,
    bounds: Bounds = WHILE_GARMIN_WAITS,
    *,
    until: float = math.inf,
    ingest_id: str = "",
) -> Parsed:
    """Sort the records of one request body, received at `received_at`. Never raises, whatever the bytes are.

    A body beyond `bounds`, or not read by `until` (time.monotonic), is not read at all. `ingest_id` is by default the
    body's SHA-256.
    """
    ingest_id = ingest_id or hashlib.sha256(body).hexdigest()
    try:
        text = _text(body, bounds)
        return _sorted(_Scanner(text), ingest_id, aware(received_at), bounds, until)
    except BodyError as error:
        reason = str(error)
    except JSONDecodeError as error:
        reason = f"the body is not JSON from character {error.pos} on"
    except RecursionError:
        reason = "the body is nested too deeply"
    return Parsed(ingest_id, whole_body_reason=reason)


def unpack(packed: bytes, bounds: Bounds = WHILE_GARMIN_WAITS) -> bytes:
    """Return what a gzip stream holds. Raises BodyError if it is damaged, or beyond the bounds."""
    if len(packed) > bounds.size or packed.count(GZIP) > MEMBERS_OF_GZIP:
        raise BodyError(f"the gzip stream is larger than {_mb(bounds)}, or has very many members")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            body = file.read(bounds.size + 1)
    except (OSError, EOFError, zlib.error):
        raise BodyError("the gzip stream is damaged") from None
    if len(body) > bounds.size:
        raise BodyError(f"the gzip stream holds more than {_mb(bounds)}")
    return body


def _text(body: bytes, bounds: Bounds) -> str:
    if len(body) > bounds.size:
        raise BodyError(f"the body is larger than {_mb(bounds)}")
    if body.count(b"{") + body.count(b"[") > bounds.containers:
        raise BodyError(f"the body holds more than {bounds.containers} objects and lists")
    try:
        return body.removeprefix(_UTF8_BOM).decode("utf-8")
    except UnicodeDecodeError:
        raise BodyError("the body is not UTF-8 text") from None


def _mb(bounds: Bounds) -> str:
    return f"{bounds.size // 1024**2} MB"


# -- walking the body


class _Entry(NamedTuple):
    """One element of a summary type's array, or a summary type's whole value if that is no array.

    `raw_type` and `raw` are JSON text as received. `is_json` is false where `raw` holds NaN or Infinity: other readers
    than Python's do not take them.
    """

    summary_type: str
    raw_type: str
    raw: str
    value: Any
    in_list: bool
    is_json: bool


class _Scanner:
    """Walks a body's text and slices its entries out."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._decoder = _Decoder()

    def entries(self) -> Iterator[_Entry]:
        """Yield all entries in order. Raises BodyError, JSONDecodeError, RecursionError."""
        at = self._skip(0)
        if self._char(at) != "{":
            if _NOTHING.fullmatch(self._text.strip()):
                return
            raise BodyError("the body is not a JSON object")
        at = self._skip(at + 1)
        more = self._char(at) != "}"
        at = at if more else at + 1
        while more:
            at = yield from self._member(at)
            more, at = self._continues(at, "}")
        if self._skip(at) != len(self._text):
            raise JSONDecodeError("Extra data", self._text, at)

    def _member(self, at: int) -> Generator[_Entry, None, int]:
        if self._char(at) != '"':
            raise JSONDecodeError("Expecting a key", self._text, at)
        key, end = self._decoder.decode(self._text, at)
        raw_key = self._text[at:end]
        if len(key) > LONGEST_TYPE_NAME:
            raise BodyError(f"the name of a type is longer than {LONGEST_TYPE_NAME} characters")
        at = self._skip(end)
        if self._char(at) != ":":
            raise JSONDecodeError("Expecting ':'", self._text, at)
        at = self._skip(at + 1)
        if self._char(at) == "[" and key != TOKEN_KEY:
            return (yield from self._elements(key, raw_key, at))
        return (yield from self._entry(key, raw_key, at, in_list=False))

    def _elements(self, key: str, raw_key: str, at: int) -> Generator[_Entry, None, int]:
        at = self._skip(at + 1)
        if self._char(at) == "]":
            return at + 1
        more = True
        while more:
            at = yield from self._entry(key, raw_key, at, in_list=True)
            more, at = self._continues(at, "]")
        return at

    def _entry(self, key: str, raw_key: str, at: int, *, in_list: bool) -> Generator[_Entry, None, int]:
        constants = self._decoder.constants
        constants.clear()
        value, end = self._decoder.decode(self._text, at)
        yield _Entry(key, raw_key, self._text[at:end], value, in_list, not constants)
        return end

    def _continues(self, at: int, closing: str) -> tuple[bool, int]:
        """Return whether a comma follows, and where what follows begins."""
        at = self._skip(at)
        char = self._char(at)
        if char == ",":
            return True, self._skip(at + 1)
        if char == closing:
            return False, at + 1
        raise JSONDecodeError(f"Expecting ',' or '{closing}'", self._text, at)

    def _skip(self, at: int) -> int:
        return _after_space(self._text, at)

    def _char(self, at: int) -> str:
        return self._text[at : at + 1]


def _after_space(text: str, at: int) -> int:
    if text[at : at + 1] > " ":  # nearly always
        return at
    found = _SPACE.match(text, at)
    return found.end() if found else at


class _Decoder:
    """Decodes JSON values. NaN and Infinity, which Python takes for JSON, are collected in `constants`."""

    def __init__(self) -> None:
        self.constants: list[str] = []
        self._usual = JSONDecoder(parse_constant=self.constants.append)
        # Python limits the digits of an integer, but not of a float.
        self._long = JSONDecoder(parse_constant=self.constants.append, parse_int=float)

    def decode(self, text: str, at: int) -> tuple[Any, int]:
        """Return the value that begins at `at`, and where it ends."""
        try:
            return self._usual.raw_decode(text, at)
        except JSONDecodeError:
            raise
        except ValueError:
            return self._long.raw_decode(text, at)


_TOLERANT = JSONDecoder(parse_int=float)


def _end_of_value(text: str, at: int) -> int:
    return _TOLERANT.raw_decode(text, at)[1]


# -- repeated keys


def _repeated_key(raw: str, record: dict[str, Any]) -> str | None:
    """Return a key that a record has twice at its top level, however it is spelled; None if it has none.

    The token may be repeated, for it is taken out.
    """
    # Each key has a colon of its own, so where there are no more colons than keys and texts account for, none is
    # repeated. Nearly all records are as plain as that: only the others are read a second time.
    further = raw.count(":") - len(record)
    if not further or further == _count_inner_keys(record) + _count_colons_in_texts(raw, record):
        return None
    seen: set[str] = set()
    for key in _top_level_keys(raw):
        if key in seen and key != TOKEN_KEY:
            return key
        seen.add(key)
    return None


def _count_inner_keys(record: dict[str, Any]) -> int:
    """Return how many different keys there are where summaries have objects inside; deeper ones are not counted.

    That is in a member's object (a sample map), a list of them, or an object of such lists (a sleep's levels).
    """
    count = 0
    for value in record.values():
        if isinstance(value, dict):
            count += len(value)
            for inner in value.values():
                if not isinstance(inner, list):
                    break  # a sample map has thousands of numbers
                count += _count_keys_of_elements(inner)
        elif isinstance(value, list):
            count += _count_keys_of_elements(value)
    return count


def _count_colons_in_texts(raw: str, record: dict[str, Any]) -> int:
    """Return how many colons of the text are within the values at the top level: a name, a URL, a time."""
    if "\\" in raw:  # a colon of a value may be spelled without one
        return 0
    return sum([value.count(":") for value in record.values() if isinstance(value, str)])


def _count_keys_of_elements(elements: list[Any]) -> int:
    return sum([len(element) for element in elements if isinstance(element, dict)])


def _top_level_keys(raw: str) -> Iterator[str]:
    """Yield the keys of an object's JSON text, repeated ones each time. The text is known to be valid."""
    at = _after_space(raw, 1)
    while raw[at] != "}":
        key, end = _TOLERANT.raw_decode(raw, at)
        yield key
        colon = _after_space(raw, end)
        at = _after_space(raw, _end_of_value(raw, _after_space(raw, colon + 1)))
        if raw[at] == ",":
            at = _after_space(raw, at + 1)


# -- sorting the entries


def _sorted(scanner: _Scanner, ingest_id: str, received_at: datetime, bounds: Bounds, until: float) -> Parsed:
    daily: dict[str, list[str]] = defaultdict(list)
    lifecycle: list[str] = []
    pings: list[str] = []
    rejects: list[str] = []
    users: set[str] = set()
    today = receipt_date(received_at)
    rest = f',"_received_at":"{_timestamp(received_at)}","_ingest_id":"{ingest_id}"'
    for number, entry in enumerate(scanner.entries(), start=1):
        if number > bounds.records:
            raise BodyError(f"the body holds more than {bounds.records} records")
        if time.monotonic() > until:
            raise BodyError("the body could not be read in time")
        if _is_empty(entry):
            continue
        reason = _fault(entry)
        if reason:
            rejects.append(_reject_line(entry, reason))
            continue
        line = _line(entry, rest)
        user = entry.value.get("userId")
        if isinstance(user, str) and user.strip():
            users.add(user)
        if entry.summary_type in LIFECYCLE_TYPES:
            lifecycle.append(line)
        elif any(entry.value.get(key) not in (None, "") for key in CALLBACK_KEYS):
            pings.append(line)
        else:
            own = own_date(entry.value, entry.summary_type) or today
            daily[own.isoformat()].append(line)
            if len(daily) > bounds.dates:
                raise BodyError(f"the body holds more than {bounds.dates} dates")
    by_date = {day: tuple(lines) for day, lines in daily.items()}
    return Parsed(ingest_id, by_date, tuple(lifecycle), tuple(pings), tuple(rejects), frozenset(users))


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_empty(entry: _Entry) -> bool:
    """Whether what stands in the place of a list holds as little as an empty one. NaN is read as None, and does not."""
    return not entry.in_list and entry.is_json and entry.value in (None, {}, [])


def _fault(entry: _Entry) -> str | None:
    """Why an entry cannot become a line."""
    if entry.summary_type == TOKEN_KEY:
        return "a token, which is not kept"
    if not entry.in_list and not _is_summary(entry.value):
        return "the value of this type is not a list"
    if not isinstance(entry.value, dict):
        return "not an object"
    if not entry.is_json:
        return "holds NaN or Infinity, which JSON does not have"
    # Readers differ in which of two equal keys they take, so ours must be the only one.
    ours = [key for key in OUR_KEYS if key in entry.value]
    return f"has a key of ours: {', '.join(ours)}" if ours else _repetition(entry)


def _is_summary(value: Any) -> bool:
    """Whether what stands in the place of a list can mean nothing but one summary."""
    return isinstance(value, dict) and "userId" in value


def _repetition(entry: _Entry) -> str | None:
    """Why a record with a repeated key cannot become a line: here too readers differ in which of the two they take.

    Events do: a withdrawal must not wait in quarantine, and Python alone reads them.
    """
    if entry.summary_type in LIFECYCLE_TYPES:
        return None
    repeated = _repeated_key(entry.raw, entry.value)
    if repeated is None:
        return None
    # What is no plain name may be anything, and is not quoted.
    return f"the record has the key {repeated} twice" if _NAME.fullmatch(repeated) else "the record has a key twice"


def _line(entry: _Entry, rest: str) -> str:
    record = _clean(entry.raw)
    members = record[_after_space(record, 1) :]
    comma = "" if members == "}" else ","
    return f'{{"_summary_type":{entry.raw_type}{rest}{comma}{members}'


def _reject_line(entry: _Entry, reason: str) -> str:
    value = _clean(entry.raw) if entry.is_json else json.dumps(_clean(entry.raw), ensure_ascii=False)
    if entry.summary_type == TOKEN_KEY:
        value = "null"
    return f'{{"reason":{json.dumps(reason)},"_summary_type":{entry.raw_type},"value":{value}}}'


def _clean(raw: str) -> str:
    """Return a JSON value's text on one line and without any access token."""
    # Strings of strict JSON hold no raw line break, so all of them are white space between values.
    one_line = _LINE_BREAKS.sub("", raw) if "\n" in raw or "\r" in raw else raw
    pattern = _ESCAPED_TOKEN if "\\u" in one_line else _PLAIN_TOKEN if TOKEN_KEY in one_line else None
    return _without_members(one_line, pattern) if pattern else one_line


def _without_members(text: str, pattern: re.Pattern[str]) -> str:
    """`text` without the object members whose key `pattern` finds, and without one comma for each."""
    kept: list[str] = []
    at = 0
    while found := pattern.search(text, at):
        kept.append(text[at : found.start()])
        at = _after_space(text, _end_of_value(text, found.end()))
        if text[at] == ",":
            at += 1
        else:
            _drop_last_comma(kept)
    return "".join([*kept, text[at:]])


def _drop_last_comma(pieces: list[str]) -> None:
    while pieces:
        last = pieces.pop().rstrip(" \t\r\n")
        if last:
            pieces.append(last.removesuffix(","))
            return
