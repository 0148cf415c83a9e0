"""The questionnaire as participants answer it: on a phone, by keyboard and by touch, interrupted, in two languages."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zxingcpp
from PIL import Image

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.surveys import read_sendings
from qol_dagster.surveys.letters import Letter, render_letters
from qol_dagster.surveys.responses import latest_responses
from qol_dagster_tests.support.browser import axe_findings, overflow_px
from qol_dagster_tests.support.surveyed import SurveySite, survey_site
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.survey.questionnaire import PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
PHONE = {"width": 360, "height": 740}
SMALLEST_TARGET_PX = 44


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SurveySite]:
    with survey_site(tmp_path_factory.mktemp("survey") / "home") as served:
        yield served


def answers(site: SurveySite, participant: str) -> dict[int, object]:
    stored = read_sendings(Lake.local(site.settings.lake_dir)).sendings
    return dict(next(one.answers for one in latest_responses(stored) if one.participant_id == participant))


def mark_by_keyboard(page: Page, item: int, choice: int) -> None:
    """Tab to an item and choose with the space bar and the arrows."""
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == f"q{item}":
            break
    else:
        pytest.fail(f"item {item} is not reached by Tab")
    page.keyboard.press("Space")
    for _ in range(choice - 1):
        page.keyboard.press("ArrowDown")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_form_filled_in_by_keyboard_and_interrupted_after_each_page_is_whole(
    site: SurveySite, open_page: OpenPage, language: Language
) -> None:
    participant = f"KEYS-{language}"
    link = site.link(participant, language)
    for number, items in enumerate(PAGES, start=1):
        page = open_page(**PHONE, locale=language)
        page.goto(link)
        if number == 1:
            page.locator("main .button").press("Enter")
        assert page.locator("html").get_attribute("lang") == language
        assert page.locator("fieldset").evaluate_all("all => all.map(one => one.id)") == [f"q{item}" for item in items]
        for item in items:
            mark_by_keyboard(page, item, 1 + item % 5)
        with page.expect_navigation():
            page.keyboard.press("Enter")
        page.context.close()
    assert answers(site, participant) == {item: 1 + item % 5 for item in range(1, 27)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_form_filled_in_by_touch_is_whole_and_its_pages_are_accessible(
    site: SurveySite, open_page: OpenPage, language: Language
) -> None:
    participant = f"TOUCH-{language}"
    page = open_page(**PHONE, locale=language)

    def verify() -> None:
        assert axe_findings(page) == []
        assert overflow_px(page) == 0
        assert page.locator("script").count() == 0

    page.goto(site.link(participant, language))
    verify()
    page.locator("main .button").click()
    for items in PAGES:
        page.locator(f"#q{items[0]}").wait_for()
        sizes = page.locator(".choice, .button").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().height)"
        )
        assert min(sizes) >= SMALLEST_TARGET_PX
        for item in items:
            page.locator(f"#q{item}").get_by_text("Label 2").click()
        verify()
        page.locator(".button").first.click()
    page.wait_for_url(f"{site.url}/survey/done**")  # and its end has come
    verify()
    assert answers(site, participant) == dict.fromkeys(range(1, 27), 2)


def test_blanks_are_asked_for_once_and_the_language_changes_on_the_way(site: SurveySite, open_page: OpenPage) -> None:
    page = open_page(**PHONE, locale="ja")
    page.goto(site.link("BLANK", "ja"))
    page.locator("main .button").click()
    page.locator("#q1").get_by_text("Label 5").click()
    page.get_by_role("button", name="English").click()
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("#q1 input:checked").get_attribute("value") == "5"
    page.get_by_role("button", name="Save and go on").click()
    assert page.get_by_role("alert").inner_text().startswith("Not answered yet: question 2, question 3")
    assert axe_findings(page) == []
    page.get_by_role("link", name="question 4").click()
    page.locator("#q4").get_by_text("I would rather not answer").click()
    page.get_by_role("button", name="Save and go on").click()
    page.locator("#q6").wait_for()
    assert answers(site, "BLANK") == {1: 5, 2: None, 3: None, 4: None, 5: None}
    page.get_by_role("button", name="Save and go back").click()
    assert page.locator("#q1 input:checked").get_attribute("value") == "5"


def test_in_the_dark_the_form_and_its_errors_are_dark_and_readable(site: SurveySite, open_page: OpenPage) -> None:
    page = open_page(**PHONE, dark=True)
    page.goto(site.link("DARK", "ja"))
    assert page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor") == "rgb(22, 28, 34)"
    assert axe_findings(page) == []
    page.locator("main .button").click()
    page.locator("#q1").get_by_text("Label 5").click()
    page.locator("main .button").first.click()
    page.get_by_role("alert").wait_for()
    assert axe_findings(page) == []


def test_letters_are_a_sheet_of_a4_each_whose_printed_code_a_scanner_reads(open_page: OpenPage, tmp_path: Path) -> None:
    names: dict[Language, str] = {"ja": "健康プログラム", "en": "Health programme"}
    links = [f"https://abcdefghij.execute-api.ap-northeast-1.amazonaws.com/survey?code={one * 4}" for one in "23"]
    letters = [Letter(f"P{at}", link, date(2026, 12, 14)) for at, link in enumerate(links)]
    file = tmp_path / "letters.html"
    file.write_text(render_letters(letters, names, "Office of the study, 03-0000-0000, qol@example.org"))
    page = open_page(width=794, height=1123)  # A4 at 96 dots an inch, which is coarser than any printer
    page.goto(file.as_uri())
    page.emulate_media(media="print")
    assert overflow_px(page) == 0
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L")
    assert [one.text for one in zxingcpp.read_barcodes(picture)] == links
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4", prefer_css_page_size=True))) == len(letters)
    assert axe_findings(page) == []
