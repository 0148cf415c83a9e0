"""The settings of a deployment: one frozen object, read once from `QOL_*` variables.

Belongs here: names, defaults and the checking of every setting. All problems are named in one error. Standard
library only.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from qol_dagster.errors import QolInputError

Target = Literal["local", "aws"]
EngineName = Literal["duckdb", "spark"]


class SettingsError(QolInputError):
    """One or more settings are wrong; the message names each of them."""


@dataclass(frozen=True)
class Settings:
    """Where everything lies and how it runs. The variable of a field is `QOL_` + its name in capitals.

    Those from `bucket` on are for the target `aws`; there, `home` holds this machine's working files only.
    """

    target: Target = "local"
    home: Path = Path(".qol")
    engine: EngineName = "duckdb"
    start_date: date = date(2015, 1, 5)
    memory_mb: int = 1536
    owners: tuple[str, ...] = ("team:qol",)
    webhook_secret: str = field(default="", repr=False)
    garmin_client_id: str = field(default="", repr=False)
    garmin_client_secret: str = field(default="", repr=False)
    garmin_url: str = ""
    public_url: str = ""
    programme_ja: str = ""
    programme_en: str = ""
    contact: str = ""
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_user: str = field(default="", repr=False)
    smtp_password: str = field(default="", repr=False)
    smtp_starttls: bool = True
    mail_from: str = ""
    mail_to: tuple[str, ...] = ()
    bucket: str = ""
    id_map_table: str = "user_id_map"
    enrolment_table: str = "qol_enrolment"
    arrivals_queue_url: str = ""
    alert_topic_arn: str = ""
    athena_workgroup: str = ""
    glue_job: str = "qol-weekly-etl"

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
        """The queue of pings and lifecycle events that are to be worked off."""
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


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from variables; an unset or empty one takes its default. Raises SettingsError naming all problems."""
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in environ.items() if name.startswith("QOL_") and value.strip()}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, text in sorted(given.items()):
        reader = _READERS.get(name)
        if reader is None:
            problems.append(_unknown(name))
            continue
        try:
            values[name.removeprefix("QOL_").lower()] = reader(text.strip())
        except ValueError as error:
            problems.append(f"{name} {error}")
    problems += _mail_problems(values)
    problems += _target_problems(values, given, environ)
    if problems:
        raise SettingsError("settings are wrong: " + "; ".join(problems))
    return Settings(**values)


def _mail_problems(values: Mapping[str, Any]) -> list[str]:
    if not values.get("smtp_host"):
        return []
    return [
        f"QOL_{name.upper()} is needed with QOL_SMTP_HOST" for name in ("mail_from", "mail_to") if name not in values
    ]


def _target_problems(values: Mapping[str, Any], given: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """What the target lacks, and what is the other one's. A value that is the default anyway disturbs nobody."""
    if "target" not in values and "QOL_TARGET" in given:
        return []  # misspelled: nobody can tell which was meant
    usual = Settings()
    target: Target = values.get("target", usual.target)
    other: Target = "local" if target == "aws" else "aws"
    problems = [
        f"QOL_{name.upper()} is for QOL_TARGET={other} only"
        for name in _ONLY_FOR[other]
        if values.get(name, getattr(usual, name)) != getattr(usual, name)
    ]
    if target == "aws":
        missing = [name for name in _NEEDED_ON_AWS if name not in given]
        missing += [] if any(environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")) else ["AWS_REGION"]
        problems += [f"{name} is needed with QOL_TARGET=aws" for name in missing]
        if not all(importlib.util.find_spec(package) for package in ("boto3", "pyathena")):
            problems.append("QOL_TARGET=aws needs more packages: pip install 'qol-dagster[aws]'")
    return problems


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _READERS, n=1)
    return f"{name} is no setting" + (f", did you mean {near[0]}?" if near else "")


def _choice(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}, not {text!r}")
        return text

    return read


def _like(pattern: str, what: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {what}, not {text!r}")
        return text

    return read


def _monday(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"must be a date like 2026-04-01, not {text!r}") from None
    return day + timedelta(days=-day.weekday() % 7)


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return read


def _switch(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in known:
        raise ValueError(f"must be true or false, not {text!r}")
    return known[text.lower()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _owners(text: str) -> tuple[str, ...]:
    owners = _names(text)
    if not owners or not all(re.fullmatch(r"team:[\w.-]+|[^@\s]+@[^@\s]+", owner) for owner in owners):
        raise ValueError("must be mail addresses or teams (team:data) with commas between them")
    return owners


def _addresses(text: str) -> tuple[str, ...]:
    addresses = _names(text)
    wrong = [address for address in addresses if "@" not in address[1:-1]]
    if wrong or not addresses:
        raise ValueError("must be mail addresses with commas between them")
    return addresses


def _address(text: str) -> str:
    return _addresses(text)[0]


def _secret(text: str) -> str:
    if not text.isascii() or "/" in text or len(text) < 16:
        raise ValueError("must be at least 16 plain characters without a slash")
    return text


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text) or not text.isascii():
        raise ValueError("must be an address like https://qol.example.org")
    return text.rstrip("/")


_TABLE = _like(r"[\w.-]{3,255}", "the name of a DynamoDB table")

_READERS: dict[str, Callable[[str], Any]] = {
    "QOL_TARGET": _choice("local", "aws"),
    "QOL_HOME": lambda text: Path(text).expanduser(),
    "QOL_ENGINE": _choice("duckdb", "spark"),
    "QOL_START_DATE": _monday,
    "QOL_MEMORY_MB": _number(512, 1_000_000),
    "QOL_OWNERS": _owners,
    "QOL_WEBHOOK_SECRET": _secret,
    "QOL_GARMIN_CLIENT_ID": str,
    "QOL_GARMIN_CLIENT_SECRET": str,
    "QOL_GARMIN_URL": _url,
    "QOL_PUBLIC_URL": _url,
    "QOL_PROGRAMME_JA": str,
    "QOL_PROGRAMME_EN": str,
    "QOL_CONTACT": str,
    "QOL_SMTP_HOST": str,
    "QOL_SMTP_PORT": _number(1, 65_535),
    "QOL_SMTP_USER": str,
    "QOL_SMTP_PASSWORD": str,
    "QOL_SMTP_STARTTLS": _switch,
    "QOL_MAIL_FROM": _address,
    "QOL_MAIL_TO": _addresses,
    "QOL_BUCKET": _like(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of a bucket, such as qol-data"),
    "QOL_ID_MAP_TABLE": _TABLE,
    "QOL_ENROLMENT_TABLE": _TABLE,
    "QOL_ARRIVALS_QUEUE_URL": _like(r"https?://[^\s?#@]+", "the URL of an SQS queue"),
    "QOL_ALERT_TOPIC_ARN": _like(r"arn:aws[a-z-]*:sns:[^\s:]+:\d{12}:[\w-]+", "the ARN of an SNS topic"),
    "QOL_ATHENA_WORKGROUP": _like(r"[\w.-]{1,128}", "the name of an Athena workgroup"),
    "QOL_GLUE_JOB": _like(r"[\w.-]{1,255}", "the name of a Glue job"),
}

_ONLY_FOR: dict[Target, tuple[str, ...]] = {
    "local": (
        *("engine", "memory_mb", "webhook_secret", "programme_ja", "programme_en", "contact"),
        *("smtp_host", "smtp_port", "smtp_user", "smtp_password", "smtp_starttls", "mail_from", "mail_to"),
    ),
    "aws": (
        *("bucket", "id_map_table", "enrolment_table", "arrivals_queue_url"),
        *("alert_topic_arn", "athena_workgroup", "glue_job"),
    ),
}
_NEEDED_ON_AWS = ("QOL_BUCKET", "QOL_ARRIVALS_QUEUE_URL", "QOL_ALERT_TOPIC_ARN", "QOL_ATHENA_WORKGROUP")

VARIABLES: tuple[str, ...] = tuple(_READERS)
"""Every variable there is."""

if {name.removeprefix("QOL_").lower() for name in VARIABLES} != {item.name for item in fields(Settings)}:
    raise AssertionError("every setting has one variable and every variable one setting")
