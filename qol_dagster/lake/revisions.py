"""Revisions: which rows took the place of which in a partition, when, and why.

Belongs here: the record of a revision, the comparison of rows, the cause, and the keys of the history. Nothing is read
or written; the lake does that when it replaces a partition, and `history.py` answers what was stored when.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

from qol_ingest.shared.keys import HISTORY, PROCESSED

if TYPE_CHECKING:
    import pyarrow as pa

Cause = Literal["first", "late_files", "enrolment", "revocation", "erasure", "code", "thresholds", "time", "forced"]

REVISION_KEY = b"qol_revision"
"""Key of a revision's record in the metadata of its Parquet file."""
ROW_KEY = "participant_id"
NO_DIFFERENCE = frozenset({"computed_at", "date"})
"""Columns that are not compared: when the same values were computed is no difference, and `date` is the folder's."""
OF_THE_RECORD = ("metrics_version", "engine")


@dataclass(frozen=True)
class Revision:
    """The rows of a partition from `valid_from` on (UTC), and how they differ from those before.

    `previous` is the number of the revision that it took the place of, and `replaced` the SHA-256 of that one's object
    in the history; 0 and "" if there was none, or it could not be read. `cause` has all that apply, with `+` between.
    """

    date: date
    number: int
    valid_from: datetime
    cause: str
    rows: int
    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: tuple[str, ...] = ()
    previous: int = 0
    replaced: str = ""
    run_id: str = ""
    metrics_version: str = ""
    engine: str = ""
    thresholds: Mapping[str, int] | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the values by the names of the columns of `..._revisions`."""
        return {
            "date": self.date.isoformat(),
            "revision": self.number,
            "valid_from": self.valid_from,
            "cause": self.cause,
            "n_rows": self.rows,
            "n_rows_added": self.added,
            "n_rows_removed": self.removed,
            "n_rows_changed": self.changed,
            "changed_columns": " ".join(self.columns),
            "previous_revision": self.previous,
            "replaced_object": self.replaced,
            "run_id": self.run_id,
            "metrics_version": self.metrics_version,
            "engine": self.engine,
            "thresholds": json.dumps(self.thresholds or {}, sort_keys=True),
        }

    def as_json(self) -> bytes:
        """Return the record as the log has it: one line, the time as Hive reads it, in UTC."""
        written = self.valid_from.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        return json.dumps({**self.as_row(), "valid_from": written}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Revision:
        """Return the record that `as_json` gave. Raises ValueError for anything else."""
        try:
            found = json.loads(content)
            return cls(
                date.fromisoformat(found["date"]),
                int(found["revision"]),
                datetime.fromisoformat(found["valid_from"]).replace(tzinfo=UTC),
                str(found["cause"]),
                int(found["n_rows"]),
                int(found["n_rows_added"]),
                int(found["n_rows_removed"]),
                int(found["n_rows_changed"]),
                tuple(found["changed_columns"].split()),
                int(found["previous_revision"]),
                str(found["replaced_object"]),
                str(found["run_id"]),
                str(found["metrics_version"]),
                str(found["engine"]),
                json.loads(found["thresholds"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("that is no record of a revision") from error


@dataclass(frozen=True)
class RowsDifference:
    """How many rows differ between two states of a partition, and in which columns those of both do."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed or self.changed)


def compare_rows(old: pa.Table, new: pa.Table) -> RowsDifference:
    """Compare two states of a partition by participant, whatever their order; a missing column is one of nulls."""
    keys = _keys(old), _keys(new)
    if keys[0] is None or keys[1] is None:
        return _compare_as_bags(old, new)
    old_at, new_at = ({key: at for at, key in enumerate(one)} for one in keys if one is not None)
    common = [key for key in old_at if key in new_at]
    before, after = (_taken(rows, at, common) for rows, at in ((old, old_at), (new, new_at)))
    differing: set[int] = set()
    columns = []
    for name in compared_columns(old, new):
        if rows := differing_rows(before, after, name):
            columns.append(name)
            differing.update(rows)
    added, removed = len(new_at) - len(common), len(old_at) - len(common)
    return RowsDifference(added, removed, len(differing), tuple(columns))


def compared_columns(old: pa.Table, new: pa.Table) -> list[str]:
    """Return the columns of either, in the order of the new and then of the old."""
    return [name for name in dict.fromkeys([*new.column_names, *old.column_names]) if name not in NO_DIFFERENCE]


def differing_rows(before: pa.Table, after: pa.Table, name: str) -> list[int]:
    """Return the positions at which a column differs between two tables of the same participants in the same order."""
    if all(name in rows.column_names for rows in (before, after)) and before[name].equals(after[name]):
        return []
    pairs = zip(_values(before, name), _values(after, name), strict=True)
    return [at for at, (one, other) in enumerate(pairs) if not _same(one, other)]


def with_old_times(old: pa.Table, new: pa.Table) -> pa.Table:
    """Return the new rows with the `computed_at` of the old ones, which have the same values."""
    times, keys = "computed_at", (_keys(old), _keys(new))
    if times not in old.column_names or times not in new.column_names or keys[0] is None or keys[1] is None:
        return new
    at = {key: number for number, key in enumerate(keys[0])}
    column = _taken(old, at, keys[1])[times].cast(new.schema.field(times).type)
    return new.set_column(new.column_names.index(times), new.schema.field(times), column)


def cause_of(old: Mapping[str, Any] | None, new: Mapping[str, Any], otherwise: Cause) -> str:
    """Return why rows made with these notes differ from those made with the old ones; all that apply, with `+` between.

    The notes' `inputs` are fingerprints: `raw`, `people`, `code`. An older release stored none, and was other code.
    `otherwise` is the cause when nothing differs that is known.
    """
    if old is None:
        return "first"
    before, after = old.get("inputs"), new.get("inputs") or {}
    if before is None:
        return "late_files+code" if "raw" in old and old["raw"] != new.get("raw") else "code" if after else otherwise
    causes: list[Cause] = []
    if before.get("raw") != after.get("raw"):
        causes.append("late_files")
    if before.get("people") != after.get("people"):
        causes += _changes_of_people(old.get("people") or {}, new.get("people") or {})
    other_thresholds = before.get("thresholds") != after.get("thresholds")
    other_code = any(old.get(name) != new.get(name) for name in OF_THE_RECORD)
    # The fingerprint of the code changes with the thresholds, which are compiled into it.
    if other_code or (before.get("code") != after.get("code") and not other_thresholds):
        causes.append("code")
    if other_thresholds:
        causes.append("thresholds")
    return "+".join(causes) or otherwise


def _changes_of_people(old: Mapping[str, int], new: Mapping[str, int]) -> list[Cause]:
    """Return whether there are accounts more, or fewer that may be used; a renamed one is an enrolment."""
    causes: list[Cause] = []
    if new.get("known", 0) > old.get("known", 0) or new.get("withheld", 0) < old.get("withheld", 0):
        causes.append("enrolment")
    if new.get("withheld", 0) > old.get("withheld", 0) or new.get("known", 0) < old.get("known", 0):
        causes.append("revocation")
    return causes or ["enrolment"]


def history_folder(processed: str, table: str) -> str:
    """Return the folder of a table's history: `history/<table>`, for profile strict `history_strict/<table>`."""
    return f"{HISTORY}{processed.removeprefix(PROCESSED)}/{table}"


def object_key(folder: str, day: date, sha256: str) -> str:
    """Return the key of a replaced object, which is named after its content."""
    return f"{folder}/date={day.isoformat()}/{sha256}.parquet"


def log_prefix(folder: str, day: date | None = None) -> str:
    """Return where the revisions of a date, or of all, are logged."""
    return f"{folder}/revisions/" + (f"date={day.isoformat()}/" if day else "")


def log_key(folder: str, day: date, number: int) -> str:
    """Return the key of a revision in the log."""
    return f"{log_prefix(folder, day)}{number:04d}.json"


def logged_number(key: str) -> int:
    """Return the number of the revision that a key of the log is of; 0 for anything else."""
    name = key.rpartition("/")[2].removesuffix(".json")
    return int(name) if name.isdecimal() else 0


def made_by(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a revision's record is in the notes of a partition: definitions, engine, thresholds."""
    thresholds = (notes.get("inputs") or {}).get("thresholds")
    return {
        **{name: str(notes.get(name, "")) for name in OF_THE_RECORD},
        "thresholds": dict(thresholds) if isinstance(thresholds, Mapping) else {},
    }


def _keys(rows: pa.Table) -> list[Any] | None:
    """Return the key of each row; None if the rows have none or two have the same."""
    if ROW_KEY not in rows.column_names:
        return None
    keys = rows[ROW_KEY].to_pylist()
    return keys if len(set(keys)) == len(keys) else None


def _taken(rows: pa.Table, at: Mapping[Any, int], keys: Sequence[Any]) -> pa.Table:
    import pyarrow as pa

    wanted = [at[key] for key in keys]
    return rows if wanted == list(range(rows.num_rows)) else rows.take(pa.array(wanted, pa.int64()))


def _values(rows: pa.Table, name: str) -> list[Any]:
    found: list[Any] = rows[name].to_pylist() if name in rows.column_names else [None] * rows.num_rows
    return found


def _same(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 - what is no number is the same as itself


def _compare_as_bags(old: pa.Table, new: pa.Table) -> RowsDifference:
    """Compare rows of which several have the same key, or none: each row counts as often as it is there."""
    names = compared_columns(old, new)
    before, after = (
        Counter(repr(row) for row in zip(*(_values(rows, name) for name in names), strict=True)) for rows in (old, new)
    )
    return RowsDifference((after - before).total(), (before - after).total())
