"""The contract of the id map on DynamoDB, and both forms against each other."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster_tests.support.cloud import Cloud
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import id_map as contract
from qol_dagster_tests.support.contracts.id_map import ALL, LATER, OTHER, SECOND, USER, statuses, whats
from qol_ingest.shared import aws
from qol_ingest.shared.id_map import IdMap, IdMapError
from qol_ingest.shared.id_map_dynamo import DynamoIdMap
from qol_ingest.shared.id_map_sqlite import SqliteIdMap

pytestmark = pytest.mark.aws

globals().update(contract_tests(contract))


@pytest.fixture
def people(cloud: Cloud) -> IdMap:
    return DynamoIdMap(cloud.table())


# -- the two forms against each other


def _act(people: IdMap, chance: random.Random, begun: datetime) -> Any:
    user = f"user-{chance.randrange(5)}"
    # Never near the time of the test, which is that of other acts and passes at another pace for each form.
    at = begun + timedelta(seconds=600 * chance.randrange(-20, 20) + 300)
    acts: list[Callable[[], Any]] = [
        lambda: people.add(user),
        lambda: people.add(user, f"Q{chance.randrange(3)}", after_leaving=chance.random() < 0.5),
        lambda: people.revoke(f"P{chance.randrange(1, 5):04d}"),
        lambda: people.seen([user, f"user-{chance.randrange(5)}"], at),
        lambda: people.deregister(user, at),
        lambda: people.reinstate(user, at),
        lambda: people.narrow_permissions(user, chance.sample(ALL, chance.randrange(3)), at),
        lambda: people.confirm_permissions(user, chance.sample(ALL, chance.randrange(3)), at),
        lambda: people.forget(user),
        lambda: people.import_rows([(f"user-{chance.randrange(5)}", f"Q{chance.randrange(3)}") for _ in range(2)]),
    ]
    try:
        return chance.choice(acts)()
    except IdMapError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(6))
def test_both_forms_answer_and_end_the_same_after_any_acts(cloud: Cloud, tmp_path: Path, seed: int) -> None:
    forms: list[IdMap] = [SqliteIdMap(tmp_path / "map.sqlite"), DynamoIdMap(cloud.table())]
    begun = datetime.now(UTC)
    for step in range(60):
        answers = [_act(form, random.Random(f"{seed} {step}"), begun) for form in forms]
        assert answers[0] == answers[1]
    assert statuses(forms[0]) == statuses(forms[1])
    assert [one.permissions for one in forms[0].list()] == [one.permissions for one in forms[1].list()]
    for participant in {one.participant_id for one in forms[0].list()}:
        assert sorted(whats(forms[0], participant)) == sorted(whats(forms[1], participant))


# -- DynamoDB alone


def test_a_large_import_that_ends_in_an_error_says_what_is_done_and_is_simply_done_again(cloud: Cloud) -> None:
    people = DynamoIdMap(cloud.table())
    rows = [(f"user-{n}", f"Q{n}") for n in range(120)]
    wrong = [*rows[:70], ("user-70", "no good"), *rows[71:]]
    with pytest.raises(IdMapError, match="^entry 71: .*; the 49 entries before entry 50 are enrolled$"):
        people.import_rows(wrong)
    assert len(people.list()) == 49
    assert people.import_rows(rows).enrolled == 120
    assert len(people.list()) == 120


def pending_count(table: str) -> int:
    found = aws.client("dynamodb").get_item(TableName=table, Key={"garmin_user_id": {"S": "##pending"}})
    return int(found["Item"]["pending_count"]["N"])


def test_how_many_are_pending_is_right_at_every_moment_whoever_is_killed(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its first write, whatever is done has changed both a user and the count, or neither."""
    table = cloud.table()
    people = DynamoIdMap(table)
    people.seen([f"user-{number}" for number in range(8)], LATER)
    call = DynamoIdMap._call

    def killed(self: DynamoIdMap, name: str, **arguments: Any) -> Any:
        answer = call(self, name, **arguments)
        if name in ("put_item", "delete_item", "transact_write_items"):
            raise KeyboardInterrupt
        return answer

    acts: list[Callable[[], Any]] = [
        lambda: people.add("user-0"),
        lambda: people.enrol(["user-1", "user-2"]),
        lambda: people.import_rows([("user-3", "Q3"), ("new", "Q4")]),
        lambda: people.forget("user-4"),
        lambda: people.forget("user-0"),
    ]
    for act, left in zip(acts, (7, 5, 4, 3, 3), strict=True):
        with monkeypatch.context() as patched:
            patched.setattr(DynamoIdMap, "_call", killed)
            with pytest.raises(KeyboardInterrupt):
                act()
        waiting = [user for user, (participant, _) in statuses(people).items() if not participant]
        assert pending_count(table) == len(waiting) == left


def test_a_row_that_something_else_wrote_is_a_participant_whose_id_is_taken(cloud: Cloud) -> None:
    table = cloud.table()
    people = DynamoIdMap(table)
    item = {"garmin_user_id": {"S": USER}, "participant_id": {"S": "P0007"}}
    aws.client("dynamodb").put_item(TableName=table, Item=item)
    assert statuses(people) == {USER: ("P0007", "active")}
    assert people.add(OTHER) == "P0008"
    assert people.deregister(USER, LATER)
    assert statuses(people)[USER] == ("P0007", "deregistered")
    assert whats(people, "P0007") == ["deregistered"]


def test_an_id_that_another_took_meanwhile_is_not_given_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    people, faster = DynamoIdMap(cloud.table()), []
    transact = DynamoIdMap._transact

    def beaten(self: DynamoIdMap, writes: Any) -> bool:
        if not faster:
            faster.append("")
            faster[0] = self.add(OTHER)
        return transact(self, writes)

    monkeypatch.setattr(DynamoIdMap, "_transact", beaten)
    assert people.add(USER) == "P0002"
    assert faster == ["P0001"]
    monkeypatch.undo()


def test_a_claim_is_nobody_and_cannot_be_had_as_a_user(cloud: Cloud) -> None:
    people = DynamoIdMap(cloud.table())
    people.add(USER)
    with pytest.raises(IdMapError, match="does not begin with #"):
        people.add("#P0001")
    assert people.seen(["#P0001", "#P0002"], LATER) == 0
    assert not people.narrow_permissions("#P0001", ALL, LATER)
    assert people.get("#P0001") is None
    assert statuses(people) == {USER: ("P0001", "active")}


def test_a_history_ends_before_the_item_grows_too_large(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qol_ingest.shared.id_map.MOST_LINES", 3)
    people = DynamoIdMap(cloud.table())
    people.add(USER, "P1")
    for number in range(4):
        people.confirm_permissions(USER, ALL[number % 2 :], LATER + number * SECOND)
    assert len(people.history("P1")) == 3


def test_a_table_that_is_not_there_is_a_clear_error_without_ids(cloud: Cloud) -> None:
    people = DynamoIdMap("nowhere")
    acts: list[Callable[[], Any]] = [
        lambda: people.get(USER),
        lambda: people.add(USER, "P1"),
        lambda: people.seen([USER], LATER),
        people.list,
    ]
    for act in acts:
        with pytest.raises(IdMapError, match="^DynamoDB did not do .*: ResourceNotFoundException$") as error:
            act()
        assert USER not in str(error.value)
