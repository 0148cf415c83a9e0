"""The questionnaire as participants answer it: on a phone, by keyboard and by touch, interrupted, in two languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.surveys import read_sendings
from qol_dagster.resources.survey_pages import invite, read_texts, survey_pages, write_template
from qol_dagster.settings import Settings
from qol_dagster.surveys.responses import latest_responses
from qol_dagster_tests.support.browser import axe_findings, overflow_px
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.survey.questionnaire import PAGES
from qol_ingest.webhook import Receiver

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
PHONE = {"width": 360, "height": 740}
SMALLEST_TARGET_PX = 44


@dataclass(frozen=True)
class Site:
    """The page over a lake of its own, and links to it."""

    settings: Settings
    url: str

    def link(self, participant: str, language: Language) -> str:
        link, _ = invite(self.settings, participant, 0, timedelta(days=1))
        return f"{self.url}/survey?{link.partition('?')[2]}&lang={language}"

    def answers(self, participant: str) -> dict[int, object]:
        stored = read_sendings(Lake.local(self.settings.lake_dir)).sendings
        return dict(next(one.answers for one in latest_responses(stored) if one.participant_id == participant))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = Settings(home=tmp_path_factory.mktemp("survey") / "home")
    for language in LANGUAGES:
        write_template(settings, language)
    with LocalWebhook(Receiver(DirectoryStore(settings.lake_dir), "secret")) as server:
        server.survey = survey_pages(settings, read_texts(settings), "key")
        yield Site(settings, server.base_url)


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
    site: Site, open_page: OpenPage, language: Language
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
    assert site.answers(participant) == {item: 1 + item % 5 for item in range(1, 27)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_form_filled_in_by_touch_is_whole_and_its_pages_are_accessible(
    site: Site, open_page: OpenPage, language: Language
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
        sizes = page.locator(".choice, .button").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().height)"
        )
        assert min(sizes) >= SMALLEST_TARGET_PX
        for item in items:
            page.locator(f"#q{item}").get_by_text("Label 2").click()
        verify()
        page.locator(".button").first.click()
    assert page.url.partition("?")[0] == f"{site.url}/survey/done"
    verify()
    assert site.answers(participant) == dict.fromkeys(range(1, 27), 2)


def test_blanks_are_asked_for_once_and_the_language_changes_on_the_way(site: Site, open_page: OpenPage) -> None:
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
    assert page.locator("#q6").is_visible()
    assert site.answers("BLANK") == {1: 5, 2: None, 3: None, 4: None, 5: None}
    page.get_by_role("button", name="Save and go back").click()
    assert page.locator("#q1 input:checked").get_attribute("value") == "5"
