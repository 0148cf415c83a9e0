"""Every column of every table once: name, type, unit, range, formula, validity rule, inputs, sources, in two languages.
Schemas, column comments, Athena tables, range checks, lineage, the documentation and `qol metrics` are made from here.

Belongs here: facts about the output, a module for each table, and the Japanese texts by name in `japanese.py`. The
formulas themselves run in `metrics/daily.py`, `weekly.py` and `status.py`; a test verifies that each column has an
entry and each entry a column. Standard library only, so everyone may import it.
"""

from __future__ import annotations

from qol_dagster.metrics.dictionary.daily import DAILY
from qol_dagster.metrics.dictionary.metric import LONGEST_COMMENT, Metric, by_name
from qol_dagster.metrics.dictionary.revisions import REVISIONS
from qol_dagster.metrics.dictionary.status import STATUS, WEAR_SIGNS
from qol_dagster.metrics.dictionary.weekly import WEEKLY
from qol_dagster.metrics.types import TableName

__all__ = [
    "DAILY",
    "LONGEST_COMMENT",
    "METRICS_VERSION",
    "READ_BY_STATUS",
    "REVISIONS",
    "STATUS",
    "TABLES",
    "WEAR_SIGNS",
    "WEEKLY",
    "Metric",
    "by_name",
]

METRICS_VERSION = "2.0.0"
"""Goes up whenever a definition changes; written into every weekly row. Other words for the same change nothing."""

READ_BY_STATUS = tuple(one for one in DAILY if any(one.name in metric.inputs for metric in STATUS))
"""The daily columns that status rows are made from."""

TABLES: dict[TableName, tuple[Metric, ...]] = {"daily": DAILY, "weekly": WEEKLY, "status": STATUS}
"""All tables. What is made from the dictionary is made for each of them."""
