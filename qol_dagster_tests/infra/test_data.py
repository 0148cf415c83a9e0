"""What is kept: encrypted, over TLS only, and not lost with its stack."""

from __future__ import annotations

from typing import Any

import pytest

from qol_dagster.settings.retention import KINDS
from qol_dagster_tests.support.templates import LAKE, System, arn

HELD = (
    *("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::KMS::Key"),
    *("AWS::SecretsManager::Secret", "AWS::ECR::Repository"),
)


def denies_plain_http(policy: dict[str, Any]) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] in ("*", {"AWS": "*"})
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in policy["PolicyDocument"]["Statement"]
    )


def test_whoever_asks_without_tls_is_denied_buckets_queues_and_topics(system: System) -> None:
    policies = {
        kind: system.all(kind) for kind in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
    }
    assert {kind: len(found) for kind, found in policies.items()} == {
        "AWS::S3::BucketPolicy": len(system.all("AWS::S3::Bucket")),
        "AWS::SQS::QueuePolicy": len(system.all("AWS::SQS::Queue")),
        "AWS::SNS::TopicPolicy": len(system.all("AWS::SNS::Topic")),
    }
    for kind in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"):
        assert all(denies_plain_http(policy) for policy in policies[kind]), kind
    for topic in policies["AWS::SNS::TopicPolicy"]:
        (denied,) = (one for one in topic["PolicyDocument"]["Statement"] if one["Effect"] == "Deny")
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_denial_of_plain_http_covers_all_that_a_bucket_holds(system: System) -> None:
    for policy in system.all("AWS::S3::BucketPolicy"):
        bucket = f"arn:aws:s3:::{policy['Bucket']}"
        denied = [one["Resource"] for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]
        assert denied == [[bucket, f"{bucket}/*"]]


def test_nothing_that_holds_data_goes_with_its_stack(system: System) -> None:
    for stack, template in system.templates.items():
        for name, resource in template["Resources"].items():
            if resource["Type"] in HELD and stack != "QolHosting":
                assert stack == "QolData", name
                assert resource["DeletionPolicy"] == "RetainExceptOnCreate", name
                assert resource["UpdateReplacePolicy"] == "Retain", name


def test_the_lake_is_versioned_private_logged_and_under_the_key_of_raw_data(system: System) -> None:
    lake = system.one("AWS::S3::Bucket", BucketName=LAKE)
    assert lake["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(lake["PublicAccessBlockConfiguration"].values()) == {True}
    assert lake["LoggingConfiguration"]["DestinationBucketName"].startswith("qol-logs-")
    (rule,) = lake["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["BucketKeyEnabled"] is True
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": system.key("raw")}


def test_no_rule_deletes_records_or_tables_and_pings_and_quarantine_have_an_end(system: System) -> None:
    rules = system.one("AWS::S3::Bucket", BucketName=LAKE)["LifecycleConfiguration"]["Rules"]
    deleted = {rule.get("Prefix", ""): rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    work = {"athena/": 7, "pipes/": 7, "dagster/": 180, "tmp/": 1, "alerts/": 180}
    assert deleted == {**work, "raw/pings/": 30, "raw/quarantine/": 180}


def test_each_kind_of_data_is_kept_for_as_long_as_the_table_of_retention_says(system: System) -> None:
    rules = system.one("AWS::S3::Bucket", BucketName=LAKE)["LifecycleConfiguration"]["Rules"]
    deleted = {rule.get("Prefix", ""): rule.get("ExpirationInDays") for rule in rules if "is-now" not in rule["Id"]}
    for kind in KINDS.values():
        assert [deleted.get(prefix) for prefix in kind.prefixes] == [kind.days] * len(kind.prefixes)
    (old,) = (rule["NoncurrentVersionExpiration"] for rule in rules if rule["Id"] == "old-versions")
    assert old == {"NoncurrentDays": KINDS["old_versions"].days}
    logs = {one["RetentionInDays"] for one in system.all("AWS::Logs::LogGroup")}
    (access,) = (one for one in system.all("AWS::S3::Bucket") if one["BucketName"].startswith("qol-logs-"))
    assert logs == {access["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"]} == {KINDS["logs"].days}
    dead = [
        one["MessageRetentionPeriod"] for one in system.all("AWS::SQS::Queue") if one["QueueName"].endswith("-dead")
    ]
    assert dead == [86_400 * (KINDS["dead_letters"].days or 0)] * 3


BACKUPS = LAKE.replace("lake", "backup")


def test_the_lake_is_copied_to_a_bucket_with_a_key_of_its_own_where_nobody_deletes_a_copy(system: System) -> None:
    bucket = system.one("AWS::S3::Bucket", BucketName=BACKUPS)
    assert bucket["ObjectLockEnabled"] is True
    assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 90}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": system.key("backup")}


def test_all_is_copied_that_cannot_be_made_again_and_what_is_deleted_is_marked_there(system: System) -> None:
    copied = system.one("AWS::S3::Bucket", BucketName=LAKE)["ReplicationConfiguration"]
    assert copied["Role"].endswith(":111122223333:role/qol-backup")
    prefixes = [rule["Filter"]["Prefix"] for rule in copied["Rules"]]
    tables = ["processed/", "processed_strict/", "history/", "history_strict/"]
    assert prefixes == ["raw/", *tables, "freezes/", "reports/", "erasures/"]
    for rule in copied["Rules"]:
        assert (rule["Status"], rule["DeleteMarkerReplication"]) == ("Enabled", {"Status": "Enabled"})
        assert rule["SourceSelectionCriteria"] == {"SseKmsEncryptedObjects": {"Status": "Enabled"}}
        to = rule["Destination"]
        assert to["Bucket"] == f"arn:aws:s3:::{BACKUPS}"
        assert to["EncryptionConfiguration"] == {"ReplicaKmsKeyID": system.key("backup")}
    assert len({rule["Priority"] for rule in copied["Rules"]}) == len(prefixes)


def test_what_has_an_end_in_the_lake_has_it_in_the_copy_and_what_was_deleted_is_gone_in_time(system: System) -> None:
    rules = system.one("AWS::S3::Bucket", BucketName=BACKUPS)["LifecycleConfiguration"]["Rules"]
    ends = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    assert {"raw/quarantine/": 180, "raw/pings/": 30}.items() <= ends.items()
    (old,) = (rule for rule in rules if rule["Id"] == "old-versions")
    assert old["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90}
    assert old["ExpiredObjectDeleteMarker"] is True


def test_what_a_run_takes_away_does_not_stay_as_an_old_version(system: System) -> None:
    rules = system.one("AWS::S3::Bucket", BucketName=LAKE)["LifecycleConfiguration"]["Rules"]
    kept = {one.get("Prefix", ""): one.get("NoncurrentVersionExpiration") for one in rules if "is-now" in one["Id"]}
    assert kept.keys() == {"locks/", "arrivals/", "tmp/", "records/", "athena/", "pipes/", "dagster/"}
    assert all(one == {"NoncurrentDays": 1} for one in kept.values())


def test_new_raw_objects_are_told_to_the_queues_that_work_them_off(system: System) -> None:
    told = system.one("AWS::S3::Bucket", BucketName=LAKE)["NotificationConfiguration"]["QueueConfigurations"]
    found = {one["Filter"]["S3Key"]["Rules"][0]["Value"]: (one["Event"], one["Queue"]) for one in told}
    created = "s3:ObjectCreated:*"
    assert found == {
        "raw/daily/": (created, arn("sqs", "qol-arrivals")),
        "raw/pings/": (created, arn("sqs", "qol-pings")),
        "raw/lifecycle/": (created, arn("sqs", "qol-pings")),
    }


def test_only_the_lake_may_tell_them_and_the_queues_are_there_before_it(system: System) -> None:
    senders = {
        statement["Resource"]: statement
        for policy in system.all("AWS::SQS::QueuePolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    }
    assert senders.keys() == {arn("sqs", "qol-arrivals"), arn("sqs", "qol-pings")}
    for statement in senders.values():
        assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
        assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": f"arn:aws:s3:::{LAKE}"}
    template = system.templates["QolData"]["Resources"]
    (lake,) = (one for name, one in template.items() if name.startswith("Lake") and one["Type"] == "AWS::S3::Bucket")
    policies = {name for name, one in template.items() if one["Type"] == "AWS::SQS::QueuePolicy" and "dead" not in name}
    assert {name for name in policies if "spill" not in name} <= set(lake["DependsOn"])


def test_every_queue_has_dead_letters_and_keeps_messages_as_long_as_sqs_can(system: System) -> None:
    queues = {one["QueueName"]: one for one in system.all("AWS::SQS::Queue")}
    assert queues.keys() == {f"qol-{name}{end}" for name in ("arrivals", "spill", "pings") for end in ("", "-dead")}
    assert {one["MessageRetentionPeriod"] for one in queues.values()} == {14 * 86_400}
    for name, queue in queues.items():
        if not name.endswith("-dead"):
            redrive = {"deadLetterTargetArn": arn("sqs", f"{name}-dead"), "maxReceiveCount": 8}
            assert queue["RedrivePolicy"] == redrive, name


def test_spilled_bodies_are_under_the_key_of_raw_data_and_announcements_under_that_of_sqs(system: System) -> None:
    for queue in system.all("AWS::SQS::Queue"):
        if "spill" in queue["QueueName"]:
            assert queue["KmsMasterKeyId"] == system.key("raw")
        else:
            assert queue["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize("name", ["user_id_map", "qol_enrolment"])
def test_who_is_who_is_under_a_key_of_its_own_and_can_be_brought_back(system: System, name: str) -> None:
    table = system.one("AWS::DynamoDB::Table", TableName=name)
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": system.key("map")}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_enrolments_lie_as_the_receiver_reads_them_and_are_forgotten_in_time(system: System) -> None:
    table = system.one("AWS::DynamoDB::Table", TableName="qol_enrolment")
    assert [(one["AttributeName"], one["KeyType"]) for one in table["KeySchema"]] == [
        ("kind", "HASH"),
        ("name", "RANGE"),
    ]
    assert {one["AttributeType"] for one in table["AttributeDefinitions"]} == {"S"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "keep_until", "Enabled": True}


def test_the_four_keys_differ_and_rotate(system: System) -> None:
    assert len({system.key(name) for name in ("raw", "map", "rest", "backup")}) == 4
    assert [one["EnableKeyRotation"] for one in system.all("AWS::KMS::Key")] == [True] * 4


def test_cloudwatch_and_its_logs_may_use_the_key_of_the_rest_alone(system: System) -> None:
    services = {
        key["Description"]: {
            statement["Principal"]["Service"]
            for statement in key["KeyPolicy"]["Statement"]
            if "Service" in statement["Principal"]
        }
        for key in system.all("AWS::KMS::Key")
    }
    assert [found for found in services.values() if found] == [
        {"cloudwatch.amazonaws.com", "logs.ap-northeast-1.amazonaws.com"}
    ]
    assert f"key/{next(name for name, found in services.items() if found)}" in system.key("rest")


def test_no_template_holds_a_secret(system: System) -> None:
    for secret in system.all("AWS::SecretsManager::Secret"):
        assert "SecretString" not in secret
        assert secret["GenerateSecretString"][
            "ExcludePunctuation" if "qol/dag" not in secret["Name"] else "PasswordLength"
        ]
        assert secret["KmsKeyId"] == system.key("rest")
