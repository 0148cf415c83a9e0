"""`qol explore`: the explorer's server, from the start to Ctrl+C.

Belongs here: its port, what is warmed up while a person opens the page, and the browser. The pages are `explorer/`'s.
"""

from __future__ import annotations

import contextlib
import threading
import webbrowser
from collections.abc import Callable

from qol_dagster.cli.revisions import catalogue_as_of
from qol_dagster.errors import QolError
from qol_dagster.explorer.app import Explorer, ExplorerServer
from qol_dagster.explorer.views import Past
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings
from qol_ingest.shared.languages import Language


class PortTakenError(QolError):
    """Something else listens on the port."""


def run_explorer(
    settings: Settings,
    port: int,
    language: Language,
    as_of: str,
    *,
    open_browser: bool,
    announce: Callable[[str], None],
) -> None:
    """Serve the pages until interrupted; `announce` is given their address. Raises PortTakenError and PastError."""
    past = Past(as_of, catalogue_as_of(as_of)) if as_of else None
    explorer = Explorer(open_platform(settings), language, past)
    try:
        server = ExplorerServer(explorer, port)
    except OSError as error:
        raise PortTakenError(f"port {port} is taken; give another with --port, or 0 for a free one") from error
    threading.Thread(target=_warm_up, daemon=True).start()
    announce(server.url)
    if open_browser:
        webbrowser.open(server.url)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def _warm_up() -> None:
    """Load what takes a second the first time: the engine of the charts and that of the tables."""
    import duckdb  # noqa: F401
    import numpy as np  # noqa: F401

    from qol_dagster.explorer import charts

    charts.svg(charts.distribution((), "", ""))
