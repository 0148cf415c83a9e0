"""Where engines put what does not fit into memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from qol_dagster.engines import work_folder


def test_the_folder_is_there_inside_and_gone_after_even_when_the_run_fails(tmp_path: Path) -> None:
    def fails() -> None:
        with work_folder(tmp_path / "tmp", "duckdb") as folder:
            (folder / "spilled").write_text("rows")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_killed_runs_left_long_ago_is_swept_and_what_may_be_in_use_is_not(tmp_path: Path) -> None:
    for name, age_h in (("duckdb-old", 25), ("spark-new", 1)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "spilled").write_text("rows")
        os.utime(folder, (time.time() - age_h * 3600,) * 2)
    with work_folder(tmp_path, "spark"):
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["spark-new"]
