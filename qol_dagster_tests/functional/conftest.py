"""What functional tests share: the engines of a session, and a mail server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qol_dagster.engines import Engine, open_engine
from qol_dagster_tests.support.mail import Inbox, mail_server

ENGINES = ["duckdb", pytest.param("spark", marks=pytest.mark.spark)]


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Each engine, opened once for all modules: Spark takes longer to start than to compute their lakes."""
    with open_engine(request.param, memory_mb=1024, temp_dir=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    """A mail server's inbox and port."""
    with mail_server() as server:
        yield server
