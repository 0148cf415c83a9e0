"""What a query gave, for people and for programs: a table, CSV or JSON.

Belongs here: tables, which are rounded for reading, with times of Japan. CSV and JSON carry every digit, and times in
UTC, as `csv_text` spells them.

A table is laid out here by rich's widths of letters (Japanese ones take two cells), not by rich's Table: that needs
0.7 ms for a row of four columns, sixty times as long, which is 7 s for ten thousand rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from qol_dagster.csv_text import csv_text, plain
from qol_ingest.shared.calendar import JST

Format = Literal["table", "csv", "json"]
Rows = Sequence[Sequence[Any]]

GAP = "  "
WIDEST_CELL = 60


def rendered(columns: Sequence[str], rows: Rows, form: Format, width: int = 120) -> str:
    """Return the rows as text that ends with a line break. A table too wide for `width` has a line for each column."""
    if form == "json":
        objects = [dict(zip(columns, map(plain, row), strict=True)) for row in rows]
        return json.dumps(objects, indent=1, ensure_ascii=False) + "\n"
    if form == "csv":
        return csv_text(columns, rows)
    return _table(columns, rows, width)


def _table(columns: Sequence[str], rows: Rows, width: int) -> str:
    cells = [[_shown(value) for value in row] for row in rows]
    right = [all(isinstance(row[at], int | float | Decimal | None) for row in rows) for at in range(len(columns))]
    lines = _aligned(columns, cells, right)
    if rows and _cells(lines[0]) > width:
        lines = _sideways(columns, cells, width)
    count = f"{len(rows)} row" + ("" if len(rows) == 1 else "s")
    if not rows and _cells(lines[0]) > width:
        return f"({count}, {len(columns)} columns)\n"
    return "\n".join([*lines, f"({count})"]) + "\n"


def _aligned(names: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    widths = [max(map(_cells, column)) for column in zip(names, *cells, strict=True)]

    def line(row: Iterable[str]) -> str:
        return GAP.join(map(_padded, row, widths, right)).rstrip()

    return [line(names), line("-" * size for size in widths), *map(line, cells)]


def _sideways(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return a line for each column and a block of lines for as many rows as fit side by side."""
    name_width = max(map(_cells, columns))
    row_widths = [max(map(_cells, row)) for row in cells]
    lines: list[str] = []
    first = 0
    while first < len(cells):
        last, used = first, name_width
        while last < len(cells) and (last == first or used + len(GAP) + row_widths[last] <= width):
            used += len(GAP) + row_widths[last]
            last += 1
        lines += [""] if lines else []
        for at, name in enumerate(columns):
            values = (_padded(cells[row][at], row_widths[row], right=True) for row in range(first, last))
            lines.append(GAP.join((_padded(name, name_width, right=False), *values)).rstrip())
        first = last
    return lines


def _padded(text: str, width: int, right: bool) -> str:
    blank = " " * (width - _cells(text))
    return blank + text if right else text + blank


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | Decimal):
        number = float(value)
        return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"  # 4 digits, and no 1.2e+04
    if isinstance(value, datetime):
        return in_japan(value)
    text = json.dumps(plain(value)) if isinstance(value, list | dict) else str(value)
    return _shortened(" ".join(text.split()))


def in_japan(moment: datetime) -> str:
    """Return a time as people in Japan read it, with its zone; one without a zone is left as it is."""
    local = moment.astimezone(JST) if moment.tzinfo else moment
    return f"{local:%Y-%m-%d %H:%M}" + (" JST" if moment.tzinfo else "")


def _shortened(text: str) -> str:
    if _cells(text) <= WIDEST_CELL:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, WIDEST_CELL - 1).rstrip() + "…"


def _cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
