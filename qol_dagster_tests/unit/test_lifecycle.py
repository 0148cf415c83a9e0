"""Deregistrations and permission changes, stored by SQLite."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.resources.id_map import IdMap
from qol_dagster_tests.support.contracts import contract_tests
from qol_dagster_tests.support.contracts import lifecycle as contract
from qol_dagster_tests.support.contracts.lifecycle import ALL, LATER, NO_HEALTH, OTHER, USER, allows, left, tell
from qol_ingest.shared import lifecycle

globals().update(contract_tests(contract))


@pytest.fixture
def people(tmp_path: Path) -> IdMap:
    people = IdMap(tmp_path / "map.sqlite")
    people.add(USER, "P7")
    return people


@pytest.mark.parametrize("seed", range(20))
def test_a_replay_ends_as_if_every_event_had_been_applied_one_by_one_and_a_second_one_changes_nothing(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    lines: list[dict[str, Any]] = []
    for _ in range(12):
        at = LATER + timedelta(minutes=chance.randrange(8))
        user = chance.choice([USER, USER, OTHER])
        lines.append(chance.choice([left(user, at), allows(chance.choice([ALL, NO_HEALTH, [], None]), at)]))
    replayed, one_by_one = IdMap(tmp_path / "replayed.sqlite"), IdMap(tmp_path / "one-by-one.sqlite")
    known = chance.choice([[], [left(USER, LATER), allows(ALL, LATER)]])
    for people in (replayed, one_by_one):
        people.add(USER, "P7", at=LATER - timedelta(days=1))
        tell(people, *known)
    applied = tell(one_by_one, *lines).count("applied")
    assert replayed.replay(map(json.dumps, lines)) == applied
    assert states(replayed) == states(one_by_one)
    monkeypatch.setattr(lifecycle, "apply", lambda *_: pytest.fail("an event is applied that is no news"))
    assert replayed.replay(map(json.dumps, lines)) == 0


def test_a_replay_takes_out_who_had_come_back_while_the_clock_was_a_year_ahead(people: IdMap) -> None:
    now = datetime.now(UTC)
    people.deregister(USER, now + timedelta(days=365))
    people.reinstate(USER, now + timedelta(days=365))
    assert people.replay([json.dumps(left(USER, now))]) == 1
    assert people.identities().revoked == {USER}


def states(people: IdMap) -> list[tuple[Any, ...]]:
    return [(one.participant_id, one.status, one.status_at, one.permissions, one.enrolled_at) for one in people.list()]
