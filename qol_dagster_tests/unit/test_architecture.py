"""The arrows of the architecture, and what may be loaded when."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("dagster", "pyspark", "boto3", "ibis", "duckdb", "pyarrow", "numpy", "pandas", "obstore")

FORBIDDEN = {
    "qol_ingest": ("qol_dagster", "garmin_sim", "dagster", "pyspark", "duckdb", "ibis", "pyarrow", "typer"),
    "garmin_sim": ("qol_dagster", "qol_ingest", "dagster", "pyspark", "boto3"),
    "qol_dagster/metrics": ("dagster", "boto3", "pyspark", "qol_ingest", "garmin_sim", "obstore", "duckdb"),
    "qol_dagster/engines": ("dagster", "boto3", "qol_ingest", "garmin_sim"),
    "qol_dagster/resources": ("dagster", "pyspark", "garmin_sim"),
    "qol_dagster/etl.py": ("dagster", "boto3", "pyspark", "duckdb", "qol_ingest", "garmin_sim"),
    "qol_dagster/days.py": ("dagster", "boto3", "pyspark", "duckdb", "ibis", "qol_ingest", "garmin_sim"),
    "qol_dagster/glue.py": ("dagster", "boto3", "pyspark", "duckdb", "ibis", "garmin_sim"),
    "infra": ("dagster", "boto3", "pyspark", "duckdb", "ibis", "qol_ingest", "garmin_sim"),
    "qol_dagster/assets": ("pyspark", "boto3", "duckdb", "ibis", "qol_ingest", "garmin_sim"),
}
"""What a room may not import, at any depth of its files."""

INNER = {
    "qol_dagster/metrics": ("qol_dagster.metrics", "qol_dagster.errors"),
    "qol_dagster/engines": ("qol_dagster.engines", "qol_dagster.metrics", "qol_dagster.resources.storage"),
    "infra": (
        *("qol_dagster.metrics", "qol_dagster.profiles", "qol_dagster.settings", "qol_dagster.errors"),
        *("qol_dagster.engines.queries", "qol_dagster.glue"),  # what the weekly job's bundle carries, and calls
    ),
}
"""All that a room may import of its own package."""


def imports(room: str) -> Iterator[tuple[str, str]]:
    """(file, imported module) of all imports of a room."""
    path = ROOT / room
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((str(file.relative_to(ROOT)), name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module == "qol_ingest":
                yield from ((str(file.relative_to(ROOT)), f"qol_ingest.{name.name}") for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield str(file.relative_to(ROOT)), node.module


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("room", FORBIDDEN)
def test_the_arrows_point_one_way(room: str) -> None:
    found = list(imports(room))
    assert found
    exempt = ("pyspark",) if room == "qol_dagster/engines" else ()
    wrong = [(file, name) for file, name in found for one in FORBIDDEN[room] if one not in exempt and within(name, one)]
    own = [
        (file, name)
        for file, name in found
        if room in INNER and within(name, "qol_dagster") and not any(within(name, one) for one in INNER[room])
    ]
    assert wrong + own == []


def test_only_the_spark_engine_imports_pyspark_and_only_the_aws_forms_import_boto3() -> None:
    rooms = ("qol_dagster", "qol_ingest", "garmin_sim")
    users = {one: {file for room in rooms for file, name in imports(room) if within(name, one)} for one in HEAVY}
    assert users["pyspark"] == {"qol_dagster/engines/spark.py"}
    assert users["boto3"] == {
        f"qol_ingest/{name}.py" for name in ("consent/enrolment", "garmin/tokens", "shared/aws", "shared/id_map_dynamo")
    }


def test_only_tests_import_the_emulated_aws() -> None:
    rooms = ("qol_dagster", "qol_ingest", "garmin_sim", "infra")
    assert [one for room in rooms for one in imports(room) if within(one[1], "emulated_aws")] == []


SHARED = "qol_ingest.shared"
"""What the receiver's rooms and the job's have in common: the id map, the queues and the way to AWS."""


def test_of_the_receiver_s_rooms_the_job_sees_what_they_share_and_only_its_resources_do() -> None:
    inside = ("assets", "engines", "metrics", "days.py", "etl.py", "sensors.py", "alerts.py", "checks.py")
    assert [one for room in inside for one in imports(f"qol_dagster/{room}") if within(one[1], "qol_ingest")] == []
    found = {name for _, name in imports("qol_dagster/resources") if within(name, "qol_ingest")}
    assert found
    assert all(within(name, SHARED) for name in found)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("qol_dagster.cli", HEAVY),
        ("qol_ingest.webhook", HEAVY),
        ("qol_dagster.metrics.dictionary", HEAVY),
        ("qol_dagster.etl", HEAVY),
        ("qol_dagster.glue", HEAVY),
        ("qol_dagster.definitions", ("pyspark", "boto3", "ibis", "duckdb", "pandas", "obstore")),
    ],
)
def test_importing_a_module_loads_nothing_heavy_that_it_may_not_use(module: str, unwanted: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}} & set({unwanted!r})))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_the_definitions_load_in_a_fresh_interpreter_without_touching_the_disk(tmp_path: Path) -> None:
    code = "from qol_dagster.definitions import defs; d = defs(); print(len(list(d.resolve_all_asset_specs())))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"QOL_HOME": "home"},
    )
    assert (done.stdout.strip(), done.stderr) == ("10", "")
    assert list(tmp_path.iterdir()) == []
