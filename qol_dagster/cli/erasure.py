"""`qol participants withdraw` and `erase`: a person who stops, and one of whom everything goes.

Belongs here: options and messages. What goes from where is `erasure/`'s.
"""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qol_dagster.cli.common import note, read_settings
from qol_dagster.cli.output import Format, rendered
from qol_dagster.errors import QolError

if TYPE_CHECKING:
    from qol_dagster.erasure.erase import ErasureReport

PLACES = ("place", "number")


class NotErasedError(QolError):
    """Something is left of a person, or the registration at Garmin goes on."""


def withdraw(
    participant_id: Annotated[str, typer.Argument(help="The participant's id.")],
    *,
    at_garmin: Annotated[
        bool, typer.Option("--at-garmin", help="End the registration at Garmin too: no more data is sent.")
    ] = False,
) -> None:
    """Store, fetch and compute nothing more of a participant; what is there stays, in the tables too.

    `revoke` takes the rows out of the tables at the next run, `erase` takes everything out of everywhere.
    """
    from qol_dagster.resources.garmin_cloud import Garmin
    from qol_dagster.resources.platform import open_platform
    from qol_dagster.resources.survey_pages import withdraw_links

    settings = read_settings(existing=True)
    platform, cloud = open_platform(settings), Garmin(settings)
    people = platform.id_map()
    users = [one.garmin_user_id for one in people.list() if one.participant_id == participant_id]
    people.withdraw(participant_id, first_date_not_computed(platform.lake().table_dates("weekly")))
    platform.ledger().append("withdrawn", users, [participant_id])
    cloud.invitations.withdraw(participant_id)
    withdraw_links(settings, participant_id)
    typer.echo(f"{participant_id} has withdrawn; what is there stays, and nothing is added")
    problems = cloud.disconnect(participant_id, at_garmin=at_garmin)
    if problems:
        goes_on = "the registration at Garmin goes on" if at_garmin else "the tokens are not forgotten"
        raise NotErasedError(f"{goes_on}, do the same again: {'; '.join(problems)}")


def first_date_not_computed(weeks: list[date]) -> date:
    """Return the day after the last week that was computed; the first date there is if none was."""
    return weeks[-1] + timedelta(weeks=1) if weeks else date.min


def erase(
    person: Annotated[str, typer.Argument(metavar="P", help="A participant id, or Garmin's userId.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count by place; change nothing.")] = False,
    prove: Annotated[bool, typer.Option("--prove", help="Write a signed report, and print where it is.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How the counts are printed.")] = "table",
) -> None:
    """Remove everything of a person from QOL_HOME and its backups, or on AWS, and search all bytes for what is left.

    Everybody else's data stays as it is. Given again, it goes on where it stopped. There is no way back.
    """
    from qol_dagster.erasure.erase import count_person, save_report
    from qol_dagster.erasure.erase import erase as erase_person

    settings = read_settings(existing=True)
    if dry_run:
        typer.echo(rendered(PLACES, list(count_person(settings, person).items()), form), nl=False)
        return
    if not yes and sys.stdin.isatty():
        typer.confirm("Everything of this person is removed, and there is no way back. Go on?", abort=True)
    report = erase_person(settings, person, log=note if sys.stderr.isatty() else lambda _text: None)
    typer.echo(rendered(PLACES, list(report.counts.items()), form), nl=False)
    if prove:
        typer.echo(save_report(settings, report))
    _tell(report)


def verify_erasure(
    report: Annotated[Path, typer.Argument(help="A file that `erase --prove` wrote.")],
    person: Annotated[
        str, typer.Argument(metavar="[P]", help="Whom it is to be about: a participant id, or Garmin's userId.")
    ] = "",
) -> None:
    """Say whether a report of an erasure is as it was signed here, and about a person. Exit code 2 if not."""
    from qol_dagster.erasure.proof import verify_report
    from qol_dagster.resources.platform import open_platform

    told = verify_report(open_platform(read_settings(existing=True)).ledger(), report, person.strip())
    whom = ", about that person" if person else ""
    found = "nothing was left" if told.is_complete else f"left: {', '.join(told.left)}"
    typer.echo(f"genuine{whom}: begun {told.begun_at}, ended {told.ended_at}; {found}")


def _tell(report: ErasureReport) -> None:
    for place, why in report.left.items():
        note(f"left: {place}: {why}")
    for place, until in report.stays.items():
        note(f"stays: {place}: {until}")
    if not report.is_complete:
        raise NotErasedError(
            "the person is not erased from everywhere", advice="Do what is said above, and give the same command again"
        )
    searched = f"{report.files_searched} files, {report.bytes_searched / 1e6:.1f} MB"
    note(f"erased; a search over all bytes ({searched}) finds nothing. Your own copies elsewhere are yours to delete")
