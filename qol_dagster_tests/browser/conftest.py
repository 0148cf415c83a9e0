"""Pages as people see them, in a real Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from qol_dagster_tests.support.browser import chromium, open_page

__all__ = ["chromium", "open_page"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
