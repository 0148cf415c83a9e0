"""The `qol` command as its users meet it: results on stdout, the rest on stderr, 0, 1 or 2 at the end."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat  # what Dagster writes of a daemon
from rich.cells import cell_len
from typer.main import get_command

from garmin_sim import Simulation
from qol_dagster.cli.app import app, run
from qol_dagster.cli.demo import local_webhook
from qol_dagster.cli.doctor import follow_push
from qol_dagster.cli.simulated import SimulatedTimeReceiver
from qol_dagster.definitions import build_defs
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import DAILY, METRICS_VERSION, STATUS, WEEKLY
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.resources.connections import read_people
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings
from qol_dagster.weeks import last_due_week
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw
from qol_dagster_tests.support.tables import rows
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
STANDARD = "SELECT * FROM db_qol.weekly_metrics ORDER BY date DESC LIMIT 10;"
QOL = [sys.executable, "-W", "error", "-c", "from qol_dagster.cli.app import main; main()"]


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Qol = Callable[..., Said]


@pytest.fixture
def qol(settings: Settings, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*arguments: str) -> Said:
        code = run(arguments)
        return Said(code, *capfd.readouterr())

    return call


@pytest.mark.slow
def test_the_demo_goes_all_the_way_and_prints_nothing_but_its_result_and_its_progress(settings: Settings) -> None:
    done = subprocess.run(
        [*QOL, "demo", "--participants", "3", "--weeks", "2"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    heading, _, *lines = done.stdout.splitlines()
    assert 8 <= len(heading.split()) <= 10
    assert lines[0].startswith("P0001 ")
    assert lines[6] == "(6 rows)"
    assert all(len(line) <= 80 for line in lines[:7])
    assert f"data    {settings.lake_dir}" in lines
    (report,) = (line.removeprefix("report  ") for line in lines if line.startswith("report  "))
    assert Path(report).is_file()
    notes = done.stderr.splitlines()
    assert [note.split()[0] for note in notes[:-1]] == ["3", "enrolled", "pushed", "computing", "computed"]
    assert notes[4].startswith("computed 14 days and 2 weeks in ")
    assert notes[5] == ""
    steps = [line.strip() for line in lines[lines.index("next") + 1 :]]
    assert len(steps) == 3
    assert steps[2].partition("  # ")[0].endswith(" dev")
    for step, said in zip(steps[:2], ("report.en.html", "P0003"), strict=True):
        tried = subprocess.run(
            ["/bin/sh", "-c", runnable(step)], capture_output=True, text=True, timeout=60,
            env={**os.environ, "BROWSER": "true"},
        )  # fmt: skip
        assert (tried.returncode, tried.stderr) == (0, "")
        assert said in tried.stdout
    assert [one.status for one in IdMap(settings.id_map_path).list()] == ["active"] * 3
    first = Simulation(3, 2).dates()[0]
    assert all(one.enrolled_at < str(first) for one in IdMap(settings.id_map_path).list())
    lags = query(settings.lake_dir, "SELECT sync_lag_h FROM db_qol.daily_metrics WHERE sync_lag_h IS NOT NULL").rows
    assert lags
    assert all(0 <= lag < 14 * 24 for (lag,) in lags)  # received when it was sent, in simulated time
    again = subprocess.run(
        [*QOL, "demo", "--participants", "3", "--weeks", "2"],
        env={**os.environ, "QOL_GARMIN_CLIENT_ID": "our-client"},
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr
    assert "computed 0 days" in again.stderr


def runnable(step: str) -> str:
    """A step as its reader types it, with this checkout's `qol` in the place of the one that the demo named."""
    home, _, rest = step.partition(" ")
    assert home.startswith("QOL_HOME=")
    return f"{home} {shlex.join(QOL)} {rest.partition(' ')[2]}"


def test_the_demo_refuses_a_home_with_real_participants(qol: Qol, settings: Settings) -> None:
    IdMap(settings.id_map_path).add(USER)
    said = qol("demo")
    assert (said.code, said.out) == (1, "")
    assert "holds other participants; set QOL_HOME to an empty folder" in said.err


def test_pushes_of_the_demo_whose_simulated_times_cross_are_no_clock_that_was_set_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = SimulatedTimeReceiver(DirectoryStore(tmp_path), "secret")
    body = json.dumps({"dailies": [{"userId": USER, "calendarDate": str(MONDAY)}]})
    for hour in (9, 3):
        sent = f"Mon, 23 Nov 2026 0{hour}:00:00 GMT"
        push = {"rawPath": "/garmin/secret", "headers": {"date": sent}, "body": body}
        assert receiver.handle(push | {"requestContext": {"http": {"method": "POST"}}})["statusCode"] == 200
    assert [one for one in caplog.messages if "clock" in one] == []


def test_from_raw_file_to_table_csv_and_json(qol: Qol, settings: Settings) -> None:
    write_raw(
        settings.lake_dir, MONDAY, [record("dailies", USER, MONDAY, steps=4321, timeOffsetHeartRateSamples=worn(12))]
    )
    assert qol("participants", "add", USER, "--participant-id", "P7").out == "P7\n"
    made = qol("materialize", "--week", "2026-11-19")
    assert (made.code, made.out) == (0, "2026-11-16  participants: 1\n")
    assert re.fullmatch(r"days computed: 7, reused: 0, [\d.]+ s, run [0-9a-f-]{36}\n", made.err)
    table = qol("query", STANDARD)
    assert re.search(r"^steps_mean +4321$", table.out, re.M)
    assert table.err == ""
    (row,) = json.loads(qol("query", STANDARD, "--format", "json").out)
    assert (row["participant_id"], row["date"], row["steps_mean"]) == ("P7", "2026-11-16", 4321)
    (line,) = csv.DictReader(io.StringIO(qol("query", STANDARD, "--format", "csv").out))
    assert (line["participant_id"], line["steps_mean"]) == ("P7", "4321.0")


def test_participants_are_imported_listed_without_garmin_ids_and_revoked(qol: Qol, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"garmin_user_id,participant_id\n{USER},A1\n{'0' * 32},A2\n")
    assert qol("participants", "import", str(file)).out == "2 enrolled\n"
    assert qol("participants", "revoke", "A2").code == 0
    listed = qol("participants", "list", "--format", "json")
    assert [(one["participant_id"], one["status"]) for one in json.loads(listed.out)] == [
        ("A1", "active"),
        ("A2", "revoked"),
    ]
    shown = qol("participants", "list").out
    assert USER not in listed.out + shown
    assert len(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d JST$", shown, re.M)) == 2
    assert all(one["updated_at"].endswith("Z") for one in json.loads(listed.out))


def test_who_pushes_without_being_enrolled_is_listed_masked_and_may_be_forgotten(qol: Qol, settings: Settings) -> None:
    people, lake = IdMap(settings.id_map_path), Lake.local(settings.lake_dir)
    people.add("0" * 32, "A1")
    people.seen([USER, "1" * 32], datetime(2026, 11, 17, tzinfo=UTC))
    lines = [record("dailies", USER, MONDAY), record("sleeps", USER, MONDAY), record("dailies", "0" * 32, MONDAY)]
    lake.write_raw(MONDAY, "a", "".join(json.dumps(line) + "\n" for line in lines).encode())
    listed = json.loads(qol("participants", "pending", "--format", "json").out)
    shown = f"{USER[:4]}...{USER[-4:]}"
    assert {one["garmin_user"]: one["records"] for one in listed} == {shown: 2, "1111...1111": 0}
    assert {one["since"][:10] for one in listed} == {"2026-11-17"}
    assert USER not in str(listed)
    assert qol("participants", "forget", shown).code == 0
    assert qol("participants", "forget", USER).code == 2
    assert [one.garmin_user_id for one in people.list()] == ["1" * 32, "0" * 32]


def announce_departure(settings: Settings, *users: str, at: datetime | None = None) -> None:
    """Receive a deregistration, which nobody applies: there is no puller."""
    receiver = Receiver(DirectoryStore(settings.lake_dir), "secret", id_map=IdMap(settings.id_map_path))
    body = json.dumps({"deregistrations": [{"userId": user} for user in users]})
    push = {"rawPath": "/garmin/secret", "body": body, "requestContext": {"http": {"method": "POST"}}}
    assert receiver.handle(push, at)["statusCode"] == 200


def test_who_has_left_at_garmin_is_not_enrolled_without_a_word(qol: Qol, settings: Settings) -> None:
    announce_departure(settings, USER, at=datetime(2026, 11, 19, 15, tzinfo=UTC))
    add = ("participants", "add", USER, "--participant-id", "FF1")
    refused = qol(*add)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "FF1 left at Garmin on 2026-11-20. Nobody was enrolled." in refused.err
    assert USER not in refused.err
    assert json.loads(qol("participants", "list", "--format", "json").out) == []
    assert qol(*add, "--after-leaving").out == "FF1\n"
    shown = qol("participants", "show", "FF1").out
    assert re.findall(r"JST  (\w+)$", shown, re.M) == ["pending", "deregistered", "active"]


def test_a_list_of_participants_enrols_all_but_who_has_left_and_says_which(
    qol: Qol, settings: Settings, tmp_path: Path
) -> None:
    users = [f"{number:032x}" for number in range(1, 51)]
    file = tmp_path / "people.csv"
    file.write_text("garmin_user_id,participant_id\n" + "".join(f"{one},C{one[-2:]}\n" for one in users))
    announce_departure(settings, users[6], at=datetime(2026, 11, 20, tzinfo=UTC))
    for _ in range(2):
        said = qol("participants", "import", str(file))
        assert (said.code, said.out, said.err.count("\n")) == (1, "49 enrolled\n", 1)
        assert "1 not enrolled: entry 7: C07 left at Garmin on 2026-11-20. " in said.err
        assert not any(one in said.err for one in users)
    assert "C07" not in qol("participants", "list").out
    assert qol("participants", "import", str(file), "--after-leaving").out == "50 enrolled\n"
    assert qol("participants", "revoke", "C08").code == 0
    assert "entry 8: C08 was revoked on 20" in qol("participants", "import", str(file)).err


@pytest.mark.parametrize("how", ["forgotten", "never noted"])
def test_a_departure_counts_also_of_a_user_whom_the_id_map_does_not_know(
    qol: Qol, settings: Settings, how: str
) -> None:
    announce_departure(settings, USER)
    if how == "forgotten":
        assert qol("participants", "forget", USER).code == 0
    else:
        settings.id_map_path.unlink()
    refused = qol("participants", "add", USER)
    assert (refused.code, "this Garmin user left at Garmin on" in refused.err) == (2, True)


def test_who_has_left_at_garmin_is_neither_pending_nor_counted(qol: Qol, settings: Settings) -> None:
    IdMap(settings.id_map_path).seen(["1" * 32], datetime(2026, 11, 17, tzinfo=UTC))
    announce_departure(settings, USER)
    listed = qol("participants", "list")
    assert listed.err.startswith("1 Garmin users push data and are not enrolled")
    pending = json.loads(qol("participants", "pending", "--format", "json").out)
    assert [one["garmin_user"] for one in pending] == ["1111...1111"]
    assert read_people(open_platform(settings)).n_pending == 1


def test_a_participant_s_history_has_what_nobody_has_applied_yet(qol: Qol, settings: Settings) -> None:
    assert qol("participants", "add", USER).out == "P0001\n"
    announce_departure(settings, USER)
    shown = qol("participants", "show", "P0001").out
    assert shown.startswith("account 1: deregistered, ")
    assert re.findall(r"JST  (\w+)$", shown, re.M) == ["active", "deregistered"]


def test_an_enrolled_user_is_forgotten_only_by_saying_whose_account_it_is(qol: Qol, settings: Settings) -> None:
    people = IdMap(settings.id_map_path)
    people.add(USER, "A1")
    for arguments in ([], ["--participant-id", "A2"]):
        refused = qol("participants", "forget", USER, *arguments)
        assert (refused.code, USER in refused.err) == (2, False)
        assert "belongs to A1" in refused.err
    assert qol("participants", "forget", USER, "--participant-id", "A1").code == 0
    assert people.list() == []


def test_adding_a_participant_id_in_place_of_a_garmin_user_is_refused(qol: Qol) -> None:
    assert qol("participants", "add", USER, "--participant-id", "QOL-003").code == 0
    refused = qol("participants", "add", "QOL-003")
    assert (refused.code, refused.out) == (2, "")
    assert "is a participant id" in refused.err


@pytest.mark.parametrize("client_id", ["", "our-client"])
@pytest.mark.slow
def test_a_simulation_pushed_to_the_served_webhook_becomes_raw_files(
    qol: Qol, settings: Settings, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QOL_GARMIN_CLIENT_ID", client_id)
    server = subprocess.Popen(
        [*QOL, "webhook", "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/garmin/[\w-]{16,}", url)
        pushed = qol("simulate", "--participants", "2", "--weeks", "1", "--until", "2026-11-22", "--to", url, "--enrol")
    finally:
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=20)
    assert pushed.code == 0, pushed.err
    assert pushed.out.startswith("2026-11-16 to 2026-11-22: ")
    assert (server.returncode, out) == (130, "")
    assert url.rsplit("/", 1)[-1] not in err
    assert qol("materialize", "--week", "2026-11-22").out == "2026-11-16  participants: 2\n"


@pytest.mark.slow
def test_the_status_of_a_simulated_cohort_names_who_fell_silent_and_who_left(qol: Qol) -> None:
    chosen = ["--until", "2026-11-22", "--seed", "5", "--personas", "silent,steady,two_accounts,leaver"]
    assert qol("simulate", "--participants", "4", "--weeks", "4", "--lake", "--enrol", *chosen).code == 0
    qol("materialize", "--week", "2026-10-26", "--until", "2026-11-16")
    asked = (
        "SELECT participant_id, status, days_since_last_sync AS days FROM db_qol.participant_status "
        "WHERE date = '2026-11-16'"
    )
    found = {row["participant_id"]: row for row in json.loads(qol("query", asked, "--format", "json").out)}
    assert {person: row["status"] for person, row in found.items()} == {
        "P0001": "not_synced",
        "P0002": "valid",
        "P0003": "valid",
        "P0004": "revoked",
    }
    assert found["P0001"]["days"] >= 9
    assert found["P0002"]["days"] <= 2


def test_simulated_people_are_enrolled_before_the_first_day_however_often(qol: Qol, settings: Settings) -> None:
    simulate = ("simulate", "--participants", "2", "--weeks", "1", "--until", "2026-11-22", "--lake", "--enrol")
    qol(*simulate)
    first = IdMap(settings.id_map_path).list()
    assert [one.enrolled_at[:10] for one in first] == ["2026-11-15", "2026-11-14"]
    qol(*simulate)
    assert [one.enrolled_at for one in IdMap(settings.id_map_path).list()] == [one.enrolled_at for one in first]


@pytest.mark.slow
def test_a_simulation_written_into_the_lake_gives_the_same_rows_as_one_that_is_pushed(qol: Qol) -> None:
    assert (
        qol("simulate", "--participants", "2", "--weeks", "1", "--until", "2026-11-22", "--lake", "--enrol").code == 0
    )
    assert qol("materialize", "--week", "2026-11-22").out == "2026-11-16  participants: 2\n"


def test_misfiled_records_are_moved_to_their_date_and_then_count(qol: Qol, settings: Settings) -> None:
    tuesday = MONDAY.replace(day=17)
    lines = [record("dailies", USER, MONDAY, steps=1), record("dailies", USER, tuesday, steps=2), b"not json"]
    file = write_raw(settings.lake_dir, MONDAY, lines)
    assert qol("raw", "refile", "--dry-run").out == "1 of 3 records are under another date\n"
    assert qol("raw", "refile").out == "1 of 3 records moved\n"
    assert qol("raw", "refile").out == "0 of 3 records moved\n"
    assert file.read_bytes() == json.dumps(lines[0]).encode() + b"\nnot json\n"
    (moved,) = (settings.lake_dir / "raw" / "daily" / "date=2026-11-17").iterdir()
    assert json.loads(moved.read_bytes()) == lines[1]
    qol("participants", "add", USER)
    qol("materialize", "--week", "2026-11-16")
    found = json.loads(
        qol("query", "SELECT date, steps FROM db_qol.daily_metrics ORDER BY date", "--format", "json").out
    )
    assert found == [{"date": "2026-11-16", "steps": 1}, {"date": "2026-11-17", "steps": 2}]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("nonsense", 2, "No such command"),
        ("materialize", 2, "Missing option '--week'"),
        ("materialize --week 2026-13-01", 2, "'2026-13-01' is no date like 2026-11-16"),
        ("materialize --week 2999-01-01", 2, "not over yet"),
        ("materialize --week 2014-01-01", 2, "before the start date 2015-01-05"),
        ("materialize --week 2026-11-16 --until 2026-11-01", 2, "--until is before --week"),
        ("materialize --week 2026-11-16 --engine flink", 2, "--engine"),
        ("query SELEC", 1, "syntax error"),
        ("query --format xml x", 2, "--format"),
        ("participants", 2, "Missing command"),
        ("participants revoke P9", 2, "there is no participant P9"),
        ("participants import nowhere.csv", 1, "No such file or directory: nowhere.csv"),
        ("simulate --participants 2", 2, "--to URL or --lake"),
        ("simulate --to ftp://x --weeks 1", 2, "http://"),
        ("simulate --to http://127.0.0.1:1/garmin/x --participants 0", 2, "--participants"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(qol: Qol, arguments: str, code: int, words: str) -> None:
    said = qol(*arguments.split())
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith("qol: ")
    assert said.err.count("\n") == 1
    assert words in said.err


def test_wrong_settings_are_named_by_every_command(qol: Qol, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QOL_ENGINE", "abacus")
    said = qol("query", "SELECT 1")
    assert (said.code, said.out) == (2, "")
    assert "QOL_ENGINE must be one of duckdb, spark" in said.err
    looked = qol("doctor")
    assert looked.code == 1
    assert looked.out.startswith("FAIL  settings: ")


def test_a_home_that_is_not_there_is_not_made_by_a_question(
    qol: Qol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QOL_HOME", str(tmp_path / "elsewhere"))
    said = qol("query", "SELECT 1")
    assert said.code == 1
    assert "set QOL_HOME" in said.err
    assert not (tmp_path / "elsewhere").exists()
    assert qol("participants", "add", USER).code == 0
    assert (tmp_path / "elsewhere").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_the_doctor_says_what_is_there_and_what_is_missing(qol: Qol, settings: Settings) -> None:
    said = qol("doctor")
    assert said.code == 0
    assert "nobody is enrolled" in said.out
    assert "failures stand in the log only" in said.out
    write_raw(settings.lake_dir, MONDAY, [record("dailies", USER, MONDAY)])
    qol("participants", "add", USER)
    assert "Run `qol materialize --week 2026-11-16" in qol("doctor").out
    qol("materialize", "--week", "2026-11-16")
    said = qol("doctor")
    assert "weeks: 1, 2026-11-16 to 2026-11-16" in said.out
    assert USER not in said.out


def test_the_doctor_follows_a_test_push_to_raw_where_it_is_nobody_s_data(qol: Qol, settings: Settings) -> None:
    with local_webhook(settings) as server:
        said = qol("doctor", "--webhook", server.url)
        assert [line.split(":")[0] for line in said.out.splitlines()] == ["ok    webhook"] * 3
        assert re.search(r"is in raw/daily/date=\d{4}-\d\d-\d\d/[0-9a-f]{64}\.jsonl after", said.out)
        secret = server.url.rpartition("/")[2]
        assert secret not in said.out + said.err
    (file,) = settings.lake_dir.glob("raw/daily/*/*.jsonl")
    # The day is not over, so what the weekly job makes of such a line is looked at under a day of the past.
    write_raw(settings.lake_dir, MONDAY, [file.read_bytes().strip(), record("dailies", USER, MONDAY)])
    IdMap(settings.id_map_path).add(USER)
    assert qol("materialize", "--week", "2026-11-16").out == "2026-11-16  participants: 1\n"
    notes = Lake.local(settings.lake_dir).partition_metadata("daily", MONDAY)
    assert notes is not None
    assert (notes["counts"]["lines"], notes["counts"]["unreadable"], notes["counts"]["misfiled"]) == (1, 0, 0)


def test_a_service_can_keep_its_secret_out_of_what_it_prints_and_another_command_shows_it(
    qol: Qol, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "0123456789abcdef 0123"
    made = qol("webhook", "url").out
    assert made.startswith("http://127.0.0.1:8321/garmin/")
    assert qol("webhook", "url").out == made
    monkeypatch.setenv("QOL_WEBHOOK_SECRET", secret)
    monkeypatch.setenv("QOL_PUBLIC_URL", "https://qol.example.org")
    assert qol("webhook", "url").out == "https://qol.example.org/garmin/0123456789abcdef%200123\n"
    assert qol("webhook", "url", "--base", "http://x:1/").out == "http://x:1/garmin/0123456789abcdef%200123\n"
    command = [*QOL, "webhook", "serve", "--port", "0", "--hide-secret"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stderr
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/garmin/\*\*\*\n", server.stdout.readline())
        note = server.stderr.readline()
        server.terminate()
        out, err = server.communicate(timeout=20)
    assert secret[:16] not in note + out + err
    assert "qol webhook url" in note


def test_the_doctor_says_that_a_password_would_be_sent_in_clear(
    qol: Qol, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "QOL_SMTP_HOST": "mail.example.org", "QOL_SMTP_USER": "me", "QOL_SMTP_PASSWORD": "hunter2-hunter2",
        "QOL_SMTP_STARTTLS": "false", "QOL_MAIL_FROM": "a@example.org", "QOL_MAIL_TO": "b@example.org",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    said = qol("doctor")
    assert (said.code, "FAIL  alert mail: the password of QOL_SMTP_USER is not sent" in said.out) == (1, True)


def test_the_doctor_says_what_is_wrong_with_a_webhook(qol: Qol, settings: Settings, tmp_path: Path) -> None:
    elsewhere = Settings(home=tmp_path / "elsewhere")
    with local_webhook(elsewhere) as server:
        url = server.url
        said = qol("doctor", "--webhook", f"{server.base_url}/garmin/no-secret-of-this-one")
        assert said.code == 1
        assert "answered 403 and not 200. The secret is wrong" in said.out
    said = qol("doctor", "--webhook", url)
    assert (said.code, url.rpartition("/")[2] in said.out) == (1, False)
    assert "ConnectionRefusedError" in said.out
    assert qol("doctor", "--webhook", "ftp://x/y").code == 1
    assert "the URL is not https" in next(iter(follow_push(settings, "http://nobody.invalid/garmin/x"))).found


def test_a_push_that_arrives_elsewhere_is_missed(settings: Settings, tmp_path: Path) -> None:
    with local_webhook(Settings(home=tmp_path / "elsewhere")) as server:
        last = list(follow_push(settings, server.url, wait_s=0.3))[-1]
    assert last.state == "FAIL"
    assert "not in raw/" in last.found


@pytest.mark.parametrize(
    "arguments", ["", "-h", "--help", "materialize --help", "materialize -h", "participants -h", "raw refile --help"]
)
def test_help_is_everywhere_and_quick(qol: Qol, arguments: str) -> None:
    said = qol(*arguments.split())
    assert said.code == 0
    assert "Usage: " in said.out


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def test_every_command_and_option_is_explained_in_a_sentence_and_every_command_has_a_panel() -> None:
    root = get_command(app)
    texts = {(path, ""): command.help for path, command in commands(root)}
    texts |= {(path, one.name): getattr(one, "help", "") for path, command in commands(root) for one in command.params}
    assert len(texts) > 50
    assert [where for where, text in texts.items() if not (text or "").strip().endswith(".")] == []
    top = [command for path, command in commands(root) if len(path) == 1]
    assert [one.name for one in top if not isinstance(getattr(one, "rich_help_panel", None), str)] == []


def test_the_version_is_shown_with_that_of_the_metrics(qol: Qol) -> None:
    said = qol("--version")
    assert (said.code, said.err) == (0, "")
    assert said.out == f"qol {metadata.version('qol-dagster')}, metrics {METRICS_VERSION}\n"


def test_the_tables_are_listed_with_what_is_in_them(qol: Qol, settings: Settings) -> None:
    lake = Lake.local(settings.lake_dir)
    before = MONDAY - timedelta(weeks=1)
    for week, people in ((before, ["P1"]), (MONDAY, ["P1", "P2"])):
        lake.write_table("weekly", week, rows("weekly", *({"participant_id": one} for one in people)), {})
    for day in (MONDAY, MONDAY + timedelta(days=6)):
        lake.write_table("daily", day, rows("daily", {"participant_id": "P1"}), {})
    found = {one["table"]: one for one in json.loads(qol("tables", "--format", "json").out)}
    assert list(found)[:3] == ["db_qol.daily_metrics", "db_qol.weekly_metrics", "db_qol.participant_status"]
    daily, weekly, status = (list(found[name].values())[1:] for name in list(found)[:3])
    assert weekly == [3, 2, len(WEEKLY), "2026-11-16"]
    assert daily == [2, 1, len(DAILY), "2026-11-22"]
    assert status == [0, 0, len(STATUS), None]


def test_every_table_that_is_listed_can_be_asked_those_of_questionnaires_too(qol: Qol, settings: Settings) -> None:
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    names = [one["table"] for one in json.loads(qol("tables", "--format", "json").out)]
    assert {"db_qol.survey_responses", "db_qol.survey_due", "db_qol.whoqol_scores"} < set(names)
    for name in names:
        assert json.loads(qol("query", f"SELECT count(*) AS n FROM {name}", "--format", "json").out) == [{"n": 0}]


def test_an_empty_lake_is_answered_with_a_hint_and_no_line_is_wider_than_the_terminal(
    qol: Qol, settings: Settings
) -> None:
    lake = Lake.local(settings.lake_dir)
    said = qol("query", STANDARD)
    assert (said.code, said.out) == (0, f"(0 rows, {len(WEEKLY)} columns)\n")
    assert "qol materialize --week" in said.err
    lake.write_table("weekly", MONDAY, rows("weekly", {"participant_id": "P1"}), {})
    said = qol("query", "SELECT participant_id FROM db_qol.weekly_metrics WHERE participant_id = 'P2'")
    assert said == Said(0, "participant_id\n--------------\n(0 rows)\n", "")


def test_times_are_japan_s_in_a_table_and_utc_in_csv_and_json(qol: Qol, settings: Settings) -> None:
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    asked = "SELECT TIMESTAMPTZ '2026-11-22 15:30:00+00' AS at"
    assert "2026-11-23 00:30 JST" in qol("query", asked).out
    for form in ("csv", "json"):
        assert "2026-11-22T15:30:00.000Z" in qol("query", asked, "--format", form).out


def test_csv_for_excel_begins_with_a_byte_order_mark_and_other_csv_does_not(qol: Qol, settings: Settings) -> None:
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    asked = ("query", "SELECT '歩数' AS name", "--format", "csv")
    assert qol(*asked, "--excel").out.encode().startswith(b"\xef\xbb\xbfname\n\xe6")
    assert qol(*asked).out.startswith("name\n")
    assert qol("query", "SELECT 1", "--excel").code == 2


@pytest.mark.slow
@pytest.mark.parametrize("table", ["daily", "weekly"])
def test_a_cut_file_is_named_with_the_command_that_mends_it(qol: Qol, settings: Settings, table: str) -> None:
    line = record("dailies", USER, MONDAY, steps=4321, timeOffsetHeartRateSamples=worn(12))
    write_raw(settings.lake_dir, MONDAY, [line])
    qol("participants", "add", USER)
    qol("materialize", "--week", str(MONDAY))
    (file,) = settings.lake_dir.glob(f"processed/{table}/date={MONDAY}/*.parquet")
    file.write_bytes(file.read_bytes()[:500])
    asked = ("query", f"SELECT count(*) AS n FROM db_qol.{table}_metrics", "--format", "csv")
    said = qol(*asked)
    assert (said.code, said.out) == (1, "")
    assert f"{file} is cut or damaged" in said.err
    advised = said.err.strip().rpartition(": qol ")[2].split()
    assert qol(*advised).code == 0
    assert qol(*asked).out == "n\n1\n"


@pytest.mark.parametrize("file", ["records/date=2026-11-16/*.parquet", "processed/weekly/date=2026-11-16/*.parquet"])
def test_a_file_that_is_not_there_or_not_to_be_read_is_not_called_damaged(
    qol: Qol, settings: Settings, file: str
) -> None:
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    said = qol("query", f"SELECT * FROM read_parquet('{settings.lake_dir}/{file}')")
    assert (said.code, said.out) == (1, "")
    assert len(said.err.splitlines()) == 1
    assert file in said.err
    assert "damaged" not in said.err


def test_the_metrics_are_listed_in_japanese_too(qol: Qol) -> None:
    said = qol("metrics", "list", "--table", "weekly", "--lang", "ja")
    assert said.code == 0
    assert "参加者 ID" in said.out
    assert all(cell_len(line) <= 120 for line in said.out.splitlines())


def test_the_doctor_says_how_the_last_run_ended_what_came_last_and_whether_the_daemon_runs(
    qol: Qol, settings: Settings
) -> None:
    file = write_raw(settings.lake_dir, MONDAY, [record("dailies", USER, MONDAY)])
    assert "daemon: not running; last seen: never." in qol("doctor").out
    with dagster_instance(settings) as instance:
        job = build_defs(settings).resolve_job_def("weekly_metrics_job")
        run = instance.create_run_for_job(job, tags={"dagster/partition": str(MONDAY)})
        instance.report_run_failed(run)
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "a", None))
    failed = qol("doctor")
    assert failed.code == 1
    assert re.search(rf"^FAIL  last run: {run.run_id[:8]} failed", failed.out, re.M)
    assert "ok    daemon: running" in failed.out
    came = r"^ok    arrivals: the last came at \d{4}-\d\d-\d\d \d\d:\d\d JST, \d min ago"
    assert re.search(came, failed.out, re.M)
    long_ago = time.time() - 5 * 86_400
    os.utime(file, (long_ago, long_ago))
    assert "note  arrivals: the last came at" in qol("doctor").out


def test_the_doctor_says_of_a_run_that_was_killed_that_it_was_and_not_that_it_is_under_way(
    qol: Qol, settings: Settings
) -> None:
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with dagster_instance(settings) as instance:
            job = build_defs(settings).resolve_job_def("weekly_metrics_job")
            run = instance.create_run_for_job(job, tags={"dagster/partition": str(MONDAY)})
            begun = dg.DagsterEvent("PIPELINE_START", job_name=job.name, message="it begins", pid=process.pid)
            instance.report_dagster_event(begun, run_id=run.run_id)
        assert f"ok    last run: {run.run_id[:8]} is under way" in qol("doctor").out
        process.kill()
        process.wait()
        said = qol("doctor")
    assert said.code == 1
    assert f"FAIL  last run: {run.run_id[:8]} was killed: its process {process.pid} is gone" in said.out


def test_a_folder_in_the_place_of_dagster_yaml_is_named_and_what_to_do(qol: Qol, settings: Settings) -> None:
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    (config := settings.dagster_home / "dagster.yaml").mkdir(parents=True)
    ran, seen = qol("materialize", "--week", str(MONDAY)), qol("doctor")
    assert (ran.code, seen.code) == (1, 1)
    named = f"{config} is a folder where a file belongs. Move it away, or remove it"
    assert named in ran.err
    assert f"FAIL  dagster home: {named}" in seen.out


def test_a_week_is_due_from_its_wednesday_at_0905_in_japan_on() -> None:
    before, after = (datetime(2026, 11, 25, 0, minute, tzinfo=UTC) for minute in (4, 5))
    assert (last_due_week(before), last_due_week(after)) == (MONDAY - timedelta(weeks=1), MONDAY)


def test_a_reader_that_goes_away_is_no_error(settings: Settings) -> None:
    command = f"{' '.join(map(repr, QOL))} query 'SELECT unnest(range(200000))' | head -1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, env=dict(os.environ))
    assert (done.returncode, done.stderr) == (0, "")
