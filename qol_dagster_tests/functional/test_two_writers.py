"""Two writers of one lake: the second waits and says for whom, and a killed one holds nobody up."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.lake import lease
from qol_dagster.lake.lake import Lake
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
HOLDS = """
import sys, time
from pathlib import Path
from qol_dagster.lake.lake import Lake
with Lake.local(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(lake: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lake."""
    command = [sys.executable, "-c", HOLDS, str(lake)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("two") / "home", start_date=MONDAY)
    write_raw(settings.lake_dir, MONDAY, [record("dailies", USER, MONDAY, timeOffsetHeartRateSamples=worn(12))])
    IdMap(settings.id_map_path).add(USER, "P1")
    return settings


def test_a_run_beside_another_writer_says_whom_it_waits_for_in_its_log_and_goes_on_when_that_one_is_killed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SAY_AFTER_S", 0.1)
    with holder(settings.lake_dir) as other:
        monkeypatch.setattr(lease.logger, "filters", [lambda _said: other.kill() or True])  # once it was said
        done = materialize_weeks(settings, [MONDAY])
    assert done.weekly_rows == {MONDAY: 1}
    with dagster_instance(settings) as instance:
        said = [entry.user_message for entry in instance.all_logs(done.run_id) if entry.level >= 30]
    (waited,) = [one for one in said if one.startswith("waiting for ")]
    assert f" by process {other.pid} on " in waited
    assert ".lock: held since 20" in waited


def test_who_waits_but_a_moment_says_nothing(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with holder(settings.lake_dir) as other:
        threading.Timer(0.2, other.kill).start()
        with Lake.local(settings.lake_dir).lock():
            pass
    assert caplog.messages == []
