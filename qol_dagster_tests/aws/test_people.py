"""The id map as the weekly job sees it, as `unit/` tells it, kept by DynamoDB itself."""

from __future__ import annotations

import json

import pytest

from qol_dagster.resources.id_map import AwsIdMap, IdMapError
from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import identities as contract
from qol_dagster_tests.support.contracts.identities import LATER, OTHER, USER

pytestmark = pytest.mark.aws

# Collected here once more, with the map below.
globals().update(contract_tests(contract))


@pytest.fixture
def people(cloud: Cloud) -> AwsIdMap:
    return AwsIdMap(cloud.table())


def test_lifecycle_lines_that_were_not_applied_on_arrival_are_applied_once(people: AwsIdMap) -> None:
    people.import_rows([(USER, "P1"), (OTHER, "P2")])
    told = {"_summary_type": "deregistrations", "_received_at": LATER.isoformat(), "userId": USER}
    assert people.replay([json.dumps(told), json.dumps(told), "no json"]) == 1
    assert people.replay([json.dumps(told)]) == 0
    found = people.identities()
    assert (dict(found.active), found.revoked) == ({OTHER: "P2"}, {USER})


def test_a_map_of_several_pages_is_known_whole(people: AwsIdMap) -> None:
    rows = [(f"user-{number:04d}-{'x' * 240}", f"Q{number}") for number in range(1500)]
    people.import_rows(rows)  # more than the 1 MB that DynamoDB gives at a time
    assert people.identities().active == dict(rows)


def test_a_table_that_is_not_there_is_a_clear_error_and_not_an_empty_map(cloud: Cloud) -> None:
    with pytest.raises(IdMapError, match="^DynamoDB did not do scan on the id map: ResourceNotFoundException$"):
        AwsIdMap("nowhere").identities()
