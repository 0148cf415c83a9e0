"""Who is told of what, and the watch at noon."""

from __future__ import annotations

import json
from typing import Any

import jsonata
import pytest

from infra.ops import watch_definition
from qol_dagster_tests.support.templates import System, arn


def alarms(system: System) -> dict[str, dict[str, Any]]:
    return {one["AlarmName"]: one for one in system.all("AWS::CloudWatch::Alarm")}


def test_every_failing_lambda_every_dead_letter_every_refusal_and_silence_have_an_alarm(system: System) -> None:
    functions = {f"{one['FunctionName']}-errors" for one in system.all("AWS::Lambda::Function")}
    dead = {
        f"{one['QueueName']}-letters" for one in system.all("AWS::SQS::Queue") if one["QueueName"].endswith("-dead")
    }
    others = {"garmin_webhook_receiver-answers", "qol-no-raw-data", "qol-weekly-watch-errors"}
    assert alarms(system).keys() == functions | dead | others


def test_every_alarm_is_mailed_and_says_what_to_do(system: System) -> None:
    topic = arn("sns", "job_failure_alert")
    for name, alarm in alarms(system).items():
        assert alarm["AlarmActions"] == [topic], name
        assert len(alarm["AlarmDescription"]) > 60, name
    mails = [one["Endpoint"] for one in system.all("AWS::SNS::Subscription") if one["TopicArn"] == topic]
    assert mails == ["qol-alerts@example.org"]


def test_each_address_has_a_subscription(emulated: System) -> None:
    found = {(one["Protocol"], one["Endpoint"]) for one in emulated.all("AWS::SNS::Subscription")}
    assert found == {("email", "one@example.org"), ("email", "two@example.org")}


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
    assert system.one("AWS::SNS::Topic", TopicName="job_failure_alert")["KmsMasterKeyId"] == system.key("rest")
    (policy,) = system.all("AWS::SNS::TopicPolicy")
    (allowed,) = (one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow")
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
