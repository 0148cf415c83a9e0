"""What Dagster's SQLite files say of its daemon and its runs, read without Dagster, whose import takes longer.

Belongs here: reading `DAGSTER_HOME` of this machine, for `qol doctor` and `qol heartbeat`. Nothing is written.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from qol_dagster.cli.output import in_japan
from qol_dagster.defs.dagster_home import BEATS_S

if TYPE_CHECKING:
    from qol_dagster.settings import Settings


def query_dagster(settings: Settings, sql: str, name: str = "runs.db") -> list[Any]:
    """Return rows of one of Dagster's databases, that of runs by default, or none if there is none here.

    It is read as what it is, a SQLite file: importing Dagster takes longer than everything else that is looked at.
    """
    file = settings.dagster_home.absolute() / "history" / name
    if not file.exists():
        return []
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        return database.execute(sql).fetchall()


def last_heartbeat(settings: Settings) -> datetime | None:
    """Return when the daemon of this QOL_HOME was last seen at work (UTC), if ever."""
    found = query_dagster(settings, "SELECT max(timestamp) FROM daemon_heartbeats")
    return datetime.fromisoformat(found[0][0]).replace(tzinfo=UTC) if found and found[0][0] else None


def last_seen(beat: datetime | None, never: str = "never") -> str:
    """Return when a daemon was last seen at work, as people read it."""
    return in_japan(beat) if beat else never


def is_beating(beat: datetime | None) -> bool:
    """Return whether a heartbeat is recent enough for a daemon that runs."""
    return beat is not None and datetime.now(UTC) - beat < timedelta(seconds=BEATS_S)


def process_that_is_gone(settings: Settings, run_id: str) -> int:
    """Return the number of the process of a run if there is none of that number on this machine, else 0."""
    begun = "SELECT event FROM event_logs WHERE dagster_event_type = 'PIPELINE_START' ORDER BY id DESC LIMIT 1"
    for (event,) in query_dagster(settings, begun, f"runs/{run_id}.db"):
        process = int((json.loads(event).get("dagster_event") or {}).get("pid") or 0)
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return process
        except PermissionError:  # there is one, of somebody else's
            return 0
    return 0
