"""`qol participants`: who is enrolled, invited, revoked.

Belongs here: options, messages and layout. Who withdraws or is erased is `erasure.py`'s; a command of the same group.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qol_dagster.cli.common import NotPossibleError, UsageError, note, read_settings, terminal_width
from qol_dagster.cli.erasure import erase, verify_erasure, withdraw
from qol_dagster.cli.output import Format, in_japan, rendered

if TYPE_CHECKING:
    from qol_dagster.resources.id_map import Enrolment, People
    from qol_dagster.settings import Settings


participants = typer.Typer(
    help="Enrol, list, invite, revoke, withdraw and erase participants.", add_completion=False, rich_markup_mode="rich"
)


@participants.command()
def add(
    garmin_user_id: Annotated[str, typer.Argument(help="Garmin's userId.")],
    participant_id: Annotated[str | None, typer.Option("--participant-id", help="By default the next free.")] = None,
    *,
    after_erasure: Annotated[
        bool, typer.Option("--after-erasure", help="Of somebody who was erased, and has consented anew.")
    ] = False,
    after_leaving: Annotated[
        bool, typer.Option("--after-leaving", help="Of somebody who left at Garmin, and has consented anew.")
    ] = False,
) -> None:
    """Enrol a Garmin user; prints the participant id. Who has left at Garmin is enrolled only with a new consent."""
    from qol_dagster.resources.id_map import LeftError

    if after_erasure:
        _readmit([garmin_user_id.strip()], [participant_id] if participant_id else [])
    people = _current_id_map(read_settings(), {garmin_user_id.strip()})
    try:
        typer.echo(people.add(garmin_user_id, participant_id, after_leaving=after_leaving))
    except LeftError as error:
        advice = (
            "Nobody was enrolled. With a new consent, send a link (`qol participants invite`), or enrol with "
            "`qol participants add ... --after-leaving`"
        )
        raise LeftError(str(error), advice=advice) from None


@participants.command(name="import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with the columns garmin_user_id, participant_id and, if it is known, enrolled_at."),
    ],
    *,
    after_leaving: Annotated[
        bool, typer.Option("--after-leaving", help="Also who left, at Garmin or here: all have consented anew.")
    ] = False,
) -> None:
    """Enrol everybody of a CSV file but who has left, or nobody when a line of it is wrong."""
    from qol_dagster.resources.id_map import read_csv

    rows = read_csv(file)
    found = _current_id_map(read_settings(), {user for user, *_ in rows}).import_rows(rows, after_leaving=after_leaving)
    typer.echo(f"{found.enrolled} enrolled")
    if found.left:
        raise NotPossibleError(
            f"{len(found.left)} not enrolled: {'; '.join(found.left)}",
            advice="With a new consent, import these entries with --after-leaving; else take them out of the file",
        )


@participants.command(name="list")
def list_(form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table") -> None:
    """Show who is enrolled, without Garmin's ids."""
    everyone = _current_id_map(read_settings(existing=True)).list()
    rows = [(one.participant_id, one.status, _moment(one.updated_at)) for one in everyone if one.participant_id]
    typer.echo(rendered(("participant_id", "status", "updated_at"), rows, form, terminal_width()), nl=False)
    if pending := sum(one.is_pending for one in everyone):
        note(
            f"{pending} Garmin users push data and are not enrolled; it is kept and counts for nobody "
            "(`qol participants pending`)"
        )


@participants.command(name="pending")
def pending_(form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table") -> None:
    """Show who pushes data and is not enrolled: Garmin's id masked, since when, records of the last 28 dates."""
    from qol_dagster.resources.garmin_cloud import Garmin

    settings = read_settings(existing=True)
    _current_id_map(settings)  # who has left meanwhile is pending no longer
    waiting = Garmin(settings).pending()
    rows = [(one.garmin_user, _moment(one.since), one.records) for one in waiting]
    typer.echo(rendered(("garmin_user", "since", "records"), rows, form, terminal_width()), nl=False)


@participants.command()
def forget(
    garmin_user: Annotated[str, typer.Argument(help="Garmin's userId, or as `qol participants pending` shows it.")],
    *,
    participant_id: Annotated[
        str, typer.Option("--participant-id", help="Whose account it is, if it was enrolled by mistake.")
    ] = "",
) -> None:
    """Remove a Garmin user who is nobody or was enrolled by mistake, with history and tokens. Raw files stay."""
    from qol_dagster.resources.garmin_cloud import Garmin

    Garmin(read_settings(existing=True)).forget(garmin_user, participant_id)
    typer.echo("forgotten; whoever still pushes data becomes pending again")


@participants.command()
def invite(
    participant_id: Annotated[str, typer.Argument(help="The id the participant has, or is to have.")],
    *,
    after_erasure: Annotated[
        bool, typer.Option("--after-erasure", help="Of somebody who was erased, and has consented anew.")
    ] = False,
) -> None:
    """Make a link by which a participant connects a Garmin account. It works once, for two weeks."""
    from qol_dagster.resources.garmin_cloud import Garmin

    if after_erasure:
        _readmit([], [participant_id])
    code, url = Garmin(read_settings()).invite(participant_id)
    typer.echo(url)
    note(f"entry code {code}; an older link of {participant_id} is void. It is shown this once and kept nowhere")


@participants.command()
def show(participant_id: Annotated[str, typer.Argument(help="The participant's id.")]) -> None:
    """Show what is known of a participant, without Garmin's ids: accounts, permissions, connection, history."""
    from qol_dagster.resources.garmin_cloud import Garmin

    settings = read_settings(existing=True)
    _current_id_map(settings)  # the history has what was announced meanwhile
    cloud = Garmin(settings)
    accounts = [one for one in cloud.id_map.list() if one.participant_id == participant_id]
    waiting = [one for one in cloud.invitations.open() if one.participant_id == participant_id]
    if not accounts and not waiting:
        raise UsageError(f"there is no participant {participant_id}; `qol participants list` shows who there is")
    for number, one in enumerate(accounts, start=1):
        typer.echo(f"account {number}: {one.status}, {cloud.connection(one)} to Garmin; permissions: {_allowed(one)}")
    for invitation in waiting:
        typer.echo(f"invited until {in_japan(invitation.expires_at)}")
    for change in cloud.id_map.history(participant_id):
        typer.echo(f"{in_japan(_moment(change.at))}  {change.what}")


def _moment(text: str) -> datetime:
    """Return a time that the id map has, ISO 8601 in UTC."""
    return datetime.fromisoformat(text)


def _allowed(account: Enrolment) -> str:
    """Return what an account permits, and when Garmin was asked."""
    if account.permissions is None:
        return "unknown"
    asked = f" (asked {in_japan(_moment(account.permissions_at))})" if account.permissions_at else ""
    return (", ".join(account.permissions) or "nothing") + asked


@participants.command()
def revoke(
    participant_id: Annotated[str, typer.Argument(help="The participant's id.")],
    *,
    at_garmin: Annotated[
        bool, typer.Option("--at-garmin", help="End the registration at Garmin too: no more data is sent.")
    ] = False,
    keep_tokens: Annotated[
        bool, typer.Option("--keep-tokens", help="Keep the tokens, to take the participant back in with `add`.")
    ] = False,
) -> None:
    """Stop using a participant's data from the next run on, and forget the Garmin tokens. Raw files stay.

    The rows of the weeks that are run again go. With `withdraw` they stay, with `erase` the raw files go too.
    """
    from qol_dagster.resources.garmin_cloud import Garmin
    from qol_dagster.resources.survey_pages import withdraw_links

    if at_garmin and keep_tokens:
        raise UsageError("tokens are worth nothing after --at-garmin; leave --keep-tokens out")
    cloud = Garmin(read_settings(existing=True))
    cloud.id_map.revoke(participant_id)
    cloud.invitations.withdraw(participant_id)
    withdraw_links(cloud.settings, participant_id)
    typer.echo(f"{participant_id} revoked; run the weeks again to take the data out of the tables")
    problems = [] if keep_tokens else cloud.disconnect(participant_id, at_garmin=at_garmin)
    if problems:
        goes_on = "the registration at Garmin goes on" if at_garmin else "the tokens are not forgotten"
        raise NotPossibleError(f"{goes_on}, do the same again: {'; '.join(problems)}")


participants.command()(withdraw)
participants.command()(erase)
participants.command()(verify_erasure)


def _readmit(users: Sequence[str], participant_ids: Sequence[str]) -> None:
    """Note that staff take somebody back in who was erased."""
    from qol_dagster.resources.platform import open_platform

    open_platform(read_settings()).ledger().append("readmitted", users, participant_ids)


def _current_id_map(settings: Settings, users: Collection[str] = ()) -> People:
    """Return the id map, in which everything counts that Garmin announced; of `users` also if nobody knew them.

    On AWS the puller applies it on arrival, and staff may not read raw files.
    """
    from qol_dagster.resources.platform import open_platform

    platform = open_platform(settings)
    people = platform.id_map()
    if settings.target == "local":
        lake, ledger = platform.lake(), platform.ledger()
        allowed = {user for user in users if ledger.state_of_user(user) in (None, "readmitted")}
        people.replay(lake.lifecycle_lines(lake.lifecycle_objects()), allowed)
    return people
