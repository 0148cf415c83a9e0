"""Deregistrations and permission changes, as `unit/` tells them, kept by DynamoDB itself."""

from __future__ import annotations

import pytest

from qol_dagster.resources.id_map import AwsIdMap
from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import lifecycle as contract
from qol_dagster_tests.support.contracts.lifecycle import USER

pytestmark = pytest.mark.aws

# Whatever holds in every form is collected here once more, with the map below.
globals().update(contract_tests(contract))


@pytest.fixture
def people(cloud: Cloud) -> AwsIdMap:
    people = AwsIdMap(cloud.table())
    people.add(USER, "P7")
    return people


def test_the_contract_was_found() -> None:
    assert len([name for name in globals() if name.startswith("test_") and hasattr(contract, name)]) >= 12
