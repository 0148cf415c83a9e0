"""Erasing a person: everything of theirs is gone, byte for byte, and everything of the others is as it was."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import sqlite3
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from qol_dagster.cli.app import run
from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.defs.assets import computed
from qol_dagster.defs.instance import dagster_instance
from qol_dagster.engines import Engine, open_engine
from qol_dagster.erasure import ErasureError, UnknownPersonError
from qol_dagster.erasure.erase import count_person, erase, replay_ledger
from qol_dagster.erasure.home import Home as ErasedHome
from qol_dagster.erasure.names import Person
from qol_dagster.erasure.places import Clearing
from qol_dagster.erasure.proof import NoProofError, verify_report
from qol_dagster.exports.folder import new_folder
from qol_dagster.lake.freeze import create_freeze, read_freeze, verify_freeze
from qol_dagster.lake.history import revisions_of, states_at
from qol_dagster.lake.lake import Lake
from qol_dagster.maintenance.backup import create_backup, list_backups, remove_backups, verify_backup
from qol_dagster.maintenance.contents import Home
from qol_dagster.maintenance.restore import restore_backup
from qol_dagster.maintenance.stores import FolderStore
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.report import files as report_files
from qol_dagster.report.facts import Facts
from qol_dagster.resources.connections import read_people
from qol_dagster.resources.garmin_cloud import Garmin
from qol_dagster.resources.id_map import IdMap
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import erasure as contract
from qol_dagster_tests.support.killed_commands import killed_command
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw
from qol_ingest.consent.enrolment import Invitations
from qol_ingest.consent.state import SqliteState
from qol_ingest.garmin.tokens import Tokens
from qol_ingest.garmin.tokens_file import FileTokenStore
from qol_ingest.pulling.pings import Ping
from qol_ingest.shared import files
from qol_ingest.shared.erasures import Ledger
from qol_ingest.shared.queues import DirectoryQueue
from qol_ingest.survey.links import SurveyLinks

# Of QOL-1: two accounts. QOL-11 begins with the same letters.
ADA_USER, ADA_USER_2 = "4aacafe82427c251df9c9592d0c06768", "0f9e8d7c-6b5a-4948-8372-615049382716"
BEN_USER, CY_USER, PENDING_USER = "b" * 30 + "01", "c" * 30 + "02", "d" * 30 + "03"
PEOPLE = {ADA_USER: "QOL-1", ADA_USER_2: "QOL-1", BEN_USER: "QOL-11", CY_USER: "X_-1"}
WEEK = [MONDAY + timedelta(days=number) for number in range(7)]
DAY = MONDAY.isoformat()


globals().update(contract_tests(contract))


@pytest.fixture
def emptied(settings: Settings) -> Settings:
    return settings


@pytest.fixture
def named(settings: Settings) -> Callable[[], dict[str, list[str]]]:
    return lambda: left_of_ada(settings.home)


def lines(user: str, day: date, **fields: Any) -> list[dict[str, Any]]:
    beats = record("dailies", user, day, steps=4000, timeOffsetHeartRateSamples=worn(0.1), **fields)
    return [beats, record("hrv", user, day, lastNightAvg=40)]


def fill(home: Path) -> Settings:
    """A home with a week of four accounts, computed once by Dagster and once more after late files."""
    settings = Settings(home=home)
    lake = settings.lake_dir
    lake.mkdir(parents=True)
    IdMap(settings.id_map_path).import_rows([(user, name, None) for user, name in PEOPLE.items()])
    for day in WEEK:
        write_raw(lake, day, [one for user in PEOPLE for one in lines(user, day)], "all")
        write_raw(lake, day, lines(CY_USER, day, activeKilocalories=1), "cy")
    assert materialize_weeks(settings, [MONDAY]).success
    create_freeze(Lake.local(lake), "paper-1")
    later = {"_received_at": f"{WEEK[2]}T00:00:00Z", "steps": 9000}
    write_raw(lake, MONDAY, [record("dailies", user, MONDAY, **later) for user in (ADA_USER, CY_USER)], "late")
    with open_engine("duckdb", memory_mb=512, temp_dir=settings.temp_dir) as engine:
        run_etl(engine, Lake.local(lake), [MONDAY], IdMap(settings.id_map_path).identities(), since=settings.start_date)
    fill_sides(settings)
    return settings


def fill_sides(settings: Settings) -> None:
    """Everything beside the daily lines and the tables."""
    home, lake = settings.home, Lake.local(settings.lake_dir)

    def put(key: str, content: bytes | str) -> None:
        lake.replace_object(key, content.encode() if isinstance(content, str) else content)

    both = [{"userId": ADA_USER}, {"userId": BEN_USER}]
    put(f"raw/lifecycle/date={DAY}/a.jsonl", "".join(json.dumps(one) + "\n" for one in both))
    ping = {"_summary_type": "activityFiles", "_received_at": f"{DAY}T00:00:00Z", "userId": ADA_USER}
    ping |= {"callbackURL": "https://garmin/1"}
    read = Ping.read(json.dumps(ping))
    assert read
    put(f"raw/pings/date={DAY}/a.jsonl", json.dumps(ping) + "\n")
    put(read.marker, json.dumps({"outcome": "stored", "file": f"raw/files/date={DAY}/x.fit"}))
    put(f"raw/files/date={DAY}/x.fit", b"track")
    put(f"raw/quarantine/date={DAY}/1.body", b'{"dailies":[{"userId":"%s"' % ADA_USER.encode())
    body = json.dumps({"dailies": both}).encode()
    put(f"raw/quarantine/date={DAY}/2.body", gzip.compress(body))
    rejects = [{"reason": "x", "_summary_type": "dailies", "value": one} for one in both]
    put(f"raw/quarantine/date={DAY}/3.rejects.jsonl", "".join(json.dumps(one) + "\n" for one in rejects))
    for name in ("QOL-1", "QOL-11"):
        put(
            f"raw/surveys/date={DAY}/{name}x.jsonl".replace(name, name[-2:]),
            json.dumps({"participant_id": name}) + "\n",
        )
        put(f"raw/backfills/participant={name}/account=1/dailies/1.json", "{}")
        put(f"reports/week={DAY}/participants/{name[-2:]}.html", f"<p>{name}</p>")
        DirectoryQueue(home / "dead_letters").send(json.dumps({"participant": name, "why": "gone"}))
        Invitations(SqliteState(home / "enrolment.sqlite")).invite(name)
        forms = SurveyLinks(SqliteState(home / "enrolment.sqlite"))
        forms.save(forms.find(forms.invite(name, 2)[0]), {1: 4}, page=1, pages=5)
        with new_folder(home / "exports" / name[-2:], force=False) as folder:
            (folder / "rows.csv").write_text(f"participant_id\n{name}\n")
            (folder / "export.json").write_text('{"made_by": "qol export"}')
    for name in ("QOL-1", "QOL-11"):
        (bag := home / "bags" / name[-2:]).mkdir(parents=True)
        (bag / "bagit.txt").write_text("BagIt-Version: 1.0\n")
        (bag / "rows.csv").write_text(f"participant_id\n{name}\n")
    tokens = FileTokenStore(home / "tokens.sqlite", home / "tokens.key")
    for user in (ADA_USER, BEN_USER):
        tokens.put(user, Tokens("access", "", 0.0, 0.0))
    (home / "tmp/duckdb-left").mkdir()
    (home / "tmp/duckdb-left/spill").write_text(ADA_USER)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patched:
        home = tmp_path_factory.mktemp("erasure") / "home"
        patched.setenv("QOL_HOME", str(home))
        patched.delenv("DAGSTER_HOME", raising=False)
        yield fill(home).home
        patched.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture
def whole_home(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(filled, tmp_path / "home")
    monkeypatch.setenv("QOL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    """The same without Dagster's databases, which take time."""
    shutil.copytree(filled, tmp_path / "home", ignore=shutil.ignore_patterns("dagster"))
    return tmp_path / "home"


# -- a search of its own, that knows nothing of how the data came to be where it is


def spellings(user: str) -> list[str]:
    plain = user.replace("-", "")
    dashed = "-".join([plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]])
    coded = [base64.b64encode(before + user.encode()).decode()[4:-4] for before in (b"", b"x", b"xy")]
    escaped = "".join(f"\\u{ord(one):04x}" for one in plain)
    return [plain, plain.upper(), dashed, dashed.upper(), *coded, escaped]


def texts_in(path: Path, content: bytes) -> Iterator[str]:
    yield str(path)
    yield content.decode("latin-1")
    yield content.decode("utf-16-le", "ignore")
    if content[:4] == b"PAR1":
        yield json.dumps(pq.read_table(BytesIO(content)).to_pylist(), default=str)
        yield str(pq.read_schema(BytesIO(content)).metadata)
    elif content[:2] == b"\x1f\x8b":
        yield from texts_in(path, gzip.decompress(content))
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from texts_in(Path(name), archive.read(name))
    elif content[:6] == b"SQLite":
        with closing(sqlite3.connect(path if path.exists() else ":memory:")) as database:
            if not path.exists():  # in a ZIP; bytes 18 and 19 say whether there is a log beside it
                database.deserialize(content[:18] + b"\x01\x01" + content[20:])
            yield "\n".join(database.iterdump())


def naming(home: Path, words: list[str], apart: str = "[A-Za-z0-9_-]") -> dict[str, list[str]]:
    """Files that hold one of the words, by the word; `apart` may not stand beside it."""
    found: dict[str, list[str]] = {}
    patterns = {word: re.compile(rf"(?<!{apart}){re.escape(word)}(?!{apart})") for word in words}
    for path in sorted(home.rglob("*")):
        for text in (
            one.replace(str(home), "") for one in texts_in(path, path.read_bytes() if path.is_file() else b"")
        ):
            for word, pattern in patterns.items():
                if word in text and pattern.search(text):
                    found.setdefault(word, []).append(path.name)
    return found


def left_of_ada(home: Path) -> dict[str, list[str]]:
    ids = [one for user in (ADA_USER, ADA_USER_2) for one in spellings(user)]
    return naming(home, ids, apart="(?!)") | naming(home, ["QOL-1"])


def rows_of_others(lake: Path) -> dict[str, list[Any]]:
    """Every row of every table and of its history that is not Ada's, by what it is of; values and types."""
    found: dict[str, list[Any]] = {}
    for path in sorted(lake.glob("processed*/*/*/*.parquet")):
        rows = pq.ParquetFile(path).read()
        found[str(path.relative_to(lake))] = [str(rows.schema.remove_metadata())] + [
            one for one in rows.to_pylist() if one["participant_id"] != "QOL-1"
        ]
    return found


def past_rows(lake: Lake, at: datetime) -> list[Any]:
    keys = [key for state in states_at(lake, "daily", at).values() for key in state.keys]
    tables = [pq.ParquetFile(BytesIO(lake.read_object(key))).read().to_pylist() for key in keys]
    return [row for rows in tables for row in rows if row["participant_id"] != "QOL-1"]


def other_lines(lake: Path) -> dict[str, list[bytes]]:
    ada = [user.encode() for user in (ADA_USER, ADA_USER_2)]
    found = {}
    for path in sorted(lake.glob("raw/daily/*/*.jsonl")):
        kept = [one for one in path.read_bytes().split(b"\n") if not any(user in one for user in ada)]
        found[str(path.relative_to(lake))] = kept if kept != [b""] else []
    return found


def computed_anew(home: Path, engine: Engine) -> list[date]:
    settings = Settings(home=home)
    people = IdMap(settings.id_map_path).identities()
    report = run_etl(engine, Lake.local(settings.lake_dir), [MONDAY], people, since=settings.start_date)
    return [one.date for one in report.daily.days if not one.reused]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine("duckdb", memory_mb=512, temp_dir=tmp_path_factory.mktemp("engine")) as opened:
        yield opened


@pytest.mark.slow
def test_no_byte_of_the_person_is_left_and_everything_of_the_others_is_as_it_was(
    whole_home: Path, engine: Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    home = whole_home
    settings, lake = Settings(home=home), Lake.local(home / "lake")
    assert computed_anew(home, engine) == []
    before, raw, now = rows_of_others(home / "lake"), other_lines(home / "lake"), datetime.now(UTC)
    frozen, past = read_freeze(lake, "paper-1"), past_rows(lake, now)
    first = datetime.fromisoformat(frozen.facts["created_at"])
    past_of_freeze = past_rows(lake, first)
    times = {path: path.stat().st_mtime_ns for path in home.glob("lake/raw/daily/*/all.jsonl")}
    assert {"QOL-1", ADA_USER} <= left_of_ada(home).keys()
    expected = count_person(settings, "QOL-1")
    assert rows_of_others(home / "lake") == before
    capfd.readouterr()

    assert run(["participants", "erase", "QOL-1", "--prove", "--format", "json"]) == 0
    said = capfd.readouterr()
    assert ADA_USER not in said.out + said.err
    assert left_of_ada(home) == {}

    assert rows_of_others(home / "lake") == before
    assert {path: found for path, found in other_lines(home / "lake").items() if found} == {
        path: found for path, found in raw.items() if found
    }
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert past_rows(lake, now) == past
    assert past_rows(lake, first) == past_of_freeze
    assert len(past_of_freeze) == 14
    thawed = read_freeze(lake, "paper-1")
    assert verify_freeze(lake, thawed) == []
    assert (thawed.erasures[0]["manifest_was"], len(thawed.erasures[0]["objects"])) == (frozen.sha256, 9)
    causes = [one.cause for one in revisions_of(lake, "daily") if one.date == MONDAY]
    assert causes == ["first", "late_files", "erasure"]
    assert naming(home, ["QOL-11"]).keys() == {"QOL-11"}
    assert naming(home, [BEN_USER]).keys() == {BEN_USER}
    everyone = IdMap(settings.id_map_path).list()
    assert {one.garmin_user_id: one.participant_id for one in everyone} == {BEN_USER: "QOL-11", CY_USER: "X_-1"}

    assert computed_anew(home, engine) == []
    assert rows_of_others(home / "lake") == before
    assert [one.cause for one in revisions_of(lake, "weekly")][-1] == "erasure"

    with dagster_instance(settings) as instance:
        (made,) = instance.get_runs()
        events = [one.dagster_event for one in instance.all_logs(made.run_id) if one.dagster_event]
        shown = [one.step_materialization_data.materialization for one in events if one.is_step_materialization]
        previews = [one.metadata["preview"].value for one in shown if "preview" in one.metadata]
    assert previews
    assert all("QOL-11" in one and "X_-1" in one for one in previews)

    (report,) = (home / "erasures").glob("*.json")
    counts = json.loads(report.read_text())["report"]["counts"]
    assert counts["raw lines"] == 4 * 7 + 1
    assert (counts["table rows"], counts["accounts"]) == (7 + 1 + 1 + 0, 2)
    assert {place: counts[place] for place in expected if place not in ("id map", "Dagster's texts")} == {
        place: number for place, number in expected.items() if place not in ("id map", "Dagster's texts")
    }
    for person in ("", "QOL-1", ADA_USER_2):
        assert verify_report(Ledger(home), report, person).is_complete
    with pytest.raises(NoProofError, match="about somebody else"):
        verify_report(Ledger(home), report, "QOL-12")
    report.write_text(report.read_text().replace('"raw lines": 29', '"raw lines": 30'))
    with pytest.raises(NoProofError, match="not as it was signed here"):
        verify_report(Ledger(home), report)
    assert Ledger(home).state_of_user(ADA_USER_2.replace("-", "").upper()) == "finished"


def test_erasing_again_finds_nothing_and_nobody_is_erased_by_a_part_of_an_id(home: Path) -> None:
    settings = Settings(home=home)
    with pytest.raises(UnknownPersonError):
        count_person(settings, "QOL-111")
    with pytest.raises(UnknownPersonError):
        erase(settings, "QOL")
    assert not Ledger(home).path.exists()
    assert erase(settings, "QOL-11").is_complete
    assert erase(settings, "QOL-11").counts == {}
    assert {one.participant_id for one in IdMap(settings.id_map_path).list()} == {"QOL-1", "X_-1"}


def test_a_garmin_user_who_was_never_enrolled_is_erased_by_garmins_id(home: Path) -> None:
    settings = Settings(home=home)
    IdMap(settings.id_map_path).seen([PENDING_USER], datetime.now(UTC))
    write_raw(settings.lake_dir, WEEK[3], lines(PENDING_USER, WEEK[3]), "pending")
    report = erase(settings, PENDING_USER)
    assert (report.is_complete, report.counts["raw lines"]) == (True, 2)
    assert naming(home, spellings(PENDING_USER), apart="(?!)") == {}


def test_while_the_registration_at_garmin_cannot_be_ended_both_ids_are_kept_to_try_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = IdMap(settings.id_map_path)
    people.add(ADA_USER, "QOL-1")
    with monkeypatch.context() as patched:
        patched.setattr(Garmin, "end_registration", lambda _cloud, _user: "Garmin does not answer")
        report = erase(settings, "QOL-1")
    assert report.left == {"Garmin": "the registration goes on: Garmin does not answer"}
    assert [one.status for one in people.list()] == ["erasing"]
    assert people.identities().active == {}
    assert people.identities().revoked == frozenset()
    assert read_people(open_platform(settings)).persons == ()
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "_write", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            erase(settings, "QOL-1")
    assert people.list() == []
    assert erase(settings, "QOL-1").is_complete
    assert [Ledger(settings.home).state_of_user(user) for user in (ADA_USER, BEN_USER)] == ["finished", None]


class KilledError(BaseException):
    """The process ended here."""


def killing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the process end at the n-th write or removal from now on."""
    left = [10**9]

    def count(inner: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] <= 0:
                raise KilledError
            return inner(*arguments, **options)

        return counted

    for place, name in ((files, "replace"), (Lake, "remove_objects"), (Path, "unlink"), (Ledger, "_write")):
        monkeypatch.setattr(place, name, count(getattr(place, name)))
    return lambda number: left.__setitem__(0, number)


def test_killed_at_any_moment_it_goes_on_and_the_others_lose_nothing(
    home: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, lake = Settings(home=home), Lake.local(home / "lake")
    before, now = rows_of_others(home / "lake"), datetime.now(UTC)
    past = past_rows(lake, now)
    kill_at = killing(monkeypatch)
    kills = 0
    for number in (1, 3, 25, 9, 14, 19, 24, 5, 8):
        kill_at(number)
        try:
            erase(settings, "QOL-1")
            break
        except KilledError:
            kills += 1
        assert rows_of_others(home / "lake") == before, number
        assert past_rows(lake, now) == past, number
        assert verify_freeze(lake, read_freeze(lake, "paper-1")) == [], number
    assert kills > 6
    kill_at(10**9)
    assert erase(settings, "QOL-1").is_complete
    assert left_of_ada(home) == {}
    assert (rows_of_others(home / "lake"), past_rows(lake, now)) == (before, past)
    assert [one.state for one in Ledger(home).entries()] == ["begun", "finished"]
    computed_anew(home, engine)
    assert {key: rows[:1] + [{**one, "computed_at": 0} for one in rows[1:]] for key, rows in before.items()} == {
        key: rows[:1] + [{**one, "computed_at": 0} for one in rows[1:]]
        for key, rows in rows_of_others(home / "lake").items()
    }


def test_what_arrives_meanwhile_goes_too_and_two_at_once_both_come_to_their_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, inner, late = Settings(home=home), Clearing.clear_databases, []

    def with_a_late_file(clearing: Clearing) -> None:
        inner(clearing)
        if not late:
            late.append(write_raw(home / "lake", WEEK[1], lines(ADA_USER, WEEK[1]), "meanwhile"))

    monkeypatch.setattr(Clearing, "clear_databases", with_a_late_file)
    done: list[bool] = []
    both = [
        threading.Thread(target=lambda name=name: done.append(erase(settings, name).is_complete))
        for name in ("QOL-1", "X_-1")
    ]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert done == [True, True]
    assert not late[0].exists()
    assert left_of_ada(home) == {}
    assert naming(home, ["X_-1", *spellings(CY_USER)], apart="(?!)") == {}


def test_a_run_that_knows_the_person_is_waited_for_and_its_rows_and_its_report_go_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract.fill(settings)
    computing, rendering, waiting = computed.materialize_daily, report_files.render_report, ErasedHome.wait
    waits, erasing, said = threading.Event(), [], []

    def to_wait(*arguments: Any) -> None:
        waits.set()
        waiting(*arguments)

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        erasing.append(pool.submit(erase, settings, "QOL-1", log=said.append))
        assert waits.wait(60)
        time.sleep(0.3)
        assert "clearing, round 1" not in said
        return computing(*arguments, **options)

    def before_it_is_written(facts: Facts) -> Any:
        wait(erasing, 2)  # the tables are read: an erasure that came to its end now would miss the report
        return rendering(facts)

    monkeypatch.setattr(ErasedHome, "wait", to_wait)
    monkeypatch.setattr(report_files, "render_report", before_it_is_written)
    monkeypatch.setattr(computed, "materialize_daily", meanwhile)
    with ThreadPoolExecutor(1) as pool:
        assert materialize_weeks(settings, [MONDAY]).success
        report = erasing[0].result()
    assert (report.is_complete, report.counts["table rows"]) == (True, 3)
    assert left_of_ada(settings.home) == {}


def test_after_a_restore_of_a_backup_of_before_the_ledger_erases_the_person_again(home: Path, filled: Path) -> None:
    settings = Settings(home=home)
    IdMap(settings.id_map_path).seen([PENDING_USER], datetime.now(UTC))
    write_raw(settings.lake_dir, MONDAY, lines(PENDING_USER, MONDAY), "pending")
    for name in ("QOL-1", PENDING_USER):
        assert erase(settings, name).is_complete
    shutil.copytree(filled, home, ignore=shutil.ignore_patterns("dagster"), dirs_exist_ok=True)
    write_raw(settings.lake_dir, MONDAY, lines(PENDING_USER, MONDAY), "pending")
    assert left_of_ada(home) != {}
    assert [one.is_complete for one in replay_ledger(settings)] == [True, True]
    assert left_of_ada(home) == naming(home, spellings(PENDING_USER), apart="(?!)") == {}
    assert replay_ledger(settings) == []


@pytest.mark.slow
def test_backups_of_before_are_made_anew_without_the_person_and_keep_everything_of_the_others(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    settings = Settings(home=home, backup_dir=folder)
    first = create_backup(Home(home), FolderStore(folder)).backup
    rows, raw = rows_of_others(home / "lake"), other_lines(home / "lake")
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert left_of_ada(folder) != {}

    assert erase(settings, "QOL-1").is_complete
    assert left_of_ada(folder) == {}
    (rewritten,) = list_backups(FolderStore(folder))
    assert (rewritten.name, rewritten.created_at) == (first.name, first.created_at)
    assert verify_backup(FolderStore(folder), rewritten) == []
    assert {path.name for path in folder.glob("*.zip")} == {one.file for one in rewritten.archives}
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.zip")}
    assert erase(settings, "QOL-1").is_complete
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.zip")} == before

    monkeypatch.setenv("QOL_HOME", str(tmp_path / "nowhere"))
    for place, name, more in (
        (folder, first.name, []),
        (tmp_path / "elsewhere", first.name, ["--ledger", str(home / "erasures.jsonl")]),
    ):
        new = tmp_path / f"restored-from-{place.name}"
        assert run(["backup", "restore", name, "--home", str(new), "--dir", str(place), *more]) == 0
        assert left_of_ada(new) == {}
        assert rows_of_others(new / "lake") == rows
        assert other_lines(new / "lake") == raw
        assert Ledger(new).state_of_user(ADA_USER) == "finished"


@pytest.mark.slow
def test_backups_that_are_made_anew_share_each_month_that_they_shared(
    home: Path, tmp_path: Path, engine: Engine
) -> None:
    settings, store = Settings(home=home, backup_dir=tmp_path / "backups"), FolderStore(tmp_path / "backups")
    first = create_backup(Home(home), store).backup
    (home / "alerts").mkdir()
    (home / "alerts/1").write_text("x")
    write_raw(home / "lake", MONDAY + timedelta(weeks=4), lines(BEN_USER, MONDAY), "ben")
    create_backup(Home(home), store)
    (home / "lake" / f"raw/daily/date={DAY}/cy.jsonl").write_bytes(b"{}\n")
    create_backup(Home(home), store)
    assert erase(settings, "QOL-1").is_complete
    assert left_of_ada(store.folder) == {}
    months = [[archive.file for archive in one.archives[1:]] for one in list_backups(store)]
    assert [len(one) for one in months] == [1, 2, 2]
    assert months[0] == months[1][:1] != months[2][:1]
    assert months[1][1] == months[2][1]
    assert first.archives[1].file not in store.names()
    assert [verify_backup(store, one) for one in list_backups(store)] == [[]] * 3
    restore_backup(store, list_backups(store)[0], tmp_path / "new", replay=lambda _home: 0)
    assert computed_anew(tmp_path / "new", engine) == []


@pytest.mark.slow
def test_killed_while_backups_are_made_anew_each_is_the_old_or_the_new_one_and_nothing_else_is_left(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, folder = contract.fill(settings), tmp_path / "backups"
    monkeypatch.setenv("QOL_BACKUP_DIR", str(folder))
    first = create_backup(Home(settings.home), store := FolderStore(folder)).backup
    lake.replace_object(contract.OF_BEN, contract.lines(BEN_USER, steps=2))
    create_backup(Home(settings.home), store)
    with killed_command("participants", "erase", "QOL-1", "--yes") as kill_after:
        for step in (
            ("qol_dagster.erasure.backups.restore_backup", 1),  # a backup is unpacked
            ("qol_dagster.maintenance.stores.FolderStore.put", 1),  # one of its archives is there anew
            ("qol_dagster.erasure.backups.rewrite_backup", 1),  # it is made anew, and the other one is not
            ("qol_dagster.maintenance.stores.FolderStore.replace", 3),  # that names its new archives
        ):
            assert kill_after(*step) == -9, step
            assert [verify_backup(store, one) for one in list_backups(store)] == [[], []], step
    assert erase(replace(settings, backup_dir=folder), "QOL-1").is_complete
    assert left_of_ada(folder) == {}
    assert list_backups(store)[0].name == first.name
    assert [path.name for path in folder.glob(".*")] == [".lock"]
    restored = [tmp_path / one.name for one in list_backups(store)]
    for one, home in zip(list_backups(store), restored, strict=True):
        restore_backup(store, one, home, replay=lambda _home: 0)
    steps = [(home / "lake" / contract.OF_BEN).read_bytes() for home in restored]
    assert steps == [contract.lines(BEN_USER), contract.lines(BEN_USER, steps=2)]


def test_a_backup_in_which_somebody_elses_record_names_the_person_keeps_an_erasure_open(
    settings: Settings, tmp_path: Path
) -> None:
    lake, store = contract.fill(settings), FolderStore(tmp_path / "backups")
    settings = replace(settings, backup_dir=store.folder)
    lake.replace_object(contract.OF_BEN, contract.lines(BEN_USER, partner=ADA_USER))
    made = create_backup(Home(settings.home), store).backup
    assert [*erase(settings, "QOL-1").left] == [f"backup {made.name}", f"lake/{contract.OF_BEN}"]
    lake.replace_object(contract.OF_BEN, contract.lines(BEN_USER))
    assert [*erase(settings, "QOL-1").left] == [f"backup {made.name}"]
    remove_backups(store, list_backups(store))
    assert erase(settings, "QOL-1").is_complete


def test_backups_that_are_out_of_reach_keep_an_erasure_open(home: Path, tmp_path: Path) -> None:
    report = erase(Settings(home=home, backup_dir=tmp_path / "not-mounted"), "QOL-1")
    assert (report.is_complete, list(report.left)) == (False, ["QOL_BACKUP_DIR"])
    assert Ledger(home).unfinished() == 1
    assert erase(Settings(home=home), "QOL-1").is_complete


@pytest.mark.slow
def test_a_disk_that_is_full_half_way_is_said_in_a_sentence_and_it_goes_on_later(
    home: Path, tmp_path: Path, full_disk: Callable[..., None]
) -> None:
    settings, lake, store = Settings(home=home), Lake.local(home / "lake"), FolderStore(tmp_path / "backups")
    made, before = create_backup(Home(home), store).backup, rows_of_others(home / "lake")
    for size, problem in (
        (4_000, "the id map .* disk I/O error"),
        (30_000, r"lake/history/weekly/.*\.parquet could not be written"),
        (40_000, r"lake/freezes/paper-1\.json could not be written"),
    ):
        full_disk(size)
        with pytest.raises(ErasureError, match=f"{problem}.* give the same command again: it goes on"):
            erase(settings, "QOL-1")
        full_disk()
        assert rows_of_others(home / "lake") == before, size
        assert verify_freeze(lake, read_freeze(lake, "paper-1")) == [], size
    assert Ledger(home).unfinished() == 1
    full_disk(150_000)
    report = erase(replace(settings, backup_dir=store.folder), "QOL-1")
    full_disk()
    assert [*report.left] == [f"backup {made.name}"]
    assert verify_backup(store, made) == []
    assert erase(replace(settings, backup_dir=store.folder), "QOL-1").is_complete
    assert left_of_ada(home) == left_of_ada(store.folder) == {}
    assert rows_of_others(home / "lake") == before


@pytest.mark.parametrize(
    ("content", "is_named"),
    [
        (ADA_USER.upper().encode(), True),
        (b"4aacafe8-2427-c251-df9c-9592d0c06768", True),
        (base64.b64encode(b"user=" + ADA_USER.encode() + b"&x"), True),
        (b"\\u0034aacafe82427c251df9c9592d0c06768", True),
        (ADA_USER.encode("utf-16-le"), True),
        (ADA_USER[:-1].encode(), False),
        (b"a QOL-1, b", True),
        (b"QOL-11 QOL-1x xQOL-1 QOL-1-2", False),
    ],
)
def test_an_id_is_found_in_every_spelling_and_not_as_a_part_of_another(content: bytes, is_named: bool) -> None:
    assert Person((ADA_USER,), ("QOL-1",)).is_named_in(content) is is_named
