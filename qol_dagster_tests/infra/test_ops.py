"""Who is told of what, and the watch at noon."""

from __future__ import annotations

import fnmatch
import inspect
import json
import logging
import re
from pathlib import Path
from typing import Any

import jsonata
import pytest

from infra.ops import watch_definition
from qol_dagster_tests.support.templates import System, arn
from qol_ingest.garmin.tokens import AccessTokens, ConsentNeededError, RefreshRefusedError, Tokens
from qol_ingest.garmin.tokens_file import FileTokenStore
from qol_ingest.pulling import puller
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver


def alarms(system: System) -> dict[str, dict[str, Any]]:
    return {one["AlarmName"]: one for one in system.all("AWS::CloudWatch::Alarm")}


def test_whatever_people_have_to_hear_of_has_an_alarm(system: System) -> None:
    functions = {f"{one['FunctionName']}-errors" for one in system.all("AWS::Lambda::Function")}
    queues = {one["QueueName"] for one in system.all("AWS::SQS::Queue")}
    dead = {f"{name}-letters{end}" for name in queues if name.endswith("-dead") for end in ("", "-grow")}
    ages = {f"{name}-age" for name in queues if not name.endswith("-dead")}
    routes = {"qol-pushes-refused", "qol-pages-refused", "qol-pushes-413", "qol-pushes-429", "qol-pages-429"}
    routes |= {"qol-forms-refused", "qol-forms-429"}
    others = {"garmin_webhook_receiver-answers", "qol-no-raw-data", "qol-weekly-watch-errors"}
    others |= {"qol-quarantine", "qol-connect-again"}
    assert alarms(system).keys() == functions | dead | ages | routes | others


def test_more_dead_letters_are_an_alarm_of_their_own_each_time(system: System) -> None:
    for queue in ("qol-arrivals", "qol-spill", "qol-pings"):
        grows = {one["Id"]: one for one in alarms(system)[f"{queue}-dead-letters-grow"]["Metrics"]}
        (letters,) = (one["MetricStat"] for one in grows.values() if "MetricStat" in one)
        (growth,) = (one["Expression"] for one in grows.values() if "Expression" in one)
        assert growth == "DIFF(FILL(letters, 0))"
        assert letters["Metric"]["Dimensions"] == [{"Name": "QueueName", "Value": f"{queue}-dead"}]


def test_messages_that_wait_too_long_are_an_alarm_before_they_are_lost(system: System) -> None:
    hours = {"qol-spill": 1, "qol-pings": 6, "qol-arrivals": 6}
    for queue, limit in hours.items():
        alarm = alarms(system)[f"{queue}-age"]
        assert alarm["MetricName"] == "ApproximateAgeOfOldestMessage"
        assert (alarm["Statistic"], alarm["Threshold"]) == ("Maximum", limit * 3600)


@pytest.mark.parametrize(
    ("alarm", "method", "route", "most"),
    [
        ("qol-pushes-refused", "POST", "/garmin/{secret}", 10),
        ("qol-pages-refused", "GET", "/oauth/{proxy+}", 100),
        ("qol-forms-refused", "GET", "/survey", 100),
    ],
)
def test_refusals_are_counted_by_a_route_that_there_is(
    system: System, alarm: str, method: str, route: str, most: int
) -> None:
    found = alarms(system)[alarm]
    assert {one["Name"]: one["Value"] for one in found["Dimensions"] if one["Name"] != "ApiId"} == {
        "Method": method, "Resource": route, "Stage": "$default",
    }  # fmt: skip
    assert (found["MetricName"], found["Threshold"]) == ("4xx", most)
    assert f"{method} {route}" in {one["RouteKey"] for one in system.all("AWS::ApiGatewayV2::Route")}


def counted(system: System, metric: str) -> dict[str, str]:
    """The patterns by which a metric is counted, by log group."""
    filters = system.all("AWS::Logs::MetricFilter")
    return {
        one["LogGroupName"]: one["FilterPattern"]
        for one in filters
        if [(made["MetricName"], made["MetricValue"]) for made in one["MetricTransformations"]] == [(metric, "1")]
    }


@pytest.mark.parametrize(
    ("metric", "routes"),
    [
        ("qol-pushes-413", {"POST /garmin/{secret}"}),
        ("qol-pushes-429", {"POST /garmin/{secret}"}),
        ("qol-pages-429", {"GET /oauth/{proxy+}", "POST /oauth/start/go"}),
        ("qol-forms-429", {"GET /survey", "POST /survey"}),
    ],
)
def test_bodies_that_are_too_large_and_too_many_requests_are_counted_by_route_in_the_api_s_log(
    system: System, metric: str, routes: set[str]
) -> None:
    (stage,) = system.all("AWS::ApiGatewayV2::Stage")
    ((group, pattern),) = counted(system, metric).items()
    assert stage["AccessLogSettings"]["DestinationArn"].endswith(f":log-group:{group}")
    wanted = dict(re.findall(r'\$\.(\w+) = "([^"]*)"', pattern))
    assert wanted.keys() <= json.loads(stage["AccessLogSettings"]["Format"]).keys()
    assert wanted["status"] == metric[-3:]
    there = {one["RouteKey"] for one in system.all("AWS::ApiGatewayV2::Route")}
    assert {one for one in there if fnmatch.fnmatchcase(one, wanted["routeKey"].replace("[", "[[]"))} == routes
    assert (alarms(system)[metric]["Namespace"], alarms(system)[metric]["MetricName"]) == ("qol", metric)


def matches(pattern: str, line: str) -> bool:
    """What CloudWatch makes of terms: each has to be in the line, and none with a minus before it."""
    terms = re.findall(r'(-?)"([^"]*)"', pattern)
    return all((term in line) is not bool(minus) for minus, term in terms)


@pytest.mark.parametrize(
    ("body", "is_counted"),
    [
        (b'{"dailies":[{"userId":"u"}]}', False),
        (b"{}", False),
        (b"no json", True),
        (b'{"dailies":[{"userId":"u"},7]}', True),
        (b'{"dailies":[' + b"7," * 9 + b"7]}", True),
    ],
)
def test_what_goes_into_quarantine_is_counted_in_the_receiver_s_log(
    system: System, tmp_path: Path, caplog: pytest.LogCaptureFixture, body: bytes, is_counted: bool
) -> None:
    caplog.set_level(logging.INFO)
    event = {"rawPath": "/garmin/secret", "requestContext": {"http": {"method": "POST"}}, "body": body}
    Receiver(DirectoryStore(tmp_path), "secret").handle(event)
    pattern = counted(system, "qol-quarantine")["/aws/lambda/garmin_webhook_receiver"]
    assert [matches(pattern, line) for line in caplog.messages] == [is_counted]
    assert any(tmp_path.glob("raw/quarantine/*/*")) is is_counted


def test_what_a_download_puts_into_quarantine_is_counted_in_the_puller_s_log(system: System) -> None:
    pattern = counted(system, "qol-quarantine")["/aws/lambda/qol-puller"]
    lines = [line for line in inspect.getsource(puller).splitlines() if "quarantine" in line and "log." in line]
    assert len(lines) == 2
    assert all(matches(pattern, line) for line in lines)


def test_who_has_to_connect_again_is_counted_in_the_puller_s_log_by_the_words_that_say_so(
    system: System, tmp_path: Path
) -> None:
    def refuse(_token: str) -> Tokens:
        raise RefreshRefusedError("invalid_grant")

    pattern = counted(system, "qol-connect-again")["/aws/lambda/qol-puller"]
    store = FileTokenStore(tmp_path / "tokens.sqlite", tmp_path / "tokens.key")
    access = AccessTokens(store, refuse, name_of=lambda _user: "P0003")
    store.put("user", Tokens("access", "refresh", 0.0, 1.0))
    with pytest.raises(ConsentNeededError) as raised:
        access.renew("user", before_s=0.0)
    assert matches(pattern, str(raised.value))
    assert not matches(pattern, "P0004 has not connected to Garmin; send an invitation")


def test_every_alarm_is_mailed_and_says_what_to_do(system: System) -> None:
    topic = arn("sns", "job_failure_alert")
    for name, alarm in alarms(system).items():
        assert alarm["AlarmActions"] == [topic], name
        assert len(alarm["AlarmDescription"]) > 60, name
    mails = [one["Endpoint"] for one in system.all("AWS::SNS::Subscription") if one["TopicArn"] == topic]
    assert mails == ["qol-alerts@example.org"]


def test_each_address_has_a_subscription(emulated: System, system: System) -> None:
    found = {(one["Protocol"], one["Endpoint"]) for one in emulated.all("AWS::SNS::Subscription")}
    assert found == {("email", "one@example.org"), ("email", "two@example.org")}
    of_both = {one["TopicArn"].rpartition(":")[2]: one["Endpoint"] for one in system.all("AWS::SNS::Subscription")}
    assert of_both == {"job_failure_alert": "qol-alerts@example.org", "weekly_report": "qol-staff@example.org"}


def test_silence_is_a_whole_day_in_which_s3_announced_nothing(system: System) -> None:
    alarm = alarms(system)["qol-no-raw-data"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("AWS/SQS", "NumberOfMessagesSent", "Sum")
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": "qol-arrivals"}]
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 86_400
    assert (alarm["ComparisonOperator"], alarm["TreatMissingData"]) == ("LessThanThreshold", "breaching")


def test_a_push_that_was_not_taken_is_an_alarm(system: System) -> None:
    alarm = alarms(system)["garmin_webhook_receiver-answers"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/ApiGateway", "5xx")


def test_messages_to_people_are_encrypted_and_cloudwatch_may_send_them(system: System) -> None:
    topics = {one["TopicName"]: one["KmsMasterKeyId"] for one in system.all("AWS::SNS::Topic")}
    assert topics == dict.fromkeys(("job_failure_alert", "weekly_report"), system.key("rest"))
    policies = {one["Topics"][0]: one["PolicyDocument"]["Statement"] for one in system.all("AWS::SNS::TopicPolicy")}
    assert all(one["Effect"] == "Deny" for one in policies[arn("sns", "weekly_report")])
    (allowed,) = (one for one in policies[arn("sns", "job_failure_alert")] if one["Effect"] == "Allow")
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert "aws:SourceAccount" in allowed["Condition"]["StringEquals"]


# -- the watch


def evaluated(text: str, states: dict[str, Any], week: str = "") -> Any:
    """What Step Functions makes of `{% an expression %}`."""
    expression = jsonata.Jsonata(text.removeprefix("{%").removesuffix("%}"))
    expression.assign("states", states)
    expression.assign("week", week)
    return expression.evaluate(None)


@pytest.fixture(scope="module")
def watch(system: System) -> dict[str, Any]:
    machine = system.one("AWS::StepFunctions::StateMachine", StateMachineName="qol-weekly-watch")
    states: dict[str, Any] = json.loads(machine["DefinitionString"])["States"]
    return states


@pytest.mark.parametrize(
    ("noon", "week"),
    [
        ("2026-11-25T03:00:00Z", "2026-11-16"),
        ("2027-01-06T03:00:00Z", "2026-12-28"),
        ("2028-03-08T03:00:00Z", "2028-02-28"),
    ],
)
def test_at_noon_on_wednesday_the_week_is_the_last_that_is_over(watch: dict[str, Any], noon: str, week: str) -> None:
    assert evaluated(watch["Which week"]["Assign"]["week"], {"input": {"time": noon}}) == week


def test_the_watch_looks_where_the_weekly_table_has_its_partition(watch: dict[str, Any], system: System) -> None:
    (table,) = (
        one["TableInput"] for one in system.all("AWS::Glue::Table") if one["TableInput"]["Name"] == "weekly_metrics"
    )
    look = watch["Look"]["Arguments"]
    place = f"s3://{look['Bucket']}/{evaluated(look['Prefix'], {}, '2026-11-16')}"
    assert place == table["Parameters"]["storage.location.template"].replace("${date}", "2026-11-16")


@pytest.mark.parametrize(
    ("answer", "is_there"),
    [
        ({"KeyCount": 1, "Contents": [{"Key": "a"}]}, True),
        ({"KeyCount": 0}, False),
        ({"Message": "something odd"}, False),
    ],
)
def test_only_an_object_that_is_there_keeps_the_watch_quiet(
    watch: dict[str, Any], answer: dict[str, Any], is_there: bool
) -> None:
    (choice,) = watch["Is it there"]["Choices"]
    assert evaluated(choice["Condition"], {"input": answer}) is is_there
    assert (choice["Next"], watch["Is it there"]["Default"]) == ("It is there", "Tell")


def test_a_watch_that_cannot_look_tells_people_too(watch: dict[str, Any]) -> None:
    assert watch["Look"]["Catch"] == [{"ErrorEquals": ["States.ALL"], "Next": "Tell"}]
    assert watch["Tell"]["Arguments"]["TopicArn"] == arn("sns", "job_failure_alert")
    message = evaluated(watch["Tell"]["Arguments"]["Message"], {}, "2026-11-16")
    assert "no table of the week of 2026-11-16" in message
    assert "Materialize" in message
    subject = evaluated(watch["Tell"]["Arguments"]["Subject"], {}, "2026-11-16")
    assert len(subject) <= 100, "SNS takes no longer subject"


def test_every_state_of_the_watch_can_be_reached_and_left() -> None:
    states = watch_definition("lake", "topic")["States"]
    following = {
        next_
        for state in states.values()
        for next_ in (state.get("Next"), state.get("Default"), *(one["Next"] for one in state.get("Choices", ())))
    }
    assert following - {None} == states.keys() - {"Which week"}
    assert all({"Next", "End", "Default"} & state.keys() or state["Type"] == "Succeed" for state in states.values())
