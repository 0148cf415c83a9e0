"""The contract of the ledger of erasures in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from qol_dagster.resources.id_map import IdMap, People
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import ledger as contract
from qol_dagster_tests.support.contracts.ledger import Again
from qol_ingest.shared.erasures import AnyLedger, Ledger

globals().update(contract_tests(contract))


@pytest.fixture
def again(tmp_path: Path) -> Again:
    return lambda: Ledger(tmp_path)


@pytest.fixture
def ledger(again: Again) -> AnyLedger:
    return again()


@pytest.fixture
def people(tmp_path: Path, again: Again) -> People:
    return IdMap(tmp_path / "map.sqlite", again())
