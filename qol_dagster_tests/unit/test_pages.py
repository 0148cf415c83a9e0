"""The pages of enrolment: what a browser is told, in both languages, and what no page may do."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest

from qol_ingest.consent.pages import TEXTS, PageName, Programme, headers, page
from qol_ingest.shared.languages import LANGUAGES, Language

BOTH = [(name, language) for name in TEXTS for language in LANGUAGES]
FORMS = ("enter", "unknown")
VOID = ("meta", "input")
LARGEST_LATIN_SHARE = 0.5
"""Of a Japanese text's letters; names like Garmin Connect stay in Latin."""


class Reader(HTMLParser):
    """Elements, and texts, of a page that must be closed where they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def shown(name: PageName, language: Language, **more: Any) -> str:
    return page(name, language, **{"programme": Programme(), "button_url": "/b", "other_url": "/o", **more})


def style() -> str:
    return re.findall(r"<style>(.*)</style>", shown("start", "en"), re.DOTALL)[0]


def test_every_text_is_there_in_both_languages() -> None:
    assert {frozenset(texts) for texts in TEXTS.values()} == {frozenset(LANGUAGES)}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_has_the_same_parts_in_both_languages(name: PageName) -> None:
    def parts(language: Language) -> list[str]:
        marks = [line.strip().split(" ")[0] for line in TEXTS[name][language].strip().splitlines()]
        return [mark for mark in marks if mark in ("#", "##", "-", "1", "?")]

    buttons = [TEXTS[name][language].count("[") for language in LANGUAGES]
    assert parts("ja") == parts("en")
    assert buttons[0] == buttons[1] <= 1


@pytest.mark.parametrize(("name", "language"), BOTH)
def test_a_page_is_proper_html_in_its_language(name: PageName, language: Language) -> None:
    text = shown(name, language)
    assert text.startswith("<!doctype html>\n")
    read = Reader(text)
    assert read.named("html") == [{"lang": language}]
    assert {"charset": "utf-8"} in read.named("meta")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.named("meta")
    (heading,) = read.texts["h1"]
    assert read.texts["title"] == [f"{heading} | {Programme().names[language]}"]
    assert not [one for tag, texts in read.texts.items() if tag != "style" for one in texts if set("{}") & set(one)]


@pytest.mark.parametrize("name", TEXTS)
def test_japanese_is_japanese_and_english_is_not(name: PageName) -> None:
    japanese, english = TEXTS[name]["ja"], TEXTS[name]["en"]
    letters = [one for one in japanese if one.isalpha()]
    assert sum(one.isascii() for one in letters) / len(letters) < LARGEST_LATIN_SHARE
    assert not re.search(r"[\u3040-\u30ff\u4e00-\u9fff\uff00-\uffef]", english)
    sentences = [line.strip() for line in japanese.splitlines() if line.strip().endswith("。")]
    assert sentences
    assert all(re.search(r"(です|ます|ません|ください|ました|でした|願いします)。$", one) for one in sentences)


@pytest.mark.parametrize(("name", "language"), BOTH)
def test_the_other_language_is_one_link_away(name: PageName, language: Language) -> None:
    other = "en" if language == "ja" else "ja"
    links = Reader(shown(name, language, other_url="/x?a=1&lang=z")).named("a")
    assert {"href": "/x?a=1&lang=z", "lang": other, "hreflang": other} in links


@pytest.mark.parametrize(("name", "language"), BOTH)
def test_a_page_runs_nothing_and_loads_nothing(name: PageName, language: Language) -> None:
    read = Reader(shown(name, language))
    tags = {tag for tag, _ in read.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "svg", "video", "audio"}
    attributes = [attribute for _, attributes in read.elements for attribute in attributes]
    assert not [one for one in attributes if one.startswith("on") or one in ("style", "src", "srcset", "ping")]
    assert not re.search(r"url\(|@import|https?:", style())


def test_the_policy_allows_the_pages_own_style_and_nothing_else() -> None:
    allowed = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    policy = dict(part.strip().split(" ", 1) for part in headers()["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{allowed}'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


def test_a_form_may_lead_to_garmin_by_way_of_a_redirect() -> None:
    assert (
        "form-action 'self' https://connect.garmin.com;"
        in headers("https://connect.garmin.com")["content-security-policy"]
    )


@pytest.mark.parametrize(("name", "language"), BOTH)
def test_a_page_leads_on_by_one_button_or_one_field(name: PageName, language: Language) -> None:
    read = Reader(shown(name, language, button_url="/go?entry=A&lang=x"))
    buttons = [one for one in read.named("a") if one.get("class") == "button"]
    if name in FORMS:
        assert buttons == []
        assert read.named("form") == [{"method": "get", "action": "/go?entry=A&lang=x"}]
        assert {"type": "hidden", "name": "lang", "value": language} in read.named("input")
        (field,) = [one for one in read.named("input") if one["name"] == "entry"]
        assert "required" in field
        assert len(read.named("button")) == len(read.named("label")) == 1
    elif name == "start":
        read = Reader(shown(name, language, button_url="/go", posted={"entry": "A", "token": '"<'}, participant="P<1"))
        assert read.named("form") == [{"method": "post", "action": "/go"}]
        hidden = {str(one["name"]): one["value"] for one in read.named("input") if one["type"] == "hidden"}
        assert hidden == {"entry": "A", "token": '"<'}
        assert len(read.named("button")) == 1
        assert sum("P<1" in text for text in read.texts["p"]) == 2
    else:
        assert buttons == [{"class": "button", "href": "/go?entry=A&lang=x"}] * TEXTS[name][language].count("[")
        assert read.named("form") == []


def test_the_first_page_says_what_is_shared_with_whom_and_that_it_can_be_ended() -> None:
    for language, words in {
        "ja": ("お送りいただく記録", "心拍数", "場所", "受け取ります", "いつでもやめる", "参加者番号"),
        "en": ("What is shared", "heart rate", "where you were", "Who receives it", "end the connection", "number"),
    }.items():
        text = shown("start", language)  # type: ignore[arg-type]
        assert all(word in text for word in words)
        assert text.count(Programme().names[language]) >= 4  # type: ignore[index]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_programme_calls_itself_is_text_and_never_markup(language: Language) -> None:
    odd = "<b>\"&'{x}"
    programme = Programme(dict.fromkeys(LANGUAGES, odd), odd)
    for name in TEXTS:
        text = shown(name, language, programme=programme, button_url=f"/b?{odd}", other_url=f"/o?{odd}")
        read = Reader(text)
        assert "<b>" not in text
        assert odd in "".join(read.texts["title"])
        assert any(odd in one for one in read.texts["p"])
        assert f"/o?{odd}" in [one.get("href") for one in read.named("a")]


@pytest.mark.parametrize(
    ("contact", "words"), [("", "the staff who sent you"), ("03-0000-0000", "Contact: 03-0000-0000")]
)
def test_there_is_always_somebody_to_ask(contact: str, words: str) -> None:
    assert words in shown("used", "en", programme=Programme(contact=contact))


# -- for eyes that are not young


def luminance(colour: str) -> float:
    """As WCAG 2 defines it, of #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def rules(scheme: str) -> Mapping[str, Mapping[str, str]]:
    """The rules of the style, with the colours that their names have by day or in the dark."""
    colours: dict[str, str] = {}
    for root in re.findall(r":root\{([^{}]*)\}", style())[: 1 if scheme == "light" else 2]:
        colours |= dict(one.split(":", 1) for one in root.split(";"))
    css = re.sub(r"var\(([^)]*)\)", lambda name: colours[name[1]], style())
    found = re.findall(r"^([^{}]+)\{([^{}]*)\}", css, re.MULTILINE)
    return {selector: dict(one.split(":", 1) for one in body.split(";")) for selector, body in found}


def test_black_on_white_is_the_greatest_contrast() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_told_from_what_is_behind_it(scheme: str) -> None:
    css = rules(scheme)
    page_colour, text, link = css["html"]["background"], css["html"]["color"], css["a"]["color"]
    white, button = css["main"]["background"], css[".button"]
    pairs = [(text, page_colour), (text, white), (link, page_colour), (link, white)]
    pairs += [(button["color"], button["background"]), (button["color"], css[".button:hover"]["background"])]
    assert all(contrast(*pair) >= 7 for pair in pairs[:2])
    assert all(contrast(*pair) >= 4.5 for pair in pairs)
    assert contrast(css["input"]["border"].split()[-1], white) >= 3
    assert contrast(css[":focus-visible"]["outline"].split()[-1], white) >= 3
    assert (luminance(white) > 0.9) == (scheme == "light")


def test_no_letter_is_small() -> None:
    sizes = re.findall(r"font(?:-size)?:\s*([\d.]+)(rem|px|em|pt|%)", style())
    assert sizes
    assert all(unit == "rem" and float(size) >= 1 for size, unit in sizes)
    assert "user-scalable" not in shown("start", "ja")
    assert "maximum-scale" not in shown("start", "ja")
