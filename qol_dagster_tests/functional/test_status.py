"""Who wore the device and who fell silent: every engine gives the rows that the definitions give.

The cases were worked out by hand. Each is a participant of its own in one lake of daily rows, which an engine computes
once; what is not of the expression is told with DuckDB alone. All times are UTC; a day in Japan ends at 15:00.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from qol_dagster.engines import Engine, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.lake.tables import arrow_schema
from qol_dagster.metrics.dictionary import DAILY, STATUS
from qol_dagster.metrics.thresholds import DEFAULT_THRESHOLDS, Thresholds
from qol_dagster.pipeline.etl import materialize_weekly, run_etl
from qol_dagster.pipeline.status import materialize_status
from qol_dagster.resources.catalogue.duckdb import query
from qol_dagster.resources.id_map import IdMap
from qol_dagster.weeks import contributing_weeks, dates_of, monday_of
from qol_dagster_tests.support.lakes import MONDAY, differences, record, worn, write_raw

Row = dict[str, Any]

NEXT_MONDAY = MONDAY + timedelta(weeks=1)
NOW = datetime(2026, 12, 1, tzinfo=UTC)
LONG_AGO = date(2026, 6, 1)
VALUES: dict[str, dict[str, float | None]] = {
    "V": {"wear_min": 700.0},
    "N": {"wear_min": 700.0, "sleep_tst_min": 420.0},
    "s": {"wear_min": 90.0},
    "0": {"wear_min": 0.0},
    "n": {"wear_min": None},
    "o": {"wear_min": None, "steps": 0.0},
    "w": {"wear_min": None, "steps": 4_000.0},
    "z": {"wear_min": None, "sleep_tst_min": 420.0},
    "b": {"wear_min": 0.0, "steps": 12.0},
}
"""A valid day, one with a night, one worn too short. Of days with a row: one without wear; without samples, and then
also without steps, with steps, with a night; without wear, but with steps of a device that was carried in a bag.
A point is no row."""


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def daily_row(person: str, day: date, wear_min: float | None, received: datetime | None, **values: float | None) -> Row:
    row = dict.fromkeys(metric.name for metric in DAILY)
    row |= {metric.name: 1 for metric in DAILY if not metric.nullable}
    valid = None if wear_min is None else wear_min >= DEFAULT_THRESHOLDS.valid_day_wear_min
    return row | {
        "participant_id": person,
        "date": day.isoformat(),
        "wear_min": wear_min,
        "is_valid_day": valid,
        "last_received_at": received,
        **values,
    }


def the_morning_after(day: date) -> datetime:
    return utc(f"{day}T23:00")


def write_daily(lake: Lake, rows: Iterable[Row], days: Iterable[date] = ()) -> None:
    rows = list(rows)
    for day in {*days, *(date.fromisoformat(row["date"]) for row in rows)}:
        of_day = [row for row in rows if row["date"] == day.isoformat()]
        lake.write_table("daily", day, pa.Table.from_pylist(of_day, schema=arrow_schema(DAILY)), {})


def status_of(lake: Lake, weeks: Iterable[date]) -> list[Row]:
    found = [lake.read_table("status", week) for week in weeks]
    return [row for table in found if table is not None for row in table.to_pylist()]


def keyed(rows: Iterable[Row]) -> dict[tuple[str, str], Row]:
    return {(row["participant_id"], row["date"]): row for row in rows}


@pytest.fixture(scope="module")
def duckdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path_factory.mktemp("duckdb")) as engine:
        yield engine


# -- by hand


@dataclass(frozen=True)
class Case:
    """A participant's days and what the week of 16 to 22 November 2026 is to say of them.

    `days` are those from `first` on, each received on the morning after, unless `received` has another time for it or
    `all_received` one for all. `counts` are the valid, short, not worn, not synced and not enrolled days,
    `unknown` those of unknown wear; `night` is the last date with one.
    """

    days: str
    status: str
    counts: tuple[int, int, int, int, int]
    worn: str | None
    synced: str | None
    silent_days: int | None
    first: date = MONDAY
    received: Mapping[str, str | None] = field(default_factory=dict)
    all_received: str | None = ""
    night: str | None = None
    unknown: int = 0
    enrolled: date | None = LONG_AGO
    revoked: bool = False

    def rows(self, person: str) -> Iterator[Row]:
        for number, letter in enumerate(self.days):
            day = self.first + timedelta(days=number)
            at = self.received.get(str(day), self.all_received)
            received = the_morning_after(day) if at == "" else utc(at) if at else None
            if letter != ".":
                yield daily_row(person, day, received=received, **VALUES[letter])


CASES = {
    "worn every day": Case("VVVVVVV", "valid", (7, 0, 0, 0, 0), "2026-11-22", "2026-11-22T23:00", 2),
    "four valid days, one at the weekend": Case(
        # Received on the 22nd at 08:00 in Japan: Thursday and Friday were over, Sunday was not.
        "VVV..V.", "valid", (4, 0, 2, 1, 0), "2026-11-21", "2026-11-21T23:00", 3,
    ),
    "four valid days, none at the weekend": Case(
        "VVVV...", "too_short", (4, 0, 0, 3, 0), "2026-11-19", "2026-11-19T23:00", 5
    ),
    "the same, but Thursday came on Tuesday": Case(
        "VVVV...", "too_short", (4, 0, 3, 0, 0), "2026-11-19", "2026-11-24T03:00", 0,
        received={"2026-11-19": "2026-11-24T03:00"},
    ),
    "three valid days and a short one": Case(
        "V.V.sV.", "too_short", (3, 1, 2, 1, 0), "2026-11-21", "2026-11-21T23:00", 3
    ),
    "one short day": Case("......s", "too_short", (0, 1, 6, 0, 0), "2026-11-22", "2026-11-22T23:00", 2),
    "charged on the table, synced as Sunday ended": Case(
        "0n0n...", "not_worn", (0, 0, 7, 0, 0), None, "2026-11-22T15:00", 2, all_received="2026-11-22T15:00"
    ),
    "the same a millisecond before": Case(
        "0n0n...", "not_worn", (0, 0, 6, 1, 0), None, "2026-11-22T14:59:59.999", 2,
        all_received="2026-11-22T14:59:59.999",
    ),
    "steps every day, and never a sample": Case(
        "wwwwwww", "unknown", (0, 0, 0, 0, 0), None, "2026-11-22T23:00", 2, unknown=7
    ),
    "a night without a sample, and days without steps": Case(
        "zoo.no.", "unknown", (0, 0, 5, 1, 0), None, "2026-11-21T23:00", 3, unknown=1, night="2026-11-16"
    ),
    "steps without a sample on one day, worn on another": Case(
        # Received on the 18th at 08:00 in Japan, before it was over.
        "ws.....", "too_short", (0, 1, 0, 5, 0), "2026-11-17", "2026-11-17T23:00", 7, unknown=1
    ),
    "samples that say off the wrist, whatever was counted": Case(
        "bbbbbbb", "not_worn", (0, 0, 7, 0, 0), None, "2026-11-22T23:00", 2
    ),
    "worn by day, the last night was on Wednesday": Case(
        "NNNVVVV", "valid", (7, 0, 0, 0, 0), "2026-11-22", "2026-11-22T23:00", 2, night="2026-11-18"
    ),
    "worn by day, the last night was on the first of the 28 days": Case(
        f"N{'V' * 27}", "valid", (7, 0, 0, 0, 0), "2026-11-22", "2026-11-22T23:00", 2,
        first=date(2026, 10, 26), night="2026-10-26",
    ),
    "worn by day, the last night was on the day before them": Case(
        f"N{'V' * 28}", "valid", (7, 0, 0, 0, 0), "2026-11-22", "2026-11-22T23:00", 2, first=date(2026, 10, 25)
    ),
    "records without a time of receipt": Case(
        "V.V.V.V", "valid", (4, 0, 0, 3, 0), "2026-11-22", None, None, all_received=None
    ),
    "a day without a time of receipt after four weeks of silence": Case(
        f"V{'.' * 27}V", "too_short", (1, 0, 0, 6, 0), "2026-11-16", "2026-10-19T23:00", 36,
        first=date(2026, 10, 19), received={"2026-11-16": None},
    ),
    "received after the weekly run had looked": Case(
        "VVVVVVV", "valid", (7, 0, 0, 0, 0), "2026-11-22", "2026-11-28T09:00", 0, all_received="2026-11-28T09:00"
    ),
    "enrolled on Thursday, worn since": Case(
        "...VVVV", "valid", (4, 0, 0, 0, 3), "2026-11-22", "2026-11-22T23:00", 2, enrolled=date(2026, 11, 19)
    ),
    "enrolled on Thursday, nothing yet": Case(
        "", "not_synced", (0, 0, 0, 4, 3), None, None, None, enrolled=date(2026, 11, 19)
    ),
    "enrolled on Sunday": Case("", "not_synced", (0, 0, 0, 1, 6), None, None, None, enrolled=date(2026, 11, 22)),
    "enrolled the Monday after": Case("", "not_enrolled", (0, 0, 0, 0, 7), None, None, None, enrolled=NEXT_MONDAY),
    "data from before the enrolment on Friday": Case(
        "VV.0...", "too_short", (2, 0, 1, 3, 1), "2026-11-17", "2026-11-19T23:00", 5, enrolled=date(2026, 11, 20)
    ),
    "enrolled on Saturday, an old day came on Tuesday": Case(
        "V", "not_worn", (0, 0, 2, 0, 5), "2026-11-09", "2026-11-24T00:05", 1,
        first=date(2026, 11, 9), all_received="2026-11-24T00:05", enrolled=date(2026, 11, 21),
    ),
    "last worn on the first of the 28 days": Case(
        "V", "not_synced", (0, 0, 0, 7, 0), "2026-10-26", "2026-10-26T23:00", 29, first=date(2026, 10, 26)
    ),
    "last worn on the day before them": Case(
        "V", "not_synced", (0, 0, 0, 7, 0), None, "2026-10-25T23:00", 30, first=date(2026, 10, 25)
    ),
    "silent since August, when July's data came last": Case(
        # From 10 August, 01:00, to 25 November, 00:05: 21 + 30 + 31 + 25 days, less 55 minutes.
        "V......V", "not_synced", (0, 0, 0, 7, 0), None, "2026-08-10T01:00", 106, first=date(2026, 7, 27),
        received={"2026-07-27": "2026-08-10T01:00"},
    ),
    "silent since long ago, but that came on Tuesday": Case(
        "V", "not_worn", (0, 0, 7, 0, 0), None, "2026-11-24T00:00", 1,
        first=date(2026, 7, 27), all_received="2026-11-24T00:00",
    ),
    "nothing ever": Case("", "not_synced", (0, 0, 0, 7, 0), None, None, None),
    "nothing ever, and nobody knows since when": Case(
        "", "not_synced", (0, 0, 0, 7, 0), None, None, None, enrolled=None
    ),
    "worn from the next Monday on": Case(
        "VVVV", "not_synced", (0, 0, 0, 7, 0), None, None, None, first=NEXT_MONDAY
    ),
    "revoked, with rows from before": Case("NNNwVVV", "revoked", (0, 0, 0, 0, 0), None, None, None, revoked=True),
    "revoked before the enrolment's week": Case(
        "", "revoked", (0, 0, 0, 0, 0), None, None, None, enrolled=NEXT_MONDAY, revoked=True
    ),
}  # fmt: skip
IDS = {name: f"C{number:02d}" for number, name in enumerate(CASES)}
PEOPLE = Identities(
    {f"user-{IDS[name]}": IDS[name] for name, case in CASES.items() if not case.revoked},
    frozenset(f"user-{IDS[name]}" for name, case in CASES.items() if case.revoked),
    {IDS[name]: case.enrolled for name, case in CASES.items() if case.enrolled},
)
COUNTS = ("n_valid_days", "n_short_days", "n_not_worn_days", "n_not_synced_days", "n_not_enrolled_days")


def write_cases(lake: Lake, engine: Engine) -> None:
    """The cases' daily partitions, and the weekly ones of all weeks that have any."""
    rows = [row for name, case in CASES.items() for row in case.rows(IDS[name])]
    write_daily(lake, rows)
    weeks = {monday_of(date.fromisoformat(row["date"])) for row in rows}
    materialize_weekly(engine, lake, sorted(weeks), computed_at=NOW)


@pytest.fixture(scope="module")
def cases(engine: Engine, duckdb: Engine, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The lake of the cases, the status of both weeks computed."""
    lake = Lake.local(tmp_path_factory.mktemp("cases"))
    write_cases(lake, duckdb)
    materialize_status(engine, lake, [MONDAY, NEXT_MONDAY], PEOPLE, computed_at=NOW)
    return lake


@pytest.mark.parametrize("name", CASES)
def test_a_week_is_what_was_worked_out_by_hand(cases: Lake, name: str) -> None:
    case, row = CASES[name], keyed(status_of(cases, [MONDAY]))[IDS[name], str(MONDAY)]
    found = (row["status"], tuple(row[column] for column in COUNTS), row["last_worn_date"], row["last_synced_at"])
    assert found == (case.status, case.counts, case.worn, case.synced and utc(case.synced))
    assert (row["days_since_last_sync"], row["n_unknown_days"]) == (case.silent_days, case.unknown)
    assert row["last_night_date"] == case.night
    assert tuple(row["day_states"].count(letter) for letter in "VSNAE") == case.counts
    assert row["day_states"].count("U") == case.unknown


def test_a_week_that_is_looked_at_early_counts_the_days_until_now(cases: Lake) -> None:
    rows = keyed(status_of(cases, [NEXT_MONDAY]))
    worn_since = rows[IDS["worn from the next Monday on"], str(NEXT_MONDAY)]
    assert (worn_since["status"], worn_since["last_synced_at"]) == ("too_short", utc("2026-11-26T23:00"))
    assert worn_since["days_since_last_sync"] == 4  # until 1 December, 00:00
    enrolled = rows[IDS["enrolled the Monday after"], str(NEXT_MONDAY)]
    assert (enrolled["status"], enrolled["n_not_synced_days"]) == ("not_synced", 7)


def test_everyone_enrolled_has_one_row_in_every_week_with_the_dictionary_s_columns(cases: Lake) -> None:
    rows = status_of(cases, [MONDAY, NEXT_MONDAY])
    everyone = [(IDS[name], str(week)) for week in (MONDAY, NEXT_MONDAY) for name in CASES]
    assert [(row["participant_id"], row["date"]) for row in rows] == everyone
    assert [*rows[0]] == [metric.name for metric in STATUS if metric.name != "date"] + ["date"]
    assert {row["computed_at"] for row in rows} == {NOW}


def test_who_is_not_in_the_id_map_has_no_row_whatever_lies_in_the_lake(duckdb: Engine, tmp_path: Path) -> None:
    lake = Lake.local(tmp_path)
    write_daily(lake, [daily_row(person, MONDAY, 700.0, NOW) for person in ("P1", "gone")])
    (report,) = materialize_status(duckdb, lake, [MONDAY], Identities({"user-1": "P1"}), computed_at=NOW)
    assert [row["participant_id"] for row in status_of(lake, [MONDAY])] == ["P1"]
    assert (report.week, report.rows, report.uri) == (MONDAY, 1, lake.partition_uri("status", MONDAY))


def test_a_past_week_comes_out_the_same_whenever_and_with_whichever_weeks_it_is_computed(
    duckdb: Engine, tmp_path: Path
) -> None:
    lake, july = Lake.local(tmp_path), date(2026, 7, 6)
    write_cases(lake, duckdb)
    found = []
    for weeks, later in (([MONDAY], 0), ([MONDAY, NEXT_MONDAY], 1), ([july, MONDAY], 400)):
        materialize_status(duckdb, lake, weeks, PEOPLE, computed_at=NOW + timedelta(days=later))
        found.append(status_of(lake, [MONDAY]))
    assert differences(found[1], found[0]) + differences(found[2], found[0]) == []
    assert found[2][0]["computed_at"] == NOW, "the same values keep the time at which they were first computed"


@pytest.mark.slow
def test_the_thresholds_decide_what_a_valid_week_is(duckdb: Engine, tmp_path: Path) -> None:
    lake = Lake.local(tmp_path)
    write_daily(lake, Case("VVVV...", "", (0, 0, 0, 0, 0), None, None, None).rows("P1"))
    workdays = Thresholds(valid_week_weekend_days=0)
    materialize_status(duckdb, lake, [MONDAY], Identities({"u": "P1"}), computed_at=NOW, thresholds=workdays)
    assert status_of(lake, [MONDAY])[0]["status"] == "valid"
    assert (lake.partition_metadata("status", MONDAY) or {})["valid_week_weekend_days"] == 0


# -- at random, against the definition day by day


RANDOM_WEEKS = [MONDAY - timedelta(weeks=number) for number in (9, 3, 2, 1, 0)]


def a_study(seed: int) -> tuple[Identities, list[Row], list[date]]:
    """People who come, go, fall silent and synchronise late; everything that lies in the lake of them."""
    chance = random.Random(seed)
    people = [f"P{number:02d}" for number in range(80)]
    days = [day for week in contributing_weeks(RANDOM_WEEKS) for day in dates_of(week)]
    rows = []
    for person in people:
        diligence = chance.choice((0, 0.1, 0.6, 1))
        until = chance.choice(days)
        for day in (one for one in days if one <= until and chance.random() < diligence):
            after = timedelta(days=chance.choice((0, 0, 1, 3, 40)), hours=chance.randrange(24))
            received = chance.choice((None, *[the_morning_after(day) + after] * 9))
            wear_min = chance.choice((None, 0.0, 90.0, 599.0, 600.0, 700.0, 900.0))
            signs = {name: chance.choice((None, 0.0, 40.0)) for name in SIGNS if chance.random() < 0.3}
            rows.append(daily_row(person, day, wear_min, received, **signs))
    active = {f"user-{person}": person for person in people if chance.random() < 0.9}
    enrolled = {person: chance.choice(days) for person in people if chance.random() < 0.9}
    return Identities(active, frozenset(), enrolled), rows, days


def expected(identities: Identities, rows: Sequence[Row], week: date) -> dict[str, Row]:
    """The definition, one participant and day after the other."""
    found = {}
    first, next_monday = str(week - timedelta(weeks=3)), str(week + timedelta(weeks=1))
    look = min(NOW, datetime(week.year, week.month, week.day, tzinfo=UTC) + timedelta(days=9, minutes=5))
    for person in {*identities.active.values(), *identities.enrolled}:
        mine = {row["date"]: row for row in rows if row["participant_id"] == person and row["date"] < next_monday}
        recent = [row for day, row in mine.items() if day >= first]
        receipts = [row["last_received_at"] for row in recent if row["last_received_at"]]
        receipts = receipts or [row["last_received_at"] for row in mine.values() if row["last_received_at"]]
        synced = max(receipts, default=None)
        states = [state_of(day, mine.get(str(day)), identities.enrolled.get(person), synced) for day in dates_of(week)]
        weekend = states[5:].count("valid")
        if person not in identities.active.values():
            status, states, synced, recent = "revoked", [], None, []
        elif states.count("valid") >= 4 and weekend >= 1:
            status = "valid"
        elif {"valid", "too_short"} & {*states}:
            status = "too_short"
        elif {*states} == {"not_enrolled"}:
            status = "not_enrolled"
        else:
            status = next((one for one in ("unknown", "not_worn") if one in states), "not_synced")
        found[person] = {
            "participant_id": person,
            "date": str(week),
            "status": status,
            "day_states": "".join(LETTERS[state] for state in states) or "RRRRRRR",
            **{f"n_{name.removeprefix('too_')}_days": states.count(name) for name in STATES},
            "last_worn_date": max((row["date"] for row in recent if (row["wear_min"] or 0) > 0), default=None),
            "last_night_date": max((row["date"] for row in recent if row["sleep_tst_min"] is not None), default=None),
            "last_synced_at": synced,
            "days_since_last_sync": synced and max((look - synced).days, 0),
        }
    return found


LETTERS = {
    "valid": "V", "too_short": "S", "unknown": "U", "not_worn": "N", "not_synced": "A", "not_enrolled": "E",
}  # fmt: skip
STATES = tuple(LETTERS)
SIGNS = ("steps", "hr_max_bpm", "stress_mean", "sleep_tst_min", "hrv_rmssd_ms", "spo2_mean_pct", "resp_day_brpm")


def state_of(day: date, row: Row | None, enrolled: date | None, synced: datetime | None) -> str:
    if row and row["is_valid_day"]:
        return "valid"
    if row and (row["wear_min"] or 0) > 0:
        return "too_short"
    if row and row["wear_min"] is None and any((row[name] or 0) > 0 for name in SIGNS):
        return "unknown"
    if row:
        return "not_worn"
    if enrolled and day < enrolled:
        return "not_enrolled"
    return "not_worn" if synced and synced >= utc(f"{day}T15:00") else "not_synced"


def test_a_study_at_random_comes_out_as_the_definition_says_day_by_day(
    engine: Engine, duckdb: Engine, tmp_path: Path
) -> None:
    identities, rows, days = a_study(1)
    lake = Lake.local(tmp_path)
    write_daily(lake, rows, days)
    materialize_weekly(duckdb, lake, contributing_weeks(RANDOM_WEEKS), computed_at=NOW)
    materialize_status(engine, lake, RANDOM_WEEKS, identities, computed_at=NOW)
    found = status_of(lake, sorted(RANDOM_WEEKS))
    wanted = [row for week in RANDOM_WEEKS for row in expected(identities, rows, week).values()]
    assert differences(found, wanted) == []
    assert {row["status"] for row in found} == {"revoked", *STATES}
    weekly = keyed(row for week in RANDOM_WEEKS for row in read(lake, week))
    for row in found:
        assert sum(row[name] for name in (*COUNTS, "n_unknown_days")) == (0 if row["status"] == "revoked" else 7)
        of_week = weekly.get((row["participant_id"], row["date"]))
        if row["status"] != "revoked":
            assert (row["status"] == "valid") == bool(of_week and of_week["is_valid_week"])
            assert row["n_valid_days"] == (of_week["n_valid_days"] if of_week else 0)
        for metric in STATUS:
            value = row[metric.name]
            assert metric.nullable or value is not None
            assert metric.minimum is None or value is None or value >= metric.minimum
            assert metric.maximum is None or value is None or value <= metric.maximum


def read(lake: Lake, week: date) -> list[Row]:
    found = lake.read_table("weekly", week)
    assert found is not None
    return found.to_pylist()


def test_a_dailies_record_with_steps_and_without_samples_is_a_day_of_unknown_wear(
    duckdb: Engine, tmp_path: Path
) -> None:
    root = tmp_path / "lake"
    for day in dates_of(MONDAY):
        summary = {"steps": 5_000 if day == MONDAY else 0}
        write_raw(root, day, [record("dailies", "user-1", day, **summary)], "user-1")
    run_etl(duckdb, Lake.local(root), [MONDAY], Identities({"user-1": "P1"}))
    (row,) = status_of(Lake.local(root), [MONDAY])
    assert (row["status"], row["n_unknown_days"], row["n_not_worn_days"]) == ("unknown", 1, 6)


def test_the_order_of_rows_weeks_and_people_shows_in_nothing(duckdb: Engine, tmp_path: Path) -> None:
    identities, rows, days = a_study(7)
    chance, weeks = random.Random(7), RANDOM_WEEKS
    found = []
    for name in ("one", "other"):
        lake = Lake.local(tmp_path / name)
        write_daily(lake, rows, days)
        materialize_status(duckdb, lake, weeks, identities, computed_at=NOW)
        found.append(status_of(lake, RANDOM_WEEKS))
        chance.shuffle(rows)
        weeks = weeks[::-1]
        identities = replace(identities, active=dict(reversed(identities.active.items())))
    assert found[0] == found[1]


# -- what is read, and where it comes from


@dataclass(frozen=True)
class Noting(Lake):
    """A lake that notes the weekly partitions that are read, with the columns."""

    noted: list[tuple[date, Sequence[str] | None]] = field(default_factory=list)

    def read_table(self, table: Any, day: date, columns: Sequence[str] | None = None) -> pa.Table | None:
        if table == "weekly":
            self.noted.append((day, columns))
        return super().read_table(table, day, columns)


def test_weeks_before_are_read_only_for_the_silent_and_of_them_three_columns(duckdb: Engine, tmp_path: Path) -> None:
    lake = Lake.local(tmp_path)
    old = MONDAY - timedelta(weeks=8)
    write_daily(lake, [daily_row("P1", MONDAY, 700.0, NOW), daily_row("P2", old, 700.0, NOW)])
    materialize_weekly(duckdb, lake, [old, MONDAY], computed_at=NOW)
    noting = Noting(lake.root, lake.store)
    materialize_status(duckdb, noting, [MONDAY], Identities({"u": "P1"}), computed_at=NOW)
    assert noting.noted == []
    materialize_status(duckdb, noting, [MONDAY], Identities({"u": "P1", "v": "P2"}), computed_at=NOW)
    assert noting.noted == [(old, ["participant_id", "date", "last_received_at"])]


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IdMap:
    """P1 with two accounts, the older one revoked; P2, revoked altogether; P3, of whom nothing came."""
    people = IdMap(tmp_path / "map.sqlite")

    def at(moment: str) -> None:
        monkeypatch.setattr("qol_ingest.shared.id_map_sqlite._now", lambda: f"{moment}:00.000+00:00")

    at("2026-11-17T16:00")  # the 18th in Japan
    people.add("user-old", "P1")
    people.add("user-leaver", "P2")
    people.deregister("user-old", utc("2026-11-18T00:00"))
    at("2026-11-20T00:00")
    people.add("user-new", "P1")
    people.add("user-silent", "P3")
    people.revoke("P2")
    return people


def test_from_raw_files_and_the_id_map_to_the_table_that_staff_ask(
    duckdb: Engine, tmp_path: Path, people: IdMap
) -> None:
    root = tmp_path / "lake"
    for day in dates_of(MONDAY)[2:]:
        for user in ("user-old", "user-new", "user-leaver"):
            hours = 12 if user == "user-old" else 11
            write_raw(root, day, [record("dailies", user, day, timeOffsetHeartRateSamples=worn(hours))], user)
    report = run_etl(duckdb, Lake.local(root), [MONDAY], people.identities())
    assert [(one.week, one.rows) for one in report.status] == [(MONDAY, 3)]
    columns = ["participant_id", "status", *COUNTS, "last_worn_date"]
    found = query(root, "SELECT * FROM db_qol.participant_status ORDER BY date DESC, participant_id").table
    assert found.column_names == [metric.name for metric in STATUS]
    assert found.select(columns).to_pylist() == [
        dict(zip(columns, values, strict=True))
        for values in (
            ("P1", "valid", 5, 0, 0, 0, 2, "2026-11-22"),
            ("P2", "revoked", 0, 0, 0, 0, 0, None),
            ("P3", "not_synced", 0, 0, 0, 3, 4, None),
        )
    ]
