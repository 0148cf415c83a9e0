"""When jobs start by themselves: the weekly one on Wednesday 09:05 in Japan, that of questionnaires each day after it.

The weekly run is of the last complete week, so that devices have two days to sync. At night old weeks follow what has
become known of people.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from qol_dagster.defs.partitions import WEEKS_A_RUN
from qol_dagster.metrics.profiles import Profile
from qol_dagster.pipeline.announced import apply_announced
from qol_dagster.pipeline.staleness import weeks_of_other_people
from qol_dagster.resources.platform import Resources
from qol_dagster.resources.survey_pages import has_surveys
from qol_dagster.weeks import TIMEZONE, WEEKLY_RUN_CRON, monday_of, today

WEEKLY_SCHEDULE = "weekly_metrics_schedule"
PEOPLE_SCHEDULE = "people_changed_schedule"
PEOPLE_CRON = "30 1 * * *"
"""Two hours before the backup, which then has the tables as they are to be."""
SURVEYS_CRON = "30 10 * * *"
"""On Wednesday the weekly run is over by then as a rule: who has now worn the device long enough is due."""


def weekly_schedule(job: Any, start: date) -> dg.ScheduleDefinition:
    """Wednesday 09:05 Asia/Tokyo, from the week `start`, the first partition, on."""

    @dg.schedule(
        job=job,
        name=WEEKLY_SCHEDULE,
        cron_schedule=WEEKLY_RUN_CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every Wednesday at 09:05 Japan time: the last complete week.",
    )
    def weekly_metrics_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(ZoneInfo(TIMEZONE)).date()
        week = monday_of(day) - timedelta(weeks=1)
        if week < start:
            return dg.SkipReason(f"the week of {week} is before the first partition, {start}")
        return dg.RunRequest(partition_key=week.isoformat())

    return weekly_metrics_schedule


def people_schedule(parts: Resources, job: Any, profile: Profile, since: date, first: date) -> dg.ScheduleDefinition:
    """Each night at 01:30 Asia/Tokyo: a profile's weeks that were computed for others than are known now.

    Who leaves is out of all tables by then, and who was enrolled late is in them. Dates before `since` are never
    computed; partitions begin at `first`.
    """

    @dg.schedule(
        job=job,
        name=f"{PEOPLE_SCHEDULE}{profile.suffix}",
        cron_schedule=PEOPLE_CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Each night at 01:30 Japan time: the weeks that were computed before somebody was enrolled, left "
        f"or changed their permissions, the newest first, at most {WEEKS_A_RUN} in a run.",
    )
    def people_changed_schedule() -> Sequence[dg.RunRequest] | dg.SkipReason:
        lake, id_map = parts.lake(), parts.id_map()
        with lake.with_people():
            apply_announced(lake, id_map)
        people = id_map.identities().fingerprint()
        old = weeks_of_other_people(lake.with_tables(profile.folder), people, since)
        requests = [
            dg.RunRequest(
                # A daemon that was away makes up for several nights at once: one run is enough.
                run_key=f"{begin}-{end}:{today()}",
                tags={"dagster/asset_partition_range_start": str(begin), "dagster/asset_partition_range_end": str(end)},
            )
            for begin, end in ranges([week for week in old if week >= first])
        ]
        return requests or dg.SkipReason("all weeks were computed for the people who are known")

    return people_changed_schedule


def ranges(weeks: Sequence[date]) -> list[tuple[date, date]]:
    """Return weeks, given the newest first, as the first and last of those that follow each other."""
    found: list[tuple[date, date]] = []
    for week in weeks:
        begin, end = found[-1] if found else (week, week)
        if found and begin - week == timedelta(weeks=1) and end - week < timedelta(weeks=WEEKS_A_RUN):
            found[-1] = week, end
        else:
            found.append((week, week))
    return found


def surveys_schedule(parts: Resources, job: Any) -> dg.ScheduleDefinition:
    """Each day at 10:30 Asia/Tokyo, in programmes that have questionnaires."""

    @dg.schedule(
        job=job,
        name="surveys_schedule",
        cron_schedule=SURVEYS_CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Each day at 10:30 Japan time: whose questionnaire is due, and what was answered since.",
    )
    def surveys_schedule() -> dg.RunRequest | dg.SkipReason:
        if not has_surveys(parts):
            return dg.SkipReason("there is no licensed text (`qol survey template`), and no form was ever answered")
        return dg.RunRequest()

    return surveys_schedule
