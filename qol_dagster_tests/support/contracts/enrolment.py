"""What every form of the enrolment state does, by the fixtures `state`, `invitations`, `sign_ins` and `clock`."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qol_ingest.consent.enrolment import (
    CLAIM_S,
    SIGN_IN_S,
    WRONG_CODES,
    WRONG_CODES_S,
    Invitation,
    InvitationError,
    Invitations,
    SignIn,
    SignIns,
    read_code,
)
from qol_ingest.consent.state import EnrolmentState, EnrolmentStateError, Entry
from qol_ingest.survey.links import SurveyLinks

NOW = 1_800_000_000.0
DAY_S = 86_400.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def together(number: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` gives to so many threads at a time."""
    barrier = threading.Barrier(number)

    def start(one: int) -> Any:
        barrier.wait()
        return work(one)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(start, range(number)))


# -- where it is kept


def test_a_record_is_kept_only_on_top_of_the_one_that_was_seen(state: EnrolmentState) -> None:
    assert state.get("kind", "a") is None
    assert state.entries("kind") == []
    assert not state.put("kind", "a", {"n": 0}, 1, NOW + 1)
    assert state.put("kind", "a", {"n": 1, "text": "日本"}, 0, NOW + 1)
    assert not state.put("kind", "a", {"n": 2}, 0, NOW + 1)
    first = state.get("kind", "a")
    assert first == Entry({"n": 1, "text": "日本"}, 1)
    assert state.put("kind", "a", {"n": 2}, 1, NOW + 1)
    assert not state.put("kind", "a", {"n": 3}, 1, NOW + 1)
    assert state.get("kind", "a") == Entry({"n": 2}, 2)
    assert state.get("other", "a") is None


def test_all_records_of_a_kind_are_listed(state: EnrolmentState) -> None:
    for name in "cab":
        state.put("kind", name, {"is": name}, 0, NOW + 1)
        state.put("other", name, {}, 0, NOW + 1)
    assert state.entries("kind") == [(name, Entry({"is": name}, 1)) for name in "abc"]


def test_of_many_writers_on_top_of_one_record_one_succeeds(state: EnrolmentState) -> None:
    for version in (0, 1):
        done = together(8, lambda number, version=version: state.put("kind", "a", {"n": number}, version, NOW + 1))
        assert done.count(True) == 1
        assert state.get("kind", "a") == Entry({"n": done.index(True)}, version + 1)


# -- codes


def test_a_code_can_be_typed_and_cannot_be_guessed(invitations: Invitations) -> None:
    codes = [invitations.invite(f"P{number}") for number in range(50)]
    assert all(re.fullmatch(r"[A-Z2-9]{4}(-[A-Z2-9]{4}){3}", code) for code in codes)
    letters = set("".join(codes)) - {"-"}
    assert not letters & set("01ILOBSUZ")
    assert 16 * math.log2(len(letters)) >= 70
    assert len(set(codes)) == 50


@pytest.mark.parametrize("participant_id", ["", " ", "-a", "a b", "a/b", "あ", "x" * 65, "P1\n"])
def test_nobody_is_invited_who_could_not_be_enrolled(invitations: Invitations, participant_id: str) -> None:
    with pytest.raises(InvitationError, match="cannot be a participant id"):
        invitations.invite(participant_id)
    assert invitations.open() == []


def test_an_invitation_must_last(invitations: Invitations) -> None:
    for valid_for in (timedelta(), timedelta(seconds=-1)):
        with pytest.raises(InvitationError, match="valid for some time"):
            invitations.invite("P1", valid_for)


# -- invitations


def refusal(invitations: Invitations, code: str, visitor: str = "") -> InvitationError:
    with pytest.raises(InvitationError) as caught:
        invitations.find(code, visitor)
    return caught.value


def test_a_code_leads_to_its_participant_as_often_as_it_is_looked_at(invitations: Invitations) -> None:
    codes = {name: invitations.invite(name) for name in ("P1", "P2")}
    for _ in range(2):
        assert {name: invitations.find(code) for name, code in codes.items()} == {"P1": "P1", "P2": "P2"}


def test_a_code_lasts_two_weeks_if_nothing_else_is_said(invitations: Invitations, clock: Clock) -> None:
    code = invitations.invite("P1")
    clock.now += 14 * DAY_S - 1
    assert invitations.find(code) == "P1"
    clock.now += 1
    assert refusal(invitations, code).refusal == "expired"
    assert invitations.open() == []
    clock.now += 100 * DAY_S
    invitations.invite("P2")  # tidies up
    assert refusal(invitations, code).refusal == "expired"


def test_an_invitation_may_last_longer_than_it_is_remembered(invitations: Invitations, clock: Clock) -> None:
    code = invitations.invite("P1", timedelta(days=400))
    clock.now += 399 * DAY_S
    invitations.invite("P2")
    assert invitations.find(code) == "P1"


def test_open_invitations_are_listed_without_their_codes(invitations: Invitations, clock: Clock) -> None:
    late, early = invitations.invite("P2", timedelta(days=1)), invitations.invite("P1")
    begun = datetime.fromtimestamp(NOW, UTC)
    listed = invitations.open()
    assert listed == [
        Invitation("P1", begun, begun + timedelta(days=14)),
        Invitation("P2", begun, begun + timedelta(days=1)),
    ]
    assert not any(code in repr(listed) for code in (late, early, read_code(late), read_code(early)))


def test_a_new_invitation_voids_the_older_one_of_this_participant_alone(invitations: Invitations) -> None:
    other, old = invitations.invite("P2"), invitations.invite("P1")
    new = invitations.invite("P1")
    assert refusal(invitations, old).refusal == "expired"
    assert (invitations.find(new), invitations.find(other)) == ("P1", "P2")
    assert [one.participant_id for one in invitations.open()] == ["P1", "P2"]


def test_an_invitation_can_be_withdrawn_once(invitations: Invitations) -> None:
    code = invitations.invite("P1")
    assert [invitations.withdraw(name) for name in ("P1", "P1", "P2")] == [True, False, False]
    assert refusal(invitations, code).refusal == "expired"
    assert invitations.open() == []


def test_no_code_is_kept(invitations: Invitations, state: EnrolmentState) -> None:
    code = invitations.invite("P1")
    kept = str([state.entries(kind) for kind in ("code", "invitation", "guesses")])
    assert "P1" in kept
    assert code not in kept
    assert read_code(code) not in kept


def test_two_staff_members_who_invite_at_once_leave_one_code_that_works(invitations: Invitations) -> None:
    codes = together(6, lambda _number: invitations.invite("P1"))
    refusals = []
    for code in codes:
        try:
            assert invitations.find(code) == "P1"
        except InvitationError as error:
            refusals.append(error.refusal)
    assert refusals == ["expired"] * 5
    assert len(invitations.open()) == 1


# -- guessing


def wrong(number: int) -> str:
    return f"{number:016d}".translate(str.maketrans("01", "XY"))


def test_many_wrong_codes_of_one_visitor_are_refused_for_a_while_and_a_right_one_never(
    invitations: Invitations, clock: Clock, state: EnrolmentState
) -> None:
    code = invitations.invite("P1")
    for _ in range(2):
        for number in range(WRONG_CODES):
            assert refusal(invitations, wrong(number), "guesser").refusal == "unknown"
            clock.now += 1
        stopped = refusal(invitations, wrong(0), "guesser")
        assert (stopped.refusal, stopped.retry_after_s) == ("too many", WRONG_CODES_S - WRONG_CODES)
        before = state.entries("guesses")
        assert refusal(invitations, wrong(1), "guesser").refusal == "too many"
        assert state.entries("guesses") == before
        assert invitations.find(code, "guesser") == "P1"
        clock.now += stopped.retry_after_s


def test_one_visitor_s_wrong_codes_stop_no_other(invitations: Invitations) -> None:
    for number in range(WRONG_CODES + 1):
        refusal(invitations, wrong(number), "guesser")
    assert refusal(invitations, wrong(1), "somebody").refusal == "unknown"


def test_wrong_codes_now_and_then_stop_nobody(invitations: Invitations, clock: Clock) -> None:
    for _ in range(3 * WRONG_CODES):
        assert refusal(invitations, "X" * 16).refusal == "unknown"
        clock.now += WRONG_CODES_S / (WRONG_CODES - 2)


def test_what_cannot_be_a_code_is_not_counted_as_a_guess(invitations: Invitations, state: EnrolmentState) -> None:
    assert refusal(invitations, "admin").refusal == "unknown"
    assert state.entries("guesses") == []


def test_wrong_codes_at_the_same_time_are_all_counted(invitations: Invitations, state: EnrolmentState) -> None:
    together(5, lambda _number: refusal(invitations, "X" * 16))
    assert [entry.content["wrong"] for _, entry in state.entries("guesses")] == [5]


# -- a sign-in and its code


def begin(invitations: Invitations, sign_ins: SignIns, code: str, browser: str = "browser") -> SignIn:
    """A participant has come back from Garmin."""
    state, _ = sign_ins.begin(invitations.find(code), code, browser)
    sign_in = sign_ins.take(state, browser)
    assert sign_in
    return sign_in


def test_a_code_is_claimed_by_one_of_many(invitations: Invitations, sign_ins: SignIns) -> None:
    code = invitations.invite("P1")
    waiting = [begin(invitations, sign_ins, code, f"browser {number}") for number in range(6)]
    assert together(6, lambda number: invitations.claim(waiting[number])).count(True) == 1


def test_a_claim_ends_by_itself_by_being_given_back_or_with_the_code(
    invitations: Invitations, sign_ins: SignIns, clock: Clock
) -> None:
    code = invitations.invite("P1")
    sign_in = begin(invitations, sign_ins, code)
    assert [invitations.claim(sign_in), invitations.claim(sign_in)] == [True, False]
    assert invitations.find(code) == "P1"
    clock.now += CLAIM_S
    assert [invitations.claim(sign_in), invitations.claim(sign_in)] == [True, False]
    invitations.release(sign_in)
    assert invitations.claim(sign_in)
    invitations.use(sign_in)
    clock.now += CLAIM_S
    with pytest.raises(InvitationError, match="used") as caught:
        invitations.claim(sign_in)
    assert caught.value.refusal == refusal(invitations, code).refusal == "used"
    assert invitations.open() == []
    assert not invitations.withdraw("P1")


def test_an_older_sign_in_neither_claims_nor_uses_up_a_newer_invitation(
    invitations: Invitations, sign_ins: SignIns
) -> None:
    sign_in = begin(invitations, sign_ins, invitations.invite("P1"))
    new = invitations.invite("P1")
    with pytest.raises(InvitationError, match="newer") as caught:
        invitations.claim(sign_in)
    assert caught.value.refusal == "expired"
    assert invitations.claim(begin(invitations, sign_ins, new))
    invitations.release(sign_in)
    assert not invitations.claim(begin(invitations, sign_ins, new))
    invitations.use(sign_in)
    assert invitations.find(new) == "P1"


# -- sign-ins


def test_a_sign_in_is_taken_once_by_the_browser_that_began_it(sign_ins: SignIns) -> None:
    state, verifier = sign_ins.begin("P1", "ACDE-FGHJ-KMNP-2345", "browser")
    assert re.fullmatch("[A-Za-z0-9_-]{43,128}", verifier)
    assert sign_ins.take(state, "another") is None
    assert sign_ins.take(state, "") is None
    assert sign_ins.take("another", "browser") is None
    assert sign_ins.take("\ud83d", "\ud83d") is None
    taken = sign_ins.take(state, "browser")
    assert taken
    assert (taken.participant_id, taken.verifier, taken.done) == ("P1", verifier, False)
    assert sign_ins.take(state, "browser") is None


def test_of_many_who_take_a_sign_in_at_once_one_gets_it(sign_ins: SignIns) -> None:
    state, _ = sign_ins.begin("P1", "ACDE-FGHJ-KMNP-2345", "browser")
    taken = together(6, lambda _number: sign_ins.take(state, "browser"))
    assert len([one for one in taken if one]) == 1


def test_a_sign_in_is_over_after_ten_minutes(sign_ins: SignIns, clock: Clock) -> None:
    states = [sign_ins.begin("P1", "ACDE-FGHJ-KMNP-2345", "browser")[0] for _ in range(2)]
    clock.now += SIGN_IN_S - 1
    assert sign_ins.take(states[0], "browser")
    clock.now += 1
    assert sign_ins.take(states[1], "browser") is None


def test_a_sign_in_that_is_done_can_be_shown_again_without_its_verifier(sign_ins: SignIns, clock: Clock) -> None:
    state, _ = sign_ins.begin("P1", "ACDE-FGHJ-KMNP-2345", "browser")
    taken = sign_ins.take(state, "browser")
    assert taken
    sign_ins.finish(taken)
    for _ in range(2):
        again = sign_ins.take(state, "browser")
        assert again
        assert (again.done, again.verifier) == (True, "")
    assert sign_ins.take(state, "another") is None
    clock.now += SIGN_IN_S
    assert sign_ins.take(state, "browser") is None
    sign_ins.finish(taken)


def test_neither_state_nor_cookie_is_kept_and_the_verifier_no_longer_than_needed(
    sign_ins: SignIns, state: EnrolmentState
) -> None:
    secret, verifier = sign_ins.begin("P1", "ACDE-FGHJ-KMNP-2345", "the-browser")
    kept = str(state.entries("sign-in"))
    assert not any(one in kept for one in (secret, "the-browser", "ACDE", "2345"))
    assert verifier in kept
    sign_ins.take(secret, "the-browser")
    assert verifier not in str(state.entries("sign-in"))


def test_a_sign_in_shows_its_verifier_to_nobody(sign_ins: SignIns) -> None:
    state, verifier = sign_ins.begin("P1", "ACDE-FGHJ-KMNP-2345", "browser")
    assert verifier not in repr(sign_ins.take(state, "browser"))


def test_an_invitation_that_others_change_all_the_time_is_given_up(
    invitations: Invitations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(_self: object, _kind: str, _name: str, _content: Mapping[str, Any], *_: object) -> bool:
        return False

    monkeypatch.setattr(type(invitations.state), "put", lose)
    with pytest.raises(EnrolmentStateError, match="try again"):
        invitations.invite("P1")


# -- forms that are being answered


def test_a_form_goes_on_where_it_was_left_and_is_emptied_when_it_is_finished(
    state: EnrolmentState, clock: Clock
) -> None:
    links = SurveyLinks(state, clock)
    code, _ = links.invite("P1", 2)
    assert not links.save(links.find(code), {1: 4, 2: None}, 1, pages=2)
    again = links.find(code)
    assert (again.participant_id, again.wave, again.answers, again.sent) == ("P1", 2, {1: 4, 2: None}, {1})
    assert (links.begun(), links.linked(), links.finished()) == ({("P1", 2)}, {("P1", 2)}, set())
    newer, _ = links.invite("P1", 2)
    with pytest.raises(InvitationError, match="newer link"):
        links.find(code)
    assert links.save(links.find(newer), {3: 5}, 2, pages=2)
    assert (links.begun(), links.linked(), links.finished()) == (set(), set(), {("P1", 2)})
    entry = state.get("survey", "P1.2")
    assert entry is not None
    assert entry.content["answers"] == {}


def test_of_who_withdraws_no_link_leads_anywhere_and_no_answer_is_left(state: EnrolmentState, clock: Clock) -> None:
    links = SurveyLinks(state, clock)
    (code, _), (other, _) = links.invite("P1", 0), links.invite("P2", 0)
    links.save(links.find(code), {1: 4}, 1)
    links.withdraw("P1")
    with pytest.raises(InvitationError) as refused:
        links.find(code)
    assert refused.value.refusal == "expired"
    assert not any(entry.content["answers"] for _, entry in state.entries("survey"))
    assert links.find(other).participant_id == "P2"
