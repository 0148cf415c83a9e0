"""The questionnaire over HTTP: a participant with a personal link answers WHOQOL-26, page by page.

Belongs here: the paths, what is checked in which order, and what is answered. Words belong in `pages`, codes and drafts
in `links`, the wording in `questionnaire`.

    GET /survey                   a field for the code
    GET /survey?code=CODE         the form: its beginning, or the first page that was not sent; uses nothing up, since
                                  mail scanners open links
    GET /survey?code=CODE&page=2  that page, with the answers so far
    POST /survey                  a page was sent: stored, then on to the next one
    GET /survey/done              the closing page

Nothing is lost. Each page that is sent is a raw line at once, written before anything else changes; the draft only says
where to go on and what was marked. If the line cannot be stored, the page comes back with its marks and says so. Each
button saves, also those that lead back or to the other language. A page with items that were not touched is shown once
more, so that a blank is left on purpose.

Pages lead to each other by addresses relative to their own: whatever stands before /survey in the address under which a
participant reaches them stays there, whether or not this side knows of it.

There is no cookie: a page of another site cannot send anything, for it lacks the code, which is in the form itself.

Nothing that identifies a person is logged: no path, query, code, id or answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from typing import cast
from urllib.parse import parse_qs, urlencode

from qol_ingest.consent.browsers import form_of, preferred_language, visitor_of
from qol_ingest.consent.enrolment import InvitationError
from qol_ingest.consent.pages import Programme
from qol_ingest.consent.pages import headers as page_headers
from qol_ingest.consent.state import EnrolmentState, EnrolmentStateError
from qol_ingest.shared.languages import LANGUAGES, Language
from qol_ingest.shared.sendings import Sending
from qol_ingest.shared.stores import Store, StoreError
from qol_ingest.survey.links import GRACE_S, Draft, SurveyLinks
from qol_ingest.survey.pages import FORM_STYLE, PageName, Shown, items_page, text_page
from qol_ingest.survey.questionnaire import CHOICES, PAGES, Questionnaire
from qol_ingest.webhook import RETRY_AFTER_S, Answer, Event

log = logging.getLogger(__name__)

PATH = "/survey"
DONE = "/survey/done"
_STATUS: Mapping[PageName, int] = {
    "enter": 200,
    "start": 200,
    "done": 200,
    "later": 503,
    "unknown": 404,
    "expired": 410,
    "used": 410,
    "too-many": 429,
    "lost": 404,
    "absent": 404,
}
_REFUSALS: Mapping[str, PageName] = {"unknown": "unknown", "expired": "expired", "used": "used", "too many": "too-many"}


@dataclass(frozen=True)
class Surveys:
    """Answers requests to /survey. Raw lines go to `store`; `key` hides the addresses by which wrong codes are counted.

    Without a text in any language every page is 404: no form without its licensed wording. `prefix` is the path of the
    public URL, "" as a rule, for a proxy that leaves it in what it passes on.
    """

    state: EnrolmentState
    store: Store
    texts: Mapping[Language, Questionnaire]
    key: str = field(repr=False)
    programme: Programme = field(default_factory=Programme)
    prefix: str = ""
    clock: Callable[[], float] = time.time

    def handle(self, event: Event) -> Answer:
        """Answer one request (API Gateway HTTP API, payload 2.0)."""
        visit = self._visit(event)
        allowed = ("GET", "POST") if visit.path == PATH else ("GET",)
        if visit.method not in allowed:
            return _plain(405, {"allow": ", ".join(allowed)})
        try:
            return self._answer(visit)
        except InvitationError as error:
            log.info("survey: code refused, %s", error.refusal)
            return self._text(visit, _REFUSALS[error.refusal], error.retry_after_s)
        except EnrolmentStateError as error:
            log.error("survey: not possible now: %s", error)  # noqa: TRY400 - a trace may quote more
            return self._text(visit, "later")

    def _answer(self, visit: _Visit) -> Answer:
        if not self.texts:
            return self._text(visit, "absent")
        if visit.path == DONE:
            return self._text(visit, "done")
        if visit.path != PATH:
            return self._text(visit, "lost")
        if visit.method == "POST":
            return self._take(visit)
        return self._show(visit) if visit.code else self._text(visit, "enter")

    # -- a page is asked for

    def _show(self, visit: _Visit) -> Answer:
        draft = self._links.find(visit.code, visit.visitor)
        if visit.page:
            return self._items(visit, Shown(visit.page, draft.answers, "blank" if visit.is_again else ""))
        if not draft.sent and not draft.answers:
            return self._text(visit, "start")
        return self._items(visit, Shown(_next_page(draft), draft.answers))

    # -- a page was sent

    def _take(self, visit: _Visit) -> Answer:
        if not visit.page:
            return self._show(visit)
        before: Mapping[int, int | None] = {}
        try:
            draft = self._links.find(visit.code, visit.visitor, grace_s=GRACE_S)
            before = draft.answers
            finished = self._save(draft, visit)
        except (StoreError, EnrolmentStateError) as error:
            log.error("survey: a page could not be stored: %s", error)  # noqa: TRY400 - a trace may quote answers
            return self._items(visit, Shown(visit.page, {**before, **visit.touched}, "not-saved"), 503)
        log.info("survey: page %d of %d stored%s", visit.page, len(PAGES), ", form finished" if finished else "")
        return self._redirect(visit, DONE, lang=visit.language) if finished else self._redirect_on(visit)

    def _save(self, draft: Draft, visit: _Visit) -> bool:
        """Store what was marked, as a raw line and in the draft; True if the form is finished.

        A page that is to be shown once more counts as sent all the same, for whoever leaves now; until it comes back,
        items that were not touched are no blanks. The form is finished from its last page. Raises StoreError,
        EnrolmentStateError, InvitationError.
        """
        goes_on = visit.to == "next"
        is_whole = goes_on and not visit.asks
        blanks: dict[int, int | None] = dict.fromkeys(PAGES[visit.page - 1] if is_whole else ())
        if given := {**blanks, **visit.touched}:
            now = datetime.fromtimestamp(self.clock(), UTC)
            sending = Sending(draft.participant_id, draft.wave, given, visit.language, "web", now, now)
            self.store.put_new(sending.key, sending.line)
        ends = is_whole and visit.page == len(PAGES)
        return self._links.save(draft, given, visit.page if goes_on else 0, pages=len(PAGES) if ends else 0)

    def _redirect_on(self, visit: _Visit) -> Answer:
        """Lead to the page that comes next: the same once more, the one before, or the first that was not sent."""
        if visit.asks:
            return self._redirect(visit, PATH, code=visit.code, lang=visit.language, page=str(visit.page), again="1")
        if visit.to == "back":
            return self._redirect(visit, PATH, code=visit.code, lang=visit.language, page=str(max(1, visit.page - 1)))
        if visit.to in LANGUAGES:
            return self._redirect(visit, PATH, code=visit.code, lang=visit.to, page=str(visit.page))
        return self._redirect(visit, PATH, code=visit.code, lang=visit.language)

    # -- answers

    def _items(self, visit: _Visit, shown: Shown, status: int = 200) -> Answer:
        hidden = {"code": visit.code, "lang": visit.language, "page": str(shown.page)}
        if shown.notice == "blank" or visit.is_again:
            hidden["again"] = "1"
        others = [one for one in self.texts if one != visit.language]
        text, url = self.texts[visit.language], visit.way_to(PATH)
        return _html(status, items_page(shown, text, self.programme, url=url, hidden=hidden, others=others))

    def _text(self, visit: _Visit, name: PageName, retry_after_s: float = 0.0) -> Answer:
        """Return a page of our own words, which leads on to the form or to a field for the code."""
        other: Language = "en" if visit.language == "ja" else "ja"
        code = {"code": visit.code} if visit.code else {}
        target = visit.way_to(PATH)
        if name in ("start", "later"):
            page = {"page": "1"} if name == "start" else {}
            target += f"?{urlencode({**code, 'lang': visit.language, **page})}"
        place = DONE if name == "done" else PATH
        has_other = other in self.texts or not self.texts
        shown = text_page(
            name,
            visit.language,
            self.programme,
            button_url=target,
            other_url=f"{visit.way_to(place)}?{urlencode({**code, 'lang': other})}" if has_other else "",
            text=self.texts.get(visit.language),
        )
        waits = {"retry-after": str(ceil(retry_after_s) or RETRY_AFTER_S)} if _STATUS[name] in (429, 503) else {}
        return _html(_STATUS[name], shown, waits)

    def _redirect(self, visit: _Visit, path: str, **query: str) -> Answer:
        location = f"{visit.way_to(path)}?{urlencode(query)}"
        return _plain(303, {"location": location, "cache-control": "no-store", "referrer-policy": "no-referrer"})

    # -- requests

    @property
    def _links(self) -> SurveyLinks:
        return SurveyLinks(self.state, self.clock)

    def _visit(self, event: Event) -> _Visit:
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        http = event.get("requestContext", {}).get("http", {})
        method, path = http.get("method", ""), event.get("rawPath") or http.get("path", "")
        given = form_of(event) if method == "POST" else event.get("rawQueryString") or ""
        query = {name: values[0] for name, values in parse_qs(given, keep_blank_values=True).items()}
        asked = query.get("lang") if query.get("lang") in LANGUAGES else None
        language = cast("Language", asked or preferred_language(headers.get("accept-language", "")))
        if self.texts and language not in self.texts:
            language = next(iter(self.texts))
        visitor = visitor_of(http.get("sourceIp") or "", self.key)
        return _Visit(method, path.removeprefix(self.prefix), query, language, visitor)


@dataclass(frozen=True)
class _Visit:
    """What one request brings."""

    method: str
    asked: str
    query: Mapping[str, str] = field(repr=False)
    language: Language
    visitor: str = field(repr=False)

    @property
    def path(self) -> str:
        """The path that was asked for, without a slash at its end."""
        return self.asked.rstrip("/")

    def way_to(self, path: str) -> str:
        """Return the address of another page, relative to that of this one."""
        return "../" * (self.asked.count("/") - 1) + path.removeprefix("/")

    @property
    def code(self) -> str:
        """The code in the address or the form, as it is spelled there."""
        return self.query.get("code", "").strip()

    @property
    def page(self) -> int:
        """The number of the page of items; 0 for none."""
        text = self.query.get("page", "")
        return int(text) if text in {str(page) for page in range(1, len(PAGES) + 1)} else 0

    @property
    def touched(self) -> dict[int, int | None]:
        """What was marked on the page: 1 to 5, or None for an item that is left out on purpose."""
        items = PAGES[self.page - 1] if self.page else ()
        return {item: _mark(self.query[f"q{item}"]) for item in items if f"q{item}" in self.query}

    @property
    def asks(self) -> bool:
        """Whether items of the page were not touched, and the page is to be shown once more."""
        return self.to == "next" and not self.is_again and len(self.touched) < len(PAGES[self.page - 1])

    @property
    def to(self) -> str:
        """Where the button leads: next, back, or a language."""
        return self.query.get("to", "next")

    @property
    def is_again(self) -> bool:
        """Whether the page was shown a second time, for items that were not touched."""
        return self.query.get("again") == "1"


def _next_page(draft: Draft) -> int:
    """Return the first page that was not sent, or the last one."""
    return next((page for page in range(1, len(PAGES) + 1) if page not in draft.sent), len(PAGES))


def _mark(text: str) -> int | None:
    return int(text) if text in {str(choice) for choice in CHOICES} else None


def survey_url(public_url: str, code: str) -> str:
    """Return the personal link to what answers at `public_url`."""
    return f"{public_url}{PATH}?{urlencode({'code': code})}"


def _html(status: int, body: str, more: Mapping[str, str] | None = None) -> Answer:
    return {"statusCode": status, "headers": {**page_headers(style=FORM_STYLE), **(more or {})}, "body": body}


def _plain(status: int, headers: Mapping[str, str]) -> Answer:
    return {"statusCode": status, "headers": dict(headers), "body": ""}
