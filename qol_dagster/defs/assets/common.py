"""What the assets share: the run's config, what they are made with, and how rows are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from qol_dagster.identities import Identities
from qol_dagster.metrics.dictionary import METRICS_VERSION
from qol_dagster.metrics.profiles import Profile
from qol_dagster.pipeline.reports import DayReport, WeekReport

if TYPE_CHECKING:
    import pyarrow as pa

    from qol_dagster.lake.lake import Lake

PREVIEW_ROWS = 5


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

    def add_week_metadata(self, asset: str, metadata: Mapping[date, Mapping[str, Any]]) -> None:
        """Metadata of single weeks of an asset."""
        for week, values in metadata.items():
            self.context.add_asset_metadata(dict(values), asset_key=asset, partition_key=week.isoformat())

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
    """Return the first rows as a Markdown table. Participants are pseudonymous already."""
    head = rows.select(list(columns)).slice(0, PREVIEW_ROWS).to_pylist()
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_shown(row[name]) for name in columns) + " |" for row in head]
    return dg.MetadataValue.md("\n".join(lines))


def seconds(stages: Mapping[str, float]) -> dict[str, Any]:
    """Return seconds by stage as metadata."""
    return {f"seconds/{stage.replace(' ', '_')}": round(value, 3) for stage, value in stages.items()}


def week_metadata(report: WeekReport) -> dict[str, Any]:
    """Return the metadata of one week of a table."""
    return {"dagster/partition_row_count": report.rows, "partition_uri": report.uri}


def revisions_metadata(reports: Iterable[DayReport | WeekReport]) -> dict[str, Any]:
    """Return of how many partitions the rows became others, and why; `db_qol.<table>_revisions` has each."""
    causes = [one.cause for one in reports if one.cause]
    each = sorted({cause for one in causes for cause in one.split("+")})
    return {"revisions": len(causes), "revision_causes": ", ".join(each)} if causes else {"revisions": 0}


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
