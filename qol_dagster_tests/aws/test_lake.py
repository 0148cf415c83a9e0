"""The contract of the lake, kept by a folder and by a bucket: listing, atomic replacement, one writer at a time."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import LakeError
from qol_dagster.lake.records import (
    MANIFEST,
    NOTHING,
    clear_staging,
    forget_records,
    mark,
    new_staging,
    store_records,
    stored_records,
)
from qol_dagster.resources.requarantine import requarantine
from qol_dagster.resources.unread import files_not_read
from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.lakes import MONDAY
from qol_ingest.shared import aws
from qol_ingest.shared.stores import DirectoryStore

ROWS = pa.table({"participant_id": ["P1", "P2"], "steps": [1.0, None], "date": ["2026-11-16"] * 2})
DAY = f"raw/daily/date={MONDAY}"


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.aws)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake.local(tmp_path) if request.param == "folder" else Lake.s3(request.getfixturevalue("cloud").bucket())


def put(lake: Lake, *keys: str, content: bytes = b"{}\n") -> None:
    for key in keys:
        lake.store.put(key, content)


def keys(lake: Lake, prefix: str) -> list[str]:
    return sorted(item["path"] for batch in lake.store.list(prefix) for item in batch)


def test_what_holds_nothing_is_taken_out_of_quarantine_and_what_holds_anything_is_left(
    lake: Lake, tmp_path: Path
) -> None:
    put(lake, *(f"raw/quarantine/date={MONDAY}/{name}" for name in ("a.body", "a.rejects.jsonl")), content=b"")
    put(lake, f"raw/quarantine/date={MONDAY}/b.body", content=b"no json")
    report = requarantine(lake, DirectoryStore(tmp_path / "nothing is written"))
    assert (report.files, report.read, report.records) == (3, 2, 0)
    assert keys(lake, "raw/quarantine") == [f"raw/quarantine/date={MONDAY}/b.body"]


# -- records


def staged(lake: Lake, *names: str) -> str:
    """Files as an engine leaves them, with what Spark writes beside."""
    staging = new_staging()
    put(lake, *(f"{staging}/date={MONDAY}/{name}" for name in names), content=b"PAR1")
    put(lake, f"{staging}/_SUCCESS", content=b"")
    return staging


def test_records_take_the_place_of_a_date_s_others_and_are_known_by_who_read_them(lake: Lake) -> None:
    put(lake, f"{DAY}/a.jsonl", f"{DAY}/b.jsonl")
    a, b = lake.raw_objects(MONDAY)
    assert stored_records(lake, MONDAY, "v1") == NOTHING
    first = store_records(lake, staged(lake, "part-0.parquet"), "v1", {MONDAY: [a]}, {})[MONDAY]
    assert (list(first.parts.values()), first.marks) == ([4], {mark(a)})
    assert stored_records(lake, MONDAY, "v1") == first
    assert stored_records(lake, MONDAY, "v2") == NOTHING
    put(lake, f"records/date={MONDAY}/stray.parquet")
    names = ("part-0.parquet", "part-1.parquet", ".part-1.parquet.crc", "_metadata")
    second = store_records(lake, staged(lake, *names), "v1", {MONDAY: [a, b]}, {})[MONDAY]
    assert (len(second.parts), second.marks, second.size) == (2, {mark(a), mark(b)}, 8)
    assert keys(lake, "records") == sorted([*second.parts, f"records/date={MONDAY}/{MANIFEST}"])
    beside = {MONDAY: second.parts}
    third = store_records(lake, staged(lake, "part-0.parquet"), "v1", {MONDAY: [a, b]}, beside)[MONDAY]
    assert (len(third.parts), third.parts.keys() > second.parts.keys()) == (3, True)
    assert stored_records(lake, MONDAY, "v1") == third
    put(lake, next(iter(second.parts)), content=b"PAR")
    assert stored_records(lake, MONDAY, "v1") == NOTHING
    forget_records(lake, [MONDAY])
    assert keys(lake, "records") == []


def test_what_a_killed_run_left_is_removed(lake: Lake) -> None:
    staged(lake, "part-0.parquet")
    clear_staging(lake)
    assert keys(lake, "records") == []


# -- processed


def test_a_partition_reads_back_with_its_date_and_its_notes(lake: Lake) -> None:
    assert lake.read_table("daily", MONDAY) is None
    assert lake.partition_metadata("daily", MONDAY) is None
    key = lake.write_table("daily", MONDAY, ROWS, {"raw": "abc"})
    found = lake.read_table("daily", MONDAY)
    assert found is not None
    assert found.to_pylist() == ROWS.to_pylist()
    assert lake.partition_metadata("daily", MONDAY) == {"raw": "abc"}
    assert lake.table_dates("daily") == [MONDAY]
    assert key == "processed/daily/date=2026-11-16/part-0.parquet"
    assert lake.partition_uri("daily", MONDAY) == f"{lake.root}/processed/daily/date=2026-11-16"


def test_only_the_columns_that_were_asked_for_are_read_and_those_a_file_lacks_are_left_out(lake: Lake) -> None:
    lake.write_table("daily", MONDAY, ROWS, {})
    found = lake.read_table("daily", MONDAY, ["steps", "no such column"])
    assert found is not None
    assert found.column_names == ["steps", "date"]


def test_replacing_a_partition_keeps_its_one_file_and_takes_others_away(lake: Lake) -> None:
    key = lake.write_table("daily", MONDAY, ROWS, {})
    put(lake, key.replace("part-0", "part-1"), content=bytes(lake.store.get(key).bytes()))
    assert lake.partition_metadata("daily", MONDAY) is None
    lake.write_table("daily", MONDAY, ROWS.slice(0, 1), {})
    assert keys(lake, "processed") == [key]
    found = lake.read_table("daily", MONDAY)
    assert found is not None
    assert found.num_rows == 1


@pytest.mark.parametrize("end", [-20, 0, 3, None], ids=["cut off", "empty", "three bytes", "no Parquet"])
def test_a_half_written_partition_of_somebody_else_is_computed_anew(lake: Lake, end: int | None) -> None:
    key = lake.write_table("daily", MONDAY, ROWS, {"raw": "abc"})
    content = b"x" * 100_000 if end is None else bytes(lake.store.get(key).bytes())[:end]
    put(lake, key, content=content)
    assert lake.partition_metadata("daily", MONDAY) is None
    lake.write_table("daily", MONDAY, ROWS, {"raw": "abc"})
    assert lake.partition_metadata("daily", MONDAY) == {"raw": "abc"}


def test_notes_longer_than_what_is_looked_at_first_are_read_whole(lake: Lake) -> None:
    notes = {"raw": "x" * 200_000}
    lake.write_table("daily", MONDAY, ROWS, notes)
    assert lake.partition_metadata("daily", MONDAY) == notes


def test_tables_of_several_profiles_lie_side_by_side_over_one_raw_zone(lake: Lake) -> None:
    put(lake, f"{DAY}/a.jsonl")
    strict = replace(lake, processed="processed_strict")
    strict.write_table("weekly", MONDAY, ROWS, {"of": "strict"})
    assert lake.table_dates("weekly") == []
    assert strict.partition_metadata("weekly", MONDAY) == {"of": "strict"}
    assert strict.raw_days() == lake.raw_days() == [MONDAY]


def test_whoever_reads_while_others_write_sees_one_of_the_versions_whole(lake: Lake) -> None:
    def version(number: int) -> pa.Table:
        return pa.table({"participant_id": [f"P{number}"] * 2000})

    lake.write_table("daily", MONDAY, version(0), {"of": 0})
    with ThreadPoolExecutor(6) as pool:
        for number in range(1, 25):
            pool.submit(lake.write_table, "daily", MONDAY, version(number), {"of": number})
        for _ in range(40):
            found = lake.read_table("daily", MONDAY)
            assert found is not None
            assert found.num_rows == 2000
            assert len(found["participant_id"].unique()) == 1
    notes, found = lake.partition_metadata("daily", MONDAY), lake.read_table("daily", MONDAY)
    assert notes is not None
    assert found is not None
    assert found["participant_id"][0].as_py() == f"P{notes['of']}"


# -- raw


def test_only_files_that_are_raw_and_folders_that_are_dates_are_listed(lake: Lake) -> None:
    put(lake, *(f"{DAY}/{name}" for name in ("a.jsonl", ".hidden.jsonl", "_temp.jsonl", "notes.txt", "a.jsonl.tmp")))
    put(lake, *(f"raw/daily/{day}/a.jsonl" for day in ("date=2026-13-01", "date=tomorrow", "2026-11-17")))
    put(lake, "raw/daily/date=2026-11-17x/a.jsonl", "raw/dailyish/date=2026-11-18/a.jsonl", f"{DAY}/more/b.jsonl")
    assert lake.raw_days() == [MONDAY]
    assert [(item.key, item.size) for item in lake.raw_objects(MONDAY)] == [(f"{DAY}/a.jsonl", 3)]
    assert lake.raw_objects(MONDAY + timedelta(days=1)) == ()


def test_files_and_dates_of_several_pages_are_all_listed(lake: Lake) -> None:
    days = [MONDAY - timedelta(days=number) for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:  # S3 lists a thousand at a time
        list(pool.map(lambda number: put(lake, f"{DAY}/{number:04d}.jsonl"), range(1100)))
        list(pool.map(lambda day: put(lake, f"raw/daily/date={day}/a.jsonl"), days))
    assert lake.raw_days() == sorted(days)
    assert [item.key for item in lake.raw_objects(MONDAY)] == [f"{DAY}/{n:04d}.jsonl" for n in range(1100)] + [
        f"{DAY}/a.jsonl"
    ]


@pytest.mark.parametrize("odd", ["/x.jsonl", "a\nb.jsonl", "a\x01.jsonl"])
def test_a_key_that_obstore_takes_for_none_hides_no_other_and_is_counted(cloud: Cloud, odd: str) -> None:
    """Two slashes, as of a folder that was given with one at its end, and control characters."""
    bucket, folder = cloud.bucket(), f"raw/daily/date={MONDAY}"
    lake = Lake.s3(bucket)
    for key in (f"{folder}/good.jsonl", f"{folder}/inner/x.jsonl"):
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=b"{}\n")
    before = lake.raw_days(), lake.raw_objects(MONDAY), lake.objects("raw")
    assert [len(one) for one in before] == [1, 1, 2]
    assert len(list(files_not_read(lake, [MONDAY]))) == 1
    for key in (f"{folder}/{odd}", f"raw/daily/{odd}"):
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=b"{}\n")
    assert (lake.raw_days(), lake.raw_objects(MONDAY), lake.objects("raw")) == before
    assert len(list(files_not_read(lake, [MONDAY]))) == 3


def test_a_file_that_is_written_again_has_another_tag_though_its_size_is_the_same(lake: Lake) -> None:
    put(lake, f"{DAY}/a.jsonl", content=b'{"steps": 1}')
    (before,) = lake.raw_objects(MONDAY)
    put(lake, f"{DAY}/a.jsonl", content=b'{"steps": 2}')
    (after,) = lake.raw_objects(MONDAY)
    assert (before.key, before.size) == (after.key, after.size)
    assert before.etag != after.etag


def test_raw_files_are_added_once_and_changed_or_taken_away_only_on_purpose(lake: Lake) -> None:
    lake.write_raw(MONDAY, "a", b"first\n")
    lake.write_raw(MONDAY, "a", b"second\n")
    (item,) = lake.raw_objects(MONDAY)
    assert lake.read_raw(item) == b"first\n"
    lake.replace_raw(item, b"third\n")
    assert lake.read_raw(item) == b"third\n"
    lake.replace_raw(item, b"")
    assert lake.raw_objects(MONDAY) == ()
    with pytest.raises(LakeError, match=r"a\.jsonl cannot be read"):
        lake.read_raw(item)


def test_lifecycle_lines_come_in_the_order_of_their_receipt(lake: Lake) -> None:
    assert lake.lifecycle_objects() == ()
    for day, line in (("2026-11-18", "c"), ("2026-11-16", "a"), ("2026-11-17", "b\nb")):
        put(lake, f"raw/lifecycle/date={day}/x.jsonl", content=f"{line}\n".encode())
    put(lake, "raw/lifecycle/date=2026-11-16/_temp.jsonl", "raw/daily/date=2026-11-16/d.jsonl")
    assert list(lake.lifecycle_lines(lake.lifecycle_objects())) == ["a", "b", "b", "c"]


# -- one writer at a time

HOLD = """
import sys
from pathlib import Path
from qol_dagster.lake.lake import Lake
place = sys.argv[1].removeprefix("s3://")
lake = Lake.local(Path(place)) if place == sys.argv[1] else Lake.s3(place)
with lake.lock():
    print("in", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_waits_for_the_first(lake: Lake) -> None:
    command = [sys.executable, "-c", HOLD, lake.root]
    with lake.lock():
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=2.5)
    out, _ = other.communicate(timeout=20)
    assert (out, other.returncode) == ("in\n", 0)
    with lake.lock():
        pass


def test_a_writer_that_fails_gives_the_lake_back(lake: Lake) -> None:
    with pytest.raises(ValueError, match="a fault of its own"), lake.lock():
        raise ValueError("a fault of its own")
    with lake.lock():
        pass


# -- the folder alone


def test_nothing_but_the_one_file_lies_in_a_partition_that_was_replaced(tmp_path: Path) -> None:
    lake, folder = Lake.local(tmp_path), tmp_path / "processed" / "daily" / f"date={MONDAY}"
    lake.write_table("daily", MONDAY, ROWS, {})
    (folder / "part-1.parquet").write_bytes((folder / "part-0.parquet").read_bytes())
    lake.write_table("daily", MONDAY, ROWS, {})
    assert [file.name for file in folder.iterdir()] == ["part-0.parquet"]


FULL_DISK = """
import resource, sys
from pathlib import Path
import pyarrow as pa
from datetime import date
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import LakeError
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
rows = pa.table({"participant_id": [str(hash(str(n))) for n in range(10000)]})
try:
    Lake.local(Path(sys.argv[1])).write_table("daily", date(2026, 11, 16), rows, {})
except LakeError as error:
    print(error)
"""


def test_a_disk_that_is_full_leaves_the_old_partition_and_says_what_to_do(tmp_path: Path) -> None:
    lake = Lake.local(tmp_path)
    lake.write_table("daily", MONDAY, ROWS, {"raw": "abc"})
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout
    assert "the old partition is untouched. Free some space" in done.stdout
    assert done.stdout.count("\n") == 1
    found = lake.read_table("daily", MONDAY)
    assert found is not None
    assert found.num_rows == 2
    assert lake.partition_metadata("daily", MONDAY) == {"raw": "abc"}


def test_a_lake_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("no folder")
    with pytest.raises(LakeError, match="Check QOL_HOME"):
        Lake.local(tmp_path / "lake")


# -- the bucket alone


@pytest.mark.aws
def test_a_bucket_that_is_not_there_is_a_clear_error_in_one_line(cloud: Cloud) -> None:
    lake = Lake.s3("no-such-bucket-of-ours")
    acts: list[Callable[[], Any]] = [
        lake.raw_days,
        lambda: lake.raw_objects(MONDAY),
        lambda: lake.write_table("daily", MONDAY, ROWS, {}),
        lake.lifecycle_objects,
    ]
    for act in acts:
        with pytest.raises(LakeError, match="^s3://no-such-bucket-of-ours/.*cannot be listed: NoSuchBucket$"):
            act()


@pytest.mark.aws
def test_an_engine_that_reads_files_is_told_that_there_are_none(cloud: Cloud) -> None:
    with pytest.raises(LakeError, match="on AWS the Glue job computes weeks"):
        Lake.s3("any-bucket").local_path("raw/daily")


@pytest.mark.aws
def test_a_large_partition_is_one_put_and_not_an_upload_in_parts(cloud: Cloud) -> None:
    bucket = cloud.bucket()
    rows = pa.table({"participant_id": [random.randbytes(16).hex() for _ in range(400_000)]})
    key = Lake.s3(bucket).write_table("daily", MONDAY, rows, {})
    found = aws.client("s3").head_object(Bucket=bucket, Key=key)
    assert found["ContentLength"] > 6_000_000
    assert "-" not in found["ETag"]


class Unanswered:
    """A store whose first answers are lost on the way back: what was asked for is done all the same."""

    def __init__(self, store: Any, lost: int) -> None:
        self.store, self.lost = store, lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def put(self, *arguments: Any, **options: Any) -> Any:
        from obstore.exceptions import GenericError

        done = self.store.put(*arguments, **options)
        if self.lost:
            self.lost -= 1
            raise GenericError("no answer came")
        return done


@pytest.mark.aws
def test_a_write_that_got_no_answer_is_sent_again_and_changes_nothing_twice(cloud: Cloud) -> None:
    lake = Lake.s3(cloud.bucket())
    for lost, works in ((2, True), (3, False)):
        shaky = replace(lake, store=Unanswered(lake.store, lost))
        if works:
            shaky.write_table("daily", MONDAY, ROWS, {"raw": "abc"})
        else:
            with pytest.raises(LakeError, match="no answer came"):
                shaky.write_table("daily", MONDAY, ROWS.slice(1), {"raw": "abc"})
    assert keys(lake, "processed") == ["processed/daily/date=2026-11-16/part-0.parquet"]
    shaky = replace(lake, store=Unanswered(lake.store, 1))
    shaky.write_raw(MONDAY, "a", b"{}\n")
    assert [item.size for item in lake.raw_objects(MONDAY)] == [3]


@pytest.mark.aws
def test_the_region_is_that_of_aws_region_whatever_boto3_s_own_variable_says(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert Lake.s3("any-bucket").store.config["region"] == "eu-central-1"
    assert aws.client("s3").meta.region_name == "eu-central-1"
    monkeypatch.setenv("AWS_REGION", "")
    assert Lake.s3("any-bucket").store.config["region"] == "ap-northeast-1"


@pytest.mark.aws
def test_without_credentials_the_lake_says_so(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LakeError, match="s3://any-bucket cannot be opened: .*Check AWS_REGION and credentials"):
        Lake.s3("any-bucket")
