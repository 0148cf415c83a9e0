"""Each Lambda against the handler that it runs: its code, its environment, its time."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from infra import names
from qol_dagster_tests.support.templates import System, arn
from qol_ingest import kick, webhook
from qol_ingest.consent import oauth
from qol_ingest.pulling import puller
from qol_ingest.shared import aws
from qol_ingest.survey import on_aws, texts

SETTINGS_OF_HANDLERS = {
    "garmin_webhook_receiver": webhook._receiver_of_environment,
    "qol-oauth": oauth._enrolments_of_environment,
    "qol-survey": on_aws._function_of_environment,
    "qol-puller": puller._puller_of_environment,
    "qol-weekly-survey-kick": kick._kick_of_environment,
    "qol-spill-drain": lambda: (os.environ["QOL_SPILL_QUEUE_URL"], webhook._store_of_environment()),
}
"""What reads the environment of each Lambda."""
NOT_ON_AWS = {"QOL_RAW_DIR", "QOL_HOME", "QOL_WEBHOOK_SECRET", "QOL_GARMIN_CLIENT_SECRET"}
ONLY_IF_SET = {"QOL_GARMIN_URL"}


class Recorded(dict[str, str]):
    """An environment that remembers which variables of ours it was asked for."""

    def __init__(self, content: dict[str, str]) -> None:
        super().__init__(content)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked |= {name} if name.startswith("QOL_") else set()
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return super().__getitem__(name)


class Secrets:
    """A Secrets Manager that has every secret."""

    def get_secret_value(self, **_asked: str) -> dict[str, str]:
        return {"SecretString": "s3cret-s3cret-s3cret"}


@pytest.fixture
def _as_on_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(aws, "client", lambda _service: Secrets())
    monkeypatch.setattr("qol_ingest.garmin.tokens_aws._secrets_manager", Secrets)
    readers = [reader for reader in SETTINGS_OF_HANDLERS.values() if hasattr(reader, "cache_clear")]
    for reader in readers:
        reader.cache_clear()
    yield
    for reader in readers:
        reader.cache_clear()
    logging.getLogger("qol_ingest").setLevel(logging.NOTSET)


def environment(system: System, function: str) -> dict[str, str]:
    return dict(system.one("AWS::Lambda::Function", FunctionName=function)["Environment"]["Variables"])


@pytest.mark.usefixtures("_as_on_aws")
@pytest.mark.parametrize("function", SETTINGS_OF_HANDLERS)
def test_a_lambda_is_told_exactly_what_its_handler_asks_for(
    system: System, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    given = Recorded(environment(system, function))
    monkeypatch.setattr(os, "environ", given)
    assert SETTINGS_OF_HANDLERS[function]()
    assert given.keys() == given.asked - NOT_ON_AWS - ONLY_IF_SET


def test_the_kick_is_led_to_dagster_to_the_job_and_to_the_people(system: System) -> None:
    given = environment(system, "qol-weekly-survey-kick")
    assert given["QOL_DAGSTER_URL"] == "https://dagster.example.org"
    assert given["QOL_GLUE_JOB"] == system.all("AWS::Glue::Job")[0]["Name"]
    assert given["QOL_ALERT_TOPIC_ARN"] == arn("sns", "job_failure_alert")


def test_one_kick_runs_at_a_time(system: System) -> None:
    functions = {
        one["FunctionName"]: one.get("ReservedConcurrentExecutions") for one in system.all("AWS::Lambda::Function")
    }
    assert {name for name, at_once in functions.items() if at_once} == {"qol-weekly-survey-kick"}
    assert functions["qol-weekly-survey-kick"] == 1


def test_the_wording_is_read_where_the_role_may_read_it() -> None:
    assert texts.PREFIX == names.SURVEY_TEXTS


def test_no_lambda_is_told_a_secret(system: System) -> None:
    for function in system.all("AWS::Lambda::Function"):
        told = function["Environment"]["Variables"]
        assert not any(name.endswith(("SECRET", "TOKEN", "PASSWORD")) for name in told)
        assert not any("resolve:" in value for value in told.values())


def code_of(system: System) -> Path:
    """The folder that the Lambdas' asset is made of."""
    (folder,) = (path for path in system.folder.glob("asset.*") if path.is_dir())
    return folder


def test_the_code_is_the_receiver_s_room_and_nothing_else(system: System) -> None:
    folder = code_of(system)
    room = Path(webhook.__file__).parent
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        f"qol_ingest/{path.relative_to(room)}" for path in room.rglob("*.py")
    }


@pytest.mark.parametrize("function", SETTINGS_OF_HANDLERS)
def test_a_handler_loads_with_the_standard_library_alone(system: System, function: str) -> None:
    handler = system.one("AWS::Lambda::Function", FunctionName=function)["Handler"]
    module, _, name = handler.rpartition(".")
    code = (
        f"import sys; sys.path.insert(0, {str(code_of(system))!r}); import {module}; print(callable({module}.{name}))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("True", "")
    assert callable(getattr(importlib.import_module(module), name))


def test_each_lambda_has_the_time_its_handler_counts_on(system: System) -> None:
    timeouts = {one["FunctionName"]: one["Timeout"] for one in system.all("AWS::Lambda::Function")}
    hidden = {one["QueueName"]: one.get("VisibilityTimeout") for one in system.all("AWS::SQS::Queue")}
    limits = webhook.Limits()
    assert (
        max(limits.spill_s[1], limits.id_map_s[1], limits.store_alone_s) + webhook.SECRET_S
        < timeouts["garmin_webhook_receiver"]
        < 30
    )
    assert timeouts["qol-puller"] == puller.CLAIM_S < hidden["qol-pings"]
    assert webhook.DRAIN_S < timeouts["qol-spill-drain"] < hidden["qol-spill"]
    assert timeouts["qol-spill-drain"] < 300, "a drain is over before the next one"
    start_of_a_cold_lambda_s = 20
    assert sum(vars(kick.Limits()).values()) + start_of_a_cold_lambda_s <= timeouts["qol-weekly-survey-kick"]


def test_lambdas_run_on_a_python_that_the_project_supports(system: System) -> None:
    supported = tomllib.loads((Path(webhook.__file__).parents[1] / "pyproject.toml").read_text())
    runtimes = {one["Runtime"].removeprefix("python") for one in system.all("AWS::Lambda::Function")}
    assert runtimes
    assert all(Version(one) in SpecifierSet(supported["project"]["requires-python"]) for one in runtimes)
