"""The records behind a participant's day, and the samples in them, as the last run stored them.

Belongs here: reading the records zone for one participant and date. Which records count is decided by the metrics' own
expressions; what is not used gets the reason. Garmin's user ids and summary ids stay here: they are in nothing that is
returned. Of who may no longer be used, nothing is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from qol_dagster.engines import Engine, work_folder
from qol_dagster.engines.duckdb import duckdb_engine
from qol_dagster.engines.queries import register_daily_stages
from qol_dagster.identities import Identities
from qol_dagster.lake.records import copy_records, stored_records
from qol_dagster.metrics.dictionary import DAILY
from qol_dagster.metrics.sample_types import SAMPLE_TYPES, SampleType
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS
from qol_ingest.shared.calendar import JST

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.resources.platform import Platform

Outcome = Literal[
    "counted",
    "superseded",
    "other_account",
    "shorter_day",
    "not_main_sleep",
    "on_demand",
    "misfiled",
    "withheld",
    "unused",
]
SampleKind = Literal["heart_rate", "stress", "body_battery", "spo2", "respiration", "steps"]
State = Literal["found", "not_stored", "not_enrolled"]

USED_TYPES = frozenset(name.partition(".")[0] for one in DAILY for name in one.inputs if "." in name)
"""Garmin's summary types that feed a daily column."""
FIELDS: dict[str, SampleType] = {
    kind.field: name for name, kind in SAMPLE_TYPES.items() if name not in ("steps", "sleep_stages")
}
"""Each field of a record that holds samples, with their type."""
STAGES = {"deep_spans": "deep", "light_spans": "light", "rem_spans": "rem", "awake_spans": "awake"}


@dataclass(frozen=True)
class DayRecord:
    """A record: Garmin's summary type, what became of it, and its times. `starts_at` is local, without a zone."""

    type: str
    outcome: Outcome
    received_at: datetime | None
    starts_at: datetime | None
    duration_s: float | None


@dataclass(frozen=True)
class Sample:
    """A value at a local time (without a zone). `used`: whether the metrics use it; -1, say, means no data."""

    kind: SampleKind
    type: str
    at: datetime
    value: float
    used: bool


@dataclass(frozen=True)
class StageSpan:
    """Time in a stage of the main sleep, by the local clock."""

    stage: str
    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class DayRecords:
    """All that is stored of a participant's date."""

    state: State
    records: tuple[DayRecord, ...] = ()
    samples: tuple[Sample, ...] = ()
    stages: tuple[StageSpan, ...] = ()


def read_day(platform: Platform, participant: str, day: date) -> DayRecords:
    """Return the records of a participant's date. Raises LakeError, EngineError, DamagedRecordsError."""
    people = platform.id_map().identities().of_participant(participant)
    if not people.active:
        return DayRecords("not_enrolled")
    lake, settings = platform.lake(), platform.settings
    stored = stored_records(lake, day)
    if not stored.parts:
        return DayRecords("not_stored")
    with work_folder(settings.temp_dir, "duckdb") as work:
        part = copy_records(lake, day, stored, people.active, work)
        with duckdb_engine(memory_mb=settings.memory_mb, work=work) as engine:
            return _select(engine, people, day, part)


def _select(engine: Engine, people: Identities, day: date, part: str) -> DayRecords:
    engine.load_table("participants", people.as_table())
    engine.load_records({day: [part]})
    register_daily_stages(engine, engine.queries(DEFAULT_THRESHOLDS))
    lines = _rows(engine.run(_LINES))
    if not lines:
        return DayRecords("not_stored")
    newest_hrv = max((line["received_ms"] or 0 for line in lines if line["type"] == "hrv"), default=0)
    outcomes = {line["rec"]: _outcome(line, newest_hrv) for line in lines}
    counted = [line for line in lines if outcomes[line["rec"]] == "counted"]
    fields = {row["rec"]: row for row in _rows(engine.run(_fields([line["rec"] for line in counted])))}
    return DayRecords(
        "found",
        tuple(_record(line, outcomes[line["rec"]]) for line in lines),
        tuple(sorted(_samples(counted, fields), key=lambda one: (one.kind, one.at))),
        tuple(sorted(_stages(counted, fields), key=lambda one: one.begins_at)),
    )


_LINES = """
SELECT l.rec, l.type, l.state, l.received_ms, l.start_s, l.offset_s, l.duration_s, l.steps, l.on_demand,
       s.rec IS NOT NULL AS superseded, o.rec IS NOT NULL AS of_other_account,
       n.rec IS NOT NULL AS is_main_sleep, n.end_s - n.start_s AS sleep_s, d.rec IS NOT NULL AS is_longest_day
FROM lines AS l
LEFT JOIN superseded AS s ON l.rec = s.rec
LEFT JOIN other_accounts AS o ON l.rec = o.rec
LEFT JOIN main_sleeps AS n ON l.rec = n.rec
LEFT JOIN account_dailies AS d ON l.rec = d.rec
ORDER BY l.type, l.start_s, l.received_ms, l.rec
"""


def _fields(recs: Sequence[int]) -> str:
    chosen = ", ".join(map(str, recs)) or "NULL"
    return f"SELECT rec, {', '.join((*FIELDS, *STAGES))} FROM records WHERE rec IN ({chosen})"


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    return list(table.to_pylist())


def _outcome(line: Mapping[str, Any], newest_hrv: int) -> Outcome:
    """Return what became of a record; the first reason that holds."""
    type_ = line["type"]
    reasons: tuple[tuple[bool, Outcome], ...] = (
        (line["state"] == "revoked", "withheld"),
        (line["state"] != "usable", "misfiled"),
        (line["of_other_account"], "other_account"),
        (line["superseded"] and type_ != "userMetrics", "superseded"),  # of those, each field's latest value counts
        (type_ not in USED_TYPES, "unused"),
        (type_ == "dailies" and not line["is_longest_day"], "shorter_day"),
        (type_ == "sleeps" and not line["is_main_sleep"], "not_main_sleep"),
        (type_ == "pulseox" and bool(line["on_demand"]), "on_demand"),
        (type_ == "hrv" and (line["received_ms"] or 0) < newest_hrv, "superseded"),
    )
    return next((outcome for holds, outcome in reasons if holds), "counted")


def _record(line: Mapping[str, Any], outcome: Outcome) -> DayRecord:
    received = line["received_ms"]
    received_at = None if received is None else datetime.fromtimestamp(received / 1000, JST)
    return DayRecord(str(line["type"]), outcome, received_at, _local(line, 0), line["duration_s"])


def _local(line: Mapping[str, Any], offset_s: float) -> datetime | None:
    """Return the local time so many seconds after the record's start, if both are known and can be."""
    if line["start_s"] is None:
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None) + timedelta(
            seconds=line["start_s"] + (line["offset_s"] or 0) + offset_s
        )
    except OverflowError:
        return None


def _samples(counted: Sequence[Mapping[str, Any]], fields: Mapping[int, Mapping[str, Any]]) -> list[Sample]:
    found = [_steps(line) for line in counted if line["type"] == "epochs" and line["steps"] is not None]
    for field, type_ in FIELDS.items():
        for line in counted:
            if line["type"] == SAMPLE_TYPES[type_].summary_type:
                found += _of_field(line, fields[line["rec"]][field], type_)
    return [one for one in found if one is not None]


def _steps(line: Mapping[str, Any]) -> Sample | None:
    at = _local(line, 0)
    return None if at is None else Sample("steps", "epochs", at, float(line["steps"]), used=True)


def _of_field(line: Mapping[str, Any], pairs: Mapping[str, Any] | None, type_: SampleType) -> list[Sample | None]:
    """Return the samples of a field, whose offsets and values are two lists of one length."""
    length_s = line["sleep_s"] if line["type"] == "sleeps" else line["duration_s"]
    offsets, values = ((pairs or {}).get(name) or () for name in ("t", "v"))
    return list(map(partial(_sample, line, type_, length_s), offsets, values))


def _sample(
    line: Mapping[str, Any], type_: SampleType, length_s: float | None, offset_s: float | None, value: float | None
) -> Sample | None:
    at = None if offset_s is None else _local(line, offset_s)
    if at is None or offset_s is None or value is None:
        return None
    inside = 0 <= offset_s <= (length_s if length_s is not None else offset_s)
    is_data = value > 0 if SAMPLE_TYPES[type_].above_0 else value >= 0
    kind = cast("SampleKind", type_.removeprefix("sleep_"))  # asleep or awake
    return Sample(kind, line["type"], at, value, inside and is_data)


def _stages(counted: Sequence[Mapping[str, Any]], fields: Mapping[int, Mapping[str, Any]]) -> list[StageSpan]:
    found = []
    for line in counted:
        for field, stage in STAGES.items():
            for span in fields[line["rec"]][field] or () if line["type"] == "sleeps" else ():
                # Spans are in seconds since 1970; the record's start is where its clock is known.
                begin, end = (_local(line, span[edge] - line["start_s"]) for edge in ("s", "e"))
                if begin is not None and end is not None:
                    found.append(StageSpan(stage, begin, end))
    return found
