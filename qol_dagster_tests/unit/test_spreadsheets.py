"""Rows and times as staff's spreadsheets save them, the same for enrolments and for questionnaires."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from qol_dagster.resources.id_map import read_csv
from qol_dagster.spreadsheets import decode, read_rows, read_time
from qol_dagster.surveys.importing import read_file

MIDNIGHT = datetime(2026, 11, 26, 15, tzinfo=UTC)
"""The 27th begins in Japan."""
FIVE_PAST_NINE = datetime(2026, 11, 27, 0, 5, tzinfo=UTC)
SPELLED = [
    ("2026-11-27", MIDNIGHT),
    ("2026/11/27", MIDNIGHT),
    ("2026.11.27", MIDNIGHT),
    ("20261127", MIDNIGHT),
    ("2026年11月27日", MIDNIGHT),
    ("２０２６／１１／２７", MIDNIGHT),
    ("　2026/11/27 ", MIDNIGHT),
    ("2026/11/27 0:00", MIDNIGHT),
    ("2026-11-27T00:00+09:00", MIDNIGHT),
    ("2026-11-26T15:00:00Z", MIDNIGHT),
    ("2026/11/27 9:05", FIVE_PAST_NINE),
    ("2026/11/27 09:05:00", FIVE_PAST_NINE),
    ("2026年11月27日 9:05", FIVE_PAST_NINE),
    ("２０２６年１１月２７日　９：０５", FIVE_PAST_NINE),
    ("2026-11-27T09:05", FIVE_PAST_NINE),
    ("2026-11-27 09:05:00.000", FIVE_PAST_NINE),
    ("2026/11/27 2:05+02:00", FIVE_PAST_NINE),
]


@pytest.mark.parametrize(("text", "moment"), SPELLED)
def test_a_time_is_read_as_iso_has_it_and_as_excel_in_japan_rewrites_it(text: str, moment: datetime) -> None:
    assert read_time(text, time()) == moment


def test_a_month_and_a_day_need_no_zeros() -> None:
    for text in ("2026/4/1", "2026-4-1", "2026年4月1日"):
        assert read_time(text, time(12)).isoformat() == "2026-04-01T12:00:00+09:00"


@pytest.mark.parametrize("text", ["2026-11-27", "2026/11/27", "2026年11月27日"])
def test_a_date_alone_is_the_time_of_day_that_is_asked_for(text: str) -> None:
    assert read_time(text, time(12)) == datetime(2026, 11, 27, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "27/11/2026",
        "11/27/2026",
        "1/4/2026",
        "26/11/27",
        "27.11.2026",
        "2026-11/27",
        "2026/13/1",
        "2026/2/29",
        "2026年11月",
        "R8.11.27",
        "46353",
        "2026/11/27 9:05 AM",
        "2026/11/27 25:00",
        "soon",
        "",
    ],
)
def test_a_date_that_could_be_another_or_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of datetime
        read_time(text, time())


def test_both_encodings_of_excel_are_read_and_byte_order_marks_are_no_text() -> None:
    text = "氏名,①\n髙橋,﨑\n"
    assert decode(text.encode("cp932")) == text
    assert decode(f"\ufeff{text}\ufeff{text}".encode()) == text + text
    with pytest.raises(UnicodeDecodeError):
        decode(b"\x81\xff")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_has_named_columns_and_rows_with_a_value_and_no_spaces_around_them(delimiter: str) -> None:
    text = '\n "a b" , b ,,\n\n1, 2　,,\n , ,,\n"3\n3",,,\n4\n5,6, x,\n,,,\n,,,'.replace(",", delimiter)
    names, rows = read_rows(text)
    assert names == ["a b", "b"]
    assert [(row.line, [*row.values.values()], "".join(row.beyond)) for row in rows] == [
        (4, ["1", "2"], ""),
        (7, ["3\n3", ""], ""),
        (8, ["4", ""], ""),
        (9, ["5", "6"], "x"),
    ]
    assert read_rows("") == read_rows("\n ,\n") == ([], [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "cp932"])
@pytest.mark.parametrize("date", ["2026-11-27", "2026/11/27", "2026年11月27日"])
def test_what_excel_saves_is_imported_as_an_enrolment_and_as_a_form(tmp_path: Path, encoding: str, date: str) -> None:
    file = tmp_path / "people.csv"
    rows = [["garmin_user_id ", "participant_id", "enrolled_at", ""], [" a1", "P1　", f"{date} ", ""], ["", "", "", ""]]
    file.write_bytes("\r\n".join(",".join(row) for row in rows).encode(encoding))
    assert read_csv(file) == [("a1", "P1", MIDNIGHT)]
    answers = {f"q{item}": "3" for item in range(1, 27)}
    form = {"participant_id": "P1 ", "answered_at": date, "wave": "0", **answers}
    lines = [",".join(form), ",".join(form.values()), "," * (len(form) - 1), ""]
    received = datetime(2026, 12, 1, tzinfo=UTC)
    found = read_file("\r\n".join(lines).encode(encoding), "csv", received_at=received, enrolled={"P1"})
    assert [one.answered_at for one in found.sendings] == [datetime(2026, 11, 27, 3, tzinfo=UTC)]
    authored = {
        "resourceType": "QuestionnaireResponse",
        "subject": {"identifier": {"value": "P1"}},
        "authored": "2026-11-27T12:00:00+09:00",
        "item": [{"linkId": f"q{item}", "answer": [{"valueInteger": 3}]} for item in range(1, 27)],
    }
    content = json.dumps(authored).encode(encoding)
    (same,) = read_file(content, "fhir", received_at=received, enrolled={"P1"}, wave=0).sendings
    assert same.answered_at == found.sendings[0].answered_at
