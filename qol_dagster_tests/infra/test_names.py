"""The standard of 2025-11-04, name by name."""

from __future__ import annotations

import pytest

from qol_dagster_tests.support.templates import LAKE, System

STANDARD = [
    ("AWS::Lambda::Function", "FunctionName", "garmin_webhook_receiver"),
    ("AWS::Lambda::Function", "FunctionName", "qol-weekly-survey-kick"),
    ("AWS::Glue::Job", "Name", "qol-weekly-etl"),
    ("AWS::DynamoDB::Table", "TableName", "user_id_map"),
    ("AWS::SNS::Topic", "TopicName", "job_failure_alert"),
    ("AWS::S3::Bucket", "BucketName", LAKE),
    ("AWS::ApiGatewayV2::Route", "RouteKey", "POST /garmin/{secret}"),
    ("AWS::Athena::WorkGroup", "Name", "qol"),
    ("AWS::SecretsManager::Secret", "Name", "qol/garmin-client-secret"),
    ("AWS::Scheduler::Schedule", "ScheduleExpression", "cron(5 0 ? * WED *)"),
]


@pytest.mark.parametrize(("kind", "attribute", "name"), STANDARD, ids=str)
def test_what_the_standard_names_is_there_once_under_that_name(
    system: System, kind: str, attribute: str, name: str
) -> None:
    assert [one[attribute] for one in system.all(kind)].count(name) == 1


def test_the_database_and_its_tables_are_those_of_the_standard(system: System) -> None:
    assert [one["DatabaseInput"]["Name"] for one in system.all("AWS::Glue::Database")] == ["db_qol"]
    tables = {one["TableInput"]["Name"] for one in system.all("AWS::Glue::Table")}
    assert {"weekly_metrics", "daily_metrics", "participant_status", "weekly_metrics_revisions"} <= tables
    assert {one["DatabaseName"] for one in system.all("AWS::Glue::Table")} == {"db_qol"}


def test_the_weekly_tables_lie_where_the_standard_has_them(system: System) -> None:
    (weekly,) = (
        one["TableInput"] for one in system.all("AWS::Glue::Table") if one["TableInput"]["Name"] == "weekly_metrics"
    )
    assert weekly["StorageDescriptor"]["Location"] == f"s3://{LAKE}/processed/weekly/"
    assert [one["Name"] for one in weekly["PartitionKeys"]] == ["date"]


def test_the_week_is_started_in_utc_which_is_wednesday_five_past_nine_in_japan(system: System) -> None:
    schedule = system.one("AWS::Scheduler::Schedule", ScheduleExpression="cron(5 0 ? * WED *)")
    assert schedule["ScheduleExpressionTimezone"] == "UTC"
    assert schedule["Target"]["Arn"].endswith(":function:qol-weekly-survey-kick")


def test_user_id_map_has_the_standard_s_partition_key(system: System) -> None:
    table = system.one("AWS::DynamoDB::Table", TableName="user_id_map")
    assert table["KeySchema"] == [{"AttributeName": "garmin_user_id", "KeyType": "HASH"}]


def test_every_log_is_kept_for_180_days(system: System) -> None:
    groups = system.all("AWS::Logs::LogGroup")
    assert {one["RetentionInDays"] for one in groups} == {180}
    functions = {f"/aws/lambda/{one['FunctionName']}" for one in system.all("AWS::Lambda::Function")}
    assert functions < {one["LogGroupName"] for one in groups}


def test_everything_is_in_japan(system: System) -> None:
    manifest = (system.folder / "manifest.json").read_text()
    assert manifest.count('"environment": "aws://unknown-account/ap-northeast-1"') == len(system.templates) == 5
