"""Why a value is missing, as far as the row and the table can say.

Belongs here: the rules, in their order. Which of them a metric has is declared with its entry, and what a reason means
is `dictionary/values.py`'s; so nothing is guessed: where no rule is certain, the reason is `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from qol_dagster.metrics.dictionary import WEAR_SIGNS, Metric
from qol_dagster.metrics.dictionary.values import Blanks
from qol_dagster.metrics.types import DescribedTable

if TYPE_CHECKING:
    import pyarrow as pa

WORN: dict[DescribedTable, str] = {"daily": "wear_min", "weekly": "wear_min_mean"}
"""Above 0 where the device was worn at all."""
VALID_DAYS = "n_valid_days"
NIGHTS: dict[DescribedTable, str] = {"daily": "sleep_tst_min", "weekly": "n_nights"}
"""Above 0 where there is a main sleep."""


def reasons_of(rows: pa.Table, metric: Metric, missing: pa.Array, never: Collection[str]) -> pa.Array:
    """Return the reason for each row in which the metric is `missing` (bool), and null for the others.

    `rows` have the columns of the metric's table; `never` are the participants of whom its table has no value of it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if metric.blanks is None:
        raise ValueError(f"nothing is known of missing values of {metric.name}")
    rules = _of_status(rows) if metric.blanks.basis == "status" else _of_metrics(rows, metric, metric.blanks, never)
    conditions = [pc.and_(missing, holds) for holds in rules.values()]
    if not conditions:
        return pc.if_else(missing, pa.scalar("unknown"), pa.scalar(None, pa.string()))
    every = pc.make_struct(*conditions, missing, field_names=[*rules, "unknown"])
    return pc.case_when(every, *(pa.scalar(word) for word in (*rules, "unknown")))


def _of_metrics(rows: pa.Table, metric: Metric, blanks: Blanks, never: Collection[str]) -> dict[str, pa.Array]:
    """Return where each reason holds; the first that does is the reason."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def above_0(name: str) -> pa.Array:
        return pc.fill_null(pc.greater(_column(rows, name), 0), False)

    rules: dict[str, pa.Array] = {}
    if blanks.counts:
        counts = [above_0(name) for name in blanks.counts]
        rules["below_precondition"] = _any(counts)
    worn = above_0(WORN[metric.table])
    rules["not_worn"] = _not_worn(rows, metric.table, above_0)
    if blanks.basis == "valid_days":
        rules["too_short"] = pc.and_(worn, pc.invert(above_0(VALID_DAYS)))
    if blanks.sensor:
        measures_nothing = pc.is_in(_column(rows, "participant_id"), pa.array(sorted(never), pa.string()))
        needed = above_0(NIGHTS[metric.table]) if blanks.basis == "nights" else worn
        rules["device_does_not_measure"] = pc.and_(measures_nothing, needed)
    return rules


def _not_worn(rows: pa.Table, table: DescribedTable, above_0: Callable[[str], pa.Array]) -> pa.Array:
    """Return where the device was not worn: wear of 0, or of a date none known and no sign of it.

    A weekly row without samples does not say whether its days had signs of wear.
    """
    import pyarrow.compute as pc

    wear = _column(rows, WORN[table])
    none = pc.fill_null(pc.equal(wear, 0), False)
    if table == "weekly":
        return none
    return pc.or_(none, pc.and_(pc.is_null(wear), pc.invert(_any([above_0(name) for name in WEAR_SIGNS]))))


def _any(conditions: Sequence[pa.Array]) -> pa.Array:
    import pyarrow.compute as pc

    return reduce(pc.or_, conditions)


def _of_status(rows: pa.Table) -> dict[str, pa.Array]:
    """Return where the state of the week is the reason: a week that was worn explains no missing value."""
    import pyarrow.compute as pc

    words = ("revoked", "not_enrolled", "not_worn", "not_synced")
    return {word: pc.equal(_column(rows, "status"), word) for word in words}


def _column(rows: pa.Table, name: str) -> pa.Array:
    return rows[name].combine_chunks()
