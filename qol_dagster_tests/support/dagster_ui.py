"""Dagster's own pages on a QOL_HOME, served by the project's web server on loopback.

Belongs here: starting the server, and its end. Which pages are opened is for the tests.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._daemon.types import DaemonHeartbeat  # what Dagster writes of a daemon

from qol_dagster.settings import Settings

STARTS_WITHIN_S = 90.0
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def dagster_ui(settings: Settings) -> Iterator[str]:
    """Serve Dagster's pages on a free port; yield their address, without a slash at its end.

    The server is ended as Ctrl+C ends it, and its code location with it. Raise RuntimeError with its log if it does
    not start.
    """
    home, port, log = settings.dagster_home.absolute(), free_port(), settings.home / "ui.log"
    command = [sys.executable, "-m", "qol_dagster.defs.webserver", "-w", str(home / "workspace.yaml")]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    paths = {"QOL_HOME": str(settings.home.absolute()), "DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT)}
    with (
        log.open("w") as out,
        subprocess.Popen(command, env={**os.environ, **paths}, stdout=out, stderr=out) as running,
    ):
        try:
            _wait_for(running, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                running.kill()


def pretend_daemon(settings: Settings) -> None:
    """Have Dagster's pages find a daemon of backfills. A real one would compute while they are looked at."""
    with dg.DagsterInstance.from_config(str(settings.dagster_home.absolute())) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "BACKFILL", "pictures", None))


def _wait_for(running: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN_S
    while not _answers(port):
        if running.poll() is not None or time.monotonic() > until:
            raise RuntimeError(log.read_text())
        time.sleep(0.1)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/server_info")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
