"""The blocking checks: what must hold of the rows of a run before anything downstream sees them.

Belongs here: the checks as functions of Arrow tables, and their specs. The ranges come from the dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from qol_dagster.metrics.dictionary import Metric

if TYPE_CHECKING:
    import pyarrow as pa

_GARMIN_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The shape of Garmin's user ids. Whoever knows the webhook's URL can push for a user of any name, such as `meets`."""
_DESCRIPTIONS = {
    "rows": "There are rows where there was something to make them from.",
    "unique_keys": "One row per participant and date.",
    "ranges": "Every value is within the range of its dictionary entry, and required values are there. Values "
    "that were set aside are a warning.",
    "no_garmin_id": "No Garmin user id stands in the processed data.",
}


def check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """Return the specs of an asset's blocking checks."""
    return [
        dg.AssetCheckSpec(name=name, asset=asset, description=description, blocking=True)
        for name, description in _DESCRIPTIONS.items()
    ]


def check_rows(
    asset: str, rows: pa.Table, metrics: Sequence[Metric], used: int, garmin_ids: Iterable[str], *, set_aside: int = 0
) -> list[dg.AssetCheckResult]:
    """Return the results of an asset's checks over the rows of a run; `used` is how much they were made from.

    `set_aside` values of single participants could not be and are null: that is a warning and blocks nobody's rows.
    """
    found = {
        "rows": _missing_rows(rows, used),
        "unique_keys": _double_keys(rows),
        "ranges": _out_of_range(rows, metrics),
        "no_garmin_id": _garmin_ids(rows, garmin_ids),
    }
    warned = set()
    if set_aside and not found["ranges"]:
        found["ranges"] = f"{set_aside} values outside of what can be were set aside, and are null"
        warned.add("ranges")
    return [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=name,
            passed=not problem,
            severity=dg.AssetCheckSeverity.WARN if name in warned else dg.AssetCheckSeverity.ERROR,
            description=problem or _DESCRIPTIONS[name],
            metadata={"rows": rows.num_rows},
        )
        for name, problem in found.items()
    ]


def _missing_rows(rows: pa.Table, used: int) -> str:
    return f"{used} records or participants gave no row" if used and not rows.num_rows else ""


def _double_keys(rows: pa.Table) -> str:
    unique = rows.select(["participant_id", "date"]).group_by(["participant_id", "date"]).aggregate([])
    double = rows.num_rows - unique.num_rows
    return f"{double} rows stand for a participant and date that has one already" if double else ""


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
    everything = "\n".join(texts)
    shown = sum(one in everything for one in {one.lower() for one in garmin_ids} if _GARMIN_ID.fullmatch(one))
    return f"{shown} Garmin user ids stand in the data" if shown else ""
