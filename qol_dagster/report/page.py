"""A report as one HTML file: offline, without scripts, for screens, paper and screen readers.

Belongs here: which part shows what. The look is that of `templates/`, the words are `texts.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from qol_dagster.metrics.dictionary import DAILY, WEEKLY, by_name
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS, Thresholds
from qol_dagster.report import charts
from qol_dagster.report.calls import SHOWN, Call, calls_of
from qol_dagster.report.facts import HEADLINES, MEASURES, WEEKS_SINCE_ENROLMENT, Facts
from qol_dagster.report.surveys import LEAST_SCORES, ScoreSpread, associations, responses, score_spreads
from qol_dagster.report.texts import text
from qol_dagster.report.views import (
    OwnRange,
    day_states,
    late_participants,
    overview,
    own_ranges,
    spread,
    week_label,
    weeks_since_enrolment,
)
from qol_dagster.surveys.windows import MEASURES as WINDOW_MEASURES
from qol_dagster.weeks import dates_of, weekly_run_of
from qol_ingest.shared.calendar import JST
from qol_ingest.shared.languages import LANGUAGES, Language

if TYPE_CHECKING:
    import jinja2

DIGITS: Mapping[str, int] = {"sleep_tst_h_mean": 1, "resting_hr_mean": 1, "hrv_rmssd_mean": 1, "stress_mean": 1}
"""Decimal places of measures, where it is not none."""
MOST_PEOPLE = 300
"""Up to how many participants everybody is drawn; of more, those with something to see."""
PEOPLE_A_CHART = 25
"""As many as fit on a page of A4."""
_WINDOW_COLUMNS = {one.name: one.column for one in WINDOW_MEASURES}
_UNSPOKEN_UNITS = ("n/d", "1", "1-100", "")


class Words:
    """Texts, dates and numbers in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, name: str, **values: object) -> str:
        return text(name, self.language, **values)

    def number(self, value: float | None, digits: int = 0) -> str:
        """Return a number as the language writes it; a dash for none."""
        from babel.numbers import format_decimal

        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        return "–" if value is None else format_decimal(value, pattern, locale=self.language)

    def percent(self, value: float | None) -> str:
        """Return a share that is in percent."""
        return "–" if value is None else f"{self.number(value)} %"

    def day(self, value: date) -> str:
        """Return a date as the language writes it."""
        from babel.dates import format_date

        return format_date(value, "long", locale=self.language)

    def moment(self, value: datetime) -> str:
        """Return a time, in Japan."""
        local = value.astimezone(JST)
        return self("moment", day=self.day(local), time=f"{local:%H:%M}")

    def measure(self, name: str) -> str:
        """Return what a column is called, with its unit."""
        metric = by_name(WEEKLY)[name]
        label = metric.japanese.term if self.language == "ja" else metric.description
        return label if metric.unit in _UNSPOKEN_UNITS else f"{label} ({metric.unit})"

    def window_measure(self, name: str) -> str:
        """Return what a column of the 14 days before a form is called: as the day's measure."""
        metric = by_name(DAILY)[_WINDOW_COLUMNS[name]]
        return metric.japanese.term if self.language == "ja" else metric.description

    def correlation(self, value: float) -> str:
        """Return a value from -1 to 1 to two places: with a true minus, and none before 0.00."""
        return self.number(round(value, 2) + 0.0, 2).replace("-", "−")

    def wave(self, number: int) -> str:
        """Return what a wave of questionnaires is called."""
        return self("wave_n", n=number) if number else self("baseline")

    def value(self, measure: str, value: float | None) -> str:
        """Return a value of a measure, with its decimal places."""
        return self.number(value, DIGITS.get(measure, 0))

    def signed(self, value: int) -> str:
        """Return a change: with its sign, a true minus."""
        return f"{'+' if value > 0 else '−'}{self.number(abs(value))}"


def render_report(facts: Facts, *, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> dict[Language, str]:
    """Return the report of a week in every language. Charts are drawn once for all."""
    shared = _Shared(facts)
    return {language: _render(facts, shared, Words(language), thresholds) for language in LANGUAGES}


def render_own_page(facts: Facts, participant_id: str, language: Language) -> str:
    """Return the page to be shown to one participant. Raises KeyError if there is none of this id."""
    ranges, words = own_ranges(facts), Words(language)
    own, states = ranges.get(participant_id, {}), day_states(facts)[participant_id]
    return _template("own.html.j2").render(
        **_frame(facts, words),
        participant=participant_id,
        days=[(week, parts) for week, parts in zip(_dates(facts), _heat_map(states, words), strict=True)],
        weeks=_dates(facts),
        rows=[
            (words.measure(one), *(words.value(one, value) for value in own[one].history[1:]))
            for one in MEASURES
            if own and any(value is not None for value in own[one].history)
        ],
        charts=[
            (words.measure(one), charts.course_chart(facts.weeks, own[one].history, from_zero=one != "resting_hr_mean"))
            for one in HEADLINES
            if own
        ],
        legend=_legend(words, {*states}),
    )


class _Shared:
    """What is the same in every language: views and charts."""

    def __init__(self, facts: Facts) -> None:
        self.calls = calls_of(facts)
        self.since_enrolment = weeks_since_enrolment(facts)
        self.ranges = own_ranges(facts)
        self.outside = [
            one for of_measure in self.ranges.values() for one in of_measure.values()
            if one.side and one.measure != "wear_min_mean"
        ]  # fmt: skip
        self.overviews = [overview(facts, week) for week in facts.weeks[1:]]
        self.valid_chart = charts.valid_weeks_chart(self.overviews)
        self.spreads = {one: [spread(facts, one, week) for week in facts.weeks] for one in MEASURES}
        self.spread_charts = {one: charts.spread_chart(weeks) for one, weeks in self.spreads.items()}
        self.states = day_states(facts)
        self.drawn_days = self._with_something_to_see()
        self.drawn_courses = self._courses()
        self.responses = responses(facts.surveys)
        self.scores = score_spreads(facts.surveys)
        self.score_charts = {
            domain: charts.scores_chart(waves)
            for domain, waves in self.scores.items()
            if any(one.n >= LEAST_SCORES for one in waves)
        }
        self.associations = [
            (domain, [(row, charts.interval_chart(row["ci_low"], row["estimate"], row["ci_high"])) for row in rows])
            for domain, rows in associations(facts.surveys)
        ]
        self.course_charts = {
            measure: [
                charts.courses_chart(part, DIGITS.get(measure, 0))
                for part in _parts([self.ranges[one][measure] for one in self.drawn_courses], PEOPLE_A_CHART)
            ]
            for measure in HEADLINES
        }

    def _with_something_to_see(self) -> dict[str, str]:
        if len(self.states) <= MOST_PEOPLE:
            return self.states
        some = [one for one, states in self.states.items() if states[-7:] not in ("V" * 7, "R" * 7)]
        return {one: self.states[one] for one in some[:MOST_PEOPLE]}

    def _courses(self) -> list[str]:
        if len(self.ranges) <= MOST_PEOPLE:
            return list(self.ranges)
        return list(dict.fromkeys(one.participant_id for one in self.outside))[:MOST_PEOPLE]


def _render(facts: Facts, shared: _Shared, words: Words, thresholds: Thresholds) -> str:
    calls = [_call(one, words, thresholds) for one in shared.calls]
    enrolled = shared.since_enrolment
    return _template("report.html.j2").render(
        **_frame(facts, words),
        calls=calls[:SHOWN],
        more_calls=calls[SHOWN:],
        tiles=_tiles(shared, words),
        valid_chart=shared.valid_chart,
        valid_rows=[(week_label(one.week), words.number(one.enrolled), words.number(one.active),
                     words.number(one.valid), words.percent(one.valid_pct)) for one in shared.overviews],
        headlines=[_headline(shared, one, words) for one in HEADLINES],
        heat=[(person, _heat_map(states, words)) for person, states in shared.drawn_days.items()],
        dates=_dates(facts),
        too_many=words("too_many", n=MOST_PEOPLE) if len(shared.states) > MOST_PEOPLE else "",
        legend=_legend(words, {letter for states in shared.drawn_days.values() for letter in states}),
        since=[(person, weeks) for person, weeks in enrolled.items() if person in shared.drawn_days],
        n_since=max(map(len, enrolled.values()), default=0),
        since_weeks=WEEKS_SINCE_ENROLMENT,
        spreads=[_spread(shared, one, words) for one in MEASURES],
        outside=[_outside(one, words) for one in shared.outside],
        courses=[(words.measure(one), parts) for one, parts in shared.course_charts.items() if parts],
        courses_of_some=words("courses_of_some", n=MOST_PEOPLE) if len(shared.ranges) > MOST_PEOPLE else "",
        surveys=_surveys(facts, shared, words),
        origin=_origin(facts, words),
        made_with=list(facts.origin.made_with.items()),
    )  # fmt: skip


def _frame(facts: Facts, words: Words) -> dict[str, Any]:
    return {
        "t": words,
        "language": words.language,
        "languages": LANGUAGES,
        "others": [one for one in LANGUAGES if one != words.language],
        "period": words("week_of", first=words.day(facts.week), last=words.day(dates_of(facts.week)[-1])),
        "week": str(facts.week),
        "as_of": words.moment(min(facts.made_at, weekly_run_of(facts.week))),
        "made_at": words("made_at", at=words.moment(facts.made_at)),
    }


def _call(call: Call, words: Words, thresholds: Thresholds) -> dict[str, str]:
    why = words(call.reason, n=call.number)
    if call.since:
        why += words("detail", of=words("last_worn", date=words.day(call.since)))
    if call.until:
        why += words("detail", of=words("until", date=words.day(call.until)))
    hours = f"{thresholds.valid_day_wear_min / 60:g}"
    return {
        "participant": call.participant_id,
        "why": why,
        "do": words(f"{call.reason}.do", hours=hours),
        "reason": call.reason,
    }


def _tiles(shared: _Shared, words: Words) -> list[dict[str, str]]:
    now, before = shared.overviews[-1], shared.overviews[-2]
    return [
        {
            "label": words(name),
            "value": words.number(getattr(now, name)),
            "share": "" if name == "enrolled" or not now.enrolled
            else words("of_enrolled", pct=words.percent(100 * getattr(now, name) / now.enrolled)),
            "change": _change(getattr(now, name), getattr(before, name), words),
        }
        for name in ("enrolled", "active", "valid")
    ]  # fmt: skip


def _change(now: int, before: int | None, words: Words) -> str:
    if before is None:
        return words("none_before")
    return words("change", change=words.signed(now - before)) if now != before else words("no_change")


def _headline(shared: _Shared, measure: str, words: Words) -> dict[str, str]:
    now, before = shared.spreads[measure][-1], shared.spreads[measure][-2]
    return {
        "measure": words.measure(measure),
        "median": words.value(measure, now.median),
        "middle": _from_to(measure, now.p25, now.p75, words),
        "n": words.number(now.n),
        "before": words.value(measure, before.median),
    }


def _from_to(measure: str, low: float | None, high: float | None, words: Words) -> str:
    if low is None or high is None:
        return "–"
    return words("from_to", low=words.value(measure, low), high=words.value(measure, high))


def _heat_map(letters: str, words: Words) -> list[list[tuple[str, str]]]:
    """Return the days week by week, each with its state and the letter that is shown for it."""
    return [
        [(letter, _letter(letter, words)) for letter in letters[first : first + 7]]
        for first in range(0, len(letters), 7)
    ]


def _letter(letter: str, words: Words) -> str:
    return "" if letter == " " else words(f"letter.{letter}")


def _dates(facts: Facts) -> list[str]:
    return list(map(week_label, facts.weeks[1:]))


def _legend(words: Words, letters: set[str]) -> list[tuple[str, str, str]]:
    return [(one, _letter(one, words), words(f"state.{one}")) for one in "VSUNAER " if one in letters]


def _spread(shared: _Shared, measure: str, words: Words) -> dict[str, Any]:
    rows = [
        (week_label(one.week),
         *(words.value(measure, value) for value in (one.p10, one.p25, one.median, one.p75, one.p90)),
         words.number(one.n))
        for one in shared.spreads[measure]
    ]  # fmt: skip
    return {"label": words.measure(measure), "chart": shared.spread_charts[measure], "rows": rows}


def _surveys(facts: Facts, shared: _Shared, words: Words) -> dict[str, Any] | None:
    """Return what is shown of questionnaires; None before the first form is due."""
    if not shared.responses or facts.surveys.as_of is None:
        return None
    return {
        "as_of": words("surveys_as_of", date=words.day(facts.surveys.as_of)),
        "responses": [
            (words.wave(one.wave), words.number(one.due), words.number(one.answered), words.percent(one.rate_pct),
             words.number(one.overdue), words.number(one.open))
            for one in shared.responses
        ],
        "scores": [
            {"label": words(f"domain.{domain}"), "chart": chart,
             "rows": [_score_row(one, words) for one in shared.scores[domain]]}
            for domain, chart in shared.score_charts.items()
        ],
        "associations": [
            (words(f"domain.{domain}"), [_association(row, chart, words) for row, chart in rows])
            for domain, rows in shared.associations
        ],
        "latest": words("associations_note", date=words.day(date.fromisoformat(facts.surveys.associations[0]["date"])))
        if facts.surveys.associations
        else "",
    }  # fmt: skip


def _score_row(one: ScoreSpread, words: Words) -> tuple[str, ...]:
    quartiles = (words.number(value, 1) for value in (one.p25, one.median, one.p75))
    return (words.wave(one.wave), *quartiles, words.number(one.n))


def _association(row: Mapping[str, Any], chart: str, words: Words) -> dict[str, str]:
    adjusted = row["p_adjusted"]
    return {
        "measure": words.window_measure(row["measure"]),
        "chart": chart,
        "estimate": words.correlation(row["estimate"]),
        "interval": words(
            "from_to_signed", low=words.correlation(row["ci_low"]), high=words.correlation(row["ci_high"])
        ),
        "persons": words.number(row["n_persons"]),
        "forms": words.number(row["n_forms"]),
        "p": "–"
        if adjusted is None
        else f"< {words.number(0.001, 3)}"
        if adjusted < 0.001
        else words.number(adjusted, 3),
    }


def _outside(one: OwnRange, words: Words) -> dict[str, str]:
    return {
        "participant": one.participant_id,
        "measure": words.measure(one.measure),
        "value": words.value(one.measure, one.value),
        "usual": _from_to(one.measure, one.low, one.high, words),
        "side": words(one.side),
    }


def _origin(facts: Facts, words: Words) -> list[tuple[str, str]]:
    counts = facts.origin.counts
    rows = [(words(name), words.number(value)) for name, value in counts.items()]
    quarantined = facts.origin.n_quarantined
    rows.append((words("quarantined"), words("not_known") if quarantined is None else words.number(quarantined)))
    rows.append((words("late_people"), words.number(late_participants(facts, facts.week))))
    return rows


def _parts(everyone: Sequence[OwnRange], size: int) -> list[Sequence[OwnRange]]:
    return [everyone[first : first + size] for first in range(0, len(everyone), size)]


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("qol_dagster.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)
