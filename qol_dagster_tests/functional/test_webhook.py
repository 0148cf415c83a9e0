"""The receiver as Garmin meets it: real HTTP in, files in a directory out, and an answer that can be trusted."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import json
import logging
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.engines import open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.etl import run_etl
from qol_ingest import server as server_module
from qol_ingest import webhook
from qol_ingest.records import parse_body
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.calendar import receipt_date
from qol_ingest.shared.stores import DirectoryStore, S3Store, StoreError
from qol_ingest.webhook import Limits, Receiver

SECRET = "an unguessable/secret%41"
CLIENT_ID = "client-7"
NOW = datetime(2026, 11, 16, 0, 5, tzinfo=UTC)
TOKEN, USER = "8c1b7f0e-secret-token", "4aacafe82427c251df9c9592d0c06768"
RECORD = {"userId": USER, "userAccessToken": TOKEN, "calendarDate": "2026-11-14", "steps": 4210}
BODY = json.dumps({"dailies": [RECORD, RECORD | {"calendarDate": "2026-11-15"}], "sleeps": [RECORD, 7]}).encode()
PACKED = gzip.compress(BODY, mtime=0)
NAME = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[LocalWebhook]:
    with LocalWebhook(Receiver(DirectoryStore(tmp_path / "lake"), SECRET)) as running:
        yield running


def send(
    hook: LocalWebhook,
    body: bytes | None = None,
    *,
    method: str = "POST",
    path: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """Status and JSON of one request, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", hook.port, timeout=20)
    try:
        connection.request(method, hook.url.removeprefix(hook.base_url) if path is None else path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None
    finally:
        connection.close()


def event(body: str = "", *, path: str = f"/garmin/{SECRET}", method: str = "POST", **more: Any) -> dict[str, Any]:
    """What API Gateway hands to a Lambda."""
    http_part = {"method": method, "path": path}
    return {"version": "2.0", "rawPath": path, "requestContext": {"http": http_part}, "body": body, **more}


def stored(root: Path) -> dict[str, bytes]:
    """Every file under a root, by its key."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def today() -> str:
    return receipt_date(datetime.now(UTC)).isoformat()


# -- a push


def test_a_push_lies_under_its_dates_before_it_is_answered(hook: LocalWebhook, tmp_path: Path) -> None:
    assert send(hook, BODY) == (200, {"stored": 3, "rejected": 1})
    files = stored(tmp_path / "lake")
    assert set(files) == {
        f"raw/daily/date=2026-11-14/{NAME}.jsonl",
        f"raw/daily/date=2026-11-15/{NAME}.jsonl",
        f"raw/quarantine/date={today()}/{NAME}.rejects.jsonl",
    }
    lines = files[f"raw/daily/date=2026-11-14/{NAME}.jsonl"].decode().splitlines(keepends=True)
    assert all(line.endswith("\n") for line in lines)
    assert [json.loads(line)["_summary_type"] for line in lines] == ["dailies", "sleeps"]
    assert TOKEN.encode() not in b"".join(files.values())


def test_lifecycle_events_and_pings_lie_apart_under_the_date_of_receipt(hook: LocalWebhook, tmp_path: Path) -> None:
    body = json.dumps(
        {"deregistrations": [{"userId": USER}], "activityFiles": [{"userId": USER, "callbackURL": "https://x"}]}
    ).encode()
    assert send(hook, body) == (200, {"stored": 2, "rejected": 0})
    name = hashlib.sha256(body).hexdigest()
    lifecycle, pings = sorted(stored(tmp_path / "lake"))
    assert pings == f"raw/pings/date={today()}/{name}.jsonl"
    assert re.fullmatch(f"raw/lifecycle/date={today()}/{name}-[0-9]{{6}}.jsonl", lifecycle)


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_record_with_no_address_to_call_back_is_a_record(
    hook: LocalWebhook, tmp_path: Path, nothing: str | None
) -> None:
    body = json.dumps({"dailies": [{"userId": USER, "calendarDate": "2026-11-14", "callbackURL": nothing}]}).encode()
    assert send(hook, body) == (200, {"stored": 1, "rejected": 0})
    assert list(stored(tmp_path / "lake")) == [f"raw/daily/date=2026-11-14/{hashlib.sha256(body).hexdigest()}.jsonl"]


def test_who_leaves_twice_in_the_same_words_has_left_twice(tmp_path: Path) -> None:
    receiver = Receiver(DirectoryStore(tmp_path), SECRET)
    body = json.dumps({"deregistrations": [{"userId": USER}]})
    for second in (1, 1, 59):
        assert receiver.handle(event(body), NOW.replace(second=second))["statusCode"] == 200
    assert len(stored(tmp_path)) == 2


def test_a_redelivery_changes_nothing(tmp_path: Path) -> None:
    receiver = Receiver(DirectoryStore(tmp_path), SECRET)
    first = receiver.handle(event(BODY.decode()), NOW)
    before = stored(tmp_path)
    assert receiver.handle(event(BODY.decode()), NOW.replace(hour=1)) == first
    assert stored(tmp_path) == before
    assert len(before) == 3


def test_a_version_that_lost_counts_once_it_is_written_again_with_a_later_receipt(tmp_path: Path) -> None:
    receiver = Receiver(DirectoryStore(tmp_path), SECRET)
    whole = {"userId": USER, "calendarDate": "2026-11-14", "startTimeInSeconds": 1794582000, "durationInSeconds": 86400}
    bodies = [json.dumps({"dailies": [{**whole, "steps": steps}]}) for steps in (8000, 8100, 8000)]
    for minute, body in enumerate(bodies):
        receiver.handle(event(body), NOW.replace(minute=minute))
    first = tmp_path / f"raw/daily/date=2026-11-14/{hashlib.sha256(bodies[0].encode()).hexdigest()}.jsonl"
    line = json.loads(first.read_text()) | {"_ingest_id": "corrected-1", "_received_at": "2026-11-16T09:00:00.000Z"}

    def steps() -> list[float]:
        with open_engine("duckdb", memory_mb=512, temp_dir=tmp_path / "tmp") as engine:
            run_etl(engine, Lake.local(tmp_path), [date(2026, 11, 14)], Identities({USER: "P1"}))
        rows = Lake.local(tmp_path).read_table("daily", date(2026, 11, 14))
        assert rows
        return list(rows["steps"].to_pylist())

    assert steps() == [8100]
    first.with_name("corrected-1.jsonl").write_text(json.dumps(line) + "\n")
    assert steps() == [8000]


def test_a_clock_that_is_set_back_is_warned_of_once_and_one_that_lags_a_little_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(DirectoryStore(tmp_path), SECRET)

    def warned(at: datetime) -> list[str]:
        caplog.clear()
        assert receiver.handle(event(BODY.decode()), at)["statusCode"] == 200
        return [one.getMessage() for one in caplog.records if "clock" in one.getMessage()]

    assert warned(NOW.replace(hour=3)) == []
    assert warned(NOW.replace(hour=3, minute=4)) == []
    assert "set back by" in "".join(warned(NOW))
    assert warned(NOW.replace(minute=6)) == []


def test_a_body_that_cannot_be_read_is_kept_byte_for_byte(hook: LocalWebhook, tmp_path: Path) -> None:
    for body in (b'\x00\xff{"dailies":[', b'""', BODY[:-1], b"[" * 50_000):
        assert send(hook, body) == (200, {"stored": 0, "rejected": 1})
        key = f"raw/quarantine/date={today()}/{hashlib.sha256(body).hexdigest()}.body"
        assert stored(tmp_path / "lake")[key] == body


def test_a_record_with_a_repeated_key_is_quarantined_and_the_rest_of_its_body_is_stored(
    hook: LocalWebhook, tmp_path: Path
) -> None:
    twice = f'{{"userId":"{USER}","calendarDate":"2026-11-14","steps":1,"userAccessToken":"{TOKEN}","steps":2}}'
    body = f'{{"dailies":[{json.dumps(RECORD)},{twice}],"sleeps":[{json.dumps(RECORD)}]}}'.encode()
    assert send(hook, body) == (200, {"stored": 2, "rejected": 1})
    name, files = hashlib.sha256(body).hexdigest(), stored(tmp_path / "lake")
    assert len(files[f"raw/daily/date=2026-11-14/{name}.jsonl"].splitlines()) == 2
    reject = files[f"raw/quarantine/date={today()}/{name}.rejects.jsonl"].decode()
    assert json.loads(reject)["reason"] == "the record has the key steps twice"
    assert f'{{"userId":"{USER}","calendarDate":"2026-11-14","steps":1,"steps":2}}' in reject


def test_nothing_to_store_is_fine(hook: LocalWebhook, tmp_path: Path) -> None:
    assert send(hook, b"{}") == (200, {"stored": 0, "rejected": 0})
    assert stored(tmp_path) == {}


def test_sixteen_clients_with_one_body_store_one_file_of_each_date(hook: LocalWebhook, tmp_path: Path) -> None:
    together = threading.Barrier(16)

    def push(_: int) -> tuple[int, Any]:
        together.wait()
        return send(hook, BODY)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(push, range(16)))
    assert answers == [(200, {"stored": 3, "rejected": 1})] * 16
    files = stored(tmp_path / "lake")
    assert len(files) == 3
    assert {len(content.splitlines()) for content in files.values()} == {1, 2}


def odd_nights(noon: int) -> Iterator[dict[str, Any]]:
    """Lengths, parts and stages by which a night that begins at noon ends on the same date or a later one."""
    chance = random.Random(7)
    lengths = (None, 0, 600, 43_200, "43200", 80_000, -5, 10**16, True)
    names = ("durationInSeconds", "awakeDurationInSeconds", "unmeasurableSleepInSeconds", "deepSleepDurationInSeconds")
    for _ in range(120):
        night = {name: chance.choice(lengths) for name in chance.sample(names, chance.randint(1, 4))}
        spans = [
            {"startTimeInSeconds": noon, "endTimeInSeconds": noon + chance.choice((-60, 600, 43_200, 90_000, 200_000))}
            for _ in range(chance.randint(0, 2))
        ]
        level = chance.choice(("deep", "awake", "unknown", "light"))
        levels = chance.choice(({}, {"sleepLevelsMap": {level: spans}}, {"sleepLevelsMap": {level: "x"}}))
        yield {"startTimeInSeconds": noon, "startTimeOffsetInSeconds": chance.choice((0, 32_400)), **night, **levels}


def test_the_weekly_job_finds_every_record_under_its_own_date(tmp_path: Path) -> None:
    noon = 1_794_830_400  # 2026-11-16T12:00:00Z
    times: list[dict[str, Any]] = [
        {"calendarDate": "2026-11-17", "startTimeInSeconds": 0},
        {"calendarDate": "2026-11-31", "startTimeInSeconds": noon},
        {"calendarDate": "2026-11-17 ", "startTimeInSeconds": noon},
        {"calendarDate": 20261117, "startTimeInSeconds": noon},
        {"startTimeInSeconds": noon, "startTimeOffsetInSeconds": 43_200},
        {"startTimeInSeconds": noon, "measurementTimeInSeconds": noon + 86_400},
        {"startTimeInSeconds": str(noon), "offsetInSeconds": "43200"},
        {"startTimeInSeconds": " 1.7948304e9 ", "measurementTimeOffsetInSeconds": 86_400.5},
        {"startTimeInSeconds": "1_794_830_400"},
        {"startTimeInSeconds": f"\t{noon}\r\n", "startTimeOffsetInSeconds": "43200\t"},
        {"startTimeInSeconds": -3_000_000_000},
        {"startTimeInSeconds": 10**14},
        {"startTimeInSeconds": 10**400},
        {"startTimeInSeconds": True, "measurementTimeInSeconds": noon + 172_800},
        {"summary": {"startTimeInSeconds": noon, "startTimeOffsetInSeconds": 86_400}},
        {"startTimeInSeconds": None, "summary": "none"},
        {},
        {"startTimeInSeconds": noon, "sleepLevelsMap": {"light": [{"endTimeInSeconds": noon + 43_200}]}},
        *odd_nights(noon),
    ]
    types = ("dailies", "bloodPressures", "activityDetails", "epochs", "unheardOf", "sleeps", "hrv")
    body = {type_: [{"userId": "u-1", "summaryId": str(n), **at} for n, at in enumerate(times)] for type_ in types}
    receiver = Receiver(DirectoryStore(tmp_path), SECRET)
    answer = receiver.handle(event(json.dumps(body)), NOW.replace(day=18))
    assert json.loads(answer["body"]) == {"stored": len(types) * len(times), "rejected": 0}
    with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path / "tmp") as engine:
        report = run_etl(engine, Lake.local(tmp_path), [date(2026, 11, 16)], Identities({"u-1": "P1"}))
    counts = [day.counts for day in report.daily.days]
    assert sum(day["lines"] for day in counts) == len(types) * len(times)
    assert sum(day["misfiled"] for day in counts) == 0


def test_half_an_emoji_and_a_byte_order_mark_cost_no_record(hook: LocalWebhook, tmp_path: Path) -> None:
    run = f'{{"userId":"{USER}","activityName":"Evening run \\ud83d","calendarDate":"2026-11-14"}}'
    bodies = [f'{mark}{{"activities":[{run}]}}'.encode() for mark in ("", "\ufeff")]
    for body in bodies:
        assert send(hook, body) == (200, {"stored": 1, "rejected": 0})
        key = f"raw/daily/date=2026-11-14/{hashlib.sha256(body).hexdigest()}.jsonl"
        assert stored(tmp_path / "lake")[key].decode().endswith(f",{run[1:]}\n")


# -- who may push


@pytest.mark.parametrize("path", ["/garmin/", "/garmin/wrong", "/garmin/an%20unguessable/secret", "/garmin/%F0%9F%98"])
def test_a_wrong_secret_is_refused_and_nothing_is_stored(hook: LocalWebhook, tmp_path: Path, path: str) -> None:
    assert send(hook, BODY, path=path) == (403, {"error": "forbidden"})
    assert stored(tmp_path) == {}


def test_a_secret_that_is_no_proper_text_is_refused(tmp_path: Path) -> None:
    receiver = Receiver(DirectoryStore(tmp_path), SECRET)
    assert receiver.handle(event(path="/garmin/\ud83d"))["statusCode"] == 403


def test_with_a_client_id_set_a_push_must_carry_it(tmp_path: Path) -> None:
    with LocalWebhook(Receiver(DirectoryStore(tmp_path), SECRET, CLIENT_ID)) as hook:
        assert send(hook, BODY)[0] == 403
        assert send(hook, BODY, headers={"garmin-client-id": "client-8"})[0] == 403
        assert send(hook, BODY, path="/garmin/wrong", headers={"garmin-client-id": CLIENT_ID})[0] == 403
        assert stored(tmp_path) == {}
        assert send(hook, BODY, headers={"Garmin-Client-Id": CLIENT_ID})[0] == 200


def test_a_receiver_without_a_secret_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="QOL_WEBHOOK_SECRET"):
        Receiver(DirectoryStore(tmp_path), "")


def test_a_receiver_shows_its_secrets_to_nobody(tmp_path: Path) -> None:
    shown = repr(Receiver(DirectoryStore(tmp_path), SECRET, CLIENT_ID))
    assert SECRET not in shown
    assert CLIENT_ID not in shown


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/health?deep=1", 200),
        ("POST", "/health", 405),
        ("GET", f"/garmin/{SECRET}".replace(" ", "%20"), 405),
        ("DELETE", "/garmin/wrong", 405),
        ("POST", "/", 404),
        ("POST", "/garmin", 404),
        ("GET", "/raw/daily", 404),
    ],
)
def test_there_is_nothing_but_pushing_and_health(
    hook: LocalWebhook, tmp_path: Path, method: str, path: str, status: int
) -> None:
    assert send(hook, BODY if method == "POST" else None, method=method, path=path)[0] == status
    assert stored(tmp_path) == {}


def test_neither_tokens_nor_ids_nor_secrets_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "asyncio")
    with LocalWebhook(Receiver(DirectoryStore(tmp_path / "lake"), SECRET, CLIENT_ID)) as hook:
        for headers in ({}, {"garmin-client-id": CLIENT_ID}):
            for body in (BODY, BODY[:-1], json.dumps({"dailies": [RECORD | {"_ingest_id": USER}]}).encode()):
                send(hook, body, headers=headers)
        send(hook, BODY, path=f"/garmin/{SECRET[::-1]}".replace(" ", "%20"))
    (tmp_path / "file").touch()
    Receiver(DirectoryStore(tmp_path / "file"), SECRET).handle(event(BODY.decode()))
    assert [message.split(":")[0] for message in caplog.messages] == (
        ["push refused"] * 3 + ["push taken"] * 3 + ["push refused", f"push not stored, {len(BODY)} bytes"]
    )
    for private in (TOKEN, USER, SECRET, SECRET[::-1], CLIENT_ID, "/garmin", NAME, "2026-11-14"):
        assert private not in caplog.text


# -- how a body may come


@pytest.mark.parametrize(
    ("sent", "said"),
    [(gzip.compress(BODY), "GZIP"), (gzip.compress(BODY), "identity"), (BODY, "gzip")],
    ids=["packed", "packed unsaid", "unpacked on the way"],
)
def test_a_gzipped_body_is_the_same_body_whatever_its_header_says(
    hook: LocalWebhook, tmp_path: Path, sent: bytes, said: str
) -> None:
    assert send(hook, BODY)[0] == 200
    before = stored(tmp_path)
    assert send(hook, sent, headers={"Content-Encoding": said})[0] == 200
    assert stored(tmp_path) == before


@pytest.mark.parametrize(
    "packed",
    [
        b"no gzip",
        PACKED[:-9],
        PACKED[:-8] + b"\0" * 8,
        PACKED[:10] + b"\xff" * 20,
        PACKED + b"more",
    ],
    ids=["no gzip", "cut short", "wrong checksum", "wrong stream", "more behind"],
)
def test_a_broken_gzip_is_kept_as_it_came(hook: LocalWebhook, tmp_path: Path, packed: bytes) -> None:
    assert send(hook, packed, headers={"Content-Encoding": "gzip"}) == (200, {"stored": 0, "rejected": 1})
    assert list(stored(tmp_path).values()) == [packed]


def gzip_of(unit: bytes, count: int, start: bytes = b'{"a":[', end: bytes = b"]}") -> bytes:
    """A gzip stream of so many equal elements."""
    return gzip.compress(start + b",".join([unit] * count) + end)


OVERSIZED = {
    "more than 10 MB": gzip_of(b" " * 10_000, 1_100),
    "more than 10 MB, not gzip": b'{"a":[' + b" " * 10_485_760 + b"]}",
    "too many records": gzip_of(b"1", 50_001),
    "too many containers": gzip_of(b"[]", 500_001, b'{"a":[{"b":['),
    "too many dates": gzip.compress(
        json.dumps({"a": [{"calendarDate": f"{2000 + n // 28}-01-{1 + n % 28:02}"} for n in range(401)]}).encode()
    ),
    "a type with a long name": gzip_of(b"1", 1_000, b'{"%s":[' % (b"n" * 101)),
    "too many members": gzip.compress(b"") * 1_001 + PACKED,
}


@pytest.mark.parametrize("what", OVERSIZED)
def test_a_body_beyond_the_bounds_is_kept_as_it_was_sent_at_once(hook: LocalWebhook, tmp_path: Path, what: str) -> None:
    sent = OVERSIZED[what]
    headers = {"Content-Encoding": "gzip"} if sent.startswith(b"\x1f") else {}
    begun = time.monotonic()
    assert send(hook, sent, headers=headers) == (200, {"stored": 0, "rejected": 1})
    assert time.monotonic() - begun < 5
    ((key, content),) = stored(tmp_path / "lake").items()
    assert (key.split("/")[1], content) == ("quarantine", sent)


def test_a_packed_body_that_is_no_json_is_kept_packed(hook: LocalWebhook, tmp_path: Path) -> None:
    packed = gzip.compress(BODY[:-1])
    assert send(hook, packed, headers={"Content-Encoding": "gzip"}) == (200, {"stored": 0, "rejected": 1})
    key = f"raw/quarantine/date={today()}/{hashlib.sha256(BODY[:-1]).hexdigest()}.body"
    assert stored(tmp_path / "lake") == {key: packed}


def test_a_body_that_takes_too_long_to_read_is_kept_unread(tmp_path: Path) -> None:
    receiver = Receiver(DirectoryStore(tmp_path), SECRET, limits=Limits(parse_s=-1.0))
    assert json.loads(receiver.handle(event(BODY.decode()), NOW)["body"]) == {"stored": 0, "rejected": 1}
    assert list(stored(tmp_path).values()) == [BODY]


COSTLIEST = """
import gzip, re, sys, time
from pathlib import Path
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver

def peak_mb():
    return int(re.search("VmHWM:\\s*([0-9]+)", Path("/proc/self/status").read_text())[1]) // 1024

unit = {"records": b"{}", "texts": b'"ab"', "objects": b'{"a":1}', "repeated keys": b'{"a":[],"b":1,"b":1}'}
start, end, count = {
    "records": (b'{"a":[', b"]}", 49_999),
    "texts": (b'{"a":[{"b":[', b"]}]}", 2_090_000),
    "objects": (b'{"a":[{"b":[', b"]}]}", 499_996),
    "repeated keys": (b'{"a":[', b"]}", 49_999),
}[sys.argv[1]]
body = start + ((unit[sys.argv[1]] + b",") * count)[:-1] + end
body = body[: -len(end)] + b" " * (10_485_000 - len(body)) + end
event = {
    "rawPath": "/garmin/secret",
    "requestContext": {"http": {"method": "POST"}},
    "headers": {"content-encoding": "gzip"},
    "body": gzip.compress(body),
}
del body
before, begun = peak_mb(), time.process_time()
answer = Receiver(DirectoryStore(Path(sys.argv[2])), "secret").handle(event)
print(answer["body"], round(time.process_time() - begun, 2), peak_mb() - before, sep=";")
"""


@pytest.mark.parametrize("what", ["records", "texts", "objects", "repeated keys"])
def test_the_costliest_bodies_that_are_read_take_a_quarter_of_a_gigabyte_and_four_seconds(
    tmp_path: Path, what: str
) -> None:
    done = subprocess.run([sys.executable, "-c", COSTLIEST, what, str(tmp_path)], capture_output=True, text=True)
    told, seconds, megabytes = done.stdout.split(";")
    assert sum(json.loads(told).values()) == {"texts": 1, "objects": 1}.get(what, 49_999)
    assert float(seconds) < 4
    assert int(megabytes) < 250


def test_lambda_events_bring_bodies_as_text_or_base64(tmp_path: Path) -> None:
    receiver = Receiver(DirectoryStore(tmp_path), SECRET)
    text = '{"dailies":[{"name":"日本","calendarDate":"2026-11-14"}]}'
    encoded = base64.b64encode(text.encode()).decode()
    assert receiver.handle(event(text))["statusCode"] == 200
    before = stored(tmp_path)
    assert list(before) == [f"raw/daily/date=2026-11-14/{hashlib.sha256(text.encode()).hexdigest()}.jsonl"]
    assert receiver.handle(event(encoded, isBase64Encoded=True))["statusCode"] == 200
    packed = base64.b64encode(gzip.compress(text.encode())).decode()
    answer = receiver.handle(event(packed, isBase64Encoded=True, headers={"Content-Encoding": "gzip"}))
    assert answer["statusCode"] == 200
    assert stored(tmp_path) == before


def test_a_lambda_event_without_a_proper_body_is_quarantined(tmp_path: Path) -> None:
    receiver = Receiver(DirectoryStore(tmp_path), SECRET)
    for odd in (event("no base64 !", isBase64Encoded=True), event("\ud83d")):
        assert json.loads(receiver.handle(odd, NOW)["body"]) == {"stored": 0, "rejected": 1}
    assert sorted(stored(tmp_path).values()) == [b"no base64 !", b"\xed\xa0\xbd"]


def test_a_lambda_event_with_nothing_in_its_body_is_taken_and_leaves_nothing(tmp_path: Path) -> None:
    receiver = Receiver(DirectoryStore(tmp_path), SECRET)
    without = {name: value for name, value in event().items() if name != "body"}
    packed = event(base64.b64encode(gzip.compress(b"")).decode(), isBase64Encoded=True)
    for empty in (event(), event(" \n"), event() | {"body": None}, without, packed, event(), event('{"dailies":null}')):
        answer = receiver.handle(empty, NOW)
        assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"stored": 0, "rejected": 0})
    assert not stored(tmp_path)


# -- a store that fails


def test_what_cannot_be_stored_is_asked_for_again_and_taken_once_it_can(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    root.write_bytes(b"a file where the directory should be")
    with LocalWebhook(Receiver(DirectoryStore(root), SECRET)) as hook:
        connection = http.client.HTTPConnection("127.0.0.1", hook.port, timeout=20)
        for status, retry_after in ((503, "60"), (200, None)):
            connection.request("POST", hook.url.removeprefix(hook.base_url), BODY)
            response = connection.getresponse()
            response.read()
            assert (response.status, response.headers["retry-after"]) == (status, retry_after)
            root.unlink() if status == 503 else connection.close()
    assert len(stored(root)) == 3


class Failing:
    """A directory that takes so many files and then fails."""

    def __init__(self, root: Path, good: int) -> None:
        self.inner, self.good = DirectoryStore(root), good

    def put_new(self, key: str, content: bytes) -> bool:
        self.good -= 1
        if self.good < 0:
            raise StoreError("the store is gone")
        return self.inner.put_new(key, content)


def test_a_record_without_a_date_lies_nowhere_as_long_as_garmin_is_asked_to_send_again(tmp_path: Path) -> None:
    body = json.dumps({"dailies": [{"steps": 1}, RECORD, RECORD | {"calendarDate": "2026-11-20"}, 7]})
    receiver = Receiver(Failing(tmp_path, 3), SECRET)
    assert receiver.handle(event(body), NOW)["statusCode"] == 503
    assert not list(tmp_path.glob("raw/daily/date=2026-11-16/*"))
    next_day = NOW.replace(day=17)
    assert Receiver(DirectoryStore(tmp_path), SECRET).handle(event(body), next_day)["statusCode"] == 200
    daily = [key.split("/")[2] for key in stored(tmp_path) if key.startswith("raw/daily")]
    assert sorted(daily) == ["date=2026-11-14", "date=2026-11-17", "date=2026-11-20"]


def test_a_disk_that_ends_half_way_leaves_no_file_at_all(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreError, match="could not be written: File too large"):
            store.put_new("raw/a.jsonl", b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert stored(tmp_path) == {}
    assert store.put_new("raw/a.jsonl", b"x" * 1_000_000)


def test_a_directory_store_writes_a_key_once(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "not" / "there" / "yet")
    assert [store.put_new("raw/a", b"1"), store.put_new("raw/a", b"2"), store.put_new("raw/b", b"3")] == [
        True,
        False,
        True,
    ]
    assert stored(store.root) == {"raw/a": b"1", "raw/b": b"3"}


def test_a_raw_file_is_for_its_owner_alone_whoever_may_open_the_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    umask = os.umask(0)
    try:
        DirectoryStore(tmp_path).put_new("raw/daily/date=2026-11-14/a.jsonl", b"1\n")
        lake = Lake.local(tmp_path)
        lake.write_raw(date(2026, 11, 14), "b", b"2\n")
        lake.write_raw(date(2026, 11, 14), "c", b"3\n")
        lake.replace_raw(lake.raw_objects(date(2026, 11, 14))[-1], b"4\n")
    finally:
        os.umask(umask)
    files = {path.name: path for path in tmp_path.rglob("*.jsonl")}
    assert {name: path.read_bytes() for name, path in files.items()} == {
        "a.jsonl": b"1\n", "b.jsonl": b"2\n", "c.jsonl": b"4\n",
    }  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}


def test_writers_of_one_key_at_the_same_time_agree_on_the_first(tmp_path: Path) -> None:
    store, together = DirectoryStore(tmp_path), threading.Barrier(8)

    def write(number: int) -> bool:
        together.wait()
        return store.put_new("raw/a", bytes([number]) * 100_000)

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write, range(8)))
    assert sum(written) == 1
    assert stored(tmp_path) == {"raw/a": bytes([written.index(True)]) * 100_000}


@pytest.mark.parametrize(
    "key", ["", "/a", "../a", "a/../../b", "a//b", "a/", ".a", "a/.b", "a\\b", "a\0b", "a b", "a\n"]
)
def test_a_key_never_leads_out_of_the_root_or_to_a_hidden_file(tmp_path: Path, key: str) -> None:
    with pytest.raises(StoreError):
        DirectoryStore(tmp_path / "root").put_new(key, b"x")
    assert stored(tmp_path) == {}


# -- the entry point in Lambda


@pytest.fixture
def _fresh() -> Iterator[None]:
    webhook._receiver_of_environment.cache_clear()
    yield
    webhook._receiver_of_environment.cache_clear()
    logging.getLogger("qol_ingest").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("_fresh")
def test_the_lambda_is_set_up_once_from_its_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QOL_RAW_DIR", str(tmp_path))
    monkeypatch.setenv("QOL_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("QOL_GARMIN_CLIENT_ID", CLIENT_ID)
    assert webhook.handler(event(BODY.decode()), None)["statusCode"] == 403
    right = event(BODY.decode(), headers={"garmin-client-id": CLIENT_ID})
    assert webhook.handler(right, None)["statusCode"] == 200
    assert len(stored(tmp_path)) == 3
    assert webhook._receiver_of_environment() is webhook._receiver_of_environment()


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({"QOL_RAW_DIR": "x"}, "QOL_WEBHOOK_SECRET"),
        ({"QOL_RAW_DIR": "x", "QOL_WEBHOOK_SECRET": ""}, "QOL_WEBHOOK_SECRET"),
        ({"QOL_WEBHOOK_SECRET": SECRET}, "QOL_BUCKET or QOL_RAW_DIR"),
        ({"QOL_WEBHOOK_SECRET": SECRET, "QOL_RAW_DIR": "x", "QOL_BUCKET": "y"}, "either QOL_BUCKET or QOL_RAW_DIR"),
    ],
)
def test_a_lambda_that_is_not_set_up_takes_nothing_and_says_why(
    variables: dict[str, str], missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for path in ("/garmin/", f"/garmin/{SECRET}", "/health"):
        assert webhook.handler(event(path=path), None)["statusCode"] == 503
    assert len(caplog.messages) == 3
    assert missing in caplog.text


# -- HTTP as clients really speak it


def talk(hook: LocalWebhook, sent: bytes, *, finished: bool = False) -> bytes:
    """All that comes back for these bytes until the server closes."""
    with socket.create_connection(("127.0.0.1", hook.port), timeout=20) as client:
        client.sendall(sent)
        if finished:
            client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def request_head(hook: LocalWebhook, *lines: str) -> bytes:
    path = hook.url.removeprefix(hook.base_url)
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *lines, "", ""]).encode()


def test_chunked_bodies_are_put_together(hook: LocalWebhook, tmp_path: Path) -> None:
    chunks = b"".join(b"%X;name=value\r\n%b\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:]))
    answer = talk(hook, request_head(hook, "Transfer-Encoding: chunked") + chunks + b"0\r\nTrailer: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert f"raw/daily/date=2026-11-14/{NAME}.jsonl" in stored(tmp_path / "lake")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Content-Length: 104857601"], b"413"),
        (["Content-Length: -1"], b"400"),
        (["Content-Length: 1_0"], b"400"),
        (["Content-Length: ten"], b"400"),
        (["Content-Length: 1", "Content-Length: 2"], b"400"),
        (["Transfer-Encoding: chunked", "Content-Length: 1", "", "1"], b"400"),
        (["Transfer-Encoding: chunked", "", "x"], b"400"),
    ],
)
def test_a_body_that_is_too_large_or_has_no_proper_length_is_not_read(
    hook: LocalWebhook, tmp_path: Path, lines: list[str], status: bytes
) -> None:
    assert talk(hook, request_head(hook, *lines)).split(b" ")[1] == status
    assert stored(tmp_path) == {}


def test_a_body_that_does_not_say_how_large_it_is_is_read_no_further_than_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "LARGEST_BODY_BYTES", 1_000)
    with LocalWebhook(Receiver(DirectoryStore(tmp_path), SECRET)) as hook:
        chunk = b"320\r\n" + b" " * 800 + b"\r\n"
        sent = request_head(hook, "Transfer-Encoding: chunked") + chunk + chunk
        assert talk(hook, sent).startswith(b"HTTP/1.1 413 ")
    assert stored(tmp_path) == {}


def test_one_connection_carries_many_pushes(hook: LocalWebhook, tmp_path: Path) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", hook.port, timeout=20)
    ports = set()
    for number in range(5):
        connection.request("POST", hook.url.removeprefix(hook.base_url), json.dumps({"a": [{"n": number}]}).encode())
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (200, {"stored": 1, "rejected": 0})
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1
    assert len(stored(tmp_path / "lake")) == 5


def test_a_client_that_goes_away_stores_nothing_and_disturbs_nobody(
    hook: LocalWebhook, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for sent in (b"", b"POST /gar", request_head(hook, "Content-Length: 1000") + BODY[:100]):
        with socket.create_connection(("127.0.0.1", hook.port)) as client:
            client.sendall(sent)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
    assert send(hook, b"{}")[0] == 200
    assert send(hook, b"{}")[0] == 200
    assert stored(tmp_path) == {}
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("start", [["Content-Length: 1000"], ["Transfer-Encoding: chunked", "", "3E8"]])
def test_a_body_that_ends_too_early_is_not_taken(hook: LocalWebhook, tmp_path: Path, start: list[str]) -> None:
    assert talk(hook, request_head(hook, *start) + BODY[:100], finished=True) == b""
    assert stored(tmp_path) == {}


@pytest.mark.parametrize("sent", [b"", b"POST /gar", b"POST /garmin/x HTTP/1.1\r\nHost: x\r\n"])
def test_a_client_that_takes_too_long_for_a_head_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server_module, "HEAD_S", 0.3)
    with LocalWebhook(Receiver(DirectoryStore(tmp_path), SECRET)) as hook:
        assert drip(hook, sent) < 5


def test_a_client_that_takes_too_long_for_a_body_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "BODY_S", 0.3)
    with LocalWebhook(Receiver(DirectoryStore(tmp_path), SECRET)) as hook:
        head = request_head(hook, "Content-Length: 1000")
        assert drip(hook, head) < 5
        assert talk(hook, head + b"x").startswith(b"HTTP/1.1 408 ")
    assert stored(tmp_path) == {}


def drip(hook: LocalWebhook, sent: bytes) -> float:
    """How many seconds a client lives that goes on with one byte at a time."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", hook.port), timeout=0.05) as client:
        client.sendall(sent)
        while time.monotonic() < begun + 10:
            try:
                client.sendall(b"x")
                if client.recv(1000) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    return time.monotonic() - begun


def test_hundreds_of_slow_clients_keep_nobody_waiting(hook: LocalWebhook, tmp_path: Path) -> None:
    slow = []
    try:
        for number in range(600):
            slow.append(socket.create_connection(("127.0.0.1", hook.port), timeout=20))
            slow[-1].sendall(b"POST /garmin/x HTTP/1.1\r\nHost: x\r\n"[: number % 40])
        begun = time.monotonic()
        assert send(hook, BODY) == (200, {"stored": 3, "rejected": 1})
        assert time.monotonic() - begun < 5
        assert len(hook._server.server_state.connections) <= server_module.MOST_CONNECTIONS
    finally:
        for one in slow:
            one.close()


SERVED = """
import sys
from pathlib import Path
from qol_ingest.server import LocalWebhook
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.webhook import Receiver

server = LocalWebhook(Receiver(DirectoryStore(Path(sys.argv[1])), "secret-secret-secret"))
print(server.port, flush=True)
server.serve_forever()
"""


def test_large_bodies_to_a_wrong_path_take_no_memory(tmp_path: Path) -> None:
    def push_to_nobody(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"POST /garmin/wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 90000000\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(90):
                    client.sendall(b"x" * 1_000_000)
            return client.recv(100)

    command = [sys.executable, "-c", SERVED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        port = int(server.stdout.readline())
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(push_to_nobody, [port] * 4))
        status = Path(f"/proc/{server.pid}/status").read_text()
        server.terminate()
    assert [answer.split(b" ")[1] for answer in answers] == [b"403"] * 4
    peak = re.search(r"VmHWM:\s*(\d+)", status)
    assert peak
    assert int(peak[1]) < 100 * 1024
    assert stored(tmp_path) == {}


def test_more_bodies_at_a_time_than_fit_are_asked_for_again(
    hook: LocalWebhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_HELD_BYTES", 1_000_000)
    with socket.create_connection(("127.0.0.1", hook.port), timeout=20) as half:
        half.sendall(request_head(hook, "Content-Length: 900000") + b"x" * 800_000)
        until = time.monotonic() + 20
        while hook._app._held < 800_000 and time.monotonic() < until:
            time.sleep(0.01)
        assert send(hook, b" " * 300_000) == (503, None)
        assert send(hook, BODY)[0] == 200
    assert len(stored(tmp_path / "lake")) == 3


@pytest.mark.parametrize(
    ("path", "status"), [("/health", b"200"), ("/health/", b"200"), ("/garmin/x", b"405"), ("/other", b"404")]
)
def test_head_is_answered_as_get_without_the_body(hook: LocalWebhook, path: str, status: bytes) -> None:
    get, head = (
        talk(hook, f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        for method in ("GET", "HEAD")
    )
    assert head.split(b" ")[1] == status
    same = re.compile(rb"date: [^\r]*\r\n")
    assert same.sub(b"", head) == same.sub(b"", get).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def test_a_slash_behind_the_secret_is_no_wrong_secret(hook: LocalWebhook, tmp_path: Path) -> None:
    path = hook.url.removeprefix(hook.base_url)
    assert send(hook, BODY, path=f"{path}/")[0] == 200
    assert send(hook, BODY, path=f"{path}//")[0] == 403
    assert len(stored(tmp_path / "lake")) == 3


def test_a_fault_of_ours_is_logged_without_what_it_quotes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def put_new(self, key: str, content: bytes) -> bool:
            raise ValueError(content)

    with LocalWebhook(Receiver(Broken(), SECRET)) as hook:
        assert send(hook, BODY) == (500, None)
    assert caplog.messages == ["a request failed: ValueError"]
    assert capfd.readouterr() == ("", "")


def test_leaving_lets_a_request_finish_and_closes_idle_connections(tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    class Slow:
        def put_new(self, key: str, content: bytes) -> bool:
            reached.set()
            return go_on.wait(20)

    with ThreadPoolExecutor(1) as pool, socket.socket() as idle:
        with LocalWebhook(Receiver(Slow(), SECRET)) as hook:
            idle.connect(("127.0.0.1", hook.port))
            answer = pool.submit(send, hook, b'{"a":[{}]}')
            reached.wait(20)
            threading.Timer(0.2, go_on.set).start()
        assert go_on.is_set()
        assert answer.result(20) == (200, {"stored": 1, "rejected": 0})
        idle.settimeout(20)
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", hook.port))


def test_a_port_that_is_taken_is_an_error(hook: LocalWebhook, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        LocalWebhook(Receiver(DirectoryStore(tmp_path), SECRET), port=hook.port)


def test_serving_in_the_foreground_closes_when_interrupted(tmp_path: Path) -> None:
    hook = LocalWebhook(Receiver(DirectoryStore(tmp_path), SECRET))
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        hook.serve_forever()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", hook.port))


# -- S3


class Bucket(threading.Thread):
    """As much of S3 as a conditional PUT needs, on loopback."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.objects: dict[str, bytes] = {}
        self.answer_all: int | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))

    def run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, client.makefile("rwb") as stream:
                self._answer(stream)

    def _answer(self, stream: Any) -> None:
        path = stream.readline().split(b" ")[1].decode()
        headers = {}
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("expect"):
            stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            stream.flush()
        content = stream.read(int(headers["content-length"]))
        taken = headers.get("if-none-match") == "*" and path in self.objects
        status = self.answer_all or (412 if taken else 200)
        if status == 200:
            self.objects[path] = content
        code = {412: "PreconditionFailed", 403: "AccessDenied", 503: "SlowDown", 409: "ConditionalRequestConflict"}
        body = b"" if status == 200 else f"<Error><Code>{code[status]}</Code><Message>key</Message></Error>".encode()
        head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        stream.write(head + body)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    running = Bucket()
    running.start()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{running.listener.getsockname()[1]}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "ap-northeast-1",
        "AWS_MAX_ATTEMPTS": "1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    yield running
    running.listener.shutdown(socket.SHUT_RDWR)
    running.listener.close()
    running.join()


def test_an_s3_store_writes_a_key_once(bucket: Bucket) -> None:
    store = S3Store("qol-raw", "some/prefix/")
    assert [store.put_new("raw/a", b"1"), store.put_new("raw/a", b"2")] == [True, False]
    assert list(bucket.objects) == ["/qol-raw/some/prefix/raw/a"]


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (503, "SlowDown"), (409, "Conflict")])
def test_what_s3_refuses_is_a_store_error_in_one_line(bucket: Bucket, status: int, code: str) -> None:
    bucket.answer_all = status
    with pytest.raises(StoreError, match=f"^s3://qol-raw could not be written: \\w*{code}$"):
        S3Store("qol-raw").put_new("raw/a", b"1")


def test_an_s3_that_cannot_be_reached_is_a_store_error(monkeypatch: pytest.MonkeyPatch, bucket: Bucket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{unused.getsockname()[1]}")
    with pytest.raises(StoreError, match=r"^s3://qol-raw could not be written: EndpointConnectionError$"):
        S3Store("qol-raw").put_new("raw/a", b"1")


# -- speed


def test_a_body_of_six_megabytes_is_taken_in_seconds(tmp_path: Path) -> None:
    beats = {str(15 * slot): 60 + slot % 40 for slot in range(5_000)}
    body = json.dumps({"dailies": [RECORD | {"n": n, "timeOffsetHeartRateSamples": beats} for n in range(110)]})
    assert len(body) > 6_000_000
    begun = datetime.now(UTC)
    assert parse_body(body.encode(), NOW).stored == 110
    assert (datetime.now(UTC) - begun).total_seconds() < 5
