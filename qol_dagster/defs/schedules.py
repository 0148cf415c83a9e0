"""The weekly schedule: Wednesday 09:05 in Japan, for the last complete week, so that devices have two days to sync."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from qol_dagster.weeks import TIMEZONE, WEEKLY_RUN_CRON, monday_of

WEEKLY_SCHEDULE = "weekly_metrics_schedule"


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
