"""What `make aws-local` runs.

Belongs here: options, messages, exit codes, and that everything is stopped at the end.

    python -m emulated_aws up [--port N]   the system on this machine, until Ctrl+C
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emulated_aws.deployment import ROOT, Deployment, deploy, synthesise, synthesised
from emulated_aws.server import emulator

BUNDLE = ROOT / "build" / "glue"
"""What `make glue-bundle` makes."""
PORT = 4566
"""Where tools look for an emulated AWS."""
NEXT = """\
an AWS of this machine's own is at {url}; stop it with Ctrl+C, and what it holds is gone

In another terminal:

  set -a; . {file}; set +a
  .venv/bin/qol doctor
  .venv/bin/qol doctor --webhook "$WEBHOOK_URL"
  .venv/bin/qol simulate --to "$WEBHOOK_URL" --enrol --participants 5 --weeks 2
  .venv/bin/qol participants list
"""


def main() -> int:
    """Do it; 1 and a line on what went wrong if it cannot be done."""
    options = argparse.ArgumentParser(prog="python -m emulated_aws", description="An AWS on this machine.")
    commands = options.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="the system on this machine, until Ctrl+C")
    up.add_argument("--port", type=int, default=PORT, help=f"by default {PORT}; 0 takes a free one")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    home = Path(os.environ.get("QOL_HOME", ".qol")).absolute() / "aws"
    try:
        return _up(home, given.port)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if not type(error).__module__.startswith(("emulated_aws", "qol_", "garmin_sim")):
            raise
        _note(f"emulated AWS: {error}")
        return 1


def _up(home: Path, port: int) -> int:
    with _deployed(home, port) as (deployment, folder), _variables(deployment, folder, home / "env") as file:
        print(NEXT.format(url=deployment.emulator.url, file=os.path.relpath(file)), flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
    _note("stopped")
    return 0


@contextmanager
def _variables(deployment: Deployment, folder: Path, file: Path) -> Iterator[Path]:
    """A file of what leads a shell to the deployment, as long as that is there."""
    told = {**_environment(deployment, folder / "home"), "WEBHOOK_URL": deployment.webhook_url}
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(told.items())))
    try:
        yield file
    finally:
        file.unlink()


@contextmanager
def _deployed(home: Path, port: int) -> Iterator[tuple[Deployment, Path]]:
    """The system on an emulator, and a folder that goes with it."""
    begun = time.monotonic()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=home) as temporary:
        folder = Path(temporary)
        writing = synthesise(folder / "templates", BUNDLE)
        try:
            with emulator(folder / "emulator", port) as started:
                synthesised(writing)
                deployment = deploy(started, folder / "templates")
                _note(f"an AWS of this machine's own, {started.url}: deployed in {time.monotonic() - begun:.1f} s")
                yield deployment, folder
        finally:
            writing.kill()
            writing.wait()


def _environment(deployment: Deployment, home: Path) -> dict[str, str]:
    return {**deployment.environment, "QOL_HOME": str(home)}


def _note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
