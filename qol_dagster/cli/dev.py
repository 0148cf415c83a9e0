"""`qol dev`: Dagster's UI and daemon on one QOL_HOME, once, and ended as a whole.

Belongs here: what has to be free before it starts, and the end of every process that it started.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from qol_dagster.errors import QolError
from qol_dagster.settings import Settings

PORT = "3000"
ENDS_BY_ITSELF_S, ENDS_WHEN_TOLD_S = 30.0, 5.0
"""How long Dagster may take to end its processes, and they after that."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DevError(QolError):
    """Something else is where `qol dev` has to be."""


class _Stopped(Exception):  # noqa: N818 - no error
    """A signal came."""


def run_dev(settings: Settings, arguments: Sequence[str]) -> int:
    """Run `dagster dev` with these further arguments until it ends or a signal comes; return the exit code.

    Raises DevError if its port is taken, or if another daemon works on this QOL_HOME.
    """
    from qol_dagster.defs.dagster_home import forget_daemon, prepare_dagster_home, require_no_daemon

    home = prepare_dagster_home(settings)
    host, port = _option(arguments, "--host", "-h", "127.0.0.1"), _option(arguments, "--port", "-p", PORT)
    _require_free(host, port)
    with _alone(Path(home)):
        require_no_daemon(home)
        code = _run(_command(home, port, arguments), {**os.environ, "DAGSTER_HOME": home})
        forget_daemon(home)
    return code


def _command(home: str, port: str, arguments: Sequence[str]) -> list[str]:
    quiet = "ignore:Function `dev_command` is superseded"  # `dg dev` is the same, with its development tools
    program = [sys.executable, "-W", quiet, "-m", "dagster", "dev", "-w", f"{home}/workspace.yaml"]
    return [*program, *arguments, "--port", port]  # without one, Dagster takes any that is free


def _option(arguments: Sequence[str], long: str, short: str, default: str) -> str:
    found = default
    for at, argument in enumerate(arguments):
        if argument in (long, short) and at + 1 < len(arguments):
            found = arguments[at + 1]
        elif argument.startswith(f"{long}="):
            found = argument.partition("=")[2]
    return found


def _require_free(host: str, port: str) -> None:
    try:
        socket.create_server((host, int(port))).close()
    except (OSError, ValueError, OverflowError) as error:
        raise DevError(
            f"port {port} of {host} cannot be used ({getattr(error, 'strerror', None) or 'it is no port'})",
            advice="Stop what listens there, or choose another: qol dev -- --port 3001",
        ) from None


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold a lock that goes with this process. Raises DevError if another one holds it."""
    with (home / ".dev.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DevError("`qol dev` runs on this QOL_HOME already", advice="Use that one, or stop it") from None
        yield


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a program in a group of its own; at its end, or after a signal, nothing of the group is left."""
    before = {number: signal.signal(number, _stop) for number in SIGNALS}
    program: subprocess.Popen[bytes] | None = None
    try:
        program = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603 - our own
        return program.wait()
    except _Stopped as stopped:
        return 128 + int(stopped.args[0])
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # the end is not ended
        if program:
            _end(program)
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise _Stopped(number)


def _end(program: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        if program.poll() is None:
            program.send_signal(signal.SIGINT)
            program.wait(ENDS_BY_ITSELF_S)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, number)
        if _is_gone(program, ENDS_WHEN_TOLD_S):
            return


def _is_gone(program: subprocess.Popen[bytes], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        program.poll()
        try:
            os.killpg(program.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
