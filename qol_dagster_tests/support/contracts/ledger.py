"""What every ledger of erasures does, by the fixture `ledger`; `again` opens the same one as another process would."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from qol_dagster.resources.id_map import People
from qol_ingest.shared.erasures import AnyLedger
from qol_ingest.shared.id_map import IdMapError

USER, OTHER = "4aacafe82427c251df9c9592d0c06768", "ffeeddccbbaa99887766554433221100"
Again = Callable[[], AnyLedger]


def test_without_entries_nobody_is_refused_and_nothing_is_made(ledger: AnyLedger) -> None:
    with ledger.receiving() as hashes:
        assert hashes == frozenset()
    assert (ledger.entries(), ledger.state_of_user(USER), ledger.unfinished()) == ([], None, 0)


def test_another_process_refuses_whoever_withdrew_at_once_and_not_who_is_back(ledger: AnyLedger, again: Again) -> None:
    reader = again()
    with reader.receiving():
        pass
    ledger.append("withdrawn", [USER, OTHER], ["P1"])
    with reader.receiving() as hashes:
        assert {reader.hash_of(USER), reader.hash_of(OTHER.upper())} == hashes
    ledger.append("readmitted", [OTHER])
    with reader.receiving() as hashes:
        assert hashes == {reader.hash_of(USER)}
    assert (reader.state_of_user(OTHER), reader.state_of_participant("P1")) == ("readmitted", "withdrawn")
    assert USER not in json.dumps([vars(one) for one in reader.entries()])


def test_an_erasure_is_open_until_it_is_finished_with_the_ids_it_began_with(ledger: AnyLedger, again: Again) -> None:
    begun = ledger.append("begun", [USER], ["P1"])
    assert again().unfinished() == 1
    again().finish(begun)
    assert (ledger.unfinished(), ledger.state_of_user(USER)) == (0, "finished")
    assert [(one.state, one.erasure) for one in ledger.entries()] == [
        (one, begun.erasure) for one in ("begun", "finished")
    ]
    assert ledger.sign("text") == again().sign("text") != again().sign("other")


def test_of_many_who_append_at_a_time_no_entry_is_lost(ledger: AnyLedger, again: Again) -> None:
    ledger.append("withdrawn", [USER])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: again().append("withdrawn", [f"user-{number}"]), range(4)))
    assert len(ledger.entries()) == 5
    assert all(ledger.state_of_user(f"user-{number}") == "withdrawn" for number in range(4))


def test_whoever_withdrew_is_enrolled_again_and_who_was_erased_only_by_a_new_decision(
    ledger: AnyLedger, people: People
) -> None:
    people.add(USER, "P1")
    ledger.append("withdrawn", [USER], ["P1"])
    people.add(USER, "P1")
    assert ledger.state_of_user(USER) == "readmitted"
    begun = ledger.append("begun", [OTHER], ["P0002"])
    with pytest.raises(IdMapError, match="an erasure of this person is under way"):
        people.add(OTHER)
    ledger.finish(begun)
    with pytest.raises(IdMapError, match="--after-erasure"):
        people.import_rows([(OTHER, "P3", None)])
    people.add("third", "P0001")
    assert people.add("fourth") == "P0003"
    ledger.append("readmitted", [OTHER])
    assert people.add(OTHER, "P3") == "P3"
