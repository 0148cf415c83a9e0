"""Who may do what, asked of the roles as IAM would answer."""

from __future__ import annotations

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_iam as iam
from cdk_nag import AwsSolutionsChecks

from infra.access import AccessError, allow, role
from qol_dagster_tests.support.policies import Context, Role
from qol_dagster_tests.support.templates import ACCOUNT, LAKE, System, arn
from qol_ingest.shared.id_map_dynamo import COUNT, KEY

RECEIVER, DRAIN, OAUTH, PULLER, KICK = (
    *("garmin_webhook_receiver-role", "qol-spill-drain-role", "qol-oauth-role", "qol-puller-role"),
    "qol-weekly-survey-kick-role",
)
JOB, DAGSTER, WEB, WATCH = "qol-weekly-etl-role", "qol-dagster", "qol-dagster-web", "qol-weekly-watch-role"
SURVEY = "qol-survey-role"
PERSON, STAFF, ERASER, BACKUP = "qol-researcher", "qol-staff", "qol-eraser", "qol-backup"
FREEZER, ARCHIVER = "qol-freezer", "qol-archiver"


def key(name: str) -> str:
    return f"arn:aws:s3:::{LAKE}/{name}"


RAW, PING, LIFECYCLE = (
    key("raw/daily/date=2026-11-16/a.jsonl"),
    key("raw/pings/date=2026-11-16/a.jsonl"),
    key("raw/lifecycle/date=2026-11-16/a.jsonl"),
)
WORK, RECORDS = key("tmp/spark-1/a.parquet"), key("records/date=2026-11-16/a-0.parquet")
QUARANTINE, MARKER = key("raw/quarantine/date=2026-11-16/a.body"), key("raw/pulled/date=2026-11-16/a.json")
REPORT = key("reports/week=2026-11-16/report.ja.html")
WEEKLY, STRICT = (
    key("processed/weekly/date=2026-11-16/part-0.parquet"),
    key("processed_strict/daily/date=2026-11-16/a.parquet"),
)
HISTORY, LOG = (
    key("history/weekly/date=2026-11-16/0a.parquet"),
    key("history_strict/daily/revisions/date=2026-11-16/0001.json"),
)
LEDGER, FREEZE = key("erasures/erasures.jsonl"), key("freezes/paper-1.json")
WORDING = key("survey/whoqol.ja.toml")
ANSWERS, SCORES, OLD_SCORES = (
    key("raw/surveys/date=2026-11-16/a.jsonl"),
    key("processed/whoqol_scores/date=2026-11-16/part-0.parquet"),
    key("history/whoqol_scores/date=2026-11-16/0a.parquet"),
)
BUCKET = f"arn:aws:s3:::{LAKE}"
BACKUPS = BUCKET.replace("qol-lake", "qol-backup")
ARCHIVE, COPY, COPIED_LEDGER = (
    f"{BACKUPS}/{one}" for one in ("archives/2026-11.0a.zip", "raw/daily/a.jsonl", "erasures/erasures.jsonl")
)
ID_MAP, ENROLMENT = arn("dynamodb", "table/user_id_map"), arn("dynamodb", "table/qol_enrolment")
TOKENS = arn("secretsmanager", "secret:qol/garmin/0123abcd-AbCdEf")
WEBHOOK_SECRET, CLIENT_SECRET, DAGSTER_TOKEN, PASSWORD, SURVEY_KEY = (
    arn("secretsmanager", f"secret:qol/{name}-AbCdEf")
    for name in ("webhook-secret", "garmin-client-secret", "dagster-token", "dagster-database", "survey-key")
)
TOPIC, GLUE_JOB, WORKGROUP = (
    arn("sns", "job_failure_alert"),
    arn("glue", "job/qol-weekly-etl"),
    arn("athena", "workgroup/qol"),
)

MAY = [
    *((RECEIVER, "s3:PutObject", one) for one in (RAW, PING, LIFECYCLE, QUARANTINE)),
    (RECEIVER, "sqs:SendMessage", arn("sqs", "qol-spill")),
    (RECEIVER, "secretsmanager:GetSecretValue", WEBHOOK_SECRET),
    *((DRAIN, f"s3:{call}Object", one) for call in ("Get", "Put") for one in (RAW, PING, LIFECYCLE, QUARANTINE)),
    (DRAIN, "s3:ListBucket", BUCKET),
    (DRAIN, "sqs:ReceiveMessage", arn("sqs", "qol-spill")),
    (DRAIN, "sqs:DeleteMessage", arn("sqs", "qol-spill")),
    *((OAUTH, f"secretsmanager:{call}", TOKENS) for call in ("CreateSecret", "GetSecretValue", "PutSecretValue")),
    (OAUTH, "secretsmanager:GetSecretValue", CLIENT_SECRET),
    *((OAUTH, f"dynamodb:{call}Item", ID_MAP) for call in ("Get", "Put")),
    (WEB, "s3:GetObject", key("dagster/storage/run/log.err")),
    *((PULLER, "s3:GetObject", one) for one in (PING, LIFECYCLE, MARKER)),
    *((PULLER, "s3:PutObject", one) for one in (RAW, QUARANTINE, MARKER, key("raw/files/date=2026-11-16/a.fit"))),
    (PULLER, "s3:ListBucket", BUCKET),
    *((PULLER, f"secretsmanager:{call}", TOKENS) for call in ("DeleteSecret", "GetSecretValue", "PutSecretValue")),
    *((PULLER, f"sqs:{call}", arn("sqs", "qol-pings")) for call in ("ReceiveMessage", "DeleteMessage", "SendMessage")),
    (PULLER, "sqs:ChangeMessageVisibility", arn("sqs", "qol-pings")),
    (PULLER, "sqs:SendMessage", arn("sqs", "qol-pings-dead")),
    (KICK, "glue:StartJobRun", GLUE_JOB),
    (KICK, "glue:GetJobRuns", GLUE_JOB),
    (KICK, "sns:Publish", TOPIC),
    (KICK, "secretsmanager:GetSecretValue", DAGSTER_TOKEN),
    *((who, "s3:GetObject", one) for who in (JOB, DAGSTER) for one in (RAW, LIFECYCLE, WEEKLY, STRICT)),
    *((JOB, f"s3:{call}Object", one) for call in ("Put", "Delete") for one in (WEEKLY, STRICT)),
    *((JOB, f"s3:{call}Object", one) for call in ("Put", "Get") for one in (HISTORY, LOG)),
    *((who, "s3:GetObject", one) for who in (DAGSTER, PERSON, STAFF) for one in (HISTORY, LOG)),
    *(
        (who, f"s3:{call}Object", key(one))
        for who in (JOB, DAGSTER)
        for call in ("Get", "Put")
        for one in ("locks/writer", "arrivals/announced")
    ),
    *((who, "s3:PutObject", key("pipes/run/1.json")) for who in (JOB, DAGSTER)),
    *((JOB, f"s3:{call}Object", one) for call in ("Put", "Get", "Delete") for one in (WORK, RECORDS)),
    *((who, f"dynamodb:{call}", ID_MAP) for who in (JOB, DAGSTER) for call in ("Scan", "GetItem", "PutItem")),
    *(
        (DAGSTER, f"s3:{call}Object", key(one))
        for call in ("Get", "Put")
        for one in ("arrivals/days", "alerts/run", "dagster/storage/run/log.err")
    ),
    *((DAGSTER, f"glue:{call}", GLUE_JOB) for call in ("StartJobRun", "GetJobRun", "BatchStopJobRun")),
    (DAGSTER, "s3:DeleteObject", key("alerts/run")),
    *((who, f"s3:{call}Object", REPORT) for who in (DAGSTER, STAFF) for call in ("Get", "Put")),
    (DAGSTER, "s3:GetObject", ANSWERS),
    *((DAGSTER, f"s3:{call}Object", SCORES) for call in ("Put", "Delete")),
    *((DAGSTER, f"s3:{call}Object", OLD_SCORES) for call in ("Put", "Get")),
    *((who, "s3:GetObject", SCORES) for who in (DAGSTER, PERSON, STAFF)),
    *((who, "glue:GetTable", arn("glue", "table/db_qol/whoqol_scores")) for who in (DAGSTER, PERSON, STAFF)),
    *((who, "s3:PutObject", ANSWERS) for who in (STAFF, SURVEY)),
    *((who, "s3:GetObject", WORDING) for who in (STAFF, SURVEY)),
    (STAFF, "s3:PutObject", WORDING),
    (SURVEY, "secretsmanager:GetSecretValue", SURVEY_KEY),
    (DAGSTER, "sns:Publish", TOPIC),
    (DAGSTER, "sns:Publish", arn("sns", "weekly_report")),
    (DAGSTER, "s3:DeleteObject", key("reports/mailed-2026-11-16")),
    *((DAGSTER, f"sqs:{call}", arn("sqs", "qol-arrivals")) for call in ("ReceiveMessage", "DeleteMessage")),
    *(
        (who, f"athena:{call}", WORKGROUP)
        for who in (DAGSTER, PERSON, STAFF)
        for call in ("StartQueryExecution", "GetQueryExecution", "GetQueryResults", "StopQueryExecution")
    ),
    *((who, "glue:GetTable", arn("glue", "table/db_qol/weekly_metrics")) for who in (DAGSTER, PERSON, STAFF)),
    *((who, "s3:GetObject", one) for who in (DAGSTER, PERSON, STAFF) for one in (WEEKLY, key("athena/result.csv"))),
    *((STAFF, f"dynamodb:{call}", ID_MAP) for call in ("DeleteItem", "GetItem", "PutItem", "Scan")),
    *((STAFF, f"dynamodb:{call}", ENROLMENT) for call in ("GetItem", "PutItem", "Query")),
    (STAFF, "secretsmanager:DeleteSecret", TOKENS),
    (STAFF, "s3:ListBucket", BUCKET),
    *((who, "s3:GetObject", LEDGER) for who in (RECEIVER, DRAIN, PULLER, OAUTH, STAFF)),
    *((who, "s3:PutObject", LEDGER) for who in (OAUTH, STAFF)),
    (STAFF, "sqs:GetQueueAttributes", arn("sqs", "qol-arrivals")),
    (STAFF, "sns:GetTopicAttributes", TOPIC),
    (STAFF, "glue:GetJob", GLUE_JOB),
    (STAFF, "ssm:GetParameter", arn("ssm", "parameter/qol/settings")),
    ("qol-weekly-schedule-role", "lambda:InvokeFunction", arn("lambda", "function:qol-weekly-survey-kick")),
    ("qol-spill-drain-schedule-role", "lambda:InvokeFunction", arn("lambda", "function:qol-spill-drain")),
    ("qol-tokens-schedule-role", "lambda:InvokeFunction", arn("lambda", "function:qol-puller")),
    ("qol-noon-schedule-role", "states:StartExecution", arn("states", "stateMachine:qol-weekly-watch")),
    (WATCH, "sns:Publish", TOPIC),
    ("qol-dagster-start", "secretsmanager:GetSecretValue", PASSWORD),
    ("qol-dagster-start", "ecr:BatchGetImage", arn("ecr", "repository/qol-dagster")),
]
MAY += [
    *((who, "s3:GetObject", FREEZE) for who in (DAGSTER, PERSON, STAFF)),
    *((FREEZER, "s3:PutObject", one) for one in (FREEZE, HISTORY, key("locks/writer"))),
    *((FREEZER, "s3:GetObject", one) for one in (FREEZE, HISTORY, WEEKLY)),
]
EVERYTHING = (RAW, QUARANTINE, MARKER, RECORDS, WEEKLY, HISTORY, REPORT, ANSWERS, key("athena/result.csv"))
MAY += [
    *(
        (ERASER, f"s3:{call}", one)
        for call in ("DeleteObjectVersion", "GetObjectVersion", "PutObject")
        for one in EVERYTHING
    ),
    *((ERASER, f"s3:{call}", BUCKET) for call in ("ListBucket", "ListBucketVersions")),
    *((ERASER, f"s3:{call}Object", LEDGER) for call in ("Get", "Put")),
    *(
        (ARCHIVER, "s3:GetObject", one)
        for one in (RAW, QUARANTINE, ANSWERS, WEEKLY, HISTORY, LOG, FREEZE, REPORT, LEDGER, WORDING, COPIED_LEDGER)
    ),
    *((ARCHIVER, f"s3:{call}Object", ARCHIVE) for call in ("Get", "Put", "Delete")),
    *((ARCHIVER, "dynamodb:Scan", one) for one in (ID_MAP, ENROLMENT)),
    (ARCHIVER, "s3:PutObject", key("locks/writer")),
    (DAGSTER, "sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/qol-archiver"),
    *((ERASER, f"dynamodb:{call}", one) for call in ("DeleteItem", "PutItem", "Scan") for one in (ID_MAP, ENROLMENT)),
    *((ERASER, "sqs:DeleteMessage", arn("sqs", f"qol-{one}")) for one in ("spill", "spill-dead", "pings-dead")),
    *((ERASER, f"secretsmanager:{call}", TOKENS) for call in ("DeleteSecret", "GetSecretValue", "PutSecretValue")),
    (ERASER, "secretsmanager:GetSecretValue", CLIENT_SECRET),
    (ERASER, "glue:GetJobRuns", GLUE_JOB),
]
MAY_NOT = [
    *((who, "s3:PutObject", FREEZE) for who in (JOB, DAGSTER, PERSON, STAFF, WEB)),
    *((who, "s3:DeleteObject", FREEZE) for who in (JOB, DAGSTER, PERSON, STAFF, FREEZER)),
    *((FREEZER, "s3:GetObject", one) for one in (RAW, RECORDS, ANSWERS, QUARANTINE)),
    *((FREEZER, f"dynamodb:{call}", ID_MAP) for call in ("GetItem", "Scan")),
    (FREEZER, "s3:PutObject", WEEKLY),
    *((ARCHIVER, f"s3:{call}Object", one) for call in ("Put", "Delete") for one in (RAW, WEEKLY, LEDGER, COPY)),
    *((ARCHIVER, f"s3:{call}", ARCHIVE) for call in ("DeleteObjectVersion", "BypassGovernanceRetention")),
    (ARCHIVER, "s3:GetObject", COPY),
    *((ARCHIVER, "secretsmanager:GetSecretValue", one) for one in (TOKENS, WEBHOOK_SECRET, CLIENT_SECRET)),
    *((ARCHIVER, f"dynamodb:{call}Item", ID_MAP) for call in ("Put", "Delete")),
    (ERASER, "s3:DeleteObject", ARCHIVE),
    *((ERASER, f"s3:{call}", LEDGER) for call in ("DeleteObject", "DeleteObjectVersion")),
    *((ERASER, f"sqs:{call}Message", arn("sqs", "qol-pings")) for call in ("Receive", "Delete", "Send")),
    (ERASER, "secretsmanager:GetSecretValue", WEBHOOK_SECRET),
    (ERASER, "glue:StartJobRun", GLUE_JOB),
    *((who, "s3:PutObject", LEDGER) for who in (RECEIVER, DRAIN, PULLER, JOB, DAGSTER, PERSON)),
    *((who, "s3:GetObject", LEDGER) for who in (JOB, DAGSTER, WEB, PERSON, SURVEY)),
    *((who, "s3:DeleteObject", LEDGER) for who in (RECEIVER, OAUTH, STAFF, DAGSTER, JOB)),
    *((who, "s3:GetObject", REPORT) for who in (RECEIVER, OAUTH, PULLER, DRAIN, WEB, PERSON)),
    *((RECEIVER, f"s3:{call}", RAW) for call in ("GetObject", "DeleteObject")),
    *((RECEIVER, "s3:PutObject", one) for one in (WEEKLY, MARKER, key("anything"))),
    (RECEIVER, "s3:ListBucket", BUCKET),
    *((RECEIVER, f"dynamodb:{call}", ID_MAP) for call in ("GetItem", "Scan", "Query", "DeleteItem")),
    *((RECEIVER, f"dynamodb:{call}", ENROLMENT) for call in ("GetItem", "PutItem", "Query")),
    (RECEIVER, "sqs:ReceiveMessage", arn("sqs", "qol-spill")),
    *((RECEIVER, "secretsmanager:GetSecretValue", one) for one in (TOKENS, CLIENT_SECRET)),
    (DRAIN, "dynamodb:GetItem", ID_MAP),
    (DRAIN, "s3:GetObject", WEEKLY),
    *((OAUTH, f"s3:{call}", RAW) for call in ("GetObject", "PutObject")),
    *((OAUTH, f"dynamodb:{call}", one) for call in ("Scan", "Query", "DeleteItem") for one in (ID_MAP, ENROLMENT)),
    *((OAUTH, f"secretsmanager:{call}", TOKENS) for call in ("DeleteSecret", "ListSecrets", "UpdateSecret")),
    *((WEB, f"s3:{call}", one) for call in ("GetObject", "PutObject") for one in (RAW, RECORDS, LIFECYCLE, WEEKLY)),
    *((WEB, f"s3:{call}", key("dagster/storage/run/log.err")) for call in ("PutObject", "DeleteObject")),
    (WEB, "s3:ListBucket", BUCKET),
    *((WEB, f"dynamodb:{call}", one) for call in ("GetItem", "PutItem", "Scan") for one in (ID_MAP, ENROLMENT)),
    *((WEB, "secretsmanager:GetSecretValue", one) for one in (TOKENS, WEBHOOK_SECRET, CLIENT_SECRET, PASSWORD)),
    *((WEB, f"glue:{call}", GLUE_JOB) for call in ("StartJobRun", "BatchStopJobRun")),
    (WEB, "sns:Publish", TOPIC),
    (WEB, "athena:StartQueryExecution", WORKGROUP),
    (WEB, "sqs:ReceiveMessage", arn("sqs", "qol-arrivals")),
    (OAUTH, "secretsmanager:GetSecretValue", WEBHOOK_SECRET),
    (PULLER, "s3:PutObject", WEEKLY),
    (PULLER, "secretsmanager:GetSecretValue", WEBHOOK_SECRET),
    *((KICK, f"s3:{call}", one) for call in ("GetObject", "PutObject") for one in (RAW, WEEKLY)),
    (KICK, "s3:ListBucket", BUCKET),
    (KICK, "dynamodb:GetItem", ID_MAP),
    (KICK, "glue:StartJobRun", arn("glue", "job/another")),
    *((who, "s3:PutObject", RAW) for who in (JOB, DAGSTER)),
    *((who, "s3:DeleteObject", RAW) for who in (JOB, DAGSTER)),
    *((who, "secretsmanager:GetSecretValue", TOKENS) for who in (JOB, DAGSTER)),
    *((who, "dynamodb:DeleteItem", ID_MAP) for who in (JOB, DAGSTER)),
    *((who, "dynamodb:GetItem", ENROLMENT) for who in (JOB, DAGSTER)),
    *((DAGSTER, f"s3:{call}Object", one) for call in ("Put", "Delete") for one in (WEEKLY, STRICT)),
    *((who, "s3:DeleteObject", one) for who in (JOB, DAGSTER, PERSON, STAFF) for one in (HISTORY, LOG)),
    *((who, "s3:PutObject", HISTORY) for who in (DAGSTER, PERSON, STAFF)),
    *((who, "s3:GetObject", ANSWERS) for who in (RECEIVER, OAUTH, WEB, JOB, PERSON, STAFF, SURVEY)),
    *((who, "s3:GetObject", WORDING) for who in (RECEIVER, OAUTH, WEB, JOB, PERSON, DAGSTER)),
    *((SURVEY, f"s3:{call}", one) for call in ("GetObject", "PutObject") for one in (RAW, PING, WEEKLY, SCORES)),
    *((SURVEY, f"s3:{call}", WORDING) for call in ("PutObject", "DeleteObject")),
    (SURVEY, "s3:ListBucket", BUCKET),
    *((SURVEY, f"dynamodb:{call}", ID_MAP) for call in ("GetItem", "PutItem", "Scan")),
    *((SURVEY, f"dynamodb:{call}", ENROLMENT) for call in ("Query", "Scan", "DeleteItem")),
    *((SURVEY, "secretsmanager:GetSecretValue", one) for one in (TOKENS, WEBHOOK_SECRET, CLIENT_SECRET)),
    *((who, "secretsmanager:GetSecretValue", SURVEY_KEY) for who in (OAUTH, STAFF, RECEIVER)),
    *((who, "s3:PutObject", ANSWERS) for who in (RECEIVER, OAUTH, DAGSTER, JOB, PERSON)),
    *((who, f"s3:{call}Object", SCORES) for call in ("Put", "Delete") for who in (PERSON, STAFF, WEB)),
    *((who, "s3:DeleteObject", OLD_SCORES) for who in (DAGSTER, PERSON, STAFF)),
    *((JOB, f"s3:{call}Object", key("arrivals/days")) for call in ("Get", "Put")),
    (JOB, "sns:Publish", TOPIC),
    (JOB, "athena:StartQueryExecution", WORKGROUP),
    *((PERSON, "s3:GetObject", one) for one in (RAW, PING, LIFECYCLE, QUARANTINE, MARKER)),
    *((STAFF, "s3:GetObject", one) for one in (RAW, PING, LIFECYCLE, QUARANTINE, MARKER)),
    *((who, "s3:GetObject", one) for who in (DAGSTER, PERSON, STAFF) for one in (WORK, RECORDS)),
    *((STAFF, "secretsmanager:GetSecretValue", one) for one in (TOKENS, WEBHOOK_SECRET, CLIENT_SECRET, DAGSTER_TOKEN)),
    *((STAFF, "secretsmanager:DeleteSecret", one) for one in (WEBHOOK_SECRET, CLIENT_SECRET, DAGSTER_TOKEN)),
    *((STAFF, "dynamodb:DeleteTable", one) for one in (ID_MAP, ENROLMENT)),
    (STAFF, "dynamodb:DeleteItem", ENROLMENT),
    (STAFF, "glue:StartJobRun", GLUE_JOB),
    (STAFF, "sqs:ReceiveMessage", arn("sqs", "qol-arrivals")),
    *((who, f"s3:{call}", WEEKLY) for who in (PERSON, STAFF) for call in ("PutObject", "DeleteObject")),
    *((PERSON, f"dynamodb:{call}", one) for call in ("GetItem", "Scan", "Query") for one in (ID_MAP, ENROLMENT)),
    *((PERSON, "secretsmanager:GetSecretValue", one) for one in (TOKENS, WEBHOOK_SECRET)),
    (PERSON, "athena:StartQueryExecution", arn("athena", "workgroup/primary")),
    (PERSON, "glue:StartJobRun", GLUE_JOB),
    *((PERSON, f"glue:{call}", arn("glue", "table/db_qol/weekly_metrics")) for call in ("UpdateTable", "DeleteTable")),
    ("qol-weekly-schedule-role", "lambda:InvokeFunction", arn("lambda", "function:garmin_webhook_receiver")),
    (WATCH, "s3:GetObject", WEEKLY),
    ("qol-dagster-start", "s3:GetObject", RAW),
]


def called(case: tuple[str, str, str]) -> str:
    who, action, what = case
    return f"{who} {action} {what.rpartition(':')[2]}"


@pytest.mark.parametrize("case", MAY, ids=called)
def test_may(roles: dict[str, Role], case: tuple[str, str, str]) -> None:
    who, action, what = case
    assert roles[who].may(action, what)


@pytest.mark.parametrize("case", MAY_NOT, ids=called)
def test_may_not(roles: dict[str, Role], case: tuple[str, str, str]) -> None:
    who, action, what = case
    assert not roles[who].may(action, what)


def who_may(roles: dict[str, Role], action: str, what: str, context: Context | None = None) -> set[str]:
    return {name for name, one in roles.items() if one.may(action, what, context or {})}


def test_the_receiver_learns_who_is_known_and_never_as_whom(roles: dict[str, Role]) -> None:
    def reads(*attributes: str, select: str = "SPECIFIC_ATTRIBUTES") -> bool:
        asked = {"dynamodb:Attributes": attributes, "dynamodb:Select": select}
        return roles[RECEIVER].may("dynamodb:BatchGetItem", ID_MAP, asked)

    assert reads(KEY, COUNT, "version", "seen_at")
    assert not reads("garmin_user_id", "participant_id")
    assert not reads("garmin_user_id", select="ALL_ATTRIBUTES")


def test_the_receiver_changes_of_a_known_user_only_when_they_were_seen(roles: dict[str, Role]) -> None:
    def changes(*attributes: str) -> bool:
        return roles[RECEIVER].may("dynamodb:UpdateItem", ID_MAP, {"dynamodb:Attributes": attributes})

    assert changes("garmin_user_id", "seen_at")
    assert not changes("garmin_user_id", "participant_id")
    assert not changes("garmin_user_id", "seen_at", "status")


def test_the_receiver_writes_of_the_id_map_only_together_with_its_count(roles: dict[str, Role]) -> None:
    together = {"dynamodb:EnclosingOperation": ("TransactWriteItems",)}
    assert roles[RECEIVER].may("dynamodb:PutItem", ID_MAP, together)
    assert not roles[RECEIVER].may("dynamodb:PutItem", ID_MAP)


@pytest.mark.parametrize(("kind", "calls"), [("code", {"Get"}), ("other", set())])
def test_the_pages_make_no_entry_code_and_see_no_other_kind(roles: dict[str, Role], kind: str, calls: set[str]) -> None:
    def may(of: str) -> set[str]:
        leading = {"dynamodb:LeadingKeys": (of,)}
        return {call for call in ("Get", "Put") if roles[OAUTH].may(f"dynamodb:{call}Item", ENROLMENT, leading)}

    assert may(kind) == calls
    assert [may(one) for one in ("invitation", "guesses", "sign-in")] == [{"Get", "Put"}] * 3


def test_the_questionnaire_makes_no_link_and_sees_nothing_of_who_connects(roles: dict[str, Role]) -> None:
    def may(of: str) -> set[str]:
        leading = {"dynamodb:LeadingKeys": (of,)}
        return {call for call in ("Get", "Put") if roles[SURVEY].may(f"dynamodb:{call}Item", ENROLMENT, leading)}

    kinds = ("survey-code", "survey", "guesses", "code", "invitation", "sign-in")
    assert [may(kind) for kind in kinds] == [{"Get"}, {"Get", "Put"}, {"Get", "Put"}, set(), set(), set()]
    leading = {"dynamodb:LeadingKeys": ("survey",)}
    assert roles[DAGSTER].may("dynamodb:Query", ENROLMENT, leading)
    assert not roles[DAGSTER].may("dynamodb:Query", ENROLMENT, {"dynamodb:LeadingKeys": ("code",)})
    assert not roles[OAUTH].may("dynamodb:GetItem", ENROLMENT, leading)


def test_of_all_roles_these_alone_read_raw_data(roles: dict[str, Role]) -> None:
    assert who_may(roles, "s3:GetObject", RAW) == {DRAIN, PULLER, JOB, DAGSTER, ERASER, ARCHIVER}


def test_of_all_roles_these_alone_write_raw_data_and_whoever_erases_alone_deletes_it(roles: dict[str, Role]) -> None:
    assert who_may(roles, "s3:PutObject", RAW) == {RECEIVER, DRAIN, PULLER, ERASER}
    assert who_may(roles, "s3:DeleteObject", RAW) == {ERASER}
    for what in (*EVERYTHING, LOG, LEDGER):
        assert who_may(roles, "s3:DeleteObjectVersion", what) == ({ERASER} if what != LEDGER else set())


def test_of_all_roles_these_alone_read_or_write_what_participants_answered(
    system: System, roles: dict[str, Role]
) -> None:
    assert who_may(roles, "s3:GetObject", ANSWERS) == {DAGSTER, ERASER, ARCHIVER}
    assert who_may(roles, "s3:PutObject", ANSWERS) == {STAFF, SURVEY, ERASER}
    assert who_may(roles, "s3:DeleteObject", ANSWERS) == who_may(roles, "s3:DeleteObjectVersion", ANSWERS) == {ERASER}
    through = {"kms:ViaService": "s3.ap-northeast-1.amazonaws.com"}
    for who in (STAFF, SURVEY):
        assert roles[who].may("kms:GenerateDataKey", system.key("raw"), through)
        assert not roles[who].may("kms:Decrypt", system.key("raw"), through)


def test_a_copy_is_written_by_s3_s_own_role_and_read_by_none_and_stays(
    roles: dict[str, Role],
) -> None:
    copy = RAW.replace("qol-lake", "qol-backup")
    assert who_may(roles, "s3:ReplicateObject", copy) == {BACKUP}
    for action in ("GetObject", "PutObject", "DeleteObjectVersion", "BypassGovernanceRetention"):
        assert who_may(roles, f"s3:{action}", copy) == set()
    assert who_may(roles, "s3:DeleteObject", copy) == {ERASER}, "a mark, which removes nothing"
    for what in (RAW, WEEKLY, HISTORY, REPORT):
        assert roles[BACKUP].may("s3:GetObjectVersionForReplication", what)


def test_archives_are_read_and_written_by_whoever_backs_up_alone_and_stay_until_their_date(
    roles: dict[str, Role],
) -> None:
    for action in ("GetObject", "PutObject", "DeleteObject"):
        assert who_may(roles, f"s3:{action}", ARCHIVE) == {ARCHIVER}
    for action in ("DeleteObjectVersion", "BypassGovernanceRetention", "PutObjectRetention"):
        assert who_may(roles, f"s3:{action}", ARCHIVE) == set()


def test_of_all_roles_the_job_s_alone_writes_tables_but_for_who_erases(roles: dict[str, Role]) -> None:
    assert who_may(roles, "s3:PutObject", WEEKLY) == who_may(roles, "s3:DeleteObject", WEEKLY) == {JOB, ERASER}


def test_of_all_roles_these_alone_read_who_is_who_and_staff_forgets_single_users(roles: dict[str, Role]) -> None:
    assert who_may(roles, "dynamodb:GetItem", ID_MAP) == {OAUTH, PULLER, JOB, DAGSTER, STAFF, ERASER}
    known = {"dynamodb:Attributes": ("garmin_user_id",), "dynamodb:Select": "SPECIFIC_ATTRIBUTES"}
    assert who_may(roles, "dynamodb:BatchGetItem", ID_MAP, known) == {RECEIVER}
    assert who_may(roles, "dynamodb:Scan", ID_MAP) == {PULLER, JOB, DAGSTER, STAFF, ERASER, ARCHIVER}
    assert who_may(roles, "dynamodb:DeleteItem", ID_MAP) == {STAFF, ERASER}
    for action in ("DeleteTable", "ExportTableToPointInTime"):
        assert who_may(roles, f"dynamodb:{action}", ID_MAP) == set()


def test_each_key_opens_to_those_alone_who_need_what_it_protects(system: System, roles: dict[str, Role]) -> None:
    def opens(name: str, service: str) -> set[str]:
        through = {"kms:ViaService": f"{service}.ap-northeast-1.amazonaws.com"}
        return {one.name for one in roles.values() if one.may("kms:Decrypt", system.key(name), through)}

    of_raw = {RECEIVER, DRAIN, PULLER, JOB, DAGSTER, WEB, BACKUP, ERASER, FREEZER, ARCHIVER}
    assert opens("raw", "s3") == of_raw, "Dagster's logs name no key of their own"
    assert opens("map", "dynamodb") == {RECEIVER, OAUTH, SURVEY, PULLER, JOB, DAGSTER, STAFF, ERASER, ARCHIVER}
    assert opens("map", "secretsmanager") == {OAUTH, PULLER, ERASER}
    assert opens("map", "s3") == {RECEIVER, DRAIN, PULLER, OAUTH, STAFF, BACKUP, ERASER, ARCHIVER}, (
        "the ledger of who left has this one"
    )
    assert opens("rest", "s3") == {JOB, DAGSTER, PERSON, STAFF, BACKUP, SURVEY, ERASER, FREEZER, ARCHIVER}, (
        "the wording has that of tables"
    )
    assert opens("backup", "s3") == {BACKUP, ARCHIVER}
    for name in ("raw", "map", "rest", "backup"):
        assert not any(one.may("kms:Decrypt", system.key(name)) for one in roles.values()), "never without a service"


def test_of_the_lake_people_list_tables_and_their_results_alone(roles: dict[str, Role]) -> None:
    def listed(who: str, prefix: str) -> bool:
        return roles[who].may("s3:ListBucket", BUCKET, {"s3:prefix": prefix})

    assert listed(PERSON, "processed/weekly/date=2026-11-16/")
    assert not any(listed(PERSON, prefix) for prefix in ("", "raw/daily/", "raw/"))
    assert listed(SURVEY, "survey/")
    assert not any(listed(SURVEY, prefix) for prefix in ("", "raw/surveys/", "processed/"))
    assert listed(WATCH, "processed/weekly/date=2026-11-16/")
    assert not listed(WATCH, "raw/daily/")


def test_what_people_are_denied_stays_denied_whatever_they_are_allowed_later(
    system: System, roles: dict[str, Role]
) -> None:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    person = Role(PERSON, (*roles[PERSON].statements, everything))
    assert person.may("s3:GetObject", key("anything"))
    for action, what in (
        ("s3:GetObject", RAW),
        ("s3:GetObjectVersion", RAW),
        ("dynamodb:Scan", ID_MAP),
        ("dynamodb:GetItem", ENROLMENT),
        ("kms:Decrypt", system.key("raw")),
        ("kms:Decrypt", system.key("map")),
        ("secretsmanager:GetSecretValue", TOKENS),
    ):
        assert not person.may(action, what), action


def test_people_need_a_second_factor_and_services_are_the_only_other_principals(system: System) -> None:
    trusted = {one["RoleName"]: one["AssumeRolePolicyDocument"]["Statement"] for one in system.all("AWS::IAM::Role")}
    for name in (PERSON, STAFF, ERASER, FREEZER):
        (person,) = trusted.pop(name)
        assert person["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        assert person["Condition"] == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    person, dagster = trusted.pop(ARCHIVER)
    assert person["Condition"] == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    assert dagster["Condition"] == {"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/qol-dagster"}}
    assert {one["Principal"]["AWS"] for one in (person, dagster)} == {f"arn:aws:iam::{ACCOUNT}:root"}
    others = [statement["Principal"] for statements in trusted.values() for statement in statements]
    assert others
    assert all(list(principal) == ["Service"] for principal in others)


def test_the_web_server_and_the_daemon_have_roles_of_their_own(system: System) -> None:
    def role_of(name: str) -> str:
        task = system.one("AWS::ECS::TaskDefinition", Family=f"qol-dagster-{name}")
        return str(task["TaskRoleArn"]).rpartition("/")[2]

    made = {one["RoleName"] for one in system.all("AWS::IAM::Role")}
    assert {WEB, DAGSTER} <= made
    assert role_of("web") != role_of("daemon")


def test_no_role_is_shared_between_two_lambdas(system: System) -> None:
    used = [one["Role"] for one in system.all("AWS::Lambda::Function")]
    assert len(set(used)) == len(used) == 6


def test_no_statement_allows_an_action_by_a_pattern(roles: dict[str, Role]) -> None:
    for one in roles.values():
        for statement in one.statements:
            actions = statement["Action"]
            assert not any("*" in action for action in (actions if isinstance(actions, list) else [actions])), one.name


def test_a_pattern_of_actions_or_one_of_resources_without_a_reason_is_refused() -> None:
    with pytest.raises(AccessError, match="name every action instead of s3:\\*"):
        allow("s3:*", on=["arn:aws:s3:::lake"])
    with pytest.raises(AccessError, match="say why s3:GetObject is allowed"):
        allow("s3:GetObject", on=["arn:aws:s3:::lake/*"])


def test_a_reason_covers_the_pattern_it_was_given_for_and_no_other() -> None:
    def findings(*patterns: str) -> list[str]:
        app = App()
        stack = Stack(app, "Stack")
        statement = allow("s3:GetObject", on=[f"arn:aws:s3:::{stack.account}/raw/*"], because="it is so")
        made = role(stack, "reader", iam.ServicePrincipal("glue.amazonaws.com"), [statement], "Reads")
        for pattern in patterns:
            made.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[pattern]))
        return [one.rule_name for one in AwsSolutionsChecks().validate_scope(app).violations]

    assert findings() == []
    assert findings("arn:aws:s3:::other/*") == ["AwsSolutions-IAM5[Resource::arn:aws:s3:::other/*]"]
