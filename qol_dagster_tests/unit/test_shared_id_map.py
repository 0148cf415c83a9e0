"""The contract of the id map on SQLite, as the receiver has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import id_map as contract
from qol_ingest.shared.id_map import IdMap
from qol_ingest.shared.id_map_sqlite import SqliteIdMap

globals().update(contract_tests(contract))


@pytest.fixture
def people(tmp_path: Path) -> IdMap:
    return SqliteIdMap(tmp_path / "map.sqlite")
