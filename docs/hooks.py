"""Tables and entries that MkDocs puts in place of a marker in a page, made from the code they describe.

Belongs here: how the one source of a fact becomes Markdown. Nothing is written to the repository, so a page cannot
fall behind the code. A marker is a comment alone on its line, such as `<!-- metrics: weekly -->`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

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
from qol_ingest.shared.languages import Language
from qol_ingest.shared.record_dates import MEASURED_TYPES

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

MARKER = re.compile(r"^<!-- ([a-z]+: [a-z]+) -->$", re.M)
SHARED = ("adr/", "assets/", "img/")
"""Folders of the English site that every other language's has too: what is in no language, or in English only."""


class UnknownMarkerError(ValueError):
    """A page asks for a table that nobody makes."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """MkDocs' hook: add what the languages share to a site whose pages lie in a folder of their own."""
    english = Path(config["config_file_path"]).parent / "docs"
    if Path(config["docs_dir"]) != english:
        for file in sorted(one for folder in SHARED for one in (english / folder).rglob("*") if one.is_file()):
            if files.get_file_from_path(path := file.relative_to(english).as_posix()) is None:
                files.append(File.generated(config, path, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, *, config: MkDocsConfig, **_given: object) -> str:
    """MkDocs' hook: the page with every marker replaced by its table. Raises UnknownMarkerError."""
    return fill_markers(markdown, config["theme"]["language"])


def fill_markers(markdown: str, language: Language) -> str:
    """Return the page with every marker replaced by its table in this language. Raises UnknownMarkerError."""
    return MARKER.sub(lambda match: _table_of(match[1], language), markdown)


def _table_of(name: str, language: Language) -> str:
    if name not in TABLES:
        raise UnknownMarkerError(f"no table is called {name!r}; there are: {', '.join(TABLES)}")
    return TABLES[name](language)


def metrics_catalogue(metrics: Sequence[Metric], language: Language) -> str:
    """The names of a table's columns, and an entry for each; its anchor is `<table>-<column>`."""
    names = " ".join(f'<a href="#{_anchor(metric)}"><code>{metric.name}</code></a>' for metric in metrics)
    entries = [_entry(metric, language) for metric in metrics]
    return "\n".join(['<p class="metric-names">', names, "</p>", *entries])


def _entry(metric: Metric, language: Language) -> str:
    """One metric. Its heading makes it an entry of the search, and is no HTML that MkDocs lists as a heading."""
    ja, anchor, words = metric.japanese, _anchor(metric), LABELS[language]
    description, rule = (metric.description, metric.rule) if language == "en" else (ja.text, ja.rule)
    term = f'<span lang="ja">{html.escape(ja.term)}</span>'
    facts = {
        "unit": html.escape(unit(metric, language)),
        "formula": f"<code>{_with_thresholds(metric.formula)}</code>" if metric.formula else "",
        "rule": _with_thresholds(rule),
        "range": html.escape(_range(metric, language)),
        "inputs": ", ".join(map(_input, metric.inputs)),
        "source": "; ".join(map(_citation, metric.sources)),
    }
    listed = "".join(f"<dt>{words[name]}</dt> <dd>{text}</dd> " for name, text in facts.items() if text)
    return (
        f'<section class="metric"><h3 class="metric-name" id="{anchor}"><a href="#{anchor}"><code>{metric.name}</code>'
        f"</a> {term}</h3>"
        f"<div><p>{_with_thresholds(description)}</p><dl>{listed}</dl></div></section>"
    )


def _anchor(metric: Metric) -> str:
    return f"{metric.table}-{metric.name}"


def _range(metric: Metric, language: Language) -> str:
    ranges = [limits(metric.minimum, metric.maximum, language)]
    if metric.plausible:
        ranges.append(f"{LABELS[language]['plausible']} {limits(*metric.plausible, language)}")
    return LABELS[language]["between"].join(text for text in ranges if text)


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


def sources_table(language: Language) -> str:
    """A row for each publication that a metric cites, in the order of the tables."""
    cited = {source: None for metrics in dictionary.TABLES.values() for metric in metrics for source in metric.sources}
    rows = [
        (
            _text(source.name),
            _text(source.work),
            ", ".join(f"[{_text(text)}]({url})" for text, url in source.identifiers),
        )
        for source in cited
    ]
    return _table(HEADS["sources"][language], rows)


def fields_table(fields: Iterable[Field], language: Language) -> str:
    """A row for each field that is read from a raw line."""
    rows = [(_code(field.name), _codes(field.garmin), _text(field.kind), _text(_data(field))) for field in fields]
    return _table(HEADS["fields"][language], rows)


def _data(field: Field) -> str:
    if field.minimum is None:
        return ""
    return f"{'>' if field.exclusive else '>='} {field.minimum:g}"


def types_table(language: Language) -> str:
    """A row for each summary type of Garmin's, with its other names and what tells two records apart."""
    aliases = {type_: [name for name, of in TYPE_ALIASES.items() if of == type_] for type_ in KNOWN_TYPES}
    rows = [
        (_code(type_), _codes(aliases[type_]), _identity(type_, language), PRECEDENCE[language][_precedence(type_)])
        for type_ in KNOWN_TYPES
    ]
    return _table(HEADS["types"][language], rows)


def _precedence(type_: str) -> str:
    if type_ in ("sleeps", "epochs"):
        return type_
    if type_ in DATE_KEYED_TYPES:
        return "by field"
    return "longest" if type_ in LONGEST_FIRST_TYPES else "latest"


def _identity(type_: str, language: Language) -> str:
    words = IDENTITIES[language]
    if type_ in DATE_KEYED_TYPES:
        return words["date"]
    if type_ in ID_KEYED_TYPES:
        return words["id"]
    keys = {field.name: field.garmin[0] for field in FIELDS} | {"body": "_ingest_id"}
    time = words["measured"] if type_ in MEASURED_TYPES else words["start"]
    return words["and"].join([time, *(_code(keys[name]) for name in KEY_FIELDS.get(type_, ()))])


def thresholds_table(language: Language) -> str:
    """A row for each limit that decides validity, with the columns that depend on it."""
    entries = [metric for metrics in dictionary.TABLES.values() for metric in metrics]
    rows = [
        (
            _code(name),
            str(value),
            " ".join(f"[`{metric.name}`](#{_anchor(metric)})" for metric in entries if name in metric.thresholds),
        )
        for name, value in DEFAULT_THRESHOLDS.as_dict().items()
    ]
    return _table(HEADS["thresholds"][language], rows)


def decisions_table(language: Language) -> str:
    """A row for each decision, which are in English in every language, with the one that replaced it."""
    pages = sorted((Path(__file__).parent / "adr").glob("*.md"))
    return _table(HEADS["decisions"][language], [_decision(page.name, page.read_text("utf-8")) for page in pages])


def _decision(name: str, text: str) -> tuple[str, str]:
    number, title = re.findall(r"^# (\d+)\. (.+)$", text, re.M)[0]
    replaced = re.search(r"^No longer so: (.+)$", text, re.M)
    after = f" ({replaced[1].rstrip('.').replace('](', '](adr/')})" if replaced else ""
    return number, f"[{title}](adr/{name}){after}"


LABELS: dict[Language, dict[str, str]] = {
    "en": {
        "unit": "Unit",
        "formula": "Formula",
        "rule": "Rule",
        "range": "Range",
        "inputs": "Inputs",
        "source": "Source",
        "plausible": "plausible",
        "between": "; ",
    },
    "ja": {
        "unit": "単位",
        "formula": "式",
        "rule": "条件",
        "range": "範囲",
        "inputs": "入力",
        "source": "出典",
        "plausible": "通常の範囲は",
        "between": "、",
    },
}
HEADS: dict[str, dict[Language, Sequence[str]]] = {
    "sources": {"en": ("Source", "Work", "Read it"), "ja": ("出典", "文献", "読む")},
    "fields": {
        "en": ("Name in the code", "Key in the line", "Read as", "Data when"),
        "ja": ("コードでの名前", "行のキー", "読み方", "値とみなす範囲"),
    },
    "types": {
        "en": ("Type", "Also arrives as", "Two records of a user are the same when equal in", "Of these counts"),
        "ja": ("種類", "別名", "同じユーザーの 2 件を同じものとみなす条件", "使うレコード"),
    },
    "decisions": {"en": ("Number", "Decision"), "ja": ("番号", "題名（英語）")},
    "thresholds": {"en": ("Threshold", "Value", "Decides"), "ja": ("しきい値", "値", "左右する列")},
}
PRECEDENCE: dict[Language, dict[str, str]] = {
    "en": {
        "sleeps": "the most final, then the latest, then the longest",
        "epochs": "those of one delivery: the longest, then the latest",
        "by field": "the latest value of each field",
        "longest": "the longest, then the latest",
        "latest": "the latest",
    },
    "ja": {
        "sleeps": "確定度の最も高いもの、次に最後に受信したもの、次に最も長いもの",
        "epochs": "1 回の配信に含まれるもの。最も長いもの、次に最後に受信したもの",
        "by field": "項目ごとに最後に受信した値",
        "longest": "最も長いもの、次に最後に受信したもの",
        "latest": "最後に受信したもの",
    },
}
IDENTITIES: dict[Language, dict[str, str]] = {
    "en": {
        "date": "date",
        "id": "`summaryId`, else start time",
        "measured": "measurement time",
        "start": "start time",
        "and": ", ",
    },
    "ja": {
        "date": "日付",
        "id": "`summaryId`、なければ開始時刻",
        "measured": "測定時刻",
        "start": "開始時刻",
        "and": "、",
    },
}

TABLES: dict[str, Callable[[Language], str]] = {
    **{f"metrics: {name}": partial(metrics_catalogue, metrics) for name, metrics in dictionary.TABLES.items()},
    "metrics: revisions": partial(metrics_catalogue, dictionary.REVISIONS),
    "metrics: thresholds": thresholds_table,
    "metrics: sources": sources_table,
    "raw: fields": partial(fields_table, FIELDS),
    "raw: types": types_table,
    "adr: list": decisions_table,
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
