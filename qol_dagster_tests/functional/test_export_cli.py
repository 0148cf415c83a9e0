"""`qol export` and `qol samples` as their users meet them, over data that came through the pipeline."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest

from qol_dagster.cli.app import run
from qol_dagster.exports import FORMAT_NAMES
from qol_dagster.lake.lake import Lake
from qol_dagster.resources.id_map import IdMap
from qol_dagster.settings import Settings, load_settings
from qol_dagster_tests.support.lakes import MONDAY, local_s, record, worn, write_raw

USER, OTHER, STRANGER = "a1b2c3d4e5f60718293a4b5c6d7e8f90", "b" * 32, "c" * 32
DAY = MONDAY + timedelta(days=1)
LATER = DAY + timedelta(days=1)
NIGHT_START = local_s(DAY, -60)
SECRETS = [USER, OTHER, STRANGER]


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Qol = Callable[..., Said]


@pytest.fixture
def qol(capfd: pytest.CaptureFixture[str]) -> Qol:
    def call(*arguments: str) -> Said:
        code = run(arguments)
        return Said(code, *capfd.readouterr())

    return call


def stage(start_min: float, end_min: float) -> dict[str, int]:
    return {"startTimeInSeconds": local_s(DAY, start_min), "endTimeInSeconds": local_s(DAY, end_min)}


def lines(user: str) -> Iterator[dict[str, object]]:
    """A day of every type of record that has samples, two versions of the stress, and what is no data."""
    yield record("dailies", user, DAY, steps=4321, timeOffsetHeartRateSamples={**worn(11), "36000": 0})
    for received, values in (("10:00", {"0": 99}), ("12:00", {"0": 30, "180": -1, "360": 0, "90000": 50})):
        yield record(
            "stressDetails", user, DAY, _received_at=f"2026-11-18T{received}:00.000Z",
            timeOffsetStressLevelValues=values, timeOffsetBodyBatteryValues={"0": 40, "180": 41},
        )  # fmt: skip
    for on_demand, value in ((False, 97), (True, 88)):
        yield record("pulseox", user, DAY, onDemand=on_demand, timeOffsetSpo2Values={"60": value})
    yield record("allDayRespiration", user, DAY, timeOffsetEpochToBreaths={"0": 14.5, "180": -1})
    for kind, steps in (("WALKING", 100), ("RUNNING", 20)):
        yield record(
            "epochs", user, DAY, summaryId=f"{user}-{kind}", activityType=kind, steps=steps, durationInSeconds=900,
            startTimeInSeconds=local_s(DAY, 600),
        )  # fmt: skip
    yield record(
        "sleeps", user, DAY, startTimeInSeconds=NIGHT_START, durationInSeconds=7 * 3600, validation="ENHANCED_FINAL",
        deepSleepDurationInSeconds=3 * 3600, lightSleepDurationInSeconds=4 * 3600, remSleepInSeconds=0,
        awakeDurationInSeconds=600,
        sleepLevelsMap={"deep": [stage(-60, 120)], "light": [stage(130, 370)], "awake": [stage(120, 130)]},
        timeOffsetSleepSpo2={"0": 95}, timeOffsetSleepRespiration={"60": 13.0},
    )  # fmt: skip


@pytest.fixture(scope="module")
def computed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose week is computed, once for all tests."""
    home = tmp_path_factory.mktemp("computed") / "home"
    no_offset = record(
        "stressDetails",
        USER,
        LATER,
        startTimeOffsetInSeconds=...,
        timeOffsetStressLevelValues={"0": 5},
    )
    enrolled = datetime(2026, 11, 1, tzinfo=UTC)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("QOL_HOME", str(home))
        settings = load_settings()
        write_raw(settings.lake_dir, DAY, [*lines(USER), *lines(STRANGER)])
        write_raw(settings.lake_dir, LATER, [no_offset])
        IdMap(settings.id_map_path).import_rows([(USER, "P1", enrolled), (OTHER, "P2", enrolled)])
        assert run(("materialize", "--week", str(MONDAY))) == 0
    return home


@pytest.fixture
def computed(computed_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Settings:
    """The settings of that home, for tests that change nothing in it."""
    monkeypatch.setenv("QOL_HOME", str(computed_home))
    capfd.readouterr()
    return load_settings()


@pytest.fixture
def copied(computed_home: Path, settings: Settings) -> Settings:
    """The settings of a copy, whose raw files are new to it."""
    shutil.copytree(computed_home, settings.home, dirs_exist_ok=True)
    return settings


def of_type(qol: Qol, type_: str, day: date = DAY) -> list[dict[str, str]]:
    said = qol("samples", "--participant", "P1", "--date", str(day), "--type", type_)
    assert (said.code, said.err) == (0, "")
    return rows_of(said.out)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_an_export_is_written_announced_and_cited(qol: Qol, computed: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = qol("export", "--format", "csv", "--week", "2026-11-19", "--out", str(out))
    assert said.code == 0
    assert said.out.splitlines() == sorted(str(path) for path in out.iterdir())
    cited, absent = said.err.splitlines()
    assert cited.startswith("db_qol.weekly_metrics, 2026-11-16 to 2026-11-16, 1 rows; definitions 2.0.0, ")
    assert absent == "weeks of participants without a row: 1; absent_weeks.csv says why"
    (row,) = rows_of((out / "weekly_metrics.csv").read_text())
    assert (row["participant_id"], row["date"], row["steps_mean"]) == ("P1", "2026-11-16", "4321")
    assert (row["hrv_rmssd_mean"], row["hrv_rmssd_mean_na"]) == ("", "device_does_not_measure")
    assert (row["sleep_tst_h_sd"], row["sleep_tst_h_sd_na"]) == ("", "below_precondition")
    assert rows_of((out / "absent_weeks.csv").read_text()) == [
        {"participant_id": "P2", "date": "2026-11-16", "reason": "not_synced"}
    ]


@pytest.mark.parametrize("command", ["export --format csv", "samples --participant P1 --date {day} --type stress"])
def test_an_export_into_the_home_waits_for_an_erasure_and_one_elsewhere_for_nobody(
    copied: Settings, tmp_path: Path, command: str
) -> None:
    words, within, elsewhere = command.format(day=DAY).split(), copied.home / "mine", tmp_path / "mine"
    with Lake.local(copied.lake_dir).lock():  # as an erasure does while it looks through the home
        assert run([*words, "--out", str(elsewhere)]) == 0
        waiting = Thread(target=run, args=([*words, "--out", str(within)],))
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
        assert not within.exists()
    waiting.join(60)
    assert within.exists()


def test_what_is_asked_wrongly_is_answered_in_one_line(qol: Qol, computed: Settings, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    out = str(tmp_path / "out")
    for code, words, arguments in (
        (1, "'note.txt'", ("--format", "csv", "--out", str(tmp_path))),
        (1, "no rows in the week of 2020-01-06", ("--format", "csv", "--out", out, "--week", "2020-01-08")),
        (2, "--until needs --week", ("--format", "csv", "--out", out, "--until", "2026-11-16")),
        (2, "before --week", ("--format", "csv", "--out", out, "--week", "2026-11-16", "--until", "2026-11-01")),
        (2, "participant_status", ("--format", "csv", "--out", out, "--table", "weekly")),
        (2, "'surveys' cannot be exported", ("--format", "csv", "--out", out, "--table", "surveys")),
        (1, "with `qol survey score`", ("--format", "csv", "--out", out, "--table", "whoqol_scores")),
        (
            1,
            "weekly_metrics_strict has no rows. Compute them with `qol materialize --week DATE --profile strict`",
            ("--format", "csv", "--out", out, "--table", "weekly_metrics_strict"),
        ),
        (2, "'parquet', 'stata'", ("--format", "excel", "--out", out)),
    ):
        said = qol("export", *arguments)
        assert (said.code, said.out) == (code, "")
        assert words in said.err
        assert len(said.err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["note.txt"]


@pytest.mark.slow
def test_no_export_and_no_samples_hold_a_garmin_id(qol: Qol, computed: Settings, tmp_path: Path) -> None:
    for form in FORMAT_NAMES:
        assert qol("export", "--table", "daily_metrics", "--format", form, "--out", str(tmp_path / form)).code == 0
    assert (
        qol("export", "--table", "participant_status", "--format", "csv", "--out", str(tmp_path / "status")).code == 0
    )
    for type_ in ("heart_rate", "sleep_stages"):
        out = tmp_path / f"{type_}.parquet"
        given = ("--participant", "P1", "--date", str(DAY), "--type", type_, "--format", "parquet", "--out", str(out))
        assert qol("samples", *given).code == 0
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "home" not in path.parts]
    assert len(written) > 8 * 5
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".parquet":  # compressed: look at what is in it
            table_ = pq.ParquetFile(path).read()
            content += json.dumps([table_.to_pylist(), str(table_.schema)], default=str).encode()
        for secret in SECRETS:
            assert secret.encode() not in content, path


def test_samples_are_those_that_count_in_local_time_and_utc(qol: Qol, computed: Settings) -> None:
    first, *_ = beats = of_type(qol, "heart_rate")
    assert len(beats) == 11 * 240 - 1  # of which one is 0, which is no data
    assert first == {
        "participant_id": "P1",
        "date": "2026-11-17",
        "type": "heart_rate",
        "time_local": "2026-11-17T08:00:00.000+09:00",
        "time_utc": "2026-11-16T23:00:00.000Z",
        "duration_s": "",
        "value": "60",
        "unit": "bpm",
    }


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("stress", [("2026-11-17T00:00:00.000+09:00", "", "30"), ("2026-11-17T00:06:00.000+09:00", "", "0")]),
        ("body_battery", [("2026-11-17T00:00:00.000+09:00", "", "40"), ("2026-11-17T00:03:00.000+09:00", "", "41")]),
        ("spo2", [("2026-11-17T00:01:00.000+09:00", "", "97")]),
        ("respiration", [("2026-11-17T00:00:00.000+09:00", "", "14.5")]),
        ("steps", [("2026-11-17T10:00:00.000+09:00", "900", "120")]),
        ("sleep_spo2", [("2026-11-16T23:00:00.000+09:00", "", "95")]),
        ("sleep_respiration", [("2026-11-16T23:01:00.000+09:00", "", "13")]),
        (
            "sleep_stages",
            [
                ("2026-11-16T23:00:00.000+09:00", "10800", "deep"),
                ("2026-11-17T02:00:00.000+09:00", "600", "awake"),
                ("2026-11-17T02:10:00.000+09:00", "14400", "light"),
            ],
        ),
    ],
)
def test_each_type_of_samples(qol: Qol, computed: Settings, type_: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(one["time_local"], one["duration_s"], one["value"]) for one in of_type(qol, type_)] == expected


def test_samples_as_parquet_have_types(qol: Qol, computed: Settings, tmp_path: Path) -> None:
    out = tmp_path / "stress.parquet"
    given = ("--participant", "P1", "--date", str(DAY), "--type", "stress", "--format", "parquet", "--out", str(out))
    assert qol("samples", *given).out == f"{out}\n"
    found = pq.ParquetFile(out).read()
    assert {name: str(found.schema.field(name).type) for name in ("date", "time_utc", "value", "time_local")} == {
        "date": "date32[day]",
        "time_utc": "timestamp[ms, tz=UTC]",
        "value": "double",
        "time_local": "string",
    }


def test_samples_say_what_is_missing(qol: Qol, computed: Settings) -> None:
    def said(participant: str, day: date) -> Said:
        return qol("samples", "--participant", participant, "--date", str(day), "--type", "stress")

    nobody = said("P9", DAY)
    assert (nobody.code, nobody.out) == (2, "")
    assert "there is no participant P9" in nobody.err
    assert "no whole records of 2026-11-30" in said("P1", date(2026, 11, 30)).err
    silent = said("P2", DAY)
    assert (silent.code, len(silent.out.splitlines())) == (0, 1)
    assert silent.err == "P2 has no stress samples on 2026-11-17 that count\n"


def overwrite_the_middle(file: Path) -> None:
    content = file.read_bytes()
    third = len(content) // 3
    file.write_bytes(content[:third] + b"\xff" * third + content[2 * third :])


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, overwrite_the_middle])
def test_damaged_records_are_named_with_the_command_that_makes_them_anew(
    qol: Qol, copied: Settings, damage: Callable[[Path], None]
) -> None:
    given = ("samples", "--participant", "P1", "--date", str(DAY), "--type", "stress")
    whole = qol(*given)
    (file,) = (copied.lake_dir / f"records/date={DAY}").glob("*.parquet")
    damage(file)
    said = qol(*given)
    assert (said.code, said.out) == (1, "")
    assert "records of 2026-11-17" in said.err
    _, _, command = said.err.strip().rpartition("qol ")
    assert qol(*command.split()).code == 0
    assert qol(*given).out == whole.out


def test_samples_of_somebody_who_revoked_the_consent_are_not_shown(qol: Qol, copied: Settings) -> None:
    assert qol("participants", "revoke", "P1").code == 0
    revoked = qol("samples", "--participant", "P1", "--date", str(DAY), "--type", "stress")
    assert (revoked.code, revoked.out) == (1, "")
    assert "revoked" in revoked.err


def test_samples_notice_raw_files_that_came_since(qol: Qol, copied: Settings) -> None:
    write_raw(copied.lake_dir, DAY, [record("hrv", USER, DAY, lastNightAvg=40)], name="late")
    said = qol("samples", "--participant", "P1", "--date", str(DAY), "--type", "stress")
    assert said.code == 0
    assert said.err == "raw files of 2026-11-17 changed since; `qol materialize --week 2026-11-17` reads them\n"


def test_times_without_an_offset_are_given_in_utc_alone(qol: Qol, computed: Settings) -> None:
    (sample,) = of_type(qol, "stress", LATER)
    assert (sample["time_local"], sample["time_utc"]) == ("", "2026-11-17T15:00:00.000Z")
