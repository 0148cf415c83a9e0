"""Backups: what is in them, that they are whole whatever happens meanwhile, and that a restored home is the same."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from qol_dagster.cli.app import run
from qol_dagster.defs.backups import backup_sensor, overdue_weeks
from qol_dagster.defs.code_location import build_defs
from qol_dagster.erasure.home import Home as ErasedHome
from qol_dagster.maintenance import restore, stores
from qol_dagster.maintenance.backup import (
    Backup,
    create_backup,
    expired_backups,
    find_backup,
    verify_backup,
)
from qol_dagster.maintenance.contents import LEFT_OUT, BackupError, Home
from qol_dagster.maintenance.places import open_store
from qol_dagster.maintenance.restore import NotEmptyError
from qol_dagster.maintenance.stores import FolderStore
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.resources.platform import Resources, open_platform
from qol_dagster.settings import Settings
from qol_dagster_tests.support.contracts import backup as contract
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.explored import FIRST_MONDAY, explored_home
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.outbox import Outbox

globals().update(contract_tests(contract))

restore_backup = functools.partial(restore.restore_backup, replay=lambda _home: 0)
"""Of homes without a ledger."""
SECRETS = {"tokens.key": b"kkkk-key-of-tokens", "tokens.sqlite": b"tttt-tokens", "webhook_secret": b"wwww-secret"}
QUERIES = (
    "SELECT * FROM db_qol.weekly_metrics ORDER BY date, participant_id",
    "SELECT * FROM db_qol.daily_metrics ORDER BY date, participant_id",
    "SELECT * FROM db_qol.participant_status ORDER BY date, participant_id",
    "SELECT * FROM db_qol.weekly_metrics_revisions ORDER BY date",
)


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with two computed weeks, secrets, a queue, and what a run and a writer leave half done."""
    settings = explored_home(tmp_path_factory.mktemp("computed") / "home")
    for name, content in SECRETS.items():
        (settings.home / name).write_bytes(content)
    for name in ("arrivals/ping", "lake/raw/surveys/date=2026-10-30/form.jsonl", "lake/freezes/.half.tmp", "tmp/work"):
        (settings.home / name).parent.mkdir(parents=True, exist_ok=True)
        (settings.home / name).write_bytes(b"{}")
    return settings


@pytest.fixture
def home(computed: Settings, tmp_path: Path) -> Path:
    shutil.copytree(computed.home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@dataclass
class Machine:
    """See `Place`."""

    source: Home
    store: FolderStore

    def put(self, name: str, content: bytes) -> None:
        file = self.source.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def remove(self, name: str) -> None:
        (self.source.folder / name).unlink()

    def erasing(self) -> AbstractContextManager[None]:
        return ErasedHome(Settings(home=self.source.folder), lambda _settings: None).alone()

    def put_archive(self, name: str, content: bytes | None) -> None:
        if content is None:
            (self.store.folder / name).unlink()
        else:
            (self.store.folder / name).write_bytes(content)


@pytest.fixture
def place(tmp_path: Path, folder: Path) -> Machine:
    machine = Machine(Home(tmp_path / "small"), FolderStore(folder))
    for name, content in contract.CONTENT.items():
        machine.put(name, content)
    return machine


def names_in(folder: Path, backup: Backup) -> dict[str, str]:
    """The members of a backup, with the archive that each is in."""
    found: dict[str, str] = {}
    for one in backup.archives:
        with zipfile.ZipFile(folder / one.file) as archive:
            assert archive.testzip() is None
            found |= dict.fromkeys(set(archive.namelist()) - {"manifest.json"}, one.part)
    return found


def test_a_home_restored_elsewhere_answers_the_same_and_computes_nothing_anew(
    computed: Settings, folder: Path, tmp_path: Path
) -> None:
    made = create_backup(Home(computed.home), FolderStore(folder))
    restore_backup(FolderStore(folder), made.backup, tmp_path / "other" / "place")
    there = open_platform(Settings(home=tmp_path / "other" / "place"))
    here = open_platform(computed)
    for sql in QUERIES:
        found = here.catalogue().query(sql).rows
        assert found
        assert there.catalogue().query(sql).rows == found
    assert there.id_map().list() == here.id_map().list()
    with there.engine("duckdb") as engine:
        weeks = [FIRST_MONDAY, MONDAY]
        report = run_etl(engine, there.lake(), weeks, there.id_map().identities(), since=FIRST_MONDAY)
    assert [day.date for day in report.daily.days if not day.reused] == []


def test_everything_of_a_home_is_in_a_backup_but_what_is_named_and_no_secret_is(home: Path, folder: Path) -> None:
    (home / "unheard-of").touch()
    made = create_backup(Home(home), FolderStore(folder))
    assert made.unknown == ("unheard-of",)
    kept = names_in(folder, made.backup)
    every = [file.relative_to(home).as_posix() for file in home.rglob("*") if file.is_file()]
    left = {name for name in every if not name.startswith("tmp/")} - set(kept)
    assert {name for name in left if not name.rpartition("/")[2].startswith(".")} == {
        *SECRETS,
        "unheard-of",
    }
    assert all(name in LEFT_OUT for name in SECRETS)
    assert {kept["arrivals/ping"], kept["user_id_map.sqlite"]} == {"state"}
    assert kept["lake/raw/surveys/date=2026-10-30/form.jsonl"] == "2026-10"
    for one in made.backup.archives:
        with zipfile.ZipFile(folder / one.file) as archive:
            content = b"".join(map(archive.read, archive.namelist()))
        assert not any(secret in content for secret in SECRETS.values())
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir() if path.name != ".lock"} == {0}


def test_a_disk_that_cannot_be_written_is_verified_and_restored_from(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = create_backup(Home(home), FolderStore(folder))

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(stores.files, "replace", refuse)
    assert verify_backup(FolderStore(folder), made.backup) == []
    assert restore_backup(FolderStore(folder), made.backup, home.with_name("new")) > 0


def test_a_home_that_holds_something_is_not_restored_to(home: Path, folder: Path) -> None:
    made = create_backup(Home(home), FolderStore(folder))
    with pytest.raises(NotEmptyError):
        restore_backup(FolderStore(folder), made.backup, home)


def test_a_database_is_copied_as_it_is_after_its_last_transaction(home: Path, folder: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home / "enrolment.sqlite", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE one (value)")
        writer.execute("INSERT INTO one VALUES ('committed')")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO one VALUES ('not committed')")
        made = create_backup(Home(home), FolderStore(folder))
    restore_backup(FolderStore(folder), made.backup, tmp_path / "new")
    with closing(sqlite3.connect(tmp_path / "new/enrolment.sqlite")) as restored:
        assert restored.execute("SELECT value FROM one").fetchall() == [("committed",)]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from qol_dagster.maintenance.backup import create_backup, list_backups, verify_backup
    from qol_dagster.maintenance.contents import Home
    from qol_dagster.maintenance.restore import restore_backup
    from qol_dagster.maintenance.stores import FolderStore

    what, home, folder, new = sys.argv[1], *map(Path, sys.argv[2:])
    store = FolderStore(folder)
    place = str(folder if what == "create" else new.parent / f".{new.name}.restoring")
    writes = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.utime", "shutil.rmtree"}

    def act(killed_at):
        seen = 0
        def hook(event, arguments):
            nonlocal seen
            if event in writes and any(str(one).startswith(place) for one in arguments if isinstance(one, (str, Path))):
                seen += 1
                if seen == killed_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        if what == "create":
            create_backup(Home(home), store)
        else:
            restore_backup(store, list_backups(store)[-1], new, replay=lambda _home: 0)
        os._exit(0)

    before, killed_at = list_backups(store), 0
    while True:
        killed_at += 1
        if (child := os.fork()) == 0:
            act(killed_at)
        if os.waitpid(child, 0)[1] == 0:
            break
        if what == "create":
            assert [one.name for one in list_backups(store)][:1] == [before[0].name]
            assert [verify_backup(store, one) for one in list_backups(store)] == [[]] * len(list_backups(store))
        else:
            assert not new.exists() or (new / "user_id_map.sqlite").exists()
            if new.exists():
                break
    print(killed_at)
"""


def kill_everywhere(what: str, home: Path, folder: Path, new: Path) -> int:
    """Kill a backup or a restore at each of its writes in turn, until it comes to its end; return at how many."""
    code = textwrap.dedent(KILLED)
    command = [sys.executable, "-W", "error", "-c", code, what, str(home), str(folder), str(new)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)


@pytest.fixture
def little_home(tmp_path: Path) -> Path:
    """A home with one file of a month and an id map."""
    file = tmp_path / "little" / "lake/raw/daily/date=2026-11-16/a.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"{}\n")
    with closing(sqlite3.connect(tmp_path / "little/user_id_map.sqlite")) as database:
        database.execute("CREATE TABLE one (value)")
    return tmp_path / "little"


def test_killed_at_any_write_a_backup_leaves_those_before_it_whole_and_the_next_one_heals(
    little_home: Path, folder: Path, tmp_path: Path
) -> None:
    create_backup(Home(little_home), FolderStore(folder))
    (little_home / "lake/raw/daily/date=2026-11-16/b.jsonl").write_bytes(b"{}\n")
    assert kill_everywhere("create", little_home, folder, tmp_path / "new") > 10
    create_backup(Home(little_home), FolderStore(folder))
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".lock"]
    assert verify_backup(FolderStore(folder), find_backup(FolderStore(folder))) == []


def test_killed_at_any_write_a_restore_leaves_no_home_or_a_whole_one(
    little_home: Path, folder: Path, tmp_path: Path
) -> None:
    made = create_backup(Home(little_home), FolderStore(folder))
    assert kill_everywhere("restore", little_home, folder, tmp_path / "new") > 5
    shutil.rmtree(tmp_path / "new")
    assert restore_backup(FolderStore(folder), made.backup, tmp_path / "new") == 2
    assert not list(tmp_path.glob(".new*"))


def test_a_disk_that_is_full_half_way_is_said_and_leaves_nothing_half(
    home: Path, folder: Path, full_disk: Callable[..., None]
) -> None:
    create_backup(Home(home), FolderStore(folder))
    before = {path.name for path in folder.iterdir()}
    (home / "lake/raw/daily/date=2026-11-16/large.jsonl").write_bytes(os.urandom(200_000))
    full_disk(100_000)
    with pytest.raises(
        BackupError, match=r"2026-11\.\w+\.zip could not be written: .*; the backups before it are whole"
    ):
        create_backup(Home(home), FolderStore(folder))
    full_disk()
    assert {path.name for path in folder.iterdir()} == before
    made = create_backup(Home(home), FolderStore(folder))
    full_disk(100_000)
    with pytest.raises(BackupError, match="could not be written: .*; nothing was restored"):
        restore_backup(FolderStore(folder), made.backup, home.with_name("new"))
    assert not list(home.parent.glob("*new*"))


def test_a_ledger_without_its_key_or_of_another_installation_is_not_replayed(
    little_home: Path, folder: Path, tmp_path: Path
) -> None:
    (little_home / "erasures.jsonl").write_bytes(b'{"one": 1}\n')
    (little_home / "erasures.key").write_bytes(b"key")
    (newer := tmp_path / "newer").mkdir()
    (newer / "erasures.jsonl").write_bytes(b'{"two": 2}\n')
    made, new = create_backup(Home(little_home), FolderStore(folder)), tmp_path / "new"
    for key, problem in ((None, "erasures.key cannot be read: "), (b"another", "has another key than the backup's")):
        if key:
            (newer / "erasures.key").write_bytes(key)
        with pytest.raises(BackupError, match=problem):
            restore_backup(FolderStore(folder), made.backup, new, ledger=newer / "erasures.jsonl")
        assert not new.exists()


def test_the_commands_create_list_verify_and_restore(
    home: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QOL_HOME", str(home))
    assert run(["backup", "create"]) == 1
    assert "Set QOL_BACKUP_DIR" in capsys.readouterr().err
    monkeypatch.setenv("QOL_BACKUP_DIR", str(folder))
    assert run(["backup", "create"]) == 0
    said = capsys.readouterr()
    name = said.out.strip()
    assert said.err.startswith("archives written: 3, ")
    assert run(["backup", "verify", name]) == 0
    files = sum(one.members for one in find_backup(FolderStore(folder), name).archives)
    assert capsys.readouterr().out == f"{name} is as it was written; archives: 3, files: {files}\n"
    assert run(["backup", "list", "--format", "csv"]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading == "name,created_at,mb,first_month,last_month,verified_at"
    assert line.startswith(f"{name},{datetime.now(UTC):%Y-%m-%d}T")
    assert line.split(",")[3:5] == ["2026-10", "2026-11"]
    archive = folder / find_backup(FolderStore(folder)).archives[1].file
    content = archive.read_bytes()
    archive.unlink()
    assert run(["backup", "verify"]) == 1
    said = capsys.readouterr()
    assert said.out == f"{archive}: is missing\n"
    assert said.err.startswith(f"qol: backup {name} is damaged; places: 1. Create a backup")
    archive.write_bytes(content)
    assert run(["backup", "restore", str(folder)]) == 1
    assert "Give --home" in capsys.readouterr().err
    assert run(["backup", "restore", str(folder), "--home", str(home.with_name("new"))]) == 0
    assert capsys.readouterr().out == f"{name} is in {home.with_name('new')}; files: {files}\n"
    assert run(["backup", "restore", "none", "--home", str(home.with_name("newer"))]) == 1
    assert f"there is no backup none in {folder}" in capsys.readouterr().err


def test_a_folder_in_the_home_is_no_place_for_backups(home: Path) -> None:
    with pytest.raises(BackupError, match="would be lost with it"):
        open_store(Settings(home=home, backup_dir=home / "backups"))


def test_the_newest_backups_stay_and_the_last_of_each_month_for_a_year() -> None:
    days = [date(2025, 10, 31), date(2025, 11, 30), date(2026, 9, 29), date(2026, 9, 30), date(2026, 11, 1)]
    days += [date(2026, 11, 26) + timedelta(days=number) for number in range(4)]
    backups = [Backup(str(day), datetime(day.year, day.month, day.day, tzinfo=UTC), {}, ()) for day in days]
    gone = [one.name for one in expired_backups(backups, 2, date(2026, 11, 29))]
    assert gone == ["2025-10-31", "2026-09-29", "2026-11-01", "2026-11-26", "2026-11-27"]
    verified = [
        Backup(one.name, one.created_at, {}, (), one.created_at) if one.name in ("2025-10-31", "2026-09-29") else one
        for one in backups
    ]
    assert "2026-09-29" not in [one.name for one in expired_backups(verified, 2, date(2026, 11, 29))]


def test_the_job_makes_a_verified_backup_and_says_what_it_wrote(home: Path, folder: Path) -> None:
    defs = build_defs(Settings(home=home, backup_dir=folder))
    schedule = defs.resolve_schedule_def("backup_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 3 * * *", "Asia/Tokyo")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    result = defs.resolve_job_def("backup_job").execute_in_process()
    (event,) = [one for one in result.all_events if one.event_type_value == "STEP_OUTPUT"]
    metadata = {name: one.value for name, one in event.step_output_data.metadata.items()}
    made = find_backup(FolderStore(folder))
    assert made.verified_at
    assert metadata["backup"] == made.name
    assert (metadata["archives_written"], metadata["archives_unchanged"], metadata["verified"]) == (3, 0, True)
    without = build_defs(Settings(home=home))
    assert without.resolve_schedule_def("backup_schedule").default_status is dg.DefaultScheduleStatus.STOPPED
    failed = without.resolve_job_def("backup_job").execute_in_process(raise_on_error=False)
    (failure,) = [one for one in failed.all_events if one.is_step_failure]
    assert "Set QOL_BACKUP_DIR" in failure.step_failure_data.error.message


def test_an_old_backup_is_alerted_about_once_a_week_until_there_is_a_new_one(home: Path, folder: Path) -> None:
    outbox = Outbox()
    settings = Settings(home=home, backup_dir=folder)
    sensor = backup_sensor(Resources.of(open_platform(settings), {"notifier": outbox}))
    cursor: str | None = None

    def tick() -> int:
        nonlocal cursor
        context = dg.build_sensor_context(cursor=cursor)
        sensor(context)
        cursor = context.cursor
        return len(outbox.sent)

    def make_older(days: int) -> None:
        (manifest,) = folder.glob("backup-*.json")
        noted = json.loads(manifest.read_bytes())
        created = datetime.now(UTC) - timedelta(days=days)
        manifest.write_text(json.dumps({**noted, "created_at": created.isoformat()}))

    assert [tick(), tick()] == [0, 0]
    create_backup(Home(home), FolderStore(folder))
    assert tick() == 0
    make_older(8)
    outbox.works = False
    assert tick() == 0
    outbox.works = True
    assert [tick(), tick()] == [1, 1]
    make_older(15)
    assert [tick(), tick()] == [2, 2]
    create_backup(Home(home), FolderStore(folder))
    assert tick() == 2
    subject, body = outbox.sent[-1]
    assert subject == "[qol] no backup for 14 days"
    assert "qol backup create" in body
    assert "バックアップ" in body


def test_without_any_backup_a_week_passes_before_the_alert() -> None:
    since = datetime(2026, 11, 1, tzinfo=UTC)
    assert [overdue_weeks(None, since, since + timedelta(days=days)) for days in (0, 6, 7, 20)] == [0, 0, 1, 2]


def test_the_doctor_shows_the_newest_verified_backup(
    home: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QOL_HOME", str(home))

    def shown() -> str:
        run(["doctor"])
        return next(line for line in capsys.readouterr().out.splitlines() if "backup:" in line)

    assert shown().startswith("note  backup: none is made")
    monkeypatch.setenv("QOL_BACKUP_DIR", str(folder))
    assert shown().startswith(f"note  backup: no verified one is in {folder}")
    create_backup(Home(home), FolderStore(folder))
    assert shown().startswith("ok    backup: the newest verified one is of ")
