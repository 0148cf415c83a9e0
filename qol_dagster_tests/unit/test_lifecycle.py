"""Deregistrations and permission changes, stored by SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from qol_dagster.resources.id_map import IdMap
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import lifecycle as contract
from qol_dagster_tests.support.contracts.lifecycle import USER

globals().update(contract_tests(contract))


@pytest.fixture
def people(tmp_path: Path) -> IdMap:
    people = IdMap(tmp_path / "map.sqlite")
    people.add(USER, "P7")
    return people
