"""What Garmin announced, applied by runs: each file is read once, and nothing is missed by that."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline.announced import ANNOUNCED, apply_announced
from qol_dagster.resources.id_map import Enrolment, IdMap
from qol_dagster_tests.support.contracts.lifecycle import ALL, LATER, NO_HEALTH, OTHER, USER, allows, left


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.local(tmp_path / "lake")


@pytest.fixture
def people(tmp_path: Path) -> IdMap:
    people = IdMap(tmp_path / "map.sqlite")
    people.add(USER, "P7", at=LATER - timedelta(days=1))
    return people


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    names: list[str] = []
    really = Lake.read_objects

    def noting(lake: Lake, keys: Iterable[str]) -> Any:
        found = list(keys)
        names.extend(key.rsplit("/", 1)[-1] for key in found)
        return really(lake, found)

    monkeypatch.setattr(Lake, "read_objects", noting)
    return names


def announce(lake: Lake, name: str, *lines: dict[str, Any], at: datetime = LATER) -> None:
    content = "".join(json.dumps(line) + "\n" for line in lines)
    lake.replace_object(f"raw/lifecycle/date={at:%Y-%m-%d}/{name}", content.encode())


def states(people: IdMap) -> list[Enrolment]:
    return [replace(one, updated_at="") for one in people.list()]


def test_what_a_run_has_read_and_changes_nothing_is_not_read_again(lake: Lake, people: IdMap, read: list[str]) -> None:
    announce(lake, "a.jsonl", allows(ALL, LATER))
    assert [apply_announced(lake, people) for _ in range(3)] == [1, 0, 0]
    assert read == ["a.jsonl", "a.jsonl"]  # again after the map had changed, and not a third time
    announce(lake, "b.jsonl", left(OTHER, LATER), at=LATER + timedelta(days=1))
    assert apply_announced(lake, people) == 0
    assert read[2:] == ["b.jsonl"]
    people.seen([USER], LATER + timedelta(days=2))  # a push
    for _ in range(3):
        assert apply_announced(lake, people) == 0
    assert read[3:] == []


def test_who_is_enrolled_after_their_event_was_read_is_found_to_have_left(
    lake: Lake, people: IdMap, read: list[str]
) -> None:
    announce(lake, "a.jsonl", left(OTHER, LATER))
    for _ in range(2):
        assert apply_announced(lake, people) == 0
    assert read == ["a.jsonl"]
    people.add(OTHER, "P8", at=LATER - timedelta(days=3))
    assert apply_announced(lake, people) == 1
    assert [(one.participant_id, one.status) for one in people.list()] == [("P7", "active"), ("P8", "deregistered")]


def test_with_a_map_put_back_as_it_was_before_an_event_was_applied_it_is_applied_again(
    lake: Lake, people: IdMap
) -> None:
    announce(lake, "a.jsonl", left(USER, LATER))
    before = people.path.read_bytes()
    assert apply_announced(lake, people) == 1
    people.path.write_bytes(before)
    assert apply_announced(lake, people) == 1


def test_a_file_that_was_written_over_is_read_again(lake: Lake, people: IdMap) -> None:
    announce(lake, "a.jsonl", left(OTHER, LATER))
    assert apply_announced(lake, people) == 0
    announce(lake, "a.jsonl", left(USER, LATER))  # as many bytes
    assert apply_announced(lake, people) == 1


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b'{"people": 1}', b'{"people": "", "days": [1]}'])
def test_with_a_note_that_nobody_can_read_all_is_read(
    lake: Lake, people: IdMap, read: list[str], content: bytes
) -> None:
    announce(lake, "a.jsonl", left(OTHER, LATER))
    for _ in range(2):
        apply_announced(lake, people)
        lake.replace_object(ANNOUNCED, content)
    assert read == ["a.jsonl", "a.jsonl"]


def test_the_note_names_nobody(lake: Lake, people: IdMap) -> None:
    announce(lake, "a.jsonl", allows(NO_HEALTH, LATER), left(OTHER, LATER))
    for _ in range(3):
        apply_announced(lake, people)
    noted = lake.read_object(ANNOUNCED)
    assert json.loads(noted)["days"]
    assert not any(text.encode() in noted for text in (USER, OTHER, "P7", "a.jsonl"))


@pytest.mark.parametrize("seed", range(30))
def test_runs_that_read_what_is_new_end_as_those_that_read_everything(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    lake = Lake.local(tmp_path / "lake")
    reading_news, reading_all = IdMap(tmp_path / "news.sqlite"), IdMap(tmp_path / "all.sqlite")
    for number in range(12):
        at = LATER - timedelta(days=30) + timedelta(hours=chance.randrange(72))
        user = chance.choice([USER, OTHER])
        if chance.random() < 0.3:
            since = at - timedelta(days=chance.randrange(4))
            for people in (reading_news, reading_all):
                people.add(user, "P7" if user == USER else "P8", at=since, after_leaving=True)
        else:
            announced = chance.choice([left(user, at), allows(chance.choice([ALL, NO_HEALTH, [], None]), at)])
            announce(lake, f"{number}.jsonl", announced, at=at)
        for _ in range(chance.randrange(3)):
            apply_announced(lake, reading_news)
            reading_all.replay(lake.lifecycle_lines(lake.lifecycle_objects()))
            assert states(reading_news) == states(reading_all)
