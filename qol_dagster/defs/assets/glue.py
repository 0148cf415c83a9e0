"""Weeks computed on AWS: a Glue run is started through Dagster Pipes, and its report is verified in the lake.

Belongs here: what a run is asked for, what it reports, and what must be stored then. Pipes' messages go through the
lake's own bucket, below `pipes/`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from qol_dagster.lake.shared_object import SharedObject, SharedObjectError, Version
from qol_dagster.lake.tables import read_rows
from qol_dagster.metrics.dictionary import STATUS, WEEKLY
from qol_dagster.pipeline.reports import EtlReport
from qol_dagster.resources.glue_run import GlueError, GlueJob, GlueRun
from qol_ingest.shared.keys import PIPES

if TYPE_CHECKING:
    from qol_dagster.lake.lake import Lake
    from qol_dagster.metrics.dictionary import Metric
    from qol_dagster.metrics.profiles import Profile
    from qol_dagster.metrics.types import TableName
    from qol_dagster.pipeline.reports import WeekReport

"""Where messages are stored, for a few days: the bucket's rule takes them away."""
READ_S = 5.0
"""Between two looks for messages."""


@dataclass(frozen=True)
class GlueRequest:
    """What a run is to compute."""

    weeks: Sequence[date]
    profile: Profile
    since: date
    force: bool

    @property
    def arguments(self) -> dict[str, str]:
        """The same as the script takes it."""
        return {
            "--weeks": ",".join(map(str, self.weeks)),
            "--profile": self.profile.name,
            "--start-date": str(self.since),
            "--force": str(self.force).lower(),
        }


def compute_on_glue(
    context: dg.AssetExecutionContext, job: GlueJob, lake: Lake, request: GlueRequest
) -> tuple[EtlReport, dict[str, Any]]:
    """Run the Glue job and return its report, which the lake bears out, and metadata of the run. Raises GlueError."""
    place = f"{PIPES}/{context.run.run_id}-{secrets.token_hex(4)}"
    with dg.open_pipes_session(
        context=context.op_execution_context,  # of the other, Dagster itself asks what it has deprecated
        context_injector=_ContextInLake(lake, place),
        message_reader=_MessagesInLake(lake, place),
    ) as session:
        run = job.run({**request.arguments, **session.get_bootstrap_cli_arguments()}, context.log.info)
    report = read_report(run, session.get_custom_messages())
    verify_report(run, report, lake, request.weeks)
    return report, metadata_of(run)


def read_report(run: GlueRun, messages: Sequence[Any]) -> EtlReport:
    """Return the report of a run that ended well. Raises GlueError with the reason if it did not, or has none."""
    said = {name: value for message in messages if isinstance(message, dict) for name, value in message.items()}
    if run.state != "SUCCEEDED":
        why = f": {said['failed']}" if "failed" in said else " before it could say why"
        raise GlueError(f"{run} ended as {run.state}{why}. Its log: {run.url}")
    if "report" not in said:
        raise GlueError(f"{run} ended well but said nothing of what it did, so it does not count. Its log: {run.url}")
    try:
        return EtlReport.of(said["report"])
    except ValueError:
        raise GlueError(f"{run} has code of another release: its report cannot be read. Deploy both anew") from None


def verify_report(run: GlueRun, report: EtlReport, lake: Lake, weeks: Sequence[date]) -> None:
    """Verify that a report is about what was asked for and is stored in the lake. Raises GlueError."""
    days = report.daily.of(weeks)
    if any(day.raw_bytes for day in days) and not any(day.counts["lines"] for day in days):
        raise GlueError(f"raw files are in {lake.root}, but {run} saw no line of them. Its log: {run.url}")
    tables: tuple[tuple[TableName, Sequence[WeekReport], Sequence[Metric]], ...] = (
        ("weekly", report.weekly, WEEKLY),
        ("status", report.status, STATUS),
    )
    for table, reports, metrics in tables:
        rows = {one.week: one.rows for one in reports}
        for week in weeks:
            if week not in rows:
                raise GlueError(f"{run} said nothing of the {table} rows of {week}. Its log: {run.url}")
            found = read_rows(lake, table, [week], metrics).num_rows
            if found != rows[week]:
                uri = lake.partition_uri(table, week)
                raise GlueError(
                    f"{run} says it wrote {rows[week]} rows to {uri}, where there are {found}. Run it again"
                )


def metadata_of(run: GlueRun) -> dict[str, Any]:
    """Return what Dagster shows of a run."""
    return {
        "engine": "spark",
        "glue/run_id": run.id,
        "glue/run": dg.MetadataValue.url(run.url),
        "glue/log": dg.MetadataValue.url(run.log_url),
        "glue/execution_s": run.execution_s,
        "glue/dpu_s": run.dpu_s,
    }


class _ContextInLake(dg.PipesContextInjector):
    """Puts the request of a run into the lake's bucket."""

    def __init__(self, lake: Lake, place: str) -> None:
        self._lake, self._place = lake, place

    @contextmanager
    def inject_context(self, context: Any) -> Iterator[dict[str, str]]:
        key = f"{self._place}/context.json"
        SharedObject(self._lake.store, key).write(json.dumps(context).encode(), Version())
        yield {"bucket": _bucket(self._lake), "key": key}

    def no_messages_debug_text(self) -> str:
        return f"It was to read {self._lake.root}/{self._place}/context.json."


class _MessagesInLake(dg.PipesBlobStoreMessageReader):
    """Reads what a run writes to the lake's bucket."""

    expected_writer_count = 1  # so the base has it too, in a property that is in preview and warns

    def __init__(self, lake: Lake, place: str) -> None:
        super().__init__(interval=READ_S)
        self._lake, self._place = lake, place

    @contextmanager
    def get_params(self) -> Iterator[dict[str, str]]:
        yield {"bucket": _bucket(self._lake), "key_prefix": self._place}

    def messages_are_readable(self, params: Any) -> bool:  # noqa: ARG002 - the port
        return True

    def download_messages_chunk(self, index: int, params: Any) -> str | None:  # noqa: ARG002 - the port
        try:
            return SharedObject(self._lake.store, f"{self._place}/{index}.json").read().content.decode() or None
        except SharedObjectError:
            return None  # it is looked again soon, while an error would end the reading

    def no_messages_debug_text(self) -> str:
        return f"It was to write to {self._lake.root}/{self._place}/."


def _bucket(lake: Lake) -> str:
    return lake.root.removeprefix("s3://")
