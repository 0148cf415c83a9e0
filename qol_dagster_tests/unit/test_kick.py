"""Which week is kicked, when a run of it counts, and what the kick does with what it finds."""

from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from qol_ingest import kick
from qol_ingest.kick import DagsterError, DagsterRuns, Kick, KickError, Limits, Run
from qol_ingest.shared import aws
from qol_ingest.shared.calendar import last_complete_week, weekly_run_of

WEEK = date(2026, 11, 16)
TICK = datetime(2026, 11, 25, 0, 5, tzinfo=UTC)
"""Wednesday, 09:05 in Japan."""


@pytest.mark.parametrize(
    ("at", "week"),
    [
        ("2026-11-25T00:05:00Z", "2026-11-16"),
        ("2026-11-25T09:05:00+09:00", "2026-11-16"),
        ("2026-11-22T14:59:59Z", "2026-11-09"),  # still Sunday in Japan
        ("2026-11-22T15:00:00Z", "2026-11-16"),
        ("2026-11-29T14:59:59Z", "2026-11-16"),
        ("2026-01-07T00:05:00Z", "2025-12-29"),
        ("2025-12-31T00:05:00Z", "2025-12-22"),
        ("2025-01-01T00:05:00Z", "2024-12-23"),
        ("2021-01-06T00:05:00Z", "2020-12-28"),  # week 53
        ("2024-03-06T00:05:00Z", "2024-02-26"),  # with a 29th of February
    ],
)
def test_the_week_is_the_last_one_that_was_over_in_japan(at: str, week: str) -> None:
    assert last_complete_week(datetime.fromisoformat(at)).isoformat() == week


def test_a_delivery_that_is_late_by_a_day_is_about_the_same_week() -> None:
    event = {"time": "2026-11-25T00:05:00Z"}
    for late in (timedelta(0), timedelta(hours=24), timedelta(days=9)):
        at = kick.scheduled_at(event, TICK + late)
        assert (at, last_complete_week(at)) == (TICK, WEEK)


@pytest.mark.parametrize(
    "event", [None, {}, [], {"time": None}, {"time": 7}, {"time": "<aws.scheduler.scheduled-time>"}, {"time": "soon"}]
)
def test_without_a_time_that_can_be_read_the_present_time_counts(event: object) -> None:
    assert kick.scheduled_at(event, TICK) == TICK


def test_a_time_without_a_zone_is_utc() -> None:
    assert kick.scheduled_at({"time": "2026-11-25T00:05:00"}, datetime.now(UTC)) == TICK


ONE = {"dagster/partition": "2026-11-16"}
SINCE_S = datetime(2026, 11, 22, 15, tzinfo=UTC).timestamp()
"""Monday morning in Japan."""


def of_weeks(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


@pytest.mark.parametrize("status", ["NOT_STARTED", "QUEUED", "STARTING", "STARTED"])
def test_a_run_that_is_under_way_takes_care_of_its_week(status: str) -> None:
    assert kick.is_taken_care_of(DagsterRuns((Run(status, ONE),)), WEEK)


@pytest.mark.parametrize("status", ["FAILURE", "CANCELING", "CANCELED"])
def test_a_run_that_failed_or_was_canceled_does_not_take_care_of_its_week(status: str) -> None:
    given_up = Run(status, ONE, SINCE_S + 60)
    assert not kick.is_taken_care_of(DagsterRuns((given_up,)), WEEK)
    assert kick.is_taken_care_of(DagsterRuns((given_up, Run("STARTED", ONE, SINCE_S + 120))), WEEK)


@pytest.mark.parametrize(("started_s", "counts"), [(SINCE_S - 1, False), (SINCE_S, True), (None, False)])
def test_a_run_that_succeeded_counts_if_it_began_after_the_week_was_over(started_s: float | None, counts: bool) -> None:
    assert kick.is_taken_care_of(DagsterRuns((Run("SUCCESS", ONE, started_s),)), WEEK) is counts


@pytest.mark.parametrize(
    ("tags", "counts"),
    [
        ({}, False),
        ({"dagster/partition": "2026-11-09"}, False),
        ({"dagster/partition": "2026-11-23"}, False),
        (of_weeks("2026-11-16", "2026-11-16"), True),
        (of_weeks("2026-10-05", "2026-11-16"), True),
        (of_weeks("2026-11-09", "2026-12-28"), True),
        (of_weeks("2026-10-05", "2026-11-09"), False),
        (of_weeks("2026-11-23", "2026-12-28"), False),
    ],
)
def test_a_run_is_about_its_week_or_all_weeks_of_its_range(tags: dict[str, str], counts: bool) -> None:
    assert kick.is_taken_care_of(DagsterRuns((Run("STARTED", tags),)), WEEK) is counts


@pytest.mark.parametrize(("status", "counts"), [("NOT_STARTED", False), ("QUEUED", False), ("STARTED", True)])
def test_without_a_daemon_a_run_that_waits_does_not_count(status: str, counts: bool) -> None:
    assert kick.is_taken_care_of(DagsterRuns((Run(status, ONE),), queue_moves=False), WEEK) is counts


def test_a_run_asked_for_from_the_schedule_s_tick_on_is_the_run_of_that_tick() -> None:
    own = {"dagster/partition": "2026-11-16", "qol/started_by": "qol-weekly-survey-kick"}
    assert weekly_run_of(WEEK) == TICK
    assert kick.run_tags(WEEK, TICK - timedelta(seconds=1)) == own
    assert kick.run_tags(WEEK, TICK) == {
        **own,
        "dagster/schedule_name": "weekly_metrics_schedule",
        ".dagster/scheduled_execution_time": "2026-11-25T00:05:00+00:00",
    }


@pytest.mark.parametrize(("late_s", "left_s"), [(-60, 0), (0, 15), (5, 10), (15, 0), (3600, 0)])
def test_the_schedule_has_a_head_start_only_right_after_its_tick(late_s: float, left_s: float) -> None:
    assert kick.head_start_left_s(WEEK, TICK + timedelta(seconds=late_s), 15) == left_s


def test_all_waiting_together_takes_less_than_a_minute() -> None:
    limits = Limits()
    assert limits.head_start_s + limits.dagster_s + limits.glue_s + limits.notify_s < 60


class World:
    """A Dagster, a Glue and a topic that do as they are told, and remember what they were asked."""

    def __init__(self, dagster: object, glue: object = True, topic: object = None) -> None:
        self.does = {"dagster": dagster, "glue": glue, "topic": topic}
        self.asked: list[tuple[Any, ...]] = []

    def see_to(self, *asked: Any) -> Any:
        return self._did("dagster", *asked)

    def start(self, *asked: Any) -> Any:
        return self._did("glue", *asked)

    def tell(self, *asked: Any) -> Any:
        return self._did("topic", *asked)

    def kick(self, **options: Any) -> str:
        return Kick(self, self.start, self.tell, **options).kick(TICK, TICK + timedelta(hours=1))  # type: ignore[arg-type]

    @property
    def told(self) -> list[tuple[Any, ...]]:
        return [rest for who, *rest in self.asked if who == "topic"]  # type: ignore[misc]

    def _did(self, who: str, *asked: Any) -> Any:
        self.asked.append((who, *asked))
        does = self.does[who]
        if isinstance(does, Exception):
            raise does
        return does() if callable(does) else does


DOWN = DagsterError("Dagster answers 503")
REFUSED = ClientError({"Error": {"Code": "AccessDenied", "Message": "not for 123456789012"}}, "StartJobRun")


@pytest.mark.parametrize("outcome", ["there already", "launched"])
def test_while_dagster_answers_nobody_else_is_asked(outcome: str) -> None:
    world = World(outcome)
    assert world.kick() == outcome
    assert world.asked == [("dagster", WEEK, TICK)]


@pytest.mark.parametrize(("started", "outcome"), [(True, "started on Glue"), (False, "on Glue already")])
def test_without_dagster_the_week_is_started_on_glue_and_people_are_told(started: bool, outcome: str) -> None:
    world = World(DOWN, started)
    assert world.kick() == outcome
    assert world.asked[1] == ("glue", WEEK)
    ((subject, text),) = world.told
    assert subject == "[qol] the week of 2026-11-16 runs on Glue, without Dagster"
    assert text.startswith(f"The week of 2026-11-16 is {outcome}. Dagster answers 503.\n\n")


@pytest.mark.parametrize("topic", [None, REFUSED])
def test_without_dagster_and_glue_the_alarm_goes_off_whether_people_can_be_told_or_not(topic: object) -> None:
    world = World(DOWN, REFUSED, topic)
    what = "The week of 2026-11-16 was not started. Dagster answers 503, and Glue does not start it: AccessDenied."
    with pytest.raises(KickError) as raised:
        world.kick()
    assert str(raised.value) == what
    ((subject, text),) = world.told
    assert subject == "[qol] the week of 2026-11-16 was not started"
    assert text.startswith(f"{what}\n\n")
    assert kick.scheduled_at(json.loads(text.splitlines()[-1]), datetime.now(UTC)) == TICK


def test_a_start_on_glue_of_which_nobody_hears_makes_the_alarm_go_off(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KickError, match=r"is started on Glue. Dagster answers 503. Nobody could be notified."):
        World(DOWN, True, REFUSED).kick()
    assert "a message could not be sent: AccessDenied" in caplog.text
    assert "123456789012" not in caplog.text


def test_whatever_hangs_the_kick_is_over_in_time() -> None:
    def hangs() -> None:
        time.sleep(2)

    begun = time.monotonic()
    with pytest.raises(KickError, match="Dagster did not answer in time, and Glue does not start it: TooSlowError"):
        World(hangs, hangs, hangs).kick(limits=Limits(dagster_s=0.1, glue_s=0.1, notify_s=0.1))
    assert time.monotonic() - begun < 1


def test_the_schedule_goes_first() -> None:
    slept: list[float] = []
    world = World("there already")
    Kick(world, world.start, world.tell, sleep=slept.append).kick(TICK, TICK + timedelta(seconds=3))  # type: ignore[arg-type]
    assert slept == [12]


class Glue:
    """A Glue whose runs are given; a start raises `fault`, after it has begun a run if `begins`."""

    def __init__(self, fault: Exception | None = None, *, begins: bool = True) -> None:
        self.runs: list[dict[str, Any]] = []
        self.fault, self.begins = fault, begins

    def get_paginator(self, _call: str) -> Glue:
        return self

    def paginate(self, **_asked: str) -> list[dict[str, Any]]:
        return [{"JobRuns": []}, {"JobRuns": self.runs}]

    def start_job_run(self, *, JobName: str, Arguments: dict[str, str]) -> None:  # noqa: N803
        if self.begins:
            self.runs.append({"JobRunState": "STARTING", "Arguments": Arguments})
        if self.fault:
            raise self.fault


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Glue:
    glue = Glue()
    monkeypatch.setattr(aws, "client", lambda _service: glue)
    return glue


@pytest.mark.parametrize("state", ["STARTING", "RUNNING", "WAITING"])
def test_a_week_whose_run_on_glue_is_active_is_not_started_again(glue: Glue, state: str) -> None:
    glue.runs = [{"JobRunState": state, "Arguments": {"--weeks": "2026-11-09,2026-11-16"}}]
    assert kick.start_on_glue("job", WEEK) is False
    assert len(glue.runs) == 1


def test_runs_on_glue_that_are_over_or_about_other_weeks_do_not_count(glue: Glue) -> None:
    over = [
        {"JobRunState": state, "Arguments": {"--weeks": "2026-11-16"}} for state in ("SUCCEEDED", "FAILED", "STOPPING")
    ]
    others = [{"JobRunState": "RUNNING", "Arguments": {"--weeks": "2026-11-09"}}, {"JobRunState": "RUNNING"}]
    glue.runs = [*over, *others]
    assert kick.start_on_glue("job", WEEK) is True
    assert glue.runs[-1]["Arguments"] == {"--weeks": "2026-11-16", "--triggered-by": "kick"}


def test_a_start_on_glue_whose_answer_got_lost_is_a_start(glue: Glue) -> None:
    glue.fault = ReadTimeoutError(endpoint_url="https://glue")
    assert kick.start_on_glue("job", WEEK) is True
    glue.runs.clear()
    glue.begins = False
    with pytest.raises(ReadTimeoutError):
        kick.start_on_glue("job", WEEK)


def test_a_lambda_that_is_not_set_up_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QOL_GLUE_JOB", "qol-weekly-etl")
    with pytest.raises(KickError, match="set QOL_DAGSTER_URL, QOL_ALERT_TOPIC_ARN"):
        kick.handler({}, None)
