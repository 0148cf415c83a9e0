"""The bundle of the weekly job: what is in it, and that it stays the same."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import glue_bundle
from infra.etl import ARCHIVE, SCRIPT
from qol_dagster.engines.queries import DAILY_STAGES, WEEKLY_STAGES, bundled
from qol_dagster.metrics.profiles import PROFILES


def nothing(_folder: Path) -> None:
    """Instead of a download."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "build" / "glue"
    glue_bundle.build(folder, nothing)
    return folder


def test_it_is_a_script_of_a_few_lines_and_an_archive_of_our_packages(bundle: Path) -> None:
    assert {file.name for file in bundle.iterdir()} == {"qol-weekly-etl.py", "qol-weekly-etl.zip"}
    assert len((bundle / SCRIPT).read_text().splitlines()) < 30
    names = zipfile.ZipFile(bundle / ARCHIVE).namelist()
    assert {name.partition("/")[0] for name in names} == {"qol_dagster", "qol_ingest"}
    assert "qol_dagster/pipeline/glue_job.py" in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_same_sources_give_the_same_bytes_and_take_the_place_of_what_was_there(bundle: Path) -> None:
    before = (bundle / ARCHIVE).read_bytes()
    (bundle / "old.zip").touch()
    glue_bundle.build(bundle, nothing)
    assert (bundle / ARCHIVE).read_bytes() == before
    assert not (bundle / "old.zip").exists()


NAMES = {*DAILY_STAGES, *WEEKLY_STAGES, "daily_rows", "weekly_rows", "status_rows"}
WITHOUT_IBIS = f"""
import json, sys
sys.modules["ibis"] = sys.modules["sqlglot"] = None
from pathlib import Path
from qol_dagster.engines.queries import queries
from qol_dagster.metrics.profiles import PROFILES
for profile in PROFILES.values():
    found = queries("pyspark", profile.thresholds, Path("/nowhere"))
    assert found.keys() >= {NAMES!r}
    print(json.dumps(found))
"""


def test_its_code_finds_the_sql_of_each_profile_where_ibis_is_not_to_be_had(bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_IBIS],
        env={"PYTHONPATH": str(bundle / ARCHIVE)},
        capture_output=True,
        text=True,
        cwd=bundle,
    )
    wanted = "".join(bundled("pyspark", profile.thresholds) + "\n" for profile in PROFILES.values())
    assert (done.stdout, done.stderr) == (wanted, "")


def test_its_code_needs_no_pydantic_which_glue_may_not_have(bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['pydantic'] = None; import qol_dagster.pipeline.glue_job"],
        env={"PYTHONPATH": str(bundle / ARCHIVE)},
        capture_output=True,
        text=True,
        cwd=bundle,
    )
    assert (done.returncode, done.stderr) == (0, "")
