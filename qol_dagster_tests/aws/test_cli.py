"""`qol` with QOL_TARGET=aws: the same commands, answered by AWS."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qol_dagster.cli.app import run
from qol_dagster.lake.lake import Lake
from qol_dagster.resources.id_map import AwsIdMap
from qol_dagster_tests.support.cloud import Cloud, Deployment
from qol_dagster_tests.support.lakes import MONDAY, record
from qol_dagster_tests.support.tables import STANDARD, rows
from qol_ingest.server import LocalWebhook
from qol_ingest.shared import aws
from qol_ingest.shared.stores import S3Store
from qol_ingest.webhook import Receiver

pytestmark = pytest.mark.aws

USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
SECRET = "s3cret-s3cret-s3cret"


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Qol = Callable[..., Said]


@pytest.fixture
def qol(deployed: Deployment, capfd: pytest.CaptureFixture[str]) -> Qol:
    def call(*arguments: str) -> Said:
        code = run(arguments)
        return Said(code, *capfd.readouterr())

    return call


def test_the_standard_query_is_answered_by_athena_on_a_machine_that_has_nothing_yet(
    qol: Qol, deployed: Deployment
) -> None:
    week = rows("weekly", {"participant_id": "P7", "steps_mean": 4321.0, "is_valid_week": True})
    Lake.s3(deployed.settings.bucket).write_table("weekly", MONDAY, week, {})
    said = qol("query", STANDARD, "--format", "json")
    assert (said.code, said.err) == (0, "")
    (row,) = json.loads(said.out)
    assert (row["participant_id"], row["date"], row["steps_mean"], row["is_valid_week"]) == (
        "P7",
        "2026-11-16",
        4321,
        True,
    )
    assert re.search(r"^steps_mean +4321$", qol("query", STANDARD).out, re.M)


def test_the_past_is_asked_by_time_and_by_freeze_and_nothing_of_it_stays_on_this_machine(
    qol: Qol, deployed: Deployment
) -> None:
    lake, steps = (
        Lake.s3(deployed.settings.bucket),
        "SELECT participant_id, steps_mean, date FROM db_qol.weekly_metrics",
    )
    lake.write_table("weekly", MONDAY, rows("weekly", {"participant_id": "P7", "steps_mean": 1.0}), {})
    assert qol("freeze", "create", "paper-1").code == 0
    between = datetime.now(UTC)
    lake.write_table("weekly", MONDAY, rows("weekly", {"participant_id": "P7", "steps_mean": 2.0}), {})

    def asked(moment: str, sql: str = steps) -> list[dict[str, object]]:
        said = qol("query", sql, "--as-of", moment, "--format", "json")
        assert (said.code, said.err) == (0, "")
        return list(json.loads(said.out))

    of_then = [{"participant_id": "P7", "steps_mean": 1.0, "date": str(MONDAY)}]
    assert asked("paper-1") == asked(between.isoformat()) == of_then
    assert asked("now") == [{**of_then[0], "steps_mean": 2.0}]
    log = asked("paper-1", "SELECT revision FROM db_qol.weekly_metrics_revisions")
    assert [one["revision"] for one in log] == [1, 2]
    assert [*deployed.settings.temp_dir.iterdir()] == []
    (kept,) = [one for one in lake.keys("history/weekly/") if one.endswith(".parquet")]
    lake.replace_object(kept, b"PAR1")
    said = qol("query", steps, "--as-of", "paper-1")
    assert (said.code, "is damaged: rows of the past are lost" in said.err) == (1, True)


@pytest.mark.parametrize("sql", ["SELEC 1", "DROP TABLE db_qol.weekly_metrics", "SELECT * FROM db_qol.nothing"])
def test_a_query_that_cannot_be_answered_is_one_line(qol: Qol, sql: str) -> None:
    said = qol("query", sql)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("qol: ")
    assert said.err.count("\n") == 1


def test_the_tables_are_listed_those_of_questionnaires_too(qol: Qol) -> None:
    listed = {one["table"] for one in json.loads(qol("tables", "--format", "json").out)}
    assert {"db_qol.weekly_metrics", "db_qol.survey_responses", "db_qol.whoqol_associations"} <= listed


def test_participants_are_enrolled_listed_without_garmin_ids_and_revoked_in_dynamodb(
    qol: Qol, deployed: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"garmin_user_id,participant_id\n{USER},A1\n{'0' * 32},A2\n")
    assert qol("participants", "import", str(file)).out == "2 enrolled\n"
    assert qol("participants", "add", "f" * 32).out == "P0001\n"
    assert qol("participants", "revoke", "A2").code == 0
    listed = qol("participants", "list", "--format", "json")
    assert [(one["participant_id"], one["status"]) for one in json.loads(listed.out)] == [
        ("A1", "active"),
        ("A2", "revoked"),
        ("P0001", "active"),
    ]
    shown = qol("participants", "show", "A1")
    assert shown.out.startswith("account 1: active, not connected to Garmin; permissions: unknown\n")
    assert USER not in listed.out + shown.out
    assert {one.garmin_user_id for one in AwsIdMap(deployed.settings.id_map_table).list()} >= {USER}
    assert not (deployed.settings.home / "user_id_map.sqlite").exists()


def test_invitations_are_made_and_withdrawn_where_the_lambda_looks_for_them(
    qol: Qol, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "set QOL_PUBLIC_URL" in qol("participants", "invite", "QOL-001").err
    monkeypatch.setenv("QOL_PUBLIC_URL", "https://qol.example.org")
    invited = qol("participants", "invite", "QOL-001")
    assert invited.out.startswith("https://qol.example.org/")
    assert "invited until" in qol("participants", "show", "QOL-001").out
    kept = aws.client("dynamodb").scan(TableName=deployed.settings.enrolment_table)["Items"]
    assert kept
    assert list(deployed.settings.home.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", ["demo", "simulate --lake --weeks 1", "webhook serve", "garmin pull"], ids=lambda one: one.split()[0]
)
def test_what_is_done_on_one_machine_only_says_so(qol: Qol, arguments: str) -> None:
    said = qol(*arguments.split())
    assert (said.code, said.out) == (2, "")
    assert "this works on one machine only; unset QOL_TARGET" in said.err


@pytest.mark.parametrize("what", ["--plan", "--run"])
def test_an_upgrade_says_whom_to_ask_for_old_weeks(qol: Qol, what: str) -> None:
    said = qol("upgrade", what)
    assert (said.code, said.out) == (2, "")
    assert "Materialize weekly_metrics_job in Dagster, 13 weeks at a time, the newest first" in said.err


def test_misfiled_records_are_moved_in_the_bucket(qol: Qol, deployed: Deployment) -> None:
    lake, tuesday = Lake.s3(deployed.settings.bucket), MONDAY.replace(day=17)
    lines = [json.dumps(record("dailies", USER, day)).encode() + b"\n" for day in (MONDAY, tuesday)]
    lake.write_raw(MONDAY, "a", b"".join(lines))
    assert qol("raw", "refile").out == "1 of 2 records moved\n"
    assert [lake.read_raw(item) for item in (*lake.raw_objects(MONDAY), *lake.raw_objects(tuesday))] == lines


def test_the_doctor_looks_at_every_part_of_the_deployment(qol: Qol, deployed: Deployment) -> None:
    lake = Lake.s3(deployed.settings.bucket)
    lake.write_raw(MONDAY, "a", b"{}\n")
    lake.write_table("weekly", MONDAY, rows("weekly", {"participant_id": "P1"}), {})
    qol("participants", "add", USER)
    said = qol("doctor")
    assert said.code == 0, said.out
    for line in (
        r"ok    aws: account \d{12}, region ap-northeast-1",
        r"ok    enrolments: participants: 1",
        r"ok    raw files: days: 1, 2026-11-16 to 2026-11-16",
        r"ok    db_qol.weekly_metrics: weeks: 1, 2026-11-16 to 2026-11-16",
        r"ok    arrivals: messages waiting: \d+",
        r"ok    alerts: subscribers: 1",
        r"ok    athena: db_qol.weekly_metrics answers in the workgroup qol-\w+",
        r"ok    glue job: qol-weekly-etl-\w+, Glue 5.1",
    ):
        assert re.search(f"^{line}$", said.out, re.M), (line, said.out)
    assert USER not in said.out


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("BUCKET", "no-such-bucket-of-ours", "lake"),
        ("ID_MAP_TABLE", "nowhere", "enrolments"),
        ("ARRIVALS_QUEUE_URL", "http://127.0.0.1:1/000000000000/q", "arrivals"),
        ("ALERT_TOPIC_ARN", "arn:aws:sns:ap-northeast-1:000000000000:nowhere", "alerts"),
        ("ATHENA_WORKGROUP", "nowhere", "athena"),
        ("GLUE_JOB", "nowhere", "glue job"),
    ],
)
def test_the_doctor_names_the_part_that_is_missing_and_no_other(
    qol: Qol, monkeypatch: pytest.MonkeyPatch, name: str, value: str, part: str
) -> None:
    monkeypatch.setenv(f"QOL_{name}", value)
    said = qol("doctor")
    assert said.code == 1
    assert re.findall(r"^FAIL  ([\w ]+):", said.out, re.M) == [part], said.out


def test_the_doctor_says_whether_participants_can_be_shown_the_questionnaire(qol: Qol, deployed: Deployment) -> None:
    assert "note  questionnaire: there is no text; its page answers 404. If the programme" in qol("doctor").out
    qol("survey", "template", "--lang", "en")
    qol("survey", "upload")
    assert "note  questionnaire: en (version placeholder): a template" in qol("doctor").out
    file = deployed.settings.home / "survey/whoqol.en.toml"
    file.write_text(file.read_text().replace('version = "placeholder"', 'version = "1"'))
    qol("survey", "upload")
    assert "ok    questionnaire: en (version 1)\n" in qol("doctor").out
    aws.client("s3").put_object(Bucket=deployed.settings.bucket, Key="survey/whoqol.ja.toml", Body=b"no text")
    said = qol("doctor")
    assert said.code == 1
    assert re.search("^FAIL  questionnaire: s3://.*whoqol.ja.toml: it is no TOML", said.out, re.M)


def test_the_doctor_shows_the_newest_verified_backup_or_why_it_cannot(
    qol: Qol, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "note  backup: none is made. Set QOL_BACKUP_BUCKET; " in qol("doctor").out
    monkeypatch.setenv("QOL_BACKUP_BUCKET", bucket := cloud.bucket())
    assert f"note  backup: no verified one is in s3://{bucket}/archives. Run" in qol("doctor").out
    name = qol("backup", "create").out.strip()
    assert name.startswith("20")
    assert "ok    backup: the newest verified one is of 20" in qol("doctor").out
    monkeypatch.setenv("QOL_BACKUP_BUCKET", "nowhere")
    assert re.search(r"^note  backup: s3://nowhere/archives cannot be read: .*qol-archiver", qol("doctor").out, re.M)


def test_the_doctor_follows_a_test_push_into_the_bucket(qol: Qol, deployed: Deployment) -> None:
    with LocalWebhook(Receiver(S3Store(deployed.settings.bucket), SECRET)) as server:
        said = qol("doctor", "--webhook", server.url)
    assert re.search(r"is in raw/daily/date=\d{4}-\d\d-\d\d/[0-9a-f]{64}\.jsonl after", said.out), said.out


def test_the_definitions_load_when_the_bucket_is_out_of_reach_and_do_not_touch_the_disk(
    deployed: Deployment, tmp_path: Path
) -> None:
    code = (
        "from qol_dagster.definitions import defs; d = defs()\n"
        "import dagster as dg; weekly = d.resolve_asset_graph().get(dg.AssetKey('weekly_metrics'))\n"
        "print(weekly.partitions_def.get_first_partition_key())"
    )
    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            "AWS_REGION": "ap-northeast-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "QOL_TARGET": "aws",
            "QOL_BUCKET": "any-bucket",
            "QOL_ARRIVALS_QUEUE_URL": "http://127.0.0.1:1/q",
            "QOL_ALERT_TOPIC_ARN": deployed.settings.alert_topic_arn,
            "QOL_ATHENA_WORKGROUP": "any",
        },
    )
    assert done.stdout.strip() == "2015-01-05", done.stderr
    assert "partitions begin at 2015-01-05, since the lake cannot be listed" in done.stderr
    assert list(folder.iterdir()) == []
