"""The pages over HTTP, on this machine only.

Belongs here: paths, parameters, headers and errors. Everything is a GET that changes nothing; no page has a script,
asks another host for anything, or is kept by the browser. Who asks under another name than this machine's is refused,
so that no other site's page can read along.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from qol_dagster.errors import QolError
from qol_dagster.explorer import downloads, queries
from qol_dagster.explorer.selection import (
    Selection,
    SelectionError,
    read_date,
    read_language,
    read_participant,
    read_selection,
)
from qol_dagster.explorer.texts import TEXTS
from qol_dagster.explorer.views import SAMPLE_UNITS, Past, UnknownError, Views, shown
from qol_dagster.metrics.dictionary import DAILY, STATUS, WEEKLY
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.weeks import monday_of
from qol_ingest.shared.languages import LANGUAGES, Language

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from qol_dagster.resources.platform import Platform

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
HOSTS = [HOST, "localhost"]
FOLDER = Path(__file__).parent
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Explorer:
    """The pages of a deployment; `language` is the one of who does not choose, `past` a state of the tables before."""

    platform: Platform
    language: Language
    past: Past | None = None

    def app(self) -> Starlette:
        """Return the ASGI application."""
        pages = _Pages(Views(self.platform, self.past), self.language, _templates())
        return Starlette(
            routes=[
                Route("/", pages.overview),
                Route("/completeness", pages.completeness),
                Route("/week", pages.week),
                Route("/day", pages.day),
                Route("/download", pages.download),
                Mount("/static", StaticFiles(directory=FOLDER / "static")),
            ],
            middleware=[Middleware(_Guarded), Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
            exception_handlers={
                QolError: pages.could_not,
                HTTPException: pages.no_page,
                Exception: pages.broken,
            },
        )


@dataclass(frozen=True)
class _Pages:
    views: Views
    language: Language
    templates: jinja2.Environment

    def overview(self, request: Request) -> Response:
        selection = self._selection(request)
        return self._page("overview.html", request, self.views.overview(selection))

    def completeness(self, request: Request) -> Response:
        selection = self._selection(request)
        return self._page("completeness.html", request, self.views.completeness(selection))

    def week(self, request: Request) -> Response:
        participant, week = _participant(request), _week(request)
        return self._page("week.html", request, self.views.week(self._selection(request), participant, week))

    def day(self, request: Request) -> Response:
        participant, day = _participant(request), _date(request)
        return self._page("day.html", request, self.views.day(self._selection(request), participant, day))

    def download(self, request: Request) -> Response:
        """Return what a page shows as a ZIP."""
        view = request.query_params.get("view", "")
        files = {
            "weeks": self._weeks,
            "statuses": self._statuses,
            "week": self._days_of_week,
            "day": self._one_day,
            "samples": self._samples,
            "survey": self._survey,
        }
        if view not in files:
            raise UnknownError("no_view", view)
        name, content = files[view](request, self._selection(request))
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="qol_{name}.zip"'}
        return Response(content, media_type="application/zip", headers=headers)

    def _weeks(self, request: Request, selection: Selection) -> tuple[str, bytes]:
        selection, rows = self.views.weekly_rows(selection)
        names = list(dict.fromkeys([*queries.WEEK_COLUMNS, *selection.measures]))
        readme = self._readme(request, "weekly_metrics", queries.weekly_rows(selection))
        return "weekly_metrics", downloads.archive(rows, downloads.codebook_of(WEEKLY, names), readme)

    def _statuses(self, request: Request, selection: Selection) -> tuple[str, bytes]:
        selection, rows = self.views.status_rows(selection)
        readme = self._readme(request, "participant_status", queries.status_rows(selection))
        codebook = downloads.codebook_of(STATUS, queries.STATUS_COLUMNS)
        return "participant_status", downloads.archive(rows, codebook, readme)

    def _days_of_week(self, request: Request, selection: Selection) -> tuple[str, bytes]:
        participant, week = _participant(request), _week(request)
        rows = self.views.days(selection, participant, week)
        readme = self._readme(request, "daily_metrics", queries.days_of_week(selection.profile, participant, week))
        codebook = downloads.codebook_of(DAILY, [one.name for one in DAILY])
        return f"daily_metrics_{week}", downloads.archive(rows, codebook, readme)

    def _one_day(self, request: Request, selection: Selection) -> tuple[str, bytes]:
        participant, day = _participant(request), _date(request)
        row = self.views.daily_row(selection, participant, day)
        readme = self._readme(request, "daily_metrics", queries.daily_rows(selection.profile, participant, day, day))
        codebook = downloads.codebook_of(DAILY, [one.name for one in DAILY])
        return f"daily_metrics_{day}", downloads.archive([row] if row else [], codebook, readme)

    def _samples(self, request: Request, _selection: Selection) -> tuple[str, bytes]:
        participant, day = _participant(request), _date(request)
        rows = self.views.samples(participant, day)
        readme = self._readme(request, f"samples of {participant}, {day}", "")
        return f"samples_{day}", downloads.archive(rows, _SAMPLE_CODEBOOK, readme)

    def _survey(self, request: Request, selection: Selection) -> tuple[str, bytes]:
        table = next((one for one in SURVEY_TABLES if one == request.query_params.get("table")), None)
        if table is None:
            raise UnknownError("no_view", request.query_params.get("table", ""))
        rows, columns = self.views.survey_rows(selection, table), SURVEY_TABLES[table]
        readme = self._readme(request, table, queries.survey_rows(table, selection.participants))
        codebook = downloads.codebook_of(columns, [one.name for one in columns])
        return table, downloads.archive(rows, codebook, readme)

    def _readme(self, request: Request, title: str, sql: str) -> str:
        past = self.views.past.name if self.views.past and sql else ""
        return downloads.readme(title, str(request.url), sql, past)

    def _selection(self, request: Request) -> Selection:
        return read_selection(request.query_params, self.language)

    def _page(self, template: str, request: Request, context: Mapping[str, Any]) -> Response:
        selection: Selection = context["selection"]
        return self._render(
            template, request, selection.language, 200, **context,
            query=selection.query(),
            link=_restoring(request, selection),
        )  # fmt: skip

    def _render(self, template: str, request: Request, language: Language, status: int, **context: Any) -> Response:
        (other,) = LANGUAGES.keys() - {language}
        words = {
            "language": language,
            "other": other,
            "languages": LANGUAGES,
            "t": TEXTS[language],
            "here": request.url.path,
            "switch": f"{request.url.path}?{request.url.include_query_params(lang=other).query}",
            "query": f"lang={language}",
            "past": self.views.past.name if self.views.past else "",
            **context,
        }
        return HTMLResponse(self.templates.get_template(template).render(words), status, headers=HEADERS)

    def could_not(self, request: Request, error: Exception) -> Response:
        """Answer what was asked wrongly, is not there, or could not be read."""
        if isinstance(error, SelectionError):
            return self._error(request, error.reason, 404 if isinstance(error, UnknownError) else 400, error.value)
        return self._error(request, "failed", 503, str(error))

    def no_page(self, request: Request, error: Exception) -> Response:
        """Answer a path or a method that there is not."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        return self._error(request, "not_allowed" if status == 405 else "not_found", status)

    def broken(self, request: Request, error: Exception) -> Response:
        """Answer a fault of ours; its message may quote data, so only its kind is logged."""
        log.error("a page of `qol explore` failed: %s", type(error).__name__)
        return self._error(request, "broken", 500)

    def _error(self, request: Request, reason: str, status: int, value: str = "") -> Response:
        language = read_language(request.query_params, self.language)
        message = TEXTS[language][reason].replace("{value}", value)
        return self._render("error.html", request, language, status, message=message)


class _Guarded:
    """Refuses what another site's page asks for: it could not read the answer, but each costs a query."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        foreign = headers.get(b"sec-fetch-site") == b"cross-site" and headers.get(b"sec-fetch-mode") != b"navigate"
        if foreign:
            await Response("", 403)(scope, receive, send)
            return
        await self.app(scope, receive, partial(_with_headers, send))


async def _with_headers(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        known = {name for name, _ in message["headers"]}
        added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        message["headers"] = [*message["headers"], *(one for one in added if one[0] not in known)]
    await send(message)


def _restoring(request: Request, selection: Selection) -> str:
    """Return the address that restores a view: both ends of its weeks are in it, wherever the page's lacks them."""
    own = {name: request.query_params[name] for name in ("participant", "week", "date") if name in request.query_params}
    url = request.url.replace(query=selection.query(page=selection.page))
    return str(url.include_query_params(**own))


def _participant(request: Request) -> str:
    return read_participant(request.query_params.get("participant", ""))


def _week(request: Request) -> date:
    return monday_of(_of(request, "week"))


def _date(request: Request) -> date:
    return _of(request, "date")


def _of(request: Request, name: str) -> date:
    return read_date(request.query_params.get(name, ""))


def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(FOLDER / "templates")
    templates = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    templates.filters["shown"] = shown
    return templates


def _entry(name: str, type_: str, description: str, description_ja: str) -> dict[str, object]:
    return {"name": name, "type": type_, "description": description, "description_ja": description_ja}


_UNITS = ", ".join(f"{kind} {unit}" for kind, unit in SAMPLE_UNITS.items())
_SAMPLE_CODEBOOK = [
    _entry("kind", "string", f"what was measured; units: {_UNITS}", f"測定の種類。単位：{_UNITS}"),
    _entry("type", "string", "Garmin's summary type of the record", "レコードの種類（Garmin の名称）"),
    _entry("at", "string", "local time of the sample, without a zone", "測定の現地時刻（時差の表示なし）"),
    _entry("value", "float64", "the value as received", "受信したままの値"),
    _entry(
        "used",
        "bool",
        "whether the metrics use it; what means no data, or is outside its record, is not used",
        "指標に使うか。データなしを表す値と、レコードの範囲外の値は使わない",
    ),
]


class ExplorerServer:
    """A server that listens from the start, on loopback. Raises OSError if the port is taken; 0 takes a free one."""

    def __init__(self, explorer: Explorer, port: int = 0) -> None:
        self._socket = socket.create_server((HOST, port), backlog=64)
        config = uvicorn.Config(
            explorer.app(),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # it logs paths, which hold participant ids
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self.server = uvicorn.Server(config)

    @property
    def url(self) -> str:
        """The address of the first page."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}/"

    def serve_forever(self) -> None:
        """Answer requests until interrupted, or until `stop`."""
        try:
            self.server.run([self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Let `serve_forever` end."""
        self.server.should_exit = True
