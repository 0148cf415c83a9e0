"""Dagster's web server for hosting: it takes what its own pages send, and the weekly start.

Dagster's own runs mutations that come by GET, as a form or from pages of others: whoever is signed in would only have
to open a link. Belongs here: which requests are refused, and the command that the image runs, `dagster-webserver` with
the same options.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
GRAPHQL = "/graphql"


def refusal(scope: MutableMapping[str, Any]) -> int | None:
    """Return the status with which a request is refused; None if it is not.

    What changes something has to come from a page of the same host. A program has no origin; the one that may come in
    shows a token, which the load balancer has compared.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    is_graphql = scope["path"].rstrip("/") == GRAPHQL
    origin = headers.get("origin")
    is_ours = origin is not None and bool(origin) and urlsplit(origin).netloc == headers.get("host")
    is_program = origin is None and is_graphql and "authorization" in headers
    if scope["type"] == "websocket":
        return None if is_ours else 403
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return 405 if is_graphql else None
    if not is_ours and not is_program:
        return 403
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return 415 if is_graphql and media_type != "application/json" else None


class OwnPagesOnly:
    """ASGI middleware that refuses other requests."""

    def __init__(self, app: Callable[[Any, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        status = refusal(scope) if scope["type"] in ("http", "websocket") else None
        if status is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Run `dagster-webserver` with the middleware in front of its own."""
    from dagster_webserver import app, cli
    from dagster_webserver.webserver import DagsterWebserver
    from starlette.middleware import Middleware

    class Guarded(DagsterWebserver[Any, Any]):
        def build_middleware(self) -> list[Middleware]:
            return [Middleware(OwnPagesOnly), *super().build_middleware()]

    app.DagsterWebserver = Guarded  # type: ignore[attr-defined]
    cli.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
