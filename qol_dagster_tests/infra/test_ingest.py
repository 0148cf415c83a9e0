"""The way in: which requests get how far, what is logged of them, and what calls the Lambdas behind the queues."""

from __future__ import annotations

import json

import pytest

from qol_dagster_tests.support.templates import System, arn


def test_only_garmin_s_pushes_the_health_check_enrolment_and_the_questionnaire_have_a_route(system: System) -> None:
    routes = system.all("AWS::ApiGatewayV2::Route")
    assert {one["RouteKey"] for one in routes} == {
        *("POST /garmin/{secret}", "GET /health", "HEAD /health", "GET /oauth/{proxy+}", "POST /oauth/start/go"),
        *("GET /survey", "POST /survey", "GET /survey/done"),
    }


def test_each_route_is_throttled_and_pages_take_nothing_from_pushes(system: System) -> None:
    (stage,) = system.all("AWS::ApiGatewayV2::Stage")
    assert stage["StageName"] == "$default"
    limits = {"others": stage["DefaultRouteSettings"], **stage["RouteSettings"]}
    assert {name: (one["ThrottlingRateLimit"], one["ThrottlingBurstLimit"]) for name, one in limits.items()} == {
        "others": (10, 20),
        "POST /garmin/{secret}": (200, 400),
        **dict.fromkeys(("GET /survey", "POST /survey"), (50, 100)),
    }
    assert all(one["DetailedMetricsEnabled"] for one in limits.values())


def test_a_stage_that_names_a_route_is_made_after_it(system: System) -> None:
    resources = system.templates["QolIngest"]["Resources"]
    (stage,) = (one for one in resources.values() if one["Type"] == "AWS::ApiGatewayV2::Stage")
    needed = [resources[name]["Properties"].get("RouteKey") for name in stage["DependsOn"]]
    assert set(stage["Properties"]["RouteSettings"]) <= set(needed)


def test_the_access_log_has_neither_a_path_nor_a_query_nor_an_address(system: System) -> None:
    (stage,) = system.all("AWS::ApiGatewayV2::Stage")
    logged = json.loads(stage["AccessLogSettings"]["Format"])
    assert set(logged.values()) == {
        f"$context.{name}"
        for name in (
            "requestId",
            "requestTime",
            "httpMethod",
            "routeKey",
            "status",
            "responseLatency",
            "responseLength",
        )
    }
    assert stage["AccessLogSettings"]["DestinationArn"] == arn("logs", "log-group:/aws/apigateway/qol")


def test_with_a_domain_the_address_that_aws_gives_is_shut(system: System, emulated: System) -> None:
    (api,) = system.all("AWS::ApiGatewayV2::Api")
    assert api["DisableExecuteApiEndpoint"] is True
    assert system.output("QolIngest", "PublicUrl") == "https://qol.example.org"
    (api,) = emulated.all("AWS::ApiGatewayV2::Api")
    assert api["DisableExecuteApiEndpoint"] is False
    assert emulated.output("QolIngest", "PublicUrl").endswith(".ApiEndpoint")


def test_the_puller_takes_one_message_at_a_time_and_gives_back_what_is_left(system: System) -> None:
    (mapping,) = system.all("AWS::Lambda::EventSourceMapping")
    assert mapping["EventSourceArn"] == arn("sqs", "qol-pings")
    assert mapping["BatchSize"] == 1
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 5}


@pytest.mark.parametrize(
    ("schedule", "expression", "told"),
    [
        ("qol-spill-drain-schedule", "rate(5 minutes)", {}),
        ("qol-tokens-schedule", "rate(1 day)", {"renew": "tokens"}),
        ("qol-weekly-schedule", "cron(5 0 ? * WED *)", {"time": "<aws.scheduler.scheduled-time>"}),
        ("qol-noon-schedule", "cron(0 3 ? * WED *)", {"time": "<aws.scheduler.scheduled-time>"}),
    ],
)
def test_each_schedule_calls_its_target_with_what_it_has_to_know(
    system: System, schedule: str, expression: str, told: dict[str, str]
) -> None:
    found = system.one("AWS::Scheduler::Schedule", Name=schedule)
    assert found["ScheduleExpression"] == expression
    assert json.loads(found["Target"]["Input"]) == told
