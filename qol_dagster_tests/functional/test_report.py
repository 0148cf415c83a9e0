"""The report over a real lake: made by the job and by `qol report`, with the tables' numbers and nobody's id."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import dagster as dg
import pytest

from qol_dagster.cli.app import app
from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.report.calls import REASONS
from qol_dagster.report.facts import HEADLINES
from qol_dagster.report.files import write_report
from qol_dagster.report.mail import GROUPS, announce, message
from qol_dagster.resources.catalogue import CatalogueError
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.platform import open_platform
from qol_dagster.resources.silence import silences
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of, last_due_week, weekly_run_of
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw
from qol_dagster_tests.support.mail import Inbox

USERS = {f"{number:02d}c3d4e5f60718293a4b5c6d7e8f90a{number}": f"P{number:02d}" for number in range(1, 7)}
ENROLLED = datetime(2026, 6, 1, tzinfo=UTC)
LAST_WEEK = MONDAY - timedelta(weeks=1)


class Cells(HTMLParser):
    """The text of each table's cells, row by row, and all links and sources of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.asked: list[str] = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asked += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "action")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data.strip()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two weeks of six people, of whom P05 synchronised nothing of the second and P06 never wore the device."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    for week in (LAST_WEEK, MONDAY):
        for day in dates_of(week):
            lines = []
            for number, user in enumerate(USERS, start=1):
                if number == 5 and week == MONDAY:
                    continue
                samples = {} if number == 6 else worn(12, 55 + number)
                steps = {} if number == 6 else {"steps": 1000 * number + day.day}
                fields = {**steps, "restingHeartRateInBeatsPerMinute": 50 + number}
                lines.append(record("dailies", user, day, timeOffsetHeartRateSamples=samples, **fields))
            write_raw(settings.lake_dir, day, lines)
    IdMap(settings.id_map_path).import_rows([(user, one, ENROLLED) for user, one in USERS.items()])
    IdMap(settings.id_map_path).seen(["ffffffffeeeeeeeeddddddddcccccccc"], datetime(2026, 11, 20, tzinfo=UTC))
    done = materialize_weeks(settings, [LAST_WEEK, MONDAY])
    assert done.success, done.message
    return settings


def page_of(settings: Settings, language: str = "en") -> str:
    return (settings.lake_dir / "reports" / f"week={MONDAY}" / f"report.{language}.html").read_text()


def test_the_weekly_job_writes_a_report_of_each_week_in_both_languages(filled: Settings) -> None:
    folder = filled.lake_dir / "reports"
    written = sorted(path.relative_to(folder) for path in folder.rglob("*.html"))
    assert [str(path) for path in written] == [
        f"week={week}/report.{language}.html" for week in (LAST_WEEK, MONDAY) for language in ("en", "ja")
    ]
    assert '<html lang="ja">' in page_of(filled, "ja")
    with dagster_instance(filled) as instance:
        made = instance.fetch_materializations(dg.AssetKey("weekly_report"), limit=10).records
    metadata = {one.asset_materialization.partition: one.asset_materialization.metadata for one in made}
    assert metadata[str(MONDAY)]["report_ja"].value == str(filled.lake_dir / "reports" / written[3])
    assert metadata[str(MONDAY)]["calls"].value == 3
    assert metadata[str(MONDAY)]["valid_weeks"].value.startswith("![Valid weeks in percent](data:image/png;base64,")
    assert "of valid weeks](data:image/png;base64," in metadata[str(MONDAY)]["headlines"].value


def test_a_run_of_many_weeks_writes_the_reports_of_the_newest_and_says_how_many_it_left_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qol_dagster.defs.assets.report.NEWEST", 1)
    IdMap(settings.id_map_path).import_rows([(user, one, ENROLLED) for user, one in USERS.items()])
    write_raw(settings.lake_dir, MONDAY, [record("dailies", user, MONDAY, steps=1) for user in USERS])
    done = materialize_weeks(settings, [LAST_WEEK, MONDAY])
    assert [path.name for path in settings.lake_dir.glob("reports/*")] == [f"week={MONDAY}"]
    with dagster_instance(settings) as instance:
        said = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert [one for one in said if "1 written, 0 unchanged; older weeks without one: 1 " in one]


def test_while_nobody_is_enrolled_the_job_succeeds_and_its_report_counts_who_pushes(settings: Settings) -> None:
    write_raw(settings.lake_dir, MONDAY, [record("dailies", user, MONDAY, steps=1) for user in USERS])
    IdMap(settings.id_map_path).seen(list(USERS), datetime(2026, 11, 20, tzinfo=UTC))
    done = materialize_weeks(settings, [MONDAY])
    assert done.success, done.message
    rows = Cells(page_of(settings)).rows
    assert ["–", "Users who push data and are not enrolled: 6"] in [row[:2] for row in rows]


def test_who_is_called_is_who_fell_silent_and_who_is_not_worn(filled: Settings) -> None:
    calls = [row for row in Cells(page_of(filled)).rows if row[:1] in (["P05"], ["P06"], ["–"]) and len(row) == 3]
    assert [row[:2] for row in calls[:3]] == [
        ["P05", "No data for 9 days"],
        ["P06", "Not worn for 7 days"],
        ["–", "Users who push data and are not enrolled: 1"],
    ]


def test_every_number_of_the_headlines_is_the_one_that_sql_gives(filled: Settings) -> None:
    rows = Cells(page_of(filled)).rows
    for measure, digits in zip(HEADLINES, (0, 1, 1, 1), strict=True):
        week = "SELECT count({0}), median({0}), quantile_cont({0}, 0.25), quantile_cont({0}, 0.75) FROM "
        asked = f"{week.format(measure)}db_qol.weekly_metrics WHERE is_valid_week AND date = '%s'"
        n, median, low, high = query(filled.lake_dir, asked % MONDAY).rows[0]
        _, before, _, _ = query(filled.lake_dir, asked % LAST_WEEK).rows[0]
        shown = ["–" if one is None else f"{one:,.{digits}f}" for one in (median, low, high, before)]
        middle = "–" if low is None else f"{shown[1]}–{shown[2]}"
        assert any(row[1:] == [shown[0], middle, shown[3], str(n)] for row in rows), measure


def test_the_days_shown_are_those_of_participant_status(filled: Settings) -> None:
    asked = f"SELECT participant_id, day_states FROM db_qol.participant_status WHERE date = '{MONDAY}'"
    stored = dict(query(filled.lake_dir, asked).rows)
    letters = {"V": "V", "N": "N", "A": "–"}
    shown = {row[0]: row[-7:] for row in Cells(page_of(filled)).rows if len(row) == 57}
    assert shown == {person: [letters[letter] for letter in states] for person, states in stored.items()}
    assert stored["P05"] == "AAAAAAA"


def test_no_garmin_id_name_or_token_is_in_any_byte_of_a_report(filled: Settings) -> None:
    for file in filled.lake_dir.glob("reports/**/*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(user.encode() in content for user in (*USERS, "ffffffffeeeeeeeeddddddddcccccccc"))


def test_a_report_is_one_file_that_asks_for_nothing_and_runs_nothing(filled: Settings) -> None:
    for language, other in (("ja", "en"), ("en", "ja")):
        page = page_of(filled, language)
        assert {one for one in Cells(page).asked if not one.startswith("#")} == {f"report.{other}.html"}
        assert not re.search(r"<script|@import|https?://(?!www\.w3\.org/2000/svg)|\bon\w+=", page)


def test_a_run_that_changes_nothing_leaves_the_report_as_it_is(filled: Settings) -> None:
    file = filled.lake_dir / "reports" / f"week={MONDAY}" / "report.ja.html"
    before = (file.stat().st_mtime_ns, file.read_bytes())
    assert materialize_weeks(filled, [MONDAY]).success
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before
    file.write_bytes(before[1][:1000].replace(b"made from", b"made of"))  # damaged: it is made again
    assert materialize_weeks(filled, [MONDAY]).success
    assert file.read_bytes()[:200] == before[1][:200]
    assert file.read_bytes().endswith(b"</html>\n") == before[1].endswith(b"</html>\n")
    assert len(file.read_bytes()) == pytest.approx(len(before[1]), rel=0.01)  # clip paths are numbered on


def run_cli(settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    from typer.testing import CliRunner

    monkeypatch.setenv("QOL_HOME", str(settings.home))
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output if not done.exception or done.exit_code == 0 else str(done.exception)


def test_a_report_looks_into_no_files_of_years_ago(filled: Settings, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(filled.home, home)
    old = home / "lake/processed/weekly/date=2020-11-16/part-0.parquet"
    old.parent.mkdir()
    old.write_bytes(b"no Parquet")
    platform = open_platform(replace(filled, home=home))
    assert not write_report(platform.catalogue(), platform.lake(), platform, MONDAY).written
    with pytest.raises(CatalogueError, match="date=2020-11-16"):
        platform.catalogue().query("SELECT count(*) FROM db_qol.weekly_metrics")


def test_qol_report_prints_where_the_latest_report_is(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = run_cli(filled, monkeypatch, "report", "--lang", "en")
    assert code == 0
    assert Path(said.strip()) == filled.lake_dir.absolute() / "reports" / f"week={MONDAY}" / "report.en.html"
    code, said = run_cli(filled, monkeypatch, "report", "--participant", "P01")
    assert code == 0
    own = Path(said.strip())
    assert "P01" in own.read_text()
    assert not any(f"P{number:02d}" in own.read_text() for number in range(2, 7))
    assert own.stat().st_mode & 0o077 == 0


def test_what_cannot_be_reported_is_said_with_what_to_do(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    _, said = run_cli(filled, monkeypatch, "report", "--week", "2026-08-05")
    assert said == "nothing is known of the week of 2026-08-03; compute it first: qol materialize --week 2026-08-03"
    _, said = run_cli(filled, monkeypatch, "report", "--participant", "P99")
    assert said == f"nothing is known of participant P99 in the weeks up to {MONDAY}"


def test_staff_get_one_mail_a_week_with_a_link_and_three_counts(
    filled: Settings, inbox: tuple[Inbox, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(
        filled, smtp_host="127.0.0.1", smtp_port=inbox[1], smtp_starttls=False, mail_from="qol@example.org",
        mail_to=("admin@example.org",), report_mail_to=("staff@example.org",), report_url="https://qol.example.org/r",
    )  # fmt: skip
    platform = open_platform(settings)
    reports = [write_report(platform.catalogue(), platform.lake(), platform, week) for week in (LAST_WEEK, MONDAY)]
    due = weekly_run_of(MONDAY)
    too_early = last_due_week(due - timedelta(minutes=1))
    monkeypatch.setattr("qol_dagster.report.mail.last_due_week", lambda _now: too_early)
    assert not announce(platform, platform.lake(), reports[1])
    monkeypatch.setattr("qol_dagster.report.mail.last_due_week", lambda _now: last_due_week(due))
    inbox[0].answer = "451 come again"
    assert not announce(platform, platform.lake(), reports[1])
    inbox[0].answer = "250 OK"
    sent = [announce(platform, platform.lake(), one) for one in (*reports, *reports)]
    assert sent == [False, True, False, False]
    (mail,) = inbox[0].mails
    assert (mail["To"], mail["Subject"]) == (
        "staff@example.org",
        f"[qol] 週間レポート {MONDAY} / Weekly report {MONDAY}",
    )
    said = mail.get_content()
    assert f"https://qol.example.org/r/week={MONDAY}/report.ja.html" in said
    assert "To call: 3 (no data: 1, little data: 1, questionnaire: 0, to join: 1)" in said
    assert "連絡が必要な方：3 件（データが届いていない 1、装着が少ない 1、質問票 0、参加の手続き 1）" in said
    assert not any(person in said for person in (*USERS, *USERS.values()))
    # Nobody is configured, or it is an old week: no mail.
    assert not announce(open_platform(replace(settings, report_mail_to=())), platform.lake(), reports[1])


def test_the_mail_counts_each_reason_that_the_report_has_for_a_call_once() -> None:
    assert sorted(reason for reasons in GROUPS.values() for reason in reasons) == sorted(REASONS)
    _, body = message(MONDAY, dict.fromkeys(REASONS, 1), {"ja": "", "en": ""})
    assert "To call: 11 (no data: 4, little data: 3, questionnaire: 2, to join: 2)" in body


def test_who_is_silent_is_known_as_of_now_from_pushes_and_from_computed_weeks(filled: Settings) -> None:
    now = datetime(2026, 11, 27, 12, tzinfo=UTC)
    people = IdMap(filled.id_map_path)
    people.add("0123456789abcdef0123456789abcdef", "P07")  # enrolled now, long after that
    people.seen([next(iter(USERS))], datetime(2026, 11, 27, 9, tzinfo=UTC))

    def silent(days: int, at: datetime = now) -> dict[str, int]:
        found = silences(open_platform(filled), at)
        return {one.participant_id: one.days_silent for one in found if one.days_silent >= days}

    # Of the week's last day data came at 23:00 on the 22nd; P05 sent nothing since the 15th, 23:00; P01 today.
    assert list(silent(4).items()) == [("P05", 11), ("P02", 4), ("P03", 4), ("P04", 4), ("P06", 4)]
    assert list(silent(5)) == ["P05"]
    assert silent(4, now + timedelta(days=30))["P01"] == 30
    people.revoke("P05")
    assert "P05" not in silent(4)
