"""Under which date a record is filed when it states none: sleeps and hrv by their end, the others by their start."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qol_ingest.records import parse_body
from qol_ingest.shared.record_dates import own_date, record_date, sleep_awake_s, sleep_end_s, sleep_tst_s

HALF_PAST_MIDNIGHT = 1_794_843_000  # 2026-11-17T00:30 in Japan
HALF_PAST_ELEVEN = HALF_PAST_MIDNIGHT + 23 * 3600
JAPAN_S = 32_400
START = 1_000_000


def stages(**levels: list[tuple[Any, Any]]) -> dict[str, Any]:
    """A sleep's stage map, of (start, end) in seconds after START."""

    def moment(after_s: Any) -> Any:
        return START + after_s if isinstance(after_s, int) else after_s

    return {
        "sleepLevelsMap": {
            level: [{"startTimeInSeconds": moment(start), "endTimeInSeconds": moment(end)} for start, end in intervals]
            for level, intervals in levels.items()
        }
    }


def lasting(duration_s: object = None, **fields: object) -> dict[str, Any]:
    """A sleep's durations by short names."""
    names = {
        "deep": "deepSleepDurationInSeconds",
        "light": "lightSleepDurationInSeconds",
        "rem": "remSleepInSeconds",
        "awake": "awakeDurationInSeconds",
        "unmeasurable": "unmeasurableSleepInSeconds",
    }
    return {"durationInSeconds": duration_s, **{names.get(name, name): value for name, value in fields.items()}}


# -- the date


def night(start_s: object, **fields: object) -> dict[str, Any]:
    return {"startTimeInSeconds": start_s, "startTimeOffsetInSeconds": JAPAN_S, **fields}


@pytest.mark.parametrize(
    ("kind", "record", "expected"),
    [
        ("sleeps", night(HALF_PAST_MIDNIGHT, durationInSeconds=23_400), "2026-11-17"),
        ("sleeps", night(HALF_PAST_ELEVEN, durationInSeconds=27_000), "2026-11-18"),
        ("sleeps", night(HALF_PAST_ELEVEN, durationInSeconds=27_000, calendarDate="2026-11-17"), "2026-11-17"),
        ("sleeps", night(HALF_PAST_ELEVEN, durationInSeconds=1799), "2026-11-17"),
        ("sleeps", night(HALF_PAST_ELEVEN, durationInSeconds=1800), "2026-11-18"),
        ("sleeps", night(HALF_PAST_ELEVEN, durationInSeconds="1800"), "2026-11-18"),
        ("sleeps", night(str(HALF_PAST_ELEVEN), durationInSeconds=1800), "2026-11-18"),
        ("sleeps", night(HALF_PAST_ELEVEN, durationInSeconds=1000, awakeDurationInSeconds=800), "2026-11-18"),
        ("sleeps", night(HALF_PAST_ELEVEN, durationInSeconds=-1), "2026-11-17"),
        ("sleeps", night(HALF_PAST_ELEVEN), "2026-11-17"),
        ("sleeps", night(HALF_PAST_ELEVEN, startTimeOffsetInSeconds=None, durationInSeconds=1800), "2026-11-17"),
        ("hrv", night(HALF_PAST_ELEVEN, durationInSeconds=1799), "2026-11-17"),
        ("hrv", night(HALF_PAST_ELEVEN, durationInSeconds=1800), "2026-11-18"),
        ("hrv", night(HALF_PAST_ELEVEN, durationInSeconds="1800.0"), "2026-11-18"),
        ("hrv", night(HALF_PAST_ELEVEN, durationInSeconds=-1), "2026-11-17"),
        ("hrv", night(HALF_PAST_ELEVEN, durationInSeconds=True), "2026-11-17"),
        ("hrv", night(HALF_PAST_ELEVEN), "2026-11-17"),
        ("hrv", night(HALF_PAST_ELEVEN, durationInSeconds=0, awakeDurationInSeconds=9999), "2026-11-17"),
        ("hrv", night(None, measurementTimeInSeconds=HALF_PAST_ELEVEN, durationInSeconds=1800), "2026-11-17"),
        ("sleeps", night(None, measurementTimeInSeconds=HALF_PAST_ELEVEN, durationInSeconds=1800), "2026-11-17"),
        ("dailies", night(HALF_PAST_ELEVEN, durationInSeconds=86_400), "2026-11-17"),
        ("stressDetails", night(HALF_PAST_ELEVEN, durationInSeconds=86_400), "2026-11-17"),
        ("Sleeps", night(HALF_PAST_ELEVEN, durationInSeconds=27_000), "2026-11-17"),
        (["sleeps"], night(HALF_PAST_ELEVEN, durationInSeconds=27_000), "2026-11-17"),
    ],
)
def test_a_night_belongs_to_the_local_date_of_waking_and_anything_else_to_that_of_its_start(
    kind: object, record: dict[str, Any], expected: str
) -> None:
    assert own_date(record, kind) == date.fromisoformat(expected)
    assert record_date({"_summary_type": kind, **record}, datetime(2026, 1, 1, tzinfo=UTC)).isoformat() == expected


@pytest.mark.parametrize("kind", ["sleeps", "hrv"])
@pytest.mark.parametrize(
    "record",
    [
        {"durationInSeconds": 27_000},
        {"startTimeInSeconds": None, "durationInSeconds": 27_000},
        {"startTimeInSeconds": 1000 * HALF_PAST_ELEVEN, "durationInSeconds": 27_000},
        {"startTimeInSeconds": -2_208_988_801, "durationInSeconds": 27_000},
        {"startTimeInSeconds": 253_402_300_000, "durationInSeconds": 27_000},
    ],
    ids=["no start", "null", "milliseconds", "before 1900", "ends after 9999"],
)
def test_a_night_outside_the_years_that_are_data_has_no_date_of_its_own(kind: str, record: dict[str, Any]) -> None:
    assert own_date(record, kind) is None


def test_two_nights_that_begin_on_one_date_are_stored_under_two() -> None:
    sleeps = [night(HALF_PAST_MIDNIGHT, durationInSeconds=23_400), night(HALF_PAST_ELEVEN, durationInSeconds=27_000)]
    parsed = parse_body(json.dumps({"sleeps": sleeps}).encode(), datetime(2026, 11, 20, tzinfo=UTC))
    assert list(parsed.daily) == ["2026-11-17", "2026-11-18"]


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ("2026-11-16T14:59:59.999999+00:00", "2026-11-16"),
        ("2026-11-16T15:00:00+00:00", "2026-11-17"),
        ("2026-11-17T00:00:00+09:00", "2026-11-17"),
        ("2026-11-16T23:59:59.999999+09:00", "2026-11-16"),
        ("2026-11-16T15:00:00", "2026-11-17"),
    ],
)
@pytest.mark.parametrize("kind", ["dailies", "sleeps"])
def test_a_record_without_any_date_received_around_midnight_has_that_of_japan(
    kind: str, received: str, expected: str
) -> None:
    received_at = datetime.fromisoformat(received)
    assert list(parse_body(json.dumps({kind: [{"steps": 1}]}).encode(), received_at).daily) == [expected]
    assert record_date({"_summary_type": kind}, received_at).isoformat() == expected


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("0000-01-01", "1970-01-01"),
        ("9999-12-31", "9999-12-31"),
        ("10000-01-01", "1970-01-01"),
        ("2026-11-17T00:00:00", "1970-01-01"),
        ("2026-02-29", "1970-01-01"),
        ("2026-1-1", "1970-01-01"),
        ("-2026-01-01", "1970-01-01"),
        ("2026-11-17\u0000", "1970-01-01"),
        ("", "1970-01-01"),
    ],
)
def test_what_is_no_calendar_date_is_none_and_the_start_decides(stated: str, expected: str) -> None:
    body = json.dumps({"dailies": [{"calendarDate": stated, "startTimeInSeconds": 0}]}).encode()
    assert list(parse_body(body, datetime(2026, 11, 16, tzinfo=UTC)).daily) == [expected]


@pytest.mark.parametrize("kind", ["dailies", "sleeps", "hrv"])
@pytest.mark.parametrize("start", ["1794830400000", "-1794830400000", "9" * 5000, '"' + "9" * 5000 + '"', "1e999"])
def test_a_start_that_is_no_time_in_seconds_leaves_the_date_of_receipt(kind: str, start: str) -> None:
    body = f'{{"{kind}":[{{"startTimeInSeconds":{start},"durationInSeconds":60}}]}}'.encode()
    assert list(parse_body(body, datetime(2026, 11, 16, tzinfo=UTC)).daily) == ["2026-11-16"]


@pytest.mark.parametrize("digits", ["9" * 5000, "-" + "9" * 5000, '"' + "9" * 5000 + '"'])
@pytest.mark.parametrize("field", ["durationInSeconds", "awakeDurationInSeconds", "startTimeOffsetInSeconds", "steps"])
def test_a_number_of_five_thousand_digits_is_no_data_and_the_rest_of_the_record_dates_it(
    field: str, digits: str
) -> None:
    body = f'{{"sleeps":[{{"startTimeInSeconds":{HALF_PAST_MIDNIGHT},"{field}":{digits}}}]}}'.encode()
    parsed = parse_body(body, datetime(2026, 11, 30, tzinfo=UTC))
    assert list(parsed.daily) == ["2026-11-16"]
    assert parsed.daily["2026-11-16"][0].endswith(f'"{field}":{digits}}}')


# -- total sleep time


@pytest.mark.parametrize(
    ("sleep", "tst_s"),
    [
        (lasting(27_000), 27_000),
        (lasting("27000"), 27_000),
        (lasting(), None),
        (lasting(-1), None),
        (lasting(True), None),
        (lasting(float("nan"), deep=float("inf")), None),
        (lasting(0), 0),
        (lasting(deep=100, light="200.5", rem=0), 300.5),
        (lasting(-1, deep=-1, light=200), 200),
        # Duration is the sum of the stages, but for two minutes.
        (lasting(1000, deep=600, light=520), 1120),
        (lasting(1000, deep=600, light=521), 1000),
        (lasting(1000, deep=880), 880),
        (lasting(1000, deep=879), 1000),
        # Duration includes unmeasurable time.
        (lasting(27_180, light=21_240, unmeasurable=5_940), 21_240),
        (lasting(27_180, light=21_240, unmeasurableSleepDurationInSeconds=5_940), 21_240),
        (lasting(27_180, light=21_240, unmeasurable=-1, unmeasurableSleepDurationInSeconds=5_940), 21_240),
        (lasting(27_180, light=21_240, unmeasurable=5_819), 27_180),
        # Duration includes awake time, of the field or of the stage map.
        (lasting(10_000, light=8000, awake=2000), 8000),
        (lasting(10_000, light=8000) | stages(awake=[(0, 1500), (3000, 3500)]), 8000),
        (lasting(10_000, light=8000, awake=0) | stages(awake=[(0, 2000)]), 10_000),
        # Duration includes both.
        (lasting(10_000, light=7000, awake=2000, unmeasurable=1000), 7000),
        (lasting(10_000, light=7000, awake=2000, unmeasurable=700), 10_000),
    ],
)
def test_total_sleep_time_is_the_stages_where_a_reading_of_duration_agrees(
    sleep: dict[str, Any], tst_s: float | None
) -> None:
    assert sleep_tst_s(sleep) == tst_s


# -- time awake


@pytest.mark.parametrize(
    ("sleep", "awake_s"),
    [
        ({}, None),
        (lasting(awake=60), 60),
        (lasting(awake="60"), 60),
        (lasting(awake=0) | stages(awake=[(0, 100)]), 0),
        (lasting(awake=-1), None),
        (lasting(awake=-1) | stages(awake=[(0, 100)]), 100),
        (stages(awake=[(0, 100), (50, 200)]), 250),
        (stages(awake=[]), 0),
        (stages(light=[(0, 100)]), None),
        (stages(awake=[(100, 100), (200, 100)]), 0),
        (stages(awake=[(0, 100), (None, 200), (200, "soon"), (300, None)]), 100),
        (stages(awake=[("0", "100")]), 100),
        ({"sleepLevelsMap": {"awake": [None, 7, [], {}]}}, 0),
        ({"sleepLevelsMap": {"awake": {}}}, None),
        ({"sleepLevelsMap": {"awake": None}}, None),
        ({"sleepLevelsMap": [{"awake": []}]}, None),
    ],
)
def test_time_awake_is_its_field_or_the_stage_maps_or_unknown(sleep: dict[str, Any], awake_s: float | None) -> None:
    assert sleep_awake_s(sleep) == awake_s


# -- the end


@pytest.mark.parametrize(
    ("sleep", "after_s"),
    [
        ({}, 0),
        (lasting(27_000), 27_000),
        (lasting(27_000, awake=600, unmeasurable=60), 27_660),
        (lasting(awake=600), 600),
        (lasting(27_000, awake=-600), 27_000),
        # The last stage, of any level.
        (lasting(27_000) | stages(deep=[(0, 100)], awake=[(27_000, 28_000), (100, 200)]), 27_000 + 1000),
        (lasting(27_000) | stages(unheardOf=[(0, 30_000)]), 30_000),
        (lasting(100) | stages(light=[("x", 200), (100, 250), (300, None)]), 250),
        (lasting(100) | stages(light=[(None, 300), (100, 250)]), 300),
        (stages(light=[(0, 300)]), 300),
        # Twelve hours from where the durations end, and not beyond.
        (lasting(50_000) | stages(light=[(0, 93_200)]), 93_200),
        (lasting(50_000) | stages(light=[(0, 93_201)]), 50_000),
        (lasting(50_000) | stages(light=[(0, 6_800)]), 6_800),
        (lasting(50_000) | stages(light=[(0, 6_799)]), 50_000),
        (lasting(50_000) | stages(light=[(0, 40_000), (0, 99_999)]), 50_000),
        # Never before its start.
        (lasting(1000) | stages(light=[(-600, -1)]), 1000),
        (lasting(1000) | stages(light=[(-600, 0)]), 1000),
        (lasting(1000) | stages(light=[(-600, 1)]), 1),
        ({"durationInSeconds": 1000, "sleepLevelsMap": {"light": 7, "deep": [None, {}], "rem": {}}}, 1000),
    ],
)
def test_a_sleep_ends_with_its_last_stage_or_where_its_durations_end(sleep: dict[str, Any], after_s: float) -> None:
    assert sleep_end_s(sleep, START) == START + after_s


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 2 * 10**6)
    | st.floats()
    | st.sampled_from(["", "60", "-5", "x", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["awake", "light", "startTimeInSeconds", "endTimeInSeconds"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)
fields = st.sampled_from([*lasting(0, deep=0, light=0, rem=0, awake=0, unmeasurable=0), "sleepLevelsMap"])


@given(st.dictionaries(fields, anything), st.integers(0, 10**6))
def test_whatever_a_sleep_holds_it_ends_at_its_start_or_later(sleep: dict[str, Any], start_s: int) -> None:
    assert sleep_end_s(sleep, start_s) >= start_s
