"""The weekly schedule: Wednesday 09:05 in Japan, for the last complete week, so that devices have two days to sync."""

from __future__ import annotations

from typing import Any

import dagster as dg


def weekly_schedule(job: Any) -> Any:
    """Wednesday 09:05 Asia/Tokyo; the time zone is the partitions'."""
    return dg.build_schedule_from_partitioned_job(
        job,
        name="weekly_metrics_schedule",
        day_of_week=3,
        hour_of_day=9,
        minute_of_hour=5,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every Wednesday at 09:05 Japan time: the last complete week.",
    )
