"""What functional tests share: the engines of a session, a mail server, and a disk that is full."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from qol_dagster.engines import Engine, open_engine
from qol_dagster_tests.support.mail import Inbox, mail_server
from qol_dagster_tests.support.one_lake import PARTS, ComputedLake, Write, compute

ENGINES = ["duckdb", pytest.param("spark", marks=pytest.mark.spark)]


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Each engine, opened once for all modules: Spark takes longer to start than to compute their lakes.

    This Spark lives long enough for Java's second compiler to pay, which all others leave out (conftest.py above).
    """
    with contextlib.ExitStack() as until_the_end:
        with pytest.MonkeyPatch.context() as with_all_compilers:
            with_all_compilers.delenv("SPARK_CONF_DIR")
            opened = open_engine(request.param, memory_mb=1024, temp_dir=tmp_path_factory.mktemp("engine"))
            engine = until_the_end.enter_context(opened)
        yield engine


@pytest.fixture(scope="session")
def computed(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Write], ComputedLake]:
    """Tell the lake in which a module's part is computed: with Spark one for all, with DuckDB one for each."""

    @cache
    def lake_of(writers: tuple[Write, ...]) -> ComputedLake:
        return compute(engine, tmp_path_factory.mktemp("lake"), writers)

    return lambda write: lake_of(tuple(PARTS) if engine.name == "spark" else (write,))


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    """A mail server's inbox and port."""
    with mail_server() as server:
        yield server


@pytest.fixture
def full_disk() -> Iterator[Callable[..., None]]:
    """Let no file grow beyond so many bytes, as on a disk that is full; called without any, as before."""
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size=was[0]: resource.setrlimit(resource.RLIMIT_FSIZE, (size, was[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, was)
