"""Makes the bundle of the weekly job: the script, and an archive of all that Glue 5.1 does not bring.

Belongs here: what goes into it. `make glue-bundle` runs this file:

    python -m infra.glue_bundle

The archive has our two packages, the metrics' SQL made from them, and those of our dependencies that the job needs and
Glue has not, for Glue's own machines: nothing is installed or downloaded when the job starts. The same sources give the
same bytes, so a deployment changes the job only if something changed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from infra.etl import ARCHIVE, SCRIPT
from infra.functions import ROOT
from infra.settings import DeploySettings
from qol_dagster.engines.queries import bundled, bundled_name
from qol_dagster.metrics.profiles import PROFILES

OURS = ("qol_dagster", "qol_ingest")
MISSING_IN_GLUE = ("dagster-pipes", "obstore")
"""Beside them the job needs boto3, PyArrow, PySpark and tenacity, which Glue 5.1 has."""
MACHINE = ("--implementation=cp", "--python-version=3.11", "--platform=manylinux2014_x86_64")
"""Of Glue 5.1, for pip."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)

Fetch = Callable[[Path], None]


def build(out: Path, fetch: Fetch) -> None:
    """Make the bundle in the folder `out`, which is emptied first; `fetch` puts other packages into a folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copyfile(Path(__file__).with_name("glue_script.py"), out / SCRIPT)
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        fetch(tree)
        for package in OURS:
            shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__", "ruff.toml"))
        for profile in PROFILES.values():
            sql = tree / "qol_dagster" / "engines" / bundled_name("pyspark", profile.thresholds)
            sql.write_text(bundled("pyspark", profile.thresholds))
        _pack(tree, out / ARCHIVE)


def downloaded(folder: Path) -> None:
    """The packages that Glue has not, unpacked, in the versions of the constraints. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as wheels:
        command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
        where = ["--only-binary=:all:", *MACHINE, f"--constraint={ROOT / 'constraints.txt'}", f"--dest={wheels}"]
        subprocess.run([*command, *where, *MISSING_IN_GLUE], check=True)  # noqa: S603 - our own words
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)


def _pack(tree: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed_files:
        for file in sorted(file for file in tree.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(tree).as_posix(), LONG_AGO)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            packed_files.writestr(entry, file.read_bytes())


if __name__ == "__main__":
    target = ROOT / DeploySettings.glue_bundle
    build(target, downloaded)
    print(*sorted(target.iterdir()), sep="\n")  # noqa: T201 - a program, whose words go to a person
