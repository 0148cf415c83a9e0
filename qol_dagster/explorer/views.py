"""What each page shows, as plain values for its template.

Belongs here: asking the catalogue, and wording its values in the page's language. HTTP is `app.py`'s.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlencode

from qol_dagster.errors import QolError
from qol_dagster.explorer import charts, queries, summaries
from qol_dagster.explorer.day_records import DayRecord, DayRecords, SampleKind, read_day
from qol_dagster.explorer.selection import MEASURES, Selection, SelectionError
from qol_dagster.explorer.summaries import Row
from qol_dagster.explorer.texts import LETTERS, TEXTS, WEEKDAYS, rule, term, unit
from qol_dagster.metrics.describe import facts, value_kind
from qol_dagster.metrics.dictionary import DAILY, WEEKLY, Metric, by_name
from qol_dagster.metrics.sample_types import SAMPLE_TYPES
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.weeks import dates_of, monday_of

if TYPE_CHECKING:
    from qol_dagster.metrics.types import TableName
    from qol_dagster.resources.catalogue import Catalogue
    from qol_dagster.resources.platform import Platform
    from qol_ingest.shared.languages import Language

Context = dict[str, Any]

ROWS_A_PAGE, PEOPLE_A_PAGE = 25, 40
ALWAYS_OF_A_DAY = ("is_valid_day", "wear_min")
HEADLINES_OF_A_DAY = (
    "is_valid_day",
    "wear_min",
    "steps",
    "resting_hr_bpm",
    "sleep_tst_min",
    "stress_mean",
    "hrv_rmssd_ms",
)
SAMPLE_UNITS = {kind: SAMPLE_TYPES[kind].unit for kind in get_args(SampleKind)}
DAILY_BY_NAME = by_name(DAILY)


class UnknownError(SelectionError):
    """What was asked for is not there."""


@dataclass(frozen=True)
class Past:
    """A past state of the tables, under the name by which it was asked for."""

    name: str
    catalogue: Catalogue


@dataclass(frozen=True)
class Views:
    """The pages' contents, of one deployment; with `past`, all tables are as they were then."""

    platform: Platform
    past: Past | None = None

    def overview(self, selection: Selection) -> Context:
        """Return the spread of the measures, and a page of their rows. Raises UnknownError, QolError."""
        selection, rows = self.weekly_rows(selection)
        shown, page = _page(
            summaries.ordered(rows, selection.order, selection.measures[0]), selection.page, ROWS_A_PAGE
        )
        sql = queries.weekly_rows(selection)
        return {
            "selection": selection,
            "options": _options(selection),
            "n_rows": len(rows),
            "n_people": len({row["participant_id"] for row in rows}),
            "sections": [_section(metric, rows, selection) for metric in selection.metrics] if rows else [],
            "rows": [_row(row, selection) for row in shown],
            **_paging(page, "/", selection),
            "snippets": self._snippets(sql, "weekly", selection),
            "download": f"/download?{selection.query()}&view=weeks",
            "surveys": [
                (one, what, f"/download?{selection.query()}&view=survey&table={one}")
                for one, what in self._survey_tables(selection)
            ],
        }

    def survey_rows(self, selection: Selection, table: TableName) -> list[Row]:
        """Return the rows of a table of questionnaires: of the chosen participants, of all weeks. Raises QolError."""
        return self._ask(queries.survey_rows(table, selection.participants))

    def _survey_tables(self, selection: Selection) -> list[tuple[str, str]]:
        """Return the tables of questionnaires and what each is; none without forms, or of a past."""
        lake = self.platform.lake()
        # Listed, and not asked of the catalogue: each page would wait for Athena.
        if self.past or not (lake.table_dates("survey_due") or lake.table_dates("survey_responses")):
            return []
        return [(table, TEXTS[selection.language][table]) for table in SURVEY_TABLES]

    def weekly_rows(self, selection: Selection) -> tuple[Selection, list[Row]]:
        """Return the selection with both ends of its weeks, and its rows. Raises UnknownError, QolError."""
        selection = self._within(selection)
        rows = self._ask(queries.weekly_rows(selection)) if selection.until else []
        self._require_known(selection, rows)
        return selection, rows

    def completeness(self, selection: Selection) -> Context:
        """Return who has how many valid days in which week. Raises UnknownError, QolError."""
        selection, rows = self.status_rows(selection)
        people = sorted({row["participant_id"] for row in rows})
        weeks = sorted({row["date"] for row in rows}, reverse=True)
        cells = {(row["participant_id"], row["date"]): row for row in rows}
        shown, page = _page(people, selection.page, PEOPLE_A_PAGE)
        counts = summaries.status_counts(rows)
        sql = queries.status_rows(selection)
        return {
            "selection": selection,
            "letters": LETTERS[selection.language],
            "weeks": weeks,
            "people": [
                {"participant": who, "cells": [_status_cell(cells.get((who, week)), selection) for week in weeks]}
                for who in shown
            ],
            "by_week": list(counts.items()),
            **_paging(page, "/completeness", selection),
            "snippets": self._snippets(sql, "status", selection),
            "download": f"/download?{selection.query()}&view=statuses",
        }

    def status_rows(self, selection: Selection) -> tuple[Selection, list[Row]]:
        """Return the selection with both ends of its weeks, and its rows. Raises UnknownError, QolError."""
        selection = self._within(selection)
        rows = self._ask(queries.status_rows(selection)) if selection.until else []
        self._require_known(selection, rows)
        return selection, rows

    def week(self, selection: Selection, participant: str, week: date) -> Context:
        """Return a participant's week and its days. Raises UnknownError, QolError."""
        t, language = TEXTS[selection.language], selection.language
        row = self._first(queries.row_of_week("weekly", selection.profile, participant, week))
        status = self._first(queries.row_of_week("status", selection.profile, participant, week))
        if row is None and status is None:
            self._require(selection, (participant,))
        days = self.days(selection, participant, week)
        columns = _columns_behind(selection.metrics)
        sql = queries.days_of_week(selection.profile, participant, week)
        mine = urlencode({"participant": participant, "week": week})
        return {
            "selection": selection,
            "heading": t["week_title"].format(participant=participant, week=week),
            "week_status": status,
            "items": [_item(one, row, language) for one in selection.metrics] if row else [],
            "all_items": [_item(one, row, language) for one in WEEKLY] if row else [],
            "columns": [{"term": term(one, language), "unit": unit(one.unit, language)} for one in columns],
            "days": [_day(day, days, columns, selection, participant) for day in dates_of(week)],
            "charts": _day_charts(selection, days, week),
            "links": {
                "before": week_link(selection, participant, week - timedelta(weeks=1)),
                "after": week_link(selection, participant, week + timedelta(weeks=1)),
                "person": f"/?{selection.query(participants=(participant,))}",
            },
            "snippets": self._snippets(sql, "daily", selection),
            "download": f"/download?{selection.query()}&{mine}&view=week",
        }

    def days(self, selection: Selection, participant: str, week: date) -> list[Row]:
        """Return the rows of a participant's days of a week. Raises QolError."""
        return self._ask(queries.days_of_week(selection.profile, participant, week))

    def day(self, selection: Selection, participant: str, day: date) -> Context:
        """Return a participant's day, the records behind it and their samples. Raises UnknownError, QolError."""
        t, language = TEXTS[selection.language], selection.language
        row = self.daily_row(selection, participant, day)
        if row is None:
            self._require(selection, (participant,))
        found, problem = self._records(participant, day, t)
        sql = queries.daily_rows(selection.profile, participant, day, day)
        mine = urlencode({"participant": participant, "date": day})
        outcomes = Counter((one.type, one.outcome) for one in found.records)
        headlines = dict.fromkeys([*HEADLINES_OF_A_DAY, *(one.name for one in _columns_behind(selection.metrics))])
        return {
            "selection": selection,
            "heading": t["day_title"].format(participant=participant, day=f"{day} ({_weekday(day, language)})"),
            "items": [_item(DAILY_BY_NAME[name], row, language) for name in headlines] if row else [],
            "all_items": [_item(one, row, language) for one in DAILY if not one.type.startswith("list")] if row else [],
            "problem": problem,
            "charts": _sample_charts(found, day, language),
            "outcomes": [(type_, outcome, n) for (type_, outcome), n in sorted(outcomes.items())],
            "counted": sum(one.outcome == "counted" for one in found.records),
            "records": [_record(one, t) for one in found.records],
            "links": {
                "before": day_link(selection, participant, day - timedelta(days=1)),
                "after": day_link(selection, participant, day + timedelta(days=1)),
                "week": week_link(selection, participant, monday_of(day)),
            },
            "snippets": self._snippets(sql, "daily", selection),
            "download": f"/download?{selection.query()}&{mine}&view=day",
            "download_samples": f"/download?{selection.query()}&{mine}&view=samples",
        }

    def daily_row(self, selection: Selection, participant: str, day: date) -> Row | None:
        """Return a participant's row of a date, if there is one. Raises QolError."""
        return self._first(queries.daily_rows(selection.profile, participant, day, day))

    def samples(self, participant: str, day: date) -> list[Row]:
        """Return every sample of a participant's day. Raises QolError."""
        found = read_day(self.platform, participant, day)
        return [{**asdict(one), "at": one.at.isoformat()} for one in found.samples]

    def _records(self, participant: str, day: date, t: Mapping[str, str]) -> tuple[DayRecords, str]:
        """Return the records of a day, or nothing and why: the day's numbers are worth seeing without them."""
        try:
            found = read_day(self.platform, participant, day)
        except QolError as error:
            return DayRecords("not_stored"), t["records_unreadable"].format(reason=error)
        return found, "" if found.state == "found" else t[found.state]

    def _ask(self, sql: str) -> list[Row]:
        answer = self._catalogue.query(sql)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    def _first(self, sql: str) -> Row | None:
        rows = self._ask(sql)
        return rows[0] if rows else None

    @property
    def _catalogue(self) -> Catalogue:
        return self.past.catalogue if self.past else self.platform.catalogue()

    def _snippets(self, sql: str, table: TableName, selection: Selection) -> tuple[queries.Snippet, ...]:
        if self.past:
            return (queries.snippet_of_past(sql, self.past.name),)
        return queries.snippets(sql, table, selection.profile, self.platform.settings)

    def _within(self, selection: Selection) -> Selection:
        """Return the selection with both ends; without any if the table is empty."""
        if selection.since and selection.until:
            return selection
        last = self._catalogue.query(queries.last_week(selection.profile)).rows[0][0]
        if not last:
            return selection
        return selection.within(max(date.fromisoformat(last), selection.since or date.min))

    def _require_known(self, selection: Selection, rows: Sequence[Row]) -> None:
        """Raise UnknownError if one of the participants is in no table at all."""
        seen = {row["participant_id"] for row in rows}
        self._require(selection, tuple(one for one in selection.participants if one not in seen))

    def _require(self, selection: Selection, participants: tuple[str, ...]) -> None:
        if not participants:
            return
        known = {
            row["participant_id"] for row in self._ask(queries.known_participants(selection.profile, participants))
        }
        for one in participants:
            if one not in known:
                raise UnknownError("unknown_participant", one)


# -- links


def week_link(selection: Selection, participant: str, week: date | str) -> str:
    """Return the link to a participant's week."""
    return f"/week?{selection.query()}&{urlencode({'participant': participant, 'week': week})}"


def day_link(selection: Selection, participant: str, day: date | str) -> str:
    """Return the link to a participant's day."""
    return f"/day?{selection.query()}&{urlencode({'participant': participant, 'date': day})}"


def _page(items: Sequence[Any], page: int, size: int) -> tuple[list[Any], tuple[int, int]]:
    """Return the items of a page (the last, if there are fewer), its number and how many there are."""
    pages = max(1, math.ceil(len(items) / size))
    page = min(page, pages)
    return list(items[(page - 1) * size : page * size]), (page, pages)


def _paging(page: tuple[int, int], path: str, selection: Selection) -> Context:
    number, pages = page
    before = f"{path}?{selection.query(page=number - 1)}" if number > 1 else ""
    after = f"{path}?{selection.query(page=number + 1)}" if number < pages else ""
    return {"page": number, "pages": pages, "links": {"before": before, "after": after}}


# -- values in words


def shown(value: Any, yes_no: tuple[str, str] = ("yes", "no")) -> str:
    """Return a value for reading: three or four digits of a number, a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return yes_no[0 if value else 1]
    if isinstance(value, float):
        return f"{value:,.{_decimals(abs(value))}f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value)


def _decimals(size: float) -> int:
    return next((decimals for limit, decimals in ((1, 3), (100, 2), (1000, 1)) if size < limit), 0)


def is_unusual(metric: Metric, value: Any) -> bool:
    """Return whether a value deserves a second look: it is outside the measure's plausible range."""
    if metric.plausible is None or value is None:
        return False
    low, high = metric.plausible
    return not low <= value <= high


def _cell(metric: Metric, row: Row, t: Mapping[str, str]) -> Context:
    value = row[metric.name]
    return {"value": shown(value, (t["yes"], t["no"])), "unusual": is_unusual(metric, value)}


def _item(metric: Metric, row: Row | None, language: Language) -> Context:
    cell = _cell(metric, row or {metric.name: None}, TEXTS[language])
    return {
        **cell,
        "name": metric.name,
        "term": term(metric, language),
        "unit": unit(metric.unit, language),
        "rule": rule(metric, language),
    }


def _options(selection: Selection) -> list[tuple[str, str]]:
    return [(name, f"{term(metric, selection.language)} ({name})") for name, metric in MEASURES.items()]


def _section(metric: Metric, rows: Sequence[Row], selection: Selection) -> Context:
    language, name = selection.language, metric.name
    t, spreads = TEXTS[language], summaries.spreads_by_week(rows, name)
    few = 0 < len(selection.participants) <= charts.MOST_LINES
    label = unit(metric.unit, language) or value_kind(metric, language)
    trend = charts.person_trend(rows, name, label) if few else charts.spread_trend(spreads, label)
    overall = summaries.spread(row[name] for row in rows)
    return {
        "name": name,
        "term": term(metric, language),
        "unit": label,
        "facts": facts(metric, language),
        "trend": charts.svg(trend),
        "trend_caption": t["trend_people" if few else "trend"],
        "distribution": charts.svg(charts.distribution(summaries.histogram(rows, name), label, t["count"])),
        "overall": overall,
        "spreads": [*reversed(spreads.items()), (t["all_weeks"], overall)],
    }


def _row(row: Row, selection: Selection) -> Context:
    t, who, week = TEXTS[selection.language], row["participant_id"], row["date"]
    return {
        "participant": who,
        "only": f"/?{selection.query(participants=(who,))}",
        "week": week,
        "link": week_link(selection, who, week),
        "valid": shown(row["is_valid_week"], (t["yes"], t["no"])),
        "valid_days": shown(row["n_valid_days"]),
        "cells": [_cell(metric, row, t) for metric in selection.metrics],
    }


def _status_cell(row: Row | None, selection: Selection) -> Context | None:
    if row is None:
        return None
    link = week_link(selection, row["participant_id"], row["date"])
    return {"status": row["status"], "valid_days": row["n_valid_days"], "link": link}


def _columns_behind(metrics: Iterable[Metric]) -> list[Metric]:
    """Return the daily columns that weekly measures are made from, without keys and lists."""
    names = dict.fromkeys([*ALWAYS_OF_A_DAY, *(name for metric in metrics for name in metric.inputs)])
    columns = [DAILY_BY_NAME[name] for name in names if name in DAILY_BY_NAME]
    return [one for one in columns if one.name not in ("participant_id", "date") and not one.type.startswith("list")]


def _day(day: date, rows: Sequence[Row], columns: Sequence[Metric], selection: Selection, participant: str) -> Context:
    t = TEXTS[selection.language]
    row = next((row for row in rows if row["date"] == str(day)), None)
    return {
        "date": day,
        "weekday": _weekday(day, selection.language),
        "link": day_link(selection, participant, day),
        "cells": [_cell(one, row, t)["value"] for one in columns] if row else [],
    }


def _weekday(day: date, language: Language) -> str:
    return WEEKDAYS[language][day.weekday()]


def _day_charts(selection: Selection, rows: Sequence[Row], week: date) -> list[Context]:
    """Return a chart for each measure, of the first number that it is made from."""
    t, language = TEXTS[selection.language], selection.language
    labels = {str(day): _weekday(day, language) for day in dates_of(week)}
    behind = [_first_number(metric) for metric in selection.metrics]
    return [
        {"term": term(one, language), "svg": charts.svg(charts.days(
            rows, one.name, labels, unit(one.unit, language) or value_kind(one, language),
            (t["valid_day"], t["not_valid_day"])))}
        for one in dict.fromkeys(filter(None, behind))
        if any(row[one.name] is not None for row in rows)
    ]  # fmt: skip


def _first_number(metric: Metric) -> Metric | None:
    columns = [DAILY_BY_NAME[name] for name in metric.inputs if name in DAILY_BY_NAME]
    return next((one for one in columns if one.type in ("int64", "float64")), None)


def _sample_charts(found: DayRecords, day: date, language: Language) -> list[Context]:
    t = TEXTS[language]
    used = [one for one in found.samples if one.used]
    times = [one.at for one in used] + [time for one in found.stages for time in (one.begins_at, one.ends_at)]
    span = charts.span_of(day, times)
    made: list[Context] = []
    for kind, of in SAMPLE_UNITS.items():
        label = unit(of, language)
        mine = [one for one in used if one.kind == kind]
        n = sum(one.kind == kind for one in found.samples)
        if mine:
            caption = f"{t[f'kind_{kind}']} ({label}): {t['samples_used'].format(used=len(mine), n=n)}"
            made.append({"caption": caption, "svg": charts.svg(charts.samples(mine[0].kind, mine, span, label))})
    if found.stages:
        lanes = {name: t[f"stage_{name}"] for name in charts.STAGES}
        made.append({"caption": t["kind_sleep"], "svg": charts.svg(charts.stages(found.stages, lanes, span))})
    return made


def _record(one: DayRecord, t: Mapping[str, str]) -> Context:
    minutes = None if one.duration_s is None else t["duration_min"].format(minutes=f"{one.duration_s / 60:,.0f}")
    return {
        "type": one.type,
        "outcome": one.outcome,
        "received": shown(one.received_at),
        "starts": shown(one.starts_at),
        "duration": shown(minutes),
    }
