"""The codebook: all that is known of each column of an export, in English and Japanese, for programs and for people.

Belongs here: one row for each column, made from the dictionary, as CSV and as a page that needs nothing but a browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qol_dagster.exports.columns import Column
from qol_dagster.metrics.describe import limits
from qol_dagster.metrics.dictionary.values import REASONS, Value
from qol_dagster.metrics.thresholds import Thresholds
from qol_ingest.shared.languages import Language

if TYPE_CHECKING:
    from qol_dagster.exports.rows import Dataset

FIELDS = (
    *(
        "position",
        "name",
        "table",
        "metric",
        "type",
        "unit",
        "label_en",
        "label_ja",
        "description_en",
        "description_ja",
    ),
    *("minimum", "maximum", "plausible_low", "plausible_high", "required", "formula", "rule_en", "rule_ja"),
    *("thresholds", "values_en", "values_ja", "missing_reasons_en", "missing_reasons_ja", "inputs", "source"),
)
_WHY_EN = "Why {name} is missing; empty where it is not"
_WHY_JA = "{name} が欠損している理由（欠損でなければ空欄）"


def codebook_rows(dataset: Dataset) -> list[dict[str, object]]:
    """Return a row for each column, with the keys `FIELDS`; None where there is nothing to say."""
    thresholds = dataset.table.profile.thresholds
    return [
        dict(zip(FIELDS, _facts(number, column, thresholds), strict=True))
        for number, column in enumerate(dataset.columns, start=1)
    ]


def _facts(number: int, column: Column, thresholds: Thresholds) -> Sequence[object]:
    metric, of_metric = column.metric, not column.is_reason
    plausible = metric.plausible if of_metric and metric.plausible else (None, None)
    values = thresholds.as_dict()
    named = ", ".join(f"{name} = {values[name]}" for name in metric.thresholds)
    reasons = metric.blanks.reasons if of_metric and metric.blanks else ()
    return (
        *(number, column.name, metric.table, metric.name, column.kind, column.unit or None),
        *(column.label, column.label_ja, *descriptions(column)),
        *(column.minimum, column.maximum, *plausible, column.is_required),
        metric.formula or None if of_metric else None,
        metric.rule or None if of_metric else None,
        metric.japanese.rule or None if of_metric else None,
        named or None if of_metric else None,
        labelled(column.values, "en") or None,
        labelled(column.values, "ja") or None,
        labelled(reasons, "en") or None,
        labelled(reasons, "ja") or None,
        " ".join(metric.inputs) or None if of_metric else None,
        metric.source if of_metric else None,
    )


def descriptions(column: Column) -> tuple[str, str]:
    """Return what a column is, in English and in Japanese."""
    metric = column.metric
    if column.is_reason:
        return _WHY_EN.format(name=metric.name), _WHY_JA.format(name=metric.name)
    return metric.description, metric.japanese.text


def labelled(values: Sequence[Value], language: Language) -> str:
    """Return `1 below = Below the recommendation; …`: number, word and label of each value."""
    return "; ".join(f"{one.code} {one.word} = {label_of(one, language)}" for one in values)


def label_of(value: Value, language: Language) -> str:
    """Return a value's label in a language."""
    return value.en if language == "en" else value.ja


def codebook_page(dataset: Dataset, citation: str) -> str:
    """Return the page: an entry for each metric, then the reasons and their rules."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    first, last = dataset.dates
    return environment.from_string(_PAGE).render(
        title=dataset.table.name,
        citation=citation,
        first=first,
        last=last,
        entries=_entries(dataset),
        reasons=REASONS,
        rows=dataset.rows.num_rows,
        participants=dataset.n_participants,
    )


def _entries(dataset: Dataset) -> list[Mapping[str, object]]:
    """Return what the page shows of each metric: its columns, and its facts in order with labels."""
    facts = {str(row["name"]): row for row in codebook_rows(dataset)}
    entries: list[Mapping[str, object]] = []
    for metric in dataset.table.columns:
        columns = [one for one in dataset.columns if one.metric is metric]
        row = facts[columns[0].name]
        span = limits(*_range(row, "minimum", "maximum"))
        plausible = limits(*_range(row, "plausible_low", "plausible_high"))
        shown = {
            "Unit / 単位": row["unit"],
            "Type / 型": row["type"],
            "Range / 範囲": span,
            "Plausible / 通常の範囲": plausible,
            "Formula / 式": row["formula"],
            "Rule": row["rule_en"],
            "条件": row["rule_ja"],
            "Thresholds / しきい値": row["thresholds"],
            "Values / 値": _both(columns[0].values),
            "Blank if / 欠損の理由": _both(metric.blanks.reasons if metric.blanks else ()),
            "Source / 出典": row["source"],
        }
        listed = [(label, text) for label, text in shown.items() if text]
        entries.append({"metric": metric, "columns": _named(columns), "facts": listed})
    return entries


def _range(row: Mapping[str, object], low: str, high: str) -> tuple[float | None, float | None]:
    found = (row[low], row[high])
    first, last = (float(one) if isinstance(one, int | float) else None for one in found)
    return first, last


def _both(values: Sequence[Value]) -> str:
    return "; ".join(f"{one.word} ({one.en} / {one.ja})" for one in values)


def _named(columns: Sequence[Column]) -> str:
    """Return the names of a metric's columns; of a list's, the first and the last."""
    valued = [one.name for one in columns if not one.is_reason]
    names = [valued[0]] if len(valued) == 1 else [f"{valued[0]} … {valued[-1]}"]
    return ", ".join([*names, *(one.name for one in columns if one.is_reason)])


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Codebook: {{ title }}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --quiet: #666; --accent: #00695c; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aaa; --accent: #4db6ac; } }
body { font: 16px/1.5 system-ui, "Noto Sans CJK JP", "Hiragino Sans", sans-serif; max-width: 60rem; margin: auto;
  padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
section { border-top: 1px solid var(--line); padding: .8rem 0; }
section h3 { margin: 0; font-size: 1rem; color: var(--accent); }
section p { margin: .2rem 0 .5rem; }
nav { font-size: .85rem; line-height: 1.9; } nav a { margin-right: .8em; } a { color: var(--accent); }
th code { white-space: nowrap; }
.columns { color: var(--quiet); font-size: .85rem; }
dl { display: grid; grid-template-columns: minmax(7rem, 12rem) 1fr; gap: .15rem 1rem; margin: 0; font-size: .9rem; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .9rem; } caption { text-align: left; color: var(--quiet); }
th, td { border-top: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top; }
@media (max-width: 40rem) {
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .3rem; }
  table, tbody, tr, td, th { display: block; } thead { display: none; } td { border: 0; padding: .1rem 0; }
}
@media print { section { break-inside: avoid; } }
</style>
</head>
<body>
<h1>Codebook <span lang="ja">コードブック</span>: <code>{{ title }}</code></h1>
<p>{{ rows }} rows, {{ participants }} participants, {{ first }} to {{ last }}.
<span lang="ja">{{ rows }} 行、参加者 {{ participants }} 人、{{ first }}〜{{ last }}。</span></p>
<p>{{ citation }}</p>
<h2>Columns <span lang="ja">列</span></h2>
<nav>
{% for entry in entries %}
<a href="#{{ entry.metric.name }}"><code>{{ entry.metric.name }}</code></a>
{% endfor %}
</nav>
{% for entry in entries %}
<section id="{{ entry.metric.name }}">
<h3><code>{{ entry.metric.name }}</code></h3>
<p>{{ entry.metric.description }}<br>
<span lang="ja"><b>{{ entry.metric.japanese.term }}</b> {{ entry.metric.japanese.text }}</span></p>
{% if entry.columns != entry.metric.name %}
<p class="columns"><code>{{ entry.columns }}</code></p>
{% endif %}
<dl>
{% for label, text in entry.facts %}
<dt>{{ label }}</dt><dd>{{ text }}</dd>
{% endfor %}
</dl>
</section>
{% endfor %}
<h2>Why a value is missing <span lang="ja">欠損の理由</span></h2>
<p>The first reason that holds, in the order below_precondition, not_worn, too_short, device_does_not_measure; else
unknown. In participant_status, the state of the week. A week of a participant without any row is no row here either:
absent_weeks.csv lists it with its reason. <span lang="ja">該当する最初の理由（below_precondition、not_worn、too_short、
device_does_not_measure の順）。どれでもなければ unknown。participant_status ではその週の状態。行のない参加者の週は
absent_weeks.csv に理由とともに示す。</span></p>
<table>
<caption>Codes are those of the columns that end in _na <span lang="ja">（_na で終わる列の値）</span></caption>
<thead><tr><th scope="col">Code</th><th scope="col">Word</th><th scope="col">English</th>
<th scope="col"><span lang="ja">日本語</span></th></tr></thead>
<tbody>
{% for one in reasons %}
<tr><td>{{ one.code }}</td><th scope="row"><code>{{ one.word }}</code></th>
<td><b>{{ one.en }}</b>. {{ one.rule_en }}.</td>
<td lang="ja"><b>{{ one.ja }}</b>。{{ one.rule_ja }}。</td></tr>
{% endfor %}
</tbody>
</table>
</body>
</html>
"""
