"""Raw samples of one participant and date, from the records zone: what the day's metrics were made from.

Belongs here: whose records are read, and how samples are spelled. Records hold Garmin's ids; what comes out has none.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.engines import EngineError
from qol_dagster.engines.queries import compile_sql, register_daily_stages
from qol_dagster.errors import QolInputError
from qol_dagster.exports import ExportError, SampleFormat
from qol_dagster.exports.formats.delimited import csv_bytes
from qol_dagster.lake.records import copy_records, mark, remake_records, stored_records
from qol_dagster.metrics.sample_types import SAMPLE_TYPES, SampleType
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.engines import Engine
    from qol_dagster.identities import Identities
    from qol_dagster.lake.lake import Lake


class UnknownParticipantError(QolInputError):
    """Nobody of this id is enrolled."""


@dataclass(frozen=True)
class Samples:
    """The samples in the order of time: participant_id, date, type, time_local (ISO 8601 with offset), time_utc
    (timestamp, ms), duration_s (null of a moment), value, unit. `is_stale`: raw files came since they were parsed.
    """

    rows: pa.Table
    is_stale: bool

    def encoded(self, form: SampleFormat) -> bytes:
        """Return the rows as a file's content."""
        if form == "csv":
            return csv_bytes(self.rows)
        import pyarrow.parquet as pq

        content = io.BytesIO()
        pq.write_table(self.rows, content, compression="zstd")
        return content.getvalue()


def read_samples(
    engine: Engine,
    lake: Lake,
    identities: Identities,
    participant: str,
    day: date,
    *,
    type_: SampleType,
    work: Path,
) -> Samples:
    """Return the samples of the records that count. `engine` is DuckDB's; `work` is an empty folder for a while.

    Raises UnknownParticipantError, DamagedRecordsError, and ExportError when the date has no records, they cannot be
    read, or the participant's may not be used.
    """
    people = _accounts(identities, participant)
    stored = stored_records(lake, day)
    if not stored.parts:
        raise ExportError(f"there are no whole records of {day}", advice=remake_records(day))
    copied = copy_records(lake, day, stored, people.active, work)
    try:
        engine.load_records({day: [copied]})
        engine.load_table("participants", people.as_table())
        found = engine.run(_prepared(engine, type_))
    except EngineError as error:
        raise ExportError(f"the records of {day} cannot be read ({error})", advice=remake_records(day)) from error
    is_stale = {mark(item) for item in lake.raw_objects(day)} != stored.marks
    return Samples(_spelled(found, type_), is_stale)


def _accounts(identities: Identities, participant: str) -> Identities:
    """Return the participant's accounts; records of others are then nobody's."""
    mine = identities.of_participant(participant)
    if not mine.active and participant in identities.enrolled:
        raise ExportError(f"no account of {participant} may be used: the consent was revoked")
    if not mine.active:
        raise UnknownParticipantError(
            f"there is no participant {participant}; `qol participants list` shows who there is"
        )
    return mine


def _prepared(engine: Engine, type_: SampleType) -> str:
    """Have the engine select the records that count, and return the query for their samples."""
    from qol_dagster.metrics.records import records_table
    from qol_dagster.metrics.samples import sample_rows

    register_daily_stages(engine, engine.queries(DEFAULT_THRESHOLDS))
    return compile_sql(sample_rows(records_table(side_by_side=True), type_), "duckdb")


def _spelled(found: pa.Table, type_: SampleType) -> pa.Table:
    import pyarrow as pa

    starts, offsets = found["start_s"].to_pylist(), found["offset_s"].to_pylist()
    utc = [datetime.fromtimestamp(start, UTC) for start in starts]
    local = [_local(at, offset) for at, offset in zip(utc, offsets, strict=True)]
    columns = {
        "participant_id": found["participant_id"],
        "date": found["date"].cast(pa.date32()),
        "type": pa.array([type_] * found.num_rows, pa.string()),
        "time_local": pa.array(local, pa.string()),
        "time_utc": pa.array(utc, pa.timestamp("ms", tz="UTC")),
        "duration_s": found["duration_s"],
        "value": found["value"],
        "unit": pa.array([SAMPLE_TYPES[type_].unit or None] * found.num_rows, pa.string()),
    }
    return pa.table(columns)


def _local(at: datetime, offset_s: float | None) -> str | None:
    """Return the time on the participant's clock, with its offset; None where the record says none that there is."""
    if offset_s is None or abs(offset_s) >= 86_400:
        return None
    return at.astimezone(timezone(timedelta(seconds=offset_s))).isoformat(timespec="milliseconds")
