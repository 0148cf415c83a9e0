"""The file of a partition: its rows, and in its metadata what its writer noted and which revision it is.

Belongs here: what is inside that file. Where it lies, and when another takes its place, is `lake.py`'s.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from qol_dagster.lake.revisions import REVISION_KEY, Revision

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_KEY = b"qol"
"""Key of our JSON in a Parquet file's metadata."""


@dataclass(frozen=True)
class StoredPartition:
    """What a partition holds now: sizes of its objects by key, and their rows, None if those cannot be read.

    Of the one object that there usually is: its content and tag, its notes and its revision. `modified`: UTC.
    """

    keys: tuple[str, ...]
    rows: pa.Table | None
    content: bytes
    tag: str | None
    modified: datetime
    notes: Mapping[str, Any] | None
    revision: Revision | None


def as_parquet(rows: pa.Table, notes: Mapping[str, Any], revision: Revision | None) -> bytes:
    """Return the content of a partition's file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {METADATA_KEY: json.dumps(notes, sort_keys=True).encode()}
    if revision:
        metadata[REVISION_KEY] = revision.as_json()
    buffer = io.BytesIO()
    words = [field.name for field in rows.schema if pa.types.is_string(field.type)]  # numbers hardly ever repeat
    pq.write_table(rows.replace_schema_metadata(metadata), buffer, compression="zstd", use_dictionary=words)
    return buffer.getvalue()


def partition_metadata_of(schema: pa.Schema) -> dict[str, Any] | None:
    """Return what the writer of a partition noted in its file; None if that is not ours."""
    try:
        noted = json.loads((schema.metadata or {}).get(METADATA_KEY, b"null"))
    except ValueError:
        return None
    return noted if isinstance(noted, dict) else None


def revision_of(schema: pa.Schema) -> Revision | None:
    """Return the revision that a partition's file is of; None if it has no record of one."""
    try:
        return Revision.from_json((schema.metadata or {}).get(REVISION_KEY, b""))
    except ValueError:
        return None
