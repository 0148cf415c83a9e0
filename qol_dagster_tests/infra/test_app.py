"""The program that writes the templates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import infra.app
from qol_dagster_tests.support.templates import NEEDED, System

ROOT = Path(__file__).parents[2]


def test_templates_are_made_without_credentials_network_or_node_and_the_command_line_of_cdk_is_heeded(
    tmp_path: Path,
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(NEEDED))
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "PATH": ""}
    from_cdk = {"CDK_OUTDIR": str(tmp_path / "out"), "CDK_CONTEXT_JSON": '{"garmin_client_id": "of-the-command-line"}'}
    done = subprocess.run(
        [sys.executable, "-m", "infra.app", str(settings)],
        cwd=ROOT,
        env={"HOME": os.environ.get("HOME", str(tmp_path)), **nowhere, **from_cdk},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    system = System.read(tmp_path / "out")
    assert set(system.templates) == {"QolData", "QolIngest", "QolEtl", "QolOps"}
    receiver = system.one("AWS::Lambda::Function", FunctionName="garmin_webhook_receiver")
    assert receiver["Environment"]["Variables"]["QOL_GARMIN_CLIENT_ID"] == "of-the-command-line"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ("{", "Expecting property name"),
        ('{"alert_mail": "a@example.org"}', "dagster_url is needed"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, told: str
) -> None:
    file = tmp_path / "settings.json"
    if content is not None:
        file.write_text(content)
    assert infra.app.main([str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{file}: ")
    assert told in line


def test_the_command_line_of_cdk_runs_the_same_program() -> None:
    config = json.loads((ROOT / "infra/cdk.json").read_text())
    assert config["app"] == "cd .. && .venv/bin/python -m infra.app"
    assert os.path.normpath(f"infra/{config['output']}") == "build/cdk.out"
