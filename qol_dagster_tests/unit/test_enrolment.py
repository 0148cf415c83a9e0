"""Invitations, sign-ins and where they are kept: what holds whoever asks, and however many at a time."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import enrolment as contract
from qol_dagster_tests.support.contracts.enrolment import NOW, Clock
from qol_ingest.consent import enrolment
from qol_ingest.consent.enrolment import Invitations, SignIns, read_code
from qol_ingest.consent.state import DynamoState, EnrolmentState, EnrolmentStateError, SqliteState

globals().update(contract_tests(contract))


class Dynamo:
    """As much of DynamoDB as its documentation says about the three calls used here, in memory."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
        self.lock = threading.Lock()

    def get_item(self, **asked: Any) -> dict[str, Any]:
        assert (asked["TableName"], asked["ConsistentRead"]) == ("the-table", True)
        with self.lock:
            found = self.items.get((asked["Key"]["kind"]["S"], asked["Key"]["name"]["S"]))
            return {"Item": found} if found else {}

    def put_item(self, **asked: Any) -> dict[str, Any]:
        assert asked["ExpressionAttributeNames"] == {"#version": "version"}
        item, values = asked["Item"], asked.get("ExpressionAttributeValues", {})
        key = (item["kind"]["S"], item["name"]["S"])
        with self.lock:
            kept = self.items.get(key)
            met = {
                "attribute_not_exists(#version)": kept is None,
                "#version = :version": kept is not None and kept["version"] == values.get(":version"),
            }[asked["ConditionExpression"]]
            if not met:
                raise _refusal("ConditionalCheckFailedException")
            self.items[key] = item
            return {}

    def query(self, **asked: Any) -> dict[str, Any]:
        """One item a page."""
        assert (asked["KeyConditionExpression"], asked["ConsistentRead"]) == ("#kind = :kind", True)
        assert asked["ExpressionAttributeNames"] == {"#kind": "kind"}
        kind = asked["ExpressionAttributeValues"][":kind"]["S"]
        after = asked.get("ExclusiveStartKey", {"name": {"S": ""}})["name"]["S"]
        with self.lock:
            names = sorted(name for one, name in self.items if one == kind and name > after)
            more = {"LastEvaluatedKey": {"kind": {"S": kind}, "name": {"S": names[0]}}} if names[1:] else {}
            return {"Items": [self.items[kind, name] for name in names[:1]], **more}


def _refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "a message that quotes"}}, "Call")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "dynamodb"])
def state(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> EnrolmentState:
    """A state of each form. A further one is one more parameter."""
    if request.param == "sqlite":
        return SqliteState(tmp_path / "folder" / "enrolment.sqlite", clock)
    return DynamoState("the-table", Dynamo())


@pytest.fixture
def invitations(state: EnrolmentState, clock: Clock) -> Invitations:
    return Invitations(state, clock)


@pytest.fixture
def sign_ins(state: EnrolmentState, clock: Clock) -> SignIns:
    return SignIns(state, clock)


def test_a_file_forgets_what_need_not_be_kept(tmp_path: Path, clock: Clock) -> None:
    state = SqliteState(tmp_path / "enrolment.sqlite", clock)
    state.put("kind", "a", {}, 0, NOW + 10)
    state.put("kind", "b", {}, 0, NOW + 20)
    clock.now += 11
    state.put("kind", "c", {}, 0, NOW + 30)
    assert [name for name, _ in state.entries("kind")] == ["b", "c"]


def test_the_file_is_for_its_owner_alone_and_reading_makes_none(tmp_path: Path) -> None:
    state = SqliteState(tmp_path / "folder" / "enrolment.sqlite")
    assert state.get("kind", "a") is None
    assert list(tmp_path.iterdir()) == []
    umask = os.umask(0)
    try:
        state.put("kind", "a", {}, 0, math.inf)
    finally:
        os.umask(umask)
    assert state.path.stat().st_mode & 0o777 == 0o600
    assert state.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_no_database_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "enrolment.sqlite"
    path.write_bytes(b"this is not a database, and long enough to be sure of it" * 100)
    with pytest.raises(EnrolmentStateError, match=r"enrolment\.sqlite could not be read or written: DatabaseError$"):
        SqliteState(path).get("kind", "a")
    with pytest.raises(EnrolmentStateError, match="could not be read or written: File exists$"):
        SqliteState(path / "below").put("kind", "a", {}, 0, 1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (_refusal("AccessDeniedException"), "^DynamoDB table the-table refused get_item: AccessDeniedException$"),
        (EndpointConnectionError(endpoint_url="x"), "^DynamoDB table the-table could not be asked: EndpointConnect"),
    ],
)
def test_what_dynamodb_refuses_is_an_error_without_its_message(error: Exception, message: str) -> None:
    client = Dynamo()

    def refuse(**_asked: Any) -> None:
        raise error

    client.get_item = refuse  # type: ignore[method-assign]
    with pytest.raises(EnrolmentStateError, match=message):
        DynamoState("the-table", client).get("kind", "a")


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("ACDE-FGHJ-KMNP-2345", "ACDEFGHJKMNP2345"),
        ("acdefghjkmnp2345", "ACDEFGHJKMNP2345"),
        (" acde fghj\u3000kmnp\t2345\n", "ACDEFGHJKMNP2345"),
        ("ＡＣＤＥ－ＦＧＨＪ－ＫＭＮＰ－２３４５", "ACDEFGHJKMNP2345"),
        ("ACDEーFGHJ—KMNP–2345", "ACDEFGHJKMNP2345"),
        ("ACDE_FGHJ.KMNP−2345", "ACDEFGHJKMNP2345"),
        ("bsuz-bsuz-bsuz-bsuz", "85V285V285V285V2"),
        ("ACDE-FGHJ-KMNP-234", ""),
        ("ACDE-FGHJ-KMNP-23456", ""),
        ("ACDE-FGHJ-KMNP-234O", ""),
        ("ACDE-FGHJ-KMNP-2341", ""),
        ("ACDE-FGHJ-KMNP-234é", ""),
        ("", ""),
        ("\ud83d" * 16, ""),
        ("ACDE-FGHJ-KMNP-2345" + " " * 100 + "X", "ACDEFGHJKMNP2345"),
    ],
)
def test_a_code_is_read_as_people_type_it(typed: str, read: str) -> None:
    assert read_code(typed) == read


# -- processes


PROCESS = """
import sys
from pathlib import Path
from qol_ingest.consent.enrolment import Invitations, SignIn
from qol_ingest.consent.state import SqliteState

invitations = Invitations(SqliteState(Path(sys.argv[1])))
sign_in = SignIn("P1", sys.argv[2], "", False, "x")
print("ready", flush=True)
sys.stdin.readline()
print(invitations.claim(sign_in))
"""


def test_a_code_is_claimed_by_one_of_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "enrolment.sqlite"
    code = Invitations(SqliteState(path)).invite("P1")
    command = [sys.executable, "-c", PROCESS, str(path), enrolment.hash_of(read_code(code))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    assert [one.stdout.readline() for one in running] == ["ready\n"] * 4
    for one in running:
        one.stdin.write("\n")
        one.stdin.flush()
    assert sorted(one.communicate(timeout=30)[0] for one in running) == ["False\n"] * 3 + ["True\n"]
