"""The questionnaire's page and its personal links on this installation.

Belongs here: where the licensed texts are stored, and the page, links and addresses made from the settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from qol_dagster.errors import QolInputError
from qol_dagster.resources.garmin_cloud import programme_of
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings
from qol_ingest.shared.files import write_new
from qol_ingest.shared.keys import SURVEYS
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.shared.stores import DirectoryStore, StoreError
from qol_ingest.survey.links import SurveyLinks
from qol_ingest.survey.questionnaire import Questionnaire, QuestionnaireError, file_name, template
from qol_ingest.survey.texts import PREFIX, DirectoryTexts, S3Texts, Texts, parse_texts
from qol_ingest.survey.web import Surveys, survey_url

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake

LOCAL_URL = "http://127.0.0.1:8321"
"""Where `qol webhook serve` listens by default."""


class SurveySetupError(QolInputError):
    """The questionnaire cannot be shown; the message says why."""


def text_folder(settings: Settings) -> Path:
    """Return where the licensed texts are on this machine."""
    return settings.home / "survey"


def write_template(settings: Settings, language: Language) -> Path:
    """Write a text file with placeholders and return it. Raises SurveySetupError if there is a file already."""
    file = text_folder(settings) / file_name(language)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not write_new(file, template(language).encode()):
        raise SurveySetupError(f"{file} is there already", advice="Change that one, or move it away")
    return file


def read_texts(settings: Settings) -> dict[Language, Questionnaire]:
    """Return the texts that the page shows, none if there is no file.

    Raises SurveySetupError with every fault of all files.
    """
    return _read(_texts_of(settings))[1]


class SurveyParts(Protocol):
    """Of a deployment, what questionnaires are stored in."""

    @property
    def settings(self) -> Settings:
        """Where texts are on this machine."""

    def lake(self) -> Lake:
        """Forms, and the texts on AWS."""


def has_surveys(parts: SurveyParts) -> bool:
    """Return whether there is a text for participants, or any form was answered. No text is read."""
    settings, lake = parts.settings, parts.lake()
    if settings.target == "aws":
        texts: Iterable[object] = lake.keys(PREFIX)
    else:
        texts = [one for one in LANGUAGES if (text_folder(settings) / file_name(one)).exists()]
    return bool(texts or lake.keys(SURVEYS))


def require_texts(settings: Settings) -> dict[Language, Questionnaire]:
    """Return the texts that the page shows. Raises SurveySetupError where no page can be shown."""
    if texts := read_texts(settings):
        return texts
    if settings.target == "aws":
        where, what = f"s3://{settings.bucket}/{PREFIX}", "`qol survey upload` puts those of this machine there"
    else:
        where, what = str(text_folder(settings)), "`qol survey template` writes a file to put it into"
    raise SurveySetupError(f"there is no licensed text in {where}", advice=what)


def upload_texts(settings: Settings) -> dict[Language, Questionnaire]:
    """Put the texts of this machine where the page on AWS reads them, and return them.

    Raises SurveySetupError with every fault, and if there is none; LakeError.
    """
    if settings.target != "aws":
        raise SurveySetupError("on one machine the page reads the texts where they are; QOL_TARGET=aws has a bucket")
    here = DirectoryTexts(text_folder(settings))
    contents, texts = _read(here)
    if not texts:
        raise SurveySetupError(
            f"there is no licensed text in {here.folder}",
            advice="`qol survey template` writes a file to put it into",
        )
    lake = open_platform(settings).lake()
    for language, content in contents.items():
        lake.replace_object(f"{PREFIX}{file_name(language)}", content, as_tables=True)
    return texts


def _texts_of(settings: Settings) -> Texts:
    return S3Texts(settings.bucket) if settings.target == "aws" else DirectoryTexts(text_folder(settings))


def _read(texts: Texts) -> tuple[Mapping[Language, bytes], dict[Language, Questionnaire]]:
    """Return the files' contents, and what they hold."""
    try:
        contents = texts.contents()
        return contents, parse_texts(texts, contents)
    except (QuestionnaireError, StoreError) as error:
        raise SurveySetupError(str(error)) from error


def survey_pages(settings: Settings, texts: dict[Language, Questionnaire], key: str) -> Surveys:
    """Return the page over this QOL_HOME; `key` is any secret of the installation."""
    state = open_platform(settings).enrolment_state()
    prefix = urlsplit(settings.public_url).path
    return Surveys(state, DirectoryStore(settings.lake_dir), texts, key, programme_of(settings), prefix)


def require_address(settings: Settings) -> None:
    """Raise SurveySetupError where nobody knows what links lead to."""
    if settings.target == "aws" and not settings.public_url:
        raise SurveySetupError(
            "a link needs the address that participants reach",
            advice="Set QOL_PUBLIC_URL, as the parameter /qol/settings has it",
        )


def survey_links(settings: Settings) -> SurveyLinks:
    """Return the personal links of this installation."""
    return SurveyLinks(open_platform(settings).enrolment_state())


def make_link(
    settings: Settings, links: SurveyLinks, participant_id: str, wave: int, valid_for: timedelta
) -> tuple[str, datetime]:
    """Make a link for a form and return it and when it expires; an older one of the form is void."""
    code, expires_at = links.invite(participant_id, wave, valid_for)
    return survey_url(settings.public_url or LOCAL_URL, code), expires_at


def withdraw_links(settings: Settings, participant_id: str) -> None:
    """Void a participant's links and forget unfinished forms."""
    survey_links(settings).withdraw(participant_id)
