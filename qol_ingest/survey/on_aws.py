"""The questionnaire's page as a Lambda.

Belongs here: its variables, and which texts a request is answered with. What is answered is `web`'s.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from qol_ingest.consent.pages import programme_of_environment
from qol_ingest.consent.state import DynamoState
from qol_ingest.garmin.tokens import TokenStoreError
from qol_ingest.garmin.tokens_aws import read_secret
from qol_ingest.shared.errors import QolInputError
from qol_ingest.shared.languages import Language
from qol_ingest.shared.stores import S3Store, StoreError
from qol_ingest.survey.questionnaire import Questionnaire, QuestionnaireError
from qol_ingest.survey.texts import S3Texts, Texts, read_texts
from qol_ingest.survey.web import Surveys
from qol_ingest.webhook import RETRY_AFTER_S, Answer, Event

log = logging.getLogger(__name__)

TEXTS_S = 300.0
"""How long texts are used before they are read again; a new one is shown this much later at most."""
_NEEDED = ("QOL_BUCKET", "QOL_ENROLMENT_TABLE", "QOL_SURVEY_KEY_ARN")


class SurveyVariablesError(QolInputError):
    """A variable of the Lambda is missing."""


@dataclass
class SurveyFunction:
    """Answers requests with the texts as they were read last.

    Texts that cannot be read, or have a fault, change nothing for who is answering: those read before stay.
    """

    surveys: Surveys
    source: Texts
    clock: Callable[[], float] = time.time
    _texts: Mapping[Language, Questionnaire] | None = field(default=None, init=False, repr=False)
    _good_until: float = field(default=0.0, init=False, repr=False)

    def handle(self, event: Event) -> Answer:
        """Answer one request; 503 as long as no text could ever be read."""
        texts = self._current_texts()
        return _try_later() if texts is None else replace(self.surveys, texts=texts).handle(event)

    def _current_texts(self) -> Mapping[Language, Questionnaire] | None:
        if self.clock() >= self._good_until:
            try:
                self._texts = read_texts(self.source)
                self._good_until = self.clock() + TEXTS_S
            except StoreError as error:
                log.error("survey: the texts cannot be read: %s", error)  # noqa: TRY400 - the message says it all
            except QuestionnaireError as error:
                log.error("survey: a text is refused: %s", error)  # noqa: TRY400 - a trace would quote it
                self._texts = self._texts or {}
        return self._texts


def handler(event: Event, _context: object) -> Answer:
    """Answer a request, as the Lambda's entry point. Set up from QOL_* variables; 503 as long as one is missing."""
    try:
        function = _function_of_environment()
    except (SurveyVariablesError, TokenStoreError) as error:
        log.error("survey not set up: %s", error)  # noqa: TRY400 - the message says it all
        return _try_later()
    return function.handle(event)


@cache
def _function_of_environment() -> SurveyFunction:
    """Always: QOL_BUCKET for texts and raw lines, QOL_ENROLMENT_TABLE for links and drafts, QOL_SURVEY_KEY_ARN.

    What the pages say: QOL_PROGRAMME_JA, QOL_PROGRAMME_EN, QOL_CONTACT.
    """
    logging.getLogger("qol_ingest").setLevel(logging.INFO)  # Lambda's root logger starts at WARNING
    bucket, table, key_arn = (os.environ.get(name, "") for name in _NEEDED)
    if not (bucket and table and key_arn):
        raise SurveyVariablesError(f"set {', '.join(name for name in _NEEDED if not os.environ.get(name))}")
    surveys = Surveys(DynamoState(table), S3Store(bucket), {}, read_secret(key_arn), programme_of_environment())
    return SurveyFunction(surveys, S3Texts(bucket))


def _try_later() -> Answer:
    return {"statusCode": 503, "headers": {"retry-after": str(RETRY_AFTER_S)}, "body": ""}
