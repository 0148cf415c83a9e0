"""Take the screenshots of the documentation from the demo's home, into docs/img: `make screenshots`.

Belongs here: which pages are shown, and in what state. They are taken by the machine's Chromium, as WebP.
"""

from __future__ import annotations

import base64
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from qol_dagster.defs.dagster_home import forget_daemon
from qol_dagster.settings import load_settings
from qol_dagster_tests.support.browser import launched, quiet_page
from qol_dagster_tests.support.dagster_ui import dagster_ui, pretend_daemon
from qol_dagster_tests.support.explored import explorer
from qol_dagster_tests.support.surveyed import survey_site
from qol_ingest.shared.languages import LANGUAGES, Language

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURES = Path(__file__).parent / "img"
QUALITY = 80
"""Of WebP, in percent: text stays sharp, and a picture below 150 KB."""
DRAWN_MS = 3000
"""What Dagster's pages take to draw what they have asked for."""


def main() -> None:
    """Take all pictures of the QOL_HOME that `make demo` filled."""
    settings = load_settings()
    week = max(settings.lake_dir.glob("reports/week=*")).name.removeprefix("week=")
    with launched() as browser:
        with TemporaryDirectory() as folder, survey_site(Path(folder)) as site:
            for language in LANGUAGES:
                _take_survey(browser, site.link("P0001", language), language)
        for language in LANGUAGES:
            _take_report(browser, settings.lake_dir / f"reports/week={week}/report.{language}.html", language)
        with explorer(settings) as url:
            for language in LANGUAGES:
                _take_explorer(browser, url, language)
        pretend_daemon(settings)
        with dagster_ui(settings) as url:
            _take_dagster(browser, url, week)
    forget_daemon(str(settings.dagster_home))


def _take_survey(browser: Browser, url: str, language: Language) -> None:
    """Show the first page of the questionnaire on a phone, with the placeholders of the template."""
    with quiet_page(browser, width=360, height=740, locale=language) as page:
        page.goto(f"{url}&page=1")
        page.locator(".choice").nth(3).click()
        _take(page, f"survey.{language}")


def _take_report(browser: Browser, file: Path, language: Language) -> None:
    with quiet_page(browser, width=1100, height=1010, locale=language) as page:
        page.goto(file.absolute().as_uri())
        _take(page, f"report.{language}")


def _take_explorer(browser: Browser, url: str, language: Language) -> None:
    with quiet_page(browser, width=1180, height=1130, locale=language) as page:
        page.goto(f"{url}/?lang={language}")
        _take(page, f"explorer.{language}")


def _take_dagster(browser: Browser, url: str, week: str) -> None:
    with quiet_page(browser, width=1400, height=800) as page:
        page.goto(f"{url}/assets/weekly_report?view=lineage&lineageScope=upstream&lineageDepth=5")
        page.locator("svg").get_by_text("garmin_raw_daily").wait_for()
        _take(page, "dagster-lineage", DRAWN_MS)
        page.goto(f"{url}/assets/weekly_metrics?view=partitions&partition={week}")
        page.get_by_text("dagster/partition_row_count").wait_for()
        _take(page, "dagster-asset", DRAWN_MS)
        page.goto(f"{url}/locations/qol_dagster/jobs/weekly_metrics_job")
        page.get_by_role("button", name="Materialize all").first.click()
        page.get_by_role("button", name="All", exact=True).click()
        _take(page, "dagster-backfill", DRAWN_MS)


def _take(page: Page, name: str, wait_ms: int = 0) -> None:
    """Write what the window shows to `img/NAME.webp`, after `wait_ms`."""
    page.wait_for_timeout(wait_ms)
    session = page.context.new_cdp_session(page)
    taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    (PICTURES / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main()
