"""A Glue that plays a script: what each run does, and the states it is then seen in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError
from dagster_pipes import decode_param

from qol_dagster.lake.lake import Lake

Act = Callable[[Mapping[str, str]], None]


@dataclass(frozen=True)
class Run:
    """One run. An error among its states is raised when it is looked at; the last state stays."""

    states: Sequence[str | BaseException] = ("SUCCEEDED",)
    act: Act = lambda _arguments: None


@dataclass
class ScriptedGlue:
    """Glue's client, as far as `GlueJob` uses it. A start beyond the script, or one given as an error, is refused."""

    script: Sequence[Run | BaseException]
    started: list[dict[str, str]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    looks: int = 0
    stop_errors: Sequence[Mapping[str, Any]] = ()
    meta: Any = field(default_factory=lambda: SimpleNamespace(region_name="ap-northeast-1"))

    def start_job_run(self, *, JobName: str, Arguments: dict[str, str]) -> dict[str, str]:  # noqa: N803
        turn = self.script[len(self.started)]
        self.started.append(Arguments)
        self.looks = 0
        if isinstance(turn, BaseException):
            raise turn
        turn.act(Arguments)
        return {"JobRunId": f"jr_{len(self.started)}"}

    def get_job_run(self, *, JobName: str, RunId: str) -> dict[str, Any]:  # noqa: N803
        turn = self.script[int(RunId.removeprefix("jr_")) - 1]
        assert isinstance(turn, Run)
        state = turn.states[min(self.looks, len(turn.states) - 1)]
        self.looks += 1
        if isinstance(state, BaseException):
            raise state
        told = {"ExecutionTime": 61, "MaxCapacity": 2.0, "LogGroupName": "/aws-glue/qol", "ErrorMessage": "Traceback"}
        return {"JobRun": {"Id": RunId, "JobName": JobName, "JobRunState": state, **told}}

    def batch_stop_job_run(self, *, JobName: str, JobRunIds: list[str]) -> dict[str, Any]:  # noqa: N803
        self.stopped += JobRunIds
        return {"SuccessfulSubmissions": [], "Errors": list(self.stop_errors)}


def refusal(code: str) -> ClientError:
    """AWS's answer that it does not do something, with a text that is nobody's business."""
    return ClientError({"Error": {"Code": code, "Message": "what nobody should read"}}, "AnyCall")


def says(lake: Lake, *payloads: Mapping[str, Any]) -> Act:
    """What a script does that opens Pipes, says these and closes it."""

    def act(arguments: Mapping[str, str]) -> None:
        place = decode_param(arguments["--dagster-pipes-messages"])
        messages = [("opened", {"extras": {}}), *(("report_custom_message", {"payload": one}) for one in payloads)]
        lines = [json.dumps(_message(*one)) for one in (*messages, ("closed", None))]
        assert lake.root == f"s3://{place['bucket']}"
        lake.store.put(f"{place['key_prefix']}/1.json", "\n".join(lines).encode())

    return act


def _message(method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"__dagster_pipes_version": "0.1", "method": method, "params": params}
