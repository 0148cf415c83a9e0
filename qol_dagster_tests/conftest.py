"""What all tests share: a QOL_HOME of their own, and nothing of the machine's."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qol_dagster.settings import Settings
from qol_dagster_tests.support.log_privacy import confidential, heard, told

if TYPE_CHECKING:
    from emulated_aws.server import Emulator
    from qol_dagster_tests.support.cloud import Cloud

# What a shell starts in the background ignores Ctrl+C, and so would all that the tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, have one worker run what shares something that takes long to make.

    These are the tests of one Spark session, by the engine in their id, and those of the synthesized templates.
    `xdist_group` would say the same, but pytest 9.2 ignores the name that pytest-xdist 3.8 appends to an id.
    """
    from xdist.scheduler import LoadFileScheduling

    class FilesAndGroups(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            if re.search(r"\[spark[-\]]", test):
                return "spark"
            folder = file.rpartition("/")[0]
            return folder if folder.endswith("/infra") else file

    return FilesAndGroups(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Start two workers a core where there are few: half of what tests do is wait for other processes."""
    cores = os.cpu_count() or 1
    return max(cores, min(2 * cores, 8))


@pytest.fixture(scope="session", autouse=True)
def _java_compiles_in_a_hurry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have Spark's Java leave out its second compiler: a third less time where each plan is run once, on a few rows."""
    folder = tmp_path_factory.mktemp("spark-conf")
    (folder / "spark-defaults.conf").write_text("spark.driver.defaultJavaOptions -XX:TieredStopAtLevel=1\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SPARK_CONF_DIR", str(folder))
        yield


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("QOL_", "DAGSTER_HOME")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_log_line_tells_a_secret_a_token_or_a_garmin_id(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of the whole run: whatever a test does, what is logged meanwhile is looked through at its end."""
    with heard() as lines:
        yield
    given_away = told(lines, confidential(request.module))
    if given_away and not request.node.get_closest_marker("tells_on_purpose"):
        pytest.fail(f"{len(given_away)} log lines give something away, first: {given_away[0][:500]}")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty QOL_HOME, in this process's environment too."""
    home = tmp_path / "home"
    (home / "lake").mkdir(parents=True)
    monkeypatch.setenv("QOL_HOME", str(home))
    return Settings(home=home)


@pytest.fixture(scope="session")
def _emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An AWS on loopback: a process of its own for the run, which is stopped at its end."""
    from emulated_aws.server import emulator

    with emulator(tmp_path_factory.mktemp("aws")) as started:
        yield started


@pytest.fixture
def cloud(_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The emulated AWS, to which all clients made in this test go."""
    from qol_dagster_tests.support.cloud import Cloud, lead_to

    lead_to(_emulator, monkeypatch)
    return Cloud(_emulator.url, _emulator.folder)
