"""What a link of the explorer asks for, the SQL that answers it, and figures made from rows."""

from __future__ import annotations

import csv
import io
import statistics
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from starlette.datastructures import QueryParams

from qol_dagster.explorer import charts, downloads, queries, summaries
from qol_dagster.explorer.day_records import Sample
from qol_dagster.explorer.selection import MEASURES, Selection, SelectionError, read_selection
from qol_dagster.explorer.summaries import Bin
from qol_dagster.explorer.texts import LETTERS, TEXTS, unit
from qol_dagster.explorer.views import is_unusual, shown
from qol_dagster.metrics.dictionary import DAILY, WEEKLY
from qol_dagster.metrics.dictionary.values import WEEK_STATES
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.settings import Settings
from qol_ingest.shared.languages import LANGUAGES, Language

MONDAY = date(2026, 11, 16)


def read(query: str) -> Selection:
    return read_selection(QueryParams(query), "en")


def test_a_link_restores_the_selection_it_was_made_from() -> None:
    chosen = Selection(
        language="ja",
        profile=PROFILES["strict"],
        measures=("hrv_rmssd_mean", "n_valid_days"),
        since=date(2026, 9, 28),
        until=MONDAY,
        participants=("P 1".replace(" ", "-"), "ふじ&=?"),
        valid_only=True,
        order="highest",
    )
    assert read(chosen.query()) == chosen
    assert read(chosen.query(page=7)).page == 7
    assert read(Selection(language="en").query()) == Selection(language="en")


def test_any_date_names_its_week_and_ids_are_separated_as_people_do() -> None:
    found = read("since=2026-11-08&until=2026-11-18&p=P1, P2,P3&p=P4、P1&m=&m=steps_sd")
    assert (found.since, found.until) == (date(2026, 11, 2), MONDAY)
    assert found.participants == ("P1", "P2", "P3", "P4")
    assert found.measures == ("steps_sd",)


def test_without_weeks_the_last_twelve_are_shown() -> None:
    found = read("").within(MONDAY)
    assert (found.since, found.until) == (date(2026, 8, 31), MONDAY)
    assert read("since=2026-10-05").within(MONDAY).since == date(2026, 10, 5)


@pytest.mark.parametrize(
    ("query", "reason", "value"),
    [
        ("since=16.11.2026", "no_date", "16.11.2026"),
        ("until=20261116", "no_date", "20261116"),
        ("since=0001-01-01", "no_date", "0001-01-01"),
        ("since=2026-11-16&until=2026-11-08", "weeks_reversed", "2026-11-16 > 2026-11-02"),
        ("m=steps", "no_measure", "steps"),
        ("m=who_activity", "no_measure", "who_activity"),
        ("m=steps_mean;DROP", "no_measure", "steps_mean;DROP"),
        ("m=steps_mean&m=steps_sd&m=steps_sum&m=hr_mean", "many_measures", "4"),
        ("p=" + "x" * 101, "no_participant", "x" * 100),
        ("p=a%00b", "no_participant", "a\0b"),
        ("p=" + ",".join(map(str, range(201))), "many_participants", "201"),
        ("profile=lenient", "no_profile", "lenient"),
        ("order=date;", "no_order", "date;"),
        ("page=0", "no_page", "0"),
        ("page=-1", "no_page", "-1"),
        ("page=٣", "no_page", "٣"),
        ("page=" + "9" * 5000, "no_page", "9" * 100),
    ],
)
def test_what_cannot_be_read_is_named(query: str, reason: str, value: str) -> None:
    with pytest.raises(SelectionError) as error:
        read(query)
    assert (error.value.reason, error.value.value) == (reason, value)
    assert reason in TEXTS["en"]


def test_the_sql_names_the_chosen_columns_weeks_and_participants() -> None:
    chosen = Selection(measures=("steps_mean", "n_valid_days"), since=date(2026, 11, 9), until=MONDAY)
    assert queries.weekly_rows(chosen) == (
        "SELECT participant_id, date, is_valid_week, n_valid_days, steps_mean FROM db_qol.weekly_metrics "
        "WHERE date BETWEEN '2026-11-09' AND '2026-11-16' ORDER BY date DESC, participant_id"
    )
    narrowed = Selection(
        profile=PROFILES["strict"], measures=("steps_mean",), since=MONDAY, until=MONDAY, participants=("P1", "P2"),
        valid_only=True,
    )  # fmt: skip
    assert queries.weekly_rows(narrowed) == (
        "SELECT participant_id, date, is_valid_week, n_valid_days, steps_mean FROM db_qol.weekly_metrics_strict "
        "WHERE date BETWEEN '2026-11-16' AND '2026-11-16' AND participant_id IN ('P1', 'P2') AND is_valid_week "
        "ORDER BY date DESC, participant_id"
    )


def test_a_quote_in_an_id_stays_inside_its_literal() -> None:
    asked = queries.daily_rows(PROFILES["default"], "x' OR 'a'='a", MONDAY, MONDAY)
    assert "participant_id = 'x'' OR ''a''=''a'" in asked


def test_on_aws_the_lines_of_python_and_r_ask_athena() -> None:
    settings = Settings(target="aws", athena_workgroup="qol-team")
    sql, python, r = queries.snippets("SELECT 1", "weekly", PROFILES["default"], settings)
    assert sql.code == "SELECT 1"
    assert python.code == 'rows = pyathena.connect(work_group="qol-team").cursor().execute("SELECT 1").fetchall()'
    assert r.code == 'rows <- DBI::dbGetQuery(DBI::dbConnect(noctua::athena(), work_group = "qol-team"), "SELECT 1")'


def test_a_path_with_quotes_stays_inside_the_literals_of_both_languages() -> None:
    settings = Settings(home=Path("""/data/o'neil "x" """))
    asked = "SELECT 1 FROM db_qol.daily_metrics WHERE true"
    _, python, _ = queries.snippets(asked, "daily", PROFILES["default"], settings)
    assert python.code.startswith("""rows = duckdb.sql("SELECT 1 FROM read_parquet('/data/o''neil \\"x\\" /lake/""")


def test_spreads_are_those_of_the_values_that_there_are() -> None:
    values = [4.0, None, 1.0, 10.0, 2.0, None, 3.0]
    known = [4.0, 1.0, 10.0, 2.0, 3.0]
    found = summaries.spread(values)
    assert (found.n, found.missing, found.low, found.high) == (5, 2, 1.0, 10.0)
    assert (found.q1, found.median, found.q3) == (2.0, 3.0, 4.0)
    assert found.mean == pytest.approx(statistics.mean(known))
    assert found.sd == pytest.approx(statistics.stdev(known))


def test_one_value_has_no_sd_and_none_has_no_spread() -> None:
    assert summaries.spread([5.0]).sd is None
    assert summaries.spread([None, None]) == summaries.Spread(0, 2)
    assert summaries.spread([]) == summaries.Spread(0, 0)


def test_weeks_come_in_order_with_their_own_values() -> None:
    rows = [{"date": "2026-11-16", "x": 3}, {"date": "2026-11-09", "x": 1}, {"date": "2026-11-16", "x": 5}]
    found = summaries.spreads_by_week(rows, "x")
    assert [(week, one.n, one.median) for week, one in found.items()] == [
        ("2026-11-09", 1, 1.0),
        ("2026-11-16", 2, 4.0),
    ]


def test_a_histogram_counts_every_value_once() -> None:
    rows = [{"x": value} for value in (0.0, 1.0, 1.5, 2.0, None, 10.0)]
    assert summaries.histogram(rows, "x") == (Bin(0, 2, 3), Bin(2, 4, 1), Bin(4, 6, 0), Bin(6, 8, 0), Bin(8, 10, 1))
    assert summaries.histogram([{"x": None}], "x") == ()
    many = [{"x": float(number)} for number in range(5000)]
    assert sum(one.n for one in summaries.histogram(many, "x")) == 5000
    assert len(summaries.histogram(many, "x")) == 30


def test_rows_without_a_value_come_last_in_either_order_of_values() -> None:
    rows = [{"participant_id": who, "x": value} for who, value in (("b", None), ("a", 2), ("c", 9))]
    assert [row["x"] for row in summaries.ordered(rows, "lowest", "x")] == [2, 9, None]
    assert [row["x"] for row in summaries.ordered(rows, "highest", "x")] == [9, 2, None]
    assert [row["participant_id"] for row in summaries.ordered(rows, "participant", "x")] == ["a", "b", "c"]
    assert summaries.ordered(rows, "newest", "x") == rows


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (True, "yes"), (False, "no"), (0, "0"), (12345, "12,345"), (0.01234, "0.012"), (6.5, "6.50"),
        (-42.126, "-42.13"), (423.25, "423.2"), (12345.6, "12,346"), ("word", "word"),
        (datetime(2026, 11, 18, 7, 5, 9, tzinfo=UTC), "2026-11-18 07:05"),
    ],
)  # fmt: skip
def test_values_are_shortened_for_reading(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_value_outside_the_plausible_range_is_marked() -> None:
    low, high = MEASURES["steps_mean"].plausible or (0, 0)
    assert [is_unusual(MEASURES["steps_mean"], value) for value in (low - 1, low, high, high + 1, None)] == [
        True, False, False, True, False,
    ]  # fmt: skip


def test_a_download_has_every_digit_and_a_codebook_of_its_columns() -> None:
    rows = [{"participant_id": "P1", "date": "2026-11-16", "steps_mean": 1 / 3, "is_valid_week": True},
            {"participant_id": "P,2", "date": "2026-11-16", "steps_mean": None, "is_valid_week": None}]  # fmt: skip
    codebook = downloads.codebook_of(WEEKLY, ["participant_id", "steps_mean", "is_valid_week"])
    packed = zipfile.ZipFile(io.BytesIO(downloads.archive(rows, codebook, "what it is")))
    assert packed.read("rows.csv").decode() == (
        'participant_id,steps_mean,is_valid_week\nP1,0.3333333333333333,true\n"P,2",,\n'
    )
    entries = list(csv.DictReader(io.StringIO(packed.read("codebook.csv").decode("utf-8-sig"))))
    assert [(one["name"], one["unit"], one["term_ja"]) for one in entries[1:]] == [
        ("steps_mean", "n/d", "平均歩数"), ("is_valid_week", "", "有効週"),
    ]  # fmt: skip
    assert packed.read("codebook.csv").startswith(b"\xef\xbb\xbf")


def test_a_line_of_samples_is_broken_where_there_is_nothing_for_long() -> None:
    at = [datetime(2026, 11, 18, 8, 0, 10), datetime(2026, 11, 18, 8, 0, 50), datetime(2026, 11, 18, 10, 0)]
    found = [
        Sample("heart_rate", "dailies", time, value, used=True) for time, value in zip(at, (60, 70, 80), strict=True)
    ]
    spec = charts.samples("heart_rate", found, charts.span_of(date(2026, 11, 18), at), "bpm")
    assert [(row["at"][11:16], row["value"]) for row in spec["data"]["values"]] == [
        ("08:00", 65), ("08:01", None), ("10:00", 80),
    ]  # fmt: skip


def test_both_languages_have_the_same_texts_with_the_same_blanks() -> None:
    assert TEXTS["en"].keys() == TEXTS["ja"].keys()
    for key, text in TEXTS["en"].items():
        blanks = {part.split("}")[0] for part in text.split("{")[1:]}
        assert blanks == {part.split("}")[0] for part in TEXTS["ja"][key].split("{")[1:]}, key


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_status_has_a_letter_of_its_own_and_a_word(language: Language) -> None:
    assert set(LETTERS[language]) == {one.word for one in WEEK_STATES}
    assert len(set(LETTERS[language].values())) == len(WEEK_STATES)
    for name in LETTERS[language]:
        assert TEXTS[language][f"status_{name}"]


def test_units_are_words_that_no_reader_has_to_look_up() -> None:
    written = {one: (unit(one, "en"), unit(one, "ja")) for one in ("n/d", "n", "1", "points", "h", "")}
    assert written["n/d"] == ("per day", "1 日あたり")
    assert written["n"] == ("number", "数")
    assert written["1"] == ("no unit", "単位なし")
    assert written["points"] == ("points", "ポイント")
    assert (written["h"], written[""]) == (("h", "h"), ("", ""))


def test_what_the_pages_show_of_days_is_in_the_dictionary() -> None:
    names = {one.name for one in DAILY}
    assert {name for one in MEASURES.values() for name in one.inputs} <= names
