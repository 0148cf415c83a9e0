"""Weeks computed by the Glue job: through Dagster, Pipes and a real Spark, or with a Glue that plays a script."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import garmin_sim
from infra import emulated_glue, glue_bundle
from infra.etl import ARCHIVE, SCRIPT
from qol_dagster.definitions import build_defs
from qol_dagster.defs.alerts import wait_until_sent
from qol_dagster.engines import Engine, open_engine
from qol_dagster.identities import Identities
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline import checks, glue_job
from qol_dagster.pipeline.checks import ChecksError, refuse_failing
from qol_dagster.pipeline.etl import materialize_weekly, run_etl
from qol_dagster.pipeline.glue_job import reason_of
from qol_dagster.pipeline.reports import EtlReport
from qol_dagster.resources.glue_run import GlueJob
from qol_dagster.resources.id_map import AwsIdMap
from qol_dagster.resources.platform import Computer, Platform, open_platform
from qol_dagster.resources.platform.aws import AwsPlatform
from qol_dagster.settings import Settings
from qol_dagster.weeks import dates_of
from qol_dagster_tests.support.cloud import Cloud, Deployment, installed
from qol_dagster_tests.support.lakes import MONDAY, differences
from qol_dagster_tests.support.log_privacy import told
from qol_dagster_tests.support.scripted_glue import Run, ScriptedGlue, refusal, says
from qol_ingest.shared import aws

pytestmark = pytest.mark.aws

ASSETS = {"daily_metrics", "weekly_metrics", "participant_status"}
PARTITIONS: dict[TableName, list[date]] = {"daily": dates_of(MONDAY), "weekly": [MONDAY], "status": [MONDAY]}
OF_ENROLMENT = {"enrolled_date", "weeks_enrolled"}
"""The sample's participants were enrolled on a day of their own."""


@dataclass(frozen=True)
class Sample:
    """A simulated week, and what DuckDB makes of it."""

    lake: Lake
    people: dict[str, str]
    report: EtlReport

    def put(self, deployed: Deployment) -> Lake:
        """The raw files and the participants of this week in a deployment; gives its lake."""
        lake = open_platform(deployed.settings).lake()
        AwsIdMap(deployed.settings.id_map_table).import_rows(self.people.items())
        for day in self.lake.raw_days():
            for item in self.lake.raw_objects(day):
                lake.store.put(item.key, self.lake.read_raw(item))
        return lake

    def computed(self, lake: Lake) -> Callable[[Mapping[str, str]], None]:
        """What a script does that computes the week and reports it."""

        def act(arguments: Mapping[str, str]) -> None:
            self.store(lake)
            says(lake, {"report": self.report.as_dict()})(arguments)

        return act

    def store(self, lake: Lake) -> None:
        """Write the week's rows to a deployment's lake."""
        for table, days in PARTITIONS.items():
            for day in days:
                notes = self.lake.partition_metadata(table, day) or {}
                lake.write_table(table, day, self.lake.read_table(table, day), notes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    root = tmp_path_factory.mktemp("sample")
    sim = garmin_sim.Simulation(3, 1, MONDAY + timedelta(days=6), 7)
    garmin_sim.write_lake(sim, root / "lake")
    people = {user: f"P{number}" for number, user in enumerate(sim.user_ids(), start=1)}
    lake = Lake.local(root / "lake")
    with open_engine("duckdb", memory_mb=1024, temp_dir=root / "tmp") as engine:
        return Sample(lake, people, run_etl(engine, lake, [MONDAY], Identities(people)))


@dataclass(frozen=True)
class Done:
    """A run of the weekly job: whether it succeeded, what each table tells, why it failed, and all that was logged."""

    success: bool
    tables: dict[str, dict[str, Any]]
    error: str
    log: str


def done(platform: Platform | Scripted, *assets: str, **config: Any) -> Done:
    """Run the step of the weekly job that computes, for MONDAY."""
    defs = build_defs(platform.settings, resource_overrides={"computer": platform.computer()})
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("weekly_metrics_job").execute_in_process(
            partition_key=MONDAY.isoformat(),
            asset_selection=[dg.AssetKey(name) for name in assets or ASSETS],
            run_config={"ops": {"weekly_etl": {"config": config}}},
            instance=instance,
            raise_on_error=False,
        )
        log = "\n".join(str(entry) for entry in instance.all_logs(result.run_id))
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    tables = {
        str(one.asset_key.to_user_string()): {name: value.value for name, value in one.metadata.items()}
        for one in result.asset_materializations_for_node("weekly_etl")
    }
    return Done(result.success, tables, str(errors[0]) if errors else "", log)


# -- with a real Spark


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, with the packages of this machine instead of downloaded ones."""
    folder = tmp_path_factory.mktemp("bundle") / "glue"
    glue_bundle.build(folder, installed)
    return folder


@pytest.fixture
def on_glue(cloud: Cloud, deployed: Deployment, bundle: Path) -> Deployment:
    """The deployment, with the bundle behind its Glue job."""
    settings, place = deployed.settings, cloud.bucket()
    for name in (SCRIPT, ARCHIVE):
        aws.client("s3").put_object(Bucket=place, Key=name, Body=(bundle / name).read_bytes())
    cloud.runs_script(
        settings.glue_job,
        emulated_glue.HERE,
        emulated_script=f"s3://{place}/{SCRIPT}",
        extra_py_files=f"s3://{place}/{ARCHIVE}",
        lake=f"s3://{settings.bucket}",
        id_map_table=settings.id_map_table,
        processed_kms_key=aws.client("kms").create_key()["KeyMetadata"]["Arn"],
    )
    return deployed


@pytest.mark.spark
def test_a_week_goes_through_dagster_and_pipes_to_glue_as_duckdb_makes_it(
    cloud: Cloud, on_glue: Deployment, sample: Sample
) -> None:
    lake = sample.put(on_glue)
    run = done(open_platform(on_glue.settings))
    assert run.error == ""
    for table in PARTITIONS:
        mine, theirs = rows_of(lake, table), rows_of(sample.lake, table)
        assert len(mine) >= 3
        assert differences(mine, theirs) == []
    assert run.tables.keys() == ASSETS | {"garmin_records"}
    weekly, daily = run.tables["weekly_metrics"], run.tables["daily_metrics"]
    assert (weekly["engine"], weekly["participants"]) == ("spark", 3)
    assert weekly["glue/run_id"] in weekly["glue/run"]
    assert weekly["run_seconds/compute_weekly"] > 0
    assert daily["lines"] == sum(day.counts["lines"] for day in sample.report.daily.days)
    assert "computing 2026-11-16 to 2026-11-22; raw files to parse: " in run.log
    assert len(list(lake.store.list("records/").collect())) >= 14
    assert_nothing_is_given_away(run, lake, sample)
    assert_tables_lie_under_their_own_key(on_glue)
    (shared,) = cloud.place.glob(f"emulated-glue-*/mirror/{on_glue.settings.bucket}/tmp")
    assert list(shared.iterdir()) == []
    with lake.lock():
        pass


def rows_of(lake: Lake, table: TableName) -> list[dict[str, Any]]:
    found = (lake.read_table(table, day) for day in PARTITIONS[table])
    rows = [row for one in found if one is not None for row in one.to_pylist()]
    return [{name: value for name, value in row.items() if name not in OF_ENROLMENT} for row in rows]


def assert_nothing_is_given_away(run: Done, lake: Lake, sample: Sample) -> None:
    sent = [item["path"] for batch in lake.store.list("pipes/") for item in batch]
    assert len(sent) >= 2
    everything = [run.log, str(run.tables), *(bytes(lake.store.get(key).bytes()).decode() for key in sent)]
    assert told(everything, sample.people) == []


def assert_tables_lie_under_their_own_key(deployed: Deployment) -> None:
    s3, bucket = aws.client("s3"), deployed.settings.bucket

    def keys(prefix: str) -> set[Any]:
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
        return {s3.head_object(Bucket=bucket, Key=one["Key"]).get("SSEKMSKeyId") for one in found}

    (key,) = keys("processed/")
    assert str(key).startswith("arn:aws:kms:")
    assert key not in keys("locks/") | keys("pipes/")


def test_the_job_that_the_kick_starts_needs_no_dagster(
    deployed: Deployment, sample: Sample, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lake, asked = sample.put(deployed), []

    def computes(_engine: Engine, lake: Lake, weeks: Sequence[date], people: Identities, **_rest: Any) -> EtlReport:
        asked.append((lake.root, list(weeks), people.active))
        return sample.report

    monkeypatch.setattr(AwsPlatform, "engine", lambda *_: nullcontext())  # Spark has run the same script above
    monkeypatch.setattr(glue_job, "run_etl", computes)
    settings = deployed.settings
    of_kick = ["--weeks", str(MONDAY), "--triggered-by", "kick"]
    with caplog.at_level("INFO", "qol"):
        failed = glue_job.main(["--lake", f"s3://{settings.bucket}", "--id-map-table", settings.id_map_table, *of_kick])
    assert (failed, asked) == ("", [(lake.root, [MONDAY], sample.people)])
    assert f"the week of {MONDAY} has 3 rows" in caplog.text
    assert lake.store.list("pipes/").collect() == []


COMPUTES = f"""
from datetime import date
from qol_dagster.cli.runs import materialize_weeks
from qol_dagster.settings import load_settings
materialize_weeks(load_settings(), [date.fromisoformat("{MONDAY}")])
"""


def test_a_run_that_is_cancelled_in_dagster_is_stopped_on_glue(
    cloud: Cloud, deployed: Deployment, sample: Sample, tmp_path: Path
) -> None:
    sample.put(deployed)
    script = tmp_path / "sleeps.py"
    script.write_text("import time\ntime.sleep(60)\n")
    cloud.runs_script(deployed.settings.glue_job, script)
    glue, name = aws.client("glue"), deployed.settings.glue_job
    with in_another_process(COMPUTES) as process:
        until = time.monotonic() + 60
        while not (runs := glue.get_job_runs(JobName=name)["JobRuns"]) and time.monotonic() < until:
            time.sleep(0.1)
        (run,) = runs
        time.sleep(1)  # until it is waited for
        assert glue.get_job_run(JobName=name, RunId=run["Id"])["JobRun"]["JobRunState"] == "RUNNING"
        process.send_signal(signal.SIGINT)
        process.wait(timeout=40)
    assert [one["JobRunState"] for one in glue.get_job_runs(JobName=name)["JobRuns"]] == ["STOPPED"]
    assert deployed.told() == []


@contextmanager
def in_another_process(code: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# -- with a Glue that plays a script


@dataclass(frozen=True)
class Scripted:
    """A deployment whose Glue plays a script."""

    settings: Settings
    client: ScriptedGlue

    def computer(self) -> Computer:
        job = GlueJob(self.settings.glue_job, poll_s=0.01, client=self.client)
        return replace(open_platform(self.settings).computer(), glue_job=job)


def scripted(deployed: Deployment, *runs: Run | BaseException) -> tuple[Scripted, ScriptedGlue]:
    client = ScriptedGlue(runs)
    return Scripted(deployed.settings, client), client


def test_a_run_that_fails_is_repeated_and_the_second_counts(deployed: Deployment, sample: Sample) -> None:
    lake = sample.put(deployed)
    fails = Run(("RUNNING", "FAILED"), says(lake, {"failed": "LakeError: the disk is full"}))
    platform, client = scripted(deployed, fails, Run(act=sample.computed(lake)))
    run = done(platform)
    assert run.error == ""
    assert "ended as FAILED: LakeError: the disk is full" in run.log
    assert run.tables.keys() == ASSETS | {"garmin_records"}
    assert {one["glue/run_id"] for one in run.tables.values()} == {"jr_2"}
    assert {one["glue/dpu_s"] for one in run.tables.values()} == {122}
    assert [one["--weeks"] for one in client.started] == ["2026-11-16"] * 2
    assert len({one["--dagster-pipes-messages"] for one in client.started}) == 2
    assert deployed.told() == []


def test_a_step_whose_second_run_fails_too_says_why_and_is_told_of(deployed: Deployment, sample: Sample) -> None:
    lake = sample.put(deployed)
    fails = Run(("RUNNING", "FAILED"), says(lake, {"failed": "EngineError: Spark stopped: OutOfMemoryError"}))
    run = done(scripted(deployed, fails, fails)[0])
    assert not run.success
    assert "the Glue run jr_2 of" in run.error
    assert "ended as FAILED: EngineError: Spark stopped: OutOfMemoryError" in run.error
    wait_until_sent()
    ((_, body),) = deployed.told()
    assert "EngineError: Spark stopped: OutOfMemoryError. Its log: https://" in body


def test_a_glue_that_is_busy_with_other_runs_is_asked_once_more(deployed: Deployment, sample: Sample) -> None:
    lake = sample.put(deployed)
    busy = refusal("ConcurrentRunsExceededException")
    assert done(scripted(deployed, busy, Run(act=sample.computed(lake)))[0]).success


def test_a_run_that_ends_well_and_says_nothing_fails_the_step(deployed: Deployment, sample: Sample) -> None:
    sample.put(deployed)
    assert "ended well but said nothing of what it did" in done(scripted(deployed, Run(), Run())[0]).error


def lies(lake: Lake, sample: Sample, **changed: Any) -> Run:
    """A run that reports what it did not do."""
    return Run(act=says(lake, {"report": {**sample.report.as_dict(), **changed}}))


def test_a_report_of_nothing_where_raw_files_lie_fails_the_step(deployed: Deployment, sample: Sample) -> None:
    lake = sample.put(deployed)
    days = [{**day, "rows": 0, "counts": dict.fromkeys(day["counts"], 0)} for day in sample.report.as_dict()["days"]]
    run = done(scripted(deployed, *[lies(lake, sample, days=days)] * 2)[0])
    assert f"raw files are in s3://{deployed.settings.bucket}, but the Glue run jr_2" in run.error
    assert "saw no line of them" in run.error


def test_a_report_of_rows_that_do_not_lie_in_the_lake_fails_the_step(deployed: Deployment, sample: Sample) -> None:
    run = done(scripted(deployed, *[lies(sample.put(deployed), sample)] * 2)[0])
    assert "says it wrote 3 rows to s3://" in run.error
    assert "where there are 0" in run.error


def test_a_week_whose_checks_block_is_never_visible_and_its_old_rows_stay(
    deployed: Deployment, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = sample.put(deployed)
    sample.store(lake)
    tables: tuple[TableName, ...] = ("weekly", "status")
    before = {table: lake.read_table(table, MONDAY) for table in tables}
    lake.write_table("daily", MONDAY, sample.lake.read_table("daily", MONDAY).slice(1), {})  # type: ignore[union-attr]

    def computes(arguments: Mapping[str, str]) -> None:
        engines, now = open_engine("duckdb", memory_mb=1024, temp_dir=tmp_path / "tmp"), datetime.now(UTC)
        with engines as engine, pytest.raises(ChecksError) as failed:
            materialize_weekly(engine, lake, [MONDAY], computed_at=now, verify=refuse_failing(sample.people))
        says(lake, {"failed": reason_of(failed.value)})(arguments)

    monkeypatch.setattr(checks, "_double_keys", lambda *_: "two rows")
    run = done(scripted(deployed, Run(("FAILED",), computes), Run(("FAILED",), computes))[0])
    assert "the weekly rows of 2026-11-16 fail unique_keys, and were not written; the old rows stay" in run.error
    for table, rows in before.items():
        assert rows is not None
        assert rows.equals(lake.read_table(table, MONDAY))


def test_a_report_of_other_weeks_fails_the_step(deployed: Deployment, sample: Sample) -> None:
    run = done(scripted(deployed, *[lies(sample.put(deployed), sample, weekly=[])] * 2)[0])
    assert "said nothing of the weekly rows of 2026-11-16" in run.error


def test_of_one_run_on_glue_the_tables_that_were_selected_are_told(deployed: Deployment, sample: Sample) -> None:
    platform, client = scripted(deployed, Run(act=sample.computed(sample.put(deployed))))
    run = done(platform, "weekly_metrics", force=True)
    assert run.success
    assert run.tables.keys() == {"weekly_metrics"}
    assert client.started[0]["--force"] == "true"


def test_an_engine_that_was_asked_for_by_name_is_refused_at_once(deployed: Deployment) -> None:
    platform, client = scripted(deployed)
    assert "on AWS the Glue job computes weeks, with Spark" in done(platform, engine="duckdb").error
    assert client.started == []
