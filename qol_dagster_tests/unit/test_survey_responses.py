"""Raw lines of forms, which answers count, and files of other programs: what is read, and why a file is refused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from qol_dagster.surveys.importing import SurveyImportError, read_file
from qol_dagster.surveys.responses import Sending, latest_responses, read_line

NOON = datetime(2026, 11, 16, 3, tzinfo=UTC)  # in Japan
RECEIVED = datetime(2026, 11, 20, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def sent(answers: dict[int, object], at: str = "2026-11-16T03:00", **changed: Any) -> Sending:
    given = {"participant_id": "P1", "wave": 0, "language": "ja", "mode": "web", "answered_at": utc(at)}
    return Sending(**{**given, "answers": answers, "received_at": utc(at), **changed})


# -- raw lines


def test_a_line_is_read_as_it_was_written() -> None:
    sending = sent({1: 4, 26: None, 3: "2,3"})
    assert read_line(sending.line.decode()) == sending
    assert json.loads(sending.line) == {
        "participant_id": "P1",
        "wave": 0,
        "answers": {"1": 4, "3": "2,3", "26": None},
        "language": "ja",
        "mode": "web",
        "answered_at": "2026-11-16T03:00:00.000Z",
        "received_at": "2026-11-16T03:00:00.000Z",
    }
    assert sending.line.endswith(b"}\n")


def test_a_form_lies_under_its_date_in_japan_and_the_same_content_under_one_name() -> None:
    late = sent({1: 4}, "2026-11-16T15:00")
    assert late.date == date(2026, 11, 17)
    assert sent({1: 4}, "2026-11-16T14:59").date == date(2026, 11, 16)
    assert sent({2: 5, 1: 4}).id == sent({1: 4, 2: 5}, received_at=RECEIVED).id
    assert len({sent({1: 4}).id, sent({1: 5}).id, sent({1: 4}, wave=1).id, sent({1: 4}, mode="paper").id}) == 4


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        "{",
        '{"participant_id": "P1"}',
        '{"participant_id": "P1", "wave": 0, "mode": "web", "answers": [1], "received_at": "2026-11-16T00:00:00Z"}',
        '{"participant_id": "P1", "wave": -1, "mode": "web", "answers": {}, "received_at": "2026-11-16T00:00:00Z"}',
        '{"participant_id": "P1", "wave": 0, "mode": "fax", "answers": {}, "received_at": "2026-11-16T00:00:00Z"}',
        '{"participant_id": "", "wave": 0, "mode": "web", "answers": {}, "received_at": "2026-11-16T00:00:00Z"}',
        '{"participant_id": "P1", "wave": 0, "mode": "web", "answers": {}, "received_at": "yesterday"}',
        '{"participant_id": "P1", "wave": 0, "mode": "web", "answers": {"q1": 1}, "received_at": "2026-11-16"}',
    ],
)
def test_what_is_no_form_is_read_as_none_and_no_error(line: str) -> None:
    assert read_line(line) is None


def test_without_a_time_of_answering_a_form_was_answered_when_it_was_received() -> None:
    line = (
        '{"participant_id": "P1", "wave": 0, "mode": "web", "answers": {"1": 2}, "received_at": "2026-11-16T03:00:00Z"}'
    )
    read = read_line(line)
    assert read
    assert (read.answered_at, read.language) == (NOON, "")


# -- which answers count


def test_pages_that_were_saved_one_by_one_are_one_form() -> None:
    found = latest_responses([sent({1: 4, 2: 3}), sent({3: 5, 4: None}, "2026-11-16T03:10")])
    assert [(one.answers, one.n_sendings) for one in found] == [({1: 4, 2: 3, 3: 5, 4: None}, 2)]


def test_of_each_item_the_answer_received_last_counts_also_a_blank() -> None:
    first, second = sent({1: 4, 2: 3}), sent({1: None, 2: 5}, "2026-11-18T03:00", mode="paper")
    for order in ([first, second], [second, first], [first, second, first]):
        (found,) = latest_responses(order)
        assert (found.answers, found.mode, found.n_sendings) == ({1: None, 2: 5}, "paper", 2)
        assert found.last_received_at == utc("2026-11-18T03:00")


def test_the_date_of_a_form_is_that_of_the_earliest_answer_that_counts() -> None:
    page, next_page = sent({1: 4, 2: 3}), sent({3: 5}, "2026-11-19T03:00")
    (found,) = latest_responses([page, next_page])
    assert (found.answered_on, found.completed_at) == (date(2026, 11, 16), utc("2026-11-19T03:00"))
    (again,) = latest_responses([page, next_page, sent({1: 1, 2: 1}, "2026-11-18T03:00")])
    assert again.answered_on == date(2026, 11, 18)


def test_participants_and_waves_are_kept_apart() -> None:
    found = latest_responses([sent({1: 1}, wave=1), sent({1: 2}), sent({1: 3}, participant_id="P0")])
    assert [(one.participant_id, one.wave, one.answers) for one in found] == [
        ("P0", 0, {1: 3}),
        ("P1", 0, {1: 2}),
        ("P1", 1, {1: 1}),
    ]


# -- files of other programs

ITEMS = [f"q{item}" for item in range(1, 27)]


def table(head: list[str], *rows: list[str]) -> bytes:
    return "\n".join(",".join(row) for row in (head, *rows)).encode()


def whole(first: str = "1") -> list[str]:
    return [first, *["3"] * 25]


def imported(content: bytes, source: Any = "csv", **options: Any) -> list[Sending]:
    options = {"received_at": RECEIVED, "enrolled": {"P1", "P2"}, **options}
    return list(read_file(content, source, **options).sendings)


def refused(content: bytes, source: Any = "csv", **options: Any) -> str:
    with pytest.raises(SurveyImportError) as error:
        imported(content, source, **options)
    return str(error.value)


def test_a_plain_file_gives_a_form_a_row() -> None:
    head = ["participant_id", "wave", "answered_at", "language", "mode", *ITEMS]
    rows = (["P1", "0", "2026-11-16", "ja", "paper", *whole("５")], ["P2", "1", "2026/11/17 23:30", "", "", *whole("")])
    first, second = imported(table(head, *rows))
    assert (first.participant_id, first.wave, first.language, first.mode) == ("P1", 0, "ja", "paper")
    assert (first.answered_at, first.answers[1], first.answers[26], len(first.answers)) == (NOON, 5, 3, 26)
    assert (second.wave, second.mode, second.answers[1]) == (1, "import", None)
    assert (second.date, second.answered_at) == (date(2026, 11, 17), utc("2026-11-17T14:30"))


def test_a_redcap_export_names_its_events() -> None:
    head = ["record_id", "redcap_event_name", "whoqol_timestamp", *(f"whoqol_{item}" for item in range(1, 27))]
    events = ("baseline_arm_1", "wave_2_arm_1")
    content = table(head, *(["P1", event, "2026-11-16 12:00", *whole("4")] for event in events))
    assert [(one.wave, one.answers[1], one.answered_at) for one in imported(content, "redcap")] == [
        (0, 4, NOON),
        (2, 4, NOON),
    ]


def test_a_limesurvey_export_has_codes_tokens_and_no_wave() -> None:
    head = ["id", "submitdate", "startlanguage", "token", *(f"WHOQOL[SQ{item:03}]" for item in range(1, 27))]
    content = table(head, ["7", "2026-11-16 12:00:00", "ja", "P2", "A5", *["A2"] * 25])
    (found,) = imported(content, "limesurvey", wave=3)
    assert (found.participant_id, found.wave, found.language) == ("P2", 3, "ja")
    assert (found.answers[1], found.answers[26]) == (5, 2)
    assert "line 2: there is no wave; say --wave" in refused(content, "limesurvey")


def test_fhir_responses_are_read_from_a_bundle_and_from_ndjson() -> None:
    def resource(person: str) -> dict[str, Any]:
        answers: list[dict[str, Any]] = [{"linkId": "Q1", "answer": [{"valueInteger": 4}]}]
        answers += [{"linkId": "group", "item": [{"linkId": "Q2", "answer": [{"valueCoding": {"code": "5"}}]}]}]
        answers += [{"linkId": "Q3", "answer": [{"valueInteger": 1}, {"valueInteger": 2}]}, {"linkId": "Q4"}]
        return {
            "resourceType": "QuestionnaireResponse",
            "subject": {"reference": f"Patient/{person}"},
            "authored": "2026-11-16T12:00:00+09:00",
            "item": answers,
        }

    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": resource("P1")}, {"resource": {"resourceType": "Patient"}}],
    }
    lines = "\n".join(json.dumps(resource(person)) for person in ("P1", "P2"))
    (found,) = imported(json.dumps(bundle).encode(), "fhir", wave=0)
    assert (found.participant_id, found.answered_at) == ("P1", NOON)
    assert {item: found.answers[item] for item in (1, 2, 3)} == {1: 4, 2: 5, 3: "1,2"}
    assert [one.participant_id for one in imported(lines.encode(), "fhir", wave=0)] == ["P1", "P2"]
    assert "no JSON" in refused(b"q1,q2", "fhir", wave=0)


def test_rows_of_other_programs_without_any_answer_are_passed_over() -> None:
    head = ["record_id", "redcap_event_name", "age", "whoqol_timestamp", *(f"whoqol_{item}" for item in range(1, 27))]
    other, own = ["P1", "screening_arm_1", "44", "", *[""] * 26], ["P1", "wave_1_arm_1", "", "2026-11-16", *whole()]
    assert [one.wave for one in imported(table(head, other, own), "redcap")] == [1]
    assert refused(table(head, other), "redcap") == "nothing was imported: it holds no form"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_may_be_delimited_by_commas_semicolons_or_tabs(delimiter: str) -> None:
    content = table(["participant_id", "answered_at", *ITEMS], ["P1", "2026-11-16", *whole()])
    assert len(imported(content.replace(b",", delimiter.encode()), wave=0)[0].answers) == 26


def test_columns_may_be_called_otherwise() -> None:
    content = table(["subject", "when", *ITEMS], ["P1", "2026-11-16", *whole()])
    (found,) = imported(content, wave=0, columns={"participant_id": "subject", "answered_at": "when"})
    assert (found.participant_id, found.answered_at) == ("P1", NOON)


def test_excel_s_encodings_are_read() -> None:
    head, row = ["participant_id", "answered_at", "備考", *ITEMS], ["P1", "2026-11-16", "紙で回答", *whole()]
    text = table(head, row).decode()
    for encoding in ("utf-8-sig", "cp932"):
        assert imported(text.encode(encoding), wave=0)[0].answers[1] == 1


def test_answers_that_are_none_are_kept_as_they_are_and_counted() -> None:
    content = table(["participant_id", "answered_at", *ITEMS], ["P1", "2026-11-16", "9", "2;3", "-99", *["3"] * 23])
    found = read_file(content, "csv", received_at=RECEIVED, enrolled={"P1"}, wave=0)
    assert found.invalid_answers == 3
    assert [found.sendings[0].answers[item] for item in (1, 2, 3, 4)] == ["9", "2;3", "-99", 3]


def test_a_refused_file_is_told_every_reason_with_its_line() -> None:
    head = ["participant_id", "wave", "answered_at", "mode", *ITEMS]
    said = refused(
        table(
            head,
            ["P1", "0", "2026-11-16", "web", *whole()],
            ["P9", "0", "2026-11-16", "web", *whole()],
            ["", "first", "16.11.2026", "fax", *[""] * 26],
            ["P1", "0", "2026-11-16", "web", *whole("5")],
            ["P2", "0", "2026-11-21", "web", *whole()],
        )
    )
    assert said.startswith("nothing was imported: ")
    for reason in (
        "line 3: 'P9' is not enrolled",
        "line 4: there is no participant_id",
        "line 4: there is no answer from 1 to 5",
        "line 4: answered_at '16.11.2026' is no date or time like 2026-04-01, 2026/4/1, ",
        "line 4: the wave 'first' is no number",
        "line 4: the mode 'fax' is none of web, paper, import",
        "line 5: is another form of the same participant and wave as line 2",
        "line 6: answered_at '2026-11-21' is in the future",
    ):
        assert reason in said
    assert "line 2:" not in said
    assert refused(table(head)) == "nothing was imported: it holds no form"


def test_a_row_that_comes_twice_is_one_form() -> None:
    row = ["P1", "2026-11-16", *whole()]
    assert len(imported(table(["participant_id", "answered_at", *ITEMS], row, row), wave=0)) == 1
