"""The licensed text of WHOQOL-26 in one language, as a programme stores it: one TOML file.

Belongs here: what such a file holds, a template with placeholders, and every fault of a file at once. The wording is
not ours to give: item numbers and the kinds of scale are facts, their texts are licensed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from qol_ingest.shared.errors import QolInputError
from qol_ingest.shared.languages import LANGUAGES, Language

ITEMS = tuple(range(1, 27))
CHOICES = tuple(range(1, 6))
PAGES: tuple[tuple[int, ...], ...] = (ITEMS[:5], ITEMS[5:10], ITEMS[10:15], ITEMS[15:20], ITEMS[20:])
"""The items of each page, in the order of the form."""
SCALES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "evaluation": (1, 15),
        "satisfaction": (2, *range(16, 26)),
        "intensity": tuple(range(3, 10)),
        "capacity": tuple(range(10, 15)),
        "frequency": (26,),
    }
)
"""The kinds of scale, and the items that are usually answered on each. A file may have others."""
PLACEHOLDER = "placeholder"
"""The version of a text that is no wording."""
_TEXTS = ("version", "title", "instructions")


class QuestionnaireError(QolInputError):
    """A text file that is refused, with every fault."""


@dataclass(frozen=True)
class Item:
    """The wording of an item, and the labels of 1 to 5."""

    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Questionnaire:
    """The wording in one language."""

    language: Language
    version: str
    title: str
    instructions: str
    items: Mapping[int, Item]

    @property
    def is_placeholder(self) -> bool:
        """Whether this is the template as it was written."""
        return self.version == PLACEHOLDER


def file_name(language: Language) -> str:
    """Return what the file of a language is called."""
    return f"whoqol.{language}.toml"


def template(language: Language) -> str:
    """Return a text file in which every text is a placeholder."""
    labels = ", ".join(f'"Label {choice}"' for choice in CHOICES)
    scale_of = {item: scale for scale, items in SCALES.items() for item in items}
    return "\n".join(
        [
            "# WHOQOL-26: put the licensed wording in place of every placeholder. Never publish this file.",
            "# WHOQOL-26：すべての仮の文言を、使用許諾を得た文言に置き換えてください。このファイルは公開できません。",
            f'language = "{language}"',
            f'version = "{PLACEHOLDER}"',
            'title = "Title"',
            'instructions = "Instructions"',
            "",
            "# The labels of 1, 2, 3, 4, 5, in this order. Items with other labels get a scale of their own.",
            "[scales]",
            *(f"{scale} = [{labels}]" for scale in SCALES),
            "",
            "[items]",
            *(f'{item} = {{ text = "Item {item}", scale = "{scale_of[item]}" }}' for item in ITEMS),
            "",
        ]
    )


def read_questionnaire(content: bytes) -> Questionnaire:
    """Return the questionnaire of a text file. Raises QuestionnaireError with every fault."""
    try:
        found = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise QuestionnaireError("it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise QuestionnaireError(f"it is no TOML: {error}") from None
    scales, items = _table(found, "scales"), _table(found, "items")
    if faults := [*_text_faults(found), *_scale_faults(scales), *_item_faults(items, scales)]:
        raise QuestionnaireError("; ".join(faults))
    return Questionnaire(
        found["language"],
        found["version"].strip(),
        found["title"].strip(),
        found["instructions"].strip(),
        {item: _item(items[str(item)], scales) for item in ITEMS},
    )


def _table(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = found.get(name)
    return table if isinstance(table, dict) else {}


def _item(given: Mapping[str, Any], scales: Mapping[str, Any]) -> Item:
    return Item(given["text"].strip(), tuple(label.strip() for label in scales[given["scale"]]))


def _text_faults(found: Mapping[str, Any]) -> Iterator[str]:
    if found.get("language") not in LANGUAGES:
        yield f"language must be one of {', '.join(LANGUAGES)}"
    yield from (f"{name} must be a text" for name in _TEXTS if not _is_text(found.get(name)))


def _scale_faults(scales: Mapping[str, Any]) -> Iterator[str]:
    if not scales:
        yield "there are no [scales]"
    for name, labels in scales.items():
        is_list = isinstance(labels, list) and all(_is_text(label) for label in labels)
        if not is_list or len({label.strip() for label in labels}) != len(CHOICES) or len(labels) != len(CHOICES):
            yield f"scale {name} must have five different labels"


def _item_faults(items: Mapping[str, Any], scales: Mapping[str, Any]) -> Iterator[str]:
    if missing := [str(item) for item in ITEMS if not isinstance(items.get(str(item)), dict)]:
        yield f"missing items: {', '.join(missing)}"
    for item in ITEMS:
        given = items.get(str(item))
        if not isinstance(given, dict):
            continue
        if not _is_text(given.get("text")):
            yield f"the text of item {item} must be a text"
        if not isinstance(given.get("scale"), str) or given["scale"] not in scales:
            yield f"the scale of item {item} must be one of [scales]"
    if unknown := sorted(set(items) - {str(item) for item in ITEMS}):
        yield f"unknown items: {', '.join(unknown)}"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
