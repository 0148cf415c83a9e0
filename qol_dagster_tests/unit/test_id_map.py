"""The id map: enrolling, revoking, and never mixing up people."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qol_dagster.resources.id_map import IdMap, IdMapError, read_csv, tells_user

USER, OTHER = "a1b2c3d4e5f60718293a4b5c6d7e8f90", "ffeeddccbbaa99887766554433221100"


@pytest.fixture
def people(tmp_path: Path) -> IdMap:
    return IdMap(tmp_path / "map.sqlite")


def test_users_get_the_next_free_id_and_enrolling_twice_changes_nothing(people: IdMap) -> None:
    assert [people.add(USER), people.add(OTHER), people.add(USER)] == ["P0001", "P0002", "P0001"]
    assert people.add("third", "P0041") == "P0041"
    assert people.add("fourth") == "P0042"


def test_a_missing_file_is_an_empty_map_and_looking_makes_none(people: IdMap) -> None:
    assert people.list() == []
    assert people.identities().active == {}
    assert not people.path.exists()


def test_the_file_is_for_its_owner_alone(people: IdMap) -> None:
    people.add(USER)
    assert people.path.stat().st_mode & 0o077 == 0


def test_a_user_cannot_become_another_participant(people: IdMap) -> None:
    people.add(USER, "P1")
    with pytest.raises(IdMapError, match="is enrolled as P1 already"):
        people.add(USER, "P2")
    assert people.identities().active == {USER: "P1"}


def test_two_accounts_may_belong_to_one_participant_and_are_revoked_together(people: IdMap) -> None:
    people.import_rows([(USER, "P1"), (OTHER, "P1"), ("third", "P2")])
    assert people.revoke("P1") == 2
    found = people.identities()
    assert (dict(found.active), found.revoked) == ({"third": "P2"}, {USER, OTHER})
    people.add(USER)
    assert people.identities().active == {"third": "P2", USER: "P1"}


def test_revoking_nobody_is_an_error(people: IdMap) -> None:
    with pytest.raises(IdMapError, match="there is no participant P9"):
        people.revoke("P9")


@pytest.mark.parametrize("wrong", ["", "a b", "../x", "日本", "x" * 65, f"id-{USER}", USER.upper()])
def test_a_participant_id_that_is_unsafe_or_tells_the_user_is_refused(people: IdMap, wrong: str) -> None:
    with pytest.raises(IdMapError):
        people.import_rows([(USER, wrong)])
    assert people.list() == []


def test_an_import_is_all_or_nothing_and_names_the_entry_without_the_user(people: IdMap) -> None:
    with pytest.raises(IdMapError, match="entry 2: .*; nobody was enrolled") as error:
        people.import_rows([(USER, "P1"), (OTHER, "no good")])
    assert OTHER not in str(error.value)
    assert people.list() == []


def test_enrolling_from_many_threads_at_once_gives_everybody_an_id_of_their_own(people: IdMap) -> None:
    users = [f"user-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(people.add, users))
    assert len(set(ids)) == 40
    assert people.identities().active == dict(zip(users, ids, strict=True))


def test_ten_thousand_users_are_enrolled_in_one_go(people: IdMap) -> None:
    assert people.enrol(f"user-{number}" for number in range(10_000)) == 10_000
    assert people.add("one more") == "P10001"


def test_a_file_that_is_no_database_is_a_clear_error(people: IdMap) -> None:
    people.path.write_text("this is not a database, but it is long enough to be taken for one" * 10)
    with pytest.raises(IdMapError, match="cannot be opened"):
        people.list()


def test_a_csv_file_is_read_with_a_bom_spaces_and_other_columns(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(f"\ufeffname,garmin_user_id, participant_id\nx,{USER}, P1\n\ny,{OTHER},P2\n".encode())
    assert read_csv(file) == [(USER, "P1"), (OTHER, "P2")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no column garmin_user_id"),
        (b"garmin_user_id;participant_id\na;b\n", "no column garmin_user_id"),
        (b"garmin_user_id\na\n", "no column participant_id"),
        (b"garmin_user_id,participant_id\na,P1\nb,\n", "entry 2 lacks"),
        (b"garmin_user_id,participant_id\na\n", "entry 1 lacks"),
        (b"garmin_user_id,participant_id\n\xff,P1\n", "not UTF-8"),
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
