"""`qol explore` over HTTP: its numbers are those of SQL asked directly, and a hostile link does no harm."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import quote

import duckdb
import httpx
import pytest

from qol_dagster.cli.app import run
from qol_dagster.cli.revisions import catalogue_as_of
from qol_dagster.explorer.day_records import read_day
from qol_dagster.explorer.selection import Selection
from qol_dagster.explorer.views import Past, Views
from qol_dagster.lake.freeze import create_freeze
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings
from qol_dagster_tests.support.explored import ADA, BEN, CEM, FIRST_MONDAY, WEDNESDAY, explored_home, explorer
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw

QOL = [sys.executable, "-W", "error", "-c", "from qol_dagster.cli.app import main; main()"]
PAGES = (
    "/",
    "/completeness",
    f"/week?participant=P0001&week={MONDAY}",
    f"/day?participant=P0001&date={WEDNESDAY}",
)


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return explored_home(tmp_path_factory.mktemp("explored") / "home")


@pytest.fixture(scope="module")
def site(explored: Settings) -> Iterator[httpx.Client]:
    with explorer(explored) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def words(answer: httpx.Response) -> str:
    """The text of a page, as a reader has it."""
    text = re.sub(r"<svg.*?</svg>", " ", answer.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def cells(answer: httpx.Response, table: str) -> list[list[str]]:
    """The rows of a table's body."""
    body = re.search(rf'<table[^>]* id="{table}">.*?<tbody>(.*?)</tbody>', answer.text, re.DOTALL)
    assert body
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in body[1].split("</tr>")]
    return [[" ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in row] for row in rows if row]


def unpacked(answer: httpx.Response) -> tuple[list[dict[str, str]], list[dict[str, str]], str]:
    """The rows, the codebook and the words of a download."""
    assert answer.status_code == 200
    packed = zipfile.ZipFile(io.BytesIO(answer.content))
    rows = csv.DictReader(io.StringIO(packed.read("rows.csv").decode()))
    codebook = csv.DictReader(io.StringIO(packed.read("codebook.csv").decode("utf-8-sig")))
    return list(rows), list(codebook), packed.read("README.txt").decode()


def test_the_figures_of_a_view_are_those_of_sql_asked_directly(explored: Settings) -> None:
    view = Views(open_platform(explored)).overview(Selection(language="en", measures=("steps_mean",)))
    asked = open_platform(explored).catalogue().query(
        "SELECT date, count(steps_mean), avg(steps_mean), stddev_samp(steps_mean), "
        "quantile_cont(steps_mean, [0, 0.25, 0.5, 0.75, 1]) FROM db_qol.weekly_metrics GROUP BY date ORDER BY date DESC"
    )  # fmt: skip
    spreads = view["sections"][0]["spreads"][:-1]
    assert [(week, s.n, s.mean, s.sd, [s.low, s.q1, s.median, s.q3, s.high]) for week, s in spreads] == [
        (week, n, pytest.approx(mean), sd and pytest.approx(sd), pytest.approx(quantiles))
        for week, n, mean, sd, quantiles in asked.rows
    ]
    # By hand: Ada's 4,500 to 7,500 in the second week, of which Wednesday is 5,500; Ben's are 9,000.
    assert [s.mean for _, s in spreads] == [pytest.approx((6000 + 9000) / 2), pytest.approx(2500)]


def test_the_page_shows_the_rows_of_the_table(site: httpx.Client) -> None:
    page = site.get("/?m=steps_mean&order=participant")
    assert page.status_code == 200
    assert cells(page, "rows") == [
        ["P0001", "2026-11-16", "yes", "7", "6,000"],
        ["P0001", "2026-11-09", "yes", "7", "2,500"],
        ["P0002", "2026-11-16", "no", "3", "9,000"],
    ]
    assert "3 participant-weeks of 2 participants, 2026-08-31 to 2026-11-16" in words(page)


def test_the_pages_of_a_freeze_show_the_rows_of_then_and_say_so(
    explored: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(home=tmp_path / "home")
    shutil.copytree(explored.home, settings.home)
    monkeypatch.setenv("QOL_HOME", str(settings.home))
    platform = open_platform(settings)
    create_freeze(platform.lake(), "paper-1")
    write_raw(
        settings.lake_dir, MONDAY, [record("dailies", ADA, MONDAY, steps=11_500, timeOffsetHeartRateSamples=worn(12))]
    )
    with platform.engine("duckdb") as engine:
        run_etl(engine, platform.lake(), [MONDAY], platform.id_map().identities(), since=FIRST_MONDAY)
    shown = "/?m=steps_mean&order=participant"
    with explorer(settings) as url, httpx.Client(base_url=url, timeout=60) as now:
        assert cells(now.get(shown), "rows")[0] == ["P0001", "2026-11-16", "yes", "7", "7,000"]
        assert "as of" not in words(now.get("/"))
    with (
        explorer(settings, "en", Past("paper-1", catalogue_as_of("paper-1"))) as url,
        httpx.Client(base_url=url) as then,
    ):
        assert cells(then.get(shown), "rows")[0] == ["P0001", "2026-11-16", "yes", "7", "6,000"]
        for page in PAGES:
            assert "The tables as of: paper-1." in words(then.get(page))
        rows, _, readme = unpacked(then.get(f"/download{shown[1:]}&view=weeks"))
        assert rows[0]["steps_mean"] == "6000.0"
        assert "as of: paper-1\n" in readme
        (command,) = re.findall(r"<pre>(qol query .*?)</pre>", then.get(f"{shown}&p=P0001").text, re.DOTALL)
    asked = shlex.split(unescape(command))
    assert run([*asked[1:], "--format", "json"]) == 0
    assert [row["steps_mean"] for row in json.loads(capsys.readouterr().out)] == [6000.0, 2500.0]


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        ("valid=1", [("P0001", "2026-11-16"), ("P0001", "2026-11-09")]),
        ("p=P0002", [("P0002", "2026-11-16")]),
        ("since=2026-11-18", [("P0001", "2026-11-16"), ("P0002", "2026-11-16")]),
        ("until=2026-11-15", [("P0001", "2026-11-09")]),
        ("order=highest", [("P0002", "2026-11-16"), ("P0001", "2026-11-16"), ("P0001", "2026-11-09")]),
    ],
)
def test_filters_choose_rows(site: httpx.Client, filters: str, rows: list[tuple[str, str]]) -> None:
    assert [(row[0], row[1]) for row in cells(site.get(f"/?{filters}"), "rows")] == rows


def test_the_strict_profile_has_tables_of_its_own(site: httpx.Client) -> None:
    assert "No rows for this choice" in words(site.get("/?profile=strict"))


def test_completeness_shows_who_has_how_many_valid_days(site: httpx.Client) -> None:
    page = site.get("/completeness")
    assert [row[0] for row in cells(page, "heat")] == ["P0001", "P0002", "P0003"]
    assert cells(page, "heat")[0][1:] == ["7 V valid", "7 V valid"]
    assert cells(page, "heat")[1][1] == "3 S worn too short"
    assert cells(page, "heat")[2][1:] == ["0 R revoked", "0 R revoked"]
    assert cells(page, "statuses")[0] == ["2026-11-16", "1", "1", "0", "0", "0", "0", "1"]


def test_a_week_of_unknown_wear_is_shown_with_the_letter_of_the_report(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    write_raw(settings.lake_dir, MONDAY, [record("dailies", ADA, MONDAY, steps=5000)])
    people = IdMap(settings.id_map_path)
    people.add(ADA, "P0001")
    platform = open_platform(settings)
    with platform.engine("duckdb") as engine:
        run_etl(engine, platform.lake(), [MONDAY], people.identities(), since=MONDAY)
    with explorer(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        assert cells(client.get("/completeness"), "heat") == [["P0001", "0 ? worn, how long is unknown"]]
        assert cells(client.get("/completeness?lang=ja"), "heat") == [["P0001", "0 ？ 装着不明"]]
        assert "worn, how long is unknown" in words(client.get(f"/week?participant=P0001&week={MONDAY}"))


def test_a_week_leads_to_its_days_and_a_day_to_its_records(site: httpx.Client) -> None:
    week = site.get(f"/week?participant=P0001&week={WEDNESDAY}&m=steps_mean")
    steps = [(row[0], row[3]) for row in cells(week, "days")]
    assert steps[:3] == [("2026-11-16 Mon", "4,500"), ("2026-11-17 Tue", "5,000"), ("2026-11-18 Wed", "5,500")]
    assert [number for _, number in steps[3:]] == ["6,000", "6,500", "7,000", "7,500"]
    assert f"/day?lang=en&amp;m=steps_mean&amp;participant=P0001&amp;date={WEDNESDAY}" in week.text
    day = site.get(f"/day?participant=P0001&date={WEDNESDAY}")
    assert cells(day, "outcomes") == [
        ["bodyComps", "feeds no measure", "1"],
        ["dailies", "counts", "1"],
        ["dailies", "another version counts", "1"],
        ["sleeps", "counts", "1"],
        ["stressDetails", "counts", "1"],
    ]
    assert "3 of 5 records count" in words(day)
    older = next(row for row in cells(day, "records") if row[1] == "another version counts")
    assert older[2:] == ["2026-11-19 08:00", "2026-11-18 00:00", "60 min"]


def test_a_day_has_every_sample_and_says_which_are_used(explored: Settings) -> None:
    found = read_day(open_platform(explored), "P0001", WEDNESDAY)
    beats = [one for one in found.samples if one.kind == "heart_rate"]
    assert (len(beats), beats[0].at, beats[0].value) == (11 * 240, datetime(2026, 11, 18, 8), 60)
    assert [(one.value, one.used) for one in found.samples if one.kind == "stress"] == [
        (20, True),
        (-1, False),
        (40, True),
    ]
    (night,) = found.stages
    assert (night.stage, night.begins_at, night.ends_at) == (
        "light", datetime(2026, 11, 17, 23, 30), datetime(2026, 11, 18, 6, 30),
    )  # fmt: skip


def test_of_who_was_revoked_no_record_is_read(site: httpx.Client, explored: Settings) -> None:
    assert read_day(open_platform(explored), "P0003", WEDNESDAY).state == "not_enrolled"
    page = site.get(f"/day?participant=P0003&date={WEDNESDAY}")
    assert page.status_code == 200
    assert "No account of this participant may be used" in words(page)
    assert "7,777" not in page.text


def test_a_day_without_records_says_so(site: httpx.Client) -> None:
    assert "The records zone has nothing of this participant and date" in words(
        site.get("/day?participant=P0001&date=2026-10-01")
    )


def test_a_records_zone_that_cannot_be_read_leaves_the_numbers_of_the_day(tmp_path: Path) -> None:
    settings = explored_home(tmp_path / "home")
    for part in (settings.lake_dir / "records" / f"date={WEDNESDAY}").glob("*.parquet"):
        part.write_bytes(b"\0" * part.stat().st_size)
    with explorer(settings) as url:
        page = httpx.get(f"{url}/day?participant=P0001&date={WEDNESDAY}", timeout=60)
    assert page.status_code == 200
    assert "5,500" in page.text
    assert "The records cannot be read" in words(page)


def test_the_lines_of_sql_python_and_r_give_the_rows_of_the_view(site: httpx.Client, explored: Settings) -> None:
    page = site.get("/?m=steps_mean&p=P0001")
    sql, python, r = (unescape(one) for one in re.findall(r"<h3>\w+</h3><pre>(.*?)</pre>", page.text, re.DOTALL))
    shown = [(row[0], row[1]) for row in cells(page, "rows")]
    assert [row[:2] for row in open_platform(explored).catalogue().query(sql).rows] == shown
    found: dict[str, object] = {"duckdb": duckdb}
    exec(python, found)  # the line as it is shown
    assert [tuple(row.values())[:2] for row in found["rows"].to_pylist()] == shown  # type: ignore[attr-defined]
    inner = re.compile(r'"(SELECT .*)"\)', re.DOTALL)
    assert inner.search(python)[1] == inner.search(r)[1]  # type: ignore[index]


def test_a_download_of_weeks_is_the_view_with_every_digit(site: httpx.Client, explored: Settings) -> None:
    rows, codebook, readme = unpacked(site.get("/download?view=weeks&m=hr_mean&m=steps_mean&p=P0001"))
    asked = open_platform(explored).catalogue().query(
        "SELECT hr_mean, steps_mean FROM db_qol.weekly_metrics WHERE participant_id = 'P0001' ORDER BY date DESC"
    )  # fmt: skip
    assert [(float(row["hr_mean"]), float(row["steps_mean"])) for row in rows] == asked.rows
    assert [one["name"] for one in codebook] == list(rows[0])
    assert next(one["term_ja"] for one in codebook if one["name"] == "steps_mean") == "平均歩数"
    assert "SELECT participant_id" in readme


@pytest.mark.parametrize(
    ("view", "n"),
    [
        ("statuses&p=P0001", 2),
        (f"week&participant=P0001&week={MONDAY}", 7),
        (f"day&participant=P0001&date={WEDNESDAY}", 1),
        (f"day&participant=P0001&date={FIRST_MONDAY - timedelta(days=1)}", 0),
        (f"samples&participant=P0001&date={WEDNESDAY}", 11 * 240 + 3 + 1),
    ],
)
def test_each_view_can_be_downloaded(site: httpx.Client, view: str, n: int) -> None:
    rows, codebook, _ = unpacked(site.get(f"/download?view={view}"))
    assert len(rows) == n
    assert all([one["name"] for one in codebook] == list(row) for row in rows)


def test_no_page_and_no_download_holds_an_id_of_garmin(site: httpx.Client) -> None:
    paths = [*PAGES, f"/day?participant=P0003&date={WEDNESDAY}"]
    paths += [
        f"/download?view={view}&participant=P0001&week={MONDAY}&date={WEDNESDAY}" for view in ("week", "day", "samples")
    ]
    for path in paths:
        answer = site.get(path)
        assert answer.status_code == 200
        content = answer.content
        if answer.headers["content-type"] == "application/zip":
            packed = zipfile.ZipFile(io.BytesIO(content))
            content = b"".join(map(packed.read, packed.namelist()))
        for user in (ADA, BEN, CEM):
            assert user.encode() not in content


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/?p=NOBODY", 404, "The tables have no participant “NOBODY”"),
        ("/completeness?p=P0001,NOBODY", 404, "The tables have no participant “NOBODY”"),
        (f"/week?participant=NOBODY&week={MONDAY}", 404, "The tables have no participant “NOBODY”"),
        (f"/day?participant=NOBODY&date={MONDAY}", 404, "The tables have no participant “NOBODY”"),
        ("/week?participant=P0001", 400, "“” is no date like 2026-11-16"),
        (f"/day?date={MONDAY}", 400, "cannot be a participant id"),
        ("/?since=yesterday", 400, "“yesterday” is no date like 2026-11-16"),
        ("/download?view=everything", 404, "There is no download called “everything”"),
        ("/etc/passwd", 404, "There is no such page"),
        ("/static/..%2fapp.py", 404, "There is no such page"),
    ],
)
def test_what_is_not_there_is_said_in_plain_words(site: httpx.Client, path: str, status: int, said: str) -> None:
    answer = site.get(path)
    assert answer.status_code == status
    assert said in words(answer)
    assert "表示できません" in site.get(f"{path}{'&' if '?' in path else '?'}lang=ja").text


HOSTILE = (
    "x' OR '1'='1",
    "'; DROP TABLE db_qol.weekly_metrics; --",
    "' UNION SELECT content FROM read_text('/etc/passwd') --",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "%s%n{value}",
    "\\'",
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["p", "m", "since", "order", "profile", "page", "lang", "participant", "week", "view"])
def test_hostile_parameters_are_refused_or_mean_nothing(site: httpx.Client, name: str, text: str) -> None:
    own = {"participant": f"/day?date={MONDAY}&", "week": "/week?participant=P0001&", "view": "/download?"}
    answer = site.get(f"{own.get(name, '/?')}{name}={quote(text)}")
    assert answer.status_code in (200, 400, 404)
    assert answer.status_code == 200 if name == "lang" else answer.status_code != 200
    for harm in ("<script>alert", "<img src=x", "root:", ">49<"):
        assert harm not in answer.text
    assert len(cells(site.get("/"), "rows")) == 3


def test_every_page_forbids_scripts_other_hosts_and_caches(site: httpx.Client) -> None:
    for path in (*PAGES, "/?p=NOBODY", "/nothing", "/static/explorer.css"):
        answer = site.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "<script" not in answer.text
        assert not re.search(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", answer.text)


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "169.254.169.254"])
def test_who_asks_under_another_name_than_this_machines_is_refused(site: httpx.Client, host: str) -> None:
    answer = site.get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert "P0001" not in answer.text


def test_another_sites_page_may_link_here_but_not_ask(site: httpx.Client) -> None:
    asked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert site.get("/", headers=asked).status_code == 403
    assert site.get("/", headers={**asked, "Sec-Fetch-Mode": "navigate"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(site: httpx.Client, method: str) -> None:
    assert site.request(method, "/").status_code == 405


def test_an_empty_lake_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "home" / "lake").mkdir(parents=True)
    with explorer(Settings(home=tmp_path / "home"), "ja") as url:
        for path in ("/", "/completeness"):
            page = httpx.get(f"{url}{path}", timeout=60)
            assert page.status_code == 200
            assert "qol materialize" in page.text


def test_tables_that_cannot_be_asked_are_reported_without_a_traceback(tmp_path: Path) -> None:
    home = tmp_path / "home"
    broken = home / "lake" / "processed" / "weekly" / f"date={MONDAY}"
    broken.mkdir(parents=True)
    (broken / "part-0.parquet").write_bytes(b"no parquet")
    with explorer(Settings(home=home)) as url:
        page = httpx.get(f"{url}/", timeout=60)
    assert page.status_code == 503
    assert "The tables could not be asked" in page.text
    assert "Traceback" not in page.text


@pytest.mark.slow
def test_the_command_prints_the_address_and_ends_on_ctrl_c(explored: Settings) -> None:
    environment = {"QOL_HOME": str(explored.home), "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""}
    with subprocess.Popen(
        [*QOL, "explore", "--port", "0", "--lang", "en"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    ) as program:  # fmt: skip
        assert program.stdout
        assert program.stderr
        url = program.stdout.readline().strip()
        try:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
            assert httpx.get(url, timeout=60).status_code == 200
            port = url.rsplit(":", 1)[1].strip("/")
            again = subprocess.run(
                [*QOL, "explore", "--port", port], capture_output=True, text=True, env=environment, check=False
            )
            assert (again.returncode, again.stdout) == (1, "")
            assert f"port {port} is taken" in again.stderr
        finally:
            program.send_signal(signal.SIGINT)
        rest = program.stderr.read()
        assert program.wait(timeout=30) == 0
    assert "health data" in rest
    assert "P0001" not in rest


def test_the_day_after_the_last_is_a_day_like_others(site: httpx.Client) -> None:
    after = date.fromisoformat("2026-11-23")
    page = site.get(f"/day?participant=P0001&date={after}")
    assert page.status_code == 200
    assert "no data" in words(page)
