"""`qol report`: the weekly report, made anew if there is something new to say, and where it is."""

from __future__ import annotations

import webbrowser
from datetime import date
from typing import TYPE_CHECKING

from qol_dagster.report.files import latest_week, report_key, write_own_page, write_report
from qol_dagster.resources.platform import open_platform
from qol_dagster.weeks import monday_of
from qol_ingest.shared.languages import Language

if TYPE_CHECKING:
    from qol_dagster.settings import Settings


def make_report(settings: Settings, day: date | None, language: Language, participant: str = "") -> str:
    """Write the report of a date's week (of the latest without one), and return where it is.

    With a participant, it is the page to be shown to them. Raises ReportError.
    """
    platform = open_platform(settings)
    lake, catalogue = platform.lake(), platform.catalogue()
    week = monday_of(day) if day else latest_week(lake)
    with lake.with_people():  # an erasure waits
        if participant:
            own = write_own_page(catalogue, lake, platform, week, participant_id=participant, language=language)
            return lake.uri(own)
        write_report(catalogue, lake, platform, week)
        return lake.uri(report_key(week, language))


def open_in_browser(place: str) -> bool:
    """Open a report; False where there is no browser or the report is no file of this machine."""
    return not place.startswith("s3://") and webbrowser.open(f"file://{place}")
