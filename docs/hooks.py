"""Tables that MkDocs puts in place of a marker in a page, made from the code they describe.

Belongs here: how the one source of a fact becomes Markdown. Nothing is written to the repository, so a page cannot
fall behind the code. A marker is a comment alone on its line, such as `<!-- metrics: weekly -->`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence

from qol_dagster.metrics.dictionary import DAILY, DEFAULT_THRESHOLDS, WEEKLY, Metric
from qol_dagster.metrics.fields import (
    DATE_KEYED_TYPES,
    FIELDS,
    ID_KEYED_TYPES,
    KEY_FIELDS,
    KNOWN_TYPES,
    MEASURED_TYPES,
    TYPE_ALIASES,
    Field,
)

MARKER = re.compile(r"^<!-- ([a-z]+: [a-z]+) -->$", re.M)

_KINDS_OF_COLUMNS = {"string": "text", "bool": "yes/no", "int64": "count"}


class UnknownMarkerError(ValueError):
    """A page asks for a table that nobody makes."""


def on_page_markdown(markdown: str, **_given: object) -> str:
    """MkDocs' hook: the page with every marker replaced by its table. Raises UnknownMarkerError."""
    return MARKER.sub(lambda found: _made(found[1]), markdown)


def _made(name: str) -> str:
    if name not in TABLES:
        raise UnknownMarkerError(f"no table is called {name!r}; there are: {', '.join(TABLES)}")
    return TABLES[name]()


def metrics_table(metrics: Iterable[Metric]) -> str:
    """A row for each column of a table."""
    rows = [
        (
            f'<span id="{one.table}-{one.name}"></span>{_code(one.name)}',
            _text(one.unit or _KINDS_OF_COLUMNS.get(one.type, "")),
            _text(". ".join(part for part in (one.description, one.rule) if part) + "."),
            _text(one.source),
            _codes(one.inputs),
        )
        for one in metrics
    ]
    return _table(("Column", "Unit", "Definition and rule", "Source", "Inputs"), rows)


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
    rows = [(_code(type_), _codes(others[type_]), _identity(type_)) for type_ in KNOWN_TYPES]
    return _table(("Type", "Also arrives as", "Two records of a user are the same when equal in"), rows)


def _identity(type_: str) -> str:
    if type_ in DATE_KEYED_TYPES:
        return "date"
    if type_ in ID_KEYED_TYPES:
        return "`summaryId`, else start time"
    keys = {field.name: field.garmin[0] for field in FIELDS}
    time = "measurement time" if type_ in MEASURED_TYPES else "start time"
    return ", ".join([time, *(_code(keys[name]) for name in KEY_FIELDS.get(type_, ()))])


def thresholds_table() -> str:
    """A row for each limit that decides validity."""
    return _table(("Threshold", "Value"), [(_code(k), str(v)) for k, v in DEFAULT_THRESHOLDS.as_dict().items()])


TABLES: dict[str, Callable[[], str]] = {
    "metrics: daily": lambda: metrics_table(DAILY),
    "metrics: weekly": lambda: metrics_table(WEEKLY),
    "metrics: thresholds": thresholds_table,
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
