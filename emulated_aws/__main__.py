"""What `make aws-local` and `make aws-demo` run.

Belongs here: options, messages, exit codes, and that everything is stopped at the end.

    python -m emulated_aws up [--port N]   the system on this machine, until Ctrl+C
    python -m emulated_aws demo            everything once: from a push to the standard query's rows
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from emulated_aws.deployment import ROOT, Deployment, deploy, synthesise, synthesised
from emulated_aws.server import emulator
from qol_dagster.settings import load_settings

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
  .venv/bin/qol dev        # the sensor hears of what came, and the weeks are computed
  .venv/bin/qol query "SELECT * FROM db_qol.weekly_metrics ORDER BY date DESC LIMIT 10;"
"""


def main() -> int:
    """Do it; 1 and a line on what went wrong if it cannot be done."""
    options = argparse.ArgumentParser(prog="python -m emulated_aws", description="An AWS on this machine.")
    commands = options.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="everything once: from a push to the standard query's rows")
    up = commands.add_parser("up", help="the system on this machine, until Ctrl+C")
    up.add_argument("--port", type=int, default=PORT, help=f"by default {PORT}; 0 takes a free one")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    home = Path(os.environ.get("QOL_HOME", ".qol")).absolute() / "aws"
    try:
        return _demo(home) if given.command == "demo" else _up(home, given.port)
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
    """Yield a file of what leads a shell to the deployment, as long as that is there."""
    variables = {**_environment(deployment, folder / "home"), "WEBHOOK_URL": deployment.webhook_url}
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())))
    try:
        yield file
    finally:
        file.unlink()


def _demo(home: Path) -> int:
    with _deployed(home, 0) as (deployment, folder):
        environment = _environment(deployment, folder / "home")
        _enter(environment)
        from emulated_aws.demo import run_demo

        width = shutil.get_terminal_size((120, 24)).columns
        print(run_demo(deployment, load_settings(environment), folder, _note, width), end="", flush=True)
    return 0


@contextmanager
def _deployed(home: Path, port: int) -> Iterator[tuple[Deployment, Path]]:
    """Yield the system on an emulator, and a folder that goes with it."""
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


def _enter(environment: Mapping[str, str]) -> None:
    """From here on, this process knows this deployment and no other AWS."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "QOL_"))]:
        del os.environ[name]
    os.environ.update(environment)


def _note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
