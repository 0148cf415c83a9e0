"""Forms of the questionnaire that may be answered and whose participants have no personal link yet.

Belongs here: what the links and the table of due forms say of it, for the alert to staff and for the report. Making
links belongs in `survey_pages.py`: only staff make them, since a link is shown once and stored nowhere.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from qol_dagster.weeks import last_due_week, receipt_date, weekly_run_of
from qol_ingest.consent.state import EnrolmentStateError
from qol_ingest.survey.links import SurveyLinks

if TYPE_CHECKING:
    from qol_dagster.resources.catalogue import Catalogue
    from qol_dagster.resources.id_map import People
    from qol_ingest.consent.state import EnrolmentState

Form = tuple[str, int]
"""A participant and a wave."""


class LinkParts(Protocol):
    """Of a deployment, what knows of links."""

    def enrolment_state(self) -> EnrolmentState:
        """Where links are kept, as hashes."""


class InvitationParts(LinkParts, Protocol):
    """Of a deployment, what knows whom to invite."""

    def catalogue(self) -> Catalogue:
        """The tables."""

    def id_map(self) -> People:
        """Who takes part."""


def invited_forms(parts: LinkParts) -> frozenset[Form] | None:
    """Return the forms that have or had a link; None for who may not see links."""
    try:
        return frozenset(SurveyLinks(parts.enrolment_state()).invited())
    except EnrolmentStateError:
        return None


def forms_to_invite(parts: InvitationParts, now: datetime) -> int:
    """Return how many forms could be answered when the last weekly run was due, still can, and never had a link.

    Whoever left since the table was made does not count. Nobody is asked on other days than that of the weekly run, so
    that staff hear of them once a week.
    """
    run, today = receipt_date(weekly_run_of(last_due_week(now))), receipt_date(now)
    open_then = parts.catalogue().query(
        "SELECT participant_id, wave FROM db_qol.survey_due "
        f"WHERE opens_on <= '{run}' AND closes_on >= '{today}' AND answered_on IS NULL"
    )
    asked = parts.id_map().identities().participants_to_ask()
    forms = {(str(person), int(wave)) for person, wave in open_then.rows if person in asked}
    invited = invited_forms(parts) if forms else None
    return len(forms - invited) if invited is not None else 0
