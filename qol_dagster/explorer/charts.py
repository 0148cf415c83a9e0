"""Charts as static SVG, made by Vega-Lite without a browser.

Belongs here: specifications, and turning one into SVG. Text stays text in the colour of the page, so that one chart
serves light and dark; a table beside each chart has its numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from json import dumps
from typing import Any

from qol_dagster.explorer.day_records import Sample, SampleKind, StageSpan
from qol_dagster.explorer.summaries import Bin, Row, Spread

Spec = dict[str, Any]

WIDTH, HEIGHT = 440, 200
"""Pixels of the plot; the page scales it down to a phone's width."""
WIDE = 820
ACCENT, MUTED = "#1c9380", "#8a8f98"
"""At least 3:1 against both backgrounds."""
SERIES = ("#1c9380", "#c2571a", "#7a6ff0", "#b8458a", "#4a87d0", "#8a7a1f")
STAGES = {"deep": "#5468d4", "light": "#4a9bd0", "rem": "#b8458a", "awake": "#c2571a"}
MOST_LINES = len(SERIES)
"""With more participants than this, a trend shows their spread."""
MOST_LABELS = 6
LONGEST_GAP_MIN = 30
"""A line is broken where samples are further apart."""

_ROLES = re.compile(r' (?:role|aria-roledescription)="[^"]*"')
_CONFIG: Spec = {
    "background": "transparent",
    "font": "sans-serif",
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "tickColor": MUTED,
        "domainColor": MUTED,
        "gridColor": MUTED,
        "gridOpacity": 0.3,
        "labelFontSize": 13,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
    },
    "axisY": {"minExtent": 46},
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 13, "orient": "top"},
}


def spread_trend(spreads: Mapping[str, Spread], unit: str) -> Spec:
    """Return the median by week, with the middle half of the participants as a band."""
    rows = [{"week": week, "q1": one.q1, "median": one.median, "q3": one.q3} for week, one in spreads.items() if one.n]
    y = {"type": "quantitative", "scale": {"zero": False}, "title": unit}
    return _spec(
        rows,
        encoding={"x": _week_axis([*spreads])},
        layer=[
            {
                "mark": {"type": "area", "color": ACCENT, "opacity": 0.25},
                "encoding": {"y": {"field": "q1", **y}, "y2": {"field": "q3"}},
            },
            {
                "mark": {"type": "line", "color": ACCENT, "strokeWidth": 2, "point": {"color": ACCENT, "size": 40}},
                "encoding": {"y": {"field": "median", **y}},
            },
        ],
    )


def person_trend(rows: Sequence[Row], measure: str, unit: str) -> Spec:
    """Return a line for each participant."""
    points = [{"week": row["date"], "who": row["participant_id"], "value": row[measure]} for row in rows]
    people = sorted({row["participant_id"] for row in rows})
    color = {
        "field": "who",
        "type": "nominal",
        "title": None,
        "scale": {"domain": people, "range": list(SERIES[: len(people)])},
    }
    return _spec(
        points,
        mark={"type": "line", "strokeWidth": 2, "point": {"size": 40}, "invalid": "break-paths-show-domains"},
        encoding={
            "x": _week_axis(sorted({row["date"] for row in rows})),
            "y": {"field": "value", "type": "quantitative", "scale": {"zero": False}, "title": unit},
            "color": color,
        },
    )


def distribution(bins: Sequence[Bin], unit: str, count: str) -> Spec:
    """Return a histogram."""
    rows = [{"low": one.low, "high": one.high, "n": one.n} for one in bins]
    return _spec(
        rows,
        mark={"type": "bar", "color": ACCENT, "binSpacing": 1},
        encoding={
            "x": {"field": "low", "bin": "binned", "type": "quantitative", "title": unit, "axis": {"tickCount": 6}},
            "x2": {"field": "high"},
            "y": {"field": "n", "type": "quantitative", "title": count, "axis": {"tickMinStep": 1, "tickCount": 5}},
        },
    )


def days(rows: Sequence[Row], column: str, labels: Mapping[str, str], unit: str, valid: tuple[str, str]) -> Spec:
    """Return a bar for each day of a week; `valid` names days that are and days that are not."""
    by_date = {row["date"]: row for row in rows}
    bars = [
        {
            "day": label,
            "value": by_date.get(day, {}).get(column),
            "valid": valid[0 if by_date.get(day, {}).get("is_valid_day") else 1],
        }
        for day, label in labels.items()
    ]
    return _spec(
        bars,
        mark={"type": "bar", "cornerRadius": 2},
        encoding={
            "x": {"field": "day", "type": "ordinal", "sort": None, "title": None, "axis": {"labelAngle": 0}},
            "y": {"field": "value", "type": "quantitative", "title": unit},
            "color": {
                "field": "valid",
                "type": "nominal",
                "title": None,
                "scale": {"domain": list(valid), "range": [ACCENT, MUTED]},
            },
        },
    )


def samples(kind: SampleKind, found: Sequence[Sample], span: tuple[datetime, datetime], unit: str) -> Spec:
    """Return the samples of one kind by local time, as means of a minute; steps as bars."""
    x = _clock_axis(span)
    y = {"field": "value", "type": "quantitative", "title": unit, "axis": {"tickCount": 4}}
    if kind == "steps":
        rows = [{"at": _utc(one.at), "value": one.value} for one in found]
        mark: Spec = {"type": "bar", "color": ACCENT, "width": 5}
    else:
        rows = _minutes(found)
        y["scale"] = {"zero": False}
        mark = {"type": "line", "color": ACCENT, "strokeWidth": 1, "invalid": "break-paths-show-domains"}
        mark |= {"point": {"size": 4, "color": ACCENT}} if len(rows) < 60 else {}
    return _spec(rows, mark=mark, encoding={"x": x, "y": y}, width=WIDE, height=110)


def stages(found: Sequence[StageSpan], labels: Mapping[str, str], span: tuple[datetime, datetime]) -> Spec:
    """Return the stages of the main sleep by local time, a lane for each."""
    rows = [{"stage": labels[one.stage], "from": _utc(one.begins_at), "to": _utc(one.ends_at)} for one in found]
    lanes = [labels[name] for name in ("awake", "rem", "light", "deep")]
    colors = [STAGES[name] for name in ("awake", "rem", "light", "deep")]
    return _spec(
        rows,
        mark={"type": "bar"},
        encoding={
            "x": {**_clock_axis(span), "field": "from"},
            "x2": {"field": "to"},
            "y": {"field": "stage", "type": "ordinal", "scale": {"domain": lanes}, "title": None},
            "color": {
                "field": "stage",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": lanes, "range": colors},
            },
        },
        width=WIDE,
        height=90,
    )


def svg(spec: Spec) -> str:
    """Return a chart as an SVG element."""
    return _converted(dumps(spec, sort_keys=True))


@lru_cache(maxsize=64)
def _converted(spec: str) -> str:
    import vl_convert

    # The page names the chart as a whole; Vega's roles would be images in it without a name.
    return _ROLES.sub("", str(vl_convert.vegalite_to_svg(spec)))


def _spec(values: Sequence[Spec], *, width: int = WIDTH, height: int = HEIGHT, **parts: Any) -> Spec:
    return {
        "data": {"values": list(values)},
        "width": width,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "config": _CONFIG,
        **parts,
    }


def _week_axis(weeks: Sequence[str]) -> Spec:
    """Return an axis that names Mondays: of many, every second, third and so on."""
    every = weeks[:: -(-len(weeks) // MOST_LABELS) or 1]
    mondays = [datetime.fromisoformat(f"{week}T00:00Z").timestamp() * 1000 for week in every]
    return {
        "field": "week",
        "type": "temporal",
        "scale": {"type": "utc", "nice": False},
        "title": None,
        "axis": {"format": "%m-%d", "values": mondays, "grid": False, "labelOverlap": True},
    }


def _clock_axis(span: tuple[datetime, datetime]) -> Spec:
    return {
        "field": "at",
        "type": "temporal",
        "scale": {"type": "utc", "domain": [_utc(one) for one in span]},
        "title": None,
        "axis": {"format": "%H:%M", "tickCount": 12, "labelOverlap": True},
    }


def _utc(local: datetime) -> str:
    """Return a local time as if it were UTC, so that the chart shows its clock on any machine."""
    return f"{local.isoformat(timespec='seconds')}Z"


def _minutes(found: Sequence[Sample]) -> list[Spec]:
    """Return means by minute, with a gap where there is nothing for long."""
    by_minute: dict[datetime, list[float]] = {}
    for one in found:
        by_minute.setdefault(one.at.replace(second=0, microsecond=0), []).append(one.value)
    rows: list[Spec] = []
    before: datetime | None = None
    for at in sorted(by_minute):
        if before is not None and at - before > timedelta(minutes=LONGEST_GAP_MIN):
            rows.append({"at": _utc(before + timedelta(minutes=1)), "value": None})
        rows.append({"at": _utc(at), "value": round(sum(by_minute[at]) / len(by_minute[at]), 2)})
        before = at
    return rows


def span_of(day: date, times: Sequence[datetime]) -> tuple[datetime, datetime]:
    """Return the day from midnight to midnight, extended to what began the evening before."""
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a local clock without a zone
    return min([midnight, *times]), max([midnight + timedelta(days=1), *times])
