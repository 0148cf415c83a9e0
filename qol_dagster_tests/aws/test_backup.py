"""Backups of a deployment: the contract, and what a bucket under Object Lock, tables and roles are besides."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from emulated_aws.server import Emulator
from infra import names
from infra.data import COPIED
from qol_dagster.cli.app import run
from qol_dagster.defs.backups import backup_sensor
from qol_dagster.defs.code_location import build_defs
from qol_dagster.erasure.account import Account as ErasedAccount
from qol_dagster.errors import QolError
from qol_dagster.lake.fingerprints import raw_fingerprint
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.lease import Lease
from qol_dagster.maintenance.backup import (
    Backup,
    create_backup,
    find_backup,
    list_backups,
    orphaned_files,
    verify_backup,
)
from qol_dagster.maintenance.contents import BackupError, Home
from qol_dagster.maintenance.deployment import (
    IN_LAKE,
    LEFT_OUT,
    RESTORING,
    Deployment,
    key_of,
    name_of,
    newest_ledger,
    restore_deployment,
)
from qol_dagster.maintenance.places import back_up, open_source, open_store, outdated_backups
from qol_dagster.maintenance.restore import NotEmptyError
from qol_dagster.maintenance.stores import ARCHIVES, BucketStore, FolderStore
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.platform import Resources, open_platform
from qol_dagster.settings import Settings, load_settings
from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.cloud import Deployment as Deployed
from qol_dagster_tests.support.contracts import backup as contract
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.explored import FIRST_MONDAY, explored_home
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.outbox import Outbox
from qol_ingest.consent.enrolment import Invitations
from qol_ingest.shared.erasures import Entry, Ledger
from qol_ingest.shared.erasures_s3 import S3Ledger

pytestmark = pytest.mark.aws

globals().update(contract_tests(contract))


@dataclass
class Account:
    """See `Place`."""

    settings: Settings
    source: Deployment
    store: BucketStore
    s3: Any

    def put(self, name: str, content: bytes) -> None:
        self.s3.put_object(Bucket=self.settings.bucket, Key=key_of(name), Body=content)

    def remove(self, name: str) -> None:
        self.s3.delete_object(Bucket=self.settings.bucket, Key=key_of(name))

    def erasing(self) -> AbstractContextManager[None]:
        return ErasedAccount(self.settings).alone()

    def put_archive(self, name: str, content: bytes | None) -> None:
        where = {"Bucket": self.settings.backup_bucket, "Key": ARCHIVES + name}
        if content is None:
            self.s3.delete_object(**where)
        else:
            self.s3.put_object(**where, Body=content)


@pytest.fixture(scope="module")
def s3(_emulator: Emulator) -> Any:
    return _emulator.client("s3")


@pytest.fixture(scope="module")
def tables(_emulator: Emulator) -> dict[str, str]:
    """Two tables, in which nobody is."""
    client, number = _emulator.client("dynamodb"), secrets.token_hex(4)
    keys = {f"user_id_map_{number}": ["garmin_user_id"], f"qol_enrolment_{number}": ["kind", "name"]}
    for name, of_table in keys.items():
        client.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(of_table, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in of_table],
            BillingMode="PAY_PER_REQUEST",
        )
    return dict(zip(("id_map_table", "enrolment_table"), keys, strict=True))


@pytest.fixture
def place(
    cloud: Cloud,
    s3: Any,
    tables: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Account:
    """A deployment with a bucket of backups under Object Lock. Who waits for another is not patient."""
    monkeypatch.setattr(Lease.__init__, "__defaults__", (1.0, 0.05))
    bucket, backups = (f"qol-{secrets.token_hex(6)}" for _ in range(2))
    for name in (bucket, backups):
        where = {"LocationConstraint": "ap-northeast-1"}
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=name == backups)
    settings = Settings("aws", tmp_path / "home", bucket=bucket, backup_bucket=backups, **tables)
    account = Account(settings, open_source(settings), open_store(settings), s3)
    for name, content in contract.CONTENT.items():
        account.put(name, content)
    return account


def test_what_a_backup_has_of_the_bucket_is_what_s3_copies_and_nothing_is_in_no_list(place: Account) -> None:
    assert {f"{one}/" for one in (*IN_LAKE, "erasures")} == {one.partition("/")[0] + "/" for one in COPIED}
    prefixes = {one for name, one in vars(names).items() if isinstance(one, str) and one.endswith("/")}
    known = {*IN_LAKE, "survey", "erasures", *LEFT_OUT}
    assert {one.partition("/")[0] for one in prefixes} - known == {"qol", "archives"}, "secrets, and this"
    for key in ("odd.txt", "unheard-of/a", "athena/a.csv"):
        place.s3.put_object(Bucket=place.settings.bucket, Key=key, Body=b"")
    made = create_backup(place.source, place.store)
    assert sorted(made.unknown) == ["odd.txt", "unheard-of"]


KILLED = """
import os, signal
from qol_dagster.maintenance import places, stores
from qol_dagster.settings import load_settings

def put(store, file, name, put=stores.BucketStore.put):
    put(store, file, name)
    os.kill(os.getpid(), signal.SIGKILL)

stores.BucketStore.put = put
places.back_up(load_settings(), places.open_store(load_settings()))
"""


def test_killed_in_the_middle_the_backups_before_are_whole_and_the_next_one_is_made(place: Account) -> None:
    first = create_backup(place.source, place.store).backup
    place.put(contract.OCTOBER, b"{}\n")
    place.put(contract.NOVEMBER, b"{}\n")
    given = {f"QOL_{name.upper()}": str(value) for name, value in vars(place.settings).items() if value not in ("", ())}
    given = {
        name: given[name] for name in ("QOL_TARGET", "QOL_HOME", "QOL_BUCKET", "QOL_ID_MAP_TABLE") if name in given
    }
    given |= {"QOL_BACKUP_BUCKET": place.settings.backup_bucket, "QOL_ENROLMENT_TABLE": place.settings.enrolment_table}
    given |= dict.fromkeys(("QOL_ARRIVALS_QUEUE_URL",), "https://sqs.example/1/a") | {"QOL_ATHENA_WORKGROUP": "qol"}
    given |= {"QOL_ALERT_TOPIC_ARN": "arn:aws:sns:ap-northeast-1:000000000000:alert", "AWS_REGION": "ap-northeast-1"}
    done = subprocess.run([sys.executable, "-c", KILLED], env=os.environ | given, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [verify_backup(place.store, one) for one in list_backups(place.store)] == [[]]
    second = back_up(place.settings, place.store).backup
    assert [one.name for one in list_backups(place.store)] == [first.name, second.name]
    assert verify_backup(place.store, second) == []
    assert orphaned_files(place.store, ()) == []


def test_a_restore_that_was_ended_goes_on_and_no_other_begins(
    place: Account, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create_backup(place.source, place.store).backup
    place.put("lake/freezes/paper-2.json", b"{}")
    second = create_backup(place.source, place.store).backup
    new = replace(place.settings, bucket=f"qol-{secrets.token_hex(6)}", home=tmp_path / "there")
    s3.create_bucket(Bucket=new.bucket, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    seen: list[list[str]] = []

    def restore(backup: Backup) -> tuple[int, list[str]]:
        lake = Lake.s3(new.bucket)
        return restore_deployment(place.store, backup, new, replay=lambda _home: seen.append(lake.keys("raw")))

    writing, left = Lake.replace_object, [0]

    def ending(lake: Lake, key: str, content: bytes, **more: Any) -> None:
        left[0] -= 1
        if lake.folder is None and left[0] == 0:
            raise contract.KilledError
        writing(lake, key, content, **more)

    monkeypatch.setattr(Lake, "replace_object", ending)
    for number in (1, 2, 4, 5):
        left[0] = number
        with pytest.raises(contract.KilledError):
            restore(first)
    assert seen[0] == [], "erasures are replayed before anything can be read"
    with pytest.raises(NotEmptyError, match=f"a restore of {first.name} was begun"):
        restore(second)
    assert restore(first) == (len(contract.CONTENT) + 2, [])
    lake = Lake.s3(new.bucket)
    there = {name_of(key): lake.read_object(key) for key in lake.keys("") if not key.startswith("locks/")}
    assert there == contract.CONTENT
    assert RESTORING not in lake.keys("locks")
    with pytest.raises(NotEmptyError, match="is not empty"):
        restore(first)
    assert not list((tmp_path / "there").rglob("*.jsonl"))


def test_after_an_erasure_the_next_backup_takes_the_place_of_all_from_before_which_are_locked_until_a_date(
    place: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, settings = S3Ledger(place.settings.bucket), place.settings
    for name in ("erasures.jsonl", "erasures.key"):
        place.remove(name)
    before = back_up(settings, place.store).backup
    ledger.finish(ledger.append("begun", ["a" * 32], ["P1"]))
    place.remove(contract.NOVEMBER)
    time.sleep(1)  # a backup that began in the second in which an erasure ended may be one of before
    removing = BucketStore.remove

    def ending(store: BucketStore, name: str) -> None:
        removing(store, name)
        raise contract.KilledError

    with monkeypatch.context() as patched:
        patched.setattr(BucketStore, "remove", ending)  # the manifest is gone, its archives are not
        with pytest.raises(contract.KilledError):
            back_up(settings, place.store)
    back_up(settings, place.store)
    afterwards = list_backups(place.store)
    after = afterwards[-1]
    assert before.name not in {one.name for one in afterwards}
    gone = {one.file for one in before.archives} - {one.file for one in after.archives}
    assert len(gone) == 2, "the state, and the month that changed"
    versions = place.s3.list_object_versions(Bucket=settings.backup_bucket, Prefix=ARCHIVES)
    assert {ARCHIVES + one for one in gone} <= {one["Key"] for one in versions["DeleteMarkers"] if one["IsLatest"]}
    assert {ARCHIVES + one for one in gone} <= {one["Key"] for one in versions["Versions"]}, "until the lock ends"
    (there := tmp_path / "ledger").mkdir()
    assert newest_ledger(settings, there) == there / "erasures.jsonl"
    assert [one.state for one in Ledger(there).entries()] == ["begun", "finished"]
    assert (there / "erasures.key").exists()


def test_of_many_backups_those_go_that_are_old_or_began_before_an_erasure_ended() -> None:
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in range(1, 31)]
    backups = [Backup(f"{day:%d}", day, {}, ()) for day in days]
    assert [one.name for one in outdated_backups(backups, [], date(2026, 11, 30))] == [
        f"{day:02}" for day in range(1, 18)
    ]
    ended = Entry("2026-11-28T12:00:00.000+00:00", "finished")
    begun = Entry("2026-11-29T12:00:00.000+00:00", "begun")
    left = {one.name for one in backups} - {one.name for one in outdated_backups(backups, [ended, begun], date.max)}
    assert left == {"29", "30"}


def test_dagster_backs_up_in_another_role_and_alerts_when_nobody_does(place: Account) -> None:
    role = "arn:aws:iam::000000000000:role/qol-archiver"
    defs = build_defs(settings := replace(place.settings, backup_role=role))
    assert defs.resolve_schedule_def("backup_schedule").default_status is dg.DefaultScheduleStatus.RUNNING
    outbox = Outbox()
    sensor = backup_sensor(Resources.of(open_platform(settings), {"notifier": outbox}))
    long_ago = json.dumps({"since": "2026-01-01T00:00:00+00:00"})
    sensor(dg.build_sensor_context(cursor=long_ago))
    assert [subject for subject, _ in outbox.sent] != []
    result = defs.resolve_job_def("backup_job").execute_in_process()
    (event,) = [one for one in result.all_events if one.event_type_value == "STEP_OUTPUT"]
    assert event.step_output_data.metadata["backup"].value == find_backup(place.store).name
    assert event.step_output_data.metadata["archives_written"].value == 3
    sensor(dg.build_sensor_context(cursor=long_ago))
    assert len(outbox.sent) == 1
    assert (
        open_source(settings)
        .session.client("sts")
        .get_caller_identity()["Arn"]
        .startswith("arn:aws:sts::000000000000:assumed-role/qol-archiver/")
    )


def test_a_bucket_or_a_role_that_refuses_is_named_in_a_sentence(
    place: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = replace(place.settings, backup_bucket="qol-nobody-has-this")
    with pytest.raises(BackupError, match="s3://qol-nobody-has-this/archives.*NoSuchBucket"):
        create_backup(place.source, open_store(elsewhere))
    with pytest.raises(BackupError, match="Set QOL_BACKUP_BUCKET"):
        open_store(replace(place.settings, backup_bucket=""))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    nobody = replace(place.settings, backup_role="arn:aws:iam::000000000000:role/another")
    with pytest.raises(QolError):
        create_backup(open_source(nobody), open_store(nobody))


QUERIES = [
    f"SELECT date, {columns} FROM db_qol.{table} ORDER BY 1, 2"
    for table, columns in (
        ("weekly_metrics", "participant_id, n_valid_days, steps_mean, steps_sd"),
        ("daily_metrics", "participant_id, wear_min, steps, is_valid_day"),
        ("weekly_metrics_revisions", "revision, cause, n_rows, metrics_version"),
    )
]


@pytest.fixture
def at_aws(deployed: Deployed, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A deployment without anything in it, which the variables of this process name."""
    monkeypatch.setenv("QOL_BACKUP_BUCKET", cloud.bucket())
    return load_settings()


def test_a_home_restored_to_aws_and_from_there_to_a_home_answers_the_same_and_computes_nothing_anew(
    at_aws: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here = open_platform(explored_home(tmp_path / "here"))
    here.id_map().seen(["f" * 32], datetime.now(UTC))
    here.id_map().confirm_permissions("f" * 32, ["HEALTH_EXPORT"], datetime.now(UTC))
    here.id_map().add("d" * 32, "P0007")
    here.id_map().forget("d" * 32)
    code = Invitations(here.enrolment_state()).invite("P0009")
    (tmp_path / "here/dead_letters").mkdir()
    (tmp_path / "here/dead_letters/1").write_text("{}")
    create_backup(Home(tmp_path / "here"), FolderStore(tmp_path / "backups"))

    def qol(*arguments: str) -> str:
        assert run(["backup", *arguments]) == 0, capfd.readouterr().err
        said = capfd.readouterr()
        return said.out + said.err

    assert "has no place on AWS: dead_letters/1\n" in qol("restore", str(tmp_path / "backups"))
    assert run(["backup", "restore", str(tmp_path / "backups")]) == 1
    assert "is not empty. Restore to a deployment that is new" in capfd.readouterr().err
    cloud, lake = open_platform(at_aws), Lake.s3(at_aws.bucket)
    for day in lake.table_dates("daily"):
        assert lake.partition_metadata("daily", day)["raw"] == raw_fingerprint(lake.raw_objects(day))
    name = qol("create").partition("\n")[0]
    assert "is as it was written" in qol("verify")
    assert name in qol("list")
    qol("restore", name, "--home", str(tmp_path / "there"))
    there = open_platform(Settings(home=tmp_path / "there"))
    for sql in QUERIES:
        rows = here.catalogue().query(sql).rows
        assert rows
        assert there.catalogue().query(sql).rows == rows == cloud.catalogue().query(sql).rows
    for one in (cloud, there):
        assert one.id_map().list() == here.id_map().list()
        assert one.id_map().history("P0002") == here.id_map().history("P0002")
        assert Invitations(one.enrolment_state()).find(code) == "P0009"
        assert one.id_map().add("e" * 32) == "P0008", "that of who was forgotten is given to nobody else"
    with there.engine("duckdb") as engine:
        who = here.id_map().identities()
        report = run_etl(engine, there.lake(), [FIRST_MONDAY, MONDAY], who, since=FIRST_MONDAY)
    assert [day.date for day in report.daily.days if not day.reused] == []
