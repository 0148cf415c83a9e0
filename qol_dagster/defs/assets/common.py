"""What the assets share: the run's config, what they are made with, how rows and numbers are shown, and failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from qol_dagster.errors import QolError
from qol_dagster.identities import Identities
from qol_dagster.metrics.dictionary import METRICS_VERSION
from qol_dagster.metrics.profiles import Profile
from qol_dagster.pipeline.reports import DayReport, WeekReport
from qol_dagster.weeks import dates_of

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.lake.lake import Lake

PREVIEW_ROWS = 5
RETRIES = 1
"""How often a step that failed is tried again."""


class EtlConfig(dg.Config):
    """How a run computes: `engine` duckdb, spark or default (that of the settings); `force` reuses nothing."""

    engine: Literal["default", "duckdb", "spark"] = "default"
    force: bool = False


@dataclass(frozen=True)
class Computation:
    """What a run computes with. `garmin_ids` is what may be in no row, `made_by` the metadata of who computed."""

    context: dg.AssetExecutionContext
    lake: Lake
    weeks: list[date]
    profile: Profile
    identities: Identities
    garmin_ids: list[str]
    made_by: Mapping[str, Any] = field(default_factory=dict)

    def add_week_metadata(
        self, asset: str, metadata: Mapping[date, Mapping[str, Any]], of_the_run: Mapping[str, Any]
    ) -> None:
        """Add metadata of single weeks of an asset, and after it what is the same for each week of the run.

        A result has none itself: Dagster would show it at each week, before what is of the week.
        """
        for week, values in metadata.items():
            both = {**values, **of_the_run, **self.made_with()}
            self.context.add_asset_metadata(both, asset_key=asset, partition_key=week.isoformat())

    def log_following(self, asset: str, reports: Iterable[WeekReport]) -> list[WeekReport]:
        """Tell Dagster of weeks that followed, which are no partitions of the run; return the reports of the others."""
        own = []
        for report in reports:
            if report.week in self.weeks:
                own.append(report)
                continue
            metadata = {**week_metadata(report), **self.made_with()}
            self.context.log_event(dg.AssetMaterialization(asset, partition=report.week.isoformat(), metadata=metadata))
        return own

    def log_table(self, table: str, rows: int, *facts: str) -> None:
        """Log one line of what became of a table."""
        weeks = f"week {self.weeks[0]}" if len(self.weeks) == 1 else f"weeks {self.weeks[0]} to {self.weeks[-1]}"
        self.context.log.info("; ".join((f"{table}, {weeks}: {rows:,} rows", *facts)))

    def made_with(self) -> dict[str, Any]:
        """Return what made the rows."""
        return {
            **self.made_by,
            "metrics_version": METRICS_VERSION,
            "thresholds": self.profile.thresholds.as_dict(),
        }


class CancelledError(dg.DagsterError, dg.DagsterExecutionInterruptedError):
    """Somebody cancelled the run."""


@contextmanager
def readable_failures(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Turn an error that is made to be read into Dagster's Failure: its sentence and advice, without our stack.

    The last attempt asks for no further one: else Dagster would say only that there have been too many.
    """
    try:
        yield
    except QolError as error:
        attempts_left = RETRIES - context.op_execution_context.retry_number
        raise dg.Failure(str(error), allow_retries=attempts_left > 0) from None


@contextmanager
def cancelled_for_good() -> Iterator[None]:
    """Dagster's retry policy begins a cancelled step anew, unless it ends with one of Dagster's own errors."""
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interrupt:
        raise CancelledError("the run was cancelled") from interrupt


def weeks_of(context: dg.AssetExecutionContext) -> list[date]:
    """Return the Mondays a run is about."""
    return [date.fromisoformat(key) for key in context.partition_keys]


def preview(rows: pa.Table, columns: Sequence[str]) -> dg.MetadataValue:
    """Return the first rows as a Markdown table, numbers to the right. Participants are pseudonymous already."""
    import pyarrow as pa

    rows = rows.select(list(columns))
    head = rows.slice(0, PREVIEW_ROWS).to_pylist()
    numeric = [pa.types.is_integer(type_) or pa.types.is_floating(type_) for type_ in rows.schema.types]
    lines = ["| " + " | ".join(columns) + " |", "|" + "".join(" ---: |" if one else " --- |" for one in numeric)]
    lines += ["| " + " | ".join(_shown(row[name]) for name in columns) + " |" for row in head]
    return dg.MetadataValue.md("\n".join(lines))


def run_seconds(stages: Mapping[str, float]) -> dict[str, Any]:
    """Return the seconds of the whole run by stage, as metadata."""
    return {f"run_seconds/{stage.replace(' ', '_')}": round(value, 2) for stage, value in stages.items()}


def megabytes(size: int) -> float:
    """Return a number of bytes as MB (1,000,000 bytes), with three digits of it."""
    return float(f"{size / 1e6:.3g}")


def revisions_metadata(reports: Iterable[DayReport | WeekReport]) -> dict[str, Any]:
    """Return of how many partitions the rows became others, and why; `db_qol.<table>_revisions` has each."""
    causes = [one.cause for one in reports if one.cause]
    each = sorted({cause for one in causes for cause in one.split("+")})
    return {"revisions": len(causes), "revision_causes": ", ".join(each)} if causes else {"revisions": 0}


def week_metadata(report: WeekReport) -> dict[str, Any]:
    """Return the metadata of one week of a table."""
    return {
        "dagster/partition_row_count": report.rows,
        "partition_uri": report.uri,
        **revisions_metadata([report]),
    }


def rows_of_week(rows: pa.Table, week: date) -> pa.Table:
    """Return the rows whose `date` is in a week."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return rows.filter(pc.is_in(rows["date"], pa.array([day.isoformat() for day in dates_of(week)])))


def _shown(value: object) -> str:
    """Return a value as people read it: thousands apart, four digits of a fraction, yes and no."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
