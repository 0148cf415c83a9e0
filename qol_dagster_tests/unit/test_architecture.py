"""The arrows of the architecture, and what may be loaded when.

Nothing here names a file: a module belongs to the package it is in, and is held to that package's arrows.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from qol_ingest.shared import keys

ROOT = Path(__file__).parents[2]
HEAVY = ("dagster", "pyspark", "boto3", "ibis", "duckdb", "pyarrow", "numpy", "pandas", "obstore")
PACKAGES = ("qol_dagster", "qol_ingest", "garmin_sim", "infra", "emulated_aws", "soak")

FLOORS = (
    ("errors", "csv_text", "spreadsheets"),
    ("metrics",),
    ("weeks",),
    ("surveys",),
    ("identities", "engines", "lake"),
    ("settings",),
    ("resources",),
    ("pipeline", "exports", "maintenance"),
    ("report", "explorer"),
    ("erasure",),
    ("defs",),
    ("definitions",),
    ("cli",),
)
"""The rooms of `qol_dagster`: each imports those before it, and none beside it."""

FORBIDDEN = {
    "qol_dagster": ("emulated_aws", "infra", "benchmarks", "soak", "qol_dagster_tests"),
    "qol_dagster/metrics": ("obstore", "duckdb", "pyathena"),
    "qol_dagster/surveys": ("obstore", "duckdb", "ibis", "pyarrow", "scipy", "statsmodels", "pandas"),
    "qol_dagster/lake": ("duckdb", "ibis"),
    "qol_dagster/pipeline": ("duckdb", "ibis"),
    "qol_dagster/explorer": ("duckdb", "ibis", "obstore", "pyathena"),
    "qol_ingest": ("qol_dagster", "garmin_sim", "infra", "duckdb", "ibis", "pyarrow", "typer", "emulated_aws", "soak"),
    "garmin_sim": ("qol_dagster", "qol_ingest", "infra", "boto3", "emulated_aws", "soak"),
    "infra": ("garmin_sim", "boto3", "duckdb", "ibis", "emulated_aws", "soak"),
    "emulated_aws": ("soak", "benchmarks", "qol_dagster_tests"),
    "soak": ("infra", "emulated_aws", "benchmarks", "qol_dagster_tests"),
}
"""What a package may not import, at any depth."""

ONLY_IN = {
    "dagster": ("qol_dagster.defs",),
    "pyspark": ("qol_dagster.engines",),
    "boto3": ("qol_ingest",),
    "garmin_sim": ("qol_dagster.cli", "garmin_sim"),
    "qol_ingest": ("qol_dagster.cli", "qol_dagster.resources", "qol_ingest"),
}
"""Where something may be imported, but for `qol_ingest.shared`, which is there to be shared."""
SHARED = "qol_ingest.shared"


@cache
def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    files = sorted((ROOT / package).rglob("*.py"))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(file: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it; `from package import module` is the module, if it is one."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            known = modules(node.module.partition(".")[0])
            names = [f"{node.module}.{name.name}" for name in node.names]
            inner = [name for name in names if name in known]
            yield from inner
            if len(inner) < len(names):
                yield node.module


def arrows(package: str) -> Iterator[tuple[str, str]]:
    """(module, what it imports) of all modules of a package, at any depth."""
    yield from ((name, target) for name, file in modules(package).items() for target in imports(file))


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def room(module: str) -> str:
    """The part of `qol_dagster` that a module of it belongs to."""
    return [*module.split("."), ""][1]


def test_the_arrows_point_one_way() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    own = [(name, target) for name, target in arrows("qol_dagster") if within(target, "qol_dagster")]
    between = [(name, target) for name, target in own if room(name) != room(target)]
    assert len(between) > 100
    assert [one for one in between if floor[room(one[0])] <= floor[room(one[1])]] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules(package)}
    for name, target in arrows(package):
        if target in graph and not name.startswith(f"{target}."):  # a package's port is below its forms
            graph[name].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("place", FORBIDDEN)
def test_a_package_does_not_import_what_is_none_of_its_business(place: str) -> None:
    found = list(arrows(place))
    assert found
    assert [(name, target) for name, target in found for one in FORBIDDEN[place] if within(target, one)] == []


@pytest.mark.parametrize("target", ONLY_IN)
def test_what_is_for_a_few_is_imported_by_nobody_else(target: str) -> None:
    users = {
        name
        for package in ("qol_dagster", "qol_ingest", "garmin_sim", "infra")
        for name, found in arrows(package)
        if within(found, target) and not within(found, SHARED)
    }
    assert users
    assert [name for name in sorted(users) if not any(within(name, place) for place in ONLY_IN[target])] == []


def test_what_the_receiver_shares_knows_nothing_of_the_rest_of_the_receiver() -> None:
    shared = [(name, target) for name, target in arrows(SHARED.replace(".", "/")) if within(target, "qol_ingest")]
    assert shared
    assert [one for one in shared if not within(one[1], SHARED)] == []


def test_every_module_says_what_it_is_for_and_every_package_what_belongs_in_it() -> None:
    for package in ("qol_dagster", "qol_ingest", "garmin_sim", "soak"):
        for name, file in modules(package).items():
            said = ast.get_docstring(ast.parse(file.read_text())) or ""
            assert said, f"{name} does not say what it is for"
            is_package = file.name == "__init__.py" and name.count(".") == 1
            assert "Belongs here" in said or not is_package, f"{name} does not say what belongs there"


def test_a_zone_of_the_raw_data_is_spelled_in_one_module_alone() -> None:
    zones = {value for value in vars(keys).values() if isinstance(value, str) and re.fullmatch(r"raw/[a-z]+", value)}
    assert len(zones) > 6
    spelled = {
        name
        for package in ("qol_dagster", "qol_ingest")
        for name, file in modules(package).items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and (found := re.match(r"(raw/[a-z]+)(/\S*)?$", str(node.value)))
        if found[1] in zones
    }
    assert spelled == {keys.__name__}


def test_few_modules_stand_at_the_root() -> None:
    assert len(list((ROOT / "qol_dagster").glob("*.py"))) <= 8


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("qol_dagster.cli.app", HEAVY),
        ("qol_ingest.webhook", HEAVY),
        ("qol_dagster.metrics.dictionary", HEAVY),
        ("qol_dagster.pipeline.etl", HEAVY),
        ("qol_dagster.exports.export", HEAVY),
        ("qol_dagster.pipeline.glue_job", HEAVY),
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
    assert (done.stdout.strip(), done.stderr) == ("17", ""), "the number of assets, and what was written to stderr"
    assert list(tmp_path.iterdir()) == []


def test_no_test_module_imports_another_so_that_each_can_be_moved_and_run_alone() -> None:
    tests = {name: file for name, file in modules("qol_dagster_tests").items() if file.match("test_*.py")}
    assert len(tests) > 50
    found = [(name, target) for name, file in tests.items() for target in imports(file)]
    assert [one for one in found if one[1] in tests] == []
