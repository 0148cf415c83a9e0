"""What all tests share: a QOL_HOME of their own, and nothing of the machine's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qol_dagster.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("QOL_", "DAGSTER_HOME")):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty QOL_HOME, in this process's environment too."""
    home = tmp_path / "home"
    (home / "lake").mkdir(parents=True)
    monkeypatch.setenv("QOL_HOME", str(home))
    return Settings(home=home)
