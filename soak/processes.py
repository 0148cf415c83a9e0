"""The processes of a soak: the receiver, commands, Dagster's daemon; started, measured and killed.

Belongs here: starting and ending them, with the environment that they share. When one dies is elsewhere.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from qol_dagster.weeks import dates_of
from soak.garmin import CLIENT_ID, CLIENT_SECRET
from soak.start import FOLDER

ROOT = Path(__file__).parents[1]
SECRET = "secret-of-the-soak-1"
PATIENCE_S = 120.0
"""How long anything is waited for. A soak that hangs fails."""
COMMAND_S = 1800.0
FULL_AT_BYTES = 16 * 1024
"""What a process whose disk is full may still write to a file: nearly nothing."""
_LIBC = ctypes.CDLL(None)
_DROP_FROM_BOUNDING_SET, _DAC_OVERRIDE = 24, 1


class SoakError(Exception):
    """The soak itself cannot go on; the message says where."""


@dataclass(frozen=True)
class Usage:
    """Memory and file handles of a process."""

    memory_mb: float
    handles: int


@dataclass(frozen=True)
class Box:
    """The folder of a soak: a QOL_HOME, the shared clock and switches, and what processes print."""

    folder: Path
    mail_port: int
    receiver_port: int
    garmin_url: str = ""

    @property
    def home(self) -> Path:
        """QOL_HOME."""
        return self.folder / "home"

    @property
    def lake(self) -> Path:
        """The lake."""
        return self.home / "lake"

    @property
    def dagster_home(self) -> Path:
        """Dagster's home."""
        return self.home / "dagster"

    @property
    def url(self) -> str:
        """Where Garmin sends to."""
        return f"http://127.0.0.1:{self.receiver_port}/garmin/{SECRET}"

    def announcements(self) -> int:
        """Return how much that the receiver announced waits to be processed."""
        return len(list((self.home / "arrivals").glob("*-*-*")))

    def dead_letters(self) -> int:
        """Return how many announcements were tried in vain for the last time."""
        folder = self.home / "arrivals/dead"
        return len(list(folder.iterdir())) if folder.exists() else 0

    def environment(self, home: Path | None = None) -> dict[str, str]:
        """Return the variables of a process."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("QOL_", "DAGSTER_"))}
        return {
            **own,
            "PYTHONPATH": f"{Path(__file__).parent / 'child'}{os.pathsep}{ROOT}",
            FOLDER: str(self.folder),
            "QOL_HOME": str(home or self.home),
            "QOL_WEBHOOK_SECRET": SECRET,
            "QOL_GARMIN_CLIENT_ID": CLIENT_ID,
            "QOL_GARMIN_CLIENT_SECRET": CLIENT_SECRET,
            "QOL_GARMIN_URL": self.garmin_url,
            "QOL_SMTP_HOST": "127.0.0.1",
            "QOL_SMTP_PORT": str(self.mail_port),
            "QOL_SMTP_STARTTLS": "false",
            "QOL_MAIL_FROM": "qol@example.org",
            "QOL_MAIL_TO": "staff@example.org",
            "DAGSTER_HOME": str((home or self.home) / "dagster"),
        }

    def start(self, *command: str, log: str = "commands", home: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a program in a group of its own; what it prints is appended to a log."""
        with (self.folder / f"{log}.log").open("ab") as prints:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment(home),
                stdout=prints,
                stderr=prints,
                start_new_session=True,
                preexec_fn=_respect_modes,  # noqa: PLW1509 - one call of libc, made ready before
            )

    def qol(self, *arguments: str, log: str = "commands", home: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a command."""
        return self.start(sys.executable, "-m", "soak.program", *arguments, log=log, home=home)

    def run(self, *arguments: str, home: Path | None = None) -> int:
        """Run a command to its end; return its exit code."""
        command = self.qol(*arguments, home=home)
        try:
            return command.wait(COMMAND_S)
        finally:
            kill_group(command)  # one that hangs, or that nobody waits for any more


def _respect_modes() -> None:
    """Have a folder that may not be written stay so, also for root."""
    _LIBC.prctl(_DROP_FROM_BOUNDING_SET, _DAC_OVERRIDE, 0, 0, 0)


@dataclass
class Receiver:
    """The receiver as a process, on one port, whoever it is at the time."""

    box: Box
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """The process."""
        if self._process is None:
            raise SoakError("the receiver does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self.box.qol("webhook", "serve", "--port", str(self.box.receiver_port), log="receiver")
        until = time.monotonic() + PATIENCE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise SoakError("the receiver does not start: see receiver.log")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process:
            kill_group(self._process)
            self._process = None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.box.receiver_port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


@dataclass
class Daemon:
    """Dagster's daemon as a process, with its code location and its runs."""

    box: Box
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """The process."""
        if self._process is None:
            raise SoakError("the daemon does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it."""
        program = Path(sys.executable).parent / "dagster-daemon"
        workspace = self.box.dagster_home / "workspace.yaml"
        self._process = self.box.start(str(program), "run", "-w", str(workspace), log="daemon")

    def kill(self) -> None:
        """End it and all of its children, runs among them, as a power cut would."""
        if self._process:
            kill_group(self._process)
            self._process = None


def materialize(monday: date) -> tuple[str, ...]:
    """Return the command that computes a week."""
    return "materialize", "--week", dates_of(monday)[0].isoformat()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started, and wait for its end."""
    children = _group(process.pid)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def usage(pid: int) -> Usage:
    """Return what a process uses now."""
    status = _read(Path(f"/proc/{pid}/status")).decode()
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return Usage(kilobytes / 1024, len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """Let a process write next to nothing more to any file, as on a full disk."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_AT_BYTES, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write into any folder below one."""
    folders = [folder, *(one for one in folder.rglob("*") if one.is_dir())]
    modes = {one: one.stat().st_mode for one in folders}
    for one in folders:
        one.chmod(0o500)
    try:
        yield
    finally:
        for one, mode in modes.items():
            one.chmod(mode)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _group(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = _read(stat).rpartition(b")")[2].split()
        if len(fields) > 3 and int(fields[3]) == leader and fields[0] != b"Z":
            found.append(int(stat.parent.name))
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
