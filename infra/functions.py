"""What all Lambdas share: the code, a role and a log group of their own, and no more time than they need.

Belongs here: how a Lambda is made. What it may do, and its input, is in the stack that makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import Duration, IgnoreMode, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infra.access import Statement, allow, explain, role
from infra.names import arn

ROOT = Path(__file__).parents[1]
KEPT = logs.RetentionDays.SIX_MONTHS
"""How long all logs are kept: 180 days."""
ONE_CPU_MB = 1769
"""The memory that comes with one whole processor."""


class QolFunction(Construct):
    """A Lambda that runs a handler of `qol_ingest`; its role is `<name>-role`.

    `timeout_s` is in seconds, `at_once` is how many of it may run at a time.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        handler: str,
        *,
        does: str,
        may: Sequence[Statement],
        environment: Mapping[str, str],
        timeout_s: float,
        memory_mb: int = 256,
        at_once: int | None = None,
    ) -> None:
        super().__init__(scope, name)
        log_group = log_group_of(self, f"/aws/lambda/{name}")
        writes_logs = allow(
            *("logs:CreateLogStream", "logs:PutLogEvents"),
            on=[arn("logs", f"log-group:/aws/lambda/{name}:log-stream:*")],
            because="Lambda names the streams of its own group as it runs",
        )
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=name,
            description=does,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"qol_ingest.{handler}",
            code=code(),
            role=role(self, f"{name}-role", iam.ServicePrincipal("lambda.amazonaws.com"), [writes_logs, *may], does),
            environment=dict(environment),
            timeout=Duration.seconds(timeout_s),
            memory_size=memory_mb,
            reserved_concurrent_executions=at_once,
            log_group=log_group,
        )
        explain(self.function, {"L1": "3.13 is the newest Python that the project says it runs on"})


def code() -> lambda_.Code:
    """`qol_ingest` and nothing else: the standard library, and the boto3 that Lambda brings."""
    mine = ["*", "!qol_ingest/", "!qol_ingest/**/", "!qol_ingest/**/*.py"]
    return lambda_.Code.from_asset(str(ROOT), exclude=mine, ignore_mode=IgnoreMode.GIT)


def log_group_of(scope: Construct, name: str) -> logs.LogGroup:
    """Return a log group that outlives its stack, since it shows what happened before the stack went."""
    return logs.LogGroup(
        scope, "Logs", log_group_name=name, retention=KEPT, removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
    )


def schedule(
    scope: Construct,
    name: str,
    expression: str,
    target_arn: str,
    *,
    call: str = "lambda:InvokeFunction",
    payload: Mapping[str, str] | None = None,
) -> None:
    """Have a target called at certain times (UTC) with this input; the role `<name>-role` may do that and no more."""
    place = Construct(scope, name)
    principal = iam.ServicePrincipal("scheduler.amazonaws.com")
    caller = role(place, f"{name}-role", principal, [allow(call, on=[target_arn])], f"Does {call} at its time")
    scheduler.CfnSchedule(
        place,
        "Schedule",
        name=name,
        schedule_expression=expression,
        schedule_expression_timezone="UTC",
        flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
        target=scheduler.CfnSchedule.TargetProperty(
            arn=target_arn,
            role_arn=caller.role_arn,
            input=json.dumps(payload or {}),
            retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                maximum_event_age_in_seconds=3600, maximum_retry_attempts=10
            ),
        ),
    )
