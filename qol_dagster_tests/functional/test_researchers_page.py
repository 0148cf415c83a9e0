"""The page for researchers: its exports are made and its examples run, each by the program it is written for."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.cli.app import run
from qol_dagster.exports import FORMAT_NAMES
from qol_dagster.exports.export import ABSENT, CODEBOOK, CODEBOOK_PAGE
from qol_dagster.exports.folder import CHECKSUMS, MANIFEST
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import TABLES
from qol_dagster.metrics.dictionary.values import REASONS
from qol_dagster.metrics.sample_types import SAMPLE_TYPES
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.tables import rows

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guide/researchers.md").read_text()
WITH_PANDAS = ROOT / ".venv/with-peers/bin/python"
STEPS = [1234.5, 0.1 + 0.2, 5000.0]


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def week(number: int) -> dict[str, Any]:
    counts = {one.name: 0 for one in TABLES["weekly"] if one.name.startswith("n_")}
    worn = {**counts, "n_valid_days": 5, "wear_min_mean": 800.0, "n_nights": 5, "metrics_version": "2.0.0"}
    computed = {"computed_at": datetime(2026, 11, 25, tzinfo=UTC), "steps_mean": STEPS[number]}
    return {"participant_id": f"P{number}", **worn, **computed, **({"hrv_rmssd_mean": 40.0} if number else {})}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every export that the page shows was made."""
    folder = tmp_path_factory.mktemp("page")
    lake = Lake.local(folder / "home" / "lake")
    lake.write_table("weekly", MONDAY, rows("weekly", *map(week, range(3))), {})
    lake.write_table("daily", MONDAY, rows("daily", {"participant_id": "P1", "asleep_by_hour": [7] * 24}), {})
    shown = re.findall(r"^\$ qol (export .*)$", PAGE, re.M)
    assert len(shown) >= 5
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("QOL_HOME", str(folder / "home"))
        patched.chdir(folder)
        assert [run(shlex.split(command)) for command in shown] == [0] * len(shown)
    return folder


def printed(command: Sequence[str | Path], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def reads_the_weeks(text: str) -> bool:
    """Whether the first line has the number of weeks and the mean of their steps, to as many digits as it shows."""
    number, mean = text.split("\n", maxsplit=1)[0].split()
    return (number, round(float(mean), 3)) == ("3", round(sum(STEPS) / 3, 3))


@pytest.mark.slow
@pytest.mark.parametrize("example", examples("python"), ids=lambda text: text.split()[1])
def test_an_example_in_python_runs_where_its_library_is(folder: Path, example: str) -> None:
    python = WITH_PANDAS if "pandas" in example else Path(sys.executable)
    assert python.exists(), "make .venv/peers"
    text = printed([python, "-W", "error", "-c", example], folder)
    assert reads_the_weeks(text)
    assert {"pandas": "device_does_not_measure    1", "polars": "device_does_not_measure ┆ 1"}.get(
        example.split()[1], "6: 'Device does not measure it'"
    ) in text
    assert "pyreadstat" in example or text.endswith("1 24\n")


@pytest.mark.r
def test_the_example_in_r_runs_in_r(folder: Path) -> None:
    (example,) = examples("r")
    text = printed(["Rscript", "--vanilla", "-e", example], folder)
    assert reads_the_weeks(text)
    assert "機器が測定しない" in text
    assert "平均歩数 [n/d]" in text


def test_the_page_names_every_format_file_reason_and_type_of_samples() -> None:
    words = [*FORMAT_NAMES, CODEBOOK, CODEBOOK_PAGE, ABSENT, CHECKSUMS, MANIFEST, *SAMPLE_TYPES]
    words += [one.word for one in REASONS]
    assert [word for word in words if f"`{word}`" not in PAGE and f"`{word} " not in PAGE] == []
