"""Settings: what is read, what is refused, and what is never shown."""

from __future__ import annotations

from dataclasses import fields
from datetime import date
from pathlib import Path

import pytest

from qol_dagster.settings import VARIABLES, Settings, SettingsError, confidential_values, load_settings
from qol_dagster.surveys.waves import WavePlan


def test_without_variables_everything_has_its_default() -> None:
    assert load_settings({}) == Settings()
    assert load_settings({"QOL_HOME": "", "QOL_ENGINE": "  ", "PATH": "/bin"}) == Settings()


LOCAL = {
    "QOL_TARGET": "local",
    "QOL_HOME": "/data/qol",
    "QOL_ENGINE": "spark",
    "QOL_START_DATE": "2025-04-07",
    "QOL_MEMORY_MB": "4096",
    "QOL_OWNERS": "team:data, ops@example.org",
    "QOL_WEBHOOK_SECRET": "0123456789abcdef",
    "QOL_GARMIN_CLIENT_ID": "client",
    "QOL_GARMIN_CLIENT_SECRET": "client-secret",
    "QOL_GARMIN_URL": "http://127.0.0.1:8322/",
    "QOL_PUBLIC_URL": "https://qol.example.org/hook",
    "QOL_PROGRAMME_JA": "健康プログラム",
    "QOL_PROGRAMME_EN": "Health programme",
    "QOL_CONTACT": "qol@example.org",
    "QOL_SURVEY_PLAN": "every_weeks=8, window_days=5",
    "QOL_SURVEY_RULE": "who_text",
    "QOL_SMTP_HOST": "mail.example.org",
    "QOL_SMTP_PORT": "2525",
    "QOL_SMTP_USER": "me",
    "QOL_SMTP_PASSWORD": "pass",
    "QOL_SMTP_STARTTLS": "no",
    "QOL_MAIL_FROM": "qol@example.org",
    "QOL_MAIL_TO": "a@example.org,b@example.org",
    "QOL_REPORT_MAIL_TO": "staff@example.org",
    "QOL_REPORT_URL": "https://qol.example.org/reports",
    "QOL_BACKUP_DIR": "/backups/qol",
    "QOL_RETENTION": "quarantine=90, history=forever",
}
AWS = {
    "QOL_TARGET": "aws",
    "QOL_BUCKET": "qol-data",
    "QOL_ID_MAP_TABLE": "people",
    "QOL_ENROLMENT_TABLE": "enrolment",
    "QOL_ARRIVALS_QUEUE_URL": "https://sqs.ap-northeast-1.amazonaws.com/123456789012/arrivals",
    "QOL_ALERT_TOPIC_ARN": "arn:aws:sns:ap-northeast-1:123456789012:job_failure_alert",
    "QOL_REPORT_TOPIC_ARN": "arn:aws:sns:ap-northeast-1:123456789012:weekly_report",
    "QOL_ATHENA_WORKGROUP": "qol",
    "QOL_GLUE_JOB": "weekly",
    "QOL_TABLES_KEY": "arn:aws:kms:ap-northeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "QOL_LEDGER_KEY": "arn:aws:kms:ap-northeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ac",
    "QOL_SPILL_QUEUE_URL": "https://sqs.ap-northeast-1.amazonaws.com/123456789012/qol-spill",
    "QOL_DEAD_LETTER_URL": "https://sqs.ap-northeast-1.amazonaws.com/123456789012/qol-pings-dead",
    "QOL_BACKUP_BUCKET": "qol-backup",
    "QOL_BACKUP_ROLE": "arn:aws:iam::123456789012:role/qol-archiver",
}
REGION = {"AWS_REGION": "ap-northeast-1"}


def test_every_variable_is_read() -> None:
    assert {*LOCAL, *AWS} == set(VARIABLES)
    assert load_settings(LOCAL) == Settings(
        home=Path("/data/qol"),
        engine="spark",
        start_date=date(2025, 4, 7),
        memory_mb=4096,
        owners=("team:data", "ops@example.org"),
        webhook_secret="0123456789abcdef",
        garmin_client_id="client",
        garmin_client_secret="client-secret",
        garmin_url="http://127.0.0.1:8322",
        public_url="https://qol.example.org/hook",
        programme_ja="健康プログラム",
        programme_en="Health programme",
        contact="qol@example.org",
        survey_plan=WavePlan(every_weeks=8, window_days=5),
        survey_rule="who_text",
        smtp_host="mail.example.org",
        smtp_port=2525,
        smtp_user="me",
        smtp_password="pass",
        smtp_starttls=False,
        mail_from="qol@example.org",
        mail_to=("a@example.org", "b@example.org"),
        report_mail_to=("staff@example.org",),
        report_url="https://qol.example.org/reports",
        backup_dir=Path("/backups/qol"),
        retention=(("quarantine", 90), ("history", None)),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("weeks=8", "there is no 'weeks', but wear_days, every_weeks, waves, window_days"),
        ("waves=some", "waves must have a number"),
        ("every_weeks=2, window_days=7", "windows of 7 days around waves every 2 weeks overlap"),
    ],
)
def test_a_plan_of_waves_that_cannot_be_is_named_with_its_fault(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=f"QOL_SURVEY_PLAN is no plan of waves: {problem}"):
        load_settings({"QOL_SURVEY_PLAN": text})


def test_a_plan_of_waves_is_read_as_it_is_written() -> None:
    plan = WavePlan(wear_days=7, every_weeks=8, waves=3, window_days=2)
    assert " " not in str(plan)
    assert load_settings({"QOL_SURVEY_PLAN": str(plan)}).survey_plan == plan


def test_every_variable_of_aws_is_read() -> None:
    assert load_settings(AWS | REGION) == Settings(
        target="aws",
        bucket="qol-data",
        id_map_table="people",
        enrolment_table="enrolment",
        arrivals_queue_url=AWS["QOL_ARRIVALS_QUEUE_URL"],
        alert_topic_arn=AWS["QOL_ALERT_TOPIC_ARN"],
        report_topic_arn=AWS["QOL_REPORT_TOPIC_ARN"],
        athena_workgroup="qol",
        glue_job="weekly",
        tables_key=AWS["QOL_TABLES_KEY"],
        ledger_key=AWS["QOL_LEDGER_KEY"],
        spill_queue_url=AWS["QOL_SPILL_QUEUE_URL"],
        dead_letter_url=AWS["QOL_DEAD_LETTER_URL"],
        backup_bucket=AWS["QOL_BACKUP_BUCKET"],
        backup_role=AWS["QOL_BACKUP_ROLE"],
    )


def test_on_aws_what_is_missing_is_named_and_what_belongs_to_one_machine_too() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(
            {"QOL_TARGET": "aws", "QOL_SMTP_HOST": "mail", "QOL_ENGINE": "spark", "QOL_WEBHOOK_SECRET": "x" * 16}
        )
    text = str(error.value)
    for name in ("QOL_BUCKET", "QOL_ARRIVALS_QUEUE_URL", "QOL_ALERT_TOPIC_ARN", "QOL_ATHENA_WORKGROUP", "AWS_REGION"):
        assert f"{name} is needed with QOL_TARGET=aws" in text
    for name in ("QOL_SMTP_HOST", "QOL_ENGINE", "QOL_WEBHOOK_SECRET"):
        assert f"{name} is for QOL_TARGET=local only" in text
    assert "QOL_ID_MAP_TABLE" not in text


def test_packages_that_are_missing_for_aws_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pyathena" else name)
    with pytest.raises(SettingsError, match=r"^settings are wrong: QOL_TARGET=aws needs .*qol-dagster\[aws\]'$"):
        load_settings(AWS | REGION)
    assert load_settings({}) == Settings()


def test_on_one_machine_what_belongs_to_aws_is_named() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({name: value for name, value in AWS.items() if name != "QOL_TARGET"})
    for name in AWS.keys() - {"QOL_TARGET"}:
        assert f"{name} is for QOL_TARGET=aws only" in str(error.value)


def test_a_setting_of_the_other_target_that_is_the_default_anyway_disturbs_nobody() -> None:
    assert load_settings({"QOL_ID_MAP_TABLE": "user_id_map", "QOL_GLUE_JOB": "qol-weekly-etl"}) == Settings()
    assert load_settings(AWS | REGION | {"QOL_ENGINE": "duckdb", "QOL_SMTP_PORT": "587"}).target == "aws"


@pytest.mark.parametrize("name", sorted(AWS.keys() - {"QOL_TARGET"}))
@pytest.mark.parametrize("wrong", ["a b", "arn:aws:sns:x", "/x"])
def test_a_name_that_aws_would_not_take_is_refused_and_not_called_missing(name: str, wrong: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be the (name|URL|ARN) of a") as error:
        load_settings(AWS | REGION | {name: wrong})
    assert "is needed" not in str(error.value)


def test_all_problems_are_named_in_one_error() -> None:
    wrong = {
        "QOL_TARGET": "mars",
        "QOL_BUCKET": "QOL",
        "QOL_ENGINE": "flink",
        "QOL_START_DATE": "last year",
        "QOL_MEMORY_MB": "12",
        "QOL_OWNERS": "nobody in particular",
        "QOL_WEBHOOK_SECRET": "short",
        "QOL_SMTP_HOST": "mail.example.org",
        "QOL_SMTP_PORT": "0",
        "QOL_SMTP_STARTTLS": "maybe",
        "QOL_MAIL_TO": "not an address",
        "QOL_HOMES": "x",
    }
    with pytest.raises(SettingsError) as error:
        load_settings(wrong)
    text = str(error.value)
    for name in wrong.keys() - {"QOL_SMTP_HOST"}:
        assert name in text
    assert "QOL_MAIL_FROM is needed with QOL_SMTP_HOST" in text
    assert "did you mean QOL_HOME?" in text
    assert "short" not in text


def test_a_start_date_within_a_week_moves_to_the_next_monday() -> None:
    assert load_settings({"QOL_START_DATE": "2025-04-08"}).start_date == date(2025, 4, 14)


def test_secrets_are_not_in_the_settings_as_text() -> None:
    secret = "s3cret-s3cret-s3cret"
    text = repr(Settings(webhook_secret=secret, smtp_password=secret, smtp_user=secret, garmin_client_id=secret))
    assert secret not in text


CONFIDENTIAL = ("webhook_secret", "garmin_client_id", "garmin_client_secret", "smtp_user", "smtp_password")


def test_confidential_values_are_those_of_the_fields_that_repr_leaves_out() -> None:
    assert tuple(item.name for item in fields(Settings) if not item.repr) == CONFIDENTIAL
    assert confidential_values(Settings(smtp_user="me", webhook_secret="0123456789abcdef")) == (
        "0123456789abcdef",
        "me",
    )
    assert confidential_values(Settings()) == ()


def test_a_wrong_value_that_may_be_confidential_or_of_a_person_is_in_no_error() -> None:
    marker = "mark er/@"
    names = [f"QOL_{name.upper()}" for name in CONFIDENTIAL] + ["QOL_MAIL_TO", "QOL_MAIL_FROM", "QOL_OWNERS"]
    names += ["QOL_GARMIN_URL", "QOL_PUBLIC_URL", "QOL_ARRIVALS_QUEUE_URL"]
    with pytest.raises(SettingsError) as error:
        load_settings(dict.fromkeys(names, marker))
    assert "QOL_WEBHOOK_SECRET must be at least 16 plain characters" in str(error.value)
    assert "QOL_GARMIN_CLIENT_ID must be an id without spaces" in str(error.value)
    assert "mark" not in str(error.value)
    assert error.value.__cause__ is error.value.__context__ is None


@pytest.mark.parametrize("sender", ["qol@example.org", "QOL Office <qol@example.org>"])
def test_the_sender_is_an_address_with_or_without_a_name(sender: str) -> None:
    mail = {"QOL_SMTP_HOST": "mail", "QOL_MAIL_TO": "a@example.org", "QOL_MAIL_FROM": sender}
    assert load_settings(mail).mail_from == sender


def test_a_variable_that_is_wrong_is_not_called_missing_too() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"QOL_SMTP_HOST": "mail", "QOL_MAIL_FROM": "a@example.org", "QOL_MAIL_TO": "nobody"})
    assert str(error.value) == "settings are wrong: QOL_MAIL_TO must be mail addresses with commas between them"


def test_in_code_settings_are_made_without_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QOL_BUCKET", "of-the-environment")
    assert Settings(home=Path("here")).bucket == ""


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("QOL_START_DATE", "0", "must be a date like 2026-04-06, not '0'"),
        ("QOL_START_DATE", "9999-12-31", "must be a date like 2026-04-06, not '9999-12-31'"),
        ("QOL_HOME", "~nobody-of-this-name/qol", "must be a folder, and the home of ~nobody-of-this-name is unknown"),
        ("QOL_ENGINE", "flink", "must be one of duckdb, spark, not 'flink'"),
        ("QOL_MEMORY_MB", "12", "must be a whole number from 512 to 1000000, not '12'"),
    ],
)
def test_a_problem_says_what_a_value_must_be_in_our_words(name: str, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({name: text})
    assert str(error.value) == f"settings are wrong: {name} {problem}"
