"""Tables and entries that MkDocs puts in place of a marker in a page, made from the code they describe.

Belongs here: how the one source of a fact becomes Markdown. Nothing is written to the repository, so a page cannot
fall behind the code. A marker is a comment alone on its line, such as `<!-- metrics: weekly -->`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from qol_dagster.metrics import dictionary
from qol_dagster.metrics.describe import limits, unit
from qol_dagster.metrics.dictionary import Metric
from qol_dagster.metrics.dictionary.sources import Source
from qol_dagster.metrics.fields import (
    DATE_KEYED_TYPES,
    FIELDS,
    ID_KEYED_TYPES,
    KEY_FIELDS,
    KNOWN_TYPES,
    LONGEST_FIRST_TYPES,
    TYPE_ALIASES,
    Field,
)
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS
from qol_ingest.shared.record_dates import MEASURED_TYPES

MARKER = re.compile(r"^<!-- ([a-z]+: [a-z]+) -->$", re.M)


class UnknownMarkerError(ValueError):
    """A page asks for a table that nobody makes."""


def on_page_markdown(markdown: str, **_given: object) -> str:
    """MkDocs' hook: the page with every marker replaced by its table. Raises UnknownMarkerError."""
    return MARKER.sub(lambda found: _made(found[1]), markdown)


def _made(name: str) -> str:
    if name not in TABLES:
        raise UnknownMarkerError(f"no table is called {name!r}; there are: {', '.join(TABLES)}")
    return TABLES[name]()


def metrics_catalogue(metrics: Sequence[Metric]) -> str:
    """The names of a table's columns, and an entry for each; its anchor is `<table>-<column>`."""
    names = " ".join(f'<a href="#{_anchor(one)}"><code>{one.name}</code></a>' for one in metrics)
    return "\n".join(['<p class="metric-names">', names, "</p>", *map(_entry, metrics)])


def _entry(metric: Metric) -> str:
    ja, anchor = metric.japanese, _anchor(metric)
    facts = {
        "Formula": f"<code>{_with_thresholds(metric.formula)}</code>" if metric.formula else "",
        "Rule": _in_both(_with_thresholds(metric.rule), _with_thresholds(ja.rule)) if metric.rule else "",
        "Range": html.escape(_range(metric)),
        "Inputs": ", ".join(map(_input, metric.inputs)),
        "Source": "; ".join(map(_citation, metric.sources)),
    }
    listed = "".join(f"<dt>{label}</dt><dd>{text}</dd>" for label, text in facts.items() if text)
    return (
        f'<section class="metric" id="{anchor}">'
        f'<p class="metric-name"><a href="#{anchor}"><code>{metric.name}</code></a> '
        f"<span>{html.escape(unit(metric))}</span></p>"
        f"<div><p>{html.escape(metric.description)}"
        f'<span lang="ja"><b>{html.escape(ja.term)}</b> {html.escape(ja.text)}</span></p>'
        f"<dl>{listed}</dl></div></section>"
    )


def _anchor(metric: Metric) -> str:
    return f"{metric.table}-{metric.name}"


def _in_both(english: str, japanese: str) -> str:
    return f'{english}<span lang="ja">{japanese}</span>'


def _range(metric: Metric) -> str:
    told = [limits(metric.minimum, metric.maximum)]
    if metric.plausible:
        told.append(f"plausible {limits(*metric.plausible)}")
    return "; ".join(one for one in told if one)


def _with_thresholds(text: str) -> str:
    """The text with the name of each threshold as a link to its value."""
    names = "|".join(DEFAULT_THRESHOLDS.as_dict())
    return re.sub(rf"\b({names})\b", r'<a href="#thresholds"><code>\1</code></a>', html.escape(text))


def _input(name: str) -> str:
    """An input; a column of the daily table leads to its entry."""
    code = f"<code>{html.escape(name)}</code>"
    return f'<a href="#daily-{name}">{code}</a>' if name in dictionary.by_name(dictionary.DAILY) else code


def _citation(source: Source) -> str:
    name = html.escape(source.name)
    return f'<a href="{html.escape(source.identifiers[0][1])}">{name}</a>' if source.identifiers else name


def sources_table() -> str:
    """A row for each publication that a metric cites, in the order of the tables."""
    cited = {source: None for metrics in dictionary.TABLES.values() for one in metrics for source in one.sources}
    rows = [
        (_text(one.name), _text(one.work), ", ".join(f"[{_text(text)}]({url})" for text, url in one.identifiers))
        for one in cited
    ]
    return _table(("Source", "Work", "Read it"), rows)


def fields_table(fields: Iterable[Field]) -> str:
    """A row for each field that is read from a raw line."""
    rows = [(_code(one.name), _codes(one.garmin), _text(one.kind), _text(_data(one))) for one in fields]
    return _table(("Name in the code", "Key in the line", "Read as", "Data when"), rows)


def _data(field: Field) -> str:
    if field.minimum is None:
        return ""
    return f"{'>' if field.exclusive else '>='} {field.minimum:g}"


def types_table() -> str:
    """A row for each summary type of Garmin's, with its other names and what tells two records apart."""
    others = {type_: [name for name, of in TYPE_ALIASES.items() if of == type_] for type_ in KNOWN_TYPES}
    rows = [(_code(type_), _codes(others[type_]), _identity(type_), _precedence(type_)) for type_ in KNOWN_TYPES]
    head = ("Type", "Also arrives as", "Two records of a user are the same when equal in", "Of these counts")
    return _table(head, rows)


def _precedence(type_: str) -> str:
    if type_ == "sleeps":
        return "the most final, then the latest, then the longest"
    if type_ == "epochs":
        return "those of one delivery: the longest, then the latest"
    if type_ in DATE_KEYED_TYPES:
        return "the latest value of each field"
    return "the longest, then the latest" if type_ in LONGEST_FIRST_TYPES else "the latest"


def _identity(type_: str) -> str:
    if type_ in DATE_KEYED_TYPES:
        return "date"
    if type_ in ID_KEYED_TYPES:
        return "`summaryId`, else start time"
    keys = {field.name: field.garmin[0] for field in FIELDS} | {"body": "_ingest_id"}
    time = "measurement time" if type_ in MEASURED_TYPES else "start time"
    return ", ".join([time, *(_code(keys[name]) for name in KEY_FIELDS.get(type_, ()))])


def thresholds_table() -> str:
    """A row for each limit that decides validity, with the columns that depend on it."""
    entries = [metric for metrics in dictionary.TABLES.values() for metric in metrics]
    rows = [
        (
            _code(name),
            str(value),
            " ".join(f"[`{one.name}`](#{_anchor(one)})" for one in entries if name in one.thresholds),
        )
        for name, value in DEFAULT_THRESHOLDS.as_dict().items()
    ]
    return _table(("Threshold", "Value", "Decides"), rows)


TABLES: dict[str, Callable[[], str]] = {
    **{f"metrics: {name}": partial(metrics_catalogue, metrics) for name, metrics in dictionary.TABLES.items()},
    "metrics: revisions": partial(metrics_catalogue, dictionary.REVISIONS),
    "metrics: thresholds": thresholds_table,
    "metrics: sources": sources_table,
    "raw: fields": lambda: fields_table(FIELDS),
    "raw: types": types_table,
}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _text(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return re.sub(r"([\\`*_{}\[\]|])", r"\\\1", html.escape(text, quote=False))


def _code(text: str) -> str:
    return f"`{text}`"


def _codes(texts: Iterable[str]) -> str:
    return ", ".join(map(_code, texts))
