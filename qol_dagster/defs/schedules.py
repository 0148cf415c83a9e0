"""When jobs start by themselves: the weekly one on Wednesday 09:05 in Japan, that of questionnaires each day after it.

The weekly run is of the last complete week, so that devices have two days to sync.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from qol_dagster.resources.platform import Resources
from qol_dagster.resources.survey_pages import has_surveys
from qol_dagster.weeks import TIMEZONE, WEEKLY_RUN_CRON, monday_of

WEEKLY_SCHEDULE = "weekly_metrics_schedule"
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
