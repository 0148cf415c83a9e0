"""A freeze as a folder that others can keep and verify: a BagIt bag (RFC 8493).

Belongs here: what is in the bag. A codebook belongs to `exports/`, and is one more file of `_payload`.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qol_dagster.csv_text import csv_text
from qol_dagster.errors import QolError, QolInputError
from qol_dagster.lake.freeze import manifest_key
from qol_dagster.lake.history import verify_objects
from qol_dagster.metrics.tables import TableId, all_tables

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.lake.freeze import Freeze
    from qol_dagster.lake.lake import Lake


class BagError(QolInputError):
    """A bag cannot be written there; the message says why."""


class BagItMissingError(QolError):
    """The package `bagit` is not installed."""


def write_bag(lake: Lake, freeze: Freeze, folder: Path) -> None:
    """Write a freeze as a bag into a new folder. Raises BagError, or HistoryError for an object that is damaged."""
    try:
        import bagit
    except ImportError as error:
        raise BagItMissingError("a bag needs the package bagit: pip install 'qol-dagster[exports]'") from error
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BagError(f"{folder} is there already and not empty; name a new folder")
    payload = _payload(lake, freeze)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in payload.items():
        (folder / name).write_bytes(content)
    info = {"External-Identifier": f"{freeze.name} sha256:{freeze.sha256}", "External-Description": citation(freeze)}
    bagit.make_bag(str(folder), info, checksums=["sha256"])


def citation(freeze: Freeze) -> str:
    """Return the line by which a freeze is cited; the hash is that of its manifest."""
    made_by = freeze.facts["made_by"]
    return (
        f"Quality-of-life metrics, freeze {freeze.name}, {freeze.created_at:%Y-%m-%d}; {made_by['software']}, metrics "
        f"{made_by['metrics_version']}. sha256:{freeze.sha256}"
    )


def _payload(lake: Lake, freeze: Freeze) -> dict[str, bytes]:
    """Return the files by name."""
    files = {
        "manifest.json": lake.read_object(manifest_key(freeze.name)),
        "dictionary.csv": _as_csv(freeze.facts["dictionary"]["entries"]),
        "README.md": _readme(freeze).encode(),
        "CITATION.txt": f"{citation(freeze)}\n".encode(),
    }
    for table in all_tables():
        if rows := _rows(lake, freeze, table):
            files[f"{table.name}.parquet"] = _as_parquet(rows)
            files[f"{table.name}.csv"] = _as_csv(rows.to_pylist())
    return files


def _rows(lake: Lake, freeze: Freeze, table: TableId) -> pa.Table | None:
    """Return all rows of a frozen table, its columns in the dictionary's order, and those that it lacks now."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    for day, state in freeze.states(table).items():
        verify_objects(lake, state.keys)
        for key in state.keys:
            rows = pq.ParquetFile(pa.BufferReader(lake.read_object(key))).read(use_threads=False)
            parts.append(rows.append_column("date", pa.array([day.isoformat()] * rows.num_rows, pa.string())))
    if not parts:
        return None
    rows = pa.concat_tables(parts, promote_options="default").replace_schema_metadata(None)
    known = [one.name for one in table.columns if one.name in rows.column_names]
    return rows.select([*known, *(name for name in rows.column_names if name not in known)])


def _as_parquet(rows: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    return buffer.getvalue()


def _as_csv(rows: list[dict[str, Any]]) -> bytes:
    return csv_text(list(rows[0]) if rows else [], (list(row.values()) for row in rows)).encode()


def _readme(freeze: Freeze) -> str:
    weeks = " to ".join(freeze.facts["weeks"] or ["all that there were"])
    return f"""# {freeze.name}

{freeze.facts["note"]}

- Cite as: {citation(freeze)}
- Weeks: {weeks}
- `*.parquet`, `*.csv`: the tables, the same rows in both. Participants are pseudonymous. Times are UTC.
- `dictionary.csv`: every column: unit, range, formula, rule, source, in English and Japanese.
- `manifest.json`: the frozen objects with their SHA-256, and the versions and thresholds that made them. Its own
  SHA-256 is the one that is cited.

The folder is a BagIt bag (RFC 8493): `bagit.py --validate` verifies it, and so does `sha256sum -c manifest-sha256.txt`.
"""
