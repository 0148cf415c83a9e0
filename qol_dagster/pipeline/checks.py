"""What must hold of the rows of a table before anybody reads them, as functions of Arrow tables.

Belongs here: the checks, and the error of rows that fail one. The ranges come from the dictionary. How Dagster shows
a check is `defs/checks.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from qol_dagster.errors import QolError
from qol_dagster.metrics.dictionary import DAILY, STATUS, WEEKLY, Metric

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa

    from qol_dagster.metrics.types import TableName

_GARMIN_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The shape of Garmin's user ids. Whoever knows the webhook's URL can push for a user of any name, such as `meets`."""
KEY = ("participant_id", "date")
"""Of a row of the daily, weekly and status tables."""
_METRICS: dict[TableName, Sequence[Metric]] = {"daily": DAILY, "weekly": WEEKLY, "status": STATUS}

Verify = Callable[["TableName", "date", "pa.Table", int], None]
"""Called with the rows of a partition before they are written, and how much they were made from."""


class ChecksError(QolError):
    """Rows that failed a check, and were not written."""


def accept(_table: TableName, _day: date, _rows: pa.Table, _used: int) -> None:
    """Let any rows be written: for whoever checks what is stored."""


def refuse_failing(garmin_ids: Iterable[str]) -> Verify:
    """Return what raises ChecksError for rows that fail a check, with its name and without a value."""
    ids = tuple(garmin_ids)

    def verify(table: TableName, day: date, rows: pa.Table, used: int) -> None:
        refuse(f"the {table} rows of {day}", find_problems(rows, _METRICS[table], used, ids), "run the week again")

    return verify


def refuse(rows: str, problems: Mapping[str, str], again: str) -> None:
    """Raise ChecksError if there are problems; `rows` and `again` say of which rows, and what to do once mended."""
    if failed := [name for name, problem in problems.items() if problem]:
        raise ChecksError(
            f"{rows} fail {', '.join(failed)}, and were not written; the old rows stay",
            advice=f"See The checks in the guide of operations; when the reason is mended, {again}",
        )


def find_problems(
    rows: pa.Table, metrics: Sequence[Metric], used: int, garmin_ids: Iterable[str], key: Sequence[str] = KEY
) -> dict[str, str]:
    """Return by check what is wrong with the rows, made from `used` records, forms or people; empty if nothing is.

    `key` are the columns that no two rows may have alike.
    """
    return {
        "rows": _missing_rows(rows, used),
        "unique_keys": _double_keys(rows, key),
        "ranges": _out_of_range(rows, metrics),
        "no_garmin_id": _garmin_ids(rows, garmin_ids),
    }


def _missing_rows(rows: pa.Table, used: int) -> str:
    return f"no row of so many records, forms or participants: {used}" if used and not rows.num_rows else ""


def _double_keys(rows: pa.Table, key: Sequence[str]) -> str:
    columns = list(key)
    double = rows.num_rows - rows.select(columns).group_by(columns).aggregate([]).num_rows
    return f"rows with the {', '.join(columns)} of another one: {double}" if double else ""


def _out_of_range(rows: pa.Table, metrics: Sequence[Metric]) -> str:
    import pyarrow.compute as pc

    problems = []
    for metric in metrics:
        column = rows[metric.name]
        if column.null_count and not metric.nullable:
            problems.append(f"{metric.name} is missing {column.null_count} times")
        if metric.minimum is None and metric.maximum is None:
            continue
        extremes = pc.min_max(column).as_py()
        low, high = extremes["min"], extremes["max"]
        if low is not None and metric.minimum is not None and low < metric.minimum:
            problems.append(f"{metric.name} has {low}, below {metric.minimum}")
        if high is not None and metric.maximum is not None and high > metric.maximum:
            problems.append(f"{metric.name} has {high}, above {metric.maximum}")
    return "; ".join(problems)


def _garmin_ids(rows: pa.Table, garmin_ids: Iterable[str]) -> str:
    import pyarrow as pa

    texts = {
        str(value).lower()
        for name in rows.column_names
        if pa.types.is_string(rows.schema.field(name).type)
        for value in rows[name].unique().to_pylist()
        if value is not None
    }
    everything = "\n".join(texts).replace("-", "")
    known = {one.lower() for one in garmin_ids}
    shown = sum(one.replace("-", "") in everything for one in known if _GARMIN_ID.fullmatch(one))
    return f"{shown} Garmin user ids stand in the data" if shown else ""
