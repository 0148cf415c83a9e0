"""The step that computes: daily, weekly and status tables of some weeks in one go, with one engine.

Belongs here: the order of the tables, and that nothing is made from rows that failed a check. One step, because an
engine costs more to start than a small week to compute, and because on AWS it is one Glue run.
"""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from qol_dagster.alerts import tell_of_failed_step
from qol_dagster.assets.common import Computation, EtlConfig, weeks_of
from qol_dagster.assets.daily import daily_result, daily_spec
from qol_dagster.assets.status import status_result, status_spec
from qol_dagster.assets.weekly import weekly_result, weekly_spec
from qol_dagster.checks import check_specs
from qol_dagster.profiles import Profile
from qol_dagster.resources.platform import Platform


def computed_assets(profile: Profile, shown: dict[str, Any], options: dict[str, Any]) -> dg.AssetsDefinition:
    """The three tables; `shown` is what the specs of all assets share, `options` what the steps do."""
    specs = [make(profile) for make in (daily_spec, weekly_spec, status_spec)]

    @dg.multi_asset(
        name=profile.step,
        specs=[spec.replace_attributes(kinds={"duckdb", "parquet"}, **shown) for spec in specs],
        check_specs=[check for spec in specs for check in check_specs(spec.key.to_user_string())],
        hooks={tell_of_failed_step},
        can_subset=True,
        **options,
    )
    def weekly_etl(
        context: dg.AssetExecutionContext, config: EtlConfig, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.MaterializeResult]:
        lake, people = platform.lake(profile), platform.id_map()
        if changed := people.replay(lake.lifecycle_lines()):
            context.log.info("deregistrations and changes of permissions that were not applied before: %d", changed)
        ids = [one.garmin_user_id for one in people.list()]
        with platform.engine(None if config.engine == "default" else config.engine) as engine:
            run = Computation(context, engine, lake, weeks_of(context), profile, people.identities(), ids)
            makers: tuple[Callable[[], dg.MaterializeResult], ...] = (
                lambda: daily_result(run, since=platform.settings.start_date, force=config.force),
                lambda: weekly_result(run),
                lambda: status_result(run),
            )
            for spec, make in zip(specs, makers, strict=True):
                if spec.key in context.selected_asset_keys:
                    result = make()
                    yield result
                    if not all(check.passed for check in result.check_results or ()):
                        return  # Dagster fails the step, and names the check

    return weekly_etl
