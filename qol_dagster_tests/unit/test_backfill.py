"""Old data: how a range becomes requests, what is remembered, and how long Garmin is waited for."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qol_ingest.garmin.api import BackfillAnswer, GarminApiError
from qol_ingest.garmin.tokens import ConsentNeededError
from qol_ingest.pulling.backfill import (
    TYPES,
    Account,
    BackfillError,
    Piece,
    Report,
    Step,
    accounts,
    plan,
    read_type,
    run,
    without,
)
from qol_ingest.shared.id_map_sqlite import SqliteIdMap
from qol_ingest.shared.stores import DirectoryStore, StoreError

TODAY = date(2026, 11, 24)
NOON_S = datetime(2026, 11, 24, 3, tzinfo=UTC).timestamp()
DAY_S, JAPAN_S = 86_400, 9 * 3600
USER = "4aacafe82427c251df9c9592d0c06768"
SECOND_USER = "ffeeddccbbaa99887766554433221100"
ME = Account(USER, "P0001")
ACTIVITY = {"activities", "activityDetails", "moveIQActivities"}

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
dates = st.dates(date(2010, 1, 1), TODAY)
near = st.dates(TODAY - timedelta(days=100), TODAY)
some_types = st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True)


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


# -- the plan


@unhurried
@given(some_types, dates, dates)
def test_the_pieces_of_a_plan_are_the_range_without_gap_or_overlap_and_within_garmin_s_limits(
    kinds: list[str], one: date, other: date
) -> None:
    since, until = sorted((one, other))
    pieces = plan(kinds, since, until, TODAY)
    for kind in kinds:
        covered = Counter(day for piece in pieces if piece.type == kind for day in days(piece.since, piece.until))
        assert covered == Counter(days(since, until))
    for piece in pieces:
        limit_days = 30 if piece.type in ACTIVITY else 90
        assert 0 < piece.end_s - piece.start_s <= limit_days * DAY_S
    assert [piece.until for piece in pieces] == sorted((piece.until for piece in pieces), reverse=True)


@unhurried
@given(dates, dates, dates, dates)
def test_a_longer_range_is_cut_at_the_same_places(a: date, b: date, c: date, d: date) -> None:
    first, since, until, last = sorted((a, b, c, d))
    inner, outer = plan(["dailies"], since, until, TODAY), plan(["dailies"], first, last, TODAY)
    cuts = {piece.since for piece in outer if since < piece.since <= until}
    assert {piece.since for piece in inner} == cuts | {since}


@unhurried
@given(near, near, st.lists(st.tuples(near, near)))
def test_what_is_left_to_ask_is_the_piece_without_what_was_asked(
    one: date, other: date, pairs: list[tuple[date, date]]
) -> None:
    since, until = sorted((one, other))
    asked = [(min(pair), max(pair)) for pair in pairs]
    left = list(without(Piece("dailies", since, until), asked))
    covered = Counter(day for piece in left for day in days(piece.since, piece.until))
    gone = {day for first, last in asked for day in days(max(first, since), min(last, until))}
    assert covered == Counter(set(days(since, until)) - gone)
    assert all(left[n].since > left[n + 1].until for n in range(len(left) - 1))


def test_a_piece_begins_and_ends_at_midnight_in_japan_and_is_asked_for_in_the_path_s_spelling() -> None:
    piece = Piece("allDayRespiration", date(2026, 1, 1), date(2026, 1, 2))
    assert piece.start_s == datetime(2025, 12, 31, 15, tzinfo=UTC).timestamp()
    assert piece.end_s == datetime(2026, 1, 2, 15, tzinfo=UTC).timestamp()
    assert piece.path == "respiration"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("dailies", "dailies"),
        (" Dailies ", "dailies"),
        ("pulseOx", "pulseox"),
        ("pulseox", "pulseox"),
        ("respiration", "allDayRespiration"),
        ("allDayRespiration", "allDayRespiration"),
        ("moveiq", "moveIQActivities"),
        ("moveIQActivities", "moveIQActivities"),
    ],
)
def test_a_type_may_be_given_in_either_of_its_spellings(text: str, kind: str) -> None:
    assert read_type(text) == kind


def test_a_type_asked_for_twice_is_planned_once_and_no_type_means_all() -> None:
    assert len(plan(["pulseox", "pulseOx"], TODAY, TODAY, TODAY)) == 1
    assert {piece.type for piece in plan([], TODAY, TODAY, TODAY)} == set(TYPES)


@pytest.mark.parametrize(
    ("kinds", "since", "until", "says"),
    [
        (["steps"], TODAY, TODAY, "there is no type 'steps' to ask for; there are dailies, sleeps"),
        (["activityFiles"], TODAY, TODAY, "there is no type 'activityFiles'"),
        ([], TODAY, TODAY - timedelta(days=1), "since 2026-11-24 is after until 2026-11-23; swap them"),
        ([], TODAY, TODAY + timedelta(days=1), "2026-11-25 is in the future; 2026-11-24 is the last possible date"),
        ([], date(2009, 12, 31), TODAY, "since 2009-12-31 is before 2010-01-01"),
    ],
)
def test_what_cannot_be_asked_for_is_an_error_that_says_why(
    kinds: list[str], since: date, until: date, says: str
) -> None:
    with pytest.raises(BackfillError, match=says):
        plan(kinds, since, until, TODAY)


# -- whom to ask about


def test_each_garmin_account_of_a_participant_is_asked_under_a_number_that_stays(tmp_path: Path) -> None:
    people = SqliteIdMap(tmp_path / "map.sqlite")
    people.add(SECOND_USER, "P0001")
    people.add("someone-else", "P0002")
    assert [(one.user, one.number) for one in accounts(people, "P0001")] == [(SECOND_USER, 1)]
    people.add(USER, "P0001")
    assert [(one.user, one.number) for one in accounts(people, "P0001")] == [(SECOND_USER, 1), (USER, 2)]
    people.deregister(SECOND_USER, datetime.now(UTC) + timedelta(minutes=1))
    assert [(one.user, one.number) for one in accounts(people, "P0001")] == [(USER, 2)]
    assert USER not in str(accounts(people, "P0001"))


def test_nobody_is_asked_about_who_is_not_a_participant_or_not_any_more(tmp_path: Path) -> None:
    people = SqliteIdMap(tmp_path / "map.sqlite")
    people.add(USER, "P0001")
    people.seen([SECOND_USER], datetime.now(UTC))
    people.revoke("P0001")
    with pytest.raises(BackfillError, match="P0001 is revoked"):
        accounts(people, "P0001")
    for nobody in ("P0002", ""):
        with pytest.raises(BackfillError, match="there is no participant"):
            accounts(people, nobody)


# -- asking


@dataclass
class Garmin:
    """Answers backfill requests in turn, the last answer for ever; time passes by sleeping and asking alone."""

    answers: list[Any] = field(default_factory=lambda: ["accepted"])
    asked: list[tuple[str, str, int, int]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    now: float = NOON_S
    takes_s: float = 0.25

    def backfill(self, user: str, kind: str, start_s: int, end_s: int) -> BackfillAnswer:
        self.asked.append((user, kind, start_s, end_s))
        self.at.append(self.now)
        self.now += self.takes_s
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, BackfillAnswer) else BackfillAnswer(answer)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


WAIT = BackfillAnswer("wait", 7.0)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


@pytest.fixture
def ask(store: DirectoryStore) -> Callable[..., Report]:
    def ask(garmin: Garmin, pieces: list[Piece], *people: Account, store: Any = store, **more: Any) -> Report:
        given: dict[str, Any] = {"sleep": garmin.sleep, "clock": lambda: garmin.now, "chance": lambda: 0.0, **more}
        return run(garmin, store, people or (ME,), pieces, **given)  # type: ignore[arg-type]

    return ask


def dailies(since: date, until: date) -> list[Piece]:
    return plan(["dailies"], since, until, TODAY)


def test_what_was_accepted_is_never_asked_again_however_the_ranges_overlap(ask: Callable[..., Report]) -> None:
    garmin = Garmin()
    ranges = [((2025, 3, 5), (2025, 8, 20)), ((2025, 1, 1), (2025, 4, 1)), ((2024, 12, 1), (2026, 2, 3))]
    for since, until in ranges:
        assert ask(garmin, dailies(date(*since), date(*until))).complete
    covered = Counter(
        day
        for _, _, start_s, end_s in garmin.asked
        for day in range((start_s + JAPAN_S) // DAY_S, (end_s + JAPAN_S) // DAY_S)
    )
    assert set(covered.values()) == {1}
    assert len(covered) == len(days(date(2024, 12, 1), date(2026, 2, 3)))


def test_a_range_that_is_remembered_whole_needs_no_request(ask: Callable[..., Report], store: DirectoryStore) -> None:
    pieces = dailies(date(2026, 1, 1), date(2026, 6, 30))
    assert ask(Garmin(), pieces) == Report(asked=len(pieces))
    garmin = Garmin()
    assert ask(garmin, pieces) == Report(already=len(pieces))
    assert garmin.asked == []
    assert ask(garmin, pieces, again=True) == Report(asked=len(pieces))
    keys = sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*.json"))
    assert keys[0] == "raw/backfills/participant=P0001/account=1/dailies/0001.json"
    assert len(keys) == 2 * len(pieces)
    kept = [json.loads((store.root / key).read_text()) for key in keys]
    at = datetime.fromtimestamp(NOON_S + 0.25, UTC).isoformat()
    first = {"since": pieces[0].since.isoformat(), "until": "2026-06-30", "outcome": "accepted", "at": at}
    assert kept[0] == first
    assert USER not in "".join(keys) + json.dumps(kept)


def test_garmin_s_already_asked_counts_as_done_and_is_remembered(ask: Callable[..., Report]) -> None:
    pieces = dailies(date(2026, 6, 1), date(2026, 6, 3))
    assert ask(Garmin(["already"]), pieces) == Report(already=1)
    garmin = Garmin()
    assert ask(garmin, pieces) == Report(already=1)
    assert garmin.asked == []


def test_killed_after_garmin_s_yes_and_before_the_note_it_asks_once_more_and_no_other_piece_twice(
    ask: Callable[..., Report], store: DirectoryStore
) -> None:
    class Dying:
        notes = 0

        def get(self, key: str) -> bytes | None:
            return store.get(key)

        def put_new(self, key: str, content: bytes) -> bool:
            self.notes += 1
            if self.notes == 3:
                raise StoreError("killed here")
            return store.put_new(key, content)

    pieces, garmin = dailies(date(2024, 1, 1), date(2025, 12, 31)), Garmin()
    with pytest.raises(StoreError):
        ask(garmin, pieces, store=Dying())
    assert len(garmin.asked) == 3
    assert ask(garmin, pieces) == Report(asked=len(pieces) - 2, already=2)
    assert sorted(Counter(garmin.asked).values())[-2:] == [1, 2]


def test_two_at_a_time_lose_none_of_each_other_s_notes(ask: Callable[..., Report], store: DirectoryStore) -> None:
    pieces = dailies(date(2025, 1, 1), date(2025, 12, 31))

    class Twin(Garmin):
        def backfill(self, *request: Any) -> BackfillAnswer:
            if len(self.asked) == 1:
                assert ask(Garmin(["already"]), pieces).complete
            return super().backfill(*request)

    ask(Twin(), pieces)
    garmin = Garmin()
    assert ask(garmin, pieces).already == len(pieces)
    assert garmin.asked == []


def test_a_note_that_cannot_be_read_is_asked_for_again_and_hides_no_other(
    ask: Callable[..., Report], store: DirectoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    pieces = dailies(date(2025, 1, 1), date(2025, 12, 31))
    ask(Garmin(), pieces)
    (store.root / "raw/backfills/participant=P0001/account=1/dailies/0002.json").write_text("[")
    garmin = Garmin()
    assert ask(garmin, pieces) == Report(asked=1, already=len(pieces) - 1)
    assert "asked for again" in caplog.text
    assert ask(garmin, pieces).already == len(pieces)


def test_each_account_is_asked_and_remembered_for_itself_the_newest_of_all_first(ask: Callable[..., Report]) -> None:
    pieces, garmin = dailies(date(2026, 1, 1), date(2026, 6, 30)), Garmin()
    people = (ME, Account(SECOND_USER, "P0001", 2))
    assert ask(garmin, pieces, people[0]).asked == len(pieces)
    assert ask(garmin, pieces, *people) == Report(asked=len(pieces), already=len(pieces))
    assert Counter(one[0] for one in garmin.asked) == {USER: len(pieces), SECOND_USER: len(pieces)}
    garmin = Garmin()
    ask(garmin, pieces, *people, again=True)
    assert [one[3] for one in garmin.asked] == sorted((one[3] for one in garmin.asked), reverse=True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("forbidden", "HISTORICAL_DATA_EXPORT"),
        ("off", "this type is not allowed"),
        (GarminApiError("Garmin answered 400 to backfill/dailies", 400), "400 to backfill/dailies: too old for Garmin"),
        (GarminApiError("Garmin answered 401 to oauth/token", 401), "401 to oauth/token$"),
        (ConsentNeededError("P0001 has to connect to Garmin again"), "P0001 has to connect"),
    ],
)
def test_a_refused_type_is_told_with_its_reason_and_not_asked_for_further_back(
    ask: Callable[..., Report], answer: Any, reason: str
) -> None:
    pieces = plan(["dailies", "sleeps"], date(2025, 1, 1), TODAY, TODAY)
    garmin = Garmin(["accepted", "accepted", answer, "accepted"])
    report = ask(garmin, pieces)
    (refusal,) = report.refused
    assert [one[1] for one in garmin.asked].count("dailies") == 2
    assert (refusal.type, refusal.pieces, refusal.until) == ("dailies", len(pieces) // 2 - 1, pieces[2].until)
    assert re.search(reason, refusal.reason)
    assert report.asked == len(pieces) // 2 + 1
    assert report.complete
    assert ask(Garmin(), pieces).asked == refusal.pieces  # nothing of a refusal is remembered


@pytest.mark.parametrize(
    ("permissions", "asked"),
    [
        (None, {"dailies", "activities", "mct"}),
        (("HEALTH_EXPORT",), {"dailies"}),
        (("ACTIVITY_EXPORT", "MCT_EXPORT"), {"activities", "mct"}),
        ((), set()),
    ],
)
def test_a_type_that_is_not_permitted_is_refused_without_asking_garmin(
    ask: Callable[..., Report], permissions: tuple[str, ...] | None, asked: set[str]
) -> None:
    garmin = Garmin()
    pieces = plan(["dailies", "activities", "mct"], TODAY, TODAY, TODAY)
    report = ask(garmin, pieces, replace(ME, permissions=permissions))
    assert {one[1] for one in garmin.asked} == asked
    assert {one.type for one in report.refused} == {"dailies", "activities", "mct"} - asked
    assert {one.reason for one in report.refused} <= {"this type is not allowed by the participant"}


def test_requests_keep_their_distance(ask: Callable[..., Report]) -> None:
    garmin = Garmin()
    ask(garmin, dailies(date(2025, 1, 1), date(2025, 12, 31)), spacing_s=2.0)
    assert {later - earlier for earlier, later in zip(garmin.at, garmin.at[1:], strict=False)} == {2.0}


def test_an_end_in_the_future_is_cut_to_now(ask: Callable[..., Report]) -> None:
    garmin = Garmin()
    ask(garmin, dailies(TODAY, TODAY))
    assert garmin.asked == [(USER, "dailies", int(NOON_S) - 12 * 3600, int(NOON_S))]


def test_garmin_s_wait_is_kept_and_grows_until_the_next_yes(ask: Callable[..., Report]) -> None:
    garmin = Garmin([WAIT, WAIT, WAIT, "accepted", WAIT, "accepted"])
    seen: list[Step] = []
    report = ask(garmin, dailies(date(2026, 1, 1), date(2026, 6, 30)), on_progress=seen.append, spacing_s=0.0)
    assert garmin.slept == [7.0, 14.0, 28.0, 7.0]
    assert report.complete
    assert report.asked == len({(step.piece.since) for step in seen})
    assert seen[0].what == "waiting 7 s: Garmin wants fewer requests"
    assert [(step.done, step.total) for step in seen if step.what == "asked"] == [(1, 3), (2, 3), (3, 3)]
    assert USER not in str(seen)


def test_a_pause_is_jittered_upwards_alone(ask: Callable[..., Report]) -> None:
    garmin = Garmin([WAIT, "accepted"])
    ask(garmin, dailies(TODAY, TODAY), chance=lambda: 1.0)
    assert garmin.slept == [8.75]


@pytest.mark.parametrize(
    "trouble", [WAIT, GarminApiError("Garmin could not be asked for backfill/dailies: TimeoutError")]
)
def test_when_patience_ends_the_report_says_what_waits_and_the_same_again_goes_on(
    ask: Callable[..., Report], trouble: Any
) -> None:
    pieces = dailies(date(2025, 1, 1), date(2025, 12, 31))
    garmin = Garmin(["accepted", trouble])
    report = ask(garmin, pieces, patience_s=100.0)
    assert (report.asked, report.waiting, report.complete) == (1, len(pieces) - 1, False)
    assert report.why_waiting
    assert sum(garmin.slept) < 110
    assert ask(Garmin(), pieces) == Report(asked=len(pieces) - 1, already=1)


def test_a_wait_longer_than_our_patience_is_not_begun(ask: Callable[..., Report]) -> None:
    garmin = Garmin([BackfillAnswer("wait", 3600.0)])
    assert ask(garmin, dailies(TODAY, TODAY), patience_s=60.0).waiting == 1
    assert garmin.slept == []


def test_what_garmin_asks_for_is_never_cut_short(ask: Callable[..., Report]) -> None:
    garmin = Garmin([BackfillAnswer("wait", 2000.0), "accepted"])
    assert ask(garmin, dailies(TODAY, TODAY), patience_s=3600.0) == Report(asked=1)
    assert garmin.slept == [2000.0]


def test_an_outage_that_passes_costs_nothing_but_time(ask: Callable[..., Report]) -> None:
    broken = GarminApiError("Garmin answered 503 to backfill/dailies", 503, retry_after_s=3.0)
    garmin = Garmin([GarminApiError("Garmin could not be asked"), broken, "accepted"])
    assert ask(garmin, dailies(TODAY, TODAY), spacing_s=0.0) == Report(asked=1)
    assert garmin.slept == [2.0, 6.0]


def test_no_garmin_id_is_logged(ask: Callable[..., Report], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ask(Garmin([WAIT, "forbidden"]), dailies(date(2025, 1, 1), TODAY))
    assert "backfill: 0 asked" in caplog.text
    assert USER not in caplog.text
