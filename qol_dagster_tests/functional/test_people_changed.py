"""Who left is out of all tables by the next night, and who was enrolled late is in them: also in old weeks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.definitions import build_defs
from qol_dagster.defs.schedules import ranges
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.metrics.types import TableName
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw

LEAVER, STAYER, LATE = (f"{letter}{number:031x}" for number, letter in enumerate("abc", 10))
WEEKS = [MONDAY - timedelta(weeks=back) for back in range(6, -1, -1)]
TABLES: tuple[TableName, ...] = ("daily", "weekly", "status")


@pytest.fixture
def study(settings: Settings) -> Settings:
    """Seven weeks of three users, of whom two are enrolled, all computed; two of them also by profile strict."""
    IdMap(settings.id_map_path).import_rows([(LEAVER, "P1", None), (STAYER, "P2", None)])
    for week in WEEKS:
        lines = [
            record("dailies", user, week, steps=4000, timeOffsetHeartRateSamples=worn(14))
            for user in (LEAVER, STAYER, LATE)
        ]
        write_raw(settings.lake_dir, week, lines)
    assert materialize_weeks(settings, WEEKS).success
    assert materialize_weeks(settings, WEEKS[:2], profile=PROFILES["strict"]).success
    return settings


def who(settings: Settings, table: TableName, week: date, folder: str = "processed") -> list[str]:
    """Participants with anything in the table's rows of a week; of the status, those who do not count as revoked."""
    lake = Lake.local(settings.lake_dir).with_tables(folder)
    parts = [lake.read_table(table, day) for day in (dates_of(week) if table == "daily" else [week])]
    rows = [row for part in parts if part is not None for row in part.to_pylist()]
    return sorted({row["participant_id"] for row in rows if row.get("status") != "revoked"})


def asked_for(settings: Settings, profile: str = "") -> list[tuple[str, str]]:
    """Return the ranges of weeks that the night's schedule asks for."""
    schedule = build_defs(settings).resolve_schedule_def(f"people_changed_schedule{profile}")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 1 * * *", "Asia/Tokyo")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    found: Any = schedule()
    runs = [] if isinstance(found, dg.SkipReason) else found
    prefix = "dagster/asset_partition_range_"
    return [(run.tags[f"{prefix}start"], run.tags[f"{prefix}end"]) for run in runs]


@pytest.mark.slow
def test_who_left_is_in_no_row_of_the_weeks_a_run_looks_back_on_nor_of_older_ones_after_the_night(
    study: Settings,
) -> None:
    assert asked_for(study) == []
    IdMap(study.id_map_path).deregister(LEAVER, datetime.now(UTC))
    assert materialize_weeks(study, [MONDAY]).success
    for week in WEEKS[3:]:  # the run's own, and the three whose days it computed too
        assert [who(study, table, week) for table in TABLES] == [["P2"]] * 3, week
    assert who(study, "weekly", WEEKS[2]) == ["P1", "P2"]

    # The fourth week is asked for too: it looks back on days that were not computed anew.
    (whole,) = asked_for(study)
    assert whole[0] == str(WEEKS[0])
    assert materialize_weeks(study, [date.fromisoformat(day) for day in whole]).success
    for week in WEEKS:
        assert [who(study, table, week) for table in TABLES] == [["P2"]] * 3, week
    assert asked_for(study) == []

    assert who(study, "weekly", WEEKS[0], "processed_strict") == ["P1", "P2"]
    assert asked_for(study, "_strict") == [(str(WEEKS[0]), str(WEEKS[1]))]
    assert materialize_weeks(study, WEEKS[:2], profile=PROFILES["strict"]).success
    assert who(study, "weekly", WEEKS[0], "processed_strict") == ["P2"]
    assert asked_for(study, "_strict") == []


@pytest.mark.slow
def test_who_was_enrolled_late_is_in_the_weeks_before_and_dagster_is_told_of_those_that_followed(
    study: Settings,
) -> None:
    IdMap(study.id_map_path).import_rows([(LATE, "P3", None)])
    assert materialize_weeks(study, [MONDAY]).success
    assert [who(study, "weekly", week) for week in (WEEKS[2], WEEKS[3])] == [["P1", "P2"], ["P1", "P2", "P3"]]
    with dg.DagsterInstance.from_config(str(study.dagster_home)) as instance:
        newest = instance.fetch_materializations(dg.AssetKey("weekly_metrics"), limit=4).records
    run = newest[0].run_id
    assert sorted(str(one.partition_key) for one in newest if one.run_id == run) == [str(week) for week in WEEKS[3:]]
    told = [one.asset_materialization for one in newest]
    assert [one.metadata["dagster/partition_row_count"].value for one in told if one] == [3] * 4


def test_weeks_that_follow_each_other_are_one_run_of_thirteen_at_most() -> None:
    weeks = [MONDAY - timedelta(weeks=back) for back in range(20) if back != 3]
    assert [((MONDAY - end).days // 7, (MONDAY - begin).days // 7) for begin, end in ranges(weeks)] == [
        (0, 2),
        (4, 16),
        (17, 19),
    ]
    assert ranges([]) == []
