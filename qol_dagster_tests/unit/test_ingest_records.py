"""What the receiver makes of a request body: every record kept as it came, dated, and none lost."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qol_dagster_tests.support.reference import Record
from qol_ingest.records import OUR_KEYS, Parsed, parse_body
from qol_ingest.shared.calendar import receipt_date
from qol_ingest.shared.record_dates import record_date

RECEIVED = datetime(2026, 11, 16, 0, 5, 0, 123_456, tzinfo=UTC)
TODAY = "2026-11-16"
NOON = 1_794_830_400  # 2026-11-16T12:00:00Z
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
TOKEN = "8c1b7f0e-secret"

DAILY = {
    "userId": "u-1",
    "userAccessToken": TOKEN,
    "summaryId": "x15372ea-5d7866b4",
    "calendarDate": "2026-11-14",
    "activityType": "WALKING",
    "startTimeInSeconds": NOON,
    "startTimeOffsetInSeconds": 32_400,
    "durationInSeconds": 86_400,
    "steps": 4210,
    "distanceInMeters": 3146.5,
    "timeOffsetHeartRateSamples": {"15": 75, "30": 75, "3180": 76},
}


def parsed(body: object) -> Parsed:
    return parse_body(body if isinstance(body, bytes) else json.dumps(body).encode(), RECEIVED)


def only_line(body: object) -> str:
    found = parsed(body)
    assert (found.stored, found.rejected) == (1, 0)
    return next(line for lines in [*found.daily.values(), found.lifecycle, found.pings] for line in lines)


def only_reject(body: object) -> dict[str, Any]:
    found = parsed(body)
    assert (found.stored, found.rejected) == (0, 1)
    reject: dict[str, Any] = json.loads(found.rejects[0])
    assert list(reject) == ["reason", "_summary_type", "value"]
    return reject


# -- the line


def test_a_line_begins_with_our_three_keys_and_goes_on_as_garmin_wrote_it() -> None:
    body = rb'{"dailies":[{"userId":"u-1", "steps":1e2,"met":3.10,"name":"\u00e9t\u00e9","a":{"b":1,"b":2}}]}'
    ingest_id = hashlib.sha256(body).hexdigest()
    assert only_line(body) == (
        f'{{"_summary_type":"dailies","_received_at":"2026-11-16T00:05:00.123Z","_ingest_id":"{ingest_id}",'
        r'"userId":"u-1", "steps":1e2,"met":3.10,"name":"\u00e9t\u00e9","a":{"b":1,"b":2}}'
    )


def test_a_receipt_in_another_time_zone_is_written_in_utc() -> None:
    found = parse_body(b'{"dailies":[{}]}', datetime.fromisoformat("2026-11-16T09:05:00+09:00"))
    assert '"_received_at":"2026-11-16T00:05:00.000Z"' in found.daily[TODAY][0]


def test_pretty_printed_json_becomes_one_line_and_spaces_inside_of_text_stay() -> None:
    record = DAILY | {"note": "two  spaces, a \n break and a \u2028 separator", "empty": {}, "nested": [{"a": [1, 2]}]}
    for body in (
        json.dumps({"dailies": [record]}, indent=2).encode(),
        json.dumps({"dailies": [record]}, indent="\t", ensure_ascii=False).replace("\n", "\r\n").encode(),
    ):
        line = only_line(body)
        assert "\n" not in line
        assert "\r" not in line
        assert without(json.loads(line), OUR_KEYS) == without(record, ["userAccessToken"])


def test_an_empty_record_is_a_line_of_our_keys() -> None:
    assert list(json.loads(only_line(b'{"dailies":[ { \n } ]}'))) == list(OUR_KEYS)


def test_a_byte_order_mark_is_no_part_of_the_body() -> None:
    assert json.loads(only_line(b'\xef\xbb\xbf{"dailies":[{"steps":1}]}'))["steps"] == 1


@pytest.mark.parametrize("spelling", ["9" * 5000, "-" + "9" * 5000, "1e999", "0.1000000000000000055511151231257827"])
def test_a_number_python_cannot_hold_is_kept_as_spelled(spelling: str) -> None:
    assert only_line(f'{{"dailies":[{{"steps":{spelling}}}]}}'.encode()).endswith(f'"steps":{spelling}}}')


def test_half_a_surrogate_pair_is_kept_as_spelled() -> None:
    assert only_line(rb'{"dailies":[{"name":"\ud83d"}]}').endswith(r'"name":"\ud83d"}')


# -- which kind of line


@pytest.mark.parametrize("type_", ["dailies", "pulseOx", "respiration", "moveiq", "somethingNew", "日", 'a"b\\'])
def test_any_type_is_kept_under_the_key_it_came_with(type_: str) -> None:
    assert json.loads(only_line({type_: [DAILY]}))["_summary_type"] == type_


def test_users_types_and_dates_of_one_body_are_told_apart() -> None:
    other = DAILY | {"userId": "u-2", "calendarDate": "2026-11-15"}
    found = parsed({"dailies": [DAILY, other, DAILY], "sleeps": [other]})
    kinds = {day: [json.loads(line)["_summary_type"] for line in lines] for day, lines in found.daily.items()}
    assert kinds == {"2026-11-14": ["dailies", "dailies"], "2026-11-15": ["dailies", "sleeps"]}


@pytest.mark.parametrize("again", [b'"dailies"', rb'"d\u0061ilies"'])
def test_a_type_that_comes_twice_counts_twice(again: bytes) -> None:
    found = parsed(b'{"dailies":[{"steps":1}],"sleeps":[],' + again + b':[{"steps":2},7,{"steps":3}]}')
    lines = [json.loads(line) for line in found.daily[TODAY]]
    assert [(line["_summary_type"], line["steps"]) for line in lines] == [("dailies", n) for n in (1, 2, 3)]
    assert found.rejected == 1


@pytest.mark.parametrize("type_", ["deregistrations", "userPermissionsChange", "userPermissions"])
def test_lifecycle_events_are_kept_apart(type_: str) -> None:
    found = parsed({type_: [{"userId": "u-1", "userAccessToken": TOKEN, "permissions": ["ACTIVITY_EXPORT"]}]})
    assert [without(json.loads(line), OUR_KEYS) for line in found.lifecycle] == [
        {"userId": "u-1", "permissions": ["ACTIVITY_EXPORT"]}
    ]
    assert not found.daily


def test_pings_are_kept_apart_from_summaries_of_the_same_type() -> None:
    found = parsed({"activityDetails": [{"userId": "u-1", "callbackURL": "https://example.org/x"}, DAILY]})
    assert (len(found.pings), len(found.daily["2026-11-14"])) == (1, 1)


def test_nothing_in_a_body_is_nothing_to_store() -> None:
    for body in (b"{}", b' {"dailies":[]} ', b'{"dailies" : [ ] , "sleeps":[]}\r\n'):
        assert parsed(body) == Parsed(hashlib.sha256(body).hexdigest())


# -- the token


@pytest.mark.parametrize(
    ("record", "left"),
    [
        ('{"userAccessToken":"S","a":1}', {"a": 1}),
        ('{"a":1,"userAccessToken":"S"}', {"a": 1}),
        ('{"a":1,"userAccessToken":"S","b":2}', {"a": 1, "b": 2}),
        ('{ "userAccessToken" : "S" }', {}),
        ('{"userAccessToken":"S","userAccessToken":"S"}', {}),
        ('{"a":1 , "userAccessToken":"S" , "userAccessToken":{"x":"S"} }', {"a": 1}),
        ('{"userAccessToken":["S",{"userAccessToken":"S"}],"a":[]}', {"a": []}),
        ('{"a":[{"userAccessToken":"S"},{"b":{"c":1,"userAccessToken":"S"}}]}', {"a": [{}, {"b": {"c": 1}}]}),
        ('{"user\\u0041ccessToke\\u006E":"S","a":1}', {"a": 1}),
        ('{"a":1,\n  "userAccessToken":\n"S"\n}', {"a": 1}),
        (f'{{"userAccessToken":{"9" * 5000},"a":1}}', {"a": 1}),
    ],
)
def test_the_token_goes_wherever_it_stands_and_nothing_else_does(record: str, left: object) -> None:
    line = only_line(f'{{"dailies":[{record}]}}'.encode())
    assert without(json.loads(line), OUR_KEYS) == left
    assert "S" not in line
    assert "9" * 5000 not in line


@pytest.mark.parametrize(
    "record",
    [
        '{"a":"userAccessToken"}',
        r'{"a":"\"userAccessToken\":1"}',
        r'{"a":"{\"userAccessToken\":\"x\",","b":1}',
        r'{"x\"userAccessToken":1}',
        r'{"\\userAccessToken":1,"\\":"userAccessToken"}',
        '{"a":["userAccessToken"],"b":{"userAccessTokens":1,"UserAccessToken":2}}',
    ],
)
def test_what_only_looks_like_a_token_stays(record: str) -> None:
    assert only_line(f'{{"dailies":[{record}]}}'.encode()).endswith("," + record[1:])


def test_rejects_hold_no_token_either() -> None:
    bodies = [
        {"dailies": [[{"userAccessToken": TOKEN}]]},
        {"dailies": [{"userAccessToken": TOKEN, "steps": float("nan")}]},
        {"dailies": [{"userAccessToken": TOKEN, "_ingest_id": 1}]},
        {"dailies": {"userAccessToken": TOKEN}},
        {"userAccessToken": TOKEN},
        {"userAccessToken": [{"a": TOKEN}]},
    ]
    for body in bodies:
        only_reject(body)
        assert TOKEN not in parsed(body).rejects[0]


# -- rejects


@pytest.mark.parametrize("element", [None, 1, 1.5, "text", True, ["list"], []])
def test_an_element_that_is_no_object_is_rejected_and_the_others_are_kept(element: object) -> None:
    found = parsed({"dailies": [DAILY, element, DAILY]})
    assert (found.stored, found.rejected) == (2, 1)
    assert json.loads(found.rejects[0]) == {"reason": "not an object", "_summary_type": "dailies", "value": element}


@pytest.mark.parametrize("value", [0, 1, "", "text", False, {"steps": 7}, {"": None}])
def test_a_type_that_is_no_list_is_rejected_whole(value: object) -> None:
    reject = only_reject({"dailies": value})
    assert (reject["reason"], reject["value"]) == ("the value of this type is not a list", value)


BOM = b"\xef\xbb\xbf"
EMPTY = (
    b"", b" \r\n\t", b"{}", b"[]", b"[ \n]", b"null", b" null\n", BOM, BOM + b"{}", BOM + b" ",
    b'{"dailies":[]}', b'{"dailies":null}', b'{"dailies": { }}', b'{"dailies":null,"sleeps":{},"dailies":[]}',
    b'{"deregistrations":null}', b'{"userAccessToken":null}',
)  # fmt: skip


@pytest.mark.parametrize("body", EMPTY)
def test_a_body_that_holds_nothing_gives_no_line_and_no_reject(body: bytes) -> None:
    found = parsed(body)
    assert found == Parsed(hashlib.sha256(body).hexdigest())
    assert (found.stored, found.rejected) == (0, 0)


def test_a_type_of_nothing_hides_no_other_type_and_no_number_json_does_not_have() -> None:
    found = parsed(b'{"sleeps":null,"dailies":[{"steps":1}],"hrv":NaN,"epochs":{}}')
    assert found.stored == 1
    assert [json.loads(line)["value"] for line in found.rejects] == ["NaN"]


@pytest.mark.parametrize(("type_", "kind"), [("dailies", "daily"), ("deregistrations", "lifecycle")])
def test_one_summary_in_the_place_of_a_list_is_a_list_of_one(type_: str, kind: str) -> None:
    one, alone = (parsed({type_: value}) for value in (DAILY, [DAILY]))
    assert (one.stored, one.rejected) == (1, 0)
    assert len(getattr(one, kind)) == 1
    assert one.users == alone.users


@pytest.mark.parametrize("key", OUR_KEYS)
def test_a_record_that_brings_a_key_of_ours_is_rejected_with_all_it_holds(key: str) -> None:
    reject = only_reject({"dailies": [{"steps": 1, key: "forged"}]})
    assert reject["value"] == {"steps": 1, key: "forged"}
    assert key in reject["reason"]


def test_a_key_of_ours_spelled_with_escapes_is_found_too() -> None:
    assert "_ingest_id" in only_reject(rb'{"dailies":[{"\u005fingest_id":1}]}')["reason"]


def test_a_key_of_ours_further_inside_is_garmins() -> None:
    assert json.loads(only_line({"dailies": [{"a": {"_ingest_id": 1}}]}))["a"] == {"_ingest_id": 1}


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ('{"steps":1,"steps":2}', "steps"),
        ('{"steps":1,"steps":1}', "steps"),
        ('{ "steps" : 1 ,\t"userId":"u-1", "steps" : null }', "steps"),
        (r'{"steps":1,"s\u0074eps":2}', "steps"),
        (r'{"\u0073teps":1,"\u0073teps":2,"\u0073teps":3}', "steps"),
        ('{"a:b c":1,"a:b c":2}', "a:b c"),
        ('{"steps":{"15":1},"calendarDate":"2026-11-14","steps":{"30":1}}', "steps"),
        ('{"steps":[{"a":1}],"steps":[{"a":1},{"a":2}]}', "steps"),
        ('{"steps":1,"steps":2,"samples":{"15":1}}', "steps"),
        ('{"steps":1,"steps":2,"laps":[{"a":1}]}', "steps"),
        ('{"steps":1,"steps":2,"note":"a:b"}', "steps"),
        (r'{"steps":1,"steps":2,"note":"a\u003ab"}', "steps"),
        ('{"steps":1,"steps":2,"laps":["a"]}', "steps"),
        ('{"steps":1,"steps":2,"levels":{"deep":[{"a":1}]}}', "steps"),
        ('{"samples":{"15":1,"15":2},"steps":1,"steps":2}', "steps"),
        ('{"steps":1,"levels":{"deep":[{"a":1,"a":2}]},"note":"{:","steps":2}', "steps"),
        ('{"steps":' + "9" * 5000 + ',"steps":1}', "steps"),
        (f'{{"{"k" * 64}":1,"{"k" * 64}":2}}', "k" * 64),
    ],
)
def test_a_record_with_a_repeated_key_is_rejected_and_the_others_are_stored(record: str, key: str) -> None:
    found = parsed(f'{{"dailies":[{{"a":1}},{record},{{"a":2}}]}}'.encode())
    assert [json.loads(line)["a"] for line in found.daily[TODAY]] == [1, 2]
    reason = f"the record has the key {key} twice"
    assert found.rejects == (f'{{"reason":"{reason}","_summary_type":"dailies","value":{record}}}',)


@pytest.mark.parametrize("key", ["日", "", r"a\nb", r"\ud83d", "\x7f", "k" * 65, r"\u00e9"])
def test_a_repeated_key_that_is_no_plain_name_is_not_quoted(key: str) -> None:
    record = f'{{"{key}":"first","{key}":"second"}}'
    (reject,) = parsed(f'{{"dailies":[{record}]}}'.encode()).rejects
    assert reject == f'{{"reason":"the record has a key twice","_summary_type":"dailies","value":{record}}}'


@pytest.mark.parametrize(
    "record",
    [
        '{"samples":{"15":1,"15":2}}',
        '{"levels":{"deep":[{"a":1,"a":2}],"deep":[]}}',
        '{"a":[{"b":1,"b":2},[{"c":1,"c":1}]],"b":1}',
        '{"a":{"a":{"a":1}},"A":1,"a ":1}',
        r'{"a":"\"a\":1,\"a\":2","b":"a:b:c"}',
        r'{"a\\":1,"a\"":2,"a":3}',
    ],
)
def test_keys_repeated_further_inside_or_only_in_a_text_are_kept_as_spelled(record: str) -> None:
    assert only_line(f'{{"dailies":[{record}]}}'.encode()).endswith("," + record[1:])


@pytest.mark.parametrize(
    ("member", "is_ping"),
    [
        ('"callbackURL":"https://x"', True),
        ('"callbackUrl":"https://x"', True),
        ('"callbackURL":null', False),
        ('"callbackURL":null,"callbackUrl":"https://x"', True),
        ('"callbackurl":"https://x"', False),
    ],
)
def test_a_ping_has_a_callback_under_either_name_and_a_push_may_have_none_in_it(member: str, is_ping: bool) -> None:
    found = parsed(f'{{"dailies":[{{"userId":"u-1","calendarDate":"2026-11-14",{member}}}]}}'.encode())
    assert (len(found.pings), len(found.daily)) == ((1, 0) if is_ping else (0, 1))


def test_a_ping_with_a_repeated_key_is_rejected_too() -> None:
    found = parsed(b'{"activityFiles":[{"userId":"u-1","callbackURL":"https://x","userId":"u-2"}]}')
    assert (found.stored, found.rejected, found.users) == (0, 1, frozenset())


@pytest.mark.parametrize("type_", ["deregistrations", "userPermissionsChange", "userPermissions"])
def test_a_withdrawal_with_a_repeated_key_does_not_wait_in_quarantine(type_: str) -> None:
    found = parsed(f'{{"{type_}":[{{"userId":"u-1","permissions":[],"userId":"u-2"}}]}}'.encode())
    assert (len(found.lifecycle), found.rejected, found.users) == (1, 0, {"u-2"})


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_record_with_a_number_json_does_not_have_is_rejected_as_text(constant: str) -> None:
    record = f'{{"steps":[1,{constant}]}}'
    found = parsed(f'{{"dailies":[{{"a":1}},{record},{{"a":2}}]}}'.encode())
    assert (found.stored, found.rejected) == (2, 1)
    assert json.loads(found.rejects[0], parse_constant=pytest.fail)["value"] == record


def test_a_number_json_does_not_have_is_found_beside_one_python_cannot_hold() -> None:
    for members in (f'"a":NaN,"b":{"9" * 5000}', f'"b":{"9" * 5000},"a":NaN'):
        assert only_reject(f'{{"dailies":[{{{members}}}]}}'.encode())["value"] == f"{{{members}}}"


def test_a_token_is_in_no_reject_whatever_it_is() -> None:
    for token in ("NaN", '"S"', "[NaN]"):
        assert only_reject(f'{{"userAccessToken":{token}}}'.encode())["value"] is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'"dailies"', "not a JSON object"),
        (b'""', "not a JSON object"),
        (b"[null]", "not a JSON object"),
        (b"[{}]", "not a JSON object"),
        (b"nullnull", "not a JSON object"),
        (b"NaN", "not a JSON object"),
        (b"0", "not a JSON object"),
        (b"\0", "not a JSON object"),
        (b"\xef\xbb\xbf\xef\xbb\xbf", "not a JSON object"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"dailies":[{"name":"\xed\xa0\xbd"}]}', "not UTF-8"),
        (b'{"dailies":[{"steps":1}', "not JSON from character 23 on"),
        (b'{"dailies":[{"steps":1},]}', "not JSON"),
        (b'{"dailies":[{"steps":1}],}', "not JSON"),
        (b'{"dailies":[{"steps":1} {"steps":1}]}', "not JSON"),
        (b'{"dailies" [{"steps":1}]}', "not JSON"),
        (b'{dailies:[{"steps":1}]}', "not JSON"),
        (b'{1:[{"steps":1}]}', "not JSON"),
        (b'{"dailies":[{"steps":01}]}', "not JSON"),
        (b'{"dailies":[{"name":"a\nb"}]}', "not JSON"),
        (b'{"dailies":[{"steps":1}]}}', "not JSON"),
        (b'{"dailies":[{"steps":1}]}{}', "not JSON"),
        (b"{}}", "not JSON"),
        (b'{"dailies":[{"steps":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "nested too deeply"),
    ],
)
def test_a_body_that_cannot_be_read_is_one_reject_and_gives_no_line(body: bytes, reason: str) -> None:
    found = parsed(body)
    assert found == Parsed(found.ingest_id, whole_body_reason=found.whole_body_reason)
    assert reason in (found.whole_body_reason or "")
    assert (found.stored, found.rejected) == (0, 1)


# -- dates


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"calendarDate": "2026-11-14", "startTimeInSeconds": NOON}, "2026-11-14"),
        ({"calendarDate": "2026-02-30", "startTimeInSeconds": NOON}, "2026-11-16"),
        ({"calendarDate": "20261114", "startTimeInSeconds": 0}, "1970-01-01"),
        ({"calendarDate": "2026-W46-6", "startTimeInSeconds": 0}, "1970-01-01"),
        ({"calendarDate": " 2026-11-14", "startTimeInSeconds": 0}, "1970-01-01"),
        ({"calendarDate": "2026-11-14\n", "startTimeInSeconds": 0}, "1970-01-01"),
        ({"calendarDate": "2026-11-14T00:00:00", "startTimeInSeconds": 0}, "1970-01-01"),
        ({"calendarDate": "２０２６-11-14", "startTimeInSeconds": 0}, "1970-01-01"),
        ({"calendarDate": 20261114, "startTimeInSeconds": 0}, "1970-01-01"),
        ({"startTimeInSeconds": NOON + 43_199}, "2026-11-16"),
        ({"startTimeInSeconds": NOON + 43_200}, "2026-11-17"),
        ({"startTimeInSeconds": NOON, "startTimeOffsetInSeconds": 43_200}, "2026-11-17"),
        ({"startTimeInSeconds": NOON, "startTimeOffsetInSeconds": -43_201}, "2026-11-15"),
        ({"startTimeInSeconds": NOON, "offsetStartTimeInSeconds": 43_200}, "2026-11-17"),
        ({"startTimeInSeconds": NOON, "offsetInSeconds": 43_200}, "2026-11-17"),
        ({"startTimeInSeconds": str(NOON), "startTimeOffsetInSeconds": "43200.0"}, "2026-11-17"),
        ({"startTimeInSeconds": f" {NOON}.5 "}, "2026-11-16"),
        ({"startTimeInSeconds": "1_000"}, TODAY),
        ({"startTimeInSeconds": -1}, "1969-12-31"),
        ({"startTimeInSeconds": -0.5}, "1969-12-31"),
        ({"startTimeInSeconds": -2_208_988_801}, TODAY),
        ({"startTimeInSeconds": 253_402_300_800}, TODAY),
        ({"startTimeInSeconds": 10**400}, TODAY),
        ({"startTimeInSeconds": float("nan")}, TODAY),
        ({"startTimeInSeconds": float("-inf")}, TODAY),
        ({"startTimeInSeconds": True}, TODAY),
        ({"startTimeInSeconds": None}, TODAY),
        ({"startTimeInSeconds": [NOON]}, TODAY),
        ({"startTimeInSeconds": "soon", "measurementTimeInSeconds": 0}, "1970-01-01"),
        ({"measurementTimeInSeconds": NOON, "measurementTimeOffsetInSeconds": 43_200}, "2026-11-17"),
        ({"startTimeInSeconds": NOON, "measurementTimeInSeconds": 0}, "2026-11-16"),
        ({"_summary_type": "bodyComps", "startTimeInSeconds": NOON, "measurementTimeInSeconds": 0}, "1970-01-01"),
        ({"summary": {"startTimeInSeconds": 0, "startTimeOffsetInSeconds": -1}}, "1969-12-31"),
        ({"summary": [0]}, TODAY),
        ({}, TODAY),
    ],
)
def test_a_record_is_filed_under_its_own_date(fields: dict[str, Any], expected: str) -> None:
    assert record_date(fields, RECEIVED).isoformat() == expected


def test_the_date_of_receipt_is_the_one_in_japan() -> None:
    assert receipt_date(datetime(2026, 11, 16, 14, 59, 59, tzinfo=UTC)) == date(2026, 11, 16)
    assert receipt_date(datetime(2026, 11, 16, 15, 0, 0, tzinfo=UTC)) == date(2026, 11, 17)
    assert receipt_date(datetime.max.replace(tzinfo=UTC)) == date.max
    assert receipt_date(datetime(2026, 11, 16, 15, 0, 0)) == date(2026, 11, 17)  # without a zone it is UTC


def test_the_type_decides_the_date_also_when_a_body_is_parsed() -> None:
    body = {"bloodPressures": [{"startTimeInSeconds": NOON, "measurementTimeInSeconds": 0}]}
    assert list(parsed(body).daily) == ["1970-01-01"]


def test_a_hostile_number_does_not_take_long() -> None:
    digits = "1" * 2_000_000 + "x"
    assert record_date({"startTimeInSeconds": digits, "calendarDate": digits}, RECEIVED).isoformat() == TODAY


seconds = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2_208_900_000, 253_402_200_000),
    # Not finer: the reference divides before it rounds down, and loses what is within 1e-11 s of midnight.
    st.integers(-(2 * 10**9), 2 * 10**11).map(lambda eighths: eighths / 8),
    st.sampled_from([float("nan"), float("inf"), 10**15, 10**16, 1e15, "soon", "", "1e3", "0x10", " 5 ", "5 x", "\t5"]),
    st.integers(-(10**9), 10**10).map(str),
    st.lists(st.integers(), max_size=1),
)
offsets = st.one_of(st.none(), st.integers(-86_400, 86_400), st.integers(-86_400, 86_400).map(str), st.booleans())
dates = st.one_of(
    st.none(), st.dates().map(str), st.from_regex(r"\d{4}-\d\d-\d\d", fullmatch=True), st.text(max_size=12)
)


@unhurried
@given(
    type_=st.sampled_from(["dailies", "sleeps", "hrv", "activityDetails", "unknown"]),
    stated=dates,
    start=seconds,
    measured=seconds,
    duration=st.one_of(st.none(), st.integers(0, 100_000)),
    offset=offsets,
    other_offset=offsets,
    nested=seconds,
    received=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
)
def test_the_date_agrees_with_the_plain_python_reference(
    type_: str,
    stated: object,
    start: object,
    measured: object,
    duration: int | None,
    offset: object,
    other_offset: object,
    nested: object,
    received: datetime,
) -> None:
    record = {
        "_summary_type": type_,
        "calendarDate": stated,
        "startTimeInSeconds": start,
        "measurementTimeInSeconds": measured,
        "durationInSeconds": duration,
        "startTimeOffsetInSeconds": offset,
        "offsetInSeconds": other_offset,
    }
    if type_ == "activityDetails":
        record["summary"] = {"startTimeInSeconds": nested, "startTimeOffsetInSeconds": other_offset}
    expected = Record("u-1", type_, record, received, "").own_date(date(2000, 1, 1))
    assert record_date(record, received) == expected


# -- whatever comes

names = st.sampled_from(
    ["userAccessToken", "userId", "calendarDate", "startTimeInSeconds", "callbackURL", *OUR_KEYS]
) | st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
types = st.sampled_from(["dailies", "sleeps", "deregistrations", "userAccessToken"]) | st.text(max_size=5)
bodies = st.dictionaries(types, st.lists(values, max_size=4) | values, max_size=4)
layouts = st.fixed_dictionaries(
    {"indent": st.sampled_from([None, 0, 2, "\t"]), "ensure_ascii": st.booleans(), "separators": st.just((" ,", " : "))}
)


def without(value: Any, keys: Any) -> Any:
    """An object without these keys of its own."""
    return {key: item for key, item in value.items() if key not in keys}


def without_token(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_token(item) for key, item in value.items() if key != "userAccessToken"}
    return [without_token(item) for item in value] if isinstance(value, list) else value


@unhurried
@given(bodies, layouts)
def test_every_value_of_every_record_comes_out_again(body: dict[str, Any], layout: dict[str, Any]) -> None:
    found = parsed(json.dumps(body, **layout).encode("utf-8", "surrogatepass"))
    nothing: list[Any] = [None, {}, []]
    came = [
        (type_, without_token(element))
        for type_, value in body.items()
        if type_ != "userAccessToken" and value not in nothing
        for element in (value if isinstance(value, list) else [value])
    ]
    tokens = body.get("userAccessToken") not in nothing
    lines = [json.loads(line) for lines in [*found.daily.values(), found.lifecycle, found.pings] for line in lines]
    rejects = [json.loads(line) for line in found.rejects]
    went = [(line["_summary_type"], without(line, OUR_KEYS)) for line in lines]
    went += [(line["_summary_type"], line["value"]) for line in rejects if line["_summary_type"] != "userAccessToken"]
    assert sorted(map(repr, went)) == sorted(map(repr, came))
    assert found.stored + found.rejected == len(came) + tokens
    assert all(list(line)[:3] == list(OUR_KEYS) for line in lines)


spellings = st.sampled_from(["a", r"\u0061", "b", "a:", r"\"a", "userAccessToken", r"userAccessToke\u006e", "", "日"])
spaces = st.sampled_from(["", " ", "\n\t"])
pieces = st.recursive(
    st.sampled_from(["1", "null", '"a:b"', r'"\"a\":"', '"userAccessToken:"', "-0.5e-3", "9" * 5000, "[]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(spellings, spaces, inner), max_size=3).map(
            lambda members: "{" + ",".join(f'"{key}"{space}:{value}' for key, space, value in members) + "}"
        )
    ),
    max_leaves=10,
)


@unhurried
@given(st.lists(st.tuples(spellings, spaces, pieces), max_size=4))
def test_a_record_is_rejected_just_when_a_key_of_its_own_is_repeated(members: list[tuple[str, str, str]]) -> None:
    record = "{" + ",".join(f'{space}"{key}"{space}:{space}{value}{space}' for key, space, value in members) + "}"
    keys = Counter(json.loads(f'"{key}"') for key, _, _ in members)
    repeated = {key for key, times in keys.items() if times > 1 and key != "userAccessToken"}
    found = parsed(f'{{"dailies":[{record}]}}'.encode())
    assert (found.stored, found.rejected) == ((0, 1) if repeated else (1, 0))


@unhurried
@given(st.binary())
def test_no_bytes_are_too_strange(body: bytes) -> None:
    found = parsed(body)
    assert found.ingest_id == hashlib.sha256(body).hexdigest()


@unhurried
@given(bodies, st.data())
def test_no_damage_to_a_body_is_too_strange(body: dict[str, Any], data: st.DataObject) -> None:
    whole = json.dumps(body).encode()
    cut = data.draw(st.integers(0, len(whole)))
    found = parsed(whole[:cut] + data.draw(st.binary(max_size=3)) + whole[cut + data.draw(st.integers(0, 3)) :])
    for line in [line for lines in [*found.daily.values(), found.lifecycle, found.pings] for line in lines]:
        assert isinstance(json.loads(line, parse_constant=pytest.fail), dict)
        assert "\n" not in line


def test_the_receiver_loads_nothing_heavy() -> None:
    code = (
        "import sys, qol_ingest.webhook, qol_ingest.server;"
        "print([name for name in sys.modules if name.split('.')[0] in"
        " ('boto3', 'botocore', 'dagster', 'qol_dagster', 'garmin_sim', 'duckdb', 'pyarrow')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
