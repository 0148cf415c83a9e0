"""What Garmin announces and what it then gives: a ping, and the body that is fetched for it.

Belongs here: reading both, and what a download is called. Fetching, and what becomes of a ping, is `puller`'s.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from qol_ingest.pulling.backfill import PATHS
from qol_ingest.records import CALLBACK_KEYS, Parsed
from qol_ingest.shared import keys
from qol_ingest.shared.calendar import receipt_date

_BOM = b"\xef\xbb\xbf"
_FIRST = re.compile(rb"[^ \t\r\n]")
_NAME = re.compile(r"[A-Za-z]{1,32}")


@dataclass(frozen=True)
class Ping:
    """One line of `raw/pings/`: content of a type waits at a URL for us to fetch it."""

    kind: str
    user: str = field(repr=False)
    url: str = field(repr=False)
    received_at: datetime
    file_type: str = ""

    @classmethod
    def read(cls, line: str) -> Ping | None:
        """None for what no receiver of ours has written."""
        try:
            ping = json.loads(line, parse_int=str)  # Python limits the digits of an integer
            received_at = datetime.fromisoformat(ping["_received_at"]).astimezone(UTC)
            kind, user = ping["_summary_type"], ping.get("userId")
            url = next(ping[key] for key in CALLBACK_KEYS if ping.get(key) is not None)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, StopIteration):
            return None
        # An odd user or URL is kept as the text it is in JSON: it has a marker like any other, and is refused.
        user, url = (one if isinstance(one, str) else json.dumps(one) for one in (user, url))
        file_type = str(ping.get("fileType", "")).lower()
        return cls(kind, user, url, received_at, file_type) if isinstance(kind, str) else None

    @property
    def date(self) -> str:
        """The date of receipt in Japan."""
        return receipt_date(self.received_at).isoformat()

    @property
    def marker(self) -> str:
        """The key under which it is noted what became of this ping."""
        # The URL holds a secret of Garmin's making, so nobody finds the user id by trying.
        name = hashlib.sha256(json.dumps([self.kind, self.user, self.url]).encode()).hexdigest()
        return f"{keys.PULLED}/date={self.date}/{name}.json"

    @property
    def label(self) -> str:
        """The type, for messages. It came over the network, so it is shown only if it looks like a type."""
        return self.kind if _NAME.fullmatch(self.kind) else "unknown"


def name_of_download(content: bytes, user: str) -> str:
    """Return the name of a download. Those of two users may be the same bytes, so the user is part of it."""
    return hashlib.sha256(json.dumps([hashlib.sha256(content).hexdigest(), user]).encode()).hexdigest()


def as_push(content: bytes, kind: str) -> bytes:
    """Return what was downloaded, as the body of the push that it could have been.

    Garmin answers with a list of summaries. An object that has them under the type's name is taken as it is, any other
    is taken as one summary. What is neither stays what it is, and cannot be parsed.
    """
    content = content.removeprefix(_BOM)
    found = _FIRST.search(content)
    first, name = found[0] if found else b"", json.dumps(kind).encode()
    if not first:
        return b"{}"  # an empty answer: there is nothing
    if first == b"[":
        return b"".join((b"{", name, b":", content, b"}"))
    if first == b"{" and not _is_push(content, kind):
        return b"".join((b"{", name, b":[", content, b"]}"))
    return content


def _is_push(content: bytes, kind: str) -> bool:
    """Return whether an object is empty, or begins with a list under the type's name in one of Garmin's spellings."""
    names = b"|".join(re.escape(json.dumps(name).encode()) for name in {kind, PATHS.get(kind, kind)})
    return re.match(rb"\s*\{\s*(?:\}|(?:%b)\s*:\s*\[)" % names, content) is not None


def with_user(parsed: Parsed, user: str) -> Parsed:
    """Return the lines with the ping's user where Garmin leaves the user out: without one, a line is nobody's."""
    if all('"userId"' in line for line in _daily_lines(parsed)):
        return parsed
    mark = f'"_ingest_id":"{parsed.ingest_id}"'
    ours = f'{mark},"userId":{json.dumps(user)}'
    daily = {
        day: tuple(line if '"userId"' in line else line.replace(mark, ours, 1) for line in lines)
        for day, lines in parsed.daily.items()
    }
    return replace(parsed, daily=daily)


def _daily_lines(parsed: Parsed) -> Iterator[str]:
    for lines in parsed.daily.values():
        yield from lines
