"""`qol dev`: alone on its port and its QOL_HOME, and ended as a whole."""

from __future__ import annotations

import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat  # what Dagster writes of a daemon

from qol_dagster.cli import dev
from qol_dagster.cli.app import run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QOL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(dev, "_command", lambda *_: [sys.executable, "-c", "print('Dagster would run')"])
    return tmp_path / "home"


def test_a_port_that_is_taken_is_an_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments in (["--port", port], ["-p", port], [f"--port={port}"], ["-h", "127.0.0.1", "-p", port]):
            assert run(["dev", "--", *arguments]) == 1
            said = capsys.readouterr()
            assert (said.out, f"port {port} of 127.0.0.1 cannot be used" in said.err) == ("", True)
            assert "choose another: qol dev -- --port 3001" in said.err


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_a_second_one_on_the_same_home_is_an_error(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["dev", "--", "--port", str(free_port())]
    assert run(arguments) == 0
    assert run(arguments) == 0
    with (home / "dagster/.dev.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert run(arguments) == 1
    said = capfd.readouterr()
    assert said.out.count("Dagster would run") == 2
    assert "runs on this QOL_HOME already" in said.err


def test_a_daemon_that_somebody_else_started_is_an_error(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["dev", "--", "--port", str(free_port())]
    assert run(arguments) == 0
    for seconds, code in ((10, 1), (60, 0)):
        with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - seconds, "SENSOR", "one", None))
        assert run(arguments) == code
    said = capfd.readouterr()
    assert said.out.count("Dagster would run") == 2
    assert "a Dagster daemon was at work on" in said.err


STUBBORN = """
import signal, subprocess, sys, time
child = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; time.sleep(60)"
print(subprocess.Popen([sys.executable, "-c", child]).pid, flush=True)
signal.signal(signal.SIGINT, signal.SIG_IGN) if sys.argv[1] == "deaf" else None
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kind", ["deaf", "ends"])
def test_a_signal_ends_everything_that_was_started_also_what_does_not_listen(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: signal.Signals, kind: str
) -> None:
    monkeypatch.setattr(dev, "ENDS_BY_ITSELF_S", 0.5)
    monkeypatch.setattr(dev, "ENDS_WHEN_TOLD_S", 0.5)
    before = signal.getsignal(number)
    main = threading.main_thread().ident
    threading.Timer(1.0, signal.pthread_kill, [main, number]).start()
    assert dev._run([sys.executable, "-c", STUBBORN, kind], dict(os.environ)) == 128 + number
    assert signal.getsignal(number) is before
    child = int(capfd.readouterr().out)
    status = Path(f"/proc/{child}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def of_session(leader: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
def test_dagster_itself_is_gone_with_all_its_processes_after_a_signal(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", "from qol_dagster.cli.app import main; main()", "dev", "--", "--port", str(port)]
    environment = {**os.environ, "QOL_HOME": str(tmp_path / "home")}
    log = tmp_path / "log"
    with log.open("w") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as running:
        try:
            until = time.monotonic() + 120
            while not answers(port):
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.2)
            children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
            sessions = [int(child) for child in children]
            assert sum(len(of_session(one)) for one in sessions) >= 4
        finally:
            running.terminate()
            assert running.wait(60) == 128 + signal.SIGTERM
    assert [one for leader in sessions for one in of_session(leader)] == []


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/server_info")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
