"""Erasing a person on AWS: no version of any object names them, and everything of the others is as it was."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from qol_dagster.cli.app import run
from qol_dagster.erasure import ErasureError, account
from qol_dagster.erasure.erase import count_person, erase
from qol_dagster.erasure.versions import Versions
from qol_dagster.lake.freeze import create_freeze, read_freeze, verify_freeze
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.lease import Lease
from qol_dagster.resources.garmin_cloud import Garmin
from qol_dagster.resources.id_map import AwsIdMap
from qol_dagster.settings import Settings
from qol_dagster_tests.support.cloud import Cloud, Deployment
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import erasure as contract
from qol_dagster_tests.support.lakes import MONDAY, record
from qol_dagster_tests.support.tables import rows
from qol_ingest.consent.enrolment import InvitationError, Invitations
from qol_ingest.consent.state import DynamoState
from qol_ingest.garmin.tokens import Tokens
from qol_ingest.garmin.tokens_aws import SecretsManagerTokenStore
from qol_ingest.shared import aws
from qol_ingest.shared.erasures_s3 import S3Ledger
from qol_ingest.shared.queues import SqsQueue
from qol_ingest.shared.sendings import Sending
from qol_ingest.shared.stores import S3Store
from qol_ingest.spill import spill
from qol_ingest.survey.links import SurveyLinks
from qol_ingest.webhook import Receiver

pytestmark = pytest.mark.aws

# Of QOL-1; QOL-11 begins with the same letters.
ADA_USER, BEN_USER = "4aacafe82427c251df9c9592d0c06768", "b" * 30 + "01"
DAY = MONDAY.isoformat()
IS_ADA = re.compile(rb"(?<![A-Za-z0-9_-])QOL-1(?![A-Za-z0-9_-])")


@dataclass
class Study:
    """A deployment with two people in every place."""

    settings: Settings
    lake: Lake
    ledger: S3Ledger
    spilled: SqsQueue

    def put(self, key: str, content: bytes | str) -> None:
        self.lake.replace_object(key, content.encode() if isinstance(content, str) else content)

    def versions(self) -> Iterator[tuple[str, bytes]]:
        """Keys and contents of all versions, and the keys of what marks a deletion, by S3 itself."""
        s3, bucket = aws.client("s3"), self.settings.bucket
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for one in page.get("Versions", ()):
                found = s3.get_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
                yield one["Key"], found["Body"].read()
            for one in page.get("DeleteMarkers", ()):
                yield one["Key"], b""

    def naming(self) -> set[str]:
        """Keys of which a version names Ada: by what is in Parquet and gzip too."""
        spelled = [ADA_USER, ADA_USER.upper(), base64.b64encode(ADA_USER.encode()).decode()[:40]]
        found = set()
        for key, content in self.versions():
            for text in (key.encode(), content, unpacked(content)):
                if IS_ADA.search(text) or any(one.encode() in text for one in spelled):
                    found.add(key)
        return found

    def of_others(self) -> dict[str, Any]:
        """Rows, lines and bodies of the newest versions that are not Ada's."""
        found: dict[str, Any] = {}
        for key in self.lake.keys(""):
            content = self.lake.read_object(key)
            if key.startswith("processed/"):
                table = pq.read_table(io.BytesIO(content), partitioning=None)
                found[key] = [one for one in table.to_pylist() if one["participant_id"] != "QOL-1"]
            elif key.startswith("raw/") and key.endswith(".jsonl"):
                kept = [one for one in content.split(b"\n") if one and ADA_USER.encode() not in one]
                found[key] = [one for one in kept if not IS_ADA.search(one)]
        return {key: kept for key, kept in found.items() if kept}


def unpacked(content: bytes) -> bytes:
    if content[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(content), partitioning=None)
        return json.dumps(table.to_pylist(), default=str).encode() + str(table.schema.metadata).encode()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else b""


globals().update(contract_tests(contract))


@pytest.fixture
def emptied(
    deployed: Deployment, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Settings:
    """Everything that an erasure needs, and nobody is patient.

    With the parameter "unversioned", the lake keeps the newest versions alone.
    """
    monkeypatch.setattr(Lease.__init__, "__defaults__", (3.0, 0.05))
    dead = cloud.queue()
    redrive = {"deadLetterTargetArn": cloud.arn_of_queue(dead), "maxReceiveCount": 3}
    more = {
        "spill_queue_url": cloud.queue(VisibilityTimeout="1", RedrivePolicy=json.dumps(redrive)),
        "dead_letter_url": cloud.queue(VisibilityTimeout="1"),
        "backup_bucket": cloud.bucket(),
        "garmin_client_secret": "s3cret-of-the-client",
    }
    settings = replace(deployed.settings, **more)
    for name, value in more.items():
        monkeypatch.setenv(f"QOL_{name.upper()}", value)
    monkeypatch.setattr(account, "SETTLE_S", 0.0)
    monkeypatch.setattr(account, "PAGE_S", 0.0)
    monkeypatch.setattr(Garmin, "end_registration", lambda *_: "")
    is_versioned = getattr(request, "param", "") != "unversioned"
    for bucket in (settings.bucket,) * is_versioned + (settings.backup_bucket,):
        aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return settings


@pytest.fixture
def named(emptied: Settings) -> Callable[[], set[str]]:
    return Study(emptied, Lake.s3(emptied.bucket), S3Ledger(emptied.bucket), SqsQueue(emptied.spill_queue_url)).naming


@pytest.fixture
def study(emptied: Settings) -> Study:
    spilled = SqsQueue(emptied.spill_queue_url)
    study = Study(emptied, Lake.s3(emptied.bucket), S3Ledger(emptied.bucket), spilled)
    fill(study)
    return study


def fill(study: Study) -> None:
    settings, lake = study.settings, study.lake
    AwsIdMap(settings.id_map_table).import_rows([(ADA_USER, "QOL-1", None), (BEN_USER, "QOL-11", None)])
    days = [MONDAY, MONDAY + timedelta(days=1)]
    for day in days:
        both = "".join(json.dumps(record("dailies", user, day, steps=1)) + "\n" for user in (ADA_USER, BEN_USER))
        study.put(f"raw/daily/date={day}/both.jsonl", both)
    study.put(f"raw/daily/date={DAY}/ada.jsonl", json.dumps(record("dailies", ADA_USER, MONDAY)) + "\n")
    for steps in (1.0, 2.0):
        people = [{"participant_id": one, "steps_mean": steps} for one in ("QOL-1", "QOL-11")]
        lake.write_table("weekly", MONDAY, rows("weekly", *people), {"rows": 2})
    create_freeze(lake, "paper-1")
    users = [{"userId": one} for one in (ADA_USER, BEN_USER)]
    study.put(f"raw/lifecycle/date={DAY}/a.jsonl", "".join(json.dumps(one) + "\n" for one in users))
    study.put(f"raw/quarantine/date={DAY}/1.body", gzip.compress(json.dumps({"dailies": users}).encode()))
    for name in ("QOL-1", "QOL-11"):
        study.put(f"raw/surveys/date={DAY}/{len(name)}.jsonl", json.dumps({"participant_id": name}) + "\n")
        study.put(f"raw/backfills/participant={name}/account=1/dailies/1.json", "{}")
        study.put(f"reports/week={DAY}/{len(name)}.html", f"<p>{name}</p>")
        study.put(f"athena/{len(name)}.csv", f'"participant_id"\n"{name}"\n')
        SqsQueue(settings.dead_letter_url).send(json.dumps({"participant": name, "why": "gone"}))
        Invitations(DynamoState(settings.enrolment_table)).invite(name)
        SecretsManagerTokenStore().put(ADA_USER if name == "QOL-1" else BEN_USER, Tokens("access", "", 0.0, 0.0))
    study.put("dagster/storage/1/log.err", "nobody")
    study.put("dagster/storage/2/log.err", base64.b64encode(b"xy" + ADA_USER.encode()))
    study.put("athena/gone.csv", ADA_USER)
    lake.remove_objects(["athena/gone.csv"])
    spill(
        study.spilled,
        f"raw/daily/date={DAY}/spilled.jsonl",
        "".join(json.dumps(record("hrv", user, MONDAY)) + "\n" for user in (ADA_USER, BEN_USER)).encode(),
    )


def test_no_version_of_any_object_names_the_person_and_everything_of_the_others_is_as_it_was(
    study: Study, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(
        Garmin, "end_registration", lambda cloud, user: ended.append(user) or cloud.tokens.delete(user) or ""
    )
    lake, settings = study.lake, study.settings
    links = SurveyLinks(DynamoState(settings.enrolment_table))
    code, _ = links.invite("QOL-1", 0)
    draft, waited = links.find(code), []

    def meanwhile(seconds: float) -> None:
        """A page that found its form before comes to its end, and none finds it any more."""
        waited.append(seconds)
        with pytest.raises(InvitationError):
            links.find(code)
        now = datetime.now(UTC)
        sending = Sending(draft.participant_id, draft.wave, {1: 4}, "ja", "web", now, now)
        study.put(sending.key, sending.line)

    monkeypatch.setattr(account, "PAGE_S", 30.0)
    monkeypatch.setattr(account, "time", SimpleNamespace(sleep=meanwhile))
    others, frozen = study.of_others(), read_freeze(lake, "paper-1")
    assert len(study.naming()) > 12
    counted = count_person(settings, "QOL-1")
    assert (study.of_others(), counted["raw lines"], counted["table rows"], counted["id map"]) == (others, 3, 1, 1)
    capfd.readouterr()

    assert run(["participants", "erase", "QOL-1", "--prove", "--yes", "--format", "json"]) == 0
    said = capfd.readouterr()
    assert ADA_USER not in said.out + said.err
    assert study.naming() == set()
    spilled = {f"raw/daily/date={DAY}/spilled.jsonl": [json.dumps(record("hrv", BEN_USER, MONDAY)).encode()]}
    assert study.of_others() == others | spilled
    assert ended == [ADA_USER]
    assert waited == [30.0]

    thawed = read_freeze(lake, "paper-1")
    assert (verify_freeze(lake, thawed), thawed.erasures[0]["manifest_was"]) == ([], frozen.sha256)
    assert [one.garmin_user_id for one in AwsIdMap(settings.id_map_table).list()] == [BEN_USER]
    assert AwsIdMap(settings.id_map_table, ledger=study.ledger).add("c" * 32) == "P0001"
    state = DynamoState(settings.enrolment_table)
    assert [name for name, _ in state.entries("invitation")] == ["QOL-11"]
    assert len(state.entries("code")) == 1
    (letter,) = SqsQueue(settings.dead_letter_url).receive(10, 2)
    assert json.loads(letter.body)["participant"] == "QOL-11"
    assert lake.read_object("athena/6.csv") == b'"participant_id"\n"QOL-11"\n'

    (key,) = [one for one in lake.keys("erasures/") if one.endswith(".json")]
    signed = json.loads(lake.read_object(key))
    report, text = signed["report"], json.dumps(signed["report"], sort_keys=True, ensure_ascii=False)
    assert f"s3://{settings.bucket}/{key}" in said.out
    assert signed["hmac_sha256"] == study.ledger.sign(text)
    assert report["is_complete"]
    assert report["counts"]["old versions"] > 10
    until = (datetime.now(UTC) + timedelta(days=92)).date()
    assert report["stays"][f"copies in {settings.backup_bucket}"].endswith(str(until))
    marked = [one.key for one in Versions(settings.backup_bucket).all() if one.is_marker]
    assert f"raw/daily/date={DAY}/ada.jsonl" in marked
    assert f"raw/daily/date={DAY}/both.jsonl" not in marked

    receiver = Receiver(S3Store(settings.bucket), "s", refusals=study.ledger)
    body = json.dumps({"dailies": [{"userId": one, "calendarDate": DAY} for one in (ADA_USER, BEN_USER)]})
    http = {"method": "POST", "path": "/garmin/s"}
    assert receiver.handle({"requestContext": {"http": http}, "body": body})["statusCode"] == 200
    assert study.naming() == set()


RUN = f"""
import os, time
from obstore.store import S3Store
address = f"http://127.0.0.1:{{os.environ['GATEWAY_PORT']}}"
store = S3Store(os.environ["lake"], endpoint=address, client_options={{"allow_http": True}})
while not store.list("tmp/").collect():
    time.sleep(0.05)
store.put("processed/weekly/date={DAY}/part-0.parquet", store.get("tmp/rows.parquet").bytes())
"""
"""A run of the weekly job, which read who is who before, and writes rows late."""


def test_a_run_that_knew_the_person_is_waited_for_and_its_rows_go_too(
    study: Study, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, lake = study.settings, study.lake
    monkeypatch.setattr(account, "GLUE_POLL_S", 0.1)
    (weekly,) = lake.keys("processed/weekly")
    assert weekly == f"processed/weekly/date={DAY}/part-0.parquet"
    late = lake.read_object(weekly)
    study.ledger.append("begun", [ADA_USER], ["QOL-1"])  # and the command was killed, before it came to the id map
    (script := tmp_path / "run.py").write_text(RUN)
    cloud.runs_script(settings.glue_job, script, lake=settings.bucket)
    aws.client("glue").start_job_run(JobName=settings.glue_job)
    said: list[str] = []

    def go_on(text: str) -> None:
        said.append(text)
        if text.startswith("waiting for a run") and not lake.keys("tmp"):
            lake.remove_objects([weekly])
            study.put("tmp/rows.parquet", late)

    report = erase(settings, "QOL-1", log=go_on)
    assert (report.left, report.counts["table rows"]) == ({}, 1)
    assert "waiting for a run of the weekly job that began before" in said
    assert (study.naming(), len(lake.keys("processed/weekly"))) == (set(), 1)


class KilledError(BaseException):
    """The process ended here."""


def killing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the process end at the n-th write or removal from now on."""
    left = [10**9]

    def counted(place: Any, name: str) -> None:
        inner = getattr(place, name)

        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] <= 0:
                raise KilledError
            return inner(*arguments, **options)

        monkeypatch.setattr(place, name, call)

    for place, name in (
        *((Lake, "replace_object"), (Lake, "remove_objects")),
        *((Versions, "remove"), (S3Ledger, "_put")),
    ):
        counted(place, name)
    return lambda number: left.__setitem__(0, number)


class Refusing:
    """S3 that lets nobody remove a version."""

    def __init__(self) -> None:
        self.client = aws.client("s3")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def delete_objects(self, **asked: Any) -> dict[str, Any]:
        return {"Errors": [{"Code": "AccessDenied", "Key": asked["Delete"]["Objects"][0]["Key"]}]}


class Throttling:
    """DynamoDB that takes no item at the moment."""

    def __init__(self) -> None:
        self.client = aws.client("dynamodb")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def transact_write_items(self, **_asked: Any) -> None:
        raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "TransactWriteItems")


@pytest.mark.parametrize("emptied", ["unversioned"], indirect=True)
def test_killed_refused_or_throttled_it_goes_on_and_what_came_meanwhile_goes_too(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ErasureError, match=r"QOL_BACKUP_BUCKET, QOL_GARMIN_CLIENT_SECRET.* is not set"):
        erase(replace(study.settings, backup_bucket="", garmin_client_secret=""), "QOL-1")
    assert study.ledger.entries() == []
    others = study.of_others()

    kill_at = killing(monkeypatch)
    for number in (1, 3, 9):
        kill_at(number)
        with pytest.raises(KilledError):
            erase(study.settings, "QOL-1")
        now = study.of_others()
        assert {key: now.get(key) for key in others} == others, number
        assert verify_freeze(study.lake, read_freeze(study.lake, "paper-1")) == [], number
    kill_at(10**9)

    with monkeypatch.context() as patched:
        patched.setattr(Versions, "_client", Refusing())
        with pytest.raises(ErasureError, match=r"did not do delete_objects.*AccessDenied.*rights of `qol-eraser`"):
            erase(study.settings, "QOL-1")
    assert study.ledger.unfinished() == 1
    assert AwsIdMap(study.settings.id_map_table).identities().active == {BEN_USER: "QOL-11"}

    with monkeypatch.context() as patched:
        patched.setattr(AwsIdMap, "_client", Throttling())
        with pytest.raises(ErasureError, match=r"stopped: DynamoDB did not do .*Throughput.*Wait a little.*goes on"):
            erase(study.settings, "QOL-1")

    inner = account.Account.search

    def with_a_late_object(place: account.Account, person: Any) -> Any:
        if not late:
            late.append("x")
            study.put(f"raw/daily/date={DAY}/late.jsonl", json.dumps(record("dailies", ADA_USER, MONDAY)) + "\n")
        return inner(place, person)

    late: list[str] = []
    monkeypatch.setattr(account.Account, "search", with_a_late_object)
    report = erase(study.settings, "QOL-1")
    assert (report.is_complete, late, study.naming()) == (True, ["x"], set())
    now = study.of_others()
    assert {key: now.get(key) for key in others} == others
    assert [one.state for one in study.ledger.entries()] == ["begun", "finished"]
