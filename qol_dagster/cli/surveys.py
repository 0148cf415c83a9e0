"""`qol survey`: forms that were answered elsewhere, and the tables made from all forms.

Belongs here: options and messages. What a file means is `surveys/importing.py`'s, what is computed
`pipeline/surveys.py`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qol_dagster.cli.common import note, read_settings
from qol_dagster.cli.output import Format, rendered
from qol_dagster.errors import QolInputError
from qol_dagster.surveys.importing import Source
from qol_dagster.surveys.waves import DEFAULT_PLAN, WavePlan
from qol_dagster.surveys.whoqol import DEFAULT_RULE, RuleName

if TYPE_CHECKING:
    from qol_dagster.resources.platform import Platform
    from qol_dagster.surveys.responses import Sending

surveys = typer.Typer(
    help="WHOQOL-26: forms answered elsewhere, and scores joined with the sensors.",
    add_completion=False,
    rich_markup_mode=None,
)


EveryWeeks = Annotated[int, typer.Option(min=1, help="Weeks from wave to wave.")]
Waves = Annotated[int, typer.Option(min=1, help="How many waves.")]
WindowDays = Annotated[int, typer.Option(min=0, help="Days that a form may be early or late.")]
DESCRIBED = ("wave", "domain", "n_forms", "n_scored", "alpha", "n_alpha", "floor", "ceiling", "nonresponse")


class SurveyFileError(QolInputError):
    """A file or an option of `qol survey` that is no use."""


@surveys.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="The file, in UTF-8 or Shift JIS.")],
    *,
    source: Annotated[Source, typer.Option("--from", help="What wrote it.")] = "csv",
    wave: Annotated[int | None, typer.Option(min=0, help="Wave of all forms, if the file has none.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", metavar="NAME=COLUMN", help="A column that is called otherwise.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would happen, and store nothing.")] = False,
) -> None:
    """Store the forms of a file, all or none of them; the same file twice changes nothing."""
    from qol_dagster.lake.surveys import write_sendings
    from qol_dagster.surveys.importing import read_file
    from qol_dagster.surveys.responses import ZONE

    platform = _platform()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SurveyFileError(f"{file} cannot be read: {error.strerror}") from error
    enrolled = set(platform.id_map().identities().active.values())
    found = read_file(
        content, source, received_at=datetime.now(UTC), enrolled=enrolled, wave=wave, columns=_columns(columns)
    )
    lake = platform.lake()
    known = set(lake.keys(ZONE))
    new = [one for one in found.sendings if one.key not in known]
    typer.echo(_waves(new), nl=False)
    unchanged = f"forms that were stored before: {len(found.sendings) - len(new)}"
    invalid = f"answers that are none of 1-5 and count as missing: {found.invalid_answers}"
    if dry_run:
        note(f"would store {len(new)} forms; {unchanged}; {invalid}. Nothing was stored")
        return
    note(f"stored {write_sendings(lake, new)} forms; {unchanged}; {invalid}. `qol survey score` brings the tables up")


@surveys.command()
def score(
    *,
    rule: Annotated[RuleName, typer.Option(help="Rule for missing items; it is stored with each score.")] = (
        DEFAULT_RULE
    ),
    every_weeks: EveryWeeks = DEFAULT_PLAN.every_weeks,
    waves: Waves = DEFAULT_PLAN.waves,
    window_days: WindowDays = DEFAULT_PLAN.window_days,
) -> None:
    """Compute all tables of questionnaires anew from the stored forms and `daily_metrics`."""
    from qol_dagster.pipeline.surveys import score_surveys

    plan = WavePlan(every_weeks=every_weeks, waves=waves, window_days=window_days)
    platform = _platform()
    people = platform.id_map().identities()
    report = score_surveys(platform.lake(), people, computed_at=datetime.now(UTC), rule=rule, plan=plan)
    for table, rows in report.rows.items():
        typer.echo(f"{table}  rows: {rows}")
    if report.not_enrolled:
        note(f"{report.not_enrolled} forms are of nobody who is enrolled, and were left out")
    if report.unreadable:
        note(f"{report.unreadable} lines under raw/surveys/ are no form, and were left out")


@surveys.command()
def describe(
    *,
    rule: Annotated[RuleName, typer.Option(help="Rule for missing items.")] = DEFAULT_RULE,
    form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table",
) -> None:
    """Show of each wave and domain Cronbach's alpha, the shares at both ends of the scale, and items left blank."""
    from qol_dagster.pipeline.surveys import describe_waves

    platform = _platform()
    found = describe_waves(platform.lake(), platform.id_map().identities(), rule=rule)
    rows = [[None if row[name] is None else _rounded(row[name]) for name in DESCRIBED] for row in found]
    typer.echo(rendered(DESCRIBED, rows, form), nl=False)


@surveys.command()
def simulate(
    *,
    seed: Annotated[int, typer.Option(min=0, help="The seed of `qol simulate`; it decides the answers too.")] = 0,
    every_weeks: EveryWeeks = DEFAULT_PLAN.every_weeks,
    waves: Waves = DEFAULT_PLAN.waves,
    window_days: WindowDays = DEFAULT_PLAN.window_days,
) -> None:
    """Have simulated participants answer the waves that are due: made-up marks, for demos and tests only."""
    from qol_dagster.pipeline.surveys import simulate_surveys
    from qol_dagster.weeks import today

    plan = WavePlan(every_weeks=every_weeks, waves=waves, window_days=window_days)
    platform = _platform()
    people = platform.id_map().identities()
    if real := _not_simulated(people.active, seed):
        raise SurveyFileError(
            f"{real} who are enrolled are not simulated with --seed {seed}; made-up answers never go beside real ones"
        )
    stored = simulate_surveys(platform.lake(), people, until=today(), seed=seed, plan=plan)
    typer.echo(f"pages and forms stored: {stored}")


def _not_simulated(garmin_user_ids: Collection[str], seed: int) -> int:
    """Return how many of these users are none of the simulated ones."""
    from garmin_sim.people import second_user_id, user_id

    indexes = range(100 + 10 * len(garmin_user_ids))
    simulated = {made(seed, index) for index in indexes for made in (user_id, second_user_id)}
    return len(set(garmin_user_ids) - simulated)


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def _platform() -> Platform:
    from qol_dagster.resources.platform import open_platform

    return open_platform(read_settings(existing=True))


def _columns(given: list[str] | None) -> dict[str, str]:
    pairs = [one.partition("=") for one in given or []]
    if wrong := [name + sign + column for name, sign, column in pairs if not (name and column)]:
        raise SurveyFileError(f"--map takes NAME=COLUMN, such as participant_id=subject, and not {wrong[0]!r}")
    return {name.strip(): column.strip() for name, _, column in pairs}


def _waves(sendings: list[Sending]) -> str:
    counts = Counter(one.wave for one in sendings)
    return "".join(f"wave {wave}  new forms: {counts[wave]}\n" for wave in sorted(counts))
