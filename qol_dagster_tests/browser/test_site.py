"""The documentation as its readers meet it: built, served on loopback, opened in a real Chromium."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qol_dagster_tests.support.browser import axe_findings, overflow_px, served

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
PAGES = ("guide/staff", "reference/metrics", "backend_standard_spec")
"""A page of each kind: for people, made from the code, and with wide tables and a diagram."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of both languages' site, built as `make docs` does. A warning of MkDocs is an error."""
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    for config, place in (("mkdocs.yml", folder), ("mkdocs.ja.yml", folder / "ja")):
        built = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", place],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert built.returncode == 0, built.stderr
    with served(folder) as url:
        yield url


def search(page: Page, words: str) -> list[str]:
    """The addresses of what is found for words that are typed into the search."""
    page.get_by_role("textbox").first.click()
    page.keyboard.type(words, delay=20)
    page.keyboard.press("End")  # Japanese is put in without a key, and the search starts with one
    links = page.locator("a.md-search-result__link")
    links.first.wait_for()
    return [str(link.get_attribute("href")) for link in links.all()]


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("装着時間", "reference/metrics.html#daily-wear_min"),
        ("心拍", "reference/metrics.html#daily-resting_hr_bpm"),
        ("参加者", "guide/leaflet.html"),
        ("過去データの取得", "guide/garmin.html#old-data"),
        ("resting_hr_bpm", "reference/metrics.html#daily-resting_hr_bpm"),
    ],
)
def test_a_search_in_japanese_finds_pages_and_single_metrics(
    site: str, open_page: Callable[..., Page], words: str, place: str
) -> None:
    page = open_page(locale="ja")
    page.goto(f"{site}/ja/index.html")
    assert f"{site}/ja/{place}" in search(page, words)


@pytest.mark.parametrize(
    ("words", "place"),
    [("resting heart", "reference/metrics.html#daily-resting_hr_bpm"), ("leaflet", "guide/leaflet.html")],
)
def test_a_search_in_english_finds_pages_and_single_metrics(
    site: str, open_page: Callable[..., Page], words: str, place: str
) -> None:
    page = open_page()
    page.goto(f"{site}/index.html")
    assert f"{site}/{place}" in search(page, words)


@pytest.mark.parametrize("name", ["index", "guide/staff", "adr/0001-decisions-are-kept-here"])
def test_the_switch_of_languages_stays_on_the_page(site: str, open_page: Callable[..., Page], name: str) -> None:
    page = open_page()
    page.goto(f"{site}/{name}.html")
    for language, folder in (("日本語", "/ja"), ("English", "")):
        page.get_by_role("button", name=re.compile("language|言語")).hover()
        page.get_by_role("link", name=language).click()
        page.wait_for_url(f"{site}{folder}/{name}.html")
        assert page.locator("html").get_attribute("lang") == ("ja" if folder else "en")


@pytest.mark.parametrize("folder", ["", "ja/"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone(site: str, open_page: Callable[..., Page], folder: str, name: str) -> None:
    page = open_page(width=360, height=740)
    page.goto(f"{site}/{folder}{name}.html")
    page.locator("h1").wait_for()
    assert overflow_px(page) == 0


@pytest.mark.parametrize(
    ("name", "folder", "dark"),
    [
        ("guide/staff", "", False),
        ("guide/staff", "ja/", True),
        ("guide/real-data", "", True),
        ("guide/real-data", "ja/", False),
        ("backend_standard_spec", "ja/", True),
        ("reference/metrics", "ja/", False),
    ],
)
def test_a_page_has_no_barriers_in_either_scheme(
    site: str, open_page: Callable[..., Page], folder: str, name: str, dark: bool
) -> None:
    page = open_page(dark=dark)
    page.goto(f"{site}/{folder}{name}.html")
    page.locator(f"body[data-md-color-scheme={'slate' if dark else 'default'}]").wait_for()
    assert axe_findings(page) == []


@pytest.mark.parametrize("folder", ["", "ja/"])
def test_the_leaflet_is_one_sheet_of_a4(site: str, open_page: Callable[..., Page], folder: str) -> None:
    page = open_page()
    page.goto(f"{site}/{folder}guide/leaflet.html")
    pdf = page.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "15mm"))
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
