"""`make aws-local` as a person uses it: the system is there until it is interrupted, and then nothing is."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from emulated_aws.deployment import ROOT
from emulated_aws.server import EmulatorError, emulator

pytestmark = pytest.mark.aws

UP = [sys.executable, "-m", "emulated_aws", "up", "--port"]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {"PATH": os.environ["PATH"], "QOL_HOME": str(tmp_path)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*UP, "0"], cwd=ROOT, env=environment, start_new_session=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def variables(file: Path) -> dict[str, str]:
    return dict(shlex.split(line)[0].split("=", 1) for line in file.read_text().splitlines())


def processes_of(port: int) -> list[str]:
    """The emulator of a port, and all it started."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"GATEWAY_PORT={port}".encode() in file.read_bytes().split(b"\0"):
                found.append(file.parent.name)
        except OSError:
            continue  # somebody else's, or over
    return found


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl+C", "kill"])
def test_the_system_takes_pushes_until_it_is_stopped_and_leaves_nothing_behind(
    up: subprocess.Popen[str], end: signal.Signals, tmp_path: Path
) -> None:
    assert up.stdout
    told = "".join(iter(up.stdout.readline, "  .venv/bin/qol doctor\n"))
    file = tmp_path / "aws" / "env"
    assert os.path.relpath(file, ROOT) in told
    assert file.stat().st_mode & 0o077 == 0
    found = variables(file)
    port = urlsplit(found["AWS_ENDPOINT_URL"]).port or 0
    command = [str(Path(sys.executable).with_name("qol")), "doctor", "--webhook", found["WEBHOOK_URL"]]
    doctor = subprocess.run(command, env={**found, "PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert (doctor.returncode, doctor.stderr) == (0, "")
    assert "the test push is in raw/daily/" in doctor.stdout
    assert len(processes_of(port)) > 1
    os.killpg(up.pid, end)  # as a terminal does it, which tells all that were started in it
    assert up.wait(20) == (0 if end is signal.SIGINT else 143)
    assert up.stderr
    started, *rest = up.stderr.read().splitlines()
    assert started.startswith("an AWS of this machine's own, http://127.0.0.1:")
    assert rest == (["stopped"] if end is signal.SIGINT else [])
    assert list((tmp_path / "aws").iterdir()) == []
    assert processes_of(port) == []


def test_a_port_that_is_taken_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmulatorError, match=f"port {port} is taken; give another"), emulator(tmp_path, port):
            pass
