"""Files that come late: a day's rows and counts come out as if they had been there from the start, and only the
participants whom they tell of are computed again."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from qol_dagster.engines import EngineError, RawFile, open_engine
from qol_dagster.engines import duckdb as duckdb_module
from qol_dagster.engines.duckdb import FEW_USERS, DuckDBEngine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.pipeline import days as days_module
from qol_dagster.pipeline.etl import materialize_daily
from qol_dagster.pipeline.reports import DailyReport
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, record, worn, write_raw
from qol_dagster_tests.support.trap_records import write_trap_lake

ADA, BEN = "a1b2c3d4e5f60718293a4b5c6d7e8f90", "ffeeddccbbaa99887766554433221100"
PEOPLE = Identities({ADA: "P1", BEN: "P2"})
TUESDAY = MONDAY + timedelta(days=1)


@dataclass
class Watched:
    """An engine, and the users whose records it was asked for."""

    engine: DuckDBEngine
    chosen: list[list[str]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    """Names of the files that it was given for everybody."""

    def run(self, lake: Lake, identities: Identities = PEOPLE, **options: Any) -> DailyReport:
        self.chosen.clear()
        self.read.clear()
        return materialize_daily(self.engine, lake, [MONDAY], identities, since=MONDAY, **options)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    load, load_of = DuckDBEngine.load_records, DuckDBEngine.load_records_of
    with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path / "engine") as engine:
        assert isinstance(engine, DuckDBEngine)
        found = Watched(engine)

        def loaded(self: DuckDBEngine, days: Mapping[date, Sequence[RawFile]]) -> None:
            found.read.extend(Path(item.uri).stem for items in days.values() for item in items)
            load(self, days)

        def loaded_of(self: DuckDBEngine, users: Sequence[str], days: Mapping[date, Sequence[RawFile]]) -> None:
            found.chosen.append(list(users))
            load_of(self, users, days)

        monkeypatch.setattr(DuckDBEngine, "load_records", loaded)
        monkeypatch.setattr(DuckDBEngine, "load_records_of", loaded_of)
        yield found


def lines_by_day(lake: Path) -> dict[date, list[bytes]]:
    return {
        day: [line for file in sorted(folder.iterdir()) for line in file.read_bytes().split(b"\n") if line.strip()]
        for day in dates_of(MONDAY)
        if (folder := lake / f"raw/daily/date={day}").exists()
    }


def in_bits(lake: Lake) -> list[str]:
    tables = [lake.read_table("daily", day) for day in dates_of(MONDAY)]
    return [repr(row) for rows in tables if rows is not None for row in rows.to_pylist()]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_files_that_come_in_waves_give_what_they_give_at_once(tmp_path: Path, watched: Watched, seed: int) -> None:
    chance, users = random.Random(seed), write_trap_lake(tmp_path / "traps", MONDAY)
    stranger, leaver = chance.sample(sorted(users), 2)
    accounts = {participant: user for user, participant in sorted(users.items())}  # where there are two, all is read
    known = {user: participant for participant, user in accounts.items() if user not in (stranger, leaver)}
    identities = Identities(known, frozenset({leaver}))
    waves: list[dict[date, list[bytes]]] = [{} for _ in range(4)]
    for day, lines in lines_by_day(tmp_path / "traps").items():
        mixed = chance.sample(lines, len(lines))
        bounds = [0, *sorted(chance.sample(range(len(lines) * 6 // 10, len(lines)), 3)), len(lines)]
        for wave, (start, end) in zip(waves, itertools.pairwise(bounds), strict=True):
            wave[day] = mixed[start:end]
    grown = Lake.local(tmp_path / "grown")
    for number, wave in enumerate(waves):
        for day, lines in wave.items():
            for part in range(2):
                write_raw(tmp_path / "grown", day, lines[part::2], f"{part}-{number}")
        added = watched.run(grown, identities)
        assert bool(watched.chosen) == (number > 0)
        whole = Lake.local(tmp_path / f"whole-{number}")
        for day in dates_of(MONDAY):
            for item in grown.raw_objects(day):
                whole.write_raw(day, Path(item.key).stem, grown.read_raw(item))
        at_once = watched.run(whole, identities)
        assert in_bits(grown) == in_bits(whole)
        assert [(day.rows, day.counts) for day in added.days] == [(day.rows, day.counts) for day in at_once.days]
    assert sum(day.counts["unmapped_users"] for day in added.days) > 0
    assert sum(day.counts["revoked_records"] for day in added.days) > 0
    assert sum(day.counts["superseded"] for day in added.days) > 0


def fill(lake: Path, users: Iterable[str] = (ADA, BEN)) -> Lake:
    """Two files a day: of heart rates and of heart-rate variability."""
    for day in (MONDAY, TUESDAY):
        beats = [record("dailies", user, day, steps=4000, timeOffsetHeartRateSamples=worn(12)) for user in users]
        write_raw(lake, day, beats, "beats")
        write_raw(lake, day, [record("hrv", user, day, lastNightAvg=40) for user in users], "hrv")
    return Lake.local(lake)


def row(lake: Lake, day: date, participant: str) -> dict[str, Any]:
    rows = lake.read_table("daily", day)
    assert rows is not None
    return next(row for row in rows.to_pylist() if row["participant_id"] == participant)


def later(user: str, day: date, **fields: Any) -> dict[str, Any]:
    return record("dailies", user, day, _received_at=f"{day + timedelta(days=2)}T00:00:00Z", **fields)


def test_only_the_users_of_a_late_file_are_asked_for(tmp_path: Path, watched: Watched) -> None:
    lake = fill(tmp_path)
    watched.run(lake)
    write_raw(tmp_path, TUESDAY, [later(BEN, TUESDAY, steps=9000)], "late")
    report = watched.run(lake)
    assert (watched.read, watched.chosen) == (["late"], [[BEN]])
    assert [day.date for day in report.days if not day.reused] == [TUESDAY]
    assert (row(lake, TUESDAY, "P2")["steps"], row(lake, TUESDAY, "P2")["hrv_rmssd_ms"]) == (9000, 40)
    assert (row(lake, TUESDAY, "P1")["steps"], row(lake, MONDAY, "P2")["steps"]) == (4000, 4000)
    assert (report.days[1].counts["lines"], report.days[1].counts["superseded"]) == (5, 1)
    watched.run(lake)
    assert (watched.read, watched.chosen) == ([], [])


@pytest.mark.parametrize(
    ("user", "spelled"),
    [(BEN, '"\\u0066' + BEN[1:] + '"'), ("a/b", '"a\\/b"'), ("100000.0", "1e5"), ("7", "7"), ("it's $1", '"it\'s $1"')],
)
def test_a_user_is_known_however_the_line_spells_it(tmp_path: Path, watched: Watched, user: str, spelled: str) -> None:
    lake, identities = fill(tmp_path), Identities({ADA: "P1", user: "P3"})
    line = json.dumps(record("hrv", "somebody", MONDAY, lastNightAvg=50)).replace(
        '"userId": "somebody"', f'"userId": {spelled}'
    )
    assert json.loads(line)["userId"] in (user, 100000, 7)
    write_raw(tmp_path, MONDAY, [line.encode()], "spelled")
    watched.run(lake, identities)
    assert row(lake, MONDAY, "P3")["hrv_rmssd_ms"] == 50
    write_raw(tmp_path, MONDAY, [later(user, MONDAY, steps=9000)], "late")
    watched.run(lake, identities)
    assert watched.chosen == [[user]]
    assert (row(lake, MONDAY, "P3")["steps"], row(lake, MONDAY, "P3")["hrv_rmssd_ms"]) == (9000, 50)


def test_an_object_in_the_place_of_a_user_is_a_stranger_however_it_is_spelled(tmp_path: Path, watched: Watched) -> None:
    lake, found = fill(tmp_path), []
    line = json.dumps(record("hrv", "somebody", MONDAY)).encode()
    for number, user in enumerate([b'{"a": [1,  2]}', b'{"a":[1,2]}', b"[1]"]):
        watched.run(lake)
        write_raw(tmp_path, MONDAY, [line.replace(b'"somebody"', user)], f"late-{number}")
        counts = watched.run(lake).days[0].counts
        found.append((counts["unmapped_users"], counts["unmapped_records"]))
    assert found == [(1, 1), (1, 2), (2, 3)]


@pytest.mark.slow
def test_many_users_in_a_late_file_are_found_as_a_few_are(tmp_path: Path, watched: Watched) -> None:
    users = [f"{number:032x}" for number in range(10, 10 + 2 * FEW_USERS)]
    lake, identities = fill(tmp_path, users), Identities({user: f"P{user[-2:]}" for user in users})
    watched.run(lake, identities)
    for number in (FEW_USERS, FEW_USERS + 1):
        late = [later(user, MONDAY, steps=number) for user in users[:number]]
        write_raw(tmp_path, MONDAY, late, f"late-{number}")
        watched.run(lake, identities)
        rows = [row(lake, MONDAY, f"P{user[-2:]}") for user in users]
        assert [one["steps"] for one in rows] == [number] * number + [4000] * (len(users) - number)
        assert {one["hrv_rmssd_ms"] for one in rows} == {40}
    assert [len(asked) for asked in watched.chosen] == [FEW_USERS + 1]


def test_lines_that_cannot_be_taken_out_are_told_of_without_what_they_say(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = fill(tmp_path)
    watched.run(lake)
    write_raw(tmp_path, MONDAY, [later(ADA, MONDAY)], "late")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "lines")

    monkeypatch.setattr(duckdb_module, "copy_lines", full)
    before = in_bits(lake)
    with pytest.raises(EngineError, match=r"^lines could not be taken out of raw/: No space left on device \(lines\)$"):
        watched.run(lake)
    assert in_bits(lake) == before
    assert list(watched.engine.work.iterdir()) == []


def test_somebody_new_to_the_day_gets_a_row_in_its_place(tmp_path: Path, watched: Watched) -> None:
    lake = fill(tmp_path, [BEN])
    watched.run(lake)
    write_raw(tmp_path, MONDAY, [later(ADA, MONDAY, steps=1)], "late")
    watched.run(lake)
    rows = lake.read_table("daily", MONDAY)
    assert rows is not None
    assert rows["participant_id"].to_pylist() == ["P1", "P2"]


@pytest.mark.parametrize(("hours", "steps", "others"), [(6, 4000, 1), (14, 5000, 2)])
def test_an_account_that_comes_late_counts_instead_of_the_other_one_if_it_was_worn_more(
    tmp_path: Path, watched: Watched, hours: int, steps: int, others: int
) -> None:
    lake, identities = fill(tmp_path), Identities({ADA: "P1", BEN: "P2", "new-device": "P1"})
    watched.run(lake, identities)
    late = record("dailies", "new-device", MONDAY, steps=5000, timeOffsetHeartRateSamples=worn(hours))
    write_raw(tmp_path, MONDAY, [late], "late")
    counts = watched.run(lake, identities).days[0].counts
    assert watched.chosen == []
    assert row(lake, MONDAY, "P1")["steps"] == steps
    assert (counts["other_account"], counts["records"]) == (others, 5 - others)


def test_of_a_late_file_that_tells_of_nobody_only_the_counts_change(tmp_path: Path, watched: Watched) -> None:
    lake = fill(tmp_path)
    watched.run(lake)
    write_raw(tmp_path, MONDAY, [b"not json", later(ADA, TUESDAY)], "late")
    found = watched.run(lake).days[0].counts
    assert watched.chosen == []
    assert (found["lines"], found["unreadable"], found["misfiled"], found["records"]) == (6, 1, 1, 4)


def test_a_stranger_is_counted_once_however_many_files_tell_of_it(tmp_path: Path, watched: Watched) -> None:
    lake, found = fill(tmp_path), []
    for number, user in enumerate([ADA, "stranger", "stranger", "another"]):
        write_raw(tmp_path, MONDAY, [later(user, MONDAY)], f"late-{number}")
        counts = watched.run(lake).days[0].counts
        found.append((counts["unmapped_users"], counts["unmapped_records"]))
    assert found == [(0, 0), (1, 1), (1, 2), (2, 3)]


def rewritten(lake: Path) -> None:
    write_raw(lake, MONDAY, [record("hrv", user, MONDAY, lastNightAvg=41) for user in (ADA, BEN)], "hrv")


def removed(lake: Path) -> None:
    (lake / f"raw/daily/date={MONDAY}/hrv.jsonl").unlink()


def more_than_half(lake: Path) -> None:
    lines = [record("dailies", user, MONDAY, timeOffsetHeartRateSamples=worn(13)) for user in (ADA, BEN)]
    write_raw(lake, MONDAY, lines, "more")


@pytest.mark.parametrize("change", [rewritten, removed, more_than_half])
def test_a_day_that_changed_otherwise_is_computed_whole(tmp_path: Path, watched: Watched, change: Any) -> None:
    lake = fill(tmp_path)
    watched.run(lake)
    write_raw(tmp_path, MONDAY, [later(ADA, MONDAY)], "late")
    change(tmp_path)
    watched.run(lake)
    names = {Path(item.key).stem for item in lake.raw_objects(MONDAY)}
    assert (set(watched.read), watched.chosen) == (names, [])


def test_with_force_or_other_enrolments_a_late_file_makes_its_day_whole(tmp_path: Path, watched: Watched) -> None:
    lake = fill(tmp_path)
    for number, options in enumerate([{"force": True}, {"identities": Identities({ADA: "P1"})}]):
        watched.run(lake)
        write_raw(tmp_path, MONDAY, [later(ADA, MONDAY)], f"late-{number}")
        watched.run(lake, **options)
        assert ("beats" in watched.read, watched.chosen) == (True, [])


def test_a_day_of_too_many_files_is_computed_whole(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days_module, "MOST_FILES", 1)
    lake = fill(tmp_path)
    watched.run(lake)
    write_raw(tmp_path, MONDAY, [later(ADA, MONDAY)], "late")
    watched.run(lake)
    assert (len(watched.read), watched.chosen) == (3, [])
