"""Backups of a deployment: the contract, and what a bucket under Object Lock, tables and roles are besides."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.cli.app import run
from qol_dagster.lake.fingerprints import raw_fingerprint
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.lease import Lease
from qol_dagster.lake.shared_object import SharedObject
from qol_dagster.maintenance.backup import create_backup
from qol_dagster.maintenance.contents import Home
from qol_dagster.maintenance.deployment import Deployment, key_of
from qol_dagster.maintenance.places import LOCK, open_source, open_store
from qol_dagster.maintenance.stores import ARCHIVES, BucketStore, FolderStore
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings, load_settings
from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.cloud import Deployment as Deployed
from qol_dagster_tests.support.contracts import backup as contract
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.explored import FIRST_MONDAY, explored_home
from qol_dagster_tests.support.lakes import MONDAY
from qol_ingest.consent.enrolment import Invitations
from qol_ingest.shared import aws

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

    def put_archive(self, name: str, content: bytes | None) -> None:
        where = {"Bucket": self.settings.backup_bucket, "Key": ARCHIVES + name}
        if content is None:
            self.s3.delete_object(**where)
        else:
            self.s3.put_object(**where, Body=content)


@pytest.fixture
def place(cloud: Cloud, tmp_path: Path) -> Account:
    """A deployment with a bucket of backups under Object Lock."""
    s3, names = aws.client("s3"), [f"qol-{secrets.token_hex(6)}" for _ in range(2)]
    for name in names:
        where = {"LocationConstraint": "ap-northeast-1"}
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=name == names[1])
    tables = {"id_map_table": cloud.table(), "enrolment_table": cloud.table("kind", "name")}
    settings = Settings("aws", tmp_path / "home", bucket=names[0], backup_bucket=names[1], **tables)
    lease = Lease(SharedObject(Lake.s3(settings.bucket).store, LOCK), poll_s=0.05)
    account = Account(settings, open_source(settings), replace(open_store(settings), lock=lease.held), s3)
    for name, content in contract.CONTENT.items():
        account.put(name, content)
    return account


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
    assert "are as they were written" in qol("verify")
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
