"""What the weekly report says, from facts written by hand."""

from __future__ import annotations

import re
import string
import struct
import zlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from qol_dagster.report.calls import SHOWN, Call, calls_of
from qol_dagster.report.charts import course_chart, courses_chart, spread_chart, spreads_png, valid_weeks_chart
from qol_dagster.report.facts import MEASURES, Facts, Origin
from qol_dagster.report.page import render_own_page, render_report
from qol_dagster.report.quantiles import quantile
from qol_dagster.report.texts import TEXTS
from qol_dagster.report.views import (
    day_states,
    late_participants,
    overview,
    own_ranges,
    spread,
    weeks_since_enrolment,
)
from qol_dagster.resources.connections import People, Person
from qol_ingest.shared.languages import LANGUAGES, Language

WEEK = date(2026, 11, 16)
WEEKS = tuple(WEEK - timedelta(weeks=back) for back in range(8, -1, -1))
MADE_AT = datetime(2026, 11, 25, 0, 6, tzinfo=UTC)


def status(person: str, week: date = WEEK, **fields: Any) -> dict[str, Any]:
    """A status row: seven valid days of somebody who synchronised yesterday, but for `fields`."""
    return {
        "participant_id": person,
        "date": str(week),
        "status": "valid",
        "day_states": "VVVVVVV",
        "n_valid_days": 7,
        "last_worn_date": str(week + timedelta(days=6)),
        "last_night_date": str(week + timedelta(days=6)),
        "days_since_last_sync": 1,
        **fields,
    }


def weekly(person: str, week: date = WEEK, **fields: Any) -> dict[str, Any]:
    """A weekly row of a valid week without values, but for `fields`."""
    empty = dict.fromkeys(MEASURES)
    return {
        "participant_id": person, "date": str(week), "is_valid_week": True, "n_valid_days": 7, **empty,
        "last_received_at": datetime(2026, 11, 23, 3, tzinfo=UTC), **fields,
    }  # fmt: skip


def facts(*rows: dict[str, Any], measured: tuple[dict[str, Any], ...] = (), **fields: Any) -> Facts:
    """The facts of WEEK."""
    return Facts(
        WEEK, WEEKS, rows, measured, fields.pop("people", People()), fields.pop("origin", Origin()), MADE_AT
    )  # fmt: skip


# -- whom to call


@pytest.mark.parametrize(
    ("row", "call"),
    [
        (status("P1"), None),
        (status("P1", days_since_last_sync=2), None),
        (status("P1", days_since_last_sync=3), Call("silent", "P1", 3)),
        (status("P1", status="not_synced", days_since_last_sync=None), Call("never_synced", "P1")),
        (status("P1", day_states="VVVVVNN"), None),
        (
            status("P1", day_states="VVVVNNN", last_worn_date="2026-11-19"),
            Call("not_worn", "P1", 3, date(2026, 11, 19)),
        ),
        # What is not synchronised yet may have been worn: the days before it decide.
        (
            status("P1", day_states="VNNNAAA", last_worn_date="2026-11-16"),
            Call("not_worn", "P1", 3, date(2026, 11, 16)),
        ),
        (status("P1", day_states="NNNVVVV"), None),
        (status("P1", status="too_short", n_valid_days=2, day_states="VVSSSSS"), Call("low_coverage", "P1", 2)),
        (status("P1", status="revoked", day_states="RRRRRRR", days_since_last_sync=None), None),
        (status("P1", status="not_enrolled", day_states="EEEEEEE", days_since_last_sync=None), None),
        # Rows of an older release do not say which days they were.
        (status("P1", day_states=None), None),
    ],
)
def test_a_participant_is_called_for_what_their_week_shows(row: dict[str, Any], call: Call | None) -> None:
    assert calls_of(facts(row)) == ([call] if call else [])


def test_only_the_most_urgent_reason_is_named_and_the_most_urgent_person_comes_first() -> None:
    rows = (
        status("P1", status="too_short", n_valid_days=3, day_states="VVVSSSS"),
        status("P2", status="too_short", n_valid_days=1, day_states="VSSSSSS"),
        status("P3", days_since_last_sync=4, day_states="VVVNNNN"),
        status("P4", days_since_last_sync=9),
        status("P5", status="revoked", day_states="RRRRRRR", days_since_last_sync=None),
        status("P6"),
    )
    people = People(
        (Person("P5", True, False), Person("P6", True, True, "reconnect"), Person("P4", True, True, "ok")),
        n_pending=2,
        invited=("P9",),
    )
    found = [(one.reason, one.participant_id, one.number) for one in calls_of(facts(*rows, people=people))]
    assert found == [
        ("permission_lost", "P5", None),
        ("reconnect", "P6", None),
        ("silent", "P4", 9),
        ("silent", "P3", 4),
        ("low_coverage", "P2", 1),
        ("low_coverage", "P1", 3),
        ("not_joined", "P9", None),
        ("unmapped", "", 2),
    ]


def test_who_was_revoked_by_staff_is_not_called() -> None:
    row = status("P1", status="revoked", day_states="RRRRRRR", days_since_last_sync=None)
    assert calls_of(facts(row, people=People((Person("P1", False, False),)))) == []


def test_who_has_no_night_is_called_once_four_weeks_are_over() -> None:
    row = status("P1", last_night_date=None)
    before = status("P1", WEEK - timedelta(weeks=3), status="too_short")
    assert calls_of(facts(before, row)) == [Call("no_night", "P1")]
    assert calls_of(facts({**before, "status": "not_enrolled"}, row)) == []


# -- numbers


def test_people_are_counted_by_the_state_of_their_week() -> None:
    states = ("valid", "valid", "too_short", "not_worn", "not_synced", "unknown", "revoked", "not_enrolled")
    found = overview(facts(*(status(f"P{n}", status=one) for n, one in enumerate(states))), WEEK)
    assert (found.enrolled, found.active, found.valid) == (6, 3, 2)
    assert found.valid_pct == pytest.approx(100 / 3)
    assert overview(facts(), WEEK).valid_pct is None


def test_a_week_before_that_is_not_computed_is_no_week_in_which_nobody_was_enrolled() -> None:
    found = overview(facts(status("P1")), WEEK - timedelta(weeks=1))
    assert (found.enrolled, found.active, found.valid, found.valid_pct) == (None, None, None, None)
    assert overview(facts(), WEEK).enrolled == 0


def test_a_spread_is_that_of_valid_weeks_with_a_value() -> None:
    values = (100.0, 200.0, 300.0, 400.0, 1000.0)
    rows = [weekly(f"P{n}", steps_mean=value) for n, value in enumerate(values)]
    others = [weekly("P8", steps_mean=9e9, is_valid_week=False), weekly("P9"), weekly("P0", WEEKS[-2], steps_mean=7.0)]
    found = spread(facts(measured=(*rows, *others)), "steps_mean", WEEK)
    # By hand: places 0.4, 1, 2, 3 and 3.6 of the five.
    assert (found.n, found.p10, found.p25, found.median, found.p75, found.p90) == (5, 140, 200, 300, 400, 760)
    assert spread(facts(), "steps_mean", WEEK).n == 0


def test_quantiles_are_those_of_numpy() -> None:
    import numpy as np

    values = sorted(np.random.default_rng(1).normal(size=37).tolist())
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
        assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-12)


def test_a_value_is_outside_when_the_weeks_before_make_it_unlikely() -> None:
    # By hand: mean 12, standard deviation 1.5811, t(0.995; 4) 4.604: 12 +- 4.604 * 1.5811 * sqrt(1.2) = 12 +- 7.974.
    history = (10.0, 12.0, 11.0, 13.0, 14.0)
    for value, side in ((19.9, ""), (20.0, "above"), (4.1, ""), (4.0, "below"), (None, "")):
        before = [weekly("P1", week, stress_mean=one) for week, one in zip(WEEKS[3:8], history, strict=True)]
        own = own_ranges(facts(measured=(*before, weekly("P1", stress_mean=value))))["P1"]["stress_mean"]
        assert (own.low, own.high) == (pytest.approx(4.026, abs=1e-3), pytest.approx(19.974, abs=1e-3))
        assert own.side == side


def test_four_weeks_before_or_weeks_without_any_change_give_no_range() -> None:
    few = [weekly("P1", week, stress_mean=float(n)) for n, week in enumerate(WEEKS[4:8])]
    same = [weekly("P2", week, stress_mean=30.0) for week in WEEKS[:8]]
    found = own_ranges(facts(measured=(*few, *same, weekly("P1", stress_mean=99.0), weekly("P2", stress_mean=99.0))))
    assert [found[person]["stress_mean"].side for person in ("P1", "P2")] == ["", ""]


def test_weeks_that_are_not_valid_are_no_part_of_the_own_range() -> None:
    before = [weekly("P1", week, stress_mean=30.0, is_valid_week=False) for week in WEEKS[:8]]
    own = own_ranges(facts(measured=tuple(before)))["P1"]["stress_mean"]
    assert (own.low, own.history) == (None, (None,) * 9)


def test_days_are_in_their_order_and_blank_where_nothing_is_recorded() -> None:
    rows = (status("P1", WEEKS[-2], day_states="NNNNNNN"), status("P1"), status("P2", WEEKS[0]))
    assert day_states(facts(*rows)) == {"P1": " " * 42 + "NNNNNNN" + "VVVVVVV"}


def test_weeks_are_counted_from_enrolment() -> None:
    rows = (
        status("P1", WEEKS[-3], status="not_enrolled", n_valid_days=0),
        status("P1", WEEKS[-2], n_valid_days=5),
        status("P1", status="revoked", n_valid_days=0),
        *(status("P2", WEEK - timedelta(weeks=back)) for back in range(25, -1, -1)),
    )
    # P2 was there before the first week that was looked at: their first weeks are not known.
    assert weeks_since_enrolment(facts(*rows)) == {"P1": [5, None]}


def test_late_is_what_came_after_the_weekly_run() -> None:
    run = datetime(2026, 11, 25, 0, 5, tzinfo=UTC)  # Wednesday 09:05 in Japan
    times = (run, run + timedelta(seconds=1), None)
    rows = tuple(weekly(f"P{n}", last_received_at=at) for n, at in enumerate(times))
    assert late_participants(facts(measured=rows), WEEK) == 1


# -- charts and pages


def test_charts_keep_their_text_as_text_and_ask_for_nothing() -> None:
    of = facts(*(status("P1", week) for week in WEEKS), measured=tuple(weekly("P1", w, steps_mean=5e3) for w in WEEKS))
    drawn = [
        valid_weeks_chart([overview(of, week) for week in WEEKS]),
        spread_chart([spread(of, "steps_mean", week) for week in WEEKS]),
        courses_chart([own_ranges(of)["P1"]["steps_mean"]], 0),
    ]
    for svg in drawn:
        assert svg.startswith("<svg")
        assert not re.search(r"(href|src|url)\s*[=(]", svg.replace('clip-path="url(#', ""))
    assert ">11/16</text>" in drawn[0]
    assert ">P1</text>" in drawn[2]
    assert ">5,000</text>" in drawn[2]


def test_a_picture_for_dagster_is_whole_and_small_enough_to_be_kept_for_years() -> None:
    of = facts(*(status("P1", week) for week in WEEKS), measured=tuple(weekly("P1", w, steps_mean=5e3) for w in WEEKS))
    png = spreads_png({name: [spread(of, name, week) for week in WEEKS] for name in MEASURES[:4]})
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        data = png[at + 4 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(data),)
        chunks[data[:4]], at = data[4:], at + 12 + length
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    assert len(zlib.decompress(chunks[b"IDAT"])) == (4 * width + 1) * height
    assert list(chunks)[-1] == b"IEND"
    assert len(png) < 60_000


def test_a_person_s_own_measure_is_drawn_from_zero_but_for_what_is_far_from_it() -> None:
    values = [6_000.0 + week for week in range(len(WEEKS))]
    assert ">0</text>" in course_chart(WEEKS, values, from_zero=True)
    assert ">0</text>" not in course_chart(WEEKS, values, from_zero=False)
    drawn = render_own_page(
        facts(
            *(status("P1", week) for week in WEEKS),
            measured=tuple(weekly("P1", week, steps_mean=6e3, resting_hr_mean=60.0) for week in WEEKS),
        ),
        "P1",
        "en",
    )
    steps, pulse = (
        svg for svg in re.findall(r"<svg.*?</svg>", drawn, re.DOTALL) if re.search(r">(6,000|60)</text>", svg)
    )
    assert ">0</text>" in steps
    assert ">0</text>" not in pulse


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_is_there_in_both_languages_with_the_same_places(name: str) -> None:
    places = [{field for _, field, _, _ in string.Formatter().parse(TEXTS[name][one]) if field} for one in LANGUAGES]
    assert places[0] == places[1]
    assert all(TEXTS[name][one].strip() for one in LANGUAGES)
    assert not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", TEXTS[name]["en"])


def test_more_calls_than_fit_a_screen_are_folded_and_none_is_lost() -> None:
    rows = [status(f"P{n:03d}", days_since_last_sync=10 + n) for n in range(SHOWN + 5)]
    for page in render_report(facts(*rows)).values():
        shown, folded = page.split('<details class="more">')[0], page.split('<details class="more">')[1]
        assert [f"P{n:03d}" in shown.split("<h2")[1] for n in range(SHOWN + 5)] == [False] * 5 + [True] * SHOWN
        assert all(f"P{n:03d}" in folded for n in range(5))


@pytest.mark.parametrize(
    ("language", "made", "worn"),
    [
        ("ja", "日本時間 2026年11月25日 09:06 作成", "3 日続けて装着されていない（最後に装着：2026年11月19日）"),
        ("en", "Made November 25, 2026, 09:06 JST", "Not worn for 3 days (last worn November 19, 2026)"),
    ],
)
def test_dates_and_times_are_written_as_the_language_writes_them(language: Language, made: str, worn: str) -> None:
    page = render_report(facts(status("P1", day_states="VVVVNNN", last_worn_date="2026-11-19")))[language]
    assert made in page
    assert worn in page


def test_an_empty_programme_has_a_report_that_says_so() -> None:
    pages = render_report(facts(status("P1", status="not_enrolled", day_states="EEEEEEE", days_since_last_sync=None)))
    assert TEXTS["no_calls"]["ja"] in pages["ja"]
    assert TEXTS["nobody_outside"]["en"] in pages["en"]


@pytest.mark.parametrize(("days", "said"), [(0, "0 valid days"), (1, "1 valid day"), (2, "2 valid days")])
def test_one_day_is_not_one_days(days: int, said: str) -> None:
    page = render_report(facts(status("P1", status="too_short", n_valid_days=days, day_states="SSSSSSV")))["en"]
    assert f"Worn too little: {said}<" in page or f"Worn too little: {said}\n" in page


def test_a_participant_s_own_page_names_nobody_else() -> None:
    of = facts(
        status("P1"), status("P2"),
        measured=(*(weekly("P1", w, steps_mean=5e3) for w in WEEKS), *(weekly("P2", w, steps_mean=6e3) for w in WEEKS)),
    )  # fmt: skip
    page = render_own_page(of, "P1", "ja")
    assert "P1" in page
    assert "5,000" in page
    assert "P2" not in page
    assert "6,000" not in page
    with pytest.raises(KeyError):
        render_own_page(of, "P3", "ja")


def test_names_from_outside_are_text_and_never_markup() -> None:
    hostile = "<script>alert(1)</script>"
    of = facts(status(hostile, days_since_last_sync=9), measured=(weekly(hostile, steps_mean=1.0),))
    for page in (*render_report(of).values(), render_own_page(of, hostile, "en")):
        assert "<script" not in page
