"""Files that staff save from a spreadsheet: CSV in the encodings, and dates in the spellings, of Excel in Japan.

Belongs here: how rows and times are read from what a person or a spreadsheet wrote, once for every file that is
imported. What a column means, and why a file is refused, belongs to its importer. Writing CSV is `csv_text.py`'s.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time

from qol_ingest.shared.calendar import JST

SPELLINGS = "2026-04-01, 2026/4/1, 2026-04-01T09:00 or 2026/4/1 9:00, with the year first"
"""What an importer says that `read_time` takes."""
_BYTE_ORDER_MARK = "\ufeff"
_TIME = re.compile(r"(\d{4})(?:([-/.])(\d{1,2})\2(\d{1,2})|年(\d{1,2})月(\d{1,2})日)(?:[T ]+(\d{1,2})(\S*))?", re.ASCII)


@dataclass(frozen=True)
class Row:
    """One row of a file that has any value: its last line, what is in its columns, and what is beyond them."""

    line: int
    values: Mapping[str, str]
    beyond: tuple[str, ...]


def decode(content: bytes) -> str:
    """Return the text of UTF-8, or of Shift JIS as Windows has it, without byte order marks.

    Raises UnicodeDecodeError.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("cp932")
    return text.replace(_BYTE_ORDER_MARK, "")


def read_rows(text: str) -> tuple[list[str], list[Row]]:
    """Return the columns of a CSV file and its rows, without spaces around names and values.

    Commas, semicolons or tabs separate columns. Columns at the end that have no name, and empty rows, are left out.
    """
    first_line = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    stripped = ((reader.line_num, [cell.strip() for cell in cells]) for cells in reader)
    (_, names), *filled = [(line, cells) for line, cells in stripped if any(cells)] or [(0, [])]
    while names and not names[-1]:
        names.pop()
    return names, [
        Row(line, dict.fromkeys(names, "") | dict(zip(names, cells, strict=False)), tuple(cells[len(names) :]))
        for line, cells in filled
    ]


def read_time(text: str, of_day: time) -> datetime:
    """Return a time with its zone, which is Japan's unless the text has another; of a date alone, that time `of_day`.

    What `datetime` reads is read, and what Excel in Japan makes of it: 2026/4/1 9:05, 2026年4月1日, full-width digits.
    Raises ValueError, also for a date that does not begin with the year: whether 1/4 is in April depends on the reader.
    """
    text = unicodedata.normalize("NFKC", text).strip()
    if found := _TIME.fullmatch(text):
        month, day = found[3] or found[5], found[4] or found[6]
        text = f"{found[1]}-{month:0>2}-{day:0>2}" + (f"T{found[7]:0>2}{found[8]}" if found[7] else "")
    try:
        return datetime.combine(date.fromisoformat(text), of_day, JST)
    except ValueError:
        moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=JST)
