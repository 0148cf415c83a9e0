"""Lines that one JSON parser reads and another does not, or not alike: read once more, the same way for every engine.

Belongs here: what a line has to be to count as JSON (RFC 8259, as Python reads it), and its spelling that every parser
reads alike. Which lines are odd is found by the engines, cheaply; hardly any is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NO_JSON = "!"
"""In the place of a line that cannot be read, so that it is counted."""
LONGEST_NUMBER = 400
"""Digits that a parser takes for sure; a longer number is beyond every limit of a field."""


def plain_line(line: str) -> str | None:
    """Return a line as JSON that every parser reads alike; None if it is no JSON object.

    Of a key that comes twice the last value counts. Half a surrogate pair becomes U+FFFD; NaN, infinities and numbers
    of hundreds of digits become null, as no field has such a value.
    """
    try:
        found = json.loads(line.strip(" \t\r\n"), parse_int=_number, parse_float=_number, parse_constant=_nothing)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    text = json.dumps(found, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def write_plain(file: Path, target: Path) -> None:
    """Write each line of a file to `target` as `plain_line` has it. Raises OSError."""
    with target.open("w", encoding="utf-8") as out:
        out.writelines((line or NO_JSON) + "\n" for line in _plain_lines(file))


def _plain_lines(file: Path) -> Iterator[str | None]:
    with file.open("rb") as content:
        for number, line in enumerate(content):
            try:
                text = (line.removeprefix(BYTE_ORDER_MARK) if number == 0 else line).decode("utf-8")
            except UnicodeDecodeError:
                yield None
                continue
            if text.strip(" \t\r\n"):
                yield plain_line(text)


def _number(text: str) -> int | float | None:
    if len(text) <= LONGEST_NUMBER:
        number = float(text) if any(sign in text for sign in ".eE") else int(text)
    else:
        number = float(text)
    return number if abs(number) < float("inf") else None


def _nothing(_constant: str) -> None:
    return None
