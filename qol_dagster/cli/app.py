"""The `qol` command.

Belongs here: options, messages, exit codes. Results go to stdout, everything else to stderr; 0 is success, 1 what
could not be done, 2 what was asked wrongly. What a command does is imported when it runs, so `--help` is quick.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import date
from typing import Annotated, Any, NoReturn

import typer

from qol_dagster.cli.backup import backup
from qol_dagster.cli.common import (
    NotPossibleError,
    UsageError,
    local_settings,
    note,
    read_settings,
    show_progress,
    terminal_width,
)
from qol_dagster.cli.dates import DATE
from qol_dagster.cli.export import export, samples
from qol_dagster.cli.fast_exit import run_and_exit
from qol_dagster.cli.garmin import garmin
from qol_dagster.cli.metrics import metrics
from qol_dagster.cli.output import Format
from qol_dagster.cli.participants import participants
from qol_dagster.cli.raw import raw
from qol_dagster.cli.retention import retention
from qol_dagster.cli.revisions import diff, freeze
from qol_dagster.cli.surveys import surveys
from qol_dagster.cli.upgrade import upgrade
from qol_dagster.engines import EngineName
from qol_dagster.errors import QolError
from qol_dagster.metrics.profiles import PROFILES, ProfileName
from qol_ingest.shared.languages import Language

OPTIONS: dict[str, Any] = {"add_completion": False, "rich_markup_mode": "rich"}
BEGIN, EVERY_WEEK, ASK, PEOPLE, DATA, KEEP = (
    "To begin with",
    "Every week",
    "Ask",
    "Participants and Garmin",
    "Raw data",
    "Keep",
)
"""The panels of `qol --help`, in their order."""

app = typer.Typer(
    help="From Garmin's webhook to weekly quality-of-life metrics.",
    context_settings={"help_option_names": ["-h", "--help"]},
    **OPTIONS,
)
webhook = typer.Typer(help="Receive Garmin's pushes.", **OPTIONS)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        from qol_dagster.metrics.dictionary import METRICS_VERSION

        typer.echo(f"qol {metadata.version('qol-dagster')}, metrics {METRICS_VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the versions and exit."),
    ] = False,
) -> None:
    """From Garmin's webhook to weekly quality-of-life metrics."""


@app.command(rich_help_panel=BEGIN)
def demo(
    number: Annotated[int, typer.Option("--participants", min=1, help="How many participants.")] = 20,
    weeks: Annotated[int, typer.Option(min=1, help="How many weeks.")] = 8,
) -> None:
    """Show the whole way once: a simulated Garmin cloud pushes over HTTP, the weekly job runs, a table is printed."""
    from qol_dagster.cli.demo import run_demo

    settings = local_settings()
    with show_progress() as progress:
        shown = run_demo(settings, number, weeks, note=note, progress=progress, width=terminal_width())
    typer.echo(shown, nl=False)


@app.command(rich_help_panel=BEGIN)
def doctor(
    webhook_url: Annotated[
        str, typer.Option("--webhook", metavar="URL", help="Send a test push to this URL and follow it to raw/.")
    ] = "",
) -> None:
    """Look over this installation and say what is missing and what to do. Exit code 1 if anything fails."""
    from qol_dagster.cli.doctor import examine, follow_push

    failed = False
    for one in follow_push(read_settings(existing=True), webhook_url) if webhook_url else examine():
        typer.echo(f"{one.state:<5} {one.what}: {one.found}" + (f". {one.advice}" if one.advice else ""))
        failed |= one.state == "FAIL"
    if failed:
        raise typer.Exit(1)


@app.command(rich_help_panel=EVERY_WEEK)
def heartbeat() -> None:
    """Say whether Dagster's daemon is at work, and alert once if it is not; for cron. Exit code 1 if it is not."""
    from qol_dagster.cli.heartbeat import heartbeat as look

    if gone := look(read_settings(existing=True)):
        note(gone)
        raise typer.Exit(1)
    typer.echo("Dagster's daemon is running")


@app.command(rich_help_panel=EVERY_WEEK)
def dev(
    arguments: Annotated[list[str] | None, typer.Argument(help="Handed on to `dagster dev`, after --.")] = None,
) -> None:
    """Start Dagster's UI, schedule and sensors on this QOL_HOME, until Ctrl+C ends all of it."""
    from qol_dagster.cli.dev import run_dev

    raise typer.Exit(run_dev(read_settings(), arguments or []))


@app.command(rich_help_panel=ASK)
def explore(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8322,
    language: Annotated[Language, typer.Option("--lang", help="Language of the first page.")] = "ja",
    as_of: Annotated[str, typer.Option(help="The tables as they were at a time, or in a freeze.")] = "",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve pages over the tables on this machine: distributions, trends, completeness, days, records, downloads."""
    from qol_dagster.cli.explore import run_explorer

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")

    def announce(url: str) -> None:
        typer.echo(url)
        note("stop with Ctrl+C; whoever uses this machine can open the page, which shows health data")
        sys.stdout.flush()

    settings = read_settings(existing=True)
    run_explorer(settings, port, language, as_of=as_of, open_browser=open_browser, announce=announce)


@app.command(rich_help_panel=BEGIN)
def simulate(
    *,
    number: Annotated[int, typer.Option("--participants", min=1, help="How many participants.")] = 20,
    weeks: Annotated[int, typer.Option(min=1, help="How many weeks.")] = 8,
    until: Annotated[
        date | None, typer.Option(**DATE, help="Last date; by default the last Sunday of which all is synced.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same data.")] = 0,
    to: Annotated[str, typer.Option(help="Push to this URL, as `qol webhook serve` printed it.")] = "",
    lake: Annotated[bool, typer.Option("--lake", help="Write straight into the lake of QOL_HOME.")] = False,
    enrol: Annotated[bool, typer.Option("--enrol", help="Enrol the simulated participants as well.")] = False,
    traps: Annotated[str, typer.Option(help="Oddities of real data to plant: names with commas, or all.")] = "",
    personas: Annotated[str, typer.Option(help="Kinds of people, in turn: names with commas; else the usual.")] = "",
) -> None:
    """Simulate participants' data: push it over HTTP, or write it straight into the lake."""
    import garmin_sim
    from qol_dagster.cli.demo import push
    from qol_dagster.cli.simulated import enrol as enrol_simulated
    from qol_dagster.resources.platform import open_platform

    if bool(to) == lake:
        raise UsageError("say where the data goes: --to URL or --lake")
    settings = local_settings() if lake else read_settings()
    with show_progress() as progress:
        try:
            sim = garmin_sim.Simulation.named(number, weeks, until, seed, traps=traps, personas=personas)
            if to:
                pushed = push(sim, to, client_id=settings.garmin_client_id, on_progress=progress("pushing"))
                size, what = pushed.bytes, f"{pushed.bodies} bodies in {pushed.seconds:.1f} s"
            else:
                written = garmin_sim.write_lake(sim, settings.lake_dir, on_progress=progress("writing"))
                size, what = written.bytes, f"{written.lines} lines in {written.files} files"
        except ValueError as error:
            raise UsageError(str(error)) from error
    if enrol:
        enrol_simulated(open_platform(settings).id_map(), sim)
    typer.echo(f"{sim.dates()[0]} to {sim.dates()[-1]}: {what}, {size / 1e6:.1f} MB")


@webhook.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8321,
    hide_secret: Annotated[
        bool, typer.Option("--hide-secret", help="Print *** for the secret: what a service prints ends in a log.")
    ] = False,
) -> None:
    """Take pushes and store them under raw/; prints the URL that Garmin (or `qol simulate`) is given.

    With Garmin's client id and secret it also fetches what pings announce, and answers participants who consent. With
    a licensed text it shows the questionnaire to whoever has a link of `qol survey invite`.
    """
    from qol_dagster.cli.demo import local_webhook, webhook_secret
    from qol_dagster.cli.surveys import served_survey
    from qol_dagster.resources.garmin_cloud import Garmin

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("qol_ingest").setLevel(logging.INFO)
    settings = local_settings()
    cloud = Garmin(settings)
    server = local_webhook(settings, host, port)
    server.survey = served_survey(settings, webhook_secret(settings))
    if hide_secret:
        typer.echo(f"{server.base_url}/garmin/***")
        note("stop with Ctrl+C; `qol webhook url` shows the URL with its secret")
    else:
        typer.echo(server.url)
        note("stop with Ctrl+C; the URL holds a secret, so share it with Garmin only")
    sys.stdout.flush()
    with cloud.at_work(server) if cloud.is_set_up else nullcontext():
        server.serve_forever()


@webhook.command()
def url(
    base: Annotated[str, typer.Option(help="Where the receiver is reached; by default QOL_PUBLIC_URL.")] = "",
) -> None:
    """Show the URL that Garmin is given. It holds the secret."""
    from urllib.parse import quote

    from qol_dagster.cli.demo import webhook_secret

    settings = local_settings()
    place = base.rstrip("/") or settings.public_url or "http://127.0.0.1:8321"
    typer.echo(f"{place}/garmin/{quote(webhook_secret(settings), safe='')}")


@app.command(rich_help_panel=EVERY_WEEK)
def materialize(
    week: Annotated[date, typer.Option(**DATE, help="Any date of the week.")],
    until: Annotated[date | None, typer.Option(**DATE, help="Any date of the last week, for several.")] = None,
    engine: Annotated[EngineName | None, typer.Option(help="What computes; by default QOL_ENGINE.")] = None,
    profile: Annotated[
        ProfileName, typer.Option(help="Thresholds; strict has tables of its own (db_qol.weekly_metrics_strict).")
    ] = "default",
    force: Annotated[bool, typer.Option("--force", help="Compute days anew though nothing changed.")] = False,
) -> None:
    """Run the weekly job for a week, or for all weeks until another; Dagster's UI shows the run."""
    from qol_dagster.cli.runs import materialize_weeks

    last = until or week
    if last < week:
        raise UsageError("--until is before --week")
    done = materialize_weeks(read_settings(), [week, last], engine or "default", force=force, profile=PROFILES[profile])
    if not done.success:
        raise NotPossibleError(f"{done.message} (run {done.run_id})")
    for monday, rows in done.weekly_rows.items():
        typer.echo(f"{monday}  participants: {rows}")
    days = f"days computed: {done.days_recomputed}, reused: {done.days_reused}"
    note(f"{days}, {done.seconds:.1f} s, run {done.run_id}")


@app.command(rich_help_panel=ASK)
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT on the tables that `qol tables` lists.")],
    form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table",
    excel: Annotated[
        bool, typer.Option("--excel", help="With --format csv: begin with the mark by which Excel knows UTF-8.")
    ] = False,
    as_of: Annotated[str, typer.Option(help="The tables as they were at a time, or in a freeze.")] = "",
) -> None:
    """Ask the tables of `db_qol` a question in SQL. Times are Japan's in a table, and UTC in CSV and JSON."""
    from qol_dagster.cli.output import rendered
    from qol_dagster.cli.revisions import catalogue_as_of
    from qol_dagster.csv_text import BYTE_ORDER_MARK
    from qol_dagster.resources.platform import open_platform

    if excel and form != "csv":
        raise UsageError("--excel is for --format csv")
    platform = open_platform(read_settings(existing=True))
    found = (catalogue_as_of(as_of) if as_of else platform.catalogue()).query(sql)
    shown = rendered(found.columns, found.rows, form, terminal_width())
    typer.echo((BYTE_ORDER_MARK if excel else "") + shown, nl=False)
    if not found.rows and not platform.lake().table_dates("weekly"):
        note("no week is computed yet: `qol materialize --week DATE` computes one, `qol doctor` says which there are")


@app.command(name="tables", rich_help_panel=ASK)
def tables_(form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table") -> None:
    """List the tables of `db_qol`: rows, weeks that have any, columns, and the latest date."""
    from qol_dagster.cli.output import rendered
    from qol_dagster.cli.tables import COLUMNS, contents
    from qol_dagster.resources.platform import open_platform

    rows = contents(open_platform(read_settings(existing=True)).catalogue())
    typer.echo(rendered(COLUMNS, rows, form, terminal_width()), nl=False)


app.command(rich_help_panel=ASK)(export)
app.command(rich_help_panel=ASK)(samples)
app.command(rich_help_panel=EVERY_WEEK)(upgrade)
app.command(rich_help_panel=ASK)(diff)
app.add_typer(freeze, name="freeze", rich_help_panel=ASK)
app.add_typer(metrics, name="metrics", rich_help_panel=ASK)
app.add_typer(participants, name="participants", rich_help_panel=PEOPLE)
app.add_typer(surveys, name="survey", rich_help_panel=PEOPLE)
app.add_typer(surveys, name="surveys", rich_help_panel=PEOPLE, hidden=True)  # what it was called
app.add_typer(garmin, name="garmin", rich_help_panel=PEOPLE)
app.add_typer(webhook, name="webhook", rich_help_panel=DATA)
app.add_typer(raw, name="raw", rich_help_panel=DATA)
app.add_typer(backup, name="backup", rich_help_panel=KEEP)
app.add_typer(retention, name="retention", rich_help_panel=KEEP)


@app.command(rich_help_panel=EVERY_WEEK)
def report(
    week: Annotated[date | None, typer.Option(**DATE, help="Any date of the week; by default the latest.")] = None,
    lang: Annotated[Language, typer.Option("--lang", help="Japanese or English.")] = "ja",
    participant: Annotated[
        str, typer.Option("--participant", metavar="P", help="Make the page to be shown to this participant instead.")
    ] = "",
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Write the weekly report, whom to call and what the data are worth, and print where it is."""
    from qol_dagster.cli.report import make_report, open_in_browser

    place = make_report(read_settings(existing=True), week, lang, participant)
    typer.echo(place)
    if open_it and not open_in_browser(place):
        note("no browser could be opened; open the file yourself")


@app.command(rich_help_panel=EVERY_WEEK)
def silent(
    days: Annotated[int, typer.Option(min=1, help="Whole days without any data.")] = 3,
    form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table",
) -> None:
    """Show which participants have sent nothing for some days, as of now, the longest silence first."""
    from datetime import UTC, datetime

    from qol_dagster.cli.output import rendered
    from qol_dagster.resources.platform import open_platform
    from qol_dagster.resources.silence import COLUMNS, silences

    found = silences(open_platform(read_settings(existing=True)), datetime.now(UTC))
    rows = [(one.participant_id, one.last_data_at, one.days_silent) for one in found if one.days_silent >= days]
    typer.echo(rendered(COLUMNS, rows, form, terminal_width()), nl=False)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command of this process, and end the process with its exit code."""
    run_and_exit(lambda: run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code. Errors of this project are for people; others are bugs and stay loud."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(args=arguments or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "qol"
        return _complain(f"{error.format_message().rstrip('.')} (see {command} --help)", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        return _complain(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), 1)
    except QolError as error:
        return _complain(str(error), error.exit_code)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    typer.echo(f"qol: {' '.join(message.split())}", err=True)
    return code


if __name__ == "__main__":
    main()
