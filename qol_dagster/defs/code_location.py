"""The code location: everything Dagster loads, built from the settings.

Belongs here: which assets, jobs, schedules and sensors there are, and that a run sees the partitions that were loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType

from qol_dagster.defs.alerts import failure_sensor
from qol_dagster.defs.assets import all_assets
from qol_dagster.defs.assets.surveys import surveys_job
from qol_dagster.defs.backups import backup_job, backup_schedule, backup_sensor
from qol_dagster.defs.jobs import garmin_backfill_job, weekly_job
from qol_dagster.defs.partitions import first_week, partitions_from
from qol_dagster.defs.resources import as_dagster
from qol_dagster.defs.retention import retention_job, retention_schedule
from qol_dagster.defs.schedules import people_schedule, surveys_schedule, weekly_schedule
from qol_dagster.defs.sensors import arrivals_sensor
from qol_dagster.defs.unread import unread_sensor
from qol_dagster.defs.watch import watch_sensor
from qol_dagster.metrics.profiles import DEFAULT, PROFILES
from qol_dagster.resources.platform import Resources, open_platform
from qol_dagster.settings import Settings, load_settings

FIRST_WEEK = "qol/first_week"
"""Under which name the Monday of the first partition is given to the processes of runs."""


def build_defs(
    settings: Settings, *, first: date | None = None, resource_overrides: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """Return the definitions of a deployment; tests swap single parts of `Resources` through `resource_overrides`.

    Partitions begin at the Monday `first`, by default at the start date of the settings.
    """
    platform = open_platform(settings)
    resources = Resources.of(platform, resource_overrides)
    first = first or settings.start_date
    jobs = {profile: weekly_job(profile) for profile in PROFILES.values()}
    job, surveys = jobs[DEFAULT], surveys_job()
    return dg.Definitions(
        assets=all_assets(partitions_from(first), settings.owners, platform.kinds),
        jobs=[
            *(*jobs.values(), garmin_backfill_job(), surveys, retention_job(), backup_job()),
        ],
        schedules=[
            *(weekly_schedule(job, first), surveys_schedule(resources, surveys)),
            *(people_schedule(resources, of, profile, settings.start_date, first) for profile, of in jobs.items()),
            *(retention_schedule(), backup_schedule(settings)),
        ],
        sensors=[
            arrivals_sensor(resources, job, settings.start_date, first),
            failure_sensor(resources),
            unread_sensor(resources),
            watch_sensor(resources),
            backup_sensor(resources),
        ],
        resources=as_dagster(resources),
        executor=dg.in_process_executor,
    )


def first_week_of(settings: Settings) -> date:
    """Return the Monday at which the partitions of a deployment begin now."""
    if settings.target == "local" and not settings.lake_dir.is_dir():
        return settings.start_date
    return first_week(open_platform(settings).lake, settings.start_date)


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: the definitions of this process's `QOL_*` variables.

    The process of a run is handed the first week that the code location has, and does not look for it again: data that
    came since then must not change the partitions of a run under way.
    """
    settings, loading = load_settings(), DefinitionsLoadContext.get()
    was = loading.reconstruction_metadata if loading.load_type == DefinitionsLoadType.RECONSTRUCTION else {}
    first = date.fromisoformat(was[FIRST_WEEK]) if FIRST_WEEK in was else first_week_of(settings)
    loading.add_to_pending_reconstruction_metadata(FIRST_WEEK, first.isoformat())
    return build_defs(settings, first=first)
