"""Settings: what is read, what is refused, and what is never shown."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from qol_dagster.settings import VARIABLES, Settings, SettingsError, load_settings


def test_without_variables_everything_has_its_default() -> None:
    assert load_settings({}) == Settings()
    assert load_settings({"QOL_HOME": "", "QOL_ENGINE": "  ", "PATH": "/bin"}) == Settings()


def test_every_variable_is_read() -> None:
    given = {
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
        "QOL_SMTP_HOST": "mail.example.org",
        "QOL_SMTP_PORT": "2525",
        "QOL_SMTP_USER": "me",
        "QOL_SMTP_PASSWORD": "pass",
        "QOL_SMTP_STARTTLS": "no",
        "QOL_MAIL_FROM": "qol@example.org",
        "QOL_MAIL_TO": "a@example.org,b@example.org",
    }
    assert set(given) == set(VARIABLES)
    assert load_settings(given) == Settings(
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
        smtp_host="mail.example.org",
        smtp_port=2525,
        smtp_user="me",
        smtp_password="pass",
        smtp_starttls=False,
        mail_from="qol@example.org",
        mail_to=("a@example.org", "b@example.org"),
    )


def test_all_problems_are_named_in_one_error() -> None:
    wrong = {
        "QOL_TARGET": "aws",
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
