"""Request bodies by the thousand: valid, broken and hostile ones, with what each of them holds.

Belongs here: the making of bodies. Each is put together from the raw text of its records, so a test knows without
parsing what must come out again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

EVENTS = ("deregistrations", "userPermissionsChange", "userPermissions")
TYPES = (
    "dailies", "epochs", "sleeps", "bodyComps", "stressDetails", "userMetrics", "pulseox", "pulseOx", "hrv",
    "allDayRespiration", "respiration", "healthSnapshot", "bloodPressures", "skinTemp", "mct", "activities",
    "activityDetails", "moveIQActivities", "moveiq", "manuallyUpdatedActivities", "deregistrations",
    "userPermissionsChange", "nobodyKnowsThis", "日本", "",
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """A request body. `records` are the raw texts of the objects in it that can be kept as they are; `others` counts
    the elements that cannot, those with a repeated key among them unless they are events; a `broken` body is no JSON
    object at all, and not nothing.
    """

    content: bytes
    records: tuple[str, ...] = ()
    others: int = 0
    broken: bool = False


@dataclass
class _Draft:
    members: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    others: int = 0


def bodies(count: int, seed: int) -> Iterator[Body]:
    """So many bodies; the same seed gives the same ones."""
    chance = random.Random(seed)
    for number in range(count):
        yield _broken(chance) if number % 5 == 4 else _sound(chance)


def _sound(chance: random.Random) -> Body:
    draft = _Draft()
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        kind = chance.choice(TYPES)
        spelled = json.dumps(kind, ensure_ascii=chance.random() < 0.5)
        draft.members.append(f"{spelled}:{_value(chance, draft, may_repeat=kind in EVENTS)}")
    space = chance.choice(("", "", " ", "\t"))
    return Body(f"{space}{{{','.join(draft.members)}}}{space}".encode(), tuple(draft.records), draft.others)


def _value(chance: random.Random, draft: _Draft, *, may_repeat: bool) -> str:
    if chance.random() < 0.05:  # a type that is no list, of which one summary is kept
        value = chance.choice(("null", "7", '"text"', "{}", summary := '{"userId":"u"}', "true"))
        if value == summary:
            draft.records.append(value)
        elif value not in _NOTHING:
            draft.others += 1
        return value
    elements = []
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        if chance.random() < 0.1:
            draft.others += 1
            elements.append(chance.choice(("null", "1", '"x"', "[]", "[{}]", "false", "-0.0e-0", '{"_ingest_id":1}')))
        else:
            record, is_repeating = _record(chance)
            elements.append(record)
            if is_repeating and not may_repeat:
                draft.others += 1
            else:
                draft.records.append(record)
    return f"[{','.join(elements)}]"


def _record(chance: random.Random) -> tuple[str, bool]:
    """Return a record's text, and whether it has a key twice."""
    fields = [chance.choice(_FIELDS) for _ in range(chance.randrange(0, 9))]
    by_name = {field.partition(":")[0]: field for field in fields}
    is_repeating = len(by_name) < len(fields) and chance.random() < 0.1
    members = [
        field.format(n=chance.randrange(-5, 10**6), day=chance.randrange(1, 32), text=chance.choice(_TEXTS))
        for field in (fields if is_repeating else by_name.values())
    ]
    if chance.random() < 0.02:
        members.append('"deep":' + "[" * 60 + "]" * 60)
    if chance.random() < 0.02:
        samples = ",".join(f'"{15 * slot}":{chance.randrange(40, 190)}' for slot in range(chance.randrange(5760)))
        members.append('"timeOffsetHeartRateSamples":{' + samples + "}")
    return "{" + ",".join(members) + "}", is_repeating


_FIELDS = (
    '"userId":"u{n}"', '"userId":"{text}"', '"summaryId":"x{n}"', '"calendarDate":"2026-10-{day:02}"',
    '"calendarDate":"2026-02-30"', '"calendarDate":{n}', '"startTimeInSeconds":17{n}', '"startTimeInSeconds":"{text}"',
    '"startTimeInSeconds":-{day}e999', '"startTimeOffsetInSeconds":32400', '"startTimeOffsetInSeconds":null',
    '"steps":{n}', '"steps":"{n}"', '"steps":{n}', '"steps":1e400', '"steps":{n}.{n}e-{day}', '"note":"{text}"',
    '"nested":{{"a":[{n},{{"b":null}}],"c":"{text}"}}', '"callbackURL":"https://example.org/{n}"', '"":""',
    '"big":123456789012345678901234567890123456789012345678901234567890', '"summary":{{"startTimeInSeconds":{n}}}',
)  # fmt: skip
_TEXTS = (
    "", "a", "日本語", "\\u0000", "\\ud83d", "\\ud83d\\ude00", "\\\\", '\\"', "\\n", "{}", "[", "],", "é", "\x7f", "'",
)  # fmt: skip


def _broken(chance: random.Random) -> Body:
    sound = _sound(chance).content
    cut = chance.randrange(1, len(sound) + 1)
    content = chance.choice(_WAYS)(sound, cut)
    return Body(content, broken=content.strip().decode("latin-1") not in _NOTHING)


_NOTHING = ("", "null", "{}")
_WAYS = (
    lambda sound, cut: sound.rstrip()[: min(cut, len(sound.rstrip()) - 1)],
    lambda sound, cut: sound[:cut] + b"\xff\xfe" + sound[cut:],
    lambda sound, cut: sound + b"x",
    lambda sound, cut: b"[" + sound + b"]",
    lambda sound, cut: b'{"dailies":' + b"[" * (20_000 + cut),
    lambda sound, cut: b'{"dailies":[' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"]}",
    lambda sound, cut: b"",
    lambda sound, cut: b"null",
    lambda sound, cut: b"\x1f\x8b" + sound,
    lambda sound, cut: sound.decode().encode("utf-16"),
    lambda sound, cut: b'{"dailies":[{"a":\x00}]}' + sound,
    lambda sound, cut: b"{'dailies': []}" + sound[:cut],
)
