"""The lake: listing, atomic replacement, and what happens when the disk says no."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from qol_dagster.resources.storage import Lake, LakeError
from qol_dagster_tests.lakes import MONDAY, write_raw

ROWS = pa.table({"participant_id": ["P1", "P2"], "steps": [1.0, None], "date": ["2026-11-16"] * 2})


def test_a_partition_reads_back_with_its_date_and_its_notes(tmp_path: Path) -> None:
    lake = Lake.local(tmp_path)
    assert lake.read_table("daily", MONDAY) is None
    assert lake.partition_metadata("daily", MONDAY) is None
    lake.write_table("daily", MONDAY, ROWS, {"raw": "abc"})
    found = lake.read_table("daily", MONDAY)
    assert found is not None
    assert found.to_pylist() == ROWS.to_pylist()
    assert lake.partition_metadata("daily", MONDAY) == {"raw": "abc"}
    assert lake.table_dates("daily") == [MONDAY]


def test_replacing_a_partition_keeps_its_one_file_and_takes_others_away(tmp_path: Path) -> None:
    lake, folder = Lake.local(tmp_path), tmp_path / "processed" / "daily" / f"date={MONDAY}"
    lake.write_table("daily", MONDAY, ROWS, {})
    (folder / "part-1.parquet").write_bytes((folder / "part-0.parquet").read_bytes())
    assert lake.partition_metadata("daily", MONDAY) is None
    lake.write_table("daily", MONDAY, ROWS.slice(0, 1), {})
    assert [file.name for file in folder.iterdir()] == ["part-0.parquet"]
    found = lake.read_table("daily", MONDAY)
    assert found is not None
    assert found.num_rows == 1


def test_a_half_written_partition_of_somebody_else_is_computed_anew(tmp_path: Path) -> None:
    lake = Lake.local(tmp_path)
    lake.write_table("daily", MONDAY, ROWS, {"raw": "abc"})
    (file,) = tmp_path.glob("processed/daily/*/*.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    assert lake.partition_metadata("daily", MONDAY) is None
    lake.write_table("daily", MONDAY, ROWS, {"raw": "abc"})
    assert lake.partition_metadata("daily", MONDAY) == {"raw": "abc"}


def test_only_files_that_are_raw_and_folders_that_are_dates_are_listed(tmp_path: Path) -> None:
    write_raw(tmp_path, MONDAY, [b"{}"])
    folder = tmp_path / "raw" / "daily"
    for name in (".hidden.jsonl", "_temp.jsonl", "notes.txt", "a.jsonl.tmp"):
        (folder / f"date={MONDAY}" / name).write_text("x")
    for name in ("date=2026-13-01", "date=tomorrow", "2026-11-17", "date=2026-11-17x"):
        (folder / name).mkdir()
    lake = Lake.local(tmp_path)
    assert lake.raw_days() == [MONDAY]
    assert [Path(item.key).name for item in lake.raw_objects(MONDAY)] == ["a.jsonl"]
    assert lake.raw_objects(MONDAY + timedelta(days=1)) == ()


def test_a_file_that_is_written_again_has_another_tag_though_its_size_is_the_same(tmp_path: Path) -> None:
    lake = Lake.local(tmp_path)
    write_raw(tmp_path, MONDAY, [b'{"steps": 1}'])
    (before,) = lake.raw_objects(MONDAY)
    write_raw(tmp_path, MONDAY, [b'{"steps": 2}'])
    (after,) = lake.raw_objects(MONDAY)
    assert (before.key, before.size) == (after.key, after.size)
    assert before.etag != after.etag


FULL_DISK = """
import resource, sys
from pathlib import Path
import pyarrow as pa
from datetime import date
from qol_dagster.resources.storage import Lake, LakeError
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


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    lake = Lake.local(tmp_path)
    code = (
        "import sys; from pathlib import Path; from qol_dagster.resources.storage import Lake\n"
        "lake = Lake.local(Path(sys.argv[1]))\n"
        "with lake.lock():\n    print('in', flush=True)\n"
    )
    with lake.lock():
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=1.5)
    out, _ = other.communicate(timeout=20)
    assert out == "in\n"


def test_the_week_of_any_date_is_the_iso_week() -> None:
    from qol_dagster.etl import days_of, mondays

    assert mondays([date(2027, 1, 3), date(2026, 12, 28), date(2027, 1, 4)]) == [date(2026, 12, 28), date(2027, 1, 4)]
    assert days_of(MONDAY)[6] == date(2026, 11, 22)
