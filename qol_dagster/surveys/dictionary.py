"""Every column of the tables of questionnaires, as `metrics/dictionary/` has those of the sensors.

Belongs here: facts about the columns; the Japanese texts are in `japanese.py`. Not among `metrics.dictionary.TABLES`,
because these tables are of no week and no profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from qol_dagster.metrics.dictionary.daily import DAILY
from qol_dagster.metrics.dictionary.japanese import Japanese
from qol_dagster.metrics.dictionary.metric import CIRCULAR, ID_RULE, LINEAGE, WEAR, Metric, by_name, entry
from qol_dagster.metrics.dictionary.sources import Source
from qol_dagster.metrics.types import TableName
from qol_dagster.surveys import values
from qol_dagster.surveys.japanese import survey_texts
from qol_dagster.surveys.whoqol import DOMAINS, ITEMS, DomainName
from qol_dagster.surveys.windows import LEAST_VALID_DAYS, MEASURES, WINDOW_DAYS, Measure

WHOQOL = Source(
    "WHOQOL-BREF 1996",
    "WHOQOL-BREF: introduction, administration, scoring and generic version of the assessment, field trial version. "
    "World Health Organization. Its table 3 is the SPSS syntax",
)
SKEVINGTON = Source(
    "Skevington 2004",
    "The World Health Organization's WHOQOL-BREF quality of life assessment: psychometric properties and results of "
    "the international field trial. Qual Life Res 13:299–310",
    doi="10.1023/B:QURE.0000018486.91360.00",
)
BAKDASH = Source("Bakdash 2017", "Repeated measures correlation. Front Psychol 8:456", doi="10.3389/fpsyg.2017.00456")
LAIRD = Source(
    "Laird 1982", "Random-effects models for longitudinal data. Biometrics 38:963–974", doi="10.2307/2529876"
)
BENJAMINI = Source(
    "Benjamini 1995",
    "Controlling the false discovery rate: a practical and powerful approach to multiple testing. J R Stat Soc B "
    "57:289–300",
    doi="10.1111/j.2517-6161.1995.tb02031.x",
)
MEADE = Source(
    "Meade 2012", "Identifying careless responses in survey data. Psychol Methods 17:437–455", doi="10.1037/a0028085"
)

SCORING, CARELESS = (WHOQOL, SKEVINGTON), (MEADE,)
METHODS = (BAKDASH, LAIRD, BENJAMINI)


class SurveyColumn(Metric):
    """A column whose Japanese text is in `surveys/japanese.py`."""

    @property
    def japanese(self) -> Japanese:
        """The term, description and rule in Japanese."""
        return survey_texts(self.table, self.name)


def _column(table: TableName, name: str, unit: str, description: str, **given: Any) -> SurveyColumn:
    made = entry(table, name, unit, description, **{"sources": LINEAGE, **given})
    return SurveyColumn(**{field.name: getattr(made, field.name) for field in fields(made)})


def _key(table: TableName, of_date: str) -> tuple[SurveyColumn, ...]:
    """Return whose row it is, of which date and wave."""
    return (
        _column(
            table, "participant_id", "", "Pseudonymous participant", rule=ID_RULE, inputs="raw.participant_id",
            type="string", nullable=False,
        ),
        _column(
            table, "date", "", of_date, rule="Partition column, text YYYY-MM-DD, date in Japan",
            inputs="raw.answered_at" if table != "survey_due" else "daily.date daily.wear_min",
            type="string", nullable=False,
        ),
        _column(
            table, "wave", "n", "Wave of the survey", rule="0 is the baseline", inputs="raw.wave",
            type="int64", nullable=False,
        ),
    )  # fmt: skip


def _computed_at(table: TableName) -> SurveyColumn:
    return _column(
        table, "computed_at", "UTC", "When the row was computed", type="timestamp", nullable=False
    )  # fmt: skip


_ANSWERED_ON = "Date of answering: of the earliest answer that counts"
_LATEST = "Of each item the answer received last"

_responses = partial(_column, "survey_responses")
RESPONSES: tuple[Metric, ...] = (
    *_key("survey_responses", _ANSWERED_ON),
    *(
        _responses(
            f"q{item}", "1-5", f"Answer to item {item}",
            rule=f"{_LATEST}, as it was marked: nothing is reversed. Null if left blank or not one of 1-5",
            inputs=f"raw.answers.{item}", type="int64", low=1, high=5, sources=(WHOQOL,),
        )
        for item in ITEMS
    ),
    _responses(
        "n_missing", "n", "Items without a valid answer", formula="26 - n(q1..q26)", inputs="raw.answers",
        type="int64", high=26, nullable=False,
    ),
    _responses(
        "n_invalid", "n", "Answers outside of 1-5, or of several marks", rule="Among n_missing", inputs="raw.answers",
        type="int64", high=26, nullable=False,
    ),
    _responses(
        "longest_run", "n", "Most answers in a row that are the same", rule="As marked, in the order of the items",
        inputs="raw.answers", type="int64", high=26, nullable=False, sources=CARELESS,
    ),
    _responses(
        "is_straight_lined", "", "Whether all answers are one and the same",
        rule="With at least 13 answers, a reversed item among them. The form is scored all the same",
        inputs="raw.answers", type="bool", nullable=False, sources=CARELESS,
    ),
    _responses(
        "language", "", "Language of the form", rule="Of the latest sending", inputs="raw.language", type="string"
    ),
    _responses(
        "mode", "", "How it was answered", formula="web, paper or import", rule="Of the latest sending",
        inputs="raw.mode", type="string", nullable=False, values=values.ANSWER_MODES,
    ),
    _responses(
        "completed_at", "UTC", "When the last answer was given", rule="Of the answers that count",
        inputs="raw.answered_at", type="timestamp", nullable=False,
    ),
    _responses(
        "last_received_at", "UTC", "Latest receipt", rule="Of all sendings of the form", inputs="raw.received_at",
        type="timestamp", nullable=False,
    ),
    _responses(
        "n_sendings", "n", "Sendings of the form", rule="One received twice counts once", inputs="raw.*",
        type="int64", low=1, nullable=False,
    ),
    _computed_at("survey_responses"),
)  # fmt: skip

_due = partial(_column, "survey_due")
_PLAN = "daily.date daily.wear_min"
DUE: tuple[Metric, ...] = (
    *_key("survey_due", "Date on which the form is due"),
    _due(
        "opens_on", "", "First date on which it may be answered",
        rule="Text YYYY-MM-DD. The baseline opens when it is due", inputs=_PLAN, type="string", nullable=False,
    ),
    _due(
        "closes_on", "", "Last date on which it may be answered", rule="Text YYYY-MM-DD", inputs=_PLAN,
        type="string", nullable=False,
    ),
    _due(
        "state", "", "How the wave stands",
        formula="upcoming, open, answered, answered_outside or missed",
        rule="As of computed_at, in Japan. answered_outside: before it opened or after it closed",
        inputs=f"{_PLAN} raw.answered_at", type="string", nullable=False, values=values.DUE_STATES,
    ),
    _due(
        "answered_on", "", "Date of answering", rule="Text YYYY-MM-DD. Null without a form", inputs="raw.answered_at",
        type="string",
    ),
    _computed_at("survey_due"),
)  # fmt: skip

_scores = partial(_column, "whoqol_scores", sources=SCORING)


def _domain(domain: DomainName) -> tuple[SurveyColumn, ...]:
    items = " ".join(f"q{item}" for item in DOMAINS[domain])
    rule = f"Items 3, 4 and 26 reversed (6 - x). Null when {domain}_reason says why"
    return (
        _scores(
            f"n_{domain}", "n", f"Answered items of the domain {domain}", formula=f"n({items})", inputs=items,
            type="int64", high=len(DOMAINS[domain]), nullable=False,
        ),
        _scores(
            f"{domain}_mean", "1-5", f"Domain {domain}: mean answer", formula=f"mean({items})", rule=rule,
            inputs=items, low=1, high=5,
        ),
        _scores(
            f"{domain}_4_20", "4-20", f"Domain {domain} from 4 to 20", formula="4 mean", rule=rule, inputs=items,
            low=4, high=20,
        ),
        _scores(
            f"{domain}_0_100", "0-100", f"Domain {domain} from 0 to 100", formula="(4 mean - 4) x 100 / 16",
            rule=rule, inputs=items, high=100,
        ),
        _scores(
            f"{domain}_reason", "", f"Why the domain {domain} has no score",
            formula="form_incomplete, else domain_incomplete",
            rule="By missing_rule: too few answers in the form, or in the domain. Null with a score",
            inputs=" ".join(f"q{item}" for item in ITEMS), type="string", values=values.NO_SCORE,
        ),
    )  # fmt: skip


SCORES: tuple[Metric, ...] = (
    *_key("whoqol_scores", _ANSWERED_ON),
    _scores(
        "missing_rule", "", "Rule for missing items", formula="who_syntax or who_text",
        rule="who_syntax: 22 of the form; 6, 5, 2, 6 of the domains. who_text: 21; 5, 4, 2, 6", inputs="setting",
        type="string", nullable=False, values=values.MISSING_RULES,
    ),
    _scores(
        "n_answered", "n", "Answered items of the form", formula="n(q1..q26)", inputs="n_missing", type="int64",
        high=26, nullable=False,
    ),
    _scores(
        "overall_qol", "1-5", "Item 1, overall quality of life", rule="Null in a form with too few answers",
        inputs="q1", type="int64", low=1, high=5,
    ),
    _scores(
        "general_health", "1-5", "Item 2, satisfaction with health", rule="Null in a form with too few answers",
        inputs="q2", type="int64", low=1, high=5,
    ),
    *(column for domain in DOMAINS for column in _domain(domain)),
    _scores(
        "is_straight_lined", "", "Whether all answers are one and the same", rule="As in survey_responses",
        inputs="is_straight_lined", type="bool", nullable=False, sources=CARELESS,
    ),
    _computed_at("whoqol_scores"),
)  # fmt: skip

_windows = partial(_column, "whoqol_sensor_windows")
_OVER = {
    "valid_days": f"Over valid days with a value, of the {WINDOW_DAYS} dates",
    "nights": f"Over nights with a main sleep, of the {WINDOW_DAYS} dates",
    "days": f"Over days with a value, of the {WINDOW_DAYS} dates",
}
_FORMULA = {
    "mean": "mean({0})",
    "sd": "sd({0})",
    "circular_mean": "circular mean({0})",
    "circular_sd": "circular sd({0})",
}
_WORD = {"mean": "Mean", "sd": "Sample SD", "circular_mean": "Circular mean", "circular_sd": "Circular SD"}


def _measure(one: Measure) -> tuple[SurveyColumn, ...]:
    """Return a measure and its denominator, from the daily column's entry."""
    daily = by_name(DAILY)[one.column]
    text = daily.description[0].lower() + daily.description[1:] if daily.description[1].islower() else daily.description
    formula = _FORMULA[one.statistic].format(one.column) + (f" / {one.per}" if one.per != 1 else "")
    inputs = dict.fromkeys((*_DECIDES[one.over], one.column))
    circular = one.statistic.startswith("circular")
    scale = 1 if daily.maximum is None else 1 / one.per
    return (
        _windows(
            one.name, "h" if one.per == 60 else daily.unit, f"{_WORD[one.statistic]} of: {text}", formula=formula,
            rule=_OVER[one.over] + (", at least 2" if one.statistic.endswith("sd") else ""),
            inputs=" ".join(f"daily.{name}" for name in inputs),
            sources=CIRCULAR if circular else daily.sources,
            low=-720 if one.statistic == "circular_mean" else 0 if circular else daily.minimum,
            high=720 if one.statistic == "circular_mean" else _highest(daily.maximum, scale),
        ),
        _windows(
            one.count, "d", f"Days of {one.name}", formula=f"n({one.column})", rule=_OVER[one.over],
            inputs=" ".join(f"daily.{name}" for name in inputs), type="int64", high=WINDOW_DAYS, nullable=False,
        ),
    )  # fmt: skip


def _highest(maximum: float | None, scale: float) -> float | None:
    return None if maximum is None else maximum * scale + 1e-7  # a mean may exceed its values by rounding


_DECIDES: Mapping[str, tuple[str, ...]] = {"valid_days": ("is_valid_day",), "nights": ("sleep_tst_min",), "days": ()}

SENSOR_WINDOWS: tuple[Metric, ...] = (
    *_key("whoqol_sensor_windows", _ANSWERED_ON),
    _windows(
        "window_start", "", "First date of the window", formula=f"date - {WINDOW_DAYS} days", rule="Text YYYY-MM-DD",
        inputs="date", type="string", nullable=False,
    ),
    _windows(
        "window_end", "", "Last date of the window", formula="date - 1 day",
        rule="Text YYYY-MM-DD. Neither the date of answering nor a later one is ever among them", inputs="date",
        type="string", nullable=False,
    ),
    _windows(
        "n_days", "d", "Dates of the window with any record", formula="n(daily rows)", inputs="daily.date",
        type="int64", high=WINDOW_DAYS, nullable=False,
    ),
    _windows(
        "n_valid_days", "d", "Valid days of the window", formula="n(is_valid_day)", inputs="daily.is_valid_day",
        type="int64", high=WINDOW_DAYS, nullable=False, sources=WEAR,
    ),
    _windows(
        "is_valid_window", "", "Whether the window counts as worn", formula=f"n_valid_days >= {LEAST_VALID_DAYS}",
        inputs="daily.is_valid_day", type="bool", nullable=False, sources=WEAR,
    ),
    *(column for one in MEASURES for column in _measure(one)),
    _computed_at("whoqol_sensor_windows"),
)  # fmt: skip

_associations = partial(_column, "whoqol_associations", sources=METHODS)
_NONE = "Null with reason"
_FORMS = "whoqol_scores.* whoqol_sensor_windows.*"
ASSOCIATIONS: tuple[Metric, ...] = (
    _associations(
        "date", "", "Date of the latest form", rule="Partition column, text YYYY-MM-DD. There is one partition",
        inputs="whoqol_scores.date", type="string", nullable=False,
    ),
    _associations(
        "domain", "", "Domain, from 0 to 100", formula="physical, psychological, social or environment",
        inputs="whoqol_scores.*", type="string", nullable=False, values=values.DOMAIN_NAMES,
    ),
    _associations(
        "measure", "", "Measure of whoqol_sensor_windows", rule="Its name", inputs="whoqol_sensor_windows.*",
        type="string", nullable=False,
    ),
    _associations(
        "method", "", "What was estimated", formula="within_correlation, between_correlation or mixed_slope",
        rule="Repeated-measures correlation within persons; Pearson's between the persons' means; slope of a mixed "
        "model with an intercept for each person, by REML", inputs=_FORMS, type="string", nullable=False,
        values=values.METHODS,
    ),
    _associations(
        "n_persons", "n", "Persons of the estimate", rule="Within persons, those with two forms at least",
        inputs=_FORMS, type="int64", nullable=False,
    ),
    _associations(
        "n_forms", "n", "Forms of the estimate",
        rule=f"In a valid window, with at least {LEAST_VALID_DAYS} days of the measure and a score of the domain",
        inputs=_FORMS, type="int64", nullable=False,
    ),
    _associations(
        "estimate", "1 or points per unit", "The estimate",
        rule=f"A correlation; of mixed_slope points of the domain for one unit of the measure. {_NONE}",
        inputs=_FORMS, low=None,
    ),
    _associations(
        "ci_low", "1 or points per unit", "Lower end of the 95 % interval",
        rule=f"Fisher's z of a correlation, Student's t of a slope. {_NONE}", inputs=_FORMS, low=None,
    ),
    _associations(
        "ci_high", "1 or points per unit", "Upper end of the 95 % interval", rule=f"As ci_low. {_NONE}", inputs=_FORMS,
        low=None,
    ),
    _associations("p", "1", "Two-sided p of no association", rule=f"Of this row alone. {_NONE}", inputs=_FORMS, high=1),
    _associations(
        "p_adjusted", "1", "p adjusted for false discoveries",
        rule=f"Benjamini and Hochberg, over all rows of the method that have an estimate. {_NONE}",
        inputs=_FORMS, high=1,
    ),
    _associations(
        "reason", "", "Why there is no estimate", formula="too_few_persons, too_few_forms or no_variance",
        rule="Below 10 persons; below 30 forms of a method within persons. Null with an estimate", inputs=_FORMS,
        type="string", values=values.NO_ESTIMATE,
    ),
    _associations(
        "missing_rule", "", "Rule for missing items", rule="As in whoqol_scores", inputs="whoqol_scores.missing_rule",
        type="string", nullable=False, values=values.MISSING_RULES, sources=SCORING,
    ),
    _computed_at("whoqol_associations"),
)  # fmt: skip

SURVEY_TABLES: Mapping[TableName, tuple[Metric, ...]] = {
    "survey_responses": RESPONSES,
    "survey_due": DUE,
    "whoqol_scores": SCORES,
    "whoqol_sensor_windows": SENSOR_WINDOWS,
    "whoqol_associations": ASSOCIATIONS,
}
"""By the name that each has in `db_qol` and in the lake."""
