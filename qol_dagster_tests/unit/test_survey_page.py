"""The questionnaire's page: its text file, its links, and a form from the first page to the last."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest

from qol_dagster.lake.lake import Lake
from qol_dagster.lake.surveys import read_sendings
from qol_dagster.surveys.responses import latest_responses
from qol_ingest.consent.enrolment import InvitationError, hash_of, read_code
from qol_ingest.consent.state import EnrolmentStateError, Entry, SqliteState
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.shared.stores import DirectoryStore, StoreError
from qol_ingest.survey import links
from qol_ingest.survey.links import SurveyLinks
from qol_ingest.survey.pages import LABELS, TEXTS
from qol_ingest.survey.questionnaire import (
    ITEMS,
    PAGES,
    SCALES,
    QuestionnaireError,
    read_questionnaire,
    template,
)
from qol_ingest.survey.web import Surveys
from qol_ingest.webhook import Answer

START = 1_795_000_000.0  # 2026-11-18 in Japan
DAY_S = 86_400.0


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


class Failing:
    """A store that takes nothing."""

    def put_new(self, key: str, content: bytes) -> bool:
        raise StoreError("the disk is full")

    def get(self, key: str) -> bytes | None:
        raise StoreError("the disk is full")


class Gone:
    """A state that cannot be read."""

    def get(self, kind: str, name: str) -> Entry | None:
        raise EnrolmentStateError("the state is locked")

    def put(self, kind: str, name: str, content: Mapping[str, Any], version: int, keep_until: float) -> bool:
        raise EnrolmentStateError("the state is locked")

    def entries(self, kind: str) -> list[tuple[str, Entry]]:
        raise EnrolmentStateError("the state is locked")


def goes_to(answer: Answer, sent_from: str = "/survey") -> str:
    """Where a browser goes that sent a page from an address."""
    return urljoin(sent_from, answer["headers"]["location"])


@dataclass
class Place:
    """The page over a lake of its own."""

    folder: Path
    surveys: Surveys
    clock: Clock = field(default_factory=Clock)

    @property
    def links(self) -> SurveyLinks:
        return SurveyLinks(self.surveys.state, self.clock)

    def get(self, path: str = "/survey", **query: str) -> Answer:
        return self.surveys.handle(self._event("GET", path) | {"rawQueryString": urlencode(query)})

    def post(self, code: str, page: int, marks: Mapping[int, str], **more: str) -> Answer:
        form = {"code": code, "page": str(page), "lang": "ja", **{f"q{item}": mark for item, mark in marks.items()}}
        return self.surveys.handle(self._event("POST", "/survey") | {"body": urlencode({**form, **more})})

    def follow(self, answer: Answer) -> Answer:
        assert answer["statusCode"] == 303
        place = urlsplit(goes_to(answer))
        return self.get(place.path, **{name: values[0] for name, values in parse_qs(place.query).items()})

    def _event(self, method: str, path: str) -> dict[str, Any]:
        http = {"method": method, "path": path, "sourceIp": "192.0.2.1"}
        return {"rawPath": path, "headers": {"accept-language": "ja"}, "requestContext": {"http": http}}

    @property
    def stored(self) -> list[dict[str, Any]]:
        files = sorted((self.folder / "lake/raw/surveys").glob("date=*/*.jsonl"))
        return [json.loads(file.read_text()) for file in files]

    @property
    def answers(self) -> Mapping[int, object]:
        (response,) = latest_responses(read_sendings(Lake.local(self.folder / "lake")).sendings)
        return response.answers


@pytest.fixture
def place(tmp_path: Path) -> Place:
    clock = Clock()
    state = SqliteState(tmp_path / "enrolment.sqlite", clock)
    texts = {language: read_questionnaire(template(language).encode()) for language in LANGUAGES}
    return Place(tmp_path, Surveys(state, DirectoryStore(tmp_path / "lake"), texts, "key", clock=clock), clock)


@pytest.fixture
def code(place: Place) -> str:
    return place.links.invite("P0001", 2)[0]


def marks(page: int, mark: str = "4") -> dict[int, str]:
    return dict.fromkeys(PAGES[page - 1], mark)


def page_of(answer: Answer) -> int:
    return int(re.findall(r'name="page" value="(\d)"', answer["body"])[0])


def marked(answer: Answer) -> dict[int, str]:
    return {int(item): mark for item, mark in re.findall(r'name="q(\d+)" value="(\d?)" checked', answer["body"])}


# -- the text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_template_is_a_whole_text_of_placeholders(language: Language) -> None:
    text = read_questionnaire(template(language).encode())
    assert text.is_placeholder
    assert text.language == language
    assert [item.text for item in text.items.values()] == [f"Item {number}" for number in ITEMS]
    assert {item.labels for item in text.items.values()} == {tuple(f"Label {choice}" for choice in range(1, 6))}


def test_pages_and_scales_have_each_of_26_items_once_and_a_page_is_short() -> None:
    assert [item for page in PAGES for item in page] == list(range(1, 27))
    assert sorted(item for items in SCALES.values() for item in items) == list(range(1, 27))
    assert {len(page) for page in PAGES} <= {5, 6, 7}


def test_every_fault_of_a_text_is_named_at_once() -> None:
    text = template("en").replace('language = "en"', 'language = "fr"').replace('title = "Title"', "title = 7")
    text = text.replace('"Label 2", ', "", 1).replace('7 = { text = "Item 7"', '7 = { text = " "')
    text = text.replace("\n26 = {", "\n27 = {").replace('"Item 3", scale = "intensity"', '"Item 3", scale = "size"')
    with pytest.raises(QuestionnaireError) as refused:
        read_questionnaire(text.encode())
    assert str(refused.value).split("; ") == [
        "language must be one of ja, en",
        "title must be a text",
        "scale evaluation must have five different labels",
        "missing items: 26",
        "the scale of item 3 must be one of [scales]",
        "the text of item 7 must be a text",
        "unknown items: 27",
    ]
    with pytest.raises(QuestionnaireError, match="no TOML"):
        read_questionnaire(b"title = ")


# -- a form


def test_a_form_is_answered_page_by_page_and_each_page_is_a_raw_line_at_once(place: Place, code: str) -> None:
    assert "26問" in place.get(code=code)["body"]
    assert page_of(place.get(code=code, page="1")) == 1
    for page in (1, 2, 3, 4):
        place.clock.now += 60
        answer = place.post(code, page, marks(page, str(page)))
        assert len(place.stored) == page
        assert page_of(place.follow(answer)) == page + 1
    last = place.post(code, 5, marks(5, "5"))
    assert urlsplit(goes_to(last)).path == "/survey/done"
    assert "ありがとうございました" in place.follow(last)["body"]
    wanted = {item: page for page, items in enumerate(PAGES, start=1) for item in items}
    assert place.answers == wanted
    assert {line["participant_id"] for line in place.stored} == {"P0001"}
    assert {(line["wave"], line["mode"], line["language"]) for line in place.stored} == {(2, "web", "ja")}


def test_a_line_is_under_the_date_in_japan(place: Place, code: str) -> None:
    place.clock.now = 1_795_014_000.0  # 2026-11-18T15:00:00Z, which is midnight in Japan
    place.post(code, 1, marks(1))
    assert [file.parent.name for file in place.folder.glob("lake/raw/surveys/*/*")] == ["date=2026-11-19"]


def test_whoever_was_interrupted_goes_on_at_the_first_page_that_was_not_sent(place: Place, code: str) -> None:
    for page in (1, 2):
        place.post(code, page, marks(page))
        resumed = place.get(code=code)
        assert (resumed["statusCode"], page_of(resumed)) == (200, page + 1)
    assert marked(place.get(code=code, page="2")) == marks(2)


def test_items_that_were_not_touched_are_asked_for_once_and_may_stay_blank(place: Place, code: str) -> None:
    answer = place.post(code, 1, {1: "3", 2: "", 4: "5"})
    again = place.follow(answer)
    assert page_of(again) == 1
    assert re.findall(r'href="#q(\d+)"', again["body"]) == ["3", "5"]
    assert marked(again) == {1: "3", 2: "", 4: "5"}
    assert place.answers == {1: 3, 2: None, 4: 5}
    on = place.follow(place.post(code, 1, {1: "3", 2: "", 4: "5"}, again="1"))
    assert page_of(on) == 2
    assert place.answers == {1: 3, 2: None, 3: None, 4: 5, 5: None}


def test_an_empty_page_of_another_tab_takes_no_answer_back(place: Place, code: str) -> None:
    place.post(code, 1, marks(1))
    assert marked(place.follow(place.post(code, 1, {}))) == marks(1)
    assert place.answers == dict.fromkeys(PAGES[0], 4)


def test_leaving_at_the_question_about_blanks_loses_nothing_and_the_form_stays_open(place: Place, code: str) -> None:
    for page in (1, 2, 3, 4):
        place.post(code, page, marks(page))
    place.post(code, 5, {21: "1"})
    assert page_of(place.get(code=code)) == 5
    assert place.answers[21] == 1
    assert urlsplit(goes_to(place.post(code, 5, {21: "1"}, again="1"))).path == "/survey/done"


@pytest.mark.parametrize("to", ["back", "en"])
def test_leaving_a_page_backwards_or_for_the_other_language_saves_what_is_marked(
    place: Place, code: str, to: str
) -> None:
    place.post(code, 1, marks(1))
    shown = place.follow(place.post(code, 2, {6: "2"}, to=to))
    assert page_of(shown) == (1 if to == "back" else 2)
    assert f'<html lang="{"en" if to == "en" else "ja"}">' in shown["body"]
    assert place.answers == {**dict.fromkeys(PAGES[0], 4), 6: 2}
    assert page_of(place.get(code=code)) == 2


def test_a_changed_answer_counts_and_the_older_line_stays(place: Place, code: str) -> None:
    place.post(code, 1, marks(1, "1"))
    place.clock.now += 60
    place.post(code, 1, marks(1, "5"))
    assert len(place.stored) == 2
    assert place.answers == dict.fromkeys(PAGES[0], 5)


def test_what_is_no_mark_is_a_blank_and_items_of_other_pages_are_not_touched(place: Place, code: str) -> None:
    place.post(code, 1, {1: "6", 2: "4x", 3: "0", 4: "1", 5: "2", 9: "3"})
    assert place.answers == {1: None, 2: None, 3: None, 4: 1, 5: 2}


# -- what goes wrong


def test_a_page_that_cannot_be_stored_comes_back_with_its_marks(place: Place, code: str) -> None:
    works = place.surveys
    for broken in (replace(works, store=Failing()), replace(works, state=Gone())):
        place.surveys = broken
        answer = place.post(code, 1, marks(1))
        assert answer["statusCode"] == 503
        assert marked(answer) == marks(1)
        assert LABELS["ja"]["not-saved"] in answer["body"]
    place.surveys = works
    assert page_of(place.follow(place.post(code, 1, marks(1)))) == 2


def test_a_form_that_is_finished_shows_a_calm_page_and_takes_no_more(place: Place, code: str) -> None:
    for page in (1, 2, 3, 4, 5):
        place.post(code, page, marks(page))
    for answer in (place.get(code=code), place.get(code=code, page="1"), place.post(code, 1, marks(1, "1"))):
        assert answer["statusCode"] == 410
        assert "回答済み" in answer["body"]
    assert len(place.stored) == 5
    kept = place.surveys.state.get("survey", "P0001.2")
    assert kept
    assert kept.content["answers"] == {}


def test_a_newer_link_voids_the_older_and_goes_on_with_the_form(place: Place, code: str) -> None:
    place.post(code, 1, marks(1))
    newer, _ = place.links.invite("P0001", 2)
    assert place.get(code=code)["statusCode"] == 410
    assert page_of(place.get(code=newer)) == 2


def test_whoever_leaves_has_no_link_any_more_and_no_draft(place: Place, code: str) -> None:
    other, _ = place.links.invite("P00012", 2)
    place.post(code, 1, marks(1))
    place.links.withdraw("P0001")
    assert place.get(code=code)["statusCode"] == place.post(code, 2, marks(2))["statusCode"] == 410
    assert place.get(code=other)["statusCode"] == 200
    assert "answers" in (kept := place.surveys.state.entries("survey")[0][1].content)
    assert kept["answers"] == {}
    assert page_of(place.get(code=place.links.invite("P0001", 2)[0], page="1")) == 1


def test_a_link_expires_but_whoever_has_begun_may_send_for_a_day(place: Place) -> None:
    code, _ = place.links.invite("P0001", 0, timedelta(days=30))
    place.clock.now += 30 * DAY_S
    assert place.get(code=code)["statusCode"] == 410
    assert place.post(code, 1, marks(1))["statusCode"] == 303
    place.clock.now += DAY_S
    assert place.post(code, 2, marks(2))["statusCode"] == 410


def test_wrong_codes_are_refused_and_after_many_the_visitor_waits(place: Place) -> None:
    assert place.get(code="no code")["statusCode"] == 404
    wrong = "2222-3333-4444-5555"
    assert {place.get(code=wrong)["statusCode"] for _ in range(50)} == {404}
    answer = place.get(code=wrong)
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (429, "600")


def test_one_link_cannot_fill_the_disk(place: Place, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MOST_SAVED", 3)
    sent = [place.post(code, 1, {1: str(mark)}, to="back")["statusCode"] for mark in (1, 2, 3, 4)]
    assert sent == [303, 303, 303, 410]
    assert len(place.stored) == 3
    assert place.post(place.links.invite("P0001", 2)[0], 1, marks(1))["statusCode"] == 303


def test_without_a_licensed_text_every_page_is_404(place: Place, code: str) -> None:
    place.surveys = replace(place.surveys, texts={})
    for answer in (place.get(), place.get(code=code), place.post(code, 1, marks(1))):
        assert answer["statusCode"] == 404
        assert "準備中" in answer["body"]
    assert place.stored == []


def test_only_a_form_that_can_be_is_invited(place: Place) -> None:
    for participant, wave in (("a name", 0), ("P0001", -1)):
        with pytest.raises(InvitationError, match="no such form"):
            place.links.invite(participant, wave)


# -- privacy


def test_the_link_names_nobody_and_the_code_is_kept_as_a_hash(place: Place, code: str) -> None:
    content = (place.folder / "enrolment.sqlite").read_bytes()
    assert hash_of(read_code(code)).encode() in content
    assert read_code(code).encode() not in content
    assert "P0001" not in place.get(code=code)["body"] + place.get(code=code, page="1")["body"]


def test_no_log_line_holds_a_code_an_id_or_an_answer(place: Place, code: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for page in (1, 2, 3, 4, 5):
        place.post(code, page, marks(page))
    place.get(code=code)
    place.get(code="2222-3333-4444-5555")
    said = "\n".join(caplog.messages)
    assert "page 5 of 5 stored, form finished" in said
    assert not [secret for secret in (code, read_code(code), "P0001", "2222", "q1") if secret in said]


def every_page(place: Place, code: str) -> Iterator[Answer]:
    for language in LANGUAGES:
        yield place.get(lang=language)
        yield place.get(code=code, lang=language)
        yield place.get(code=code, page="1", lang=language)
        yield place.get("/survey/done", lang=language)


@pytest.mark.parametrize("passed_on", ["", "/study"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_pages_lead_to_each_other_below_any_address(place: Place, code: str, passed_on: str, slash: str) -> None:
    place.surveys = replace(place.surveys, prefix="/study")
    below = "https://qol.example.org/study"

    def targets(path: str, **query: str) -> set[str]:
        page = unescape(place.get(f"{passed_on}{path}{slash}", **query)["body"])
        found = re.findall(r'(?:href|action)="([^"#]+)"', page)
        return {urljoin(f"{below}{path}{slash}", one).partition("?")[0] for one in found}

    assert targets("/survey", code=code) == {f"{below}/survey"}
    assert targets("/survey", code=code, page="2") == {f"{below}/survey"}
    assert targets("/survey") == {f"{below}/survey"}
    assert targets("/survey/done") == {f"{below}/survey/done"}
    sent = place.post(code, 1, marks(1))
    assert goes_to(sent, f"{below}/survey").startswith(f"{below}/survey?code=")


def test_no_page_has_a_script_or_is_stored_and_the_policy_forbids_both(place: Place, code: str) -> None:
    for answer in every_page(place, code):
        assert "<script" not in answer["body"]
        policy = answer["headers"]["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script" not in policy
        assert answer["headers"]["cache-control"] == "no-store"
        assert "cookies" not in answer


def test_a_text_cannot_break_out_of_its_page(place: Place, code: str) -> None:
    evil = template("ja").replace("Item 1", "<b>Item</b> & 1").replace("Label 1", "\\\"'><i>").replace("Title", "<u>")
    place.surveys = replace(place.surveys, texts={"ja": read_questionnaire(evil.encode())})
    body = place.get(code=code, page="1")["body"]
    assert "&lt;b&gt;Item&lt;/b&gt; &amp; 1" in body
    assert not [tag for tag in ("<b>", "<i>", "<u>") if tag in body]
    assert "English" not in body


def test_our_own_words_are_there_in_both_languages() -> None:
    assert {frozenset(texts) for texts in TEXTS.values()} == {frozenset(LANGUAGES)}
    assert LABELS["ja"].keys() == LABELS["en"].keys()
