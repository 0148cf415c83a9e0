"""The stack that turns raw data into tables: the Glue job, the catalogue `db_qol`, Athena, and who may read.

Belongs here: how the weekly job runs on AWS, which tables the catalogue has, and what a query may cost. The tables'
columns, types and comments come from `qol_dagster.metrics`; nothing about a metric is written here.

What the job runs. The folder of the setting `glue_bundle`, which `make glue-bundle` makes:

    qol-weekly-etl.py    the script, which takes `--weeks YYYY-MM-DD[,...]` and passes over what it does not know
    qol-weekly-etl.zip   all it needs beside Glue (`--extra-py-files`)

The script gets `--lake s3://bucket`, `--id-map-table`, `--start-date`, and `--processed-kms-key`, the key to write
below `processed/` with. Without a bundle, a script stands in that fails and says what to do, so that a template can be
made at any time and nobody takes an empty job for a quiet week. On an emulated AWS, `emulated_glue.py` runs the script.

Attempts. MaxRetries is 0: Dagster watches one run and makes the second attempt itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from infra import names
from infra.access import Statement, allow, deny, encrypt, explain, people, role
from infra.data import DataStack
from infra.functions import ROOT, log_group_of
from infra.names import arn, objects
from infra.settings import DeploySettings
from qol_dagster.metrics.tables import (
    DATABASE,
    Column,
    ExternalTable,
    all_tables,
    external_table,
    revisions_table,
)
from qol_dagster.pipeline.announced import ANNOUNCED
from qol_dagster.surveys.tables import SURVEY_LAYOUTS, survey_external_tables

SCRIPT, ARCHIVE = f"{names.ETL_JOB}.py", f"{names.ETL_JOB}.zip"
NOT_BUNDLED, EMULATED = (Path(__file__).with_name(f"{name}.py") for name in ("not_bundled", "emulated_glue"))
LIMIT_MIN = 60
RUNS_AT_ONCE = 2
"""As many as Dagster starts at a time: one in each lane of its queue."""
LARGEST_SCAN_BYTES = 10 * 1024**3
"""Of one query; ten years of 10,000 participants are less."""
LOG_PREFIX = "/aws-glue/qol"
MADE_OF_A_TABLE = (external_table, revisions_table)
PARTITIONS = "one object for each partition, and a partition for each date"


class EtlStack(Stack):
    """`qol-weekly-etl`, `db_qol`, the workgroup `qol`, and the role of people who read metrics."""

    def __init__(self, scope: Construct, id_: str, settings: DeploySettings, data: DataStack, **options: Any) -> None:
        super().__init__(scope, id_, **options)
        self._catalogue(settings)
        self._job(settings, data)
        self._workgroup(data)
        self._researcher(data)

    def _catalogue(self, settings: DeploySettings) -> None:
        database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=self.account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=DATABASE, description="Quality-of-life metrics by pseudonymous participant"
            ),
        )
        place = f"s3://{names.lake()}", settings.start_date
        of_weeks = (make(one.table, *place, one.profile.suffix) for one in all_tables() for make in MADE_OF_A_TABLE)
        for table in (*of_weeks, *survey_external_tables(*place)):
            glue.CfnTable(
                self,
                table.name,
                catalog_id=self.account,
                database_name=DATABASE,
                table_input=_table_input(table),
            ).add_resource_dependency(database)

    def _job(self, settings: DeploySettings, data: DataStack) -> None:
        place = Construct(self, names.ETL_JOB)
        bundle = ROOT / settings.glue_bundle
        is_bundled = all((bundle / name).exists() for name in (SCRIPT, ARCHIVE))
        script = _asset(place, bundle / SCRIPT if is_bundled else NOT_BUNDLED)
        archive = _asset(place, bundle / ARCHIVE) if is_bundled else None
        files = [one for one in (script, archive) if one]
        emulated = _asset(place, EMULATED) if settings.emulated and is_bundled else None
        security = None if settings.emulated else _security_configuration(place, data)
        job_role = role(
            place,
            f"{names.ETL_JOB}-role",
            iam.ServicePrincipal("glue.amazonaws.com"),
            [*_job_may(data), *_reads_assets(files)],
            "The weekly job: raw data and the id map in, metrics out",
        )
        for output in ("error", "output"):
            # Glue adds the name of the security configuration.
            log_group_of(Construct(place, output), f"{LOG_PREFIX}/{output}-{names.SECURITY_CONFIGURATION}")
        job = glue.CfnJob(
            place,
            "Job",
            name=names.ETL_JOB,
            description="Daily and weekly metrics of the weeks that Dagster asks for",
            role=job_role.role_arn,
            command=glue.CfnJob.JobCommandProperty(
                name="pythonshell" if settings.emulated else "glueetl",
                python_version="3",
                script_location=(emulated or script).s3_object_url,
            ),
            glue_version="5.1",
            worker_type="G.1X",
            number_of_workers=settings.glue_workers,
            max_retries=0,
            timeout=LIMIT_MIN * (60 if settings.emulated else 1),  # the emulated one takes it for seconds
            execution_property=glue.CfnJob.ExecutionPropertyProperty(max_concurrent_runs=RUNS_AT_ONCE),
            security_configuration=security.name if security else None,
            default_arguments={
                "--lake": f"s3://{names.lake()}",
                "--id-map-table": names.ID_MAP_TABLE,
                "--processed-kms-key": data.rest_key.key_arn,
                "--start-date": str(settings.start_date),
                "--custom-logGroup-prefix": LOG_PREFIX,
                "--enable-metrics": "true",
                **({"--extra-py-files": archive.s3_object_url} if archive else {}),
                **({"--emulated-script": script.s3_object_url} if emulated else {}),
            },
        )
        if security:
            job.add_resource_dependency(security)
        else:
            explain(job, dict.fromkeys(("GL1", "GL3"), "an emulated AWS knows no security configurations"))

    def _workgroup(self, data: DataStack) -> None:
        encrypted = athena.CfnWorkGroup.EncryptionConfigurationProperty(
            encryption_option="SSE_KMS", kms_key=data.rest_key.key_arn
        )
        athena.CfnWorkGroup(
            self,
            "Workgroup",
            name=names.WORKGROUP,
            description="Queries on db_qol",
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=LARGEST_SCAN_BYTES,
                engine_version=athena.CfnWorkGroup.EngineVersionProperty(
                    selected_engine_version="Athena engine version 3"
                ),
                result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                    output_location=f"s3://{names.lake()}/{names.QUERY_RESULTS}", encryption_configuration=encrypted
                ),
            ),
        )

    def _researcher(self, data: DataStack) -> None:
        person = role(
            Construct(self, "Researcher"),
            names.RESEARCHER_ROLE,
            people(self.account),
            [
                *queries(data),
                # Not needed now: they hold whatever is allowed to the same people later.
                deny("s3:GetObject", "s3:GetObjectVersion", on=objects("raw/")),
                deny(
                    *("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"),
                    on=[arn("dynamodb", f"table/{name}") for name in (names.ID_MAP_TABLE, names.ENROLMENT_TABLE)],
                ),
                deny("kms:Decrypt", on=[data.raw_key.key_arn, data.map_key.key_arn]),
                deny("secretsmanager:GetSecretValue", on=[arn("secretsmanager", "secret:*")]),
            ],
            "People who read metrics, with a second factor; never raw data, never who is who",
        )
        CfnOutput(self, "ResearcherRoleArn", value=person.role_arn)


def queries(data: DataStack) -> list[Statement]:
    """Return what it takes to ask the tables of `db_qol` in the workgroup `qol`."""
    lake_arn = f"arn:aws:s3:::{names.lake()}"
    listed = [f"{prefix}*" for prefix in (*names.PROCESSED, *names.HISTORY, names.FREEZES, names.QUERY_RESULTS)]
    of_weeks = [name for table in all_tables() for name in (table.name, table.revisions)]
    tables = [arn("glue", f"table/{DATABASE}/{name}") for name in (*of_weeks, *SURVEY_LAYOUTS)]
    return [
        allow(
            *("athena:GetQueryExecution", "athena:GetQueryResults", "athena:GetWorkGroup"),
            *("athena:StartQueryExecution", "athena:StopQueryExecution"),
            on=[arn("athena", f"workgroup/{names.WORKGROUP}")],
        ),
        allow(
            *("glue:GetDatabase", "glue:GetPartition", "glue:GetPartitions", "glue:GetTable", "glue:GetTables"),
            on=[arn("glue", "catalog"), arn("glue", f"database/{DATABASE}"), *tables],
        ),
        allow("s3:GetObject", on=objects(*names.PROCESSED, *names.HISTORY, names.FREEZES), because=PARTITIONS),
        allow("s3:GetObject", "s3:PutObject", on=objects(names.QUERY_RESULTS), because="Athena names its results"),
        allow("s3:GetBucketLocation", on=[lake_arn]),
        allow("s3:ListBucket", on=[lake_arn], when={"StringLike": {"s3:prefix": listed}}),
        encrypt(data.rest_key.key_arn, "s3"),
    ]


def scores_surveys() -> list[Statement]:
    """Return what it takes to compute the tables of questionnaires, beside `queries` and `takes_part`."""
    return [
        allow("s3:GetObject", on=objects(names.RAW_SURVEYS), because="everything participants answered"),
        allow("s3:DeleteObject", "s3:PutObject", on=objects(*names.SURVEY_TABLES), because=PARTITIONS),
        allow("s3:PutObject", on=objects(*names.SURVEY_HISTORY), because="what is replaced stays"),
    ]


def takes_part(data: DataStack) -> list[Statement]:
    """Return what the job and Dagster, which has it run, both need: to see raw data and who is who, Pipes, and the
    lease.

    The id map is written too: what Garmin announced of its users and nobody has applied yet is applied before a week is
    computed. What names no key, as Pipes and the lease do, is under that of raw data.
    """
    return [
        allow("s3:GetObject", on=objects(names.RAW_DAILY, names.RAW_LIFECYCLE), because="everything Garmin sent"),
        allow(
            *("s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
            on=objects(names.PIPES),
            because="each run has messages of its own",
        ),
        allow("s3:GetObject", "s3:PutObject", on=objects(names.LEASE), because="there may be more than one lease"),
        allow("s3:GetObject", "s3:PutObject", on=[f"arn:aws:s3:::{names.lake()}/{ANNOUNCED}"]),
        allow("s3:ListBucket", on=[f"arn:aws:s3:::{names.lake()}"]),
        allow(
            *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Scan"),
            on=[arn("dynamodb", f"table/{names.ID_MAP_TABLE}")],
        ),
        encrypt(data.map_key.key_arn, "dynamodb"),
        encrypt(data.raw_key.key_arn, "s3"),
        encrypt(data.rest_key.key_arn, "s3"),
    ]


def _job_may(data: DataStack) -> list[Statement]:
    return [
        *takes_part(data),
        allow("s3:DeleteObject", "s3:GetObject", "s3:PutObject", on=objects(*names.PROCESSED), because=PARTITIONS),
        allow("s3:GetObject", "s3:PutObject", on=objects(*names.HISTORY), because="what is replaced stays"),
        allow(
            *("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
            on=objects(names.WORK, names.RECORDS),
            because="Spark names what its machines write",
        ),
        allow(
            *("logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"),
            on=[arn("logs", "log-group:/aws-glue/*")],
            because="Glue makes groups and streams for each kind of output and run",
        ),
        allow(
            "cloudwatch:PutMetricData",
            on=["*"],
            because="metrics have no ARN; the condition names their namespace",
            when={"StringEquals": {"cloudwatch:namespace": "Glue"}},
        ),
    ]


def _security_configuration(place: Construct, data: DataStack) -> glue.CfnSecurityConfiguration:
    key = data.rest_key.key_arn
    made = glue.CfnSecurityConfiguration
    return made(
        place,
        "Security",
        name=names.SECURITY_CONFIGURATION,
        encryption_configuration=made.EncryptionConfigurationProperty(
            s3_encryptions=[made.S3EncryptionProperty(s3_encryption_mode="SSE-KMS", kms_key_arn=key)],
            cloud_watch_encryption=made.CloudWatchEncryptionProperty(
                cloud_watch_encryption_mode="SSE-KMS", kms_key_arn=key
            ),
            job_bookmarks_encryption=made.JobBookmarksEncryptionProperty(
                job_bookmarks_encryption_mode="CSE-KMS", kms_key_arn=key
            ),
        ),
    )


def _asset(place: Construct, file: Path) -> assets.Asset:
    return assets.Asset(place, file.name, path=str(file))


def _reads_assets(files: list[assets.Asset]) -> list[Statement]:
    return [allow("s3:GetObject", on=[f"arn:aws:s3:::{file.s3_bucket_name}/{file.s3_object_key}" for file in files])]


def _table_input(table: ExternalTable) -> glue.CfnTable.TableInputProperty:
    return glue.CfnTable.TableInputProperty(
        name=table.name,
        description=table.comment,
        table_type="EXTERNAL_TABLE",
        parameters=dict(table.parameters),
        partition_keys=_columns(table.partition_keys),
        storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
            columns=_columns(table.columns),
            location=table.location,
            input_format=table.input_format,
            output_format=table.output_format,
            serde_info=glue.CfnTable.SerdeInfoProperty(serialization_library=table.serde),
        ),
    )


def _columns(columns: tuple[Column, ...]) -> list[glue.CfnTable.ColumnProperty]:
    return [glue.CfnTable.ColumnProperty(name=one.name, type=one.type, comment=one.comment) for one in columns]
