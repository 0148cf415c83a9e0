"""The templates, made once for a run: as for a whole deployment, and as for an emulated AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import infra.app
from emulated_aws.server import Emulator, emulator
from qol_dagster_tests.support.policies import Role, roles_of
from qol_dagster_tests.support.templates import NEEDED, System

if TYPE_CHECKING:
    from aws_cdk import App


@pytest.fixture(scope="session")
def _emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulated AWS without what other tests have made: stacks give their resources the names of production."""
    with emulator(tmp_path_factory.mktemp("aws")) as started:
        yield started


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make glue-bundle` would have made."""
    folder = tmp_path_factory.mktemp("glue")
    (folder / "qol-weekly-etl.py").write_text("print('the job')\n")
    (folder / "qol-weekly-etl.zip").write_bytes(b"an archive")
    return folder


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> App:
    """The app with all its stacks."""
    example: dict[str, Any] = json.loads(infra.app.EXAMPLE.read_text())
    app = infra.app.build({**example, "glue_bundle": str(bundle)}, tmp_path_factory.mktemp("whole"))
    app.synth()
    return app


@pytest.fixture(scope="session")
def system(app: App) -> System:
    """All templates."""
    return System.read(Path(app.outdir))


@pytest.fixture(scope="session")
def roles(system: System) -> dict[str, Role]:
    """All roles."""
    return roles_of(system)


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> System:
    """The templates for an emulated AWS, which hosts no Dagster."""
    context = {**NEEDED, "emulated": True, "glue_bundle": str(bundle)}
    app = infra.app.build(context, tmp_path_factory.mktemp("emulated"))
    app.synth()
    return System.read(Path(app.outdir))
