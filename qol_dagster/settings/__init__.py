"""The settings of a deployment: one frozen object, read once from `QOL_*` variables.

Belongs here: the names, kinds and defaults of the settings, and which of them go together; `kinds` has what a valid
value is. All problems are named in one error. Pydantic is imported when variables are read, not before: the Glue job,
which reads none, has no pydantic.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qol_dagster.engines import EngineName
from qol_dagster.errors import QolInputError
from qol_dagster.surveys.waves import DEFAULT_PLAN
from qol_dagster.surveys.whoqol import DEFAULT_RULE, RuleName

if TYPE_CHECKING:
    from qol_dagster.settings.kinds import (
        BackupFolder,
        BucketName,
        ClientId,
        FirstMonday,
        Folder,
        JobName,
        KeyArn,
        Mailbox,
        Mailboxes,
        Megabytes,
        Owners,
        Port,
        QueueUrl,
        Retention,
        RoleArn,
        SurveyPlan,
        Switch,
        TableName,
        TopicArn,
        Url,
        WebhookSecret,
        WorkgroupName,
    )

Target = Literal["local", "aws"]


class SettingsError(QolInputError):
    """One or more settings are wrong; the message names each of them."""


@dataclass(frozen=True)
class Settings:
    """Where everything is stored and how it runs. The variable of a field is `QOL_` + its name in capitals.

    Those from `bucket` on are for the target `aws`; there, `home` holds this machine's working files only. A field with
    `repr=False` is confidential: its value is in no message, log or alert.
    """

    target: Target = "local"
    home: Folder = Path(".qol")
    engine: EngineName = "duckdb"
    start_date: FirstMonday = date(2015, 1, 5)
    memory_mb: Megabytes = 1536
    owners: Owners = ("team:qol",)
    webhook_secret: WebhookSecret = field(default="", repr=False)
    garmin_client_id: ClientId = field(default="", repr=False)
    garmin_client_secret: str = field(default="", repr=False)
    garmin_url: Url = ""
    public_url: Url = ""
    programme_ja: str = ""
    programme_en: str = ""
    contact: str = ""
    survey_plan: SurveyPlan = DEFAULT_PLAN
    survey_rule: RuleName = DEFAULT_RULE
    smtp_host: str = ""
    smtp_port: Port = 587
    smtp_user: str = field(default="", repr=False)
    smtp_password: str = field(default="", repr=False)
    smtp_starttls: Switch = True
    mail_from: Mailbox = ""
    mail_to: Mailboxes = ()
    report_mail_to: Mailboxes = ()
    report_url: Url = ""
    backup_dir: BackupFolder = None
    retention: Retention = ()
    bucket: BucketName = ""
    id_map_table: TableName = "user_id_map"
    enrolment_table: TableName = "qol_enrolment"
    arrivals_queue_url: QueueUrl = ""
    alert_topic_arn: TopicArn = ""
    report_topic_arn: TopicArn = ""
    athena_workgroup: WorkgroupName = ""
    glue_job: JobName = "qol-weekly-etl"
    tables_key: KeyArn = ""
    ledger_key: KeyArn = ""
    spill_queue_url: QueueUrl = ""
    dead_letter_url: QueueUrl = ""
    backup_bucket: BucketName = ""
    backup_role: RoleArn = ""

    @property
    def lake_dir(self) -> Path:
        """The lake: raw/, processed/, reports/."""
        return self.home / "lake"

    @property
    def id_map_path(self) -> Path:
        """The database of `user_id_map`."""
        return self.home / "user_id_map.sqlite"

    @property
    def arrivals_dir(self) -> Path:
        """The queue of pings and lifecycle events that are to be processed."""
        return self.home / "arrivals"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own home: runs, schedules, events."""
        return self.home / "dagster"

    @property
    def temp_dir(self) -> Path:
        """Where engines put what does not fit into memory."""
        return self.home / "tmp"

    @property
    def client_id(self) -> str:
        """The `garmin-client-id` header a push must carry, or nothing."""
        return self.garmin_client_id


def variable_of(name: str) -> str:
    """Return the variable of a field."""
    return f"QOL_{name.upper()}"


VARIABLES: tuple[str, ...] = tuple(variable_of(item.name) for item in fields(Settings))
"""Every variable there is."""


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read settings from variables; an unset or empty one takes its default.

    Raises SettingsError, which names every problem.
    """
    from qol_dagster.settings.reading import read_fields

    environ = os.environ if environ is None else environ
    texts = {name: text.strip() for name, text in environ.items() if name.startswith("QOL_")}
    given = {name: text for name, text in texts.items() if text}
    values, problems = read_fields(Settings, given, variable_of)
    problems += _mail_problems(given)
    if "target" in values or "QOL_TARGET" not in given:  # else it is unknown which was meant
        problems += _misplaced(Settings(**values)) + _missing(Settings(**values), given, environ)
    if problems:
        raise SettingsError("settings are wrong: " + "; ".join(problems))
    return Settings(**values)


def confidential_values(settings: Settings) -> tuple[str, ...]:
    """Return the confidential values that are set."""
    values = [getattr(settings, item.name) for item in fields(settings) if not item.repr]
    return tuple(value for value in values if value)


def _mail_problems(given: Mapping[str, str]) -> list[str]:
    if "QOL_SMTP_HOST" not in given:
        return ["QOL_SMTP_HOST is needed with QOL_REPORT_MAIL_TO"] if "QOL_REPORT_MAIL_TO" in given else []
    return [f"{name} is needed with QOL_SMTP_HOST" for name in ("QOL_MAIL_FROM", "QOL_MAIL_TO") if name not in given]


def _misplaced(settings: Settings) -> list[str]:
    """Name what only the other target has. A value that is the default anyway disturbs nobody."""
    usual = Settings()
    other: Target = "local" if settings.target == "aws" else "aws"
    return [
        f"{variable_of(name)} is for QOL_TARGET={other} only"
        for name in _ONLY_FOR[other]
        if getattr(settings, name) != getattr(usual, name)
    ]


def _missing(settings: Settings, given: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """Name what the target needs and has not."""
    if settings.target == "local":
        return []
    missing = [name for name in _NEEDED_ON_AWS if name not in given]
    missing += [] if any(environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")) else ["AWS_REGION"]
    problems = [f"{name} is needed with QOL_TARGET=aws" for name in missing]
    if not all(importlib.util.find_spec(package) for package in ("boto3", "pyathena")):
        problems.append("QOL_TARGET=aws needs more packages: pip install 'qol-dagster[aws]'")
    return problems


_ONLY_FOR: dict[Target, tuple[str, ...]] = {
    "local": (
        *("engine", "memory_mb", "webhook_secret"),
        *("smtp_host", "smtp_port", "smtp_user", "smtp_password", "smtp_starttls", "mail_from", "mail_to"),
        *("report_mail_to", "backup_dir", "retention"),
    ),
    "aws": (
        *("bucket", "id_map_table", "enrolment_table", "arrivals_queue_url"),
        *("alert_topic_arn", "report_topic_arn", "athena_workgroup", "glue_job", "tables_key", "ledger_key"),
        *("spill_queue_url", "dead_letter_url", "backup_bucket", "backup_role"),
    ),
}
_NEEDED_ON_AWS = ("QOL_BUCKET", "QOL_ARRIVALS_QUEUE_URL", "QOL_ALERT_TOPIC_ARN", "QOL_ATHENA_WORKGROUP")
