"""The lake: what changes the fingerprint of a date's raw files, and what does not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from qol_dagster.lake.fingerprints import raw_fingerprint
from qol_dagster.lake.lake import Lake
from qol_dagster_tests.support.lakes import MONDAY, record, write_raw


def fingerprint(lake: Path) -> str:
    return raw_fingerprint(Lake.local(lake).raw_objects(MONDAY))


def test_a_lake_copied_with_its_times_has_the_same_raw_files_and_one_written_again_has_others(tmp_path: Path) -> None:
    file = write_raw(tmp_path / "lake", MONDAY, [record("dailies", "u-1", MONDAY)])
    before = fingerprint(tmp_path / "lake")
    shutil.copytree(tmp_path / "lake", tmp_path / "elsewhere" / "lake")
    assert fingerprint(tmp_path / "elsewhere" / "lake") == before
    written = file.stat().st_mtime_ns
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(written + 1000, written + 1000))  # a microsecond later
    assert fingerprint(tmp_path / "lake") != before
