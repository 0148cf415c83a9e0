"""The contract of what enrolment remembers, as `unit/` tells it, kept by DynamoDB itself."""

from __future__ import annotations

from typing import Any

import pytest

from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import enrolment as contract
from qol_dagster_tests.support.contracts.enrolment import NOW, Clock
from qol_ingest.consent.enrolment import Invitations, SignIns
from qol_ingest.consent.state import DynamoState, EnrolmentState, EnrolmentStateError, Entry
from qol_ingest.shared import aws

pytestmark = pytest.mark.aws

KEYS = ("kind", "name")

# Whatever holds in every form is collected here once more, with the state below.
globals().update(contract_tests(contract))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(cloud: Cloud) -> EnrolmentState:
    return DynamoState(cloud.table(*KEYS))


@pytest.fixture
def invitations(state: EnrolmentState, clock: Clock) -> Invitations:
    return Invitations(state, clock)


@pytest.fixture
def sign_ins(state: EnrolmentState, clock: Clock) -> SignIns:
    return SignIns(state, clock)


def test_the_contract_was_found() -> None:
    assert len([name for name in globals() if name.startswith("test_") and hasattr(contract, name)]) >= 15


def test_records_of_many_pages_are_all_listed(state: EnrolmentState) -> None:
    large = {"is": "x" * 300_000}  # DynamoDB answers with 1 MB at a time
    for name in "edcba":
        assert state.put("kind", name, large, 0, NOW)
    assert state.entries("kind") == [(name, Entry(large, 1)) for name in "abcde"]


def test_when_a_record_may_be_forgotten_is_a_number_of_seconds(cloud: Cloud) -> None:
    table = cloud.table(*KEYS)
    assert DynamoState(table).put("kind", "a", {}, 0, NOW + 0.4)
    key: dict[str, Any] = {"kind": {"S": "kind"}, "name": {"S": "a"}}
    item = aws.client("dynamodb").get_item(TableName=table, Key=key)["Item"]
    assert item["keep_until"] == {"N": f"{NOW:.0f}"}


def test_a_table_that_is_not_there_is_a_clear_error(cloud: Cloud) -> None:
    state = DynamoState("nowhere")
    for act in (lambda: state.get("kind", "a"), lambda: state.put("kind", "a", {}, 0, NOW), lambda: state.entries("k")):
        with pytest.raises(EnrolmentStateError, match="^DynamoDB table nowhere refused .*: ResourceNotFoundException$"):
            act()
