"""The emulator as a process: its start on loopback, its address, and its end.

Belongs here: nothing that knows what is deployed. What the emulator holds is gone when it stops.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qol_dagster.errors import QolError
from qol_ingest.shared import aws, http

HOST = "127.0.0.1"
REGION = "ap-northeast-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
"""Anything will do."""
START_S, STOP_S = 60.0, 10.0
TRIES = 5


class EmulatorError(QolError):
    """The emulated AWS cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Emulator:
    """An emulated AWS that runs, with its files in `folder`; `pid` is its process, which leads a group of its own."""

    url: str
    folder: Path
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process to this AWS, and to no other."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "NO_PROXY": HOST}

    def client(self, service: str) -> Any:
        """Return a client of this AWS, whatever the environment says."""
        from boto3.session import Session

        session = Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
        return session.client(service, endpoint_url=self.url, config=aws.patience())


@contextmanager
def emulator(folder: Path, port: int = 0, environment: Mapping[str, str] | None = None) -> Iterator[Emulator]:
    """Run one with its files and its log in `folder`; port 0 takes a free one.

    Besides, it and all it starts see `environment`. At the end it is stopped, with the Lambdas and jobs that it
    started. Raises EmulatorError if it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(1 if port else TRIES):  # somebody else may take a free port first
        chosen = _free(port)
        process = _started(folder, chosen, environment or {})
        try:
            if _answers(process, chosen):
                yield Emulator(f"http://{HOST}:{chosen}", folder, process.pid)
                return
        finally:
            _stop(process)
    raise EmulatorError(f"the emulated AWS did not start; its log is {folder / 'log'}")


def _free(port: int) -> int:
    try:
        with socket.create_server((HOST, port)) as found:
            return int(found.getsockname()[1])
    except OSError:
        raise EmulatorError(f"port {port} is taken; give another, or 0 for a free one") from None


def _started(folder: Path, port: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # The `python3` that jobs and Lambdas run with is this one.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    home = {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder)}
    # Its default is all interfaces, and a second listener for things that nobody here has.
    settings = {"BIND_HOST": HOST, "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0", "LOG_LEVEL": "WARNING"}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            cwd=folder,
            env={**home, **CREDENTIALS, **settings, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl+C is for us, and what it starts can be stopped with it
        )


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        try:
            with http.request("GET", f"http://{HOST}:{port}/_ministack/health", {}, timeout_s=5) as response:
                if response.status == 200:
                    return True
        except http.NoAnswerError:
            time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the process, and then whatever of its group is left."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
