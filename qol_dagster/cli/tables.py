"""`qol tables`: what there is to query.

Belongs here: the question of how much is in each table, in SQL that every catalogue understands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qol_dagster.metrics.tables import DATABASE, all_tables
from qol_dagster.surveys.dictionary import SURVEY_TABLES

if TYPE_CHECKING:
    from qol_dagster.resources.catalogue import Catalogue

COLUMNS = ("table", "rows", "weeks", "columns", "latest")


def contents(catalogue: Catalogue) -> list[tuple[Any, ...]]:
    """Return for each table its name, rows, weeks that have any, columns and the latest date. Raises CatalogueError."""
    tables = {table.qualified_name: len(table.columns) for table in all_tables()}
    tables |= {f"{DATABASE}.{name}": len(columns) for name, columns in SURVEY_TABLES.items()}
    counted = " UNION ALL ".join(
        f"SELECT '{name}' AS name, count(*) AS n_rows, "
        f"count(DISTINCT date_trunc('week', CAST(date AS DATE))) AS n_weeks, max(date) AS latest FROM {name}"
        for name in tables
    )
    found = {name: counts for name, *counts in catalogue.query(counted).rows}
    return [(name, *found[name][:2], columns, found[name][2]) for name, columns in tables.items()]
