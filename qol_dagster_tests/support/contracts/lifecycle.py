"""What deregistrations and permission changes do to every id map, by the fixture `people`, in any order."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qol_dagster.resources.id_map import IdMap
from qol_ingest.shared.lifecycle import apply, events

USER = "4aacafe82427c251df9c9592d0c06768"
OTHER = "ffeeddccbbaa99887766554433221100"
LATER = datetime.now(UTC) + timedelta(hours=1)
ALL, NO_HEALTH = ["ACTIVITY_EXPORT", "HEALTH_EXPORT"], ["ACTIVITY_EXPORT"]
WITHHELD = {USER: "HEALTH_EXPORT"}


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


@dataclass
class Garmin:
    """What Garmin answers: whether a user is registered, and what the user allows."""

    registered: Callable[[], bool | None] = lambda: None
    allowed: tuple[str, ...] | None = None
    asked: int = 0

    def is_registered(self, user: str) -> bool | None:
        assert user == USER
        return self.registered()

    def permissions(self, user: str) -> tuple[str, ...] | None:
        assert user == USER
        self.asked += 1
        return self.allowed


def tell(people: IdMap, *lines: dict[str, Any], garmin: Garmin | None = None) -> list[str]:
    return [apply(people, event, garmin) for event in events(json.dumps(line) for line in lines)]


def permissions(people: IdMap) -> tuple[str, ...] | None:
    found = people.get(USER)
    assert found is not None
    return found.permissions


def test_who_leaves_at_garmin_is_left_out_of_the_next_run_and_the_history_says_since_when(people: IdMap) -> None:
    assert tell(people, left()) == ["applied"]
    assert people.identities().active == {}
    assert people.identities().revoked == {USER}
    assert [change.what for change in people.history("P7")] == ["active", "deregistered"]
    assert USER not in str(people.history("P7"))


@pytest.mark.parametrize(
    "spelling", ["4aacafe8-2427-c251-df9c-9592d0c06768", USER.upper()], ids=["hyphens", "capitals"]
)
def test_a_withdrawal_is_not_overlooked_for_the_spelling_of_an_id(people: IdMap, spelling: str) -> None:
    assert "applied" in tell(people, allows(NO_HEALTH, userId=spelling))
    assert permissions(people) == tuple(NO_HEALTH)
    assert "applied" in tell(people, left(spelling, LATER + timedelta(minutes=1)))
    assert people.identities().revoked == {USER}


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
    assert people.add(USER, after_leaving=True) == "P7"
    assert tell(people, event) == ["nothing new"]
    assert people.identities().active == {USER: "P7"}


def test_without_the_health_permission_the_data_is_left_out_until_garmin_confirms_it_again(people: IdMap) -> None:
    assert tell(people, allows(NO_HEALTH)) == ["applied"]
    assert people.identities().withheld == WITHHELD
    given = allows(ALL, LATER + timedelta(hours=1))
    assert tell(people, given) == ["nothing new"]
    assert tell(people, given, garmin=Garmin(allowed=tuple(NO_HEALTH))) == ["unconfirmed"]
    assert tell(people, given, garmin=Garmin(allowed=None)) == ["unconfirmed"]
    assert people.identities().withheld == WITHHELD
    assert tell(people, given, garmin=Garmin(allowed=tuple(ALL))) == ["applied"]
    assert people.identities().withheld == {}


def test_a_confirmed_permission_stays_when_its_withdrawal_is_replayed_and_goes_with_the_next_one(
    people: IdMap,
) -> None:
    withdrawn, given = allows(NO_HEALTH), allows(ALL, LATER + timedelta(seconds=5))
    tell(people, withdrawn, given, garmin=Garmin(allowed=tuple(ALL)))
    assert tell(people, withdrawn, given) == ["nothing new"] * 2
    assert permissions(people) == tuple(ALL)
    assert tell(people, allows([], LATER + timedelta(seconds=9))) == ["applied"]
    assert permissions(people) == ()


def test_a_change_that_only_takes_away_asks_nobody(people: IdMap) -> None:
    garmin = Garmin(allowed=tuple(ALL))
    tell(people, allows(ALL), allows(NO_HEALTH, LATER + timedelta(seconds=1)), garmin=garmin)
    assert (garmin.asked, permissions(people)) == (0, tuple(NO_HEALTH))


def test_what_garmin_confirms_counts_and_not_what_was_announced(people: IdMap) -> None:
    tell(people, allows([]))
    forged = allows([*ALL, "EVERYTHING"], LATER + timedelta(seconds=5))
    assert tell(people, forged, garmin=Garmin(allowed=("HEALTH_EXPORT",))) == ["applied"]
    assert permissions(people) == ("HEALTH_EXPORT",)


@pytest.mark.parametrize("kind", ["userPermissionsChange", "userPermissions"])
def test_permissions_of_null_are_none(people: IdMap, kind: str) -> None:
    assert tell(people, allows(None, _summary_type=kind)) == ["applied"]
    assert permissions(people) == ()


@pytest.mark.parametrize(
    "spelled",
    [
        {"ACTIVITY_EXPORT": True, "HEALTH_EXPORT": False},
        {"ACTIVITY_EXPORT": "true", "HEALTH_EXPORT": None, "MCT_EXPORT": 1},
        "[ACTIVITY_EXPORT]",
        "ACTIVITY_EXPORT, 7",
        ["ACTIVITY_EXPORT", 7, None],
    ],
)
def test_a_withdrawal_is_not_overlooked_for_how_permissions_are_written(people: IdMap, spelled: object) -> None:
    assert tell(people, allows(ALL), allows(spelled, LATER + timedelta(seconds=5))) == ["applied"] * 2
    assert permissions(people) == tuple(NO_HEALTH)
    assert people.identities().withheld == WITHHELD


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_announced_changes_end_the_same_in_whatever_order_they_arrive(people: IdMap, order: tuple[int, ...]) -> None:
    changes = [allows(ALL), allows(NO_HEALTH, LATER + timedelta(seconds=5)), allows(ALL, LATER + timedelta(seconds=9))]
    tell(people, *(changes[n] for n in order))
    assert permissions(people) == tuple(NO_HEALTH)


@pytest.mark.parametrize("odd", [None, 1e300, "soon", True, 1_800_000_000_000, [], -(10**20)])
def test_a_withdrawal_whose_time_cannot_be_read_counts_from_its_receipt(people: IdMap, odd: object) -> None:
    tell(people, allows(ALL))
    assert tell(people, allows(NO_HEALTH, LATER + timedelta(minutes=1), changeTimeInSeconds=odd)) == ["applied"]
    assert people.identities().withheld == WITHHELD


def test_a_withdrawal_beside_a_number_of_five_thousand_digits_counts(people: IdMap) -> None:
    line = json.dumps(allows(NO_HEALTH)).replace("{", '{"other": ' + "9" * 5000 + ", ", 1)
    assert [apply(people, event) for event in events([line])] == ["applied"]
    assert people.identities().withheld == WITHHELD


def test_a_time_that_garmin_sends_as_text_is_read(people: IdMap) -> None:
    people.confirm_permissions(USER, ALL, LATER + timedelta(seconds=5))
    seconds = str(int(LATER.timestamp()))
    received = LATER + timedelta(days=1)
    assert tell(people, allows(NO_HEALTH, LATER, received, changeTimeInSeconds=seconds)) == ["nothing new"]


def test_a_change_from_the_future_counts_from_its_receipt(people: IdMap) -> None:
    tell(people, allows(NO_HEALTH, LATER + timedelta(days=900), received=LATER))
    given = allows(ALL, LATER + timedelta(minutes=1))
    assert tell(people, given, garmin=Garmin(allowed=tuple(ALL))) == ["applied"]


def test_who_really_leaves_while_garmin_is_asked_about_a_forgery_has_left(people: IdMap) -> None:
    def asked() -> bool:
        assert tell(people, left(received=datetime.now(UTC) + timedelta(seconds=1))) == ["nothing new"]
        return True

    assert tell(people, left(received=datetime.now(UTC)), garmin=Garmin(asked)) == ["applied"]
    assert people.identities().revoked == {USER}


def test_a_forged_deregistration_is_undone_and_stays_so_when_replayed(
    people: IdMap, caplog: pytest.LogCaptureFixture
) -> None:
    event = left(received=datetime.now(UTC))
    assert tell(people, event, garmin=Garmin(lambda: True)) == ["forged"]
    assert tell(people, event) == ["nothing new"]
    assert people.identities().active == {USER: "P7"}
    assert "P7 looks forged" in caplog.text
    assert USER not in caplog.text


def test_who_looked_registered_and_turns_out_to_have_left_has_left(people: IdMap) -> None:
    event = left(received=datetime.now(UTC))
    answers = iter([True, True, False])
    garmin = Garmin(lambda: next(answers))
    assert [tell(people, event, garmin=garmin)[0] for _ in range(3)] == ["forged", "nothing new", "applied"]
    assert people.identities().revoked == {USER}
    assert tell(people, event) == ["nothing new"]


@pytest.mark.parametrize("answer", [False, None])
def test_garmin_s_no_and_no_answer_leave_the_deregistration_as_it_is(people: IdMap, answer: bool | None) -> None:
    assert tell(people, left(), garmin=Garmin(lambda: answer)) == ["applied"]
    assert people.identities().revoked == {USER}


def test_a_revoked_participant_stays_revoked_when_a_forgery_is_undone(people: IdMap) -> None:
    people.revoke("P7")
    tell(people, left(), garmin=Garmin(lambda: True))
    found = people.get(USER)
    assert found is not None
    assert found.status == "revoked"


def test_what_is_announced_of_a_stranger_changes_nothing(people: IdMap) -> None:
    assert tell(people, {**allows(ALL), "userId": OTHER}, left(OTHER)) == ["nothing new"] * 2
    assert people.get(OTHER) is None


def test_of_a_stranger_who_is_about_to_be_enrolled_all_counts_that_was_announced_until_now(people: IdMap) -> None:
    """And not what is from the future, such as the rest of a simulated year."""
    past, later = datetime.now(UTC) - timedelta(days=1), LATER + timedelta(hours=1)
    lines = [json.dumps(left(OTHER, past)), json.dumps({**allows(NO_HEALTH, past), "userId": "third"})]
    lines += [json.dumps(left("fourth", later)), json.dumps(left("fifth", past))]
    assert people.replay(lines, {OTHER.upper(), "third", "fourth"}) == 1
    assert people.replay(lines, {OTHER, "third", "fourth"}) == 1
    assert people.replay(lines, {OTHER, "third", "fourth"}) == 0
    known = {one.garmin_user_id: (one.status, one.permissions) for one in people.list() if not one.participant_id}
    assert known == {OTHER: ("deregistered", None), "third": ("pending", tuple(NO_HEALTH))}
    people.add(OTHER, "P8", after_leaving=True)
    assert [change.what for change in people.history("P8")] == ["pending", "deregistered", "active"]


def test_what_is_announced_of_a_pending_user_makes_it_nobody_s_data(people: IdMap) -> None:
    people.seen([OTHER], LATER - timedelta(hours=2))
    tell(people, {**allows(ALL), "userId": OTHER})
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
        json.dumps(allows(7)),
        json.dumps({key: value for key, value in allows([]).items() if key != "permissions"}),
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
