"""Draw the Mermaid sources of this folder as SVG into docs/img, offline: `make diagrams`.

Belongs here: how a diagram becomes a picture. A picture names the hash of its source, so that a test notices a source
that changed without it, and only what changed is drawn.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster_tests.support.browser import launched, quiet_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCES = Path(__file__).parent
PICTURES = SOURCES.parent / "img"
MERMAID = SOURCES.parents[1] / ".venv/mermaid/node_modules/mermaid/dist/mermaid.min.js"
CONFIG = {
    "startOnLoad": False,
    "theme": "base",
    "themeCSS": ".edgeLabel rect, .edgeLabel .background { opacity: 1 !important; fill: #eceff1 !important; }",
    "htmlLabels": False,  # text stays SVG text, which every viewer draws
    "flowchart": {
        "htmlLabels": False,
        "curve": "basis",
        "padding": 12,
        "nodeSpacing": 30,
        "rankSpacing": 34,
        "wrappingWidth": 420,
    },
    # Boxes are light with dark text, and lines of a middle grey, to be read on white and on black.
    "themeVariables": {
        "fontFamily": "system-ui, sans-serif",
        "fontSize": "15px",
        "primaryColor": "#d9e8fb",
        "primaryBorderColor": "#4f7fb8",
        "primaryTextColor": "#1d2b2a",
        "lineColor": "#80868b",
        "edgeLabelBackground": "#eceff1",
        "clusterBkg": "#f3f5f6",
        "clusterBorder": "#80868b",
        "titleColor": "#1d2b2a",
    },
}
"""What Mermaid is told; the colours of a kind of box are in the source itself."""


def digest(source: Path) -> str:
    """The hash by which a picture names its source."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def picture_of(source: Path) -> Path:
    """Where the picture of a source is stored."""
    return PICTURES / f"{source.stem}.svg"


def is_drawn(source: Path) -> bool:
    """Whether there is a picture of this source, as it is now."""
    picture = picture_of(source)
    return picture.exists() and digest(source) in picture.read_text()


def draw(source: Path, page: Page) -> None:
    """Draw one source, with its first comment as the picture's title."""
    text = source.read_text()
    title = text.splitlines()[0].removeprefix("%% ")
    svg: str = page.evaluate(
        """async ([id, text, config, title, source]) => {
            mermaid.initialize(config);
            const parsed = new DOMParser().parseFromString((await mermaid.render(id, text)).svg, "image/svg+xml");
            const root = parsed.documentElement, box = root.getAttribute("viewBox").split(" ");
            root.setAttribute("width", Math.ceil(box[2]));
            root.setAttribute("height", Math.ceil(box[3]));
            root.setAttribute("role", "img");
            root.removeAttribute("style");
            root.prepend(parsed.createComment(` source: ${source} `));
            const name = parsed.createElementNS("http://www.w3.org/2000/svg", "title");
            name.textContent = title;
            root.prepend(name);
            return new XMLSerializer().serializeToString(root);
        }""",
        [f"m-{source.stem.replace('.', '-')}", text, CONFIG, title, digest(source)],
    )
    picture_of(source).write_text(svg + "\n")


def main() -> None:
    """Draw what is not drawn yet."""
    todo = [source for source in sorted(SOURCES.glob("*.mmd")) if not is_drawn(source)]
    with launched() as browser, quiet_page(browser) as page:
        page.set_content("<!doctype html><html><body></body></html>")
        page.add_script_tag(path=MERMAID)
        for source in todo:
            draw(source, page)
            print(picture_of(source).relative_to(SOURCES.parents[1]))  # noqa: T201 - what `make diagrams` says


if __name__ == "__main__":
    main()
