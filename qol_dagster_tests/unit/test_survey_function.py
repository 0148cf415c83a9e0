"""The questionnaire's Lambda: which texts a request is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qol_ingest.consent.state import SqliteState
from qol_ingest.shared.languages import Language
from qol_ingest.shared.stores import DirectoryStore, StoreError
from qol_ingest.survey import on_aws
from qol_ingest.survey.on_aws import TEXTS_S, SurveyFunction
from qol_ingest.survey.questionnaire import template
from qol_ingest.survey.web import Surveys


@dataclass
class Source:
    """Texts that can be changed, or be out of reach."""

    found: dict[Language, bytes] = field(default_factory=dict)
    is_down: bool = False
    reads: int = 0

    def place(self, language: Language) -> str:
        return f"the text in {language}"

    def contents(self) -> Mapping[Language, bytes]:
        self.reads += 1
        if self.is_down:
            raise StoreError("nobody answers")
        return self.found


@dataclass
class Lambda:
    """The function with a clock that is set by hand."""

    function: SurveyFunction
    source: Source
    now: float = 0.0

    def status(self) -> int:
        """What a visitor without a code is answered."""
        event = {"rawPath": "/survey", "requestContext": {"http": {"method": "GET", "sourceIp": "192.0.2.1"}}}
        return int(self.function.handle(event)["statusCode"])

    def later(self) -> None:
        self.now += TEXTS_S


@pytest.fixture
def page(tmp_path: Path) -> Lambda:
    surveys = Surveys(SqliteState(tmp_path / "state"), DirectoryStore(tmp_path / "lake"), {}, "key")
    source = Source()
    made = Lambda(SurveyFunction(surveys, source), source)
    made.function.clock = lambda: made.now
    return made


def test_a_text_is_read_now_and_then_and_a_new_one_is_shown_within_minutes(page: Lambda) -> None:
    assert (page.status(), page.status(), page.source.reads) == (404, 404, 1)
    page.source.found["ja"] = template("ja").encode()
    assert page.status() == 404
    page.later()
    assert (page.status(), page.status(), page.source.reads) == (200, 200, 2)


def test_who_is_answering_keeps_the_text_when_it_cannot_be_read_or_a_faulty_one_is_there(
    page: Lambda, caplog: pytest.LogCaptureFixture
) -> None:
    page.source.found["ja"] = template("ja").encode()
    assert page.status() == 200
    page.source.is_down = True
    page.later()
    assert page.status() == 200
    page.source.is_down, page.source.found["ja"] = False, b"faulty"
    assert page.status() == 200
    assert "nobody answers" in caplog.text
    assert "the text in ja: it is no TOML" in caplog.text


def test_as_long_as_nobody_knows_whether_there_is_a_text_the_visitor_is_to_come_again(page: Lambda) -> None:
    page.source.is_down = True
    assert page.status() == 503
    page.source.is_down = False
    assert page.status() == 404


def test_without_its_variables_the_function_answers_503_and_names_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QOL_BUCKET", "lake")
    for name in ("QOL_ENROLMENT_TABLE", "QOL_SURVEY_KEY_ARN"):
        monkeypatch.delenv(name, raising=False)
    assert on_aws.handler({}, None)["statusCode"] == 503
    assert "set QOL_ENROLMENT_TABLE, QOL_SURVEY_KEY_ARN" in caplog.text
