"""The browser's watch notices what it is there for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qol_dagster_tests.support.browser import axe_findings, overflow_px, quiet_page, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGE = "<!doctype html><html lang=en><title>A page</title><main><h1>A page</h1>{}</main>"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "good.html").write_text(PAGE.format("<p>Good</p>"))
    (tmp_path / "loads.html").write_text(PAGE.format("<img alt='' src='https://example.org/a.png'>"))
    (tmp_path / "logs.html").write_text(PAGE.format("<script>console.error('went wrong')</script>"))
    (tmp_path / "throws.html").write_text(PAGE.format("<script>throw new Error('went wrong')</script>"))
    (tmp_path / "wide.html").write_text(PAGE.format("<p style='width: 500px'>Wide</p><img src='data:,'>"))
    return tmp_path


def test_a_page_that_loads_from_loopback_or_a_file_and_logs_nothing_passes(chromium: Browser, site: Path) -> None:
    with served(site) as url, quiet_page(chromium) as page:
        page.goto(f"{url}/good.html")
        page.goto((site / "good.html").as_uri())
        assert axe_findings(page) == []
        assert overflow_px(page) == 0


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("loads", "foreign request: https://example.org/a.png"),
        ("logs", "console: went wrong"),
        ("throws", "thrown: .*went wrong"),
        ("gone", "console: .*404"),
    ],
)
def test_a_page_that_asks_elsewhere_or_goes_wrong_fails(chromium: Browser, site: Path, name: str, problem: str) -> None:
    with served(site) as url, pytest.raises(AssertionError, match=problem), quiet_page(chromium) as page:
        page.goto(f"{url}/{name}.html")


def test_what_is_too_wide_and_what_has_no_text_is_found(chromium: Browser, site: Path) -> None:
    with quiet_page(chromium, width=360) as page:
        page.goto((site / "wide.html").as_uri())
        assert overflow_px(page) > 100
        assert [finding.split(":")[0] for finding in axe_findings(page)] == ["critical image-alt"]
