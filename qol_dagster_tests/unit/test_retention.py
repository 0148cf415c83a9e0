"""What the pages say of how long data is kept is what the table of retention has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qol_dagster.settings.retention import KINDS, Kind

DOCS = Path(__file__).parents[2] / "docs"
NEVER, DAYS = {"": "never", "ja": "消えない"}, {"": "after {} days", "ja": "{} 日後"}


def rows_by_kind(page: Path) -> dict[str, list[str]]:
    """The cells of the rows that name a kind in their first cell, after that."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.read_text().splitlines() if "|" in line]
    named = [(re.findall(r"`([a-z_]+)`", first), rest) for first, *rest in filter(None, lines)]
    return {name: rest for names, rest in named for name in names if name in KINDS}


@pytest.mark.parametrize("language", ["", "ja"])
def test_the_privacy_page_says_when_each_kind_goes(language: str) -> None:
    def is_true(kind: Kind, cell: str) -> bool:
        return (DAYS[language].format(kind.days) in cell) if kind.days else cell.startswith(NEVER[language])

    rows = rows_by_kind(DOCS / language / "privacy.md")
    assert rows.keys() == KINDS.keys()
    for name, kind in KINDS.items():
        here, on_aws = rows[name]
        if name == "backups":
            assert re.findall(r"\d+", here)[0] == str(kind.days)
            continue
        assert is_true(kind, on_aws), name
        assert is_true(kind, here) or name == "old_versions", name


@pytest.mark.parametrize("language", ["", "ja"])
def test_the_guide_has_the_default_of_each_kind(language: str) -> None:
    rows = rows_by_kind(DOCS / language / "guide/backup.md")
    assert list(rows) == list(KINDS)
    unit = {name: "" if name == "backups" else " days" for name in KINDS}
    assert {name: row[0] for name, row in rows.items()} == {
        name: f"{kind.days}{unit[name]}" if kind.days else "forever" for name, kind in KINDS.items()
    }
