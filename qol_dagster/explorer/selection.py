"""What a person chose to see, as the parameters of a link, so that a link restores a view.

Belongs here: reading parameters and writing them. Whatever they hold, what comes out is a `Selection` or an error made
to be read; only names of the dictionary, dates and quoted participant ids go on to SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlencode

from qol_dagster.errors import QolInputError
from qol_dagster.metrics.dictionary import WEEKLY, Metric, by_name
from qol_dagster.metrics.profiles import DEFAULT, PROFILES, Profile
from qol_dagster.weeks import monday_of
from qol_ingest.shared.languages import Language

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

Order = Literal["newest", "participant", "lowest", "highest"]

USUAL_MEASURES = ("steps_mean", "sleep_tst_h_mean")
MOST_MEASURES = 3
USUAL_WEEKS = 12
LONGEST_ID = 100
MOST_PARTICIPANTS = 200
MOST_PAGES = 100_000

MEASURES: dict[str, Metric] = by_name(one for one in WEEKLY if one.type in ("int64", "float64"))
"""The weekly columns that are numbers."""


class SelectionError(QolInputError):
    """A parameter that cannot be read; `reason` is the key of its text, `value` what was given."""

    def __init__(self, reason: str, value: str = "") -> None:
        super().__init__(f"{reason}: {value}")
        self.reason, self.value = reason, value[:LONGEST_ID]


@dataclass(frozen=True)
class Selection:
    """Measures, weeks (by their Mondays, both included), and participants; without any, all of them."""

    language: Language = "ja"
    profile: Profile = DEFAULT
    measures: tuple[str, ...] = USUAL_MEASURES
    since: date | None = None
    until: date | None = None
    participants: tuple[str, ...] = ()
    valid_only: bool = False
    order: Order = "newest"
    page: int = 1

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The dictionary's entries of the measures."""
        return tuple(MEASURES[name] for name in self.measures)

    def within(self, last: date) -> Selection:
        """Return the selection with both ends: by default the 12 weeks up to the last there is."""
        until = self.until or last
        return replace(self, since=self.since or until - timedelta(weeks=USUAL_WEEKS - 1), until=until)

    def query(self, **changes: Any) -> str:
        """Return the parameters that restore this selection, with changes; what is usual is left out."""
        chosen = replace(self, **{"page": 1, **changes})
        pairs: list[tuple[str, object]] = [("lang", chosen.language)]
        pairs += [("m", name) for name in chosen.measures]
        pairs += [(name, day) for name, day in (("since", chosen.since), ("until", chosen.until)) if day]
        pairs += [("p", name) for name in chosen.participants]
        pairs += [("profile", chosen.profile.name)] if chosen.profile != DEFAULT else []
        pairs += [("valid", 1)] if chosen.valid_only else []
        pairs += [("order", chosen.order)] if chosen.order != "newest" else []
        pairs += [("page", chosen.page)] if chosen.page > 1 else []
        return urlencode(pairs)


def read_selection(parameters: QueryParams, language: Language) -> Selection:
    """Return what the parameters of a link ask for; what is missing takes its default. Raises SelectionError."""
    since, until = _week(parameters, "since"), _week(parameters, "until")
    if since and until and since > until:
        raise SelectionError("weeks_reversed", f"{since} > {until}")
    return Selection(
        language=read_language(parameters, language),
        profile=_profile(parameters.get("profile") or DEFAULT.name),
        measures=_measures(parameters.getlist("m")) or USUAL_MEASURES,
        since=since,
        until=until,
        participants=_participants(parameters.getlist("p")),
        valid_only=parameters.get("valid") == "1",
        order=_order(parameters.get("order") or "newest"),
        page=_page(parameters.get("page") or "1"),
    )


def read_language(parameters: QueryParams, usual: Language) -> Language:
    """Return the language asked for, or the usual one."""
    return next((one for one in get_args(Language) if one == parameters.get("lang")), usual)


def read_date(text: str) -> date:
    """Return a date written as YYYY-MM-DD. Raises SelectionError."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise SelectionError("no_date", text) from None
    if day.isoformat() != text or not 1900 <= day.year < 9000:
        raise SelectionError("no_date", text)
    return day


def read_participant(text: str) -> str:
    """Return a participant id. Raises SelectionError for what can be none."""
    if not text or len(text) > LONGEST_ID or not text.isprintable():
        raise SelectionError("no_participant", text)
    return text


def _week(parameters: QueryParams, name: str) -> date | None:
    text = (parameters.get(name) or "").strip()
    return monday_of(read_date(text)) if text else None


def _measures(names: Sequence[str]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(name for name in names if name))
    for name in chosen:
        if name not in MEASURES:
            raise SelectionError("no_measure", name)
    if len(chosen) > MOST_MEASURES:
        raise SelectionError("many_measures", str(len(chosen)))
    return chosen


def _participants(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the ids, which a form sends in one text, separated by commas or spaces."""
    ids = [one for text in texts for one in text.replace(",", " ").replace("、", " ").split()]
    if len(ids) > MOST_PARTICIPANTS:
        raise SelectionError("many_participants", str(len(ids)))
    return tuple(dict.fromkeys(map(read_participant, ids)))


def _profile(name: str) -> Profile:
    for profile in PROFILES.values():
        if profile.name == name:
            return profile
    raise SelectionError("no_profile", name)


def _order(name: str) -> Order:
    for order in get_args(Order):
        if order == name:
            return order  # type: ignore[no-any-return]  # get_args has no types
    raise SelectionError("no_order", name)


def _page(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= MOST_PAGES:
        raise SelectionError("no_page", text)
    return int(text)
