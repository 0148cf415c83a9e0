"""Asking what was: `qol query --as-of`, `qol diff`, `qol freeze`, and the log of revisions as a table."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.cli.app import run
from qol_dagster.lake.freeze import read_freeze
from qol_dagster.lake.history import HistoryError
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.past import MomentError, parse_moment
from qol_dagster.metrics.dictionary import REVISIONS
from qol_dagster.metrics.dictionary.japanese import TEXTS
from qol_dagster.metrics.types import TableName
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.settings import Settings
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.tables import rows

NEXT_MONDAY = MONDAY + timedelta(weeks=1)
STEPS = "SELECT participant_id, steps_mean FROM db_qol.weekly_metrics ORDER BY date, participant_id"
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake.local(settings.lake_dir)


@pytest.fixture
def qol(settings: Settings, capfd: pytest.CaptureFixture[str]) -> Ask:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        return code, *capfd.readouterr()

    return call


def write(lake: Lake, steps: dict[str, float], raw: str, day: date = MONDAY, table: TableName = "weekly") -> datetime:
    """Write a partition as a run does, and return a time at which its rows are those of now."""
    made = rows(table, *({"participant_id": who, "steps_mean": value} for who, value in steps.items()))
    notes = {"inputs": {"raw": raw, "people": "a", "code": "b", "thresholds": {}}, "metrics_version": "2.0.0"}
    lake.revise(table, day, made, notes)
    time.sleep(0.003)
    now = datetime.now(UTC)
    time.sleep(0.003)
    return now


def asked(ask: Ask, sql: str, *options: str) -> Any:
    code, out, err = ask("query", sql, "--format", "json", *options)
    assert code == 0, err
    return json.loads(out)


def steps(ask: Ask, *options: str) -> list[tuple[str, float]]:
    return [(row["participant_id"], row["steps_mean"]) for row in asked(ask, STEPS, *options)]


def test_a_question_as_of_a_time_is_answered_with_the_rows_of_then(lake: Lake, qol: Ask) -> None:
    before = datetime.now(UTC)
    one = write(lake, {"P1": 1.0, "P2": 2.0}, "a")
    two = write(lake, {"P1": 1.5, "P3": 3.0}, "b")
    write(lake, {"P4": 4.0}, "c", NEXT_MONDAY)
    assert steps(qol) == [("P1", 1.5), ("P3", 3.0), ("P4", 4.0)]
    assert steps(qol, "--as-of", str(before)) == []
    assert steps(qol, "--as-of", one.isoformat()) == [("P1", 1.0), ("P2", 2.0)]
    assert steps(qol, "--as-of", f"{two:%Y-%m-%d %H:%M:%S.%f}") == [("P1", 1.5), ("P3", 3.0)]
    assert steps(qol, "--as-of", "now") == steps(qol)
    assert [row["date"] for row in asked(qol, "SELECT date FROM db_qol.weekly_metrics", "--as-of", str(two))] == [
        str(MONDAY)
    ] * 2


def test_the_log_of_revisions_is_a_table_with_the_dictionary_s_columns(lake: Lake, qol: Ask) -> None:
    write(lake, {"P1": 1.0, "P2": 2.0}, "a")
    write(lake, {"P1": 1.5, "P3": 3.0}, "b")
    found = asked(qol, "SELECT * FROM db_qol.weekly_metrics_revisions")
    assert [*found[0]] == [one.name for one in REVISIONS]
    assert [(one["revision"], one["cause"]) for one in found] == [(1, "first"), (2, "late_files")]
    counts = ("n_rows", "n_rows_added", "n_rows_removed", "n_rows_changed", "changed_columns", "metrics_version")
    assert [found[1][name] for name in counts] == [2, 1, 1, 1, "steps_mean", "2.0.0"]
    assert found[0]["valid_until"] == found[1]["valid_from"]
    assert found[1]["valid_until"] is None
    assert asked(qol, "SELECT * FROM db_qol.daily_metrics_strict_revisions") == []


def test_every_column_of_the_log_is_described_in_two_languages() -> None:
    assert list(TEXTS["revisions"]) == [one.name for one in REVISIONS]
    assert all(one.description and one.sources and one.japanese.text for one in REVISIONS)


def test_a_statement_reaches_the_history_of_the_tables_and_nothing_else(lake: Lake, settings: Settings) -> None:
    write(lake, {"P1": 1.0}, "a")
    log = settings.lake_dir / "history/weekly/revisions" / f"date={MONDAY}" / "0001.json"
    assert query(settings.lake_dir, f"SELECT count(*) FROM read_text('{log}')").rows == [(1,)]
    (settings.lake_dir / "raw").mkdir()
    (settings.lake_dir / "raw/a.jsonl").write_text("{}")
    with pytest.raises(Exception, match="Permission Error|disabled"):
        query(settings.lake_dir, f"SELECT * FROM read_text('{settings.lake_dir}/raw/a.jsonl')")


def test_a_damaged_object_of_the_past_is_named_and_what_is_now_is_answered(lake: Lake, qol: Ask) -> None:
    one = write(lake, {"P1": 1.0}, "a")
    write(lake, {"P1": 2.0}, "b")
    (file,) = Path(lake.root).glob("history/weekly/date=*/*.parquet")
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    code, out, err = qol("query", STEPS, "--as-of", one.isoformat())
    assert (code, out) == (1, "")
    assert f"{file.name} is damaged" in err
    assert steps(qol) == [("P1", 2.0)]


@pytest.mark.parametrize("text", ["yesterday!", "2026-13-01", "2026-11-25 25:00", "", "-1", "9999-99-99T00:00"])
def test_what_is_no_moment_is_said_with_examples(lake: Lake, text: str) -> None:
    with pytest.raises(MomentError, match=r"neither a freeze nor a time such as 2026-11-25"):
        parse_moment(lake, text)


def test_times_are_utc_without_a_zone_and_a_date_is_its_end_in_japan(lake: Lake) -> None:
    assert parse_moment(lake, "2026-11-25 00:05").at == datetime(2026, 11, 25, 0, 5, tzinfo=UTC)
    assert parse_moment(lake, "2026-11-25T09:05+09:00").at == datetime(2026, 11, 25, 0, 5, tzinfo=UTC)
    assert parse_moment(lake, "2026-11-25").at == datetime(2026, 11, 25, 14, 59, 59, 999999, tzinfo=UTC)


# -- differences


def test_diff_says_who_differs_in_what_by_how_much_and_why(lake: Lake, qol: Ask) -> None:
    one = write(lake, {"P1": 1.0, "P2": 2.0, "P3": 3.0}, "a")
    write(lake, {"P1": 1.5, "P2": 2.0, "P3": 3.0}, "b")
    write(lake, {"P1": 1.75, "P2": 2.0, "P4": 4.0}, "b")
    write(lake, {"P9": 9.0}, "b", NEXT_MONDAY)
    code, out, _ = qol("diff", one.isoformat(), "now", "--format", "json")
    found = [tuple(row.values()) for row in json.loads(out)]
    name, day = "weekly_metrics", str(MONDAY)
    assert (code, found) == (
        0,
        [
            (name, day, "P1", "changed", "steps_mean", 1.0, 1.75, 0.75, "late_files+forced"),
            (name, day, "P3", "removed", "", None, None, None, "late_files+forced"),
            (name, day, "P4", "added", "", None, None, None, "late_files+forced"),
            (name, str(NEXT_MONDAY), "P9", "added", "", None, None, None, "first"),
        ],
    )
    code, out, _ = qol("diff", "now", one.isoformat(), "--table", "db_qol.weekly_metrics", "--format", "csv")
    assert "weekly_metrics,2026-11-16,P1,changed,steps_mean,1.75,1.0,-0.75,late_files+forced" in out
    code, out, _ = qol("diff", "now", "now")
    assert out.splitlines() == [
        f"db_qol.{table}: no difference" for table in ("daily_metrics", "weekly_metrics", "participant_status")
    ]
    code, out, err = qol("diff", "now", "now", "--table", "weekly")
    assert (code, out) == (2, "")
    assert "there is no table weekly; there are daily_metrics, weekly_metrics" in err


# -- freezes


def test_a_freeze_is_asked_for_by_its_name_whatever_runs_do_later(lake: Lake, qol: Ask) -> None:
    write(lake, {"P1": 1.0}, "a")
    code, digest, _ = qol("freeze", "create", "paper-1", "--note", "Table 2")
    assert code == 0
    assert read_freeze(lake, "paper-1").sha256 == digest.strip()
    for number in range(2):
        write(lake, {"P1": 2.0 + number}, "b")
    write(lake, {"P2": 2.0}, "b", NEXT_MONDAY)
    assert steps(qol, "--as-of", "paper-1") == [("P1", 1.0)]
    assert qol("freeze", "verify", "paper-1")[:2] == (0, "paper-1 is as it was frozen; objects: 1\n")
    code, out, _ = qol("diff", "paper-1", "now", "--format", "json")
    assert [(row["participant_id"], row["difference"]) for row in json.loads(out)] == [("P1", 2.0), ("P2", None)]


def test_a_freeze_of_some_weeks_holds_their_days_and_is_compared_with_nothing_else(lake: Lake, qol: Ask) -> None:
    sunday = MONDAY + timedelta(days=6)
    for day, table in ((MONDAY, "weekly"), (NEXT_MONDAY, "weekly"), (sunday, "daily"), (NEXT_MONDAY, "daily")):
        lake.revise(table, day, rows(table, {"participant_id": "P1"}), {})  # type: ignore[arg-type]
    assert qol("freeze", "create", "one", "--weeks", "2026-11-18..2026-11-20")[0] == 0
    found = read_freeze(lake, "one")
    assert [(one["table"], one["date"]) for one in found.objects] == [
        ("daily_metrics", str(sunday)),
        ("weekly_metrics", str(MONDAY)),
    ]
    assert qol("diff", "one", "now")[1].count("no difference") == 3
    assert asked(qol, "SELECT count(*) AS n FROM db_qol.daily_metrics", "--as-of", "one") == [{"n": 1}]


def test_a_freeze_names_what_made_it_and_describes_every_column(lake: Lake, qol: Ask) -> None:
    write(lake, {"P1": 1.0}, "a")
    qol("freeze", "create", "paper-1", "--note", "Table 2")
    facts = json.loads((Path(lake.root) / "freezes/paper-1.json").read_text())
    assert facts["made_by"]["metrics_version"] == "2.0.0"
    assert facts["made_by"]["thresholds"]["strict"]["valid_day_wear_min"] == 780
    assert {"steps_mean", "status", "wear_min"} <= {one["name"] for one in facts["dictionary"]["entries"]}
    (one,) = facts["objects"]
    assert (one["table"], one["date"], one["rows"], one["revision"]) == ("weekly_metrics", str(MONDAY), 1, 1)
    _, out, _ = qol("freeze", "list", "--format", "json")
    assert [(row["name"], row["weeks"], row["objects"], row["note"]) for row in json.loads(out)] == [
        ("paper-1", "all", 1, "Table 2")
    ]
    _, out, err = qol("freeze", "show", "paper-1", "--format", "csv")
    assert f"weekly_metrics,2026-11-16,1,1,{one['valid_from']},first,2.0.0,,{one['sha256']}" in out
    assert "note: Table 2" in err


def test_a_freeze_is_never_changed(lake: Lake, qol: Ask) -> None:
    write(lake, {"P1": 1.0}, "a")
    qol("freeze", "create", "paper-1")
    before = (Path(lake.root) / "freezes/paper-1.json").read_bytes()
    write(lake, {"P1": 2.0}, "b")
    code, out, err = qol("freeze", "create", "paper-1")
    assert (code, out) == (2, "")
    assert "there is a freeze paper-1 already, and it is never changed" in err
    assert (Path(lake.root) / "freezes/paper-1.json").read_bytes() == before


@pytest.mark.parametrize("name", ["now", "2026-11-16", "Paper", "a/b", "..", "", "x" * 65])
def test_names_that_could_be_a_time_or_a_path_are_refused(lake: Lake, qol: Ask, name: str) -> None:
    write(lake, {"P1": 1.0}, "a")
    code, _, err = qol("freeze", "create", name)
    assert code == 2
    assert "is no name for a freeze" in err
    assert not (Path(lake.root) / "freezes").exists()


def test_what_cannot_be_frozen_or_is_not_there_is_said(lake: Lake, qol: Ask) -> None:
    assert "there is nothing to freeze" in qol("freeze", "create", "paper-1")[2]
    assert "there is no freeze paper-1" in qol("freeze", "show", "paper-1")[2]
    assert "give dates like" in qol("freeze", "create", "paper-1", "--weeks", "last")[2]


def test_objects_of_a_freeze_that_are_missing_or_damaged_are_named(lake: Lake, qol: Ask) -> None:
    write(lake, {"P1": 1.0}, "a")
    write(lake, {"P1": 1.0}, "a", NEXT_MONDAY)
    qol("freeze", "create", "paper-1")
    first, second = sorted(Path(lake.root).glob("history/weekly/date=*/*.parquet"))
    first.unlink()
    second.write_bytes(b"PAR1")
    code, out, err = qol("freeze", "verify", "paper-1")
    assert code == 1
    assert [line.rpartition("/")[2] for line in out.splitlines()] == [
        f"{first.name} is missing",
        f"{second.name} is damaged",
    ]
    assert "2 of 2 objects of paper-1 are not what was frozen" in err


def test_a_damaged_manifest_is_named(lake: Lake, qol: Ask) -> None:
    write(lake, {"P1": 1.0}, "a")
    qol("freeze", "create", "paper-1")
    for content in ("{", "[]", '{"name": "paper-1", "objects": [{}]}'):
        (Path(lake.root) / "freezes/paper-1.json").write_text(content)
        with pytest.raises(HistoryError, match=r"freezes/paper-1\.json is damaged"):
            read_freeze(lake, "paper-1")
