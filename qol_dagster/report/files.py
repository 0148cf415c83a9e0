"""Reports as files of the lake: `reports/week=MONDAY/report.{ja,en}.html`.

Belongs here: their keys, and that a report is written when there is something new to say. Not here: the pages.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qol_dagster.engines.fingerprint import package_fingerprint
from qol_dagster.lake.objects import LakeError
from qol_dagster.report.calls import calls_of
from qol_dagster.report.facts import Facts, ReportError, read_facts
from qol_dagster.report.page import render_own_page, render_report
from qol_dagster.resources.connections import PeopleParts, read_people
from qol_dagster.weeks import is_closed, today
from qol_ingest.shared.keys import REPORTS
from qol_ingest.shared.languages import LANGUAGES, Language

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.resources.catalogue import Catalogue

_MARK = "<!-- made from {} -->\n"


@dataclass(frozen=True)
class Report:
    """A report that is there: its key by language, how many calls it asks for by reason, whether it is new."""

    facts: Facts
    keys: dict[Language, str]
    calls: dict[str, int]
    written: bool


def report_key(week: date, language: Language) -> str:
    """Return the key of a week's report in the lake."""
    return f"{REPORTS}/week={week}/report.{language}.html"


def write_report(catalogue: Catalogue, lake: Lake, parts: PeopleParts, week: date) -> Report:
    """Write the report of a week in every language, unless it is there and says the same.

    Raises ReportError for a week of which nothing was computed.
    """
    facts = read_facts(catalogue, lake, read_people(parts), week, datetime.now(UTC))
    keys = {language: report_key(week, language) for language in LANGUAGES}
    mark = _MARK.format(fingerprint(facts))
    new = any(not _begins_with(lake, key, mark) for key in keys.values())
    if new:
        for language, page in render_report(facts).items():
            lake.replace_object(keys[language], _marked(page, mark), as_tables=True)
    return Report(facts, keys, dict(Counter(one.reason for one in calls_of(facts))), new)


def write_own_page(
    catalogue: Catalogue, lake: Lake, parts: PeopleParts, week: date, *, participant_id: str, language: Language
) -> str:
    """Write the page to be shown to one participant, and return its key. Raises ReportError."""
    facts = read_facts(catalogue, lake, read_people(parts), week, datetime.now(UTC))
    try:
        page = render_own_page(facts, participant_id, language)
    except KeyError:
        raise ReportError(f"nothing is known of participant {participant_id} in the weeks up to {week}") from None
    digest = hashlib.sha256(participant_id.encode()).hexdigest()[:12]
    key = f"{REPORTS}/week={week}/participants/{digest}.{language}.html"
    lake.replace_object(key, page.encode(), as_tables=True)
    return key


def latest_week(lake: Lake) -> date:
    """Return the last week that is over and was computed. Raises ReportError if there is none."""
    weeks = [week for week in lake.table_dates("status") if is_closed(week, today())]
    if not weeks:
        raise ReportError("no week has been computed yet: qol materialize --week DATE")
    return weeks[-1]


def fingerprint(facts: Facts) -> str:
    """Changes with everything a report shows but the time it was made at, and with the code and the look of it."""
    digest = hashlib.sha256(package_fingerprint(Path(__file__).parent).encode())
    for template in sorted((Path(__file__).parent / "templates").iterdir()):
        digest.update(template.read_bytes())
    shown = (facts.week, facts.status, facts.weekly, facts.people, facts.origin, facts.surveys)
    return hashlib.sha256(digest.digest() + repr(shown).encode()).hexdigest()[:16]


def _marked(page: str, mark: str) -> bytes:
    """Return the page with the mark behind its first line: before that, a browser would not know its kind."""
    first, _, rest = page.partition("\n")
    return f"{first}\n{mark}{rest}".encode()


def _begins_with(lake: Lake, key: str, mark: str) -> bool:
    try:
        return mark.encode() in lake.read_object(key)[:200]
    except LakeError:
        return False
