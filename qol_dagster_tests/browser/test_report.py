"""The weekly report as people open it: on a screen and a phone, in the dark, by keyboard, on paper."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qol_dagster.report.facts import MEASURES, Facts, Origin
from qol_dagster.report.page import render_own_page, render_report
from qol_dagster.report.surveys import ASSOCIATED, METHOD, Surveys
from qol_dagster.resources.connections import People, Person
from qol_dagster.surveys.whoqol import DOMAINS
from qol_dagster_tests.support.browser import axe_findings, overflow_px

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

WEEK = date(2026, 11, 16)
WEEKS = tuple(WEEK - timedelta(weeks=back) for back in range(8, -1, -1))
STATES = ("VVVVVVV", "VVSVVNV", "NNNNNNN", "VVVAAAA", "UVVVVVV", "EEEVVVV", "RRRRRRR")
OPTIONS = {"ja": {"locale": "ja-JP"}, "en": {"locale": "en-GB"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of 30 people with every state, reason and flag there is, and one person's own page."""
    folder = tmp_path_factory.mktemp("report")
    facts = _facts()
    for language, page in render_report(facts).items():
        (folder / f"report.{language}.html").write_text(page)
        (folder / f"own.{language}.html").write_text(render_own_page(facts, "P01", language))
    return folder


def _facts(prefix: str = "P") -> Facts:
    status, weekly = [], []
    for number in range(30):
        person, states = f"{prefix}{number:02d}", STATES[number % len(STATES)]
        for place, week in enumerate(WEEKS):
            status.append(_status(person, week, states if week == WEEK else "VVVVVVV", number))
            values = dict.fromkeys(MEASURES, 10.0 + place + number + (50 if week == WEEK and number == 4 else 0))
            received = datetime(2026, 11, 23, tzinfo=UTC)
            weekly.append(
                {"participant_id": person, "date": str(week), "is_valid_week": True, "n_valid_days": 7,
                 "last_received_at": received, **values}
            )  # fmt: skip
    people = People((Person("P06", True, False), Person("P01", True, True, "reconnect")), 3, ("P77",))
    origin = Origin({"lines": 12_345, "records": 12_000}, 0, {"metrics_version": "2.0.0"})
    return Facts(
        WEEK, WEEKS, tuple(status), tuple(weekly), people, origin, datetime(2026, 11, 25, tzinfo=UTC), _surveys(prefix)
    )


def _surveys(prefix: str) -> Surveys:
    """Two waves of ten people, of whom one is overdue, with an estimate for each domain and measure."""
    due = [
        {"participant_id": f"{prefix}{number:02d}", "date": f"2026-11-{4 + 14 * wave:02d}", "wave": wave,
         "opens_on": f"2026-11-{4 + 14 * wave:02d}", "closes_on": "2026-11-30",
         "answered_on": None if (number, wave) == (7, 1) else "2026-11-19"}
        for number in range(10) for wave in (0, 1)
    ]  # fmt: skip
    scores = [
        {"date": "2026-11-19", "wave": wave, **{f"{one}_0_100": 40.0 + number for one in DOMAINS}}
        for number in range(9) for wave in (0, 1)
    ]  # fmt: skip
    found = [
        {"date": "2026-11-19", "domain": domain, "measure": measure, "method": METHOD, "n_persons": 10, "n_forms": 30,
         "estimate": -0.004, "ci_low": -0.31, "ci_high": 0.3, "p_adjusted": 0.985}
        for domain in DOMAINS for measure in ASSOCIATED
    ]  # fmt: skip
    return Surveys(date(2026, 11, 25), tuple(due), tuple(scores), tuple(found))


def _status(person: str, week: date, states: str, number: int) -> dict[str, Any]:
    status = "revoked" if "R" in states else "valid" if states.count("V") > 3 else "too_short"
    return {
        "participant_id": person, "date": str(week), "status": status, "day_states": states,
        "n_valid_days": states.count("V"), "last_worn_date": str(week), "last_night_date": str(week),
        "days_since_last_sync": None if number == 8 else number % 6,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("language", "width", "dark"), [("ja", 1280, False), ("en", 1280, True), ("ja", 360, True), ("en", 360, False)]
)
@pytest.mark.parametrize("name", ["report", "own"])
def test_a_report_fits_its_screen_and_can_be_read_by_everybody(
    open_page: Callable[..., Page], folder: Path, name: str, width: int, dark: bool, language: str
) -> None:
    page = open_page(width=width, dark=dark, **OPTIONS[language])
    page.goto((folder / f"{name}.{language}.html").as_uri())
    assert overflow_px(page) == 0
    assert axe_findings(page) == []


def test_the_longest_id_there_may_be_widens_no_page_and_covers_no_days(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    facts = _facts("A" * 62)
    (tmp_path / "report.ja.html").write_text(render_report(facts)["ja"])
    (tmp_path / "own.ja.html").write_text(render_own_page(facts, f"{'A' * 62}01", "ja"))
    for name in ("report", "own"):
        page = open_page(width=360, locale="ja-JP")
        page.goto((tmp_path / f"{name}.ja.html").as_uri())
        assert overflow_px(page) == 0
        first_day = page.locator(".heat tbody td").first.bounding_box()
        assert first_day is not None
        assert first_day["x"] < 180


@pytest.mark.parametrize("language", OPTIONS)
def test_each_participant_of_the_calendar_is_one_line_high_and_the_latest_day_is_in_sight(
    open_page: Callable[..., Page], folder: Path, language: str
) -> None:
    for width in (360, 1024):
        page = open_page(width=width, **OPTIONS[language])
        page.goto((folder / f"report.{language}.html").as_uri())
        row = page.locator(".heat").first.locator("tbody tr").first
        name, latest = row.locator("th").bounding_box(), row.locator("td").last.bounding_box()
        assert name
        assert latest
        assert name["height"] < 24
        assert name["x"] + name["width"] < latest["x"]
        assert latest["x"] + latest["width"] <= width
    first = row.locator("td").first.bounding_box()
    assert first
    assert first["x"] > name["x"]


@pytest.mark.parametrize("language", OPTIONS)
def test_a_phone_shows_a_participant_the_latest_week_and_what_its_values_are(
    open_page: Callable[..., Page], folder: Path, language: str
) -> None:
    page = open_page(width=360, **OPTIONS[language])
    page.goto((folder / f"own.{language}.html").as_uri())
    row = page.locator(".values tbody tr").first
    name, latest = row.locator("th").bounding_box(), row.locator("td").last.bounding_box()
    assert name
    assert latest
    assert 0 <= name["x"] < latest["x"]
    assert latest["x"] + latest["width"] <= 360


def test_what_a_report_was_computed_with_is_whole_on_a_phone(open_page: Callable[..., Page], folder: Path) -> None:
    page = open_page(width=360, locale="ja-JP")
    page.goto((folder / "report.ja.html").as_uri())
    page.evaluate("document.querySelector('.names tbody th').textContent = 'regularity_night_pairs_28d_'.repeat(2)")
    assert page.locator(".names").evaluate("one => one.scrollWidth <= one.clientWidth")


def test_the_first_screen_names_whom_to_call(open_page: Callable[..., Page], folder: Path) -> None:
    page = open_page(width=1280, height=900, locale="ja-JP")
    page.goto((folder / "report.ja.html").as_uri())
    calls = page.locator("table.calls tbody tr").first
    box = calls.bounding_box()
    assert box
    assert box["y"] < 400
    assert calls.locator("th").inner_text() == "P06"
    assert page.evaluate("document.fonts.check('16px \"Noto Sans CJK JP\"')")


def test_a_report_is_walked_through_by_keyboard(open_page: Callable[..., Page], folder: Path) -> None:
    page = open_page(locale="ja-JP")
    page.goto((folder / "report.ja.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    page.locator("details.more summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("details.more table").is_visible()


def test_the_other_language_is_a_click_away(open_page: Callable[..., Page], folder: Path) -> None:
    page = open_page(locale="ja-JP")
    page.goto((folder / "report.ja.html").as_uri())
    page.get_by_role("link", name="English").click()
    assert page.locator("html").get_attribute("lang") == "en"
    page.get_by_role("link", name="日本語").click()
    assert page.locator("html").get_attribute("lang") == "ja"


def test_a_report_prints_on_a4_in_light_colours(open_page: Callable[..., Page], folder: Path) -> None:
    page = open_page(dark=True, locale="ja-JP")
    page.goto((folder / "report.ja.html").as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pdf = page.pdf(format="A4", prefer_css_page_size=True)
    assert 2 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 12
