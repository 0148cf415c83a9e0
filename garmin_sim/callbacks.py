"""Pings and what they point at: bodies with callback URLs, and the downloads behind these.

Belongs here: the URLs, how long and how often they are good, and what they give. Whose token a download needs is
checked by `cloud.py`.
"""

from __future__ import annotations

import json
import secrets
import struct
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from garmin_sim.history import HOUR_S, Brought, History
from garmin_sim.simulation import Delivery
from garmin_sim.web import Answer, Request, refusal

if TYPE_CHECKING:
    from garmin_sim.records import Record

REST = "/wellness-api/rest/"
URL_LIFE_S = 86_400
FILES = "activityFiles"
SEGMENTS = {
    "pulseox": "pulseOx",
    "allDayRespiration": "respiration",
    "moveIQActivities": "moveiq",
    FILES: "activityFile",
}
"""The last part of the URL path, where it is not the type's key."""

FIT_EPOCH_S = 631_065_600  # 1989-12-31, from which FIT files count


@dataclass(frozen=True)
class _Callback:
    """What one URL stands for; `file` holds an activity if it is a file's."""

    participant: int
    kind: str
    query: Mapping[str, str]
    begin_s: int
    ends_at: float
    file: Mapping[str, Any] | None = None


def segment(kind: str) -> str:
    """Return how a type is spelled in URLs."""
    return SEGMENTS.get(kind, kind)


class Callbacks:
    """The callback URLs given out so far; for several threads."""

    def __init__(self, history: History, users: list[str], base_url: str, clock: Callable[[], float]) -> None:
        self._history, self._users, self._base_url, self._clock = history, users, base_url, clock
        self._given: dict[str, _Callback] = {}
        self._used: set[str] = set()
        self._lock = threading.Lock()

    def pings(self, kinds: Collection[str] | None, may: Callable[[int, str], bool]) -> Iterator[Delivery]:
        """Yield a ping for every hour that had a sync: for each type and participant a URL, where something came.

        `kinds` are the types wanted, None for all; `may` tells whether a participant's type may be announced.
        """
        for hour in self._history.by_hour():
            body: dict[str, list[dict[str, Any]]] = {}
            users = set()
            for brought in hour:
                for kind, items in self._items(brought, kinds, may):
                    body.setdefault(kind, []).extend(items)
                    users.add(self._users[brought.participant])
            if body:
                at = datetime.fromtimestamp(hour[0].hour_s + HOUR_S, UTC)
                yield Delivery(at, json.dumps(body, separators=(",", ":")).encode(), frozenset(users))

    def download(self, request: Request, participant: int) -> Answer:
        """Return what is behind a URL, for the participant whose token came with it; a file is used up by this."""
        token = request.query.get("token", "")
        with self._lock:
            callback = self._given.get(token)
            if callback is None or request.path != REST + segment(callback.kind) or request.query != callback.query:
                return refusal(400, "InvalidPullTokenException failure")
            if callback.participant != participant:
                return refusal(403, "the access token is another user's")
            if self._clock() >= callback.ends_at or token in self._used:
                return refusal(410, "the callback URL is no longer good")
            if callback.file is not None:
                self._used.add(token)
        if callback.file is not None:
            return Answer(200, fit_file(callback.file), "application/octet-stream")
        texts = self._history.uploaded(participant, callback.kind, callback.begin_s, callback.begin_s + HOUR_S)
        return Answer(200, f"[{','.join(texts)}]".encode("ascii"))

    def lost(self, request: Request) -> None:
        """A download did not get through: a file may be asked for once more."""
        with self._lock:
            self._used.discard(request.query.get("token", ""))

    def _items(
        self, brought: Brought, kinds: Collection[str] | None, may: Callable[[int, str], bool]
    ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        found = dict.fromkeys(record.type for record in brought.records)
        for kind in found:
            if (kinds is None or kind in kinds) and may(brought.participant, kind):
                yield kind, [self._item(brought, kind)]
        if (kinds is None or FILES in kinds) and may(brought.participant, FILES):
            files = [self._file_item(brought, activity) for activity in _recorded(brought.records)]
            if files:
                yield FILES, files

    def _item(self, brought: Brought, kind: str) -> dict[str, Any]:
        query = {
            "uploadStartTimeInSeconds": str(brought.hour_s),
            "uploadEndTimeInSeconds": str(brought.hour_s + HOUR_S),
        }
        return {"userId": self._users[brought.participant], "callbackURL": self._url(brought, kind, query)}

    def _file_item(self, brought: Brought, activity: Mapping[str, Any]) -> dict[str, Any]:
        names = ("summaryId", "activityId", "activityName", "activityType", "startTimeInSeconds", "deviceName")
        shared = {name: activity[name] for name in names if name in activity}
        url = self._url(brought, FILES, {"id": str(activity["activityId"])}, activity)
        return {
            "userId": self._users[brought.participant],
            "callbackURL": url,
            "fileType": "FIT",
            "manual": False,
            **shared,
        }

    def _url(self, brought: Brought, kind: str, query: dict[str, str], file: Mapping[str, Any] | None = None) -> str:
        query = {**query, "token": secrets.token_urlsafe(16)}
        ends_at = self._clock() + URL_LIFE_S
        with self._lock:
            self._given[query["token"]] = _Callback(brought.participant, kind, query, brought.hour_s, ends_at, file)
        return f"{self._base_url}{REST}{segment(kind)}?" + "&".join(f"{name}={value}" for name, value in query.items())


def _recorded(records: list[Record]) -> Iterator[dict[str, Any]]:
    """Yield the activities that a device recorded as a file: neither typed in, nor a leg of another, each once."""
    seen = set()
    for record in records:
        if record.type == "activities":
            activity = json.loads(record.text)
            number = str(activity["activityId"])
            if not activity.get("manual") and "parentSummaryId" not in activity and number not in seen:
                seen.add(number)
                yield activity


def fit_file(activity: Mapping[str, Any]) -> bytes:
    """Return a small FIT file of an activity: whose file it is, and the heart rate minute by minute."""
    start_s, pulse = (
        int(activity["startTimeInSeconds"]) - FIT_EPOCH_S,
        int(activity["averageHeartRateInBeatsPerMinute"]),
    )
    minutes = int(activity["durationInSeconds"]) // 60
    # Local message 0 is file_id (type, manufacturer, time_created), 1 is record (timestamp, heart_rate).
    data = bytes((0x40, 0, 0, 0, 0, 3, 0, 1, 0x00, 1, 2, 0x84, 4, 4, 0x86))
    data += struct.pack("<BBHI", 0, 4, 1, start_s)
    data += bytes((0x41, 0, 0, 20, 0, 2, 253, 4, 0x86, 3, 1, 0x02))
    data += b"".join(struct.pack("<BIB", 1, start_s + 60 * minute, pulse) for minute in range(minutes))
    head = struct.pack("<BBHI4s", 14, 0x10, 2132, len(data), b".FIT")
    head += struct.pack("<H", fit_crc(head))
    return head + data + struct.pack("<H", fit_crc(head + data))


def fit_crc(content: bytes) -> int:
    """Return the checksum of FIT files: CRC-16 with the polynomial 0x8005, bits reversed."""
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
