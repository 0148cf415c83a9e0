"""The kinds of values that settings have: what a valid one is, and how to describe it to who wrote another.

Belongs here: the kinds of this project's settings; those of a deployment, in `infra`, share some of them. A kind is a
type with constraints for pydantic. Its `description` completes the sentence "NAME must be ...", and `repr=False` keeps
a wrong value out of that sentence. Only annotations name a kind, so that `Settings` can be used without pydantic.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from qol_dagster.settings.retention import KindName, parse_retention
from qol_dagster.surveys.waves import PlanError, WavePlan, parse_plan


def like(pattern: str, what: str, *, shown: bool = True) -> Any:
    """Constrain a text to match the whole of a pattern, and say what such a text is."""
    return Field(pattern=f"^(?:{pattern})$", description=what, repr=shown)


def whole(low: int, high: int) -> Any:
    """Constrain a number to a range, both ends included."""
    return Field(ge=low, le=high, description=f"a whole number from {low} to {high}")


def _matching(pattern: str) -> Any:
    return Field(pattern=f"^(?:{pattern})$")


def _listed(what: str) -> Any:
    return Field(min_length=1, description=f"{what} with commas between them", repr=False)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _expanded(folder: Path) -> Path:
    try:
        return folder.expanduser()
    except RuntimeError:
        raise ValueError(f"must be a folder, and the home of {folder.parts[0]} is unknown") from None


def _plan(text: str) -> WavePlan:
    try:
        return parse_plan(text)
    except PlanError as error:
        raise ValueError(f"is no plan of waves: {error}") from None


def _next_monday(day: date) -> date:
    return day + timedelta(days=-day.weekday() % 7)


Switch = Annotated[bool, Field(description="true or false")]
Megabytes = Annotated[int, whole(512, 1_000_000)]
Port = Annotated[int, whole(1, 65_535)]
Folder = Annotated[Path, AfterValidator(_expanded)]
BackupFolder = Annotated[Path | None, AfterValidator(lambda folder: folder and _expanded(folder))]
Retention = Annotated[tuple[tuple[KindName, int | None], ...], BeforeValidator(parse_retention)]
"""How long kinds of data are kept, as `retention.py` reads it."""
SurveyPlan = Annotated[WavePlan, PlainValidator(_plan)]
"""When questionnaires are due."""
# The range keeps out small numbers, which pydantic reads as seconds since 1970.
Day = Annotated[date, Field(ge=date(1990, 1, 1), lt=date(2200, 1, 1), description="a date like 2026-04-06")]
FirstMonday = Annotated[Day, AfterValidator(_next_monday)]
"""The Monday on or after a date."""

# Mail addresses are of people, and a URL may hold a password: neither is repeated in a message.
_MailAddress = Annotated[str, _matching(r"[^@\s]+@[^@\s]+")]
_Mailbox = Annotated[str, _matching(r"[^@\s]+@[^@\s]+|[^@<>]+ <[^@\s<>]+@[^@\s<>]+>")]
_Owner = Annotated[str, _matching(r"team:[\w.-]+|[^@\s]+@[^@\s]+")]
MailAddresses = Annotated[tuple[_MailAddress, ...], BeforeValidator(_split), _listed("mail addresses")]
Mailbox = Annotated[_Mailbox, Field(description="a mail address", repr=False)]
"""A mail address, with or without a name: `QOL <qol@example.org>`."""
Mailboxes = Annotated[tuple[_Mailbox, ...], BeforeValidator(_split), _listed("mail addresses")]
Owners = Annotated[tuple[_Owner, ...], BeforeValidator(_split), _listed("mail addresses or teams (team:data)")]

_HOST = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?"
_PATH = r"(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
Url = Annotated[
    str,
    like(f"https?://{_HOST}{_PATH}", "an address like https://qol.example.org", shown=False),
    AfterValidator(lambda url: url.rstrip("/")),
]

ClientId = Annotated[str, like(r"\S+", "an id without spaces")]
WebhookSecret = Annotated[str, like(r"[ -.0-~]{16,}", "at least 16 plain characters without a slash")]

BucketName = Annotated[str, like(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket, such as qol-data")]
TableName = Annotated[str, like(r"[A-Za-z0-9_.-]{3,255}", "the name of a DynamoDB table")]
QueueUrl = Annotated[str, like(r"https?://[^\s?#@]+", "the URL of an SQS queue", shown=False)]
TopicArn = Annotated[str, like(r"arn:aws[a-z-]*:sns:[^\s:]+:[0-9]{12}:[A-Za-z0-9_-]+", "the ARN of an SNS topic")]
WorkgroupName = Annotated[str, like(r"[A-Za-z0-9_.-]{1,128}", "the name of an Athena workgroup")]
RoleArn = Annotated[str, like(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+", "the ARN of a role")]
KeyArn = Annotated[str, like(r"arn:aws[a-z-]*:kms:[^\s:]+:[0-9]{12}:key/[A-Za-z0-9-]+", "the ARN of a KMS key")]
JobName = Annotated[str, like(r"[A-Za-z0-9_.-]{1,255}", "the name of a Glue job")]
