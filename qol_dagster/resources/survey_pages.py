"""The questionnaire's page and its personal links on this installation.

Belongs here: where the licensed texts are stored, and the page, links and addresses made from the settings.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from qol_dagster.errors import QolInputError
from qol_dagster.resources.garmin_cloud import programme_of
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings
from qol_ingest.shared.files import write_new
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.shared.stores import DirectoryStore
from qol_ingest.survey.links import SurveyLinks
from qol_ingest.survey.questionnaire import Questionnaire, QuestionnaireError, file_name, read_questionnaire, template
from qol_ingest.survey.web import Surveys, survey_url

LOCAL_URL = "http://127.0.0.1:8321"
"""Where `qol webhook serve` listens by default."""


class SurveySetupError(QolInputError):
    """The questionnaire cannot be shown; the message says why."""


def text_file(settings: Settings, language: Language) -> Path:
    """Return where the licensed text of a language is stored."""
    return settings.home / "survey" / file_name(language)


def write_template(settings: Settings, language: Language) -> Path:
    """Write a text file with placeholders and return it. Raises SurveySetupError if there is a file already."""
    file = text_file(settings, language)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not write_new(file, template(language).encode()):
        raise SurveySetupError(f"{file} is there already", advice="Change that one, or move it away")
    return file


def read_texts(settings: Settings) -> dict[Language, Questionnaire]:
    """Return the texts by language, none if there is no file. Raises SurveySetupError with every fault of all files."""
    texts: dict[Language, Questionnaire] = {}
    faults: list[str] = []
    for language in LANGUAGES:
        file = text_file(settings, language)
        try:
            texts[language] = read_questionnaire(file.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            faults.append(f"{file} cannot be read: {error.strerror}")
        except QuestionnaireError as error:
            faults.append(f"{file}: {error}")
        else:
            if texts[language].language != language:
                faults.append(f"{file}: language must be {language}, as in its name")
    if faults:
        raise SurveySetupError("; ".join(faults))
    return texts


def require_texts(settings: Settings) -> None:
    """Raise SurveySetupError where no page can be shown."""
    if settings.target != "local":
        raise SurveySetupError("the questionnaire's page is served on one machine only; QOL_TARGET=aws has none yet")
    if not read_texts(settings):
        raise SurveySetupError(
            f"there is no licensed text in {settings.home / 'survey'}",
            advice="`qol survey template` writes a file to put it into",
        )


def survey_pages(settings: Settings, texts: dict[Language, Questionnaire], key: str) -> Surveys:
    """Return the page over this QOL_HOME; `key` is any secret of the installation."""
    state = open_platform(settings).enrolment_state()
    prefix = urlsplit(settings.public_url).path
    return Surveys(state, DirectoryStore(settings.lake_dir), texts, key, programme_of(settings), prefix)


def survey_links(settings: Settings) -> SurveyLinks:
    """Return the personal links of this installation."""
    return SurveyLinks(open_platform(settings).enrolment_state())


def make_link(
    settings: Settings, links: SurveyLinks, participant_id: str, wave: int, valid_for: timedelta
) -> tuple[str, datetime]:
    """Return a new link for a form, and when it expires; an older one of the form is void."""
    code, expires_at = links.invite(participant_id, wave, valid_for)
    return survey_url(settings.public_url or LOCAL_URL, code), expires_at


def withdraw_links(settings: Settings, participant_id: str) -> None:
    """Void a participant's links and forget unfinished forms. On AWS, which has no page yet, there are none."""
    if settings.target == "local":
        survey_links(settings).withdraw(participant_id)
