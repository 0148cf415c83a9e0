"""The way to Glue: its runs' states, and what a run's arguments and errors say. No network."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from qol_dagster.defs.assets.glue import GlueRequest, read_report
from qol_dagster.engines import EngineError
from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.pipeline import glue_job as glue
from qol_dagster.pipeline.etl import COUNTS
from qol_dagster.pipeline.glue_job import GlueArgumentsError
from qol_dagster.pipeline.reports import DailyReport, DayReport, EtlReport, WeekReport
from qol_dagster.resources.glue_run import GlueError, GlueJob, GlueRun
from qol_dagster_tests.support.lakes import MONDAY
from qol_dagster_tests.support.scripted_glue import Run, ScriptedGlue, refusal

GIVEN = ["--lake", "s3://qol-lake", "--id-map-table", "user_id_map", "--weeks", "2026-11-16"]
USER = "4aacafe82427c251df9c9592d0c06768"
DAY = DayReport(MONDAY, False, 3, 2, 1024, 512, dict.fromkeys(COUNTS, 5))
WEEK = WeekReport(MONDAY, 3, "s3://qol-lake/processed/weekly/date=2026-11-16", {"write weekly": 0.1})
REPORT = EtlReport(DailyReport((DAY,), {"read raw": 1.5}), (WEEK,), (WEEK,))
ENDED_WELL = GlueRun("qol-weekly-etl", "jr_1", "SUCCEEDED", "ap-northeast-1", "/aws-glue/qol")


def job(client: ScriptedGlue, **limits: float) -> GlueJob:
    return GlueJob("qol-weekly-etl", **{"poll_s": 0.001, **limits}, client=client)


def ran(client: ScriptedGlue, **limits: float) -> GlueRun:
    return job(client, **limits).run({"--weeks": "2026-11-16"}, lambda _line: None)


# -- a run and its states


def test_a_run_is_waited_for_through_all_states_it_passes_and_tells_what_it_cost() -> None:
    client = ScriptedGlue([Run(("WAITING", "STARTING", "RUNNING", "STOPPING", "SOMETHING NEW", "SUCCEEDED"))])
    run = ran(client)
    assert (run.state, run.id, run.execution_s, run.dpu_s) == ("SUCCEEDED", "jr_1", 61, 122)
    assert client.started == [{"--weeks": "2026-11-16"}]
    assert client.stopped == []


@pytest.mark.parametrize("state", ["FAILED", "ERROR", "TIMEOUT", "STOPPED", "EXPIRED"])
def test_a_run_that_did_not_end_well_is_an_error_that_names_it_its_state_and_its_log(state: str) -> None:
    run = ran(ScriptedGlue([Run(("RUNNING", state))]))
    assert run.state == state
    with pytest.raises(GlueError) as raised:
        read_report(run, [])
    assert f"the Glue run jr_1 of qol-weekly-etl ended as {state} before it could say why" in str(raised.value)
    assert "https://ap-northeast-1.console.aws.amazon.com/gluestudio/" in str(raised.value)
    assert "Traceback" not in str(raised.value)
    with pytest.raises(GlueError, match=f"ended as {state}: LakeError: the disk is full"):
        read_report(run, [{"failed": "LakeError: the disk is full"}])


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), DagsterExecutionInterruptedError(), SystemExit(1)])
def test_whatever_ends_the_waiting_stops_the_run(interrupt: BaseException) -> None:
    client = ScriptedGlue([Run(("RUNNING", interrupt))])
    with pytest.raises(type(interrupt)):
        ran(client)
    assert client.stopped == ["jr_1"]


@pytest.mark.parametrize("refused", [[], [{"ErrorDetail": {"ErrorCode": "JobRunNotInTerminalStateException"}}]])
def test_it_is_told_whether_a_run_was_stopped(refused: list[Any]) -> None:
    client, told = ScriptedGlue([Run((KeyboardInterrupt(),))], stop_errors=refused), list[str]()
    with pytest.raises(KeyboardInterrupt):
        job(client).run({}, told.append)
    assert ("could not be stopped: JobRun" if refused else "the Glue run jr_1 of qol-weekly-etl is stopped") in told[-1]


def test_a_glue_that_is_busy_is_asked_again_and_one_that_stays_silent_is_given_up() -> None:
    throttled = refusal("ThrottlingException")
    assert ran(ScriptedGlue([Run((throttled, throttled, "RUNNING", throttled, "SUCCEEDED"))])).state == "SUCCEEDED"
    client = ScriptedGlue([Run(("RUNNING", throttled))])
    with pytest.raises(GlueError, match="Glue did not say how the Glue run jr_1 .* does: ThrottlingException"):
        ran(client, unresponsive_s=0.02)
    assert client.stopped == ["jr_1"]


@pytest.mark.parametrize("state", ["RUNNING", "WAITING", "SOMETHING NEW"])
def test_a_run_that_never_ends_is_stopped(state: str) -> None:
    client = ScriptedGlue([Run((state,))])
    with pytest.raises(GlueError, match=f"was {state} after 0.02 s, and is stopped"):
        ran(client, limit_s=0.02)
    assert client.stopped == ["jr_1"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("ConcurrentRunsExceededException", "as many runs of it are active as it may have; it is tried once more"),
        ("EntityNotFoundException", "set QOL_GLUE_JOB"),
        ("InternalServiceException", "InternalServiceException"),
    ],
)
def test_a_run_that_glue_does_not_start_is_an_error_that_quotes_nobody(code: str, told: str) -> None:
    with pytest.raises(GlueError) as raised:
        ran(ScriptedGlue([refusal(code)]))
    assert str(raised.value).startswith("Glue did not start qol-weekly-etl: ")
    assert told in str(raised.value)
    assert "nobody should read" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_the_addresses_of_a_run_are_those_of_the_console() -> None:
    assert ENDED_WELL.url.endswith("/gluestudio/home?region=ap-northeast-1#/job/qol-weekly-etl/run/jr_1")
    assert ENDED_WELL.log_url.endswith("#logsV2:log-groups$3FlogGroupNameFilter$3D$252Faws-glue$252Fqol")


# -- what comes back


def test_a_report_comes_back_from_json_as_it_was() -> None:
    assert read_report(ENDED_WELL, ["something else", {"report": REPORT.as_dict()}]) == REPORT


def test_a_run_that_says_nothing_does_not_count_however_it_ended() -> None:
    with pytest.raises(GlueError, match="ended well but said nothing of what it did"):
        read_report(ENDED_WELL, [])


@pytest.mark.parametrize("told", [{}, {"days": [{}]}, {"days": []}, [], None, REPORT.as_dict() | {"days": 1}])
def test_a_report_of_another_release_is_an_error(told: Any) -> None:
    with pytest.raises(GlueError, match="has code of another release"):
        read_report(ENDED_WELL, [{"report": told}])


# -- what the script is told


def test_what_dagster_orders_is_what_the_script_reads() -> None:
    order = GlueRequest([MONDAY, date(2026, 11, 23)], PROFILES["strict"], date(2026, 4, 6), force=True)
    words = [word for pair in order.arguments.items() for word in pair]
    found = glue.parse_arguments([*GIVEN[:4], "--processed-kms-key", "arn:key", *words])
    assert (found.weeks, found.profile, found.force) == (tuple(order.weeks), order.profile, True)
    assert (found.settings.bucket, found.settings.id_map_table) == ("qol-lake", "user_id_map")
    assert (found.settings.start_date, found.tables_key) == (order.since, "arn:key")


def test_what_the_kick_and_glue_itself_say_besides_is_passed_over() -> None:
    others = ["--triggered-by", "kick", "--JOB_NAME", "qol-weekly-etl", "--TempDir", "s3://x/", "--week", "2020-01-06"]
    found = glue.parse_arguments([*others[:4], *GIVEN, *others[4:]])
    assert (found.weeks, found.profile.name, found.force) == ((MONDAY,), "default", False)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("--weeks", "2026-11-16,last", "--weeks: must be dates like 2026-11-16, with commas between, not"),
        ("--weeks", "", "--weeks: must be dates"),
        ("--lake", "qol-lake", "--lake: must be a bucket like s3://qol-lake, not 'qol-lake'"),
        ("--lake", "s3://qol-lake/raw", "--lake: must be a bucket"),
        ("--profile", "mild", "--profile: invalid choice: 'mild'"),
    ],
)
def test_an_argument_that_is_wrong_is_named(name: str, value: str, told: str) -> None:
    with pytest.raises(GlueArgumentsError) as raised:
        glue.parse_arguments([*GIVEN, name, value])
    assert told in str(raised.value)


def test_arguments_that_are_missing_are_named() -> None:
    with pytest.raises(GlueArgumentsError, match="required: --lake, --id-map-table, --weeks"):
        glue.parse_arguments([])


# -- what the script tells


def test_without_dagster_a_failure_is_one_line_that_the_script_ends_with(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_asked: object, _progress: object) -> None:
        raise EngineError("Spark stopped: OutOfMemoryError")

    monkeypatch.setattr(glue, "compute", fail)
    assert glue.main(GIVEN) == "EngineError: Spark stopped: OutOfMemoryError"
    assert f'File "{Path(__file__)}"' in caplog.text


def test_of_a_fault_that_is_not_ours_only_the_kind_and_the_place_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_asked: object, _progress: object) -> None:
        raise ValueError(f"invalid literal: {USER}")

    monkeypatch.setattr(glue, "compute", fail)
    assert glue.main(GIVEN) == "ValueError; the run's log says where"
    assert USER not in caplog.text


def test_without_dagster_what_was_done_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(glue, "compute", lambda _asked, _progress: REPORT)
    assert glue.main([*GIVEN, "--triggered-by", "kick"]) == ""
    assert f"the week of 2026-11-16 has 3 rows: {WEEK.uri}" in caplog.text
