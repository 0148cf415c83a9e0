"""The past of a lake in a bucket, asked on this machine: Athena's tables are those of now.

Belongs here: fetching the objects that a question needs into a folder, which is gone with its answer. The question is
answered by `duckdb.py`, which compares each object with its hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from qol_dagster.lake.history import State, keys_of, revisions_of
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.past import Moment
from qol_dagster.lake.revisions import history_folder, log_key
from qol_dagster.metrics.tables import TableId
from qol_dagster.resources.catalogue import QueryResult, Span
from qol_dagster.resources.catalogue.duckdb import REVISIONS_OF, TABLE_IDS, query, tables_read_by


@dataclass(frozen=True)
class Fetched(Moment):
    """A moment whose objects are in a folder: the states of the tables that were fetched."""

    found: Mapping[TableId, Mapping[date, State]] = field(default_factory=dict)

    def states(self, table: TableId) -> Mapping[date, State]:
        """See `Moment`."""
        return self.found[table]


@dataclass(frozen=True)
class FetchedCatalogue:
    """The tables of a lake in a bucket as they were at a moment. `work`: a folder of this machine."""

    moment: Moment
    work: Path

    def query(self, sql: str, *, span: Span | None = None) -> QueryResult:
        """See `Catalogue`. Raises HistoryError for a past that is damaged."""
        self.work.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.work) as folder:
            place = Path(folder).resolve()
            return query(place, sql, self._fetch(place, tables_read_by(sql)), span)

    def _fetch(self, folder: Path, names: Sequence[str]) -> Fetched:
        lake = self.moment.lake
        found = {TABLE_IDS[name]: self.moment.states(TABLE_IDS[name]) for name in names if name in TABLE_IDS}
        keys = [key for states in found.values() for key in keys_of(states)]
        for key, content in lake.read_objects(keys):
            _write(folder / key, content)
        for table in (REVISIONS_OF[name] for name in names if name in REVISIONS_OF):
            prefix = history_folder(table.profile.folder, table.table)
            for one in revisions_of(lake.with_tables(table.profile.folder), table.table):
                _write(folder / log_key(prefix, one.date, one.number), one.as_json())
        return Fetched(Lake.local(folder), self.moment.at, self.moment.freeze, found)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
