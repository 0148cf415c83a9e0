"""A QOL_HOME whose Dagster is set up by the very file that lies in the image of the hosted one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from infra.hosting import USER
from qol_dagster.engines.queries import queries
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS
from qol_dagster.settings import Settings
from qol_dagster_tests.support.postgres import PASSWORD, Server, postgres_server

DAGSTER_YAML = Path(__file__).parents[2] / "infra" / "dagster.yaml"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The PostgreSQL of all tests. Not in pytest's folders: root's are closed to others, and it is not root's."""
    with tempfile.TemporaryDirectory(prefix="qol-postgres-") as folder, postgres_server(Path(folder)) as server:
        yield server


@pytest.fixture
def database(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new database, and the variables by which the stack of hosting tells of it."""
    postgres.start()  # a test that took it away may have failed
    name = postgres.database()
    told = {"HOST": "127.0.0.1", "PORT": str(postgres.port), "USER": USER, "PASSWORD": PASSWORD, "DB": name}
    for variable, value in told.items():
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{variable}", value)
    return name


@pytest.fixture
def hosted(settings: Settings, database: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty QOL_HOME with Dagster's configuration on AWS, but for S3: what steps print lies here."""
    config = yaml.safe_load(DAGSTER_YAML.read_text())
    del config["compute_logs"]
    settings.dagster_home.mkdir()
    (settings.dagster_home / "dagster.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    settings.temp_dir.mkdir()
    queries("duckdb", DEFAULT_THRESHOLDS, settings.temp_dir)  # once for all processes that the tests start
    return settings
