"""Exports and samples from AWS: the files are those that the same rows give on a laptop."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qol_dagster.engines import open_engine
from qol_dagster.exports import FormatName
from qol_dagster.exports.export import export
from qol_dagster.exports.formats import Options
from qol_dagster.exports.rows import Weeks
from qol_dagster.exports.samples import read_samples
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import TABLES
from qol_dagster.metrics.tables import LAYOUTS, TableId
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.catalogue.athena import AthenaCatalogue
from qol_dagster.resources.catalogue.duckdb import LocalCatalogue
from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.lakes import MONDAY, record, write_raw
from qol_dagster_tests.support.tables import rows

pytestmark = pytest.mark.aws
AT = datetime(2026, 11, 25, 0, 5, 0, 123_000, tzinfo=UTC)
GIVEN: dict[TableName, tuple[dict[str, object], ...]] = {
    "weekly": (
        {"participant_id": "参加者 1", "steps_mean": 0.1 + 0.2, "n_valid_days": 5, "wear_min_mean": 800.0},
        {"participant_id": "P2", "is_valid_week": True, "who_activity": "meets", "computed_at": AT},
    ),
    "daily": (
        {"participant_id": "P1", "asleep_by_hour": [2**60 - 1, *[0] * 23], "wear_min": 10.0},
        {"participant_id": "P2", "steps_by_hour": [None, 1 / 3, *[4.0] * 22]},
    ),
    "status": ({"participant_id": "P3", "status": "not_synced", "last_worn_date": "2026-11-02"},),
}


@pytest.fixture
def lakes(cloud: Cloud, tmp_path: Path) -> tuple[Lake, Lake, AthenaCatalogue]:
    """A lake in a folder, one in a bucket, and what answers questions on the second."""
    bucket = cloud.bucket()
    cloud.tables(bucket)
    return Lake.local(tmp_path / "lake"), Lake.s3(bucket), AthenaCatalogue(cloud.workgroup(bucket))


@pytest.mark.parametrize("form", ["csv", "redcap"])
def test_an_export_through_athena_has_the_bytes_of_one_through_duckdb(
    lakes: tuple[Lake, Lake, AthenaCatalogue], tmp_path: Path, form: FormatName
) -> None:
    local, remote, athena = lakes
    for table, given in GIVEN.items():
        for lake in (local, remote):
            lake.write_table(table, MONDAY, rows(table, *given), {})
    for table in LAYOUTS:
        of = {}
        for name, catalogue in (("duckdb", LocalCatalogue(tmp_path / "lake")), ("athena", athena)):
            done = export(catalogue, TableId(table), Weeks(MONDAY, MONDAY), form, tmp_path / name, options=Options())
            of[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
            assert done.dataset.columns[0].metric is TABLES[table][0]
        assert of["athena"] == of["duckdb"]
        assert any(b"P3" in content for content in of["athena"].values()), "the status explains who is absent"


def test_samples_of_a_bucket_are_those_of_a_folder(lakes: tuple[Lake, Lake, AthenaCatalogue], tmp_path: Path) -> None:
    local, remote, _athena = lakes
    values = {str(180 * number): number % 90 for number in range(480)}
    write_raw(
        tmp_path / "lake", MONDAY, [record("stressDetails", "u" * 32, MONDAY, timeOffsetStressLevelValues=values)]
    )
    who = Identities({"u" * 32: "P1"})
    found = []
    with open_engine("duckdb", memory_mb=512, temp_dir=tmp_path / "engine") as engine:
        run_etl(engine, local, [MONDAY], who)
        for key in local.objects("records/"):
            remote.replace_object(key, local.read_object(key))
        for number, lake in enumerate((local, remote)):
            work = tmp_path / f"work{number}"
            work.mkdir()
            found.append(read_samples(engine, lake, who, "P1", MONDAY, type_="stress", work=work))
            shutil.rmtree(work)
    assert found[0].rows.num_rows == 480
    assert found[0].rows.equals(found[1].rows)
    assert (found[0].is_stale, found[1].is_stale) == (False, True), "the bucket has no raw files"
