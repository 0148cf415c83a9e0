"""Stored records: each raw file is parsed once, and rows are the same as if everything had been parsed at once."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from qol_dagster.engines import Engine, EngineError, RecordsUpdate, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import LakeError
from qol_dagster.lake.records import MANIFEST, STAGING
from qol_dagster.metrics.fields import FIELDS
from qol_dagster.metrics.thresholds import Thresholds
from qol_dagster.pipeline import etl
from qol_dagster.pipeline.days import MOST_PARTS
from qol_dagster.pipeline.etl import materialize_daily
from qol_dagster.pipeline.reports import DailyReport
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.lakes import MONDAY, differences, record, worn, write_raw
from qol_dagster_tests.support.trap_records import write_trap_lake

ADA, BEN = "a1b2c3d4e5f60718293a4b5c6d7e8f90", "ffeeddccbbaa99887766554433221100"
PEOPLE = Identities({ADA: "P1", BEN: "P2"})
TUESDAY = MONDAY + timedelta(days=1)


@dataclass
class Watched:
    """An engine, and the raw files that it parsed in the last run."""

    engine: Engine
    parsed: list[str] = field(default_factory=list)

    def run(self, lake: Lake, identities: Identities = PEOPLE, **options: Any) -> DailyReport:
        self.parsed.clear()
        return materialize_daily(self.engine, lake, [MONDAY], identities, since=MONDAY, **options)


def watching(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Watched:
    found, write = Watched(engine), type(engine).write_records

    def written(self: Engine, days: Mapping[date, RecordsUpdate], folder: str) -> None:
        found.parsed.extend(Path(item.uri).stem for update in days.values() for item in update.parse)
        write(self, days, folder)

    monkeypatch.setattr(type(engine), "write_records", written)
    return found


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path / "engine") as engine:
        yield watching(engine, monkeypatch)


def test_both_engines_parse_what_came_and_keep_what_stayed(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one story, as each run costs Spark many seconds."""
    lake, watched = fill(tmp_path), watching(engine, monkeypatch)
    write_raw(tmp_path, TUESDAY, [record("hrv", ADA, TUESDAY, lastNightAvg=99)], "gone")
    watched.run(lake, Identities({ADA: "P1"}))
    assert sorted(watched.parsed) == ["beats-16", "beats-17", "gone", "hrv-16", "hrv-17"]
    (tmp_path / f"raw/daily/date={TUESDAY}/gone.jsonl").unlink()
    twice = json.dumps(later(BEN, TUESDAY, steps=9000)).replace("9000", '1, "steps": 9000')
    write_raw(tmp_path, TUESDAY, [twice.encode()], "late")
    write_raw(tmp_path, TUESDAY, [record("hrv", user, TUESDAY, lastNightAvg=55) for user in (ADA, BEN)], "hrv-17")
    report = watched.run(lake)
    assert sorted(watched.parsed) == ["hrv-17", "late"]
    assert stored_files(lake, TUESDAY) == {"beats-17", "hrv-17", "late"}
    found = {(one["date"][-2:], one["participant_id"]): (one["steps"], one["hrv_rmssd_ms"]) for one in rows_of(lake)}
    assert found == {
        ("16", "P1"): (4000, 40),
        ("16", "P2"): (4000, 40),
        ("17", "P1"): (4000, 55),
        ("17", "P2"): (9000, 55),
    }
    assert [(day.counts["lines"], day.counts["superseded"]) for day in report.days[:2]] == [(4, 0), (5, 1)]


def rows_of(lake: Lake) -> list[dict[str, Any]]:
    tables = [lake.read_table("daily", day) for day in dates_of(MONDAY)]
    return [row for rows in tables if rows is not None for row in rows.to_pylist()]


def row(lake: Lake, day: date, participant: str) -> dict[str, Any]:
    return next(row for row in rows_of(lake) if (row["date"], row["participant_id"]) == (str(day), participant))


def fill(lake: Path) -> Lake:
    """Two files a day: of heart rates and of heart-rate variability."""
    for day in (MONDAY, TUESDAY):
        beats = [record("dailies", user, day, steps=4000, timeOffsetHeartRateSamples=worn(12)) for user in (ADA, BEN)]
        write_raw(lake, day, beats, f"beats-{day.day}")
        write_raw(lake, day, [record("hrv", user, day, lastNightAvg=40) for user in (ADA, BEN)], f"hrv-{day.day}")
    return Lake.local(lake)


def later(user: str, day: date, **fields: Any) -> dict[str, Any]:
    return record("dailies", user, day, _received_at=f"{day + timedelta(days=2)}T00:00:00Z", **fields)


def parts(lake: Lake, day: date = MONDAY) -> list[Path]:
    assert lake.folder
    return sorted((lake.folder / f"records/date={day}").glob("*.parquet"))


def stored_files(lake: Lake, day: date = MONDAY) -> set[str]:
    """Names of the raw files of which the stored Parquet files have records."""
    return {name for part in parts(lake, day) for name in pq.ParquetFile(part).read(["file"])["file"].to_pylist()}


def test_only_what_came_is_parsed_and_only_its_day_is_computed(tmp_path: Path, watched: Watched) -> None:
    lake = fill(tmp_path)
    first = watched.run(lake)
    assert sorted(watched.parsed) == ["beats-16", "beats-17", "hrv-16", "hrv-17"]
    assert [day.bytes_read == day.raw_bytes for day in first.days] == [True] * 7
    late = write_raw(tmp_path, TUESDAY, [later(BEN, TUESDAY, steps=9000)], "late")
    report = watched.run(lake)
    assert watched.parsed == ["late"]
    assert [day.date for day in report.days if not day.reused] == [TUESDAY]
    assert report.days[1].bytes_read == late.stat().st_size
    assert (row(lake, TUESDAY, "P2")["steps"], row(lake, TUESDAY, "P2")["hrv_rmssd_ms"]) == (9000, 40)
    assert (row(lake, TUESDAY, "P1")["steps"], row(lake, MONDAY, "P2")["steps"]) == (4000, 4000)
    assert (report.days[1].counts["lines"], report.days[1].counts["superseded"]) == (5, 1)
    watched.run(lake)
    assert watched.parsed == []


def test_the_days_of_a_device_whose_clock_was_reset_are_computed_beside_todays(
    tmp_path: Path, watched: Watched
) -> None:
    lake, reset = fill(tmp_path), date(1970, 1, 1)
    write_raw(tmp_path, reset, [record("dailies", BEN, reset, steps=70)])
    materialize_daily(watched.engine, lake, [reset, MONDAY], PEOPLE, since=MONDAY)
    then = lake.read_table("daily", reset)
    assert then is not None
    assert (then["steps"].to_pylist(), row(lake, MONDAY, "P2")["steps"]) == ([70], 4000)


def test_another_enrolment_or_threshold_parses_nothing_and_force_everything(tmp_path: Path, watched: Watched) -> None:
    lake = fill(tmp_path)
    watched.run(lake, Identities({ADA: "P1"}))
    report = watched.run(lake)
    assert (watched.parsed, row(lake, MONDAY, "P2")["steps"]) == ([], 4000)
    assert [(day.reused, day.bytes_read) for day in report.days] == [(False, 0)] * 7
    assert row(lake, MONDAY, "P1")["is_valid_day"] is True
    watched.run(lake, thresholds=Thresholds(valid_day_wear_min=780))
    assert (watched.parsed, row(lake, MONDAY, "P1")["is_valid_day"]) == ([], False)
    watched.run(lake, force=True)
    assert sorted(watched.parsed) == ["beats-16", "beats-17", "hrv-16", "hrv-17"]


def test_a_raw_file_that_goes_or_changes_takes_its_records_along(tmp_path: Path, watched: Watched) -> None:
    lake = fill(tmp_path)
    watched.run(lake)
    write_raw(tmp_path, MONDAY, [record("hrv", ADA, MONDAY, lastNightAvg=55)], "hrv-16")
    watched.run(lake)
    assert watched.parsed == ["hrv-16"]
    assert (row(lake, MONDAY, "P1")["hrv_rmssd_ms"], row(lake, MONDAY, "P2")["hrv_rmssd_ms"]) == (55, None)
    (tmp_path / f"raw/daily/date={MONDAY}/hrv-16.jsonl").unlink()
    watched.run(lake)
    assert (watched.parsed, stored_files(lake)) == ([], {"beats-16"})
    assert row(lake, MONDAY, "P1")["hrv_rmssd_ms"] is None
    (tmp_path / f"raw/daily/date={MONDAY}/beats-16.jsonl").unlink()
    counts = watched.run(lake).days[0].counts
    assert (counts["lines"], list((tmp_path / f"records/date={MONDAY}").glob("*"))) == (0, [])


def test_a_late_file_is_stored_beside_the_others_until_they_are_too_many(tmp_path: Path, watched: Watched) -> None:
    lake = fill(tmp_path)
    watched.run(lake)
    (first,) = parts(lake)
    content, numbers = first.read_bytes(), []
    for steps in range(1, MOST_PARTS + 2):
        write_raw(tmp_path, MONDAY, [later(ADA, MONDAY, steps=steps)], f"late-{steps}")
        watched.run(lake)
        assert watched.parsed == [f"late-{steps}"]
        numbers.append(len(parts(lake)))
        if numbers[-1] > 1:
            assert first.read_bytes() == content
        else:
            assert not first.exists()
            (first,) = parts(lake)
            content = first.read_bytes()
    assert numbers == [*range(2, MOST_PARTS + 1), 1, 2]
    assert (row(lake, MONDAY, "P1")["steps"], row(lake, MONDAY, "P2")["steps"]) == (MOST_PARTS + 1, 4000)


def test_files_that_come_in_waves_give_what_they_give_at_once(tmp_path: Path, watched: Watched) -> None:
    chance, users = random.Random(7), write_trap_lake(tmp_path / "traps", MONDAY)
    stranger, leaver = chance.sample(sorted(users), 2)
    known = {user: participant for user, participant in users.items() if user not in (stranger, leaver)}
    identities = Identities(known, frozenset({leaver}))
    grown, whole = Lake.local(tmp_path / "grown"), Lake.local(tmp_path / "whole")
    for day in dates_of(MONDAY):
        files = sorted((tmp_path / f"traps/raw/daily/date={day}").glob("*.jsonl"))
        for file in files:
            whole.write_raw(day, file.stem, file.read_bytes())
    waves = MOST_PARTS + 2
    for wave in range(waves):
        for day in dates_of(MONDAY):
            for number, file in enumerate(sorted((tmp_path / f"traps/raw/daily/date={day}").glob("*.jsonl"))):
                if number % waves == wave:
                    grown.write_raw(day, file.stem, file.read_bytes())
        added = watched.run(grown, identities)
    at_once = watched.run(whole, identities)
    assert differences(rows_of(grown), rows_of(whole)) == []
    assert [(day.rows, day.counts) for day in added.days] == [(day.rows, day.counts) for day in at_once.days]
    assert sum(day.counts["superseded"] for day in added.days) > 0


def cut(lake: Lake) -> None:
    part = parts(lake)[0]
    part.write_bytes(part.read_bytes()[:-100])


def delete(lake: Lake) -> None:
    parts(lake)[0].unlink()


def spoil(lake: Lake) -> None:
    """Other bytes of the same number, as a disk may give."""
    part = parts(lake)[0]
    size = part.stat().st_size
    part.write_bytes(b"PAR1" + b"\0" * (size - 12) + part.read_bytes()[-8:])


def empty_manifest(lake: Lake) -> None:
    (parts(lake)[0].parent / MANIFEST).write_bytes(b"")


def foreign_manifest(lake: Lake) -> None:
    (parts(lake)[0].parent / MANIFEST).write_text('{"reading": "x", "parts": [], "files": 3}')


def older_reading(lake: Lake) -> None:
    manifest = parts(lake)[0].parent / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"reading": "0123456789abcdef"}))


def without_manifest(lake: Lake) -> None:
    (parts(lake)[0].parent / MANIFEST).unlink()


DAMAGES = [cut, delete, spoil, empty_manifest, foreign_manifest, older_reading, without_manifest]


@pytest.mark.slow
def test_records_that_are_of_no_use_are_made_again(tmp_path: Path, watched: Watched) -> None:
    lake, told = fill(tmp_path), []
    watched.run(lake)
    for number, damage in enumerate(DAMAGES):
        damage(lake)
        write_raw(tmp_path, MONDAY, [later(ADA, MONDAY, steps=number)], f"late-{number}")
        report = watched.run(lake, log=told.append)
        assert {"beats-16", "hrv-16", f"late-{number}"} <= {*watched.parsed}, damage.__name__
        assert row(lake, MONDAY, "P1")["steps"] == (number if number else 0), damage.__name__
        assert report.days[0].counts["lines"] == 5 + number, damage.__name__
        assert stored_files(lake) >= {"beats-16", f"late-{number}"}
    assert [f"records of {MONDAY}" in line for line in told].count(True) == 1  # what only reading showed


def test_a_file_that_no_manifest_names_is_never_read_and_goes(tmp_path: Path, watched: Watched) -> None:
    lake = fill(tmp_path)
    watched.run(lake)
    stray = shutil.copy(parts(lake)[0], parts(lake)[0].with_name("stray.parquet"))
    (tmp_path / STAGING / "left" / f"date={MONDAY}").mkdir(parents=True)
    shutil.copy(stray, tmp_path / STAGING / "left" / f"date={MONDAY}" / "part-0.parquet")
    write_raw(tmp_path, MONDAY, [later(ADA, MONDAY, steps=1)], "late")
    assert watched.run(lake).days[0].counts["lines"] == 5
    assert not Path(stray).exists()
    assert not (tmp_path / STAGING).exists()


class Killed(BaseException):
    """What no code catches, as a killed process runs none."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """End at a lake's n-th change of anything, before or after it was made."""
    left = itertools.count()
    names = ("move_object", "replace_object", "remove_objects", "write_table")
    changes = {name: getattr(Lake, name) for name in names}
    place = [-1]

    def changed(name: str) -> Callable[..., Any]:
        def change(self: Lake, *args: Any, **kwargs: Any) -> Any:
            if next(left) == place[0]:
                raise Killed
            done = changes[name](self, *args, **kwargs)
            if next(left) == place[0]:
                raise Killed
            return done

        return change

    for name in names:
        monkeypatch.setattr(Lake, name, changed(name))

    def kill(at: int) -> None:
        nonlocal left
        left, place[0] = itertools.count(), at

    yield kill
    place[0] = -1


@pytest.mark.slow
def test_a_run_killed_between_any_two_writes_is_healed_by_the_next(
    tmp_path: Path, watched: Watched, killed_at: Callable[[int], None]
) -> None:
    right = None
    for at in itertools.count():
        lake = fill(tmp_path / str(at))
        killed_at(-1)
        watched.run(lake)
        write_raw(tmp_path / str(at), MONDAY, [later(ADA, MONDAY, steps=1)], "late")
        write_raw(tmp_path / str(at), TUESDAY, [later(BEN, TUESDAY, steps=2)], "late")
        killed_at(at)
        try:
            watched.run(lake)
        except Killed:
            killed_at(-1)
            counts = [day.counts for day in watched.run(lake).days]
        else:
            break
        right = right or (rows_of(lake), counts)
        assert (rows_of(lake), counts) == right
        assert [one["lines"] for one in counts] == [5, 5, 0, 0, 0, 0, 0]
    assert at > 10


def test_an_error_that_is_not_the_records_is_told_and_not_tried_for_ever(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, tries = fill(tmp_path), []
    watched.run(lake)
    write_raw(tmp_path, MONDAY, [later(ADA, MONDAY, steps=1)], "late")
    before = rows_of(lake)

    def failing(*_: object) -> None:
        tries.append(1)
        raise EngineError("DuckDB stopped: no space left")

    monkeypatch.setattr(etl, "compute_days", failing)
    with pytest.raises(EngineError, match="no space left"):
        watched.run(lake)
    assert (len(tries), rows_of(lake)) == (2, before)


def test_records_cannot_be_moved_away_is_a_clear_error(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = fill(tmp_path)

    def full(_self: Lake, key: str, _target: str) -> None:
        raise LakeError(f"{key} could not be moved: no space")

    monkeypatch.setattr(Lake, "move_object", full)
    with pytest.raises(LakeError, match=r"^records/_staging/[0-9a-f]{16}/date=2026-11-16/part-0\.parquet could not"):
        watched.run(lake)


def test_stored_records_have_every_field_of_every_line_and_nothing_of_them_is_processed(
    tmp_path: Path, watched: Watched
) -> None:
    lake = fill(tmp_path)
    write_raw(tmp_path, MONDAY, [b"not json", record("new-type", "stranger", MONDAY)], "odd")
    watched.run(lake)
    table = pq.ParquetFile(parts(lake)[0]).read()
    assert set(table.column_names) == {"line", "file", "odd", *(field.name for field in FIELDS)}
    assert sorted(map(str, table["user_id"].to_pylist())) == sorted([ADA, BEN] * 2 + ["None", "stranger"])
    beats = next(one for one in table["heart_rate"].to_pylist() if one["t"])
    assert (len(beats["t"]), beats["t"][:2], beats["v"][:2]) == (2880, [28_800.0, 28_815.0], [60.0, 60.0])
    assert all(oct(part.stat().st_mode)[-3:] == "600" for part in parts(lake))
    assert not any(ADA.encode() in file.read_bytes() for file in (tmp_path / "processed").rglob("*.parquet"))
