"""The blocking checks of assets: what must hold of the rows of a run before anything downstream sees them.

Belongs here: their specs and results in Dagster. What they look for is `pipeline/checks.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from qol_dagster.metrics.dictionary import Metric
from qol_dagster.pipeline.checks import KEY, find_problems

if TYPE_CHECKING:
    import pyarrow as pa

_DESCRIPTIONS = {
    "rows": "There are rows where there was something to make them from.",
    "unique_keys": "No two rows have the same key: {}.",
    "ranges": "Every value is within the range of its dictionary entry, and required values are there. Values "
    "that were set aside are a warning.",
    "no_garmin_id": "No Garmin user id stands in the processed data.",
}


def check_specs(asset: str, key: Sequence[str] = KEY) -> list[dg.AssetCheckSpec]:
    """Return the specs of an asset's blocking checks; `key` as in `find_problems`."""
    return [
        dg.AssetCheckSpec(name=name, asset=asset, description=description.format(", ".join(key)), blocking=True)
        for name, description in _DESCRIPTIONS.items()
    ]


def check_rows(
    asset: str,
    rows: pa.Table,
    metrics: Sequence[Metric],
    used: int,
    garmin_ids: Iterable[str],
    *,
    key: Sequence[str] = KEY,
    set_aside: int = 0,
) -> list[dg.AssetCheckResult]:
    """Return the results of an asset's checks over the rows of a run; `used` is how much they were made from.

    `set_aside` values of single participants could not be and are null: that is a warning and blocks nobody's rows.
    """
    found = find_problems(rows, metrics, used, garmin_ids, key)
    warned = set()
    if set_aside and not found["ranges"]:
        found["ranges"] = f"values outside of what can be, set aside as null: {set_aside}"
        warned.add("ranges")
    return [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=name,
            passed=not problem,
            severity=dg.AssetCheckSeverity.WARN if name in warned else dg.AssetCheckSeverity.ERROR,
            description=problem or _DESCRIPTIONS[name].format(", ".join(key)),
            metadata={"rows": rows.num_rows},
        )
        for name, problem in found.items()
    ]
