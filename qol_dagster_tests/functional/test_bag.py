"""A freeze as a BagIt bag, which others verify without us."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import bagit
import pyarrow.parquet as pq
import pytest

from qol_dagster.lake.bag import BagError, citation, write_bag
from qol_dagster.lake.freeze import create_freeze
from qol_dagster.lake.history import HistoryError
from qol_dagster.lake.lake import Lake
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.tables import rows

WEEK = rows("weekly", {"participant_id": "P1", "steps_mean": 5000.5, "is_valid_week": True}, {"participant_id": "P2"})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.local(tmp_path / "lake")
    lake.revise("weekly", MONDAY, WEEK, {})
    lake.revise("weekly", date(2026, 11, 23), WEEK.slice(1), {})
    return lake


def test_a_bag_is_valid_and_has_the_frozen_rows_as_parquet_and_csv(lake: Lake, tmp_path: Path) -> None:
    freeze = create_freeze(lake, "paper-1", note="Table 2")
    lake.revise("weekly", MONDAY, WEEK.slice(1), {})
    write_bag(lake, freeze, tmp_path / "bag")
    bag = bagit.Bag(str(tmp_path / "bag"))
    assert bag.is_valid()
    assert sorted(bag.payload_files()) == [
        f"data/{name}"
        for name in (
            "CITATION.txt",
            "README.md",
            "dictionary.csv",
            "manifest.json",
            "weekly_metrics.csv",
            "weekly_metrics.parquet",
        )
    ]
    data = tmp_path / "bag/data"
    table = pq.ParquetFile(data / "weekly_metrics.parquet").read().to_pylist()
    found = [(row["date"], row["participant_id"], row["steps_mean"]) for row in table]
    assert found == [("2026-11-16", "P1", 5000.5), ("2026-11-16", "P2", None), ("2026-11-23", "P2", None)]
    with (data / "weekly_metrics.csv").open() as file:
        shown = [(row["date"], row["participant_id"], row["steps_mean"]) for row in csv.DictReader(file)]
    assert shown == [("2026-11-16", "P1", "5000.5"), ("2026-11-16", "P2", ""), ("2026-11-23", "P2", "")]
    assert freeze.sha256 in (data / "CITATION.txt").read_text()
    assert citation(freeze).endswith(f"metrics {freeze.facts['made_by']['metrics_version']}. sha256:{freeze.sha256}")
    assert "Table 2" in (data / "README.md").read_text()
    assert "steps_mean" in (data / "dictionary.csv").read_text()


def test_the_text_of_a_bag_is_spelled_as_that_of_a_query(lake: Lake, tmp_path: Path) -> None:
    when = datetime(2026, 11, 25, 0, 5, tzinfo=UTC)
    lake.revise("weekly", MONDAY, rows("weekly", {"participant_id": "P1", "computed_at": when}), {})
    write_bag(lake, create_freeze(lake, "paper-1"), tmp_path / "bag")
    with (tmp_path / "bag/data/weekly_metrics.csv").open() as file:
        assert next(csv.DictReader(file))["computed_at"] == "2026-11-25T00:05:00.000Z"


def test_a_bag_is_not_written_over_something_nor_from_what_is_damaged(lake: Lake, tmp_path: Path) -> None:
    freeze = create_freeze(lake, "paper-1")
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag/mine.txt").write_text("mine")
    with pytest.raises(BagError, match="is there already and not empty"):
        write_bag(lake, freeze, tmp_path / "bag")
    next(Path(lake.root).glob("history/weekly/date=*/*.parquet")).write_bytes(b"PAR1")
    with pytest.raises(HistoryError, match="is damaged"):
        write_bag(lake, freeze, tmp_path / "other")
    assert not (tmp_path / "other").exists()
