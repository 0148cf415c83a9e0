"""The sensor for raw files and the schedule: which weeks are asked for, and when."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.code_pointer import CodePointer
from dagster._core.definitions.reconstruct import (
    initialize_repository_def_from_pointer,
    reconstruct_repository_def_from_pointer,
)
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.definitions import build_defs
from qol_dagster.defs.code_location import first_week_of
from qol_dagster.defs.partitions import first_week
from qol_dagster.defs.sensors import EVERY_S, WEEKS_A_TICK, decide
from qol_dagster.engines import open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.fingerprints import raw_fingerprint
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import LakeError
from qol_dagster.pipeline.etl import materialize_daily
from qol_dagster.pipeline.staleness import stale_weeks
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of, monday_of
from qol_dagster_tests.support.lakes import MONDAY, record, write_raw
from qol_dagster_tests.support.tables import rows

SUNDAY = MONDAY + timedelta(days=6)
LOCATION = RegisteredCodeLocationOrigin("qol_dagster")
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(LOCATION, "__repository__"), "weekly_metrics_job")


def all_stale(days: Any) -> list[date]:
    return sorted({monday_of(day) for day in days})


def none_stale(_days: Any) -> list[date]:
    return []


def test_a_changed_day_of_a_closed_week_is_reported_and_its_week_asked_for() -> None:
    found = decide({MONDAY: "a", SUNDAY: "b"}, {}, SUNDAY + timedelta(days=1), MONDAY, all_stale)
    assert (found.days, found.weeks) == ((MONDAY, SUNDAY), (MONDAY,))
    assert found.seen == {"2026-11-16": "a", "2026-11-22": "b"}


def test_what_was_seen_before_is_passed_over_until_it_changes() -> None:
    on, seen = SUNDAY + timedelta(days=1), {"2026-11-16": "a", "2026-11-22": "b"}
    assert decide({MONDAY: "a", SUNDAY: "b"}, seen, on, MONDAY, all_stale).days == ()
    assert decide({MONDAY: "changed", SUNDAY: "b"}, seen, on, MONDAY, all_stale).days == (MONDAY,)


def test_the_running_week_is_reported_day_by_day_but_not_asked_for() -> None:
    found = decide({MONDAY: "a", SUNDAY: "b"}, {}, SUNDAY, MONDAY - timedelta(weeks=1), all_stale)
    assert (found.days, found.weeks) == ((MONDAY,), ())


def test_a_week_whose_weekly_run_was_not_due_yet_is_not_asked_for_though_it_is_over() -> None:
    last_due = MONDAY - timedelta(weeks=1)
    found = decide({last_due: "a", MONDAY: "b"}, {}, SUNDAY + timedelta(days=1), last_due, all_stale)
    assert (found.days, found.weeks) == ((last_due, MONDAY), (last_due,))


def test_a_week_that_is_computed_from_the_same_files_is_not_asked_for_again() -> None:
    found = decide({MONDAY: "a"}, {}, SUNDAY + timedelta(days=1), MONDAY, none_stale)
    assert (found.days, found.weeks) == ((MONDAY,), ())


def test_a_long_backlog_is_worked_off_over_several_ticks() -> None:
    mondays = [MONDAY - timedelta(weeks=n) for n in range(20)]
    listing, seen, asked = dict.fromkeys(mondays, "x"), {}, []
    while (found := decide(listing, seen, date(2026, 12, 1), MONDAY, all_stale)).days:
        assert len(found.weeks) <= WEEKS_A_TICK
        asked += found.weeks
        seen = dict(found.seen)
    assert sorted(asked) == sorted(mondays)
    assert len(asked) == len(mondays)


@pytest.fixture
def sensor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("qol_dagster.defs.sensors.today", lambda: SUNDAY + timedelta(days=1))
    return build_defs(settings).resolve_sensor_def("raw_arrivals_sensor")


def tick(sensor: Any, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        return sensor(context)


def test_two_ticks_report_and_ask_for_each_arrival_once(settings: Settings, sensor: Any) -> None:
    user = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
    write_raw(settings.lake_dir, MONDAY, [record("dailies", user, MONDAY)])
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(sensor, instance)
        assert [event.partition for event in first.asset_events] == ["2026-11-16"]
        assert first.asset_events[0].metadata["files"].value == 1
        assert [request.partition_key for request in first.run_requests] == ["2026-11-16"]
        assert isinstance(tick(sensor, instance, first.cursor), dg.SkipReason)
        write_raw(settings.lake_dir, MONDAY, [record("hrv", user, MONDAY)], name="late")
        third = tick(sensor, instance, first.cursor)
    assert first.run_requests[0].run_key != third.run_requests[0].run_key
    assert user not in str((first, third))


def test_a_week_whose_run_waits_in_the_queue_is_not_asked_for_again(settings: Settings, sensor: Any) -> None:
    user = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
    write_raw(settings.lake_dir, MONDAY, [record("dailies", user, MONDAY)])
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(sensor, instance)
        statuses = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED)
        tags = {"dagster/partition": first.run_requests[0].partition_key}
        runs = [dg.DagsterRun(ORIGIN.job_name, status=one, tags=tags, remote_job_origin=ORIGIN) for one in statuses]
        for run in runs:
            instance.add_run(run)
        write_raw(settings.lake_dir, MONDAY, [record("hrv", user, MONDAY)], name="late")
        second = tick(sensor, instance, first.cursor)
        assert ([one.partition for one in second.asset_events], second.run_requests) == (["2026-11-16"], [])
        assert "in the queue" in str(second.skip_reason)
        instance.delete_run(runs[0].run_id)  # the other has begun, and may have listed the files before
        write_raw(settings.lake_dir, MONDAY, [record("hrv", user, MONDAY)], name="later")
        third = tick(sensor, instance, second.cursor)
    assert [one.partition_key for one in third.run_requests] == ["2026-11-16"]


def test_on_aws_the_sensor_looks_four_times_an_hour(settings: Settings, sensor: Any) -> None:
    assert (sensor.minimum_interval_seconds, EVERY_S["aws"]) == (60, 900)


def test_the_cursor_is_as_short_after_four_hundred_days_as_after_one(settings: Settings, sensor: Any) -> None:
    write_raw(settings.lake_dir, MONDAY, [record("dailies", "user", MONDAY)])
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(sensor, instance).cursor
        for back in range(1, 401):
            day = MONDAY - timedelta(days=back)
            write_raw(settings.lake_dir, day, [record("dailies", "user", day)])
        cursor = first
        while isinstance(found := tick(sensor, instance, cursor), dg.SensorResult):
            cursor = str(found.cursor)
    assert cursor != first
    assert len(cursor) == len(first) == 32


def test_a_tick_whose_cursor_was_not_kept_is_repeated_and_a_cursor_of_days_still_counts(
    settings: Settings, sensor: Any
) -> None:
    write_raw(settings.lake_dir, MONDAY, [record("dailies", "user", MONDAY)])
    with dg.DagsterInstance.ephemeral() as instance:
        before = tick(sensor, instance).cursor
        write_raw(settings.lake_dir, SUNDAY, [record("dailies", "user", SUNDAY)])
        killed, again = (tick(sensor, instance, before) for _ in range(2))
        assert [[event.partition for event in one.asset_events] for one in (killed, again)] == [["2026-11-22"]] * 2
        fingerprint = raw_fingerprint(Lake.local(settings.lake_dir).raw_objects(SUNDAY))
        of_an_older_release = json.dumps({"2026-11-22": fingerprint})
        reported = tick(sensor, instance, of_an_older_release).asset_events
        assert [event.partition for event in reported] == ["2026-11-16"]


def test_days_that_came_before_the_first_partition_wait_for_the_next_load_and_the_tick_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qol_dagster.defs.sensors.today", lambda: SUNDAY + timedelta(days=1))
    early = MONDAY - timedelta(days=10)
    for day in (early, MONDAY):
        write_raw(settings.lake_dir, day, [record("dailies", "user", day)])
    loaded, reloaded = (
        build_defs(settings, first=first).resolve_sensor_def("raw_arrivals_sensor")
        for first in (MONDAY, monday_of(early))
    )
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(loaded, instance)
        assert [event.partition for event in first.asset_events] == ["2026-11-16"]
        assert {request.partition_key for request in first.run_requests} == {"2026-11-16"}
        skipped = tick(loaded, instance, first.cursor).skip_message
        assert "raw days: 1. Raw days before the first partition, 2026-11-16: 1, from 2026-11-06 on" in skipped
        assert "reload" in skipped
        second = tick(reloaded, instance, first.cursor)
    assert [event.partition for event in second.asset_events] == ["2026-11-06"]
    assert "2026-11-02" in {request.partition_key for request in second.run_requests}


def test_partitions_begin_with_the_first_data_but_not_before_the_start_date(settings: Settings) -> None:
    assert first_week_of(settings) == settings.start_date
    thursday = MONDAY + timedelta(days=3)
    write_raw(settings.lake_dir, thursday, [record("dailies", "user", thursday)])
    assert first_week_of(settings) == MONDAY
    earlier = MONDAY - timedelta(weeks=9)  # whose raw files were moved away
    Lake.local(settings.lake_dir).write_table("weekly", earlier, rows("weekly"), {})
    assert first_week_of(settings) == earlier
    write_raw(settings.lake_dir, date(1989, 12, 31), [record("dailies", "user", MONDAY)])  # a clock that was reset
    assert first_week_of(settings) == settings.start_date
    assert first_week_of(replace(settings, start_date=MONDAY)) == MONDAY


def test_a_lake_that_cannot_be_listed_does_not_keep_the_code_location_from_loading(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def out_of_reach() -> Lake:
        raise LakeError("s3://qol-lake cannot be opened")

    assert first_week(out_of_reach, MONDAY) == MONDAY
    assert "the lake cannot be listed" in caplog.text


def test_the_process_of_a_run_has_the_partitions_of_the_load_whatever_came_since(settings: Settings) -> None:
    write_raw(settings.lake_dir, MONDAY, [record("dailies", "user", MONDAY)])

    def first_key(repository: Any) -> str:
        return str(repository.asset_graph.get(dg.AssetKey("weekly_metrics")).partitions_def.get_first_partition_key())

    loaded = initialize_repository_def_from_pointer(CodePointer.from_module("qol_dagster.definitions", "defs", None))
    assert first_key(loaded) == "2026-11-16"
    early = MONDAY - timedelta(weeks=3)
    write_raw(settings.lake_dir, early, [record("dailies", "user", early)])
    again = reconstruct_repository_def_from_pointer(
        CodePointer.from_module("qol_dagster.definitions", "defs", None), loaded.repository_load_data
    )
    assert first_key(again) == "2026-11-16"
    anew = initialize_repository_def_from_pointer(CodePointer.from_module("qol_dagster.definitions", "defs", None))
    assert first_key(anew) == str(early)


@pytest.mark.slow
def test_a_week_that_was_computed_by_hand_is_reported_but_not_run_again(settings: Settings, sensor: Any) -> None:
    user = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
    IdMap(settings.id_map_path).add(user)
    write_raw(settings.lake_dir, MONDAY, [record("dailies", user, MONDAY)])
    assert materialize_weeks(settings, [MONDAY]).success
    with dg.DagsterInstance.ephemeral() as instance:
        found = tick(sensor, instance)
    assert [event.partition for event in found.asset_events] == ["2026-11-16"]
    assert found.run_requests == []
    assert found.skip_reason.skip_message.startswith("1 raw days came or changed, 2026-11-16 to 2026-11-16; ")


@pytest.mark.slow
def test_a_late_file_asks_for_the_weeks_that_look_back_on_its_day_too(
    settings: Settings, sensor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, lake = "a1b2c3d4e5f60718293a4b5c6d7e8f90", settings.lake_dir
    IdMap(settings.id_map_path).add(user)
    weeks = [MONDAY - timedelta(weeks=back) for back in (5, 4, 3, 2, 0)]  # nothing came in the last week but one
    for week in weeks:
        write_raw(lake, week, [record("dailies", user, week)])
    assert materialize_weeks(settings, weeks).success
    assert stale_weeks(Lake.local(lake), weeks) == []
    late = weeks[1]
    write_raw(lake, late, [record("hrv", user, late)], name="late")
    with dg.DagsterInstance.ephemeral() as instance:
        asked = tick(sensor, instance).run_requests
    # The empty week between was computed too; the one before the late day, and the one four weeks on, are untouched.
    assert [one.partition_key for one in asked] == [str(MONDAY - timedelta(weeks=back)) for back in (4, 3, 2, 1)]


def test_weeks_after_the_last_data_have_nothing_to_repair(settings: Settings) -> None:
    write_raw(settings.lake_dir, MONDAY, [record("dailies", "user", MONDAY)])
    assert stale_weeks(Lake.local(settings.lake_dir), [MONDAY]) == [MONDAY]


@pytest.mark.slow
def test_a_week_whose_run_stopped_before_its_weekly_partition_is_asked_for(settings: Settings, sensor: Any) -> None:
    user = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
    IdMap(settings.id_map_path).add(user)
    write_raw(settings.lake_dir, MONDAY, [record("dailies", user, MONDAY)])
    with open_engine("duckdb", memory_mb=512, temp_dir=settings.temp_dir) as engine:
        materialize_daily(engine, Lake.local(settings.lake_dir), [MONDAY], Identities({user: "P1"}))
    with dg.DagsterInstance.ephemeral() as instance:
        assert [request.partition_key for request in tick(sensor, instance).run_requests] == ["2026-11-16"]


def test_the_sensor_passes_over_days_before_the_start_and_an_empty_lake(settings: Settings, sensor: Any) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(tick(sensor, instance), dg.SkipReason)
        early = settings.start_date - timedelta(days=1)
        write_raw(settings.lake_dir, early, [record("dailies", "user", early)])
        assert isinstance(tick(sensor, instance), dg.SkipReason)


def test_the_schedule_takes_the_last_complete_week_on_wednesday_at_0905_in_japan(settings: Settings) -> None:
    defs = build_defs(settings)
    schedule = defs.resolve_schedule_def("weekly_metrics_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("5 9 * * 3", "Asia/Tokyo")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    ticks = {
        datetime(2026, 11, 25, 0, 5, tzinfo=UTC): ["2026-11-16"],
        datetime(2027, 1, 6, 0, 5, tzinfo=UTC): ["2026-12-28"],
        datetime(2015, 1, 7, 0, 5, tzinfo=UTC): [],  # the week before the start date
        datetime(2015, 1, 14, 0, 5, tzinfo=UTC): ["2015-01-05"],
    }
    for at, weeks in ticks.items():
        with dg.build_schedule_context(scheduled_execution_time=at) as context:
            asked = schedule(context)
        assert ([] if isinstance(asked, dg.SkipReason) else [asked.partition_key]) == weeks


def test_the_weeks_are_iso_weeks_and_each_depends_on_its_seven_days(settings: Settings) -> None:
    graph = build_defs(settings).resolve_asset_graph()
    weekly = graph.get(dg.AssetKey("weekly_metrics")).partitions_def
    daily = graph.get(dg.AssetKey("garmin_raw_daily")).partitions_def
    assert weekly is not None
    assert daily is not None
    keys = weekly.get_partition_keys(current_time=datetime(2026, 11, 23, 0, 0, tzinfo=UTC))
    assert keys[-1] == "2026-11-16"
    assert all(date.fromisoformat(key).weekday() == 0 for key in keys)
    mapped = dg.TimeWindowPartitionMapping().get_upstream_mapped_partitions_result_for_partitions(
        downstream_partitions_subset=weekly.subset_with_partition_keys(["2026-11-16"]),
        downstream_partitions_def=weekly,
        upstream_partitions_def=daily,
    )
    days = list(mapped.partitions_subset.get_partition_keys())
    assert days == [day.isoformat() for day in dates_of(MONDAY)]
