"""Every alert of one machine, from its cause to a real mail server: one mail each, with the runbook's next step."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin
from dagster._daemon.types import DaemonHeartbeat

from qol_dagster.cli.app import run
from qol_dagster.definitions import build_defs
from qol_dagster.defs.alerts import wait_until_sent
from qol_dagster.defs.instance import LOCATION, dagster_instance
from qol_dagster.defs.messages import SUBJECTS
from qol_dagster.lake.lake import Lake
from qol_dagster.resources import notifier, watch
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import load_settings
from qol_dagster.weeks import dates_of, last_due_week
from qol_dagster_tests.support.forms import write_due
from qol_dagster_tests.support.lakes import record, worn, write_raw
from qol_dagster_tests.support.log_privacy import GARMIN_ID
from qol_dagster_tests.support.mail import HangingServer, hanging_server, mail_server
from qol_dagster_tests.support.ticks import store_ticks
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver

DOCS = Path(__file__).parents[2] / "docs"
RUNBOOKS = {"en": DOCS / "guide" / "operations.md", "ja": DOCS / "ja" / "guide" / "operations.md"}
SECRET = "secret-of-the-tests-1"
USERS = {f"a1b2c3d4e5f60718293a4b5c6d7e8f9{number}": f"TANAKA-{number}" for number in range(5)}
SENSORS = ("run_failure_sensor", "unread_sensor", "watch_sensor", "backup_sensor")


@dataclass
class Story:
    """What came of it: the mails, how many clients of a hanging server had not given up when the run was over, and how
    many connections each sensor and command made to it.
    """

    mails: list[EmailMessage] = field(default_factory=list)
    waited_for_after_the_run: int = 0
    hung: dict[str, int] = field(default_factory=dict)
    mails_while_down: int = 0

    def mails_of(self, name: str) -> list[EmailMessage]:
        """Those with the subject of an alert."""
        return [mail for mail in self.mails if re.fullmatch(_pattern(SUBJECTS[name], r"\{\w+\}"), mail["Subject"])]  # type: ignore[index]


@dataclass
class Deployment:
    """One machine whose daemon is the test: it remembers the sensors' cursors."""

    patched: pytest.MonkeyPatch
    cursors: dict[str, str | None] = field(default_factory=dict)
    """By the sensor's name."""

    def tick(self, sensor: dg.SensorDefinition) -> None:
        """Evaluate a sensor as the daemon does. A tick that fails raises."""
        here = {"repository_name": "__repository__", "code_location_origin": RegisteredCodeLocationOrigin(LOCATION)}
        with (
            dagster_instance(load_settings()) as instance,
            dg.SensorEvaluationContext(
                None, instance=instance, cursor=self.cursors.get(sensor.name), sensor_name=sensor.name, **here
            ) as context,
        ):
            ticked = sensor.evaluate_tick(context)
        assert [one.error for one in ticked.dagster_run_reactions if one.error] == []
        self.cursors[sensor.name] = ticked.cursor

    def mails_to(self, port: int) -> dict[str, dg.SensorDefinition]:
        """Load the deployment with another mail server; return its sensors that alert."""
        self.patched.setenv("QOL_SMTP_PORT", str(port))
        definitions = build_defs(load_settings())
        return {name: definitions.resolve_sensor_def(name) for name in SENSORS}

    def everybody_looks(self, sensors: Mapping[str, dg.SensorDefinition]) -> Iterator[str]:
        """Tick the sensors, and have cron ask for the daemon; yield who has looked."""
        for name, sensor in sensors.items():
            self.tick(sensor)
            yield name
        assert run(["heartbeat"]) == 1
        yield "heartbeat"


@contextmanager
def deployment(home: Path) -> Iterator[Deployment]:
    """A machine where all is well but what nobody was alerted to yet."""
    due = last_due_week(datetime.now(UTC) - watch.WEEK_LATE)
    variables = {
        "QOL_HOME": home, "QOL_START_DATE": due - timedelta(weeks=4), "QOL_BACKUP_DIR": home.parent / "backups",
        "QOL_SMTP_HOST": "127.0.0.1", "QOL_SMTP_STARTTLS": "false", "QOL_MAIL_FROM": "qol@example.org",
        "QOL_MAIL_TO": "ops@example.org",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        for name, value in variables.items():
            patched.setenv(name, str(value))
        yield Deployment(patched)


def bring_about_all_but_a_failed_run(machine: Deployment, due: date) -> None:
    """Weeks ago devices were worn less, and then nothing came: silence, no data, a week that is missing ..."""
    settings = load_settings()
    for user, participant in USERS.items():
        IdMap(settings.id_map_path).add(user, participant)
    first, left_out, usual, poor = (due - timedelta(weeks=back) for back in (4, 3, 2, 1))
    for week, hours in ((first, 12), (left_out, 12), (usual, 12), (poor, 2)):
        for day in dates_of(week):
            lines = [record("dailies", user, day, timeOffsetHeartRateSamples=worn(hours)) for user in USERS]
            write_raw(settings.lake_dir, day, lines)
    assert run(["materialize", "--week", str(first)]) == 0
    assert run(["materialize", "--week", str(usual), "--until", str(poor)]) == 0
    asked_on = datetime.now(UTC).date() - timedelta(weeks=2)
    write_due(Lake.local(settings.lake_dir), next(iter(USERS.values())), asked_on, asked_on + timedelta(weeks=4))
    machine.patched.setattr(watch, "LEAST_FREE_GB", 1e9)  # more than any disk has
    push = {"rawPath": f"/garmin/{SECRET}", "requestContext": {"http": {"method": "POST"}}, "body": b"no json"}
    Receiver(DirectoryStore(settings.lake_dir), SECRET).handle(push, datetime.now(UTC))
    first_asked = (datetime.now(UTC) - timedelta(days=8)).isoformat()
    machine.cursors["backup_sensor"] = json.dumps({"since": first_asked, "alerted": 0})
    with dagster_instance(settings) as instance:
        store_ticks(instance, "raw_arrivals_sensor", "FFF")
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 600, "SENSOR", "one", []))


def fail_a_run(due: date, server: HangingServer) -> int:
    """Run a week that cannot be written; return how many clients of the mail server still wait when the run is over."""
    lake = load_settings().lake_dir
    write_raw(lake, due, [record("dailies", user, due) for user in USERS])
    (lake / "processed" / "daily" / f"date={due}").write_text("a file where a folder belongs")
    assert run(["materialize", "--week", str(due)]) == 1
    until = time.monotonic() + 10
    while not server.connections and time.monotonic() < until:
        time.sleep(0.01)  # the alert is sent beside the run
    waiting = server.waiting()
    server.drop()
    wait_until_sent()
    return waiting


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """All causes at once, while the mail server hangs, then refuses, and is back."""
    told = Story()
    with deployment(tmp_path_factory.mktemp("alerts") / "home") as machine:
        due = last_due_week(datetime.now(UTC) - watch.WEEK_LATE)
        bring_about_all_but_a_failed_run(machine, due)
        with hanging_server() as server:
            sensors = machine.mails_to(server.port)
            machine.tick(sensors["run_failure_sensor"])  # from here on it looks at runs that fail
            told.waited_for_after_the_run = fail_a_run(due, server)
            machine.patched.setattr(notifier, "SMTP_TIMEOUT_S", 0.3)
            for who in machine.everybody_looks(sensors):
                told.hung[who] = len(server.connections)
                server.drop()
        machine.patched.setattr(notifier, "SMTP_TIMEOUT_S", 20)
        with mail_server() as (inbox, port):
            sensors = machine.mails_to(port)
            inbox.answer = "451 try later"
            list(machine.everybody_looks(sensors))
            told.mails_while_down = len(inbox.mails)
            inbox.answer = "250 OK"
            for _ in range(2):
                list(machine.everybody_looks(sensors))
            told.mails = inbox.mails
    return told


@pytest.mark.slow
def test_a_run_that_fails_does_not_wait_for_a_mail_server_that_hangs(story: Story) -> None:
    assert story.waited_for_after_the_run == 1


@pytest.mark.slow
def test_a_mail_server_that_hangs_costs_each_tick_one_attempt_and_no_failure(story: Story) -> None:
    assert story.hung == dict.fromkeys((*SENSORS, "heartbeat"), 1)
    assert story.mails_while_down == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_each_alert_is_one_mail_once_the_server_is_back_however_often_it_is_looked(story: Story, name: str) -> None:
    assert len(story.mails_of(name)) == 1
    assert len(story.mails) == len(SUBJECTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_no_alert_names_anybody(story: Story, name: str) -> None:
    (mail,) = story.mails_of(name)
    whole = f"{mail['Subject']}\n{mail.get_content()}"
    assert not GARMIN_ID.search(whole)
    assert not [one for one in (SECRET, *USERS, *USERS.values()) if one in whole]


@pytest.mark.slow
@pytest.mark.parametrize("language", RUNBOOKS)
@pytest.mark.parametrize("name", SUBJECTS)
def test_the_runbook_has_each_alert_by_its_subject_with_its_next_step_in_both_languages(
    story: Story, name: str, language: str
) -> None:
    (mail,) = story.mails_of(name)
    runbook = rows_of(RUNBOOKS[language])
    (row,) = [row for shown, row in runbook.items() if re.fullmatch(_pattern(shown, r"…|\bN\b"), mail["Subject"])]
    assert len(runbook) == len(SUBJECTS)
    said = commands(mail.get_content())
    shown = commands(row)
    assert said.keys() >= shown.keys(), "the mail names what the runbook has people do"
    assert commands(row + linked(row, RUNBOOKS[language])).keys() >= said.keys(), "and the other way round"
    assert min(said.values(), default=2) >= 2, "in English and in Japanese"


def _pattern(shown: str, values: str) -> str:
    """An expression that matches a subject whatever its values are."""
    return ".+".join(map(re.escape, re.split(values, shown)))


def rows_of(runbook: Path) -> Mapping[str, str]:
    """The rows of the table of alerts by the subjects that they show."""
    found = re.findall(r"^\| `(\[qol\] [^`]+)` (\|.*)$", runbook.read_text(), re.MULTILINE)
    return dict(found)


def commands(text: str) -> dict[str, int]:
    """The commands of ours that a text names, dates aside, and how often."""
    named = re.findall(r"`(qol [^`]+)`", re.sub(r"\d{4}-\d\d-\d\d", "DATE", text))
    return {one: named.count(one) for one in named}


def linked(row: str, page: Path) -> str:
    """The sections to which a row leads, and the pages where it leads to a whole page."""
    return "".join(
        _section((page.parent / target).read_text() if target else page.read_text(), anchor)
        for target, anchor in re.findall(r"\]\(([\w.-]*\.md)?(?:#([\w-]+))?\)", row)
    )


def _section(text: str, anchor: str) -> str:
    for section in re.split(r"^#+ ", text, flags=re.MULTILINE):
        heading = section.partition("\n")[0]
        if f"{{#{anchor}}}" in heading or heading.lower().replace(" ", "-") == anchor:
            return section
    return "" if anchor else text
