"""The id map as one SQLite file, and as the weekly job sees it. What every form of it does is told in `aws/`, too."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from qol_dagster.resources.id_map import IdMap, IdMapError, read_csv, tells_user
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import identities as contract
from qol_dagster_tests.support.contracts.identities import OTHER, USER

globals().update(contract_tests(contract))


@pytest.fixture
def people(tmp_path: Path) -> IdMap:
    return IdMap(tmp_path / "map.sqlite")


def test_a_missing_file_is_an_empty_map_and_looking_makes_none(people: IdMap) -> None:
    assert people.list() == []
    assert people.identities().active == {}
    assert not people.path.exists()


def test_the_file_is_for_its_owner_alone(people: IdMap) -> None:
    people.add(USER)
    assert people.path.stat().st_mode & 0o077 == 0


def test_ten_thousand_users_are_enrolled_in_one_go(people: IdMap) -> None:
    assert people.enrol(f"user-{number}" for number in range(10_000)) == 10_000
    assert people.add("one more") == "P10001"


def test_an_import_is_all_or_nothing_and_names_the_entry_without_the_user(people: IdMap) -> None:
    rows = [(f"user-{number}", f"P{number}") for number in range(200)]
    with pytest.raises(IdMapError, match="entry 201: .*; nobody was enrolled") as error:
        people.import_rows([*rows, (OTHER, "no good")])
    assert OTHER not in str(error.value)
    assert people.list() == []


OLD_FILE = f"""
    CREATE TABLE user_id_map (
        garmin_user_id TEXT PRIMARY KEY, participant_id TEXT NOT NULL, status TEXT NOT NULL,
        created_at TEXT NOT NULL, updated_at TEXT NOT NULL
    );
    INSERT INTO user_id_map VALUES
        ('{USER}', 'P0001', 'active', '2026-03-01T00:00:00+00:00', '2026-03-01T00:00:00+00:00'),
        ('{OTHER}', 'P0002', 'revoked', '2026-03-01T00:00:00+00:00', '2026-04-01T00:00:00+00:00');
"""


@pytest.fixture
def old(people: IdMap) -> IdMap:
    """A file as the first release made it."""
    with closing(sqlite3.connect(people.path)) as database:
        database.executescript(OLD_FILE)
    return people


def test_a_file_of_the_first_release_is_read_as_it_is(old: IdMap) -> None:
    before = old.path.read_bytes()
    found = old.identities()
    assert (dict(found.active), found.revoked) == ({USER: "P0001"}, {OTHER})
    assert found.enrolled == {"P0001": date(2026, 3, 1), "P0002": date(2026, 3, 1)}
    assert [(one.enrolled_at[:10], one.permissions) for one in old.list()] == [("2026-03-01", None)] * 2
    assert old.path.read_bytes() == before


def test_a_file_of_the_first_release_keeps_working(old: IdMap) -> None:
    assert not old.deregister(OTHER, datetime(2026, 3, 20, tzinfo=UTC))  # older than what is known
    assert old.deregister(USER, datetime(2026, 3, 20, tzinfo=UTC))
    assert old.add(OTHER) == "P0002"
    assert old.add("third") == "P0003"
    assert [(one.participant_id, one.status) for one in old.list()] == [
        ("P0001", "deregistered"),
        ("P0002", "active"),
        ("P0003", "active"),
    ]
    assert [one.enrolled_at[:10] for one in old.list()][:2] == ["2026-03-01"] * 2
    assert [change.what for change in old.history("P0001")] == ["deregistered"]


def test_a_file_that_kept_the_time_of_permissions_otherwise_takes_no_older_change(people: IdMap) -> None:
    people.add(USER)
    with closing(sqlite3.connect(people.path)) as database:
        database.executescript("""
            ALTER TABLE user_id_map DROP COLUMN permissions_at;
            ALTER TABLE user_id_map ADD COLUMN permissions_order TEXT NOT NULL DEFAULT '';
            UPDATE user_id_map SET permissions = '["HEALTH_EXPORT"]',
                permissions_order = '2026-03-20T00:00:00.000+00:00 2026-03-20T00:00:01.000+00:00 998 HEALTH_EXPORT';
        """)
    assert [one.permissions for one in people.list()] == [("HEALTH_EXPORT",)]
    assert not people.narrow_permissions(USER, [], datetime(2026, 3, 20, tzinfo=UTC))
    assert people.narrow_permissions(USER, [], datetime(2026, 3, 21, tzinfo=UTC))


def test_a_map_that_another_process_holds_is_a_clear_error(people: IdMap, monkeypatch: pytest.MonkeyPatch) -> None:
    people.add(USER)
    monkeypatch.setattr("qol_ingest.shared.sqlite.PATIENCE_S", 0.01)
    with closing(sqlite3.connect(people.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for act in (people.list, lambda: people.add(OTHER)):
            with pytest.raises(IdMapError, match="database is locked"):
                act()


def test_a_file_that_is_no_database_is_a_clear_error(people: IdMap) -> None:
    people.path.write_text("this is not a database, but it is long enough to be taken for one" * 10)
    with pytest.raises(IdMapError, match="cannot be opened"):
        people.list()


def test_a_csv_file_is_read_with_a_bom_spaces_and_columns_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(f"\ufeffparticipant_id,garmin_user_id\nP1, {USER}\n\nP2,{OTHER}\n".encode())
    assert read_csv(file) == [(USER, "P1", None), (OTHER, "P2", None)]


def test_a_csv_file_may_say_when_somebody_was_enrolled(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(
        "garmin_user_id,participant_id,enrolled_at\n"
        "a,P1,2026-04-01\nb,P2,2026-03-31T15:00:00Z\nc,P3,2026-04-01T00:00+09:00\nd,P4,\n"
    )
    april = datetime(2026, 3, 31, 15, tzinfo=UTC)
    assert read_csv(file) == [("a", "P1", april), ("b", "P2", april), ("c", "P3", april), ("d", "P4", None)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no column garmin_user_id"),
        (b"garmin_user_id\na\n", "no column participant_id"),
        (b"garmin_user_id,participant_id\na,P1\nb,\n", "entry 2 lacks"),
        (b"garmin_user_id,participant_id\na\n", "entry 1 lacks"),
        (b"garmin_user_id,participant_id\n\x81\xff,P1\n", "neither UTF-8 nor Shift JIS"),
        (b"garmin_user_id,participant_id,name\na,P1,Hanako\n", "columns that are not read: name"),
        (b"garmin_user_id,participant_id,enroled_at\na,P1,2026-04-01\n", "columns that are not read: enroled_at"),
        (b"garmin_user_id,participant_id,participant_id\na,P1,P2\n", "a column twice"),
        (b"garmin_user_id,participant_id\na,P1,2026-04-01\n", "entry 1 has more values"),
        (b"garmin_user_id,participant_id,,enrolled_at\na,P1,,2026-04-01\n", "not read: one without a name"),
        (b"garmin_user_id,participant_id,,\na,P1,x,\n", "entry 1 has more values"),
        (b"garmin_user_id,participant_id,enrolled_at\n,,\na,P1,1.4.2026\n", "entry 1: enrolled_at .* the year first"),
        (b"garmin_user_id,participant_id,enrolled_at\na,P1,27/11/2026\n", "entry 1: enrolled_at is .* 2026/4/1"),
    ],
)
def test_a_csv_file_that_is_wrong_is_refused_with_the_place(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(content)
    with pytest.raises(IdMapError, match=problem):
        read_csv(file)


def test_a_text_tells_a_user_when_it_is_or_holds_the_id_but_not_by_chance() -> None:
    assert tells_user(USER.upper(), USER)
    assert tells_user(f"x{USER}y", USER)
    assert tells_user("7", "7")
    assert not tells_user("P0017", "7")
