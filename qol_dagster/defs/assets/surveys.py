"""The tables of questionnaires: responses, due waves, scores, sensor windows, associations.

Belongs here: what Dagster shows of them, and the one step that computes them all and brings the newest report up. They
have no partitions: a form is of a wave, and all of them are few.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from qol_dagster.defs.alerts import notify_failed_step
from qol_dagster.defs.assets.common import readable_failures
from qol_dagster.defs.assets.report import rewrite_report
from qol_dagster.defs.checks import check_rows, check_specs
from qol_dagster.defs.table_metadata import table_metadata
from qol_dagster.lake.lake import Lake
from qol_dagster.metrics.dictionary import DAILY
from qol_dagster.metrics.profiles import DEFAULT
from qol_dagster.metrics.tables import DATABASE, TableId
from qol_dagster.metrics.types import TableName
from qol_dagster.pipeline.checks import ChecksError
from qol_dagster.pipeline.surveys import refuse_rows, score_surveys
from qol_dagster.resources.id_map import People
from qol_dagster.resources.platform import Resources
from qol_dagster.surveys.dictionary import SURVEY_TABLES
from qol_dagster.surveys.tables import survey_key
from qol_dagster.surveys.waves import change_plan

if TYPE_CHECKING:
    import pyarrow as pa

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

    @dg.multi_asset(
        name="score_surveys",
        specs=specs,
        check_specs=[check for table in _SHOWN for check in check_specs(table, survey_key(table))],
        hooks={notify_failed_step},
    )
    def surveys(
        context: dg.AssetExecutionContext,
        config: SurveyConfig,
        lake: dg.ResourceParam[Lake],
        id_map: dg.ResourceParam[People],
        parts: dg.ResourceParam[Resources],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        rule = parts.settings.survey_rule if config.rule == "default" else config.rule
        plan = change_plan(parts.settings.survey_plan, **config.model_dump(exclude={"rule"}))
        checks: dict[str, list[dg.AssetCheckResult]] = {}

        def verify(table: TableName, rows: "pa.Table", used: int, aside: int) -> None:
            key, columns = survey_key(table), SURVEY_TABLES[table]
            checks[table] = check_rows(table, rows, columns, used, garmin_ids, key=key, set_aside=aside)
            refuse_rows(table, _errors(checks[table]))

        with readable_failures(context), lake.with_people():
            garmin_ids = [one.garmin_user_id for one in id_map.list()]
            try:
                report = score_surveys(
                    lake, id_map.identities(), computed_at=datetime.now(UTC), rule=rule, plan=plan, verify=verify
                )
            except ChecksError:
                yield from (check for found in checks.values() for check in found)
                raise
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
            yield dg.MaterializeResult(
                asset_key=table,
                metadata={**metadata, **_lineage(table), "rule": rule, **asdict(plan)},
                check_results=checks[table],
            )
        with readable_failures(context):
            rewrite_report(context, lake, parts.catalogue(), parts)

    return surveys


def _errors(checks: Iterable[dg.AssetCheckResult]) -> dict[str, str]:
    """Return by check what must not be written; what is only warned of may be."""
    failed = (one for one in checks if not one.passed and one.severity is dg.AssetCheckSeverity.ERROR)
    return {str(one.check_name): str(one.description) for one in failed}


_COLUMNS: Mapping[str, Sequence[str]] = {
    _DAILY: [one.name for one in DAILY],
    **{table: [one.name for one in columns] for table, columns in SURVEY_TABLES.items()},
}


def _lineage(table: TableName) -> dict[str, Any]:
    """Return which columns of other assets each column comes from, as metadata; of none if they come from forms."""
    found = {one.name: [dep for name in one.inputs for dep in _origins(name)] for one in SURVEY_TABLES[table]}
    deps = {name: origins for name, origins in found.items() if origins}
    return {"dagster/column_lineage": dg.TableColumnLineage(deps_by_column=deps)} if deps else {}


def _origins(name: str) -> list[dg.TableColumnDep]:
    """Return the columns that an input names: none if it is of a form as it was sent, or a setting."""
    table, _, column = name.rpartition(".")
    asset = {"": "survey_responses", "daily": _DAILY}.get(table, table)
    columns = _COLUMNS.get(asset, ())
    wanted = columns if column == "*" else [one for one in columns if one == column]
    return [dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=one) for one in wanted]


def surveys_job() -> Any:
    """Return the job that computes the tables of questionnaires; `surveys_schedule` runs it."""
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.groups(GROUP),
        description="All stored forms and daily rows -> scores, sensor windows and associations, and the newest weekly "
        "report if it has something new to say.",
        executor_def=dg.in_process_executor,
    )
