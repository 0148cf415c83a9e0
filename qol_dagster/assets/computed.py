"""The step that computes: daily, weekly and status tables of some weeks in one go, with one engine or on Glue.

Belongs here: the order of the tables, and that nothing is made from rows that failed a check. One step, because an
engine costs more to start than a small week to compute, and because on AWS it is one Glue run: there all tables are
written before the first is checked.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from qol_dagster.alerts import tell_of_failed_step
from qol_dagster.assets.common import Computation, EtlConfig, cancelled_for_good, weeks_of
from qol_dagster.assets.daily import daily_result, daily_spec
from qol_dagster.assets.glue import Order, computed_on_glue
from qol_dagster.assets.status import status_result, status_spec
from qol_dagster.assets.weekly import weekly_result, weekly_spec
from qol_dagster.checks import check_specs
from qol_dagster.etl import materialize_daily, materialize_status, materialize_weekly
from qol_dagster.profiles import Profile
from qol_dagster.resources.glue import GlueJob
from qol_dagster.resources.platform import Platform

Results = tuple[Callable[[], dg.MaterializeResult], ...]
"""What makes the result of each table, in their order."""


def computed_assets(profile: Profile, shown: dict[str, Any], options: dict[str, Any]) -> dg.AssetsDefinition:
    """The three tables; `shown` is what the specs of all assets share, `options` what the steps do."""
    specs = [make(profile) for make in (daily_spec, weekly_spec, status_spec)]

    @dg.multi_asset(
        name=profile.step,
        specs=[spec.replace_attributes(**shown) for spec in specs],
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
        run = Computation(context, lake, weeks_of(context), profile, people.identities(), ids)
        job = platform.glue_job()
        how = _on_glue(run, config, platform, job) if job else _here(run, config, platform)
        with cancelled_for_good(), how as results:
            for spec, make in zip(specs, results, strict=True):
                if spec.key in context.selected_asset_keys:
                    result = make()
                    yield result
                    if not all(check.passed for check in result.check_results or ()):
                        return  # Dagster fails the step, and names the check

    return weekly_etl


@contextmanager
def _here(run: Computation, config: EtlConfig, platform: Platform) -> Iterator[Results]:
    """With an engine in this process; each table is computed when its result is asked for."""
    now, thresholds = datetime.now(UTC), run.profile.thresholds
    with platform.engine(None if config.engine == "default" else config.engine) as engine:
        run = replace(run, made_by={"engine": engine.name})
        inputs = (engine, run.lake, run.weeks)
        yield (
            lambda: daily_result(
                run,
                materialize_daily(
                    *inputs,
                    run.identities,
                    since=platform.settings.start_date,
                    thresholds=thresholds,
                    force=config.force,
                    log=run.context.log.info,
                ),
            ),
            lambda: weekly_result(run, materialize_weekly(*inputs, computed_at=now, thresholds=thresholds)),
            lambda: status_result(
                run, materialize_status(*inputs, run.identities, computed_at=now, thresholds=thresholds)
            ),
        )


@contextmanager
def _on_glue(run: Computation, config: EtlConfig, platform: Platform, job: GlueJob) -> Iterator[Results]:
    """All tables at once, also if only some were selected: the others take no harm from being up to date."""
    if config.engine != "default":
        raise dg.Failure("on AWS the Glue job computes weeks, with Spark; leave the engine out", allow_retries=False)
    order = Order(run.weeks, run.profile, platform.settings.start_date, config.force)
    report, made_by = computed_on_glue(run.context, job, run.lake, order)
    run = replace(run, made_by=made_by)
    yield (
        lambda: daily_result(run, report.daily),
        lambda: weekly_result(run, report.weekly),
        lambda: status_result(run, report.status),
    )
