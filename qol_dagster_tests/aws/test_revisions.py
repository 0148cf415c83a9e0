"""What is replaced stays: the contract of revisions, kept by a folder and by a bucket."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from qol_dagster.lake.history import HistoryError, keys_of, revisions_of, states_at, states_now, verify_objects
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.objects import LakeError
from qol_dagster.lake.revisions import Revision
from qol_dagster_tests.support.lakes import MONDAY

NOTES = {"inputs": {"raw": "a", "people": "b", "code": "c", "thresholds": {"valid_week_days": 4}}, "engine": "duckdb"}


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.aws)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake.local(tmp_path) if request.param == "folder" else Lake.s3(request.getfixturevalue("cloud").bucket())


def rows(steps: Mapping[str, float | None], at: int = 0, **more: list[Any]) -> pa.Table:
    """Rows of participants with their steps, computed in the `at`-th minute."""
    times = pa.array([datetime(2026, 11, 25, 0, at, tzinfo=UTC)] * len(steps), pa.timestamp("ms", tz="UTC"))
    people = pa.array(list(steps), pa.string())
    return pa.table(
        {"participant_id": people, "steps": pa.array(steps.values(), pa.float64()), "computed_at": times, **more}
    )


def noted(**changed: Any) -> dict[str, Any]:
    return {**NOTES, "inputs": {**NOTES["inputs"], **changed}}  # type: ignore[dict-item]


def moment() -> datetime:
    """Now, with nothing else in the same millisecond."""
    time.sleep(0.002)
    now = datetime.now(UTC)
    time.sleep(0.002)
    return now


def read(lake: Lake, at: datetime, table: Any = "weekly") -> dict[date, list[dict[str, Any]]]:
    """Return all rows of a table as they were."""
    import pyarrow.parquet as pq

    found = {}
    for day, state in states_at(lake, table, at).items():
        verify_objects(lake, state.keys)
        parts = [pq.ParquetFile(pa.BufferReader(lake.read_object(key))).read() for key in state.keys]
        found[day] = [row for part in parts for row in part.to_pylist()]
    return found


def archived(lake: Lake, folder: str = "history/weekly") -> list[str]:
    """Return the objects that were replaced."""
    return [key for key in keys(lake, folder) if key.endswith(".parquet")]


def keys(lake: Lake, prefix: str) -> list[str]:
    return sorted(item["path"] for batch in lake.store.list(prefix) for item in batch)


def test_the_first_rows_of_a_partition_are_revision_1_and_leave_no_object(lake: Lake) -> None:
    found = lake.revise("weekly", MONDAY, rows({"P1": 1.0, "P2": None}), NOTES)
    assert found is not None
    assert (found.number, found.cause, found.rows, found.added, found.previous) == (1, "first", 2, 2, 0)
    assert keys(lake, "history") == ["history/weekly/revisions/date=2026-11-16/0001.json"]
    assert revisions_of(lake, "weekly") == [found]


def test_other_rows_leave_the_old_object_under_its_hash_and_a_record_of_what_differs(lake: Lake) -> None:
    key = lake.write_table("weekly", MONDAY, rows({"P1": 1.0, "P2": 2.0, "P3": 3.0}), NOTES)
    old, before = lake.read_object(key), moment()
    found = lake.of_run("run-7").revise("weekly", MONDAY, rows({"P4": 4.0, "P2": 2.5, "P1": 1.0}), noted(raw="z"))
    assert found is not None
    assert (found.number, found.previous, found.cause, found.run_id) == (2, 1, "late_files", "run-7")
    assert (found.rows, found.added, found.removed, found.changed, found.columns) == (3, 1, 1, 1, ("steps",))
    assert (found.engine, found.thresholds) == ("duckdb", {"valid_week_days": 4})
    (object_,) = archived(lake)
    assert object_ == f"history/weekly/date=2026-11-16/{found.replaced}.parquet"
    assert lake.read_object(object_) == old
    assert keys_of(states_at(lake, "weekly", before)) == [object_]
    assert keys_of(states_now(lake, "weekly")) == keys_of(states_at(lake, "weekly", moment())) == [key]
    assert [one.number for one in revisions_of(lake, "weekly")] == [1, 2]


def test_the_same_rows_in_another_order_at_another_time_write_nothing(lake: Lake) -> None:
    key = lake.write_table("weekly", MONDAY, rows({"P1": 1.0, "P2": float("nan")}), NOTES)
    tag = lake.store.head(key)["e_tag"]
    assert lake.revise("weekly", MONDAY, rows({"P2": float("nan"), "P1": 1.0}, at=5), NOTES) is None
    assert lake.store.head(key)["e_tag"] == tag
    assert archived(lake) == []


def test_the_same_rows_with_other_notes_keep_their_revision_and_their_time(lake: Lake) -> None:
    first = lake.revise("weekly", MONDAY, rows({"P1": 1.0, "P2": 2.0}), NOTES)
    before = read(lake, moment())
    assert lake.revise("weekly", MONDAY, rows({"P2": 2.0, "P1": 1.0}, at=5), noted(raw="z")) is None
    assert lake.partition_metadata("weekly", MONDAY) == noted(raw="z")
    assert revisions_of(lake, "weekly") == [first]
    assert archived(lake) == []
    assert sorted(read(lake, moment())[MONDAY], key=str) == sorted(before[MONDAY], key=str)
    second = lake.revise("weekly", MONDAY, rows({"P1": 9.0}), noted(raw="z"))
    assert second is not None
    assert (second.number, second.previous, second.cause) == (2, 1, "forced")
    assert [len(one) for one in (read(lake, moment())[MONDAY], read(lake, first.valid_from)[MONDAY])] == [1, 2]  # type: ignore[union-attr]


def test_a_column_that_comes_or_goes_is_a_difference_if_it_held_something(lake: Lake) -> None:
    lake.revise("weekly", MONDAY, rows({"P1": 1.0}), NOTES)
    empty = pa.array([None], pa.float64())
    assert lake.revise("weekly", MONDAY, rows({"P1": 1.0}, new=empty), noted(code="d")) is None
    found = lake.revise("weekly", MONDAY, rows({"P1": 1.0}, new=[2.0]), noted(code="e"))
    assert found is not None
    assert (found.columns, found.changed, found.cause) == (("new",), 1, "code")
    found = lake.revise("weekly", MONDAY, rows({"P1": 1.0}), noted(code="f"))
    assert found is not None
    assert found.columns == ("new",)


def test_rows_without_a_key_of_their_own_are_compared_as_often_as_they_are_there(lake: Lake) -> None:
    lake.revise("weekly", MONDAY, pa.table({"participant_id": ["P1", "P1"], "steps": [1, 1]}), NOTES)
    same = pa.table({"participant_id": ["P1", "P1"], "steps": [1, 1]})
    assert lake.revise("weekly", MONDAY, same, NOTES) is None
    found = lake.revise("weekly", MONDAY, pa.table({"participant_id": ["P1", "P1"], "steps": [1, 2]}), NOTES)
    assert found is not None
    assert (found.added, found.removed, found.changed) == (1, 1, 0)


def test_a_profile_has_a_history_of_its_own(lake: Lake) -> None:
    strict = lake.with_tables("processed_strict")
    for steps in (1.0, 2.0):
        strict.revise("weekly", MONDAY, rows({"P1": steps}), NOTES)
    assert keys(lake, "history/") == []
    assert len(archived(lake, "history_strict")) == 1
    assert revisions_of(lake, "weekly") == []
    assert [one.number for one in revisions_of(strict, "weekly")] == [1, 2]


def test_an_empty_partition_is_a_state_too(lake: Lake) -> None:
    before = moment()
    first = lake.revise("weekly", MONDAY, rows({}), NOTES)
    assert first is not None
    empty = moment()
    lake.revise("weekly", MONDAY, rows({"P1": 1.0}), NOTES)
    assert (read(lake, before), read(lake, empty)) == ({}, {MONDAY: []})


def test_rows_of_a_release_without_revisions_are_the_first_one(lake: Lake) -> None:
    import io

    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(rows({"P1": 1.0}).replace_schema_metadata({"qol": '{"raw": "x"}'}), buffer)
    lake.store.put(f"processed/weekly/date={MONDAY}/part-0.parquet", buffer.getvalue())
    assert [(one.number, one.cause, one.rows) for one in revisions_of(lake, "weekly")] == [(1, "first", 1)]
    time.sleep(1.1)  # a bucket notes whole seconds
    before = moment()
    found = lake.revise("weekly", MONDAY, rows({"P1": 2.0}), {**noted(), "raw": "y"})
    assert found is not None
    assert (found.number, found.previous, found.cause) == (2, 1, "late_files+code")
    assert [one.number for one in revisions_of(lake, "weekly")] == [1, 2]
    assert read(lake, before)[MONDAY][0]["steps"] == 1.0


def test_rows_that_were_removed_or_damaged_before_the_next_run_are_named_when_they_are_asked_for(lake: Lake) -> None:
    key = lake.write_table("weekly", MONDAY, rows({"P1": 1.0}), NOTES)
    before = moment()
    lake.store.put(key, b"no Parquet")
    found = lake.revise("weekly", MONDAY, rows({"P1": 1.0}), NOTES)
    assert found is not None
    assert (found.number, found.previous, found.cause, found.replaced) == (2, 0, "first", "")
    assert read(lake, moment())[MONDAY][0]["steps"] == 1.0
    with pytest.raises(HistoryError, match=r"weekly 2026-11-16, revision 1 of .* are nowhere: .*date=2026-11-16 was"):
        states_at(lake, "weekly", before)


def test_a_damaged_object_of_the_history_is_named_and_so_is_a_missing_one(lake: Lake) -> None:
    lake.revise("weekly", MONDAY, rows({"P1": 1.0}), NOTES)
    before = moment()
    lake.revise("weekly", MONDAY, rows({"P1": 2.0}), NOTES)
    (key,) = archived(lake)
    content = lake.read_object(key)
    lake.store.put(key, content[:-1] + b"?")
    with pytest.raises(HistoryError, match=rf"{key} is damaged: .* Put it back from a backup"):
        verify_objects(lake, keys_of(states_at(lake, "weekly", before)))
    lake.store.delete(key)
    with pytest.raises(HistoryError, match=rf"{key} is missing"):
        verify_objects(lake, keys_of(states_at(lake, "weekly", before)))


def test_a_damaged_record_of_the_log_is_named(lake: Lake) -> None:
    lake.revise("weekly", MONDAY, rows({"P1": 1.0}), NOTES)
    (key,) = keys(lake, "history")
    lake.store.put(key, b"{}")
    with pytest.raises(HistoryError, match=f"{key} is damaged"):
        revisions_of(lake, "weekly")


def test_a_clock_that_is_set_back_puts_no_revision_before_another(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from qol_dagster.lake import lake as module

    first = lake.revise("weekly", MONDAY, rows({"P1": 1.0}), NOTES)

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2020, 1, 1, tzinfo=tz)

    monkeypatch.setattr(module, "datetime", Earlier)
    second = lake.revise("weekly", MONDAY, rows({"P1": 2.0}), NOTES)
    assert first is not None
    assert second is not None
    assert second.valid_from == first.valid_from + timedelta(milliseconds=1)


def test_of_writers_at_once_each_replaces_what_it_compared_with_and_no_state_is_lost(lake: Lake) -> None:
    lake.revise("weekly", MONDAY, rows({"P": 0.0}), NOTES)
    with ThreadPoolExecutor(4) as pool:
        done = [
            pool.submit(lake.revise, "weekly", MONDAY, rows({"P": float(n)}), noted(raw=str(n))) for n in range(1, 13)
        ]
    found = [one.result() for one in done]
    assert sorted(one.number for one in found if one) == list(range(2, 14))
    logged = revisions_of(lake, "weekly")
    assert [one.number for one in logged] == list(range(1, 14))
    seen = {read(lake, one.valid_from)[MONDAY][0]["steps"] for one in logged}
    assert seen == {float(n) for n in range(13)}


class Killed(BaseException):
    """What no code catches, as a killed process runs none."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """End at the n-th write of a lake, before or after it was made."""
    left, place = itertools.count(), -1
    writes = {name: getattr(Lake, name) for name in ("_put", "replace_object")}

    def killing(name: str) -> Callable[..., Any]:
        def write(self: Lake, *args: Any, **kwargs: Any) -> Any:
            if next(left) == place:
                raise Killed
            done = writes[name](self, *args, **kwargs)
            if next(left) == place:
                raise Killed
            return done

        return write

    for name in writes:
        monkeypatch.setattr(Lake, name, killing(name))

    def kill(at: int) -> None:
        nonlocal left, place
        left, place = itertools.count(), at

    yield kill
    place = -1


def test_killed_before_or_after_any_write_the_state_is_the_old_or_the_new_and_the_history_complete(
    lake: Lake, killed_at: Callable[[int], None]
) -> None:
    started = moment()
    for at in itertools.count():
        day = MONDAY + timedelta(weeks=at)
        lake.revise("weekly", day, rows({"P1": 1.0}), NOTES)
        one = moment()
        lake.revise("weekly", day, rows({"P1": 2.0}), NOTES)
        two = moment()
        killed_at(at)
        was_killed = True
        try:
            lake.revise("weekly", day, rows({"P1": 3.0}), noted(raw="z"))
            was_killed = False
        except Killed:
            pass
        killed_at(-1)
        three = moment()
        stored = lake.read_table("weekly", day)
        assert stored is not None
        now = stored["steps"].to_pylist()
        assert now in ([2.0], [3.0])
        times = [started, one, two, three]
        assert [steps_of(lake, day, when) for when in times] == [None, [1.0], [2.0], now], at
        lake.revise("weekly", day, rows({"P1": 3.0}), noted(raw="z"))
        lake.checked_metadata("weekly", day)
        assert [steps_of(lake, day, when) for when in [*times[:3], moment()]] == [None, [1.0], [2.0], [3.0]]
        of_day = [one for one in revisions_of(lake, "weekly") if one.date == day]
        assert [(one.number, one.cause) for one in of_day] == [(1, "first"), (2, "forced"), (3, "late_files")]
        assert len(keys(lake, f"history/weekly/revisions/date={day}/")) == 3
        assert len(keys(lake, f"history/weekly/date={day}/")) == 2
        if not was_killed:
            break
    assert at >= 6


def steps_of(lake: Lake, day: date, at: datetime) -> list[float] | None:
    found = read(lake, at).get(day)
    return found if found is None else [row["steps"] for row in found]


def test_a_killed_first_run_is_healed_by_whoever_looks_next(lake: Lake, killed_at: Callable[[int], None]) -> None:
    killed_at(1)  # after the partition, before its record
    with pytest.raises(Killed):
        lake.revise("daily", MONDAY, rows({"P1": 1.0}), NOTES)
    killed_at(-1)
    assert keys(lake, "history") == []
    assert [one.number for one in revisions_of(lake, "daily")] == [1]
    assert lake.checked_metadata("daily", MONDAY) == NOTES
    assert len(keys(lake, "history")) == 1


def test_a_record_that_cannot_be_logged_is_an_error_that_says_so(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Lake._put

    def full(self: Lake, key: str, *args: Any, **kwargs: Any) -> None:
        if key.endswith(".json"):
            raise OSError("no space left on device")
        put(self, key, *args, **kwargs)

    monkeypatch.setattr(Lake, "_put", full)
    with pytest.raises(LakeError, match=r"0001\.json, the record of a change, could not be written \(no space"):
        lake.revise("weekly", MONDAY, rows({"P1": 1.0}), NOTES)


# -- sixty weeks

FIRST = date(2026, 1, 5)


def weeks_of_run(number: int, chance: random.Random) -> list[date]:
    """Return what the run of a week computes: its week, and those before that late files, people or code touch."""
    back = {20: [1, 2, 3], 30: [1], 41: [1, 2, 3], 45: range(1, 9)}.get(number, [])
    late = [chance.randint(1, 3)] if number % 3 == 1 and number > 3 else []
    return [FIRST + timedelta(weeks=number - n) for n in sorted({0, *back, *late})]


def notes_of_run(number: int) -> dict[str, Any]:
    """Return what the run of a week notes: people are enrolled in 20 and 41, thresholds change in 30, code in 45."""
    enrolments = (number >= 20) + (number >= 41)
    inputs = {
        "raw": str(number),
        "people": enrolments,
        "code": number >= 45,
        "thresholds": {"days": 4 - (number >= 30)},
    }
    return {"inputs": inputs, "people": {"known": 8 + 3 * enrolments, "withheld": 0}, "engine": "duckdb"}


@pytest.mark.slow
def test_every_state_of_sixty_weekly_runs_can_be_asked_for_at_a_cost_of_twice_the_tables(tmp_path: Path) -> None:
    lake, chance = Lake.local(tmp_path), random.Random(11)
    stored: dict[tuple[Any, date], pa.Table] = {}
    states: list[tuple[datetime, dict[tuple[Any, date], pa.Table]]] = []
    for number in range(60):
        notes = notes_of_run(number)
        for monday in weeks_of_run(number, chance):
            is_late = monday != FIRST + timedelta(weeks=number) and number not in (20, 41, 45)
            days = [("daily", monday + timedelta(days=n)) for n in range(7) if not is_late or chance.random() < 0.3]
            for table, day in (*days, ("weekly", monday)):
                made = wide_rows(chance, notes["people"]["known"], stored.get((table, day)), all_of_it=number == 45)
                lake.revise(table, day, made, notes)  # type: ignore[arg-type]
                stored[table, day] = made
        states.append((moment(), dict(stored)))
    for at, wanted in states[::14] + states[-1:]:
        for name in ("daily", "weekly"):
            assert read(lake, at, name) == {day: made.to_pylist() for (of, day), made in wanted.items() if of == name}
    causes = [cause for one in revisions_of(lake, "weekly") for cause in one.cause.split("+")]
    assert {*causes} == {"first", "late_files", "enrolment", "thresholds", "code"}
    assert causes.count("first") == 60
    tables, history = (sum(lake.objects(prefix).values()) for prefix in ("processed", "history"))
    assert 0.2 * tables < history <= 2 * tables


def wide_rows(chance: random.Random, number: int, old: pa.Table | None, *, all_of_it: bool) -> pa.Table:
    """Return rows of so many people; of those there were, a few have other values."""
    names = [f"P{n:03d}" for n in range(number)]
    before = {row["participant_id"]: row for row in old.to_pylist()} if old else {}
    made = [
        before[name]
        if name in before and not all_of_it and chance.random() < 0.9
        else {"participant_id": name, **{f"c{n}": chance.random() for n in range(20)}}
        for name in names
    ]
    return pa.Table.from_pylist(made)


def test_at_any_time_the_answer_is_that_of_a_plain_model(tmp_path: Path) -> None:
    chance = random.Random(3)
    for number in range(12):
        lake, model = Lake.local(tmp_path / str(number)), []
        state: dict[date, dict[str, float]] = {}
        for _ in range(chance.randint(1, 12)):
            day = MONDAY + timedelta(weeks=chance.randint(0, 2))
            steps = {f"P{n}": float(chance.randint(0, 2)) for n in range(chance.randint(0, 3))}
            lake.revise("weekly", day, rows(steps, at=chance.randint(0, 59)), noted(raw=str(chance.randint(0, 3))))
            state = {**state, day: steps}
            model.append((moment(), state))
        for at, wanted in model:
            found = {
                day: {row["participant_id"]: row["steps"] for row in those} for day, those in read(lake, at).items()
            }
            assert found == wanted


def test_a_record_survives_being_written_and_read() -> None:
    one = Revision(
        MONDAY, 3, datetime(2026, 11, 25, 0, 5, 0, 123000, UTC), "code+forced", 9, 1, 2, 3, ("a", "b"), 2, "f0"
    )
    whole = replace(one, run_id="r", metrics_version="2.0.0", engine="spark", thresholds={"x": 1})
    assert Revision.from_json(whole.as_json()) == whole
    for content in (b"", b"[]", b"{}", b'{"date": 3}', b"null"):
        with pytest.raises(ValueError, match=r".+"):
            Revision.from_json(content)
