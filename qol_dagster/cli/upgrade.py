"""`qol upgrade`: what this release computes again, and computing it week by week.

Belongs here: options, messages and layout. Which weeks are old, `pipeline/upgrade.py` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qol_dagster.cli.common import note, read_settings, terminal_width
from qol_dagster.cli.output import Format, rendered
from qol_dagster.errors import QolError, QolInputError
from qol_dagster.metrics.profiles import PROFILES, Profile, ProfileName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qol_dagster.pipeline.upgrade import OldWeek
    from qol_dagster.settings import Settings

COLUMNS = ("week", "metrics", "days", "weekly", "status", "mb_to_parse")


class UpgradeError(QolError):
    """A week was not computed; the newer ones are done."""


def upgrade(
    *,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be computed again; nothing is changed.")
    ] = False,
    run: Annotated[bool, typer.Option("--run", help="Compute it, a week at a time, the newest first.")] = False,
    profile: Annotated[ProfileName, typer.Option(help="Whose tables; as in `qol materialize`.")] = "default",
    form: Annotated[Format, typer.Option("--format", help="How the plan is printed.")] = "table",
) -> None:
    """Show what this release computes again, or compute it; stopped at any time, it goes on where it was."""
    settings = read_settings(existing=True)
    if settings.target != "local":
        raise QolInputError(
            "this works on one machine only: on AWS Glue computes, and knows what its release computes again",
            advice="Materialize weekly_metrics_job in Dagster, 13 weeks at a time, the newest first; "
            "docs/deploy-aws.md, Upgrade, has how to see what is done",
        )
    if plan == run:
        raise QolInputError("say --plan to see what would be computed again, or --run to compute it")
    weeks = _old_weeks(settings, PROFILES[profile])
    if run:
        _compute(settings, weeks, PROFILES[profile])
        return
    typer.echo(rendered(COLUMNS, [_row(week) for week in weeks], form, terminal_width()), nl=False)
    note(_summary(settings, weeks, PROFILES[profile]))


def _old_weeks(settings: Settings, profile: Profile) -> list[OldWeek]:
    from qol_dagster.pipeline.upgrade import old_weeks
    from qol_dagster.resources.platform import open_platform

    platform = open_platform(settings)
    with platform.engine() as engine:
        identities = platform.id_map().identities()
        since, thresholds = settings.start_date, profile.thresholds
        return old_weeks(engine, platform.lake(profile), identities, since=since, thresholds=thresholds)


def _row(old: OldWeek) -> tuple[object, ...]:
    yes = {True: "again", False: ""}
    mb = round(old.bytes_to_parse / 1e6, 1)
    return old.week, old.metrics_version, old.days, yes[old.weekly], yes[old.status], mb


def _summary(settings: Settings, weeks: Sequence[OldWeek], profile: Profile) -> str:
    from qol_dagster.defs.run_times import measured_times
    from qol_dagster.metrics.dictionary import METRICS_VERSION

    if not weeks:
        return f"nothing: all weeks are as metrics {METRICS_VERSION} of this release makes them"
    days, parsed = sum(week.days for week in weeks), sum(week.bytes_to_parse for week in weeks)
    measured = measured_times(settings, profile)
    time = f"about {_duration(measured.of(len(weeks), days))}" if measured else "unknown: no run here was measured"
    raw = f"raw bytes parsed again: {parsed / 1e6:,.1f} MB" if parsed else "no raw file is parsed again"
    return f"weeks: {len(weeks)}, days: {days}, to metrics {METRICS_VERSION}; {raw}; time: {time}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _compute(settings: Settings, weeks: Sequence[OldWeek], profile: Profile) -> None:
    from qol_dagster.cli.runs import materialize_weeks

    for number, old in enumerate(weeks, 1):
        done = materialize_weeks(settings, [old.week], profile=profile)
        if not done.success:
            raise UpgradeError(
                f"the week of {old.week} was not computed: {done.message} (run {done.run_id})",
                advice="`qol upgrade --run` goes on from here once the reason is gone: what is done is skipped",
            )
        typer.echo(f"{number} of {len(weeks)}  {old.week}  days computed: {done.days_recomputed}, {done.seconds:.1f} s")
    note("all weeks are as this release makes them")
