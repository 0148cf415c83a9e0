"""`qol survey`: personal links, forms that were answered elsewhere, and the tables made from all forms.

Belongs here: options and messages. What a file means is `surveys/importing.py`'s, what is computed
`pipeline/surveys.py`'s, what participants see `qol_ingest/survey`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from qol_dagster.cli.common import note, read_settings
from qol_dagster.cli.output import Format, rendered
from qol_dagster.errors import QolInputError
from qol_dagster.surveys.importing import Source
from qol_dagster.surveys.waves import WavePlan, change_plan
from qol_dagster.surveys.whoqol import RuleName
from qol_ingest.shared.calendar import JST
from qol_ingest.shared.languages import LANGUAGES, Language

if TYPE_CHECKING:
    from qol_dagster.resources.platform import Platform
    from qol_dagster.settings import Settings
    from qol_dagster.surveys.responses import Sending
    from qol_ingest.survey.links import SurveyLinks
    from qol_ingest.survey.questionnaire import Questionnaire
    from qol_ingest.survey.web import Surveys

surveys = typer.Typer(
    help="WHOQOL-26: the page and its links, forms answered elsewhere, scores joined with the sensors.",
    add_completion=False,
    rich_markup_mode=None,
)


EveryWeeks = Annotated[int | None, typer.Option(min=1, help="Weeks from wave to wave.")]
Waves = Annotated[int | None, typer.Option(min=1, help="How many waves.")]
WindowDays = Annotated[int | None, typer.Option(min=0, help="Days that a form may be early or late.")]
"""Other than QOL_SURVEY_PLAN says."""
Rule = Annotated[RuleName | None, typer.Option(help="Rule for missing items, other than QOL_SURVEY_RULE.")]
DESCRIBED = ("wave", "domain", "n_forms", "n_scored", "alpha", "n_alpha", "floor", "ceiling", "nonresponse")


class SurveyFileError(QolInputError):
    """A file or an option of `qol survey` that is no use."""


@surveys.command()
def template(
    lang: Annotated[Language, typer.Option(help="The language of the text.")] = "ja",
) -> None:
    """Write the file into which the licensed wording is put, with placeholders; one that is there stays."""
    from qol_dagster.resources.survey_pages import write_template

    typer.echo(write_template(read_settings(), lang))
    note("put the licensed wording in place of every placeholder, and look at it with `qol survey check`")


@surveys.command()
def check() -> None:
    """Read the licensed texts and name every fault; the page is shown in the languages that are listed."""
    from qol_dagster.resources.survey_pages import require_texts

    settings = read_settings(existing=True)
    texts = require_texts(settings)
    for language, text in texts.items():
        typer.echo(f"{language}  version {text.version}, {len(text.items)} items")
    _note_placeholders(texts)


@surveys.command()
def upload() -> None:
    """Put the licensed texts of this machine where the page on AWS reads them; a faulty one is refused."""
    from qol_dagster.resources.survey_pages import upload_texts

    texts = upload_texts(read_settings(existing=True))
    for language, text in texts.items():
        typer.echo(f"{language}  version {text.version}, {len(text.items)} items")
    _note_placeholders(texts)
    note("the page shows them within five minutes")


@surveys.command()
def invite(
    participant_id: Annotated[str, typer.Argument(help="The participant's id; without one, say --due.")] = "",
    *,
    due: Annotated[
        bool, typer.Option("--due", help="Everybody whose form is due today, not finished, and without a good link.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="With --due: also who has a good link, which is void.")
    ] = False,
    wave: Annotated[int | None, typer.Option(min=0, help="The wave; by default the one that is due today.")] = None,
    days: Annotated[int, typer.Option(min=1, help="Days for which the link is good.")] = 30,
    every_weeks: EveryWeeks = None,
    waves: Waves = None,
    window_days: WindowDays = None,
    letters: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write letters with QR codes there, and show no links."),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How the links are printed.")] = "csv",
) -> None:
    """Make personal links to the questionnaire. Each is good for one form, and names nobody."""
    from qol_dagster.resources.survey_pages import make_link, require_address, require_texts, survey_links

    if bool(participant_id) == due:
        raise SurveyFileError("say either a participant or --due")
    settings = read_settings(existing=True)
    require_address(settings)
    languages = require_texts(settings)
    links = survey_links(settings)
    plan = change_plan(settings.survey_plan, every_weeks=every_weeks, waves=waves, window_days=window_days)
    if participant_id:
        forms = _forms_of(participant_id, wave, plan, links)
    else:
        passed_over = set() if again else links.linked()
        forms = [one for one in _due_forms(plan, links) if wave in (None, one[1]) and one not in passed_over]
    if letters and forms:
        _make_file(letters)
    made: list[Link] = []
    try:
        for person, number in forms:
            made.append(Link(person, number, *make_link(settings, links, person, number, timedelta(days=days))))
    finally:  # what was made before a fault is shown too: nobody can see it a second time
        try:
            if letters is None:
                _show(made, form)
            elif made:
                _write_letters(letters, made, settings, languages)
        except OSError as error:
            raise SurveyFileError(
                f"{len(made)} links were made and could not be written: {error.strerror}",
                advice="Make new ones; with --due, say --again too",
            ) from error
    if made:
        note(f"links: {len(made)}; older ones of these forms are void. They are shown this once and kept nowhere")
    else:
        note("links: 0; every form that is due today has a good link or is finished. --again makes new links")


class Link(NamedTuple):
    """A personal link to a form, which is shown once."""

    participant_id: str
    wave: int
    link: str
    expires_at: datetime

    @property
    def expires_on(self) -> date:
        """The date in Japan."""
        return self.expires_at.astimezone(JST).date()


def _show(made: Sequence[Link], form: Format) -> None:
    rows = [(one.participant_id, one.wave, one.link, one.expires_on) for one in made]
    typer.echo(rendered(("participant_id", "wave", "link", "expires_on"), rows, form), nl=False)


def _make_file(file: Path) -> None:
    """Make a file that nobody else can read, before any link is made."""
    try:
        file.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise SurveyFileError(
            f"{file} cannot be written: {error.strerror}; no link was made", advice="Name another file"
        ) from error


def _write_letters(file: Path, made: Sequence[Link], settings: Settings, languages: Collection[Language]) -> None:
    from qol_dagster.resources.garmin_cloud import programme_of
    from qol_dagster.surveys.letters import Letter, render_letters

    names = {language: programme_of(settings).names[language] for language in LANGUAGES if language in languages}
    letters = [Letter(one.participant_id, one.link, one.expires_on) for one in made]
    file.write_text(render_letters(letters, names, settings.contact), encoding="utf-8")
    note(f"letters: {len(made)}, in {file}; print it, and delete it then: who has it can answer as these people")


def _due_forms(plan: WavePlan, links: SurveyLinks) -> list[tuple[str, int]]:
    """Return the forms, as participant and wave, that are due today and not finished."""
    from qol_dagster.pipeline.surveys import open_forms, scored_forms
    from qol_dagster.weeks import today

    platform = _platform()
    lake, people = platform.lake(), platform.id_map().identities()
    # On AWS, who makes links may not read what participants answered.
    answered = scored_forms(lake) | links.finished() if platform.settings.target == "aws" else None
    found = open_forms(lake, people, today=today(), plan=plan, begun=links.begun(), answered=answered)
    return [(person, due.wave) for person, due in found]


def _forms_of(participant_id: str, wave: int | None, plan: WavePlan, links: SurveyLinks) -> list[tuple[str, int]]:
    """Return the form of a participant that is asked for, or else is due today."""
    if participant_id not in _platform().id_map().identities().participants_to_ask():
        raise SurveyFileError(
            f"{participant_id} is not enrolled, or has withdrawn; `qol participants list` shows who takes part"
        )
    if wave is not None:
        return [(participant_id, wave)]
    if chosen := [one for one in _due_forms(plan, links) if one[0] == participant_id]:
        return chosen
    raise SurveyFileError(f"no form of {participant_id} is due today; say which with --wave")


@surveys.command()
def enter(
    participant_id: Annotated[str, typer.Argument(help="The participant's id.")],
    marks: Annotated[str, typer.Argument(help="26 marks in the order of the form: 1 to 5, - for a blank.")],
    *,
    wave: Annotated[int, typer.Option(min=0, help="The wave.")],
    answered_on: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The date on the sheet.")],
) -> None:
    """Store a form that was answered on paper; entered again with other marks, it is corrected."""
    from qol_dagster.lake.surveys import write_sendings
    from qol_dagster.surveys.importing import read_marks

    platform = _platform()
    enrolled = set(platform.id_map().identities().active.values())
    sending = read_marks(
        participant_id, wave, marks, answered_on.date(), received_at=datetime.now(UTC), enrolled=enrolled
    )
    write_sendings(platform.lake(), [sending])
    blank = [str(item) for item, answer in sending.answers.items() if answer is None]
    typer.echo(f"{participant_id}  wave {wave}  {answered_on.date()}  blank: {', '.join(blank) or 'none'}")
    note("stored. `qol survey score` brings the tables up")


def served_survey(settings: Settings, key: str) -> Surveys:
    """Return what answers /survey, which is a calm 404 as long as there is no text, or one with a fault."""
    from qol_dagster.resources.survey_pages import SurveySetupError, read_texts, survey_pages

    try:
        texts = read_texts(settings)
    except SurveySetupError as error:
        note(f"/survey answers 404: {error}")
        texts = {}
    _note_placeholders(texts)
    return survey_pages(settings, texts, key)


def _note_placeholders(texts: Mapping[Language, Questionnaire]) -> None:
    for language, text in texts.items():
        if text.is_placeholder:
            note(f"the text in {language} is the template: its version says so, and nobody is to answer it")


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
    from qol_ingest.shared.keys import SURVEYS

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
    known = set(lake.keys(SURVEYS))
    new = [one for one in found.sendings if one.key not in known]
    typer.echo(_waves(new), nl=False)
    unchanged = f"stored before: {len(found.sendings) - len(new)}"
    invalid = f"answers that are none of 1-5 and count as missing: {found.invalid_answers}"
    if dry_run:
        note(f"forms that would be stored: {len(new)}; {unchanged}; {invalid}. Nothing was stored")
        return
    note(f"forms stored: {write_sendings(lake, new)}; {unchanged}; {invalid}. `qol survey score` brings the tables up")


@surveys.command()
def score(
    *,
    rule: Rule = None,
    every_weeks: EveryWeeks = None,
    waves: Waves = None,
    window_days: WindowDays = None,
) -> None:
    """Compute all tables of questionnaires anew from the stored forms and `daily_metrics`."""
    from qol_dagster.pipeline.surveys import score_surveys

    platform = _platform()
    plan = change_plan(platform.settings.survey_plan, every_weeks=every_weeks, waves=waves, window_days=window_days)
    people = platform.id_map().identities()
    report = score_surveys(
        platform.lake(), people, computed_at=datetime.now(UTC), rule=rule or platform.settings.survey_rule, plan=plan
    )
    for table, rows in report.rows.items():
        typer.echo(f"{table}  rows: {rows}")
    if report.not_enrolled:
        note(f"forms left out, of nobody who is enrolled: {report.not_enrolled}")
    if report.unreadable:
        note(f"lines under raw/surveys/ left out, which are no form: {report.unreadable}")


@surveys.command()
def describe(
    *,
    rule: Rule = None,
    form: Annotated[Format, typer.Option("--format", help="How the rows are printed.")] = "table",
) -> None:
    """Show of each wave and domain Cronbach's alpha, the shares at both ends of the scale, and items left blank."""
    from qol_dagster.pipeline.surveys import describe_waves

    platform = _platform()
    people = platform.id_map().identities()
    found = describe_waves(platform.lake(), people, rule=rule or platform.settings.survey_rule)
    rows = [[None if row[name] is None else _rounded(row[name]) for name in DESCRIBED] for row in found]
    typer.echo(rendered(DESCRIBED, rows, form), nl=False)


@surveys.command()
def simulate(
    *,
    seed: Annotated[int, typer.Option(min=0, help="The seed of `qol simulate`; it decides the answers too.")] = 0,
    every_weeks: EveryWeeks = None,
    waves: Waves = None,
    window_days: WindowDays = None,
) -> None:
    """Have simulated participants answer the waves that are due: made-up marks, for demos and tests only."""
    from qol_dagster.pipeline.surveys import simulate_surveys
    from qol_dagster.weeks import today

    platform = _platform()
    plan = change_plan(platform.settings.survey_plan, every_weeks=every_weeks, waves=waves, window_days=window_days)
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
