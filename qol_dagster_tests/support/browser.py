"""Pages in a real Chromium: what they log, what they ask for, and what axe finds wrong in them.

Belongs here: what every browser test needs. A conftest imports the fixtures `chromium` and `open_page` from here.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

ROOT = Path(__file__).parents[2]
AXE = ROOT / ".venv/axe/node_modules/axe-core/axe.min.js"
"""The accessibility engine axe-core, which `make .venv/axe` fetches."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page asks for, no name but the machine's own is resolved.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

PATIENCE_MS = 60_000
"""For whatever is waited for: other tests run beside it."""


@contextmanager
def launched() -> Iterator[Browser]:
    """Run the machine's Chromium without a window. Raise FileNotFoundError if there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise FileNotFoundError("browser tests need Chromium: apt-get install chromium fonts-noto-cjk")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def quiet_page(
    browser: Browser, *, width: int = 1280, height: int = 800, dark: bool = False, locale: str = "en"
) -> Iterator[Page]:
    """Open a page of `width` x `height` CSS pixels, and verify at its end what it did.

    Raise AssertionError if it logged an error, threw one, or asked for anything that is neither on loopback nor a file.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", locale=locale
    )
    context.set_default_timeout(PATIENCE_MS)
    problems = _watch(context)
    try:
        yield context.new_page()
    finally:
        context.close()
    assert problems == []


def _watch(context: BrowserContext) -> list[str]:
    """The list to which every error and every foreign request of the context's pages is appended."""
    problems: list[str] = []

    def note_line(line: ConsoleMessage) -> None:
        # The browser asks for an icon of its own accord where a page names none.
        if line.type == "error" and not line.location["url"].endswith("/favicon.ico"):
            problems.append(f"console: {line.text}")

    def note_request(request: Request) -> None:
        if not is_local(request.url):
            problems.append(f"foreign request: {request.url}")

    context.on("console", note_line)
    context.on("weberror", lambda error: problems.append(f"thrown: {error.error}"))
    context.on("request", note_request)
    return problems


def is_local(url: str) -> bool:
    """Whether the address is on this machine: a file, data, or a server on loopback."""
    parts = urlsplit(url)
    return parts.scheme in {"about", "blob", "data", "file"} or parts.hostname in LOOPBACK


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder on a free port of 127.0.0.1; yield the address, without a slash at its end."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


def axe_findings(page: Page, *, tags: tuple[str, ...] = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")) -> list[str]:
    """What axe-core finds against the rules with these tags, one line an element: impact, rule, selector, advice."""
    if not AXE.exists():
        raise FileNotFoundError("axe-core is not there: run make .venv/axe")
    page.evaluate(AXE.read_text() + "; null")
    result = page.evaluate("tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", list(tags))
    return [
        f"{rule['impact']} {rule['id']}: {' '.join(map(str, node['target']))}: {rule['help']}"
        for rule in result["violations"]
        for node in rule["nodes"]
    ]


def overflow_px(page: Page) -> int:
    """By how many CSS pixels the page is wider than its window: 0 if nothing scrolls sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a module."""
    with launched() as browser:
        yield browser


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens a page, with the options of `quiet_page`; every page is verified at the test's end."""
    with ExitStack() as pages:
        yield lambda **options: pages.enter_context(quiet_page(chromium, **options))
