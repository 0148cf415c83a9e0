"""What no run reads: it is counted, alerted once when it begins or grows, and quarantine is read again after a fix."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from qol_dagster.cli.app import run
from qol_dagster.defs.unread import growth, unread_sensor
from qol_dagster.lake.lake import Lake
from qol_dagster.resources.platform import Resources, open_platform
from qol_dagster.resources.requarantine import requarantine
from qol_dagster.resources.unread import ADVICE, ADVICE_JA, count_unread, name_files, name_folders
from qol_dagster.settings import Settings
from qol_dagster_tests.support.outbox import Outbox
from qol_ingest import records as records_module
from qol_ingest.shared.calendar import receipt_date
from qol_ingest.shared.stores import DirectoryStore, StoreError
from qol_ingest.webhook import Receiver

SECRET = "secret-of-the-tests-1"
GOOD = {"userId": "u-1", "calendarDate": "2026-11-14", "steps": 4210}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    settings.lake_dir.mkdir(parents=True)
    return settings


def push(settings: Settings, body: bytes, at: datetime | None = None) -> None:
    event = {"rawPath": f"/garmin/{SECRET}", "requestContext": {"http": {"method": "POST"}}, "body": body}
    answer = Receiver(DirectoryStore(settings.lake_dir), SECRET).handle(event, at or datetime.now(UTC))
    assert answer["statusCode"] == 200


def files(settings: Settings) -> dict[str, bytes]:
    root = settings.lake_dir
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def put(settings: Settings, key: str, content: bytes = b"{}\n") -> None:
    path = settings.lake_dir / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# -- lifecycle events


def test_a_line_break_of_another_script_within_an_event_loses_no_withdrawal(settings: Settings) -> None:
    events = [{"userId": f"u-{number}", "note": "a\u2028b\x85c"} for number in (1, 2)]
    push(settings, json.dumps({"deregistrations": events}, ensure_ascii=False).encode())
    lake = Lake.local(settings.lake_dir)
    lines = lake.lifecycle_lines(lake.lifecycle_objects())
    assert [json.loads(line)["userId"] for line in lines] == ["u-1", "u-2"]


# -- counting


def test_dates_to_come_of_a_device_whose_clock_is_wrong_hide_nothing_of_today(settings: Settings) -> None:
    today = receipt_date(datetime.now(UTC))
    put(settings, f"raw/daily/date={today}/dump.json")
    for later in range(60):
        put(settings, f"raw/daily/date={today + timedelta(days=9000 + later)}/{later}.jsonl")
    put(settings, f"raw/daily/date={today + timedelta(days=9059)}/dump.json")
    assert count_unread(Lake.local(settings.lake_dir), settings)["files_not_read"] == 2


def test_everything_that_no_run_reads_is_counted(settings: Settings) -> None:
    push(settings, b"no json")
    push(settings, json.dumps({"dailies": [GOOD, 7]}).encode())
    strange = (
        "date=2026-11-14/x.JSONL", "date=2026-11-14/x.jsonl.gz", "date=2026-11-14/inner/x.jsonl",
        "date=20261114/x.jsonl", "2026-11-14/x.jsonl", "x.jsonl",
    )  # fmt: skip
    for name in strange:
        put(settings, f"raw/daily/{name}")
    for name in ("date=2026-11-14/.x.tmp", "date=2026-11-14/_SUCCESS", "date=2026-11-14/good.jsonl"):
        put(settings, f"raw/daily/{name}")
    for folder in (settings.home / "dead_letters", settings.arrivals_dir / "dead"):
        folder.mkdir(parents=True)
        (folder / "1").touch()
    assert count_unread(Lake.local(settings.lake_dir), settings) == {
        "quarantined_bodies": 1, "quarantined_parts": 1, "dead_letters": 2, "files_not_read": len(strange),
        "unknown_type_records": 0, "unreadable": 0, "misfiled": 0,
    }  # fmt: skip


def test_files_are_named_on_one_line_without_garmin_ids_and_their_folders_without_any_name() -> None:
    user = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
    keys = [f"raw/daily/date=2026-11-14/{user}.gz", f"raw/daily/yamada/date=2026-11-14/{user}/x", "raw/daily/x\ny"]
    shown = name_files(keys)
    assert shown == "raw/daily/date=2026-11-14/***.gz, raw/daily/x\\ny, raw/daily/yamada/date=2026-11-14/***/x"
    assert name_files(map(str, range(7))) == "0, 1, 2, 3, 4, 2 more"
    assert name_folders(keys) == "raw/daily/: 2, raw/daily/date=2026-11-14/: 1"


@pytest.mark.slow
def test_the_weekly_run_and_the_doctor_show_the_counts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QOL_HOME", str(settings.home))
    push(settings, json.dumps({"dailies": [GOOD, 7], "unheardOf": [GOOD]}).encode())
    for name in ("x.gz", "a\nb.jsonl"):
        put(settings, f"raw/daily/date=2026-11-14/{name}")
    assert run(["participants", "add", "u-1"]) == 0
    assert run(["materialize", "--week", "2026-11-14"]) == 0
    capsys.readouterr()
    run(["doctor"])
    shown = capsys.readouterr().out
    folder = "raw/daily/date=2026-11-14"
    named = f"2 ({folder}/a\\nb.jsonl, {folder}/x.gz)"
    for name, count in {"quarantined parts": "1", "files not read": named, "unknown type records": "1"}.items():
        assert f"note  not read: {name}: {count}. {ADVICE[name.replace(' ', '_')]}\n" in shown
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("daily_metrics"))
        assert event
        assert event.asset_materialization
        metadata = event.asset_materialization.metadata
    assert {name: metadata[name].value for name in ("quarantined_bodies", "quarantined_parts", "files_not_read")} == {
        "quarantined_bodies": 0, "quarantined_parts": 1, "files_not_read": 2,
    }  # fmt: skip
    assert metadata["files_not_read_in"].value == f"{folder}/: 2"


# -- the alert


def test_what_begins_or_grows_is_told_and_what_stays_or_shrinks_is_not() -> None:
    assert growth({"a": 1, "b": 2, "c": 3, "d": 0}, {"b": 2, "c": 4}) == {"a": (0, 1)}
    assert growth({"a": 3}, {"a": 1}) == {"a": (1, 3)}


def test_an_alert_is_sent_when_something_begins_and_again_only_when_it_grows(settings: Settings) -> None:
    outbox = Outbox()
    sensor = unread_sensor(Resources.of(open_platform(settings), {"notifier": outbox}))
    cursor: str | None = None

    def tick() -> int:
        nonlocal cursor
        context = dg.build_sensor_context(cursor=cursor)
        sensor(context)
        cursor = context.cursor
        return len(outbox.sent)

    assert tick() == 0
    push(settings, b"no json")
    assert [tick(), tick()] == [1, 1]
    outbox.works = False
    push(settings, b"no json either")
    assert tick() == 1
    outbox.works = True
    assert [tick(), tick()] == [2, 2]
    subject, body = outbox.sent[-1]
    assert subject == "[qol] not read: quarantined bodies"
    assert "quarantined bodies: 2 (1 before)" in body
    assert "qol raw requarantine" in body
    assert "読み直せます" in body
    assert ADVICE.keys() == ADVICE_JA.keys()


# -- reading quarantine again


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A receiver with a fault: it takes no record of a type with `x` in its name."""
    was = records_module._fault
    monkeypatch.setattr(
        records_module, "_fault", lambda entry: "a fault of ours" if "x" in entry.summary_type else was(entry)
    )
    return monkeypatch


def reread(settings: Settings, **options: bool) -> tuple[int, int, int]:
    report = requarantine(Lake.local(settings.lake_dir), DirectoryStore(settings.lake_dir), **options)
    return report.files, report.read, report.records


def test_what_a_fixed_receiver_can_read_is_stored_as_if_it_had_come_to_it_and_the_rest_stays(
    settings: Settings, narrow: pytest.MonkeyPatch
) -> None:
    record = '{"userId":"u-1","calendarDate":"2026-11-14","steps":1.50,"a":"x\\n\\u2028 y","userAccessToken":"t"}'
    push(settings, f'{{"dailies":[{record},7],"x":[{record},{record.replace("14", "15")}],"y":{{"steps":7}}}}'.encode())
    narrow.undo()
    before = files(settings)
    assert reread(settings, dry_run=True) == (1, 0, 2)
    assert files(settings) == before
    assert reread(settings) == (1, 0, 2)
    after = files(settings)
    assert reread(settings) == (1, 0, 0)
    assert files(settings) == after
    (rejects,) = (content for key, content in after.items() if "quarantine" in key)
    assert [json.loads(line)["reason"] for line in rejects.splitlines()] == [
        "not an object",
        "the value of this type is not a list",
    ]
    lines = [line for key, content in after.items() if key not in before for line in content.decode().split("\n")[:-1]]
    assert sorted(json.loads(line)["calendarDate"] for line in lines) == ["2026-11-14", "2026-11-15"]
    (old,) = (content for key, content in before.items() if "quarantine" not in key)
    assert {json.loads(line)["_ingest_id"] for line in lines} == {json.loads(old)["_ingest_id"]}
    assert all(line.split('"userId"')[1].startswith(':"u-1","calendarDate":"2026-11-1') for line in lines)
    assert all('"steps":1.50,"a":"x\\n\\u2028 y"' in line for line in lines)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_a_body_too_large_for_the_receiver_is_read_without_haste(settings: Settings, pack: type) -> None:
    body = json.dumps({"a": [GOOD] * 50_001}).encode()
    sent = pack(body)
    event = {"rawPath": f"/garmin/{SECRET}", "requestContext": {"http": {"method": "POST"}}, "body": sent}
    Receiver(DirectoryStore(settings.lake_dir), SECRET).handle(event)
    assert list(files(settings).values()) == [sent]
    assert reread(settings) == (1, 1, 50_001)
    ((key, content),) = files(settings).items()
    assert key == f"raw/daily/date=2026-11-14/{hashlib.sha256(body).hexdigest()}.jsonl"
    assert content.count(b"\n") == 50_001


def test_a_body_counts_as_received_when_it_was_and_one_that_was_copied_first_of_all_its_day(
    settings: Settings, narrow: pytest.MonkeyPatch
) -> None:
    day = receipt_date(datetime.now(UTC)) - timedelta(days=3)
    body = json.dumps({"a": [GOOD] * 50_001}).encode()
    put(settings, f"raw/quarantine/date={day}/{hashlib.sha256(body).hexdigest()}.body", body)
    (path,) = settings.lake_dir.rglob("*.body")
    noon = datetime(day.year, day.month, day.day, 3, tzinfo=UTC)
    for written, received in ((noon, noon), (noon + timedelta(days=2), noon - timedelta(hours=12))):
        path.write_bytes(body)
        os.utime(path, (written.timestamp(), written.timestamp()))
        assert reread(settings)[1] == 1
        (daily,) = settings.lake_dir.glob("raw/daily/*/*.jsonl")
        assert json.loads(daily.read_bytes().split(b"\n")[0])["_received_at"] == received.isoformat(
            timespec="milliseconds"
        ).replace("+00:00", "Z")
        daily.unlink()


def test_what_holds_nothing_goes_from_quarantine_and_what_holds_anything_stays(settings: Settings) -> None:
    today = f"raw/quarantine/date={receipt_date(datetime.now(UTC))}"
    old = "raw/quarantine/date=2026-11-14"
    nothing = {
        f"{old}/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.body": b"",
        f"{today}/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.body": b"",
        f"{old}/a1.body": b" \n",
        f"{old}/a2.body": gzip.compress(b""),
        f"{old}/a3.body": b"null",
        f"{old}/a4.rejects.jsonl": b"",
        f"{old}/a5.rejects.jsonl": b'{"reason":"the value of this type is not a list","_summary_type":"dailies",'
        b'"value":null}\n',
    }
    something = {
        f"{old}/b1.body": b"no json",
        f"{old}/b2.body": b"[null]",
        f"{old}/b3.rejects.jsonl": b'{"reason":"not an object","_summary_type":"dailies","value":null}\n',
        f"{old}/b4.rejects.jsonl": b'{"reason":"the value of this type is not a list","_summary_type":"dailies",'
        b'"value":"NaN"}\n',
    }
    for key, content in (nothing | something).items():
        put(settings, key, content)
    assert reread(settings, dry_run=True) == (11, 7, 0)
    assert files(settings) == nothing | something
    assert reread(settings) == (11, 7, 0)
    assert files(settings) == something
    assert reread(settings) == (4, 0, 0)


def test_a_probe_with_an_empty_body_leaves_nothing_that_is_not_read(settings: Settings) -> None:
    for body in (b"", b"", b"\r\n", b'{"dailies":null}'):
        push(settings, body)
    assert not files(settings)
    assert set(count_unread(Lake.local(settings.lake_dir), settings).values()) == {0}


@dataclass
class Dying:
    """A store that fails after so many writes."""

    inner: DirectoryStore
    writes: int

    def put_new(self, key: str, content: bytes) -> bool:
        self.writes -= 1
        if self.writes < 0:
            raise StoreError("killed")
        return self.inner.put_new(key, content)

    def get(self, key: str) -> bytes | None:
        return self.inner.get(key)


def test_killed_anywhere_nothing_is_lost_and_nothing_is_twice(settings: Settings, narrow: pytest.MonkeyPatch) -> None:
    days = [GOOD | {"calendarDate": f"2026-11-{day}"} for day in (14, 15, 16)]
    push(settings, json.dumps({"dailies": [GOOD], "x": days, "deregistrations": [{"userId": "u-2"}]}).encode())
    put(settings, "raw/quarantine/date=2026-11-20/00.body", json.dumps({"dailies": days}).encode())
    narrow.undo()
    for writes in range(6):
        with pytest.raises(StoreError):
            requarantine(Lake.local(settings.lake_dir), Dying(DirectoryStore(settings.lake_dir), min(writes, 2)))
    assert reread(settings)[1] == 2
    kept = files(settings)
    assert not any("quarantine" in key for key in kept)
    dates = [key.split("/")[2] for key in kept if "daily" in key]
    assert sorted(dates) == sorted(["date=2026-11-14"] * 3 + ["date=2026-11-15", "date=2026-11-16"] * 2)


def test_the_command_reads_quarantine_again_and_announces_pings(
    settings: Settings, narrow: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow.setenv("QOL_HOME", str(settings.home))
    push(settings, json.dumps({"x": [{"userId": "u-1", "callbackURL": "https://example.org"}]}).encode())
    narrow.undo()
    narrow.setenv("QOL_HOME", str(settings.home))
    assert run(["raw", "requarantine"]) == 0
    assert capsys.readouterr().out == "1 of 1 files read and taken out of quarantine, records: 1\n"
    assert len([one for one in settings.arrivals_dir.iterdir() if one.is_file()]) == 1
