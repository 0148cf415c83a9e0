"""What everything is called on AWS, once.

Belongs here: names that people, other rooms or the standard of 2025-11-04 know; the standard's own stand first and are
exact. Names that nobody refers to are left to CloudFormation.
"""

from __future__ import annotations

from qol_dagster.metrics.profiles import PROFILES
from qol_dagster.surveys.tables import SURVEY_LAYOUTS, survey_folder
from qol_dagster.weeks import WEEKLY_RUN_TIME, aws_cron
from qol_ingest.shared import keys

REGION = "ap-northeast-1"
"""Japan: the data of participants does not leave the country."""

# -- the standard's
WEBHOOK = "garmin_webhook_receiver"
KICK = "qol-weekly-survey-kick"
ETL_JOB = "qol-weekly-etl"
ID_MAP_TABLE = "user_id_map"
ALERT_TOPIC = "job_failure_alert"
REPORT_TOPIC = "weekly_report"
WEEKLY_CRON = aws_cron(WEEKLY_RUN_TIME)
"""UTC: Wednesday, 09:05 in Japan."""

# -- ours
OAUTH = "qol-oauth"
PULLER = "qol-puller"
SURVEY = "qol-survey"
DRAIN = "qol-spill-drain"
ENROLMENT_TABLE = "qol_enrolment"
WORKGROUP = "qol"
IMAGE_REPOSITORY = "qol-dagster"
SECURITY_CONFIGURATION = "qol"
RESEARCHER_ROLE, STAFF_ROLE, ERASER_ROLE = "qol-researcher", "qol-staff", "qol-eraser"
FREEZER_ROLE, ARCHIVER_ROLE = "qol-freezer", "qol-archiver"
DAGSTER_ROLE, DAGSTER_WEB_ROLE = "qol-dagster", "qol-dagster-web"
BACKUP_ROLE = "qol-backup"
WEEKLY_WATCH = "qol-weekly-watch"
SETTINGS = "/qol/settings"

ARRIVALS, SPILL, PINGS = "qol-arrivals", "qol-spill", "qol-pings"
DEAD = "-dead"
"""What the name of a queue's dead letters ends in."""

TOKEN_PREFIX = "qol/garmin/"  # noqa: S105 - a name, not a token
WEBHOOK_SECRET = "qol/webhook-secret"  # noqa: S105
GARMIN_CLIENT_SECRET = "qol/garmin-client-secret"  # noqa: S105
DAGSTER_TOKEN = "qol/dagster-token"  # noqa: S105
SURVEY_KEY = "qol/survey-key"

ARCHIVES = f"{keys.ARCHIVES}/"

# -- the lake's prefixes
RAW_DAILY, QUARANTINE = f"{keys.RAW}/", f"{keys.QUARANTINE}/"
RAW_PINGS, RAW_LIFECYCLE = f"{keys.PINGS}/", f"{keys.LIFECYCLE}/"
RAW_SURVEYS = f"{keys.SURVEYS}/"
PULLED, FILES = f"{keys.PULLED}/", f"{keys.FILES}/"
RECORDS = f"{keys.RECORDS}/"
"""Under the key of raw data, and made again from it when they are missing."""
PROCESSED = tuple(f"{profile.folder}/" for profile in PROFILES.values())
"""The tables of each profile."""
SURVEY_TEXTS = f"{keys.SURVEY_TEXTS}/"
"""Under the key of the tables."""
SURVEY_TABLES = tuple(f"{survey_folder(table)}/" for table in SURVEY_LAYOUTS)
SURVEY_HISTORY = tuple(f"{keys.HISTORY}/{table}/" for table in SURVEY_LAYOUTS)
"""The tables of questionnaires, which Dagster writes itself, and what was replaced in them."""
ERASURES = f"{keys.ERASURES}/"
LEDGER, LEDGER_KEY = f"{ERASURES}erasures.jsonl", f"{ERASURES}erasures.key"
REPORTS = f"{keys.REPORTS}/"
"""Under the key of the tables."""
HISTORY = tuple(f"{keys.HISTORY}{profile.suffix}/" for profile in PROFILES.values())
"""What was replaced in them, and the log of it."""
FREEZES = f"{keys.FREEZES}/"
QUERY_RESULTS, PIPES = f"{keys.QUERY_RESULTS}/", f"{keys.PIPES}/"
"""Both are gone after a few days."""
WORK = f"{keys.WORK}/"
"""Gone after a day at the latest."""
COMPUTE_LOGS = f"{keys.COMPUTE_LOGS}/"
LEASE, PENDING_DAYS, ALERTS = f"{keys.LOCKS}/", f"{keys.ARRIVALS}/", f"{keys.ALERTS}/"
"""Small objects by which runs and sensors know of each other; nothing of anybody."""


def lake() -> str:
    """Return the bucket of the lake.

    Its name is known before it is there, so policies can name it without referring to it.
    """
    return f"qol-lake-{_account()}-{REGION}"


def backups() -> str:
    """Return the bucket that has a second copy of the lake."""
    return f"qol-backup-{_account()}-{REGION}"


def access_logs() -> str:
    """Return the bucket that hears of all requests to the lake and to Dagster."""
    return f"qol-logs-{_account()}-{REGION}"


def objects(*prefixes: str) -> tuple[str, ...]:
    """Return the ARNs of everything in the lake below some prefixes."""
    return tuple(f"arn:aws:s3:::{lake()}/{prefix}*" for prefix in prefixes)


def arn(service: str, resource: str) -> str:
    """Return the ARN of something in this account and region."""
    return f"arn:aws:{service}:{REGION}:{_account()}:{resource}"


def role_arn(name: str) -> str:
    """Return the ARN of a role of this account."""
    return f"arn:aws:iam::{_account()}:role/{name}"


def _account() -> str:
    """This account, as CloudFormation fills it in."""
    from aws_cdk import Aws

    return Aws.ACCOUNT_ID
