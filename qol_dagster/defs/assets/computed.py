"""The step that computes: daily, weekly and status tables of some weeks in one go, with one engine or on Glue.

Belongs here: the order of the tables, and that nothing is made from rows that failed a check. One step, because an
engine costs more to start than a small week to compute, and because on AWS it is one Glue run: it holds the checks
before it writes, and here they are held once more of what is stored.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg

from qol_dagster.defs.alerts import notify_failed_step
from qol_dagster.defs.assets.common import Computation, EtlConfig, cancelled_for_good, readable_failures, weeks_of
from qol_dagster.defs.assets.daily import daily_result, daily_spec
from qol_dagster.defs.assets.external import id_map_observation
from qol_dagster.defs.assets.glue import GlueRequest, compute_on_glue
from qol_dagster.defs.assets.overlap import Table, write_in_order
from qol_dagster.defs.assets.status import status_result, status_spec
from qol_dagster.defs.assets.weekly import weekly_result, weekly_spec
from qol_dagster.defs.checks import check_specs
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.profiles import DEFAULT, Profile
from qol_dagster.pipeline.announced import apply_announced
from qol_dagster.pipeline.etl import following_weeks, materialize_daily, materialize_weekly
from qol_dagster.pipeline.reports import DailyReport
from qol_dagster.pipeline.status import materialize_status
from qol_dagster.resources.id_map import People
from qol_dagster.resources.platform import Computer

Tables = tuple[Table, ...]
"""In their order: each is made from those before."""


def computed_assets(profile: Profile, shown: dict[str, Any], options: dict[str, Any]) -> dg.AssetsDefinition:
    """Return the three tables; `shown` is what the specs of all assets share, `options` what the steps do."""
    specs = [make(profile).replace_attributes(**shown) for make in (daily_spec, weekly_spec, status_spec)]
    if profile is DEFAULT:
        specs[-1] = specs[-1].replace_attributes(group_name="people")

    @dg.multi_asset(
        name=profile.step,
        specs=specs,
        check_specs=[check for spec in specs for check in check_specs(spec.key.to_user_string())],
        hooks={notify_failed_step},
        can_subset=True,
        **options,
    )
    def weekly_etl(
        context: dg.AssetExecutionContext,
        config: EtlConfig,
        lake: dg.ResourceParam[Lake],
        id_map: dg.ResourceParam[People],
        computer: dg.ResourceParam[Computer],
    ) -> Iterator[dg.MaterializeResult]:
        with readable_failures(context), lake.with_people():
            if changed := apply_announced(lake, id_map):
                context.log.info("deregistrations and changes of permissions that were not applied before: %d", changed)
            everyone = id_map.list()
            context.log_event(id_map_observation(everyone))
            ids = [one.garmin_user_id for one in everyone]
            tables_of = lake.with_tables(profile.folder).of_run(context.run.run_id)
            run = Computation(context, tables_of, weeks_of(context), profile, id_map.identities(), ids)
            how = _on_glue(run, config, computer) if computer.glue_job else _in_this_process(run, config, computer)
            with cancelled_for_good(), how as tables:
                selected = context.selected_asset_keys
                yield from write_in_order(
                    [table for spec, table in zip(specs, tables, strict=True) if spec.key in selected]
                )

    return weekly_etl


@contextmanager
def _in_this_process(run: Computation, config: EtlConfig, computer: Computer) -> Iterator[Tables]:
    """With an engine in this process."""
    now, thresholds = datetime.now(UTC), run.profile.thresholds
    with computer.engine(None if config.engine == "default" else config.engine) as engine:
        run = replace(run, made_by={"engine": engine.name})
        daily = partial(
            materialize_daily,
            engine,
            run.lake,
            run.weeks,
            run.identities,
            since=computer.since,
            thresholds=thresholds,
            force=config.force,
            log=run.context.log.debug,  # of each table, one line comes at its end
        )
        weeks = [*run.weeks]

        def daily_first() -> DailyReport:
            report = daily()
            weeks.extend(following_weeks(run.lake, report, run.weeks))
            return report

        inputs = (engine, run.lake, weeks)
        weekly = partial(materialize_weekly, *inputs, computed_at=now, thresholds=thresholds)
        status = partial(materialize_status, *inputs, run.identities, computed_at=now, thresholds=thresholds)
        yield _tables(run, daily_first, weekly, status)


@contextmanager
def _on_glue(run: Computation, config: EtlConfig, computer: Computer) -> Iterator[Tables]:
    """Yield all tables at once, also if only some were selected: the others take no harm from being up to date."""
    if config.engine != "default":
        raise dg.Failure("on AWS the Glue job computes weeks, with Spark; leave the engine out", allow_retries=False)
    if computer.glue_job is None:
        raise TypeError("there is no Glue job")
    request = GlueRequest(run.weeks, run.profile, computer.since, config.force)
    report, made_by = compute_on_glue(run.context, computer.glue_job, run.lake, request)
    run = replace(run, made_by=made_by)
    yield _tables(run, lambda: report.daily, lambda: report.weekly, lambda: report.status)


def _tables(run: Computation, *writers: Callable[[], Any]) -> Tables:
    describers: tuple[Callable[..., dg.MaterializeResult], ...] = (daily_result, weekly_result, status_result)
    return tuple(Table(write, partial(describe, run)) for write, describe in zip(writers, describers, strict=True))
