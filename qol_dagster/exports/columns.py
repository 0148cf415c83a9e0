"""The columns of an export, made from the dictionary: a list becomes a column for each hour, a blank gets its reason.

Belongs here: names, kinds and labels of columns. How a format spells them is `formats/`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from qol_dagster.metrics.dictionary import Metric
from qol_dagster.metrics.dictionary.values import Value
from qol_dagster.metrics.types import ColumnType
from qol_ingest.shared.languages import Language

Kind = Literal["text", "date", "time", "integer", "number", "boolean", "category"]
"""What a value is: a date without time, a time in UTC to the millisecond, a word of a closed set."""

REASON_SUFFIX = "_na"
"""Ends the column that says why a value is missing. Longer, and Stata could not name the labels of some."""
HOURS = 24
_DATES = ("_date", "_on", "_start", "_end")
"""End the names of columns that hold a date as text."""
_KINDS: dict[ColumnType, Kind] = {
    "string": "text",
    "int64": "integer",
    "float64": "number",
    "bool": "boolean",
    "timestamp": "time",
    "list<float64>": "number",
    "list<int64>": "integer",
}


@dataclass(frozen=True)
class Column:
    """One column of an export. `hour` is that of a list's element; `is_reason`: it says why `metric` is missing."""

    name: str
    kind: Kind
    metric: Metric
    hour: int | None = None
    is_reason: bool = False

    @property
    def values(self) -> tuple[Value, ...]:
        """The words that it may hold, if they are few."""
        if self.is_reason:
            return self.metric.blanks.reasons if self.metric.blanks else ()
        return self.metric.values

    @property
    def unit(self) -> str:
        """The unit of a value; that of a list is its elements'."""
        if self.is_reason:
            return ""
        return ("min" if _is_bits(self.metric) else "n") if self.hour is not None else self.metric.unit

    @property
    def minimum(self) -> float | None:
        """What no value is below."""
        if self.is_reason:
            return None
        return 0.0 if self.hour is not None else self.metric.minimum

    @property
    def maximum(self) -> float | None:
        """What no value is above."""
        if self.is_reason:
            return None
        return 60.0 if self.hour is not None and _is_bits(self.metric) else self.metric.maximum

    @property
    def is_required(self) -> bool:
        """Whether every row has a value."""
        return not self.is_reason and not self.metric.nullable

    @property
    def label(self) -> str:
        """A short name in English, with the unit."""
        if self.is_reason:
            return f"Why missing: {self.metric.name}"
        text = self.metric.description
        return self._with_unit(text if self.hour is None else f"{_without_by(text)}, from {self.hour:02}:00")

    @property
    def label_ja(self) -> str:
        """A short name in Japanese, with the unit."""
        term = self.metric.japanese.term
        if self.is_reason:
            return f"欠損の理由：{term}"
        return self._with_unit(term if self.hour is None else f"{term}（{self.hour} 時台）")

    def labelled(self, language: Language) -> str:
        """Return the short name in a language."""
        return self.label if language == "en" else self.label_ja

    def _with_unit(self, text: str) -> str:
        return f"{text} [{self.unit}]" if self.unit and self.unit != "1" else text


def columns_of(metrics: tuple[Metric, ...]) -> tuple[Column, ...]:
    """Return the columns of an export of these, in their order, each followed by that of its reasons."""
    return tuple(column for metric in metrics for column in _columns(metric))


def _columns(metric: Metric) -> Iterator[Column]:
    kind = _kind(metric)
    if metric.type.startswith("list<"):
        name = metric.name.removesuffix("_by_hour")
        yield from (Column(f"{name}_h{hour:02}", kind, metric, hour) for hour in range(HOURS))
    else:
        yield Column(metric.name, kind, metric)
    if metric.blanks:
        yield Column(f"{metric.name}{REASON_SUFFIX}", "category", metric, is_reason=True)


def _kind(metric: Metric) -> Kind:
    if metric.name == "date" or (metric.type == "string" and metric.name.endswith(_DATES)):
        return "date"
    return "category" if metric.type == "string" and metric.values else _KINDS[metric.type]


def _is_bits(metric: Metric) -> bool:
    return metric.type == "list<int64>"


def _without_by(text: str) -> str:
    """Return `Steps` of `Steps by local hour`."""
    return text.partition(" by ")[0].rstrip(",")
