"""The columns of `db_qol.<table>_revisions`: a row for each time that the rows of a partition became others.

Belongs here: facts about its columns. The record itself is `lake/revisions.py`'s.
"""

from __future__ import annotations

from functools import partial

from qol_dagster.metrics.dictionary.metric import LINEAGE, Metric, entry

_revision = partial(entry, "revisions", sources=LINEAGE)

UNTIL = "valid_until"
"""The one column that is not in the log, which is never changed: it is the next revision's `valid_from`."""


def _rows(name: str, description: str) -> Metric:
    return _revision(name, "", description, type="int64", nullable=False)


REVISIONS: tuple[Metric, ...] = (
    _revision(
        "date", "", "Partition whose rows changed",
        rule="Text YYYY-MM-DD; of weekly tables the Monday", type="string", nullable=False,
    ),
    _revision("revision", "", "Number of the revision of this partition, from 1", type="int64", low=1, nullable=False),
    _revision("valid_from", "UTC", "When these rows took the place of those before", type="timestamp", nullable=False),
    _revision(
        UNTIL, "UTC", "When other rows took their place",
        formula="lead(valid_from) of the date by revision", rule="Null for the rows of now. Not in Athena",
        type="timestamp",
    ),
    _revision(
        "cause", "", "Why the rows changed; several are joined by +",
        formula="first, late_files, enrolment, revocation, erasure, code, thresholds, time or forced",
        rule="time: a status computed on another day. forced: nothing known differs", type="string", nullable=False,
    ),
    _rows("n_rows", "Rows of the partition since then"),
    _rows("n_rows_added", "Rows of participants that had none before"),
    _rows("n_rows_removed", "Rows that there were before"),
    _rows("n_rows_changed", "Rows of which a value changed"),
    _revision(
        "changed_columns", "", "Columns in which rows of both states differ",
        rule="Names with a blank between", type="string", nullable=False,
    ),
    _revision(
        "previous_revision", "", "Revision whose rows were replaced",
        rule="0 without one, or if they could not be read", type="int64", nullable=False,
    ),
    _revision(
        "replaced_object", "", "SHA-256 and name of the replaced object in the history",
        rule="Empty without one", type="string", nullable=False,
    ),
    _revision("run_id", "", "Run of Dagster that wrote it", rule="Empty if unknown", type="string", nullable=False),
    _revision("metrics_version", "", "Version of the definitions", type="string", nullable=False),
    _revision("engine", "", "Engine that computed it: duckdb or spark", type="string", nullable=False),
    _revision("thresholds", "", "Thresholds that it was computed with", rule="JSON", type="string", nullable=False),
)  # fmt: skip
