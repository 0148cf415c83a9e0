"""Lines as no standard foresees them: both engines read of each what plain Python reads, or none of them anything."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.engines import Engine, RawFile, RecordsUpdate
from qol_dagster.engines.odd_lines import plain_line
from qol_dagster_tests.support.reference import flag, not_negative, number

DAY = date(2026, 11, 17)
LINES = 20_000
SPELLINGS = (
    *("0", "-0", "7", "8123", "1e3", "1E+2", "1.50", "-3.25", "1e-7", "123456789012345678", "1e15", "1.0000001e15"),
    *("null", "true", "false", "[]", "{}", "[1]", '{"a":1}', "NaN", "Infinity", "-Infinity", "1e400", "9" * 5000),
    *("1." + "0" * 5000 + "1", "01", "+1", ".5", "5.", "0x10", "1_000", "'1'", "", "1,"),
    *('"12"', '" 12 "', '"1e3"', '"\\u0031\\u0032"', '"１２"', '"0x10"', '"1_000"', '"NaN"', '"inf"', '"12d"', '"12f"'),
    *(
        '"+-5"',
        '"-+5"',
        '"\\u00005"',
        '"5\\u0001"',
        '"\\u001c5"',
        '"\\t5\\r"',
        '"\\u00a05"',
        '"5\\u007f"',
        '"5\\u001f"',
    ),
    *('"+5"', '"5."', '".5"', '""', '"-"', '"1,200"', '"true"', '"TRUE"', '"1"', '"yes"', '"\\ud83d"', '"a\\ud83db"'),
)
OFFSETS = ("15", "30", "45", "1e2", "x", "", "60d", "+-5", "9\\u0001")
TIMES = (
    *("2026-11-18T01:00:00.000Z", "2026-11-18 01:00:00", "2026-11-18T01:00:00", "2026-11-18T10:00:00+09:00"),
    *("2026-11-18T10:00:00.5+0900", "2026-11-18T10:00+09", "2026-11-18t01:00:00z", "2026-11-17T20:30:00-04:30"),
    *("2026-11-18T01:00:00,250Z", "2026-11-18T01:00:00.123456789Z", "2026-11-18", "2026-11-18T25:00:00Z"),
    *("2026-02-30T01:00:00Z", "2026-11-18T01:00:00 Europe/Paris", "18.11.2026 01:00", "20261118", "8000", "now", ""),
    *("2026-11-18T01:00:60Z", "2026-11-18T01:00:00.Z", "T01:00", "2026-11-18T1:00:00Z", " 2026-11-18T01:00:00Z"),
)
FIELDS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "steps": ("steps", not_negative),
    "start_s": ("startTimeInSeconds", number),
    "offset_s": ("startTimeOffsetInSeconds", number),
    "duration_s": ("durationInSeconds", not_negative),
    "on_demand": ("onDemand", flag),
}


def test_both_engines_read_twenty_thousand_odd_lines_as_plain_python_does(engine: Engine, tmp_path: Path) -> None:
    chance = random.Random(20)
    lines = [odd_line(chance, name) for name in range(LINES)]
    file = tmp_path / f"date={DAY}" / "dump.jsonl"
    file.parent.mkdir()
    file.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines) + b"\n")
    folder = tmp_path / "records"
    engine.write_records({DAY: RecordsUpdate([RawFile(str(file), file.stat().st_size)])}, str(folder))
    engine.load_records({DAY: [str(part) for part in sorted(folder.glob("date=*/*.parquet"))]})
    rows = engine.run(
        f"SELECT user_id, summary_id, received_ms, heart_rate, {', '.join(FIELDS)} FROM records ORDER BY line"
    )
    expected = [in_python(line) for line in lines if line.strip(b" \t\r")]
    found = [seen(row) for row in rows.to_pylist()]
    assert len(found) == len(expected)
    differences = [(line, one, other) for line, one, other in zip(lines, found, expected, strict=True) if one != other]
    assert differences[:3] == []


def test_of_an_offset_that_comes_twice_the_last_value_counts_and_the_neighbours_are_as_they_were(
    engine: Engine, tmp_path: Path
) -> None:
    maps = {
        "far": ('{"0": 60, "15": 61, "30": 62, "0": 70}', [(0, 70), (15, 61), (30, 62)]),
        "near": ('{"0": 60, "15": 61, "15": 71}', [(0, 60), (15, 71)]),
        "back": ('{"30": 62, "15": 61, "0": 60}', [(0, 60), (15, 61), (30, 62)]),
        "once": ('{"0": 60, "15": 61}', [(0, 60), (15, 61)]),
        "text": ('{"0": 60, "15": "61", "0": "70"}', [(0, 70), (15, 61)]),
        "word": ('{"0": 60, "15": 61, "0": "none"}', [(15, 61)]),
    }
    files, folder = [], tmp_path / f"date={DAY}"
    folder.mkdir()
    for name, (text, _) in maps.items():
        line = f'{{"userId": "u", "summaryId": "{name}", "timeOffsetHeartRateSamples": {text}}}\n'
        calm = f'{{"userId": "u", "summaryId": "{name}-calm", "timeOffsetHeartRateSamples": {{"0": 50}}}}\n'
        file = folder / f"{name}.jsonl"
        file.write_text(calm + line + calm)
        files.append(RawFile(str(file), file.stat().st_size))
    engine.write_records({DAY: RecordsUpdate(files)}, str(tmp_path / "records"))
    engine.load_records({DAY: [str(part) for part in sorted(tmp_path.glob("records/date=*/*.parquet"))]})
    rows = engine.run("SELECT user_id, summary_id, received_ms, heart_rate, file FROM records ORDER BY file, line")
    found = [(row["file"], row["summary_id"], seen(row | dict.fromkeys(FIELDS))) for row in rows.to_pylist()]
    expected = [
        (name, spelled, (spelled, None, pairs, *[None] * len(FIELDS)))
        for name, (_, counted) in sorted(maps.items())
        for spelled, pairs in ((f"{name}-calm", [(0, 50)]), (name, counted), (f"{name}-calm", [(0, 50)]))
    ]
    assert found == expected


def odd_line(chance: random.Random, name: int) -> bytes:
    """A line of a record, in which something or other is as it should not be."""
    members = [
        '"userId": "aaaaaaaa0000111122223333444455aa"',
        '"_summary_type": "dailies"',
        f'"_received_at": {json.dumps(chance.choice(TIMES))}',
        f'"summaryId": "s{name}"',
        f'"timeOffsetHeartRateSamples": {samples(chance)}',
    ]
    for key, _ in FIELDS.values():
        members += [f'"{key}": {chance.choice(SPELLINGS)}'] if chance.random() < 0.5 else []
    chance.shuffle(members)
    if chance.random() < 0.2:
        members.append(chance.choice(members).replace("e", "\\u0065", 1) if chance.random() < 0.3 else members[0])
    if chance.random() < 0.2:
        members.append(f'"other": {chance.choice(SPELLINGS)}')
    joined = chance.choice([", ", ",", " , ", ",\t"]).join(members)
    text = "{" + joined + chance.choice(["}"] * 12 + [",}", ", }", "", "}}", "} x", "}{}"])
    content = (chance.choice([""] * 8 + [" ", "\t", "x"]) + text).encode()
    if chance.random() < 0.1:
        place = chance.randrange(len(content))
        odd = chance.choice([b"\x00", b"\xff", b'"', b"\\", b",", b"\xed\xa0\xbd", b"\x7f", b""])
        content = content[:place] + odd + content[place + chance.randrange(2) :]
    return content.replace(b"\n", b" ").replace(b"\r", b" ")


def samples(chance: random.Random) -> str:
    at, value = chance.choice(OFFSETS), chance.choice(("60", "61.5", "-1", "null", '"62"'))
    pairs = [f'"{at}": {value}']
    pairs *= chance.choice([0, 1, 1, 1, 2])
    return chance.choice(["{" + ", ".join(pairs) + "}"] * 9 + ["[]", "null", "7"])


def in_python(line: bytes) -> tuple[object, ...] | None:
    """The line as a strict parser that takes the last of two values reads it."""
    try:
        body = json.loads(line.decode("utf-8"), parse_int=float, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or not isinstance(body.get("userId"), str):
        return None
    summary_id = body.get("summaryId")
    beats = body.get("timeOffsetHeartRateSamples")
    pairs = [(number(k), number(v)) for k, v in beats.items()] if isinstance(beats, dict) else []
    return (
        summary_id if isinstance(summary_id, str) else None,
        milliseconds(body.get("_received_at")),
        sorted(pair for pair in pairs if None not in pair),
        *(read(body.get(key)) for key, read in FIELDS.values()),
    )


def seen(row: dict[str, Any]) -> tuple[object, ...] | None:
    """The same of a row."""
    if row["user_id"] is None:
        return None
    beats = row["heart_rate"] or []
    pairs = list(zip(beats["t"] or [], beats["v"] or [], strict=True)) if isinstance(beats, dict) else beats
    pairs = [(pair["t"], pair["v"]) if isinstance(pair, dict) else pair for pair in pairs]
    limits = [pair for pair in pairs if all(one is not None and abs(one) <= 1e15 for one in pair)]
    return (row["summary_id"], row["received_ms"], sorted(limits), *(row[name] for name in FIELDS))


def milliseconds(text: object) -> int | None:
    """ISO 8601 with hyphens, as the standard library reads it; without a zone it is UTC."""
    if not isinstance(text, str) or text[4:5] != "-" or text[10:11] not in ("", *"Tt ") or "," in text[:19]:
        return None
    if text != text.strip() or text.endswith(".Z"):
        return None
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000 // 1)


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ('{"a": 1, "a": 2}', '{"a": 2}'),
        ('{"a": "\\ud83d"}', '{"a": "\ufffd"}'),
        ('{"a": "\\ud83d\\ude00"}', '{"a": "\U0001f600"}'),
        (f'{{"a": {"9" * 5000}}}', '{"a": null}'),
        ('{"a": NaN}', '{"a": null}'),
        ('{"a": 1.50}', '{"a": 1.5}'),
        ('{"a": 1,}', None),
        ("[1]", None),
        ("[" * 100_000, None),
        ("", None),
    ],
)
def test_a_line_in_its_plain_spelling(line: str, plain: str | None) -> None:
    assert plain_line(line) == plain
