"""Forms that were answered elsewhere: plain CSV, REDCap, LimeSurvey, FHIR QuestionnaireResponse -> sendings.

Belongs here: which column is what in each, and every reason why a file is refused. A file is imported whole or not at
all. A time without a zone is Japan's; a date alone is its noon.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Literal

from qol_dagster.errors import QolInputError
from qol_dagster.spreadsheets import SPELLINGS, decode, read_rows, read_time
from qol_dagster.surveys.responses import MODES, Mode, Sending
from qol_dagster.surveys.whoqol import HIGHEST, ITEMS, LOWEST, read_answer
from qol_ingest.shared.calendar import JST, receipt_date

Source = Literal["csv", "redcap", "limesurvey", "fhir"]
Row = Mapping[str, Any]

_NAMES: Mapping[Source, Mapping[str, tuple[str, ...]]] = {
    "csv": {
        "participant_id": ("participant_id",),
        "answered_at": ("answered_at",),
        "wave": ("wave",),
        "language": ("language",),
        "mode": ("mode",),
    },
    "redcap": {
        "participant_id": ("participant_id", "record_id"),
        "answered_at": ("answered_at", "whoqol_timestamp", "whoqol26_timestamp", "whoqolbref_timestamp"),
        "wave": ("wave", "redcap_event_name"),
        "language": ("language",),
        "mode": ("mode",),
    },
    "limesurvey": {
        "participant_id": ("participant_id", "token"),
        "answered_at": ("answered_at", "submitdate"),
        "wave": ("wave",),
        "language": ("language", "startlanguage"),
        "mode": ("mode",),
    },
    "fhir": {name: (name,) for name in ("participant_id", "answered_at", "wave", "language", "mode")},
}
_ITEM = re.compile(r"(?:whoqol\w*?)?[\[_]?(?:q|sq)?0*([1-9]\d?)\]?", re.I)
_CODE = re.compile(r"A?0*([1-5])")


class SurveyImportError(QolInputError):
    """A file that is refused, with every reason."""


@dataclass(frozen=True)
class Imported:
    """The sendings of a file, and how many answers were given that are none of 1-5 and so count as missing."""

    sendings: tuple[Sending, ...]
    invalid_answers: int


def read_file(
    content: bytes,
    source: Source,
    *,
    received_at: datetime,
    enrolled: Collection[str],
    wave: int | None = None,
    columns: Mapping[str, str] | None = None,
) -> Imported:
    """Return the forms of a file. `columns` names columns that are called otherwise, `wave` the wave of all rows.

    Raises SurveyImportError with all reasons, each with its line.
    """
    rows = list(_fhir_rows(_decoded(content)) if source == "fhir" else _csv_rows(_decoded(content)))
    names = {name: ((columns or {}).get(name, ""), *known) for name, known in _NAMES[source].items()}
    problems: list[str] = []
    found: dict[tuple[str, int], tuple[int, Sending]] = {}
    invalid = 0
    for line, row in rows:
        if source != "csv" and _is_blank(row, names):
            continue  # another event or instrument, or a form that was opened and left
        reasons: list[str] = []
        sending = _sending(row, names, received_at, wave, reasons)
        if sending and sending.participant_id not in enrolled:
            reasons.append(f"{sending.participant_id!r} is not enrolled (`qol participants list`)")
        if sending and not reasons:
            before, first = found.setdefault((sending.participant_id, sending.wave), (line, sending))
            if first.content != sending.content:
                reasons.append(f"is another form of the same participant and wave as line {before}")
            invalid += sum(one not in (None, "") and read_answer(one) is None for one in sending.answers.values())
        problems += [f"line {line}: {reason}" for reason in reasons]
    if not found and not problems:
        problems.append("it holds no form")
    if problems:
        raise SurveyImportError("nothing was imported: " + "; ".join(problems))
    return Imported(tuple(sending for _, sending in found.values()), invalid)


def read_marks(
    participant_id: str,
    wave: int,
    marks: str,
    answered_on: date,
    *,
    received_at: datetime,
    enrolled: Collection[str],
) -> Sending:
    """Return the form of a sheet of paper: a mark for each item, 1 to 5 or - for a blank; spaces do not count.

    Its time of day is that of entering it: what is entered last counts, also if it was entered before. Raises
    SurveyImportError with every reason.
    """
    letters = "".join(unicodedata.normalize("NFKC", marks).split())
    reasons = [] if participant_id in enrolled else [f"{participant_id!r} is not enrolled (`qol participants list`)"]
    if len(letters) != len(ITEMS):
        reasons.append(f"there are {len(letters)} marks and not {len(ITEMS)}")
    if wrong := sorted(set(letters) - {"-", *map(str, range(LOWEST, HIGHEST + 1))}):
        reasons.append(f"{' '.join(wrong)} is none of {LOWEST} to {HIGHEST} and -")
    if answered_on > receipt_date(received_at):
        reasons.append(f"{answered_on} is in the future")
    if not set(letters) - {"-"}:
        reasons.append("nothing is marked")
    if reasons:
        raise SurveyImportError("nothing was stored: " + "; ".join(reasons))
    answers = {item: None if mark == "-" else int(mark) for item, mark in zip(ITEMS, letters, strict=True)}
    answered_at = datetime.combine(answered_on, received_at.astimezone(JST).timetz())
    return Sending(participant_id, wave, answers, "", "paper", answered_at, received_at)


def _sending(
    row: Row, names: Mapping[str, tuple[str, ...]], received_at: datetime, wave: int | None, problems: list[str]
) -> Sending | None:
    given = {
        name: next((row[one] for one in known if row.get(one) not in (None, "")), None) for name, known in names.items()
    }
    answers = _answers(row, set(sum(names.values(), ())))
    if not given["participant_id"]:
        problems.append("there is no participant_id")
    if not any(read_answer(value) for value in answers.values()):
        problems.append(f"there is no answer from {LOWEST} to {HIGHEST} (columns q1 to q{ITEMS[-1]})")
    answered = _moment(given["answered_at"], received_at, problems)
    number = wave if given["wave"] is None else _wave(given["wave"])
    if number is None:
        problems.append(f"the wave {given['wave']!r} is no number" if given["wave"] else "there is no wave; say --wave")
    mode: Mode | None = next((one for one in MODES if one == (given["mode"] or "import")), None)
    if mode is None:
        problems.append(f"the mode {given['mode']!r} is none of {', '.join(MODES)}")
    if problems or answered is None or number is None or mode is None:
        return None
    return Sending(
        str(given["participant_id"]).strip(), number, answers, str(given["language"] or ""), mode, answered, received_at
    )


def _is_blank(row: Row, names: Mapping[str, tuple[str, ...]]) -> bool:
    return all(value in (None, "") for value in _answers(row, _columns_of(names)).values())


def _columns_of(names: Mapping[str, tuple[str, ...]]) -> set[str]:
    return {one for known in names.values() for one in known}


def _first(row: Row, columns: tuple[str, ...]) -> Any:
    """Return the first of these columns that is filled in, or None."""
    return next((row[one] for one in columns if row.get(one) not in (None, "")), None)


def _answers(row: Row, others: set[str]) -> dict[int, object]:
    """Return the answers by item; a blank is None, a code such as A4 its number, and anything else as it is."""
    found: dict[int, object] = {}
    for name, value in row.items():
        item = _ITEM.fullmatch(name) if name not in others else None
        if item and int(item[1]) in ITEMS:
            found[int(item[1])] = _answer(value)
    return found


def _answer(value: object) -> object:
    if isinstance(value, str):
        code = _CODE.fullmatch(value.strip())
        return int(code[1]) if code else (read_answer(value) or value.strip() or None)
    return read_answer(value) or value


def _wave(text: object) -> int | None:
    """Return the number of a wave; REDCap's events are named, such as baseline_arm_1 or wave_2_arm_1."""
    name = re.sub(r"_arm_\d+$", "", str(text).strip().lower())
    numbers = re.findall(r"\d+", name)
    if not numbers:
        return 0 if name.startswith("baseline") else None
    return int(numbers[-1])


def _moment(text: object, received_at: datetime, problems: list[str]) -> datetime | None:
    if not text:
        problems.append("there is no answered_at")
        return None
    try:
        moment = read_time(str(text), time(12))
    except ValueError:
        problems.append(f"answered_at {text!r} is no date or time like {SPELLINGS}")
        return None
    if moment.astimezone(JST).date() > received_at.astimezone(JST).date():
        problems.append(f"answered_at {text!r} is in the future")
    return moment


def _decoded(content: bytes) -> str:
    try:
        return decode(content)
    except UnicodeDecodeError:
        raise SurveyImportError("nothing was imported: the file is neither UTF-8 nor Shift JIS") from None


def _csv_rows(text: str) -> Iterator[tuple[int, Row]]:
    _, rows = read_rows(text)
    for row in rows:
        yield row.line, {name: value for name, value in row.values.items() if name}


def _fhir_rows(text: str) -> Iterator[tuple[int, Row]]:
    """Yield each QuestionnaireResponse of a resource, a Bundle, or NDJSON, with the number of the resource."""
    try:
        read = [json.loads(text)]
    except ValueError:
        try:
            read = [json.loads(line) for line in text.split("\n") if line.strip()]
        except ValueError:
            raise SurveyImportError("nothing was imported: the file is no JSON and no NDJSON") from None
    resources = [
        inner
        for one in read
        if isinstance(one, dict)
        for inner in ([entry.get("resource") for entry in one.get("entry", [])] if "entry" in one else [one])
    ]
    for number, one in enumerate(resources, start=1):
        if isinstance(one, dict) and one.get("resourceType") == "QuestionnaireResponse":
            yield number, _fhir_row(one)


def _fhir_row(resource: Mapping[str, Any]) -> Row:
    subject = resource.get("subject") or {}
    person = (subject.get("identifier") or {}).get("value") or str(subject.get("reference", "")).rpartition("/")[2]
    row: dict[str, Any] = {"participant_id": person, "answered_at": resource.get("authored")}
    row["language"] = resource.get("language")
    for item in _fhir_items(resource):
        marks = [_fhir_value(answer) for answer in item.get("answer", [])]
        row[str(item.get("linkId", ""))] = marks[0] if len(marks) == 1 else ",".join(map(str, marks))
    return row


def _fhir_items(parent: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for item in parent.get("item", []):
        yield item
        yield from _fhir_items(item)


def _fhir_value(answer: Mapping[str, Any]) -> object:
    coded = (answer.get("valueCoding") or {}).get("code")
    return coded if coded is not None else answer.get("valueInteger", answer.get("valueDecimal"))
