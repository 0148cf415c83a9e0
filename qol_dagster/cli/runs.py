"""Running the weekly job from a command line: the same job the schedule runs, in this process.

Belongs here: which weeks may be asked for, and what came of a run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from qol_dagster.defs.instance import LOCATION_TAG, dagster_instance, new_run
from qol_dagster.errors import QolInputError
from qol_dagster.metrics.profiles import DEFAULT, Profile
from qol_dagster.metrics.tables import TableId
from qol_dagster.settings import Settings
from qol_dagster.weeks import mondays


class WeekError(QolInputError):
    """A week cannot be computed; the message says which and why."""


@dataclass(frozen=True)
class RunOutcome:
    """What came of a run. `message` is the reason of a failure, without ids of people."""

    success: bool
    run_id: str
    message: str
    weekly_rows: dict[date, int]
    days_reused: int
    days_recomputed: int
    seconds: float


def materialize_weeks(
    settings: Settings,
    weeks: Sequence[date],
    engine: str = "default",
    *,
    force: bool = False,
    profile: Profile = DEFAULT,
) -> RunOutcome:
    """Run a profile's job once for all weeks from the first to the last of these dates' weeks.

    The run is kept in Dagster's home, where its UI shows it. Raises WeekError for weeks that are not over or are
    before the start date.
    """
    chosen = check_weeks(settings, weeks)
    started = time.perf_counter()
    with dagster_instance(settings) as instance, new_run(instance, settings) as run_id:
        from qol_dagster.defs.code_location import build_defs, first_week_of

        first = min(chosen[0], first_week_of(settings))
        job = build_defs(settings, first=first).resolve_job_def(profile.job)
        result = job.execute_in_process(
            run_id=run_id,
            instance=instance,
            raise_on_error=False,
            run_config=_run_config(engine, force, profile),
            tags={
                "dagster/asset_partition_range_start": chosen[0].isoformat(),
                "dagster/asset_partition_range_end": chosen[-1].isoformat(),
                **LOCATION_TAG,
            },
        )
        return _outcome(settings, result, chosen, profile, time.perf_counter() - started)


def check_weeks(settings: Settings, weeks: Sequence[date]) -> list[date]:
    """Return the Mondays from the first week to the last, when all of them can be computed."""
    from qol_dagster.weeks import is_closed, today

    named = mondays(weeks)
    if not named:
        raise WeekError("no week was named")
    chosen = [named[0] + timedelta(weeks=number) for number in range((named[-1] - named[0]).days // 7 + 1)]
    if chosen[0] < settings.start_date:
        raise WeekError(
            f"the week of {chosen[0]} is before the start date {settings.start_date}; set QOL_START_DATE earlier"
        )
    if not is_closed(chosen[-1], today()):
        raise WeekError(f"the week of {chosen[-1]} is not over yet in Japan; ask again after its Sunday")
    return chosen


def _run_config(engine: str, force: bool, profile: Profile) -> dict[str, Any]:
    ops = {profile.step: {"config": {"engine": engine, "force": force}}}
    return {"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _outcome(settings: Settings, result: Any, weeks: list[date], profile: Profile, seconds: float) -> RunOutcome:
    if not result.success:
        return RunOutcome(False, result.run_id, _reason(settings, result), {}, 0, 0, seconds)
    made = result.asset_materializations_for_node(profile.step)
    daily = next(one.metadata for one in made if one.asset_key.path == [TableId("daily", profile).name])
    weekly = result.asset_materializations_for_node(TableId("weekly", profile).catalogue_asset)
    rows = {date.fromisoformat(one.partition): int(one.metadata["dagster/partition_row_count"].value) for one in weekly}
    return RunOutcome(
        True,
        result.run_id,
        "",
        {week: rows[week] for week in weeks},
        int(daily["run/days_reused"].value),
        int(daily["run/days_recomputed"].value),
        seconds,
    )


def _reason(settings: Settings, result: Any) -> str:
    from qol_dagster.defs.alerts import confidential_values, reason_of, redacted
    from qol_dagster.resources.platform import open_platform

    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            return redacted(reason_of(event.step_failure_data.error), confidential_values(open_platform(settings)))
    return "the run failed; its log in Dagster says why"
