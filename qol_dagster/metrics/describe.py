"""An entry of the dictionary as people read it: looked up by name, in either language.

Belongs here: wording that the terminal and the documentation share. How it is laid out is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from qol_dagster.errors import QolInputError
from qol_dagster.metrics.dictionary import TABLES, Metric
from qol_dagster.metrics.dictionary.values import Reason
from qol_dagster.metrics.tables import DATABASE, TableId
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS
from qol_dagster.metrics.types import DescribedTable
from qol_ingest.shared.languages import Language

_KINDS: dict[Language, dict[str, str]] = {
    "en": {"string": "text", "bool": "yes/no", "int64": "number"},
    "ja": {"string": "文字列", "bool": "真偽値", "int64": "数"},
}
_LABELS: dict[Language, dict[str, str]] = {
    "en": {
        "table": "table",
        "what": "what",
        "unit": "unit",
        "range": "range",
        "plausible": "plausible",
        "formula": "formula",
        "rule": "rule",
        "thresholds": "thresholds",
        "blanks": "blank if",
        "inputs": "inputs",
        "source": "source",
    },
    "ja": {
        "table": "表",
        "what": "説明",
        "unit": "単位",
        "range": "範囲",
        "plausible": "通常の範囲",
        "formula": "式",
        "rule": "条件",
        "thresholds": "しきい値",
        "blanks": "欠損の理由",
        "inputs": "入力",
        "source": "出典",
    },
}


class UnknownMetricError(QolInputError):
    """No column has this name."""


def find(name: str) -> tuple[Metric, ...]:
    """Return the metrics of this name, one from each table that has it.

    Raises UnknownMetricError with the nearest names.
    """
    found = tuple(metric for metrics in TABLES.values() for metric in metrics if metric.name == name)
    if found:
        return found
    near = _near(name.lower())
    hint = f"nearest: {', '.join(near)}" if near else "`qol metrics list` shows all"
    raise UnknownMetricError(f"there is no metric {name!r}; {hint}")


def _near(name: str) -> list[str]:
    """Return names spelled much alike, then names that hold it as a part."""
    known = {metric.name: None for metrics in TABLES.values() for metric in metrics}
    alike = get_close_matches(name, known, n=4)
    parts = [one for one in known if name and name in one]
    return list(dict.fromkeys([*alike, *parts]))[:6]


def table_name(table: DescribedTable) -> str:
    """Return the table as a query names it."""
    if table == "revisions":
        return f"{DATABASE}.<table>_revisions"
    return TableId(table).qualified_name


def unit(metric: Metric, language: Language = "en") -> str:
    """Return the unit, or what kind of value it is that has none. 1 is the unit of a plain number."""
    return metric.unit or value_kind(metric, language)


def value_kind(metric: Metric, language: Language = "en") -> str:
    """Return what kind of value a metric without a unit has."""
    return _KINDS[language][metric.type]


def limits(low: float | None, high: float | None, language: Language = "en") -> str:
    """Return a range in words: `0 to 7`, `>= 0`, or nothing."""
    if low is not None and high is not None:
        return f"{low:,g} to {high:,g}" if language == "en" else f"{low:,g}〜{high:,g}"
    if low is not None:
        return f">= {low:,g}" if language == "en" else f"{low:,g} 以上"
    if high is not None:
        return f"<= {high:,g}" if language == "en" else f"{high:,g} 以下"
    return ""


def described(metric: Metric, language: Language = "en") -> str:
    """Return what a metric is, in a sentence or two."""
    japanese = metric.japanese
    return metric.description if language == "en" else f"{japanese.term}。{japanese.text}"


def reasons(metric: Metric) -> tuple[Reason, ...]:
    """Return the reasons that a missing value of the metric may have; none, where nothing is known of it."""
    return metric.blanks.reasons if metric.blanks else ()


def facts(metric: Metric, language: Language = "en") -> list[tuple[str, str]]:
    """(label, text) of all that is known of a metric, without what is empty."""
    japanese = metric.japanese
    values = DEFAULT_THRESHOLDS.as_dict()
    texts = {
        "table": table_name(metric.table),
        "what": described(metric, language),
        "unit": unit(metric, language),
        "range": limits(metric.minimum, metric.maximum, language),
        "plausible": limits(*metric.plausible, language) if metric.plausible else "",
        "formula": metric.formula,
        "rule": metric.rule if language == "en" else japanese.rule,
        "thresholds": ", ".join(f"{name} = {values[name]}" for name in metric.thresholds),
        "blanks": ", ".join(one.word if language == "en" else one.ja for one in reasons(metric)),
        "inputs": ", ".join(metric.inputs),
        "source": metric.source,
    }
    return [(_LABELS[language][key], text) for key, text in texts.items() if text]


def records(metrics: Iterable[Metric]) -> list[dict[str, object]]:
    """Return each metric as one flat row, every field of it, for a file or a program."""
    return [
        {
            "table": metric.table,
            "name": metric.name,
            "type": metric.type,
            "unit": metric.unit,
            "minimum": metric.minimum,
            "maximum": metric.maximum,
            "plausible_low": metric.plausible[0] if metric.plausible else None,
            "plausible_high": metric.plausible[1] if metric.plausible else None,
            "nullable": metric.nullable,
            "description": metric.description,
            "formula": metric.formula,
            "rule": metric.rule,
            "values": " ".join(one.word for one in metric.values),
            "blanks": " ".join(one.word for one in reasons(metric)),
            "inputs": " ".join(metric.inputs),
            "source": metric.source,
            "term_ja": metric.japanese.term,
            "description_ja": metric.japanese.text,
            "rule_ja": metric.japanese.rule,
        }
        for metric in metrics
    ]
