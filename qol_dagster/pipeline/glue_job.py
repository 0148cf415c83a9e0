"""What the Glue job `qol-weekly-etl` does: the weekly job on the cluster's Spark, and a report of it.

Belongs here: the job's arguments, and what is said of a run: to Dagster through Pipes if Dagster started it, and to the
log in any case. Dagster itself is not needed. `infra/glue_script.py` is the script that calls this.

Arguments. `--lake s3://bucket`, `--id-map-table`, `--weeks YYYY-MM-DD[,...]`, and if they are there `--start-date`,
`--profile`, `--force true`, `--processed-kms-key`. Others, such as Glue's own, are passed over.

Messages. Progress, then one of the end: `{"report": ...}` as `EtlReport.as_dict` has it, or `{"failed": reason}`.
Neither they nor the log hold an id of Garmin's or a value: of an error that is no QolError only the kind is reported,
and the lines of code it came through.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from qol_dagster.errors import QolError, QolInputError
from qol_dagster.metrics.profiles import DEFAULT, PROFILES, Profile
from qol_dagster.pipeline.announced import apply_announced
from qol_dagster.pipeline.etl import run_etl
from qol_dagster.pipeline.reports import EtlReport
from qol_dagster.resources.platform import open_platform
from qol_dagster.settings import Settings

STARTED_BY_DAGSTER = "--dagster-pipes-context"
REPORT_S = 5.0
"""Between two sendings of messages."""

log = logging.getLogger("qol")


class GlueArgumentsError(QolInputError):
    """The job was started with arguments that say nothing clear; the message names the first of them."""


@dataclass(frozen=True)
class JobRequest:
    """What a run is to do, and on what."""

    settings: Settings
    weeks: tuple[date, ...]
    profile: Profile = DEFAULT
    force: bool = False
    tables_key: str = ""
    run_id: str = ""


@dataclass(frozen=True)
class Listener:
    """Who is notified: of progress in words, and once of the end."""

    progress: Callable[[str], object]
    end: Callable[[Mapping[str, Any]], object]
    run_id: str = ""
    """Dagster's, if it started the run."""


def main(arguments: Sequence[str]) -> str:
    """Do what the arguments ask for; return why that failed, or nothing."""
    logging.basicConfig(stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s")
    log.setLevel(logging.INFO)
    with open_listener(arguments) as listener:
        try:
            request = replace(parse_arguments(arguments), run_id=listener.run_id)
            report = compute(request, listener.progress)
        except Exception as error:
            log.error("%s\n%s", reason := reason_of(error), "".join(traceback.format_tb(error.__traceback__)))  # noqa: TRY400
            listener.end({"failed": reason})
            return reason
        listener.end({"report": report.as_dict()})
    for one in report.weekly:
        log.info("the week of %s has %d rows: %s", one.week, one.rows, one.uri)
    return ""


def compute(request: JobRequest, progress: Callable[[str], object]) -> EtlReport:
    """Bring the weeks up to date. Raises what the lake, the map and the engine raise."""
    platform = open_platform(request.settings, request.tables_key)
    lake, people = platform.lake(request.profile).of_run(request.run_id), platform.id_map()
    if changed := apply_announced(lake, people):
        progress(f"deregistrations and changes of permissions that were not applied before: {changed}")
    with platform.engine("spark") as engine:
        return run_etl(
            engine,
            lake,
            request.weeks,
            people.identities(),
            since=request.settings.start_date,
            thresholds=request.profile.thresholds,
            force=request.force,
            log=progress,
        )


def parse_arguments(arguments: Sequence[str]) -> JobRequest:
    """Return what the arguments say. Raises GlueArgumentsError."""
    parser = _Parser(allow_abbrev=False, add_help=False)
    parser.add_argument("--lake", required=True, type=_bucket)
    parser.add_argument("--id-map-table", required=True)
    parser.add_argument("--weeks", required=True, type=_dates)
    parser.add_argument("--start-date", default=Settings().start_date, type=date.fromisoformat)
    parser.add_argument("--profile", default=DEFAULT.name, choices=PROFILES)
    parser.add_argument("--force", default="false", choices=("true", "false"))
    parser.add_argument("--processed-kms-key", default="")
    found, _ = parser.parse_known_args(arguments)
    settings = Settings(
        target="aws",
        home=Path(tempfile.gettempdir()) / "qol",
        start_date=found.start_date,
        bucket=found.lake,
        id_map_table=found.id_map_table,
    )
    return JobRequest(settings, found.weeks, PROFILES[found.profile], found.force == "true", found.processed_kms_key)


@contextmanager
def open_listener(arguments: Sequence[str]) -> Iterator[Listener]:
    """Dagster, if it started the run, and the log."""
    if STARTED_BY_DAGSTER not in arguments:
        yield Listener(log.info, lambda _told: None)
        return
    from dagster_pipes import (
        PipesCliArgsParamsLoader,
        PipesS3ContextLoader,
        PipesS3MessageWriter,
        open_dagster_pipes,
    )

    from qol_ingest.shared import aws

    s3 = aws.client("s3")
    with open_dagster_pipes(
        params_loader=PipesCliArgsParamsLoader(),  # type: ignore[no-untyped-call]
        context_loader=PipesS3ContextLoader(s3),
        message_writer=PipesS3MessageWriter(s3, interval=REPORT_S),
    ) as pipes:

        def progress(text: str) -> None:
            log.info(text)
            pipes.log.info(text)

        yield Listener(progress, pipes.report_custom_message, pipes.run_id)


def reason_of(error: Exception) -> str:
    """In one line why a run failed. What our own errors say is made to be read; others may quote the data."""
    kind = type(error)
    if isinstance(error, QolError):
        return f"{kind.__name__}: {str(error).partition(chr(10))[0]}"
    return f"{kind.__name__}; the run's log says where"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise GlueArgumentsError(f"the job's arguments: {message}")


def _dates(text: str) -> tuple[date, ...]:
    try:
        return tuple(date.fromisoformat(one.strip()) for one in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be dates like 2026-11-16, with commas between, not {text!r}") from None


def _bucket(text: str) -> str:
    bucket = text.removeprefix("s3://").rstrip("/")
    if not text.startswith("s3://") or not bucket or "/" in bucket:
        raise argparse.ArgumentTypeError(f"must be a bucket like s3://qol-lake, not {text!r}")
    return bucket
