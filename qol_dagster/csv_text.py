"""Values and rows as text for programs: values as JSON has them, and CSV.

Belongs here: how a value is spelled, once for what is queried, downloaded, exported and frozen. A whole Arrow table is
written by Arrow, in `exports/formats/delimited.py`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

BYTE_ORDER_MARK = "\ufeff"
"""By which Excel reads a CSV file as UTF-8."""


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a header line and a line for each row, numbers with every digit, nothing where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def plain(value: Any) -> Any:
    """Return the value as JSON has it; what JSON lacks is text, and a number that is none is null."""
    if isinstance(value, float | Decimal):
        value = float(value)
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _cell(value: Any) -> Any:
    spelled = plain(value)
    return json.dumps(spelled) if isinstance(spelled, bool | list | dict) else spelled
