"""The code location: everything Dagster loads, built from the settings.

Belongs here: which assets, jobs, schedules and sensors there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from qol_dagster.defs.alerts import failure_sensor
from qol_dagster.defs.assets import all_assets
from qol_dagster.defs.assets.surveys import surveys_job
from qol_dagster.defs.jobs import garmin_backfill_job, weekly_job
from qol_dagster.defs.partitions import partitions_from
from qol_dagster.defs.resources import as_dagster
from qol_dagster.defs.schedules import weekly_schedule
from qol_dagster.defs.sensors import arrivals_sensor
from qol_dagster.defs.unread import unread_sensor
from qol_dagster.metrics.profiles import DEFAULT, PROFILES
from qol_dagster.resources.platform import Resources, open_platform
from qol_dagster.settings import Settings, load_settings


def build_defs(settings: Settings, *, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions of a deployment; tests swap single parts of `Resources` through `resource_overrides`."""
    platform = open_platform(settings)
    resources = Resources.of(platform, resource_overrides)
    partitions = partitions_from(settings.start_date)
    job = weekly_job()
    other_jobs = [weekly_job(profile) for profile in PROFILES.values() if profile is not DEFAULT]
    return dg.Definitions(
        assets=all_assets(partitions, settings.owners, platform.kinds),
        jobs=[job, *other_jobs, garmin_backfill_job(), surveys_job()],
        schedules=[weekly_schedule(job, settings.start_date)],
        sensors=[
            arrivals_sensor(resources, job, settings.start_date),
            failure_sensor(resources),
            unread_sensor(resources),
        ],
        resources=as_dagster(resources),
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: the definitions of this process's `QOL_*` variables."""
    return build_defs(load_settings())
