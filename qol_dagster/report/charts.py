"""The charts of a report, as SVG: described in Vega-Lite, drawn by vl-convert without a browser or the network.

Belongs here: marks, scales and colours. A chart holds numbers and dates only, so that it serves every language; its
title is the caption beside it. Ink is `currentColor`: the page decides between light and dark.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from qol_dagster.report.surveys import ScoreSpread
from qol_dagster.report.views import Overview, OwnRange, Spread, week_label

ACCENT, MUTED, ALARM = "#1b8a8f", "#8a939c", "#c8553d"
"""Told apart by colour-blind people, and legible on white and on black."""
WIDTH = 300
_CONFIG = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "aria": False,
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "tickColor": MUTED,
        "domainColor": MUTED,
        "gridColor": MUTED,
        "gridOpacity": 0.25,
        "labelFontSize": 11,
        "title": None,
    },
    "text": {"color": "currentColor"},
}
_WEEKS = {"field": "week", "type": "ordinal", "sort": None, "axis": {"labelAngle": 0, "labelOverlap": True}}


def valid_weeks_chart(weeks: Sequence[Overview]) -> str:
    """Draw the share of valid weeks, in percent, week by week."""
    return _svg(*_valid_weeks(weeks))


def valid_weeks_png(weeks: Sequence[Overview]) -> bytes:
    """Return the same as a picture on white, for where SVG is not shown."""
    return _png(_whole(*_valid_weeks(weeks)))


def _valid_weeks(weeks: Sequence[Overview]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rows = [{"week": week_label(one.week), "valid_pct": one.valid_pct, "last": one is weeks[-1]} for one in weeks]
    return rows, {
        "height": 130,
        "layer": [
            {"mark": {"type": "bar", "color": MUTED, "opacity": 0.55}, "transform": [{"filter": "!datum.last"}]},
            {"mark": {"type": "bar", "color": ACCENT}, "transform": [{"filter": "datum.last"}]},
        ],
        "encoding": {
            "x": _WEEKS,
            "y": {"field": "valid_pct", "type": "quantitative", "scale": {"domain": [0, 100]}, "axis": _ticks(3)},
        },
    }


def spread_chart(weeks: Sequence[Spread]) -> str:
    """Draw median, quartiles and the 10th to 90th percentile of a measure, week by week."""
    return _svg(*_spread(weeks))


def spreads_png(measures: Mapping[str, Sequence[Spread]]) -> bytes:
    """Return those of some measures, by title, as one picture on white."""
    drawn = [{"title": title, **_part(*_spread(weeks))} for title, weeks in measures.items()]
    return _png({"config": _CONFIG, "columns": 2, "concat": drawn})


def _spread(weeks: Sequence[Spread]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rows = [
        {"week": week_label(one.week), **{name: getattr(one, name) for name in ("p10", "p25", "median", "p75", "p90")},
         "last": one is weeks[-1]}
        for one in weeks
    ]  # fmt: skip
    colour = {"condition": {"test": "datum.last", "value": ACCENT}, "value": MUTED}

    def between(low: str, high: str, mark: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "mark": {**mark, "clip": True},
            "encoding": {"y": {"field": low, "type": "quantitative"}, "y2": {"field": high}, "color": colour},
        }

    return rows, {
        "height": 130,
        "encoding": {"x": _WEEKS, "y": {"type": "quantitative", "scale": {"zero": False}, "axis": _ticks(4)}},
        "layer": [
            between("p10", "p90", {"type": "rule", "strokeWidth": 1.5}),
            between("p25", "p75", {"type": "bar", "size": 14, "opacity": 0.6}),
            {
                "mark": {"type": "tick", "thickness": 2.5, "size": 20},
                "encoding": {"y": {"field": "median", "type": "quantitative"}, "color": {"value": "currentColor"}},
            },
        ],
    }


def scores_chart(waves: Sequence[ScoreSpread]) -> str:
    """Draw median and middle half of a domain's scores (0 to 100), wave by wave; a wave of too few is left blank."""
    rows = [{"week": str(one.wave), "p25": one.p25, "median": one.median, "p75": one.p75} for one in waves]
    scale = {"type": "quantitative", "scale": {"domain": [0, 100]}, "axis": _ticks(3)}
    return _svg(
        rows,
        {
            "height": 130,
            "encoding": {"x": _WEEKS},
            "layer": [
                {
                    "mark": {"type": "bar", "size": 14, "opacity": 0.6, "color": ACCENT},
                    "encoding": {"y": {"field": "p25", **scale}, "y2": {"field": "p75"}},
                },
                {
                    "mark": {"type": "tick", "thickness": 2.5, "size": 20},
                    "encoding": {"y": {"field": "median", **scale}, "color": {"value": "currentColor"}},
                },
            ],
        },
    )


def interval_chart(low: float, estimate: float, high: float) -> str:
    """Draw a correlation with its interval from -1 to 1, with a line at 0, as a row of a table."""
    scale = {"type": "quantitative", "scale": {"domain": [-1, 1]}, "axis": None}
    return _svg(
        [{"low": low, "estimate": estimate, "high": high}],
        {
            "width": 200,
            "height": 16,
            "layer": [
                {
                    "mark": {"type": "rule", "color": MUTED, "strokeDash": [2, 2]},
                    "encoding": {"x": {"datum": 0, **scale}},
                },
                {
                    "mark": {"type": "rule", "color": ACCENT, "strokeWidth": 2},
                    "encoding": {"x": {"field": "low", **scale}, "x2": {"field": "high"}},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1, "color": ACCENT},
                    "encoding": {"x": {"field": "estimate", **scale}},
                },
            ],
        },
    )


def course_chart(weeks: Sequence[date], values: Sequence[float | None], *, from_zero: bool) -> str:
    """Draw one person's values of a measure, week by week, against its scale.

    From zero, a half is half as high; for what is far from zero in everybody, only the range of the values is shown.
    """
    rows = [{"week": week_label(week), "value": value} for week, value in zip(weeks, values, strict=True)]
    return _svg(
        rows,
        {
            "height": 130,
            "mark": {"type": "line", "color": ACCENT, "point": {"size": 40, "color": ACCENT}},
            "encoding": {
                "x": _WEEKS,
                "y": {"field": "value", "type": "quantitative", "scale": {"zero": from_zero}, "axis": _ticks(4)},
            },
        },
    )


def courses_chart(people: Sequence[OwnRange], digits: int) -> str:
    """Draw each person's weeks of one measure, a row a person, with this week's value behind.

    Each is drawn on their own scale: a line shows a course, not a level. Values outside their range stand out.
    """
    names = [one.participant_id for one in people]
    last = {"filter": "datum.last"}
    return _svg(
        [point for number, one in enumerate(people) for point in _course(number, one, digits)],
        {
            "width": 150,
            "height": 22 * len(people),
            "encoding": {
                "x": {
                    "field": "x",
                    "type": "quantitative",
                    "axis": None,
                    "scale": {"domain": [0, 1.45], "nice": False},
                },
                "y": {
                    "field": "y",
                    "type": "quantitative",
                    "scale": {"domain": [-0.5, len(people) - 0.5], "reverse": True, "nice": False},
                    "axis": {
                        "values": list(range(len(people))),
                        "labelExpr": f"{json.dumps(names)}[datum.value]",
                        "grid": False,
                        "ticks": False,
                        "domain": False,
                    },
                },
            },
            "layer": [
                {
                    "mark": {
                        "type": "line",
                        "color": ACCENT,
                        "strokeWidth": 1.5,
                        "invalid": "break-paths-show-domains",
                    },
                    "encoding": {"detail": {"field": "name"}},
                },
                {
                    "mark": {"type": "point", "filled": True, "opacity": 1},
                    "transform": [last],
                    "encoding": {
                        "size": {"condition": {"test": "datum.side != ''", "value": 70}, "value": 14},
                        "color": {"condition": {"test": "datum.side != ''", "value": ALARM}, "value": ACCENT},
                        "shape": {"condition": {"test": "datum.side != ''", "value": "diamond"}, "value": "circle"},
                    },
                },
                {
                    "mark": {"type": "text", "align": "right", "fontSize": 11},
                    "transform": [last],
                    "encoding": {
                        "x": {"datum": 1.45},
                        "y": {"field": "row", "type": "quantitative"},
                        "text": {"field": "shown"},
                    },
                },
            ],
        },
    )


def _course(number: int, one: OwnRange, digits: int) -> Iterable[dict[str, Any]]:
    known = [value for value in one.history if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    for week, value in enumerate(one.history):
        level = None if value is None else 0.5 if high == low else (value - low) / (high - low)
        yield {
            "x": week / (len(one.history) - 1),
            "y": None if level is None else number + 0.34 - 0.68 * level,
            "row": number,
            "name": one.participant_id,
            "last": week == len(one.history) - 1 and value is not None,
            "side": one.side,
            "shown": "" if value is None else f"{value:,.{digits}f}",
        }


def _ticks(number: int) -> dict[str, Any]:
    return {"tickCount": number, "domain": False, "ticks": False}


def _svg(rows: Iterable[Mapping[str, Any]], spec: Mapping[str, Any]) -> str:
    import vl_convert

    return _for_a_page(vl_convert.vegalite_to_svg(_whole(rows, spec)))


def _png(spec: Mapping[str, Any]) -> bytes:
    import vl_convert

    text = json.dumps(spec).replace("currentColor", "#333").replace('"transparent"', '"white"')
    return _packed(vl_convert.vegalite_to_png(text, scale=1.5))


def _packed(png: bytes) -> bytes:
    """Return the same picture in a tenth of the bytes: Dagster keeps it for years, and vl-convert packs in a hurry."""
    kept, pixels, at = [], b"", 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            pixels += data
        else:
            kept.append((kind, data))
        at += length + 12
    kept.insert(-1, (b"IDAT", zlib.compress(zlib.decompress(pixels), 9)))  # before the end
    chunks = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
              for kind, data in kept)  # fmt: skip
    return png[:8] + b"".join(chunks)


def _whole(rows: Iterable[Mapping[str, Any]], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"config": _CONFIG, **_part(rows, spec)}


def _part(rows: Iterable[Mapping[str, Any]], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"width": WIDTH, "data": {"values": list(rows)}, **spec}


def _for_a_page(svg: str) -> str:
    """Return the SVG so that it takes the width it is given, and is passed over by screen readers: the table speaks."""
    match = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg)
    if not match:
        raise ValueError("vl-convert draws SVG of another form")
    sized = f'style="max-width:{float(match[1]):.0f}px" aria-hidden="true" focusable="false"'
    svg = svg.replace(match[0], sized, 1).replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "", 1)
    return re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)
