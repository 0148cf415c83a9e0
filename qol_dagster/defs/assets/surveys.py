"""The tables of questionnaires: responses, due waves, scores, sensor windows, associations.

Belongs here: what Dagster shows of them, and the one step that computes them all and brings the newest report up. They
have no partitions: a form is of a wave, and all of them are few.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

import dagster as dg

from qol_dagster.defs.alerts import notify_failed_step
from qol_dagster.defs.assets.common import readable_failures
from qol_dagster.defs.assets.report import rewrite_report
from qol_dagster.defs.table_metadata import table_metadata
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.profiles import DEFAULT
from qol_dagster.metrics.tables import DATABASE, TableId
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline.surveys import score_surveys
from qol_dagster.resources.id_map import People
from qol_dagster.resources.platform import Resources
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.waves import change_plan

GROUP = "surveys"
JOB = "surveys_job"

_DAILY, _PEOPLE = TableId("daily").name, "user_id_map"
_SHOWN: Mapping[TableName, tuple[str, tuple[str, ...]]] = {
    "survey_responses": ("WHOQOL-26 answers as they were marked, a row for each participant and wave.", (_PEOPLE,)),
    "survey_due": ("When each wave is due, and whether it was answered.", (_DAILY, "survey_responses")),
    "whoqol_scores": ("Four domains on three scales, a row for each form.", ("survey_responses",)),
    "whoqol_sensor_windows": ("The sensors in the 14 dates before each form.", (_DAILY, "survey_responses")),
    "whoqol_associations": (
        "How each domain goes along with each measure: estimates, 95 % intervals, adjusted p.",
        ("whoqol_scores", "whoqol_sensor_windows"),
    ),
}


class SurveyConfig(dg.Config):
    """How forms are scored and when they are due, other than QOL_SURVEY_RULE and QOL_SURVEY_PLAN say."""

    rule: Literal["default", "who_syntax", "who_text"] = "default"
    every_weeks: int | None = None
    waves: int | None = None
    window_days: int | None = None


def survey_assets(owners: Sequence[str]) -> dg.AssetsDefinition:
    """Return the five tables, computed anew as a whole by each run."""
    specs = [
        dg.AssetSpec(
            table,
            description=f"{text} As Parquet under `{DEFAULT.folder}/{table}/date=D/`.",
            deps=list(deps),
            group_name=GROUP,
            kinds={"parquet"},
            owners=list(owners),
            metadata=table_metadata(SURVEY_TABLES[table], f"{DATABASE}.{table}"),
        )
        for table, (text, deps) in _SHOWN.items()
    ]

    @dg.multi_asset(name="score_surveys", specs=specs, hooks={notify_failed_step})
    def surveys(
        context: dg.AssetExecutionContext,
        config: SurveyConfig,
        lake: dg.ResourceParam[Lake],
        id_map: dg.ResourceParam[People],
        parts: dg.ResourceParam[Resources],
    ) -> Iterator[dg.MaterializeResult]:
        rule = parts.settings.survey_rule if config.rule == "default" else config.rule
        plan = change_plan(parts.settings.survey_plan, **config.model_dump(exclude={"rule"}))
        with lake.with_people():
            report = score_surveys(lake, id_map.identities(), computed_at=datetime.now(UTC), rule=rule, plan=plan)
        if report.not_enrolled or report.unreadable:
            context.log.warning(
                "forms of nobody who is enrolled: %d, lines that are no form: %d",
                report.not_enrolled,
                report.unreadable,
            )
        for table, rows in report.rows.items():
            metadata: dict[str, Any] = {
                "dagster/row_count": rows,
                "dagster/uri": f"{lake.root}/{DEFAULT.folder}/{table}",
            }
            yield dg.MaterializeResult(asset_key=table, metadata={**metadata, "rule": rule, **asdict(plan)})
        with readable_failures(context):
            rewrite_report(context, lake, parts.catalogue(), parts)

    return surveys


def surveys_job() -> Any:
    """Return the job that computes the tables of questionnaires; `surveys_schedule` runs it."""
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.groups(GROUP),
        description="All stored forms and daily rows -> scores, sensor windows and associations, and the newest weekly "
        "report if it has something new to say.",
        executor_def=dg.in_process_executor,
    )
