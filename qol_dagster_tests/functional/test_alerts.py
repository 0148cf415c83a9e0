"""One failure, one mail: told by whoever sees it first, without ids of people, and never in the way of the run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.definitions import build_defs
from qol_dagster.defs.alerts import (
    confidential_values,
    failure_sensor,
    notify_once,
    redacted,
    resend_failures,
    wait_until_sent,
)
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.shared_object import SharedObject, Version
from qol_dagster.resources import outbox
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings
from qol_dagster_tests.support.contracts.notifier import ALERT
from qol_dagster_tests.support.lakes import MONDAY, record, write_raw
from qol_dagster_tests.support.mail import Inbox, hanging_server

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"


@pytest.fixture
def mailing(settings: Settings, inbox: tuple[Inbox, int]) -> Settings:
    """Settings that mail to the inbox; its one participant is USER."""
    IdMap(settings.id_map_path).add(USER, "P1")
    return replace(
        settings,
        smtp_host="127.0.0.1",
        smtp_port=inbox[1],
        smtp_starttls=False,
        mail_from="qol@example.org",
        mail_to=("one@example.org", "two@example.org"),
    )


def break_the_lake(settings: Settings) -> None:
    (settings.lake_dir / "processed").write_text("a file where a folder belongs")


@pytest.mark.slow
def test_a_failed_run_sends_one_mail_with_the_reason_the_week_and_what_to_do(
    mailing: Settings, inbox: tuple[Inbox, int]
) -> None:
    write_raw(mailing.lake_dir, MONDAY, [record("dailies", USER, MONDAY)])
    break_the_lake(mailing)
    done = materialize_weeks(mailing, [MONDAY])
    assert not done.success
    wait_until_sent()
    (mail,) = inbox[0].mails
    assert mail["Subject"] == "[qol] weekly_metrics_job failed for 2026-11-16"
    assert mail["To"] == "one@example.org, two@example.org"
    text = mail.get_content()
    for word in (done.run_id, "weekly_etl", "is a file where a folder belongs", "qol materialize"):
        assert word in text
    assert USER not in text


def nights(settings: Settings) -> tuple[list[Any], list[Any]]:
    """What the weekly and the status rows of the week say of nights."""
    lake = Lake.local(settings.lake_dir)
    weekly, status = lake.read_table("weekly", MONDAY), lake.read_table("status", MONDAY)
    assert weekly
    assert status
    return weekly["n_nights"].to_pylist(), status["last_night_date"].to_pylist()


@pytest.mark.slow
def test_the_mail_promises_nothing_that_a_run_does_not_keep_and_the_next_run_makes_the_tables_agree(
    mailing: Settings, inbox: tuple[Inbox, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raw(mailing.lake_dir, MONDAY, [record("dailies", USER, MONDAY)])
    assert materialize_weeks(mailing, [MONDAY]).success
    assert nights(mailing) == ([0], [None])
    write_raw(mailing.lake_dir, MONDAY, [record("sleeps", USER, MONDAY, durationInSeconds=25_200)], name="late")
    with monkeypatch.context() as patched:
        calls = iter(["", "P1 has two rows", "P1 has two rows"])
        patched.setattr("qol_dagster.pipeline.checks._double_keys", lambda *_: next(calls))
        assert not materialize_weeks(mailing, [MONDAY]).success
    assert nights(mailing) == ([1], [None]), "weekly rows are new, status rows old"
    wait_until_sent()
    text = " ".join(inbox[0].mails[0].get_content().split())
    assert "keep their old data" not in text
    assert "what was written before the failure is new, the rest is as it was" in text
    assert "the rows that failed it are in their table" in text
    assert materialize_weeks(mailing, [MONDAY]).success
    assert nights(mailing) == ([1], ["2026-11-16"])


def test_the_japanese_half_says_which_weeks_and_step_failed_and_why() -> None:
    alert = replace(ALERT, partition="2026-11-16 to 2026-11-23", step="weekly_etl", error="the disk is {full}")
    for one, weeks in ((alert, "2026-11-16～2026-11-23"), (replace(alert, partition="no partition"), "なし")):
        english, _, japanese = one.body().partition("失敗しました。")
        assert f"対象週：{weeks}\nステップ：weekly_etl\n理由：the disk is {{full}}\n" in japanese
        assert f"Weeks:  {one.partition}\nStep:   weekly_etl\nReason: the disk is {{full}}\n" in english


def test_the_advice_is_that_of_the_job() -> None:
    strict = replace(ALERT, job="weekly_metrics_strict_job", step="weekly_etl_strict").body()
    assert "weekly_metrics_strict > Materialize" in strict
    assert "--week DATE --profile strict" in strict
    assert "daily_metrics_strict, weekly_metrics_strict, participant_status_strict" in strict
    by_hand = replace(ALERT, job="__ASSET_JOB").body()
    assert "`qol materialize --week DATE`" in by_hand
    backfill = replace(ALERT, job="garmin_backfill_job", partition="no partition", step="ask_garmin").body()
    assert "start it again with the same configuration" in backfill
    assert "tables" not in backfill


@pytest.mark.slow
def test_the_sensor_tells_of_a_run_that_the_hook_did_not_see_and_of_no_run_twice(
    mailing: Settings, inbox: tuple[Inbox, int]
) -> None:
    break_the_lake(mailing)
    done = materialize_weeks(mailing, [MONDAY])
    wait_until_sent()
    assert len(inbox[0].mails) == 1
    sensor = failure_sensor(open_platform(mailing))
    with dagster_instance(mailing) as instance:
        run = instance.get_run_by_id(done.run_id)
        assert run is not None
        job = build_defs(mailing).resolve_job_def("weekly_metrics_job")
        lost = instance.create_run_for_job(job, tags={"dagster/partition": "2026-11-09", "dagster/max_retries": "0"})
        instance.report_run_failed(lost, message="the machine went away")
        for failed in (run, lost, lost):
            look_at(sensor, instance, failed)
    subjects = [mail["Subject"] for mail in inbox[0].mails]
    assert subjects == [f"[qol] weekly_metrics_job failed for {week}" for week in ("2026-11-16", "2026-11-09")]
    assert "the machine went away" in inbox[0].mails[1].get_content()


SENDS = """
from qol_dagster.defs.alerts import Alert, notify_once
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import load_settings
notify_once(open_platform(load_settings()), Alert({run_id!r}, "weekly_metrics_job", "2026-11-09", "none", "lost"))
"""


def test_an_alert_whose_sender_is_killed_while_it_sends_is_sent_after_all_and_once(
    mailing: Settings, inbox: tuple[Inbox, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with dagster_instance(mailing) as instance, hanging_server() as server:
        job = build_defs(mailing).resolve_job_def("weekly_metrics_job")
        lost = instance.create_run_for_job(job, tags={"dagster/max_retries": "0"})
        instance.report_run_failed(lost, message="the machine went away")
        to = {"HOST": "127.0.0.1", "PORT": str(server.port), "STARTTLS": "false"}
        addresses = {"QOL_MAIL_FROM": "qol@example.org", "QOL_MAIL_TO": "ops@example.org"}
        variables = {"QOL_HOME": str(mailing.home), **{f"QOL_SMTP_{name}": value for name, value in to.items()}}
        command = [sys.executable, "-c", SENDS.format(run_id=lost.run_id)]
        with subprocess.Popen(command, env={**os.environ, **variables, **addresses}) as sender:
            while not server.connections:
                assert sender.poll() is None
                time.sleep(0.05)
            sender.kill()
        parts = open_platform(mailing)
        assert resend_failures(parts, instance)
        assert inbox[0].mails == [], "it may still be under way"
        monkeypatch.setattr(outbox, "LOST", timedelta(0))
        for _ in range(2):
            assert resend_failures(parts, instance)
    (mail,) = inbox[0].mails
    assert "the machine went away" in mail.get_content()


def look_at(sensor: Any, instance: dg.DagsterInstance, run: Any) -> None:
    stored = instance.get_run_by_id(run.run_id)
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE)
    assert stored is not None
    event = events[-1].dagster_event
    assert event is not None
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failure_sensor", dagster_event=event, dagster_instance=instance, dagster_run=stored
    ).for_run_failure()
    sensor(context)


def test_a_sender_that_was_slower_takes_nothing_from_the_one_that_was_faster(tmp_path: Path) -> None:
    faster = outbox.Outgoing(partial(SharedObject.local, tmp_path), "run")
    told: list[bool] = []

    class OvertakenAfterALook(SharedObject):
        def read(self) -> Version:
            seen = super().read()
            if not told:
                told.append(faster.claim())
            return seen

    slower = outbox.Outgoing(lambda name: OvertakenAfterALook(SharedObject.local(tmp_path, name).store, name), "run")
    assert slower.claim() is False
    assert told == [True]
    assert faster.is_due() is False


@pytest.mark.parametrize("answer", ["451 try later", "554 no"])
def test_a_mail_that_is_refused_never_breaks_anything_and_is_tried_again_by_the_sensor(
    mailing: Settings, inbox: tuple[Inbox, int], caplog: pytest.LogCaptureFixture, answer: str
) -> None:
    inbox[0].answer = answer
    assert notify_once(open_platform(mailing), ALERT) is False
    assert "could not be sent" in caplog.text
    inbox[0].answer = "250 OK"
    assert notify_once(open_platform(mailing), ALERT) is True
    assert notify_once(open_platform(mailing), ALERT) is False
    assert len(inbox[0].mails) == 1


def test_without_a_mail_server_the_log_has_the_alert(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert notify_once(open_platform(settings), ALERT) is True
    assert "weekly_metrics_job failed for 2026-11-16" in caplog.text


def test_a_server_that_is_not_there_is_logged_without_the_password(
    mailing: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = replace(mailing, smtp_port=1, smtp_starttls=True, smtp_user="me", smtp_password="hunter2-hunter2")
    assert notify_once(open_platform(nowhere), ALERT) is False
    assert "ConnectionRefusedError" in caplog.text
    assert "hunter2" not in caplog.text


def test_ids_secrets_and_long_quotations_are_taken_out_of_an_alert(mailing: Settings, inbox: tuple[Inbox, int]) -> None:
    secret = replace(mailing, webhook_secret="s3cret-" * 4)
    leak = f"bad line of {USER} at /garmin/{'s3cret-' * 4}\nsecond line {USER}\n" + "x" * 5000
    assert notify_once(open_platform(secret), replace(ALERT, error=leak)) is True
    text = inbox[0].mails[0].get_content()
    assert "bad line of *** at /garmin/***" in text
    assert USER not in text
    assert len(text) < 2000
    assert redacted("", []) == "no reason was given"


def test_every_confidential_setting_is_taken_out_whole(settings: Settings) -> None:
    ids = {"garmin_client_id": "client-77", "garmin_client_secret": "hush-hush"}
    secret = replace(settings, smtp_user="me@smtp", smtp_password="me@smtp-2026", **ids)
    leak = "refused: me@smtp-2026 of me@smtp, hush-hush of client-77"
    assert redacted(leak, confidential_values(open_platform(secret))) == "refused: *** of ***, *** of ***"


def test_a_short_user_name_is_taken_out_as_a_word_and_not_within_words(settings: Settings) -> None:
    known = confidential_values(open_platform(replace(settings, smtp_user="me")))
    assert redacted("some user me, named <me>", known) == "some user ***, named <***>"


def test_what_the_first_line_announces_is_told_too() -> None:
    assert redacted("1 check failed:\n  one row for each key\n  more", []) == "1 check failed: one row for each key"


def test_a_lost_run_that_is_started_again_is_not_told_of(mailing: Settings, inbox: tuple[Inbox, int]) -> None:
    sensor = failure_sensor(open_platform(mailing))
    with dagster_instance(mailing) as instance:
        job = build_defs(mailing).resolve_job_def("weekly_metrics_job")
        lost = instance.create_run_for_job(job, tags={"dagster/partition": "2026-11-09"})
        instance.report_run_failed(lost, message="the machine went away")
        look_at(sensor, instance, lost)
    assert inbox[0].mails == []


def test_a_lost_run_is_not_told_of_before_dagster_has_decided_to_start_it_again(
    mailing: Settings, inbox: tuple[Inbox, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor, decided = failure_sensor(open_platform(mailing)), threading.Event()
    with dagster_instance(mailing) as instance:
        job = build_defs(mailing).resolve_job_def("weekly_metrics_job")
        lost = instance.create_run_for_job(job, tags={"dagster/partition": "2026-11-09"})
        tag = instance.add_run_tags
        monkeypatch.setattr(instance, "add_run_tags", lambda *given: decided.wait(10) and tag(*given))
        marking = threading.Thread(target=instance.report_run_failed, args=(lost, "the machine went away"))
        marking.start()
        while instance.get_run_by_id(lost.run_id).status != dg.DagsterRunStatus.FAILURE:
            time.sleep(0.01)
        threading.Timer(0.3, decided.set).start()
        look_at(sensor, instance, lost)
        marking.join()
    assert inbox[0].mails == []
