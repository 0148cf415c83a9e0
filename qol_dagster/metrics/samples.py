"""The records that count -> their samples of a day, one a row, as Ibis expressions: what the daily metrics are made of.

Belongs here: which records, fields and values a type of sample has. Which records count is `records.py`'s.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from qol_dagster.metrics.daily import samples_of, stage_table, stages
from qol_dagster.metrics.records import ROW, is_second, of_chosen_accounts, with_fields
from qol_dagster.metrics.sample_types import SAMPLE_TYPES, SampleType

_STAGES = ("deep", "light", "rem", "awake")


def sample_rows(records: ir.Table, type_: SampleType) -> ir.Table:
    """Return participant_id, date, start_s (UTC), offset_s, duration_s and value, in the order of time.

    `duration_s` is null where a sample is of a moment; `value` is a number, of sleep stages a word. Values that are no
    data by the metrics' rules are left out. Reads `records` and the tables of `daily.stages`.
    """
    if type_ == "steps":
        rows = _steps(records)
    elif type_ == "sleep_stages":
        rows = _sleep_stages(records)
    else:
        rows = _samples(records, type_)
    rows = rows.filter(is_second(rows.start_s))
    return rows.order_by("start_s", "offset_s", "value")


def _samples(records: ir.Table, type_: SampleType) -> ir.Table:
    kind = SAMPLE_TYPES[type_]
    chosen = _chosen(records, kind.summary_type).select("rec", *ROW, "start_s", "offset_s", "length_s")
    s = samples_of(records, chosen, kind.field)
    s = s.filter(s.v > 0 if kind.above_0 else s.v >= 0)
    return s.select(*ROW, "offset_s", start_s=s.start_s + s.t, duration_s=ibis.null("float64"), value=s.v)


def _chosen(records: ir.Table, summary_type: str) -> ir.Table:
    """Return the records of a type that the day's metrics are made from, with how long they last."""
    if summary_type == "sleeps":
        sleeps = _stage(records, "main_sleeps")
        return sleeps.mutate(length_s=sleeps.end_s - sleeps.start_s)
    if summary_type == "dailies":
        dailies = of_chosen_accounts(_stage(records, "account_dailies"), _stage(records, "other_accounts"))
        return dailies.mutate(length_s=dailies.duration_s)
    current = _stage(records, "current_records")
    current = current.filter(current.type == summary_type)
    if summary_type == "pulseox":
        current = current.filter(~current.on_demand)
    return current.mutate(length_s=current.duration_s)


def _steps(records: ir.Table) -> ir.Table:
    """Return the steps of each epoch, those of its activity types added up."""
    current = _stage(records, "current_records")
    epochs = current.filter(current.type == "epochs", current.steps.notnull(), current.start_s.notnull())
    slices = epochs.group_by(*ROW, "start_s", "offset_s").agg(
        duration_s=epochs.duration_s.max(), value=epochs.steps.sum()
    )
    return slices.select(*ROW, "offset_s", "start_s", "duration_s", "value")


def _sleep_stages(records: ir.Table) -> ir.Table:
    """Return the intervals of the main sleep's stages."""
    sleeps = _stage(records, "main_sleeps").select("rec", *ROW, "offset_s")
    found = []
    for stage in _STAGES:
        field = f"{stage}_spans"
        each = with_fields(records, sleeps, field)
        each = each.select(*ROW, "offset_s", span=each[field].unnest())
        each = each.filter(each["span"].e > each["span"].s)
        found.append(
            each.select(
                *ROW,
                "offset_s",
                start_s=each["span"].s,
                duration_s=each["span"].e - each["span"].s,
                value=ibis.literal(stage),
            )
        )
    return ibis.union(*found)


def _stage(records: ir.Table, name: str) -> ir.Table:
    return stage_table(name, stages(records)[name])
