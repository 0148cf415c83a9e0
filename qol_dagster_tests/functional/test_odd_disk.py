"""Odd things on disk: names that no key can have, and files and folders in each other's place.

What can be made again is made again. What cannot is passed over and counted, or named with what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qol_dagster.engines import Engine, EngineError, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import LakeError
from qol_dagster.lake.shared_object import SharedObjectError
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.pipeline.reports import EtlReport
from qol_dagster.resources.unread import files_not_read
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, record, write_raw
from qol_ingest.shared.files import in_the_way
from qol_ingest.shared.stores import DirectoryStore, StoreError

RAW_DAY = f"raw/daily/date={MONDAY}"
LINE = b'{"_summary_type":"dailies","userId":"u","calendarDate":"2026-11-16","steps":9}\n'


@pytest.fixture(scope="module")
def duckdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path_factory.mktemp("duckdb")) as engine:
        yield engine


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with one day of one participant."""
    write_raw(tmp_path, MONDAY, [record("dailies", "u", MONDAY, steps=5)], "good")
    return Lake.local(tmp_path)


def put(lake: Lake, folder: str, name: bytes, content: bytes = LINE) -> None:
    assert lake.folder
    (lake.folder / folder).mkdir(parents=True, exist_ok=True)
    Path(os.fsdecode(os.path.join(os.fsencode(lake.folder / folder), name))).write_bytes(content)  # noqa: PTH118


def compute(engine: Engine, lake: Lake) -> EtlReport:
    return run_etl(engine, lake, [MONDAY], Identities({"u": "P1"}))


def steps(lake: Lake) -> list[int]:
    rows = lake.read_table("daily", MONDAY, ["steps"])
    assert rows
    return [int(value) for value in rows["steps"].to_pylist()]


# -- names


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"a\xff.jsonl", r"a\xff.jsonl"), (b"a\nb.jsonl", r"a\nb.jsonl"), (b"\x7f\x01.jsonl", r"\x7f\x01.jsonl")],
)
def test_a_raw_file_with_a_name_that_no_key_can_have_stops_nothing_and_is_counted_and_named(
    duckdb: Engine, lake: Lake, name: bytes, shown: str
) -> None:
    put(lake, RAW_DAY, name)
    put(lake, "raw/daily", name)
    assert lake.raw_days() == [MONDAY]
    report = compute(duckdb, lake)
    assert [day.counts["lines"] for day in report.daily.days if day.date == MONDAY] == [1]
    assert steps(lake) == [5]
    assert sorted(files_not_read(lake, [MONDAY])) == sorted([f"{RAW_DAY}/{shown}", f"raw/daily/{shown}"])


def test_the_next_file_beside_it_is_late_data_as_ever_and_nothing_is_parsed_again(duckdb: Engine, lake: Lake) -> None:
    compute(duckdb, lake)
    put(lake, RAW_DAY, b"a\nb.jsonl")
    assert all(day.reused for day in compute(duckdb, lake).daily.days)
    late = write_raw(Path(lake.root), MONDAY, [record("dailies", "u", MONDAY, steps=7, _ingest_id="1")], "late")
    report = compute(duckdb, lake)
    assert sum(day.bytes_read for day in report.daily.days) == late.stat().st_size
    assert steps(lake) == [7]


def test_folders_and_files_below_other_names_are_listed_as_ever(lake: Lake) -> None:
    for folder, name in (("x/a/b", b"1"), ("x/a", b"2"), ("x", b"3.jsonl#1"), ("x/c", b".4")):
        put(lake, folder, name)
    assert lake.folder
    (lake.folder / "x/empty").mkdir()
    (lake.folder / "x/broken").symlink_to("nowhere")
    before = lake.objects("x"), lake.listing("x")
    assert before[1] == (["x/a", "x/c", "x/empty"], [], [])
    put(lake, "x/a/b", b"a\nb")
    put(lake, "x", b"\xff")
    assert (lake.objects("x"), lake.listing("x")) == (before[0], (*before[1][:2], [r"x/\xff"]))


def test_a_folder_that_cannot_be_listed_for_another_reason_is_an_error(lake: Lake) -> None:
    put(lake, RAW_DAY, b"a\nb.jsonl")
    refused = type("Refused", (), {"list_with_delimiter": lambda *_: 1 / 0, "list": lambda *_: 1 / 0})()
    for ask in (lambda one: one.raw_objects(MONDAY), lambda one: one.objects("raw")):
        with pytest.raises(LakeError, match="cannot be listed"):
            ask(Lake(lake.root, refused))


def test_a_withdrawal_beside_such_a_name_is_read_and_the_name_counted(lake: Lake) -> None:
    put(lake, "raw/lifecycle/date=2026-11-16", b"a.jsonl", b"{}\n")
    put(lake, "raw/lifecycle/date=2026-11-16", b"a\nb.jsonl", b"{}\n")
    assert list(lake.lifecycle_lines(lake.lifecycle_objects())) == ["{}"]
    assert list(files_not_read(lake, [MONDAY])) == [r"raw/lifecycle/date=2026-11-16/a\nb.jsonl"]


# -- one in the place of another


def a_file(lake: Lake, key: str) -> None:
    path = Path(lake.root, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")


def a_folder(lake: Lake, key: str) -> None:
    Path(lake.root, key).mkdir(parents=True)


@pytest.mark.parametrize(
    "key",
    [
        *(f"processed/{table}/date={MONDAY}" for table in ("daily", "weekly", "status")),
        "processed/daily", "processed", f"records/date={MONDAY}", "records",
    ],
)  # fmt: skip
def test_a_file_in_the_place_of_a_folder_is_named_and_removing_it_is_enough(
    duckdb: Engine, lake: Lake, key: str
) -> None:
    a_file(lake, key)
    with pytest.raises(LakeError) as caught:
        compute(duckdb, lake)
    assert f"{lake.root}/{key} is a file where a folder belongs: move it away, or remove it" in str(caught.value)
    Path(lake.root, key).unlink()
    compute(duckdb, lake)
    assert steps(lake) == [5]


@pytest.mark.parametrize(
    "key",
    [
        *(f"processed/{table}/date={MONDAY}/part-0.parquet" for table in ("daily", "weekly", "status")),
        f"records/date={MONDAY}/manifest.json",
    ],
)
def test_a_folder_in_the_place_of_a_file_is_named_and_removing_it_is_enough(
    duckdb: Engine, lake: Lake, key: str
) -> None:
    a_folder(lake, key)
    with pytest.raises(LakeError) as caught:
        compute(duckdb, lake)
    assert f"{lake.root}/{key} is a folder where a file belongs: move it away, or remove it" in str(caught.value)
    Path(lake.root, key).rmdir()
    compute(duckdb, lake)
    assert steps(lake) == [5]


def test_a_folder_in_the_place_of_a_day_s_file_is_no_day_without_data(lake: Lake) -> None:
    a_folder(lake, f"processed/daily/date={MONDAY}/part-0.parquet")
    with pytest.raises(LakeError, match="is a folder where a file belongs"):
        lake.read_table("daily", MONDAY)


def test_a_file_in_the_place_of_a_raw_day_is_passed_over_and_counted(duckdb: Engine, lake: Lake) -> None:
    a_file(lake, "raw/daily/date=2026-11-18")
    compute(duckdb, lake)
    assert steps(lake) == [5]
    assert list(files_not_read(lake, dates_of(MONDAY))) == ["raw/daily/date=2026-11-18"]


def test_a_file_in_the_place_of_the_folder_that_engines_write_to_goes(duckdb: Engine, lake: Lake) -> None:
    a_file(lake, "records/_staging")
    compute(duckdb, lake)
    assert steps(lake) == [5]


def test_a_folder_in_the_place_of_the_lock_and_a_file_in_that_of_the_work_folder_are_named(lake: Lake) -> None:
    a_folder(lake, ".lock")
    with pytest.raises(SharedObjectError, match=r"\.lock is a folder where a file belongs"), lake.lock():
        pass
    a_file(lake, "work")
    with (
        pytest.raises(EngineError, match="work is a file where a folder belongs"),
        open_engine("duckdb", memory_mb=1024, temp_dir=Path(lake.root, "work", "tmp")),
    ):
        pass


def test_a_body_is_not_stored_where_a_folder_has_its_name_and_the_receiver_does_not_believe_so(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    (tmp_path / "raw/x.jsonl").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"x\.jsonl is a folder where a file belongs"):
        store.put_new("raw/x.jsonl", b"{}")
    (tmp_path / "raw/y").touch()
    with pytest.raises(StoreError, match="raw/y is a file where a folder belongs"):
        store.put_new("raw/y/x.jsonl", b"{}")
    assert store.put_new("raw/z.jsonl", b"{}")
    assert not store.put_new("raw/z.jsonl", b"{}")


def test_what_is_as_it_should_be_is_in_nobody_s_way(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    assert [in_the_way(tmp_path / name) for name in ("there", "new", "new/one")] == ["", "", ""]
