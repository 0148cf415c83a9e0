"""What deregistrations and permission changes do to every id map, by the fixture `people`, in any order."""

from __future__ import annotations

import itertools
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qol_dagster.resources.id_map import IdMap
from qol_ingest.shared.lifecycle import apply, events

USER = "4aacafe82427c251df9c9592d0c06768"
OTHER = "ffeeddccbbaa99887766554433221100"
LATER = datetime.now(UTC) + timedelta(hours=1)
ALL, NO_HEALTH = ["ACTIVITY_EXPORT", "HEALTH_EXPORT"], ["ACTIVITY_EXPORT"]


def left(user: str = USER, received: datetime = LATER) -> dict[str, Any]:
    return {"_summary_type": "deregistrations", "_received_at": received.isoformat(), "userId": user}


def allows(permissions: object, at: datetime = LATER, received: datetime | None = None, **more: Any) -> dict[str, Any]:
    return {
        "_summary_type": "userPermissionsChange",
        "_received_at": (received or at).isoformat(),
        "userId": USER,
        "permissions": permissions,
        "changeTimeInSeconds": int(at.timestamp()),
        **more,
    }


def tell(people: IdMap, *lines: dict[str, Any], asks: Any = None) -> list[str]:
    return [apply(people, event, asks) for event in events(json.dumps(line) for line in lines)]


def test_who_leaves_at_garmin_is_left_out_of_the_next_run_and_the_history_says_since_when(people: IdMap) -> None:
    assert tell(people, left()) == ["applied"]
    assert people.identities().active == {}
    assert people.identities().revoked == {USER}
    assert [change.what for change in people.history("P7")] == ["active", "deregistered"]
    assert USER not in str(people.history("P7"))


def test_the_same_event_again_changes_nothing(people: IdMap) -> None:
    assert tell(people, left(), left()) == ["applied", "nothing new"]
    assert len(people.history("P7")) == 2


def test_an_old_deregistration_does_not_undo_a_later_enrolment(people: IdMap) -> None:
    yesterday = left(received=datetime.now(UTC) - timedelta(days=1))
    assert tell(people, yesterday) == ["nothing new"]
    assert people.identities().active == {USER: "P7"}


def test_who_comes_back_is_the_same_participant_and_a_replay_does_not_send_them_away(people: IdMap) -> None:
    event = left(received=datetime.now(UTC))
    assert tell(people, event) == ["applied"]
    assert people.add(USER) == "P7"
    assert tell(people, event) == ["nothing new"]
    assert people.identities().active == {USER: "P7"}


def test_without_the_health_permission_the_data_is_left_out_until_it_is_given_again(people: IdMap) -> None:
    assert tell(people, allows(NO_HEALTH)) == ["applied"]
    assert people.identities().active == {}
    assert people.identities().revoked == {USER}
    assert tell(people, allows(ALL, LATER + timedelta(hours=1))) == ["applied"]
    assert people.identities().active == {USER: "P7"}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_garmin_s_time_decides_between_changes_and_not_the_order_of_arrival(
    people: IdMap, order: tuple[int, ...]
) -> None:
    changes = [allows(ALL), allows(NO_HEALTH, LATER + timedelta(seconds=5)), allows(ALL, LATER + timedelta(seconds=9))]
    received = LATER + timedelta(days=1)
    tell(people, *({**changes[n], "_received_at": received.isoformat()} for n in order))
    found = people.get(USER)
    assert found is not None
    assert found.permissions == tuple(ALL)


def test_a_change_from_the_future_counts_from_its_receipt(people: IdMap) -> None:
    tell(people, allows(NO_HEALTH, LATER + timedelta(days=900), received=LATER))
    assert tell(people, allows(ALL, LATER + timedelta(minutes=1))) == ["applied"]


@pytest.mark.parametrize("odd", [None, 1e300, "soon", True, 1_800_000_000_000, [], -(10**20)])
def test_a_withdrawal_whose_time_cannot_be_read_counts_from_its_receipt(people: IdMap, odd: object) -> None:
    tell(people, allows(ALL))
    assert tell(people, allows(NO_HEALTH, LATER + timedelta(minutes=1), changeTimeInSeconds=odd)) == ["applied"]
    assert people.identities().revoked == {USER}


def test_a_withdrawal_beside_a_number_of_five_thousand_digits_counts(people: IdMap) -> None:
    line = json.dumps(allows(NO_HEALTH)).replace("{", '{"other": ' + "9" * 5000 + ", ", 1)
    assert [apply(people, event) for event in events([line])] == ["applied"]
    assert people.identities().revoked == {USER}


def test_a_time_that_garmin_sends_as_text_is_read(people: IdMap) -> None:
    received = LATER + timedelta(days=1)
    tell(people, allows(ALL, LATER + timedelta(seconds=5), received))
    seconds = str(int(LATER.timestamp()))
    assert tell(people, allows(NO_HEALTH, LATER, received, changeTimeInSeconds=seconds)) == ["nothing new"]


@pytest.mark.parametrize("replayed", list(itertools.permutations(range(3))))
def test_of_changes_in_one_second_the_one_received_last_counts_and_a_replay_in_any_order_changes_nothing(
    people: IdMap, replayed: tuple[int, ...]
) -> None:
    changes = [allows(one, LATER, LATER + timedelta(seconds=n)) for n, one in enumerate((NO_HEALTH, ALL, NO_HEALTH))]
    assert tell(people, *changes) == ["applied"] * 3
    before = people.history("P7")
    assert tell(people, *(changes[n] for n in replayed)) == ["nothing new"] * 3
    assert people.history("P7") == before


def test_who_really_leaves_while_garmin_is_asked_about_a_forgery_has_left(people: IdMap) -> None:
    def asked(user: str) -> bool:
        assert tell(people, left(received=datetime.now(UTC) + timedelta(seconds=1))) == ["nothing new"]
        return True

    assert tell(people, left(received=datetime.now(UTC)), asks=asked) == ["applied"]
    assert people.identities().revoked == {USER}


def test_a_forged_deregistration_is_undone_and_stays_so_when_replayed(
    people: IdMap, caplog: pytest.LogCaptureFixture
) -> None:
    event = left(received=datetime.now(UTC))
    assert tell(people, event, asks=lambda _user: True) == ["forged"]
    assert tell(people, event) == ["nothing new"]
    assert people.identities().active == {USER: "P7"}
    assert "P7 is forged" in caplog.text
    assert USER not in caplog.text


@pytest.mark.parametrize("answer", [False, None])
def test_garmin_s_no_and_no_answer_leave_the_deregistration_as_it_is(people: IdMap, answer: bool | None) -> None:
    assert tell(people, left(), asks=lambda _user: answer) == ["applied"]
    assert people.identities().revoked == {USER}


def test_a_revoked_participant_stays_revoked_when_a_forgery_is_undone(people: IdMap) -> None:
    people.revoke("P7")
    tell(people, left(), asks=lambda _user: True)
    found = people.get(USER)
    assert found is not None
    assert found.status == "revoked"


def test_a_stranger_s_permissions_make_them_pending_and_nobody_s_data(people: IdMap) -> None:
    tell(people, {**allows(ALL), "userId": OTHER})
    found = people.get(OTHER)
    assert found is not None
    assert (found.status, found.participant_id) == ("pending", "")
    assert OTHER not in people.identities().active.keys() | people.identities().revoked
    assert tell(people, left(OTHER)) == ["applied"]


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        "7",
        "{}",
        json.dumps({**left(), "userId": 7}),
        json.dumps({**left(), "userId": " "}),
        json.dumps({**left(), "_received_at": "yesterday"}),
        json.dumps({**left(), "_summary_type": "dailies"}),
        json.dumps(allows("HEALTH_EXPORT")),
        json.dumps({**left(), "userId": "\ud800"}),
        json.dumps({**left(), "userId": "x" * 300}),
        json.dumps({**left(), "_received_at": 7}),
    ],
)
def test_what_cannot_be_understood_changes_nothing_and_is_logged_without_ids(
    people: IdMap, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert list(events([line, ""])) == []
    assert "cannot be understood" in caplog.text
    assert USER not in caplog.text
