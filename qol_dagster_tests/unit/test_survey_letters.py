"""Letters with a personal link: what they say, and that the QR code is the link."""

from __future__ import annotations

import io
import re
from datetime import date
from html.parser import HTMLParser

import pytest
import vl_convert
import zxingcpp
from PIL import Image

from qol_dagster.surveys.letters import TEXTS, Letter, qr_code, render_letters
from qol_ingest.shared.languages import LANGUAGES, Language

NAMES: dict[Language, str] = {"ja": "健康プログラム", "en": "Health <Programme>"}
LINKS = [
    "https://qol.example.org/survey?code=HKF2-92GT-VNNK-PX4M",
    "https://abcdefghij.execute-api.ap-northeast-1.amazonaws.com/survey?code=2222-ZZZZ-9999-HHHH",
]


def scanned(svg: str, width_px: int) -> list[str]:
    """Draw a picture so wide, and read its codes: neither with the library that made them."""
    whole = svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    side = float(re.findall(r'viewBox="0 0 (\d+)', svg)[0])
    picture = Image.open(io.BytesIO(vl_convert.svg_to_png(whole, scale=width_px / side)))
    return [one.text for one in zxingcpp.read_barcodes(picture.convert("L"))]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("width_px", [200, 1200])
def test_a_scanner_reads_the_link(link: str, width_px: int) -> None:
    assert scanned(qr_code(link), width_px) == [link]


def test_a_scanner_reads_the_link_under_a_stain() -> None:
    svg = qr_code(LINKS[0])
    side = int(re.findall(r'viewBox="0 0 (\d+)', svg)[0])
    stain = f'<rect x="{0.4 * side}" y="{0.4 * side}" width="{0.18 * side}" height="{0.18 * side}" fill="#844"/></svg>'
    assert scanned(svg.replace("</svg>", stain), 600) == LINKS[:1]


class _Outside(HTMLParser):
    """Collects whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href") or tag in ("script", "link")]


def test_a_letter_says_the_same_in_both_languages_and_asks_no_other_server() -> None:
    letters = [Letter(person, link, date(2026, 12, 14)) for person, link in zip(("P1", "P2"), LINKS, strict=True)]
    page = render_letters(letters, NAMES, "03-0000-0000")
    assert page.count("<article>") == 2
    assert page.count("<svg") == 2
    assert "2026年12月14日まで使えます" in page
    assert "until December 14, 2026." in page
    assert "Health &lt;Programme&gt;" in page
    assert page.count("03-0000-0000") == 4
    assert "HKF2-92GT-VNNK-PX4M" in page
    outside = _Outside()
    outside.feed(page)
    assert outside.fetched == []


def test_a_letter_is_in_the_languages_of_the_form_and_names_no_contact_where_there_is_none() -> None:
    page = render_letters([Letter("P1", LINKS[0], date(2026, 12, 14))], {"en": "Programme"})
    assert '<html lang="en">' in page
    assert not re.search("[ぁ-ん]", re.sub("<style>.*?</style>", "", page, flags=re.DOTALL))
    assert "Questions:" not in page


def test_every_text_is_in_both_languages_and_no_link_is_in_a_log() -> None:
    assert TEXTS.keys() == LANGUAGES.keys()
    assert TEXTS["ja"].keys() == TEXTS["en"].keys()
    assert "HKF2" not in repr(Letter("P1", LINKS[0], date(2026, 12, 14)))
