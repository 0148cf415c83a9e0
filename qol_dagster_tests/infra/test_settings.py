"""The settings of a deployment: all mistakes at once, in words."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from datetime import date
from pathlib import Path

import pytest

import infra.app
from infra.settings import DeploySettings, DeploySettingsError, read_settings
from qol_dagster.settings import Settings
from qol_dagster_tests.infra.conftest import NEEDED

CERTIFICATE = "arn:aws:acm:ap-northeast-1:111122223333:certificate/0000"


def test_the_example_has_settings_that_can_be_used() -> None:
    settings = read_settings(json.loads(infra.app.EXAMPLE.read_text()))
    assert settings.alert_mail == ("qol-alerts@example.org",)
    assert settings.start_date == date(2026, 4, 6)
    assert settings.hosts_dagster


def test_three_settings_are_needed_and_the_rest_has_defaults() -> None:
    settings = read_settings(NEEDED)
    assert settings.alert_mail == ("one@example.org", "two@example.org")
    assert settings.start_date == Settings().start_date
    assert not settings.hosts_dagster
    assert not settings.emulated
    with pytest.raises(DeploySettingsError) as told:
        read_settings({})
    for name in NEEDED:
        assert f"{name} is needed" in str(told.value)


def test_the_page_on_deploying_lists_every_setting_with_its_default() -> None:
    page = (Path(infra.app.__file__).parents[1] / "docs/deploy-aws.md").read_text()
    stated = dict(re.findall(r"^\| `([a-z_]+)` \|(?: `([^`]*)`)? \| [A-Z].*\|$", page, re.M))
    usual = {one.name: "" if one.default in (MISSING, "", ()) else str(one.default) for one in fields(DeploySettings)}
    assert stated == {**usual, "emulated": "false"}


def test_all_mistakes_are_told_in_one_error() -> None:
    wrong = {
        **NEEDED,
        "alert_mail": "nobody",
        "start_date": "2026-04-07",
        "public_domain": "https://qol.example.org",
        "dagster_certificate_arn": "arn:aws:acm:us-east-1:111122223333:certificate/0000",
        "emulated": "perhaps",
        "glue_workers": "1",
        "garmin_client_id": "two words",
        "alert_mails": "a@example.org",
    }
    with pytest.raises(DeploySettingsError) as told:
        read_settings(wrong)
    for part in (
        "alert_mail must be mail addresses",
        "start_date must be a Monday, and 2026-04-07 is none",
        "public_domain must be a host name",
        "dagster_certificate_arn must be the ARN of a certificate in ap-northeast-1",
        "emulated must be true or false, not 'perhaps'",
        "glue_workers must be a whole number from 2 to 100, not '1'",
        "garmin_client_id must be an id without spaces",
        "alert_mails is no setting, did you mean alert_mail?",
    ):
        assert part in str(told.value)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"public_domain": "qol.example.org"}, "public_certificate_arn is needed with public_domain"),
        ({"public_certificate_arn": CERTIFICATE}, "public_domain is needed with public_certificate_arn"),
        (
            {"dagster_certificate_arn": CERTIFICATE, "dagster_url": "https://dagster.example.org"},
            "dagster_image_tag is needed with dagster_certificate_arn",
        ),
    ],
)
def test_settings_that_go_together_are_asked_for_together(given: dict[str, str], missing: str) -> None:
    with pytest.raises(DeploySettingsError, match=missing):
        read_settings({**NEEDED, **given})


@pytest.mark.parametrize(
    "url", ["http://dagster.example.org", "https://dagster.example.org:3000", "https://example.org/d"]
)
def test_dagster_is_hosted_at_a_host_of_its_own(url: str) -> None:
    given = {"dagster_url": url, "dagster_certificate_arn": CERTIFICATE, "dagster_image_tag": "0.1.0"}
    with pytest.raises(DeploySettingsError, match="dagster_url must be like https://dagster.example.org to host"):
        read_settings({**NEEDED, **given})


def test_what_is_cdk_s_own_in_the_context_is_passed_over() -> None:
    own = {"@aws-cdk/core:newStyleStackSynthesis": True, "aws:cdk:enable-path-metadata": True, "cdk:x": "y"}
    assert read_settings({**NEEDED, **own}) == read_settings(NEEDED)


def test_an_empty_setting_takes_its_default_and_a_url_loses_its_last_slash() -> None:
    settings = read_settings({**NEEDED, "contact": " ", "glue_workers": None, "garmin_url": "https://garmin.example/"})
    assert (settings.contact, settings.glue_workers, settings.garmin_url) == ("", 2, "https://garmin.example")


def test_the_client_id_is_neither_shown_nor_quoted() -> None:
    assert "the-client-id" not in repr(read_settings(NEEDED))
    with pytest.raises(DeploySettingsError, match="an id without spaces$"):
        read_settings({**NEEDED, "garmin_client_id": "two words"})
