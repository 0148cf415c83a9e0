"""What every id map does, by the fixture `people`: enrolling, leaving, and never mixing up people."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from qol_ingest.shared.id_map import IdMap, IdMapError, Imported, LeftError, text_of

USER, OTHER = "a1b2c3d4e5f60718293a4b5c6d7e8f90", "ffeeddccbbaa99887766554433221100"
LATER = datetime.now(UTC) + timedelta(hours=1)
EARLIER = datetime.now(UTC) - timedelta(hours=1)
SECOND = timedelta(seconds=1)
ALL, NO_HEALTH = ("ACTIVITY_EXPORT", "HEALTH_EXPORT"), ("ACTIVITY_EXPORT",)


def statuses(people: IdMap) -> dict[str, tuple[str, str]]:
    return {one.garmin_user_id: (one.participant_id, one.status) for one in people.list()}


def whats(people: IdMap, participant: str) -> list[str]:
    return [change.what for change in people.history(participant)]


# -- enrolling


def test_users_get_the_next_free_id_and_enrolling_twice_changes_nothing(people: IdMap) -> None:
    assert people.list() == []
    assert [people.add(USER), people.add(OTHER), people.add(f" {USER}\n")] == ["P0001", "P0002", "P0001"]
    assert people.add("third", "P0041") == "P0041"
    assert people.add("fourth") == "P0042"
    assert whats(people, "P0001") == ["active"]


def test_a_user_cannot_become_another_participant(people: IdMap) -> None:
    people.add(USER, "P1")
    with pytest.raises(IdMapError, match="is enrolled as P1 already"):
        people.add(USER, "P2")
    with pytest.raises(IdMapError, match="entry 2: .* is enrolled as P3 already"):
        people.import_rows([(OTHER, "P3"), (OTHER, "P4")])
    assert statuses(people) == {USER: ("P1", "active")}


def test_an_id_that_ends_the_numbers_is_followed_by_others_and_given_to_nobody_twice(people: IdMap) -> None:
    people.add("first", "P99999999999999999999")
    people.add("second", "P12x")
    assert [people.add("third"), people.add("fourth")] == ["P100000000000000000000", "P100000000000000000001"]


@pytest.mark.parametrize("wrong", ["", " ", "a b", "../x", "日本", "x" * 65, f"id-{USER}", USER.upper(), "#P1"])
def test_a_participant_id_that_is_unsafe_or_tells_the_user_is_refused(people: IdMap, wrong: str) -> None:
    with pytest.raises(IdMapError) as error:
        people.import_rows([(OTHER, "P1"), (USER, wrong)])
    assert "entry 2: " in str(error.value)
    assert "nobody was enrolled" in str(error.value)
    assert people.list() == []


@pytest.mark.parametrize("wrong", ["", " \n", "x" * 257, "\ud800"])
def test_what_cannot_be_a_garmin_user_id_is_refused_by_staff_and_passed_over_by_the_receiver(
    people: IdMap, wrong: str
) -> None:
    with pytest.raises(IdMapError):
        people.add(wrong)
    assert people.seen([wrong, USER], LATER) == 1
    assert not people.narrow_permissions(wrong, ALL, LATER) if wrong.strip() else True
    assert statuses(people) == {USER: ("", "pending")}


def test_an_import_is_done_again_in_vain_and_says_how_many_there_are(people: IdMap) -> None:
    rows = [(f"user-{n}", f"Q{n:03d}") for n in range(60)] + [("user-7", "Q007"), (" user-8 ", " Q008 ")]
    assert people.import_rows(rows).enrolled == 62
    assert people.import_rows(iter(rows)).enrolled == 62
    assert statuses(people) == {f"user-{n}": (f"Q{n:03d}", "active") for n in range(60)}
    assert people.enrol(["user-1", "new", "new"]) == 3
    assert statuses(people)["new"] == ("P0001", "active")
    assert people.add("next") == "P0002"


def test_enrolling_from_many_threads_at_once_gives_everybody_an_id_of_their_own(people: IdMap) -> None:
    users = [f"user-{number}" for number in range(24)]
    with ThreadPoolExecutor(6) as pool:
        ids = list(pool.map(people.add, users))
    assert len(set(ids)) == 24
    assert statuses(people) == {user: (id_, "active") for user, id_ in zip(users, ids, strict=True)}


def test_two_accounts_may_belong_to_one_participant_and_are_revoked_together(people: IdMap) -> None:
    people.import_rows([(USER, "P1"), (OTHER, "P1"), ("third", "P2")])
    assert people.revoke("P1") == 2
    assert people.revoke("P1") == 2
    assert statuses(people) == {USER: ("P1", "revoked"), OTHER: ("P1", "revoked"), "third": ("P2", "active")}
    assert people.add(USER) == "P1"
    assert statuses(people)[USER] == ("P1", "active")
    assert sorted(whats(people, "P1")) == ["active", "active", "active", "revoked", "revoked"]


@pytest.mark.parametrize("nobody", ["P9", "", "#P1"])
def test_revoking_nobody_is_an_error(people: IdMap, nobody: str) -> None:
    people.add(USER, "P1")
    people.seen([OTHER], LATER)
    with pytest.raises(IdMapError, match="there is no participant"):
        people.revoke(nobody)
    assert people.history(nobody) == []


# -- pending users


def test_first_seen_users_are_pending_without_an_id_until_somebody_enrols_them(people: IdMap) -> None:
    people.add(USER, "P1")
    assert people.seen([USER, OTHER, "third", OTHER], LATER) == 2
    assert people.seen([USER, OTHER, "third"], LATER) == 0
    assert statuses(people) == {USER: ("P1", "active"), OTHER: ("", "pending"), "third": ("", "pending")}
    assert [one.participant_id for one in people.list()] == ["", "", "P1"]
    assert people.add(OTHER) == "P0002"
    assert people.seen([OTHER], LATER + SECOND) == 0
    assert statuses(people)[OTHER] == ("P0002", "active")
    assert whats(people, "P0002") == ["pending", "active"]


def test_many_first_seen_users_are_noted_at_once(people: IdMap) -> None:
    users = [f"user-{number}" for number in range(250)]
    assert people.seen(users[:120], LATER) == 120
    assert people.seen(users, LATER) == 130
    assert len(people.list()) == 250


def test_no_more_users_are_pending_than_the_map_has_room_for(people: IdMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qol_ingest.shared.id_map.MOST_PENDING", 3)
    people.add("enrolled")
    assert people.seen(["user-1", "user-2"], LATER) == 2
    for _ in range(2):
        with pytest.raises(IdMapError, match="no more are noted"):
            people.seen(["user-1", "user-3", "user-4"], LATER)
    assert [one.garmin_user_id for one in people.list()] == ["user-1", "user-2", "user-3", "enrolled"]
    people.add("user-1")
    assert people.seen(["user-4"], LATER) == 1
    assert people.forget("user-2")
    assert people.import_rows([("user-3", "Q3")]).enrolled == 1
    assert people.seen(["user-5", "user-6"], LATER) == 2
    with pytest.raises(IdMapError, match="no more are noted"):
        people.seen(["user-7"], LATER)


def test_announcements_of_one_user_do_not_make_the_history_grow_without_end(
    people: IdMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qol_ingest.shared.id_map.MOST_LINES", 5)
    people.add(USER, "P1")
    for number in range(4):
        people.deregister(USER, LATER + 2 * number * SECOND)
        people.reinstate(USER, LATER + (2 * number + 1) * SECOND)
    assert whats(people, "P1") == ["active", "deregistered", "active", "deregistered", "active"]


def test_who_is_forgotten_is_nobody_until_they_push_again(people: IdMap) -> None:
    people.add(USER)
    people.seen([OTHER], LATER)
    assert people.forget(USER)
    assert people.forget(OTHER)
    assert not people.forget(USER)
    assert not people.forget("")
    assert people.list() == []
    assert people.history("P0001") == []
    assert people.seen([OTHER], LATER) == 1
    assert people.add(USER) == "P0002"
    assert whats(people, "P0002") == ["active"]


def test_a_participant_id_is_no_garmin_user_id_and_the_other_way_round(people: IdMap) -> None:
    people.add(USER, "QOL-003")
    people.seen([OTHER], LATER)
    for participant in ("QOL-003", "P0007"):
        with pytest.raises(IdMapError, match="this is a participant id"):
            people.add(participant)
    with pytest.raises(IdMapError, match="is a Garmin user id"):
        people.add("third", OTHER)
    with pytest.raises(IdMapError, match="entry 2: this is a participant id"):
        people.import_rows([("third", "Q3"), ("Q3", "Q4")])
    assert statuses(people) == {USER: ("QOL-003", "active"), OTHER: ("", "pending")}


def test_an_import_keeps_when_somebody_was_enrolled(people: IdMap) -> None:
    april = datetime(2026, 4, 1, tzinfo=UTC)
    people.add(OTHER, "Q2")
    found = people.import_rows([(USER, "Q1", april), (OTHER, "Q2", april), ("third", "Q3", None), ("fourth", "Q4")])
    assert found.enrolled == 4
    enrolled = {one.participant_id: one.enrolled_at[:10] for one in people.list()}
    today = datetime.now(UTC).date().isoformat()
    assert enrolled == {"Q1": "2026-04-01", "Q2": "2026-04-01", "Q3": today, "Q4": today}
    assert people.import_rows([(USER, "Q1")]).enrolled == 1
    assert {one.participant_id: one.enrolled_at[:10] for one in people.list()} == enrolled
    with pytest.raises(IdMapError, match="entry 1: the date of enrolment .* is in the future; nobody was enrolled"):
        people.import_rows([(USER, "Q1", LATER + timedelta(days=2))])


def test_users_may_be_enrolled_as_of_an_earlier_time_and_have_left_since(people: IdMap) -> None:
    """As if it had been done then: what Garmin announced between then and now counts."""
    past, between = EARLIER - timedelta(days=100), EARLIER - timedelta(days=50)
    assert people.enrol([USER, OTHER], at=past) == 2
    assert people.add("second account", "P0001", at=past) == "P0001"
    people.add("today")
    assert [one.enrolled_at for one in people.list()][:3] == [text_of(past)] * 3
    assert people.deregister(USER, between)
    assert people.deregister("second account", between)
    assert not people.deregister("today", between)
    assert statuses(people)[USER] == ("P0001", "deregistered")


def test_of_an_active_user_the_earlier_time_of_enrolment_stays(people: IdMap) -> None:
    past = EARLIER - timedelta(days=100)
    people.seen([OTHER], LATER)
    for users, at in (([USER, OTHER], EARLIER), ([USER], past), ([USER, OTHER], EARLIER), ([OTHER], None)):
        assert people.enrol(users, at=at) == len(users)
    assert {one.garmin_user_id: one.enrolled_at for one in people.list()} == {
        USER: text_of(past),
        OTHER: text_of(EARLIER),
    }
    with pytest.raises(IdMapError, match="in the future"):
        people.enrol(["third"], at=LATER)


def test_an_id_is_kept_as_it_came(people: IdMap) -> None:
    odd = [" with space ", "ユーザー", "O'Hara; --", "UPPER", "upper"]
    assert people.seen(odd, LATER) == 5
    assert sorted(statuses(people)) == sorted(odd)
    found = people.get(" with space ")
    assert found is not None
    assert found.garmin_user_id == " with space "
    assert people.get("with space") is None
    assert people.get("") is None


# -- what Garmin tells


def test_who_was_asked_about_or_came_back_while_the_clock_was_a_year_ahead_leaves_all_the_same(people: IdMap) -> None:
    now = datetime.now(UTC)
    people.add(USER, "P1")
    people.confirm_permissions(USER, ALL, now + timedelta(days=365))
    assert people.narrow_permissions(USER, NO_HEALTH, now)
    people.deregister(USER, now + timedelta(days=365))
    people.reinstate(USER, now + timedelta(days=365))
    assert people.deregister(USER, now)
    assert statuses(people) == {USER: ("P1", "deregistered")}


def test_who_leaves_is_deregistered_once_and_may_come_back(people: IdMap) -> None:
    people.add(USER, "P1")
    assert people.deregister(USER, LATER)
    assert not people.deregister(USER, LATER)
    assert not people.deregister("unknown", LATER)
    assert statuses(people) == {USER: ("P1", "deregistered")}
    assert people.add(USER, after_leaving=True) == "P1"
    assert whats(people, "P1") == ["active", "deregistered", "active"]
    assert USER not in str(people.history("P1"))


@pytest.mark.parametrize("participant", ["P1", None])
def test_nobody_who_has_left_at_garmin_is_enrolled_without_a_new_consent(
    people: IdMap, participant: str | None
) -> None:
    left_at = datetime(2026, 11, 19, 15, tzinfo=UTC)  # midnight in Japan
    people.seen([USER], left_at - SECOND)
    assert people.deregister(USER, left_at)
    with pytest.raises(LeftError, match=f"^{participant or 'this Garmin user'} left at Garmin on 2026-11-20$"):
        people.add(USER, participant)
    assert statuses(people) == {USER: ("", "deregistered")}
    assert people.add(USER, "P1", after_leaving=True) == "P1"
    assert statuses(people) == {USER: ("P1", "active")}
    assert people.add(USER) == "P1"


def test_who_was_enrolled_when_they_left_is_called_by_the_participant_id(people: IdMap) -> None:
    people.add(USER, "P1")
    people.deregister(USER, LATER)
    with pytest.raises(LeftError, match="^P1 left at Garmin on "):
        people.add(USER)
    assert whats(people, "P1") == ["active", "deregistered"]


def test_a_list_enrols_everybody_but_those_who_have_left_and_says_which_they_are(people: IdMap) -> None:
    rows = [(f"user-{number}", f"Q{number:02d}") for number in range(1, 121)]
    people.import_rows(rows[:3])
    people.seen(["user-60"], EARLIER)
    for user in ("user-1", "user-60"):
        assert people.deregister(user, LATER)
    people.revoke("Q02")
    people.withdraw("Q03", LATER.date())
    found = people.import_rows(rows)
    assert found.enrolled == 116
    assert [one.rpartition(" on ")[0] for one in found.left] == [
        "entry 1: Q01 left at Garmin",
        "entry 2: Q02 was revoked",
        "entry 3: Q03 withdrew",
        "entry 60: Q60 left at Garmin",
    ]
    assert "user-" not in str(found)
    known = statuses(people)
    assert [known[f"user-{number}"][1] for number in (1, 2, 3, 60)] == [
        "deregistered",
        "revoked",
        "withdrawn",
        "deregistered",
    ]
    assert sum(status == "active" for _, status in known.values()) == 116
    assert people.import_rows(rows, after_leaving=True) == Imported(120)
    assert {status for _, status in statuses(people).values()} == {"active"}


def test_a_single_person_who_was_revoked_or_withdrew_is_taken_back_in_by_adding_them(people: IdMap) -> None:
    people.import_rows([(USER, "P1"), (OTHER, "P2")])
    people.revoke("P1")
    people.withdraw("P2", LATER.date())
    assert [people.add(USER), people.add(OTHER)] == ["P1", "P2"]
    assert {status for _, status in statuses(people).values()} == {"active"}


def test_who_has_left_before_anybody_enrolled_them_is_pending_no_longer_until_they_push_again(people: IdMap) -> None:
    people.seen([USER], EARLIER)  # as of a push, or of the deregistration alone
    people.seen([OTHER], EARLIER)
    people.add("third")
    assert people.deregister(USER, EARLIER)
    assert [one.garmin_user_id for one in people.list() if one.is_pending] == [OTHER]
    people.seen([USER], LATER)
    assert {one.garmin_user_id for one in people.list() if one.is_pending} == {USER, OTHER}
    with pytest.raises(LeftError):
        people.add(USER)


def test_a_deregistration_that_is_older_than_the_enrolment_changes_nothing(people: IdMap) -> None:
    people.add(USER, "P1")
    assert not people.deregister(USER, EARLIER)
    assert statuses(people) == {USER: ("P1", "active")}


@pytest.mark.parametrize("before", ["active", "revoked", "pending"])
def test_a_forged_deregistration_is_taken_back_to_what_was_before(people: IdMap, before: str) -> None:
    people.seen([USER], EARLIER) if before == "pending" else people.add(USER, "P1")
    if before == "revoked":
        people.revoke("P1")
    assert not people.reinstate(USER, LATER)
    assert people.deregister(USER, LATER)
    assert people.reinstate(USER, LATER + SECOND)
    assert not people.reinstate(USER, LATER + SECOND)
    assert not people.deregister(USER, LATER)  # a replay
    assert statuses(people)[USER][1] == before


def test_what_was_found_out_before_the_last_deregistration_does_not_take_it_back(people: IdMap) -> None:
    people.add(USER, "P1")
    assert people.deregister(USER, LATER)
    assert not people.deregister(USER, LATER + 5 * SECOND)
    assert not people.reinstate(USER, LATER + 2 * SECOND)
    assert people.reinstate(USER, LATER + 6 * SECOND)


def permissions(people: IdMap, user: str = USER) -> tuple[str, ...] | None:
    found = people.get(user)
    assert found is not None
    return found.permissions


def test_an_announced_change_takes_away_at_once_and_never_gives(people: IdMap) -> None:
    people.add(USER, "P1")
    assert people.narrow_permissions(USER, ALL, LATER)
    assert people.narrow_permissions(USER, NO_HEALTH, LATER + SECOND)
    assert not people.narrow_permissions(USER, ALL, LATER + 2 * SECOND)
    assert permissions(people) == NO_HEALTH
    assert people.narrow_permissions(USER, [], LATER + 3 * SECOND)
    assert permissions(people) == ()
    assert whats(people, "P1")[1:] == [
        "permissions: ACTIVITY_EXPORT, HEALTH_EXPORT",
        "permissions: ACTIVITY_EXPORT",
        "permissions: nothing",
    ]


def test_what_garmin_confirms_counts_until_a_later_change_is_announced(people: IdMap) -> None:
    people.add(USER, "P1")
    people.narrow_permissions(USER, [], LATER)
    assert people.confirm_permissions(USER, ALL[::-1], LATER + 5 * SECOND)
    assert permissions(people) == ALL
    assert not people.narrow_permissions(USER, [], LATER)  # a replay
    assert not people.confirm_permissions(USER, [], LATER + 4 * SECOND)
    assert permissions(people) == ALL
    found = people.get(USER)
    assert found is not None
    assert datetime.fromisoformat(found.permissions_at) - LATER - 5 * SECOND < SECOND
    assert people.narrow_permissions(USER, NO_HEALTH, LATER + 6 * SECOND)
    assert permissions(people) == NO_HEALTH


def test_announced_changes_end_the_same_in_whatever_order_they_come(people: IdMap) -> None:
    changes = [(ALL, LATER), (NO_HEALTH, LATER + SECOND), ((*NO_HEALTH, "OTHER"), LATER), (ALL, LATER + 9 * SECOND)]
    for user, order in enumerate(itertools.permutations(changes)):
        people.seen([f"user-{user}"], EARLIER)
        for change in (*order, *order):  # and a replay
            people.narrow_permissions(f"user-{user}", *change)
    assert {one.permissions for one in people.list()} == {NO_HEALTH}


def test_the_same_permissions_confirmed_again_are_no_change_but_make_older_ones_void(people: IdMap) -> None:
    people.add(USER, "P1")
    assert people.confirm_permissions(USER, ALL, LATER)
    assert not people.confirm_permissions(USER, ALL[::-1], LATER + 9 * SECOND)
    assert not people.narrow_permissions(USER, NO_HEALTH, LATER + 5 * SECOND)
    assert whats(people, "P1") == ["active", "permissions: ACTIVITY_EXPORT, HEALTH_EXPORT"]
    assert people.narrow_permissions(USER, [], LATER + 10 * SECOND)
    found = people.get(USER)
    assert found is not None
    assert (found.permissions, found.may_be_used) == ((), False)
    assert whats(people, "P1")[-1] == "permissions: nothing"


def test_nobody_s_permissions_are_confirmed(people: IdMap) -> None:
    assert not people.confirm_permissions(USER, ALL, LATER)
    assert people.list() == []


def test_permissions_that_are_no_names_of_garmin_s_reach_neither_map_nor_history(people: IdMap) -> None:
    people.add(USER, "P1")
    assert people.narrow_permissions(USER, [USER, "HEALTH_EXPORT", "", "a b", "\ud800", "HEALTH_EXPORT"], LATER)
    assert whats(people, "P1")[-1] == "permissions: HEALTH_EXPORT"


def test_a_pending_user_s_permissions_stay_when_they_are_enrolled_and_a_stranger_has_none(people: IdMap) -> None:
    assert not people.narrow_permissions(USER, NO_HEALTH, EARLIER)
    assert people.list() == []
    people.seen([USER], EARLIER)
    assert people.narrow_permissions(USER, NO_HEALTH, EARLIER)
    people.add(USER, "P1")
    found = people.get(USER)
    assert found is not None
    assert (found.permissions, found.withheld) == (NO_HEALTH, {"HEALTH_EXPORT"})


def test_changes_of_one_user_from_many_threads_all_count(people: IdMap) -> None:
    people.add(USER, "P1")
    steps = [f"A_{'x' * n}" for n in range(12)]

    def change(number: int) -> bool:
        return people.confirm_permissions(USER, [steps[number]], LATER + number * SECOND)

    order = random.Random(3).sample(range(12), 12)
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(change, order))
    found = people.get(USER)
    assert found is not None
    assert found.permissions == (steps[11],)
    assert len(whats(people, "P1")) == 1 + sum(applied)


# -- who pushed, and when


def seen_at(people: IdMap) -> dict[str, str]:
    return {one.garmin_user_id: one.seen_at[:19] for one in people.list()}


def test_when_a_user_last_pushed_is_known_to_the_hour_and_never_goes_back(people: IdMap) -> None:
    noon = datetime(2026, 11, 16, 12, tzinfo=UTC)
    people.add(USER, "P1")
    assert seen_at(people) == {USER: ""}
    for minutes, shown in ((0, "12:00"), (59, "12:00"), (60, "13:00"), (-600, "13:00"), (200, "15:20")):
        assert people.seen([USER], noon + timedelta(minutes=minutes)) == 0
        assert seen_at(people) == {USER: f"2026-11-16T{shown}:00"}
    people.revoke("P1")
    assert statuses(people) == {USER: ("P1", "revoked")}
    assert seen_at(people) == {USER: "2026-11-16T15:20:00"}


def test_a_user_who_is_new_was_seen_then_and_stays_so_when_enrolled(people: IdMap) -> None:
    noon = datetime(2026, 11, 16, 12, tzinfo=UTC)
    assert people.seen([USER, OTHER, USER], noon) == 2
    people.add(USER, "P1")
    assert seen_at(people) == {USER: "2026-11-16T12:00:00", OTHER: "2026-11-16T12:00:00"}
