"""`weekly_report`: what people look at on Wednesday, as HTML in Japanese and English."""

import base64
from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg

from qol_dagster.defs.alerts import notify_failed_step
from qol_dagster.defs.assets.common import readable_failures, weeks_of
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.tables import TableId
from qol_dagster.report.charts import spreads_png, valid_weeks_png
from qol_dagster.report.facts import HEADLINES, ReportError
from qol_dagster.report.files import Report, latest_week, write_report
from qol_dagster.report.mail import announce
from qol_dagster.report.views import overview, spread
from qol_dagster.resources.catalogue import Catalogue
from qol_dagster.resources.platform import Resources
from qol_ingest.shared.keys import REPORTS

REPORT_ASSET = "weekly_report"
NEWEST = 4
"""Of so many weeks a run writes reports: nobody calls anybody today about the other weeks of a backfill."""


def report_asset(options: dict[str, Any]) -> dg.AssetsDefinition:
    """Return the asset that writes the reports of a run's weeks."""

    @dg.asset(
        name=REPORT_ASSET,
        description="Whom to call today, the week in short, completeness, measures, and what the data are worth: one "
        f"HTML file a language under `{REPORTS}/week=MONDAY/`, to read offline, on paper and on a phone.",
        deps=[TableId("weekly").name, TableId("status").name, "user_id_map"],
        hooks={notify_failed_step},
        kinds={"html"},
        **options,
    )
    def weekly_report(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        catalogue: dg.ResourceParam[Catalogue],
        parts: dg.ResourceParam[Resources],
    ) -> dg.MaterializeResult:
        with readable_failures(context), lake.lock():  # an erasure comes before it, or after and clears it
            reports = [write_report(catalogue, lake, parts, week) for week in reported_weeks(weeks_of(context))]
        for one in reports:
            context.add_asset_metadata(_week_metadata(lake, one), partition_key=str(one.facts.week))
            announce(parts, lake, one)
        written = sum(one.written for one in reports)
        without = len(context.partition_keys) - len(reports)
        older = f"; older weeks without one: {without} (`qol report --week DATE` writes it)" if without else ""
        context.log.info("%s: %d written, %d unchanged%s", REPORT_ASSET, written, len(reports) - written, older)
        return dg.MaterializeResult()

    return weekly_report


def reported_weeks(weeks: Sequence[date]) -> list[date]:
    """Return of which weeks of a run reports are written: the newest, in order."""
    return sorted(weeks)[-NEWEST:]


def rewrite_report(context: dg.AssetExecutionContext, lake: Lake, catalogue: Catalogue, parts: Resources) -> None:
    """Write the report of the newest computed week again if something else has changed it; it is not mailed again."""
    try:
        week = latest_week(lake)
    except ReportError as error:
        context.log.info("no report: %s", error)
        return
    with lake.lock():  # as above
        report = write_report(catalogue, lake, parts, week)
    if report.written:
        context.log_event(
            dg.AssetMaterialization(REPORT_ASSET, partition=str(week), metadata=_week_metadata(lake, report))
        )
    context.log.info("%s of %s: %s", REPORT_ASSET, week, "written" if report.written else "unchanged")


def _week_metadata(lake: Lake, report: Report) -> dict[str, Any]:
    shown = {f"report_{language}": _place(lake, key) for language, key in report.keys.items()}
    counts = {f"calls/{name}": number for name, number in report.calls.items()}
    return {**shown, "calls": sum(report.calls.values()), **counts, **(_plots(report) if report.written else {})}


def _place(lake: Lake, key: str) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.path(lake.uri(key)) if lake.folder else dg.MetadataValue.url(lake.uri(key))


def _plots(report: Report) -> dict[str, Any]:
    """Return the share of valid weeks and the headline measures as pictures that Dagster's UI shows."""
    facts = report.facts
    weeks = [overview(facts, week) for week in facts.weeks[1:]]
    measures = {one: [spread(facts, one, week) for week in facts.weeks] for one in HEADLINES}
    return {
        "valid_weeks": _picture("Valid weeks in percent", valid_weeks_png(weeks)),
        "headlines": _picture("Median, quartiles, 10th and 90th percentile of valid weeks", spreads_png(measures)),
    }


def _picture(text: str, png: bytes) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.md(f"![{text}](data:image/png;base64,{base64.b64encode(png).decode()})")
