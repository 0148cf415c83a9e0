"""The contract of a notifier on SNS; and of several hosts, one notifies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from qol_dagster.defs.alerts import Alert, notify_once
from qol_dagster.report.files import Report, report_key
from qol_dagster.report.mail import announce
from qol_dagster.resources.id_map import AwsIdMap
from qol_dagster.resources.notifier import SnsNotifier
from qol_dagster.resources.platform import Platform, open_platform
from qol_dagster_tests.support.cloud import Cloud, Deployment, alerts_of
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import notifier as contract
from qol_dagster_tests.support.contracts.notifier import ALERT, Outlet
from qol_ingest.shared.languages import LANGUAGES

if TYPE_CHECKING:
    from qol_dagster.report.facts import Facts

pytestmark = pytest.mark.aws

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"


globals().update(contract_tests(contract))


@pytest.fixture
def outlet(cloud: Cloud) -> Outlet:
    arn, queue = cloud.topic()
    return Outlet(SnsNotifier(arn), SnsNotifier(f"{arn}-nowhere"), lambda: alerts_of(queue))


# -- SNS, and several hosts


def test_a_subject_that_sns_would_not_take_is_made_to_one(cloud: Cloud) -> None:
    arn, queue = cloud.topic()
    assert SnsNotifier(arn).send(f"[qol] 週 {'x' * 200}", "body") is True
    ((subject, _),) = alerts_of(queue)
    assert subject == f"[qol] ? {'x' * 92}"
    assert len(subject) == 100


def test_of_a_subject_in_two_languages_sns_is_given_the_one_it_takes(cloud: Cloud) -> None:
    arn, queue = cloud.topic()
    assert SnsNotifier(arn).send("[qol] 週間レポート 2026-11-16 / Weekly report 2026-11-16", "週間レポート") is True
    assert alerts_of(queue) == [("[qol] Weekly report 2026-11-16", "週間レポート")]


def test_without_credentials_or_a_way_to_aws_the_log_has_the_message(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arn, _ = cloud.topic()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert SnsNotifier(arn).send("[qol] it failed", "body") is False
    assert "the alert could not be sent (EndpointConnectionError)" in caplog.text


@pytest.fixture
def host(deployed: Deployment, tmp_path: Path) -> Callable[..., Platform]:
    """A host of one deployment, by its name; it may have other settings."""
    AwsIdMap(deployed.settings.id_map_table).add(USER)
    return lambda name, **others: open_platform(replace(deployed.settings, home=tmp_path / name, **others))


def test_of_several_hosts_that_see_one_failure_one_tells(host: Callable[..., Platform], deployed: Deployment) -> None:
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda number: notify_once(host(f"host-{number}"), ALERT), range(8)))
    assert sorted(told) == [False] * 7 + [True]
    assert [subject for subject, _ in deployed.told()] == ["[qol] weekly_metrics_job failed for 2026-11-16"]
    assert notify_once(host("another"), replace(ALERT, run_id="run-2")) is True


def test_what_one_host_could_not_send_another_does(host: Callable[..., Platform], deployed: Deployment) -> None:
    works = host("one")
    broken = host("two", alert_topic_arn=f"{works.settings.alert_topic_arn}-nowhere")
    assert notify_once(broken, ALERT) is False
    assert notify_once(works, ALERT) is True
    assert notify_once(broken, ALERT) is False
    assert len(deployed.told()) == 1


def test_staff_hear_once_of_a_report_whichever_host_wrote_it(
    host: Callable[..., Platform], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    week = date(2026, 11, 16)
    monkeypatch.setattr("qol_dagster.report.mail.last_due_week", lambda _now: week)
    topic, inbox = cloud.topic()
    keys = {language: report_key(week, language) for language in LANGUAGES}
    report = Report(cast("Facts", SimpleNamespace(week=week)), keys, {"silent": 2, "not_worn": 1}, written=True)

    def announced(name: str, **settings: str) -> bool:
        platform = host(name, **settings)
        return announce(platform, platform.lake(), report)

    assert not announced("nobody is to hear")
    assert not announced("broken", report_topic_arn=f"{topic}-nowhere")
    assert [announced(name, report_topic_arn=topic, report_url="https://qol.example.org/r") for name in "ab"] == [
        True,
        False,
    ]
    ((subject, body),) = alerts_of(inbox)
    assert subject == "[qol] Weekly report 2026-11-16"
    assert f"https://qol.example.org/r/week={week}/report.ja.html" in body
    assert "To call: 3 (no data: 2, little data: 1, questionnaire: 0, to join: 0)" in body


@pytest.mark.parametrize("lost", [{"bucket": "no-such-bucket-of-ours"}, {"id_map_table": "nowhere"}])
def test_a_bucket_or_a_table_out_of_reach_does_not_silence_the_alert_about_it(
    host: Callable[..., Platform], deployed: Deployment, lost: dict[str, str]
) -> None:
    assert notify_once(host("one", **lost), ALERT) is True
    assert len(deployed.told()) == 1


def test_ids_of_people_are_taken_out_of_what_is_told(host: Callable[..., Platform], deployed: Deployment) -> None:
    leak = Alert("run-3", "weekly_metrics_job", "2026-11-16", "daily_metrics", f"LakeError: raw/{USER}.jsonl is odd")
    assert notify_once(host("one"), leak) is True
    ((_, body),) = deployed.told()
    assert "raw/***.jsonl is odd" in body
