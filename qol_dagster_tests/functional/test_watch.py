"""What people are told though no run has failed: when it begins and when it gets worse, and each time once."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from qol_dagster.cli.app import run
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.defs.watch import TEXTS, failing, message, watch_sensor
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.platform import Resources, open_platform
from qol_dagster.resources.watch import Condition, Facts, conditions, gather_facts
from qol_dagster.weeks import dates_of, weeks_left_out
from qol_dagster_tests.support.forms import answers_of, form, survey_lake
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw
from qol_dagster_tests.support.outbox import Outbox
from qol_dagster_tests.support.ticks import store_ticks
from qol_ingest.survey.links import SurveyLinks

if TYPE_CHECKING:
    from qol_dagster.settings import Settings

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
"""Wednesday noon in Japan: the week of MONDAY, 16 November, must be there."""
WELL = Facts(
    now=NOW,
    participants=6,
    last_data_at=NOW - timedelta(hours=2),
    first_raw_date=MONDAY - timedelta(weeks=8),
    newest_week=MONDAY,
    valid_share={MONDAY - timedelta(weeks=back): (0.8, 6) for back in range(5)},
)
USER = "a1b2c3d4e5f60718293a4b5c6d7e8f90"


def levels(**changed: Any) -> dict[str, int]:
    """What holds, and how badly, when everything is well but this."""
    return {one.name: one.level for one in conditions(replace(WELL, **changed))}


def test_nothing_is_said_when_all_is_well_or_nothing_has_begun() -> None:
    assert levels() == {}
    assert list(conditions(Facts(now=NOW))) == []


@pytest.mark.parametrize(("hours", "level"), [(23, 0), (24, 1), (47, 1), (48, 2), (95, 2), (96, 3), (8 * 24, 4)])
def test_that_no_data_comes_is_said_after_a_day_two_four_and_eight(hours: int, level: int) -> None:
    assert levels(last_data_at=NOW - timedelta(hours=hours)).get("no_data", 0) == level


def test_that_no_data_comes_is_not_said_of_a_programme_without_participants_or_that_never_had_any() -> None:
    assert levels(participants=0, last_data_at=NOW - timedelta(days=9)) == {}
    assert levels(last_data_at=None) == {}


@pytest.mark.parametrize(
    ("now", "newest", "level"),
    [
        (NOW - timedelta(seconds=1), MONDAY - timedelta(weeks=1), 0),
        (NOW, MONDAY - timedelta(weeks=1), 1),
        (NOW + timedelta(days=7, seconds=-1), MONDAY - timedelta(weeks=1), 1),
        (NOW + timedelta(days=7), MONDAY - timedelta(weeks=1), 2),
        (NOW, MONDAY - timedelta(weeks=2), 2),
        (NOW, None, 1),
    ],
)
def test_a_week_is_missing_from_wednesday_noon_in_japan_on(now: datetime, newest: date | None, level: int) -> None:
    fresh = now - timedelta(hours=1)
    found = levels(now=now, last_data_at=fresh, newest_week=newest, valid_share={})
    assert found.get("week_missing", 0) == level


def test_a_week_is_not_missing_before_there_was_any_raw_file_of_it() -> None:
    assert levels(newest_week=None, first_raw_date=None, valid_share={}) == {}
    assert levels(newest_week=None, first_raw_date=MONDAY + timedelta(weeks=1), valid_share={}) == {}
    assert levels(newest_week=None, first_raw_date=MONDAY + timedelta(days=6), valid_share={}) == {"week_missing": 1}


def test_weeks_with_raw_files_that_are_not_computed_between_others_are_said() -> None:
    weeks = [MONDAY - timedelta(weeks=back) for back in (5, 4, 2, 0)]
    raw = [MONDAY - timedelta(weeks=back) + timedelta(days=2) for back in (7, 5, 4, 3, 2)]  # one before, and a pause
    assert weeks_left_out(raw, weeks) == [MONDAY - timedelta(weeks=3)]
    assert weeks_left_out(raw, []) == weeks_left_out([], weeks) == []
    (found,) = conditions(replace(WELL, left_out=(MONDAY - timedelta(weeks=3), MONDAY - timedelta(weeks=1))))
    subject, body = message(found)
    assert (found.level, subject) == (2, "[qol] weeks left out between others: 2")
    assert "no rows of 2026-10-26, 2026-11-09," in body


@pytest.mark.parametrize(("share", "level"), [(0.61, 0), (0.59, 1), (0.39, 2), (0.01, 3)])
def test_a_drop_of_the_valid_days_is_held_against_the_weeks_before(share: float, level: int) -> None:
    shares = {**WELL.valid_share, MONDAY: (share, 6)}
    assert levels(valid_share=shares).get("fewer_valid_days", 0) == level


def test_a_drop_is_not_said_of_few_participants_of_a_first_week_or_of_an_old_one() -> None:
    assert levels(valid_share={**WELL.valid_share, MONDAY: (0.0, 4)}) == {}
    assert levels(valid_share={MONDAY: (0.0, 6)}) == {}
    shares = {**WELL.valid_share, MONDAY: (0.0, 6)}
    assert levels(newest_week=MONDAY + timedelta(weeks=1), valid_share=shares) == {}


def test_silence_failing_ticks_and_a_full_disk_are_said() -> None:
    found = list(conditions(replace(WELL, silent=3, to_invite=2, failing=("unread_sensor",), free_gb=1.96)))
    assert [(one.name, one.level) for one in found] == [
        ("silent", 3),
        ("to_invite", 2),
        ("ticks_fail", 1),
        ("disk_full", 1),
    ]
    subjects = [message(one)[0] for one in found]
    assert subjects == [
        "[qol] participants silent for 7 days: 3",
        "[qol] to be invited to the questionnaire: 2",
        "[qol] failing in Dagster: unread_sensor",
        "[qol] the disk is nearly full",
    ]
    assert "2.0 GB are free" in message(found[3])[1]


@pytest.mark.parametrize("name", TEXTS)
def test_each_alert_is_in_both_languages_with_its_values_and_says_when_it_is_over(name: Any) -> None:
    values = {"hours": "26", "week": "2026-11-16", "now": "41%", "usual": "80%", "n": "3"}
    values |= {"weeks": "2026-11-09", "days": "7", "names": "unread_sensor", "free_gb": "1.2"}
    subject, body = message(Condition(name, 1, values))
    english, japanese, end = body.split("\n\n") if body.count("\n\n") == 2 else (*body.split("\n\n"), "")
    assert not re.search(r"[{}]", subject + body)
    assert "It is over when" in english
    assert "解消です" in japanese
    assert end == ""


def test_the_sensor_says_a_condition_once_and_again_when_it_began_anew(settings: Settings) -> None:
    IdMap(settings.id_map_path).add(USER, "P1")
    outbox, cursor = Outbox(works=False), ""
    sensor = watch_sensor(Resources.of(open_platform(settings), {"notifier": outbox}))

    def tick_after(days: int) -> list[str]:
        nonlocal cursor
        seen_at = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        with closing(sqlite3.connect(settings.id_map_path)) as database, database:
            database.execute("UPDATE user_id_map SET seen_at = ?", (seen_at,))
        with dagster_instance(settings) as instance:
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            sensor(context)
        cursor = context.cursor or ""
        found = [subject for subject, _ in outbox.sent]
        outbox.sent.clear()
        return found

    both = ["[qol] no data for 216 hours", "[qol] participants silent for 7 days: 1"]
    assert tick_after(9) == []
    outbox.works = True
    assert [tick_after(9), tick_after(9)] == [both, []]
    assert tick_after(0) == []
    assert tick_after(9) == both


def test_what_is_known_of_a_computed_home_names_nobody(settings: Settings) -> None:
    for day in dates_of(MONDAY):
        write_raw(settings.lake_dir, day, [record("dailies", USER, day, timeOffsetHeartRateSamples=worn(12))])
    IdMap(settings.id_map_path).add(USER, "P1")
    assert run(["materialize", "--week", str(MONDAY)]) == 0
    facts = gather_facts(open_platform(settings), NOW)
    assert (facts.participants, facts.first_raw_date, facts.newest_week) == (1, MONDAY, MONDAY)
    assert facts.valid_share == {MONDAY: (1.0, 1)}
    assert "P1" not in repr(facts)


def test_staff_hear_on_wednesdays_of_forms_that_may_be_answered_and_never_had_a_link(settings: Settings) -> None:
    # All wore the device for 14 days; the baseline is open from 19 October, wave 1 from 30 October, a Friday, on.
    people = IdMap(settings.id_map_path)
    people.import_rows([(f"garmin-{number}", f"P{number}", None) for number in range(1, 6)])
    survey_lake(settings.lake_dir, ["P1", "P2", "P3", "P4", "P5"], [form("P1", 1, answers_of(3))])
    platform = open_platform(settings)
    links = SurveyLinks(platform.enrolment_state())
    friday, wednesday = datetime(2026, 10, 30, 3, tzinfo=UTC), datetime(2026, 11, 4, 3, tzinfo=UTC)

    def to_invite(now: datetime) -> int:
        return gather_facts(platform, now).to_invite

    assert [to_invite(friday), to_invite(wednesday)] == [0, 4]
    people.withdraw("P5", date(2026, 11, 4))
    assert to_invite(wednesday) == 3
    links.invite("P2", 1)
    assert to_invite(wednesday) == 2
    links.invite("P3", 0)  # another form than the one that is open
    links.invite("P3", 1, timedelta(seconds=-1))  # whoever let a link expire is reminded, not invited again
    assert to_invite(wednesday) == 1
    assert to_invite(wednesday + timedelta(days=2)) == 0  # closed since the 5th


def test_a_failing_mail_server_loses_no_invitation(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    IdMap(settings.id_map_path).add(USER, "P1")
    survey_lake(settings.lake_dir, ["P1"], [])
    monkeypatch.setattr("qol_dagster.defs.watch.datetime", _Then)
    outbox, cursor = Outbox(works=False), ""
    sensor = watch_sensor(Resources.of(open_platform(settings), {"notifier": outbox}))
    with dagster_instance(settings) as instance:
        for works, outcome in ((False, "could not be sent"), (True, "alerted: to_invite"), (True, "no alert")):
            outbox.works = works
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            assert outcome in str(sensor(context))
            cursor = context.cursor or ""
    ((subject, body),) = outbox.sent
    assert subject == "[qol] to be invited to the questionnaire: 1"
    assert "P1" not in body


class _Then(datetime):
    """The Wednesday on which wave 1 of `survey_lake` is open."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2026, 11, 4, 3, tzinfo=tz)


def test_a_sensor_whose_last_three_ticks_failed_is_named(settings: Settings) -> None:
    with dagster_instance(settings) as instance:
        for name, ends in {"bad": "FFFF", "hiccup": "FSFF", "young": "FF", "well": "SSS"}.items():
            store_ticks(instance, name, ends)
        assert failing(instance) == ("bad",)


def test_a_daemon_that_never_ran_is_said_to_in_each_language_by_its_own_word(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    assert run(["heartbeat"]) == 1
    assert "Dagster's daemon is not running; last seen: never. Without it" in caplog.text
    assert "Dagster のデーモンが動作していません（最後の確認：なし）。デーモンがないと" in caplog.text


def test_a_daemon_that_is_gone_is_told_of_once_by_whatever_asks_from_outside(
    settings: Settings, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with dagster_instance(settings) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "one", []))
        assert run(["heartbeat"]) == 0
        assert capsys.readouterr().out == "Dagster's daemon is running\n"
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 600, "SENSOR", "one", []))
    assert [run(["heartbeat"]), run(["heartbeat"])] == [1, 1]
    assert capsys.readouterr().err.count("Dagster's daemon is not running; last seen: ") == 2
    assert caplog.text.count("[qol] Dagster's daemon is not running") == 1
