"""The golden cases: raw lines made by hand and the columns they must give, read from the `*.toml` files beside this.

Belongs here: reading a case, writing its lines into a lake, and telling how rows deviate from it. README.md says how a
case is written. Nothing here works a metric out; what must be found is in the case's own words and arithmetic.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from qol_dagster.metrics.dictionary import DAILY, WEEKLY
from qol_dagster_tests.support.lakes import differences, write_raw

FOLDER = Path(__file__).parent
DAY_S = 86_400

Line = dict[str, Any]
TableName = Literal["daily", "weekly"]
Key = tuple[TableName, str, date]
Row = Mapping[str, Any]
Rows = Mapping[Key, Row]
TABLES: tuple[TableName, ...] = ("daily", "weekly")
COLUMNS = {"daily": {metric.name for metric in DAILY}, "weekly": {metric.name for metric in WEEKLY}}

WORDS = {name: getattr(math, name) for name in ("atan2", "cos", "hypot", "log", "pi", "radians", "sin", "sqrt")}
WORDS |= {name: getattr(statistics, name) for name in ("mean", "median", "stdev")}
WORDS |= {"Fraction": Fraction, "abs": abs, "len": len, "max": max, "min": min, "range": range, "sum": sum}
"""What arithmetic in a case may name, beside Python's own operators."""

_CLOCK = r"(\d\d):(\d\d)(?::(\d\d))?"
_EVERY = re.compile(rf"every (\d+) (s|min|h) from {_CLOCK} to {_CLOCK}")
_AT = re.compile(rf"@ {_CLOCK}(?: the day (before|after))?")
_UNIT_S = {"s": 1, "min": 60, "h": 3600}


class CaseError(ValueError):
    """A case cannot be read; the message says which one and what to change."""


@dataclass(frozen=True)
class Value:
    """What one column of one row must hold; `written` is how the case puts it."""

    table: TableName
    day: date
    column: str
    written: str
    value: Any


@dataclass(frozen=True)
class Case:
    """One file: its raw lines by folder, and what must come of them. `name` is the participant too."""

    name: str
    shows: str
    raw: Mapping[date, tuple[Line, ...]]
    expected: tuple[Value, ...]

    @property
    def participants(self) -> dict[str, str]:
        """The case's Garmin users, each the same participant: its own, and those whose id begins with that."""
        own = f"golden-{self.name}"
        users = {line["userId"] for lines in self.raw.values() for line in lines}
        return dict.fromkeys([own, *(user for user in sorted(users) if user.startswith(f"{own}-"))], self.name)

    def write(self, lake: Path) -> None:
        """Write the raw lines, one file a day."""
        for day, lines in self.raw.items():
            write_raw(lake, day, lines, self.name)


def deviations(case: Case, rows: Rows) -> list[str]:
    """What the rows hold that the case does not expect, one line a value."""
    return [line for value in case.expected for line in deviation(value, rows.get((value.table, case.name, value.day)))]


def deviation(value: Value, row: Row | None) -> Iterator[str]:
    """What one column holds that it must not, in words; nothing if it is right."""
    where = f"[{value.table}.{value.day}]"
    if row is None:
        yield f"{where} {value.column}: expected {value.written}, found no row"
        return
    of_the_row = {"participant_id": "", "date": ""}
    found = row[value.column]
    if differences([{**of_the_row, "": found}], [{**of_the_row, "": value.value}]):
        arithmetic = f" {value.written}" if value.written.startswith("=") else ""
        yield f"{where} {value.column}: expected {value.value!r}{arithmetic}, found {found!r}"


def read_cases(folder: Path = FOLDER) -> list[Case]:
    """All cases, by name. Raises CaseError."""
    return [read_case(path) for path in sorted(folder.glob("*.toml"))]


def read_case(path: Path) -> Case:
    """The case in a file. Raises CaseError."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        if unknown := found.keys() - {"shows", "source", "raw", *TABLES}:
            raise CaseError(
                f"there is no part {', '.join(sorted(unknown))}; a case has shows, source, raw, daily, weekly"
            )
        expected = tuple(value for table in TABLES for value in _values(table, found.get(table, {})))
        return Case(path.stem, found["shows"], _raw(found["raw"], f"golden-{path.stem}"), expected)
    except KeyError as error:
        raise CaseError(f"{path.name}: {error.args[0]} is missing") from error
    except ValueError as error:
        raise CaseError(f"{path.name}: {error}") from error


# -- what must be found


def _values(table: TableName, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Value]:
    for name, columns in rows.items():
        day = date.fromisoformat(name)
        if table == "weekly" and day.weekday():
            raise CaseError(f"[weekly.{name}] is no Monday")
        given = {column: value for column, value in columns.items() if column != "null"}
        nulls = columns.get("null", [])
        if twice := given.keys() & set(nulls):
            raise CaseError(f"[{table}.{name}] has {', '.join(sorted(twice))} twice")
        for column in (*given, *nulls):
            if column not in COLUMNS[table]:
                raise CaseError(f"[{table}.{name}] names {column}, which is no column of the {table} table")
            value = given.get(column)
            yield Value(table, day, column, "null" if column in nulls else str(value), _worked_out(value))


def _worked_out(value: Any) -> Any:
    """The value itself; text that begins with = is arithmetic, as in a spreadsheet."""
    if not (isinstance(value, str) and value.startswith("=")):
        return value
    try:
        found = eval(f"({value[1:]})", {"__builtins__": {}, **WORDS})
    except Exception as error:
        raise CaseError(f"{value!r} cannot be worked out: {error}") from error
    return float(found) if isinstance(found, Fraction) else found


# -- raw lines


def _raw(folders: Mapping[str, str], user_id: str) -> dict[date, tuple[Line, ...]]:
    raw: dict[date, list[Line]] = defaultdict(list)
    for name, text in folders.items():
        for day in _days(name):
            for written in filter(None, map(str.strip, text.splitlines())):
                raw[day] += _lines(written, day, user_id)
    return {day: tuple(lines) for day, lines in sorted(raw.items())}


def _days(name: str) -> Iterator[date]:
    """The dates of `2026-06-01`, `2026-06-01, 2026-06-03` or `2026-06-01 to 2026-06-05`, the last one too."""
    for part in name.split(","):
        first, _, last = part.strip().partition(" to ")
        day, end = date.fromisoformat(first), date.fromisoformat(last or first)
        if end < day:
            raise CaseError(f"the folder {name!r} ends before it begins")
        while day <= end:
            yield day
            day += timedelta(days=1)


def _lines(written: str, day: date, user_id: str) -> Iterator[Line]:
    """The raw line as it is written, or one for each of its start times."""
    try:
        line = json.loads(written)
    except ValueError as error:
        raise CaseError(f"this raw line is no JSON ({error}): {written}") from error
    line = {"userId": user_id, "calendarDate": day.isoformat(), **line}
    midnight_s = int(datetime.combine(day, datetime.min.time(), UTC).timestamp())
    offset_s = line.get("startTimeOffsetInSeconds")
    midnight_s -= offset_s if isinstance(offset_s, int) else 0
    start = line.get("startTimeInSeconds")
    if isinstance(start, str) and start.startswith("@ every"):
        for seconds in _series(start.removeprefix("@ ")):
            yield _spelled_out({**line, "startTimeInSeconds": midnight_s + seconds}, midnight_s)
    else:
        yield _spelled_out(line, midnight_s)


def _spelled_out(value: Any, midnight_s: int) -> Any:
    """The value as Garmin would send it: clock times as UTC seconds, a series of samples one by one."""
    if isinstance(value, dict):
        members: Line = {}
        for key, member in value.items():
            names = map(str, _series(key)) if key.startswith("every ") else [key]
            members |= dict.fromkeys(names, _spelled_out(member, midnight_s))
        return members
    if isinstance(value, list):
        return [_spelled_out(one, midnight_s) for one in value]
    return _second(value, midnight_s) if isinstance(value, str) and value.startswith("@") else value


def _series(text: str) -> range:
    found = _EVERY.fullmatch(text)
    if not found:
        raise CaseError(f"{text!r} is not like: every 15 s from 08:00 to 18:00")
    step, unit, *times = found.groups()
    return range(_clock_s(*times[:3]), _clock_s(*times[3:]), int(step) * _UNIT_S[unit])


def _second(text: str, midnight_s: int) -> int:
    found = _AT.fullmatch(text)
    if not found:
        raise CaseError(f"{text!r} is not like: @ 23:00, or @ 23:00 the day before")
    *clock, other_day = found.groups()
    return midnight_s + _clock_s(*clock) + DAY_S * {"before": -1, "after": 1}.get(other_day, 0)


def _clock_s(hours: str, minutes: str, seconds: str | None = None) -> int:
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds or 0)
